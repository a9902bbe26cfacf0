# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job leaves in files, in the state store as well: for those who do not see the folder that it ran in.

Only where other machines may use the store. A file of events grows at its end alone; so does what is in the store of
it, in numbered parts that are never changed. Who reads elsewhere keeps a copy, and fetches what was added. A worker
that takes a job over from another machine begins with such a copy: the numbers of events go on.
"""

from __future__ import annotations

import base64
import logging
import os
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

from .events import FILE
from .execution import answer_file
from .model import PART, Job

log = logging.getLogger("rackstead.jobs")
#: Seconds between two looks at a file for what is to be told.
EVERY = 1.0
#: Bytes of a part, and of what is written in one transaction (or one line, if that is longer).
SIZE, MOST = 1 << 18, 1 << 20
EVENTS = "events"
PAGE = 20


@dataclass(frozen=True)
class Part:
    """``end`` is the place in the file behind it; ``folder`` names the one that the file is in."""

    number: int
    end: int
    folder: str
    data: bytes

    @classmethod
    def of(cls, record: Record) -> Part:
        body = record.body
        data = zlib.decompress(base64.b64decode(body["data"]))
        return cls(int(record.key.rpartition("/")[2]), int(body["end"]), str(body["folder"]), data)

    def body(self) -> dict[str, Any]:
        return {"end": self.end, "folder": self.folder, "data": base64.b64encode(zlib.compress(self.data)).decode()}


def _prefix(job_id: str, name: str) -> str:
    return f"{job_id}/{name}/"


def _key(job_id: str, name: str, number: int) -> str:
    return f"{_prefix(job_id, name)}{number:08d}"


def split(data: bytes, number: int, start: int, folder: str) -> list[Part]:
    """The parts of what a file has had added from ``start`` on; the first has this number."""
    found: list[Part] = []
    for place in range(0, len(data), SIZE):
        piece = data[place : place + SIZE]
        found.append(Part(number + len(found), start + place + len(piece), folder, piece))
    return found


def forget(change: Change, job_id: str) -> None:
    while page := change.list(PART, Query(prefix=f"{job_id}/", limit=PAGE)):
        for one in page:
            change.delete(PART, one.key)


@dataclass(frozen=True)
class Rest:
    """What is left to be told of an execution: bodies of parts, by their keys. Nothing, where nobody needs it."""

    bodies: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def places(self) -> list[tuple[str, str]]:
        return [(PART, key) for key in self.bodies]

    def write(self, change: Change) -> None:
        for key, body in self.bodies.items():
            change.put(PART, key, body)


class Parts:
    """The parts of all jobs. ``folder`` is this machine's, where the jobs that run here have their files."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._name = ""
        #: the last part of each job that the copy here has
        self._copied: dict[str, int] = {}

    @property
    def used(self) -> bool:
        return self._store.far

    @property
    def name(self) -> str:
        """What tells this folder from others: machines that share one share its name."""
        if not self._name:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path, fresh = self._folder / "name", self._folder / f"name.{uuid.uuid4().hex}"
            fresh.write_text(uuid.uuid4().hex)
            with suppress(FileExistsError):  # another process was faster
                os.link(fresh, path)
            fresh.unlink()
            self._name = path.read_text()
        return self._name

    def last(self, job_id: str) -> Part | None:
        """The last of a job's events."""
        found = self._store.list(PART, Query(prefix=_prefix(job_id, EVENTS), descending=True, limit=1))
        return Part.of(found[0]) if found else None

    # -- reading -----------------------------------------------------------------------------------
    def folder(self, job_id: str, own: Path) -> Path:
        """Where a job's events can be read: in ``own``, its folder here, or else in a copy that is brought up to
        date."""
        if not self.used:
            return own
        last = self.last(job_id)
        if last is None or last.folder == self.name:
            return own
        place = self._folder / "far" / job_id
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._copy(job_id, place / FILE, self._copied.get(job_id, -1))
        return place

    def is_copy(self, folder: Path) -> bool:
        return folder.parent == self._folder / "far"

    def answer(self, job: Job) -> bytes:
        """What the tasks of a job's last run have returned. Raises FileNotFoundError."""
        found = b"".join(part.data for part in self._after(job.id, f"answer-{job.execution}", -1)) if self.used else b""
        if not found:
            raise FileNotFoundError(f"job {job.id} has left no results")
        return found

    def restore(self, job_id: str, folder: Path) -> Part | None:
        """Give a job's own file of events here what other machines have told. Gives the last part.

        What this machine has of its own and never told, because it was killed, is lost: others went on without it.
        """
        last = self.last(job_id)
        if last is None:
            return None
        path = folder / FILE
        known = b"".join(part.data for part in self._after(job_id, EVENTS, -1))
        if not (path.exists() and path.read_bytes().startswith(known)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_suffix(".new")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(known)
            fresh.rename(path)
        return last

    def _copy(self, job_id: str, path: Path, after: int) -> None:
        """Parts are put where they belong in the file: whoever does so at the same time writes the same."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for part in self._after(job_id, EVENTS, after if os.fstat(file).st_size else -1):
                os.pwrite(file, part.data, part.end - len(part.data))
                self._copied[job_id] = part.number
        finally:
            os.close(file)

    def _after(self, job_id: str, name: str, number: int) -> Iterator[Part]:
        """Part by part in order, from the one after ``number``."""
        prefix = _prefix(job_id, name)
        after = _key(job_id, name, number) if number >= 0 else ""
        while page := self._store.list(PART, Query(prefix=prefix, after=after, limit=PAGE)):
            yield from map(Part.of, page)
            after = page[-1].key

    # -- telling -----------------------------------------------------------------------------------
    def telling(self, job: Job, folder: Path) -> Telling:
        return Telling(self, self._store, job, folder)


class Telling:
    """Puts the events of one execution into the store while it runs, in a thread of its own, and the rest in the
    transaction that ends it. Where no other machine may use the store it does nothing."""

    def __init__(self, parts: Parts, store: Store, job: Job, folder: Path) -> None:
        self._parts = parts
        self._store = store
        self._job = job
        self._folder = folder
        self._number = self._position = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name=f"telling {job.id}", daemon=True)

    def __enter__(self) -> Telling:
        if self._parts.used:
            if self._job.execution > 1:
                self._from(self._parts.restore(self._job.id, self._folder))
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def resumed(self) -> Telling:
        """The same for an execution whose worker was killed: what it has not told is in the file, if it ran here."""
        if self._parts.used:
            self._from(self._parts.restore(self._job.id, self._folder))
        return self

    def rest(self) -> Rest:
        """The events that are left, and what the tasks returned."""
        self._stop()
        if not self._parts.used:
            return Rest()
        data = self._added()
        while more := self._added(len(data)):
            self._tell(data)
            data = more
        found = {
            _key(self._job.id, EVENTS, part.number): part.body()
            for part in split(data, self._number, self._position, self._parts.name)
        }
        name = f"answer-{self._job.execution}"
        for part in split(self._answer(), 0, 0, self._parts.name):
            found[_key(self._job.id, name, part.number)] = part.body()
        return Rest(found)

    def _from(self, last: Part | None) -> None:
        if last:
            self._number, self._position = last.number + 1, last.end

    def _stop(self) -> None:
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()

    def _go_on(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                while data := self._added():
                    self._tell(data)
            except Fenced:
                return  # the job is another's; who runs the attempt hears of it too
            except RacksteadError as error:
                log.warning("job %s: its events wait to be told: %s", self._job.id, error)

    def _tell(self, data: bytes) -> None:
        parts = split(data, self._number, self._position, self._parts.name)
        fence = self._job.held[0]

        def write(change: Change) -> None:
            for part in parts:
                change.put(PART, _key(self._job.id, EVENTS, part.number), part.body(), fence=fence)

        self._store.change(write)
        self._from(parts[-1])

    def _added(self, skip: int = 0) -> bytes:
        """Whole lines that the file has had added, after so many bytes: as many as go into one transaction."""
        try:
            with (self._folder / FILE).open("rb") as file:
                file.seek(self._position + skip)
                data = file.read(MOST)
                whole = data.rfind(b"\n") + 1
                if whole or len(data) < MOST:
                    return data[:whole]
                data += file.readline()
                return data if data.endswith(b"\n") else b""
        except FileNotFoundError:
            return b""

    def _answer(self) -> bytes:
        try:
            return answer_file(self._folder, self._job.execution).read_bytes()
        except FileNotFoundError:
            return b""
