# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware reports on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.units import format_size
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import Known

COLOURS = {"critical": "bold red", "warning": "yellow", "notice": ""}
HEADS = ("NODE", "READ", "PROCESSORS", "MEMORY", "DISKS", "FULLEST", "CHANGES", "ALERTS")


def summaries(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Nodes, one on a line."""
    if not rows:
        return Text("no reports; rackstead hardware collect makes one", style="dim")
    made = Table(*HEADS, box=None, pad_edge=False, header_style="bold")
    for one in rows:
        used, total = one["memory_used_bytes"], one["memory_total_bytes"]
        made.add_row(
            Text(one["node"], style="bold"),
            moment(one["time"]),
            str(one["cpu_threads"] or ""),
            f"{size(used)} of {size(total)}" if total else "",
            f"{one['disks']}, {size(one['disks_bytes'])}" if one["disks"] else "",
            "" if one["fullest_percent"] is None else f"{one['fullest_percent']:g} %",
            str(one["changes"] or ""),
            Text(str(one["alerts"] or ""), style=COLOURS.get(one["worst"], "")),
        )
    return made


def fleet_table(found: Sequence[Known]) -> RenderableType:
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import summary

    return summaries([summary(one) for one in found])


def news(known: Known) -> list[RenderableType]:
    """What has changed about a node and what wants attention, in lines; nothing where there is neither."""
    lines = [*(_line("changed", one) for one in known.changes), *(_line("alert", one) for one in known.alerts)]
    return [Text(known.node, style="bold"), *lines] if lines else []


def _line(word: str, one: Mapping[str, Any]) -> Text:
    severity = str(one.get("severity", ""))
    head = f"  {word} ({severity}): "
    return Text.assemble((head, COLOURS.get(severity, "")), str(one.get("text", "")))


def changes(found: Mapping[str, Any]) -> list[RenderableType]:
    span = f"{found['node']}: {moment(found['before'])} to {moment(found['after'])}"
    lines = [_line("changed", one) for one in found["changes"]]
    return [Text(span, style="bold"), *(lines or [Text("  nothing has changed")])]


def node(known: Known) -> Iterator[RenderableType]:
    """A node's report: facts, tables, and what could not be read."""
    report = known.report
    yield Text(f"{known.node}, read {moment(report.time)}", style="bold")
    yield facts(known)
    for title, heads, rows in tables(known):
        if rows:
            yield Text(f"\n{title}", style="bold")
            made = Table(*heads, box=None, pad_edge=False, header_style="dim")
            for row in rows:
                made.add_row(*row)
            yield made
    reasons: dict[str, list[str]] = {}
    for name, section in report.missing():
        reasons.setdefault(section.reason, []).append(name)
    if reasons:
        yield Text("\nNot read", style="bold")
        made = Table.grid(padding=(0, 2))
        for reason, names in reasons.items():
            made.add_row(Text(", ".join(names)), Text(reason))
        yield made
    lines = news(known)
    if lines:
        yield Text("\nNews", style="bold")
        yield from lines[1:]


def facts(known: Known) -> Table:
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware.page import machine, memory_percent

    made = Table.grid(padding=(0, 2))
    report = known.report
    for name, value in machine(report):
        if value not in (None, ""):
            made.add_row(Text(name, style="dim"), Text(str(value)))
    use = [
        f"{name} {value:g} %"
        for name, value in (("processors", report.cpu.use_percent), ("memory", memory_percent(report)))
        if value is not None
    ]
    made.add_row(Text("In use", style="dim"), ", ".join(use))
    return made


Rows = list[list[str]]


def tables(known: Known) -> Iterator[tuple[str, Sequence[str], Rows]]:
    report = known.report
    health = {one.disk: one for one in report.smart}
    disks: Rows = []
    for disk in report.disks:
        smart = health.get(disk.name)
        state = "" if smart is None or smart.passed is None else "good" if smart.passed else "failing"
        wear = "" if smart is None or smart.wear_percent is None else f"{smart.wear_percent:g} %"
        disks.append([disk.name, disk.kind, disk.model, disk.serial, size(disk.size_bytes), state, wear])
    yield "Disks", ("DISK", "KIND", "MODEL", "SERIAL", "SIZE", "HEALTH", "WEAR"), disks
    mounts: Rows = [
        [one.mountpoint, one.kind, size(one.size_bytes), "" if one.used_percent is None else f"{one.used_percent:g} %"]
        for one in report.filesystems
    ]
    yield "File systems", ("AT", "KIND", "SIZE", "USED"), mounts
    arrays: Rows = [
        [one.name, one.level, "degraded" if one.degraded else one.state, ", ".join(one.members)] for one in report.raid
    ]
    yield "Arrays", ("ARRAY", "LEVEL", "STATE", "DISKS"), arrays
    cards: Rows = [
        [
            one.name,
            one.kind,
            one.state,
            f"{one.speed_mbit} Mbit/s" if one.speed_mbit else "",
            one.mac,
            ", ".join(one.addresses),
        ]
        for one in report.nics
    ]
    yield "Network", ("CARD", "KIND", "STATE", "SPEED", "MAC", "ADDRESSES"), cards
    sensors: Rows = [
        [one.name, one.chip, "" if one.value is None else f"{one.value:g} {one.unit}"] for one in report.sensors
    ]
    yield "Sensors", ("SENSOR", "CHIP", "VALUE"), sensors


def size(count: float | None) -> str:
    return "" if count is None else format_size(count)


def moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
