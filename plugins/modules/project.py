#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project
version_added: "1.0.0"
short_description: Manage an Incus project
description:
  - Makes, changes or deletes a project. Only what is given is changed; other configuration keys stay.
options:
  name:
    description: Name of the project.
    type: str
    required: true
  state:
    description:
      - V(present) makes it as described.
      - V(absent) deletes it with its images, if it holds nothing else.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Free text.
    type: str
  config:
    description: Configuration keys and their values, such as C(features.images). An empty value unsets a key.
    type: dict
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
notes:
  - O(project) says nothing here; the project that is managed is O(name).
seealso:
  - module: rackstead.infra.plan
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: A project that shares the default project's images
  rackstead.infra.project:
    name: lab
    description: Experiments
    config:
      features.images: "false"
      limits.instances: "20"

- name: Delete it
  rackstead.infra.project:
    name: lab
    state: absent
"""

RETURN = r"""
actions:
  description: What was, or would be, done, in order, of V(create), V(update) and V(delete).
  returned: success
  type: list
  elements: str
before:
  description: The fields the task speaks of, as they were. Null where the project did not exist.
  returned: success
  type: dict
after:
  description: The same fields afterwards. Null where the project is gone.
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

FIELDS = ("description", "config")


def options() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "description": {"type": "str"},
        "config": {"type": "dict"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    body = {field: params[field] for field in FIELDS}
    return run_resource(
        client_of(params), "project", params["name"], body, state=params["state"], check=module.check_mode
    )


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
