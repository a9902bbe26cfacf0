# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry as an inventory for one run, written down where it runs, so that it needs no way to the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict
from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry
from ansible_collections.rackstead.infra.plugins.module_utils.registry.inventory import build_hosts, group_name

Body = dict[str, Any]
#: The group that has all hosts, with their variables.
ALL = "rackstead_registry"


def inventory_of(registry: Registry) -> Body:
    """Groups by name, each with its hosts, as Ansible reads them."""
    found: Body = {ALL: {"hosts": {}}}
    for host in build_hosts(registry.nodes(), registry.clusters()):
        found[ALL]["hosts"][host.name] = host.variables
        for kind, value in host.groups:
            found.setdefault(group_name(kind, value), {"hosts": {}})["hosts"][host.name] = {}
    return found


def group_of(nodes: Sequence[Body], clusters: Sequence[Body], name: str) -> str:
    """The group that is a cluster, which must be this one's alone. Raises Conflict."""
    used = {one["cluster"] for one in nodes}
    if name not in used:
        raise Conflict("has no nodes", where=name, hint=f"rackstead node add --cluster {name} enters one")
    group = group_name("cluster", name)
    for one in clusters:
        if one["name"] != name and one["name"] in used and group_name("cluster", one["name"]) == group:
            raise Conflict(f'"{one["name"]}" is the same group for Ansible, {group}', where=name, hint="rename one")
    return group
