# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every backend of the state store must do: one suite for all of them."""

from __future__ import annotations

import copy
import itertools
import os
import random
import select
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced, Held, VersionMoved
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import (
    AuditReport,
    Lease,
    Query,
    Record,
    to_json,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runner import state_processes as processes
from tests.runner.state_backends import BACKENDS, Backend, Servers
from tests.runner.state_processes import Worker


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    started = Servers()
    yield started
    started.close()


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def url(backend: Backend, tmp_path: Path, servers: Servers) -> str:
    return backend.url(tmp_path, servers)


@pytest.fixture(params=[name for name, kind in BACKENDS.items() if kind.shared])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> str:
    return BACKENDS[request.param].url(tmp_path, servers)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


BODY = {
    "state": "pending",
    "text": 'ä\n"\u20ac"\U0001f600 \x00',
    "whole": 2**70,
    "real": 0.1,
    "none": None,
    "deep": {"list": [1, -1.5e300, True, {}], "": ""},
}


def keys(records: list[Record]) -> list[str]:
    return [record.key for record in records]


# -- records --------------------------------------------------------------------------------------
def test_what_is_read_is_what_was_written(store: Store, url: str) -> None:
    written = store.put("job", "a/b", BODY)
    assert (written.version, written.body) == (1, BODY)
    again = open_store(url)
    try:
        assert again.get("job", "a/b") == written == store.find("job", "a/b")
        assert to_json(again.get("job", "a/b").body) == to_json(BODY)  # true is not 1, 1.0 is not 1
    finally:
        again.close()


def test_a_store_that_nobody_wrote_to_is_empty(store: Store) -> None:
    assert store.kinds() == [] == store.list("job") == store.audit()
    assert store.find("job", "a") is None
    assert store.verify_audit().ok
    with pytest.raises(NotFound, match="job/a"):
        store.get("job", "a")


def test_versions(store: Store) -> None:
    first = store.put("job", "a", {"n": 1}, expect=0)
    assert store.put("job", "a", {"n": 2}, expect=first.version).version == 2
    for expect in (0, 1, 3):
        with pytest.raises(VersionMoved, match="job/a: is at version 2"):
            store.put("job", "a", {"n": 3}, expect=expect)
        with pytest.raises(VersionMoved):
            store.delete("job", "a", expect=expect)
    with pytest.raises(VersionMoved, match="does not exist"):
        store.put("job", "b", {}, expect=2)
    assert store.put("job", "a", {"n": 4}).version == 3
    assert store.get("job", "a").body == {"n": 4}


def test_a_version_never_comes_back(store: Store) -> None:
    """Or a writer who read before a delete could overwrite what came after it."""
    store.put("job", "a", {})
    before = store.put("job", "a", {})
    assert store.delete("job", "a", expect=2) is True
    assert store.delete("job", "a") is False
    assert store.find("job", "a") is None
    assert store.put("job", "a", {"new": True}, expect=0).version > before.version
    with pytest.raises(VersionMoved):
        store.put("job", "a", {}, expect=before.version)


@pytest.mark.parametrize(
    "key", ["a", "ä/ö ü", "..", ".hidden", "a.json", "%2F", "~", "€" * 200, "x" * 200, "A", "\U0001f600"]
)
def test_any_key(store: Store, key: str) -> None:
    store.put("job", key, {"it": key})
    store.put("job", "other", {})
    assert store.get("job", key).body == {"it": key}
    assert sorted(keys(store.list("job"))) == sorted([key, "other"])
    assert store.delete("job", key)
    assert keys(store.list("job")) == ["other"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("Job", "a", {}), 'kind: "Job" is not valid'),
        (("job", "", {}), 'key: "" is not valid'),
        (("job", "a\n", {}), "key: "),
        (("job", "\ud800", {}), "key: "),
        (("job", "x" * 201, {}), "key: "),
        (("lease", "a", {}), 'kind: "lease" is the store\'s own'),
        (("audit", "a", {}), "kind: "),
        (("meta", "a", {}), "kind: "),
        (("job", "a", []), "body: a list is not valid"),
        (("job", "a", {"x": {"y": [float("nan")]}}), r"body\.x\.y\[0\]: nan"),
        (("job", "a", {"x": {1: 2}}), r"body\.x: the name 1"),
        (("job", "a", {"x": b""}), r"body\.x: a bytes"),
        (("job", "a", {"x": {"$sealed": 1}}), r"body\.x: "),
    ],
)
def test_bad_input_is_named(store: Store, arguments: tuple[Any, Any, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        store.put(*arguments)
    assert store.kinds() == []


def test_list(store: Store) -> None:
    order = ["A", "a", "a0", "a1", "b", "z", "ä", "\uffff", "\U0001f600"]

    def fill(change: Change) -> None:
        for number, key in enumerate(order):
            state = ("new", "done")[number % 2]
            change.put("job", key, {"state": state, "workflow": "w", "n": number, "flag": number == 1})

    store.change(fill)
    store.put("other", "a", {"state": "new"})
    assert keys(store.list("job")) == order
    assert keys(store.list("job", Query(descending=True))) == order[::-1]
    assert keys(store.list("job", Query(prefix="a"))) == ["a", "a0", "a1"]
    assert keys(store.list("job", Query(prefix="a", descending=True, limit=2))) == ["a1", "a0"]
    assert keys(store.list("job", Query(prefix="\U0001f600"))) == ["\U0001f600"]
    assert keys(store.list("job", Query(after="a", limit=2))) == ["a0", "a1"]
    assert keys(store.list("job", Query(after="a1", descending=True))) == ["a0", "a", "A"]
    assert keys(store.list("job", Query(where={"state": "done"}))) == order[1::2]
    assert keys(store.list("job", Query(where={"state": "done"}, descending=True, limit=2))) == order[1::2][:1:-1]
    assert keys(store.list("job", Query(where={"state": ["new", "done"], "workflow": "w"}, limit=3))) == order[:3]
    assert keys(store.list("job", Query(where={"state": ["new", "done"]}, descending=True, limit=3))) == order[:-4:-1]
    assert keys(store.list("job", Query(where={"n": [1, 2.0, "3"]}))) == order[1:3]
    assert keys(store.list("job", Query(where={"flag": True}))) == ["a"] and not store.list(
        "job", Query(where={"flag": 1})
    )
    assert store.list("job", Query(where={"state": []})) == [] == store.list("none")
    assert keys(store.list("job", Query(where={"state": None}))) == []
    assert len(store.list("job", Query(where={"absent": None}))) == len(order)
    assert store.kinds() == ["job", "other"]


def test_a_query_is_checked(store: Store) -> None:
    for query, complaint in ((Query(limit=0), "limit: 0"), (Query(where={"a": [{}]}), "where.a: ")):  # type: ignore[dict-item]
        with pytest.raises(InvalidInput, match=complaint):
            store.list("job", query)


# -- transactions ---------------------------------------------------------------------------------
def test_change_is_all_or_nothing(store: Store) -> None:
    store.put("job", "a", {"n": 1})

    def fail(change: Change) -> None:
        change.put("job", "a", {"n": 2})
        change.delete("job", "a")
        change.put("job", "b", {})
        change.append_audit("me", "put", "job/b")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.change(fail)
    assert store.get("job", "a").body == {"n": 1}
    assert keys(store.list("job")) == ["a"]
    assert store.audit() == []


def test_change_sees_its_own_writes(store: Store) -> None:
    store.put("job", "a", {"n": 1})

    def work(change: Change) -> list[list[str]]:
        seen = [keys(change.list("job"))]
        change.put("job", "b", body := {"deep": [1]})
        body["deep"].append(2)
        change.delete("job", "a")
        change.put("job", "b", {**change.get("job", "b").body, "more": 1}, expect=1)
        return [*seen, keys(change.list("job")), change.kinds()]

    assert store.change(work) == [["a"], ["b"], ["job", "meta"]]
    assert (store.get("job", "b").version, store.get("job", "b").body) == (2, {"deep": [1], "more": 1})


# -- leases ---------------------------------------------------------------------------------------
def test_a_lease_has_one_holder(store: Store) -> None:
    first = store.lease("target/a", "w1", 60)
    assert store.lease("target/b", "w2", 60).token == 1
    with pytest.raises(Held, match='target/a: "w1" holds it until 20'):
        store.lease("target/a", "w2", 60)
    same = store.lease("target/a", "w1", 120)
    assert same.token == first.token and same.expires > first.expires
    assert store.renew(first, 240).expires > same.expires
    store.put("job", "a", {}, fence=first)
    store.release(first)
    with pytest.raises(Fenced):
        store.put("job", "a", {}, fence=first)
    second = store.lease("target/a", "w2", 60)
    assert second.token > first.token
    store.release(first)
    with pytest.raises(Held, match="w2"):
        store.lease("target/a", "w1", 60)
    with pytest.raises(Fenced, match="w1"):
        store.renew(first, 60)
    with pytest.raises(Fenced):
        store.delete("job", "a", fence=first)
    assert store.get("job", "a").version == 1
    assert store.delete("job", "a", fence=second)


def test_an_expired_lease_guards_until_it_is_taken(store: Store) -> None:
    late = store.lease("a", "w1", 1e-6)
    store.put("job", "a", {}, fence=late)
    assert store.renew(late, 1e-6).token == late.token
    again = store.lease("a", "w1", 1e-6)
    assert again.token == late.token + 1
    with pytest.raises(Fenced):
        store.put("job", "a", {}, fence=late)
    assert store.lease("a", "w2", 60).token == again.token + 1
    for lost in (late, again, Lease("never", "w1", 1, 0.0)):
        with pytest.raises(Fenced):
            store.change(lambda change, lost=lost: change.check_fence(lost))


def test_a_lease_is_asked_for_properly(store: Store) -> None:
    with pytest.raises(InvalidInput, match="seconds: 0 is not valid"):
        store.lease("a", "w", 0)
    with pytest.raises(InvalidInput, match="holder: "):
        store.lease("a", "", 1)


# -- audit ----------------------------------------------------------------------------------------
def fill_audit(store: Store) -> None:
    for number in range(5):
        store.append_audit("me", "put", f"job/{number}", origin="here", details={"n": number, "password": "pass-word"})


def test_audit(store: Store) -> None:
    fill_audit(store)
    entries = store.audit()
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[2].details == {"n": 2, "password": "********"}
    assert [entry.previous for entry in entries[1:]] == [entry.digest for entry in entries[:-1]]
    assert [entry.seq for entry in store.audit(Query(descending=True, limit=2))] == [5, 4]
    assert [entry.seq for entry in store.audit(Query(where={"target": "job/1"}))] == [2]
    report = store.verify_audit()
    assert (report.count, report.ok, report.broken) == (5, True, None)


@pytest.mark.parametrize(
    ("seq", "field", "complaint"),
    [(3, "who", "entry 3 was changed"), (5, "time", "entry 5 was changed"), (2, "previous", "entry 2 does not follow")],
)
def test_a_changed_audit_entry_is_found(store: Store, seq: int, field: str, complaint: str) -> None:
    fill_audit(store)

    def tamper(tx: Any) -> None:
        row = tx.get("audit", f"{seq:016d}")
        row.body[field] = "other"
        tx.set("audit", f"{seq:016d}", row)

    store.backend.run(tamper, write=True)
    report = store.verify_audit()
    assert (report.ok, report.count, report.broken) == (False, seq - 1, seq)
    assert complaint in report.why


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_missing_audit_entry_is_found(store: Store, seq: int) -> None:
    fill_audit(store)
    store.backend.run(lambda tx: tx.remove("audit", f"{seq:016d}"), write=True)
    report = store.verify_audit()
    assert (report.ok, report.broken) == (False, seq)
    assert f"entry {seq} is missing" in report.why


# -- sealing --------------------------------------------------------------------------------------
class Reverse:
    """A seal that anyone can break."""

    def seal(self, kind: str, key: str, field: str, value: Any) -> Any:
        return [f"{kind}/{key}.{field}", value[::-1]]

    def open(self, kind: str, key: str, field: str, value: Any) -> Any:
        assert value[0] == f"{kind}/{key}.{field}"
        return value[1][::-1]


def test_sensitive_fields_are_sealed_and_stay_so(url: str) -> None:
    store, bare = open_store(url, keys=Reverse()), open_store(url)
    try:
        assert store.put("host", "a", {"user": "me", "word": "abc"}, sensitive=["word"]).sensitive == ("word",)
        store.put("host", "a", {"user": "me", "word": "xyz"})
        assert store.get("host", "a").body == {"user": "me", "word": "xyz"}
        kept = store.backend.run(lambda tx: tx.get("host", "a"), write=False)
        assert kept is not None and kept.body == {"user": "me", "word": {"$sealed": ["host/a.word", "zyx"]}}
        for work in (lambda: bare.get("host", "a"), lambda: bare.put("host", "b", {"x": 1}, sensitive=["x"])):
            with pytest.raises(InvalidInput, match="RACKSTEAD_STATE_KEY or RACKSTEAD_STATE_KEY_FILE"):
                work()
        assert bare.put("host", "b", {"y": 1}, sensitive=["x"]).version == 1
    finally:
        store.close()
        bare.close()


# -- against a model ------------------------------------------------------------------------------
KEYS = ["a", "ab", "ä", "b/c"]
#: Alike as far as an index may look.
LONG = ["ä" * 100, "ä" * 101]
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["new", "done", 1, True, None, [1]]),
        "who": st.sampled_from(["new", *LONG]),
        "n": st.integers(-(2**60), 2**60),
    },
)
EXPECT = st.sampled_from([None, None, None, 0, 1, 2, 3])
PUT = st.tuples(st.just("put"), st.sampled_from(KEYS), BODIES, EXPECT)
DELETE = st.tuples(st.just("delete"), st.sampled_from(KEYS), st.just({}), EXPECT)
STEPS = st.lists(st.one_of(PUT, PUT, DELETE), min_size=1, max_size=3)
QUERIES = st.builds(
    Query,
    where=st.dictionaries(
        st.sampled_from(["state", "n", "who"]),
        st.one_of(st.sampled_from(["new", 1, True, None, LONG[0]]), st.just(["new", "done"])),
    ),
    prefix=st.sampled_from(["", "a", "b"]),
    after=st.sampled_from(["", "a", "b"]),
    descending=st.booleans(),
    limit=st.integers(1, 5),
)
COUNT = itertools.count(1)


class Model:
    """The store as a dict."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, dict[str, Any]]] = {}
        self.floor = 0

    def step(self, what: str, key: str, body: dict[str, Any], expect: int | None) -> None:
        version = self.rows.get(key, (0, {}))[0]
        if expect is not None and expect != version:
            raise VersionMoved("moved")
        if what == "put":
            self.rows[key] = ((version or self.floor) + 1, body)
        else:
            self.floor = max(self.floor, self.rows.pop(key, (0, {}))[0])

    def list(self, query: Query) -> dict[str, tuple[int, dict[str, Any]]]:
        found = [key for key in sorted(self.rows, reverse=query.descending) if query.wants_key(key)]
        found = [key for key in found if query.wants(self.rows[key][1])][: query.limit]
        return {key: self.rows[key] for key in found}


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(STEPS, QUERIES), min_size=1, max_size=5))
def test_it_does_what_a_dict_would_do(store: Store, changes: list[tuple[list[Any], Query]]) -> None:
    kind, model = f"k{next(COUNT)}", Model()

    def apply(change: Change, steps: list[Any]) -> None:
        for what, key, body, expect in steps:
            if what == "put":
                change.put(kind, key, body, expect=expect)
            else:
                change.delete(kind, key, expect=expect)

    for steps, query in changes:
        following = copy.deepcopy(model)
        try:
            for step in steps:
                following.step(*step)
        except VersionMoved:
            with pytest.raises(VersionMoved):
                store.change(lambda change, steps=steps: apply(change, steps))
        else:
            store.change(lambda change, steps=steps: apply(change, steps))
            model = following
        for asked in (Query(), query):
            found = [(record.key, (record.version, record.body)) for record in store.list(kind, asked)]
            assert found == list(model.list(asked).items())
            versions = store.read(lambda change, asked=asked: change.versions(kind, asked))
            assert versions == [(one.key, one.version, one.time) for one in store.list(kind, asked)]
        assert {key: store.find(kind, key) is not None for key in KEYS} == {key: key in model.rows for key in KEYS}


# -- several at once ------------------------------------------------------------------------------
def counted(store: Store) -> dict[str, int]:
    records = store.list("counter")
    assert all(processes.whole(record.body) for record in records)
    assert all(record.body["n"] == record.version for record in records)
    return {record.key: record.body["n"] for record in records}


def test_threads_lose_no_update(store: Store) -> None:
    told: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(processes.count(f"w{n}", 8), store, told.append) for n in range(4)]:
            done.result()
    assert counted(store) == Counter(told) and len(told) == 32
    assert store.verify_audit() == AuditReport(4, ok=True)


def test_the_stamp_tells_of_every_write_of_another_process(shared_url: str) -> None:
    """Who has read under one stamp knows all that is there as long as it is the same."""
    store = open_store(shared_url)
    try:
        store.put("other", "a", {})
        store.list("counter")
        if store.stamp() is None:
            assert shared_url.startswith("file:")
            return
        worker = Worker(shared_url, processes.write_for_ever("w0"))
        for _ in range(10):
            before = store.stamp()
            seen = keys(store.list("job", Query(limit=1000)))
            worker.hear(5)
            assert set(worker.lines) <= {*seen} or store.stamp() != before
        worker.kill()
        store.list("job")
        before = store.stamp()
        assert len(store.list("job", Query(limit=1000))) >= len(worker.lines) and store.stamp() == before
        store.put("other", "a", {})
        assert store.stamp() != before
    finally:
        store.close()


def test_processes_lose_no_update(shared_url: str) -> None:
    """They also make the store at the same time."""
    workers = [Worker(shared_url, processes.count(f"w{n}", 16)) for n in range(3)]
    store = open_store(shared_url)
    try:
        while any(os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for worker in workers):
            counted(store)
        told = [key for worker in workers for key in worker.join()]
        assert counted(store) == Counter(told) and len(told) == 48
        assert store.verify_audit() == AuditReport(3, ok=True)
    finally:
        store.close()


def test_killed_writers_lose_nothing_acknowledged(url: str, backend: Backend) -> None:
    if not backend.forks:
        pytest.skip("its engine does not survive a fork; test_state_surreal.py kills its owner")
    chance, told = random.Random(7), list[str]()
    for number in range(5):
        workers = [Worker(url, processes.write_for_ever(f"r{number}w{n}")) for n in range(2 if backend.shared else 1)]
        for worker in workers:
            worker.hear(chance.randint(0, 3))
            select.select([], [], [], chance.random() / 20)  # any moment will do
            worker.kill()
            told += worker.lines
    store = open_store(url)
    try:
        jobs = store.list("job", Query(limit=10_000))
        assert set(told) <= set(keys(jobs))
        assert all(processes.whole(record.body) for record in jobs)
        # All three or none, for the writes nobody heard of, too.
        assert {entry.target for entry in store.audit(Query(limit=10_000))} == set(keys(jobs))
        total = store.get("total", "all")
        assert total.body == processes.body(len(jobs)) and total.version == len(jobs)
        assert store.verify_audit() == AuditReport(len(jobs), ok=True)
    finally:
        store.close()


def test_readers_do_not_keep_a_writer_out(shared_url: str) -> None:
    store = open_store(shared_url)
    store.change(lambda change: [change.put("job", str(number), {"n": number}) for number in range(200)])
    readers = [Worker(shared_url, processes.read_for_ever) for _ in range(4)]
    try:
        for reader in readers:
            reader.hear(1)
        for number in range(5):
            assert store.put("job", "new", {"n": number}).version == number + 1
    finally:
        for reader in readers:
            reader.kill()
        store.close()


def test_who_lost_a_lease_writes_no_more(shared_url: str) -> None:
    workers = [Worker(shared_url, processes.contend(f"w{n}", last=10)) for n in range(2)]
    first, second = ([int(token) for token in worker.join()] for worker in workers)
    assert first == sorted(set(first)) and second == sorted(set(second))
    assert sorted(first + second) == list(range(1, len(first + second) + 1))
    assert min(len(first), len(second)) >= 5  # each lost it to the other, and was refused, again and again
