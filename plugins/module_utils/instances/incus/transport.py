# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to one Incus daemon, over its unix socket or over TLS, with connections kept per thread.

The protocol is Incus's REST API (https://linuxcontainers.org/incus/docs/main/rest-api/). It asks
nothing of a managed host but Python; ssl is imported only where the daemon is reached over TLS.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, NoReturn
from urllib.parse import quote, urlencode

from ...common.errors import Conflict, Denied, NotFound, OperationFailed, RacksteadError, Unreachable, Unsupported
from ...common.known import known
from .http1 import Connection, Sink

if TYPE_CHECKING:
    from .tls import Dialler

DEFAULT_SOCKET = "/var/lib/incus/unix.socket"
DEFAULT_PORT = 8443
DEFAULT_TIMEOUT = 60.0


class Endpoint(NamedTuple):
    """Where a daemon listens and how to prove who we are and who it is.

    ``url`` is empty for the local daemon, ``unix:///path`` or ``https://host:port``. ``fingerprint``
    is the SHA-256 of the server's certificate in hex; given, it is the only thing trusted
    (pinning). Without it the certificate is verified against ``ca_file`` or the system's store.
    """

    url: str = ""
    project: str = "default"
    cert_file: str = ""
    key_file: str = ""
    fingerprint: str = ""
    ca_file: str = ""

    @property
    def socket_path(self) -> str:
        if not self.url:
            return DEFAULT_SOCKET
        return self.url[len("unix://") :] if self.url.startswith("unix://") else ""

    @property
    def label(self) -> str:
        return self.url or f"unix://{DEFAULT_SOCKET}"


class Response(NamedTuple):
    """A finished answer: status, headers with lower-case names, and the body as bytes."""

    status: int
    headers: dict[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The JSON envelope. An operation that failed arrives with HTTP 200 and an error inside."""
        envelope: dict[str, Any] = json.loads(self.body)
        if envelope.get("type") == "error":
            raise typed_error(int(envelope.get("error_code") or 500), str(envelope.get("error")))
        return envelope

    def metadata(self) -> Any:
        return self.document()["metadata"]


def typed_error(status: int, message: str) -> RacksteadError:
    """The error for a refusal, in one line. Incus puts some causes under status 500, told apart only by text."""
    message = " ".join(message.split())
    low = message.lower()
    if status == 404 or "not found" in low:
        return NotFound(message)
    if status in (401, 403) or "certificate is restricted" in low:
        return Denied(message, hint="the client certificate is not trusted by this server, or is restricted")
    if status in (409, 412) or "already exists" in low or "already in use" in low or "unique constraint" in low:
        return Conflict(message)
    if "is not supported on this server" in low:
        return Unsupported(message)
    return OperationFailed(message)


class Pending:
    """A request that was sent and whose answer is read later, on a connection nobody else uses meanwhile."""

    def __init__(self, transport: Transport, connection: Connection, doing: str) -> None:
        self._transport = transport
        self._connection: Connection | None = connection
        self._doing = doing

    def response(self, timeout: float, sink: Sink | None = None) -> Response:
        """The answer; ``timeout`` is the longest silence in seconds. A status of 400 or more raises its typed error."""
        connection, self._connection = known(self._connection), None
        try:
            connection.sock.settimeout(timeout)
            response = Response(*connection.receive(sink))
        except OSError as error:
            connection.close()
            raise self._transport.unreachable(error, self._doing) from error
        except BaseException:  # interrupted, or the sink failed: what is left of the answer is unread
            connection.close()
            raise
        self._transport.keep(connection)
        if response.status >= 400:
            raise typed_error(response.status, _message(response))
        return response

    def close(self) -> None:
        """Give up on the answer."""
        if self._connection is not None:
            self._connection.close()


class Transport:
    """Requests to one endpoint. Safe to share between threads: each keeps a connection of its own."""

    def __init__(self, endpoint: Endpoint, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self._local = threading.local()
        self._dialler: Dialler | None = None

    def request(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        sink: Sink | None = None,
    ) -> Response:
        """Send one request and read the whole answer.

        ``body`` is bytes, an open binary file, or anything JSON. A status of 400 or more raises the
        matching typed error. The body of a good answer goes to ``sink`` in pieces, where one is given,
        and not into the response. A kept connection that the daemon has closed is opened anew before
        sending; a request that was sent is never sent twice.
        """
        longest = self.timeout if timeout is None else timeout
        return self.begin(method, path, params, body, headers, longest).response(longest, sink)

    def begin(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> Pending:
        """Send a request whose answer is read later. This thread's next request takes another connection."""
        payload, head = _encode(body, headers)
        connection = self._take(self.timeout if timeout is None else timeout)
        pending = Pending(self, connection, f"{method} {path}")
        try:
            connection.send(method, _target(path, params), head, payload)
        except (BrokenPipeError, ConnectionResetError) as error:
            # Refused before the body was through: the refusal may still be there to read.
            self._answered_early(connection, error, f"{method} {path}")
        except OSError as error:
            connection.close()
            raise self.unreachable(error, f"{method} {path}") from error
        except BaseException:  # interrupted, or the file could not be read: half a request was sent
            connection.close()
            raise
        return pending

    def _answered_early(self, connection: Connection, error: OSError, doing: str) -> NoReturn:
        try:
            response = Response(*connection.receive())
        except OSError:
            raise self.unreachable(error, doing) from error
        finally:
            connection.close()
        raise typed_error(max(response.status, 400), _message(response))

    def upgrade(self, path: str, params: dict[str, str], protocol: str) -> socket.socket:
        """A connected socket of its own that speaks ``protocol`` from here on (HTTP's Upgrade). The client speaks first."""
        connection = self.open()
        try:
            connection.send("GET", _target(path, params), {"Connection": "Upgrade", "Upgrade": protocol})
            response = Response(*connection.receive())
        except OSError as error:
            connection.close()
            raise self.unreachable(error, f"GET {path}") from error
        if response.status != 101:
            connection.close()
            raise typed_error(max(response.status, 400), _message(response))
        return connection.sock

    def open(self) -> Connection:
        """A fresh connection (TLS done, certificate checked)."""
        try:
            if self.endpoint.socket_path:
                return Connection(self._open_unix(self.endpoint.socket_path), "incus")
            return self._tls().open(self.timeout)
        except OSError as error:
            raise self.unreachable(error, "connect") from error

    def _tls(self) -> Dialler:
        if self._dialler is None:
            from .tls import Dialler  # and with it ssl, which takes longer to import than all of this

            self._dialler = Dialler(self.endpoint)
        return self._dialler

    def keep(self, connection: Connection) -> None:
        """Take a connection back for this thread's next request."""
        if self._dialler is not None:
            self._dialler.learn(connection.sock)
        if connection.reusable and getattr(self._local, "connection", None) is None:
            self._local.connection = connection
        else:
            connection.close()

    def close(self) -> None:
        """Close this thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _take(self, timeout: float) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None and _is_stale(connection.sock):
            connection.close()
            connection = None
        connection = connection or self.open()
        connection.sock.settimeout(timeout)
        return connection

    def _open_unix(self, path: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(path)
        except OSError:
            sock.close()
            raise
        return sock

    def unreachable(self, error: Exception, doing: str) -> Unreachable:
        hint = ""
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            hint = "is the Incus daemon running? `rackstead init` sets one up"
        elif isinstance(error, PermissionError):
            hint = "you need to be root or in the group incus-admin (log in again after joining it)"
        elif type(error).__name__ == "SSLCertVerificationError":  # told by name to spare the import of ssl
            hint = "give the server's fingerprint to pin it, or its CA"
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(f"{doing}: {reason}", where=f"Incus at {self.endpoint.label}", hint=hint)


def _target(path: str, params: dict[str, str] | None) -> str:
    return quote(path, safe="/-._~") + ("?" + urlencode(params) if params else "")


def _encode(body: Any, headers: dict[str, str] | None) -> tuple[bytes | BinaryIO | None, dict[str, str]]:
    head = dict(headers or {})
    if body is None:
        return None, head
    if isinstance(body, bytes):
        head.setdefault("Content-Type", "application/octet-stream")
        return body, head
    if hasattr(body, "read"):
        head.setdefault("Content-Type", "application/octet-stream")
        return body, head
    head.setdefault("Content-Type", "application/json")
    return json.dumps(body).encode(), head


def _message(response: Response) -> str:
    try:
        return str(json.loads(response.body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status}: {response.body[:200].decode(errors='replace')}"


def _is_stale(sock: socket.socket) -> bool:
    """Whether the peer closed a kept connection: an idle one has nothing to read unless it is closed."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
