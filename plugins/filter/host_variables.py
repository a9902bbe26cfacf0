# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: hosts that are written in one word each, with what Ansible is to know of them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: host_variables
short_description: Reads hosts that are written in one word each
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Reads words such as C(pi@node1) and C(node1=192.0.2.11:2222), and refuses what ssh could take for an option.
  - The scheme C(incus://) stands for the connection plugin P(rackstead.infra.instance#connection).
options:
  _input:
    description: The words, each C([NAME=][SCHEME://][USER@]ADDRESS[:PORT]).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Take hosts into the inventory
  ansible.builtin.add_host: "{{ {'name': item.name, 'groups': 'nodes'} | combine(item.variables) }}"
  loop: "{{ ['pi@node1', 'node2=192.0.2.12'] | rackstead.infra.host_variables }}"
"""

RETURN = r"""
_value:
  description: A mapping for each.
  type: list
  elements: dict
  contains:
    name:
      description: The host's name in the inventory.
      type: str
      returned: always
    variables:
      description: Its connection, address, user and port.
      type: dict
      returned: always
      sample: {ansible_connection: ansible.builtin.ssh, ansible_host: node1, ansible_user: pi}
"""

from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.hosts import read_hosts


def host_variables(words: Sequence[str]) -> list[dict[str, Any]]:
    try:
        return [{"name": one.name, "variables": one.variables} for one in read_hosts(words, "hosts")]
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"host_variables": host_variables}
