#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ups_command
version_added: "1.0.0"
short_description: Give an order to a UPS
description:
  - Has upsd, the server of Network UPS Tools, carry out an instant command of a UPS, such as a test of its battery, and waits for what becomes of it.
  - Or orders a forced shutdown, with V(fsd).
options:
  host:
    description: Name or address of the server.
    type: str
    default: localhost
  port:
    description: Its port.
    type: int
    default: 3493
  ups:
    description: Name of the UPS.
    type: str
    required: true
  command:
    description:
      - The command. M(rackstead.infra.ups_info) tells which ones a UPS offers; another one is refused with their names.
      - V(fsd) is there always. It tells every upsmon that watches this UPS to shut its machine down, and when they have, to have the UPS switched off.
      - B(FSD stays until upsd is started anew), also when the mains are back and whoever ordered it is gone.
        An upsmon that starts meanwhile shuts its machine down again.
      - V(load.off) and V(shutdown.return) take the power away from whatever hangs on the UPS, without asking it.
    type: str
    required: true
  value:
    description: What the command takes beside its name, such as seconds.
    type: str
    default: ""
  username:
    description:
      - User of C(upsd.users) who may do this, by C(instcmds), or C(actions = FSD).
      - Taken from E(RACKSTEAD_UPS_USERNAME) where it is not given.
    type: str
  password:
    description:
      - The user's password. Without O(tls) it goes over the network in the clear.
      - Taken from E(RACKSTEAD_UPS_PASSWORD) where it is not given.
    type: str
  wait:
    description: How long the UPS is waited for, in seconds. V(0) does not wait.
    type: float
    default: 30.0
  tls:
    description: Whether to go over to TLS first, with the server's certificate checked. A server without it is a failure then.
    type: bool
    default: false
  ca_cert:
    description: File with the certificates of the authorities that are trusted with the server's. Without it, the system's.
    type: path
  timeout:
    description: How long each answer is waited for, as a whole, in seconds.
    type: float
    default: 5.0
extends_documentation_fragment:
  - rackstead.infra.attributes
notes:
  - V(fsd), V(load.off) and the beeper's commands change nothing where the UPS is there already. All others are given each time.
  - upsd looks at a password only when something is ordered, so check mode does not find out whether it is right.
seealso:
  - module: rackstead.infra.ups_info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Test the battery
  rackstead.infra.ups_command:
    ups: rack1
    command: test.battery.start.quick
    username: admin
    password: "{{ ups_password }}"

- name: Keep a UPS quiet
  rackstead.infra.ups_command:
    host: ups.example.com
    ups: rack1
    command: beeper.disable
    username: admin
    password: "{{ ups_password }}"
    tls: true

- name: Shut down all that hangs on a UPS, and then the UPS
  rackstead.infra.ups_command:
    ups: rack1
    command: fsd
    username: admin
    password: "{{ ups_password }}"
"""

RETURN = r"""
ups:
  description: The UPS.
  returned: success
  type: str
command:
  description: The command.
  returned: success
  type: str
outcome:
  description:
    - V(done) where the UPS has confirmed it, V(accepted) where upsd has passed it on and knows no more (2.7, or O(wait=0)).
    - V(unchanged) where the UPS was there already, V(not ordered) in check mode.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.command import (
    FALLBACKS,
    OPTIONS,
    ensure_command,
)


def options() -> dict[str, Any]:
    return fallbacks(OPTIONS, FALLBACKS)


def run(module: AnsibleModule) -> dict[str, Any]:
    return ensure_command(module.params, check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
