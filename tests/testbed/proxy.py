# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unix-socket proxy that notes every request on its way to a daemon.

Only the client's side is parsed (RFC 9112 framing: request line, headers, Content-Length or chunked
body); answers pass through as bytes, and so does everything after an Upgrade request.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Request:
    """``path`` comes with its query. ``connection`` tells the client connections apart."""

    method: str
    path: str
    connection: int

    @property
    def mutating(self) -> bool:
        return self.method not in READING

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RecordingProxy:
    """Listens on ``path`` until closed. ``requests`` grows in the order of arrival."""

    def __init__(self, path: Path, upstream: str) -> None:
        self.path = path
        self.upstream = upstream
        self.requests: list[Request] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(256)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def env(self) -> dict[str, str]:
        return {"RACKSTEAD_URL": self.url}

    @property
    def mutating(self) -> list[str]:
        return [str(request) for request in self.requests if request.mutating]

    def clear(self) -> None:
        self.requests.clear()
        self.connections = 0

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for sock in list(self._open):
            _shut(sock, socket.SHUT_RDWR)
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return  # closed
            self.connections += 1
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.upstream)
            except OSError:  # the daemon is down: the client sees its connection closed, as it would there
                client.close()
                server.close()
                continue
            self._open |= {client, server}
            for target, args in (
                (self._requests, (client, server, self.connections)),
                (self._answers, (server, client)),
            ):
                threading.Thread(target=target, args=args, daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, number: int) -> None:
        with client.makefile("rb") as stream:
            try:
                while self._pass_request(stream, server, number):
                    continue
            except (OSError, ValueError):  # either side hung up
                return
            finally:
                _shut(server, socket.SHUT_WR)

    def _pass_request(self, stream: BinaryIO, server: socket.socket, number: int) -> bool:
        """Note and pass on one request; False at the end of the connection."""
        first = stream.readline()
        if not first:
            return False
        method, path, _version = first.decode("latin-1").split()
        self.requests.append(Request(method, path, number))
        head, headers = [first], {}
        while (line := stream.readline()) not in (b"\r\n", b"\n", b""):
            head.append(line)
            name, _colon, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip().lower()
        server.sendall(b"".join([*head, line]))
        if "upgrade" in headers:
            _copy(stream, server)
            return False
        if headers.get("transfer-encoding") == "chunked":
            _pass_chunks(stream, server)
        else:
            _pass_bytes(stream, server, int(headers.get("content-length", "0")))
        return True

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with server.makefile("rb") as stream:
            try:
                _copy(stream, client)
            except OSError:  # the client hung up
                return
            finally:
                _shut(client, socket.SHUT_WR)
                self._open -= {client, server}


def _copy(stream: BinaryIO, target: socket.socket) -> None:
    while data := stream.read1(65536):  # type: ignore[attr-defined]
        target.sendall(data)


def _pass_bytes(stream: BinaryIO, target: socket.socket, count: int) -> None:
    while count > 0:
        data = stream.read(min(count, 65536))
        if not data:
            raise ValueError("body cut short")
        target.sendall(data)
        count -= len(data)


def _pass_chunks(stream: BinaryIO, target: socket.socket) -> None:
    while True:
        size = stream.readline()
        target.sendall(size)
        count = int(size.split(b";")[0], 16)
        if count == 0:
            break
        _pass_bytes(stream, target, count + 2)
    while (line := stream.readline()) not in (b"\r\n", b""):  # trailers
        target.sendall(line)
    target.sendall(b"\r\n")


def _shut(sock: socket.socket, how: int) -> None:
    try:
        sock.shutdown(how)
    except OSError:
        return  # the other side was quicker
