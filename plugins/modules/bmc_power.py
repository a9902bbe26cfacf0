#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bmc_power
version_added: "1.0.0"
short_description: Switch a server on or off by its BMC
description:
  - Brings a server's power into a state and waits until its BMC shows it, over IPMI or Redfish.
options:
  state:
    description:
      - V(on) and V(off) switch at once; V(soft) asks the operating system to shut down.
      - V(cycle) switches off and on again, or only on where the server is off.
      - V(reset) starts a running server anew without its power going off.
    type: str
    choices: ["on", "off", soft, cycle, reset]
    required: true
  wait:
    description: How long the state is waited for, in seconds. V(0) does not wait.
    type: float
    default: 120.0
  force:
    description: Whether a server that did not shut down in that time with V(soft) is switched off.
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.bmc
  - rackstead.infra.bmc.redfish
  - rackstead.infra.attributes
notes:
  - V(cycle) and V(reset) start the server anew each time, so they are never unchanged.
seealso:
  - module: rackstead.infra.bmc_boot
  - module: rackstead.infra.wake
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Have a server on
  rackstead.infra.bmc_power:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    state: "on"

- name: Shut a server down, and switch it off if it takes more than five minutes
  rackstead.infra.bmc_power:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    state: soft
    wait: 300
    force: true
"""

RETURN = r"""
power:
  description: The power now, V(on) or V(off). In check mode, as it would be.
  returned: success
  type: str
before:
  description: The power before.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.open import (
    FALLBACKS,
    OPTIONS,
    REDFISH_OPTIONS,
    open_bmc,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.power import STATES, ensure_power
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


def options() -> dict[str, Any]:
    return {
        **fallbacks(OPTIONS, FALLBACKS),
        **REDFISH_OPTIONS,
        "state": {"type": "str", "choices": list(STATES), "required": True},
        "wait": {"type": "float", "default": 120.0},
        "force": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    if given["wait"] < 0:
        raise InvalidInput([f"wait: {given['wait']:g} is not valid; allowed: seconds, 0 or more"])
    with open_bmc(given) as bmc:
        return ensure_power(
            bmc, given["state"], given["wait"], given["force"], check=module.check_mode, host=given["host"]
        )


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
