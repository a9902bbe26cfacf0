#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_tag
version_added: "1.0.0"
short_description: Manage tags of MAAS and the machines that have them
description:
  - Creates, changes and deletes a tag, and gives it to machines.
options:
  name:
    description: The tag, of letters, digits, V(-), V(_) and V(.).
    type: str
    required: true
  state:
    description: Whether the tag is to exist.
    type: str
    choices: [present, absent]
    default: present
  comment:
    description: What it is for. Without it, that stays as it is.
    type: str
  machines:
    description: System IDs, hostnames, FQDNs or MAC addresses of machines that are to have it.
    type: list
    elements: str
  exact:
    description: Whether no other machines are to have it.
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.maas
  - rackstead.infra.attributes
seealso:
  - module: rackstead.infra.maas_machine
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Tag a server that is done
  rackstead.infra.maas_tag:
    url: https://maas.example:5443/MAAS
    api_key: "{{ maas_api_key }}"
    name: provisioned
    comment: commissioned, configured and reachable
    machines: [rack-a-10]
"""

RETURN = r"""
tag:
  description: The tag as it is now. Null where it is gone.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    comment:
      description: What it is for.
      type: str
    machines:
      description: System IDs of the machines that have it.
      type: list
      elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.client import (
    FALLBACKS,
    OPTIONS,
    Maas,
    site_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.tags import ensure_tag
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


def options() -> dict[str, Any]:
    return {
        **fallbacks(OPTIONS, FALLBACKS),
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "comment": {"type": "str"},
        "machines": {"type": "list", "elements": "str"},
        "exact": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    present = given["state"] == "present"
    with Maas(site_of(given)) as maas:
        return ensure_tag(
            maas,
            given["name"],
            present,
            given["comment"],
            given["machines"],
            given["exact"],
            check=module.check_mode,
        )


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
