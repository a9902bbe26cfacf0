# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the progress file of a plan task: one JSON object a line, appended while the task runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The phase in which the plan task says what goes on when it has been silent for long.
STILL = "still"
#: Phases after which nothing more is said about a resource.
FINAL = frozenset({"done", "failed", "unchanged", "skipped"})
#: What a phase is called while it lasts.
DOING = {
    "create": "creating",
    "update": "updating",
    "start": "starting",
    "stop": "stopping",
    "restart": "restarting",
    "delete": "deleting",
    "freeze": "freezing",
    "unfreeze": "resuming",
    "wait": "waiting",
}


@dataclass(frozen=True)
class Step:
    """One line of the file. ``done`` and ``total`` count resources; ``at`` is seconds since the epoch."""

    at: float
    resource: str
    phase: str
    detail: str
    done: int
    total: int

    @property
    def final(self) -> bool:
        return self.phase in FINAL

    @property
    def sign_of_life(self) -> bool:
        return self.phase == STILL

    @property
    def text(self) -> str:
        """What happens to the resource, in words."""
        doing = DOING.get(self.phase, self.phase)
        if self.phase == "wait" and self.detail:
            return self.detail
        return f"{doing}: {self.detail}" if self.detail else doing


def read_step(line: str) -> Step | None:
    """The step in a line, or None where the line is no whole one (a writer was killed in it)."""
    try:
        found: Mapping[str, Any] = json.loads(line)
        return Step(
            float(found["time"]),
            str(found["resource"]),
            str(found["phase"]),
            str(found.get("detail") or ""),
            int(found.get("done") or 0),
            int(found.get("total") or 0),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Follower:
    """Reads what was appended to the file since the last time; a line counts when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""

    def new_steps(self) -> Iterator[Step]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                added = file.read()
        except FileNotFoundError:
            return  # not begun, or over
        self._position += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        for line in lines:
            step = read_step(line.decode(errors="replace"))
            if step is not None:
                yield step


@dataclass
class Board:
    """What is known of a run's progress: how many of how many, and what each busy resource does."""

    done: int = 0
    total: int = 0
    failed: int = 0
    busy: dict[str, Step] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)

    def take(self, step: Step) -> None:
        self.done, self.total = max(self.done, step.done), max(self.total, step.total)
        if step.final:
            self.busy.pop(step.resource, None)
            self.since.pop(step.resource, None)
            self.failed += step.phase == "failed"
        elif not step.sign_of_life:
            self.busy[step.resource] = step
            self.since.setdefault(step.resource, step.at)

    def seconds(self, resource: str, now: float | None = None) -> float:
        """How long a busy resource has been at it."""
        return max(0.0, (time.time() if now is None else now) - self.since[resource])


#: Events of ansible-runner by which a playbook's progress is counted.
BEGUN = ("playbook_on_task_start", "playbook_on_handler_task_start")
FAILED = ("runner_on_failed", "runner_on_unreachable")
RETURNED = ("runner_on_ok", "runner_on_skipped", *FAILED)


@dataclass
class Tally:
    """How far a playbook is, in tasks. ``expected`` is how many the last run had, 0 where nobody knows;
    ``each`` how many of them each host had.
    """

    expected: int = 0
    each: Mapping[str, int] = field(default_factory=dict)
    begun: int = 0
    over: bool = False
    task: str = ""
    hosts: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return self.begun if self.over else max(0, self.begun - 1)

    @property
    def total(self) -> int:
        """As many as there were the last time, or as there have been already; 0 where nobody can say."""
        return max(self.expected, self.begun) if self.expected else 0

    def total_of(self, host: str) -> int:
        return max(self.each.get(host, 0) or self.total or self.begun, self.hosts.get(host, 0))

    def take(self, event: Mapping[str, Any]) -> None:
        """Events of ansible-runner, and ``job_started``, with which all begins anew."""
        kind, data = str(event["event"]), event.get("event_data") or {}
        if kind in ("job_started", "playbook_on_start"):
            self.begun, self.over, self.task, self.hosts, self.failed = 0, False, "", {}, {}
        elif kind in BEGUN:
            self.begun += 1
            self.task = str(data.get("task") or data.get("name") or "")
        elif kind in RETURNED:
            host = str(data.get("host") or "")
            self.hosts[host] = self.hosts.get(host, 0) + 1
            if kind in FAILED and not data.get("ignore_errors"):
                self.failed[host] = self.failed.get(host, 0) + 1
        elif kind == "playbook_on_stats":
            self.over = True

    @property
    def several(self) -> bool:
        """Whether there is more than this machine to tell of."""
        return bool(set(self.hosts) - {"localhost"})


#: A step as ansible-playbook shows it: see ``step_line``.
_LINE = re.compile(r"\[(\d+)/(\d+)\] (\S.*?): (.+)")


def step_of_text(text: str, done: int) -> Step | None:
    """The step that a line of ansible-playbook's output tells of. ``done`` is how many were told of before."""
    found = _LINE.fullmatch(text.strip())
    if not found:
        return None
    count, total = int(found[1]), int(found[2])
    return Step(time.time(), found[3], "done" if count > done else STILL, found[4], count, total)


def step_line(step: Step) -> str:
    """A finished resource as one line of plain text, as ansible-playbook shows it too."""
    what = step.detail or step.phase
    return f"[{step.done}/{step.total}] {step.resource}: {what}"
