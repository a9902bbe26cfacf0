# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry as a server offers it: what ``Registry`` and ``fleet.service.Fleet`` can do, asked for over REST."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict

from ..fleet.members import Drawn
from ..jobs.model import Job
from ..jobs.service import Order
from .client import Client, quoted
from .service import Remote, job_of

Body = dict[str, Any]
#: What a cluster's document has beside its record.
TOLD = ("nodes", "warning", "scanned", "seen")


class RemoteRegistry:
    """Of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def nodes(self) -> list[Body]:
        return list(self._client.get("/nodes")["items"])

    def clusters(self) -> list[Body]:
        return [record(one) for one in self._client.get("/clusters")["items"]]

    def node(self, name: str) -> Body:
        return dict(self._client.get(f"/nodes/{quoted(name)}"))

    def cluster(self, name: str) -> Body:
        return record(self.document(name))

    def document(self, name: str) -> Body:
        """A cluster with its members as the last scan has found them."""
        return dict(self._client.get(f"/clusters/{quoted(name)}"))

    def add_node(self, given: Mapping[str, Any]) -> Body:
        return dict(self._client.send("POST", "/nodes", dict(given)))

    def add_cluster(self, given: Mapping[str, Any]) -> Body:
        return record(self._client.send("POST", "/clusters", dict(given)))

    def change_node(self, name: str, given: Mapping[str, Any], *, member: bool = False) -> Body:
        return dict(self._client.send("PATCH", f"/nodes/{quoted(name)}{_query(member)}", dict(given)))

    def change_cluster(self, name: str, given: Mapping[str, Any]) -> Body:
        return record(self._client.send("PATCH", f"/clusters/{quoted(name)}", dict(given)))

    def remove_node(self, name: str, *, member: bool = False) -> Body:
        found = self.node(name)
        self._client.send("DELETE", f"/nodes/{quoted(name)}{_query(member)}")
        return found

    def remove_cluster(self, name: str) -> Body:
        found = self.cluster(name)
        self._client.send("DELETE", f"/clusters/{quoted(name)}")
        return found

    def last_seen(self, name: str) -> tuple[float, list[Drawn]]:
        """When a cluster was scanned last, and its members as they were found."""
        found = self.document(name)
        return float(found["scanned"]), [Drawn(**one) for one in found["seen"]]


class RemoteFleet:
    """What is done to clusters, of one server."""

    def __init__(self, remote: Remote) -> None:
        self.jobs = remote
        self.registry = RemoteRegistry(remote.client)

    def group(self, name: str) -> str:
        """The server knows the group. Raises Conflict where the cluster has no nodes."""
        if not self.registry.document(name)["nodes"]:
            raise Conflict("has no nodes", where=name, hint=f"rackstead node add --cluster {name} enters one")
        return name

    def drawn(self, name: str) -> list[Drawn]:
        return self.registry.last_seen(name)[1]

    def act(self, name: str, verb: str, variables: Mapping[str, Any], *, check: bool = False) -> Job:
        body = {"action": verb, "variables": dict(variables), "check_mode": check}
        return job_of(self.jobs.client.send("POST", f"/clusters/{quoted(name)}/actions", body))

    def submitting(self, name: str, verb: str) -> Callable[[Remote, Order], Job]:
        """How an order becomes a job."""
        return lambda _remote, order: self.act(name, verb, order.variables, check=order.check)


def record(document: Mapping[str, Any]) -> Body:
    return {name: value for name, value in document.items() if name not in TOLD}


def _query(member: bool) -> str:
    return "?member=true" if member else ""
