# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of jobs that are asked for again and again: what has been made of them once is kept, as the bytes to send.

A job's line is good for one version of its record. A whole answer is good as long as nobody has written to the
store, which its stamp tells, whichever process writes.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from ..jobs.model import JOB, Job

#: Bytes that are kept of lines, and of answers.
MOST_LINES, MOST_ANSWERS = 32 << 20, 16 << 20
#: What a line costs beside its text.
EXTRA = 500
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """What was used last, of about so many bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._items.get(key)
            if found is None:
                return None
            self._items.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        with self._lock:
            self._size += size - self._items.pop(key, (None, 0))[1]
            self._items[key] = value, size
            while self._size > self._most:
                self._size -= self._items.popitem(last=False)[1][1]


@dataclass(frozen=True)
class Line:
    """A job as it is shown, and what tells who may see it."""

    version: int
    time: float
    text: bytes
    workflow: str
    target: list[str]

    @classmethod
    def of(cls, record: Record) -> Line:
        job = Job.of(record)
        text = json.dumps(job.public(), separators=(",", ":"), default=str).encode()
        return cls(record.version, record.time, text, job.workflow, job.target)


class Lines:
    """Jobs as lines: only those that have changed are read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: Kept[str, Line] = Kept(MOST_LINES)

    def find(self, query: Query) -> list[tuple[str, Line]]:
        """Ids and lines of the jobs that are wanted, all of one moment."""
        return self._store.read(lambda change: self._find(change, query))

    def _find(self, change: Change, query: Query) -> list[tuple[str, Line]]:
        wanted = change.versions(JOB, query)
        known = {key: self._kept.get(key) for key, _version, _time in wanted}
        found = {
            key: line
            for key, version, time in wanted
            if (line := known[key]) and (line.version, line.time) == (version, time)
        }
        fresh = [key for key, _version, _time in wanted if key not in found]
        change.fetch_ahead([(JOB, key) for key in fresh])
        for key in fresh:
            found[key] = line = Line.of(change.get(JOB, key))
            self._kept.put(key, line, len(line.text) + EXTRA)
        return [(key, found[key]) for key, _version, _time in wanted]


@dataclass(frozen=True)
class Answer:
    stamp: str
    body: bytes


class Answers:
    """Whole answers of a list, by who asks and what is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: Kept[tuple[Hashable, ...], Answer] = Kept(MOST_ANSWERS)

    def look(self, key: tuple[Hashable, ...]) -> tuple[str | None, bytes | None]:
        """The store's stamp now, and the answer if it is still good."""
        stamp = self._store.stamp()
        found = self._kept.get(key) if stamp is not None else None
        return stamp, found.body if found and found.stamp == stamp else None

    def keep(self, key: tuple[Hashable, ...], stamp: str, body: bytes) -> None:
        """``stamp`` is from before the answer was made: whatever was written since makes it no good."""
        size = sum(len(part) for part in key if isinstance(part, bytes | str))
        self._kept.put(key, Answer(stamp, body), len(body) + size + EXTRA)


class Ready(APIRoute):
    """A route that only reads the store, and answers alike whoever has the same role and scope."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        made = super().get_route_handler()

        async def handler(request: Request) -> Response:
            answers: Answers = request.app.state.answers
            token = (await request.app.state.gate.caller(request)).token
            scope = (token.role, tuple(token.workflows), tuple(token.targets))
            key = (*scope, request.scope["path"], request.scope["query_string"])
            stamp, body = await run_in_threadpool(answers.look, key)
            if body is not None:
                return Response(body, media_type="application/json")
            answer = await made(request)
            if stamp is not None and answer.status_code == 200:
                answers.keep(key, stamp, bytes(answer.body))
            return answer

        return handler
