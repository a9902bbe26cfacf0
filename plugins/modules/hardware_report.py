#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hardware_report
version_added: "1.0.0"
short_description: Read what a machine is made of, and what has changed about it
description:
  - Reads processors, memory, disks with their health, file systems, LVM, RAID, network cards, GPUs, sensors, firmware,
    BMC, Docker's volumes, Kubernetes' storage and certificates of the target, all at once, in one run of the module.
    The target needs nothing but Python.
  - Each part has a state. A part that the target does not have, or cannot tell of, says why, and the rest is read.
  - The control node compares the report with the last one of the same node in the state store, says what has changed
    and what wants attention, and keeps the report.
options:
  node:
    description: The name under which the report is kept. If not set, the host's name in the inventory.
    type: str
  sections:
    description: The parts to read. If not set, all.
    type: list
    elements: str
    choices:
      - system
      - cpu
      - memory
      - memory_modules
      - disks
      - smart
      - filesystems
      - lvm
      - raid
      - nics
      - gpus
      - sensors
      - firmware
      - bmc
      - docker
      - kubernetes
      - certificates
  certificates:
    description: Shell patterns of files with certificates (PEM) on the target, besides those of Kubernetes, MicroK8s, Let's Encrypt and Incus.
    type: list
    elements: str
    default: []
  thresholds:
    description:
      - From where on a value wants attention, in place of the defaults.
      - V(disk_wear_percent) (80) and V(disk_wear_critical_percent) (95), V(disk_temperature_celsius) (60) and
        V(disk_temperature_critical_celsius) (70), V(temperature_celsius) (80) and V(temperature_critical_celsius) (95),
        V(filesystem_percent) (85) and V(filesystem_critical_percent) (95), V(certificate_days) (30) and
        V(certificate_critical_days) (7), V(memory_percent) (95).
    type: dict
    default: {}
  remember:
    description: Whether the report is compared with the last one in the state store, and kept there.
    type: bool
    default: true
  keep:
    description: How many reports of the node are kept.
    type: int
    default: 30
  timeout:
    description: Seconds after which parts that have not been read are told as failed.
    type: float
    default: 15.0
extends_documentation_fragment:
  - rackstead.infra.state
  - rackstead.infra.attributes
notes:
  - Disks' health, serial numbers, memory modules and LVM can be read by root only. Use C(become).
  - Check mode reads and compares, and keeps nothing.
  - V(changed) means that the hardware is otherwise than in the last report, or that there was none. That a report was kept is no change.
seealso:
  - module: rackstead.infra.state_record_info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Read what a machine is made of
  become: true
  rackstead.infra.hardware_report:
  register: found

- name: Tell what wants attention
  ansible.builtin.debug:
    msg: "{{ found.alerts | map(attribute='text') }}"
  when: found.alerts | length > 0

- name: Look at the disks alone, more strictly, and keep nothing
  rackstead.infra.hardware_report:
    sections: [disks, smart, filesystems]
    thresholds:
      disk_wear_percent: 50
      filesystem_percent: 70
    remember: false
"""

RETURN = r"""
node:
  description: The name under which the report is kept.
  returned: success
  type: str
report:
  description:
    - The report. The ending of a field's name is its unit (C(_bytes), C(_celsius), C(_percent), C(_mbit), C(_hours)). What is not known is null or empty.
    - C(docs/hardware.md) lists all fields.
  returned: success
  type: dict
  contains:
    time:
      description: When it was read, in seconds since the epoch.
      type: float
    sections:
      description: For each part its state (V(ok), V(absent) or V(failed)), the reason, and the seconds that reading it took.
      type: dict
changes:
  description: What is otherwise than in the report before, the gravest first.
  returned: success
  type: list
  elements: dict
  contains:
    section:
      description: The part of the report.
      type: str
    what:
      description: The thing in it, such as a disk.
      type: str
    field:
      description: Its field. Empty where the thing itself is gone or new.
      type: str
    before:
      description: What it was. Null where there was none.
      type: raw
    after:
      description: What it is. Null where there is none.
      type: raw
    severity:
      description: V(critical), V(warning) or V(notice).
      type: str
    text:
      description: The change in words.
      type: str
alerts:
  description: What wants attention, the gravest first.
  returned: success
  type: list
  elements: dict
  contains:
    section:
      description: The part of the report.
      type: str
    what:
      description: The thing in it.
      type: str
    severity:
      description: V(critical) or V(warning).
      type: str
    text:
      description: The alert in words.
      type: str
    value:
      description: The value, if it is a number.
      type: float
    threshold:
      description: What it has reached.
      type: float
before:
  description: The time of the report that it was compared with, or null.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

# Nothing else is imported: what this names travels to the target and is loaded there, for each host.
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.collect import collect
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.machine import Machine
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.options import OPTIONS


def main() -> None:
    """The part of the work that is done on the target; the action plugin of the same name does the rest."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    given = module.params
    try:
        report = collect(
            Machine(),
            given["node"] or "",
            sections=given["sections"] or (),
            certificates=given["certificates"],
            seconds=given["timeout"],
        )
    except InvalidInput as error:
        module.fail_json(msg=str(error), problems=error.problems)
    module.exit_json(changed=False, report=report.document())


if __name__ == "__main__":
    main()
