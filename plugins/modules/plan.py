#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
version_added: "1.0.0"
short_description: Reconcile a whole plan of Incus instances in one task
description:
  - Observes everything the plan speaks of in a few calls, computes the change, applies it in dependency order with a
    bounded number of workers, and waits until the instances are ready.
  - What check mode shows is what a real run does. Only the fields that the plan names are touched; a field that an
    earlier run of the same plan set and that is no longer named is unset.
  - Everything the plan makes bears its name in C(user.rackstead.plan). Only such resources are ever deleted.
  - While it runs, a line is shown for each resource that is done, and every ten seconds for those that take long.
  - The plan format is described in the collection's C(docs/plans.md) and C(docs/schema/plan.schema.json).
options:
  src:
    description:
      - Path of the plan, a YAML file on the control node. Jinja2 expressions in its values are templated with the
        task's variables.
      - Exactly one of O(src) and O(plan) is needed.
    type: path
  plan:
    description: The plan itself.
    type: dict
  name:
    description:
      - The plan's name, which marks what it owns. Without it the plan's own C(name), else the file's name
        without its ending.
    type: str
  state:
    description:
      - V(present) makes things as the plan says. V(absent) deletes what this plan made.
      - V(started) and V(stopped) only start or stop the plan's instances.
    type: str
    choices: [present, absent, started, stopped]
    default: present
  limit:
    description: Names or shell patterns of the instances to act on. Without it, all of them.
    type: list
    elements: str
    default: []
  parallel:
    description: How many resources are worked on at once.
    type: int
    default: 8
  prune:
    description: Delete what this plan made earlier and no longer names.
    type: bool
    default: false
  on_change:
    description:
      - What to do about a change that counts only after a restart of a running instance.
      - V(refuse) fails before anything is changed, V(restart) restarts it, V(never) stores it for the next start.
    type: str
    choices: [restart, refuse, never]
    default: refuse
  on_error:
    description:
      - V(stop) starts nothing new after the first failure; V(continue) finishes all that does not need what failed.
    type: str
    choices: [stop, continue]
    default: stop
  adopt:
    description: Take over instances that exist already and bear no mark, or another plan's.
    type: bool
    default: false
  plan_file:
    description:
      - In check mode the computed change is written to this file, together with digests of what was observed.
      - In a real run the file must exist and fit; if reality or the plan moved since, nothing is applied and what moved
        is named. It holds no secrets.
    type: path
  timeout:
    description: Seconds in which each instance must become ready.
    type: int
    default: 300
  progress_file:
    description:
      - Append progress to this file, one JSON object a line, for whoever follows the run from outside.
      - If not set, the value of the environment variable E(RACKSTEAD_PROGRESS_FILE) is used.
    type: path
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
notes:
  - Where the connection is local and there is no C(become), the work is done by the controller's own worker, without the
    cost of a module. Otherwise it runs on the target, and its progress is fetched from there.
seealso:
  - module: rackstead.infra.instance
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Apply a plan
  rackstead.infra.plan:
    src: plans/demo.yml

- name: See what would change, and keep it for later
  rackstead.infra.plan:
    src: plans/demo.yml
    plan_file: /var/tmp/demo.plan
  check_mode: true
  diff: true

- name: A plan written in place
  rackstead.infra.plan:
    name: lab
    plan:
      defaults:
        image: debian/12
        memory: 256MiB
      instances:
        node1: {}
        node2:
          depends_on: [node1]
          wait_for: [ipv4]
"""

RETURN = r"""
plan:
  description: The plan's name.
  returned: always
  type: str
resources:
  description: Every resource of the plan.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: V(instance), V(profile), V(network), V(storage_volume) or V(project).
      type: str
    name:
      description: The resource's name.
      type: str
    project:
      description: Its Incus project.
      type: str
    changed:
      description: Whether anything was, or would be, done.
      type: bool
    actions:
      description: What was, or would be, done, in order.
      type: list
      elements: str
    before:
      description: The fields the plan speaks of, as they were. Null where the resource did not exist.
      type: dict
    after:
      description: The same fields afterwards. Null where the resource is gone.
      type: dict
    notes:
      description: What is worth knowing, such as a setting that counts from the next start on.
      type: list
      elements: str
    duration:
      description: Seconds it took, waiting for readiness included.
      type: float
    error:
      description: What went wrong, if it did.
      type: str
    skipped:
      description: Why it was not tried, if it was not.
      type: str
summary:
  description: Counts of V(total), V(changed), V(unchanged), V(failed) and V(skipped) resources.
  returned: always
  type: dict
  sample: {total: 4, changed: 1, unchanged: 3, failed: 0, skipped: 0}
problems:
  description: Every fault of the input, one a line.
  returned: when the plan cannot be used
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import plan_spec, run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.plantask import request_of, run_plan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.progress import Progress


def run(module: AnsibleModule) -> dict[str, Any]:
    client = client_of(module.params)
    progress = Progress(path=module.params["progress_file"] or "")
    try:
        return run_plan(request_of(module.params, client), client, check=module.check_mode, progress=progress)
    finally:
        progress.close()


def main() -> None:
    one = {"required_one_of": [("plan", "src")], "mutually_exclusive": [("plan", "src")]}
    # no_log keeps the plan, which may hold secrets, out of the target's system log.
    run_module(plan_spec(), run, no_log=True, **one)


if __name__ == "__main__":
    main()
