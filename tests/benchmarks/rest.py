# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the REST API is: lists of many jobs, and events that come while a job runs.

Lists: pages of 50 of many jobs stored in SQLite, asked for at a fixed rate, whether or not the last answer is there.
Events: from the moment that stands in an event to its arrival at a client that follows the job.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead.jobs.ledger import save
from rackstead.jobs.model import Job, JobState, new_id
from tests.runner.rest_server import SECONDS, Server, running

from .measures import MILLISECONDS, Measure, percentile
from .process import Failed

RATE, THREADS, BATCH = 100, 16, 2000
LISTS, EVENTS = "GET /tasks at 100 a second, 99th percentile", "an event to a client that follows"
OURS, FLOOR = "rackstead serve", "GET /health"
STATES = (JobState.COMPLETED, JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)
QUERIES = ("", "?state=failed", "?workflow=apply&state=completed", "?sort=created", "?limit=50&who=anna")
RECAP = {"web-01": {"changed": 3, "failed": 0, "ignored": 0, "ok": 12, "rescued": 0, "skipped": 2, "unreachable": 0}}


def measures(stored: int, seconds: int, jobs: int, rounds: int, say: Callable[[str], None]) -> list[Measure]:
    """Each round asks for so many ``seconds``, and follows so many ``jobs``."""
    lists = Measure(LISTS, OURS, stored, MILLISECONDS, floor=FLOOR)
    floor = Measure(LISTS, FLOOR, stored, MILLISECONDS)
    events = Measure(EVENTS, OURS, 0, MILLISECONDS)
    with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as place:
        fill(Path(place), stored)
        with running(Path(place)) as server:
            asked(server, [f"/tasks{query}" for query in QUERIES], 1)  # what is imported and cached at first is now
            for _ in range(rounds):
                for measure, paths in ((lists, [f"/tasks{query}" for query in QUERIES]), (floor, ["/health"])):
                    took = asked(server, paths, seconds)
                    measure.rounds.append(percentile(took, 0.99))
                    measure.extra = {"requests": len(took), "p50_ms": round(percentile(took, 0.5), 2)}
                    say(f"{LISTS} · {paths[0]} of {stored}: {measure.rounds[-1]:.1f} ms")
            late = [late for _ in range(rounds * jobs) for late in latencies(server)]
    events.rounds, events.count = late, len(late)
    events.extra = {"p99_ms": round(percentile(late, 0.99), 2), "max_ms": round(max(late), 2)}
    say(f"{EVENTS}: {events.median:.1f} ms")
    return [lists, floor, events]


def fill(folder: Path, count: int) -> None:
    store = open_store(f"sqlite:{folder}/state.db")
    tasks = [{"task": f"Task {number}", "seconds": 0.5} for number in range(10)]

    def batch(first: int) -> None:
        def work(change: Any) -> None:
            for number in range(first, min(first + BATCH, count)):
                state = STATES[number % len(STATES)]
                name = ("apply", "status", "health")[number % 3]
                now = time.time()
                job = Job(new_id(), name, name, {"plan_src": "/srv/web.yml"}, now, "anna", state=state)
                save(change, replace(job, recap=RECAP, tasks=tasks, started=now, ended=now))

        store.change(work)

    for first in range(0, count, BATCH):
        batch(first)
    store.close()


def asked(server: Server, paths: Sequence[str], seconds: int) -> list[float]:
    """Milliseconds, from when a request was due."""
    took: list[float] = []
    begun = time.monotonic() + 0.5
    due = iter(range(RATE * seconds))
    lock = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=SECONDS)
        headers = {"Authorization": f"Bearer {server.token}"}
        while True:
            with lock:
                number = next(due, None)
            if number is None:
                break
            at = begun + number / RATE
            threading.Event().wait(max(0.0, at - time.monotonic()))
            connection.request("GET", paths[number % len(paths)], headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            seen = time.monotonic()
            if answer.status == http.client.OK and json.loads(text).get("items", text):
                took.append((seen - at) * 1000)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(took) != RATE * seconds:
        raise Failed(f"{RATE * seconds - len(took)} of {RATE * seconds} requests failed")
    return took


def latencies(server: Server) -> Iterator[float]:
    job = server.submit("ok", {"what": "x"})
    with server.stream(job["id"]) as stream:
        for one in stream:
            if "seq" in one["data"]:
                yield (time.time() - one["data"]["time"]) * 1000
