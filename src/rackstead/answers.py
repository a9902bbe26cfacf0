# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an Outcome: what went wrong, in lines, and which exit code that is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

from .run import Outcome, TaskResult

Record = Mapping[str, Any]


class Exit(IntEnum):
    """Exit codes of the command line, documented in docs/cli.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


#: Name of the playbooks' task that only learns the name of a plan from its file.
READ_PLAN = "Read the plan"
#: Errors of the core (``failure.code`` of a task's result) that are not plain failures.
CODES = {"InvalidInput": Exit.USAGE, "Unreachable": Exit.UNREACHABLE, "Denied": Exit.UNREACHABLE}


def items(found: TaskResult) -> list[Record]:
    """The results of a loop's rounds, or the one result of a task without a loop."""
    rounds = found.result.get("results")
    if isinstance(rounds, list) and "msg" in found.result and all(isinstance(one, Mapping) for one in rounds):
        return rounds
    return [found.result]


def records(outcome: Outcome, module: str) -> list[Record]:
    """Everything that tasks of one module returned, skipped rounds left out."""
    return [one for found in outcome.of(module) for one in items(found) if not one.get("skipped")]


def plans(outcome: Outcome) -> list[Record]:
    """Results of plan tasks that got as far as looking at resources."""
    found = [one for task in outcome.of("plan") if task.task != READ_PLAN for one in items(task)]
    return [one for one in found if "resources" in one]


def plan_document(results: list[Record], *, diff: bool) -> dict[str, Any]:
    """What ``--json`` says of plans: the one plan's result, or all of several under ``plans``."""
    keys = ("changed", "plan", "resources", "summary", *(["diff"] if diff else []))
    documents = [{key: one[key] for key in keys if key in one} for one in results]
    if len(documents) == 1:
        return documents[0]
    return {"changed": any(one.get("changed") for one in documents), "plans": documents}


def gathered(outcome: Outcome, module: str, key: str) -> list[Record]:
    """The lists that tasks of one module returned under ``key``, as one list."""
    return [entry for one in records(outcome, module) for entry in one.get(key) or ()]


def fact(outcome: Outcome, name: str) -> Any:
    """A fact that the playbook set as its answer, or None."""
    for found in reversed(outcome.results):
        facts = found.result.get("ansible_facts")
        if isinstance(facts, Mapping) and name in facts:
            return facts[name]
    return None


def messages(outcome: Outcome) -> list[str]:
    """What the playbook itself wants to say, by ansible.builtin.debug."""
    said = [one.get("msg") for task in outcome.results if task.action == "ansible.builtin.debug" for one in items(task)]
    return list(dict.fromkeys(text for text in said if isinstance(text, str)))


def changed(outcome: Outcome) -> bool:
    return any(found.result.get("changed") for found in outcome.results)


def exit_code(outcome: Outcome) -> Exit:
    codes = [_code(found.status, one) for found in outcome.failures for one in _failed(found)]
    for code in (Exit.UNREACHABLE, Exit.USAGE):
        if code in codes:
            return code
    return Exit.FAILED if outcome.rc or codes else Exit.OK


def errors(outcome: Outcome) -> list[str]:
    """One line for each thing that went wrong, in the order in which it happened."""
    lines = [line for found in outcome.failures for one in _failed(found) for line in _lines(one)]
    if not lines and outcome.rc:
        lines = [line for text in outcome.errors for line in _cleaned(text)]
    if not lines and outcome.rc:
        lines = [f"ansible-playbook ended with exit code {outcome.rc}; -v shows what it said"]
    return list(dict.fromkeys(lines))


def _failed(found: TaskResult) -> list[Record]:
    rounds = items(found)
    return [one for one in rounds if one.get("failed") or one.get("unreachable")] or [found.result]


def _code(status: str, one: Record) -> Exit:
    if one.get("argument_errors") or one.get("problems"):
        return Exit.USAGE
    if status == "unreachable" or one.get("unreachable"):
        return Exit.UNREACHABLE
    return CODES.get((one.get("failure") or {}).get("code", ""), Exit.FAILED)


def _lines(one: Record) -> Iterator[str]:
    listed = one.get("problems") or one.get("argument_errors")
    if listed:
        yield from (str(line) for line in listed)
        return
    yield from (line for line in str(one.get("msg") or "failed without a message").splitlines() if line.strip())
    trace = str(one.get("module_stderr") or "").strip()
    if trace:
        yield trace.splitlines()[-1]


def _cleaned(text: str) -> Iterator[str]:
    """Ansible's own message without its colours and prefix."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if lines:
        line = re.sub(r"^(\[ERROR\]: |ERROR! )", "", lines[0])
        yield re.sub(r"^Could not match supplied host pattern, ignoring: (.*)", r'"\1" is not in the inventory', line)
