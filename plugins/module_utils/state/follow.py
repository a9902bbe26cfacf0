# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every user of a store takes part in its migration: by one record that each transaction looks at.

The record ``meta/migration`` of a store says where it is in a migration. On the way from a source to a target:

====================  ==================  ==============================================================
source                target
====================  ==================  ==============================================================
(none)                (none)              nothing is going on
copying               incoming            each write to the source leaves a marker beside what it writes
switching             incoming            writers wait, readers go on
switched              incoming, (none)    everybody goes on to the target
====================  ==================  ==============================================================

A store that is being filled (``incoming``) is refused to everybody but its filler, and those who come from
a source that has switched.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from typing import TypeVar

from ..common.deadline import Deadline, wait_until
from ..common.errors import Conflict
from .backend import Backend, Transaction
from .errors import Held
from .model import META, Query, Row

T = TypeVar("T")
MIGRATION = "migration"
#: Markers are ``meta`` records; the rest of the key is a digest, as kind and key would be too long for one.
CHANGED = "changed:"
COPYING, SWITCHING, SWITCHED, ABORTING, INCOMING = "copying", "switching", "switched", "aborting", "incoming"
#: Longest pause of writers while a migration switches.
PATIENCE = 60.0


def is_mark(kind: str, key: str) -> bool:
    """Whether a record belongs to a migration, and not to what is migrated."""
    return kind == META and (key == MIGRATION or key.startswith(CHANGED))


class _Wait(Exception):
    """The store is about to switch."""


class _Moved(Exception):
    """The store has switched."""

    def __init__(self, url: str, id_: str) -> None:
        super().__init__(url)
        self.url = url
        self.id = id_


class Following:
    """A backend that marks what is changed during a migration, and goes on to where the store has moved."""

    def __init__(self, url: str, opener: Callable[[str], Backend]) -> None:
        self._opener = opener
        self._backend = opener(url)
        self._left: list[Backend] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[Transaction], T], *, write: bool) -> T:
        while True:
            backend = self._backend
            try:
                return backend.run(lambda tx: work(_admitted(tx, write)), write=write)
            except _Wait:
                _wait_for_switch(backend)
            except _Moved as moved:
                self._follow(backend, moved)

    @property
    def far(self) -> bool:
        return self._backend.far

    def stamp(self) -> str | None:
        """Where a store has moved, its old place is written to once more: so whoever asks there goes on, too."""
        backend = self._backend
        found = backend.stamp()
        return None if found is None else f"{id(backend)}:{found}"  # none of them is let go before the end

    def close(self) -> None:
        for backend in (self._backend, *self._left):
            backend.close()

    def _follow(self, backend: Backend, moved: _Moved) -> None:
        with self._lock:
            if self._backend is backend:  # no other thread was faster
                self._backend = self._arrive(moved)
                self._left.append(backend)  # other threads may still be in it

    def _arrive(self, moved: _Moved) -> Backend:
        """Open the target, and take away the mark of its filling, unless somebody has."""
        backend = self._opener(moved.url)
        refused: list[Held] = []

        def arrived() -> bool | None:
            try:
                welcome(backend, moved.id)
            except Held as error:  # the migrator is about to let go of a store with one owner
                refused[:] = [error]
                return None
            return True

        try:
            wait_until(arrived, Deadline(10.0), what=f"the store's new place, {moved.url}", most=0.2)
        except BaseException:
            backend.close()
            if refused:
                raise refused[0] from None
            raise
        return backend


def welcome(backend: Backend, id_: str) -> None:
    """Open a filled store to everybody: its source has switched."""

    def marked(tx: Transaction) -> bool:
        row = tx.get(META, MIGRATION)
        return row is not None and (row.body["phase"], row.body["id"]) == (INCOMING, id_)

    if backend.run(marked, write=False):
        backend.run(lambda tx: tx.remove(META, MIGRATION) if marked(tx) else None, write=True)


def _admitted(tx: Transaction, write: bool) -> Transaction:
    """The transaction as a user of the store may have it now."""
    row = tx.get(META, MIGRATION)
    phase = row.body["phase"] if row else ""
    if not row or phase == ABORTING or (not write and phase in (COPYING, SWITCHING)):
        return tx
    if phase == COPYING:
        return Marking(tx)
    if phase == SWITCHING:
        raise _Wait
    if phase == SWITCHED:
        raise _Moved(row.body["to"], row.body["id"])
    raise Conflict(f"this store is being filled from {row.body['from']}", hint=row.body["hint"])


def _wait_for_switch(backend: Backend) -> None:
    def over() -> bool | None:
        row = backend.run(lambda tx: tx.get(META, MIGRATION), write=False)
        return True if row is None or row.body["phase"] != SWITCHING else None

    what = "a migration of the state store to end; if it was killed, run it again, or `rackstead state migrate --abort`"
    wait_until(over, Deadline(PATIENCE), what=what, first=0.01, most=0.2)


class Marking:
    """A transaction that leaves a marker for each record it changes."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.get, self.scan, self.kinds, self.now = tx.get, tx.scan, tx.kinds, tx.now
        self.versions = tx.versions
        self.fetch_ahead = tx.fetch_ahead

    def set(self, kind: str, key: str, row: Row) -> None:
        self._tx.set(kind, key, row)
        self._mark(kind, key)

    def remove(self, kind: str, key: str) -> None:
        self._tx.remove(kind, key)
        self._mark(kind, key)

    def _mark(self, kind: str, key: str) -> None:
        """The stamp is new each time: who has copied the record sees whether it changed again."""
        body = {"kind": kind, "key": key, "stamp": secrets.token_hex(8)}
        self._tx.set(META, marker_of(kind, key), Row(1, self._tx.now(), body))


def marker_of(kind: str, key: str) -> str:
    return CHANGED + hashlib.sha256(f"{kind}/{key}".encode("utf-8", "surrogateescape")).hexdigest()


def markers(tx: Transaction, limit: int) -> list[tuple[str, Row]]:
    return tx.scan(META, Query(prefix=CHANGED, limit=limit))
