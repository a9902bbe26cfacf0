#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_restore
version_added: "1.0.0"
short_description: Bring a cluster of MicroK8s back from a backup
description:
  - Runs on a node of the control plane, and takes an archive of M(rackstead.infra.microk8s_backup). The archive's checksums are
    verified before anything is changed.
  - Objects that are there and equal are left. If one differs, nothing is changed, unless O(overwrite=true). Objects that the backup
    does not have stay.
  - The playbook C(rackstead.infra.restore_cluster) does all of it in the right order.
options:
  state:
    description:
      - V(present) makes the objects of the backup that are not there.
      - V(compared) tells which are missing or differ. It changes nothing.
      - V(looked) tells what this machine is to a restore of the datastore.
      - V(quiet) stops the API server and the controllers on this machine. Its member of the datastore goes on.
      - V(datastore) writes the datastore of the backup over what there is, by C(microk8s dbctl restore). All machines of the control
        plane have to be V(quiet). Keys that came after the backup stay.
      - V(awake) starts what V(quiet) stopped.
    type: str
    choices: [present, compared, looked, quiet, datastore, awake]
    default: present
  path:
    description: Folder on the machine with its backups.
    type: path
    default: /var/backups/microk8s
  file:
    description: The backup. Without it, the newest in O(path).
    type: path
  namespaces:
    description: Restore objects of these alone. C(_cluster) stands for those in none. Without it, all.
    type: list
    elements: str
    default: []
  kinds:
    description: Restore objects of these kinds alone, such as C(deployments.apps), C(secrets) or C(ConfigMap). Without it, all.
    type: list
    elements: str
    default: []
  selector:
    description: Restore objects with these labels alone, such as C(tier=front,!canary).
    type: str
    default: ""
  overwrite:
    description: Whether objects that differ are put back to what they were.
    type: bool
    default: false
  machines:
    description: With V(quiet), what V(looked) has told of all machines of the cluster. Refused if a member of the datastore is missing.
    type: list
    elements: dict
    default: []
  wait:
    description: Seconds to wait for the services with V(awake), and for a kind to be served with V(present).
    type: float
    default: 600.0
extends_documentation_fragment:
  - rackstead.infra.microk8s
  - rackstead.infra.attributes
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Bring back what was deleted from a namespace
  rackstead.infra.microk8s_restore:
    namespaces: [shop]

- name: Put two kinds back to what they were a week ago
  rackstead.infra.microk8s_restore:
    file: /var/backups/microk8s/microk8s-20261124T014222217252Z.tar.gz
    kinds: [ConfigMap, deployments.apps]
    overwrite: true
"""

RETURN = r"""
archive:
  description: The backup.
  returned: with V(present), V(compared) and V(datastore)
  type: str
created:
  description: Objects that were made, as C(NAMESPACE/RESOURCE/NAME), in this order.
  returned: with V(present)
  type: list
  elements: str
  sample: ["_cluster/namespaces/shop", "shop/deployments.apps/web"]
replaced:
  description: Objects that were put back to what they were.
  returned: with V(present)
  type: list
  elements: str
left:
  description: How many objects are there as they were.
  returned: with V(present) and V(compared)
  type: int
missing:
  description: Objects that are not there.
  returned: with V(compared)
  type: list
  elements: str
differing:
  description: Objects of which the cluster has something else, with the fields. With V(present), although they were just written.
  returned: with V(present) and V(compared)
  type: list
  elements: str
size:
  description: Bytes of the datastore's backup.
  returned: with V(datastore)
  type: int
before:
  description: Whether the services were C(started) or C(stopped).
  returned: with V(quiet) and V(awake)
  type: str
name:
  description: The machine's name.
  returned: with V(looked)
  type: str
place:
  description: What the machine is, as M(rackstead.infra.microk8s_info) tells it.
  returned: with V(looked)
  type: str
running:
  description: Whether the machine's API server runs.
  returned: with V(looked)
  type: bool
under_way:
  description: Whether a restore of the datastore has begun here, and not ended.
  returned: with V(looked)
  type: bool
member:
  description: The machine's address in the datastore.
  returned: with V(looked)
  type: str
members:
  description: Addresses of all members of the datastore.
  returned: with V(looked)
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import restore
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import restore_datastore as datastore
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.open import OPTIONS, client_of


def options() -> dict[str, Any]:
    return {
        **OPTIONS,
        "state": {
            "type": "str",
            "choices": ["present", "compared", "looked", "quiet", "datastore", "awake"],
            "default": "present",
        },
        "path": {"type": "path", "default": "/var/backups/microk8s"},
        "file": {"type": "path"},
        "namespaces": {"type": "list", "elements": "str", "default": []},
        "kinds": {"type": "list", "elements": "str", "default": []},
        "selector": {"type": "str", "default": ""},
        "overwrite": {"type": "bool", "default": False},
        "machines": {"type": "list", "elements": "dict", "default": []},
        "wait": {"type": "float", "default": 600.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given, check = module.params, module.check_mode
    client, state = client_of(given), given["state"]
    if state == "looked":
        return datastore.looked(client)
    if state == "quiet":
        return datastore.ensure_quiet(client, given["machines"], check)
    if state == "awake":
        return datastore.ensure_awake(client, given["wait"], check)
    archive = Path(given["file"]) if given["file"] else restore.newest(Path(given["path"]))
    if state == "datastore":
        return datastore.ensure_datastore(client, archive, check)
    choice = restore.Choice(tuple(given["namespaces"]), tuple(given["kinds"]), given["selector"], given["overwrite"])
    if state == "compared":
        return restore.compare(client, archive, choice)
    return restore.ensure_objects(client, archive, choice, given["wait"], check)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
