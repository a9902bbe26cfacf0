#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_machine
version_added: "1.0.0"
short_description: Bring a machine of MAAS where it is wanted
description:
  - Commissions, deploys, releases, marks or aborts a machine that MAAS knows, and waits until it is there.
  - A machine that MAAS is bringing there already is waited for, and nothing is ordered twice. So a task that was killed
    can be run again.
  - A failed status ends the task at once, with what MAAS and the failing script say.
options:
  machine:
    description: The machine's system ID, hostname, FQDN or MAC address.
    type: str
    required: true
  state:
    description:
      - V(ready) commissions a machine that is new or whose commissioning or testing failed, and marks a broken one as fixed.
      - V(deployed) deploys a machine that is ready or allocated.
      - V(released) gives a machine back that is deployed, allocated or failed on the way.
      - V(rescue) boots it into MAAS's rescue mode, from which V(ready) and V(deployed) take it back to where it was.
      - V(broken) marks it as broken.
      - V(aborted) stops commissioning, testing, deploying or erasing.
      - Without it, the status stays as it is.
    type: str
    choices: [ready, deployed, released, rescue, broken, aborted]
  again:
    description: Whether a machine that is ready is commissioned once more, with O(state=ready).
    type: bool
    default: false
  power:
    description: Whether it is to be powered, once it is in its state.
    type: str
    choices: ["on", "off"]
  soft:
    description: Whether the operating system shuts down by itself, with O(power=off).
    type: bool
    default: false
  owner_data:
    description: Keys and texts to keep with the machine. Other keys stay; an empty text removes a key.
    type: dict
  commissioning:
    description: How to commission, with O(state=ready).
    type: dict
    suboptions:
      enable_ssh:
        description: Whether the machine stays on with SSH after commissioning.
        type: bool
      skip_bmc_config:
        description: Whether the BMC is left alone.
        type: bool
      skip_networking:
        description: Whether the network configuration is left alone.
        type: bool
      skip_storage:
        description: Whether the storage configuration is left alone.
        type: bool
      commissioning_scripts:
        description: Names of the commissioning scripts to run.
        type: list
        elements: str
      testing_scripts:
        description: Names of the testing scripts to run, V(none) for none.
        type: list
        elements: str
  deploy:
    description: How to deploy, with O(state=deployed).
    type: dict
    suboptions:
      distro_series:
        description: The operating system's release, such as V(noble). Without it, MAAS's default.
        type: str
      user_data:
        description: Data for cloud-init, as text. It is not shown.
        type: str
  erase:
    description: Whether the disks are erased, with O(state=released).
    type: bool
  quick_erase:
    description: Whether only the disks' beginnings and ends are erased.
    type: bool
  secure_erase:
    description: Whether the disks erase themselves.
    type: bool
  comment:
    description: Why, for MAAS's log, with the states V(released), V(broken), V(aborted) and for a broken machine V(ready).
    type: str
  wait:
    description: How long it is waited for, in seconds. V(0) does not wait.
    type: float
    default: 1800.0
extends_documentation_fragment:
  - rackstead.infra.maas
  - rackstead.infra.attributes
notes:
  - With O(again), a ready machine is commissioned each time, so it is never unchanged.
seealso:
  - module: rackstead.infra.maas_machine_info
  - module: rackstead.infra.maas_tag
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Commission a new machine and keep it reachable
  rackstead.infra.maas_machine:
    url: https://maas.example:5443/MAAS
    api_key: "{{ maas_api_key }}"
    machine: rack-a-10
    state: ready
    commissioning:
      enable_ssh: true

- name: Deploy it
  rackstead.infra.maas_machine:
    url: https://maas.example:5443/MAAS
    api_key: "{{ maas_api_key }}"
    machine: rack-a-10
    state: deployed
    deploy:
      distro_series: noble
    owner_data:
      rack: A-10
"""

RETURN = r"""
machine:
  description: The machine as it is now. In check mode, as far as can be said, as it would be.
  returned: success
  type: dict
  contains:
    system_id:
      description: MAAS's name for it.
      type: str
    hostname:
      description: Its name.
      type: str
    fqdn:
      description: Its name with its domain.
      type: str
    status:
      description: The number of its status.
      type: int
    status_name:
      description: The name of its status.
      type: str
    status_message:
      description: What MAAS said last about it.
      type: str
    power:
      description: Its power, V(on), V(off), V(unknown) or V(error).
      type: str
    addresses:
      description: Its IP addresses.
      type: list
      elements: str
    macs:
      description: MAC addresses of its network cards.
      type: list
      elements: str
    tags:
      description: Its tags.
      type: list
      elements: str
    pool:
      description: Its resource pool.
      type: str
    zone:
      description: Its availability zone.
      type: str
    architecture:
      description: Its architecture.
      type: str
    cpus:
      description: Number of its processors.
      type: int
    memory:
      description: Its memory in MiB.
      type: int
    storage:
      description: Its storage in MB.
      type: float
    distro_series:
      description: The operating system that was deployed.
      type: str
    owner_data:
      description: What its owner keeps with it.
      type: dict
"""

import base64
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.client import (
    FALLBACKS,
    OPTIONS,
    Maas,
    site_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.lifecycle import (
    STATES,
    Order,
    check_order,
    ensure_machine,
)
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


FLAGS = ("enable_ssh", "skip_bmc_config", "skip_networking", "skip_storage")
SCRIPTS = ("commissioning_scripts", "testing_scripts")
ERASING = ("erase", "quick_erase", "secure_erase")


def options() -> dict[str, Any]:
    flags = {name: {"type": "bool"} for name in FLAGS}
    scripts = {name: {"type": "list", "elements": "str"} for name in SCRIPTS}
    deploy = {"distro_series": {"type": "str"}, "user_data": {"type": "str", "no_log": True}}
    return {
        **fallbacks(OPTIONS, FALLBACKS),
        "machine": {"type": "str", "required": True},
        "state": {"type": "str", "choices": list(STATES)},
        "again": {"type": "bool", "default": False},
        "power": {"type": "str", "choices": ["on", "off"]},
        "soft": {"type": "bool", "default": False},
        "owner_data": {"type": "dict"},
        "commissioning": {"type": "dict", "options": {**flags, **scripts}},
        "deploy": {"type": "dict", "options": deploy},
        **{name: {"type": "bool"} for name in ERASING},
        "comment": {"type": "str"},
        "wait": {"type": "float", "default": 1800.0},
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    commission = {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in (given["commissioning"] or {}).items()
    }
    order = Order(
        given["state"],
        given["again"],
        given["power"],
        given["soft"],
        {key: str(value) for key, value in given["owner_data"].items()} if given["owner_data"] else None,
        commission,
        encoded(given["deploy"] or {}),
        {name: given[name] for name in ERASING},
        given["comment"],
        given["wait"],
    )
    check_order(order)
    with Maas(site_of(given)) as maas:
        return ensure_machine(maas, given["machine"], order, check=module.check_mode)


def encoded(deploy: dict[str, Any]) -> dict[str, Any]:
    """MAAS takes data for cloud-init in base 64."""
    data = deploy.get("user_data")
    return {**deploy, "user_data": base64.b64encode(data.encode()).decode()} if data else deploy


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
