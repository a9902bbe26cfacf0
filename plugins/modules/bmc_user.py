#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bmc_user
version_added: "1.0.0"
short_description: Manage the users of a BMC
description:
  - Creates, changes and removes users of a BMC over IPMI.
  - What was set is read back, and a password counts as set when the user gets in with it.
options:
  name:
    description: Name of the user, at most 16 bytes.
    type: str
    required: true
  state:
    description: Whether the user is to exist.
    type: str
    choices: [present, absent]
    default: present
  user_password:
    description:
      - The user's password, at most 16 bytes. A new user needs one.
      - Whether a user has it already is found out by logging in once.
    type: str
  update_password:
    description: V(on_create) leaves the password of a user who exists alone.
    type: str
    choices: [always, on_create]
    default: always
  privilege:
    description: What the user may do on the LAN channel.
    type: str
    choices: [user, operator, administrator]
    default: user
  slot:
    description: Number of the slot for a new user. Without it, the first free one is taken.
    type: int
extends_documentation_fragment:
  - rackstead.infra.bmc
  - rackstead.infra.attributes
seealso:
  - module: rackstead.infra.bmc_info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Have a user for monitoring
  rackstead.infra.bmc_user:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    name: monitor
    user_password: "{{ monitor_password }}"
    privilege: user

- name: Change the password of the user who asks
  rackstead.infra.bmc_user:
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password_of_today }}"
    name: admin
    user_password: "{{ bmc_password_of_tomorrow }}"
    privilege: administrator
"""

RETURN = r"""
user:
  description: The user as it is now. Null where it is gone.
  returned: success
  type: dict
  contains:
    slot:
      description: Number of its slot.
      type: int
    name:
      description: Its name.
      type: str
    privilege:
      description: What it may do.
      type: str
password_changed:
  description: Whether the password was set.
  returned: success
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.accounts import Wanted, ensure_user
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.ipmi import Ipmi
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.model import PRIVILEGES
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.open import (
    FALLBACKS,
    OPTIONS,
    endpoint_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


def options() -> dict[str, Any]:
    return {
        **fallbacks(OPTIONS, FALLBACKS),
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "user_password": {"type": "str", "no_log": True},
        "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
        "privilege": {"type": "str", "choices": list(PRIVILEGES), "default": PRIVILEGES[0]},
        "slot": {"type": "int"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    wanted = Wanted(
        given["name"],
        given["state"] == "present",
        given["privilege"],
        given["user_password"],
        given["update_password"] == "always",
        given["slot"],
    )
    problems = wanted.problems()
    if problems:
        raise InvalidInput(problems)
    with Ipmi(endpoint_of(given)) as bmc:
        return ensure_user(bmc, wanted, check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
