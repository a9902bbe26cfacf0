# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with nodes and clusters: the one layer below the command line, REST and the web page.

Each action on a cluster is a job of the playbook that does it, with the registry as it is then as the inventory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry
from ansible_collections.rackstead.infra.plugins.module_utils.registry.inventory import group_name
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from ..jobs.model import Job
from ..jobs.service import Order, Service
from ..run import TaskResult
from .actions import Action, action
from .hosts import ALL, group_of, inventory_of
from .members import MODULE, Drawn, Scan, drawn, scanned

#: Records of clusters' last scans, and the workflow that makes them.
SCAN, SCANS = "cluster-scan", "scan"
#: Jobs that are looked through for those of a cluster.
RECENT = 300
Body = dict[str, Any]


class Fleet:
    """Over the jobs of one state store."""

    def __init__(self, jobs: Service, who: str = "", origin: str = "") -> None:
        self.jobs = jobs
        self.who = who
        self.origin = origin
        self.registry = Registry(jobs.store, who)

    # -- looking -----------------------------------------------------------------------------------
    def members(self, name: str) -> list[Body]:
        """The nodes of a cluster, by its name."""
        return [one for one in self.registry.nodes() if one["cluster"] == name]

    def last_scan(self, name: str) -> tuple[float, Scan]:
        """When a cluster was scanned last, in seconds since the epoch, and what was found; 0 where it never was."""
        return last_scan(self.registry, name)

    def drawn(self, name: str) -> list[Drawn]:
        """The nodes of a cluster as the last scan has found them."""
        return drawn(self.members(name), self.last_scan(name)[1])

    def operations(self, name: str, limit: int = 20) -> list[Job]:
        """The last jobs that were for a cluster, the newest first."""
        return [job for job in self.jobs.jobs(limit=RECENT) if target_of(name) in job.target][:limit]

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


def target_of(name: str) -> str:
    """What a job for a cluster holds, as the playbooks' declarations name it."""
    return f"cluster {group_name('cluster', name)}"


def last_scan(registry: Registry, name: str) -> tuple[float, Scan]:
    record = registry.store.find(SCAN, name)
    return (record.time, scanned(record.body)) if record else (0.0, Scan())


def keep_scan(registry: Registry, results: Sequence[TaskResult]) -> None:
    """Remember with each cluster what a scan's tasks have returned; of nodes it did not look at, what was known."""
    looked = [asdict(one) for one in results if one.action == MODULE and one.status != "failed"]
    of = {one["name"]: one["cluster"] for one in registry.nodes()}
    fresh: dict[str, dict[str, Body]] = {}
    for one in looked:
        if of.get(one["host"]):
            fresh.setdefault(of[one["host"]], {})[one["host"]] = one

    def work(change: Change) -> None:
        for name, found in fresh.items():
            known = change.find(SCAN, name)
            before = {one["host"]: one for one in known.body["results"]} if known else {}
            whole = {host: one for host, one in {**before, **found}.items() if of.get(host) == name}
            change.put(SCAN, name, {"results": [whole[host] for host in sorted(whole)]})

    registry.store.change(work)
