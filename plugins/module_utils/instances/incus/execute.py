# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands inside an instance: Incus's exec call with its websockets for stdin, stdout and stderr.

Protocol: https://linuxcontainers.org/incus/docs/main/rest-api/ (POST /1.0/instances/{name}/exec with
``wait-for-websocket``). Each stream is one websocket; an empty text message marks its end.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ...common.deadline import Deadline
from ...common.errors import DeadlineExceeded, OperationFailed, Unreachable, Unsupported
from ...common.known import known
from .requests import PendingOperation, Requests

try:
    import websocket

    WEBSOCKET_ERROR: ImportError | None = None
except ImportError as error:  # reported when somebody executes something
    WEBSOCKET_ERROR = error

CHUNK = 64 * 1024
SIGKILL = 9
#: Seconds that a killed command's streams may take to close.
AFTER_KILL = 10.0


class ExecResult(NamedTuple):
    """Exit code and output. A command ended by signal N has ``rc`` 128 + N, as in a shell."""

    rc: int
    stdout: bytes
    stderr: bytes


if WEBSOCKET_ERROR is None:

    class _Websocket(websocket.WebSocket):  # type: ignore[misc]
        """One that reads on where its answer to a ping finds nobody: what was sent before the end is still there."""

        def pong(self, payload: str | bytes = "") -> None:
            try:
                super().pong(payload)
            except OSError:
                return


class _Stream:
    """One websocket of a running exec. ``received`` grows until ``ended``; ``news`` tells of both."""

    def __init__(self, client: Requests, operation: str, secret: str, news: threading.Condition) -> None:
        self.received = bytearray()
        self.ended = False
        self._news = news
        self._threads: list[threading.Thread] = []
        connection = client.transport.open()
        address = f"ws://incus/1.0/operations/{operation}/websocket?secret={secret}"
        try:
            self._socket = websocket.create_connection(
                address, socket=connection.sock, suppress_origin=True, class_=_Websocket
            )
            self._socket.settimeout(None)
        except (OSError, websocket.WebSocketException) as error:
            connection.close()
            raise Unreachable(f"exec stream: {error}", where=f"Incus at {client.endpoint.label}") from error

    def start_reading(self) -> None:
        self._in_background(self._read)

    def send(self, data: bytes) -> None:
        """Send in the order of the calls. What may not fit the buffers goes out in the background."""
        before = self._threads[-1] if self._threads else None

        def in_turn() -> None:
            if before is not None:
                before.join()
            self._send(data)

        if before is not None or len(data) > CHUNK:
            self._in_background(in_turn)
        else:
            self._send(data)

    def _in_background(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _send(self, data: bytes) -> None:
        """An empty message marks the end. A command that has ended takes no more: its exit code tells the story."""
        try:
            for start in range(0, len(data), CHUNK):
                self._socket.send_binary(data[start : start + CHUNK])
            if not data:
                self._socket.send("")
        except (OSError, websocket.WebSocketException):
            return

    def send_text(self, text: str) -> None:
        self._socket.send(text)

    def _read(self) -> None:
        """Read until the end marker or the close. Why it closed, the operation's own state tells."""
        opcode, data = websocket.ABNF.OPCODE_BINARY, b""
        while opcode == websocket.ABNF.OPCODE_BINARY:
            with self._news:
                self.received += data
                self._news.notify_all()
            try:
                opcode, data = self._socket.recv_data()
            except (OSError, websocket.WebSocketException):
                break
        with self._news:
            self.ended = True
            self._news.notify_all()

    def close(self) -> None:
        self._socket.shutdown()


class Session:
    """A command that runs inside an instance, with its three streams.

    ``write`` and ``end_input`` feed it, ``pump`` moves bytes until a condition holds, ``finish``
    returns the result. Use as a context manager: leaving it closes the streams.
    """

    def __init__(
        self,
        client: Requests,
        instance: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: str = "",
        user: int | None = None,
        group: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Start ``argv``. ``user`` and ``group`` are numeric ids inside the instance; ``timeout`` is in
        seconds, after which the command is killed and DeadlineExceeded raised. Raises NotFound for an
        unknown instance, OperationFailed for one that does not run.
        """
        if WEBSOCKET_ERROR is not None:
            raise Unsupported("the Python library websocket-client is missing", hint="pip install websocket-client")
        self.client, self.instance = client, instance
        self._deadline = Deadline(timeout) if timeout is not None else None
        request: dict[str, Any] = {
            "command": list(argv),
            "environment": dict(environment or {}),
            "wait-for-websocket": True,
            "interactive": False,
        }
        extra = {"cwd": cwd or None, "user": user, "group": group}
        request.update({key: value for key, value in extra.items() if value is not None})
        found = client.raw("POST", f"/instances/{instance}/exec", body=request).metadata()
        self._operation, self._secrets = str(found["id"]), found["metadata"]["fds"]
        self._streams: list[_Stream] = []
        self._end: PendingOperation | None = None
        self._news = threading.Condition()
        try:
            self._streams.extend(_Stream(client, self._operation, self._secrets[fd], self._news) for fd in "012")
            for stream in self._streams[1:]:
                stream.start_reading()
            # Asked now, answered at the command's end: no request is left to send then.
            self._end = client.begin_wait(self._operation)
        except BaseException:
            self.close()
            raise

    @property
    def stdout(self) -> bytearray:
        return self._streams[1].received

    @property
    def stderr(self) -> bytearray:
        return self._streams[2].received

    @property
    def ended(self) -> bool:
        """Whether both outputs came to their end."""
        return self._streams[1].ended and self._streams[2].ended

    def write(self, data: bytes) -> None:
        """Send ``data`` to the command's stdin."""
        if data:
            self._streams[0].send(data)

    def end_input(self) -> None:
        self._streams[0].send(b"")

    def pump(self, until: Callable[[], bool], deadline: Deadline | None = None) -> bool:
        """Wait until the condition holds or both outputs have ended; False if the deadline came first."""
        with self._news:
            left = deadline.remaining() if deadline else None
            return self._news.wait_for(lambda: self.ended or until(), left)

    def finish(self) -> ExecResult:
        """Wait for the command's end."""
        if not self.pump(lambda: False, self._deadline):
            self.kill()
            seconds = known(self._deadline).seconds
            raise DeadlineExceeded(f"the command did not end within {seconds:g} s and was killed")
        state = known(self._end).result()
        code = (state.get("metadata") or {}).get("return")
        if code is None:
            raise OperationFailed("the command's exit code was not reported", where=f"instance {self.instance}")
        return ExecResult(int(code), bytes(self.stdout), bytes(self.stderr))

    def kill(self) -> None:
        """End the command at once and wait until its streams have closed."""
        control = _Stream(self.client, self._operation, self._secrets["control"], self._news)
        try:
            control.send_text(json.dumps({"command": "signal", "signal": SIGKILL}))
            self.pump(lambda: False, Deadline(AFTER_KILL))
        finally:
            control.close()

    def close(self) -> None:
        if self._end is not None:
            self._end.close()
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def execute(
    client: Requests,
    instance: str,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    cwd: str = "",
    user: int | None = None,
    group: int | None = None,
    timeout: float | None = None,
) -> ExecResult:
    """Run ``argv`` in a running instance and return when it has ended. The options are those of Session."""
    options: dict[str, Any] = {"environment": environment, "cwd": cwd, "user": user, "group": group}
    with Session(client, instance, argv, timeout=timeout, **options) as session:
        session.write(stdin)
        session.end_input()
        return session.finish()
