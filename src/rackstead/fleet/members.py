# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's members as they are drawn, and what its last scan says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Body = Mapping[str, Any]
VOTER, STANDBY, SPARE, WORKER = "voter", "standby", "spare", "worker"
#: Of a control-plane node of which no scan knows what it is in the datastore.
CONTROL = "control plane"
#: Every role has a shape of its own in the drawing, in the order in which members stand there.
SHAPES = {VOTER: "circle", STANDBY: "diamond", SPARE: "triangle", CONTROL: "hexagon", WORKER: "square"}
UNKNOWN = "not scanned"
UNREACHABLE = "unreachable"
#: What a member is said to be, and the word of the style sheet for it.
TONES = {"ready": "ok", "runs": "ok", UNKNOWN: "pending", "takes no pods": "interrupted"}
MODULE = "rackstead.infra.microk8s_info"
WEIGHT = {"critical": 0, "warning": 1, "notice": 2}


@dataclass(frozen=True)
class Drawn:
    """A member: its role decides about the shape, what is said about it about the line and the cross."""

    name: str
    role: str
    said: str = UNKNOWN
    address: str = ""

    @property
    def shape(self) -> str:
        return SHAPES[self.role]

    @property
    def tone(self) -> str:
        return TONES.get(self.said, "failed")

    @property
    def crossed(self) -> bool:
        return self.tone == "failed"


@dataclass(frozen=True)
class Scan:
    """What the tasks of a scan returned: by host what is known there, the hosts out of reach, and the findings."""

    hosts: dict[str, Body] = field(default_factory=dict)
    away: frozenset[str] = frozenset()
    findings: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def view(self) -> Body:
        """What the machine says that knows most of the cluster: one that has a quorum, else one with members."""

        def knows(one: Body) -> tuple[bool, int, int]:
            store = store_of(one)
            return bool(store.get("quorum")), len(one.get("nodes") or ()), len(store.get("members") or ())

        return max(self.hosts.values(), key=knows, default={})


def store_of(known: Body) -> Body:
    found: Body = known.get("datastore") or {}
    return found


def scanned(answer: Body) -> Scan:
    """A scan out of what a job has left of its tasks' results."""
    found = [one for one in answer.get("results") or () if one.get("action") == MODULE]
    good = [one for one in found if one["status"] == "ok" and "microk8s" in one["result"]]
    told = {
        (one["severity"], one["what"], one["todo"]): None for each in good for one in each["result"].get("findings", ())
    }
    return Scan(
        {one["host"]: one["result"]["microk8s"] for one in good},
        frozenset(one["host"] for one in found if one["status"] == "unreachable"),
        sorted(told, key=lambda one: WEIGHT.get(one[0], len(WEIGHT))),
    )


def drawn(nodes: Iterable[Body], scan: Scan) -> list[Drawn]:
    """The registered nodes of a cluster as the scan found them, voters first."""
    view = scan.view
    roles = {one["name"]: one for one in store_of(view).get("members") or ()}
    known = {one["name"]: one for one in view.get("nodes") or ()}
    made = []
    for node in nodes:
        own = scan.hosts.get(node["name"], {})
        name = own.get("name") or node["name"]
        role = WORKER if node["worker"] else str(roles.get(name, {}).get("role", CONTROL))
        said = _said(node["name"], own, known.get(name), roles.get(name), scan)
        address = node["address"] if node["address"] != node["name"] else ""
        made.append(Drawn(node["name"], role if role in SHAPES else CONTROL, said, address))
    order = list(SHAPES)
    return sorted(made, key=lambda one: (order.index(one.role), one.name))


def _said(host: str, own: Body, node: Body | None, member: Body | None, scan: Scan) -> str:
    """One or few words about a member, the worst that is known."""
    if host in scan.away:
        return UNREACHABLE
    if own.get("place") in ("absent", "stopped", "unresponsive"):
        return {"absent": "MicroK8s is not installed", "stopped": "stopped"}.get(own["place"], "does not answer")
    if member is not None and member.get("up") is False:
        return "down"
    if node is not None and not node.get("ready"):
        return "not ready"
    if node is not None:
        return "ready" if node.get("schedulable", True) else "takes no pods"
    return "runs" if own else UNKNOWN


def summary(found: Sequence[Drawn]) -> str:
    """The drawing in a sentence, for those who do not see it."""
    counts = {role: sum(1 for one in found if one.role == role) for role in SHAPES}
    words = [_count(number, role) for role, number in counts.items() if number]
    bad = [f"{one.name} {_verb(one.said)}" for one in found if one.crossed]
    return f"{', '.join(words) or 'no members'}{'; ' if bad else ''}{', '.join(bad)}."


def _count(number: int, role: str) -> str:
    if role == CONTROL:
        return f"{number} of the control plane"
    return f"{number} {role}{'s' if number != 1 else ''}"


def _verb(said: str) -> str:
    return said if said.startswith("does ") else f"is {said.removeprefix('MicroK8s is ')}"
