# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of several threads in one transaction, each with an outcome of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

from rackstead.jobs.together import Together

SECONDS = 60.0


class Counting(Store):
    """Counts its transactions that were kept; ``broken`` lets them fail when they are."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.backend)
        self.kept = 0
        self.broken = False

    def change(self, work: Callable[[Change], Any]) -> Any:
        def failing(change: Change) -> Any:
            found = work(change)
            if self.broken:
                raise OperationFailed("the disk is full")
            return found

        found = super().change(failing)
        self.kept += 1
        return found


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(open_store(f"file:{tmp_path}/state"))


def at_once(together: Together, steps: Sequence[Callable[[Change], Any]]) -> list[Future[Any]]:
    """The outcomes of steps that all come while another transaction is being written."""
    inside, go = threading.Event(), threading.Event()

    def first(_change: Change) -> None:
        inside.set()
        assert go.wait(SECONDS)

    with ThreadPoolExecutor(len(steps) + 1) as threads:
        leader = threads.submit(together.change, first)
        assert inside.wait(SECONDS)
        found = []
        for number, step in enumerate(steps, 1):  # in this order
            found.append(threads.submit(together.change, step))
            wait_until(lambda n=number: len(together._waiting) == n or None, Deadline(SECONDS), what="the step to wait")
        go.set()
        leader.result(SECONDS)
    return found


def adding(word: str) -> Callable[[Change], str]:
    def work(change: Change) -> str:
        before = change.find("thing", "list")
        words = [*(before.body["words"] if before else []), word]
        change.put("thing", "list", {"words": words})
        return " ".join(words)

    return work


def refusing(change: Change) -> None:
    adding("never")(change)
    raise Conflict("not this one")


def test_steps_that_wait_share_one_transaction_in_their_order(store: Counting) -> None:
    found = at_once(Together(store), [adding("a"), adding("b"), adding("c")])
    assert [one.result() for one in found] == ["a", "a b", "a b c"]
    assert store.kept == 2 and store.get("thing", "list").body == {"words": ["a", "b", "c"]}


def test_a_step_that_fails_takes_no_other_with_it(store: Counting) -> None:
    found = at_once(Together(store), [adding("a"), refusing, adding("b"), refusing])
    for one in (found[1], found[3]):
        with pytest.raises(Conflict, match="not this one"):
            one.result()
    assert [found[0].result(), found[2].result()] == ["a", "a b"]
    assert store.get("thing", "list").body == {"words": ["a", "b"]}


def test_a_step_that_another_made_impossible_is_asked_again_when_that_is_written(store: Counting) -> None:
    """It is judged by what is there, not by what was undone."""

    def only_first(change: Change) -> str:
        if change.find("thing", "list") is not None:
            raise Conflict("there is one already")
        return adding("first")(change)

    found = at_once(Together(store), [only_first, only_first])
    assert found[0].result() == "first"
    with pytest.raises(Conflict, match="already"):
        found[1].result()


def test_a_store_that_fails_fails_them_all_and_is_used_again(store: Counting) -> None:
    together = Together(store)
    store.broken = True
    with pytest.raises(OperationFailed, match="disk"):
        together.change(adding("a"))
    store.broken = False
    assert together.change(adding("b")) == "b"
