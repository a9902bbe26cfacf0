# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked for, and whether it was reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from . import bios, connection, hardware, jobs, lifecycle, measures, microk8s, provision, rest, scale
from .measures import Measure
from .samples import Row


@dataclass(frozen=True)
class Verdict:
    """One target. ``least`` says that the measured value must not be below the limit."""

    target: str
    limit: float
    unit: str
    measured: float | None
    least: bool = False
    why: str = ""  # where there is no value

    @property
    def reached(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.least else self.measured <= self.limit

    def document(self) -> dict[str, Any]:
        measured = None if self.measured is None else round(self.measured, 3)
        sign = ">=" if self.least else "<="
        found = {"target": self.target, "limit": f"{sign} {self.limit:g} {self.unit}", "measured": measured}
        return {**found, "reached": self.reached, **({"why": self.why} if self.why else {})}


def floor_of(rows: Iterable[Row], operation: str) -> Row | None:
    """The best of the numbers of workers."""
    found = [row for row in rows if row.operation == operation and row.contender.startswith(lifecycle.FLOOR)]
    return min(found, key=lambda row: row.whole(), default=None)


def find(rows: Iterable[Row], operation: str, contender: str) -> Row | None:
    return next((row for row in rows if (row.operation, row.contender) == (operation, contender)), None)


def _what(operation: str, row: Row | None) -> str:
    return f"{operation} {row.count}" if row else f"{operation} …"


def verdicts(rows: list[Row]) -> list[Verdict]:
    """All targets of what is done on Incus, measured or not."""
    return [*_against_floor(rows), *_nothing_to_do(rows), _inventory(rows), *_connection(rows), *_memory(rows)]


def runner_verdicts(found: list[Measure]) -> list[Verdict]:
    """All targets of the runner, measured or not."""
    early = (_drains(found), _delays(found), _rest(found), [_bios(found)])
    late = (_provision(found), _hardware(found), _microk8s(found))
    return [verdict for group in (*early, *late) for verdict in group]


def _drains(found: list[Measure]) -> Iterator[Verdict]:
    for store in (jobs.SQLITE, jobs.POSTGRESQL):
        what = jobs.DRAIN.format(store)
        one = measures.find(found, what, jobs.OURS)
        yield Verdict(what, 100, "jobs/s", one.best if one else None, least=True, why="not measured")


def _delays(found: list[Measure]) -> Iterator[Verdict]:
    """The medians of the rounds count."""
    for what, most in ((jobs.FIRST, 150), (jobs.WHOLE, 250)):
        ours, bare = (measures.find(found, what, by) for by in (jobs.OURS, jobs.BARE))
        value = ours.median - bare.median if ours and bare else None
        yield Verdict(f"a job, {what}, over ansible-playbook", most, "ms", value, why="not measured")


def _rest(found: list[Measure]) -> Iterator[Verdict]:
    lists = measures.find(found, rest.LISTS, rest.OURS)
    what = f"{rest.LISTS}, {lists.count if lists else '…'} jobs"
    yield Verdict(what, 50, "ms", lists.best if lists else None, why="not measured")
    late = measures.find(found, rest.EVENTS, rest.OURS)
    value = late.extra["p99_ms"] if late else None
    yield Verdict(f"{rest.EVENTS}, 99th percentile", 100, "ms", value, why="not measured")


def _hardware(found: list[Measure]) -> Iterator[Verdict]:
    """One node, and many."""
    ours = sorted((one for one in found if (one.what, one.by) == (hardware.REPORT, hardware.OURS)), key=_count)
    for one, seconds, what in ((ours[:1], 2, "1"), (ours[1:], 6, "many")):
        name = f"{hardware.REPORT}, of {one[0].count if one else what}"
        yield Verdict(name, seconds, "s", one[0].best / 1000 if one else None, why="not measured")


def _microk8s(found: list[Measure]) -> Iterator[Verdict]:
    setup = measures.find(found, microk8s.SETUP, microk8s.SETUP_OURS)
    value = measures.ratio(found, setup) if setup else None
    yield Verdict(microk8s.SETUP, 1.5, "x its delays", value, why="not measured")
    scan = measures.find(found, microk8s.SCAN, microk8s.SCAN_OURS)
    value = measures.ratio(found, scan) if scan else None
    what = f"{microk8s.SCAN}, of {scan.count if scan else '…'}"
    yield Verdict(what, 1.3, "x bare facts", value, why="not measured")


def _count(one: Measure) -> int:
    return one.count


def _bios(found: list[Measure]) -> Verdict:
    one = measures.find(found, bios.DIFF, bios.OURS)
    what = f"{bios.DIFF}, {bios.SETTINGS} settings"
    return Verdict(what, 50, "ms", one.best if one else None, why="not measured")


def _provision(found: list[Measure]) -> Iterator[Verdict]:
    one, many, own = (
        measures.find(found, what, provision.OURS) for what in (provision.ONE, provision.MANY, provision.OWN)
    )
    what = f"{provision.MANY} ({many.count if many else '…'}), against one by itself"
    yield Verdict(what, 1.3, "x", many.best / one.best if many and one else None, why="not measured")
    yield Verdict(provision.OWN, 3, "s", own.best / 1000 if own else None, why="not measured")


def _against_floor(rows: list[Row]) -> Iterator[Verdict]:
    for operation in (lifecycle.CREATE, lifecycle.START, lifecycle.DELETE):
        ours, floor = find(rows, operation, lifecycle.OURS), floor_of(rows, operation)
        value = ours.net / floor.whole() if ours and floor else None
        yield Verdict(f"{_what(operation, ours)}, net", 1.3, "x floor", value, why="not measured")


def _nothing_to_do(rows: list[Row]) -> Iterator[Verdict]:
    ours, peer = (find(rows, lifecycle.NOTHING, name) for name in (lifecycle.OURS, lifecycle.LXD))
    what = _what(f"{lifecycle.NOTHING} on", ours)
    yield Verdict(f"{what}, net", 0.5, "s", ours.net if ours else None, why="not measured")
    value = peer.whole() / ours.whole() if ours and peer else None
    yield Verdict(
        f"{what}, whole process, against lxd_container",
        12,
        "x as fast",
        value,
        least=True,
        why="lxd_container was not measured",
    )


def _inventory(rows: list[Row]) -> Verdict:
    ours = find(rows, scale.INVENTORY, scale.PLUGIN)
    return Verdict(f"{_what('inventory of', ours)}, net", 0.6, "s", ours.net if ours else None, why="not measured")


def _connection(rows: list[Row]) -> Iterator[Verdict]:
    """Asked for as each plugin comes; with pipelining on for both it is told, and asked nothing."""
    ours, peer = (find(rows, connection.DEFAULTS, name) for name in (connection.OURS, connection.PEER))
    value = peer.whole() / ours.whole() if ours and peer else None
    what = f"{_what('20-task play on', ours)}, whole process, against community.general.incus"
    yield Verdict(what, 1.5, "x as fast", value, least=True, why="not measured")


def _memory(rows: list[Row]) -> Iterator[Verdict]:
    found = [row for row in rows if row.contender == lifecycle.OURS and "peak_rss" in row.extra]
    for row in found:
        yield Verdict(f"memory, {row.operation}", 150, "MB", row.extra["peak_rss"] / 1e6)
    if not found:
        yield Verdict("memory of the plan task", 150, "MB", None, why="not measured")
