# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of one instance task: its states and its renaming, on the plan's own path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..common.errors import Conflict, InvalidInput
from ..common.problems import Problems
from ..common.show import diff_of
from .incus.client import IncusClient
from .lookup import checked_name, instance_names, unknown
from .single import ensure, rename

#: state of the module -> state in a plan; empty: as it is, or stopped for a new one
STATES = {
    "present": "",
    "started": "running",
    "stopped": "stopped",
    "frozen": "frozen",
    "restarted": "running",
    "absent": "absent",
}
STATUS_AS_STATE = {"Running": "running", "Frozen": "frozen"}
#: options that a plan's instance has too, under the same names
FIELDS = (
    "image",
    "type",
    "description",
    "memory",
    "cpus",
    "disk",
    "pool",
    "profiles",
    "config",
    "devices",
    "network",
    "cloud_init",
    "vendor_data",
    "network_config",
    "metadata",
    "wait_for",
    "wait_timeout",
    "target",
    "ephemeral",
)
POWER = ("stop", "start", "freeze", "unfreeze")


@dataclass(frozen=True)
class InstanceRequest:
    """The options of an instance task. ``body`` is what a plan would hold, its state left out."""

    name: str
    body: Mapping[str, Any]
    state: str = "started"
    new_name: str = ""
    on_change: str = "refuse"
    timeout: int = 300

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> InstanceRequest:
        own = {name: params[name] for name in ("name", "state", "on_change", "timeout")}
        body = {name: _without_nothing(params[name]) for name in FIELDS if params[name] is not None}
        return cls(body=body, new_name=params["new_name"] or "", **own)

    def check(self) -> None:
        problems = Problems()
        for field in ("name", "new_name"):
            try:
                checked_name(getattr(self, field) or "x", field)
            except InvalidInput as error:
                problems.lines.extend(error.problems)
        if self.new_name and self.state == "absent":
            problems.add("new_name", "means nothing with state: absent", "any other state")
        if self.timeout < 1:
            problems.add("timeout", f"{self.timeout} is not valid", "1 or more seconds")
        problems.raise_if_any()


def _without_nothing(value: Any) -> Any:
    """A mapping without the suboptions that were not given; anything else as it is."""
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _without_nothing(item) for key, item in value.items() if item is not None}


def run_instance(client: IncusClient, request: InstanceRequest, *, check: bool) -> dict[str, Any]:
    """Bring one instance into the wanted state. Returns the module's result."""
    request.check()
    document = client.find(f"/instances/{request.name}")
    if not request.new_name or request.new_name == request.name:
        return _ensure(client, request, document, check=check)
    renamed = client.find(f"/instances/{request.new_name}")
    if document is None and renamed is None:
        raise unknown(client, request.name, instance_names(client))
    if document is not None and renamed is not None:
        raise Conflict(f"cannot become {request.new_name}, since that exists too", where=f"instance {request.name}")
    if document is None:
        return _ensure(client, replace(request, name=request.new_name), renamed, check=check)
    return _rename(client, request, document, check=check)


def _ensure(
    client: IncusClient, request: InstanceRequest, document: Mapping[str, Any] | None, *, check: bool
) -> dict[str, Any]:
    status = document["status"] if document else ""
    body = {**request.body, "state": STATES[request.state] or STATUS_AS_STATE.get(status, "stopped")}
    if document and "type" not in body:
        body["type"] = document["type"]
    again = request.state == "restarted"
    if request.state == "absent":
        body = {"state": "absent"}
    return ensure(
        client,
        "instance",
        request.name,
        body,
        on_change="restart" if again else request.on_change,
        timeout=request.timeout,
        check=check,
        force=("stop", "start") if again and status in STATUS_AS_STATE else (),
    )


def _rename(
    client: IncusClient, request: InstanceRequest, document: Mapping[str, Any], *, check: bool
) -> dict[str, Any]:
    """Incus renames stopped instances only: stop it if that is allowed, rename it, and go on with the new name."""
    runs = document["status"] in STATUS_AS_STATE
    if runs and request.state not in ("stopped", "restarted") and request.on_change != "restart":
        hint = "allow that with on_change: restart, or use state: stopped"
        raise Conflict("is running, and must be stopped to be renamed", where=f"instance {request.name}", hint=hint)
    state = _state_after(request.state, document["status"])
    goal = replace(request, name=request.new_name, state=state, on_change="restart")
    # What is wrong with the rest is found out before anything is done.
    rest = _ensure(client, replace(goal, name=request.name), document, check=True)
    if not check:
        if runs:
            stopped = InstanceRequest(request.name, {}, "stopped", timeout=request.timeout)
            _ensure(client, stopped, document, check=False)
        rename(client, request.name, request.new_name)
        done = _ensure(client, goal, client.find(f"/instances/{request.new_name}"), check=False)
        rest = {**rest, "notes": done["notes"], "after": done["after"]}
    return _renamed(request, rest, runs, STATES[state] or "stopped")


def _state_after(state: str, status: str) -> str:
    """The state to aim for once it is renamed: what ran before runs again."""
    if state == "restarted":
        return "started"
    before = {"Running": "started", "Frozen": "frozen"}
    return before.get(status, state) if state == "present" else state


def _renamed(request: InstanceRequest, rest: Mapping[str, Any], runs: bool, state: str) -> dict[str, Any]:
    """The result of a task that renames: the same words whether predicted or done."""
    updates = [action for action in rest["actions"] if action not in POWER]
    power = {"running": ["start"], "frozen": ["start", "freeze"]}.get(state, [])
    before, after = (
        {"name": name, **(rest[side] or {})} for side, name in (("before", request.name), ("after", request.new_name))
    )
    return {
        "changed": True,
        "actions": [*(["stop"] if runs else []), "rename", *updates, *power],
        "before": before,
        "after": after,
        "notes": rest["notes"],
        "diff": diff_of(before, after, f"instance {request.name}"),
    }
