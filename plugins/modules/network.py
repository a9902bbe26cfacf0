#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network
version_added: "1.0.0"
short_description: Manage an Incus network
description:
  - Makes, changes or deletes a managed network. Only what is given is changed; other configuration keys stay.
options:
  name:
    description: Name of the network, which for a bridge is its interface's name too.
    type: str
    required: true
  state:
    description: V(present) makes it as described, V(absent) deletes it, if nothing uses it.
    type: str
    choices: [present, absent]
    default: present
  type:
    description:
      - Type of the network, which cannot change. Without it a new one is a V(bridge).
    type: str
    choices: [bridge, macvlan, sriov, ovn, physical]
  description:
    description: Free text.
    type: str
  config:
    description:
      - Configuration keys and their values. An empty value unsets a key.
      - V(auto) for an address is met by any address that Incus has chosen.
    type: dict
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
seealso:
  - module: rackstead.infra.plan
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: A bridge with a subnet of its own
  rackstead.infra.network:
    name: labbr0
    config:
      ipv4.address: 10.90.0.1/24
      ipv4.nat: "true"
      ipv6.address: none

- name: Delete it
  rackstead.infra.network:
    name: labbr0
    state: absent
"""

RETURN = r"""
actions:
  description: What was, or would be, done, in order, of V(create), V(update) and V(delete).
  returned: success
  type: list
  elements: str
before:
  description: The fields the task speaks of, as they were. Null where the network did not exist.
  returned: success
  type: dict
after:
  description: The same fields afterwards. Null where the network is gone.
  returned: success
  type: dict
notes:
  description: What is worth knowing.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.resources import run_resource

FIELDS = ("type", "description", "config")


def options() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "type": {"type": "str", "choices": ["bridge", "macvlan", "sriov", "ovn", "physical"]},
        "description": {"type": "str"},
        "config": {"type": "dict"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    body = {field: params[field] for field in FIELDS}
    return run_resource(
        client_of(params), "network", params["name"], body, state=params["state"], check=module.check_mode
    )


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
