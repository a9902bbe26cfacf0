#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: state_record
version_added: "1.0.0"
short_description: Keep a record in the state store
description:
  - Writes, replaces or deletes one record of the state store that the runner and other plays use, too.
  - A record has a kind, a key, a version that grows with each write, and a body.
options:
  kind:
    description: What kind of thing it is of, a small letter and then at most 62 small letters, digits, V(_) or V(-).
    type: str
    required: true
  key:
    description: Its name among its kind, 1 to 200 characters.
    type: str
    required: true
  state:
    description:
      - V(present) makes its body exactly what O(body) and O(sensitive) say.
      - V(absent) deletes it.
    type: str
    choices: [present, absent]
    default: present
  body:
    description: Its fields. Values keep their types.
    type: dict
    default: {}
  sensitive:
    description:
      - More fields of the body, which are encrypted in the store, and shown neither in results nor in the diff.
      - This needs a key, see O(key_file).
    type: dict
  expect:
    description:
      - The version at which the record must be, or V(0) if it must not exist. If it is not, the task fails and nothing is changed.
      - Without it, whatever is there is replaced.
    type: int
extends_documentation_fragment:
  - rackstead.infra.state
  - rackstead.infra.attributes
seealso:
  - module: rackstead.infra.state_record_info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Remember where the cluster stands
  rackstead.infra.state_record:
    kind: cluster
    key: lab
    body:
      state: degraded
      nodes: 3

- name: Look what is remembered
  rackstead.infra.state_record_info:
    kind: cluster
    key: lab
  register: found

- name: Change it, unless somebody else did meanwhile
  rackstead.infra.state_record:
    kind: cluster
    key: lab
    expect: "{{ found.records[0].version }}"
    body: "{{ found.records[0].body | combine({'state': 'healthy'}) }}"

- name: Forget it
  rackstead.infra.state_record:
    kind: cluster
    key: lab
    state: absent
"""

RETURN = r"""
record:
  description: The record as it is now. Null where it is gone.
  returned: success
  type: dict
  contains:
    kind:
      description: Its kind.
      type: str
    key:
      description: Its key.
      type: str
    version:
      description: Its version.
      type: int
    time:
      description: When it was last written, in seconds since the epoch.
      type: float
    sensitive:
      description: The fields of the body that are encrypted in the store.
      type: list
      elements: str
    body:
      description: Its fields; those that are sensitive are hidden.
      type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.state.recordtask import OPTIONS, run_record


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "kind": {"type": "str", "required": True},
        "key": {"type": "str", "required": True, "no_log": False},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "body": {"type": "dict", "default": {}},
        "sensitive": {"type": "dict", "no_log": True},
        "expect": {"type": "int"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    return run_record(module.params, check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
