#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_workload
version_added: "1.0.0"
short_description: Scale down, pause and restore workloads of a MicroK8s cluster
description:
  - Runs on a node of the control plane. Holds Deployments, StatefulSets and CronJobs down for a reason, and puts them back
    to what they were.
  - What a workload was, and which reason wants how much of it, is kept in its annotation C(rackstead.infra/kept). The lowest wish
    counts. Where one reason goes, the others still hold.
  - If somebody else changes the replicas meanwhile, that counts, and what was kept does not. A HorizontalPodAutoscaler is
    nobody else.
  - Pods on their own, ReplicaSets on their own, DaemonSets and Jobs that run already are left alone.
options:
  state:
    description:
      - V(scaled) has no more than O(replicas), or O(percent) of what they were. It never scales up. CronJobs stay as they are.
      - V(paused) has no replicas, and CronJobs suspended.
      - V(restored) ends O(reason), wherever it holds something down.
    type: str
    choices: [scaled, paused, restored]
    required: true
  reason:
    description:
      - Under which name this is kept. Without it, V(scale_down) with O(state=scaled) and V(pause) with O(state=paused).
      - Required with O(state=restored).
    type: str
  replicas:
    description: How many replicas a workload has at most.
    type: int
  percent:
    description: How many per cent of what it was a workload has at most, 0 to 100, rounded up.
    type: int
  namespaces:
    description: In which namespaces. Without it, in all but C(kube-system), which is meant only where it is named.
    type: list
    elements: str
    default: []
  selector:
    description: Which labels the workloads bear, as C(kubectl --selector) takes it.
    type: str
    default: ""
  below_priority:
    description: Only those whose label C(rackstead.infra/priority) is lower than this. Without the label, it is 0.
    type: int
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Half of everything that matters little
  rackstead.infra.microk8s_workload:
    state: scaled
    percent: 50
    below_priority: 50

- name: Pause a shop
  rackstead.infra.microk8s_workload:
    state: paused
    namespaces: [shop]

- name: Resume it. What was scaled down stays so.
  rackstead.infra.microk8s_workload:
    state: restored
    reason: pause
"""

RETURN = r"""
workloads:
  description: Those that changed. In check mode, those that would. Of a CronJob, 1 is on schedule and 0 suspended.
  returned: success
  type: list
  elements: dict
  sample: [{"kind": "Deployment", "namespace": "shop", "name": "web", "before": 3, "after": 0, "was": 3, "reasons": ["pause"]}]
selected:
  description: How many were looked at, with those that needed no change.
  returned: success
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.workloads import (
    Selection,
    Target,
    ensure_workloads,
)

REASONS = {"scaled": "scale_down", "paused": "pause"}


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "state": {"type": "str", "choices": ["scaled", "paused", "restored"], "required": True},
        "reason": {"type": "str"},
        "replicas": {"type": "int"},
        "percent": {"type": "int"},
        "namespaces": {"type": "list", "elements": "str", "default": []},
        "selector": {"type": "str", "default": ""},
        "below_priority": {"type": "int"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    reason = given["reason"] or REASONS.get(given["state"], "")
    selection = Selection(tuple(given["namespaces"]), given["selector"], given["below_priority"])
    target = Target(given["replicas"], given["percent"])
    found = ensure_workloads(client_of(given), given["state"], reason, selection, target, module.check_mode)
    for line in found.pop("warnings"):
        module.warn(line)
    return found


def main() -> None:
    run_module(options(), run, connection=False, required_if=[("state", "restored", ["reason"])])


if __name__ == "__main__":
    main()
