# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a plan task: the file it writes, and what is known from it."""

from __future__ import annotations

import json
from pathlib import Path

from rackstead.progress import Board, Follower, Step, read_step, step_line


def line(resource: str, phase: str, detail: str = "", done: int = 0, total: int = 3, at: float = 100.0) -> str:
    body = {"time": at, "resource": resource, "phase": phase, "detail": detail, "done": done, "total": total}
    return json.dumps(body) + "\n"


def steps(*lines: str) -> list[Step]:
    return [step for text in lines if (step := read_step(text)) is not None]


def test_a_line_counts_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    follower = Follower(path)
    assert list(follower.new_steps()) == []
    whole, half = line("instance a", "create"), line("instance b", "create")
    path.write_text(whole + half[:20])
    assert [step.resource for step in follower.new_steps()] == ["instance a"]
    with path.open("a") as file:
        file.write(half[20:])
    assert [step.resource for step in follower.new_steps()] == ["instance b"]
    assert list(follower.new_steps()) == []


def test_what_is_no_step_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(b'{"time": 1, "resou\n[]\n{"time": 1}\n\xff\n' + line("instance a", "start").encode())
    assert [step.phase for step in Follower(path).new_steps()] == ["start"]


def test_the_board_knows_who_is_busy_with_what_and_since_when() -> None:
    board = Board()
    for step in steps(
        line("instance a", "create", at=100.0),
        line("instance b", "create", at=101.0),
        line("instance a", "wait", "waiting for ipv4", at=103.0),
        line("instance b", "done", "created (1.0 s)", done=1, at=102.0),
    ):
        board.take(step)
    assert (board.done, board.total, list(board.busy)) == (1, 3, ["instance a"])
    assert board.busy["instance a"].text == "waiting for ipv4"
    assert board.seconds("instance a", now=110.0) == 10.0


def test_a_sign_of_life_hides_nothing() -> None:
    board = Board()
    alive = line("instance a", "still", "waiting for ipv4 (10 s)", at=110.0)
    for step in steps(line("instance a", "wait", "waiting for ipv4"), alive):
        board.take(step)
    assert {name: step.text for name, step in board.busy.items()} == {"instance a": "waiting for ipv4"}
    assert board.seconds("instance a", now=110.0) == 10.0


def test_failures_are_counted_and_order_does_not_matter() -> None:
    board = Board()
    for step in steps(line("instance a", "failed", "no space", done=2), line("instance b", "done", done=1)):
        board.take(step)
    assert (board.done, board.failed, board.busy) == (2, 1, {})


def test_a_finished_resource_is_one_line() -> None:
    [step] = steps(line("instance a", "done", "created, started (1.8 s)", done=1))
    assert step_line(step) == "[1/3] instance a: created, started (1.8 s)"


def test_phases_are_told_in_words() -> None:
    assert [step.text for step in steps(line("a", "create"), line("a", "update", "limits"), line("a", "odd"))] == [
        "creating",
        "updating: limits",
        "odd",
    ]
