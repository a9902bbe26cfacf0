# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What attempts have in common that something else runs: AWX, or a Receptor node.

A note in the state store says what runs there for an attempt. It is there before the other side is asked, so that
whoever goes on with the attempt knows that there may be something, and finds it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError, Unreachable
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from ..jobs import events
from ..jobs.child import Account, answer_of, write_whole
from ..jobs.execution import End, Verdict, answer_file, result_file
from ..jobs.model import JOB, Job
from ..jobs.workflows import Workflow, secrets_of
from ..run import Outcome

#: Seconds between two looks at notes that nobody may need any more.
TEND = 10.0


class Left(Exception):
    """The attempt is somebody else's from here on."""


class Log(events.EventLog):
    """Events from elsewhere. Each bears where it comes from and its number there, so that none is written twice."""

    source: Mapping[str, Any] = {}

    def add(self, event: str, **content: Any) -> None:
        super().add(event, **content, **self.source)


class Tender:
    """Does something now and then, beside the engine's own thread: never twice at once."""

    def __init__(self, name: str, work: Callable[[], None], every: float = TEND) -> None:
        self._work = work
        self._every = every
        self._pool = ThreadPoolExecutor(1, name)
        self._going: Future[None] | None = None
        self._last = time.monotonic()

    def tend(self) -> None:
        busy = self._going is not None and not self._going.done()
        if not busy and time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._going = self._pool.submit(self._work)

    def close(self) -> None:
        self._pool.shutdown()


def forgotten(store: Store, kind: str) -> Iterator[Record]:
    """Notes whose job needs them no more, as one that was cancelled while no worker was at it."""
    for note in store.list(kind, Query(limit=1000)):
        found = store.find(JOB, str(note.body["job"]))
        job = Job.of(found) if found else None
        if job is None or job.state.final or job.run != note.body.get("run", note.key):
            yield note


class Elsewhere:
    """One attempt that something else runs: started if it is not yet, followed to its end."""

    #: Kind of its note.
    note: ClassVar[str]

    def __init__(self, store: Store, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path) -> None:
        self._store = store
        self._job = job
        self._workflow = workflow
        self._variables = variables
        self._folder = folder
        self._why: End | None = None
        self._bell = threading.Event()
        self._leave = threading.Event()
        self._outcome = Outcome()
        self._account = Account()
        self._note: dict[str, Any] = {}

    # -- for the engine ----------------------------------------------------------------------------
    def stop(self, end: End) -> None:
        if end in (End.STOPPED, End.LOST) or self._why is None:
            self._why = end
        if end in (End.STOPPED, End.LOST):
            self._leave.set()
        self._bell.set()

    def run(self, renew: Callable[[], bool], every: float) -> Verdict:
        """The other side may keep a request waiting: the lease is renewed beside it."""
        with ThreadPoolExecutor(1, self.note) as pool:
            future = pool.submit(self._work)
            while not wait([future], timeout=every).done:
                if self._why is not End.LOST and not renew():
                    self.stop(End.LOST)
            return future.result()

    # -- for those who know the other side ---------------------------------------------------------
    def _attempt(self, found: Log) -> Verdict:
        """The whole way. Errors that are Unreachable are worth another attempt, others are not."""
        raise NotImplementedError

    @property
    def _key(self) -> str:
        return self._job.run

    def _work(self) -> Verdict:
        found = Log(self._folder, secrets_of(self._variables, self._workflow.masked(self._variables)))
        with found:
            try:
                return self._attempt(found)
            except (Left, Fenced):
                return Verdict(self._why or End.LOST)
            except RacksteadError as error:
                if self._leave.is_set():
                    return Verdict(self._why or End.LOST)
                end = End.DIED if isinstance(error, Unreachable) else End.REFUSED
                return Verdict(self._why or end, error=found.clean(str(error)))

    def _wait(self, seconds: float) -> None:
        """Until there is something else to be done. Who is to end what runs there goes on, who is to leave it does
        not."""
        (self._leave if self._why else self._bell).wait(seconds)

    def _remember(self, **content: Any) -> None:
        """Write the note, if the job still is this worker's."""
        if self._leave.is_set():
            raise Left
        self._note |= content
        self._store.put(self.note, self._key, self._note, fence=next(iter(self._job.held), None))

    def _forget(self) -> None:
        self._store.delete(self.note, self._key, fence=next(iter(self._job.held), None))

    def _keep(self, verdict: Verdict, outcome: Outcome, found: Log) -> None:
        """Leave the result where a worker looks for it that is started after this one was killed."""
        if verdict.result:
            answer = found.clean(json.dumps(answer_of(outcome), default=str))
            write_whole(answer_file(self._folder, self._job.execution), json.loads(answer), durable=False)
            write_whole(result_file(self._folder, self._job.execution), asdict(verdict.result))
