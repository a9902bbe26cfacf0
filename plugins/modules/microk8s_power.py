#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_power
version_added: "1.0.0"
short_description: MicroK8s on a machine, stopped and started
description:
  - Stops or starts the services of MicroK8s on the machine it runs on.
  - Unlike C(microk8s stop) it does not disable them. A machine that is switched off meanwhile comes back with them.
  - It looks at this machine only. To stop a whole cluster in an order that its datastore bears, see M(rackstead.infra.microk8s_sequence)
    and the playbook C(shutdown_cluster).
options:
  state:
    description: What is wanted. V(started) enables the services at boot, if somebody has disabled and stopped them.
    type: str
    choices: [started, stopped]
    required: true
  ready:
    description: For V(started), whether it is waited for until the machine answers for its cluster, which takes a quorum of the datastore.
    type: bool
    default: false
  wait:
    description: How long that may take, in seconds.
    type: float
    default: 600.0
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Stop MicroK8s until the next boot
  rackstead.infra.microk8s_power:
    state: stopped

- name: Have it started, and wait for the cluster
  rackstead.infra.microk8s_power:
    state: started
    ready: true
"""

RETURN = r"""
before:
  description: What it was before, V(started) or V(stopped).
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import lifecycle
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "state": {"type": "str", "choices": ["started", "stopped"], "required": True},
        "ready": {"type": "bool", "default": False},
        "wait": {"type": "float", "default": 600.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given, check = module.params, module.check_mode
    client = client_of(given)
    if given["state"] == "stopped":
        return lifecycle.ensure_stopped(client, given["wait"], check)
    return lifecycle.ensure_started(client, given["ready"], given["wait"], check)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
