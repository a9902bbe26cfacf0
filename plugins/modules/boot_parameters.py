#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the kernel's parameters on a Raspberry Pi."""

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_parameters
short_description: Adds kernel parameters on a Raspberry Pi
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Adds what is missing to the end of the one line in C(cmdline.txt) that the firmware hands to the kernel. All else in
    the file stays byte for byte, and the file is replaced as a whole, so that the machine boots whenever it loses power.
  - Says whether a boot is outstanding, and does not boot.
extends_documentation_fragment:
  - rackstead.infra.attributes
options:
  parameters:
    description: The parameters. C(cgroup_enable) counts as missing where C(cgroup_disable) of the same comes after it.
    type: list
    elements: str
    default: [cgroup_enable=memory, cgroup_memory=1]
  paths:
    description:
      - Where the file may be; the first that holds a command line counts.
      - Newer systems leave a note in place of the old file, which is no command line.
    type: list
    elements: path
    default: [/boot/firmware/cmdline.txt, /boot/cmdline.txt]
"""

EXAMPLES = r"""
- name: Switch the memory controller on
  rackstead.infra.boot_parameters:
  become: true
  register: boot

- name: Boot where that is needed
  ansible.builtin.reboot:
  become: true
  when: boot.reboot
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: success
  sample: /boot/firmware/cmdline.txt
added:
  description: Parameters that were missing in it.
  type: list
  elements: str
  returned: success
reboot:
  description: Whether the running kernel was booted without the parameters.
  type: bool
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.cmdline import ensure
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.model import BOOT_FILES, CGROUP_PARAMETERS


def options() -> dict[str, Any]:
    return {
        "parameters": {"type": "list", "elements": "str", "default": list(CGROUP_PARAMETERS)},
        "paths": {"type": "list", "elements": "path", "default": list(BOOT_FILES)},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    return ensure(module.params["paths"], module.params["parameters"], check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
