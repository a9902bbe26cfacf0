# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to a cluster, and what happens then, in words and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import nearest

from .members import CONTROL, SPARE, STANDBY, VOTER, WORKER, Drawn

Members = Sequence[Drawn]
PODS = "all pods but those of DaemonSets"
WORKLOADS = "all Deployments and StatefulSets, and all CronJobs, but those in kube-system"


@dataclass(frozen=True)
class Action:
    """``title`` stands on the button, ``doing`` while it goes on; ``workflow`` runs with these variables. ``danger``
    is where workloads stop or move, so that somebody has to say yes; ``field`` is asked for, and needed.
    """

    title: str
    doing: str
    workflow: str
    steps: Callable[[Members], list[str]]
    variables: Mapping[str, Any] = field(default_factory=dict)
    workloads: str = "no workloads"
    danger: bool = False
    field: str = ""


def names(members: Members, *roles: str) -> str:
    return ", ".join(one.name for one in members if one.role in roles) or "none"


def control(members: Members) -> str:
    return names(members, VOTER, STANDBY, SPARE, CONTROL)


def workers(members: Members) -> str:
    return names(members, WORKER)


def down_order(members: Members) -> str:
    """The control plane in the order in which it is stopped."""
    found = [one.name for role in (SPARE, STANDBY, CONTROL, VOTER) for one in members if one.role == role]
    return ", ".join(found) or "none"


def _setup(members: Members) -> list[str]:
    return [
        "Every machine is looked at, and what is in the way is told before anything is changed.",
        f"MicroK8s is installed where it is missing, on all at once: {names(members, *_ALL)}.",
        f"What is not in the cluster joins, one after the other, the control plane first: {control(members)}.",
        f"Then the workers join: {workers(members)}.",
        "Arguments, proxies, certificates and addons are brought to what the registry says, one machine at a time.",
    ]


def _scan(members: Members) -> list[str]:
    return [f"Every machine is asked what it knows; nothing is changed: {names(members, *_ALL)}."]


def _troubleshoot(members: Members) -> list[str]:
    return [
        f"Every machine inspects itself, and collects its logs: {names(members, *_ALL)}. That takes minutes.",
        "The reports are fetched and packed into one archive, with the list of what is not well.",
    ]


def _backup(members: Members) -> list[str]:
    return [
        f"The first machine of the control plane that runs is taken: {control(members)}.",
        "It puts objects and datastore into one archive, and reads that back. The archive holds Secrets.",
        "Of older backups on that machine seven are kept.",
    ]


def _upgrade(members: Members) -> list[str]:
    each = "cordoned, drained, refreshed, waited for and let in again"
    return [
        f"The control plane, one machine after the other: each is proven to be dispensable, {each}: {control(members)}.",
        f"Then the workers, one after the other: {workers(members)}.",
        "The first that cannot be drained or does not come back ends it; the others stay as they are.",
    ]


def _pause(_members: Members) -> list[str]:
    return [
        "What each of them has now is written down on the objects themselves.",
        "Deployments and StatefulSets get no replicas, CronJobs are suspended. No machine is stopped.",
    ]


def _resume(_members: Members) -> list[str]:
    return ["What was paused gets back what is written down on it; what was scaled down otherwise stays so."]


def _scale_down(_members: Members) -> list[str]:
    return [
        "What each of them has now is written down on the objects themselves.",
        "Deployments and StatefulSets get no more than so many replicas; who has fewer stays as it is.",
    ]


def _scale_up(_members: Members) -> list[str]:
    return ["What was scaled down gets back what is written down on it; what was paused otherwise stays so."]


def _stop(members: Members) -> list[str]:
    return [
        f"The workers are stopped, all at once: {workers(members)}.",
        f"The control plane is stopped, one machine after the other: {down_order(members)}.",
        "The API is gone from when the quorum is lost. Nothing is disabled at boot; machines go off only where microk8s_power_off says so.",
    ]


def _graceful(members: Members) -> list[str]:
    return [
        "What is in the way is told before anything is stopped.",
        f"All nodes are cordoned and emptied, at the same time: {names(members, *_ALL)}.",
        "Objects and datastore are backed up.",
        *_stop(members),
    ]


def _start(members: Members) -> list[str]:
    return [
        f"The control plane is started, all at once, and waited for: {control(members)}.",
        f"The workers are started, and their nodes waited for: {workers(members)}.",
        "Nodes that the shutdown has cordoned take pods again; those that somebody else has stay cordoned.",
    ]


_ALL = (VOTER, STANDBY, SPARE, CONTROL, WORKER)
ACTIONS = {
    "setup": Action("Set up", "Setting up", "setup_cluster", _setup, workloads="no workloads, unless an addon is new"),
    "scan": Action("Scan", "Looking", "scan", _scan),
    "troubleshoot": Action("Troubleshoot", "Collecting", "troubleshoot", _troubleshoot),
    "backup": Action("Back up", "Backing up", "backup_cluster", _backup),
    "upgrade": Action(
        "Upgrade",
        "Upgrading",
        "upgrade",
        _upgrade,
        workloads=f"{PODS} move, a node at a time",
        danger=True,
        field="microk8s_channel",
    ),
    "pause": Action("Pause workloads", "Pausing", "pause", _pause, workloads=WORKLOADS, danger=True),
    "resume": Action("Resume workloads", "Resuming", "resume", _resume, workloads="those that were paused"),
    "scale-down": Action(
        "Scale workloads down",
        "Scaling down",
        "scale_down",
        _scale_down,
        workloads=WORKLOADS,
        danger=True,
        field="microk8s_workload_percent",
    ),
    "scale-up": Action(
        "Scale workloads up", "Scaling up", "scale_up", _scale_up, workloads="those that were scaled down"
    ),
    "shutdown": Action(
        "Shut down",
        "Shutting down",
        "shutdown_cluster",
        _graceful,
        {"microk8s_shutdown_mode": "graceful"},
        f"{PODS} are evicted, and wait until the nodes are back",
        True,
    ),
    "shutdown-force": Action(
        "Shut down at once",
        "Shutting down",
        "shutdown_cluster",
        _stop,
        {"microk8s_shutdown_mode": "force"},
        "all of them end where they are: nothing is drained, nothing is backed up",
        True,
    ),
    "start": Action("Start", "Starting", "start_cluster", _start, workloads="those that wait for nodes start again"),
}


def action(name: str) -> Action:
    """Raises NotFound, with the nearest name."""
    if name not in ACTIONS:
        raise NotFound(f'action: "{name}" is unknown; allowed: {", ".join(ACTIONS)}{nearest(name, ACTIONS)}')
    return ACTIONS[name]
