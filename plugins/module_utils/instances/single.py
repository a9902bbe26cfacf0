# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One resource by itself: the modules beside ``plan`` use the plan's own path, with no mark left.

A module turns its options into the mapping that a plan would hold for the resource, and ``ensure``
does the rest: the same door, the same decision, the same writer, the same check mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.errors import NotFound, RacksteadError
from ..common.problems import Problems
from .apply import Outcome
from .desired import desired_resources
from .door import read_plan
from .incus.client import IncusClient
from .model import Change
from .plantask import result_of
from .progress import Progress
from .readiness import wait_ready
from .reconcile import Policy, compute
from .world import observe
from .writer import Writer

#: kind -> key of the plan that holds such resources
SECTIONS = {
    "instance": "instances",
    "profile": "profiles",
    "network": "networks",
    "project": "projects",
    "storage_volume": "storage_volumes",
}


def ensure(
    client: IncusClient,
    kind: str,
    name: str,
    body: Mapping[str, Any],
    *,
    state: str = "present",
    on_change: str = "refuse",
    timeout: int = 300,
    check: bool = False,
    force: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Make one resource as ``body`` says (``state`` present) or absent. Returns a module's result.

    ``body`` is what a plan would hold under the resource's name; keys whose value is None count as
    not given. ``force`` names actions to take even where nothing asks for them, such as ``stop, start``.
    Raises the error of whatever failed, naming the resource; InvalidInput for a bad body.
    """
    problems = Problems()
    given = {key: value for key, value in body.items() if value is not None}
    plan = read_plan({SECTIONS[kind]: {name: given}}, problems, name=name, project=client.project)
    problems.lines[:] = [_as_option(line, f"{SECTIONS[kind]}.{name}") for line in problems.lines]
    problems.raise_if_any()
    world = observe(client, plan, timeout=timeout)
    policy = Policy(state=state, on_change=on_change, adopt=True)
    [change] = compute(desired_resources(plan, world, ""), world, policy, problems)
    problems.raise_if_any()
    if force and not set(force) & set(change.actions):
        change = Change(**{**vars(change), "actions": (*change.actions, *force)})
    outcome = Outcome(change)
    if not check:
        _carry_out(client, Writer(client, world), outcome, timeout)
    result = result_of("", [outcome])
    entry = result["resources"][0]
    return {
        "changed": entry["changed"],
        "actions": entry["actions"],
        "before": entry["before"],
        "after": entry["after"],
        "notes": entry["notes"],
        "diff": result["diff"][0] if result["diff"] else {"before": "", "after": ""},
    }


def _as_option(line: str, path: str) -> str:
    """A fault in the plan's words as one in the module's: its option, or ``name`` for the resource's key."""
    return line.removeprefix(f"{path}.") if line.startswith(f"{path}.") else line.replace(f"{path}:", "name:", 1)


def _carry_out(client: IncusClient, writer: Writer, outcome: Outcome, timeout: int) -> None:
    change, desired = outcome.change, outcome.change.desired
    silent = Progress()
    try:
        outcome.notes = writer.perform(change, lambda action, detail: silent.report(str(change.ref), action, detail))
        if desired is not None and desired.waits and desired.status == "Running":
            wait_ready(client, change.ref.name, desired.waits, desired.wait_timeout or timeout, lambda _text: None)
    except RacksteadError as error:
        raise error.at(str(change.ref)) from error


def rename(client: IncusClient, name: str, new_name: str, *, check: bool = False) -> bool:
    """Rename a stopped instance. Returns whether that was, or would be, a change.

    Already renamed (the old name gone, the new one there) is no change. Raises NotFound, Conflict.
    """
    old, new = client.find(f"/instances/{name}"), client.find(f"/instances/{new_name}")
    if old is None and new is not None:
        return False
    if old is None:
        raise NotFound("does not exist", where=f"instance {name}")
    if not check:
        try:
            client.post(f"/instances/{name}", {"name": new_name})
        except RacksteadError as error:
            raise error.at(f"instance {name}") from error
    return True
