#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_drain
version_added: "1.0.0"
short_description: Nodes of a MicroK8s cluster emptied for a shutdown, and let back in
description:
  - Cordons nodes and evicts their pods, all nodes at the same time. Pods that have nowhere to go wait until a node takes pods again;
    nobody's number of replicas is changed.
  - Each eviction is the API server's decision, by the disruption budgets. One that it refuses is tried again until O(wait) is over.
    Pods of DaemonSets and mirror pods are left where they are.
  - It runs on a node of the control plane. To take one node out of a cluster that goes on, see M(rackstead.infra.microk8s_node).
options:
  names:
    description: Names of the nodes, in full.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(drained) cordons the nodes and evicts their pods. What is in the way, such as a disruption budget, is told in a warning.
      - V(released) lets those nodes take pods again that this collection has cordoned; what somebody else has cordoned stays so.
    type: str
    choices: [drained, released]
    default: drained
  wait:
    description: How long the pods of a node may take to leave, in seconds.
    type: float
    default: 300.0
  delete_emptydir:
    description: Whether pods go whose C(emptyDir) volumes are lost with them. Otherwise they stay, and are told.
    type: bool
    default: true
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Empty all nodes
  rackstead.infra.microk8s_drain:
    names: [node1, node2, work1]
    wait: 120

- name: Let them take pods again
  rackstead.infra.microk8s_drain:
    names: [node1, node2, work1]
    state: released
"""

RETURN = r"""
left:
  description: For each node that still has pods, what was in the way.
  returned: with O(state=drained)
  type: dict
evicted:
  description: The pods that went, as C(namespace/name); in check mode, those that would be asked to.
  returned: with O(state=drained)
  type: list
  elements: str
blocked:
  description: The pods that are there still.
  returned: with O(state=drained)
  type: list
  elements: dict
  contains:
    node:
      description: Where it runs.
      type: str
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    why:
      description: What keeps it there.
      type: str
    budgets:
      description:
        - The disruption budgets that cover it, each with its C(name), the disruptions it has C(allowed),
          and the pods that are C(healthy) and C(needed).
      type: list
      elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import node
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "names": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["drained", "released"], "default": "drained"},
        "wait": {"type": "float", "default": 300.0},
        "delete_emptydir": {"type": "bool", "default": True},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given, check = module.params, module.check_mode
    client = client_of(given)
    if given["state"] == "released":
        return node.ensure_released(client, given["names"], check)
    return node.ensure_emptied(client, given["names"], given["wait"], check, given["delete_emptydir"])


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
