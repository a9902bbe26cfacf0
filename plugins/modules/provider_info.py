#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: provider_info
version_added: "1.0.0"
short_description: Tell what an Incus daemon is, can do, has room for, and how it is
description:
  - Returns version, capabilities, capacity and cluster members of the daemon, and a judgement of its health.
  - Looked at for the health are the version, storage pools that are nearly full or broken, a missing bridge, Incus's own
    warnings, members that are offline and, for a local daemon, the ranges of subordinate ids.
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
  - rackstead.infra.attributes.info
seealso:
  - module: rackstead.infra.instance_info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Look at the provider
  rackstead.infra.provider_info:
  register: found

- name: Refuse to go on unless it is well
  ansible.builtin.assert:
    that: found.health.ok
    fail_msg: "{{ found.health.line }}"
"""

RETURN = r"""
provider:
  description: What it is.
  returned: success
  type: dict
  contains:
    name:
      description: V(incus).
      type: str
    version:
      description: Version of the daemon.
      type: str
    server_name:
      description: Its name in a cluster, or the host's.
      type: str
    driver:
      description: Drivers of instances.
      type: str
    storage:
      description: Storage drivers in use.
      type: str
    storage_drivers:
      description: Storage drivers it could use.
      type: list
      elements: str
    firewall:
      description: The firewall it writes to.
      type: str
    kernel:
      description: The kernel's version.
      type: str
    architectures:
      description: Architectures it runs, the host's own first.
      type: list
      elements: str
    api_extensions_count:
      description: How many API extensions it has.
      type: int
    vm_support:
      description: Whether it can run virtual machines.
      type: bool
    clustered:
      description: Whether it is part of a cluster.
      type: bool
    addresses:
      description: Addresses at which its API answers.
      type: list
      elements: str
capabilities:
  description: What it can do, each V(true) or V(false).
  returned: success
  type: dict
  sample: {containers: true, virtual_machines: false, clustered: false}
capacity:
  description: What it has, in bytes, of all members together. Null for a client that may not see it.
  returned: success
  type: dict
  contains:
    cpus:
      description: Number of CPUs.
      type: int
    memory_total:
      description: Memory of the host.
      type: int
    memory_used:
      description: Memory in use on the host.
      type: int
    pools:
      description: Storage pools with C(name), C(driver), C(member), C(status), C(total) and C(used).
      type: list
      elements: dict
members:
  description: Cluster members with C(name), C(url), C(status), C(message) and C(roles).
  returned: success
  type: list
  elements: dict
health:
  description: How it is.
  returned: success
  type: dict
  contains:
    ok:
      description: Whether there are no problems.
      type: bool
    line:
      description: One line for people.
      type: str
    problems:
      description: What is not well, a line each.
      type: list
      elements: str
    notes:
      description: What is worth knowing, a line each.
      type: list
      elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.provider import provider_facts


def run(module: AnsibleModule) -> dict[str, Any]:
    return {"changed": False, **provider_facts(client_of(module.params))}


def main() -> None:
    run_module({}, run)


if __name__ == "__main__":
    main()
