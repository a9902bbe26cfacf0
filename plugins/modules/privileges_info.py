#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what sudo lets a user do, beside what it should."""

from __future__ import annotations

DOCUMENTATION = r"""
module: privileges_info
short_description: Says what sudo lets a user do, and what is missing or too much
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Asks sudo itself (C(sudo -ll -U)), so that rules from all files, groups and directories count, and compares its
    answer with a list of commands. Changes nothing.
  - Needs root, and sudo on the machine.
extends_documentation_fragment:
  - rackstead.infra.privileges
  - rackstead.infra.attributes.info
seealso:
  - module: rackstead.infra.privileges
"""

EXAMPLES = r"""
- name: Look whether the operator may do what is needed, and no more
  rackstead.infra.privileges_info:
    user: operator
    commands:
      - /snap/bin/microk8s status
      - /snap/bin/microk8s stop
  become: true
  register: found

- name: Say what is wrong
  ansible.builtin.debug:
    msg: "{{ found.missing + found.too_wide }}"
"""

RETURN = r"""
missing:
  description: Commands that are wanted and that sudo refuses, or asks a password for.
  type: list
  elements: str
  returned: success
  sample: ["/snap/bin/microk8s stop: not allowed"]
too_wide:
  description: Rules that give what is not wanted.
  type: list
  elements: str
  returned: success
  sample: ["ALL, as ALL, with a password"]
exact:
  description: Whether neither is the case.
  type: bool
  returned: success
user:
  description: The user.
  type: str
  returned: success
wanted:
  description: The commands that are wanted.
  type: list
  elements: str
  returned: success
rules:
  description: All of sudo's rules for the user, in its order. The last one that fits a command decides.
  type: list
  elements: dict
  returned: success
  contains:
    command:
      description: A command as sudo writes it.
      type: str
      returned: always
    runas:
      description: As whom.
      type: str
      returned: always
    password:
      description: Whether sudo asks for a password.
      type: bool
      returned: always
    source:
      description: The file the rule stands in, where sudo says so.
      type: str
      returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.privileges.fragment import COMMON, info


def run(module: AnsibleModule) -> dict[str, Any]:
    return info(module.params)


def main() -> None:
    run_module(COMMON, run, connection=False)


if __name__ == "__main__":
    main()
