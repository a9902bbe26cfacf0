# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP connection over a socket that is connected already: http.client, with the answer read later."""

from __future__ import annotations

import http.client
import os
import socket
import stat
from collections.abc import Callable
from typing import BinaryIO

CHUNK = 256 * 1024
WITHOUT_BODY = (101, 204, 304)

Headers = dict[str, str]
#: Takes the body of a good answer, piece by piece.
Sink = Callable[[bytes], object]


class ProtocolError(OSError):
    """The peer said something that is not HTTP, or hung up in the middle of it."""


class Connection:
    """One connection. A request is sent, then its answer received, then the next."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self.sock = sock
        self.reusable = True
        self._http = http.client.HTTPConnection(host, blocksize=CHUNK)
        self._http.sock = sock
        self._http.auto_open = 0  # a lost connection is an error here, never opened anew behind our back

    def send(self, method: str, target: str, headers: Headers, body: bytes | BinaryIO | None = None) -> None:
        """Send a request. A file is sent from where it stands, without ever being held in memory whole."""
        size = _size(body)
        framing = {} if size is None else {"Content-Length": str(size)}
        try:
            self._http.request(method, target, body=body, headers={**headers, **framing}, encode_chunked=size is None)
        except http.client.HTTPException as error:
            raise ProtocolError(f"{type(error).__name__} {error}".strip()) from error

    def receive(self, sink: Sink | None = None) -> tuple[int, Headers, bytes]:
        """Status, headers (names in lower case) and body of the answer."""
        try:
            answer = self._http.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            self.reusable = not answer.will_close
            if answer.status in WITHOUT_BODY:
                return answer.status, headers, b""
            if sink is None or answer.status >= 400:
                return answer.status, headers, answer.read()
            while piece := answer.read(CHUNK):
                sink(piece)
            return answer.status, headers, b""
        except http.client.HTTPException as error:
            raise ProtocolError(f"{type(error).__name__} {error}".strip()) from error

    def close(self) -> None:
        self._http.close()
        self.sock.close()


def _size(body: bytes | BinaryIO | None) -> int | None:
    """Bytes left in the body; None where that cannot be known before it is sent (a pipe)."""
    if body is None:
        return 0
    if isinstance(body, bytes):
        return len(body)
    try:
        status = os.fstat(body.fileno())
        return max(status.st_size - body.tell(), 0) if stat.S_ISREG(status.st_mode) else None
    except (OSError, AttributeError):
        return None
