# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders to a UPS: its instant commands, and the forced shutdown."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import InvalidInput, OperationFailed
from .client import Client, Refused, connect
from .info import OPTIONS as SERVER_OPTIONS
from .info import server_of, unknown_ups
from .status import UpsStatus

OPTIONS: dict[str, Any] = {
    **SERVER_OPTIONS,
    "ups": {"type": "str", "required": True},
    "command": {"type": "str", "required": True},
    "value": {"type": "str", "default": ""},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "wait": {"type": "float", "default": 30.0},
}
FALLBACKS = {"username": "RACKSTEAD_UPS_USERNAME", "password": "RACKSTEAD_UPS_PASSWORD"}
#: Not a command of the UPS but of upsd, and as such always there.
FSD = "fsd"
#: Command -> what ups.beeper.status is once it was carried out.
BEEPER = {"beeper.enable": "enabled", "beeper.disable": "disabled", "beeper.mute": "muted"}
#: Outcomes of an order that upsd has passed on.
FAILURES = {
    "UNKNOWN": "the driver does not know the command",
    "INVALID-ARGUMENT": "the driver does not take this value",
    "FAILED": "the UPS did not carry it out",
}


def ensure_command(params: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Give an order, unless the UPS is where it would lead, and see what became of it."""
    ups, command = params["ups"], params["command"].lower()
    server = server_of(params)
    _check_who(params)
    with connect(server) as client:
        _check_known(client, ups, command)
        status = client.status(ups, time.monotonic())
        before = _state(client, status, command)
        after = _aim(command)
        changed = before is None or before != after
        found = {"changed": changed, "ups": ups, "command": command, "outcome": "unchanged"}
        if not changed:
            return found
        diff = {"before": {} if before is None else before, "after": after}
        if check:
            return {**found, "outcome": "not ordered", "diff": diff}
        client.sign_in(params["username"], params["password"])
        return {**found, "outcome": _ordered(client, ups, command, params), "diff": diff}


def _check_who(params: Mapping[str, Any]) -> None:
    problems = [
        f"{field}: is missing; allowed: that of a user in upsd.users, or {variable} in the environment"
        for field, variable in FALLBACKS.items()
        if not params[field]
    ]
    if params["wait"] < 0:
        problems.append(f"wait: {params['wait']:g} is not valid; allowed: seconds, 0 or more")
    if params["value"] and params["command"].lower() == FSD:
        problems.append("value: a forced shutdown takes none")
    if problems:
        raise InvalidInput(problems)


def _check_known(client: Client, ups: str, command: str) -> None:
    """Raises InvalidInput for a UPS or a command that is not there, with those that are."""
    known = client.upses()
    if ups not in known:
        raise InvalidInput([unknown_ups(ups, list(known))])
    offered = [*sorted(client.commands(ups)), FSD]
    if command not in offered:
        near = difflib.get_close_matches(command, offered, 1)
        nearest = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInput([f"command: {ups} has no {command!r}; allowed: {', '.join(offered)}{nearest}"])


def _aim(command: str) -> dict[str, Any]:
    """What is so when the command was carried out, or the command, where it leaves nothing to see."""
    if command == FSD:
        return {"fsd": True}
    if command in BEEPER:
        return {"beeper": BEEPER[command]}
    return {"off": True} if command == "load.off" else {"ordered": command}


def _state(client: Client, status: UpsStatus, command: str) -> dict[str, Any] | None:
    """What is so now; None where that cannot be seen."""
    if status.stale:
        return None
    if command == FSD:
        return {"fsd": status.fsd}
    if command in BEEPER:
        return {"beeper": client.variables(status.ups).get("ups.beeper.status", "unknown")}
    return {"off": status.off} if command == "load.off" else None


def _ordered(client: Client, ups: str, command: str, params: Mapping[str, Any]) -> str:
    """Give the order. ``done`` is what the UPS has confirmed, ``accepted`` what upsd has passed on."""
    try:
        if command == FSD:
            client.force_shutdown(ups)
            return "done"
        tracking = client.order(ups, command, params["value"])
        if not tracking or not params["wait"]:
            return "accepted"
        wait_until(lambda: client.outcome(tracking), Deadline(params["wait"]), what=f"{ups} to carry out {command}")
    except Refused as error:
        what = FAILURES.get(error.code, f"upsd refused with {error.code}")
        raise OperationFailed(f"{command}: {what}", where=ups) from None  # its code is told
    return "done"
