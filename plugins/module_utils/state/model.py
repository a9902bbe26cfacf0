# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the state store keeps, and what may be asked of it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..common.kinds import shown
from ..common.problems import Problems

Scalar: TypeAlias = "str | int | float | bool | None"

#: Kinds that the store writes itself.
AUDIT, LEASE, META = "audit", "lease", "meta"
RESERVED = (AUDIT, LEASE, META)
#: Fields of a body that every backend which can keeps an index of.
INDEXED = ("state", "workflow", "who")
LONGEST_KEY = 200
KIND = re.compile(r"[a-z][a-z0-9_-]{0,62}")
#: The one field of what stands in a body in place of a sensitive value.
SEALED = "$sealed"


@dataclass(frozen=True)
class Record:
    """A record as its users see it. ``time`` is that of the last write, in seconds since the epoch."""

    kind: str
    key: str
    version: int
    time: float
    body: dict[str, Any]
    #: names of the fields of the body that are encrypted at rest
    sensitive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """What a backend keeps under a kind and a key."""

    version: int
    time: float
    body: dict[str, Any]


@dataclass(frozen=True)
class Query:
    """What is asked of a kind. The order is by key, and keys compare by code point."""

    #: equality, or any of several, on top-level fields of the body
    where: Mapping[str, Scalar | Sequence[Scalar]] = field(default_factory=dict)
    prefix: str = ""
    #: cursor: only keys after this one (before it, where descending)
    after: str = ""
    descending: bool = False
    limit: int = 100

    def wants_key(self, key: str) -> bool:
        if not key.startswith(self.prefix):
            return False
        return not self.after or (key < self.after if self.descending else key > self.after)

    def wants(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has what ``where`` names. A missing field counts as null; true is not 1."""
        return all(any(_same(body.get(name), item) for item in options(value)) for name, value in self.where.items())


@dataclass(frozen=True)
class Lease:
    """A name held by one holder until ``expires``. Who takes it from another gets a higher token."""

    name: str
    holder: str
    token: int
    expires: float


@dataclass(frozen=True)
class AuditEntry:
    seq: int
    time: float
    who: str
    action: str
    target: str
    origin: str
    result: str
    details: dict[str, Any]
    #: digest of the entry before
    previous: str
    digest: str


@dataclass(frozen=True)
class AuditReport:
    """What verifying the chain found: how many entries are good, and where the first bad one is."""

    count: int
    ok: bool
    broken: int | None = None
    why: str = ""


def options(value: Any) -> Sequence[Any]:
    """The values of which a ``where`` wants one."""
    return [value] if isinstance(value, str) or not isinstance(value, Sequence) else value


def _same(found: Any, wanted: Scalar) -> bool:
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def to_json(value: Any) -> str:
    """JSON on one line, always the same for equal documents, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


# -- what is allowed ------------------------------------------------------------------------------
def check_kind(kind: Any, problems: Problems, *, writing: bool = False) -> None:
    if not isinstance(kind, str) or not KIND.fullmatch(kind):
        problems.add("kind", f"{shown(kind)} is not valid", "a small letter, then at most 62 of a-z 0-9 _ -")
    elif writing and kind in RESERVED:
        problems.add("kind", f'"{kind}" is the store\'s own', f"any kind but {', '.join(RESERVED)}")


def check_key(key: Any, problems: Problems, *, name: str = "key") -> None:
    good = isinstance(key, str) and 1 <= len(key) <= LONGEST_KEY
    plain = good and key.isascii() and key.isprintable()
    if not plain and (not good or any(unicodedata.category(sign) in ("Cc", "Cs") for sign in key)):
        problems.add(name, f"{shown(key)[:60]} is not valid", f"1 to {LONGEST_KEY} characters, none of them a control")


def check_body(body: Any, problems: Problems) -> None:
    """JSON's values and nothing else, so that what is read is what was written."""
    if not isinstance(body, dict):
        problems.add("body", f"{shown(body)} is not valid", "a mapping")
        return
    _check_value(body, "body", problems)


def _check_value(value: Any, path: str, problems: Problems) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                problems.add(path, f"the name {shown(name)} is not valid", "names that are text")
            _check_value(item, f"{path}.{name}", problems)
        if SEALED in value:
            problems.add(path, f'"{SEALED}" is the store\'s own name', "any other name")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_value(item, f"{path}[{number}]", problems)
    elif isinstance(value, float) and value - value != 0:
        problems.add(path, f"{value} is not valid", "finite numbers")
    elif not isinstance(value, str | int | float | None):
        problems.add(path, f"a {type(value).__name__} cannot be kept", "text, numbers, booleans, null, lists, mappings")


def check_query(query: Query, problems: Problems) -> None:
    if isinstance(query.limit, bool) or not isinstance(query.limit, int) or query.limit < 1:
        problems.add("limit", f"{shown(query.limit)} is not valid", "a whole number from 1")
    for name, value in query.where.items():
        for item in options(value):
            if not isinstance(item, str | int | float | None):
                problems.add(f"where.{name}", f"{shown(item)} is not valid", "text, a number, a boolean or null")
