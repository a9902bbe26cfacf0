# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store: versions, leases, fences and the audit chain, over any backend."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from ..common.errors import InvalidInput, NotFound
from ..common.problems import Problems
from ..common.show import hide_secrets
from . import audit
from .backend import Backend, Transaction
from .errors import Fenced, Held, VersionMoved
from .model import (
    AUDIT,
    LEASE,
    META,
    SEALED,
    AuditEntry,
    AuditReport,
    Lease,
    Query,
    Record,
    Row,
    check_body,
    check_key,
    check_kind,
    check_query,
)

T = TypeVar("T")
# Said here, since the classes below have a method named list.
Records = list[Record]
AuditEntries = list[AuditEntry]
Rows = list[tuple[str, Row]]
Names = list[str]
Versions = list[tuple[str, int, float]]
KEY_HINT = "set RACKSTEAD_STATE_KEY or RACKSTEAD_STATE_KEY_FILE"
PAGE = 1000


class Seal(Protocol):
    """Encrypts what is sensitive; what ``seal`` returns can be kept as JSON."""

    def seal(self, kind: str, key: str, field: str, value: Any) -> Any: ...

    def open(self, kind: str, key: str, field: str, value: Any) -> Any: ...


class Change:
    """The store within one transaction."""

    def __init__(self, transaction: Transaction, seal: Seal | None) -> None:
        self._tx = transaction
        self._seal = seal

    def fetch_ahead(self, places: Collection[tuple[str, str]]) -> None:
        """These kinds and keys will be asked for, which may be faster in one go. What is read is the same."""
        self._tx.fetch_ahead(places)

    # -- records -----------------------------------------------------------------------------------
    def get(self, kind: str, key: str) -> Record:
        found = self.find(kind, key)
        if found is None:
            raise NotFound("there is no such record", where=f"{kind}/{key}")
        return found

    def find(self, kind: str, key: str) -> Record | None:
        _check(kind, key)
        row = self._tx.get(kind, key)
        return self._record(kind, key, row) if row else None

    def list(self, kind: str, query: Query = Query()) -> Records:  # noqa: B008  frozen
        _check(kind, query=query)
        return [self._record(kind, key, row) for key, row in self._tx.scan(kind, query)]

    def versions(self, kind: str, query: Query = Query()) -> Versions:  # noqa: B008  frozen
        """Key, version and time of what ``list`` would find. The three together name one content of a record."""
        _check(kind, query=query)
        return self._tx.versions(kind, query)

    def kinds(self) -> Names:
        return self._tx.kinds()

    def put(
        self,
        kind: str,
        key: str,
        body: Mapping[str, Any],
        *,
        expect: int | None = None,
        fence: Lease | None = None,
        sensitive: Sequence[str] = (),
    ) -> Record:
        """Write a record. ``expect``: None whatever is there, 0 nothing, else this version.

        Fields that are ``sensitive`` are sealed, and stay so in later writes that do not name them.
        """
        _check(kind, key, body=body, writing=True)
        before = self._writable(kind, key, expect, fence)
        secret = sorted({*sensitive, *(_sealed(before.body) if before else ())} & body.keys())
        version = (before.version if before else self._floor(kind)) + 1
        row = Row(version, self._tx.now(), self._closed(kind, key, body, secret))
        self._tx.set(kind, key, row)
        return Record(kind, key, row.version, row.time, dict(body), tuple(secret))

    def delete(self, kind: str, key: str, *, expect: int | None = None, fence: Lease | None = None) -> bool:
        """Delete a record, if it is there. Returns whether it was."""
        _check(kind, key, writing=True)
        before = self._writable(kind, key, expect, fence)
        if before is None:
            return False
        self._tx.remove(kind, key)
        if before.version > self._floor(kind):
            self._tx.set(META, f"floor:{kind}", Row(1, self._tx.now(), {"version": before.version}))
        return True

    def _floor(self, kind: str) -> int:
        """New records start above the versions of deleted ones: no version of a key ever comes twice."""
        row = self._tx.get(META, f"floor:{kind}")
        return int(row.body["version"]) if row else 0

    def _writable(self, kind: str, key: str, expect: int | None, fence: Lease | None) -> Row | None:
        """The row as it is, if it is what the writer expects and the writer's lease is good."""
        if fence is not None:
            self.check_fence(fence)
        row = self._tx.get(kind, key)
        version = row.version if row else 0
        if expect is not None and expect != version:
            there = f"is at version {version}" if row else "does not exist"
            wanted = f"version {expect}" if expect else "none"
            raise VersionMoved(f"{there}, {wanted} was expected", where=f"{kind}/{key}", hint="read it again")
        return row

    # -- sealing -----------------------------------------------------------------------------------
    def _closed(self, kind: str, key: str, body: Mapping[str, Any], secret: Sequence[str]) -> dict[str, Any]:
        if not secret:
            return dict(body)
        seal = self._key(f"{kind}/{key}")
        return {**body, **{name: {SEALED: seal.seal(kind, key, name, body[name])} for name in secret}}

    def _record(self, kind: str, key: str, row: Row) -> Record:
        body, secret = dict(row.body), _sealed(row.body)
        for name in secret:
            body[name] = self._key(f"{kind}/{key}").open(kind, key, name, body[name][SEALED])
        return Record(kind, key, row.version, row.time, body, secret)

    def _key(self, where: str) -> Seal:
        if self._seal is None:
            raise InvalidInput([f"{where}: has sensitive fields, and there is no key for them; {KEY_HINT}"])
        return self._seal

    # -- leases ------------------------------------------------------------------------------------
    def lease(self, name: str, holder: str, seconds: float) -> Lease:
        """Take a lease, or extend one's own. Raises Held where another has it."""
        _check(LEASE, name)
        _check_holding(holder, seconds)
        row, now = self._tx.get(LEASE, name), self._tx.now()
        last = Lease(name, **row.body) if row else None
        if last and last.holder and last.expires > now:
            if last.holder != holder:
                until = datetime.fromtimestamp(last.expires, UTC).isoformat(timespec="seconds")
                raise Held(f'"{last.holder}" holds it until {until}', where=f"lease {name}")
            return self._hold(row, name, holder, last.token, now + seconds)
        return self._hold(row, name, holder, (last.token if last else 0) + 1, now + seconds)

    def renew(self, lease: Lease, seconds: float) -> Lease:
        """Extend a lease that nobody has taken since. Raises Fenced if somebody has."""
        _check_holding(lease.holder, seconds)
        row = self._own(lease)
        return self._hold(row, lease.name, lease.holder, lease.token, self._tx.now() + seconds)

    def release(self, lease: Lease) -> None:
        """Give a lease back; nothing happens if it is lost already. The token stays remembered."""
        row = self._tx.get(LEASE, lease.name)
        if _is_of(lease, row):
            self._hold(row, lease.name, "", lease.token, 0.0)

    def check_fence(self, lease: Lease) -> None:
        """Raises Fenced unless the lease is still this holder's, whatever the clock says."""
        self._own(lease)

    def _own(self, lease: Lease) -> Row | None:
        row = self._tx.get(LEASE, lease.name)
        if not _is_of(lease, row):
            raise Fenced(f'"{lease.holder}" has lost it (token {lease.token})', where=f"lease {lease.name}")
        return row

    def _hold(self, row: Row | None, name: str, holder: str, token: int, expires: float) -> Lease:
        """Write the lease whose row, if there is one, is ``row``."""
        body = {"holder": holder, "token": token, "expires": expires}
        self._tx.set(LEASE, name, Row((row.version if row else 0) + 1, self._tx.now(), body))
        return Lease(name, holder, token, expires)

    # -- audit -------------------------------------------------------------------------------------
    def append_audit(
        self,
        who: str,
        action: str,
        target: str,
        *,
        origin: str = "",
        result: str = "ok",
        details: Mapping[str, Any] | None = None,
    ) -> AuditEntry:
        """Add an entry to the chain. What looks like a secret in ``details`` is left out."""
        words = {"who": who, "action": action, "target": target, "origin": origin, "result": result}
        content = {**words, "details": hide_secrets(dict(details or {}))}
        _check(AUDIT, body=content)
        head = self._tx.get(META, audit.HEAD)
        seq = (head.body["seq"] if head else 0) + 1
        now = self._tx.now()
        body = {**content, "time": now, "previous": head.body["digest"] if head else audit.START}
        body["digest"] = audit.digest_of(seq, body)
        self._tx.set(AUDIT, audit.key_of(seq), Row(1, now, body))
        self._tx.set(META, audit.HEAD, Row(seq, now, {"seq": seq, "digest": body["digest"]}))
        return audit.entry_of(audit.key_of(seq), body)

    def audit(self, query: Query = Query()) -> AuditEntries:  # noqa: B008  frozen
        _check(AUDIT, query=query)
        return [audit.entry_of(key, row.body) for key, row in self._tx.scan(AUDIT, query)]

    def now(self) -> float:
        return self._tx.now()


class Store:
    """Each method is one transaction; ``change`` makes one of several steps."""

    def __init__(self, backend: Backend, seal: Seal | None = None) -> None:
        self.backend = backend
        self.seal = seal

    def change(self, work: Callable[[Change], T]) -> T:
        """All of what ``work`` does, or nothing. It may be called several times, until it meets no conflict."""
        return self.backend.run(lambda tx: work(Change(tx, self.seal)), write=True)

    def read(self, work: Callable[[Change], T]) -> T:
        """Several reads that see one state of the store."""
        return self.backend.run(lambda tx: work(Change(tx, self.seal)), write=False)

    def get(self, kind: str, key: str) -> Record:
        """Raises NotFound."""
        return self.read(lambda change: change.get(kind, key))

    def find(self, kind: str, key: str) -> Record | None:
        return self.read(lambda change: change.find(kind, key))

    def list(self, kind: str, query: Query = Query()) -> Records:  # noqa: B008  frozen
        return self.read(lambda change: change.list(kind, query))

    def kinds(self) -> Names:
        """The kinds that have records, the store's own included."""
        return self.read(lambda change: change.kinds())

    def put(
        self,
        kind: str,
        key: str,
        body: Mapping[str, Any],
        *,
        expect: int | None = None,
        fence: Lease | None = None,
        sensitive: Sequence[str] = (),
    ) -> Record:
        """Raises VersionMoved or Fenced; see Change.put."""
        return self.change(lambda c: c.put(kind, key, body, expect=expect, fence=fence, sensitive=sensitive))

    def delete(self, kind: str, key: str, *, expect: int | None = None, fence: Lease | None = None) -> bool:
        return self.change(lambda change: change.delete(kind, key, expect=expect, fence=fence))

    def lease(self, name: str, holder: str, seconds: float) -> Lease:
        return self.change(lambda change: change.lease(name, holder, seconds))

    def renew(self, lease: Lease, seconds: float) -> Lease:
        return self.change(lambda change: change.renew(lease, seconds))

    def release(self, lease: Lease) -> None:
        self.change(lambda change: change.release(lease))

    def append_audit(
        self,
        who: str,
        action: str,
        target: str,
        *,
        origin: str = "",
        result: str = "ok",
        details: Mapping[str, Any] | None = None,
    ) -> AuditEntry:
        return self.change(lambda c: c.append_audit(who, action, target, origin=origin, result=result, details=details))

    def audit(self, query: Query = Query()) -> AuditEntries:  # noqa: B008  frozen
        return self.read(lambda change: change.audit(query))

    def verify_audit(self) -> AuditReport:
        """Prove the chain whole. Entries that are added meanwhile are not looked at."""
        head = self.backend.run(lambda tx: tx.get(META, audit.HEAD), write=False)
        verifier = audit.Verifier()
        last = head.body["seq"] if head else 0
        while page := self._audit_page(verifier.count):
            for key, row in page:
                if verifier.count < last or not head:
                    verifier.take(key, row.body)
            if verifier.report or verifier.count >= last:
                break
        return verifier.finish(head.body if head else None)

    def _audit_page(self, seq: int) -> Rows:
        query = Query(after=audit.key_of(seq), limit=PAGE)
        return self.backend.run(lambda tx: tx.scan(AUDIT, query), write=False)

    @property
    def far(self) -> bool:
        """Whether other machines may use the same store."""
        return self.backend.far

    def stamp(self) -> str | None:
        """The same as long as nobody writes to the store; None where its kind of store cannot tell. Cheap to ask."""
        return self.backend.stamp()

    def close(self) -> None:
        self.backend.close()


def _sealed(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a body as it is kept: what came from JSON has no mappings but dictionaries."""
    found = [name for name, value in body.items() if isinstance(value, dict) and SEALED in value]
    return tuple(sorted(found))


def _is_of(lease: Lease, row: Row | None) -> bool:
    """Whether the row of a lease says that it is this holder's."""
    return row is not None and (row.body["holder"], row.body["token"]) == (lease.holder, lease.token)


def _check(
    kind: str,
    key: str | None = None,
    *,
    body: Mapping[str, Any] | None = None,
    query: Query | None = None,
    writing: bool = False,
) -> None:
    problems = Problems()
    check_kind(kind, problems, writing=writing)
    if key is not None:
        check_key(key, problems)
    if body is not None:
        check_body(body, problems)
    if query is not None:
        check_query(query, problems)
    problems.raise_if_any()


def _check_holding(holder: str, seconds: float) -> None:
    problems = Problems()
    check_key(holder, problems, name="holder")
    if not seconds > 0:
        problems.add("seconds", f"{seconds} is not valid", "a number above 0")
    problems.raise_if_any()
