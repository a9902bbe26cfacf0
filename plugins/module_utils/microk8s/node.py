# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a cluster: join, leave, are removed, drained, and let back in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    OperationFailed,
    Unreachable,
)
from ..common.known import known
from ..common.problems import nearest
from ..common.show import diff_of
from . import evict, quorum
from .client import MicroK8s
from .evict import Emptying, Held, Pod
from .membership import ABSENT, CONTROL, SINGLE, STOPPED, WORKER, Place, look
from .model import Node
from .parse import CORDONED_BY
from .quorum import Datastore, QuorumLost, Step

BY = "rackstead"


def ensure_present(client: MicroK8s, name: str, seconds: float, check: bool = False) -> dict[str, Any]:
    """The cluster has a node of exactly this name, and it is ready. Changes nothing: it waits. Raises NotFound."""
    if check:
        node = client.node(name)
    else:
        try:
            node = client.wait_node(name, seconds)
        except DeadlineExceeded as error:
            names = [one.name for one in client.nodes()]
            if name in names:
                raise
            raise NotFound(f'the cluster has no node "{name}"{nearest(name, names)}', hint=str(error)) from error
    return {"changed": False, "node": shown(node) if node else None, "diff": diff_of({}, {}, f"node {name}")}


def ensure_joined(client: MicroK8s, connection: str, worker: bool, seconds: float, check: bool) -> dict[str, Any]:
    """This machine is in a cluster. One that is in one already stays there, whichever it is."""
    place = look(client)
    wanted = WORKER if worker else CONTROL
    if place.kind in (ABSENT, STOPPED) and not check:
        raise Conflict(f"MicroK8s is {place.kind} on this machine, and cannot join", hint="install and start it first")
    if place.clustered and place.kind != wanted:
        raise Conflict(f"this machine is in a cluster as {place.kind}, not {wanted}", hint="have it leave first")
    if not place.clustered and not check:
        _join(client, connection, worker, seconds)
    shown_diff = diff_of({"place": place.kind}, {"place": wanted}, client.hostname)
    return {"changed": not place.clustered, "place": wanted, "before": place.kind, "diff": shown_diff}


def _join(client: MicroK8s, connection: str, worker: bool, seconds: float) -> None:
    if not connection:
        raise InvalidInput(["connection: is missing; allowed: what microk8s_token returns on the control plane"])
    try:
        client.join(connection, worker)
    except OperationFailed:
        # Somebody may have killed an earlier run after the join was through.
        if not look(client).clustered:
            raise
    _wait_in(client, seconds)


def _wait_in(client: MicroK8s, seconds: float) -> None:
    """The services start anew after a join, and need a while to know where they are."""

    def clustered() -> bool | None:
        try:
            return look(client).clustered or None
        except (Unreachable, OperationFailed):
            return None

    wait_until(clustered, Deadline(seconds), what="this machine to be in the cluster", first=0.2)


def ensure_left(client: MicroK8s, force: bool, seconds: float, check: bool) -> dict[str, Any]:
    """This machine is in no cluster. Run on the machine itself. Raises QuorumLost."""
    place = look(client)
    warned: list[str] = []
    if place.kind == STOPPED:
        raise Conflict("MicroK8s is stopped on this machine, and cannot leave", hint="start it first")
    if place.kind == CONTROL:
        warned = _leaving(place, client.hostname, force)
    if place.clustered and not check:
        client.leave()
        client.wait_ready(seconds)
    after = SINGLE if place.clustered else place.kind
    return {
        "changed": place.clustered,
        "place": after,
        "before": place.kind,
        "warnings": warned,
        "diff": diff_of({"place": place.kind}, {"place": after}, client.hostname),
    }


def _leaving(place: Place, name: str, force: bool) -> list[str]:
    store = place.datastore
    if store.find(name) is None:
        raise Conflict(
            f"this machine, {name}, is not among the datastore's members: {store}", hint="see microk8s status"
        )
    return quorum.demand(store, [Step("leave", name)], force)


def ensure_absent(
    client: MicroK8s, name: str, gone: bool, force: bool, check: bool, seconds: float = 60.0
) -> dict[str, Any]:
    """The cluster has no node, and no datastore member, of exactly this name. Run on another node.

    ``gone`` says that the machine will not come back: then its member is struck out without its doing.
    A node that has left is taken for ready a while longer, for which it is waited so many seconds.
    """
    place = _control(client)
    node, store = place.node(name), place.datastore
    member = store.find(name)
    warned: list[str] = []
    if node:
        _removable(client, node, bool(member), gone, force)
        warned = quorum.demand(store, [Step("remove", name)], force) if member else _writable(store)
    if node and not check:
        if node.ready and not force:
            _wait_down(client, name, seconds)
        client.remove(name, force=gone)
        if client.node(name) is not None:
            raise OperationFailed(f"microk8s remove-node {name} said it was done, and the node is still there")
    before = {"node": shown(node), "datastore": member.role if member else "no member"} if node else None
    return {
        "changed": node is not None,
        "before": before,
        "warnings": warned,
        "diff": diff_of(before, None, f"node {name}"),
    }


def _removable(client: MicroK8s, node: Node, member: bool, gone: bool, force: bool) -> None:
    if node.name == client.hostname:
        raise Conflict(f"{node.name} is this machine", hint="ask another node of the control plane, or use state left")
    if member and node.ready and not force:
        raise Conflict(f"node {node.name} is up", hint="have it leave first (state left on the machine itself)")
    if member and not gone:
        raise Conflict(
            f"node {node.name} is a member of the datastore",
            hint="have it leave first, or, if the machine never comes back, say gone: true",
        )


def _wait_down(client: MicroK8s, name: str, seconds: float) -> None:
    """Raises Conflict where the node stays up: it has not left."""

    def down() -> bool | None:
        node = client.node(name)
        return node is None or not node.ready or None

    try:
        wait_until(down, Deadline(seconds), what=f"node {name} to be down", first=0.2)
    except DeadlineExceeded as error:
        hint = "have it leave first (state left on the machine itself)"
        raise Conflict(f"node {name} is up, and has been for {seconds:g} s", hint=hint) from error


def _control(client: MicroK8s) -> Place:
    place = look(client)
    if place.status is None:
        raise Conflict(f"MicroK8s is {place.kind} on this machine", hint="ask a node of the control plane that runs")
    if not place.status.running:
        raise Unreachable("the control plane does not run on this machine", hint="see microk8s inspect")
    return place


def _writable(store: Datastore) -> list[str]:
    """Even what concerns a worker has to be written down."""
    if not store.quorate:
        raise QuorumLost(f"the datastore has no quorum: {store}", hint="start members that are down")
    return []


def ensure_token(
    client: MicroK8s, name: str, worker: bool, alone: bool, ttl: int, force: bool, check: bool
) -> dict[str, Any]:
    """A way to join for the machine of this name, if it needs one; it is good for ``ttl`` seconds.

    ``alone`` is what the machine says of itself. If the cluster still has a node of its name then, that is ``stale``.
    """
    place = _control(client)
    node = place.node(name)
    if node and not alone and node.worker != worker:
        raise Conflict(
            f"node {name} is a {'worker' if node.worker else 'control-plane node'}", hint="it must leave first"
        )
    if node and alone and node.ready:
        raise Conflict(f"another machine is node {name} of this cluster, and ready", hint="give each its own host name")
    warned: list[str] = []
    if node is None:
        warned = _writable(place.datastore) if worker else quorum.demand(place.datastore, [Step("join", name)], force)
    needed = node is None
    connection = client.token(ttl) if needed and not check else ""
    return {
        "changed": needed,
        "needed": needed,
        "stale": bool(node and alone),
        "connection": connection,
        "warnings": warned,
        "diff": diff_of({}, {"token": "minted"} if needed else {}, f"a way to join for {name}"),
    }


def ensure_drained(
    client: MicroK8s, name: str, seconds: float, force: bool, check: bool, delete_emptydir: bool = True
) -> dict[str, Any]:
    """The node takes no new pods and has lost those it had; it may go down. Raises QuorumLost if it may not."""
    place = _control(client)
    node = _there(place, name)
    store = place.datastore
    warned = quorum.demand(store, [Step("stop", name)], force) if store.find(name) else _writable(store)
    going = evict.to_go(client, [name])
    if not delete_emptydir and (kept := evict.keeping(going)):
        raise Conflict(f"node {name} is not drained: {evict.line(kept)}", hint="delete_emptydir: true lets them go")
    # A cordon that somebody else laid is somebody else's to take away.
    cordon = node.schedulable
    pods = [one for one in going if not one.leaving]
    if not check:
        if cordon:
            _cordon(client, name)
        pods = _drained(client, name, seconds, delete_emptydir)
    before, after = {"schedulable": cordon}, {"schedulable": False}
    return {
        "changed": cordon or bool(pods),
        "evicted": _names(pods),
        "warnings": warned + evict.alone(pods),
        "diff": diff_of(before, after, f"node {name}"),
    }


def _drained(client: MicroK8s, name: str, seconds: float, delete_emptydir: bool) -> list[Pod]:
    """The pods that had to go. Raises OperationFailed where one could not."""
    emptying = Emptying(client, [name], delete_emptydir)
    emptying.over(seconds)
    told = _in_the_way(emptying, emptying.left(), seconds)
    if told:
        hint = "the node stays cordoned; see to what is in the way and run it again"
        raise OperationFailed(told[name], hint=hint)
    return list(emptying.evicted.values())


def _in_the_way(emptying: Emptying, left: Mapping[str, Sequence[Held]], seconds: float) -> dict[str, str]:
    """By node, what kept it from being emptied."""
    lines = {name: evict.line(held) for name, held in left.items()}
    if emptying.trouble:
        lines = {name: lines.get(name, emptying.trouble) for name in emptying.nodes}
    return {name: f"node {name} could not be drained within {seconds:g} s: {line}" for name, line in lines.items()}


def _names(pods: Iterable[Pod]) -> list[str]:
    return sorted(f"{one.namespace}/{one.name}" for one in pods)


def _cordon(client: MicroK8s, name: str) -> None:
    """Who lays a cordon says so before: else nobody would know who may take it away."""
    client.kubectl("annotate", "node", name, f"{CORDONED_BY}={BY}", "--overwrite")
    client.kubectl("cordon", name)


def ensure_emptied(
    client: MicroK8s, names: Sequence[str], seconds: float, check: bool, delete_emptydir: bool = True
) -> dict[str, Any]:
    """These nodes take no new pods, and lose those they have, all at once, as far as ``seconds`` go.

    It is for a shutdown of all of them. So the quorum is not looked at, and what is in the way is told, not raised.
    """
    place = _control(client)
    nodes = [_there(place, name) for name in names]
    cordoned = [node.name for node in nodes if node.schedulable]
    emptying = Emptying(client, names, delete_emptydir)
    if check:
        pods = emptying.asked()
        left = evict.by_node(emptying.kept)
    else:
        for name in cordoned:
            _cordon(client, name)
        emptying.over(seconds)
        pods, left = list(emptying.evicted.values()), emptying.left()
    told = {name: f"{what}; the node stays cordoned" for name, what in _in_the_way(emptying, left, seconds).items()}
    before = {node.name: node.schedulable for node in nodes}
    return {
        "changed": bool(cordoned) or bool(pods),
        "evicted": _names(pods),
        "left": told,
        "blocked": [one.row for held in left.values() for one in held],
        "warnings": [*told.values(), *evict.alone(pods)],
        "diff": diff_of(before, dict.fromkeys(before, False), "schedulable nodes"),
    }


def ensure_released(client: MicroK8s, names: Sequence[str], check: bool) -> dict[str, Any]:
    """These nodes take pods again, those of them that this collection has cordoned."""
    place = _control(client)
    ours = [node for node in (_there(place, name) for name in names) if node.cordoned_by == BY]
    for node in ours:
        ensure_uncordoned(client, node.name, check)
    before = {node.name: node.schedulable for node in ours}
    lifted = not all(before.values())
    return {"changed": lifted, "diff": diff_of(before, dict.fromkeys(before, True), "schedulable nodes")}


def ensure_uncordoned(client: MicroK8s, name: str, check: bool) -> dict[str, Any]:
    """The node takes pods again, if it was this collection that cordoned it."""
    node = _there(_control(client), name)
    ours = node.cordoned_by == BY
    if ours and not check:
        if not node.schedulable:
            client.kubectl("uncordon", name)
        client.kubectl("annotate", "node", name, f"{CORDONED_BY}-")
    lifted = ours and not node.schedulable
    before, after = {"schedulable": node.schedulable}, {"schedulable": node.schedulable or ours}
    warned = [] if node.schedulable or ours else [f"node {name} stays cordoned: somebody else did that"]
    return {"changed": lifted, "warnings": warned, "diff": diff_of(before, after, f"node {name}")}


def _there(place: Place, name: str) -> Node:
    node = place.node(name)
    if node is None:
        names = [one.name for one in place.nodes]
        raise NotFound(f'the cluster has no node "{name}"{nearest(name, names)}', hint=f"it has {', '.join(names)}")
    return known(node)


def shown(node: Node) -> dict[str, Any]:
    """A node in a module's result."""
    return {
        "name": node.name,
        "ready": node.ready,
        "worker": node.worker,
        "addresses": list(node.addresses),
        "schedulable": node.schedulable,
        "version": node.version,
    }
