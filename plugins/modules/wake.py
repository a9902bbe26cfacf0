#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wake
version_added: "1.0.0"
short_description: Wake a machine over the LAN
description:
  - Sends the magic packet of Wake-on-LAN, for machines that have no BMC.
  - It is sent from the host that runs the task, which has to be in the machine's own network.
options:
  mac:
    description: MAC address of the machine's network card.
    type: str
    required: true
  broadcast:
    description: Address that the packet is sent to.
    type: str
    default: 255.255.255.255
  port:
    description: UDP port that the packet is sent to.
    type: int
    default: 9
  secure_on:
    description: The SecureOn password, six bytes written like a MAC address.
    type: str
  wait_for:
    description:
      - Name or address of the machine. A machine that answers there is not woken, and one that is woken is waited for.
      - Without it, the packet is sent, and whether anybody woke up stays open.
    type: str
  wait_port:
    description: TCP port at which it answers.
    type: int
    default: 22
  timeout:
    description: How long it is waited for, in seconds.
    type: float
    default: 300.0
extends_documentation_fragment:
  - rackstead.infra.attributes
notes:
  - Without O(wait_for) nothing tells whether the machine is awake, so the packet is sent each time.
requirements:
  - python >= 3.11
seealso:
  - module: rackstead.infra.bmc_power
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Wake a machine and wait until it can be logged in to
  rackstead.infra.wake:
    mac: ac:1f:6b:00:00:01
    broadcast: 192.0.2.255
    wait_for: 192.0.2.20
  delegate_to: localhost
"""

RETURN = r"""
awake:
  description: Whether the machine answers. Null where it was not looked.
  returned: success
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.wake import wake
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module


def options() -> dict[str, Any]:
    return {
        "mac": {"type": "str", "required": True},
        "broadcast": {"type": "str", "default": "255.255.255.255"},
        "port": {"type": "int", "default": 9},
        "secure_on": {"type": "str", "no_log": True},
        "wait_for": {"type": "str"},
        "wait_port": {"type": "int", "default": 22},
        "timeout": {"type": "float", "default": 300.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    if module.params["timeout"] <= 0:
        raise InvalidInput([f"timeout: {module.params['timeout']:g} is not valid; allowed: seconds, more than 0"])
    return wake(module.params, check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
