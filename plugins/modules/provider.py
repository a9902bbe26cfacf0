#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a fresh Incus daemon needs before it can hold instances."""

from __future__ import annotations

DOCUMENTATION = r"""
module: provider
short_description: Initialises an Incus daemon
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Gives an Incus daemon a storage pool, a bridge and a default profile that names both, and optionally an address
    for its API.
  - Only what is missing is made. A pool, bridge or profile that somebody configured otherwise is kept and named in
    RV(kept), unless O(reconfigure=true).
  - The role P(rackstead.infra.provider#role) installs and starts the daemon first, and calls this module.
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
options:
  pool:
    description: The storage pool of the default profile's root disk.
    type: dict
    default: {}
    suboptions:
      name:
        description: Name of the pool.
        type: str
        default: default
      driver:
        description: Storage driver. What it needs on the machine must be installed.
        type: str
        choices: [dir, btrfs, zfs, lvm]
        default: dir
      source:
        description:
          - Block device, dataset, volume group or folder to use.
          - Without it the drivers other than V(dir) make a loop file.
        type: str
        default: ""
      size:
        description: Size of the loop file, such as V(20GiB). Incus chooses one where it is not given.
        type: str
        default: ""
  bridge:
    description: The network of the default profile's network device.
    type: dict
    default: {}
    suboptions:
      name:
        description: Name of the bridge. An interface of the machine that is no Incus network is used as it is.
        type: str
        default: incusbr0
      ipv4:
        description: V(auto) for a free subnet, V(none), or the bridge's own address in CIDR notation.
        type: str
        default: auto
      ipv6:
        description: V(auto) for a free subnet, V(none), or the bridge's own address in CIDR notation.
        type: str
        default: none
      nat:
        description: Whether the instances reach other networks through the machine's addresses.
        type: bool
        default: true
  https_address:
    description:
      - Address and port for the API, such as V(127.0.0.1:8443) or V([::]:8443).
      - If empty, nothing is asked of the API's address; a fresh daemon then answers on its socket alone.
    type: str
    default: ""
  reconfigure:
    description:
      - Whether what exists and differs is changed too.
      - A pool's driver cannot be changed at all.
    type: bool
    default: false
  bare:
    description:
      - Predict for a daemon that does not exist yet, without asking any.
      - Only for check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Initialise the local daemon with a pool in a folder and a bridge
  rackstead.infra.provider:

- name: Initialise it with a subnet of one's own and an API on the loopback address
  rackstead.infra.provider:
    bridge:
      ipv4: 10.90.0.1/24
    https_address: 127.0.0.1:8443
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, in order.
  type: list
  elements: str
  returned: always
  sample: ["create pool default (dir)", "create bridge incusbr0 (IPv4 auto)"]
kept:
  description: What differs from the options and was left as it is.
  type: list
  elements: str
  returned: always
  sample: ["bridge incusbr0 has ipv4.address 10.1.0.1/24, not 10.90.0.1/24"]
health:
  description: Figures about the provider. Empty with O(bare=true).
  type: dict
  returned: always
  contains:
    version:
      description: Version of the daemon.
      type: str
      returned: success
    driver:
      description: Drivers of the instances.
      type: str
      returned: success
    pool:
      description: Pool of the default profile.
      type: str
      returned: success
    pool_driver:
      description: Its storage driver.
      type: str
      returned: success
    pool_free:
      description: Free bytes in it.
      type: int
      returned: success
    bridge:
      description: Network of the default profile.
      type: str
      returned: success
    bridge_address:
      description: The bridge's own address.
      type: str
      returned: success
    instances:
      description: Number of instances in all projects.
      type: int
      returned: success
    running:
      description: How many of them run.
      type: int
      returned: success
    images:
      description: Number of images.
      type: int
      returned: success
    missing:
      description: A clause for each thing that is not well.
      type: list
      elements: str
      returned: success
summary:
  description: The health in one line.
  type: str
  returned: always
  sample: >-
    Incus 6.0.4 (lxc) is ready: pool default (dir, 78.9 GiB free), bridge incusbr0 (10.77.0.1/24), 1 image,
    3 of 3 instances running
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.initialise import (
    Bridge,
    Desired,
    Pool,
    ensure,
    health,
)


def options() -> dict[str, Any]:
    return {
        "pool": {
            "type": "dict",
            "default": {},
            "apply_defaults": True,
            "options": {
                "name": {"type": "str", "default": "default"},
                "driver": {"type": "str", "choices": ["dir", "btrfs", "zfs", "lvm"], "default": "dir"},
                "source": {"type": "str", "default": ""},
                "size": {"type": "str", "default": ""},
            },
        },
        "bridge": {
            "type": "dict",
            "default": {},
            "apply_defaults": True,
            "options": {
                "name": {"type": "str", "default": "incusbr0"},
                "ipv4": {"type": "str", "default": "auto"},
                "ipv6": {"type": "str", "default": "none"},
                "nat": {"type": "bool", "default": True},
            },
        },
        "https_address": {"type": "str", "default": ""},
        "reconfigure": {"type": "bool", "default": False},
        "bare": {"type": "bool", "default": False},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    if params["bare"] and not module.check_mode:
        raise InvalidInput(["bare: true predicts only; allowed: false, or check mode"])
    desired = Desired(
        pool=Pool(**params["pool"]),
        bridge=Bridge(**params["bridge"]),
        https_address=params["https_address"],
        reconfigure=params["reconfigure"],
    )
    client = client_of(params).in_project("default")
    change = ensure(client, desired, check=module.check_mode, bare=params["bare"])
    found = None if params["bare"] else health(client)
    return {
        "changed": change.changed,
        "actions": [step.what for step in change.steps],
        "kept": change.kept,
        "diff": {"before": change.before, "after": change.after},
        "health": asdict(found) if found else {},
        "summary": found.line() if found else "There is no Incus daemon yet",
    }


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
