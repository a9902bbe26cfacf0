#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_poweroff
version_added: "1.0.0"
short_description: The machine shut down by its own operating system
description:
  - Shuts the machine down on which it runs, after a moment, so that the task has its answer before the connection ends.
  - The process that does it belongs to nobody. Neither the end of the connection nor a killed run holds it up.
  - Whether the machine went off is not seen from here. M(rackstead.infra.bmc_power) sees it.
options:
  delay:
    description: After how many seconds.
    type: float
    default: 5.0
  command:
    description: The command that does it.
    type: list
    elements: str
    default: [shutdown, -P, now]
  lock:
    description: File that is locked while a shutdown is under way, so that there is no second one.
    type: path
    default: /run/rackstead-poweroff.lock
extends_documentation_fragment:
  - rackstead.infra.attributes
requirements:
  - python >= 3.11
seealso:
  - module: rackstead.infra.bmc_power
  - module: rackstead.infra.wake
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Shut the machine down
  rackstead.infra.host_poweroff:
  become: true
"""

RETURN = r"""
under_way:
  description: Whether a shutdown was under way already.
  returned: success
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.hostoff import LOCK, ensure_off
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module


def options() -> dict[str, Any]:
    return {
        "delay": {"type": "float", "default": 5.0},
        "command": {"type": "list", "elements": "str", "default": ["shutdown", "-P", "now"]},
        "lock": {"type": "path", "default": LOCK},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    return ensure_off(given["command"], given["delay"], given["lock"], module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
