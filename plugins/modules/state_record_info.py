#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: state_record_info
version_added: "1.0.0"
short_description: Look at records of the state store
description:
  - Returns one record of the state store, or those of a kind that a query finds, in the order of their keys.
options:
  kind:
    description: The kind of the records. V(audit) holds the audit chain, V(lease) the leases.
    type: str
    required: true
  key:
    description: The key of the one record that is asked for. If there is none, the result is an empty list.
    type: str
  where:
    description:
      - Fields of the body and the value that each must have, or a list of values of which one must be there.
      - Types count, V(1) is not V("1").
    type: dict
  prefix:
    description: What the keys must start with.
    type: str
    default: ""
  after:
    description: Only keys beyond this one, in the order asked for. The last key of a result leads to the next page.
    type: str
    default: ""
  descending:
    description: Whether the last keys come first.
    type: bool
    default: false
  limit:
    description: How many records at most.
    type: int
    default: 100
  reveal:
    description:
      - Whether sensitive fields are decrypted rather than hidden. This needs a key, see O(key_file).
      - Set C(no_log) on such a task.
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.state
  - rackstead.infra.attributes
  - rackstead.infra.attributes.info
seealso:
  - module: rackstead.infra.state_record
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Look at a record
  rackstead.infra.state_record_info:
    kind: cluster
    key: lab
  register: found

- name: List clusters that need somebody
  rackstead.infra.state_record_info:
    kind: cluster
    where:
      state: [degraded, failed]
    limit: 20
"""

RETURN = r"""
records:
  description: The records that were found.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Its kind.
      type: str
    key:
      description: Its key.
      type: str
    version:
      description: Its version, which grows with each write.
      type: int
    time:
      description: When it was last written, in seconds since the epoch.
      type: float
    sensitive:
      description: The fields of the body that are encrypted in the store.
      type: list
      elements: str
    body:
      description: Its fields; those that are sensitive are hidden unless O(reveal=true).
      type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.state.recordtask import OPTIONS, find_records


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "kind": {"type": "str", "required": True},
        "key": {"type": "str", "no_log": False},
        "where": {"type": "dict"},
        "prefix": {"type": "str", "default": ""},
        "after": {"type": "str", "default": ""},
        "descending": {"type": "bool", "default": False},
        "limit": {"type": "int", "default": 100},
        "reveal": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    return find_records(module.params)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
