# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``sqlite:`` and ``postgresql:``: one table, through SQLAlchemy.

A body is kept as the text of its JSON, which comes back exactly; what is indexed of it stands in columns beside it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from heapq import merge
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ..common.deadline import Deadline, wait_until
from ..common.errors import (
    DeadlineExceeded,
    Denied,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
    Unsupported,
)
from .backend import Transaction
from .filestore import make_folder, sync_folder
from .model import INDEXED, Query, Row, options, to_json

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, TextClause

T = TypeVar("T")
TABLE = "rackstead_state"
#: How long conflicts with other writers are tried again.
RETRY_SECONDS = 60.0
#: More values than this are not looked up one by one.
MOST_LOOKUPS = 20
PAGE = 1000
LONGEST_MARK = 200


def load(scheme: str) -> None:
    """Import what a store of this scheme needs, for processes that are forked later.

    Where it is not installed, whoever opens a store says so.
    """
    with suppress(ImportError):
        import_module(f"sqlalchemy.dialects.{scheme}")
        import_module("sqlalchemy.pool")


class SqlBackend:
    """Transactions on a database, tried again where they conflict."""

    def __init__(self, database: Database) -> None:
        with _libraries():
            import sqlalchemy  # noqa: F401
        self.database = database
        #: One pool a process: what a fork inherits belongs to its parent, and stays untouched.
        self._engines: dict[int, Engine] = {}
        self._made = False
        #: the indexed columns that the table has: a table of an earlier version has fewer, until somebody writes
        self._indexed: tuple[str, ...] = INDEXED
        #: what is kept open to tell whether somebody has written
        self._watch = database.watch()

    def run(self, work: Callable[[Transaction], T], *, write: bool) -> T:
        from sqlalchemy import exc

        def attempt() -> tuple[T] | None:
            try:
                return (self._attempt(work, write),)
            except exc.DBAPIError as error:
                if self.database.conflicts(error.orig):
                    return None
                # Not chained: the driver's error may hold what was to be written.
                raise self._told(error, write) from None
            except exc.TimeoutError:
                raise DeadlineExceeded("no connection became free", where=self.database.where) from None

        first, most = 0.001 + random.random() / 100, 0.02 + random.random() / 10
        what = f"a transaction on {self.database.where} that meets no conflict"
        return wait_until(attempt, Deadline(RETRY_SECONDS), what=what, first=first, most=most)[0]

    @property
    def far(self) -> bool:
        return self.database.far

    def stamp(self) -> str | None:
        if not self._made:
            return None  # by and by somebody reads
        if self._watch:
            return self._watch.stamp()
        return self.run(_snapshot, write=False)

    def close(self) -> None:
        if self._watch:
            self._watch.close()
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None:
            engine.dispose()

    def _attempt(self, work: Callable[[Transaction], T], write: bool) -> T:
        if not self._made and not self._make(write):
            return _on_nothing(work)
        with self._connect(write) as connection, connection.begin():
            transaction = SqlTransaction(connection, self.database, self._indexed)
            result = work(transaction)
            transaction.flush()
            return result

    def _connect(self, write: bool) -> Connection:
        engine = self._engines.get(os.getpid())
        if engine is None:
            engine = self._engines.setdefault(os.getpid(), self.database.engine())
        return engine.connect().execution_options(writes=write, postgresql_readonly=not write)

    def _make(self, write: bool) -> bool:
        """Whether the table is there; a writer makes it, or brings it up to date."""
        if not self.database.there(write):
            return False
        with self._connect(write) as connection, connection.begin():
            there = set(connection.scalars(_sql(self.database.columns)))
            missing = [name for name in INDEXED if name not in there]
            if write and missing:
                for statement in self.database.schema(missing if there else []):
                    connection.execute(_sql(statement))
                if there:
                    _fill(connection, missing)
        self._made = write or not missing
        self._indexed = INDEXED if self._made else tuple(name for name in INDEXED if name in there)
        return write or bool(there)

    def _told(self, error: Any, write: bool) -> RacksteadError:
        """The driver's error as one of ours. Only its first line: others may show what was written."""
        text = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
        if error.connection_invalidated and write:
            text += "; whether the write was kept is not known"
        return self.database.kind_of(error)(text, where=self.database.where)


def _snapshot(transaction: Any) -> str:
    return str(transaction.stamp())


class SqlTransaction:
    """Asks for no row twice, and sends what is written in one go: before a scan, and at the end (``flush``)."""

    def __init__(self, connection: Connection, database: Database, indexed: Sequence[str] = INDEXED) -> None:
        self._connection = connection
        self._database = database
        self._indexed = indexed
        #: rows as they are for this transaction: version, time and the body's text, so that none is shared
        self._known: dict[tuple[str, str], tuple[int, float, str] | None] = {}
        #: what is not sent yet, as parameters; None for a row that goes
        self._unsent: dict[tuple[str, str], dict[str, Any] | None] = {}
        #: the server's time when it was asked, and this machine's monotonic one
        self._asked: tuple[float, float] | None = None

    def get(self, kind: str, key: str) -> Row | None:
        place = (kind, key)
        if place not in self._known:
            row = self._connection.execute(_sql(GET), {"kind": kind, "key": key}).first()
            self._known[place] = (row.version, row.time, row.body) if row else None
        found = self._known[place]
        return Row(found[0], found[1], json.loads(found[2])) if found else None

    def fetch_ahead(self, places: Collection[tuple[str, str]]) -> None:
        wanted = [place for place in dict.fromkeys(places) if place not in self._known]
        if len(wanted) > 1:
            values = {"places": json.dumps(wanted)}
            self._known.update(dict.fromkeys(wanted))
            for row in self._connection.execute(_sql(self._database.many), values):
                self._known[row.kind, row.key] = (row.version, row.time, row.body)

    def set(self, kind: str, key: str, row: Row) -> None:
        body = to_json(row.body)
        marks = {name: _mark(row.body.get(name)) for name in INDEXED}
        values = {"kind": kind, "key": key, "version": row.version, "time": row.time, "body": body, **marks}
        self._known[kind, key] = (row.version, row.time, body)
        self._unsent[kind, key] = values

    def remove(self, kind: str, key: str) -> None:
        self._known[kind, key] = None
        self._unsent[kind, key] = None

    def flush(self) -> None:
        """Send what was written. Each row is named once, so the order does not matter."""
        rows = [values for values in self._unsent.values() if values]
        gone = [{"kind": kind, "key": key} for (kind, key), values in self._unsent.items() if values is None]
        self._unsent.clear()
        for statement, values in ((SET, rows), (REMOVE, gone)):
            if values:
                self._connection.execute(_sql(statement), values)

    def scan(self, kind: str, query: Query) -> list[tuple[str, Row]]:
        self.flush()
        streams = [self._stream(kind, query, marks) for marks in _lookups(query, self._indexed)]
        if len(streams) == 1:  # what merging costs is felt with long pages
            return list(itertools.islice(streams[0], query.limit))
        found = merge(*streams, key=lambda item: item[0], reverse=query.descending)
        return list(itertools.islice(found, query.limit))

    def versions(self, kind: str, query: Query) -> list[tuple[str, int, float]]:
        """Without the bodies, where the indexed columns say all that is asked."""
        lookups = _lookups(query, self._indexed)
        if not all(marks.keys() == query.where.keys() and all(map(_is_exact, marks.values())) for marks in lookups):
            return [(key, row.version, row.time) for key, row in self.scan(kind, query)]
        self.flush()
        found: list[tuple[str, int, float]] = []
        for marks in lookups:
            statement, values = select(kind, query, marks, query.after, "key, version, time")
            rows = self._connection.execute(_sql(statement), {**values, "size": query.limit})
            found += [(row[0], row[1], row[2]) for row in rows]
        return sorted(found, reverse=query.descending)[: query.limit]

    def stamp(self) -> str:
        return str(self._connection.scalar(_sql(self._database.snapshot)))

    def kinds(self) -> list[str]:
        """One step on the index for each."""
        self.flush()
        found: list[str] = []
        statement = _sql(f"SELECT min(kind) FROM {TABLE} WHERE kind > :last")
        while (kind := self._connection.scalar(statement, {"last": found[-1] if found else ""})) is not None:
            found.append(kind)
        return found

    def now(self) -> float:
        if not self._database.clock:
            return time.time()
        if self._asked is None:
            self._asked = float(self._connection.scalar(_sql(self._database.clock))), time.monotonic()
        return self._asked[0] + time.monotonic() - self._asked[1]

    def _stream(self, kind: str, query: Query, marks: Mapping[str, str | None]) -> Iterator[tuple[str, Row]]:
        """What the query wants among the rows with these marks, page by page."""
        cursor = query.after
        size = min(query.limit, PAGE)
        while True:
            statement, values = select(kind, query, marks, cursor)
            rows = self._connection.execute(_sql(statement), {**values, "size": size}).all()
            for key, version, changed, text in rows:
                body = json.loads(text)
                if query.wants(body):
                    yield key, Row(version, changed, body)
            if len(rows) < size:
                return
            cursor, size = rows[-1].key, min(4 * size, PAGE)  # what is wanted may be rare


# -- statements -----------------------------------------------------------------------------------
_COLUMNS = ("kind", "key", "version", "time", "body", *INDEXED)
GET = f"SELECT version, time, body FROM {TABLE} WHERE kind = :kind AND key = :key"
REMOVE = f"DELETE FROM {TABLE} WHERE kind = :kind AND key = :key"
SET = (
    f"INSERT INTO {TABLE} ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
    f" ON CONFLICT (kind, key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[2:])}"
)


@cache
def _sql(statement: str) -> TextClause:
    from sqlalchemy import text

    return text(statement)


def schema(text: str, number: str, real: str, added: Iterable[str], add: str) -> list[str]:
    """The table and its indexes; ``text`` must compare by code point. ``added`` are columns that a table of an
    earlier version lacks, which the words of ``add`` give it."""
    marks = [f"{name} {text}" for name in INDEXED]
    columns = [f"kind {text}", f"key {text}", f"version {number}", f"time {real}", "body TEXT"]
    required = ", ".join(f"{column} NOT NULL" for column in columns)
    made = [f"CREATE TABLE IF NOT EXISTS {TABLE} ({required}, {', '.join(marks)}, PRIMARY KEY (kind, key))"]
    made += [f"ALTER TABLE {TABLE} {add} {name} {text}" for name in added]
    for names in (names for count in range(1, len(INDEXED) + 1) for names in itertools.combinations(INDEXED, count)):
        present = " AND ".join(f"{name} IS NOT NULL" for name in names)
        index = f"{TABLE}_{'_'.join(names)}"
        made.append(f"CREATE INDEX IF NOT EXISTS {index} ON {TABLE} (kind, {', '.join(names)}, key) WHERE {present}")
    return made


def _fill(connection: Connection, names: Sequence[str]) -> None:
    """Give rows of an earlier version their marks in new columns."""
    page = _sql(
        f"SELECT kind, key, body FROM {TABLE} WHERE (kind, key) > (:kind, :key) ORDER BY kind, key LIMIT {PAGE}"
    )
    sets = ", ".join(f"{name} = :{name}" for name in names)
    update = _sql(f"UPDATE {TABLE} SET {sets} WHERE kind = :kind AND key = :key")
    last = {"kind": "", "key": ""}
    while rows := connection.execute(page, last).all():
        last = {"kind": rows[-1].kind, "key": rows[-1].key}
        bodies = [(row, json.loads(row.body)) for row in rows]
        marked = [
            {"kind": row.kind, "key": row.key, **{name: _mark(body.get(name)) for name in names}}
            for row, body in bodies
        ]
        values = [one for one in marked if any(one[name] is not None for name in names)]
        if values:
            connection.execute(update, values)


def select(
    kind: str, query: Query, marks: Mapping[str, str | None], cursor: str, columns: str = "key, version, time, body"
) -> tuple[str, dict[str, Any]]:
    """The statement for a page of rows beyond ``cursor``: one range of an index."""
    low, above, end = query.prefix, ">=", _after_prefix(query.prefix)
    if cursor and query.descending:
        end = min(end, cursor) if end else cursor
    elif cursor and cursor >= low:
        low, above = cursor, ">"
    values: dict[str, Any] = {"kind": kind, **{name: mark for name, mark in marks.items() if mark is not None}}
    clauses = ["kind = :kind", *(f"{name} {'IS NULL' if m is None else f'= :{name}'}" for name, m in marks.items())]
    if low:
        clauses, values["low"] = [*clauses, f"key {above} :low"], low
    if end:
        clauses, values["upper"] = [*clauses, "key < :upper"], end
    order = "key DESC" if query.descending else "key"
    where = " AND ".join(clauses)
    return f"SELECT {columns} FROM {TABLE} WHERE {where} ORDER BY {order} LIMIT :size", values


def _lookups(query: Query, indexed: Sequence[str]) -> list[dict[str, str | None]]:
    """What to look up in the indexed columns, one combination at a time; their union holds all that is wanted."""
    wanted = {name: {_mark(value) for value in options(query.where[name])} for name in indexed if name in query.where}
    lookups = [dict(zip(wanted, marks, strict=True)) for marks in itertools.product(*wanted.values())]
    return lookups if len(lookups) <= MOST_LOOKUPS else [{}]


def _mark(value: Any) -> str | None:
    """What stands for a value in an indexed column: the same for equal ones, and short enough for an index."""
    if value is None or isinstance(value, dict | list | tuple):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return to_json(value)[:LONGEST_MARK]


def _is_exact(mark: str | None) -> bool:
    """Whether it stands for one text alone."""
    return mark is not None and mark.startswith('"') and len(mark) < LONGEST_MARK


def _after_prefix(prefix: str) -> str:
    """The least text that is above all that start with ``prefix``; empty where there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return ""
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)


# -- databases ------------------------------------------------------------------------------------
class Database(ABC):
    """What differs between them."""

    #: how error messages call it; no password
    where: str
    #: asks the server what time it is; empty where that is this machine's time
    clock: str
    #: gives the names of the table's columns, if it is there
    columns: str
    #: gives the rows of all places, which come as JSON: a list of kinds and keys
    many: str
    #: gives what stays the same as long as nobody writes; empty where ``watch`` tells that
    snapshot: str = ""
    #: whether other machines may use it
    far: bool = False

    def watch(self) -> Watch | None:
        """What tells without a transaction whether somebody has written, if there is such a thing."""
        return None

    @abstractmethod
    def engine(self) -> Engine: ...

    @abstractmethod
    def there(self, write: bool) -> bool:
        """Whether there is a database to connect to; a writer makes it where that is in its power."""

    @abstractmethod
    def schema(self, added: Iterable[str]) -> list[str]: ...

    @abstractmethod
    def conflicts(self, error: Any) -> bool:
        """Whether the same transaction may succeed now."""

    @abstractmethod
    def kind_of(self, error: Any) -> type[RacksteadError]:
        """Which of our errors the driver's is."""


class Watch:
    """A connection that never writes: SQLite tells it of each commit of every other, in any process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        #: one a process, as above, with what names it: counts of two connections do not compare
        self._open: dict[int, tuple[sqlite3.Connection, str]] = {}

    def stamp(self) -> str | None:
        with self._lock:
            try:
                connection, name = self._connected()
                return f"{name}:{connection.execute('PRAGMA data_version').fetchone()[0]}"
            except sqlite3.Error:
                return None  # it cannot tell now; who reads hears why

    def close(self) -> None:
        with self._lock:
            found = self._open.pop(os.getpid(), None)
            if found:
                found[0].close()

    def _connected(self) -> tuple[sqlite3.Connection, str]:
        found = self._open.get(os.getpid())
        if found is None:
            path = f"file:{quote(str(self._path))}?mode=rw"
            connection = sqlite3.connect(path, uri=True, timeout=0.0, isolation_level=None, check_same_thread=False)
            found = self._open[os.getpid()] = connection, uuid.uuid4().hex
        return found


class Sqlite(Database):
    clock = ""
    columns = f"SELECT name FROM pragma_table_info('{TABLE}')"
    # CROSS: the places first, each looked up in the index
    many = (
        f"SELECT s.kind, s.key, s.version, s.time, s.body FROM json_each(:places) AS p CROSS JOIN {TABLE} AS s"
        " ON s.kind = json_extract(p.value, '$[0]') AND s.key = json_extract(p.value, '$[1]')"
    )

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.where = f"sqlite:{path}"

    def watch(self) -> Watch | None:
        return Watch(self.path) if self.path else None

    def engine(self) -> Engine:
        from sqlalchemy import URL, create_engine, event

        def connected(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # transactions begin where we say so
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_mode = WAL")

        def begun(connection: Connection) -> None:
            writes = connection.get_execution_options().get("writes")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        engine = create_engine(URL.create("sqlite", database=str(self.path) if self.path else None))
        event.listen(engine, "connect", connected)
        event.listen(engine, "begin", begun)
        return engine

    def there(self, write: bool) -> bool:
        if self.path is None or self.path.exists():
            return True
        if write:
            self._create(self.path)
        return write

    def _create(self, path: Path) -> None:
        try:
            make_folder(path.parent)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            sync_folder(path.parent)
        except OSError as error:
            kind = Denied if isinstance(error, PermissionError) else OperationFailed
            raise kind(str(error), where=self.where) from error

    def schema(self, added: Iterable[str]) -> list[str]:
        return schema("TEXT", "INTEGER", "REAL", added, "ADD COLUMN")

    def conflicts(self, error: Any) -> bool:
        return _sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def kind_of(self, error: Any) -> type[RacksteadError]:
        denied = (sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH)
        return Denied if _sqlite_code(error.orig) in denied else OperationFailed


class Postgres(Database):
    far = True
    clock = "SELECT extract(epoch FROM clock_timestamp())::double precision"
    columns = f"SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('{TABLE}') AND attnum > 0"
    # two transactions with one snapshot see the same rows; numbers of transactions are those of one server
    snapshot = "SELECT pg_current_snapshot()::text || ' ' || pg_postmaster_start_time()::text"
    many = (
        f"SELECT s.kind, s.key, s.version, s.time, s.body FROM json_array_elements(CAST(:places AS json)) AS p"
        f" JOIN {TABLE} AS s ON s.kind = p.value->>0 AND s.key = p.value->>1"
    )
    #: what a server says that lets nobody in: it comes without a code
    _REFUSALS: ClassVar[dict[str, type[RacksteadError]]] = {
        "authentication failed": Denied,
        "no password supplied": Denied,
        "no pg_hba.conf entry": Denied,
        "does not exist": NotFound,
    }

    def __init__(self, url: URL) -> None:
        self.url = url
        host = f"{url.host or url.query.get('host', '')}{f':{url.port}' if url.port else ''}"
        self.where = f"postgresql://{url.username + '@' if url.username else ''}{host}/{url.database or ''}"

    def there(self, write: bool) -> bool:  # noqa: ARG002  nothing is made
        """Databases are made by the server's administrator: where there is none, connecting says so."""
        return True

    def engine(self) -> Engine:
        from sqlalchemy import create_engine, event

        def connected(connection: Any, _record: Any) -> None:
            """Nobody waits for ever for a worker that was stopped in the middle."""
            connection.execute("SET lock_timeout = '30s'")
            connection.execute("SET idle_in_transaction_session_timeout = '60s'")
            # Who looks at rows one by one conflicts with those who write the same rows, not with all writers.
            connection.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
            connection.commit()

        patience = {"connect_timeout": "10", "tcp_user_timeout": "30000", "application_name": "rackstead"}
        arguments = {name: value for name, value in patience.items() if name not in self.url.query}
        engine = create_engine(
            self.url,
            isolation_level="SERIALIZABLE",
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=arguments,
        )
        event.listen(engine, "connect", connected)
        return engine

    def schema(self, added: Iterable[str]) -> list[str]:
        # Two that make the table at once would clash in the catalogue.
        lock = f"SELECT pg_advisory_xact_lock(hashtext('{TABLE}'))"
        return [lock, *schema('TEXT COLLATE "C"', "BIGINT", "DOUBLE PRECISION", added, "ADD COLUMN IF NOT EXISTS")]

    def conflicts(self, error: Any) -> bool:
        return getattr(error, "sqlstate", None) in ("40001", "40P01")

    def kind_of(self, error: Any) -> type[RacksteadError]:
        state = getattr(error.orig, "sqlstate", None) or ""
        if not state:
            refusals = (kind for words, kind in self._REFUSALS.items() if words in str(error.orig))
            return next(refusals, Unreachable)
        if state == "42501":
            return Denied
        if state == "55P03":
            return DeadlineExceeded
        lost = error.connection_invalidated or state[:2] in ("08", "57")
        return Unreachable if lost else OperationFailed


@contextmanager
def _libraries() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        hint = "install it with pip install 'sqlalchemy>=2' 'psycopg[binary]>=3.1', or use a file: store"
        raise Unsupported(f"the Python library {error.name} is missing", where="state store", hint=hint) from error


def _sqlite_code(error: Any) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _on_nothing(work: Callable[[Transaction], T]) -> T:
    """Read a store that nobody has made yet."""
    backend = SqlBackend(Sqlite(None))
    try:
        backend.run(lambda _tx: None, write=True)
        return backend.run(work, write=False)
    finally:
        backend.close()


def postgres_url(url: str) -> URL:
    """SQLAlchemy's URL of ours. The password may stand in the environment, or where libpq looks for it."""
    with _libraries():
        import psycopg  # noqa: F401
        from sqlalchemy import URL
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Not what it says: that may hold the password.
        problem = "state store: the URL is not valid; allowed: postgresql://user@host:port/database?option=value"
        raise InvalidInput([problem]) from None
    return URL.create(
        "postgresql+psycopg",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else os.environ.get("RACKSTEAD_STATE_PASSWORD"),
        host=parts.hostname,
        port=port,
        database=unquote(parts.path[1:]) or None,
        query=dict(parse_qsl(parts.query)),
    )
