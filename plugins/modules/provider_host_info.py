#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a machine has of what a provider needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: provider_host_info
short_description: Says what a machine has of what an Incus provider needs
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Looks for a daemon that answers, its program and packages, services, subordinate ids, users, and firewall rules of
    others that cut the bridge off. Changes nothing.
  - The role P(rackstead.infra.provider#role) decides by it.
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes.info
options:
  bridge:
    description: Name of the bridge that the firewall is looked at for.
    type: str
    default: incusbr0
  group:
    description: Group whose members may use the socket.
    type: str
    default: incus-admin
  supervisor_pid:
    description: File with the process id of the supervisor that the role starts where there is no systemd.
    type: path
    default: /var/lib/rackstead/provider/runsvdir.pid
  packages:
    description: Debian packages to look for.
    type: list
    elements: str
    default: []
  users:
    description: Users to look for.
    type: list
    elements: str
    default: []
  files:
    description: Files to take digests of.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Look at the machine
  rackstead.infra.provider_host_info:
    packages: [incus-base, lxcfs]
  register: machine

- name: Say which firewalls are in the way
  ansible.builtin.debug:
    msg: "{{ machine.neighbours | map(attribute='problem') }}"
"""

RETURN = r"""
daemon:
  description: Whether a daemon answers at O(url), its process id and version.
  type: dict
  returned: success
  sample: {"answers": true, "pid": 2806, "version": "6.0.4"}
program:
  description: Path of the daemon's program, or nothing.
  type: str
  returned: success
  sample: /usr/libexec/incus/incusd
packages_missing:
  description: Those of O(packages) that are not installed.
  type: list
  elements: str
  returned: success
virtual_machines:
  description: Whether the kernel offers what virtual machines need.
  type: bool
  returned: success
apparmor:
  description: Whether the kernel has AppArmor.
  type: bool
  returned: success
lxcfs:
  description: Whether lxcfs is mounted and alive.
  type: bool
  returned: success
lxd:
  description: Whether LXD is, or was, on the machine.
  type: bool
  returned: success
unit:
  description: State of the daemon's unit in systemd, such as V(active), or nothing where there is no systemd.
  type: str
  returned: success
supervisor:
  description: Whether the supervisor of O(supervisor_pid) runs.
  type: bool
  returned: success
subordinate_ids:
  description: Root's lines in C(/etc/subuid) and C(/etc/subgid).
  type: dict
  returned: success
  sample: {"/etc/subuid": ["root:1000000:1000000000"]}
group:
  description: Whether O(group) exists.
  type: bool
  returned: success
users_unknown:
  description: Those of O(users) that do not exist.
  type: list
  elements: str
  returned: success
users_outside:
  description: Those of O(users) that are no members of O(group).
  type: list
  elements: str
  returned: success
digests:
  description: SHA-256 of each of O(files), nothing where there is no such file.
  type: dict
  returned: success
neighbours:
  description: Firewalls of others (Docker, ufw, firewalld, other rules) that drop what goes through O(bridge).
  type: list
  elements: dict
  returned: success
  contains:
    neighbour:
      description: Whose rules these are.
      type: str
      returned: always
      sample: docker
    problem:
      description: One sentence.
      type: str
      returned: always
    commands:
      description: Commands that mend it.
      type: list
      elements: str
      returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.machine import Questions, look


def options() -> dict[str, Any]:
    return {
        "bridge": {"type": "str", "default": "incusbr0"},
        "group": {"type": "str", "default": "incus-admin"},
        "supervisor_pid": {"type": "path", "default": "/var/lib/rackstead/provider/runsvdir.pid"},
        "packages": {"type": "list", "elements": "str", "default": []},
        "users": {"type": "list", "elements": "str", "default": []},
        "files": {"type": "list", "elements": "path", "default": []},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    asked = {option: module.params[option] for option in options()}
    return {"changed": False, **look(client_of(module.params), Questions(**asked))}


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
