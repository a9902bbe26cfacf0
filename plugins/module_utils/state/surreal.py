# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``surrealkv:`` (SurrealDB inside one owning process) and ``ws:``/``wss:`` (a SurrealDB server).

The engine notices only writers of the same record, and not that what a writer has read was changed. So each
transaction reads as it goes and writes in one query at its end, which is refused unless the store's count of
writes is still the one that was read first. Whoever is refused begins anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from ..common.deadline import Deadline, wait_until
from ..common.errors import Denied, InvalidInput, OperationFailed, Unreachable, Unsupported
from .backend import Transaction
from .errors import Held
from .filestore import make_folder
from .model import Query, Row, to_json

T = TypeVar("T")
#: Longest time for which a transaction is tried again because others were faster.
CONFLICT_SECONDS = 60.0
PAGE = 1000
#: What the engine says where a transaction was not made, and may be tried again.
PASSING = ("rackstead: moved", "conflict", "can be retried")
COMMIT = """
BEGIN;
IF ((SELECT VALUE n FROM ONLY writes:count) ?? 0) != $seen { THROW 'rackstead: moved' };
FOR $one IN $sets { UPSERT $one.id CONTENT $one.content RETURN NONE };
FOR $one IN $removed { DELETE $one RETURN NONE };
UPSERT writes:count SET n = $seen + 1 RETURN NONE;
COMMIT;
"""
SELECT = "SELECT content, k FROM record:[$low,$key]{after}..[$high,''] LIMIT $limit"


class Connection:
    """Sends queries, and gives the results of their statements."""

    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self.where = where

    def query(self, text: str, values: Mapping[str, Any]) -> list[Any]:
        with told(self.where):
            answer = self._client.query_raw(text, dict(values))
        if "error" in answer:
            raise OperationFailed(str(answer["error"]), where=self.where)
        failed = [str(one["result"]) for one in answer["result"] if one["status"] != "OK"]
        if failed:
            raise next((Moved for text in failed if any(sign in text for sign in PASSING)), Failed)(failed[0])
        return [one["result"] for one in answer["result"]]

    def close(self) -> None:
        with told(self.where):
            self._client.close()


class Moved(Exception):
    """Somebody else wrote meanwhile."""


class Failed(Exception):
    """The database refused a statement."""


@contextmanager
def told(where: str) -> Iterator[None]:
    """What the library raises, as an error of the store."""
    from surrealdb.connections.blocking_ws import websockets  # type: ignore[attr-defined]  # its own dependency
    from surrealdb.errors import SurrealError

    try:
        yield
    except (OSError, websockets.exceptions.WebSocketException) as error:
        hint = "look whether the server runs; whether the last change was made is not known"
        raise Unreachable(f"no answer: {error or type(error).__name__}", where=where, hint=hint) from error
    except (SurrealError, RuntimeError) as error:
        raise OperationFailed(" ".join(str(error).split()), where=where) from error


class SurrealBackend:
    """One connection, used by one thread at a time and opened by the first transaction."""

    def __init__(self, connect: Callable[[], Connection], *, far: bool = False) -> None:
        self.far = far
        self._connect = connect
        self._connection: Connection | None = None
        self._lock = threading.RLock()

    def run(self, work: Callable[[Transaction], T], *, write: bool) -> T:
        result: list[T] = []

        def tried() -> bool | None:
            with self._lock:
                return self._once(work, result, write) or None

        try:
            wait_until(tried, Deadline(CONFLICT_SECONDS), what="other writers", first=0.001, most=0.05)
        except Unreachable:
            self.close()  # the next transaction connects anew
            raise
        return result[-1]

    def _once(self, work: Callable[[Transaction], T], result: list[T], write: bool) -> bool:
        """Whether the transaction could be made. What it raised counts only if what it read was true."""
        if self._connection is None:
            self._connection = self._connect()
        transaction = SurrealTransaction(self._connection)
        try:
            try:
                result.append(work(transaction))
            except Exception:
                if not transaction.unmoved():
                    return False
                raise
            return transaction.commit() if write else transaction.unmoved()
        except Moved:
            return False
        except Failed as error:
            raise OperationFailed(str(error), where=self._connection.where) from error

    def stamp(self) -> str | None:
        """The count of writes."""
        return self.run(_count, write=False)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection:
                connection.close()


def _count(transaction: Any) -> str:
    return str(transaction.seen)


class SurrealTransaction:
    """Reads at once, writes at the end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        first = "(SELECT VALUE n FROM ONLY writes:count) ?? 0"
        self.seen, nanoseconds = connection.query(f"RETURN {first}; RETURN time::nano(time::now())", {})
        self._time = float(nanoseconds / 1e9)
        self._reads = 0
        #: what is to be written, as text so that nobody changes it any more; None for what is to be removed
        self.changes: dict[tuple[str, str], str | None] = {}

    def get(self, kind: str, key: str) -> Row | None:
        if (kind, key) in self.changes:
            text = self.changes[kind, key]
            return _row(text) if text else None
        self._reads += 1
        [found] = self._connection.query("SELECT VALUE content FROM $id", {"id": _id(kind, key)})
        return _row(found[0]) if found else None

    def fetch_ahead(self, places: Collection[tuple[str, str]]) -> None:
        """Nothing would be faster."""

    def set(self, kind: str, key: str, row: Row) -> None:
        self.changes[kind, key] = _text(row)

    def remove(self, kind: str, key: str) -> None:
        self.changes[kind, key] = None

    def scan(self, kind: str, query: Query) -> list[tuple[str, Row]]:
        changed = {key: text for (of, key), text in self.changes.items() if of == kind and query.wants_key(key)}
        mine = {key: _row(text) if text else None for key, text in changed.items()}
        found = {key: row for key, row in mine.items() if row and query.wants(row.body)}
        wanted = query.limit + len(mine)
        for key, row in self._rows(kind, query):
            if not wanted or not key.startswith(query.prefix):
                break
            if key not in mine and query.wants(row.body):
                found[key] = row
                wanted -= 1
        return sorted(found.items(), reverse=query.descending)[: query.limit]

    def _rows(self, kind: str, query: Query) -> Iterator[tuple[str, Row]]:
        """The rows of a kind from the first that can be wanted."""
        limit = min(PAGE, query.limit + len(self.changes))
        if query.descending:
            return self._descending(kind, query)
        return self._ascending(kind, max(query.after, query.prefix), query.after >= (query.prefix or "\0"), limit)

    def _ascending(self, kind: str, key: str, after: bool, limit: int) -> Iterator[tuple[str, Row]]:
        while True:
            page = self._page(kind, key, after=">" if after else "", limit=limit)
            yield from page
            if len(page) < limit:
                return
            key, after, limit = page[-1][0], True, PAGE

    def _descending(self, kind: str, query: Query) -> Iterator[tuple[str, Row]]:
        """All that can be wanted, in one query: the engine reads a range in one direction only."""
        rows = self._page(kind, query.prefix, after="", limit=1 << 31)
        wanted = [(key, row) for key, row in rows if query.wants_key(key)]
        return reversed(wanted)

    def _page(self, kind: str, key: str, *, after: str, limit: int) -> list[tuple[str, Row]]:
        self._reads += 1
        values = {"low": kind, "key": key, "high": f"{kind} ", "limit": limit}
        [found] = self._connection.query(SELECT.format(after=after), values)
        return [(one["k"], _row(one["content"])) for one in found]

    def versions(self, kind: str, query: Query) -> list[tuple[str, int, float]]:
        return [(key, row.version, row.time) for key, row in self.scan(kind, query)]

    def kinds(self) -> list[str]:
        """Leaps from the first record of a kind to the first of the next. No kind has a space in its name."""
        known = {kind for (kind, _key), text in self.changes.items() if text}
        low = ""
        while True:
            self._reads += 1
            [found] = self._connection.query("SELECT kind FROM record:[$low,'']..  LIMIT 1", {"low": low})
            if not found:
                break
            kind = found[0]["kind"]
            low = f"{kind} "
            if kind not in known and self.scan(kind, Query(limit=1)):
                known.add(kind)
        return sorted(known)

    def now(self) -> float:
        return self._time

    # -- the end -----------------------------------------------------------------------------------
    def unmoved(self) -> bool:
        """Whether nobody has written since the beginning, so that all reads saw one state."""
        if self._reads < 2:
            return True
        [seen] = self._connection.query("RETURN (SELECT VALUE n FROM ONLY writes:count) ?? 0", {})
        return bool(seen == self.seen)

    def commit(self) -> bool:
        if not self.changes:
            return self.unmoved()
        sets = [
            {"id": _id(kind, key), "content": {"kind": kind, "k": key, "content": text}}
            for (kind, key), text in self.changes.items()
            if text
        ]
        removed = [_id(kind, key) for (kind, key), text in self.changes.items() if not text]
        self._connection.query(COMMIT, {"seen": self.seen, "sets": sets, "removed": removed})
        return True


def _id(kind: str, key: str) -> Any:
    from surrealdb import RecordID

    return RecordID("record", [kind, key])


def _text(row: Row) -> str:
    """As text: the database's own numbers and nulls are not JSON's."""
    return to_json([row.version, row.time, row.body])


def _row(text: str) -> Row:
    return Row(*json.loads(text))


# -- embedded -------------------------------------------------------------------------------------
class Engine:
    """The engine of one folder, for all backends of this process: there must be no second."""

    running: dict[Path, Engine] = {}  # noqa: RUF012  one for all
    guard = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.users = 0
        self._path = path
        make_folder(path)
        self._lock = os.open(path / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._own()
            os.environ.setdefault("SURREAL_SYNC_DATA", "true")  # fsync at each commit
            self.client = library()(f"surrealkv://{path}/data")
            self.client.use("rackstead", "state")
        except BaseException:
            os.close(self._lock)
            raise

    def _own(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 20, 0).decode() or "another"
            what = f"process {owner} has it open, and surrealkv: serves one process at a time"
            hint = "end that process, or use a SurrealDB server (ws:) or another kind of store"
            raise Held(what, where=f"surrealkv:{self._path}", hint=hint) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def stop(self) -> None:
        self.client.close()
        os.ftruncate(self._lock, 0)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # a child forked meanwhile would keep it otherwise
        os.close(self._lock)


class Embedded(Connection):
    """A backend's share of an engine."""

    def __init__(self, path: Path) -> None:
        with told(f"surrealkv:{path}"), Engine.guard:
            self._engine = Engine.running.get(path) or Engine(path)
            Engine.running[path] = self._engine
            self._engine.users += 1
        self._path = path
        super().__init__(self._engine.client, f"surrealkv:{path}")

    def close(self) -> None:
        with told(self.where), Engine.guard:
            self._engine.users -= 1
            if not self._engine.users:
                del Engine.running[self._path]
                self._engine.stop()


def embedded(path: Path) -> SurrealBackend:
    library()
    return SurrealBackend(lambda: Embedded(path))


# -- server ---------------------------------------------------------------------------------------
def server(url: str) -> SurrealBackend:
    """``ws://user:password@host:port/namespace/database``; user and password may stand in the environment."""
    parts = urlsplit(url)
    names = [unquote(name) for name in parts.path.split("/") if name]
    if not parts.hostname or len(names) != 2:
        allowed = f"{parts.scheme}://host:port/namespace/database"
        raise InvalidInput([f"state store: the URL names no server, namespace and database; allowed: {allowed}"])
    user = unquote(parts.username or "") or os.environ.get("RACKSTEAD_STATE_USER", "")
    password = unquote(parts.password or "") or os.environ.get("RACKSTEAD_STATE_PASSWORD", "")
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    library()
    return SurrealBackend(lambda: _connected(place, names, user, password), far=True)


def _connected(place: str, names: list[str], user: str, password: str) -> Connection:
    where = "/".join([place, *names])
    with told(where):
        client = library()(place)
        try:
            if user:
                _sign_in(client, names, user, password, where)
            client.use(*names)
        except BaseException:
            client.close()
            raise
    return Connection(client, where)


def _sign_in(client: Any, names: list[str], user: str, password: str, where: str) -> None:
    """As a user of the database, of the namespace, or of the whole server."""
    from surrealdb.errors import SurrealError

    levels: tuple[dict[str, str], ...] = ({"namespace": names[0], "database": names[1]}, {"namespace": names[0]}, {})
    for level in levels:
        try:
            client.signin({**level, "username": user, "password": password})
            return
        except SurrealError as error:
            refused = error
    hint = "set RACKSTEAD_STATE_USER and RACKSTEAD_STATE_PASSWORD"
    raise Denied(f'user "{user}" is not let in', where=where, hint=hint) from refused


def library() -> Any:
    try:
        from surrealdb import Surreal
    except ImportError as error:
        hint = "install it with: pip install 'rackstead[surreal]'"
        raise Unsupported("surrealkv:, ws: and wss: need the Python library surrealdb", hint=hint) from error
    return Surreal
