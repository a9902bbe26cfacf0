# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and files on a host over SSH, or on this one. paramiko speaks it: no ssh with options of a user's own.

Not Ansible's connection: a task that configures a host's firmware outlives the boot of that host.
A password is tried once. Commands get secrets in files or on standard input, never as arguments.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..common.deadline import Deadline, wait_until
from ..common.errors import DeadlineExceeded, Denied, NotFound, OperationFailed, Unreachable, Unsupported

#: What becomes of a host's key: ``strict`` knows it beforehand, ``new`` remembers the first one that a host
#: shows, ``any`` takes every one. A machine that boots from the network has a new key at every boot.
HOST_KEYS = ("strict", "new", "any")
#: Longest output that is kept, in bytes.
MOST = 64 * 1024 * 1024
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Host:
    """Where to log in and how. Without a key file and a password there is nothing to log in with."""

    address: str
    port: int = 22
    user: str = "ubuntu"
    key_file: str = ""
    password: str = field(default="", repr=False)
    host_keys: str = "new"
    #: OpenSSH's file of known hosts; without it what ``new`` remembers lasts as long as this process
    known_hosts: str = ""
    #: seconds for connecting and for logging in, each
    timeout: float = 10.0

    @property
    def where(self) -> str:
        return f"host {self.address}" + (f" port {self.port}" if self.port != 22 else "")


@dataclass(frozen=True)
class Result:
    """How a command ended. A signal's number is given as a negative ``rc``."""

    rc: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last words in one line."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Shell(Protocol):
    """What both sides can do. Open between ``__enter__`` and ``__exit__``."""

    where: str

    def __enter__(self) -> Shell: ...

    def __exit__(self, *exc: object) -> None: ...

    def run(self, argv: Sequence[str], deadline: Deadline, stdin: bytes = b"") -> Result:
        """Run a command, without a shell's reading of its words. Raises DeadlineExceeded, Unreachable."""

    def read_file(self, path: str) -> bytes:
        """Raises NotFound where it is not there."""

    def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Have the file there, whole or not at all."""

    def remove(self, path: str) -> None:
        """Have no file there."""

    def owner(self, path: str) -> int | None:
        """Number of the user whose file it is; None where there is none."""

    def alive(self) -> bool:
        """Whether the session is still there."""


class Ssh:
    """A session with one host. Not for several threads."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.where = host.where
        self._client: Any = None
        self._sftp: Any = None

    def __enter__(self) -> Ssh:
        if self._client is None:
            self._client = _connect(self.host)
        return self

    def __exit__(self, *_exc: object) -> None:
        client, self._client, self._sftp = self._client, None, None
        if client is not None:
            client.close()

    def alive(self) -> bool:
        transport = self._client.get_transport() if self._client else None
        return bool(transport and transport.is_active())

    @contextmanager
    def _errors(self, path: str = "") -> Iterator[Any]:
        """paramiko's errors as ours."""
        import paramiko

        if self._client is None:
            raise Unreachable("the session is not open", where=self.where)
        try:
            yield self._client
        except FileNotFoundError as exc:
            raise NotFound(f"{path} is not there", where=self.where) from exc
        except PermissionError as exc:
            raise Denied(f"{path}: permission denied", where=self.where) from exc
        except (EOFError, paramiko.SSHException, ConnectionError, TimeoutError) as exc:
            raise Unreachable(f"the session has ended: {exc or 'the host is gone'}", where=self.where) from exc
        except OSError as exc:  # an SFTP status without a number of its own, or a socket's error
            kind = OperationFailed if self.alive() else Unreachable
            raise kind(f"{path}: {exc}" if path else str(exc), where=self.where) from exc

    # -- commands -------------------------------------------------------------------------------------
    def run(self, argv: Sequence[str], deadline: Deadline, stdin: bytes = b"") -> Result:
        with self._errors() as client:
            channel = client.get_transport().open_session(timeout=self.host.timeout)
            try:
                channel.exec_command(shlex.join(argv))
                if stdin:
                    channel.sendall(stdin)
                channel.shutdown_write()
                return self._ended(channel, argv[0], deadline)
            finally:
                channel.close()

    def _ended(self, channel: Any, name: str, deadline: Deadline) -> Result:
        """Both outputs, read as they come, so that neither fills up, and the exit code."""
        out, err = bytearray(), bytearray()

        def end() -> bool | None:
            while channel.recv_ready():
                out.extend(channel.recv(CHUNK))
            while channel.recv_stderr_ready():
                err.extend(channel.recv_stderr(CHUNK))
            if len(out) + len(err) > MOST:
                raise OperationFailed(f"{name}: prints more than {MOST} bytes", where=self.where)
            if not self.alive():
                raise Unreachable(f"the session ended while {name} ran", where=self.where)
            # A channel may be closed without having said that nothing more will come.
            ended = channel.exit_status_ready() and (channel.eof_received or channel.closed)
            return True if ended and not (channel.recv_ready() or channel.recv_stderr_ready()) else None

        wait_until(end, deadline, what=f"{name} on {self.where} to end", first=0.005, most=0.25)
        return Result(channel.recv_exit_status(), _text(out), _text(err))

    # -- files ----------------------------------------------------------------------------------------
    def _files(self, client: Any) -> Any:
        if self._sftp is None:
            self._sftp = client.open_sftp()
            self._sftp.get_channel().settimeout(max(self.host.timeout, 30.0))
        return self._sftp

    def read_file(self, path: str) -> bytes:
        with self._errors(path) as client, self._files(client).open(path, "rb") as file:
            file.prefetch()
            return bytes(file.read())

    def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        beside = f"{path}.{secrets.token_hex(4)}"
        with self._errors(path) as client:
            sftp = self._files(client)
            try:
                with sftp.open(beside, "wx") as file:
                    file.chmod(mode)  # before anything is in it
                    file.write(data)
                sftp.posix_rename(beside, path)
            except BaseException:
                with suppress(OSError, EOFError):
                    sftp.remove(beside)
                raise

    def remove(self, path: str) -> None:
        with suppress(NotFound), self._errors(path) as client:
            self._files(client).remove(path)

    def owner(self, path: str) -> int | None:
        with suppress(NotFound), self._errors(path) as client:
            found = self._files(client).lstat(path)
            return int(found.st_uid) if stat.S_ISREG(found.st_mode) else None
        return None


def _connect(host: Host) -> Any:
    """A client that is logged in. Nothing is taken from the user's agent or home but what the host names."""
    try:
        import paramiko
    except ImportError as exc:
        raise Unsupported("SSH needs the Python library paramiko", hint="pip install paramiko") from exc
    client = paramiko.SSHClient()
    try:
        _trust(client, host)
        client.connect(
            host.address,
            port=host.port,
            username=host.user,
            password=host.password or None,
            key_filename=str(Path(host.key_file).expanduser()) if host.key_file else None,
            timeout=host.timeout,
            banner_timeout=host.timeout,
            auth_timeout=host.timeout,
            allow_agent=False,
            look_for_keys=False,
        )
    except Exception as exc:
        client.close()
        refusal = _refusal(host, exc)
        if refusal is None:
            raise
        raise refusal from exc
    client.get_transport().set_keepalive(5)
    return client


def _trust(client: Any, host: Host) -> None:
    import paramiko

    if host.host_keys not in HOST_KEYS:
        raise Unsupported(f"host_keys: {host.host_keys} is not known", hint=f"allowed: {', '.join(HOST_KEYS)}")
    if host.known_hosts and host.host_keys != "any":
        path = Path(host.known_hosts).expanduser()
        if host.host_keys == "new":
            path.touch(mode=0o600)
        if path.exists():
            client.load_host_keys(str(path))
    policy = paramiko.RejectPolicy if host.host_keys == "strict" else paramiko.AutoAddPolicy
    client.set_missing_host_key_policy(policy())


def _refusal(host: Host, exc: BaseException) -> Exception | None:
    """What a failure to connect means; None for what is no such failure."""
    import paramiko

    if isinstance(exc, paramiko.BadHostKeyException):
        return Denied(
            "shows another host key than is known of it",
            where=host.where,
            hint="make sure that it is the right machine, then remove the old key",
        )
    if isinstance(exc, paramiko.PasswordRequiredException):
        return Denied(f"the key {host.key_file} has a passphrase", where=host.where, hint="give a key without one")
    if isinstance(exc, paramiko.AuthenticationException):
        with_what = f"key {host.key_file}" if host.key_file else "password"
        return Denied(f"refuses user {host.user} with the {with_what}; tried once", where=host.where)
    if isinstance(exc, FileNotFoundError | PermissionError):
        return Denied(f"{exc.filename}: {exc.strerror}", where=host.where, hint="name a file that can be read")
    if isinstance(exc, paramiko.SSHException) and "not found in known_hosts" in str(exc):
        return Denied("its host key is not known", where=host.where, hint="enter it in the file of known hosts")
    if isinstance(exc, paramiko.SSHException | socket.gaierror | OSError | EOFError):
        return Unreachable(f"does not answer SSH: {_cause(exc)}", where=host.where)
    return None


def _cause(exc: BaseException) -> str:
    inner = getattr(exc, "errors", None)
    if isinstance(inner, Mapping) and inner:
        exc = next(iter(inner.values()))
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__


def _text(data: bytes | bytearray) -> str:
    return bytes(data).decode(errors="replace")


class Local:
    """This machine, with the same face."""

    where = "this machine"

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def alive(self) -> bool:
        return True

    def run(self, argv: Sequence[str], deadline: Deadline, stdin: bytes = b"") -> Result:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            return Result(127, "", f"{argv[0]}: not found")
        except PermissionError:
            return Result(126, "", f"{argv[0]}: permission denied")
        try:
            out, err = process.communicate(stdin, timeout=deadline.remaining())
        except subprocess.TimeoutExpired as exc:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            what = f"waited {deadline.seconds:g} s in vain for {argv[0]} to end"
            raise DeadlineExceeded(what, where=self.where) from exc
        return Result(process.returncode, _text(out), _text(err))

    def read_file(self, path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except FileNotFoundError as exc:
            raise NotFound(f"{path} is not there", where=self.where) from exc

    def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        beside = f"{path}.{secrets.token_hex(4)}"
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
            Path(beside).rename(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def owner(self, path: str) -> int | None:
        with suppress(FileNotFoundError):
            found = Path(path).lstat()
            return found.st_uid if stat.S_ISREG(found.st_mode) else None
        return None
