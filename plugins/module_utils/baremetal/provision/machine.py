# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps 1, 2 and 7, and booting in between: what is done through MAAS.

After commissioning with SSH a machine stays on, Ready, and has an address. MAAS switches a Ready machine off
that boots by itself, so it is booted into MAAS's rescue mode whenever it has to boot, and finalizing takes it
out of there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...common.deadline import wait_until
from ...common.errors import Conflict, DeadlineExceeded, NotFound, RacksteadError
from ...common.show import diff_of
from ..maas import lifecycle
from ..maas.client import Busy
from ..maas.model import (
    ALLOCATED,
    BROKEN,
    COMMISSIONING,
    DEPLOYED,
    DEPLOYING,
    ENTERING_RESCUE,
    EXITING_RESCUE,
    FAILED_ENTERING_RESCUE,
    FAILED_EXITING_RESCUE,
    READY,
    RESCUE,
    TESTING,
    Machine,
)
from .model import Done
from .retry import Settled
from .task import Task, speaks_ssh

#: In these a machine has been commissioned.
COMMISSIONED = {READY, RESCUE, ENTERING_RESCUE, EXITING_RESCUE, FAILED_ENTERING_RESCUE, FAILED_EXITING_RESCUE}
IN_USE = {ALLOCATED, DEPLOYING, DEPLOYED}
#: Seconds in which MAAS gets a machine out of a status that was aborted.
ABORTING = 120.0
OWNER_DATA = {"device_type": "rackstead_device_type", "rack_location": "rackstead_rack_location"}


def _ordered(task: Task, order: lifecycle.Order) -> Machine | None:
    """Have MAAS bring the machine where it is wanted. What no waiting mends is told as such."""
    task.guard()
    with task.speaking_to_maas():
        try:
            lifecycle.ensure_machine(task.maas, task.server.system_id, order, check=task.check)
        except Conflict as exc:
            if "there is no way from there" in exc.what or exc.what.startswith("left rescue mode"):
                raise Settled(exc.what, where=exc.where, hint=exc.hint) from exc
            raise
    return None if task.check else task.machine()


def _refuse(task: Task, machine: Machine) -> None:
    """Leave a machine alone that somebody uses, or that was marked as broken."""
    if machine.status in IN_USE:
        hint = "release it first; provisioning boots the server and is for those that nobody uses"
        raise Settled(f"is {machine.status_name}", where=task.where, hint=hint)
    if machine.status == BROKEN:
        said = f": {machine.status_message}" if machine.status_message else ""
        raise Settled(f"is marked as broken in MAAS{said}", where=task.where, hint="mark it as fixed there first")


# -- commission -------------------------------------------------------------------------------------
def is_commissioned(task: Task) -> bool:
    return task.machine().status in COMMISSIONED | IN_USE


def commission(task: Task) -> Done:
    """Have the machine commissioned, with SSH left on. What MAAS is at already is waited for."""
    before = task.machine()
    if before.status in COMMISSIONED:
        return Done(False, _shown(before))
    _refuse(task, before)
    order = lifecycle.Order(state="ready", commission={"enable_ssh": 1}, wait=task.deadline.remaining())
    after = _ordered(task, order)
    sides = {"status": before.status_name}, {"status": "Ready"}
    return Done(True, _shown(after or before), diff_of(*sides, task.where))


def undo_commission(task: Task) -> None:
    """Stop what took too long, so that the next attempt begins anew."""
    if task.machine().status in (COMMISSIONING, TESTING):
        task.tell(f"{task.where}: commissioning took too long and is stopped")
        _ordered(task, lifecycle.Order(state="aborted", wait=ABORTING))


def _shown(machine: Machine) -> dict[str, Any]:
    names = ("status_name", "architecture", "cpus", "memory", "storage")
    return {name: getattr(machine, name) for name in names}


# -- address ----------------------------------------------------------------------------------------
def address(task: Task) -> Done:
    if task.check:
        found = answering(task, task.machine())
        return Done(False, {"address": found} if found else {})
    return Done(False, {"address": up(task)})


def is_at_address(task: Task) -> bool:
    """Whether the address that the record has is still the machine's."""
    known = str(task.journal.outputs("address").get("address", ""))
    if task.journal.step("bios_push")["state"] == "done":
        return True  # it has served its purpose; whoever needs the machine up later looks for it anew
    return bool(known) and known in task.machine().addresses and speaks_ssh(known, task.settings.ssh_port)


def answering(task: Task, machine: Machine) -> str:
    """The first of the machine's addresses that speaks SSH, or nothing."""
    return next((one for one in machine.addresses if speaks_ssh(one, task.settings.ssh_port)), "")


def up(task: Task) -> str:
    """The address of the running machine; one that is off, or does not come by itself, is booted."""
    machine = task.machine()
    if machine.status not in COMMISSIONED:
        _refuse(task, machine)
        raise Settled(
            f"is {machine.status_name}, not commissioned", where=task.where, hint="begin with the step commission"
        )
    if machine.status in (READY, RESCUE) and (found := answering(task, machine)):
        return found
    if machine.status not in (READY, RESCUE) or task.attempt > 1 or _is_off(task):
        if machine.status == RESCUE:  # it has lost its power there, or hangs
            leave_rescue(task)
        rescue(task)
    return _await_ssh(task)


def _is_off(task: Task) -> bool:
    with task.speaking_to_maas():
        try:
            return task.maas.power_state(task.server.system_id) != "on"
        except (Busy, Conflict):
            return False


def _await_ssh(task: Task) -> str:
    seen = ""

    def reached() -> str | None:
        nonlocal seen
        machine = task.machine()
        seen = f"{machine.status_name}, addresses {', '.join(machine.addresses) or 'none'}, power {machine.power}"
        return answering(task, machine) or None

    what = f"{task.where} to answer SSH"
    try:
        return wait_until(reached, task.deadline, what=what, first=0.2, most=5.0, growth=1.1, last_seen=lambda: seen)
    except DeadlineExceeded as exc:
        exc.hint = "look at its console, its cable, and MAAS's DHCP"
        raise


# -- boots ------------------------------------------------------------------------------------------
def rescue(task: Task) -> None:
    """Have the machine in rescue mode; it boots for that, unless it is there."""
    _settle(task)
    _ordered(task, lifecycle.Order(state="rescue", wait=task.deadline.remaining()))


def leave_rescue(task: Task) -> Machine | None:
    """Have the machine Ready, out of rescue mode."""
    return _ordered(task, lifecycle.Order(state="ready", wait=task.deadline.remaining()))


def _settle(task: Task) -> None:
    """Let MAAS finish what it is at; out of a failure on the way out of rescue mode there is one way."""
    if task.machine().status in (EXITING_RESCUE, FAILED_EXITING_RESCUE):
        leave_rescue(task)


def boot(task: Task, stage: Mapping[str, Any], note: str) -> str:
    """Boot the machine once; the address at which it answers then.

    ``stage`` is what the step ``note`` has remembered. A run that was killed goes on where it was: what it
    has ordered is seen from MAAS's status.
    """
    if stage.get("boot") != "ordered":
        if task.machine().status in (RESCUE, ENTERING_RESCUE, FAILED_ENTERING_RESCUE):
            if task.machine().status == ENTERING_RESCUE:
                rescue(task)
            leave_rescue(task)
        _settle(task)
        task.guard()
        task.journal.note(note, boot="ordered")
    rescue(task)
    return _await_ssh(task)


# -- finalize ---------------------------------------------------------------------------------------
def is_final(task: Task) -> bool:
    machine = task.machine()
    missing, data = _missing(task, machine)
    return not missing and not data and machine.status in {READY} | IN_USE


def _missing(task: Task, machine: Machine) -> tuple[list[str], dict[str, str]]:
    """Tags and owner data that the machine is to have and has not."""
    wanted = {OWNER_DATA[name]: value for name, value in task.order.body().items() if name in OWNER_DATA and value}
    data = {key: value for key, value in wanted.items() if machine.owner_data.get(key, "") != value}
    return [tag for tag in task.order.tags if tag not in machine.tags], data


def finalize(task: Task) -> Done:
    """Take the machine out of rescue mode, give it its tags, and note in MAAS what and where it is."""
    machine = task.machine()
    _refuse(task, machine)
    missing, data = _missing(task, machine)
    before = {"tags": list(machine.tags), **{key: machine.owner_data.get(key, "") for key in data}}
    after = {"tags": sorted({*machine.tags, *missing}), **data}
    out = machine.status in COMMISSIONED - {READY}
    if not task.check:
        if out:
            leave_rescue(task)
        task.guard()
        with task.speaking_to_maas():
            for tag in missing:
                _tag(task, tag)
            if data:
                task.maas.order(task.server.system_id, "set_owner_data", **data)
            after = {**after, "tags": list(task.maas.machine(task.server.system_id).tags)}
    outputs = {"tags": after["tags"], "owner_data": data}
    return Done(bool(missing or data or out), outputs, diff_of(before, after, task.where))


def _tag(task: Task, tag: str) -> None:
    """Give the machine a tag. Of several servers that want a new one at once, one makes it."""
    try:
        task.maas.update_tagged(tag, [task.server.system_id], [])
        return
    except NotFound:
        task.tell(f"{task.where}: MAAS has no tag {tag} yet")
    try:
        task.maas.post("tags/", name=tag, comment="")
    except RacksteadError:
        if task.maas.tag(tag) is None:
            raise
    task.maas.update_tagged(tag, [task.server.system_id], [])
