# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with provisioning: the layer below the command line, REST and the web page, over jobs and records.

A server's checkpoint record says how far it is, and the job that works on it whether anybody is at it still.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.journal import is_held
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import RECORD
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import nearest
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from ..jobs.execution import answer_file
from ..jobs.model import JOB, OPEN, Job, JobState
from ..jobs.service import Order, Service
from ..run import TaskResult
from . import orders
from .live import merged, of_results
from .orders import SERVERS, WORKFLOW, Entry, name_of
from .progress import Server, of_record, stopped, whole_state

#: Records that are looked at, and targets of jobs that name a server.
MOST = 2000
TARGET = "server:"
JOB_ID = re.compile(r"[0-9a-z]{26}")


@dataclass(frozen=True)
class How:
    """How servers are to be provisioned. ``variables`` are further ones of the workflow."""

    dry_run: bool = False
    from_step: str = ""
    only_steps: Sequence[str] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str = ""


@dataclass(frozen=True)
class Status:
    """A job and the servers that it is for; or, where it was done without one, a server."""

    id: str
    state: str
    servers: list[Server]
    #: id of the job
    job: str = ""
    dry_run: bool = False
    error: str = ""

    def document(self) -> dict[str, Any]:
        head = {"id": self.id, "workflow": WORKFLOW, "state": self.state, "job": self.job, "dry_run": self.dry_run}
        return {**head, "error": self.error, "servers": [one.document() for one in self.servers]}


def variables_of(servers: Sequence[Entry], how: How) -> dict[str, Any]:
    """The workflow's variables. Raises InvalidInput."""
    found: dict[str, Any] = {**how.variables, SERVERS: list(servers)}
    if how.from_step:
        found["provision_from_step"] = orders.step_names([how.from_step], "from_step")[0]
    if how.only_steps:
        found["provision_only_steps"] = orders.step_names(how.only_steps, "only_steps")
    return found


def order_of(servers: Sequence[Entry], how: How) -> Order:
    """The order for a job. Raises InvalidInput."""
    variables = variables_of(servers, how)
    return Order(WORKFLOW, variables, how.dry_run, how.dry_run, idempotency_key=how.idempotency_key)


class Provisioning:
    """Over the jobs of one state store."""

    def __init__(self, jobs: Service) -> None:
        self.jobs = jobs

    # -- looking -----------------------------------------------------------------------------------
    def every(self, limit: int, wanted: Callable[[Server], bool] = lambda _one: True) -> list[Server]:
        """Servers, those that something happens to first, then those that were touched last."""
        return [one for one in self.jobs.store.read(_look) if wanted(one)][:limit]

    def status(self, name: str) -> Status:
        """Of a job by its id, or of a server by any of its names. Raises NotFound."""
        job = self._job(name)
        if job is not None:
            return self._of_job(job)
        found = self.jobs.store.read(_look)
        one = next((one for one in found if one.is_called(name)), None)
        if one is None:
            known = sorted({word for one in found for word in one.names})
            raise NotFound(f'nothing is known of provisioning a server or job "{name}"{nearest(name, known)}')
        return Status(name, one.state, [one], one.job, error=one.reason)

    def _job(self, name: str) -> Job | None:
        record = self.jobs.store.find(JOB, name) if JOB_ID.fullmatch(name) else None
        job = Job.of(record) if record else None
        return job if job and job.workflow == WORKFLOW else None

    def _of_job(self, job: Job) -> Status:
        """A dry run leaves no records, and a server's record may be a later job's: then the job's results tell."""
        servers = self.jobs.store.read(lambda change: _of_entries(change, job, _records(change)))
        if job.state.final and not all(one.system_id for one in servers):
            told = self._told(job)
            servers = [one if one.system_id else told.get(one.id, one) for one in servers]
        state = job.state.value if job.state is not JobState.COMPLETED else whole_state(one.state for one in servers)
        error = job.error or next((one.reason for one in servers if one.reason), "")
        return Status(job.id, state, servers, job.id, job.check, error)

    def _told(self, job: Job) -> dict[str, Server]:
        """What the tasks of a job's last run have returned of servers, by the names that were ordered."""
        try:
            found = json.loads(answer_file(self.jobs.place(job.id), job.execution).read_text())
        except FileNotFoundError:
            return {}  # it ran elsewhere, or was ended early
        results = of_results(TaskResult(**one) for one in found["results"])
        known = merged([name_of(one) for one in entries(job)], results)
        return {one.id: replace(one, job=job.id) for one in known if one.system_id}

    # -- changing ----------------------------------------------------------------------------------
    def start(self, servers: Sequence[Entry], how: How, who: str, origin: str = "") -> Job:
        """Queue a job for these servers. Raises InvalidInput with a line for each fault."""
        return self.jobs.submit(order_of(orders.checked(servers), how), who, origin)

    def cancel(self, name: str, who: str, origin: str = "") -> Job:
        """End the job of this id, or the one that a server waits for. Raises NotFound, and Conflict if it is over."""
        return self.jobs.cancel(self.job_of(name), who, origin)

    def job_of(self, name: str) -> str:
        """The id of the job that is meant. Raises NotFound, or Conflict where a server is provisioned without one."""
        found = self.status(name)
        if found.job:
            return found.job
        how = "end the command that does it" if found.state == "running" else "there is nothing to cancel"
        raise Conflict(f"it is {found.state}, and no job's; {how}", where=f"server {name}")


# -- jobs and records together ---------------------------------------------------------------------
def entries(job: Job) -> list[Entry]:
    given = job.variables.get(SERVERS)
    return [dict(one) for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


def _of_entry(one: Entry, job: Job, records: Iterable[Server], change: Change) -> Server:
    name = name_of(one)
    record = next((found for found in records if found.job == job.id and found.is_called(name)), None)
    if record is None:
        return Server(name, _without_record(job), job=job.id, order=one, updated=_iso(job.ended or job.created))
    return judged(replace(record, id=name), job, change)


def _without_record(job: Job) -> str:
    """Of a server that a job has not come to yet, or of a dry run, which leaves no record."""
    if job.state.final or (job.check and job.state is JobState.RUNNING):
        return job.state.value
    return "pending"


def judged(server: Server, job: Job | None, change: Change) -> Server:
    """The server as it really is: a record that says running is only true as long as somebody is at it."""
    if server.state != "running":
        return stopped(server, server.state)
    if job is None:
        return server if is_held(change, server.system_id) else stopped(server, "interrupted")
    if not job.state.final:
        return server
    return stopped(server, "cancelled" if job.state is JobState.CANCELLED else "interrupted")


def _look(change: Change) -> list[Server]:
    """All servers of which something is known: those of jobs that are not over, and those that have records."""
    records = _records(change)
    waiting = [job for job in (Job.of(change.get(JOB, one.key)) for one in _open(change)) if job.workflow == WORKFLOW]
    found = [server for job in waiting for server in _of_entries(change, job, records)]
    shown = {name for server in found for name in server.names}
    for one in records:
        if not one.names & shown:
            found.append(judged(one, _job_of(change, one), change))
    return _ordered(found)


def _of_entries(change: Change, job: Job, records: Sequence[Server]) -> list[Server]:
    return [_of_entry(one, job, records, change) for one in entries(job)]


def _ordered(found: list[Server]) -> list[Server]:
    ranks: Callable[[Server], bool] = lambda one: one.state not in ("running", "pending")  # noqa: E731
    return sorted(sorted(found, key=lambda one: one.updated, reverse=True), key=ranks)


def _records(change: Change) -> list[Server]:
    return [of_record(one.key, one.body) for one in change.list(RECORD, Query(limit=MOST))]


def _open(change: Change) -> list[Any]:
    """The lines of the jobs that are not over and may touch servers."""
    found = change.list(OPEN, Query(limit=MOST))
    return [one for one in found if any(str(name).startswith(TARGET) for name in one.body["target"])]


def _job_of(change: Change, server: Server) -> Job | None:
    record = change.find(JOB, server.job) if server.job else None
    return Job.of(record) if record else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
