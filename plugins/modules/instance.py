#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: instance
version_added: "1.0.0"
short_description: Manage one Incus instance
description:
  - Makes, changes, starts, stops, freezes, restarts, renames or deletes a container or virtual machine.
  - Only what is given is changed. For many instances M(rackstead.infra.plan) does the same at once, and much faster.
options:
  name:
    description: Name of the instance.
    type: str
    required: true
  new_name:
    description:
      - Rename the instance to this. Once it bears this name, the task only sees to the rest.
      - A running instance is stopped for that, if O(state) is V(stopped) or V(restarted) or with O(on_change=restart).
    type: str
  state:
    description:
      - V(present) makes it as described and leaves it running or stopped; a new one stays stopped.
      - V(started), V(stopped) and V(frozen) make it as described, and bring it there.
      - V(restarted) does so too, and always restarts it.
      - V(absent) stops and deletes it, with its snapshots.
    type: str
    choices: [present, started, stopped, frozen, restarted, absent]
    default: started
  image:
    description: Alias of the image to make it from, such as V(debian/12), or V(remote:alias). Needed for a new one.
    type: str
  type:
    description: Kind of instance, which cannot change. Without it a new one is a V(container).
    type: str
    choices: [container, virtual-machine]
  description:
    description: Free text.
    type: str
  memory:
    description: Memory limit, such as V(512MiB) or V(50%).
    type: str
  cpus:
    description: Number of CPUs, or a pinned set such as V(0-3).
    type: str
  disk:
    description: Size of the root disk.
    type: str
  pool:
    description: Storage pool of the root disk. Without it the profile's.
    type: str
  profiles:
    description: Profiles, in order. Without it a new instance gets V(default).
    type: list
    elements: str
  config:
    description: Further configuration keys and their values. An empty value unsets a key.
    type: dict
  devices:
    description: Further devices by name, each with its settings. A device that is named is replaced as a whole.
    type: dict
  network:
    description: The first interface, C(eth0).
    type: dict
    suboptions:
      type:
        description: Kind of attachment.
        type: str
        choices: [bridge]
      bridge:
        description: Managed network to attach to. Without it the profile's.
        type: str
      ipv4:
        description: V(auto) for DHCP, or a fixed address inside the bridge's subnet.
        type: str
      forwards:
        description: Ports of the host that lead into the instance.
        type: list
        elements: dict
        suboptions:
          listen:
            description: Port, or address and port, on the host.
            type: str
            required: true
          connect:
            description: Port, or address and port, as seen inside the instance.
            type: str
            required: true
          protocol:
            description: Protocol to forward.
            type: str
            choices: [tcp, udp]
  cloud_init:
    description: cloud-init user data, as text or as a mapping.
    type: raw
  vendor_data:
    description: cloud-init vendor data, as text or as a mapping.
    type: raw
  network_config:
    description: cloud-init network configuration, as text or as a mapping.
    type: raw
  metadata:
    description: Labels, kept as C(user.*) configuration keys.
    type: dict
  wait_for:
    description:
      - "Conditions for being ready, of V(running), V(ipv4), V(cloud_init), C({port: 80}) and C({command: [argv]})."
      - The task ends when all of them hold.
    type: list
    elements: raw
  wait_timeout:
    description: Seconds in which the instance must become ready. Without it O(timeout).
    type: int
  timeout:
    description: Seconds to wait for what an earlier run left going on, and for readiness.
    type: int
    default: 300
  on_change:
    description:
      - What to do about a change that counts only after a restart of a running instance.
      - V(refuse) fails before anything is changed, V(restart) restarts it, V(never) stores it for the next start.
    type: str
    choices: [restart, refuse, never]
    default: refuse
  target:
    description: Cluster member, or V(@group), to make it on.
    type: str
  ephemeral:
    description: Whether a new one is deleted by Incus when it stops.
    type: bool
extends_documentation_fragment:
  - rackstead.infra.connection
  - rackstead.infra.attributes
attributes:
  idempotent:
    support: partial
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    details:
      - O(state=restarted) restarts a running instance every time.
notes:
  - The image of an instance that exists is not compared, unless a plan made it.
seealso:
  - module: rackstead.infra.plan
  - module: rackstead.infra.instance_info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: A running container with an address
  rackstead.infra.instance:
    name: web
    image: debian/12
    memory: 256MiB
    metadata:
      role: web
    wait_for: [ipv4]

- name: Forward a port to it
  rackstead.infra.instance:
    name: web
    network:
      forwards:
        - listen: 127.0.0.1:8080
          connect: "80"

- name: Rename it
  rackstead.infra.instance:
    name: web
    new_name: web-old
    state: stopped

- name: Delete it
  rackstead.infra.instance:
    name: web-old
    state: absent
"""

RETURN = r"""
actions:
  description:
    - What was, or would be, done, in order, of V(create), V(update), V(start), V(stop), V(freeze), V(unfreeze), V(rename)
      and V(delete).
  returned: success
  type: list
  elements: str
before:
  description: The fields the task speaks of, as they were. Null where the instance did not exist.
  returned: success
  type: dict
after:
  description: The same fields afterwards. Null where the instance is gone.
  returned: success
  type: dict
notes:
  description: What is worth knowing, such as a setting that counts from the next start on.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.instancetask import (
    STATES,
    InstanceRequest,
    run_instance,
)

FORWARD = {
    "listen": {"type": "str", "required": True},
    "connect": {"type": "str", "required": True},
    "protocol": {"type": "str", "choices": ["tcp", "udp"]},
}
NETWORK = {
    "type": {"type": "str", "choices": ["bridge"]},
    "bridge": {"type": "str"},
    "ipv4": {"type": "str"},
    "forwards": {"type": "list", "elements": "dict", "options": FORWARD},
}


def options() -> dict[str, Any]:
    text = ("new_name", "image", "description", "memory", "cpus", "disk", "pool", "target")
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": list(STATES), "default": "started"},
        "type": {"type": "str", "choices": ["container", "virtual-machine"]},
        **{name: {"type": "str"} for name in text},
        **{name: {"type": "dict"} for name in ("config", "devices", "metadata")},
        **{name: {"type": "raw"} for name in ("cloud_init", "vendor_data", "network_config")},
        "profiles": {"type": "list", "elements": "str"},
        "network": {"type": "dict", "options": NETWORK},
        "wait_for": {"type": "list", "elements": "raw"},
        "wait_timeout": {"type": "int"},
        "timeout": {"type": "int", "default": 300},
        "on_change": {"type": "str", "choices": ["restart", "refuse", "never"], "default": "refuse"},
        "ephemeral": {"type": "bool"},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    return run_instance(client_of(module.params), InstanceRequest.of(module.params), check=module.check_mode)


def main() -> None:
    run_module(options(), run)


if __name__ == "__main__":
    main()
