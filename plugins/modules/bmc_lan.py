#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bmc_lan
version_added: "1.0.0"
short_description: Set the network address of a BMC
description:
  - Sets the BMC's own IPv4 address, netmask, gateway and VLAN over IPMI, under the lock that IPMI has for it.
  - The change goes over the address that it changes. An address at which another BMC answers is refused. The change is
    done when the same BMC answers at the new address and shows what was wanted. If it still answers at the old address
    instead, it gets its old settings back, and the task fails.
options:
  source:
    description: Where the address comes from. Without it, that stays as it is.
    type: str
    choices: [static, dhcp]
  address:
    description: The BMC's IPv4 address.
    type: str
  netmask:
    description: Its netmask.
    type: str
  gateway:
    description: Its gateway, V(0.0.0.0) for none.
    type: str
  vlan:
    description: Its VLAN, V(0) for none.
    type: int
  wait:
    description: How long the BMC is waited for at its new address, in seconds.
    type: float
    default: 60.0
extends_documentation_fragment:
  - rackstead.infra.bmc
  - rackstead.infra.attributes
notes:
  - With O(source=dhcp) the BMC may get another address. The task waits for it at the present one, and tells its MAC address
    if it does not answer there.
  - After a change of O(address), later tasks have to name the new one in O(host).
seealso:
  - module: rackstead.infra.bmc_info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Move a BMC to its place
  rackstead.infra.bmc_lan:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    source: static
    address: 192.0.2.50
    netmask: 255.255.255.0
    gateway: 192.0.2.1
"""

RETURN = r"""
lan:
  description: The settings as they are now. In check mode, as they would be.
  returned: success
  type: dict
  contains:
    source:
      description: Where the address comes from.
      type: str
    address:
      description: The BMC's address.
      type: str
    netmask:
      description: Its netmask.
      type: str
    gateway:
      description: Its gateway.
      type: str
    vlan:
      description: Its VLAN, V(0) for none.
      type: int
    mac:
      description: Its MAC address.
      type: str
before:
  description: The settings before.
  returned: success
  type: dict
  sample:
    source: dhcp
    address: 192.0.2.10
    netmask: 255.255.255.0
    gateway: 192.0.2.1
    vlan: 0
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.lan import ensure_lan
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.open import (
    FALLBACKS,
    OPTIONS,
    endpoint_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


SETTINGS = ("source", "address", "netmask", "gateway", "vlan")


def options() -> dict[str, Any]:
    return {
        **fallbacks(OPTIONS, FALLBACKS),
        "source": {"type": "str", "choices": ["static", "dhcp"]},
        "address": {"type": "str"},
        "netmask": {"type": "str"},
        "gateway": {"type": "str"},
        "vlan": {"type": "int"},
        "wait": {"type": "float", "default": 60.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    settings = {name: given[name] for name in SETTINGS}
    problems = []
    if all(value is None for value in settings.values()):
        problems.append(f"nothing is asked for; allowed: at least one of {', '.join(SETTINGS)}")
    if given["wait"] <= 0:
        problems.append(f"wait: {given['wait']:g} is not valid; allowed: seconds, more than 0")
    if problems:
        raise InvalidInput(problems)
    return ensure_lan(endpoint_of(given), settings, given["wait"], check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
