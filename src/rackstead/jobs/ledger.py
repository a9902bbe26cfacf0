# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a job, each step one transaction: the record, its open line, leases and the audit chain together."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import LEASE, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

from .execution import End, Verdict
from .model import INPUT, JOB, OPEN, Job, JobState, open_row
from .parts import Rest
from .together import Together

#: The longest pause between two attempts, in seconds.
LONGEST_PAUSE = 600.0
#: Until a job whose target is taken is looked at again.
BOUNCE = 0.5
ENGINE = "engine"
T = TypeVar("T")


def lease_names(job: Job) -> list[str]:
    """A job without a target is at least one with itself."""
    return [f"target:{name}"[:200] for name in sorted(job.target)] or [f"job:{job.id}"]


def load(change: Change | Store, job_id: str) -> Job:
    record: Record | None = change.find(JOB, job_id)
    if record is None:
        raise NotFound(f'there is no job "{job_id}"')
    return Job.of(record)


def save(change: Change, job: Job) -> Job:
    """Write the job, and its open line as long as it is not over."""
    record = change.put(JOB, job.id, job.body())
    if job.state.final:
        change.delete(OPEN, job.id)
    else:
        change.put(OPEN, job.id, open_row(job))
    return replace(job, version=record.version)


def told(change: Change, job: Job, who: str, action: str, **details: Any) -> None:
    change.append_audit(
        who,
        f"job.{action}",
        f"{JOB}/{job.id}",
        origin=job.origin,
        result="failed" if job.state is JobState.FAILED else "ok",
        details={"workflow": job.workflow, **details},
    )


class Ledger:
    """Transitions that an engine makes. ``seconds`` is how long a lease lasts."""

    def __init__(self, store: Store, worker: str, host: str, seconds: float) -> None:
        self.store = store
        self.worker = worker
        self.host = host
        self.seconds = seconds
        self._together = Together(store)

    def _change(
        self,
        job_id: str,
        work: Callable[[Change], T],
        leases: Sequence[str] = (),
        *more: str,
        places: Sequence[tuple[str, str]] = (),
    ) -> T:
        """All these write to the end of the audit chain: side by side they would only make each other try again.

        ``leases``, further kinds of the job's records and other ``places`` are what ``work`` looks at beside the job.
        """
        own = [(kind, job_id) for kind in (JOB, OPEN, *more)]
        return self._together.change(work, [*own, *((LEASE, name) for name in leases), *places])

    def begin(
        self, job_id: str, execution: int, collection: str, look: Callable[[Change], None] | None = None
    ) -> Job | None:
        """Take the leases and mark the job as running. None if this execution is not the job's any more.

        ``look`` may read the job's variables in the same transaction. Raises Held where another job has a lease;
        nothing is written then.
        """

        def work(change: Change) -> Job | None:
            job = load(change, job_id)
            if job.execution != execution or job.state not in (JobState.PENDING, JobState.INTERRUPTED) or job.cancel:
                return None
            holder = f"{job_id}.{execution}"
            leases = [change.lease(name, holder, self.seconds) for name in lease_names(job)]
            again = job.state is JobState.INTERRUPTED and job.attempt > 0
            if look:
                look(change)
            return save(
                change,
                replace(
                    job,
                    state=JobState.RUNNING,
                    attempt=job.attempt if again else job.attempt + 1,
                    run=job.run if again and job.run else holder,
                    worker=self.worker,
                    host=self.host,
                    collection=collection,
                    leases=[vars(lease) for lease in leases],
                    started=job.started or change.now(),
                    error="",
                ),
            )

        return self._change(job_id, work, (), INPUT)

    def bounce(self, job_id: str, execution: int, reason: str) -> None:
        """Its target is taken: back to those who wait."""

        def work(change: Change) -> None:
            job = load(change, job_id)
            if job.execution == execution and job.state in (JobState.PENDING, JobState.INTERRUPTED):
                later = change.now() + BOUNCE * random.uniform(0.5, 1.5)
                save(change, replace(job, execution=execution + 1, not_before=later, error=reason))

        self._change(job_id, work)

    def renew(self, job: Job) -> None:
        """Raises Fenced where a lease is lost, or the job was given to somebody else."""

        def work(change: Change) -> None:
            self._mine(change, job)
            for lease in job.held:
                change.renew(lease, self.seconds)

        self._change(job.id, work, [lease.name for lease in job.held])

    def end(self, job: Job, verdict: Verdict, rest: Rest = Rest()) -> Job:  # noqa: B008  frozen
        """Write how an attempt ended, which is the job's end or leads to another attempt. Raises Fenced.

        What is left to be told of the attempt is written in the same transaction.
        """

        def write(change: Change, now: Job) -> Job:
            after = judged(now, verdict, change.now())
            if after.state is JobState.PENDING:
                told(change, after, ENGINE, "retry", attempt=after.attempt, error=after.error)
            else:
                told(change, after, ENGINE, after.state.value, attempt=after.attempt, rc=after.rc)
            return after

        return self._leave(job, write, rest)

    def interrupt(self, job: Job, rest: Rest = Rest()) -> Job:  # noqa: B008  frozen
        """The job's worker went away, or stops: it goes on as another execution. Raises Fenced."""
        return self._leave(job, _interrupted, rest)

    def _leave(self, job: Job, write: Callable[[Change, Job], Job], rest: Rest) -> Job:
        def work(change: Change) -> Job:
            now = self._mine(change, job)
            rest.write(change)
            after = save(change, replace(write(change, now), leases=[]))
            for lease in job.held:
                change.release(lease)
            return after

        return self._change(job.id, work, [lease.name for lease in job.held], places=rest.places)

    def _mine(self, change: Change, job: Job) -> Job:
        now = load(change, job.id)
        for lease in job.held:
            change.check_fence(lease)
        if now.execution != job.execution or now.state is not JobState.RUNNING:
            raise Fenced(f"execution {job.execution} is not the present one", where=f"job {job.id}")
        return now

    def give_up(self, job_id: str, reason: str) -> None:
        """A job that waits for something that will not come never runs."""

        def work(change: Change) -> None:
            job = load(change, job_id)
            if job.state in (JobState.PENDING, JobState.INTERRUPTED):
                after = replace(job, state=JobState.CANCELLED, ended=change.now(), error=reason)
                told(change, save(change, after), ENGINE, after.state.value, error=reason)

        self._change(job_id, work)

    def abandon(self, job_id: str, execution: int) -> None:
        """Take a job from a worker that is not heard of. Its leases run out by themselves."""

        def work(change: Change) -> None:
            job = load(change, job_id)
            if job.execution == execution and not job.state.final:
                save(change, _interrupted(change, job) if job.state is JobState.RUNNING else _again(job))

        self._change(job_id, work)


def _again(job: Job) -> Job:
    return replace(job, execution=job.execution + 1)


def _interrupted(change: Change, job: Job) -> Job:
    after = replace(_again(job), state=JobState.INTERRUPTED, leases=[])
    if job.cancel:
        after = replace(after, state=JobState.CANCELLED, ended=change.now())
    told(change, after, ENGINE, after.state.value, worker=job.worker)
    return after


def judged(job: Job, verdict: Verdict, now: float) -> Job:
    """The job after an attempt: over, or waiting for another."""
    result = verdict.result
    after = replace(job, error=verdict.error)
    if result:
        after = replace(
            after, rc=result.rc, changed=result.changed, recap=result.recap, tasks=result.tasks, error=verdict.error
        )
    if result and result.ok:
        return replace(after, state=JobState.COMPLETED, ended=now)
    if job.cancel or verdict.end is End.CANCELLED:
        return replace(after, state=JobState.CANCELLED, ended=now)
    permanent = verdict.end is End.REFUSED or (result and result.permanent)
    if permanent or job.attempt > job.retries:
        return replace(after, state=JobState.FAILED, ended=now)
    return replace(_again(after), state=JobState.PENDING, not_before=now + pause(job.backoff, job.attempt))


def pause(first: float, attempt: int) -> float:
    """Seconds before the next attempt: doubled each time, and never the same for two jobs."""
    return min(first * 2.0 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.75, 1.25)
