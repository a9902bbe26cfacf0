# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about executions that the queue has lost, or is through with while their job is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rackstead.jobs import queue
from rackstead.jobs.queue import Queue


@dataclass
class Dbos:
    """DBOS as far as the queue asks it."""

    statuses: dict[str, str] = field(default_factory=dict)
    queued: list[tuple[Any, ...]] = field(default_factory=list)

    def enqueue_workflow(self, *words: Any) -> None:
        self.queued.append(words)

    def get_workflow_status(self, name: str) -> SimpleNamespace | None:
        found = self.statuses.get(name)
        return SimpleNamespace(status=found) if found else None


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Queue, Dbos]:
    monkeypatch.setattr(queue, "DOUBT", 0.0)
    made = Queue(f"sqlite:///{tmp_path}/queue.sqlite", "me")
    made._dbos = Dbos()
    return made, made._dbos


def test_an_execution_is_queued_once(found: tuple[Queue, Dbos]) -> None:
    jobs, dbos = found
    dbos.statuses["j.1"] = "ENQUEUED"
    assert all(jobs.put("j", 1, 5, True) for _round in range(3)) and len(dbos.queued) == 1
    assert jobs.put("j", 2, 5, True) and len(dbos.queued) == 2


def test_one_that_the_queue_has_lost_is_queued_again(found: tuple[Queue, Dbos]) -> None:
    jobs, dbos = found
    assert all(jobs.put("j", 1, 5, True) for _round in range(3)) and len(dbos.queued) == 2


@pytest.mark.parametrize("status", queue.OVER)
def test_one_that_the_queue_is_through_with_is_told(found: tuple[Queue, Dbos], status: str) -> None:
    jobs, dbos = found
    assert jobs.put("j", 1, 5, True)
    dbos.statuses["j.1"] = status
    assert jobs.put("j", 1, 5, False)  # there is no hand for it: not looked up
    assert not jobs.put("j", 1, 5, True) and len(dbos.queued) == 1
