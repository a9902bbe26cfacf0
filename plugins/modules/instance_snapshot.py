#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_snapshot
version_added: "1.0.0"
short_description: Take, restore, delete and thin out snapshots of Incus instances
description:
  - Works on one instance or many at once, several at a time.
  - Everything is decided for all instances before anything is done. If one cannot be served, none is touched.
options:
  instances:
    description:
      - Names or shell patterns of the instances.
      - A name that does not exist fails the task, a pattern that fits nothing does not.
    type: list
    elements: str
    required: true
    aliases: [instance]
  name:
    description:
      - The snapshot's name. Percent signs are filled in with the time in UTC, as by C(strftime), the same for all instances.
      - Without it, for O(state=present) and O(state=pruned), V(snapshot-%Y%m%dT%H%M%SZ).
    type: str
  state:
    description:
      - V(present) takes a snapshot of that name, unless there is one, and then prunes if O(keep) or O(older_than) is given.
      - V(restored) puts the instance back to what the snapshot holds. A running instance is restarted.
      - V(absent) deletes the snapshot.
      - V(pruned) only prunes.
    type: str
    choices: [present, restored, absent, pruned]
    default: present
  stateful:
    description:
      - For O(state=present) also keep the state of the running processes, for O(state=restored) bring it back.
      - Containers need CRIU on the host and C(migration.stateful=true).
    type: bool
    default: false
  expires_at:
    description:
      - When Incus deletes a new snapshot by itself, as a time such as V(2030-01-31T12:00:00Z) or a duration from now on such
        as V(7d) or V(12h).
      - The expiry of a snapshot that exists is changed only to a time, not to a duration.
    type: str
  keep:
    description: Prune all but the newest so many. They stay even if they are older than O(older_than).
    type: int
  older_than:
    description: Prune only what is older, such as V(30d), V(12h) or V(2w).
    type: str
  match:
    description:
      - Shell pattern of the snapshots that may be pruned.
      - Without it only those whose name fits O(name) with another time, so that snapshots made by hand stay.
    type: str
  parallel:
    description: How many instances are worked on at once.
    type: int
    default: 8
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
attributes:
  idempotent:
    support: partial
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    details:
      - O(state=restored) always restores and reports a change, since nobody can tell what an instance has written since.
      - O(state=present) with a time in its O(name) takes a new snapshot whenever that time has moved on.
notes:
  - Snapshots of custom volumes are not taken.
  - Check mode cannot know whether CRIU is installed on the server.
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Take a snapshot before an upgrade
  rackstead.infra.instance_snapshot:
    instance: gateway
    name: before-upgrade
    expires_at: 7d

- name: Go back
  rackstead.infra.instance_snapshot:
    instance: gateway
    name: before-upgrade
    state: restored

- name: Every night take one of each instance, keep seven and whatever is younger than two weeks
  rackstead.infra.instance_snapshot:
    instances: ["*"]
    name: nightly-%Y%m%d
    keep: 7
    older_than: 14d

- name: Delete it
  rackstead.infra.instance_snapshot:
    instance: gateway
    name: before-upgrade
    state: absent
"""

RETURN = r"""
name:
  description: The snapshot's name, with its time filled in.
  returned: success
  type: str
  sample: snapshot-20300131T120000Z
instances:
  description: What was, or would be, done on each instance.
  returned: success or failure
  type: list
  elements: dict
  contains:
    name:
      description: The instance's name.
      type: str
    actions:
      description: Verbs V(create), V(update), V(restore) or V(delete), each with the snapshot's name, in order.
      type: list
      elements: dict
    snapshots:
      description: The instance's snapshots afterwards, with C(name), C(created_at), C(expires_at) and C(stateful).
      type: list
      elements: dict
    error:
      description: What went wrong, if it did.
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.snapshots import (
    STATES,
    SnapshotRequest,
    run_snapshots,
)


def options() -> dict[str, Any]:
    return {
        "instances": {"type": "list", "elements": "str", "required": True, "aliases": ["instance"]},
        "name": {"type": "str"},
        "state": {"type": "str", "choices": list(STATES), "default": "present"},
        "stateful": {"type": "bool", "default": False},
        "expires_at": {"type": "str"},
        "keep": {"type": "int"},
        "older_than": {"type": "str"},
        "match": {"type": "str"},
        "parallel": {"type": "int", "default": 8},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    return run_snapshots(client_of(module.params), SnapshotRequest.of(module.params), check=module.check_mode)


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
