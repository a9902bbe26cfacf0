# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine's way through MAAS: what to tell MAAS so that the machine gets where it is wanted, and waiting there.

Nothing is remembered: what MAAS is at is seen from the machine's status. A run that is killed is
taken up where MAAS is by then, and nothing is ordered a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import Conflict, DeadlineExceeded, InvalidInput, OperationFailed, RacksteadError, Unreachable
from ...common.show import diff_of
from .client import Maas
from .model import (
    ALLOCATED,
    BROKEN,
    BUSY,
    COMMISSIONING,
    DEPLOYED,
    DEPLOYING,
    DISK_ERASING,
    ENTERING_RESCUE,
    EXITING_RESCUE,
    FAILED,
    FAILED_COMMISSIONING,
    FAILED_DEPLOYMENT,
    FAILED_DISK_ERASING,
    FAILED_ENTERING_RESCUE,
    FAILED_EXITING_RESCUE,
    FAILED_TESTING,
    NEW,
    READY,
    RELEASING,
    RELEASING_FAILED,
    RESCUE,
    RESERVED,
    TESTING,
    Machine,
)


@dataclass(frozen=True)
class Goal:
    """Where a machine may be wanted.

    ``there`` are the statuses that fulfil it, ``coming`` those that lead there by themselves, and
    ``orders`` what to tell MAAS in which status.
    """

    there: frozenset[int]
    coming: frozenset[int]
    orders: Mapping[int, str]
    hints: Mapping[int, str] = field(default_factory=dict)


#: From these MAAS takes a machine out of rescue mode, to where it was before.
_TO_LEAVE_RESCUE = dict.fromkeys((RESCUE, FAILED_ENTERING_RESCUE, FAILED_EXITING_RESCUE), "exit_rescue_mode")
_TO_RELEASE = (DEPLOYED, ALLOCATED, RESERVED, FAILED_DEPLOYMENT, RELEASING_FAILED, FAILED_DISK_ERASING)
GOALS = {
    "ready": Goal(
        frozenset({READY}),
        frozenset({COMMISSIONING, TESTING, RELEASING, DISK_ERASING, EXITING_RESCUE}),
        {
            **dict.fromkeys((NEW, FAILED_COMMISSIONING, FAILED_TESTING), "commission"),
            BROKEN: "mark_fixed",
            **_TO_LEAVE_RESCUE,
        },
        dict.fromkeys(_TO_RELEASE, "state released gives it back first"),
    ),
    "deployed": Goal(
        frozenset({DEPLOYED}),
        frozenset({DEPLOYING, EXITING_RESCUE}),
        {READY: "deploy", ALLOCATED: "deploy", **_TO_LEAVE_RESCUE},
        {NEW: "state ready commissions it first", FAILED_DEPLOYMENT: "state released gives it back first"},
    ),
    "released": Goal(
        frozenset({READY, NEW}),
        frozenset({RELEASING, DISK_ERASING}),
        dict.fromkeys(_TO_RELEASE, "release"),
    ),
    "rescue": Goal(
        frozenset({RESCUE}),
        frozenset({ENTERING_RESCUE}),
        dict.fromkeys((READY, ALLOCATED, DEPLOYED, BROKEN, FAILED_ENTERING_RESCUE), "rescue_mode"),
        {
            NEW: "state ready commissions it first",
            EXITING_RESCUE: "wait for it",
            FAILED_EXITING_RESCUE: "state ready takes it out first",
        },
    ),
    "broken": Goal(
        frozenset({BROKEN}),
        frozenset(),
        dict.fromkeys((NEW, READY, ALLOCATED, DEPLOYED, *FAILED - {BROKEN}, *BUSY), "mark_broken"),
    ),
}
#: What op=abort stops.
ABORTED = {COMMISSIONING, TESTING, DEPLOYING, DISK_ERASING}
STATES = ("ready", "deployed", "released", "rescue", "broken", "aborted")
LEADS_TO = {
    "ready": (READY, "Ready"),
    "deployed": (DEPLOYED, "Deployed"),
    "released": (READY, "Ready"),
    "broken": (BROKEN, "Broken"),
    "rescue": (RESCUE, "Rescue mode"),
}


@dataclass(frozen=True)
class Order:
    """What is asked of ``ensure_machine``. None leaves a thing as it is; ``wait`` is in seconds, 0 does not wait."""

    state: str | None = None
    again: bool = False
    power: str | None = None
    soft: bool = False
    owner_data: Mapping[str, str] | None = None
    commission: Mapping[str, Any] = field(default_factory=dict)
    deploy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    release: Mapping[str, Any] = field(default_factory=dict)
    comment: str | None = None
    wait: float = 1800.0


def ensure_machine(maas: Maas, name: str, order: Order, *, check: bool) -> dict[str, Any]:
    """Bring a machine where it is wanted. Raises OperationFailed where MAAS failed at it."""
    before = maas.find(name)
    deadline = Deadline(order.wait)
    steps = _steps(before, order)
    power = order.power if order.power != before.power else None
    data = _data_changes(before, order)
    expected = before
    if steps and order.state in LEADS_TO:
        status, status_name = LEADS_TO[order.state]
        expected = replace(expected, status=status, status_name=status_name)
    expected = replace(expected, power=power or before.power, owner_data=_merged(before.owner_data, data))
    orders = {"orders": steps} if steps else {}
    shown = diff_of(_shown(before), {**_shown(expected), **orders}, f"machine {before.hostname}")
    now = expected if check else _carry_out(maas, before, order, data, power, deadline)
    return {"changed": bool(steps or power or data), "machine": now.shown(), "diff": shown}


def _shown(machine: Machine) -> dict[str, Any]:
    return {"status": machine.status_name, "power": machine.power, "owner_data": dict(machine.owner_data)}


def _steps(machine: Machine, order: Order) -> list[str]:
    """What is to be told to MAAS about the status. Raises Conflict."""
    if order.state is None:
        return []
    if order.state == "aborted":
        return ["abort"] if machine.status in ABORTED else []
    goal = GOALS[order.state]
    again = order.again and order.state == "ready" and machine.status == READY
    if machine.status in goal.coming or (machine.status in goal.there and not again):
        return []
    told = "commission" if again else goal.orders.get(machine.status, "")
    if not told:
        raise _no_way(machine, order.state, goal)
    return [told]


def _no_way(machine: Machine, state: str, goal: Goal) -> Conflict:
    hint = goal.hints.get(machine.status, "")
    if not hint and machine.status in BUSY:
        stop = ", or stop it with state aborted" if machine.status in ABORTED else ""
        hint = f"wait for it{stop}"
    what = f"is {machine.status_name}: there is no way from there to state {state}"
    return Conflict(what, where=f"machine {machine.hostname}", hint=hint)


def _data_changes(machine: Machine, order: Order) -> dict[str, str]:
    """Owner data that differ. An empty text removes a key, as MAAS has it."""
    wanted = order.owner_data or {}
    return {key: value for key, value in wanted.items() if machine.owner_data.get(key, "") != value}


def _merged(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in {**old, **new}.items() if value}


def _carry_out(
    maas: Maas, before: Machine, order: Order, data: Mapping[str, str], power: str | None, deadline: Deadline
) -> Machine:
    now = before
    for told in _steps(before, order):
        _tell(maas, before, told, order)
    if order.state and order.wait:
        now = _arrive(maas, before, order, deadline)
    if power:
        options = {"stop_mode": "soft" if order.soft else "hard"} if power == "off" else {}
        maas.order(before.system_id, f"power_{power}", **options)
        if order.wait:
            now = _await_power(maas, before, power, deadline)
    if data:
        maas.order(before.system_id, "set_owner_data", **data)
    return maas.machine(before.system_id) if data or not order.wait else now


def _tell(maas: Maas, machine: Machine, told: str, order: Order) -> None:
    options = {"commission": order.commission, "deploy": order.deploy, "release": order.release}.get(told, {})
    if told in ("mark_broken", "mark_fixed", "release", "abort") and order.comment:
        options = {**options, "comment": order.comment}
    try:
        maas.order(machine.system_id, told, **options)
    except Unreachable:
        # Whether MAAS took it is to be seen from the machine. If it did not, the next run tells it again.
        if maas.machine(machine.system_id).status == machine.status:
            raise


def _arrive(maas: Maas, before: Machine, order: Order, deadline: Deadline) -> Machine:
    """Wait until the machine is where it is wanted. A failed status ends the waiting at once, with its cause."""
    aborting = order.state == "aborted"
    there = frozenset(range(23)) - BUSY if aborting else GOALS[str(order.state)].there
    seen = before
    orders = _steps(before, order)
    fresh, left_rescue = not orders, "exit_rescue_mode" in orders

    def arrived() -> Machine | None:
        nonlocal seen, fresh
        seen = maas.machine(before.system_id)
        # A machine may be shown as it was for a moment after it was told to go.
        fresh = fresh or seen.status != before.status
        if fresh and seen.status in there:
            return seen
        if fresh and seen.status in FAILED and not aborting:
            raise _failure(maas, seen)
        if fresh and left_rescue and seen.status not in BUSY:
            what = f"left rescue mode and is {seen.status_name}, as before, not {order.state}"
            raise Conflict(what, where=f"machine {seen.hostname}")
        return None

    what = f"machine {before.hostname} to be {'idle' if aborting else order.state}"
    try:
        return wait_until(
            arrived,
            deadline,
            what=what,
            first=0.2,
            most=5.0,
            growth=1.1,
            last_seen=lambda: f"{seen.status_name}{': ' if seen.status_message else ''}{seen.status_message}",
        )
    except DeadlineExceeded as exc:
        exc.hint = "a later run goes on waiting; state aborted stops it" if seen.status in ABORTED else exc.hint
        raise


def _await_power(maas: Maas, machine: Machine, power: str, deadline: Deadline) -> Machine:
    state = ""

    def reached() -> bool | None:
        nonlocal state
        state = str(maas.get(f"machines/{machine.system_id}/", op="query_power_state")["state"])
        if state == "error":
            raise OperationFailed(f"MAAS cannot power it {power}", where=f"machine {machine.hostname}")
        return state == power or None

    what = f"machine {machine.hostname} to be powered {power}"
    wait_until(reached, deadline, what=what, first=0.2, most=5.0, growth=1.1, last_seen=lambda: state)
    return maas.machine(machine.system_id)


def _failure(maas: Maas, machine: Machine) -> OperationFailed:
    """What went wrong, with what MAAS and the failing script say."""
    parts = [machine.status_name]
    if machine.status_message:
        parts.append(machine.status_message)
    hint = ""
    try:
        scripts = maas.failed_scripts(machine.system_id)
    except RacksteadError as exc:
        scripts, hint = [], f"the scripts' results could not be read: {exc.what}"
    parts += [f"script {name} failed ({code or 'no exit status'}): {said}".rstrip(": ") for name, code, said in scripts]
    return OperationFailed("; ".join(parts), where=f"machine {machine.hostname}", hint=hint)


def problems_of(order: Order) -> list[str]:
    """What is wrong with an order in itself."""
    problems = []
    if order.wait < 0:
        problems.append(f"wait: {order.wait:g} is not valid; allowed: seconds, 0 or more")
    if order.again and order.state != "ready":
        problems.append("again: is of no use without state ready; allowed: with it")
    if order.soft and order.power != "off":
        problems.append("soft: is of no use without power off; allowed: with it")
    for name, options, state in (("deploy", order.deploy, "deployed"), ("commissioning", order.commission, "ready")):
        if any(value is not None for value in options.values()) and order.state != state:
            problems.append(f"{name}: is of no use without state {state}; allowed: with it")
    return problems


def check_order(order: Order) -> None:
    """Raises InvalidInput with all that is wrong."""
    problems = problems_of(order)
    if problems:
        raise InvalidInput(problems)
