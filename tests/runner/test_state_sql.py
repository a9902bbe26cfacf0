# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to the state store in SQLite and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Denied,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
    Unsupported,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Row
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.sqlstore import GET, TABLE, select
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store
from sqlalchemy import Engine, event, text
from testbed.postgres import Postgres

from tests.runner.state_backends import BACKENDS, Servers

ROWS = 4_000
STATES = ["completed"] * 90 + ["failed"] * 9 + ["pending"]
SECRET, WRONG = "correct-horse", "hunter2"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    started = Servers()
    yield started
    started.close()


@pytest.fixture
def server(servers: Servers) -> Postgres:
    return servers.postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[Store]:
    opened = open_store(BACKENDS[request.param].url(tmp_path, servers))
    yield opened
    opened.close()


def told(kind: type[RacksteadError], work: Callable[[], object]) -> str:
    """The error of this kind that ``work`` raises, with all that a traceback shows of it."""
    with pytest.raises(kind) as raised:
        work()
    return str(raised.value) + "".join(traceback.format_exception(raised.value))


# -- speed ----------------------------------------------------------------------------------------
@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Store]:
    opened = open_store(BACKENDS[request.param].url(tmp_path_factory.mktemp("full"), servers))

    def fill(tx: Any) -> None:
        for number in range(ROWS):
            who = "anna" if number != 2_000 else "rare"
            body = {"state": STATES[number % 100], "workflow": f"w{number % 7}", "who": who, "n": number}
            tx.set("job", f"{number:06d}", Row(1, 1.0, body))

    opened.backend.run(fill, write=True)
    if request.param == "postgresql":
        opened.backend.run(lambda tx: tx._connection.execute(text(f"ANALYZE {TABLE}")), write=True)
    yield opened
    opened.close()


def plan(store: Store, statement: str, values: dict[str, Any]) -> str:
    """How the database would find the answer."""

    def explain(tx: Any) -> str:
        word = "EXPLAIN" if tx._database.clock else "EXPLAIN QUERY PLAN"
        return "\n".join(str(row[-1]) for row in tx._connection.execute(text(f"{word} {statement}"), values))

    return store.backend.run(explain, write=False)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("query", "marks", "indexes"),
    [
        (Query(), {}, ["pkey", "autoindex"]),
        (Query(prefix="002"), {}, ["pkey", "autoindex"]),
        (Query(after="002000"), {}, ["pkey", "autoindex"]),
        (Query(), {"state": '"pending"'}, [f"{TABLE}_state "]),
        (Query(after="002000"), {"state": '"pending"'}, [f"{TABLE}_state "]),
        (Query(), {"state": '"completed"'}, ["pkey", f"{TABLE}_state "]),
        (Query(), {"workflow": '"w3"'}, ["pkey", f"{TABLE}_workflow "]),
        (Query(), {"state": '"pending"', "workflow": '"w3"'}, [f"{TABLE}_state_workflow "]),
        (Query(), {"who": '"rare"'}, [f"{TABLE}_who "]),
        (Query(), {"who": '"rare"', "state": '"completed"'}, [f"{TABLE}_state_who ", f"{TABLE}_who "]),
        (
            Query(),
            {"who": '"rare"', "state": '"completed"', "workflow": '"w3"'},
            [f"{TABLE}_state_workflow_who ", f"{TABLE}_workflow_who ", f"{TABLE}_state_who ", f"{TABLE}_who "],
        ),
    ],
)
def test_lists_walk_along_an_index(
    full: Store, query: Query, marks: dict[str, str], indexes: list[str], descending: bool
) -> None:
    """No row is sorted, and none but the wanted are read (or hardly any, where most rows are wanted)."""
    asked = Query(prefix=query.prefix, after=query.after, descending=descending)
    statement, values = select("job", asked, marks, asked.after)
    found = plan(full, statement, {**values, "size": 100})
    assert any(index in found for index in indexes), found
    assert "Sort" not in found and "TEMP B-TREE" not in found and "Seq Scan" not in found, found
    assert ("Index Scan" in found or "SEARCH" in found) and "Bitmap" not in found, found


def test_a_record_is_found_by_an_index(full: Store) -> None:
    found = plan(full, GET, {"kind": "job", "key": "002000"})
    assert "pkey" in found or "autoindex" in found, found


def statements(store: Store, work: Callable[[Change], object]) -> list[str]:
    """What one transaction says to the database."""
    found: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        store.change(work)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    return [one for one in found if TABLE in one]


def test_a_transaction_reads_a_row_once_and_writes_in_one_go(store: Store) -> None:
    store.put("thing", "a", {"n": 0})

    def work(change: Change) -> None:
        change.fetch_ahead([("thing", name) for name in ("a", "b", "c", "none")])
        for name in ("a", "b", "c"):
            assert (change.find("thing", name) is None) is (name != "a")
            change.put("thing", name, {"n": 1})
        held = change.get("thing", "a").body
        held["n"] = 7  # one's own, and nobody else's
        assert change.get("thing", "a").body == {"n": 1} and change.find("thing", "none") is None
        change.delete("thing", "b")
        assert change.find("thing", "b") is None

    said = statements(store, work)
    assert [one.split()[0] for one in said] == ["SELECT"] * 3 + ["INSERT", "DELETE"], said  # migration, the four, floor
    assert [one.key for one in store.list("thing")] == ["a", "c"] and store.get("thing", "a").version == 2


def test_a_list_has_what_its_transaction_wrote(store: Store) -> None:
    def work(change: Change) -> list[str]:
        change.put("thing", "a", {})
        change.put("thing", "b", {})
        change.delete("thing", "a")
        return [*change.kinds(), *(one.key for one in change.list("thing"))]

    assert [name for name in store.change(work) if name != "meta"] == ["thing", "b"]


def test_rows_are_fetched_ahead_by_the_index(full: Store) -> None:
    backend = full.backend._backend.database  # type: ignore[attr-defined]
    places = json.dumps([["job", f"{number:06d}"] for number in range(0, ROWS, 100)])
    found = plan(full, backend.many, {"places": places})
    assert "pkey" in found or "autoindex" in found, found
    assert "Seq Scan" not in found, found


def test_a_long_list_is_read_in_pages(full: Store) -> None:
    assert len(full.list("job", Query(limit=ROWS))) == ROWS
    some = [record.key for record in full.list("job", Query(where={"n": [1, 3_998]}, descending=True))]
    assert some == ["003998", "000001"]
    many = full.list("job", Query(where={"workflow": [f"w{n}" for n in range(30)], "state": "pending"}))
    assert [record.key for record in many] == [f"{number:06d}" for number in range(99, ROWS, 100)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_table_of_an_earlier_version_gets_its_columns_from_a_writer(
    kind: str, tmp_path: Path, servers: Servers
) -> None:
    """Who only reads leaves it as it is, and finds the same."""
    url = BACKENDS[kind].url(tmp_path, servers)
    asked = Query({"who": "änne"})

    def columns(tx: Any) -> set[str]:
        return set(tx._connection.scalars(text(tx._database.columns)))

    def age(tx: Any) -> None:
        for names in ("who", "state_who", "workflow_who", "state_workflow_who"):
            tx._connection.execute(text(f"DROP INDEX {TABLE}_{names}"))
        tx._connection.execute(text(f"ALTER TABLE {TABLE} DROP COLUMN who"))

    def found(url: str, *, write: bool) -> tuple[list[str], bool]:
        store = open_store(url)
        try:
            if write:
                store.put("note", "a", {"text": "x"})
            listed = [record.key for record in store.list("job", asked)]
            assert listed == [key for key, _version, _time in store.read(lambda c: c.versions("job", asked))]
            return listed, "who" in store.backend.run(columns, write=False)
        finally:
            store.close()

    first = open_store(url)
    for number in range(5):
        first.put("job", str(number), {"who": "änne" if number % 2 else "bert", "state": "failed"})
    first.backend.run(age, write=True)
    first.close()
    assert found(url, write=False) == (["1", "3"], False)
    assert found(url, write=True) == (["1", "3"], True)


# -- connections ----------------------------------------------------------------------------------
def test_a_store_may_be_used_on_both_sides_of_a_fork(store: Store) -> None:
    store.put("job", "a", {"n": 0})
    child = os.fork()
    if not child:
        try:
            for _ in range(5):
                store.change(lambda change: change.put("job", "a", {"n": change.get("job", "a").body["n"] + 1}))
            store.close()
        finally:
            os._exit(0)
    for _ in range(5):
        store.change(lambda change: change.put("job", "a", {"n": change.get("job", "a").body["n"] + 1}))
    os.waitpid(child, 0)
    assert store.get("job", "a").body == {"n": 10}


def test_a_server_that_was_away_is_found_again(server: Postgres, servers: Servers) -> None:
    store = open_store(servers.new_database())
    try:
        store.put("job", "a", {"n": 1})
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rackstead'")
        assert store.put("job", "a", {"n": 2}).version == 2
        server.stop(signal.SIGQUIT)
        assert "postgresql://postgres@127.0.0.1" in told(Unreachable, lambda: store.get("job", "a"))
        server.start()
        assert store.get("job", "a").body == {"n": 2}
    finally:
        store.close()


def test_who_may_not(server: Postgres, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    name = servers.new_database().rpartition("/")[2]
    server.sql(f"ALTER DATABASE {name} OWNER TO app")
    url = server.url(name, user="app")
    wrong = server.url(name, user=f"app:{WRONG}")
    monkeypatch.delenv("PGPASSWORD", raising=False)
    told(Denied, lambda: open_store(url).get("job", "a"))
    assert WRONG not in told(Denied, lambda: open_store(wrong).get("job", "a"))
    told(NotFound, lambda: open_store(server.url("nowhere")).get("job", "a"))
    for variable in ("RACKSTEAD_STATE_PASSWORD", "PGPASSWORD"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, server.password)
            store = open_store(url)
            store.put("job", variable, {})
            store.close()
    assert server.password not in told(Denied, lambda: open_store(url).get("job", "a"))
    named = open_store(f"postgresql:///{name}?host={server.folder}&port={server.port}&user=postgres")
    assert [record.key for record in named.list("job")] == ["PGPASSWORD", "RACKSTEAD_STATE_PASSWORD"]
    named.close()


def test_the_clock_is_the_servers(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    store, before = open_store(servers.new_database()), time.time()
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert store.put("job", "a", {}).time >= before - 1
    assert store.lease("a", "me", 60).expires >= before + 59
    store.close()


def test_an_error_tells_nothing_of_what_was_written(servers: Servers) -> None:
    url = servers.new_database()
    store = open_store(url)
    store.put("job", "a", {})
    servers.postgres.sql(f"ALTER TABLE {TABLE} ADD CHECK (version < 2)", url.rpartition("/")[2])
    found = told(OperationFailed, lambda: store.put("job", "a", {"state": SECRET}))
    assert "violates check constraint" in found and SECRET not in found
    store.close()


def test_reading_makes_nothing(servers: Servers, tmp_path: Path) -> None:
    url = servers.new_database()
    for where in (url, f"sqlite:{tmp_path}/state/state.db"):
        store = open_store(where)
        assert store.list("job") == [] == store.kinds()
        store.close()
    assert servers.postgres.sql(f"SELECT to_regclass('{TABLE}')", url.rpartition("/")[2]) == ""
    assert list(tmp_path.iterdir()) == []


# -- SQLite ---------------------------------------------------------------------------------------
def test_sqlite_keeps_for_the_owner_alone_and_syncs(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}/state/state.db")
    store.put("job", "a", {})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"state": 0o700, "state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}

    def pragma(name: str) -> Any:
        return store.backend.run(lambda tx: tx._connection.scalar(text(f"PRAGMA {name}")), write=False)  # type: ignore[attr-defined]

    assert (pragma("journal_mode"), pragma("synchronous")) == ("wal", 2)
    store.close()


def test_sqlite_says_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no database, whatever it is" * 100)
    assert "not a database" in told(OperationFailed, lambda: open_store(f"sqlite:{tmp_path}/damaged.db").kinds())
    told(OperationFailed, lambda: open_store(f"sqlite:{tmp_path}").put("job", "a", {}))
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute(f"CREATE TABLE {TABLE} (kind TEXT)")
    assert "no such column" in told(OperationFailed, lambda: open_store(f"sqlite:{tmp_path}/other.db").get("job", "a"))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "library psycopg is missing" in told(Unsupported, lambda: open_store("postgresql://h/d"))
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    assert "library sqlalchemy is missing" in told(Unsupported, lambda: open_store(f"sqlite:{tmp_path}/a.db"))
    assert open_store(f"file:{tmp_path}/state").put("job", "a", {}).version == 1
