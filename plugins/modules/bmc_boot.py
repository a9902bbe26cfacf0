#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bmc_boot
version_added: "1.0.0"
short_description: Choose what a server boots from
description:
  - Sets the boot override that a BMC hands to the server's firmware, for the next start or for all.
options:
  device:
    description: What to boot from. V(none) leaves it to the firmware.
    type: str
    choices: [none, pxe, disk, cd, usb, bios, diag]
    required: true
  persistent:
    description: Whether it is for all starts, not only for the next.
    type: bool
    default: false
  mode:
    description: How to boot. Without it, the mode stays as it is.
    type: str
    choices: [efi, legacy]
extends_documentation_fragment:
  - rackstead.infra.bmc
  - rackstead.infra.bmc.redfish
  - rackstead.infra.attributes
notes:
  - A BMC forgets an override for the next start when the server starts, or after a minute. It is set anew then.
seealso:
  - module: rackstead.infra.bmc_power
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Boot from the network once
  rackstead.infra.bmc_boot:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    device: pxe
    mode: efi

- name: Start it
  rackstead.infra.bmc_power:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    state: cycle
"""

RETURN = r"""
boot:
  description: The boot override as it is wanted.
  returned: success
  type: dict
  contains:
    device:
      description: What is booted from.
      type: str
    persistent:
      description: Whether always.
      type: bool
    mode:
      description: V(efi) or V(legacy), null where it is left open.
      type: str
verified:
  description: Whether the BMC shows it so. Some take the flags and do not show them; a warning says so then.
  returned: success
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.bootorder import ensure_boot
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.model import BOOT_DEVICES, BOOT_MODES, Boot
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
        "device": {"type": "str", "choices": list(BOOT_DEVICES), "required": True},
        "persistent": {"type": "bool", "default": False},
        "mode": {"type": "str", "choices": list(BOOT_MODES)},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    wanted = Boot(given["device"], given["persistent"], given["mode"])
    with open_bmc(given) as bmc:
        return ensure_boot(bmc, wanted, check=module.check_mode, host=given["host"])


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
