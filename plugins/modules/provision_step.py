#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


DOCUMENTATION = r"""
module: provision_step
version_added: "1.0.0"
short_description: Do one step of provisioning a server
description:
  - Does one of the seven steps that take a server from enlisted to tagged, and keeps in the state store how far it is.
  - A step that was done is looked at, not done again, as long as what it did is still so. One that a killed run has left
    half done is finished. Commissioning is ordered once, and so is a push of BIOS settings.
  - What fails for a reason that passes is tried again. A refused password is not, nor what somebody has to look at.
  - The role C(provision_server) has a task for each step.
options:
  step:
    description:
      - V(commission) has MAAS commission the machine, with SSH left on.
      - V(address) waits until it answers SSH at an address.
      - V(bios_pull) reads its BIOS settings and keeps them.
      - V(bios_modify) decides what is to change in them for its device type.
      - V(bios_push) sends the changes, boots the machine, and reads everything back.
      - V(bmc) moves its BMC to its address, and tells MAAS.
      - V(finalize) tags the machine and leaves it ready.
    type: str
    required: true
    choices: [commission, address, bios_pull, bios_modify, bios_push, bmc, finalize]
  server:
    description: The machine, as C(server) of what M(rackstead.infra.provision_order) returned.
    type: dict
    required: true
  order:
    description: What is ordered for it, as C(order) of what M(rackstead.infra.provision_order) returned.
    type: dict
    required: true
extends_documentation_fragment:
  - rackstead.infra.provision
  - rackstead.infra.attributes
notes:
  - Where the connection is local, the step runs in Ansible's own process.
  - In check mode nothing is touched, the state store included. Steps show what they would do from what can be seen then; what
    a machine's BIOS would change can only be told while it is up, or after its settings were read once.
seealso:
  - module: rackstead.infra.provision_order
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Move the BMC of a server
  rackstead.infra.provision_step:
    maas_url: https://maas.example:5443/MAAS
    maas_api_key: "{{ maas_api_key }}"
    bmc_username: admin
    bmc_password: "{{ bmc_password }}"
    step: bmc
    only_steps: [bmc]
    server: "{{ ordered.servers[0].server }}"
    order: "{{ ordered.servers[0].order }}"
"""

RETURN = r"""
server:
  description: The machine as MAAS knows it.
  returned: success
  type: dict
step:
  description: The step.
  returned: success
  type: str
outputs:
  description: What came of it, by step.
  returned: success
  type: dict
  sample:
    changes:
      - menu: Advanced > CPU Configuration
        name: Intel Virtualization Technology
        order: 1
        before: Disable
        after: Enable
seconds:
  description: How long it took.
  returned: success
  type: float
attempts:
  description: How often it was tried. A step that was done before and still counts has the number from then.
  returned: success
  type: int
record:
  description: The server's record in the state store, of kind C(provision), as it is now.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.settings import FALLBACKS
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.steptask import (
    STEP_OPTIONS,
    run_step_task,
)
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


def options() -> dict[str, Any]:
    return fallbacks(STEP_OPTIONS, FALLBACKS)


def run(module: AnsibleModule) -> dict[str, Any]:
    return run_step_task(module.params, check=module.check_mode)


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
