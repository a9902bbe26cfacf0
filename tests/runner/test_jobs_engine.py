# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs, run by workers as processes of their own, with real playbooks; killed at every moment of a job's life."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import keys_from_environment, new_key
from testbed import postgres

from rackstead.jobs.engine import Engine, Identity, Settings
from rackstead.jobs.execution import read_result, result_file
from rackstead.jobs.model import PART, Job, JobState
from rackstead.jobs.retention import Retention
from rackstead.jobs.service import Order, Service
from rackstead.jobs.workflows import Catalog
from rackstead.processes import NOBODY, members
from tests.conftest import CHECKOUT

WORKFLOWS = Path(__file__).parent / "workflows"
SECRET = "correct-horse-battery-staple"
#: Generous: for a machine that is busy with other things.
SECONDS = 90.0
T = TypeVar("T")


def eventually(condition: Callable[[], T | bool | None], what: str, pause: float = 0.05) -> T:
    """What the condition gives when it gives something."""
    return wait_until(lambda: condition() or None, Deadline(SECONDS), what=what, first=pause, most=pause)  # type: ignore[return-value]


@dataclass
class Site:
    """A state store and a folder of jobs, and the workers that were started on them."""

    folder: Path
    service: Service
    env: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    def start(self, parallel: int = 2, heartbeat: float = 5.0, data: str = "data") -> subprocess.Popen[bytes]:
        words = [
            "worker",
            "--parallel",
            str(parallel),
            "--heartbeat",
            str(heartbeat),
            "--data",
            str(self.folder / data),
        ]
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            found = subprocess.Popen(
                [sys.executable, "-m", "rackstead.cli", *words], env=self.env, stdout=log, stderr=log
            )
        self.workers.append(found)
        eventually(lambda: found.poll() is not None or found.pid in self.pids(), "the worker")
        assert found.poll() is None, Path(log.name).read_text()
        return found

    def pids(self) -> list[int]:
        return [one.body["pid"] for one in self.service.workers()]

    def submit(self, workflow: str, variables: dict[str, Any] | None = None, **more: Any) -> str:
        given = {"folder": str(self.folder)} if workflow in ("sleeps", "forks", "flaky") else {}
        job = self.service.submit(Order(workflow, {**given, **(variables or {})}, **more), "ann")
        self.jobs.append(job.id)
        return job.id

    def ended(self, job: str) -> Job:
        return self.service.wait(job, SECONDS)

    def is_at(self, job: str, state: str) -> Job | None:
        found = self.service.show(job)
        return found if found.state == state else None

    def runs(self, number: int) -> bool:
        """Whether so many runs of the workflow ``sleeps`` have begun."""
        return len(list(self.folder.glob("run.*"))) >= number

    def go(self) -> None:
        (self.folder / "go").touch()

    @property
    def order(self) -> list[str]:
        path = self.folder / "order"
        return path.read_text().splitlines() if path.exists() else []

    def queued(self) -> int:
        """How many executions the queue has and has not handed out."""
        try:
            with sqlite3.connect(f"file:{self.folder}/data/queue.sqlite?mode=ro", uri=True) as database:
                query = "select count(*) from workflow_status where status = 'ENQUEUED' and queue_name = 'jobs'"
                return int(database.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    def processes(self, jobs: list[str] | None = None) -> set[int]:
        cookies = [
            f"job-{job}.{number}"
            for job in jobs or self.jobs
            for number in range(1, self.service.show(job).execution + 1)
        ]
        return {pid for cookie in cookies for pid in members(cookie, NOBODY)}

    def ends_of(self, job: str) -> list[str]:
        """The ends of a job that the audit chain knows."""
        ends = ("job.completed", "job.failed", "job.cancelled")
        return [one.action for one in self.service.store.audit() if one.target == f"job/{job}" and one.action in ends]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    yield from site_on(f"file:{tmp_path}/state", tmp_path, monkeypatch)


@pytest.fixture
def site_on_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with postgres.running() as server:
        yield from site_on(server.new_database("jobs"), tmp_path, monkeypatch)


def site_on(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    new_key(tmp_path / "key")
    monkeypatch.setenv("RACKSTEAD_STATE_KEY_FILE", str(tmp_path / "key"))
    (tmp_path / "tmp").mkdir()
    own = {
        "RACKSTEAD_STATE": state,
        "RACKSTEAD_DATA": str(tmp_path / "data"),
        "RACKSTEAD_WORKFLOWS": str(WORKFLOWS),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    store = open_store(state, keys=keys_from_environment())
    found = Site(tmp_path, Service(store, tmp_path / "data", Catalog([WORKFLOWS])), {**os.environ, **own})
    yield found
    for worker in found.workers:
        worker.kill()
        worker.wait()
    eventually(lambda: not found.processes(), "the jobs' processes to end with their workers")
    store.close()


# -- one worker ------------------------------------------------------------------------------------
def test_jobs_of_every_kind_come_to_their_ends(site: Site) -> None:
    site.start(parallel=2)
    well = site.submit("ok", {"what": "hello", "password": SECRET})
    flaky = site.submit("flaky")
    fails = site.submit("fails", {"how": "permanently"})
    nobody = site.submit("fails", {"how": "unreachable"})
    waits = site.submit("ok", after=[well])
    never = site.submit("ok", after=[fails])
    later = site.submit("ok", not_before=site.service.show(well).created + 4.0)
    plain = site.submit("fails", retries=1)

    job = site.ended(well)
    assert (job.state, job.attempt, job.rc, job.changed) == (JobState.COMPLETED, 1, 0, True)
    assert job.recap["localhost"]["ok"] == 2 and job.recap["localhost"]["changed"] == 1
    assert [task["task"] for task in job.tasks] == ["Say it", "Change something"]
    assert all(task["seconds"] > 0 for task in job.tasks) and job.collection
    events = list(site.service.events(well))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["event"] == "job_started" and events[-1]["event"] == "job_ended"
    assert "what hello" in site.service.stdout(well)
    texts = [path.read_bytes() for path in (site.folder / "data").rglob("*") if path.is_file() and path.name != "bell"]
    assert not any(SECRET.encode() in text for text in texts) and HIDDEN in site.service.stdout(well)

    job = site.ended(flaky)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 2)
    for permanent in (fails, nobody):
        job = site.ended(permanent)
        assert (job.state, job.attempt) == (JobState.FAILED, 1) and job.error
    assert site.ended(waits).started >= site.ended(well).ended  # type: ignore[operator]
    job = site.ended(never)
    assert job.state is JobState.CANCELLED and fails in job.error and job.started is None
    job = site.ended(later)
    assert job.started and job.started >= job.not_before
    job = site.ended(plain)
    assert (job.state, job.attempt, job.error) == (JobState.FAILED, 2, "it failed")
    assert all(len(site.ends_of(one)) == 1 for one in site.jobs) and site.service.store.verify_audit().ok


def test_the_urgent_come_first_and_one_target_has_one_job(site: Site) -> None:
    site.start(parallel=1)
    first = site.submit("sleeps", {"word": "first"})
    eventually(lambda: site.runs(1), "the first job to run")
    for number in (7, 3, 5):
        site.submit("sleeps", {"word": str(number)}, priority=number)
    eventually(lambda: site.queued() == 3, "the queue to have the others")
    site.go()
    assert all(site.ended(job).state is JobState.COMPLETED for job in site.jobs)
    assert site.order == [f"{what} {word}" for word in ("first", "3", "5", "7") for what in ("begin", "end")]
    assert site.jobs[0] == first


def test_two_jobs_are_never_at_one_target_at_once(site: Site) -> None:
    site.start(parallel=4)
    for number in range(3):
        site.submit("sleeps", {"word": str(number), "server": "a"})
    other = site.submit("sleeps", {"word": "other", "server": "b"})
    eventually(lambda: site.runs(2), "a job for each target")
    assert sorted(site.order) == ["begin 0", "begin other"]
    site.go()
    assert all(site.ended(job).state is JobState.COMPLETED for job in site.jobs)
    own = [line for line in site.order if "other" not in line]
    assert own == [f"{what} {number}" for number in range(3) for what in ("begin", "end")]
    assert site.ended(other).target == ["server:b"]


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_whatever_a_job_has_forked_ends_with_it(site: Site, how: str) -> None:
    site.start()
    job = site.submit("forks", timeout=8.0 if how == "timeout" else None)
    if how == "cancel":
        eventually((site.folder / "ready").exists, "the sleepers", pause=0.01)
        sleepers = {int(pid) for pid in (site.folder / "pids").read_text().split()}
        assert len(sleepers) == 6 and sleepers <= site.processes()
        deadline = Deadline(3.0)
        site.service.cancel(job, "bob")
        wait_until(
            lambda: True if not site.processes() else None, deadline, what="the processes", first=0.02, most=0.02
        )
    found = site.ended(job)
    assert not site.processes()
    if how == "cancel":
        assert (found.state, found.cancel) == (JobState.CANCELLED, "bob")
    else:
        assert found.state is JobState.FAILED and "time-out" in found.error
        assert 8.0 <= found.ended - found.started < 8.0 + 3.0  # type: ignore[operator]
    assert site.ends_of(job) == [f"job.{found.state}"]


def test_a_worker_that_is_told_to_stop_gives_its_jobs_back(site: Site) -> None:
    worker = site.start()
    job = site.submit("sleeps")
    eventually(lambda: site.runs(1), "the job to run")
    worker.terminate()
    assert worker.wait(30) == 0 and not site.processes()
    assert site.is_at(job, "interrupted") and site.service.workers() == []
    site.go()
    site.start()
    assert site.ended(job).state is JobState.COMPLETED and site.order == ["begin x", "begin x", "end x"]


# -- kill -9 ---------------------------------------------------------------------------------------
def kill(site: Site, worker: subprocess.Popen[bytes], jobs: list[str] | None = None) -> None:
    worker.kill()
    worker.wait()
    eventually(lambda: not site.processes(jobs), "its jobs' processes to end with it")


def at_queued(site: Site, worker: subprocess.Popen[bytes]) -> str:
    blocker = site.submit("sleeps", {"word": "blocker"})
    eventually(lambda: site.runs(1), "the other job to run")
    job = site.submit("sleeps")
    eventually(lambda: site.queued() == 1, "the queue to have it")
    assert site.is_at(job, "pending") and site.is_at(blocker, "running")
    return job


def at_leased(site: Site, worker: subprocess.Popen[bytes]) -> str:
    job = site.submit("sleeps")
    eventually(lambda: site.is_at(job, "running"), "the lease", pause=0.002)
    return job


def at_started(site: Site, worker: subprocess.Popen[bytes]) -> str:
    job = site.submit("sleeps")
    eventually(lambda: "playbook_on_start" in [one["event"] for one in site.service.events(job)], "its start", 0.005)
    return job


def at_mid_task(site: Site, worker: subprocess.Popen[bytes]) -> str:
    job = site.submit("sleeps")
    eventually(lambda: site.runs(1), "its task")
    return job


def at_finished(site: Site, worker: subprocess.Popen[bytes]) -> str:
    """Its process has finished, and the worker does not come to write it down."""
    job = at_mid_task(site, worker)
    worker.send_signal(signal.SIGSTOP)
    site.go()
    execution = site.service.show(job).execution
    eventually(lambda: read_result(result_file(site.service.place(job), execution)), "its result")
    assert site.is_at(job, "running")
    return job


@pytest.mark.parametrize("until", [at_queued, at_leased, at_started, at_mid_task, at_finished])
def test_a_killed_workers_jobs_go_on_when_it_starts_again(
    site: Site, until: Callable[[Site, subprocess.Popen[bytes]], str]
) -> None:
    worker = site.start(parallel=1)
    job = until(site, worker)
    kill(site, worker)
    site.go()
    site.start(parallel=1)
    for one in site.jobs:
        assert site.ended(one).state is JobState.COMPLETED
        assert site.ends_of(one) == ["job.completed"]
    assert site.order.count("end x") == 1 and site.service.show(job).attempt == 1
    if until is at_finished:
        assert site.order == ["begin x", "end x"]  # not run again
    eventually(lambda: not site.processes(), "its processes to end")
    assert site.service.store.verify_audit().ok


def test_a_job_whose_process_is_told_to_end_is_not_failed(site: Site) -> None:
    """As a service manager does that stops a worker: it tells each of its processes, in any order."""
    worker = site.start()
    job = site.submit("sleeps", retries=0)
    eventually(lambda: site.runs(1), "the job to run")
    [child] = [pid for pid in children(worker.pid) if site.processes() & descendants(pid)]
    os.kill(child, signal.SIGTERM)
    eventually(lambda: site.runs(2), "it to run again")
    site.go()
    found = site.ended(job)
    assert (found.state, found.attempt, found.execution) == (JobState.COMPLETED, 1, 2)
    assert site.order == ["begin x", "begin x", "end x"] and site.ends_of(job) == ["job.completed"]


def children(pid: int) -> set[int]:
    return {int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in read(file).split()}


def descendants(pid: int) -> set[int]:
    found = children(pid)
    return found.union(*(descendants(child) for child in found))


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # it ended meanwhile


def test_an_engine_that_cannot_start_leaves_nothing(site: Site) -> None:
    engine = Engine(site.service, Settings(queue=f"sqlite:///{site.folder}/none/queue.sqlite"))
    before = children(os.getpid())
    with pytest.raises(sqlite3.OperationalError):
        engine.start()
    assert site.service.workers() == [] and children(os.getpid()) <= before
    assert Identity(site.service.folder).id == engine.identity.id  # its place is free again


# -- two workers -----------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_another_worker_takes_over_after_three_missed_heartbeats(site: Site, number: signal.Signals) -> None:
    first = site.start(heartbeat=1.0)
    job = site.submit("sleeps")
    eventually(lambda: site.runs(1), "the job to run")
    site.start(heartbeat=1.0)
    first.send_signal(number)
    eventually(lambda: site.runs(2), "the other worker to run it")
    if number == signal.SIGSTOP:
        first.send_signal(signal.SIGCONT)
    site.go()
    found = site.ended(job)
    assert found.state is JobState.COMPLETED and site.ends_of(job) == ["job.completed"]
    assert site.order == ["begin x", "begin x", "end x"] and found.execution > 1
    eventually(lambda: not site.processes(), "its processes to end")


def test_what_ran_elsewhere_is_read_through_the_store(site_on_postgresql: Site) -> None:
    """The reader has a folder of its own, and so has each of two workers. The first is killed."""
    site = site_on_postgresql
    first = site.start(parallel=1, heartbeat=1.0, data="one")
    job = site.submit("sleeps")
    followed: list[dict[str, Any]] = []
    follower = threading.Thread(target=lambda: followed.extend(site.service.events(job, follow=True)), daemon=True)
    follower.start()
    eventually(lambda: site.runs(1), "the job to run")
    eventually(lambda: any(one["event"] == "runner_on_start" for one in site.service.events(job)), "its events here")
    site.start(parallel=1, heartbeat=1.0, data="two")
    kill(site, first, [job])
    eventually(lambda: site.runs(2), "the second worker to run it")
    site.go()
    found = site.ended(job)
    events = list(site.service.events(job))
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert [one["event"] for one in events if one["event"].startswith("job_")][-2:] == ["job_started", "job_ended"]
    follower.join(SECONDS)
    assert followed == events
    assert events == list(Service(site.service.store, site.folder / "two", Catalog([])).events(job))
    assert "TASK" in site.service.stdout(job) and json.loads(site.service.answer(found))["rc"] == 0
    assert not site.service.place(job).exists()
    site.jobs.remove(job)
    assert Retention(days=1e-9).prune(site.service) == 1 and site.service.store.list(PART) == []


def test_workers_on_one_postgresql_share_the_jobs_and_take_over(site_on_postgresql: Site) -> None:
    site = site_on_postgresql
    first = site.start(parallel=1, heartbeat=1.0, data="one")
    jobs = [site.submit("sleeps", {"word": str(number)}) for number in range(2)]
    eventually(lambda: site.runs(1), "a job on the first worker")
    site.start(parallel=1, heartbeat=1.0, data="two")
    eventually(lambda: site.runs(2), "the other job on the second")
    assert len({site.service.show(job).worker for job in jobs}) == 2
    kill(site, first, jobs[:1])
    site.go()
    found = [site.ended(job) for job in jobs]
    assert [job.state for job in found] == [JobState.COMPLETED] * 2
    assert found[0].worker == found[1].worker and found[0].execution > 1
    assert [site.ends_of(job) for job in jobs] == [["job.completed"]] * 2 and site.service.store.verify_audit().ok
