# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor: what the daemon itself needs, asked over its socket with nothing in between.

This shares no code with the collection on purpose. Each worker keeps one connection, sends the
request and waits for the operation's end, as the REST API describes it:
https://linuxcontainers.org/incus/docs/main/rest-api/
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode, urlsplit

WORKERS = (1, 4, 8)


class Refused(Exception):
    """The daemon said no, or the operation failed."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("incus", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Rest:
    """One project over one socket. Threads share it; each has a connection of its own."""

    def __init__(self, path: str, project: str = "default") -> None:
        self.path = path
        self.project = project
        self._local = threading.local()

    def ask(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        """Metadata of the answer, or of the operation once it has ended. Raises Refused."""
        answer = self._send(method, f"/1.0{path}?{urlencode({'project': self.project, **params})}", body)
        if answer["type"] == "async":
            done = self._send("GET", answer["operation"] + "/wait", None)["metadata"]
            if done["status_code"] != 200:
                raise Refused(f"{method} {path}: {done['err']}")
            return done
        return answer["metadata"]

    def _send(self, method: str, target: str, body: Any) -> Any:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _Connection(self.path)
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()  # the daemon has closed it, which it does after some idle seconds
        try:
            connection.request(method, target, None if body is None else json.dumps(body))
            answer = json.loads(connection.getresponse().read())
        except BaseException:
            connection.close()  # the next request opens it anew
            raise
        if answer["type"] == "error":
            raise Refused(f"{method} {target}: {answer['error']}")
        return answer

    # -- what the floor does --------------------------------------------------------------------------
    def names(self) -> list[str]:
        return [urlsplit(url).path.rsplit("/", 1)[-1] for url in self.ask("GET", "/instances")]

    def create(self, name: str, image: str, config: dict[str, str]) -> None:
        source = {"type": "image", "alias": image}
        self.ask("POST", "/instances", {"name": name, "source": source, "config": config})

    def start(self, name: str) -> None:
        self.ask("PUT", f"/instances/{name}/state", {"action": "start", "timeout": -1})

    def stop(self, name: str) -> None:
        """Cut the power: what ``incus stop --force`` does."""
        self.ask("PUT", f"/instances/{name}/state", {"action": "stop", "force": True, "timeout": -1})

    def delete(self, name: str) -> None:
        self.ask("DELETE", f"/instances/{name}")

    def look(self) -> list[dict[str, Any]]:
        """Everything about all instances but their addresses, in one call."""
        found: list[dict[str, Any]] = self.ask("GET", "/instances", recursion="1")
        return found


def each(action: Callable[[str], None], names: Sequence[str], workers: int) -> None:
    """Do it to all, ``workers`` at a time. The first failure is raised once the others have ended."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(action, names))
