#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_token
version_added: "1.0.0"
short_description: Mint a way to join a MicroK8s cluster, if it is needed
description:
  - Runs on a node of the control plane. Looks, by its exact name, whether a machine is in the cluster, and mints a token only where it is not.
  - Refuses where the datastore would lose its quorum by the join.
options:
  name:
    description: Name of the machine that is to join, as Kubernetes will know it.
    type: str
    required: true
  worker:
    description: Whether it is to be a worker.
    type: bool
    default: false
  alone:
    description: Whether the machine itself says that it is in no cluster. If the cluster has a node of its name then, that is RV(stale).
    type: bool
    default: false
  ttl:
    description: How long the token is good, in seconds.
    type: int
    default: 300
  force:
    description: Whether the quorum may be lost.
    type: bool
    default: false
notes:
  - RV(connection) is a secret. Set C(no_log) to V(true) on the task.
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Let a machine in, if it is not in yet
  rackstead.infra.microk8s_token:
    name: node3
  register: way
  no_log: true
"""

RETURN = r"""
needed:
  description: Whether the machine has to join.
  returned: success
  type: bool
stale:
  description: Whether the cluster has a dead node of this name, although the machine is in no cluster. It has to be removed first.
  returned: success
  type: bool
connection:
  description: What M(rackstead.infra.microk8s_node) takes to join. Empty where it is not needed, and in check mode.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.node import ensure_token
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "name": {"type": "str", "required": True},
        "worker": {"type": "bool", "default": False},
        "alone": {"type": "bool", "default": False},
        "ttl": {"type": "int", "default": 300},
        "force": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    if given["ttl"] < 1:
        raise InvalidInput([f"ttl: {given['ttl']} is not valid; allowed: seconds, 1 or more"])
    return ensure_token(
        client_of(given),
        given["name"],
        given["worker"],
        given["alone"],
        given["ttl"],
        given["force"],
        module.check_mode,
    )


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
