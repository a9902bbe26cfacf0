# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: takes jobs that are ready to the queue, runs them as the queue gives them out, and recovers them.

What a job is stands in the state store alone. DBOS's queue orders executions by priority and hands each to one
worker; it keeps them over restarts. An execution is named ``JOB.NUMBER``, so that queueing it twice is nothing,
and one that is no longer the job's present one does nothing. Only the leases in the state store decide who may run.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, NotFound, RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced, Held, VersionMoved
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from ..executors import ByNode, Executor
from ..executors.local import Local
from ..fleet.service import Fleet
from ..processes import NOBODY, end_all
from ..tracing import traces
from .events import EventLog
from .execution import Attempt, End, Verdict, read_result, result_file
from .ledger import Ledger, load
from .model import Job, JobState
from .parts import Telling
from .queue import Queue
from .retention import Retention
from .schedules import run_due
from .service import MISSED, WORKER, Service, input_of, open_jobs
from .workflows import COLLECTION

log = logging.getLogger("rackstead.jobs")
#: Seconds between two looks at the jobs that are not over, if nobody rings.
LOOK = 0.5
#: How many times longer than a look the pause after it is, whoever rings.
SHARE = 4.0
#: Seconds between two rounds of retention.
SWEEP = 60.0


@dataclass(frozen=True)
class Settings:
    """``queue`` is SQLAlchemy's URL of DBOS's database; without one, SQLite in the service's folder."""

    parallel: int = 4
    queue: str = ""
    heartbeat: float = 5.0
    retention: Retention = field(default_factory=Retention)

    @property
    def lease(self) -> float:
        return MISSED * self.heartbeat


class Identity:
    """The lowest free place among this machine's workers, with an id that stays: who starts again after a kill
    finds its own work."""

    def __init__(self, folder: Path) -> None:
        for number in range(1, 1000):
            self.folder = folder / "workers" / str(number)
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                os.close(self._lock)
        name = self.folder / "id"
        if not name.exists():
            name.write_text(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
        self.id = name.read_text()
        with suppress(FileExistsError):
            os.mkfifo(self.folder / "bell", 0o600)
        self.bell = os.open(self.folder / "bell", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.bell)
        os.close(self._lock)


def this_host() -> str:
    """Where processes of the same cookie can be seen: a machine, or a container's own processes."""
    return f"{socket.gethostname()}/{os.stat('/proc/self/ns/pid').st_ino}"


class Engine:
    """One worker. ``start`` returns when it takes jobs; ``stop`` when it has given back what it was at."""

    def __init__(self, service: Service, settings: Settings | None = None, executor: Executor | None = None) -> None:
        self.service = service
        self.store = service.store
        self.settings = settings or Settings()
        self.identity = Identity(service.folder)
        self.ledger = Ledger(self.store, self.identity.id, this_host(), self.settings.lease)
        self.executor = executor or ByNode(Local(), None)
        self._traces = traces("worker")
        self._collection = collection_version()
        self._queue = Queue(self.settings.queue or f"sqlite:///{service.folder}/queue.sqlite", self.identity.id)
        self._running: dict[str, Attempt | None] = {}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._live, self._beat)]
        self._sweep_at = self._reap_at = 0.0

    # -- life --------------------------------------------------------------------------------------
    def start(self) -> None:
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        self.executor.tend()
        self._heartbeat()
        self._recover_own()
        self._queue.start(self.perform, self.settings.parallel)
        for thread in self._threads:
            thread.start()
        self.ring()  # there may be jobs already

    def stop(self) -> None:
        """End what runs here; it goes on as soon as a worker is there."""
        self._stopping.set()
        self.ring()
        for thread in self._threads:
            if thread.ident:  # it was started
                thread.join()
        for attempt in list(self._running.values()):
            if attempt:
                attempt.stop(End.STOPPED)
        self._queue.stop()
        self.executor.close()
        self.store.delete(WORKER, self.identity.id)
        self.identity.close()
        if self._traces:
            self._traces.close()

    def ring(self) -> None:
        with suppress(BlockingIOError):
            os.write(self.identity.bell, b"!")

    def _live(self) -> None:
        while not self._stopping.is_set():
            self._listen(LOOK)
            begun = time.monotonic()
            try:
                self._tick()
            except Exception:
                log.exception("the engine's round failed; it is tried again")
            # Where many jobs wait, a look at them takes long: it must not be all that is done.
            self._stopping.wait(min(SHARE * (time.monotonic() - begun), LOOK))

    def _listen(self, seconds: float) -> None:
        """Until somebody rings, or the time is over."""
        if select.select([self.identity.bell], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self.identity.bell, 4096)

    def _tick(self) -> None:
        if time.monotonic() - self._reap_at >= self.settings.heartbeat:
            self._reap_at = time.monotonic()
            self._reap()
        run_due(self.service)
        now, rows = self.store.read(lambda change: (change.now(), open_jobs(change)))
        self._heed(rows)
        for row in self._ready(rows, now):
            self._enqueue(row)
        self.executor.tend()
        if time.monotonic() - self._sweep_at >= SWEEP:
            self._sweep_at = time.monotonic()
            self.settings.retention.prune(self.service)
            self._queue.forget()

    # -- giving out --------------------------------------------------------------------------------
    def _heed(self, rows: list[Record]) -> None:
        """End jobs that are to be cancelled, and take up those of this worker's that nobody runs."""
        for row in rows:
            if row.key in self._running:
                attempt = self._running[row.key]
                if row.body["cancel"] and attempt:
                    attempt.stop(End.CANCELLED)
            elif row.body["state"] == JobState.RUNNING and row.body["worker"] == self.identity.id:
                self._recover(row)

    def _ready(self, rows: list[Record], now: float) -> list[Record]:
        """Jobs whose time has come, the first of each target only, the most urgent first."""
        there = {row.key for row in rows}
        taken = {name for row in rows if row.body["state"] == JobState.RUNNING for name in row.body["target"]}
        found = []
        for row in sorted(rows, key=lambda row: (row.body["priority"], row.key)):
            waits = row.body["state"] == JobState.RUNNING or row.body["not_before"] > now
            if waits or taken & set(row.body["target"]) or not self._free(row, there):
                continue
            taken |= set(row.body["target"])
            found.append(row)
        return found

    def _free(self, row: Record, there: set[str]) -> bool:
        """Whether the jobs that this one comes after have ended well. If one has not, this one never runs."""
        if any(other in there for other in row.body["after"]):
            return False
        for other in row.body["after"]:
            state = self._state(other)
            if state is not JobState.COMPLETED:
                self.ledger.give_up(row.key, f"job {other}, which it comes after, is {state or 'gone'}")
                self.ring()
                return False
        return True

    def _state(self, job_id: str) -> JobState | None:
        try:
            return load(self.store, job_id).state
        except NotFound:
            return None

    def _enqueue(self, row: Record) -> None:
        idle = len(self._running) < self.settings.parallel
        if not self._queue.put(row.key, int(row.body["execution"]), int(row.body["priority"]), idle):
            self.ledger.abandon(row.key, int(row.body["execution"]))  # the queue is through with it, the job is not
            self.ring()

    # -- running -----------------------------------------------------------------------------------
    def perform(self, job_id: str, execution: int) -> None:
        """Run one execution of a job; what the queue calls. Harmless if it is called again, or too late."""
        if self._stopping.is_set() or job_id in self._running:
            return
        self._running[job_id] = None
        try:
            given = Given(job_id)
            job = self.ledger.begin(job_id, execution, self._collection, given.look)
            if job:
                self._run(job, given)
        except Held as error:
            self.ledger.bounce(job_id, execution, f"waits for {error.where}: {error.what}")
        except (Fenced, NotFound) as error:
            log.warning("job %s: execution %d is over here: %s", job_id, execution, error)
        finally:
            self._running.pop(job_id, None)
            self.ring()

    def _run(self, job: Job, given: Given) -> None:
        folder = self.service.place(job.id)
        with self.service.parts.telling(job, folder) as telling:
            say(folder, job, "job_started", attempt=job.attempt, worker=self.identity.id)
            log.info("job %s: %s, attempt %d", job.id, job.workflow, job.attempt)
            verdict = self._attempt(job, given, folder)
            if verdict.end is End.STOPPED:
                say(folder, job, "job_interrupted")
                job = self.ledger.interrupt(job, telling.rest())
            elif verdict.end is not End.LOST:
                say(folder, job, "job_ended", result=verdict.end.value, error=verdict.error)
                job = self._end(job, verdict, folder, telling)
        log.info("job %s: %s", job.id, job.state)

    def _end(self, job: Job, verdict: Verdict, folder: Path, telling: Telling) -> Job:
        after = self.ledger.end(job, verdict, telling.rest())
        if self._traces and after.state.final:
            self._traces.job(after, folder)
        try:
            Fleet(self.service, after.who).scanned(after)
        except RacksteadError as error:
            log.warning("job %s: what it found of clusters is not kept: %s", after.id, error)
        return after

    def _attempt(self, job: Job, given: Given, folder: Path) -> Verdict:
        try:
            workflow = self.service.catalog.get(job.workflow)
            if job.registry:
                workflow = replace(workflow, hosts=Fleet(self.service).hosts())
            attempt = self.executor.attempt(job, workflow, given.variables(), folder)
        except RacksteadError as error:
            return Verdict(End.REFUSED, error=str(error))
        self._running[job.id] = attempt
        if self._stopping.is_set():
            attempt.stop(End.STOPPED)
        return attempt.run(Renewal(self.ledger, job, self.settings), self.settings.heartbeat)

    # -- signs of life -----------------------------------------------------------------------------
    def _heartbeat(self) -> None:
        body = {"host": self.ledger.host, "parallel": self.settings.parallel, "heartbeat": self.settings.heartbeat}
        self.store.put(WORKER, self.identity.id, {**body, "pid": os.getpid(), "running": sorted(self._running)})

    def _beat(self) -> None:
        """Signs of life come from a thread of their own: nothing that takes long delays them."""
        while not self._stopping.wait(self.settings.heartbeat):
            try:
                self._heartbeat()
            except Exception:
                log.exception("no sign of life could be given; it is tried again")

    def _recover_own(self) -> None:
        """What this worker was at when it was killed."""
        for row in self.store.read(open_jobs):
            if row.body["state"] == JobState.RUNNING and row.body["worker"] == self.identity.id:
                self._recover(row)

    def _reap(self) -> None:
        """Take the jobs of workers that have not been heard of for three heartbeats."""
        now, rows = self.store.read(lambda change: (change.now(), open_jobs(change)))
        alive = {one.key for one in self.service.workers() if now - one.time < MISSED * one.body["heartbeat"]}
        for row in rows:
            if row.body["state"] == JobState.RUNNING and row.body["worker"] not in alive | {self.identity.id}:
                log.warning("job %s: worker %s is gone", row.key, row.body["worker"])
                self._recover(row)

    def _recover(self, row: Record) -> None:
        """A job whose worker is gone: record its end if it had come to one, else have it go on."""
        job = load(self.store, row.key)
        if job.state is not JobState.RUNNING or job.execution != row.body["execution"]:
            return
        try:
            if job.host != self.ledger.host:
                self.ledger.abandon(job.id, job.execution)
                return
            end_all(job.cookie, 0.0, NOBODY)
            folder = self.service.place(job.id)
            result = read_result(result_file(folder, job.execution))
            telling = self.service.parts.telling(job, folder).resumed()
            if result:
                self._end(job, Verdict(End.RESULT, result, "\n".join(result.errors)), folder, telling)
            else:
                say(folder, job, "job_interrupted")
                self.ledger.interrupt(job, telling.rest())
        except Conflict as error:
            log.warning("job %s: somebody else has taken it up: %s", job.id, error)


class Given:
    """A job's variables, looked up in the transaction that marks it as running."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._found: dict[str, Any] | RacksteadError = {}

    def look(self, change: Change) -> None:
        try:
            self._found = input_of(change, self._job_id)
        except RacksteadError as error:  # there is no key for them, for example: that is how the attempt ends
            self._found = error

    def variables(self) -> dict[str, Any]:
        if isinstance(self._found, RacksteadError):
            raise self._found
        return self._found


class Renewal:
    """Keeps a job's leases. Gives up while they still are good: there is time then to end the processes."""

    def __init__(self, ledger: Ledger, job: Job, settings: Settings) -> None:
        self._ledger = ledger
        self._job = job
        self._most = settings.lease - settings.heartbeat
        self._last = time.monotonic()

    def __call__(self) -> bool:
        begun = time.monotonic()
        try:
            self._ledger.renew(self._job)
        except (Fenced, VersionMoved, NotFound):
            return False
        except Exception:
            log.exception("job %s: its lease could not be renewed", self._job.id)
            return time.monotonic() - self._last < self._most
        self._last = begun
        return True


def say(folder: Path, job: Job, event: str, **content: Any) -> None:
    with EventLog(folder) as events:
        events.add(event, job=job.id, execution=job.execution, **content)


def collection_version() -> str:
    """The version of the collection that is run, from its manifest, or from galaxy.yml in a checkout."""
    import yaml

    manifest, source = COLLECTION / "MANIFEST.json", COLLECTION / "galaxy.yml"
    if manifest.is_file():
        return str(yaml.safe_load(manifest.read_text())["collection_info"]["version"])
    return str(yaml.safe_load(source.read_text())["version"]) if source.is_file() else ""
