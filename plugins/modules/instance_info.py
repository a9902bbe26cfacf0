#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_info
version_added: "1.0.0"
short_description: Tell what is known of Incus instances
description:
  - Returns the instances of a project, or some of them, with what Incus knows about each.
  - Values that look like secrets are hidden.
options:
  name:
    description:
      - Names or shell patterns of the instances. Without it, all of them.
      - What does not exist is left out of the result.
    type: list
    elements: str
    default: []
  plan:
    description: Only instances that this plan made.
    type: str
  state:
    description: Whether addresses, memory, CPU time, processes and snapshots are asked for too, which takes one request an instance.
    type: bool
    default: false
  all_projects:
    description: Whether to look into all projects rather than into O(project).
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
  - rackstead.infra.attributes.info
seealso:
  - module: rackstead.infra.provider_info
  - plugin: rackstead.infra.instances
    plugin_type: inventory
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Ask for a plan's instances with their addresses
  rackstead.infra.instance_info:
    plan: demo
    state: true
  register: found

- name: Show them
  ansible.builtin.debug:
    msg: "{{ item.name }} is {{ item.status }} at {{ item.ipv4 | join(', ') }}"
  loop: "{{ found.instances }}"
  loop_control:
    label: "{{ item.name }}"

- name: Ask for some by name
  rackstead.infra.instance_info:
    name: [gateway, "worker*"]
"""

RETURN = r"""
instances:
  description: The instances, sorted by project and name. What O(state=false) leaves out is null.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    project:
      description: Its Incus project.
      type: str
    status:
      description: V(Running), V(Stopped), V(Frozen) or V(Error).
      type: str
    type:
      description: V(container) or V(virtual-machine).
      type: str
    plan:
      description: The plan that made it, or an empty string.
      type: str
    image:
      description: Its image as the plan names it, else the image's description.
      type: str
    profiles:
      description: Its profiles, in order.
      type: list
      elements: str
    description:
      description: Free text.
      type: str
    config:
      description: Its own configuration.
      type: dict
    devices:
      description: Its own devices.
      type: dict
    metadata:
      description: The labels in its C(user.*) keys, without that prefix.
      type: dict
    location:
      description: The cluster member it is on; V(none) without a cluster.
      type: str
    created_at:
      description: When it was created.
      type: str
    ipv4:
      description: Its global IPv4 addresses.
      type: list
      elements: str
    ipv6:
      description: Its global IPv6 addresses.
      type: list
      elements: str
    memory:
      description: C(usage) and C(peak) in bytes.
      type: dict
    cpu_seconds:
      description: CPU time it has used.
      type: float
    processes:
      description: Number of processes in it.
      type: int
    snapshots:
      description: Its snapshots, with C(name), C(created_at), C(expires_at) and C(stateful).
      type: list
      elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.facts import instance_facts


def options() -> dict[str, Any]:
    return {
        "name": {"type": "list", "elements": "str", "default": []},
        "plan": {"type": "str"},
        "state": {"type": "bool", "default": False},
        "all_projects": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    found = instance_facts(
        client_of(params),
        params["name"],
        plan=params["plan"] or "",
        state=params["state"],
        everywhere=params["all_projects"],
    )
    return {"changed": False, "instances": found}


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
