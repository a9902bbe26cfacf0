# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers killed at fifty random moments while jobs come and go: nothing is lost, done twice at once, or left over.

The named moments of a job's life, with playbooks, are in ``test_jobs_engine.py``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead.jobs.model import Job, JobState
from rackstead.jobs.service import Order, Service, open_jobs
from rackstead.jobs.workflows import Catalog
from tests.conftest import CHECKOUT
from tests.runner.conftest import end, pids, read, state

WORKFLOWS = Path(__file__).parent / "workflows"
SEED = int(os.environ.get("RACKSTEAD_TEST_SEED", "20261122"))
KILLS = 50
#: Jobs that are there whenever a worker starts.
WAITING = 5
SECONDS = 120.0
T = TypeVar("T")
DECLARED = """
argument_specs:
  main:
    options:
      server: {type: str, required: true}
      folder: {type: path, required: true}
workflow: {title: Quick, target: server, retries: 0}
"""


def eventually(condition: Callable[[], T | bool | None], what: str) -> T:
    return wait_until(lambda: condition() or None, Deadline(SECONDS), what=what, first=0.01, most=0.05)  # type: ignore[return-value]


@dataclass
class Site:
    """A state store in SQLite, a folder of jobs, and a process that forks workers on them."""

    folder: Path
    service: Service
    starter: subprocess.Popen[str]
    jobs: list[str] = field(default_factory=list)

    def submit(self, workflow: str, server: str) -> None:
        variables = {"server": server, **({"folder": str(self.folder)} if workflow == "quick" else {})}
        self.jobs.append(self.service.submit(Order(workflow, variables), "ann").id)

    def start(self) -> int:
        assert self.starter.stdin and self.starter.stdout
        self.starter.stdin.write("start\n")
        self.starter.stdin.flush()
        return int(self.starter.stdout.readline())

    def kill(self, worker: int) -> None:
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: state(worker) in "ZX", "the worker to be gone")

    @property
    def log(self) -> list[list[str]]:
        path = self.folder / "log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def open(self) -> int:
        return len(self.service.store.read(open_jobs))

    def family(self) -> set[int]:
        """What was started here and lives, but for the starter itself."""
        mark = f"RSTEST_CRASH={self.folder}".encode()
        found = {pid for pid in pids() if mark in read(pid, "environ").split(b"\0") and state(pid) not in "ZX"}
        return found - {self.starter.pid}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "own/specs").mkdir(parents=True)
    (tmp_path / "own/quick.yml").write_text("- hosts: localhost\n")
    (tmp_path / "own/specs/quick.yml").write_text(DECLARED)
    (tmp_path / "tmp").mkdir()
    places = [tmp_path / "own", WORKFLOWS]
    url = f"sqlite:{tmp_path}/state.db"
    own = {
        "RACKSTEAD_STATE": url,
        "RACKSTEAD_DATA": str(tmp_path / "data"),
        "RACKSTEAD_WORKFLOWS": os.pathsep.join(map(str, places)),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]),
        "RSTEST_CRASH": str(tmp_path),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    words = [sys.executable, str(Path(__file__).with_name("crash_worker.py"))]
    store = open_store(url)
    with (tmp_path / "errors").open("w") as errors:
        starter = subprocess.Popen(
            words, env={**os.environ, **own}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    found = Site(tmp_path, Service(store, tmp_path / "data", Catalog(places)), starter)
    yield found
    with starter:
        starter.kill()
    end(found.family())
    store.close()


def test_workers_killed_at_fifty_random_moments(site: Site) -> None:
    print(f"seed {SEED} (RACKSTEAD_TEST_SEED)")
    chance = random.Random(SEED)
    site.submit("ok", "p")  # a real playbook: it takes longer than most workers live
    for _number in range(KILLS):
        while site.open() < WAITING:
            site.submit("quick", chance.choice("abcd"))
        written = len(site.log)
        worker = site.start()
        at_work = chance.random() < 0.7
        if at_work:
            eventually(lambda written=written: len(site.log) > written, "a job to get on")
        threading.Event().wait(chance.uniform(0.0, 0.3))  # the moment is what is random here
        site.kill(worker)
    last = site.start()
    jobs = [site.service.wait(job, SECONDS) for job in site.jobs]
    check_ends(site, jobs)
    eventually(lambda: not any(b"RACKSTEAD_RUN=" in read(pid, "environ") for pid in site.family()), "the jobs to end")
    site.kill(last)
    eventually(lambda: not site.family(), "what the workers have started to end")


def check_ends(site: Site, jobs: list[Job]) -> None:
    for job in jobs:
        assert (job.state, job.attempt, job.leases) == (JobState.COMPLETED, 1, []), job
    entries = site.service.store.audit(Query(limit=100_000))
    ends = Counter(one.target for one in entries if one.action == "job.completed")
    assert ends == Counter(f"job/{job.id}" for job in jobs)  # the end, which is fenced, was written once
    interrupted = sum(one.action == "job.interrupted" for one in entries)
    assert interrupted and {one.action for one in entries} == {"job.submit", "job.interrupted", "job.completed"}
    assert site.service.store.verify_audit().ok
    print(f"{len(jobs)} jobs, {interrupted} interrupted runs")
    said = Counter(map(tuple, site.log))
    assert not [line for line in said if line[0] == "overlap"]  # never two at one target, leftovers included
    assert max(said.values()) == 1  # no execution ran twice
    assert {run for word, run in said if word == "end"} <= {run for word, run in said if word == "begin"}
