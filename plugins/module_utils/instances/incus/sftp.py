# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files inside an instance as SFTP serves them: what Incus's plain files call cannot do.

That call can neither rename nor change the owner or mode of what exists. The SFTP server that Incus
runs in front of an instance's files (GET /1.0/instances/{name}/sftp, upgraded to raw SFTP) can, for
stopped containers too, and without any program inside the instance. paramiko speaks it.
"""

from __future__ import annotations

import errno
import select
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from ...common.errors import Conflict, NotFound, OperationFailed, Unreachable, Unsupported
from .requests import Requests

try:
    import paramiko

    PARAMIKO_ERROR: ImportError | None = None
except ImportError as error:  # reported when somebody changes a file
    PARAMIKO_ERROR = error

CHUNK = 32 * 1024


class Attributes(NamedTuple):
    """``mode`` with the type bits of stat(2); ``modified`` in seconds since the epoch."""

    size: int
    uid: int
    gid: int
    mode: int
    modified: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


def _attributes(found: Any) -> Attributes:
    return Attributes(found.st_size or 0, found.st_uid or 0, found.st_gid or 0, found.st_mode or 0, found.st_mtime or 0)


class _Channel:
    """As much of an SSH channel as paramiko's SFTP asks for, over a socket that speaks SFTP already."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._name = name
        self._socket = sock
        self.recv, self.send, self.close = sock.recv, sock.send, sock.close

    def get_name(self) -> str:
        return self._name

    def recv_ready(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))


class Sftp:
    """One SFTP conversation with one instance. Use it as a context manager; it is not for several threads."""

    def __init__(self, client: Requests, instance: str) -> None:
        if PARAMIKO_ERROR is not None:
            raise Unsupported("the Python library paramiko is missing", hint="pip install paramiko")
        self.where = f"instance {instance}"
        self._socket = client.upgrade(f"/instances/{instance}/sftp", "sftp")
        with self._errors(""):
            self._sftp = paramiko.SFTPClient(_Channel(self._socket, self.where))

    def __enter__(self) -> Sftp:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """paramiko's errors as ours. A status without a number of its own holds the server's words."""
        try:
            yield
        except (EOFError, ConnectionError, paramiko.SSHException) as error:
            raise Unreachable(f"SFTP: {error or 'the connection ended'}", where=self.where) from error
        except OSError as error:
            message = error.strerror or str(error)
            if error.errno == errno.ENOENT:
                raise NotFound(f'"{path}" does not exist', where=self.where) from error
            if "exists" in message:
                raise Conflict(f'"{path}" exists already', where=self.where) from error
            raise OperationFailed(f'"{path}": {message}', where=self.where) from error

    # -- looking ----------------------------------------------------------------------------------
    def lstat(self, path: str) -> Attributes | None:
        """What stands at ``path``, symlinks not followed; None where nothing does."""
        try:
            with self._errors(path):
                return _attributes(self._sftp.lstat(path))
        except NotFound:
            return None

    def entries(self, path: str) -> list[tuple[str, Attributes]]:
        """Names in a directory, with what they are."""
        with self._errors(path):
            return [(found.filename, _attributes(found)) for found in self._sftp.listdir_attr(path)]

    # -- changing ---------------------------------------------------------------------------------
    def write_new(self, path: str, content: BinaryIO, *, uid: int, gid: int, mode: int) -> None:
        """Make a file that must not exist yet. Until it is complete only its owner can read it."""
        with self._errors(path), self._sftp.open(path, "wxb") as file:
            file.chmod(0o600)
            file.set_pipelined(True)
            while chunk := content.read(CHUNK):
                file.write(chunk)
            # The owner first: changing it takes the set-user-id bit away.
            file.chown(uid, gid)
            file.chmod(mode)

    def set_owner(self, path: str, uid: int, gid: int) -> None:
        """Symlinks are followed."""
        with self._errors(path):
            self._sftp.chown(path, uid, gid)

    def set_mode(self, path: str, mode: int) -> None:
        """Symlinks are followed."""
        with self._errors(path):
            self._sftp.chmod(path, mode)

    def rename(self, path: str, target: str) -> None:
        """Atomic, and puts ``path`` in the place of what stands at ``target``."""
        with self._errors(target):
            self._sftp.posix_rename(path, target)

    def make_directory(self, path: str) -> None:
        with self._errors(path):
            self._sftp.mkdir(path)

    def symlink(self, target: str, path: str) -> None:
        with self._errors(path):
            self._sftp.symlink(target, path)

    def remove(self, path: str) -> None:
        """A file or a symlink."""
        with self._errors(path):
            self._sftp.remove(path)

    def remove_directory(self, path: str) -> None:
        """An empty one."""
        with self._errors(path):
            self._sftp.rmdir(path)

    def remove_tree(self, path: str) -> None:
        """A directory with all it holds. Symlinks are removed, never followed."""
        for name, found in self.entries(path):
            below = f"{path.rstrip('/')}/{name}"
            if found.is_directory:
                self.remove_tree(below)
            else:
                self.remove(below)
        self.remove_directory(path)
