# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of executors have in common: attempts of jobs without an engine, and real workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query

from rackstead.executors.elsewhere import Elsewhere
from rackstead.jobs.execution import Verdict
from rackstead.jobs.ledger import Ledger
from rackstead.jobs.model import Job
from rackstead.jobs.service import Order, Service
from tests.conftest import CHECKOUT

WORKFLOWS = Path(__file__).parent / "workflows"
SECRET = "correct-horse-battery-staple"
SECONDS = float(os.environ.get("RACKSTEAD_TEST_PATIENCE", "90"))


def eventually(condition: Callable[[], Any], what: str) -> Any:
    return wait_until(lambda: condition() or None, Deadline(SECONDS), what=what, first=0.02, most=0.05)


@dataclass
class Attempts:
    """A state store. ``begin`` and ``end`` of the ledger do what an engine does before and after an attempt."""

    folder: Path
    service: Service
    #: kind of the executor's notes
    kind: str
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    attempts: list[Elsewhere] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.service.store, "worker", "here", 600.0)

    def submit(self, workflow: str, variables: dict[str, Any] | None = None, **more: Any) -> str:
        given = {"folder": str(self.folder)} if workflow == "sleeps" else {}
        return self.service.submit(Order(workflow, {**given, **(variables or {})}, **more), "ann").id

    def begin(self, job_id: str) -> Job:
        found = self.ledger.begin(job_id, self.service.show(job_id).execution, "1.0.0")
        assert found is not None
        return found

    def attempt(self, job: Job, **settings: Any) -> Elsewhere:
        """The executor's attempt at a job."""
        raise NotImplementedError

    def launch(self, job: Job, **settings: Any) -> Future[Verdict]:
        self.attempts.append(self.attempt(job, **settings))
        return self.pool.submit(self.attempts[-1].run, lambda: True, 0.2)

    def run(self, workflow: str, variables: dict[str, Any] | None = None, **more: Any) -> tuple[Job, Verdict]:
        job = self.begin(self.submit(workflow, variables, **more))
        verdict = self.launch(job).result(SECONDS)
        return self.ledger.end(job, verdict), verdict

    def sleeping(self, number: int = 1) -> bool:
        return len(list(self.folder.glob("run.*"))) == number

    def go(self) -> None:
        (self.folder / "go").touch()

    def notes(self) -> list[str]:
        return [one.key for one in self.service.store.list(self.kind, Query())]

    def counters(self, job: str) -> list[int]:
        return [event["counter"] for event in self.service.events(job) if "counter" in event]

    @contextmanager
    def worker(self, *words: str) -> Iterator[Callable[[], None]]:
        """A worker on this state store. What comes back kills it and starts another."""
        env = {
            **os.environ,
            "RACKSTEAD_STATE": f"file:{self.folder}/state",
            "RACKSTEAD_DATA": str(self.folder / "data"),
            "RACKSTEAD_WORKFLOWS": str(WORKFLOWS),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]),
        }
        running = [start(words, env)]

        def again() -> None:
            running[-1].kill()
            running[-1].wait()
            running.append(start(words, env))

        try:
            yield again
        finally:
            running[-1].terminate()
            assert running[-1].wait(SECONDS) == 0


def start(words: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "rackstead.cli", "worker", *words], env=env, stderr=subprocess.DEVNULL
    )
