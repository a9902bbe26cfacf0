#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_mark
version_added: "1.0.0"
short_description: What a shutdown of a MicroK8s cluster left out, remembered in the cluster
description:
  - Writes what a shutdown left out into an annotation of a node, for whoever starts the cluster, and takes it away again.
  - It runs on a node of the control plane.
options:
  name:
    description: Name of the node that bears the mark, in full. No other node bears one then. Needed with O(state=present).
    type: str
  left_out:
    description: By step, why it was left out. With none, no node bears a mark.
    type: dict
    default: {}
  state:
    description: V(absent) takes all marks away, and tells in warnings what they said.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Remember that nothing was backed up
  rackstead.infra.microk8s_mark:
    name: node1
    left_out:
      backup: "left out: it takes 60 s, and 12 s were to spare"

- name: Tell, and forget
  rackstead.infra.microk8s_mark:
    state: absent
"""

RETURN = r"""
left_out:
  description: What was left out. With O(state=absent), what the marks said.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import mark
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "name": {"type": "str"},
        "left_out": {"type": "dict", "default": {}},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given, check = module.params, module.check_mode
    client = client_of(given)
    if given["state"] == "absent":
        return mark.ensure_unmarked(client, check)
    return mark.ensure_marked(client, given["name"], given["left_out"], check)


def main() -> None:
    run_module(options(), run, connection=False, required_if=[("state", "present", ["name"])])


if __name__ == "__main__":
    main()
