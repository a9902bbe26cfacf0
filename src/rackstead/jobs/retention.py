# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs that are over are kept, and for how long."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from .model import INPUT, JOB, KEY, Job, JobState
from .parts import forget
from .service import Service, key_record

DAY = 86_400.0
FINAL = [state.value for state in JobState if state.final]
BATCH = 100


@dataclass(frozen=True)
class Retention:
    """Jobs that ended more than ``days`` ago go, and of the others all but the newest ``number``. 0: no bound."""

    days: float = 90.0
    number: int = 0

    def prune(self, service: Service) -> int:
        """Delete records and files. Returns how many jobs went."""
        gone = 0
        while doomed := self._doomed(service):
            for record in doomed:
                service.store.change(lambda change, record=record: _forget(change, record))  # type: ignore[misc]
                shutil.rmtree(service.place(record.key), ignore_errors=True)
            gone += len(doomed)
        sweep(service)
        return gone

    def _doomed(self, service: Service) -> list[Record]:
        oldest = service.store.list(JOB, Query({"state": FINAL}, limit=BATCH))
        now = service.store.read(lambda change: change.now())
        late = [one for one in oldest if self.days and now - (one.body["ended"] or now) > self.days * DAY]
        return late or self._excess(service)

    def _excess(self, service: Service) -> list[Record]:
        if not self.number:
            return []
        kept = service.store.list(JOB, Query({"state": FINAL}, descending=True, limit=self.number))
        if len(kept) < self.number:
            return []
        return service.store.list(JOB, Query({"state": FINAL}, after=kept[-1].key, descending=True, limit=BATCH))


def _forget(change: Change, record: Record) -> None:
    job = Job.of(record)
    if job.idempotency_key:
        change.delete(KEY, key_record(job.idempotency_key))
    change.delete(INPUT, job.id)
    forget(change, job.id)
    change.delete(JOB, job.id, expect=record.version)


def sweep(service: Service) -> None:
    """Remove what is left of jobs older than the oldest: another machine's worker has forgotten those."""
    oldest = service.store.list(JOB, Query(limit=1))
    for folder in ("jobs", "far"):
        for place in (service.folder / folder).glob("*") if oldest else ():
            if place.name < oldest[0].key:
                shutil.rmtree(place, ignore_errors=True)
