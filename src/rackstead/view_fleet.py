# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and clusters on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .run import Outcome

if TYPE_CHECKING:
    from .fleet.members import Drawn

Body = Mapping[str, Any]
COLOURS = {"critical": "bold red", "warning": "yellow", "notice": ""}


def _table(*heads: str) -> Table:
    return Table(*heads, box=None, pad_edge=False, header_style="bold")


def nodes(found: Sequence[Body]) -> RenderableType:
    if not found:
        return Text("no nodes; rackstead node add enters one", style="dim")
    made = _table("ID", "NODE", "ADDRESS", "USER", "CLUSTER", "PART", "LABELS")
    for one in found:
        part = ("worker" if one["worker"] else "control plane") if one["cluster"] else ""
        address = f"{one['address']} port {one['port']}" if one["port"] else one["address"]
        made.add_row(str(one["id"]), one["name"], address, one["user"], one["cluster"], part, pairs(one["labels"]))
    return made


def clusters(found: Sequence[Body], nodes: Sequence[Body]) -> RenderableType:
    if not found:
        return Text("no clusters; rackstead cluster add enters one", style="dim")
    from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import even

    made = _table("ID", "CLUSTER", "CONTROL PLANE", "WORKERS", "DESCRIPTION")
    for one in found:
        members = [node for node in nodes if node["cluster"] == one["name"]]
        workers = sum(1 for node in members if node["worker"])
        voters = Text(str(len(members) - workers) if members else "")
        if even([dict(node) for node in members], one["name"]):
            voters.append(" (even)", style="yellow")
        made.add_row(str(one["id"]), one["name"], voters, str(workers or ""), Text(one["description"]))
    return made


def facts(found: Body) -> Table:
    """What is set of a record, a field on each line."""
    made = Table.grid(padding=(0, 2))
    for name, value in found.items():
        text = pairs(value) if isinstance(value, Mapping) else "yes" if value is True else str(value or "")
        if text:
            made.add_row(Text(name, style="dim"), Text(text))
    return made


def pairs(found: Body) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(found.items()) if value not in ("", None))


def seen(members: Sequence[Drawn], at: float) -> RenderableType:
    """The members as the last scan has found them."""
    if not at:
        return Text("not scanned yet; rackstead cluster scan does it", style="dim")
    made = _table("MEMBER", "PART", "STATE")
    for one in members:
        made.add_row(one.name, one.role, Text(one.said, style="bold red" if one.crossed else ""))
    when = datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
    return Group(Text(f"as found on {when}", style="dim"), made)


# -- scans -----------------------------------------------------------------------------------------
def scanned(outcome: Outcome) -> list[dict[str, Any]]:
    """What was found of each node, by name; those out of reach are among the errors."""
    looked = [one for one in outcome.of("microk8s_info") if one.status == "ok"]
    made = [
        {"node": one.host, "microk8s": one.result["microk8s"], "findings": list(one.result["findings"])}
        for one in looked
    ]
    return sorted(made, key=lambda one: str(one["node"]))


def scan(found: Sequence[Body]) -> RenderableType:
    made = _table("NODE", "PLACE", "VERSION", "CHANNEL", "FINDINGS")
    for one in found:
        known, told = one["microk8s"], one["findings"]
        worst = COLOURS.get(told[0]["severity"], "") if told else ""
        count = Text(str(len(told) or ""), style=worst)
        made.add_row(one["node"], known["place"], known["version"], known["channel"], count)
    return made


def findings(found: Sequence[Body]) -> list[RenderableType]:
    """Each finding once, with all nodes that have told it."""
    nodes: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        for told in one["findings"]:
            nodes.setdefault((told["severity"], told["what"], told["todo"]), []).append(one["node"])
    if not nodes:
        return [Text("all is well")]
    return [
        Text.assemble((f"{severity}: ", COLOURS.get(severity, "")), f"{what}: {todo} ({', '.join(names)})")
        for (severity, what, todo), names in nodes.items()
    ]


def named(outcome: Outcome) -> Outcome:
    """The outcome, with the node in each line of what went wrong there."""
    results = [
        replace(one, result={**one.result, "msg": f"{one.host}: {one.result.get('msg', '')}"})
        if one.status != "ok" and not one.result.get("problems") and not one.result.get("argument_errors")
        else one
        for one in outcome.results
    ]
    return replace(outcome, results=results)
