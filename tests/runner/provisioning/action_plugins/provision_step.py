# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a server's record as ``rackstead.infra.provision_step`` does. Files in a folder say how a step goes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.journal import (
    fresh,
    holder_of,
    is_gone,
    lease_name,
    stamp,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import (
    NAMES,
    RECORD,
    Order,
    Server,
    order_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import LEASE, Lease
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import default_url, open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

CHANGES = [
    {"menu": ["Advanced", "CPU Configuration"], "name": "Hyper-Threading", "order": 1, "before": "Off", "after": "On"},
    {"menu": ["Boot"], "name": "Boot <Option>", "order": 2, "before": "Disk", "after": "Network"},
    {
        "menu": ["Security"],
        "name": "Administrator Password",
        "order": 1,
        "before": "old-swordfish",
        "after": "swordfish",
    },
]


def outputs_of(step: str, order: dict) -> dict:
    before = {"address": "10.0.0.9", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}
    after = {**before, "address": order["target_ipmi_ip"] or before["address"]}
    return {
        "commission": {"status": "Ready"},
        "address": {"address": "10.0.1.7"},
        "bios_pull": {"settings": 300, "vendor": "supermicro", "digest": "0" * 64},
        "bios_modify": {"changes": CHANGES},
        "bios_push": {"applied": len(CHANGES), "rejected": [], "rebooted": True},
        "bmc": {"before": before, "after": after, "changed": before != after},
        "finalize": {"tags": [order["device_type"], *order["tags"]]},
    }[step]


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        given = self._task.args
        step, order, server = given["step"], given["order"], Server(**given["server"])
        outputs = outputs_of(step, order)
        answer = {"server": vars(server), "step": step, "seconds": 0.5, "attempts": 1, "outputs": outputs}
        if self._task.check_mode:
            return {"changed": step in ("bios_modify", "bmc", "finalize"), **answer}
        return {
            **answer,
            **carried_out(Path(given["folder"] or "/nowhere"), step, server, order, given["job"], outputs),
        }


def carried_out(folder: Path, step: str, server: Server, order: dict, job: str, outputs: dict) -> dict[str, Any]:
    run = Run(open_store(default_url()), server, job, order_of(order))
    run.write(step, "running", state="running", started=now())
    mark = f"{server.hostname}-{step}"
    if (folder / f"wait-{mark}").exists():
        wait_until(lambda: not (folder / f"wait-{mark}").exists() or None, Deadline(120), what=mark)
    if (folder / f"fail-{mark}").exists():
        error = (folder / f"fail-{mark}").read_text()
        run.write(step, "failed", state="failed", error=error, attempts=1, seconds=0.5, ended=now())
        return {"failed": True, "msg": error, "outputs": {}}
    whole = "completed" if step == NAMES[-1] else "running"
    run.write(step, whole, state="done", outputs=outputs, attempts=1, seconds=0.5, ended=now())
    return {"changed": True}


def now() -> str:
    return stamp(time.time())


def play() -> int:
    """The process of the play, which goes on between steps: the topmost above this one that is ansible-playbook."""
    found = pid = os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if pid > 1 and b"ansible-playbook" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found = pid
    return found


class Run:
    """A server's record in the hands of a play."""

    def __init__(self, store: Store, server: Server, job: str, order: Order) -> None:
        self.store = store
        self.server = server
        self.blank = fresh(server, order, job, time.time())

    def write(self, step: str, whole: str, **fields: object) -> None:
        def work(change: Change) -> None:
            found = change.find(RECORD, self.server.system_id)
            kept = found.body if found and found.body["job"] == self.blank["job"] else self.blank
            steps = {**kept["steps"], step: {**kept["steps"][step], **fields}}
            row = change.find(LEASE, lease_name(self.server.system_id))
            if row and row.body["holder"] != holder_of(play()) and is_gone(row.body["holder"]):
                change.release(Lease(row.key, **row.body))
            lease = change.lease(lease_name(self.server.system_id), holder_of(play()), 60.0)
            body = {**kept, "steps": steps, "state": whole, "updated": now()}
            change.put(RECORD, self.server.system_id, body, fence=lease)
            if whole != "running":
                change.release(lease)

        self.store.change(work)
