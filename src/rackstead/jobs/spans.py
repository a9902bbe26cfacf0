# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job's life looks like as spans, read off its record and its events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .ends import hosts
from .model import Job, JobState

TASK_STARTS = ("playbook_on_task_start", "playbook_on_handler_task_start")
#: What is counted of a task's hosts, by event.
RESULTS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}
#: Tasks that have a span at most; of others only the number is told.
MOST_TASKS = 1000


@dataclass
class Span:
    """Times are seconds since the epoch."""

    name: str
    start: float
    end: float
    attributes: dict[str, str | int | bool] = field(default_factory=dict)
    error: str = ""
    children: list[Span] = field(default_factory=list)


def of_job(job: Job, events: Iterable[Mapping[str, Any]]) -> Span:
    """The job, from its submission to its end: how long it waited, its attempts, and their tasks.

    A job that was run again begins with that: when it was asked for is not known. No variables, no output.
    """
    ended = job.ended or job.created
    started = job.started or ended
    reader, last, again = Reader(), "", False
    for event in events:
        if event["event"] == "job_started" and event.get("attempt") == 1 and last == "job_ended":
            reader, again = Reader(), True
        reader.take(event)
        last = str(event["event"])
    root = Span(f"job {job.workflow}", started if again else job.created, ended, attributes(job))
    root.children = [*([] if again else [Span("queue", job.created, started)]), *reader.finish()]
    if job.state is JobState.FAILED:
        root.error = "failed"
    if reader.left_out:
        root.attributes["rackstead.tasks.left_out"] = reader.left_out
    return root


def attributes(job: Job) -> dict[str, str | int | bool]:
    found: dict[str, str | int | bool] = {
        "rackstead.job.id": job.id,
        "rackstead.job.state": job.state.value,
        "rackstead.job.attempts": job.attempt,
        "rackstead.job.check": job.check,
        "rackstead.workflow": job.workflow,
    }
    found |= {"rackstead.schedule": job.schedule} if job.schedule else {}
    return found | {f"rackstead.hosts.{name}": count for name, count in hosts(job.recap).items()}


class Reader:
    """Takes events in order; knows which attempt and which task they belong to."""

    def __init__(self) -> None:
        self.left_out = 0
        self._attempts: list[Span] = []
        self._open: Span | None = None
        self._task: Span | None = None
        self._tasks = 0
        self._last = 0.0

    def take(self, event: Mapping[str, Any]) -> None:
        name, at = str(event["event"]), float(event["time"])
        if name == "job_started":
            self._end_attempt(self._last)  # its worker was killed
            worker = str(event.get("worker", ""))
            self._open = Span(f"attempt {event.get('attempt', '')}".strip(), at, at, {"rackstead.worker": worker})
        elif name in ("job_ended", "job_interrupted"):
            self._end_attempt(at, str(event.get("result", "interrupted")))
        elif name in TASK_STARTS:
            self._end_task(at)
            self._begin_task(event, at)
        elif name == "playbook_on_stats":
            self._end_task(at)
        elif name in RESULTS and self._task:
            self._count(RESULTS[name])
            if name in ("runner_on_failed", "runner_on_unreachable"):
                self._task.error = RESULTS[name]
        self._last = at

    def finish(self) -> list[Span]:
        self._end_attempt(self._last)
        return self._attempts

    def _begin_task(self, event: Mapping[str, Any], at: float) -> None:
        self._tasks += 1
        if not self._open or self._tasks > MOST_TASKS:
            self.left_out += 1
            return
        action = {"ansible.task.action": str(event["task_action"])} if event.get("task_action") else {}
        self._task = Span(f"task {event.get('task') or '-'}", at, at, dict(action))
        self._open.children.append(self._task)

    def _count(self, what: str) -> None:
        if self._task:
            key = f"rackstead.hosts.{what}"
            self._task.attributes[key] = int(self._task.attributes.get(key, 0)) + 1

    def _end_task(self, at: float) -> None:
        if self._task:
            self._task.end = at
        self._task = None

    def _end_attempt(self, at: float, result: str = "") -> None:
        self._end_task(at)
        if self._open:
            self._open.end = at
            self._open.attributes |= {"rackstead.attempt.result": result} if result else {}
            self._attempts.append(self._open)
        self._open = None
