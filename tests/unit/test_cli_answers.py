# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's results mean: exit codes, error lines, the JSON document."""

from __future__ import annotations

from typing import Any

import pytest

from rackstead import answers
from rackstead.answers import Exit
from rackstead.run import Outcome, TaskResult


def task(status: str = "ok", module: str = "plan", task: str = "Apply", **result: Any) -> TaskResult:
    return TaskResult(f"rackstead.infra.{module}", task, "localhost", status, result)


def failed(**result: Any) -> TaskResult:
    return task("failed", **{"failed": True, **result})


@pytest.mark.parametrize(
    ("results", "rc", "code"),
    [
        ([task(changed=True)], 0, Exit.OK),
        ([failed(msg="no space")], 2, Exit.FAILED),
        ([failed(msg="x", problems=["a: wrong"])], 2, Exit.USAGE),
        ([failed(msg="x", argument_errors=["value of y"])], 2, Exit.USAGE),
        ([failed(msg="x", failure={"code": "InvalidInput"})], 2, Exit.USAGE),
        ([failed(msg="x", failure={"code": "Unreachable"})], 2, Exit.UNREACHABLE),
        ([failed(msg="x", failure={"code": "Denied"})], 2, Exit.UNREACHABLE),
        ([failed(msg="x", failure={"code": "Conflict"})], 2, Exit.FAILED),
        ([task("unreachable", unreachable=True, msg="ssh")], 4, Exit.UNREACHABLE),
        ([], 4, Exit.FAILED),
    ],
)
def test_exit_codes(results: list[TaskResult], rc: int, code: Exit) -> None:
    assert answers.exit_code(Outcome(rc, results)) == code


def test_the_worst_round_of_a_loop_counts() -> None:
    rounds = [{"item": "a", "rc": 0}, {"item": "b", "failed": True, "msg": "gone", "failure": {"code": "Unreachable"}}]
    outcome = Outcome(2, [failed(msg="One or more items failed", results=rounds)])
    assert answers.exit_code(outcome) == Exit.UNREACHABLE
    assert answers.errors(outcome) == ["gone"]


def test_every_problem_is_a_line_of_its_own() -> None:
    assert answers.errors(Outcome(2, [failed(msg="a\nb", problems=["a: wrong", "b: wrong"])])) == [
        "a: wrong",
        "b: wrong",
    ]


def test_the_same_line_is_told_once() -> None:
    assert answers.errors(Outcome(2, [failed(msg="one\n\ntwo"), failed(msg="one")])) == ["one", "two"]


def test_a_crashed_module_shows_its_last_line() -> None:
    lines = answers.errors(
        Outcome(2, [failed(msg="MODULE FAILURE", module_stderr="Traceback\n  File\nKeyError: 'x'\n")])
    )
    assert lines == ["MODULE FAILURE", "KeyError: 'x'"]


@pytest.mark.parametrize("text", ["[ERROR]: no such playbook\nmore", "\x1b[0;31mERROR! no such playbook\x1b[0m"])
def test_what_ansible_says_outside_of_tasks_is_cleaned(text: str) -> None:
    assert answers.errors(Outcome(4, [], [text])) == ["no such playbook"]


def test_silence_still_gives_a_line() -> None:
    assert answers.errors(Outcome(4)) == ["ansible-playbook ended with exit code 4; -v shows what it said"]


PLAN = {"changed": True, "plan": "demo", "resources": [], "summary": {"total": 0}, "diff": [{}], "invocation": {}}


def test_the_task_that_only_reads_a_plan_is_no_answer() -> None:
    outcome = Outcome(0, [task(task=answers.READ_PLAN, **PLAN), task(**PLAN)])
    assert len(answers.plans(outcome)) == 1


def test_one_plan_is_the_document_itself_and_several_are_listed() -> None:
    one = answers.plan_document([PLAN], diff=False)
    assert set(one) == {"changed", "plan", "resources", "summary"}
    assert "diff" in answers.plan_document([PLAN], diff=True)
    two = answers.plan_document([PLAN, {**PLAN, "changed": False}], diff=False)
    assert two["changed"] is True and len(two["plans"]) == 2


def test_rounds_that_were_skipped_are_left_out() -> None:
    rounds = [{"skipped": True}, {"resources": [], "plan": "a"}]
    assert answers.records(Outcome(0, [task(msg="All items completed", results=rounds)]), "plan") == rounds[1:]


def test_the_last_fact_wins() -> None:
    outcome = Outcome(0, [task(ansible_facts={"x": 1}), task(ansible_facts={"x": 2}), task()])
    assert answers.fact(outcome, "x") == 2 and answers.fact(outcome, "y") is None


def test_a_host_that_no_inventory_has_is_named() -> None:
    text = "[ERROR]: Could not match supplied host pattern, ignoring: node3\n"
    assert answers.errors(Outcome(1, [], [text])) == ['"node3" is not in the inventory']
