# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scan finds: everything about one machine that can be had, and what to do about what is not well."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..common.errors import RacksteadError
from . import objects, pods, quorum
from .client import MicroK8s
from .membership import ABSENT, CONTROL, SINGLE, STOPPED, WORKER, datastore, look
from .model import Certificate, DatastoreMember, Node
from .node import shown
from .quorum import Datastore

#: It answered nothing in time, or nothing that can be read.
UNRESPONSIVE = "unresponsive"
#: Days that a certificate has to be good for yet.
FEW_DAYS = 30
#: Any address outside: nothing is sent to it, the kernel only says which address it would be sent from.
ELSEWHERE = ("192.0.2.1", 9)
SEVERITIES = ("critical", "warning", "notice")


@dataclass(frozen=True)
class Finding:
    """Something that is not well, and what to do."""

    severity: str
    what: str
    todo: str


def gather(client: MicroK8s, address: str = "", name: str = "", workloads: bool = False) -> dict[str, Any]:
    """All that is known here. What cannot be had is empty, and ``problem`` says why.

    ``name`` is that of the machine's node, if it is not the machine's own. With ``workloads``, pods that are not well and
    claims of storage are asked for, too.
    """
    snap = client.installed()
    found: dict[str, Any] = {
        "name": name or client.hostname,
        "address": address or own_address(),
        "machine_id": machine_id(),
        "installed": snap is not None,
        "version": snap.version if snap else "",
        "revision": snap.revision if snap else "",
        "channel": snap.channel if snap else "",
        "problem": "",
        "certificates": [],
        "pods": None,
        "claims": None,
    }
    members: tuple[DatastoreMember, ...] = ()
    nodes: tuple[Node, ...] = ()
    try:
        place = look(client) if snap else None
        found["place"] = place.kind if place else ABSENT
        if place and place.status:
            members, nodes = place.status.members, place.nodes
            found |= {"running": place.status.running, "addons": [asdict(one) for one in place.status.addons]}
    except RacksteadError as error:
        found |= {"place": UNRESPONSIVE, "problem": str(error)}
        members = client.members()
    if found["place"] in (CONTROL, SINGLE):
        found["certificates"] = [asdict(one) for one in _certificates(client, found)]
        if workloads and nodes:
            _workloads(client, found)
    cluster = _cluster(found["place"], members, nodes)
    cluster["datastore"]["bytes"] = backend_bytes(client)
    return {"running": found["place"] == WORKER, "addons": [], **found, **cluster}


def backend_bytes(client: MicroK8s) -> int | None:
    """What the datastore takes on this machine's disk. None where it keeps none, or where its folder cannot be read."""
    total = 0
    try:
        with os.scandir(client.data / "var/kubernetes/backend") as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # dqlite removes its segments when it likes
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return None
    return total


def _workloads(client: MicroK8s, found: dict[str, Any]) -> None:
    try:
        found["pods"] = pods.unwell(objects.listed(client, "pods"))
        found["claims"] = pods.claims(objects.listed(client, "persistentvolumeclaims"))
    except RacksteadError as error:
        found["problem"] = str(error)


def _certificates(client: MicroK8s, found: dict[str, Any]) -> tuple[Certificate, ...]:
    try:
        return client.certificates()
    except RacksteadError as error:
        found["problem"] = str(error)
        return ()


def _cluster(place: str, members: tuple[DatastoreMember, ...], nodes: tuple[Node, ...]) -> dict[str, Any]:
    store = datastore(members, nodes)
    return {
        "clustered": place in (CONTROL, WORKER),
        "nodes": [shown(node) for node in nodes],
        "datastore": {
            "members": [{"name": m.name, "role": m.role, "up": m.up} for m in store.members],
            # Where the API does not answer, nobody here knows who is up.
            "quorum": store.quorate if nodes else None,
            "spared": store.spared if nodes else None,
        },
    }


def own_address() -> str:
    """The address from which this machine goes out."""
    return _quietly(_route_out)


def machine_id() -> str:
    """What tells this machine from another of the same name."""
    return _quietly(lambda: Path("/etc/machine-id").read_text().strip())


def _route_out() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE)
        return str(probe.getsockname()[0])


def _quietly(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except OSError:
        return ""


def findings(found: dict[str, Any]) -> list[Finding]:
    """What is not well, the worst first."""
    listed = [*_of_machine(found), *_of_datastore(found), *_of_nodes(found), *_of_certificates(found)]
    listed += [Finding(*line) for line in pods.lines(found)]
    return sorted(listed, key=lambda one: SEVERITIES.index(one.severity))


def _of_machine(found: dict[str, Any]) -> list[Finding]:
    name = found["name"]
    if found["place"] == ABSENT:
        return [Finding("notice", f"{name}: MicroK8s is not installed", "add_node installs it")]
    if found["place"] == STOPPED:
        return [Finding("critical", f"{name}: MicroK8s is stopped", "snap start microk8s")]
    if found["place"] == UNRESPONSIVE:
        return [Finding("critical", f"{name}: {found['problem']}", "microk8s inspect; journalctl -u 'snap.microk8s.*'")]
    if not found["running"]:
        return [Finding("critical", f"{name}: the services do not run", "microk8s inspect")]
    return [Finding("warning", f"{name}: {found['problem']}", "microk8s inspect")] if found["problem"] else []


def _of_datastore(found: dict[str, Any]) -> list[Finding]:
    store = found["datastore"]
    if not store["members"] or store["quorum"] is None:
        return []
    members = Datastore.of(quorum.Member(m["name"], m["role"], m["up"]) for m in store["members"])
    down = [member.name for member in members.members if not member.up]
    listed = []
    if not members.quorate:
        listed.append(Finding("critical", f"the datastore has no quorum: {members}", f"start {', '.join(down)}"))
    elif down:
        todo = "start it, or remove it with remove_node if it never comes back"
        listed.append(Finding("warning", f"members of the datastore are down: {', '.join(down)}", todo))
    if members.quorate and len(members.members) > 2 and not members.spared:
        listed.append(
            Finding("warning", f"one more voter down stops the cluster: {members}", "bring voters back, or add")
        )
    listed += [Finding("notice", line, "add a control-plane node") for line in quorum.warnings(members)]
    return listed


def _of_nodes(found: dict[str, Any]) -> list[Finding]:
    listed = []
    for node in found["nodes"]:
        if not node["ready"]:
            listed.append(Finding("warning", f"node {node['name']} is not ready", f"scan {node['name']}"))
        elif not node["schedulable"]:
            listed.append(Finding("notice", f"node {node['name']} is cordoned", f"kubectl uncordon {node['name']}"))
    versions = {node["version"] for node in found["nodes"] if node["version"]}
    if len(versions) > 1:
        listed.append(Finding("notice", f"nodes run different versions: {', '.join(sorted(versions))}", "upgrade"))
    return listed


def _of_certificates(found: dict[str, Any]) -> list[Finding]:
    listed = []
    for one in found["certificates"]:
        if one["days"] <= FEW_DAYS:
            severity = "critical" if one["days"] <= 0 else "warning"
            what = f"{found['name']}: {one['name']} is good for {one['days']} days"
            listed.append(Finding(severity, what, f"microk8s refresh-certs --cert {one['name']}"))
    return listed
