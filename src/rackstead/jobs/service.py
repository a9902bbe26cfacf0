# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with jobs: the one layer below the command line, REST and the web page."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

from . import events
from .documents import digest, documents, shown
from .execution import answer_file
from .ledger import load, save, told
from .model import INPUT, JOB, KEY, OPEN, Job, JobState, new_id
from .parts import Parts
from .workflows import KINDS, Catalog, Workflow

WORKER = "worker"
#: A worker's heartbeats that may fail to come before it counts as gone.
MISSED = 3
#: Seconds between two looks at a job that is followed, where it may run on another machine.
FAR_LOOK = 0.5
#: Largest file whose digest is kept with a job that names it.
LARGEST_INPUT = 16 << 20
LONGEST_WORD = 1000


@dataclass(frozen=True)
class Order:
    """What somebody wants run, and how. None where the workflow's own value counts."""

    workflow: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False
    diff: bool = False
    limit: str = ""
    tags: Sequence[str] = ()
    priority: int | None = None
    #: seconds since the epoch
    not_before: float = 0.0
    after: Sequence[str] = ()
    idempotency_key: str = ""
    retries: int | None = None
    timeout: float | None = None
    schedule: str = ""
    traceparent: str = ""
    node: str = ""
    #: whether the hosts are those of the registry of nodes, in place of the workflow's inventory
    registry: bool = False


class Service:
    """Jobs in a state store, with their events and outputs in ``folder``."""

    def __init__(self, store: Store, folder: Path, catalog: Catalog) -> None:
        self.store = store
        self.folder = folder
        self.catalog = catalog
        self.parts = Parts(store, folder)

    def place(self, job_id: str) -> Path:
        """The job's own directory, where it runs here."""
        return self.folder / "jobs" / job_id

    def readable(self, job_id: str) -> Path:
        """Where the job's events can be read as they are now, wherever it runs."""
        return self.parts.folder(job_id, self.place(job_id))

    # -- changing ----------------------------------------------------------------------------------
    def submit(self, order: Order, who: str, origin: str = "") -> Job:
        """Queue a job. The same ``idempotency_key`` gives the same job again.

        Raises InvalidInput with a line for each fault, NotFound, or Conflict where the key was used for
        something else.
        """
        workflow = self.catalog.get(order.workflow)
        variables = checked(order, workflow)
        job = self.store.change(lambda change: enter(change, order, workflow, variables, who, origin))
        self.wake()
        return job

    def cancel(self, job_id: str, who: str, origin: str = "") -> Job:
        """End a job: at once if it waits, within 3 seconds if it runs. Raises Conflict if it is over."""

        def work(change: Change) -> Job:
            job = load(change, job_id)
            if job.state.final:
                raise Conflict(f"it is {job.state} already", where=f"job {job_id}")
            after = replace(job, cancel=who or "somebody")
            if job.state is not JobState.RUNNING:
                after = replace(after, state=JobState.CANCELLED, ended=change.now())
            told(change, after, who, "cancel", origin=origin, state=after.state.value)
            return save(change, after)

        job = self.store.change(work)
        self.wake()
        return job

    def retry(self, job_id: str, who: str, origin: str = "") -> Job:
        """Run a job again that failed or was cancelled. Raises Conflict for any other."""

        def work(change: Change) -> Job:
            job = load(change, job_id)
            if job.state not in (JobState.FAILED, JobState.CANCELLED):
                raise Conflict(f"it is {job.state}; failed and cancelled jobs can be run again", where=f"job {job_id}")
            fresh = replace(
                job, state=JobState.PENDING, execution=job.execution + 1, attempt=0, cancel="", not_before=0.0
            )
            after = save(change, replace(fresh, started=None, ended=None, rc=None, changed=None, error=""))
            told(change, after, who, "again", origin=origin)
            return after

        job = self.store.change(work)
        self.wake()
        return job

    # -- looking -----------------------------------------------------------------------------------
    def show(self, job_id: str) -> Job:
        return load(self.store, job_id)

    def jobs(
        self,
        *,
        states: Sequence[str] = (),
        workflow: str = "",
        who: str = "",
        after: str = "",
        limit: int = 50,
        descending: bool = True,
    ) -> list[Job]:
        """Jobs by time, the newest first; ``after`` is the id of the last one seen."""
        query = wanted(states=states, workflow=workflow, who=who, after=after, limit=limit, descending=descending)
        return [Job.of(record) for record in self.store.list(JOB, query)]

    def events(self, job_id: str, after: int = 0, follow: bool = False) -> Iterator[dict[str, Any]]:
        """The job's events with numbers above ``after``; with ``follow`` until the job is over."""
        self.show(job_id)
        if self.parts.used:
            return self._far_events(job_id, after, follow)
        return events.read(self.place(job_id), after, over=(lambda: self.over(job_id)) if follow else None)

    def _far_events(self, job_id: str, after: int, follow: bool) -> Iterator[dict[str, Any]]:
        """The job may be taken over by another machine meanwhile."""
        known: tuple[Path, int] | None = None
        while True:
            over = not follow or self.over(job_id)
            folder = self.readable(job_id)
            size = events.size(folder)
            if known != (folder, size):
                for event in events.read(folder, after):
                    after = event["seq"]
                    yield event
                known = folder, size
            if over:
                return
            threading.Event().wait(FAR_LOOK)

    def stdout(self, job_id: str) -> str:
        """What ansible-playbook has printed."""
        self.show(job_id)
        folder = self.readable(job_id)
        if self.parts.is_copy(folder):  # that has the events, and all of it stands in them
            return "".join(f"{event['stdout']}\n" for event in events.read(folder) if event.get("stdout"))
        path = folder / events.STDOUT
        return path.read_text(errors="replace") if path.exists() else ""

    def answer(self, job: Job) -> bytes:
        """What the tasks of the last run returned, as JSON. Raises FileNotFoundError."""
        try:
            return answer_file(self.place(job.id), job.execution).read_bytes()
        except FileNotFoundError:
            return self.parts.answer(job)

    def over(self, job_id: str) -> bool:
        return self.show(job_id).state.final

    def wait(self, job_id: str, seconds: float) -> Job:
        """The job when it is over. Raises DeadlineExceeded."""

        def ended() -> Job | None:
            job = self.show(job_id)
            return job if job.state.final else None

        return wait_until(ended, Deadline(seconds), what=f"job {job_id} to end", first=0.02, most=0.25)

    def workers(self) -> list[Record]:
        return self.store.list(WORKER, Query(limit=1000))

    def alive(self) -> bool:
        """Whether any worker gives signs of life."""
        now = self.store.read(lambda change: change.now())
        return any(now - one.time < MISSED * one.body["heartbeat"] for one in self.workers())

    def wake(self) -> None:
        """Tell the workers of this machine that there is something to look at. The others look by themselves."""
        for bell in (self.folder / "workers").glob("*/bell"):
            try:
                ring(bell)
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.ENOENT, errno.EAGAIN, errno.EACCES):
                    raise  # those mean: nobody listens, or has been told often enough


def wanted(*, states: Sequence[str], workflow: str, who: str, after: str, limit: int, descending: bool) -> Query:
    """What ``Service.jobs`` asks the store for."""
    where: dict[str, Any] = {"state": list(states)} if states else {}
    where |= {"workflow": workflow} if workflow else {}
    where |= {"who": who} if who else {}
    return Query(where, after=after, descending=descending, limit=limit)


def ring(bell: Path) -> None:
    handle = os.open(bell, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(handle, b"!")
    finally:
        os.close(handle)


# -- submitting ------------------------------------------------------------------------------------
def checked(order: Order, workflow: Workflow) -> dict[str, Any]:
    """The order's variables in their types; every fault of the order is told at once."""
    problems = Problems()
    variables: dict[str, Any] = {}
    try:
        variables = workflow.check(order.variables)
    except InvalidInput as error:
        problems.lines += error.problems
    for name in ("priority", "retries", "timeout", "node"):
        value = getattr(order, name)
        good, allowed = KINDS[name]
        if value not in (None, "") and not good(value):
            problems.add(name, f'"{value}" is not valid', allowed)
    for name, words in (("limit", re.split("[,:; ]", order.limit)), ("tags", order.tags)):
        if any(word.startswith(("-", "@")) or len(word) > LONGEST_WORD for word in words):
            problems.add(
                name, "is not valid", f"words of at most {LONGEST_WORD} characters that begin with neither - nor @"
            )
    if len(order.idempotency_key) > 200:
        problems.add("idempotency_key", "is too long", "at most 200 characters")
    problems.raise_if_any()
    return variables


def enter(change: Change, order: Order, workflow: Workflow, variables: dict[str, Any], who: str, origin: str) -> Job:
    """The job's records, its variables and the entry in the audit chain."""
    known = _known(change, order, workflow)
    if known:
        return known
    for other in order.after:
        load(change, other)
    masked = workflow.masked(variables)
    job = Job(
        new_id(),
        workflow.name,
        workflow.title,
        shown(workflow.options, masked),
        change.now(),
        who,
        origin,
        order.check,
        order.diff,
        order.limit,
        list(order.tags),
        workflow.priority if order.priority is None else order.priority,
        order.not_before,
        list(order.after),
        order.idempotency_key,
        workflow.targets(variables),
        workflow.retries if order.retries is None else order.retries,
        workflow.backoff,
        workflow.timeout if order.timeout is None else order.timeout,
        inputs=digests(workflow, variables),
        schedule=order.schedule,
        traceparent=order.traceparent,
        node=order.node or workflow.node,
        registry=order.registry,
    )
    put_input(change, job.id, masked, variables)
    if order.idempotency_key:
        change.put(KEY, key_record(order.idempotency_key), {"job": job.id, "digest": _digest(order, workflow)})
    told(change, job, who, "submit", variables=job.variables, check=job.check)
    return save(change, job)


def put_input(change: Change, key: str, masked: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
    """The variables as they are. Those with secrets in them are sealed."""
    secret = {name: value for name, value in variables.items() if masked[name] != value}
    plain = {name: value for name, value in variables.items() if name not in secret}
    body: dict[str, Any] = {"variables": plain}
    if secret:
        body["secrets"] = secret
    change.put(INPUT, key, body, sensitive=["secrets"] if secret else [])


def input_of(store: Store | Change, key: str) -> dict[str, Any]:
    body = store.get(INPUT, key).body
    return {**body["variables"], **body.get("secrets", {})}


def _known(change: Change, order: Order, workflow: Workflow) -> Job | None:
    """The job that was submitted with the same idempotency key."""
    found = change.find(KEY, key_record(order.idempotency_key)) if order.idempotency_key else None
    if found is None:
        return None
    if found.body["digest"] != _digest(order, workflow):
        raise Conflict(
            "was used for a job with another workflow or other variables",
            where=f'idempotency key "{order.idempotency_key}"',
        )
    return load(change, found.body["job"])


def key_record(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(order: Order, workflow: Workflow) -> str:
    """Tells one order from another; secrets are left out."""
    masked = workflow.masked(order.variables)
    whole = [workflow.name, masked, order.check, order.limit, list(order.tags), order.node]
    whole += ["registry"] if order.registry else []
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def digests(workflow: Workflow, variables: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that variables name, such as a plan: which version of it was run."""
    found = {name: digest(one) for name, one in documents(workflow.options, variables).items()}
    for name, value in variables.items():
        if name in found:
            continue
        path = Path(str(value)) if workflow.options[name].get("type") == "path" and value else None
        with suppress(OSError):  # it cannot be read, or no file can be named so: the run will tell
            if path and path.is_file() and path.stat().st_size <= LARGEST_INPUT:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def open_jobs(change: Change) -> list[Record]:
    """The lines of all jobs that are not over, by time."""
    found: list[Record] = []
    while page := change.list(OPEN, Query(after=found[-1].key if found else "", limit=1000)):
        found += page
        if len(page) < 1000:
            break
    return found


def default_folder() -> Path:
    """Where jobs leave their files if nobody says: RACKSTEAD_DATA, else a folder of this user."""
    own = "/var/lib/rackstead/jobs" if os.getuid() == 0 else "~/.local/state/rackstead/jobs"
    return Path(os.environ.get("RACKSTEAD_DATA") or own).expanduser().absolute()


def open_service(state: str = "", folder: str = "") -> Service:
    """The service on a state store's URL and a folder; without them, those of the environment."""
    from ansible_collections.rackstead.infra.plugins.module_utils.state.open import default_url, open_store
    from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import keys_from_environment

    place = Path(folder).expanduser().absolute() if folder else default_folder()
    return Service(open_store(state or default_url(), keys=keys_from_environment()), place, Catalog())
