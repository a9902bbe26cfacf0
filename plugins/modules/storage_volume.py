#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_volume
version_added: "1.0.0"
short_description: Manage a custom storage volume of Incus
description:
  - Makes, changes or deletes a custom volume. Only what is given is changed; other configuration keys stay.
options:
  name:
    description: Name of the volume.
    type: str
    required: true
  state:
    description: V(present) makes it as described, V(absent) deletes it with its content, if nothing uses it.
    type: str
    choices: [present, absent]
    default: present
  pool:
    description: Storage pool that holds it.
    type: str
    default: default
  size:
    description: Size, such as V(10GiB). Not every storage driver enforces one.
    type: str
  content_type:
    description: What it holds, which cannot change. Without it a new one is a V(filesystem).
    type: str
    choices: [filesystem, block]
  description:
    description: Free text.
    type: str
  config:
    description: Further configuration keys and their values. An empty value unsets a key.
    type: dict
  target:
    description: Cluster member to make it on.
    type: str
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
- name: A volume for data
  rackstead.infra.storage_volume:
    name: data
    size: 10GiB

- name: Attach it to an instance
  rackstead.infra.instance:
    name: db
    image: debian/12
    devices:
      data:
        type: disk
        pool: default
        source: data
        path: /srv/data

- name: Delete it
  rackstead.infra.storage_volume:
    name: data
    state: absent
"""

RETURN = r"""
actions:
  description: What was, or would be, done, in order, of V(create), V(update) and V(delete).
  returned: success
  type: list
  elements: str
before:
  description: The fields the task speaks of, as they were. Null where the volume did not exist.
  returned: success
  type: dict
after:
  description: The same fields afterwards. Null where the volume is gone.
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

FIELDS = ("pool", "size", "content_type", "description", "config", "target")


def options() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "pool": {"type": "str", "default": "default"},
        "size": {"type": "str"},
        "content_type": {"type": "str", "choices": ["filesystem", "block"]},
        "description": {"type": "str"},
        "config": {"type": "dict"},
        "target": {"type": "str"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    body = {field: params[field] for field in FIELDS}
    return run_resource(
        client_of(params), "storage_volume", params["name"], body, state=params["state"], check=module.check_mode
    )


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
