# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer for ``ws:`` in tests: the official client's own protocol (CBOR over ``/rpc``), bridged to an embedded engine.

Not a server: one user and password are let in, and requests are served one at a time, since all connections
share the engine's one session. The engine's threads do not survive a fork: ``process()`` keeps them elsewhere.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from surrealdb._surrealdb_ext import SyncEmbeddedDB
from surrealdb.data.cbor import decode, encode
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

OPEN = ("signin", "use", "ping")


class Peer:
    def __init__(self, user: str = "", password: str = "") -> None:
        self._user, self._password = user, password
        self._engine = SyncEmbeddedDB("mem://")
        self._engine.connect()
        self._server: Server = serve(
            self._serve,
            "127.0.0.1",
            0,
            subprotocols=["cbor"],
            logger=logging.getLogger("peer"),  # type: ignore[list-item]
        )
        self._connections: set[ServerConnection] = set()
        self._lock = threading.Lock()
        self._used = b""
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        """Without the database's name."""
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/rackstead"

    def hang_up(self) -> None:
        """End all connections, as a server does that is restarted."""
        for one in list(self._connections):
            one.close()

    def close(self) -> None:
        self.hang_up()
        self._server.shutdown()
        self._thread.join()
        self._engine.close()

    def _serve(self, connection: ServerConnection) -> None:
        known, place = not self._user, b""
        self._connections.add(connection)
        with suppress(ConnectionClosed):
            for message in connection:
                assert isinstance(message, bytes)
                request: dict[str, Any] = decode(message)
                if request["method"] == "signin":
                    given = request["params"][0]
                    known = (given.get("user"), given.get("pass")) == (self._user, self._password)
                    connection.send(self._answer(request, known and not given.get("NS")))
                elif known or request["method"] in OPEN:
                    place = message if request["method"] == "use" else place
                    connection.send(self._execute(place, message))
                else:
                    connection.send(self._answer(request, False))
        self._connections.discard(connection)

    def _execute(self, place: bytes, message: bytes) -> bytes:
        """In the namespace and database of the connection."""
        with self._lock:
            if place != self._used:
                self._engine.execute(place)
                self._used = place
            return bytes(self._engine.execute(message))

    @staticmethod
    def _answer(request: dict[str, Any], well: bool) -> bytes:
        body = {"result": "token"} if well else {"error": {"code": -32000, "message": "authentication failed"}}
        return encode({"id": request["id"], **body})


@contextmanager
def running(user: str = "", password: str = "") -> Iterator[Peer]:
    peer = Peer(user, password)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def process() -> Iterator[str]:
    """A peer in a process of its own, that ends with this one; gives its URL without the database's name."""
    argv = [sys.executable, __file__]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        try:
            yield known(peer.stdout).readline().strip()
        finally:
            known(peer.stdin).close()  # which ends it, also when this process was killed


def known(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


if __name__ == "__main__":
    with running() as told:
        print(told.url, flush=True)
        sys.stdin.read()
