#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: prerequisite_info
version_added: "1.0.0"
short_description: What a machine lacks for MicroK8s
description:
  - Looks at the operating system, architecture, memory, disk, control groups, kernel modules, snapd, ports, names and time of a machine, and
    says what is not as MicroK8s needs it, and how to mend it.
options:
  resolve:
    description: Name that has to have an address. Empty where no store is to be reached.
    type: str
    default: api.snapcraft.io
  required:
    description: Whether it fails where something is missing without which MicroK8s does not run.
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.attributes.info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: See what the machine lacks
  rackstead.infra.prerequisite_info:
  register: needs

- name: Say it
  ansible.builtin.debug:
    msg: "{{ needs.lines }}"
"""

RETURN = r"""
checks:
  description: Every need. C(result) is V(pass), V(warn) or V(fail); C(mend) says how to meet it.
  returned: success
  type: list
  elements: dict
lines:
  description: A line for each need that is not met, those first without which MicroK8s does not run.
  returned: success
  type: list
  elements: str
ready:
  description: Whether nothing is missing without which MicroK8s does not run.
  returned: success
  type: bool
kernel_arguments:
  description: File with the kernel's arguments on a Raspberry Pi whose flags are missing. Empty on others.
  returned: success
  type: str
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.prerequisites import (
    FAIL,
    Machine,
    check_all,
    pi_file,
    summary,
)
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Local


def options() -> dict[str, Any]:
    return {
        "resolve": {"type": "str", "default": "api.snapcraft.io"},
        "required": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    machine = Machine.here(Local(), module.params["resolve"])
    checks = check_all(machine)
    lines = summary(checks)
    ready = not any(check.result == FAIL for check in checks)
    if module.params["required"] and not ready:
        raise InvalidInput([line for line in lines if line.startswith(FAIL)])
    cgroups = any(check.name == "cgroups" and check.result == FAIL for check in checks)
    return {
        "changed": False,
        "checks": [asdict(check) for check in checks],
        "lines": lines,
        "ready": ready,
        "kernel_arguments": pi_file(machine) if cgroups else "",
    }


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
