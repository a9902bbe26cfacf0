# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the cluster: nodes by their exact name, members of the datastore by the nodes' addresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..common.errors import NotFound
from .client import MicroK8s
from .model import DatastoreMember, Node, NotRunning, OnWorker, Status
from .quorum import Datastore, Member

ABSENT, STOPPED, WORKER, SINGLE, CONTROL = "absent", "stopped", "worker", "single", "control-plane"


@dataclass(frozen=True)
class Place:
    """What this machine is: ABSENT (MicroK8s is not installed), STOPPED, WORKER, SINGLE (in no cluster), or CONTROL.

    The rest is known where it is SINGLE or CONTROL.
    """

    kind: str
    status: Status | None = None
    nodes: tuple[Node, ...] = ()

    @property
    def clustered(self) -> bool:
        return self.kind in (WORKER, CONTROL)

    def node(self, name: str) -> Node | None:
        """The node of exactly this name: ``node1`` is not ``node10``."""
        return next((node for node in self.nodes if node.name == name), None)

    @property
    def datastore(self) -> Datastore:
        return datastore(self.status.members if self.status else (), self.nodes)


def datastore(members: Iterable[DatastoreMember], nodes: Iterable[Node]) -> Datastore:
    """The members under their nodes' names. One whose node is unknown or not ready counts as down."""
    by_address = {address: node for node in nodes for address in node.addresses}
    found = []
    for member in members:
        node = by_address.get(member.host)
        found.append(Member(node.name if node else member.address, member.role, bool(node and node.ready)))
    return Datastore.of(found)


def look(client: MicroK8s) -> Place:
    """What this machine is. Raises Unreachable where it is of the control plane and the API does not answer."""
    try:
        status = client.status()
        nodes = client.nodes() if status.running else ()
    except NotFound:
        return Place(ABSENT)
    except OnWorker:
        return Place(WORKER)
    except NotRunning:
        return Place(STOPPED)
    together = len(status.members) > 1 or len(nodes) > 1
    return Place(CONTROL if together else SINGLE, status, nodes)
