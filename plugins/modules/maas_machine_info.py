#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_machine_info
version_added: "1.0.0"
short_description: Read which machines MAAS has
description:
  - Reads one machine, or all that pass MAAS's own filters, with one request.
options:
  machine:
    description: A machine's system ID, hostname, FQDN or MAC address. One that does not exist fails the task.
    type: str
  filters:
    description:
      - MAAS's own filters for machines, such as C(pool), C(zone), C(hostname), C(mac_address), C(tags).
      - They are handed to MAAS as they are.
    type: dict
    default: {}
extends_documentation_fragment:
  - rackstead.infra.maas
  - rackstead.infra.attributes.info
seealso:
  - module: rackstead.infra.maas_machine
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Which machines are in a pool
  rackstead.infra.maas_machine_info:
    url: https://maas.example:5443/MAAS
    api_key: "{{ maas_api_key }}"
    filters:
      pool: edge
  register: found
"""

RETURN = r"""
machines:
  description: The machines.
  returned: success
  type: list
  elements: dict
  contains:
    system_id:
      description: MAAS's name for it.
      type: str
    hostname:
      description: Its name.
      type: str
    fqdn:
      description: Its name with its domain.
      type: str
    status:
      description: The number of its status.
      type: int
    status_name:
      description: The name of its status.
      type: str
    status_message:
      description: What MAAS said last about it.
      type: str
    power:
      description: Its power, V(on), V(off), V(unknown) or V(error).
      type: str
    addresses:
      description: Its IP addresses.
      type: list
      elements: str
    macs:
      description: MAC addresses of its network cards.
      type: list
      elements: str
    tags:
      description: Its tags.
      type: list
      elements: str
    pool:
      description: Its resource pool.
      type: str
    zone:
      description: Its availability zone.
      type: str
    architecture:
      description: Its architecture.
      type: str
    cpus:
      description: Number of its processors.
      type: int
    memory:
      description: Its memory in MiB.
      type: int
    storage:
      description: Its storage in MB.
      type: float
    distro_series:
      description: The operating system that was deployed.
      type: str
    owner_data:
      description: What its owner keeps with it.
      type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.client import (
    FALLBACKS,
    OPTIONS,
    Maas,
    site_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


def options() -> dict[str, Any]:
    return {
        **fallbacks(OPTIONS, FALLBACKS),
        "machine": {"type": "str"},
        "filters": {"type": "dict", "default": {}},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    if given["machine"] and given["filters"]:
        raise InvalidInput(["filters: are of no use with machine; allowed: one of the two"])
    with Maas(site_of(given)) as maas:
        found = [maas.find(given["machine"])] if given["machine"] else maas.machines(**given["filters"])
    return {"changed": False, "machines": [machine.shown() for machine in found]}


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
