# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver of webhooks that does as it is told: answers, fails, redirects, hangs, drips."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Got:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """``reply`` gives the status for the request so many came before; further headers are ``headers``.

    A status of 0 means: hang until the end; 1: drip the head, a byte now and then.
    """

    reply: Callable[[int], int] = lambda _number: 200
    headers: Mapping[str, str] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        return [one.id for one in list(self.got)]

    def jobs(self) -> list[str]:
        return [one.event["data"]["job"] for one in list(self.got)]


@contextmanager
def receiving(receiver: Receiver, port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                number = len(receiver.got)
                receiver.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status = receiver.reply(number)
            if status < 2:
                self._stall(status)
                return
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _stall(self, drip: int) -> None:
            self.close_connection = True
            try:
                while not receiver.over.wait(0.05):
                    if drip:
                        self.wfile.write(b"H")
            except OSError:
                return  # the other side has had enough

        def log_message(self, format: str, *_args: Any) -> None:  # noqa: A002  its name there
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    if context:
        receiver.scheme = "https"
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
