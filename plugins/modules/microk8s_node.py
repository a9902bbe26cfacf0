#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_node
version_added: "1.0.0"
short_description: Nodes of a MicroK8s cluster
description:
  - Has a machine join or leave a cluster, or a node removed, drained and let back in.
  - Before a member of the datastore goes, every state on the way is checked. What would lose the quorum is refused, with the state that
    would lose it and an order that would not.
  - Nodes are found by their exact names.
options:
  state:
    description:
      - V(joined) and V(left) run on the machine itself.
      - V(present), V(absent), V(drained) and V(uncordoned) run on a node of the control plane, and are about the node O(name).
      - V(present) waits until the cluster has the node, and it is ready. It changes nothing.
      - V(absent) removes the node. One that is a member of the datastore has to leave first, or to be O(gone).
      - V(drained) cordons the node and evicts its pods, so that it may be stopped.
      - V(uncordoned) lets a node take pods again that V(drained) has cordoned; what somebody else has cordoned stays so.
    type: str
    choices: [present, absent, joined, left, drained, uncordoned]
    default: present
  name:
    description: Name of the node, in full.
    type: str
  connection:
    description: What M(rackstead.infra.microk8s_token) returned, for V(joined). Not needed where the machine is in a cluster.
    type: str
  worker:
    description: Whether the machine joins as a worker.
    type: bool
    default: false
  gone:
    description: Whether the machine will never come back. Then its member is struck from the datastore without its doing.
    type: bool
    default: false
  force:
    description: Whether the quorum may be lost, and a node that is up may be removed.
    type: bool
    default: false
  wait:
    description: How long the end is waited for, in seconds; for V(drained) until the last pod has gone,
      for V(absent) until a node that has left is no longer taken for ready.
    type: float
    default: 600.0
  delete_emptydir:
    description: Whether V(drained) takes pods away whose C(emptyDir) volumes are lost with them. Otherwise one such pod is an error.
    type: bool
    default: true
notes:
  - C(microk8s join) takes its token on the command line, where other users of the machine can see it while it runs. There is no other way.
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Have this machine in the cluster
  rackstead.infra.microk8s_node:
    state: joined
    connection: "{{ way.connection }}"

- name: Have this machine leave
  rackstead.infra.microk8s_node:
    state: left

- name: Remove a machine that burnt down
  rackstead.infra.microk8s_node:
    name: node3
    state: absent
    gone: true
"""

RETURN = r"""
place:
  description: What the machine is now, for V(joined) and V(left).
  returned: with O(state=joined) and O(state=left)
  type: str
node:
  description: The node, for V(present).
  returned: with O(state=present)
  type: dict
evicted:
  description: The pods that went, as C(namespace/name); in check mode, those that would be asked to.
  returned: with O(state=drained)
  type: list
  elements: str
before:
  description: What was there before.
  returned: with O(state=joined), O(state=left) and O(state=absent)
  type: raw
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import node

STATES = ["present", "absent", "joined", "left", "drained", "uncordoned"]
NAMED = [("state", state, ("name",)) for state in ("present", "absent", "drained", "uncordoned")]


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "state": {"type": "str", "choices": STATES, "default": "present"},
        "name": {"type": "str"},
        "connection": {"type": "str", "no_log": True},
        "worker": {"type": "bool", "default": False},
        "gone": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "wait": {"type": "float", "default": 600.0},
        "delete_emptydir": {"type": "bool", "default": True},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given, check = module.params, module.check_mode
    client, name, wait = client_of(given), given["name"] or "", given["wait"]
    if given["state"] == "joined":
        return node.ensure_joined(client, given["connection"] or "", given["worker"], wait, check)
    if given["state"] == "left":
        return node.ensure_left(client, given["force"], wait, check)
    if given["state"] == "absent":
        return node.ensure_absent(client, name, given["gone"], given["force"], check, wait)
    if given["state"] == "drained":
        return node.ensure_drained(client, name, wait, given["force"], check, given["delete_emptydir"])
    if given["state"] == "uncordoned":
        return node.ensure_uncordoned(client, name, check)
    return node.ensure_present(client, name, wait, check)


def main() -> None:
    run_module(options(), run, connection=False, required_if=NAMED)


if __name__ == "__main__":
    main()
