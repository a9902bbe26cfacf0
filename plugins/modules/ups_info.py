#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ups_info
version_added: "1.0.0"
short_description: What a NUT server knows of its UPSes
description:
  - Asks upsd, the server of Network UPS Tools, for the readings, variables and commands of its UPSes.
  - An answer that is cut short, late or garbled is a failure; a UPS that upsd has lost is none, RV(upses[].communication) says so.
options:
  host:
    description: Name or address of the server.
    type: str
    default: localhost
  port:
    description: Its port.
    type: int
    default: 3493
  ups:
    description: Names of the UPSes to ask for. Without it, all that the server knows.
    type: list
    elements: str
    default: []
  tls:
    description: Whether to go over to TLS first, with the server's certificate checked. A server without it is a failure then.
    type: bool
    default: false
  ca_cert:
    description: File with the certificates of the authorities that are trusted with the server's. Without it, the system's.
    type: path
  timeout:
    description: How long each answer is waited for, as a whole, in seconds.
    type: float
    default: 5.0
extends_documentation_fragment:
  - rackstead.infra.attributes.info
author:
  - Rackstead contributors (@rackstead)
"""

EXAMPLES = r"""
- name: Ask the UPSes of this machine
  rackstead.infra.ups_info:
  register: found

- name: Go on only while all of them are on the mains
  ansible.builtin.assert:
    that: found.upses | rejectattr('on_line') | length == 0

- name: Ask one of another machine, over TLS
  rackstead.infra.ups_info:
    host: ups.example.com
    ups: [rack1]
    tls: true
    ca_cert: /etc/ssl/certs/rack.pem
"""

RETURN = r"""
upses:
  description: The UPSes. A value that the UPS does not tell is null.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name at the server.
      type: str
    description:
      description: What the server's administrator called it.
      type: str
    communication:
      description: V(ok), V(stale) where upsd has nothing new of the UPS, or V(lost) where its driver is gone.
      type: str
    flags:
      description: Flags of C(ups.status), such as V(OL), V(OB), V(LB), V(FSD).
      type: list
      elements: str
    on_line:
      description: Whether it is on the mains. Where communication is not V(ok), neither this nor RV(upses[].on_battery) is true.
      type: bool
    on_battery:
      description: Whether it is on its battery.
      type: bool
    low_battery:
      description: Whether the battery is nearly empty.
      type: bool
    replace_battery:
      description: Whether the battery is to be replaced.
      type: bool
    fsd:
      description: Whether a forced shutdown was ordered. upsd keeps this until it is started anew.
      type: bool
    charge_percent:
      description: Charge of the battery.
      type: float
    runtime_seconds:
      description: How long the battery lasts, as the UPS thinks.
      type: float
    input_volts:
      description: Voltage of the mains.
      type: float
    output_volts:
      description: Voltage it gives.
      type: float
    battery_volts:
      description: Voltage of the battery.
      type: float
    load_percent:
      description: Its load.
      type: float
    temperature_celsius:
      description: Its temperature, or else that of the battery.
      type: float
    variables:
      description: All variables of NUT, but for the parameters of the driver, which may be secret.
      type: dict
    commands:
      description: Commands that the UPS offers.
      type: list
      elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rackstead.infra.plugins.module_utils.face import run_module
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.info import OPTIONS, read_info


def options() -> dict[str, Any]:
    return {**OPTIONS, "ups": {"type": "list", "elements": "str", "default": []}}


def run(module: AnsibleModule) -> dict[str, Any]:
    return read_info(module.params, module.params["ups"])


def main() -> None:
    run_module(options(), run, connection=False)


if __name__ == "__main__":
    main()
