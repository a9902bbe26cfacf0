#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_backup
version_added: "1.0.0"
short_description: Back up a cluster of MicroK8s
description:
  - Runs on a node of the control plane. Puts the cluster's objects and its datastore into one archive, which appears whole.
  - Objects are all kinds that can be listed and created, without what the cluster makes and adds itself. They are documents of
    YAML by namespace and kind, such as C(objects/shop/deployments.apps.yaml).
  - The archive holds Secrets as they are. It is readable by root alone, and its contents are never shown.
options:
  state:
    description:
      - V(present) takes one more backup, and reads it back.
      - V(verified) reads a backup back, and tells how it differs from what the cluster has now. It changes nothing.
    type: str
    choices: [present, verified]
    default: present
  path:
    description: Folder on the machine that keeps the backups. It is made with mode 0700 if it is not there.
    type: path
    default: /var/backups/microk8s
  file:
    description: With V(verified), the backup to verify. Without it, the newest in O(path).
    type: path
  keep:
    description: How many backups are kept in O(path). Older ones are removed once the new one is whole.
    type: int
    default: 7
  objects:
    description: Whether the cluster's objects are backed up.
    type: bool
    default: true
  datastore:
    description: Whether the datastore is backed up, by C(microk8s dbctl backup).
    type: bool
    default: true
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Take a backup
  rackstead.infra.microk8s_backup:
    keep: 14
  register: backup

- name: See whether it is whole
  rackstead.infra.microk8s_backup:
    state: verified
    file: "{{ backup.archive }}"
"""

RETURN = r"""
archive:
  description: The backup. In check mode, where it would be.
  returned: success
  type: str
size:
  description: Its bytes. 0 in check mode.
  returned: success
  type: int
counts:
  description: How many objects are in it, by namespace and kind. Those in no namespace are under C(_cluster).
  returned: success
  type: dict
  sample: {"_cluster/namespaces": 3, "shop/deployments.apps": 1}
removed:
  description: Backups that were removed as there were more than O(keep).
  returned: success
  type: list
  elements: str
made:
  description: When it was taken.
  returned: when O(state=verified)
  type: str
differing:
  description: Kinds of which the cluster now has more or fewer objects than the backup, a line each. Empty where no cluster answers.
  returned: when O(state=verified)
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.backup import Wanted, ensure_backup, verify
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
        "path": {"type": "path", "default": "/var/backups/microk8s"},
        "file": {"type": "path"},
        "keep": {"type": "int", "default": 7},
        "objects": {"type": "bool", "default": True},
        "datastore": {"type": "bool", "default": True},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    wanted = Wanted(Path(given["path"]), given["keep"], given["objects"], given["datastore"])
    if given["state"] == "verified":
        return verify(client_of(given), wanted, given["file"] or "")
    return ensure_backup(client_of(given), wanted, check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
