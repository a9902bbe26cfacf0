#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_info
version_added: "1.0.0"
short_description: What is known of a machine's MicroK8s
description:
  - Tells what the machine is (in no cluster, of a control plane, a worker), its version and channel, and, on a control plane,
    nodes, members of the datastore, quorum, addons and certificates.
  - What is not well is listed, the worst first, with what to do.
  - A machine on which MicroK8s is stopped, hangs or is not installed is no failure; RV(microk8s.place) says so.
options:
  address:
    description: Address of the machine, if it is not the one from which it goes out.
    type: str
  name:
    description: Name of the machine's node, if that is not its host name.
    type: str
  workloads:
    description: On a control plane, tell pods that are not well, and claims of storage, too. That takes two questions more.
    type: bool
    default: false
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes.info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Look at a machine
  rackstead.infra.microk8s_info:
  register: found

- name: Say what is not well
  ansible.builtin.debug:
    msg: "{{ found.findings | map(attribute='what') }}"
"""

RETURN = r"""
microk8s:
  description: What is known.
  returned: success
  type: dict
  contains:
    name:
      description: Name under which Kubernetes knows the machine.
      type: str
    address:
      description: Its address.
      type: str
    machine_id:
      description: What tells it from another machine of the same name.
      type: str
    installed:
      description: Whether the snap is installed.
      type: bool
    version:
      description: Its version.
      type: str
    revision:
      description: The snap's revision.
      type: str
    channel:
      description: The channel it follows.
      type: str
    place:
      description: V(absent), V(stopped), V(worker), V(single), V(control-plane) or V(unresponsive).
      type: str
    problem:
      description: Why something could not be had.
      type: str
    running:
      description: Whether the services run.
      type: bool
    clustered:
      description: Whether the machine is in a cluster with others.
      type: bool
    nodes:
      description: All nodes, on a control plane.
      type: list
      elements: dict
    datastore:
      description:
        - C(members) with name, role and whether they are up, C(quorum), and how many voters may be C(spared).
        - C(bytes) that it takes on this machine's disk, or null where it has no folder there.
      type: dict
    addons:
      description: All addons, and whether they are enabled.
      type: list
      elements: dict
    certificates:
      description: Certificates, and the days for which they are good.
      type: list
      elements: dict
    pods:
      description:
        - Pods that are not ready and have not ended well, with C(namespace), C(name), C(node), C(reason), C(message) and C(restarts).
        - Null without O(workloads), or where no API server answers.
      type: list
      elements: dict
    claims:
      description: All claims of storage, with C(namespace), C(name), C(phase), C(class), C(size) and C(volume). Null as C(pods).
      type: list
      elements: dict
findings:
  description: What is not well, the worst first. C(severity) is V(critical), V(warning) or V(notice).
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.info import findings, gather
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "address": {"type": "str"},
        "name": {"type": "str"},
        "workloads": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    found = gather(client_of(given), given["address"] or "", given["name"] or "", given["workloads"])
    listed = [{"severity": one.severity, "what": one.what, "todo": one.todo} for one in findings(found)]
    return {"changed": False, "microk8s": found, "findings": listed}


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
