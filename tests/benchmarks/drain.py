# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast one worker drains jobs that do nothing: ``python -m tests.benchmarks.drain STORE FOLDER JOBS PARALLEL``.

Such a job goes the whole way of every other: submitted with its variables checked, recorded and audited; queued and
handed out by DBOS; its lease taken, its record and its line among the open jobs written; events on disk; its end
written under its lease and audited. Only the process is left out that would run ansible-playbook: an executor that
answers at once takes its place. JOBS are there before the worker starts; the clock runs from when it takes jobs until
the last has ended. Every job is looked at then, and the audit chain verified.

With ``--floor`` it is DBOS alone that hands out as many executions of nothing. Prints one JSON document.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead.jobs.engine import Engine, Settings
from rackstead.jobs.execution import Attempt, End, Verdict
from rackstead.jobs.model import JOB, OPEN, Job, Result
from rackstead.jobs.queue import Queue
from rackstead.jobs.service import Order, Service
from rackstead.jobs.workflows import Catalog, Workflow
from tests.conftest import CHECKOUT

WORKFLOWS = CHECKOUT / "tests/runner/workflows"
RECAP = {"localhost": {"ok": 2, "changed": 1, "unreachable": 0, "failed": 0, "skipped": 0, "rescued": 0, "ignored": 0}}
TASKS = [{"task": "Say it", "seconds": 0.1}, {"task": "Change something", "seconds": 0.1}]
#: Seconds in which a drain must be through.
PATIENCE = 600.0


class Nothing:
    """An executor whose attempts have ended well before they began."""

    def attempt(self, _job: Job, _workflow: Workflow, _variables: dict[str, Any], _folder: Path) -> Attempt:
        return self

    def run(self, _renew: Callable[[], bool], _every: float) -> Verdict:
        return Verdict(End.RESULT, Result(0, changed=True, recap=RECAP, tasks=TASKS))

    def stop(self, end: End) -> None:
        """There is nothing to stop."""

    def tend(self) -> None:
        """Nor to tend."""

    def close(self) -> None:
        """Nor to close."""


def queue_url(store: str, folder: Path) -> str:
    """The queue's database, as a worker on this store has it."""
    own = f"sqlite:///{folder}/queue.sqlite"
    return store.replace("postgresql:", "postgresql+psycopg:", 1) if store.startswith("postgresql:") else own


def drained(store: str, folder: Path, count: int, parallel: int) -> dict[str, float]:
    service = Service(open_store(store), folder, Catalog([WORKFLOWS]))
    begun = time.monotonic()
    for number in range(count):
        service.submit(Order("ok", {"what": "x", "server": f"s{number}"}), "bench")
    submitted = count / (time.monotonic() - begun)
    engine = Engine(service, Settings(parallel, queue_url(store, folder)), Nothing())
    engine.start()
    found = timed(count, lambda: not service.store.list(OPEN, Query(limit=1)))
    check(service, count)
    engine.stop()
    service.store.close()
    return {"submitted": round(submitted, 1), **found}


def check(service: Service, count: int) -> None:
    states = [record.body["state"] for record in service.store.list(JOB, Query(limit=count + 1))]
    entries = service.store.audit(Query(limit=3 * count))
    if states != ["completed"] * count or len(entries) != 2 * count or not service.store.verify_audit().ok:
        raise RuntimeError(f"{len(states)} jobs, {states.count('completed')} completed, {len(entries)} audit entries")


def floor(store: str, folder: Path, count: int, parallel: int) -> dict[str, float]:
    """The clock runs from the first that is queued, as a worker queues while it runs."""
    done: list[str] = []
    queue = Queue(queue_url(store, folder), "bench")
    queue.start(lambda job, _execution: done.append(job), parallel)

    def fill() -> None:
        for number in range(count):
            queue.put(f"job{number}", 1, 5, True)

    found = timed(count, lambda: len(done) == count, fill)
    queue.stop()
    return found


def timed(count: int, over: Callable[[], bool], first: Callable[[], None] = lambda: None) -> dict[str, float]:
    begun, spent = time.monotonic(), cpu()
    first()
    wait_until(lambda: over() or None, Deadline(PATIENCE), what="the last job to end", first=0.02, most=0.02)
    rate = count / (time.monotonic() - begun)
    return {"drained": round(rate, 1), "cpu_ms": round((cpu() - spent) / count * 1000, 2)}


def cpu() -> float:
    """Seconds of processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--floor"]
    work = floor if "--floor" in sys.argv else drained
    print(json.dumps(work(words[0], Path(words[1]), int(words[2]), int(words[3]))))


if __name__ == "__main__":
    main()
