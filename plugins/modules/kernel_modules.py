#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: kernel modules, loaded now and at every boot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_modules
short_description: Loads kernel modules, now and at every boot
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Loads modules that are not loaded, and names all of them in a file in C(/etc/modules-load.d), which systemd reads at
    boot. Modules that are in the kernel itself need neither.
  - Needs root. In a container it fails where one is missing, as the kernel is the host's.
extends_documentation_fragment:
  - rackstead.infra.attributes
options:
  names:
    description: The modules. Dashes and underscores are the same.
    type: list
    elements: str
    required: true
  file:
    description: Name of the file. It is this module's whole.
    type: str
    default: rackstead.conf
"""

EXAMPLES = r"""
- name: Have what Kubernetes' network needs
  rackstead.infra.kernel_modules:
    names: [br_netfilter, overlay]
  become: true
"""

RETURN = r"""
loaded:
  description: Modules that were loaded, or in check mode would be.
  type: list
  elements: str
  returned: success
  sample: [br_netfilter]
path:
  description: The file.
  type: str
  returned: success
  sample: /etc/modules-load.d/rackstead.conf
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.kernelmodules import ensure


def options() -> dict[str, Any]:
    return {
        "names": {"type": "list", "elements": "str", "required": True},
        "file": {"type": "str", "default": "rackstead.conf"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    return ensure(module.params["names"], module.params["file"], check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
