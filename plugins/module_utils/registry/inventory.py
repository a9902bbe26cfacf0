# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of the registry as hosts of Ansible. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from .model import Body

SSH = {
    "ansible_host": "address",
    "ansible_user": "user",
    "ansible_port": "port",
    "ansible_ssh_private_key_file": "key_file",
}


class Host(NamedTuple):
    name: str
    variables: dict[str, Any]
    groups: tuple[tuple[str, str], ...]


def build_hosts(nodes: Sequence[Body], clusters: Sequence[Body]) -> list[Host]:
    """A group for each cluster and label, and one of the workers."""
    variables = {one["name"]: one["variables"] for one in clusters}
    return [_host(node, variables.get(node["cluster"], {})) for node in nodes]


def group_name(kind: str, value: str) -> str:
    """A group as Ansible writes it, such as cluster_lab: names that differ may be one group."""
    return re.sub(r"[^A-Za-z0-9_]", "_", f"{kind}_{value}")


def _host(node: Body, shared: Body) -> Host:
    own = {name: node[field] for name, field in SSH.items() if node[field]}
    own |= {"ansible_become": True} if node.get("become") else {}  # which older records do not have
    told = {f"rackstead_{field}": node[field] for field in ("id", "cluster", "labels", "mac") if node[field]}
    if node["bmc"]["address"]:
        told["rackstead_bmc"] = node["bmc"]
    groups = [("cluster", node["cluster"])] if node["cluster"] else []
    groups += [("microk8s", "worker")] if node["worker"] else []
    groups += [("label", f"{key}_{value}") for key, value in sorted(node["labels"].items())]
    return Host(node["name"], {**shared, **own, **told, "microk8s_worker": node["worker"]}, tuple(groups))
