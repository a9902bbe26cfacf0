# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to one project of one daemon, and waiting for the operations that they start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...common.deadline import Deadline
from ...common.errors import DeadlineExceeded, NotFound
from .transport import Endpoint, Pending, Response, Transport, typed_error

if TYPE_CHECKING:
    import socket
    from typing import Self

    from .http1 import Sink

OPERATION_TIMEOUT = 600.0


class PendingOperation:
    """The end of an operation, asked for and not read yet."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def result(self, timeout: float = OPERATION_TIMEOUT) -> Any:
        """The operation's metadata. Raises its failure, typed."""
        return _ended(self._pending.response(timeout).metadata())

    def close(self) -> None:
        self._pending.close()


def _ended(state: dict[str, Any]) -> dict[str, Any]:
    """An ended operation's document, or its failure raised."""
    if state["status_code"] >= 400:
        raise typed_error(500, state["err"])
    return state


class Requests:
    """One project on one daemon. Paths are relative to ``/1.0``. Raises the errors of common/errors."""

    def __init__(self, endpoint: Endpoint, *, transport: Transport | None = None) -> None:
        self.endpoint = endpoint
        self.transport = transport or Transport(endpoint)
        self.project = endpoint.project or "default"

    def in_project(self, project: str) -> Self:
        """The same daemon and connections, another project."""
        if project in ("", self.project):
            return self
        other = type(self)(self.endpoint, transport=self.transport)
        other.project = project
        return other

    # -- requests ---------------------------------------------------------------------------------
    def raw(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        sink: Sink | None = None,
    ) -> Response:
        query = {"project": self.project, **(params or {})}
        return self.transport.request(method, f"/1.0{path}", query, body, headers, timeout, sink)

    def upgrade(self, path: str, protocol: str) -> socket.socket:
        """A socket that speaks ``protocol`` with the daemon."""
        return self.transport.upgrade(f"/1.0{path}", {"project": self.project}, protocol)

    def get(self, path: str, **params: str) -> Any:
        """The metadata of a GET."""
        return self.raw("GET", path, params).metadata()

    def find(self, path: str, **params: str) -> Any:
        """As ``get``, but None where there is no such thing."""
        try:
            return self.get(path, **params)
        except NotFound:
            return None

    def change(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = OPERATION_TIMEOUT,
    ) -> Any:
        """Every write goes through here: send it and, where it is an operation, wait for its end."""
        answer = self.raw(method, path, params, body, headers).document()
        if answer["type"] == "async":
            return self.wait(answer["metadata"]["id"], timeout)
        return answer["metadata"]

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.change("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.change("PUT", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.change("PATCH", path, body, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self.change("DELETE", path, **options)

    def wait(self, operation: str, timeout: float = OPERATION_TIMEOUT) -> Any:
        """Wait for an operation's end and return its metadata. Raises its failure, typed."""
        deadline = Deadline(timeout)
        while True:
            left = deadline.remaining()
            chunk = max(1, min(30, int(left)))
            found = self.raw("GET", f"/operations/{operation}/wait", {"timeout": str(chunk)}, timeout=chunk + 30)
            state = found.metadata()
            if state["status_code"] >= 200:
                return _ended(state)
            if deadline.expired():
                raise DeadlineExceeded(f"operation {state['description']!r} did not end within {timeout:g} s")

    def begin_wait(self, operation: str) -> PendingOperation:
        """Ask for an operation's end now and read the answer later: no round trip is left when it ends."""
        params = {"project": self.project, "timeout": "-1"}
        return PendingOperation(self.transport.begin("GET", f"/1.0/operations/{operation}/wait", params))

    def operations(self) -> list[dict[str, Any]]:
        """Operations that are still running in this project."""
        found = self.get("/operations", recursion="1")
        return [dict(op) for group in ("pending", "running") for op in found.get(group, [])]
