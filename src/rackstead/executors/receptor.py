# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attempts as units of work of Receptor, on the node that the job names: their events become the job's own.

A note in the state store says which unit an attempt is. It is there before Receptor is asked for one, the unit bears
the attempt's name, and its own name is written down before it has the payload without which it does nothing. So
whoever goes on with the attempt finds the one unit that may run. A worker that stops leaves the unit alone.

Units belong to the node whose socket they were submitted at. A worker at another one cannot follow them: there the
attempt begins anew, and ``rackstead node`` ends what of the job still runs.
"""

from __future__ import annotations

import io
import logging
import time
import zipfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import VersionMoved
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from ..jobs import events
from ..jobs.child import Account, result_of
from ..jobs.execution import Attempt, End, Verdict
from ..jobs.model import Job, Result
from ..jobs.workflows import Workflow
from ..run import Outcome, collect, private_directory
from .elsewhere import TEND, Elsewhere, Left, Log, Tender, forgotten
from .payload import pack
from .receptor_client import Control, Line, Mesh, Settings, begun

log = logging.getLogger("rackstead.jobs")
#: Kind of the notes; their key is the attempt's name and that of the node whose socket it is.
NOTE = "receptor-unit"
#: Seconds for a unit to end that was told to.
CANCEL = 60.0
#: What Receptor calls the states of a unit that is over.
OVER = ("Succeeded", "Failed", "Canceled")
#: What Receptor says of work that it will not take another time either.
REFUSALS = ("unknown work type", "signature", "not allowed")
#: What ansible-runner calls the ends of a playbook.
ENDS = ("successful", "failed")


class Receptor:
    """The units of one control socket."""

    def __init__(self, settings: Settings, store: Store, every: float = TEND) -> None:
        self._settings = settings
        self._store = store
        self._control = Control(settings)
        self._tender = Tender("receptor", self._end_forgotten, every)

    def attempt(self, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path) -> Attempt:
        return Unit(self._settings, self._store, job, workflow, variables, folder)

    def tend(self) -> None:
        self._tender.tend()

    def close(self) -> None:
        self._tender.close()

    def _end_forgotten(self) -> None:
        """Release units whose own job needs them no more, as one that was cancelled while no worker was at it."""
        try:
            notes = list(forgotten(self._store, NOTE))
            here = self._control.mesh().name if notes else ""
            for note in notes:
                if note.body["via"] == here:
                    release(self._control, note.body)
                    self._store.delete(NOTE, note.key, expect=note.version)
        except (RacksteadError, VersionMoved) as error:
            log.warning("%s; it is tried again", error)


def release(control: Control, note: Mapping[str, Any]) -> None:
    """Take away what runs for an attempt."""
    for unit in {note["unit"], *control.units(str(note["run"]))} - {""}:
        control.release(unit)
        log.info("Receptor unit %s is released", unit)


class Stream(io.BufferedIOBase):
    """A unit's output, as ansible-runner reads it. ``cut``: it ended before all of it was there."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.cut = False

    def readable(self) -> bool:
        return True

    def readline(self, _size: int | None = -1, /) -> bytes:
        try:
            line = self._file.readline()
        except (OSError, ValueError):
            line = b""
        self.cut = not line.endswith(b"\n")
        return b"" if self.cut else line

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(size)


class Story:
    """What a unit has told so far: from the beginning, each time it is read."""

    def __init__(self, found: Log, unit: str, seen: int, private: Path) -> None:
        self.outcome = Outcome()
        self.account = Account()
        self.status = ""
        self.trouble = ""
        self.heard = False
        self._log = found
        self._unit = unit
        self._seen = seen
        self._artifacts = private

    def read(self, file: io.BufferedIOBase) -> bool:
        """Whether it was told to its end."""
        from ansible_runner.interface import run

        stream = Stream(file)
        try:
            run(
                streamer="process",
                _input=stream,
                private_data_dir=str(self._artifacts),
                event_handler=self._learn,
                status_handler=self._state,
                cancel_callback=lambda: False,
                quiet=True,
            )
        except (OSError, ValueError, zipfile.BadZipFile):  # cut in the middle of the files that it leaves
            stream.cut = True
        return not stream.cut

    def _state(self, data: Mapping[str, Any], **_more: Any) -> None:
        self.status = str(data["status"])
        self.trouble = " ".join(str(data.get("job_explanation") or "").split())[:500]

    def _learn(self, event: dict[str, Any]) -> bool:
        self.heard = True
        created = event.get("created")
        self.account.take(event, datetime.fromisoformat(created).timestamp() if created else None)
        collect(event, self.outcome)
        if event["counter"] > self._seen:
            self._seen = event["counter"]
            self._log.source = {"unit": self._unit, "counter": self._seen}
            self._log.take(event)
        return False  # nothing of it stays on disk

    def code(self) -> int:
        """The exit code of ansible-playbook, from the files that ansible-runner leaves."""
        with suppress(OSError, ValueError):
            return int((self._artifacts / "artifacts" / "rc").read_text())
        return 0 if self.status == "successful" else 2


class Unit(Elsewhere):
    """One attempt: submitted if it is not yet, followed to its end."""

    note = NOTE

    def __init__(
        self, settings: Settings, store: Store, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path
    ) -> None:
        super().__init__(store, job, workflow, variables, folder)
        self._settings = settings
        self._control = Control(settings)
        self._via = ""

    @property
    def _key(self) -> str:
        return f"{self._job.run}@{self._via}"

    @property
    def _unit(self) -> str:
        return str(self._note.get("unit", ""))

    # -- the whole way -----------------------------------------------------------------------------
    def _attempt(self, found: Log) -> Verdict:
        mesh = self._mesh()
        self._via = mesh.name
        record = self._store.find(NOTE, self._key)
        self._note = dict(record.body) if record else {}
        with private_directory() as private:
            while not self._why:
                if not self._unit:
                    self._submit(private)
                story = self._follow(found, private)
                if self._why or self._note["sent"] or story.heard or story.status in ENDS:
                    return self._conclude(story, found)
                # The worker was killed while it sent the payload, and what began has seen that it is not whole.
                release(self._control, self._note)
                self._remember(unit="")
        if self._leave.is_set():
            raise Left
        return Verdict(self._why or End.DIED)

    def _mesh(self) -> Mesh:
        """What the node at the socket knows, when it knows a way to the job's node."""
        patience = Deadline(self._settings.patience)
        while True:
            try:
                mesh = self._control.mesh()
                fault = None if self._is_begun(mesh.name) else mesh.fault(self._job.node)
            except Unreachable as error:
                fault = error
            if fault is None:
                return mesh
            if patience.expired() or self._why:
                raise fault
            self._wait(self._settings.look)

    def _is_begun(self, via: str) -> bool:
        """Whether there may be a unit already, so that nobody needs a way to the node."""
        return self._store.find(NOTE, f"{self._job.run}@{via}") is not None

    # -- submitting --------------------------------------------------------------------------------
    def _submit(self, private: Path) -> None:
        payload = pack(self._job, self._workflow, self._variables, private)
        if self._note:
            release(self._control, self._note)  # a unit that was made, and whose name nobody wrote down
        else:
            run = {"job": self._job.id, "run": self._job.run, "node": self._job.node, "via": self._via}
            self._remember(**run, unit="", time=time.time(), sent=False)
        signed = self._control.mesh().signed(self._job.node)
        try:
            with self._control.submit(
                self._job.node, self._job.run, signed=signed, seconds=max(1.0, self._settings.patience)
            ) as new:
                self._remember(unit=new.unit, time=time.time())
                new.send(payload)
        except OperationFailed as error:
            self._end_it()
            if any(sign in error.what for sign in REFUSALS):
                raise InvalidInput([f'node "{self._job.node}": Receptor refuses the job: {error.what}']) from error
            raise Unreachable(
                f"Receptor could not submit the job: {error.what}", where=f'node "{self._job.node}"'
            ) from error
        finally:
            payload.unlink()
        self._remember(sent=True)

    # -- following ---------------------------------------------------------------------------------
    def _follow(self, found: Log, private: Path) -> Story:
        """Until the unit is over, or is to be ended."""
        late = Deadline(float(self._note["time"]) + self._job.timeout - time.time())
        number = 0
        while True:
            seen = max(
                (one["counter"] for one in events.read(self._folder) if one.get("unit") == self._unit), default=0
            )
            number += 1
            story = Story(found, self._unit, seen, private / f"artifacts-{number}")
            try:
                with self._control.results(self._unit) as line:
                    told = self._read(story, line, late)
                if told or self._why or self._over():
                    return story
            except NotFound:
                return story
            except Unreachable as error:
                if late.expired():
                    raise
                log.warning("Receptor unit %s: %s; it is followed on", self._unit, error)
            if late.expired():
                self.stop(End.TIMEOUT)
            if self._why:
                return story
            self._wait(self._settings.look)

    def _read(self, story: Story, line: Line, late: Deadline) -> bool:
        """Whether the unit has told its end. It is no longer read when there is something else to be done."""
        with ThreadPoolExecutor(1, "receptor-unit") as pool:
            reading: Future[bool] = pool.submit(story.read, line.file)
            reading.add_done_callback(lambda _done: self._bell.set())
            while not reading.done() and not self._why:
                self._bell.wait(late.remaining())
                if late.expired():
                    self.stop(End.TIMEOUT)
            line.cut()
            if not self._why:
                self._bell.clear()
            return reading.result()

    def _over(self) -> bool:
        return self._control.unit(self._unit)["StateName"] in OVER

    # -- the end -----------------------------------------------------------------------------------
    def _conclude(self, story: Story, found: Log) -> Verdict:
        if self._leave.is_set():
            raise Left
        if self._why:
            return self._stopped()
        verdict = self._verdict(story, found)
        self._keep(verdict, story.outcome, found)
        self._end_it()
        return verdict

    def _stopped(self) -> Verdict:
        """End the unit, with all that it has started."""
        patience = Deadline(CANCEL)
        ended = False
        while not ended and not self._leave.is_set():
            with suppress(Unreachable):
                ended = self._cancelled()
            if patience.expired():
                break
            if not ended:
                self._wait(self._settings.look)
        if self._leave.is_set():
            raise Left
        if ended:
            self._end_it()
        late = f"ended after {self._job.timeout:g} s, which is its time-out" if self._why is End.TIMEOUT else ""
        lost = "" if ended else f'node "{self._job.node}" could not be told; Receptor tells it when it can'
        return Verdict(self._why or End.CANCELLED, error="; ".join(text for text in (late, lost) if text))

    def _cancelled(self) -> bool:
        """Whether the unit has ended. One that is being started is left to it: Receptor would forget it here, and may
        have it run there. Soon it has begun, or Receptor has given it up."""
        try:
            unit = self._control.unit(self._unit)
            if unit["StateName"] in OVER:
                return True
            return begun(unit) and self._control.cancel(self._unit)
        except NotFound:
            return True

    def _end_it(self) -> None:
        """Release the unit. Where Receptor does not answer now, the note stays, and it is done later."""
        try:
            release(self._control, self._note)
        except RacksteadError as error:
            log.warning("Receptor unit %s: %s; it is released later", self._unit, error)
            return
        self._forget()

    def _verdict(self, story: Story, found: Log) -> Verdict:
        if story.status == "timeout":
            return Verdict(End.TIMEOUT, error=f"ended after {self._job.timeout:g} s, which is its time-out")
        if story.status not in ENDS:
            return Verdict(End.DIED, error=found.clean(f'node "{self._job.node}": {self._trouble(story)}'))
        story.outcome.rc = story.code()
        result = result_of(story.outcome, story.account)
        clean = Result(**{**vars(result), "errors": [found.clean(line) for line in result.errors]})
        return Verdict(End.RESULT, clean, "\n".join(clean.errors))

    def _trouble(self, story: Story) -> str:
        try:
            unit = self._control.unit(self._unit)
        except NotFound:
            return "Receptor knows nothing of its unit any more"
        told = "" if story.trouble.startswith("Unexpected empty line") else story.trouble
        return told or f"{unit['StateName']}: {unit['Detail']}"
