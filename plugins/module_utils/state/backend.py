# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store asks of a backend: an ordered map of kinds and keys with transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from .model import Query, Row

T = TypeVar("T")


class Transaction(Protocol):
    """Sees its own writes. Good only until the function it was given to returns."""

    def get(self, kind: str, key: str) -> Row | None: ...

    def fetch_ahead(self, places: Collection[tuple[str, str]]) -> None:
        """These kinds and keys will be asked for: a backend may get them in one go. Changes no answer."""

    def set(self, kind: str, key: str, row: Row) -> None: ...

    def remove(self, kind: str, key: str) -> None: ...

    def scan(self, kind: str, query: Query) -> list[tuple[str, Row]]: ...

    def versions(self, kind: str, query: Query) -> list[tuple[str, int, float]]:
        """Key, version and time of what ``scan`` would find: a backend may spare itself the bodies."""

    def kinds(self) -> list[str]:
        """The kinds that have records, in order."""

    def now(self) -> float:
        """One clock for all users of the store."""


class Backend(Protocol):
    @property
    def far(self) -> bool:
        """Whether other machines may use the same store."""

    def run(self, work: Callable[[Transaction], T], *, write: bool) -> T:
        """Call ``work`` in a serialisable transaction: all or nothing, durable when this returns.

        On a conflict it is called again, so it must have no effect beyond the transaction.
        """

    def stamp(self) -> str | None:
        """What stays the same as long as nobody writes, in whichever process: two reads made while it did saw the same.

        It is cheap to ask. None where the backend cannot tell.
        """

    def close(self) -> None: ...
