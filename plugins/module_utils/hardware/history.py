# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of nodes in the state store: the last report of each, and those before.

Kind ``hardware``: a node's last report under its name, with what had changed and what wants attention. Kind
``hardware_history``: earlier ones and this one, under the name, a slash and the time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..common.errors import InvalidInput, NotFound
from ..common.problems import nearest
from ..state.model import Query, Record
from ..state.store import Change, Store
from .alarms import standing, tell
from .alerts import Alert, Thresholds, alerts
from .compare import Difference, differences
from .model import Report, report_of

KIND, HISTORY = "hardware", "hardware_history"
LONGEST_NAME = 150
PAGE = 100
#: Reports of a node that are kept where nobody says how many.
KEEP = 30


@dataclass(frozen=True)
class Known:
    """A node's report as it is remembered. ``changes`` says what was otherwise than in the one before."""

    report: Report
    changes: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    #: the time of the report before, or None
    before: float | None = None
    version: int = 0

    @property
    def node(self) -> str:
        return self.report.node

    def document(self) -> dict[str, Any]:
        """The whole as JSON knows it."""
        return {
            "node": self.node,
            "time": self.report.time,
            "before": self.before,
            "changes": self.changes,
            "alerts": self.alerts,
            "report": self.report.document(),
        }


def check_node(name: str) -> str:
    """The name, if a node can have it. Raises InvalidInput."""
    if not name or len(name) > LONGEST_NAME or re.search(r"[/\x00-\x1f\x7f]", name):
        allowed = f"a name as in an inventory, 1 to {LONGEST_NAME} characters without a slash"
        raise InvalidInput([f'node: "{name[:LONGEST_NAME]}" is not valid; allowed: {allowed}'])
    return name


def known_of(record: Record) -> Known:
    body = record.body

    def rows(name: str) -> list[dict[str, Any]]:
        given = body.get(name)
        return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []

    before = body.get("before")
    return Known(
        report_of(body.get("report")),
        rows("changes"),
        rows("alerts"),
        before=float(before) if isinstance(before, (int, float)) else None,
        version=record.version,
    )


# -- writing ---------------------------------------------------------------------------------------
def judged(before: Report | None, report: Report, limits: Thresholds) -> tuple[list[Difference], list[Alert]]:
    """What has changed since the last report, and what wants attention now."""
    return (differences(before, report) if before else []), alerts(report, limits)


def remember(store: Store, report: Report, limits: Thresholds, *, keep: int = KEEP, check: bool = False) -> Known:
    """Compare a report with the last one of its node and, unless in check mode, keep it. One transaction.

    A report that is older than the one remembered (another worker was faster) does not replace it.
    """
    check_node(report.node)

    def work(change: Change) -> Known:
        last = change.find(KIND, report.node)
        before = known_of(last).report if last else None
        changed, wanting = judged(before, report, limits)
        made = Known(
            report,
            [one.document() for one in changed],
            [one.document() for one in wanting],
            before.time if before else None,
        )
        if not check:
            keep_it(change, made, last, keep)
        return made

    return store.read(work) if check else store.change(work)


def keep_it(change: Change, made: Known, last: Record | None, keep: int) -> None:
    """Write a report, and delete those of its node that are too many.

    The node's record says which reports there are: to look for them would be to read them all, each time. New alerts
    go into the audit chain.
    """
    report, document = made.report, made.document()
    times = sorted({*kept(change, report.node, last), stamp(report)})
    newest = last is None or known_of(last).report.time <= report.time
    if stamp(report) in times[-keep:]:
        change.put(HISTORY, key_of(report.node, stamp(report)), document)
    for at in times[:-keep]:
        change.delete(HISTORY, key_of(report.node, at))
    body = document if newest or last is None else last.body
    stands = standing(last.body) if last else []
    if newest:
        stands = tell(change, report, stands, made.alerts)
    change.put(KIND, report.node, {**body, "kept": times[-keep:], "standing": stands})


def kept(change: Change, node: str, last: Record | None) -> list[int]:
    """The times of a node's reports, as its record says; where somebody has spoilt that, as they are found."""
    known = last.body.get("kept") if last else []
    if isinstance(known, list) and all(isinstance(at, int) for at in known):
        return known
    keys = [one.key.rpartition("/")[2] for one in change.list(HISTORY, Query(prefix=f"{node}/", limit=PAGE * 10))]
    return [int(key) for key in keys if key.isdecimal()]


def stamp(report: Report) -> int:
    return int(report.time * 1000)


def key_of(node: str, at: int) -> str:
    """Keys sort by time: a fixed number of digits of milliseconds."""
    return f"{node}/{at:015d}"


# -- reading ---------------------------------------------------------------------------------------
def fleet(store: Store) -> list[Known]:
    """The last report of every node, by name."""

    def work(change: Change) -> list[Known]:
        found: list[Record] = []
        while page := change.list(KIND, Query(after=found[-1].key if found else "", limit=PAGE)):
            found += page
            if len(page) < PAGE:
                break
        return [known_of(one) for one in found]

    return store.read(work)


def last(store: Store, node: str) -> Known:
    """A node's last report. Raises NotFound, with the name that comes nearest."""
    record = store.find(KIND, check_node(node))
    if record is None:
        names = [one.node for one in fleet(store)]
        raise NotFound(f'there is no report of the node "{node}"{nearest(node, names)}', hint="collect one first")
    return known_of(record)


def history(store: Store, node: str, limit: int = KEEP) -> list[Known]:
    """A node's reports, the newest first. Raises NotFound where it has none at all."""
    found = store.list(HISTORY, Query(prefix=f"{check_node(node)}/", descending=True, limit=limit))
    return [known_of(one) for one in found] or [last(store, node)]


def between(store: Store, node: str, since: float | None) -> tuple[Report, Report, list[Difference]]:
    """What has changed up to the last report: since the one before, or since the one at the time ``since``.

    Raises NotFound where there is nothing to compare with.
    """
    now = last(store, node).report
    older = [one.report for one in history(store, node, PAGE * 10) if one.report.time < now.time]
    if since is not None:
        older = [one for one in older if one.time <= since] or older[-1:]
    if not older:
        raise NotFound(f'there is one report of the node "{node}" only', hint="collect another one")
    return older[0], now, differences(older[0], now)


def forget(store: Store, node: str) -> bool:
    """Delete what is known of a node. Whether there was anything."""

    def work(change: Change) -> bool:
        keys = [one.key for one in change.list(HISTORY, Query(prefix=f"{node}/", limit=PAGE * 10))]
        return any([change.delete(KIND, node), *(change.delete(HISTORY, key) for key in keys)])

    return store.change(work)


# -- in short --------------------------------------------------------------------------------------
def summary(known: Known) -> dict[str, Any]:
    """A node on one line of a table, for people and programs."""
    report = known.report
    memory, cpu = report.memory, report.cpu
    disks = sum(one.size_bytes or 0 for one in report.disks)
    fullest = max((one.used_percent for one in report.filesystems if one.used_percent is not None), default=None)
    return {
        "node": known.node,
        "time": report.time,
        "age_seconds": max(0.0, round(time.time() - report.time, 1)),
        "kind": report.system.kind,
        "os": report.system.os,
        "model": " ".join(part for part in (report.firmware.vendor, report.firmware.product) if part),
        "cpu_model": cpu.model,
        "cpu_threads": cpu.threads,
        "cpu_use_percent": cpu.use_percent,
        "cpu_temperature_celsius": cpu.temperature_celsius,
        "memory_total_bytes": memory.total_bytes,
        "memory_used_bytes": memory.used_bytes,
        "disks": len(report.disks),
        "disks_bytes": disks,
        "fullest_percent": fullest,
        "changes": len(known.changes),
        "alerts": len(known.alerts),
        "worst": worst(known),
    }


def worst(known: Known) -> str:
    """The gravest severity among a node's alerts, or nothing."""
    found = [one.get("severity") for one in known.alerts]
    return next((name for name in ("critical", "warning") if name in found), "")


def totals(rows: Sequence[Known]) -> Iterator[tuple[str, float]]:
    """What all nodes have together."""
    yield "nodes", len(rows)
    yield "processors", sum(one.report.cpu.threads or 0 for one in rows)
    yield "memory_bytes", sum(one.report.memory.total_bytes or 0 for one in rows)
    yield "disks_bytes", sum(disk.size_bytes or 0 for one in rows for disk in one.report.disks)
