# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of nodes and clusters as a page: which node is in which cluster, and what its last report says."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import Known
from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry, even
from fastapi import APIRouter, Request
from starlette.responses import Response

from . import hardware
from .pages import Page, Who, render, service_of, span

router = APIRouter(route_class=Page, include_in_schema=False)
#: What a page shows at most: of nodes in all, and of clusters.
MOST_NODES, MOST_CLUSTERS = 150, 50
#: From so many nodes on, a control plane survives that one is lost.
VOTERS = 3
Body = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A node as it is shown. ``health`` is a word of the style sheet; ``said`` tells the same to people."""

    name: str
    address: str
    worker: bool
    health: str
    said: str
    #: where its report is, if there is one
    link: str = ""


@dataclass
class Group:
    """A cluster, or what is in none, which has no name."""

    name: str
    description: str = ""
    survives: str = ""
    warning: str = ""
    members: list[Member] = field(default_factory=list)
    left_out: int = 0


@router.get("/ui/fleet")
def every(request: Request, who: Who) -> Response:
    who.caller.require_unscoped()
    store = service_of(request).store
    registry = Registry(store)
    nodes, clusters = registry.nodes(), registry.clusters()
    groups = grouped(nodes, clusters[:MOST_CLUSTERS], {one.node: one for one in history.fleet(store)}, time.time())
    more = max(0, len(clusters) - MOST_CLUSTERS)
    return render(request, "fleet.html", groups=groups, nodes=len(nodes), clusters=len(clusters), more=more)


def grouped(nodes: list[Body], clusters: list[Body], reports: dict[str, Known], now: float) -> list[Group]:
    """Clusters with their nodes, the control plane first; then the nodes without a cluster."""
    groups = [Group(one["name"], one["description"], survives(nodes, one["name"])) for one in clusters]
    room = MOST_NODES
    for group in [*groups, Group("")]:
        found = sorted(
            (one for one in nodes if one["cluster"] == group.name), key=lambda one: (one["worker"], one["name"])
        )
        group.warning = even(nodes, group.name) if group.name else ""
        group.members = [member(one, reports.get(one["name"]), now) for one in found[:room]]
        group.left_out = len(found) - len(group.members)
        room -= len(group.members)
        if found and not group.name:
            groups.append(group)
    return groups


def survives(nodes: list[Body], cluster: str) -> str:
    """What a cluster of these nodes withstands, once all of them have joined."""
    count = sum(1 for one in nodes if one["cluster"] == cluster and not one["worker"])
    if not count:
        return "No control-plane node is registered."
    if count < VOTERS:
        return f"{VOTERS} control-plane nodes would survive the loss of one; {count} will not."
    return "Survives the loss of one control-plane node at a time."


def member(node: Body, known: Known | None, now: float) -> Member:
    where = node["address"] if node["address"] != node["name"] else ""
    if known is None:
        return Member(node["name"], where, node["worker"], "pending", "no hardware report")
    age = f"read {span(max(0.0, now - known.report.time))} ago"
    count = len(known.alerts)
    alerts = f"{count} {'alert' if count == 1 else 'alerts'}" if count else "no alerts"
    health = {"critical": "failed", "warning": "interrupted"}.get(history.worst(known), "ok")
    return Member(node["name"], where, node["worker"], health, f"{alerts}, {age}", hardware.address(node["name"]))
