#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a machine has of what a node of a cluster needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prerequisites_info
short_description: Says whether a machine has what a node of a cluster needs
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Looks at the operating system, architecture, memory, disk, cgroups, kernel modules, packages, snapd, ports, name
    resolution, the clock, swap, host name and machine id, all in one go. Changes nothing.
  - Each check says what was found, what is wanted, and how to mend it.
  - The role P(rackstead.infra.prerequisites#role) makes a report of it, beside those of other hosts, and mends.
  - Runs on Debian and Ubuntu with Python 3.10 and newer. Elsewhere it says that the system is not supported.
extends_documentation_fragment:
  - rackstead.infra.attributes.info
options:
  requirements:
    description: What the machine is to have. The defaults are what MicroK8s asks for.
    type: dict
    default: {}
    suboptions:
      distributions:
        description: Distributions by the C(ID) in C(/etc/os-release), each with the oldest version that will do.
        type: dict
        default: {debian: "12", ubuntu: "22.04"}
      architectures:
        description: Architectures, as C(uname -m) names them.
        type: list
        elements: str
        default: [x86_64, aarch64]
      memory:
        description: Least memory, such as V(2GiB). A tenth may be missing, which firmware and kernel keep.
        type: str
        default: 2GiB
      memory_recommended:
        description: Memory below which there is a warning.
        type: str
        default: 4GiB
      disk_path:
        description: Folder, there or not yet, whose filesystem is to have room.
        type: path
        default: /var
      disk:
        description: Least free space there.
        type: str
        default: 10GiB
      disk_recommended:
        description: Free space below which there is a warning.
        type: str
        default: 20GiB
      cgroups:
        description: Versions of cgroups that will do. The memory controller must be on in either.
        type: list
        elements: str
        choices: [v1, v2]
        default: [v1, v2]
      snapd:
        description: Whether snapd is to be there, to answer, and to come back after a boot.
        type: bool
        default: true
      packages:
        description: Debian packages to have.
        type: list
        elements: str
        default: [ca-certificates, iptables, sudo]
      ports:
        description: Ports that nobody else may listen on, such as V(16443), V(10250-10259) or V(4789/udp).
        type: list
        elements: str
        default: [10248-10259, "12379", "16443", "19001", "25000"]
      port_owners:
        description: >-
          Words in the path or control group of programs that may have the ports, because they are the cluster itself.
        type: list
        elements: str
        default: [microk8s]
      resolve:
        description: Names that must resolve. With none, name resolution is not looked at.
        type: list
        elements: str
        default: [api.snapcraft.io]
      time:
        description: Whether the clock must be synchronised.
        type: bool
        default: true
      modules:
        description: Kernel modules that must be loaded, and be loaded again at the next boot.
        type: list
        elements: str
        default: [br_netfilter, overlay]
      swap:
        description: What swap that is in use counts as.
        type: str
        choices: [allow, warn, refuse]
        default: warn
"""

EXAMPLES = r"""
- name: Look at the machine
  rackstead.infra.prerequisites_info:
  register: machine

- name: Look whether it would do for something smaller, without a way to the internet
  rackstead.infra.prerequisites_info:
    requirements:
      memory: 1GiB
      memory_recommended: 1GiB
      resolve: []
  register: machine

- name: Say what fails
  ansible.builtin.debug:
    msg: "{{ machine.checks | selectattr('status', 'equalto', 'fail') | map(attribute='mend') }}"
"""

RETURN = r"""
checks:
  description: What was looked at, in the order in which people read it.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: >-
        V(os), V(architecture), V(memory), V(disk), V(swap), V(cgroups), V(modules), V(packages), V(snapd), V(ports),
        V(dns), V(time), V(hostname) or V(machine_id).
      type: str
      returned: always
      sample: memory
    status:
      description: V(pass), V(warn) or V(fail).
      type: str
      returned: always
      sample: fail
    found:
      description: What there is.
      type: str
      returned: always
      sample: 1.0 GiB
    wanted:
      description: What is wanted.
      type: str
      returned: always
      sample: 2.0 GiB, better 4.0 GiB
    mend:
      description: How to mend it. Empty where nothing is to be mended.
      type: str
      returned: always
      sample: give the machine more memory
    mended_by:
      description: >-
        The part of the role that mends it: V(packages), V(service), V(time), V(modules) or V(boot); V(reboot) where it
        is mended and a boot is outstanding; empty where a human being has to.
      type: str
      returned: always
    items:
      description: What that part is to take care of, such as packages.
      type: list
      elements: str
      returned: always
hostname:
  description: The machine's host name.
  type: str
  returned: success
machine_id:
  description: Its machine id.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.door import OPTIONS
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.look import look


def options() -> dict[str, Any]:
    return {"requirements": {"type": "dict", "default": {}, "options": OPTIONS}}


def run(module: AnsibleModule) -> dict[str, Any]:
    return look(module.params["requirements"])


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
