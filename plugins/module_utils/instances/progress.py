# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells how far an apply is while it runs: to a callback (the terminal) and to a JSON-lines file."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TextIO

from ..common.errors import InvalidInput

#: What is going on in a phase that lasts. The others: ``still`` (a sign of life in a long silence),
#: ``done``, ``failed`` and ``skipped``.
DOING = {
    "create": "creating",
    "update": "updating",
    "start": "starting",
    "stop": "stopping",
    "freeze": "freezing",
    "unfreeze": "resuming",
    "delete": "deleting",
    "wait": "waiting",
}


@dataclass(frozen=True)
class Event:
    """``time`` is seconds since the epoch; ``done`` of ``total`` counts finished resources."""

    time: float
    resource: str
    phase: str
    detail: str
    done: int
    total: int

    def line(self) -> str:
        """The event as a line for people."""
        return f"[{self.done}/{self.total}] {self.resource}: {self.detail or self.phase}"


def _opened(path: str) -> TextIO:
    try:
        return open(path, "a", encoding="utf-8")
    except OSError as error:
        raise InvalidInput([f'progress_file: "{path}" cannot be written: {error.strerror}']) from error


class Progress:
    """Thread-safe reporter. ``path`` gets one JSON object a line, flushed at once."""

    def __init__(self, tell: Callable[[Event], None] | None = None, path: str = "") -> None:
        self._tell = tell
        self._file = _opened(path) if path else None
        self._lock = threading.Lock()
        self._done = 0
        self._now: dict[str, tuple[float, str]] = {}
        self.total = 0

    def report(self, resource: str, phase: str, detail: str = "") -> None:
        self._now[resource] = (time.monotonic(), detail or DOING.get(phase, phase))
        self._emit(resource, phase, detail)

    def still(self, resources: Iterable[str]) -> None:
        """Say of each of these what it is at, and for how long it has been."""
        for resource in sorted(resources):
            since, doing = self._now.get(resource, (0.0, ""))
            if doing:
                self._emit(resource, "still", f"{doing} ({time.monotonic() - since:.0f} s)")

    def _emit(self, resource: str, phase: str, detail: str) -> None:
        with self._lock:
            if phase in ("done", "failed", "skipped"):
                self._done += 1
            event = Event(round(time.time(), 3), resource, phase, detail, self._done, self.total)
            if self._file:
                self._file.write(json.dumps(asdict(event)) + "\n")
                self._file.flush()
            if self._tell:
                self._tell(event)

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
