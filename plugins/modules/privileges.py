#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a user may run as root."""

from __future__ import annotations

DOCUMENTATION = r"""
module: privileges
short_description: Lets a user run a list of commands as root
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Keeps one file in C(/etc/sudoers.d) for one user. C(visudo -c) must find the new content good before it takes its
    place, as a whole; a faulty one never does.
  - Needs root, and sudo on the machine.
extends_documentation_fragment:
  - rackstead.infra.privileges
  - rackstead.infra.attributes
options:
  fragment:
    description: Name of the file. Without it, C(rackstead-) and the user's name.
    type: str
  state:
    description: Whether the file is to be there.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: rackstead.infra.privileges_info
"""

EXAMPLES = r"""
- name: Let the operator look after MicroK8s
  rackstead.infra.privileges:
    user: operator
    commands:
      - /snap/bin/microk8s status
      - /snap/bin/microk8s stop
      - /usr/bin/snap refresh microk8s --channel=...
  become: true

- name: Take it back
  rackstead.infra.privileges:
    user: operator
    state: absent
  become: true
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: success
  sample: /etc/sudoers.d/rackstead-operator
commands:
  description: What the file gives.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.privileges.fragment import OPTIONS, ensure


def run(module: AnsibleModule) -> dict[str, Any]:
    return ensure(module.params, check=module.check_mode)


def main() -> None:
    run_module(OPTIONS, run, connection=False)


if __name__ == "__main__":
    main()
