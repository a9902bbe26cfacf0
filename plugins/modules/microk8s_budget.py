#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_budget
version_added: "1.0.0"
short_description: What of a shutdown fits into the time that is left
description:
  - Called once without O(began), it begins a span of time. Called again with what it returned, it tells what of the steps ahead still fits.
  - Steps that do not fit are left out or shortened in a declared order, and each is told in a warning. It does nothing itself.
  - The clock is the one of the machine that runs the module, and no setting of the time changes it. So run it on the same machine each time.
options:
  budget:
    description: Seconds for the whole.
    type: float
    required: true
  began:
    description: When it began, as RV(began) said. Without it, it begins now.
    type: float
  steps:
    description: What is ahead.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the step.
        type: str
        required: true
      seconds:
        description: How long it takes, or may take.
        type: float
        required: true
      least:
        description: With how many seconds it is of use yet. Without it, it needs all.
        type: float
  order:
    description:
      - Steps that may be left out, the first to go first. The last takes what it needs, and each before it what is left then.
      - All others are done, whether they fit or not.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - rackstead.infra.attributes.info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Begin
  rackstead.infra.microk8s_budget:
    budget: 240
  delegate_to: localhost
  register: budget

- name: See what fits
  rackstead.infra.microk8s_budget:
    budget: 240
    began: "{{ budget.began }}"
    steps:
      - name: drain
        seconds: 300
        least: 20
      - name: backup
        seconds: 60
      - name: stop
        seconds: 90
    order: [backup, drain]
  delegate_to: localhost
"""

RETURN = r"""
began:
  description: When it began, on a clock that starts with the machine.
  returned: success
  type: float
left:
  description: Seconds that are left.
  returned: success
  type: float
granted:
  description: By step, the seconds that it gets. V(0) for those that are left out.
  returned: success
  type: dict
left_out:
  description: By step that is left out, why.
  returned: success
  type: dict
shortened:
  description: By step that gets less than it wants, how much.
  returned: success
  type: dict
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import budget


def options() -> dict[str, Any]:
    step = {
        "name": {"type": "str", "required": True},
        "seconds": {"type": "float", "required": True},
        "least": {"type": "float"},
    }
    return {
        "budget": {"type": "float", "required": True},
        "began": {"type": "float"},
        "steps": {"type": "list", "elements": "dict", "default": [], "options": step},
        "order": {"type": "list", "elements": "str", "default": []},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    began, left = budget.clock(given["budget"], given["began"], time.monotonic())
    fits = budget.fit(budget.of_options(given["steps"]), given["order"], left)
    said = {**fits.left_out, **fits.shortened}
    return {
        "changed": False,
        "began": began,
        "left": left,
        "granted": dict(fits.granted),
        "left_out": dict(fits.left_out),
        "shortened": dict(fits.shortened),
        "warnings": [*(f"{step} {why}" for step, why in said.items()), *([fits.late] if fits.late else [])],
    }


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
