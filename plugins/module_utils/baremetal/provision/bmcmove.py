# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step 6: the BMC goes to its address, and MAAS is told, else MAAS could no longer switch the server.

Where the BMC is now is not taken on trust. A run that was killed may have moved it: so one that had begun to
looks at the new address first, for the BMC whose MAC address it had noted, then at the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import Conflict, DeadlineExceeded, InvalidInput, OperationFailed
from ...common.show import diff_of
from ..bmc import presence
from ..bmc.ipmi import Ipmi
from ..bmc.lan import ensure_lan
from ..bmc.model import Endpoint
from . import pool
from .model import Done
from .retry import Settled
from .task import Task

STEP = "bmc"
#: Most seconds that a BMC has for answering at its new address: an attempt has time left to put it back.
ARRIVAL = 120.0
#: Seconds in which MAAS must reach it there: its network may have to learn where the BMC is now.
SWITCHABLE = 60.0
SETTINGS = ("source", "address", "netmask", "gateway", "vlan")


def endpoint_of(task: Task) -> Endpoint:
    """The BMC where MAAS, or the record if the BMC was moved, says that it is, and who asks it."""
    with task.speaking_to_maas():
        known = task.maas.power_parameters(task.server.system_id)
    return _endpoint(task, known, str(known.get("power_address") or ""))


def _endpoint(task: Task, known: Mapping[str, Any], address: str) -> Endpoint:
    if not address:
        hint = "enter its power_address there, or leave target_ipmi_ip out"
        raise Settled("MAAS does not know where its BMC is", where=task.where, hint=hint)
    given = task.settings.bmc
    named = given.username or given.password
    user = given.username if named else str(known.get("power_user") or "")
    password = given.password if named else str(known.get("power_pass") or "")
    url = given.redfish_url.replace("{address}", address)
    return replace(given, host=address, username=user, password=password, redfish_url=url)


def _wanted(task: Task, address: str) -> dict[str, Any]:
    """The BMC's settings as ``bmc_lan`` takes them. What the order leaves out is the pool's, else stays."""
    source = task.settings.pools.get(task.order.pool, {}) if task.order.pool else {}
    given = {name: getattr(task.order, name) or source.get(name) for name in ("netmask", "gateway")}
    return {"source": "static", "address": address, "vlan": None, **given}


def is_moved(task: Task) -> bool:
    """Whether the BMC is where the record says, with the settings that it says, and MAAS knows."""
    after = task.journal.outputs(STEP).get("after")
    if not task.order.target_ipmi_ip:
        return True
    endpoint = endpoint_of(task)
    if not after or endpoint.host != after["address"]:
        return False
    with task.speaking_to_bmc(endpoint), Ipmi(endpoint) as bmc:
        return {**bmc.lan().shown()} == {name: after[name] for name in SETTINGS}


def move(task: Task) -> Done:
    if not task.order.target_ipmi_ip:
        return Done(False, {"changed": False, "unwanted": True})
    with task.speaking_to_maas():
        known = task.maas.power_parameters(task.server.system_id)
    told = _endpoint(task, known, str(known.get("power_address") or ""))
    target = pool.address_for(task, told)
    home = _home(task, told, target)
    with task.speaking_to_bmc(home):
        result = _moved(task, home, _wanted(task, target))
    if told.host != target and not task.check:
        task.guard()
        with task.speaking_to_maas():
            task.maas.set_power_address(task.server.system_id, target)
            _switchable(task, target)
    before = task.journal.outputs(STEP).get("before") or result["before"]
    outputs = {"before": before, "after": result["lan"], "changed": result["changed"]}
    power = {"power_address in MAAS": told.host}, {"power_address in MAAS": target}
    sides = {**result["before"], **power[0]}, {**{name: result["lan"][name] for name in SETTINGS}, **power[1]}
    diff = diff_of(*sides, f"BMC of {task.server.hostname}")
    if not task.check:
        pool.forget_others(task, target)
    return Done(result["changed"] or told.host != target, outputs, diff)


def _home(task: Task, told: Endpoint, target: str) -> Endpoint:
    """Where the BMC answers now."""
    there = replace(told, host=target)
    noted = task.journal.outputs(STEP).get("before") or {}
    if told.host == target:
        return told
    if noted.get("target") == target and presence.answers(target, told.port) and _is_ours(there, noted):
        return there
    if not presence.answers(told.host, told.port) and presence.answers(target, told.port):
        hint = f"if it is this server's, set power_address to {target} in MAAS and run again"
        what = f"its BMC does not answer at {told.host}, and a BMC that nobody knows answers at {target}"
        raise Settled(what, where=task.where, hint=hint)
    return told


def _is_ours(there: Endpoint, noted: Mapping[str, Any]) -> bool:
    with Ipmi(there) as bmc:
        return bool(noted.get("mac")) and bmc.lan().mac == noted["mac"]


def _moved(task: Task, home: Endpoint, wanted: dict[str, Any]) -> dict[str, Any]:
    """Have the BMC's settings so. What they were is noted before they change."""
    noted = task.journal.outputs(STEP).get("before") or {}
    if not task.check and noted.get("target") != wanted["address"]:
        with Ipmi(home) as bmc:
            lan = bmc.lan()
        task.journal.note(STEP, before={**lan.shown(), "mac": lan.mac, "target": wanted["address"]})
    task.guard()
    wait = min(ARRIVAL, task.deadline.remaining() / 2)
    try:
        return ensure_lan(home, wanted, max(wait, 1.0), check=task.check, asked=task.asked)
    except InvalidInput as exc:
        raise InvalidInput([f"{task.where}: {line}" for line in exc.problems]) from exc
    except Conflict as exc:
        raise Settled(exc.what, where=f"{task.where}: {exc.where}", hint=exc.hint) from exc


def _switchable(task: Task, target: str) -> None:
    """Have MAAS ask the BMC where it is now. One that MAAS cannot switch is of no use to it."""

    def asked() -> bool | None:
        return None if task.maas.power_state(task.server.system_id) == "error" else True

    try:
        wait_until(asked, Deadline(min(SWITCHABLE, task.deadline.remaining())), what="MAAS", first=1.0, most=5.0)
    except DeadlineExceeded as exc:
        what = f"its BMC answers at {target}, but MAAS cannot ask it there"
        hint = "look whether MAAS's rack controller reaches that network"
        raise OperationFailed(what, where=task.where, hint=hint) from exc
