# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of several threads in one transaction: what comes while one is written shares the next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

T = TypeVar("T")


@dataclass(eq=False)
class Step:
    """What one thread wants changed, and how that went."""

    work: Callable[[Change], Any]
    #: kinds and keys that it will look at
    places: Collection[tuple[str, str]] = ()
    outcome: Future[Any] = field(default_factory=Future)


class Together:
    """Writes steps one after the other, as if each had a transaction of its own; who gave one is told when it is
    durable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writing = threading.Lock()
        self._waiting: deque[Step] = deque()

    def change(self, work: Callable[[Change], T], places: Collection[tuple[str, str]] = ()) -> T:
        """As ``Store.change``: what ``work`` raises is raised here, and nothing of it is written then.

        ``places`` are kinds and keys of records that ``work`` will look at.
        """
        step = Step(work, places)
        self._waiting.append(step)
        with self._writing:
            if not step.outcome.done():  # else it was written along with another thread's
                self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
        found: T = step.outcome.result()
        return found

    def _write(self, steps: list[Step]) -> None:
        """A step that fails undoes the transaction: the others are written without it, then it is tried alone."""
        later: list[Step] = []
        while steps and (failed := self._attempt(steps)):
            steps.remove(failed)
            later.append(failed)
        for step in later:
            self._attempt([step])

    def _attempt(self, steps: list[Step]) -> Step | None:
        """One transaction. Returns the step of several that failed; otherwise each has its outcome."""
        at: list[Step] = []

        def work(change: Change) -> list[Any]:
            found = []
            change.fetch_ahead([place for step in steps for place in step.places])
            for step in steps:
                at[:] = [step]
                found.append(step.work(change))
            at.clear()
            return found

        try:
            found = self._store.change(work)
        except BaseException as error:  # noqa: BLE001  raised in the threads that wait for it
            if at and len(steps) > 1:
                return at[0]
            for step in steps:
                step.outcome.set_exception(error)
            return None
        for step, result in zip(steps, found, strict=True):
            step.outcome.set_result(result)
        return None
