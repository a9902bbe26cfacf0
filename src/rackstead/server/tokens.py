# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens: who may do what over REST. They are kept as digests; nobody can read one back."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

from ..jobs.workflows import ROLES

TOKEN = "token"
NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}"
PREFIX = "rackstead_"
DAY = 86_400.0
#: Seconds for which a token that was good is not looked up again, and between two notes of its use.
REMEMBERED, NOTED = 1.0, 60.0
MOST_REMEMBERED = 1000


@dataclass(frozen=True)
class Token:
    """``workflows`` and ``targets`` are shell patterns; without any, all are meant."""

    name: str
    role: str
    workflows: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    created: float = 0.0
    expires: float | None = None
    used: float | None = None

    @classmethod
    def of(cls, record: Record) -> Token:
        body = {name: value for name, value in record.body.items() if name != "digest"}
        return cls(record.key, **body)

    def has(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def scoped(self) -> bool:
        return bool(self.workflows or self.targets)

    def knows(self, workflow: str) -> bool:
        return not self.workflows or any(fnmatchcase(workflow, pattern) for pattern in self.workflows)

    def covers(self, workflow: str, targets: Sequence[str]) -> bool:
        """Whether it is good for a job of this workflow with these targets, each of them."""
        if not self.targets:
            return self.knows(workflow)
        within = [any(fnmatchcase(target, pattern) for pattern in self.targets) for target in targets]
        return self.knows(workflow) and bool(within) and all(within)


def create(
    store: Store,
    name: str,
    role: str,
    who: str,
    origin: str,
    *,
    workflows: Sequence[str] = (),
    targets: Sequence[str] = (),
    days: float = 0.0,
) -> str:
    """Make a token and return it: the one time that it is seen. Raises Conflict where the name is taken."""
    problems = Problems()
    if not re.fullmatch(NAME, name):
        problems.add("name", f'"{name}" is not valid', "1 to 63 letters, digits and . _ @ -")
    if role not in ROLES:
        problems.add("role", f'"{role}" is not valid', ", ".join(ROLES))
    problems.raise_if_any()
    text = PREFIX + secrets.token_urlsafe(32)

    def work(change: Change) -> None:
        if change.find(TOKEN, name):
            raise Conflict("is there already", where=f'token "{name}"', hint="revoke it first")
        now = change.now()
        found = Token(name, role, list(workflows), list(targets), now, now + days * DAY if days else None)
        body: dict[str, Any] = {**asdict(found), "digest": digest(text)}
        del body["name"]
        change.put(TOKEN, name, body)
        details = {"role": role, "workflows": found.workflows, "targets": found.targets, "expires": found.expires}
        change.append_audit(who, "token.create", f"{TOKEN}/{name}", origin=origin, details=details)

    store.change(work)
    return text


def revoke(store: Store, name: str, who: str, origin: str) -> None:
    """Raises NotFound."""

    def work(change: Change) -> None:
        if not change.delete(TOKEN, name):
            raise NotFound(f'there is no token "{name}"')
        change.append_audit(who, "token.revoke", f"{TOKEN}/{name}", origin=origin)

    store.change(work)


def every(store: Store) -> list[Token]:
    return [Token.of(record) for record in store.list(TOKEN, Query(limit=10_000))]


def digest(text: str) -> str:
    """A token is random, so that nobody can guess it from this."""
    return hashlib.sha256(text.encode()).hexdigest()


class Tokens:
    """Looks tokens up. One that was good is remembered for a second, so that a revoked one is refused soon."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._good: dict[str, tuple[float, Token]] = {}
        self._lock = threading.Lock()

    def remembered(self, text: str) -> Token | None:
        """The token, if it was looked up just now. Asks no store."""
        until, found = self._good.get(digest(text), (0.0, None))
        return found if until > time.monotonic() else None

    def find(self, text: str) -> Token | None:
        """The token, or None if it is unknown, revoked or out of date."""
        wanted = digest(text)
        now, records = self.store.read(
            lambda change: (change.now(), change.list(TOKEN, Query({"digest": wanted}, limit=1)))
        )
        good = [one for one in records if hmac.compare_digest(one.body["digest"], wanted)]
        if not good:
            return None
        found = Token.of(good[0])
        if found.expires is not None and found.expires <= now:
            return None
        if found.used is None or now - found.used >= NOTED:
            self._note(found.name, wanted)
        with self._lock:
            if len(self._good) >= MOST_REMEMBERED:
                self._good.clear()
            self._good[wanted] = (time.monotonic() + REMEMBERED, found)
        return found

    def forget(self) -> None:
        with self._lock:
            self._good.clear()

    def _note(self, name: str, wanted: str) -> None:
        """Remember when it was used last, unless it was revoked meanwhile."""

        def work(change: Change) -> None:
            record = change.find(TOKEN, name)
            if record and record.body["digest"] == wanted:
                change.put(TOKEN, name, {**record.body, "used": change.now()})

        self.store.change(work)
