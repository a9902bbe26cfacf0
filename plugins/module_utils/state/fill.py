# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills an empty store, record by record, so that it can be gone on with after a kill and nobody sees half of it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from ..common.errors import Conflict
from .backend import Backend, Transaction
from .follow import INCOMING, MIGRATION, is_mark, welcome
from .model import META, Query, Row, to_json

T = TypeVar("T")
#: kind, key, and what stands there (None: nothing)
Item: TypeAlias = "tuple[str, str, Row | None]"
BATCH = 200


def digest_of(kind: str, key: str, row: Row) -> str:
    """SHA-256 of a record with its name, version and time."""
    return hashlib.sha256(to_json([kind, key, row.version, float(row.time), row.body]).encode()).hexdigest()


def everything(tx: Transaction, limit: int = 1000) -> Iterator[tuple[str, str, Row]]:
    """All records of one transaction, in order, without the marks of migrations."""
    for kind in tx.kinds():
        after = ""
        while page := tx.scan(kind, Query(after=after, limit=limit)):
            yield from ((kind, key, row) for key, row in page if not is_mark(kind, key))
            after = page[-1][0]
            if len(page) < limit:
                break


class Filling:
    """A store on its way to being filled. One filler at a time: a later one takes it from the one before.

    ``cursor`` is what the filler last kept, in the transaction that wrote what it stands for.
    """

    def __init__(self, backend: Backend, id_: str, origin: str, hint: str) -> None:
        self.backend = backend
        self.id = id_
        self._origin = origin
        self._hint = hint
        self._owner = secrets.token_hex(8)
        self.cursor: dict[str, Any] = {}
        self.begun = False

    def exists(self) -> bool:
        """Whether the store bears the mark of this filling."""
        row = self.backend.run(lambda tx: tx.get(META, MIGRATION), write=False)
        return row is not None and (row.body["phase"], row.body["id"]) == (INCOMING, self.id)

    def begin(self, *, replace: bool = False) -> None:
        """Go on with one's own filling, else take an empty store. With ``replace`` it is emptied first."""
        self.cursor = self.backend.run(lambda tx: self._taken(tx, replace), write=True)
        self.begun = True
        if self.cursor.get("emptying"):
            self.empty()
            self.write((), {})

    def _taken(self, tx: Transaction, replace: bool) -> dict[str, Any]:
        row = tx.get(META, MIGRATION)
        if row and row.body["phase"] != INCOMING:
            raise Conflict("is part of a migration itself", hint="end that first, or take another store")
        if row and row.body["id"] != self.id and not replace:
            raise Conflict(f"is being filled from {row.body['from']} already", hint=row.body["hint"])
        mine = row is not None and row.body["id"] == self.id
        empty = mine or not any(True for _item in everything(tx, 2))
        if not empty and not replace:
            raise Conflict("is not empty", hint="name one that is")
        cursor = dict(row.body["cursor"]) if row and mine else {} if empty and not row else {"emptying": True}
        self._keep(tx, cursor)
        return cursor

    def write(self, items: Iterable[Item], cursor: dict[str, Any]) -> None:
        """Write what stands at some keys, with the cursor, in one transaction."""
        batch = list(items)

        def work(tx: Transaction) -> None:
            for kind, key, row in batch:
                if row is None:
                    tx.remove(kind, key)
                else:
                    tx.set(kind, key, row)
            self._keep(tx, cursor)

        self._owning(work)
        self.cursor = cursor

    def empty(self) -> None:
        """Remove everything but the mark."""

        def some(tx: Transaction) -> bool:
            found = [(kind, key) for kind in tx.kinds() for key, _row in tx.scan(kind, Query(limit=BATCH))]
            doomed = [place for place in found if place != (META, MIGRATION)][:BATCH]
            for kind, key in doomed:
                tx.remove(kind, key)
            return bool(doomed)

        while self._owning(some):
            pass

    def finish(self) -> None:
        """Open the store to everybody."""
        welcome(self.backend, self.id)

    def _owning(self, work: Callable[[Transaction], T]) -> T:
        def guarded(tx: Transaction) -> T:
            row = tx.get(META, MIGRATION)
            if row is None or row.body.get("owner") != self._owner:
                raise Conflict("another process has gone on with this", hint="let that one finish")
            return work(tx)

        return self.backend.run(guarded, write=True)

    def _keep(self, tx: Transaction, cursor: dict[str, Any]) -> None:
        mark = {"phase": INCOMING, "id": self.id, "from": self._origin, "hint": self._hint, "owner": self._owner}
        tx.set(META, MIGRATION, Row(1, tx.now(), {**mark, "cursor": cursor}))
