#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bmc_info
version_added: "1.0.0"
short_description: Read what a BMC tells about its server
description:
  - Reads power, boot override, firmware, sensors, the event log, the inventory of parts, and the BMC's own settings.
options:
  subsets:
    description: Which parts to read.
    type: list
    elements: str
    choices: [power, boot, device, sensors, events, fru, lan, users]
    default: [power, device]
extends_documentation_fragment:
  - rackstead.infra.bmc
  - rackstead.infra.bmc.redfish
  - rackstead.infra.attributes.info
notes:
  - V(events), V(fru), V(lan) and V(users) are read over IPMI only.
seealso:
  - module: rackstead.infra.bmc_lan
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Look how warm a server is
  rackstead.infra.bmc_info:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    subsets: [power, sensors]
  register: found
"""

RETURN = r"""
protocol:
  description: Over what was read, V(ipmi) or V(redfish).
  returned: success
  type: str
bmc:
  description: The parts that were read, by their names.
  returned: success
  type: dict
  sample:
    power: "on"
    sensors:
      - name: CPU1 Temp
        number: 1
        value: 40.0
        unit: °C
        states: 192
missing:
  description: The parts that this BMC does not have, each with the reason.
  returned: success
  type: dict
  sample: {}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.info import SUBSETS, read_info
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.open import (
    FALLBACKS,
    OPTIONS,
    REDFISH_OPTIONS,
    open_bmc,
)
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


def options() -> dict[str, Any]:
    return {
        **fallbacks(OPTIONS, FALLBACKS),
        **REDFISH_OPTIONS,
        "subsets": {"type": "list", "elements": "str", "choices": list(SUBSETS), "default": ["power", "device"]},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    with open_bmc(module.params) as bmc:
        return read_info(bmc, module.params["subsets"])


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
