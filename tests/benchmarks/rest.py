# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the REST API is: ``python -m tests.benchmarks.rest [JOBS]``. Prints one JSON document.

Lists: pages of 50 of many jobs stored in SQLite, asked for at a fixed rate, whether or not the last answer is there.
Events: from the moment that stands in an event to its arrival at a client that follows the job.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests import conftest  # isort: skip  finds the collection
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead.jobs.ledger import save
from rackstead.jobs.model import Job, JobState, new_id
from tests.runner.rest_server import SECONDS, Server, running

RATE, DURATION, THREADS, BATCH = 100, 20, 16, 2000
STATES = (JobState.COMPLETED, JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)
QUERIES = ("", "?state=failed", "?workflow=apply&state=completed", "?sort=created", "?limit=50&who=anna")
RECAP = {"web-01": {"changed": 3, "failed": 0, "ignored": 0, "ok": 12, "rescued": 0, "skipped": 2, "unreachable": 0}}
assert conftest


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="rackstead-rest-") as place:
        fill(Path(place), count)
        with running(Path(place)) as server:
            found = {"jobs": count, "lists": lists(server), "events": events(server)}
    print(json.dumps(found, indent=2))


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


def lists(server: Server) -> dict[str, float]:
    """Milliseconds, from when a request was due."""
    took: list[float] = []
    begun = time.monotonic() + 0.5
    due = iter(range(RATE * DURATION))
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
            connection.request("GET", "/tasks" + QUERIES[number % len(QUERIES)], headers=headers)
            answer = connection.getresponse()
            assert len(json.loads(answer.read())["items"]) == 50
            took.append((time.monotonic() - at) * 1000)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"requests": len(took), "rate": RATE, **percentiles(took)}


def events(server: Server) -> dict[str, float]:
    late = list(latencies(server))
    return {"events": len(late), **percentiles(late)}


def latencies(server: Server) -> Iterator[float]:
    for _ in range(5):
        job = server.submit("ok", {"what": "x"})
        with server.stream(job["id"]) as stream:
            for one in stream:
                if "seq" in one["data"]:
                    yield (time.time() - one["data"]["time"]) * 1000


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 1) for name, part in at.items()}


if __name__ == "__main__":
    main()
