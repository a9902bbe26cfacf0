# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migration step by step: stopped before and after every transaction, with writes between any two of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    OperationFailed,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state import fill, follow, migrate
from ansible_collections.rackstead.infra.plugins.module_utils.state.backend import Backend
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import AUDIT, META, Query, Row
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import OPENERS, open_backend, open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

Rows = dict[tuple[str, str], Row]


def silent(stage: str, done: int, total: int) -> None:
    """Nobody looks."""


class Killed(BaseException):
    pass


class Memory:
    """A backend that forgets, for hundreds of stores: a transaction is a copy that takes the original's place."""

    def __init__(self, stores: dict[str, Rows], url: str) -> None:
        self.stores, self.url = stores, url
        self.rows: Rows = {}

    def run(self, work: Callable[[Any], Any], *, write: bool) -> Any:
        copy = Memory(self.stores, self.url)
        copy.rows = dict(self.stores.get(self.url, {}))
        result = work(copy)
        if write:
            self.stores[self.url] = copy.rows
        return result

    def get(self, kind: str, key: str) -> Row | None:
        return self.rows.get((kind, key))

    def set(self, kind: str, key: str, row: Row) -> None:
        self.rows[kind, key] = row

    def remove(self, kind: str, key: str) -> None:
        self.rows.pop((kind, key), None)

    def fetch_ahead(self, places: Collection[tuple[str, str]]) -> None:
        """All is here."""

    def scan(self, kind: str, query: Query) -> list[tuple[str, Row]]:
        keys = sorted(key for of, key in self.rows if of == kind and query.wants_key(key))
        return [(key, self.rows[kind, key]) for key in keys][: query.limit]

    def versions(self, kind: str, query: Query) -> list[tuple[str, int, float]]:
        return [(key, row.version, row.time) for key, row in self.scan(kind, query)]

    def kinds(self) -> list[str]:
        return sorted({kind for kind, _key in self.rows})

    def now(self) -> float:
        return 1_700_000_000.5

    far = False

    def stamp(self) -> str | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


class Watched:
    """A backend whose transactions are counted and can be the last: ``before`` and ``after`` see the number."""

    def __init__(self, backend: Backend, world: World) -> None:
        self.inner, self.world, self.close = backend, world, backend.close

    def run(self, work: Callable[[Any], Any], *, write: bool) -> Any:
        self.world.step(False)
        result = self.inner.run(work, write=write)
        self.world.step(True)
        return result


class World:
    """Two stores, a writer that writes between the migrator's transactions, and a point where that is killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stores: dict[str, Rows] = {}
        monkeypatch.setitem(OPENERS, "memory", lambda url: Memory(stores, url))
        self.source, self.target = "memory:source", "memory:target"
        self.writer = open_store(self.source)
        self.steps = 0
        self.last = -1
        self.expected: dict[str, int] = {}
        self.busy = False
        monkeypatch.setattr(migrate, "open_backend", lambda url: Watched(open_backend(url), self))
        monkeypatch.setattr(migrate, "BATCH", 8)

    def step(self, after: bool) -> None:
        self.steps += 1
        if 0 <= self.last <= self.steps:
            raise Killed
        if self.busy and after:
            self.write(self.steps)

    def write(self, number: int) -> None:
        """Some change, acknowledged or refused; it is acknowledged in the source or, after the switch, in the target."""
        key = f"k{number * 7 % 12:02d}"
        with suppress(DeadlineExceeded):  # while the migrator switches nobody writes: it never goes on meanwhile here
            if number % 5 == 4:
                self.writer.delete("box", key)
                self.expected.pop(key, None)
            else:
                self.writer.put("box", key, {"n": number})
                self.expected[key] = number
            if number % 3 == 0:
                self.writer.append_audit("me", "write", key)

    def migrate(self, *, live: bool = True) -> migrate.Report:
        way = migrate.Migration(self.source, self.target, silent)
        try:
            return way.run(live=live)
        finally:
            way.close()

    def killed_at(self, number: int) -> bool:
        """Run a migration and kill it at a transaction; whether it came so far."""
        self.steps, self.last = 0, number
        try:
            self.migrate()
        except Killed:
            return True
        finally:
            self.last = -1
        return False

    def rows(self, url: str) -> Rows:
        backend = open_backend(url)
        return backend.run(lambda tx: {(k, key): row for k, key, row in fill.everything(tx)}, write=False)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(follow, "PATIENCE", 0.0)
    world = World(monkeypatch)
    for number in range(16):
        world.write(number)
    world.writer.put("another", "one", {"a": None})
    world.writer.lease("lease", "me", 60)
    yield world
    world.writer.close()


def check(world: World) -> None:
    """Everything acknowledged is in the target, which all use now."""
    found = {record.key: record.body["n"] for record in world.writer.list("box", Query(limit=1000))}
    assert found == world.expected
    assert open_store(world.source).put("another", "two", {}).version >= 1
    target = Store(open_backend(world.target))
    assert target.get("another", "two").body == {}
    assert target.verify_audit().ok
    marks = target.list(META, Query(prefix=follow.CHANGED))
    assert marks == []
    assert target.find(META, follow.MIGRATION) is None


@pytest.mark.parametrize("live", [True, False])
def test_everything_travels_unchanged(world: World, live: bool) -> None:
    before = world.rows(world.source)
    report = world.migrate(live=live)
    assert world.rows(world.target) == before
    assert (report.records, report.copied, report.recopied) == (len(before), len(before), 0)
    assert report.audit_entries == sum(kind == AUDIT for kind, _key in before)
    check(world)
    assert world.rows(world.source) == before  # it is left as it was


def test_a_second_run_finds_nothing_to_do(world: World) -> None:
    world.migrate()
    assert world.migrate().already
    with pytest.raises(Conflict, match="it has moved to"):
        migrate.Migration(world.source, world.target + "2", silent).run(live=True)
    with pytest.raises(Conflict, match="has ended"):
        migrate.abort(world.source)


def test_killed_anywhere_and_run_again_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of the migrator's transactions in turn, with writes between any two of them."""
    monkeypatch.setattr(follow, "PATIENCE", 0.0)
    number, going = 0, True
    while going:
        number += 1
        world = World(monkeypatch)
        for one in range(8):
            world.write(one)
        world.busy = True
        going = world.killed_at(number)
        world.busy = False
        world.write(1000)
        world.migrate()
        check(world)
    assert number > 40


def test_killed_again_and_again_it_gets_there(world: World) -> None:
    """What is copied stays copied. Comparing begins anew each time, so each run may do more."""
    world.busy = True
    rounds = 0
    while world.killed_at(int(8 * 1.5**rounds)):
        rounds += 1
        assert rounds < 20
    assert rounds > 4
    world.busy = False
    check(world)


def test_writers_wait_for_the_switch_and_readers_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    reader = open_store(world.source)
    switch = migrate.Migration._switch

    def looking(self: migrate.Migration, id_: str, phase: str) -> None:
        switch(self, id_, phase)
        if phase == follow.SWITCHING:
            with pytest.raises(DeadlineExceeded, match="--abort"):
                world.writer.put("box", "late", {"n": 0})
            seen.append(reader.get("another", "one").key)

    monkeypatch.setattr(migrate.Migration, "_switch", looking)
    world.migrate()
    assert seen == ["one"]
    check(world)


def test_after_a_failure_writers_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: migrate.Migration, last: int | None) -> None:
        raise OperationFailed("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(migrate.Migration, "_verify_audit", full)
        with pytest.raises(OperationFailed, match="no space"):
            world.migrate(live=False)
    world.write(50)
    world.migrate(live=False)
    check(world)


def test_the_half_filled_target_is_nobodys(world: World) -> None:
    assert world.killed_at(20)
    with pytest.raises(Conflict, match=f"being filled from {world.source}; use {world.source}"):
        open_store(world.target).find("box", "k01")
    with pytest.raises(Conflict, match="is being migrated to"):
        migrate.Migration(world.source, world.target + "2", silent).run(live=True)


def test_abort_leaves_no_trace(world: World) -> None:
    before = world.rows(world.source)
    assert world.killed_at(30)
    world.writer.put("box", "marked", {"n": 1})
    world.writer.delete("box", "marked")
    assert migrate.abort(world.source) == ""
    after = world.rows(world.source)
    after.pop((META, "floor:box"))
    before.pop((META, "floor:box"))
    assert after == before
    assert open_backend(world.source).run(lambda tx: tx.get(META, follow.MIGRATION), write=False) is None
    assert world.rows(world.target) == {}
    world.migrate()  # to the same place, anew
    check(world)
    with pytest.raises(NotFound, match="no migration is under way"):
        migrate.abort(f"{world.source}3")


def test_an_abort_that_was_killed_is_finished(world: World) -> None:
    steps = 1  # the first kill is after the first transaction
    assert world.killed_at(30)
    while open_backend(world.source).run(lambda tx: tx.get(META, follow.MIGRATION), write=False):
        steps += 1
        world.steps, world.last = 0, steps
        try:
            migrate.abort(world.source)
        except Killed:
            world.write(60 + steps)
        world.last = -1
        if steps == 2:
            with pytest.raises(Conflict, match="an abort of its migration was not finished"):
                world.migrate()
    assert steps > 5
    world.migrate()
    check(world)


def test_a_migrator_that_comes_back_late_changes_nothing(world: World) -> None:
    """One that was stopped and then replaced: its writes are refused."""
    late = fill.Filling(open_backend(world.target), "", world.source, "")
    assert world.killed_at(20)
    mark = open_backend(world.source).run(lambda tx: tx.get(META, follow.MIGRATION), write=False)
    assert mark
    late.id = mark.body["id"]
    late.begin()
    world.migrate()
    with pytest.raises(Conflict, match="another process has gone on"):
        late.write([("box", "k01", None)], {})
    check(world)


def test_bad_targets_are_refused_and_nothing_is_marked(world: World) -> None:
    with pytest.raises(InvalidInput, match="is --from itself"):
        migrate.Migration(world.source, world.source, silent)
    Store(open_backend(world.target)).put("box", "x", {})
    with pytest.raises(Conflict, match=r"target: is not empty; name one that is"):
        world.migrate()
    assert open_backend(world.source).run(lambda tx: tx.get(META, follow.MIGRATION), write=False) is None
    world.write(70)


def test_differences_are_found(world: World) -> None:
    world.migrate()
    assert migrate.Migration(world.source, world.target, silent).verify().differences == []
    target = open_backend(world.target)
    row = target.run(lambda tx: tx.get("box", "k01"), write=False)
    assert row
    target.run(lambda tx: tx.set("box", "k01", Row(row.version, row.time, {"n": -5})), write=True)
    target.run(lambda tx: tx.remove("another", "one"), write=True)
    target.run(lambda tx: tx.set("zoo", "extra", Row(1, 1.0, {})), write=True)
    target.run(lambda tx: tx.remove(AUDIT, "0000000000000002"), write=True)
    found = migrate.Migration(world.source, world.target, silent).verify().differences
    assert found[:-1] == ["another/one", "audit/0000000000000002", "box/k01", "zoo/extra"]
    assert "entry 2 is missing" in found[-1]


def test_a_broken_audit_chain_stops_a_migration(world: World) -> None:
    backend = open_backend(world.source)
    backend.run(lambda tx: tx.remove(AUDIT, "0000000000000002"), write=True)
    with pytest.raises(OperationFailed, match="the audit chain is broken: entry 2 is missing"):
        world.migrate()
    world.write(80)


def test_chains_of_stores_are_followed(world: World) -> None:
    third = "memory:third"
    world.migrate()
    migrate.Migration(world.target, third, silent).run(live=True)
    world.writer.put("box", "k99", {"n": 99})
    assert Store(open_backend(third)).get("box", "k99").body == {"n": 99}
    assert open_store(world.source).get("box", "k99").body == {"n": 99}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host:5/db", "postgresql://me@host:5/db"),
        ("wss://me:secret@host/ns/db", "wss://me@host/ns/db"),
        ("ws://host:8000/ns/db", "ws://host:8000/ns/db"),
        ("sqlite:///var/x.db", "sqlite:/var/x.db"),
    ],
)
def test_no_password_is_kept(url: str, shown: str) -> None:
    assert migrate.public(url) == shown
