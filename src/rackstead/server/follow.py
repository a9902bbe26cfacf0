# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows a job's events as they are written. The state store is asked when the events say that the job may be
over, and otherwise once in a while: a job that was cancelled before it ran has no events.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from ..jobs.events import FILE, more
from ..jobs.service import FAR_LOOK, Service

#: Seconds between two looks at the file.
LOOK = 0.03
#: Seconds between two questions to the store, and for how long it is asked at each look after an attempt's end.
ASK, EAGER = 1.0, 2.0


@dataclass(frozen=True)
class Line:
    """An event as it stands in the file."""

    seq: int
    time: float
    event: str
    text: str


class Tail:
    """Gives what a file of events has had added since the last time."""

    def __init__(self, path: Path, after: int) -> None:
        self.path = path
        self.after = after
        self._position = 0
        self._rest = b""

    def grown(self) -> bool:
        try:
            return self.path.stat().st_size != self._position
        except FileNotFoundError:
            return False

    def more(self) -> list[Line]:
        """At most a megabyte of them; an empty list means that there are no more."""
        while True:
            self._position, self._rest, raw = more(self.path, self._position, self._rest)
            found = [Line(one["seq"], one["time"], one["event"], text) for one, text in map(_parsed, raw)]
            kept = [line for line in found if line.seq > self.after]
            if kept or not raw:
                return kept


def _parsed(raw: bytes) -> tuple[dict[str, Any], str]:
    text = raw.decode()
    return json.loads(text), text


async def follow(
    service: Service, job_id: str, after: int, stopping: asyncio.Event, gone: Callable[[], bool] = lambda: False
) -> AsyncIterator[list[Line]]:
    """Events with a number above ``after``, until the job is over or nobody listens any more.

    An empty list comes at each look that finds nothing.
    """
    tail = Tail(service.place(job_id) / FILE, after)
    over, asked, eager, looked = False, 0.0, 0.0, 0.0
    while not (stopping.is_set() or gone()):
        if service.parts.used and (over or time.monotonic() - looked >= FAR_LOOK):
            tail, looked = await run_in_threadpool(found_again, service, job_id, tail), time.monotonic()
        found = await run_in_threadpool(tail.more) if tail.grown() else []
        yield found
        if found:
            tail.after = found[-1].seq
            eager = time.monotonic() + EAGER if found[-1].event == "job_ended" else 0.0
            continue
        if over:
            return
        if time.monotonic() - asked >= ASK or time.monotonic() < eager:
            over, asked = await run_in_threadpool(service.over, job_id), time.monotonic()
        if not over:
            await pause(stopping, LOOK)


def found_again(service: Service, job_id: str, tail: Tail) -> Tail:
    """The job may run on another machine, and be taken over by one."""
    path = service.readable(job_id) / FILE
    return tail if path == tail.path else Tail(path, tail.after)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
