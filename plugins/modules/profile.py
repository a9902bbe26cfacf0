#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: profile
version_added: "1.0.0"
short_description: Manage an Incus profile
description:
  - Makes, changes or deletes a profile. Only what is given is changed; other configuration keys and devices stay.
options:
  name:
    description: Name of the profile.
    type: str
    required: true
  state:
    description: V(present) makes it as described, V(absent) deletes it, if nothing uses it.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Free text.
    type: str
  config:
    description: Configuration keys and their values. An empty value unsets a key.
    type: dict
  devices:
    description: Devices by name, each with its settings. A device that is named is replaced as a whole.
    type: dict
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
seealso:
  - module: rackstead.infra.plan
  - module: rackstead.infra.instance
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: A profile with limits and a root disk
  rackstead.infra.profile:
    name: small
    description: One CPU and little memory
    config:
      limits.cpu: "1"
      limits.memory: 256MiB
    devices:
      root:
        type: disk
        pool: default
        path: /

- name: Delete it
  rackstead.infra.profile:
    name: small
    state: absent
"""

RETURN = r"""
actions:
  description: What was, or would be, done, in order, of V(create), V(update) and V(delete).
  returned: success
  type: list
  elements: str
before:
  description: The fields the task speaks of, as they were. Null where the profile did not exist.
  returned: success
  type: dict
after:
  description: The same fields afterwards. Null where the profile is gone.
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

FIELDS = ("description", "config", "devices")


def options() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "description": {"type": "str"},
        "config": {"type": "dict"},
        "devices": {"type": "dict"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    body = {field: params[field] for field in FIELDS}
    return run_resource(
        client_of(params), "profile", params["name"], body, state=params["state"], check=module.check_mode
    )


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
