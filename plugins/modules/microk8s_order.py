#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_order
version_added: "1.0.0"
short_description: Check what a MicroK8s cluster is to become, and order its joins
description:
  - Looks at what M(rackstead.infra.microk8s_info) found on all machines, and fails with a line for each fault before anything is changed.
    Machines that cannot be reached, that share a name, an address or a machine-id, that are in another cluster or of the other kind, addons
    that there are not, channels that are none.
  - Says which machine is the cluster that others join, and in which order they do.
options:
  hosts:
    description: The machines.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Name in the inventory.
        type: str
        required: true
      worker:
        description: Whether it is to be a worker.
        type: bool
        default: false
      found:
        description: What RV(rackstead.infra.microk8s_info#module:microk8s) was. Empty where the machine could not be reached.
        type: dict
  only:
    description: Hosts that may be changed. Empty means all.
    type: list
    elements: str
    default: []
  addons:
    description: Names of addons that are wanted.
    type: list
    elements: str
    default: []
  channel:
    description: The channel that is wanted.
    type: str
extends_documentation_fragment:
  - rackstead.infra.attributes.info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Look before anything is done
  rackstead.infra.microk8s_order:
    hosts:
      - host: node1
        found: "{{ hostvars.node1.found.microk8s }}"
      - host: node2
        found: "{{ hostvars.node2.found.microk8s }}"
    addons: [dns]
"""

RETURN = r"""
seed:
  description: The host that is the cluster.
  returned: success
  type: str
joins:
  description: The hosts that join it, in this order.
  returned: success
  type: list
  elements: str
conductors:
  description: Hosts of the control plane, those in the cluster first.
  returned: success
  type: list
  elements: str
turns:
  description: Hosts in the order in which they are upgraded, the control plane first.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.order import Host, order


def options() -> dict[str, Any]:
    return {
        "hosts": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "host": {"type": "str", "required": True},
                "worker": {"type": "bool", "default": False},
                "found": {"type": "dict"},
            },
        },
        "only": {"type": "list", "elements": "str", "default": []},
        "addons": {"type": "list", "elements": "str", "default": []},
        "channel": {"type": "str"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    hosts = [Host.of(one["host"], one["worker"], one["found"]) for one in given["hosts"]]
    found = order(hosts, given["only"], given["addons"], given["channel"] or "")
    plain = {"joins": list(found.joins), "conductors": list(found.conductors), "turns": list(found.turns)}
    return {"changed": False, "seed": found.seed, **plain, "warnings": list(found.warnings)}


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
