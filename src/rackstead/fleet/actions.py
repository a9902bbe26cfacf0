# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to a cluster: a playbook each, and what somebody is told before it is begun. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import nearest

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Action:
    """One thing that can be done. ``steps`` say what will happen, in their order; {nodes}, {workers} and
    {control_plane} stand for the cluster's.
    """

    name: str
    workflow: str
    #: what a person sees while it goes on
    title: str
    steps: tuple[str, ...] = ()
    variables: Body = field(default_factory=dict)
    #: whether workloads stop, or may, so that somebody has to say yes
    asks: bool = False

    def told(self, nodes: Sequence[Body]) -> list[str]:
        """What will happen to these nodes, a line for each step."""
        names = {
            "nodes": _names(nodes),
            "workers": _names([one for one in nodes if one["worker"]]) or "no workers",
            "control_plane": _names([one for one in nodes if not one["worker"]]) or "no control plane",
        }
        return [step.format_map(names) for step in self.steps]


def _names(nodes: Sequence[Body]) -> str:
    return ", ".join(str(one["name"]) for one in nodes)


ACTIONS = {
    one.name: one
    for one in (
        Action(
            "setup",
            "setup_cluster",
            "Setting up",
            (
                "install MicroK8s on {nodes}, where it is not there",
                "join the control plane, one at a time: {control_plane}",
                "join {workers}",
                "bring addons, mirrors and proxies to what the registry says; what is as wanted is left alone",
            ),
        ),
        Action("scan", "scan", "Looking", ("look at {nodes}; nothing is changed",)),
        Action(
            "upgrade",
            "upgrade",
            "Upgrading",
            (
                "one node at a time: {nodes}",
                "each is cordoned and drained, so that its pods move; refreshed; awaited; and uncordoned",
                "the first that does not come back stops the rest",
            ),
            asks=True,
        ),
        Action(
            "backup",
            "backup_cluster",
            "Backing up",
            ("write objects and datastore into an archive on a node of the control plane, and read it back",),
        ),
        Action(
            "shutdown",
            "shutdown_cluster",
            "Shutting down",
            (
                "all workloads stop: their pods are taken off {nodes}",
                "objects and datastore are backed up",
                "MicroK8s is stopped on the workers: {workers}",
                "then on the control plane, in an order that the datastore bears: {control_plane}",
            ),
            {"microk8s_shutdown_mode": "graceful"},
            asks=True,
        ),
        Action(
            "force-shutdown",
            "shutdown_cluster",
            "Shutting down",
            (
                "all workloads end at once, without time to write what they have not written",
                "nothing is backed up",
                "MicroK8s is stopped on the workers: {workers}",
                "then on the control plane, in an order that the datastore bears: {control_plane}",
            ),
            {"microk8s_shutdown_mode": "force"},
            asks=True,
        ),
        Action(
            "start",
            "start_cluster",
            "Starting",
            (
                "MicroK8s is started on the control plane: {control_plane}",
                "then on the workers: {workers}",
                "what a shutdown has cordoned is uncordoned",
            ),
        ),
        Action(
            "pause",
            "pause",
            "Pausing",
            (
                "Deployments and StatefulSets go to no replicas, CronJobs are suspended, but for those of kube-system",
                "what they were is kept on the objects themselves",
            ),
            asks=True,
        ),
        Action("resume", "resume", "Resuming", ("what was paused gets back the replicas that it had",)),
        Action(
            "scale-down",
            "scale_down",
            "Scaling down",
            (
                "Deployments and StatefulSets get no more replicas than is said, but for those of kube-system",
                "what they had is kept on the objects themselves",
            ),
            asks=True,
        ),
        Action("scale-up", "scale_up", "Scaling up", ("what was scaled down gets back the replicas that it had",)),
    )
}


def action(name: str) -> Action:
    """Raises NotFound, with the nearest name."""
    if name not in ACTIONS:
        raise NotFound(f'action: "{name}" is unknown; allowed: {", ".join(ACTIONS)}{nearest(name, ACTIONS)}')
    return ACTIONS[name]
