# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see of jobs: tables and lines. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from .view import _filled as filled
from .view import count

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Record

    from .jobs.model import Job
    from .jobs.workflows import Workflow

STYLE = {"running": "cyan", "completed": "green", "failed": "bold red", "cancelled": "yellow", "interrupted": "magenta"}
#: Tasks that ``job show`` names: those that took longest.
SLOWEST = 5


def time_of(at: float | None) -> str:
    """A moment in this machine's time zone."""
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds") if at else "-"


def seconds(job: Job) -> str:
    if job.started is None:
        return "-"
    return f"{max(0.0, (job.ended or time.time()) - job.started):.1f} s"


def state_of(job: Job) -> Text:
    return Text(job.state.value, style=STYLE.get(job.state.value, ""))


def jobs_table(jobs: Sequence[Job]) -> RenderableType:
    if not jobs:
        return Text("no jobs", style="dim")
    rows = [
        {
            "JOB": Text(job.id, style="bold"),
            "WORKFLOW": Text(job.workflow),
            "STATE": state_of(job),
            "CREATED": Text(time_of(job.created)),
            "TOOK": Text(seconds(job)),
            "WHO": Text(job.who),
            "ERROR": Text((job.error.splitlines() or [""])[0]),
        }
        for job in jobs
    ]
    return filled(rows, ("JOB", "WORKFLOW", "STATE"))


def ending(job: Job) -> Text:
    """How a job ended, in a line."""
    changed = sum(counts["changed"] for counts in job.recap.values())
    tail = f", {count(changed, 'task')} changed" if job.recap else ""
    tries = f", attempt {job.attempt}" if job.attempt > 1 else ""
    return Text.assemble((job.id, "bold"), ": ", state_of(job), f" after {seconds(job)}{tries}{tail}")


def job_lines(job: Job) -> RenderableType:
    facts = {
        "job": job.id,
        "workflow": f"{job.workflow} ({job.title})",
        "state": job.state.value + (" (to be cancelled)" if job.cancel and not job.state.final else ""),
        "who": f"{job.who}, {job.origin}" if job.origin else job.who,
        "variables": " ".join(f"{name}={value}" for name, value in job.variables.items()),
        "mode": " ".join(word for word, on in (("check", job.check), ("diff", job.diff)) if on),
        "target": ", ".join(job.target),
        "after": " ".join(job.after),
        "priority": str(job.priority),
        "attempt": f"{job.attempt} of at most {job.retries + 1}",
        "not before": time_of(job.not_before) if job.not_before and not job.state.final else "",
        "created": time_of(job.created),
        "started": time_of(job.started),
        "ended": time_of(job.ended),
        "took": seconds(job),
        "worker": job.worker,
        "node": job.node,
        "collection": job.collection,
    }
    width = max(len(name) for name in facts)
    lines = [Text.assemble((f"{name:<{width}}  ", "dim"), value) for name, value in facts.items() if value]
    for host, counts in job.recap.items():
        lines.append(Text(f"{host}: " + ", ".join(f"{number} {name}" for name, number in counts.items() if number)))
    slow = sorted(job.tasks, key=lambda task: -task["seconds"])[:SLOWEST]
    lines += [Text(f"{task['seconds']:8.2f} s  {task['task']}") for task in slow]
    lines += [Text(line, style="red") for line in job.error.splitlines()]
    return Group(*lines)


# -- workflows -------------------------------------------------------------------------------------
def workflows_table(workflows: Sequence[Workflow]) -> RenderableType:
    rows = [
        {
            "WORKFLOW": Text(one.name, style="bold"),
            "TITLE": Text(one.title),
            "TARGET": Text(", ".join(one.target) or "-"),
            "ROLE": Text(one.role),
        }
        for one in workflows
    ]
    return filled(rows, ("WORKFLOW", "TITLE"))


def workflow_document(one: Workflow) -> dict[str, Any]:
    keys = ("name", "title", "description", "target", "priority", "timeout", "retries", "backoff", "role", "playbook")
    return {key: getattr(one, key) for key in keys}


def workflow_lines(one: Workflow) -> RenderableType:
    head = [Text(one.name, style="bold"), Text(f"{one.title}. Needs the role {one.role}.")]
    head += [Text(one.description)] if one.description else []
    rows = [
        {
            "VARIABLE": Text(name, style="bold"),
            "TYPE": Text(str(option.get("type", "str"))),
            "NEEDED": Text("yes" if option.get("required") else ""),
            "MEANING": Text(" ".join(_sentences(option.get("description")))),
        }
        for name, option in one.options.items()
    ]
    return Group(*head, filled(rows, ("VARIABLE", "TYPE"))) if rows else Group(*head)


def _sentences(text: Any) -> list[str]:
    return [str(line) for line in text] if isinstance(text, list) else [str(text or "")]


# -- schedules -------------------------------------------------------------------------------------
def schedule_document(record: Record) -> dict[str, Any]:
    return {"paused": False, "name": record.key, **record.body}


def schedules_table(schedules: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not schedules:
        return Text("no schedules", style="dim")
    rows = [
        {
            "NAME": Text(str(one["name"]), style="bold"),
            "CRON": Text(f"{one['cron']} {one['zone']}"),
            "WORKFLOW": Text(str(one["workflow"])),
            "NEXT": Text("paused" if one["paused"] else time_of(one["next"])),
            "LAST JOB": Text(str(one["last"])),
            "ERROR": Text(str(one["error"])),
        }
        for one in schedules
    ]
    return filled(rows, ("NAME", "CRON"))
