# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live migration between real stores, with processes that write, and kills of them and of the migrator."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.state import fill, migrate
from ansible_collections.rackstead.infra.plugins.module_utils.state.follow import CHANGED
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import META, Query, Row
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_backend, open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

STATE = "ansible_collections.rackstead.infra.plugins.module_utils.state"
#: Counts up records of its own, with an audit entry for each, and says what was acknowledged.
WRITER = f"""
import itertools, sys, threading
from {STATE}.open import open_store
store, name = open_store(sys.argv[1]), sys.argv[2]
for number in itertools.count():
    key = f"{{name}}-{{number % 40:02d}}"
    print("try", key, number, flush=True)
    def work(change):
        change.append_audit(name, "write", key, details={{"n": number}})
        return change.put("box", key, {{"n": number, "copies": [number] * 20}})
    print("ok", key, number, store.change(work).version, flush=True)
    threading.Event().wait(0.02)  # leaves the migrator some of the machine
"""
MIGRATOR = f"""
import sys
from {STATE} import migrate
def tell(*told):
    print(*told, flush=True)
    sys.stdin.readline()  # goes on when the test says so, or has nothing more to say
way = migrate.Migration(sys.argv[1], sys.argv[2], tell)
way.run(live=True)
"""
KILLS = 5
SECONDS = 60


def silent(stage: str, done: int, total: int) -> None:
    """Nobody looks."""


class Process:
    """Python code in a process of its own, and the lines it prints."""

    def __init__(self, code: str, *words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        argv = [sys.executable, "-c", code, *words]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout and self.process.stdin
        self._in: IO[bytes] = self.process.stdin
        self._out: IO[bytes] = self.process.stdout
        self.lines: list[list[str]] = []

    def hear(self, count: int) -> bool:
        """Take lines until there are so many more; False where it has ended before."""
        wanted = len(self.lines) + count
        while len(self.lines) < wanted:
            assert select.select([self._out], [], [], SECONDS)[0], "it says nothing"
            line = self._out.readline()
            if not line:
                return False
            self.lines.append(line.decode().split())
        return True

    def step(self, count: int) -> None:
        """Let a migrator go so many steps, and begin one more."""
        for _step in range(count):
            assert self.hear(1), "the migrator has ended"
            self._in.write(b"\n")
            self._in.flush()

    def kill(self) -> None:
        self.process.kill()
        self.lines += [line.decode().split() for line in self._out.read().splitlines() if line]
        self.process.wait(SECONDS)
        self._out.close()
        self._in.close()

    def end(self) -> int:
        self._in.close()
        while self.hear(1):
            pass
        self._out.close()
        return self.process.wait(SECONDS)


class Writers:
    """Some writers that are killed now and then, and what they were told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.count = 0
        self.running: list[Process] = []
        self.ended: list[Process] = []

    def start(self) -> None:
        self.count += 1
        self.running.append(Process(WRITER, self.url, f"w{self.count}"))

    def kill_one(self) -> None:
        one = self.running.pop(0)
        one.kill()
        self.ended.append(one)

    def hear(self, count: int) -> None:
        for one in self.running:
            assert one.hear(count), "a writer failed"

    def stop(self) -> None:
        while self.running:
            self.kill_one()

    def check(self, store: Store) -> int:
        """Each record is what was acknowledged last, or what was tried after that; nothing else is there."""
        found = {record.key: record for record in store.list("box", Query(limit=100_000))}
        written = {(e.target, e.details["n"]) for e in every_entry(store)}
        acknowledged: dict[str, tuple[int, int]] = {}
        tried: dict[str, int] = {}
        total = 0
        for words in (line for one in self.ended for line in one.lines if len(line) == (3 if line[0] == "try" else 4)):
            if words[0] == "try":
                tried[words[1]] = int(words[2])
                continue
            acknowledged[words[1]] = (int(words[2]), int(words[3]))
            assert (words[1], int(words[2])) in written, words
            total += 1
        for key, (number, version) in acknowledged.items():
            body = found[key].body
            assert (body["n"], found[key].version) in ((number, version), (tried[key], version + 1)), key
            assert body["copies"] == [body["n"]] * 20
        assert set(found) <= set(tried)
        assert len(written) <= total + self.count  # at most one each that was not acknowledged
        return total


def every_entry(store: Store) -> list:  # type: ignore[type-arg]
    found = store.audit(Query(limit=1_000_000))
    assert store.verify_audit().ok
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be: kills are not power failures, and the disk may be busy with others' fsyncs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        yield Path(name)


def urls(folder: Path) -> dict[str, str]:
    return {"file": f"file:{folder}/file", "sqlite": f"sqlite:{folder}/state.db", "surrealkv": f"surrealkv:{folder}/kv"}


@pytest.mark.parametrize(("source", "target"), [("file", "sqlite"), ("sqlite", "file")])
def test_kills_lose_nothing_that_was_acknowledged(folder: Path, source: str, target: str) -> None:
    chance = random.Random(f"{source}{target}")
    places = urls(folder)
    writers = Writers(places[source])
    try:
        open_store(places[source]).change(lambda c: [c.put("old", f"{n:04d}", {"n": n}) for n in range(300)])
        writers.start()
        writers.start()
        writers.hear(40)
        for number in range(KILLS):
            migrator = Process(MIGRATOR, places[source], places[target])
            migrator.step(chance.randint(1, 3 + 30 * number))
            migrator.kill()
            if number % 2:
                writers.kill_one()
                writers.start()
            writers.hear(4)
        assert Process(MIGRATOR, places[source], places[target]).end() == 0
        writers.hear(20)  # they have followed
    finally:
        writers.stop()
    store = Store(open_backend(places[target]))
    assert writers.check(store) > 60
    assert [record.body["n"] for record in store.list("old", Query(limit=1000))] == list(range(300))
    assert store.list(META, Query(prefix=CHANGED)) == []
    store.close()


def rows_of(url: str) -> dict[tuple[str, str], Row]:
    backend = open_backend(url)
    try:
        return backend.run(lambda tx: {(kind, key): row for kind, key, row in fill.everything(tx)}, write=False)
    finally:
        backend.close()


def test_from_file_to_sqlite_to_surrealkv_nothing_is_lost(folder: Path) -> None:
    places = urls(folder)
    store = open_store(places["file"])
    store.change(lambda c: [c.put("box", f"ä{n:03d}", {"n": n / 3, "deep": {"a": [None, True]}}) for n in range(450)])
    store.put("box", "ä001", {"again": 1}, expect=1)
    lease = store.lease("target", "me", 600)
    store.append_audit("me", "write", "box")
    before = rows_of(places["file"])
    for source, target in (("file", "sqlite"), ("sqlite", "surrealkv")):
        way = migrate.Migration(places[source], places[target], silent)
        assert way.run(live=True).records == len(before)
        way.close()
        assert rows_of(places[target]) == before
    store.put("box", "after", {}, fence=lease)  # who opened the first is led to the last, with its lease
    assert store.get("box", "ä001").version == 2
    assert store.verify_audit().count == 1
    store.close()
    assert ("box", "after") in rows_of(places["surrealkv"])
