# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with nodes and clusters: the one layer below the command line, REST and the web page.

Each action on a cluster is a job of the playbook that does it, with the registry as it is then as the inventory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry, even
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from ..jobs.model import Job
from ..jobs.service import Order, Service
from ..run import TaskResult
from .actions import Action, action
from .hosts import ALL, group_of, inventory_of

#: Records of clusters' last scans.
SCAN = "cluster-scan"
SCANS = "scan"
#: What such a record has of each node, in the order of Member's fields.
SEEN = ("place", "version", "part", "findings")
#: Jobs that are looked through for those of a cluster.
MOST = 500
Body = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A node of a cluster, and what the last scan has found of it; ``place`` is empty where there was none.

    Places are those of ``microk8s_info``: absent, stopped, worker, single, control-plane, unresponsive; and
    unreachable.
    """

    node: Body
    place: str = ""
    version: str = ""
    #: of a member of the datastore: voter, standby or spare
    part: str = ""
    #: severity (critical, warning, notice), what, todo
    findings: Sequence[Body] = ()


@dataclass(frozen=True)
class Cluster:
    """A cluster as it is registered, with its members as they were last seen."""

    record: Body
    members: list[Member] = field(default_factory=list)
    warning: str = ""
    #: when it was scanned last, in seconds since the epoch, or 0
    scanned: float = 0.0
    #: of the last scan: ``quorum``, ``spared`` (voters that may be lost), ``bytes``; empty where nobody could tell
    datastore: Body = field(default_factory=dict)
    #: days until the first certificate runs out, where it is known
    certificate_days: int | None = None

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def nodes(self) -> list[Body]:
        return [one.node for one in self.members]


class Fleet:
    """Over the jobs of one state store."""

    def __init__(self, jobs: Service, who: str = "", origin: str = "") -> None:
        self.jobs = jobs
        self.who = who
        self.origin = origin
        self.registry = Registry(jobs.store, who)

    # -- looking -----------------------------------------------------------------------------------
    def clusters(self) -> list[Cluster]:
        return look(self.registry)

    def cluster(self, name: str) -> Cluster:
        """By its name or its id. Raises NotFound."""
        wanted = self.registry.cluster(name)["name"]
        return next(one for one in self.clusters() if one.name == wanted)

    def operations(self, cluster: str, limit: int = 20) -> list[Job]:
        """The last jobs that were for a cluster, the newest first."""
        found = self.jobs.jobs(limit=MOST)
        target = target_of(self.group(cluster)) if self.cluster(cluster).members else ""
        return [job for job in found if target in job.target][:limit] if target else []

    def group(self, name: str) -> str:
        """The cluster's group in the inventory. Raises NotFound, and Conflict where it has no nodes."""
        registry = self.registry
        return group_of(registry.nodes(), registry.clusters(), registry.cluster(name)["name"])

    def hosts(self, *, become: bool = False) -> Body:
        """All nodes as groups of an inventory; with ``become`` each becomes root, whatever its record says."""
        found = inventory_of(self.registry)
        if become:
            found[ALL]["vars"] = {"ansible_become": True}
        return found

    # -- doing -------------------------------------------------------------------------------------
    def order(self, cluster: str, what: Action, variables: Mapping[str, Any], *, check: bool = False) -> Order:
        """The job's order; ``variables`` are further ones of the workflow."""
        whole = {**what.variables, **variables, "rackstead_host": self.group(cluster)}
        return Order(what.workflow, whole, check, check, registry=True)

    def act(self, cluster: str, name: str, variables: Mapping[str, Any] | None = None, *, check: bool = False) -> Job:
        """Queue a job. Raises NotFound, Conflict where the cluster has no nodes, and InvalidInput."""
        return self.jobs.submit(self.order(cluster, action(name), variables or {}, check=check), self.who, self.origin)

    def scanned(self, job: Job) -> None:
        """Keep what a job has found, where it was a scan of the registry's nodes that came to its end."""
        if job.workflow != SCANS or not job.registry or not job.state.final:
            return
        try:
            results = json.loads(self.jobs.answer(job))["results"]
        except FileNotFoundError:
            return  # it was ended early
        keep_scan(self.registry, [TaskResult(**one) for one in results])


def target_of(group: str) -> str:
    """What a job for a cluster holds, as the playbooks' declarations name it."""
    return f"cluster {group}"


def look(registry: Registry) -> list[Cluster]:
    """All clusters with their members, the control plane first."""
    nodes = registry.nodes()
    scans = {one.key: one.body for one in registry.store.list(SCAN, Query(limit=MOST))}
    return [whole(one, nodes, scans.get(one["name"], {})) for one in registry.clusters()]


def whole(record: Body, nodes: Sequence[Body], scan: Mapping[str, Any]) -> Cluster:
    """A cluster from its record, all nodes, and what its last scan has left."""
    seen = {one["node"]: one for one in scan.get("nodes", ())}
    own = sorted((one for one in nodes if one["cluster"] == record["name"]), key=lambda one: bool(one["worker"]))
    members = [_member(node, seen.get(node["name"])) for node in own]
    told = {name: scan[name] for name in ("datastore", "certificate_days") if name in scan}
    return Cluster(record, members, even(list(nodes), record["name"]), float(scan.get("time", 0.0)), **told)


def _member(node: Body, seen: Mapping[str, Any] | None) -> Member:
    return Member(node, *(seen[name] for name in SEEN)) if seen else Member(node)


# -- scans -----------------------------------------------------------------------------------------
def keep_scan(registry: Registry, results: Sequence[TaskResult]) -> None:
    """Remember what a scan's tasks have returned, with each cluster that was looked at."""
    looked = [one for one in results if one.action.endswith(".microk8s_info") and one.status != "failed"]
    of = {one["name"]: one["cluster"] for one in registry.nodes()}
    for name in {of[one.host] for one in looked if of.get(one.host)}:
        body = digest_of([one for one in looked if of.get(one.host) == name])

        def work(change: Change, name: str = name, body: Body = body) -> None:
            change.put(SCAN, name, {"time": change.now(), **body})

        registry.store.change(work)


def digest_of(looked: Sequence[TaskResult]) -> Body:
    """What is kept of a scan of one cluster."""
    known = {one.host: one.result["microk8s"] for one in looked if one.status == "ok"}
    datastore: Body = next((one["datastore"] for one in known.values() if one["datastore"].get("members")), {})
    parts = {one["name"]: one["role"] for one in datastore.get("members", ())}
    days = [one["days"] for all_of in known.values() for one in all_of["certificates"]]
    return {
        "nodes": [_seen(one, parts) for one in sorted(looked, key=lambda one: one.host)],
        "datastore": {name: datastore[name] for name in ("quorum", "spared", "bytes") if name in datastore},
        "certificate_days": min(days, default=None),
    }


def _seen(one: TaskResult, parts: Mapping[str, str]) -> Body:
    if one.status != "ok":
        return {"node": one.host, "place": "unreachable", "version": "", "part": "", "findings": []}
    known = one.result["microk8s"]
    return {
        "node": one.host,
        "place": known["place"],
        "version": known["version"],
        "part": parts.get(known["name"], ""),
        "findings": [dict(found) for found in one.result["findings"]],
    }
