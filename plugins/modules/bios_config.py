#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bios_config
version_added: "1.0.0"
short_description: Have a server's BIOS as its device type says
description:
  - Reads a BIOS as a document of settings, compares it with what a device type wants, pushes only what differs, and after
    the boot reads everything back. Where nothing differs, nothing is pushed and nothing is rebooted.
  - Names, options, ranges and dependencies are checked before anything is sent.
  - A setting is C(current), C(pending), C(scheduled), C(applied) or C(rejected). One that was rejected fails the task, with
    its cause.
options:
  state:
    description:
      - V(fetched) reads the BIOS, and keeps it in O(file) if that is given.
      - V(present) has it as O(device_type) says.
      - V(restored) has it as O(file) says, a document that was fetched earlier.
    type: str
    choices: [fetched, present, restored]
    default: present
  transport:
    description:
      - V(sum) runs Supermicro's Update Manager on the host itself, over SSH if O(ssh_host) is set, else where the task runs.
      - V(sum_oob) runs it out-of-band, on any machine that reaches the BMC.
      - V(redfish) speaks Redfish with the BMC.
    type: str
    choices: [sum, sum_oob, redfish]
    default: sum
  device_types:
    description:
      - File of device types, C(device_mappings.yaml), on the machine where the task runs.
      - Required with O(state=present).
    type: path
  device_type:
    description: Name of the device type in it. Required with O(state=present).
    type: str
  file:
    description:
      - With O(state=fetched), where the BIOS document goes. With O(state=present), where it goes before anything is pushed.
        With O(state=restored), the document to go back to.
      - On the machine where the task runs.
    type: path
  sum:
    description: Absolute path of Supermicro's C(sum), where it runs. Required with O(transport=sum) and O(transport=sum_oob).
    type: str
  sudo:
    description: Whether C(sum) is run, and the host rebooted, as root through C(sudo), which must not ask for a password.
    type: bool
    default: false
  ssh_host:
    description:
      - Name or address of the machine where C(sum) runs. The task logs in by itself, so that it outlives the reboot.
      - If not set, the value of the environment variable E(RACKSTEAD_SSH_HOST) is used. Without that, C(sum) runs where the
        task does, and nothing can be rebooted.
    type: str
  ssh_port:
    description: TCP port of its SSH server.
    type: int
    default: 22
  ssh_user:
    description:
      - Who logs in.
      - If not set, the value of the environment variable E(RACKSTEAD_SSH_USER) is used.
    type: str
    default: root
  ssh_key_file:
    description:
      - Private key to log in with. No agent and no other key is tried.
      - If not set, the value of the environment variable E(RACKSTEAD_SSH_KEY_FILE) is used.
    type: path
  ssh_password:
    description:
      - Password to log in with. It is tried once.
      - If not set, the value of the environment variable E(RACKSTEAD_SSH_PASSWORD) is used.
    type: str
  ssh_host_keys:
    description:
      - V(strict) takes only host keys of O(ssh_known_hosts).
      - V(new) remembers the first key that a host shows there, and takes no other from then on.
      - V(any) takes every key. A machine that boots from the network has another one at each boot.
    type: str
    choices: [strict, new, any]
    default: strict
  ssh_known_hosts:
    description: File of known host keys.
    type: path
    default: ~/.ssh/known_hosts
  reboot:
    description:
      - Who reboots the server after a push. With V(no) the settings stay pending until somebody else does.
      - V(host) takes C(systemctl reboot), for O(transport=sum) with O(ssh_host).
      - V(bmc) has the BMC at O(host) reset it, whatever runs there.
    type: str
    choices: ["no", host, bmc]
    default: "no"
  on_failure:
    description: With V(restore), settings that were applied are put back, by another reboot, if others were rejected.
    type: str
    choices: [keep, restore]
    default: keep
  command_timeout:
    description: How long one run of C(sum) may take, with the pauses when it is busy, in seconds.
    type: float
    default: 600.0
  wait:
    description: How long is waited for the server to boot and show its settings, in seconds.
    type: float
    default: 1200.0
extends_documentation_fragment:
  - rackstead.infra.bmc
  - rackstead.infra.bmc.redfish
  - rackstead.infra.attributes
notes:
  - Run it on the control node (C(delegate_to=localhost)) with O(ssh_host) set where the server is to be rebooted.
  - SUM needs a licence for this (SFT-OOB-LIC or SFT-DCMS-SINGLE), and to be root for O(transport=sum).
  - The BMC's password reaches C(sum) in a file that only its user can read, for as long as the command runs.
  - BIOS passwords cannot be set by it, since no BIOS shows them.
requirements:
  - python >= 3.11
  - paramiko, for O(ssh_host)
  - PyYAML
seealso:
  - module: rackstead.infra.bmc_power
  - module: rackstead.infra.maas_machine
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Have the BIOS as the device type says, in-band
  rackstead.infra.bios_config:
    transport: sum
    ssh_host: "{{ ansible_host }}"
    ssh_user: ubuntu
    ssh_key_file: ~/.ssh/deploy
    sudo: true
    sum: /opt/sum/sum
    device_types: device_mappings.yaml
    device_type: s2.c2.small
    file: "backups/{{ inventory_hostname }}.xml"
    reboot: host
    on_failure: restore
  delegate_to: localhost

- name: The same over Redfish
  rackstead.infra.bios_config:
    transport: redfish
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    device_types: device_mappings.yaml
    device_type: s2.c2.small
    reboot: bmc
  delegate_to: localhost

- name: Go back to what was kept
  rackstead.infra.bios_config:
    state: restored
    transport: redfish
    host: 192.0.2.10
    username: admin
    password: "{{ bmc_password }}"
    file: backups/server-1.json
    reboot: bmc
  delegate_to: localhost
"""

RETURN = r"""
state:
  description:
    - In which state the settings are that were asked for.
    - V(current) if nothing had to change, V(pending) or V(scheduled) until the next boot, V(applied) after it. In check mode,
      as it would be.
  returned: success
  type: str
  sample: applied
changes:
  description: What has changed, or would change, in the BIOS's order.
  returned: success
  type: list
  elements: dict
  contains:
    menu:
      description: Path of menus.
      type: str
      sample: Advanced > CPU Configuration
    name:
      description: Name of the setting. With menu path and order it is unique.
      type: str
    order:
      description: Its order number among those of the same name.
      type: int
    before:
      description: The value before.
      type: str
    after:
      description: The value that is wanted.
      type: str
    setting:
      description: The friendly name that has asked for it, if one has.
      type: str
    state:
      description: The state of this setting.
      type: str
rebooted:
  description: Whether the server was rebooted, or would be.
  returned: success
  type: bool
vendor:
  description: Whose names the settings bear, V(supermicro) or V(redfish).
  returned: success
  type: str
pending:
  description: What an earlier push has left to the next boot, where nothing else has to change.
  returned: success
  type: list
  elements: dict
  contains:
    setting:
      description: Menu path and name.
      type: str
    value:
      description: The value that the next boot brings.
      type: str
    state:
      description: V(pending) or V(scheduled).
      type: str
settings:
  description: All settings.
  returned: with O(state=fetched)
  type: list
  elements: dict
  contains:
    menu:
      description: Path of menus.
      type: str
    name:
      description: Name of the setting.
      type: str
    order:
      description: Its order number.
      type: int
    type:
      description: V(Option), V(CheckBox), V(Numeric), V(String) or V(Password).
      type: str
    value:
      description: Its value; none for a password.
      type: str
    options:
      description: What may be chosen.
      type: list
      elements: str
file:
  description: Where the document was kept.
  returned: with O(state=fetched) and O(file)
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.task import FALLBACKS, OPTIONS, bios_task
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.open import FALLBACKS as BMC_FALLBACKS
from ansible_collections.rackstead.infra.plugins.module_utils.face import fallbacks, run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    return bios_task(module.params, check=module.check_mode)


def main() -> None:
    run_module(fallbacks(OPTIONS, {**BMC_FALLBACKS, **FALLBACKS}), run, connection=False)


if __name__ == "__main__":
    main()
