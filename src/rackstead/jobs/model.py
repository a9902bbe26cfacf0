# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job, as it is kept in the state store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Lease, Record

#: Kinds of records. ``OPEN`` has a line for each job that is not over: what the engines look at, however
#: many jobs there have been. ``INPUT`` has the variables, ``PART`` what other machines may read of its files.
JOB, OPEN, INPUT, KEY, PART = "job", "job-open", "job-input", "job-key", "job-part"
#: What of a job stands in ``OPEN``.
OPEN_FIELDS = ("state", "priority", "not_before", "after", "target", "execution", "worker", "cancel")
_SIGNS = "0123456789abcdefghjkmnpqrstvwxyz"
_last_id = [0]
_lock = threading.Lock()


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: its worker went away; it goes on
    INTERRUPTED = "interrupted"

    @property
    def final(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Job:
    """Times are seconds since the epoch. ``variables`` are masked. ``execution`` counts how often the job was
    given to the queue: whoever runs an older one has lost. ``attempt`` counts the runs that were not interrupted;
    ``run`` is its name, which an interrupted one keeps.
    """

    id: str
    workflow: str
    title: str
    variables: dict[str, Any]
    created: float
    who: str = ""
    origin: str = ""
    check: bool = False
    diff: bool = False
    limit: str = ""
    tags: list[str] = field(default_factory=list)
    priority: int = 5
    not_before: float = 0.0
    after: list[str] = field(default_factory=list)
    idempotency_key: str = ""
    target: list[str] = field(default_factory=list)
    retries: int = 3
    backoff: float = 5.0
    timeout: float = 3600.0
    state: JobState = JobState.PENDING
    execution: int = 1
    attempt: int = 0
    run: str = ""
    cancel: str = ""
    worker: str = ""
    host: str = ""
    leases: list[dict[str, Any]] = field(default_factory=list)
    started: float | None = None
    ended: float | None = None
    rc: int | None = None
    changed: bool | None = None
    error: str = ""
    recap: dict[str, dict[str, int]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    collection: str = ""
    schedule: str = ""
    #: of the request that submitted it, where traces are recorded (W3C)
    traceparent: str = ""
    #: of Receptor, where it runs; else the worker's executor runs it
    node: str = ""
    #: whether the hosts are those of the registry, as they are when it runs
    registry: bool = False
    #: of the record, not in its body
    version: int = 0

    @classmethod
    def of(cls, record: Record) -> Job:
        own = {"id": record.key, "version": record.version, "state": JobState(record.body["state"])}
        if record.body.keys() != _STORED:  # another version wrote it
            return cls(**{name: value for name, value in record.body.items() if name in _FIELDS} | own)
        found = object.__new__(cls)  # a frozen class sets its fields one by one, which counts on pages of jobs
        vars(found).update({name: own[name] if name in own else record.body[name] for name in _FIELDS})
        return found

    def body(self) -> dict[str, Any]:
        found = dict(vars(self))
        del found["id"], found["version"]
        return found | {"state": self.state.value}

    def public(self) -> dict[str, Any]:
        """The job for people and programs: without what only engines need."""
        found = {"id": self.id, **self.body()}
        del found["leases"], found["run"]
        return found

    @property
    def cookie(self) -> str:
        """What the processes of this execution carry in their environment."""
        return f"job-{self.id}.{self.execution}"

    @property
    def held(self) -> list[Lease]:
        return [Lease(**one) for one in self.leases]


_FIELDS = [one.name for one in fields(Job)]
_STORED = {*_FIELDS} - {"id", "version"}


def open_row(job: Job) -> dict[str, Any]:
    body = job.body()
    return {name: body[name] for name in OPEN_FIELDS}


def new_id() -> str:
    """26 signs: the time in milliseconds, then chance. Later ones of one process sort after earlier ones."""
    with _lock:
        fresh = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
        _last_id[0] = fresh if fresh >> 80 > _last_id[0] >> 80 else _last_id[0] + 1
        number = _last_id[0]
    return "".join(_SIGNS[number >> shift & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True)
class Result:
    """How an attempt ended, as its process tells it."""

    rc: int
    errors: list[str] = field(default_factory=list)
    permanent: bool = False
    changed: bool = False
    recap: dict[str, dict[str, int]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.rc == 0

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Result:
        return cls(**{one.name: document[one.name] for one in fields(cls) if one.name in document})
