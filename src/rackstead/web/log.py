# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's log and how long its tasks took, out of the end of its events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import escape

from ..jobs.events import FILE
from ..jobs.model import Job

#: How much of the file is read, and how much of a page is its log.
TAIL, SHOWN = 1 << 20, 35_000
#: Tasks in the picture: those that took longest.
MOST = 50
#: What Ansible draws behind the names of plays and tasks, as wide as a terminal.
_RULE = re.compile(r" \*{3,}$", re.MULTILINE)
STARTS = ("playbook_on_task_start", "playbook_on_handler_task_start")
#: From bad to good: a task is what the worst of its hosts is.
ENDS = {"runner_on_unreachable": "unreachable", "runner_on_failed": "failed"}
WORST = ("failed", "unreachable", "changed", "ok", "skipped", "")


@dataclass
class Bar:
    """A task in the picture; times are seconds from the attempt's start."""

    task: str
    start: float
    seconds: float
    outcome: str = ""


@dataclass(frozen=True)
class Log:
    text: str = ""
    last: int = 0
    #: whether something stands before ``text``
    cut: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)


def read(folder: Path) -> Log:
    events, whole = _tail(folder / FILE)
    whole_text = "".join(said(event) for event in events)
    text = _end(whole_text)
    number = int(events[-1]["seq"]) if events else 0
    return Log(text, number, not whole or len(text) < len(whole_text), events)


def _end(text: str) -> str:
    """The last lines, as many as fit into a page."""
    kept = text
    while len(escape(kept).encode()) > SHOWN:
        kept = kept[len(kept) // 4 :]
    return kept if len(kept) == len(text) else kept.partition("\n")[2]


def _tail(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The last events, and whether they are all."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            lines = file.read().split(b"\n")[:-1]  # what stands after the last newline is not whole yet
    except FileNotFoundError:
        return [], True
    return [json.loads(line) for line in (lines if size <= TAIL else lines[1:])], size <= TAIL


def said(event: Mapping[str, Any]) -> str:
    """An event as lines of the log."""
    if event["event"] == "job_started":
        return f"-- attempt {event.get('attempt', 1)}, worker {event.get('worker', '')}\n"
    if event["event"] == "job_ended":
        return f"-- attempt ended{': ' if event.get('error') else ''}{event.get('error', '')}\n\n"
    text = _RULE.sub("", str(event.get("stdout") or ""))
    return f"{text}\n" if text else ""


# -- the picture -----------------------------------------------------------------------------------
def bars(job: Job, events: Iterable[Mapping[str, Any]], now: float) -> list[Bar]:
    """The tasks of the last attempt. From the record where the events are elsewhere or too many."""
    found: list[Bar] = []
    begun: float | None = None
    for event in events:
        if event["event"] == "job_started":
            found, begun = [], float(event["time"])
        elif begun is None:
            continue
        elif event["event"] in STARTS:
            _close(found, event["time"] - begun)
            found.append(Bar(str(event.get("task", "")), event["time"] - begun, -1.0))
        elif event["event"] in ("playbook_on_stats", "job_ended"):
            _close(found, event["time"] - begun)
        elif found and event["event"].startswith("runner_on_"):
            found[-1].outcome = min(found[-1].outcome, _outcome(event), key=WORST.index)
    if begun is None:
        return _recorded(job)
    _close(found, max(0.0, (job.ended or now) - begun))
    return found


def _close(found: list[Bar], at: float) -> None:
    if found and found[-1].seconds < 0:
        found[-1].seconds = at - found[-1].start


def _outcome(event: Mapping[str, Any]) -> str:
    if event["event"] == "runner_on_ok":
        result = event.get("result")
        return "changed" if isinstance(result, Mapping) and result.get("changed") else "ok"
    return "skipped" if event["event"] == "runner_on_skipped" else ENDS.get(event["event"], "")


def _recorded(job: Job) -> list[Bar]:
    found: list[Bar] = []
    at = 0.0
    for one in job.tasks:
        found.append(Bar(str(one["task"]), at, float(one["seconds"])))
        at += found[-1].seconds
    return found


@dataclass(frozen=True)
class Row:
    """A line of the picture: positions in percent of its width."""

    y: int
    x: float
    width: float
    bar: Bar


@dataclass(frozen=True)
class Picture:
    rows: list[Row]
    height: int
    total: float
    left_out: int


HEIGHT = 34


def picture(found: list[Bar]) -> Picture:
    kept = sorted(sorted(found, key=lambda bar: -bar.seconds)[:MOST], key=lambda bar: bar.start)
    first = min((bar.start for bar in kept), default=0.0)
    total = max((bar.start + bar.seconds for bar in kept), default=0.0) - first
    scale = 100 / total if total > 0 else 0.0
    rows = [
        Row(HEIGHT * number, min((bar.start - first) * scale, 99.5), max(bar.seconds * scale, 0.5), bar)
        for number, bar in enumerate(kept)
    ]
    return Picture(rows, HEIGHT * len(rows), total, len(found) - len(kept))
