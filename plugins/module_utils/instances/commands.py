# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of one exec task: whether the command is to run, as whom and where, and how it ended."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..common.errors import DeadlineExceeded, InvalidInput, NotFound, OperationFailed
from ..common.problems import Problems
from .accounts import Account, find_account, find_gid
from .files import ABSENT, check_path, is_directory, look
from .incus.client import IncusClient
from .incus.execute import ExecResult, execute
from .lookup import get_instance, require_running

#: What Incus answers where a shell would give these exit codes.
SHELL_CODES = {"Command not found": 127, "Command not executable": 126}
SHOWN_ARGUMENT = 60


@dataclass(frozen=True)
class CommandRequest:
    """The options of an exec task. ``timeout`` in seconds."""

    instance: str
    argv: tuple[str, ...] = ()
    cmd: str | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    cwd: str | None = None
    user: str | None = None
    group: str | None = None
    stdin: str | None = None
    stdin_add_newline: bool = True
    timeout: int | None = None
    creates: str | None = None
    removes: str | None = None
    expected_rc: tuple[int, ...] = (0,)
    strip_empty_ends: bool = True

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> CommandRequest:
        given = {name: params[name] for name in cls.__dataclass_fields__}
        lists = {name: tuple(given[name] or ()) for name in ("argv", "expected_rc")}
        return cls(**{**given, **lists, "environment": given["environment"] or {}})

    def check(self) -> None:
        """Raise InvalidInput with a line for each option that cannot be."""
        problems = Problems()
        if bool(self.argv) == bool(self.cmd):
            problems.add("argv", "a command is needed, once", "one of argv and cmd, not empty")
        if self.timeout is not None and self.timeout < 1:
            problems.add("timeout", f"{self.timeout} is not valid", "1 or more seconds")
        if not self.expected_rc:
            problems.add("expected_rc", "an empty list lets nothing succeed", "exit codes, such as [0, 2]")
        for name, value in self.environment.items():
            if not str(name) or "=" in str(name) or isinstance(value, (dict, list)) or value is None:
                problems.add(f"environment.{name}", "is not a variable with a value", "a name without =, and text")
        for option in ("cwd", "creates", "removes"):
            try:
                check_path(getattr(self, option) or "/", option)
            except InvalidInput as error:
                problems.lines.extend(error.problems)
        problems.raise_if_any()

    @property
    def command(self) -> list[str]:
        return list(self.argv) if self.argv else ["/bin/sh", "-c", self.cmd or ""]

    @property
    def input(self) -> bytes:
        text = self.stdin or ""
        return (text + "\n" if self.stdin is not None and self.stdin_add_newline else text).encode()


def run_command(client: IncusClient, request: CommandRequest, *, check: bool) -> dict[str, Any]:
    """Run the command, unless check mode, ``creates`` or ``removes`` say otherwise. Returns the module's result."""
    request.check()
    document = get_instance(client, request.instance)
    needless = _needless(client, request)
    if needless:
        return _result(
            request,
            ExecResult(0, f"skipped, since {needless}".encode(), b""),
            changed=False,
            msg=f"Did not run, since {needless}",
        )
    require_running(document)
    user, gid = _identity(client, request)
    if request.cwd and not is_directory(client, request.instance, request.cwd):
        raise InvalidInput(
            [f'cwd: "{request.cwd}" is no directory in instance {request.instance}; allowed: one that exists']
        )
    if check:
        return _result(request, ExecResult(0, b"", b""), changed=True, msg="Would run, if not in check mode")
    begun = datetime.now()
    ended = _execute(client, request, user, gid)
    return _result(request, ended, changed=True, begun=begun)


def _needless(client: IncusClient, request: CommandRequest) -> str:
    """Why the command need not run, or nothing."""
    if request.creates and look(client, request.instance, request.creates).kind != ABSENT:
        return f"{request.creates} exists"
    if request.removes and look(client, request.instance, request.removes).kind == ABSENT:
        return f"{request.removes} does not exist"
    return ""


def _identity(client: IncusClient, request: CommandRequest) -> tuple[Account | None, int | None]:
    user = find_account(client, request.instance, request.user) if request.user else None
    if request.group:
        return user, find_gid(client, request.instance, request.group)
    return user, user.gid if user else None


def _execute(client: IncusClient, request: CommandRequest, user: Account | None, gid: int | None) -> ExecResult:
    environment = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name} if user and user.name else {}
    environment.update({str(name): _as_text(value) for name, value in request.environment.items()})
    try:
        return execute(
            client,
            request.instance,
            request.command,
            stdin=request.input,
            environment=environment,
            cwd=request.cwd or "",
            user=user.uid if user else None,
            group=gid,
            timeout=request.timeout,
        )
    except (NotFound, OperationFailed, DeadlineExceeded) as error:
        if error.what in SHELL_CODES:
            said = f"{request.command[0]}: {error.what.lower()}"
            return ExecResult(SHELL_CODES[error.what], b"", said.encode())
        error.at(f"instance {request.instance}")
        raise


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _result(
    request: CommandRequest, ended: ExecResult, *, changed: bool, msg: str = "", begun: datetime | None = None
) -> dict[str, Any]:
    end = datetime.now()
    begun = begun or end
    out, err = (data.decode(errors="replace") for data in (ended.stdout, ended.stderr))
    if request.strip_empty_ends:
        out, err = out.rstrip("\r\n"), err.rstrip("\r\n")
    result: dict[str, Any] = {
        "changed": changed,
        "failed": False,  # said, since Ansible takes any rc but 0 for a failure
        "cmd": request.command,
        "rc": ended.rc,
        "stdout": out,
        "stderr": err,
        "start": str(begun),
        "end": str(end),
        "delta": str(end - begun),
        "msg": msg,
    }
    result.update(_undecodable(ended))
    if changed and ended.rc not in request.expected_rc:
        result.update(failed=True, msg=_failure(request, ended.rc, err or out))
    return result


def _undecodable(ended: ExecResult) -> dict[str, str]:
    """Output that is no UTF-8, whole, since in the text its bad bytes are replaced."""
    streams = {"stdout_base64": ended.stdout, "stderr_base64": ended.stderr}
    return {name: b64encode(data).decode() for name, data in streams.items() if not _is_text(data)}


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _failure(request: CommandRequest, rc: int, said: str) -> str:
    name = request.command[0] if request.argv else (request.cmd or "").strip().split("\n")[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    why = f": {lines[-1]}" if lines else ""
    short = name if len(name) <= SHOWN_ARGUMENT else f"{name[:SHOWN_ARGUMENT]}…"
    return f"instance {request.instance}: {short} ended with rc {rc}{why}"
