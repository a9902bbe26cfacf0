#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


DOCUMENTATION = r"""
module: provision_order
version_added: "1.0.0"
short_description: Check an order to provision servers
description:
  - Checks servers and settings as a whole, and tells the servers as MAAS knows them. Nothing is changed.
  - Every fault gets one line, and all come at once, most of them before MAAS is asked.
  - What it returns for a server is what M(rackstead.infra.provision_step) and the role C(provision_server) take.
options:
  servers:
    description: The servers.
    type: list
    elements: dict
    required: true
    suboptions:
      server_id:
        description: MAAS's system ID. One of this, O(servers[].hostname) and O(servers[].mac) says which server it is.
        type: str
      hostname:
        description: Its name in MAAS.
        type: str
      mac:
        description: MAC address of one of its network cards.
        type: str
      device_type:
        description: Its device type, a name in the file O(device_types).
        type: str
      target_ipmi_ip:
        description: The address that its BMC is to have, or V(pool:NAME) for one of a pool. Without it the BMC stays where it is.
        type: str
      netmask:
        description: The BMC's netmask. Without it the pool's, else it stays.
        type: str
      gateway:
        description: The BMC's gateway. Without it the pool's, else it stays.
        type: str
      rack_location:
        description: Where it stands. MAAS keeps it in the machine's owner data.
        type: str
      tags:
        description: Tags that it gets in MAAS.
        type: list
        elements: str
extends_documentation_fragment:
  - rackstead.infra.provision
  - rackstead.infra.attributes.info
seealso:
  - module: rackstead.infra.provision_step
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Check two servers
  rackstead.infra.provision_order:
    maas_url: https://maas.example:5443/MAAS
    maas_api_key: "{{ maas_api_key }}"
    device_types: device_mappings.yaml
    ssh_key_file: ~/.ssh/maas
    pools:
      rack-a:
        addresses: 192.0.2.10-192.0.2.50
        netmask: 255.255.255.0
        gateway: 192.0.2.1
    servers:
      - hostname: rack-a-10
        device_type: s2.c2.small
        target_ipmi_ip: 192.0.2.5
        netmask: 255.255.255.0
        gateway: 192.0.2.1
        rack_location: Rack-A-U10
        tags: [edge]
      - mac: ac:1f:6b:00:00:01
        device_type: s2.c2.small
        target_ipmi_ip: pool:rack-a
  register: ordered
"""

RETURN = r"""
servers:
  description: The servers, in the order in which they were given.
  returned: success
  type: list
  elements: dict
  contains:
    server:
      description: The machine as MAAS knows it.
      type: dict
      sample:
        system_id: abc001
        hostname: rack-a-10
        mac: ac:1f:6b:00:00:01
    order:
      description: What is ordered for it.
      type: dict
      sample:
        device_type: s2.c2.small
        target_ipmi_ip: 192.0.2.5
        netmask: 255.255.255.0
        gateway: 192.0.2.1
        rack_location: Rack-A-U10
        tags: [edge]
    steps:
      description: The steps that are to run.
      type: list
      elements: str
    state:
      description: How far an earlier run got it, V(running), V(completed), V(failed), V(cancelled), V(interrupted), or nothing.
      type: str
steps:
  description: The steps that are to run.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.ordertask import (
    ORDER_OPTIONS,
    run_order_task,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.settings import FALLBACKS
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


SERVER = ("server_id", "hostname", "mac", "device_type", "target_ipmi_ip", "netmask", "gateway", "rack_location")


def options() -> dict[str, Any]:
    entry: dict[str, Any] = {name: {"type": "str"} for name in SERVER}
    entry["tags"] = {"type": "list", "elements": "str"}
    servers = {**ORDER_OPTIONS["servers"], "options": entry}
    return fallbacks({**ORDER_OPTIONS, "servers": servers}, FALLBACKS)


def run(module: AnsibleModule) -> dict[str, Any]:
    return run_order_task(module.params)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
