# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service over HTTP on the loopback that fails to order: what the stand-ins with a REST API share."""

from __future__ import annotations

import json
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


class Refused(Exception):
    """An answer with this code and document (a text goes out as it is)."""

    def __init__(self, code: int, document: Any) -> None:
        super().__init__(code)
        self.code, self.document = code, document


@dataclass
class Fault:
    """For requests whose line in ``asked`` the path fits.

    ``how`` is a code to answer with, "drop" (the request is not looked at), "lose" (it is done, and not answered)
    "slow" (it is done after ``seconds``), or one of the site's ``misfortunes``.
    """

    method: str
    path: str
    how: int | str
    times: int = 1
    seconds: float = 0.0


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Site(ABC):
    """Serves from its making to ``close``, but for the time between ``die`` and ``rise``. ``asked`` lists the requests."""

    #: What is said with a fault's code, and as what.
    out_of_order = ("<html>out of order</html>", "text/html")

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.misfortunes: dict[int | str | None, Callable[[], None]] = {}
        self.asked: list[str] = []
        self.lock = threading.RLock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                site.serve(self)

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  these names are the base's

            def log_message(self, *_words: object) -> None:
                """Nobody reads it."""

        self._handler = Handler
        self._dead = False
        self._serve(0)

    def _serve(self, port: int) -> None:
        self._server = Server(("127.0.0.1", port), self._handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def die(self) -> None:
        """Be as if killed: nobody listens, and whoever is connected hears nothing more."""
        self._dead = True
        self.close()

    def rise(self) -> None:
        """Be there again, at the same address."""
        self._dead = False
        self._serve(int(self._server.server_address[1]))

    @abstractmethod
    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Code and document of an answer; None is an empty one. May raise Refused."""

    def line(self, method: str, path: str, query: dict[str, str]) -> str:
        """How a request stands in ``asked``."""
        return f"{method} {path}"

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        line = self.line(request.command, parts.path, query)
        with self.lock:
            self.asked.append(line)
            fault = self._fault(request.command, line)
        how = fault.how if fault else None
        if fault and how == "slow":
            threading.Event().wait(fault.seconds)
        with self.lock:
            if how in self.misfortunes:
                self.misfortunes[how]()
            if self._dead or how == "drop":
                self._hang_up(request)
                return
            if isinstance(how, int):
                self._say(request, how, *self.out_of_order)
                return
            try:
                code, document = self.answer(request, parts.path, query, body)
            except Refused as refused:
                code, document = refused.code, refused.document
            if self._dead or how == "lose":
                self._hang_up(request)
            elif isinstance(document, str):
                self._say(request, code, document, "text/plain")
            else:
                self._say(request, code, "" if document is None else json.dumps(document), "application/json")

    def _fault(self, method: str, line: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == method and re.search(fault.path, line):
                fault.times -= 1
                return fault
        return None

    @staticmethod
    def _hang_up(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _say(request: BaseHTTPRequestHandler, code: int, text: str, kind: str) -> None:
        body = text.encode()
        request.send_response(code)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
