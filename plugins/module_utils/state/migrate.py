# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves a state store to another backend, also while it is in use; ``follow.py`` tells how its users take part.

Copy in key order; then, again and again, copy what writers marked as changed; check every record by its digest
and the audit chain by its hashes; let writers wait while the last marks are worked off; switch. The one
transaction that switches is the moment of truth: before it the source is right, after it the target.
Every step can be killed and done again.
"""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from ..common.errors import Conflict, InvalidInput, NotFound, OperationFailed, RacksteadError
from . import audit
from .backend import Backend, Transaction
from .errors import Held
from .fill import BATCH, Filling, Item, digest_of, everything
from .follow import ABORTING, COPYING, MIGRATION, SWITCHED, SWITCHING, is_mark, marker_of, markers
from .model import AUDIT, META, Query, Row
from .open import open_backend, path_of
from .store import Store

T = TypeVar("T")
#: What is going on, how much of it is done, and of how much (0: not known).
Tell = Callable[[str, int, int], None]
#: Writers are stopped when a pass finds less than a full batch of marks, or after so many passes.
PASSES = 1000
#: Differences that are named.
NAMED = 20


@dataclass
class Report:
    """What a migration did, or what comparing two stores found."""

    source: str
    target: str
    records: int = 0
    copied: int = 0
    #: records that were copied once more, because they changed meanwhile
    recopied: int = 0
    audit_entries: int = 0
    differences: list[str] = field(default_factory=list)
    #: an earlier run had switched already
    already: bool = False


def public(url: str) -> str:
    """The URL of a store as others may read it: whole, and without a password."""
    scheme, _colon, _rest = url.partition(":")
    if scheme in ("file", "sqlite", "surrealkv"):
        return f"{scheme}:{path_of(url)}"
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}" if parts.username else host))


class Migration:
    """The way of one store to another place."""

    def __init__(self, source: str, target: str, tell: Tell) -> None:
        self.report = Report(public(source), public(target))
        if self.report.source == self.report.target:
            raise InvalidInput([f"--to: {self.report.target} is --from itself; allowed: another, empty store"])
        self.tell = tell
        self._source = open_backend(source)
        self._target = open_backend(target)
        self._verifier = audit.Verifier()

    def close(self) -> None:
        self._source.close()
        self._target.close()

    # -- the way -----------------------------------------------------------------------------------
    def run(self, *, live: bool) -> Report:
        """All of it, or what an earlier run has left. ``live``: writers go on until the switch."""
        mark, created = self._source.run(lambda tx: self._begin(tx, live), write=True)
        hint = f"use {self.report.source} until `rackstead state migrate` has ended; run it again if it was killed"
        filling = Filling(self._target, mark.body["id"], self.report.source, hint)
        self.report.already = mark.body["phase"] == SWITCHED
        if self.report.already:
            with suppress(Held):  # then somebody works there already, and has opened it
                filling.finish()
            return self.report
        try:
            self._move(filling)
        except BaseException:
            self._let_writers_go_on(forget=created and not filling.begun)
            raise
        filling.finish()
        return self.report

    def _begin(self, tx: Transaction, live: bool) -> tuple[Row, bool]:
        """The mark of the migration, and whether it is new."""
        phase = COPYING if live else SWITCHING
        mark = tx.get(META, MIGRATION)
        if mark is None:
            body = {"phase": phase, "id": secrets.token_hex(8), "to": self.report.target}
            mark = Row(1, tx.now(), body)
            tx.set(META, MIGRATION, mark)
            return mark, True
        self._check_mark(mark)
        if mark.body["phase"] != SWITCHED:
            mark = Row(mark.version + 1, tx.now(), {**mark.body, "phase": phase})
            tx.set(META, MIGRATION, mark)
        return mark, False

    def _check_mark(self, mark: Row) -> None:
        phase, there = mark.body["phase"], mark.body.get("to")
        if phase not in (COPYING, SWITCHING, SWITCHED):
            hint = "run `rackstead state migrate --abort` again" if phase == ABORTING else mark.body["hint"]
            what = "an abort of its migration was not finished" if phase == ABORTING else "it is being filled itself"
            raise Conflict(what, where=self.report.source, hint=hint)
        if there != self.report.target:
            what = f"it has moved to {there}" if phase == SWITCHED else f"it is being migrated to {there}"
            hint = "name that as --from" if phase == SWITCHED else "go on with that, or end it with --abort"
            raise Conflict(what, where=self.report.source, hint=hint)

    def _move(self, filling: Filling) -> None:
        try:
            filling.begin()
        except Conflict as error:
            raise error.at(self.report.target) from None
        self._copy(filling)
        last = self._last_audit()
        if self._drain(filling, enough=BATCH - 1):
            self._verify_audit(last)
        self._compare()
        if self.report.differences:
            raise OperationFailed(_differ(self.report), hint="run it again")
        self._switch(filling.id, SWITCHING)
        self._drain(filling, enough=0)
        self._verify_audit(None)
        self._switch(filling.id, SWITCHED)

    def _switch(self, id_: str, phase: str) -> None:
        def work(tx: Transaction) -> None:
            mark = tx.get(META, MIGRATION)
            if mark is None or mark.body["id"] != id_ or mark.body["phase"] == ABORTING:
                raise Conflict("the migration was aborted", where=self.report.source)
            if mark.body["phase"] == SWITCHED:
                return
            if phase == SWITCHED and (mark.body["phase"] != SWITCHING or markers(tx, 1)):
                raise Conflict("something was written meanwhile", where=self.report.source, hint="run it again")
            tx.set(META, MIGRATION, Row(mark.version + 1, tx.now(), {**mark.body, "phase": phase}))

        self._source.run(work, write=True)

    def _let_writers_go_on(self, *, forget: bool) -> None:
        """After a failure: what they change now is marked. ``forget`` a migration that never began."""

        def work(tx: Transaction) -> None:
            mark = tx.get(META, MIGRATION)
            if mark and forget:
                tx.remove(META, MIGRATION)
            elif mark and mark.body["phase"] == SWITCHING:
                tx.set(META, MIGRATION, Row(mark.version + 1, tx.now(), {**mark.body, "phase": COPYING}))

        with suppress(RacksteadError):  # the first error is the one to tell
            self._source.run(work, write=True)

    # -- copying -----------------------------------------------------------------------------------
    def _copy(self, filling: Filling) -> None:
        """Everything in key order. Where a kind or key appears behind the cursor, it is marked."""
        total = self._source.run(count, write=False)
        while not filling.cursor.get("all"):
            at, after = filling.cursor.get("kind", ""), filling.cursor.get("after", "")
            done = int(filling.cursor.get("done", 0))
            kind = min((kind for kind in _kinds(self._source) if kind >= at), default=None)
            if kind is None:
                filling.write((), {"all": True, "done": done})
                return
            page = _page(self._source, kind, after if kind == at else "")
            batch: list[Item] = [(kind, key, row) for key, row in page if not is_mark(kind, key)]
            # The kind after this one is any that is greater than its name with a space.
            place = {"kind": kind, "after": page[-1][0]} if len(page) == BATCH else {"kind": f"{kind} ", "after": ""}
            done += len(batch)
            filling.write(batch, {**place, "done": done})
            self.report.copied += len(batch)
            self.tell("copying", done, max(total, done))

    def _drain(self, filling: Filling, *, enough: int) -> bool:
        """Copy again what was changed, until a pass finds little. Whether all that there was has been copied."""
        for _pass in range(PASSES):
            done = self._drain_batch(filling)
            if done <= enough:  # a full batch may have left some
                return True
            self.tell("catching up", self.report.recopied, 0)
        return False

    def _drain_batch(self, filling: Filling) -> int:
        """Each changed record as it is now, read back and compared, before its mark goes."""

        def changed(tx: Transaction) -> list[tuple[str, Row, Item]]:
            found = [(name, mark, mark.body["kind"], mark.body["key"]) for name, mark in markers(tx, BATCH)]
            return [(name, mark, (kind, key, tx.get(kind, key))) for name, mark, kind, key in found]

        batch = self._source.run(changed, write=False)
        if not batch:
            return 0
        items = [item for _name, _mark, item in batch]
        filling.write(items, filling.cursor)
        there = self._target.run(lambda tx: [tx.get(kind, key) for kind, key, _row in items], write=False)
        for (kind, key, row), copy in zip(items, there, strict=True):
            if not _same(kind, key, row, copy):
                raise OperationFailed("was read back differently", where=f"{self.report.target}: {kind}/{key}")

        def unmark(tx: Transaction) -> None:
            for name, mark, _item in batch:
                now = tx.get(META, name)
                if now and now.body["stamp"] == mark.body["stamp"]:
                    tx.remove(META, name)

        self._source.run(unmark, write=True)
        self.report.recopied += len(batch)
        return len(batch)

    # -- checking ----------------------------------------------------------------------------------
    def verify(self) -> Report:
        """Compare both stores as they are, and change nothing."""
        self._compare()
        found = Store(self._target).verify_audit()
        if not found.ok:
            self.report.differences.append(f"{self.report.target}: the audit chain is broken: {found.why}")
        self.report.audit_entries = found.count
        return self.report

    def _compare(self) -> None:
        """Every record of both by its digest, but those that are marked as changed: they are copied again."""
        total = self._source.run(count, write=False)
        for kind in sorted({*_kinds(self._source), *_kinds(self._target)}):
            both = heapq.merge(_digests(self._source, kind, 0), _digests(self._target, kind, 1))
            for key, found in groupby(both, key=lambda one: one[0]):
                sides = list(found)
                self.report.records += sides[0][1] == 0
                self.tell("checking", self.report.records, max(total, self.report.records))
                same = len(sides) == 2 and sides[0][2] == sides[1][2]
                if not same and len(self.report.differences) < NAMED and self._differs(kind, key):
                    self.report.differences.append(f"{kind}/{key}")

    def _differs(self, kind: str, key: str) -> bool:
        """Whether a record still differs, and nobody has marked it."""
        mark, row = self._source.run(lambda tx: (tx.get(META, marker_of(kind, key)), tx.get(kind, key)), write=False)
        return mark is None and not _same(kind, key, row, self._target.run(lambda tx: tx.get(kind, key), write=False))

    def _last_audit(self) -> int:
        head = self._source.run(lambda tx: tx.get(META, audit.HEAD), write=False)
        return int(head.body["seq"]) if head else 0

    def _verify_audit(self, last: int | None) -> None:
        """Follow the target's chain as far as ``last``, or (None) to its end. It goes on where it stopped."""
        chain = self._verifier
        while not chain.report and (page := _page(self._target, AUDIT, audit.key_of(chain.count))):
            for key, row in page:
                if last is None or chain.count < last:
                    chain.take(key, row.body)
            if last is not None and chain.count >= last:
                break
        self.report.audit_entries = chain.count
        head = self._target.run(lambda tx: tx.get(META, audit.HEAD), write=False)
        found = chain.finish(head.body if head else None) if last is None else chain.report
        if found and not found.ok:
            hint = "end the migration with --abort; backup and restore take a store as it is"
            raise OperationFailed(f"the audit chain is broken: {found.why}", where=self.report.source, hint=hint)


def abort(source: str) -> str:
    """End a migration that has not switched: its marks go, and the half-filled target is emptied.

    Gives what could not be done at the target, or nothing.
    """
    backend = open_backend(source)
    try:
        mark = backend.run(lambda tx: _aborting(tx, public(source)), write=True)
        left = _discard(mark, public(source))
        while backend.run(_unmark, write=True):
            pass
        return left
    finally:
        backend.close()


def _aborting(tx: Transaction, source: str) -> Row:
    mark = tx.get(META, MIGRATION)
    if mark is None or "to" not in mark.body:
        raise NotFound("no migration is under way", where=source)
    if mark.body["phase"] == SWITCHED:
        raise Conflict(f"the migration to {mark.body['to']} has ended", where=source, hint="migrate back from there")
    tx.set(META, MIGRATION, Row(mark.version + 1, tx.now(), {**mark.body, "phase": ABORTING}))
    return mark


def _discard(mark: Row, source: str) -> str:
    try:
        target = open_backend(mark.body["to"])
        try:
            filling = Filling(target, mark.body["id"], source, "run `rackstead state migrate --abort` again")
            if filling.exists():
                filling.begin()
                filling.empty()
                filling.finish()
        finally:
            target.close()
    except RacksteadError as error:
        return f"what was copied to {mark.body['to']} is still there: {error}"
    return ""


def _unmark(tx: Transaction) -> bool:
    """Take some marks away; the migration's own is the last."""
    found = markers(tx, BATCH)
    for name, _row in found:
        tx.remove(META, name)
    if not found:
        tx.remove(META, MIGRATION)
    return bool(found)


def count(tx: Transaction) -> int:
    return sum(1 for _item in everything(tx))


def _kinds(backend: Backend) -> list[str]:
    return backend.run(lambda tx: tx.kinds(), write=False)


def _page(backend: Backend, kind: str, after: str) -> list[tuple[str, Row]]:
    query = Query(after=after, limit=BATCH)
    return backend.run(lambda tx: tx.scan(kind, query), write=False)


def _digests(backend: Backend, kind: str, side: int) -> Iterator[tuple[str, int, str]]:
    after = ""
    while page := _page(backend, kind, after):
        yield from ((key, side, digest_of(kind, key, row)) for key, row in page if not is_mark(kind, key))
        after = page[-1][0]


def _same(kind: str, key: str, one: Row | None, other: Row | None) -> bool:
    if one is None or other is None:
        return one is other
    return digest_of(kind, key, one) == digest_of(kind, key, other)


def _differ(report: Report) -> str:
    named = ", ".join(report.differences)
    return f"{report.target} is not the same as {report.source}: {named}"
