#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_addon
version_added: "1.0.0"
short_description: Enable or disable an addon of MicroK8s
description:
  - Runs on a node of the control plane. An unknown addon is refused with the nearest that there is.
options:
  name:
    description: Name of the addon, with its repository before it where that is needed, such as V(core/dns).
    type: str
    required: true
  state:
    description: What is wanted.
    type: str
    choices: [enabled, disabled]
    default: enabled
  arguments:
    description: What C(microk8s enable) gets beside the name. It cannot be read back, so it counts only when the addon is being enabled.
    type: list
    elements: str
    default: []
  wait:
    description: How long it is waited for afterwards, in seconds.
    type: float
    default: 300.0
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Balance load on these addresses
  rackstead.infra.microk8s_addon:
    name: metallb
    arguments: [192.0.2.100-192.0.2.120]
"""

RETURN = r"""
addon:
  description: The addon, with its repository.
  returned: success
  type: str
before:
  description: V(enabled) or V(disabled).
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.addons import ensure_addon
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["enabled", "disabled"], "default": "enabled"},
        "arguments": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "float", "default": 300.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    enabled = given["state"] == "enabled"
    return ensure_addon(
        client_of(given), given["name"], enabled, given["arguments"], given["wait"], check=module.check_mode
    )


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
