#!/usr/bin/python
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers as ``rackstead.infra.provision_order`` does, and knows every server but those called unknown."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import NAMES


def system_id(name: str) -> str:
    return "id-" + name.replace(":", "").replace(".", "-")


def main() -> None:
    spec = {"servers": {"type": "list", "elements": "dict"}, "from_step": {"type": "str"}}
    spec["only_steps"] = {"type": "list", "elements": "str"}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    found, problems = [], []
    steps = module.params["only_steps"] or list(NAMES)
    if module.params["from_step"]:
        steps = list(NAMES)[NAMES.index(module.params["from_step"]) :]
    for number, one in enumerate(module.params["servers"]):
        name = one.get("server_id") or one.get("hostname") or one.get("mac")
        if name == "unknown":
            problems.append(f'servers[{number}].server_id: MAAS knows no machine "{name}"')
        order = {key: one.get(key) or "" for key in ("device_type", "target_ipmi_ip", "gateway", "netmask")}
        order |= {"rack_location": one.get("rack_location") or "", "tags": one.get("tags") or []}
        server = {"system_id": system_id(name), "hostname": name, "mac": ""}
        found.append({"server": server, "order": order, "steps": steps})
    if problems:
        module.fail_json(msg="; ".join(problems), problems=problems)
    module.exit_json(changed=False, servers=found)


if __name__ == "__main__":
    main()
