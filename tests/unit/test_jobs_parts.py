# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What jobs leave in files, told to folders on other machines through the state store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced
from ansible_collections.rackstead.infra.plugins.module_utils.state.filestore import FileBackend
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from rackstead.jobs import parts
from rackstead.jobs.events import FILE, EventLog
from rackstead.jobs.execution import answer_file
from rackstead.jobs.ledger import save
from rackstead.jobs.model import PART, Job, JobState
from rackstead.jobs.parts import Telling
from rackstead.jobs.service import Service
from rackstead.jobs.workflows import Catalog

JOB_ID = "01kamq3v5t8w9x2y4z6a7b8c9d"


@dataclass
class Machine:
    """A worker or a reader with a folder of its own."""

    service: Service

    def say(self, *words: str) -> None:
        with EventLog(self.service.place(JOB_ID)) as log:
            for word in words:
                log.add(word, stdout=f"{word} is said")

    def telling(self, job: Job) -> Telling:
        return self.service.parts.telling(job, self.service.place(JOB_ID)).resumed()

    def tell(self, job: Job, *words: str) -> None:
        telling = self.telling(job)
        self.say(*words)
        self.service.store.change(telling.rest().write)

    @property
    def heard(self) -> list[tuple[int, str]]:
        return [(event["seq"], event["event"]) for event in self.service.events(JOB_ID)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(FileBackend, "far", True)
    return open_store(f"file:{tmp_path}/state")


@pytest.fixture
def job(store: Store) -> Job:
    lease = store.lease("target:x", "a", 600.0)
    found = Job(JOB_ID, "ok", "ok", {}, 1.0, state=JobState.RUNNING, leases=[vars(lease)])
    return store.change(lambda change: save(change, found))


def machine(store: Store, folder: Path) -> Machine:
    return Machine(Service(store, folder, Catalog([])))


def test_who_has_no_such_folder_reads_what_was_told(store: Store, job: Job, tmp_path: Path) -> None:
    worker, reader = machine(store, tmp_path / "worker"), machine(store, tmp_path / "reader")
    worker.tell(job, "a", "b")
    assert reader.heard == worker.heard == [(1, "a"), (2, "b")]
    assert reader.service.stdout(JOB_ID) == "a is said\nb is said\n"
    worker.tell(job, "c")
    assert reader.heard == [(1, "a"), (2, "b"), (3, "c")]
    assert machine(store, tmp_path / "reader").heard == reader.heard  # whose memory of the copy is new
    assert [event["seq"] for event in reader.service.events(JOB_ID, after=2)] == [3]
    assert worker.service.readable(JOB_ID) == worker.service.place(JOB_ID)
    with pytest.raises(FileNotFoundError):
        reader.service.answer(job)
    answer_file(worker.service.place(JOB_ID), job.execution).write_text(json.dumps({"rc": 0, "results": []}))
    worker.tell(job)
    assert json.loads(reader.service.answer(job)) == {"rc": 0, "results": []}


def test_long_files_are_told_in_parts(store: Store, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SIZE", 100)
    monkeypatch.setattr(parts, "MOST", 1000)
    worker, reader = machine(store, tmp_path / "worker"), machine(store, tmp_path / "reader")
    words = [f"w{number}" for number in range(50)]
    worker.tell(job, *words, "x" * 3000, "end")
    own = (worker.service.place(JOB_ID) / FILE).read_bytes()
    assert len(reader.heard) == 52
    assert (reader.service.readable(JOB_ID) / FILE).read_bytes() == own
    keys = [record.key for record in store.list(PART)]
    assert keys == [f"{JOB_ID}/events/{number:08d}" for number in range(len(keys))] and len(keys) >= len(own) // 100


def test_a_line_that_is_not_whole_is_not_told(store: Store, job: Job, tmp_path: Path) -> None:
    worker, reader = machine(store, tmp_path / "worker"), machine(store, tmp_path / "reader")
    worker.say("a")
    with (worker.service.place(JOB_ID) / FILE).open("a") as file:
        file.write('{"seq": 2, "ev')
    store.change(worker.telling(job).rest().write)
    assert reader.heard == [(1, "a")]
    worker.tell(job, "b")  # which takes the torn line away
    assert reader.heard == [(1, "a"), (2, "b")]


def test_who_takes_over_goes_on_with_the_numbers(store: Store, job: Job, tmp_path: Path) -> None:
    first, second, reader = (machine(store, tmp_path / name) for name in ("first", "second", "reader"))
    first.tell(job, "a", "b")
    first.say("never told")
    second.tell(job, "c")
    assert reader.heard == second.heard == [(1, "a"), (2, "b"), (3, "c")]
    first.tell(job, "d")  # it is back, and has the job again
    assert reader.heard == first.heard == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert second.heard == first.heard  # whose own folder has less


def test_who_has_lost_the_job_tells_nothing(store: Store, job: Job, tmp_path: Path) -> None:
    worker = machine(store, tmp_path / "worker")
    store.release(job.held[0])
    store.lease("target:x", "b", 600.0)
    worker.say("a")
    with pytest.raises(Fenced):
        worker.telling(job)._tell(b"{}\n")
    assert store.list(PART) == []


def test_machines_that_share_a_folder_need_no_copy(store: Store, job: Job, tmp_path: Path) -> None:
    worker, reader = machine(store, tmp_path / "data"), machine(store, tmp_path / "data")
    worker.tell(job, "a")
    assert reader.service.readable(JOB_ID) == worker.service.place(JOB_ID)
    assert not (tmp_path / "data/far").exists()


def test_a_store_of_this_machine_holds_no_files(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileBackend, "far", False)
    worker = machine(open_store(f"file:{tmp_path}/state"), tmp_path / "data")
    worker.tell(job, "a")
    assert worker.heard == [(1, "a")] and worker.service.store.list(PART) == []


def test_parts_go_with_their_job(store: Store, job: Job, tmp_path: Path) -> None:
    worker = machine(store, tmp_path / "worker")
    worker.tell(job, "a")
    store.change(lambda change: parts.forget(change, JOB_ID))
    assert store.list(PART) == []
