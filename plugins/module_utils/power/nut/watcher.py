# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches UPSes over time. Each upsd is polled by a thread of its own, so that a dead one holds up nobody else."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...common.errors import InvalidInput, RacksteadError, Unreachable
from .client import NAME, PORT, Client, Server, connect
from .status import LOST, STALE, UpsStatus

#: A server that does not answer is asked again after a poll, then each time so much later, at most so late.
GROWTH, LONGEST_PAUSE = 1.5, 10.0
_HOST = re.compile(r"(?:\[(?P<six>[^\]\s]+)\]|(?P<host>[^@:\[\]\s]+))(?::(?P<port>\d{1,5}))?")
_WHY = {STALE: "the driver has nothing new from the UPS", LOST: "upsd has no driver for the UPS"}


@dataclass(frozen=True)
class Place:
    """Where a UPS is asked for: its name, and the upsd that knows it."""

    ups: str
    server: Server

    def __str__(self) -> str:
        return f"{self.ups}@{self.server}"


@dataclass(frozen=True)
class Observed:
    """What came of asking for a UPS once.

    ``at`` is a second of the monotonic clock. ``number`` grows with every answer, over all UPSes: by it one
    knows a new reading from the last one seen again. Without a ``reason``, ``status`` is a reading to trust.
    """

    name: str
    at: float
    number: int
    status: UpsStatus | None = None
    reason: str = ""


def read_server(text: str, field: str = "host") -> Server:
    """A server from ``HOST[:PORT]``. Raises InvalidInput."""
    found = _HOST.fullmatch(text)
    port = int((found and found["port"]) or PORT)
    if not found or not 1 <= port <= 65535:
        raise InvalidInput([f"{field}: {text!r} is not valid; allowed: HOST or HOST:PORT"])
    return Server(found["six"] or found["host"], port)


def read_place(text: str, field: str = "ups") -> Place:
    """A place from NUT's ``UPS@HOST[:PORT]``. Raises InvalidInput."""
    ups, _at, host = text.partition("@")
    if not NAME.fullmatch(ups) or not _HOST.fullmatch(host):
        raise InvalidInput([f"{field}: {text!r} is not valid; allowed: UPS@HOST or UPS@HOST:PORT"])
    return Place(ups, read_server(host, field))


class Watcher:
    """Polls from ``start`` (or ``with``) to ``stop``. ``latest`` and ``wait`` may be called from any thread.

    ``places`` has a name of the caller's own for each UPS. A server is asked for its UPSes over one session,
    which is opened again when it is lost.
    """

    def __init__(self, places: Mapping[str, Place], *, poll: float = 2.0) -> None:
        self.poll = poll
        self._places = dict(places)
        self._new = threading.Condition()
        self._number = 0
        self._last: dict[str, Observed] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to poll all servers, at once."""
        servers: dict[Server, dict[str, str]] = {}
        for name, place in self._places.items():
            servers.setdefault(place.server, {})[name] = place.ups
        for server, upses in servers.items():
            title = f"upsd {server}"
            thread = threading.Thread(target=self._watch, args=(server, upses), name=title, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the polling. A server that hangs is waited for no longer than its own timeout."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(max(place.server.timeout for place in self._places.values()) + 1)

    def latest(self) -> dict[str, Observed]:
        """The last word on each UPS, by name. What is too old to count has no status, and says so."""
        now = time.monotonic()
        with self._new:
            return {name: self._aged(name, self._last.get(name), now) for name in self._places}

    def wait(self, after: int, timeout: float) -> list[Observed]:
        """What came since the answer numbered ``after``, oldest first; waits for the first, at most ``timeout``.

        Of a UPS that answered several times since, the last answer is given.
        """
        with self._new:
            self._new.wait_for(lambda: self._number > after or self._stopping.is_set(), timeout)
            found = [one for one in self._last.values() if one.number > after]
        return sorted(found, key=lambda one: one.number)

    def _aged(self, name: str, last: Observed | None, now: float) -> Observed:
        """As it was observed, unless that is longer ago than two polls and the server's timeout."""
        if last is None:
            return Observed(name, now, 0, reason="not asked yet")
        if now - last.at <= 2 * self.poll + self._places[name].server.timeout or last.reason:
            return last
        return replace(last, status=None, reason=f"nothing was heard for {now - last.at:.0f} s")

    def _tell(self, name: str, status: UpsStatus | None, reason: str) -> None:
        with self._new:
            self._number += 1
            self._last[name] = Observed(name, time.monotonic(), self._number, status, reason)
            self._new.notify_all()

    def _watch(self, server: Server, upses: Mapping[str, str]) -> None:
        """Poll a server until the end. A lost session is opened again, later each time that fails."""
        pause = self.poll
        while not self._stopping.is_set():
            try:
                with connect(server) as client:
                    while not self._stopping.is_set():
                        self._ask(client, upses)
                        pause = self.poll
                        self._stopping.wait(self.poll)
            except (RacksteadError, OSError) as error:
                self._all_lost(upses, str(error))
                self._stopping.wait(pause)
                pause = min(pause * GROWTH, max(LONGEST_PAUSE, self.poll))

    def _ask(self, client: Client, upses: Mapping[str, str]) -> None:
        """Ask for each UPS once. A refusal is about one of them; a lost connection is about all."""
        for name, ups in upses.items():
            try:
                status = client.status(ups, time.monotonic())
            except Unreachable:
                raise
            except RacksteadError as error:
                self._tell(name, None, str(error))
            else:
                self._tell(name, status, _WHY.get(status.communication, ""))

    def _all_lost(self, upses: Mapping[str, str], reason: str) -> None:
        for name in upses:
            self._tell(name, None, reason)
