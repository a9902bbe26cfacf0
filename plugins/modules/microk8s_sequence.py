#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_sequence
version_added: "1.0.0"
short_description: The order in which a MicroK8s cluster is stopped or started
description:
  - Looks at what M(rackstead.infra.microk8s_info) found on all machines, and fails with a line for each that is in the way, before anything
    is stopped or started.
  - Workers are stopped first, then the control plane; of its members the spares, the standbys, the voters. Every state on the way is checked.
    A member that stays up and would be left without a quorum is told, and the shutdown refused.
options:
  hosts:
    description: The machines.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Name in the inventory.
        type: str
        required: true
      worker:
        description: Whether it is to be a worker. What the machine says of itself counts before.
        type: bool
        default: false
      found:
        description: What RV(rackstead.infra.microk8s_info#module:microk8s) was. Empty where the machine could not be reached.
        type: dict
  purpose:
    description: What is to be done.
    type: str
    choices: [shutdown, startup]
    required: true
  force:
    description: Whether machines that cannot be reached are left as they are, and the quorum may be lost.
    type: bool
    default: false
  here:
    description: Hosts that are the machine that runs the play. One whose node is called as that machine is, too.
    type: list
    elements: str
    default: []
  away_is_off:
    description: Whether machines that cannot be reached are taken to be off, as the machines are switched off, or have been.
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.attributes.info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Look before anything is stopped
  rackstead.infra.microk8s_sequence:
    purpose: shutdown
    hosts:
      - host: node1
        found: "{{ hostvars.node1.found.microk8s }}"
      - host: work1
        worker: true
        found: "{{ hostvars.work1.found.microk8s }}"
"""

RETURN = r"""
control:
  description: Hosts of the control plane that are to be stopped or started, in this order.
  returned: success
  type: list
  elements: str
workers:
  description: Workers, which go all at once.
  returned: success
  type: list
  elements: str
conductor:
  description: A host that can be asked about the cluster. Empty where there is none.
  returned: success
  type: str
nodes:
  description: Nodes that may be emptied before a shutdown, or let back in after a start.
  returned: success
  type: list
  elements: str
here:
  description: For a shutdown, the hosts that are the machine that runs the play.
  returned: success
  type: list
  elements: str
power:
  description:
    - For a shutdown, all hosts by the turns in which they may be switched off. Workers, the control plane, and the machine that runs the play.
  returned: success
  type: list
  elements: list
"""

import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import sequence

PURPOSES = {"shutdown": sequence.shutdown, "startup": sequence.startup}


def options() -> dict[str, Any]:
    host = {
        "host": {"type": "str", "required": True},
        "worker": {"type": "bool", "default": False},
        "found": {"type": "dict"},
    }
    return {
        "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
        "purpose": {"type": "str", "choices": list(PURPOSES), "required": True},
        "force": {"type": "bool", "default": False},
        "here": {"type": "list", "elements": "str", "default": []},
        "away_is_off": {"type": "bool", "default": False},
    }


def _seen(one: dict[str, Any], here: list[str]) -> sequence.Seen:
    found = one["found"] or {}
    mine = one["host"] in here or found.get("name") == socket.gethostname().lower()
    return sequence.Seen.of(one["host"], one["worker"], found, mine)


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    hosts = [_seen(one, given["here"]) for one in given["hosts"]]
    found = PURPOSES[given["purpose"]](hosts, given["force"], given["away_is_off"])
    plain = {name: list(getattr(found, name)) for name in ("control", "workers", "nodes", "here", "warnings")}
    return {"changed": False, "conductor": found.conductor, "power": [list(one) for one in found.power], **plain}


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
