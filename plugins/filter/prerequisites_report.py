# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what hosts have of what they need, as a report for each."""

from __future__ import annotations

DOCUMENTATION = r"""
name: prerequisites_report
short_description: Makes reports of what M(rackstead.infra.prerequisites_info) found on several hosts
version_added: "1.0.0"
author:
  - Rackstead contributors (@rackstead)
description:
  - Adds to each host's checks whether its host name and machine id are its own among the hosts, counts, and puts
    everything in lines.
positional: mode
options:
  _input:
    description: What the module returned, by host.
    type: dict
    required: true
  mode:
    description: >-
      Which failures count, V(check) all of them, V(predict) those that nobody mends, V(install) all but an outstanding
      boot.
    type: str
    choices: [check, predict, install]
    default: check
"""

EXAMPLES = r"""
- name: Say how this host is
  ansible.builtin.debug:
    msg: "{{ ({inventory_hostname: machine} | rackstead.infra.prerequisites_report)[inventory_hostname].lines }}"
"""

RETURN = r"""
_value:
  description: A report for each host, by its name.
  type: dict
  sample:
    node1:
      host: node1
      ready: false
      reboot: false
      summary: {pass: 13, warn: 0, fail: 1}
      lines: ["fail  memory        1.0 GiB -> give the machine more memory"]
      broken: ["node1: memory: 1.0 GiB; give the machine more memory"]
      would_mend: []
      checks: []
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.report import reports


def prerequisites_report(found: Any, mode: str = "check") -> dict[str, dict[str, Any]]:
    try:
        return reports(found, mode)
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"prerequisites_report: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"prerequisites_report": prerequisites_report}
