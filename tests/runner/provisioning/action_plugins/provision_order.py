# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers as ``rackstead.infra.provision_order`` does, and knows every server but those called unknown."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import NAMES


def system_id(name: str) -> str:
    return "id-" + name.replace(":", "").replace(".", "-")


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        given = self._task.args
        steps = given["only_steps"] or list(NAMES)
        if given["from_step"]:
            steps = list(NAMES)[NAMES.index(given["from_step"]) :]
        found, problems = [], []
        for number, one in enumerate(given["servers"]):
            name = one.get("server_id") or one.get("hostname") or one.get("mac")
            if name == "unknown":
                problems.append(f'servers[{number}].server_id: MAAS knows no machine "{name}"')
            order = {key: one.get(key) or "" for key in ("device_type", "target_ipmi_ip", "gateway", "netmask")}
            order |= {"rack_location": one.get("rack_location") or "", "tags": one.get("tags") or []}
            server = {"system_id": system_id(name), "hostname": name, "mac": ""}
            found.append({"server": server, "order": order, "steps": steps})
        if problems:
            return {"failed": True, "msg": "; ".join(problems), "problems": problems}
        return {"changed": False, "servers": found}
