# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seven steps, and how far a server is with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.show import hide_secrets

#: Names and titles, in the order in which they come.
STEPS = {
    "commission": "Commission",
    "address": "Find address",
    "bios_pull": "Read BIOS",
    "bios_modify": "Modify BIOS",
    "bios_push": "Write BIOS",
    "bmc": "Set up BMC",
    "finalize": "Finalize",
}
#: What the playbook's tasks are called, from which a run's progress is read.
TASK = re.compile(r"Step (\d)/7: (\w+)")
#: What a server may be.
SERVER_STATES = ("pending", "running", "completed", "failed", "cancelled", "interrupted")
PENDING, RUNNING, DONE, FAILED, SKIPPED = "pending", "running", "done", "failed", "skipped"


@dataclass(frozen=True)
class Step:
    """One step of one server. ``state`` is pending, running, done, failed or skipped."""

    name: str
    state: str = PENDING
    attempts: int = 0
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    error: str = ""
    #: what it has found out, as it was written: for others there is ``outputs``
    found: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def outputs(self) -> Mapping[str, Any]:
        """What it has found out, without secrets. To look for them takes its time, so it is done when it is asked for."""
        return without_secrets(self.found)

    @property
    def number(self) -> int:
        return list(STEPS).index(self.name) + 1

    @property
    def title(self) -> str:
        return STEPS[self.name]

    @property
    def changing(self) -> int:
        """How many BIOS settings change, where the step has found out."""
        return len(_changes(self.found))

    def changes(self, most: int | None = None) -> list[dict[str, Any]]:
        """The first so many of them, without secrets."""
        return [_change(one) for one in _changes(self.found)[:most]]

    def document(self, *, brief: bool = False) -> dict[str, Any]:
        """``brief`` leaves out what may be long."""
        step = replace(self, found=_without_changes(self.found)) if brief else self
        head = {"number": self.number, "title": self.title, "name": self.name, "state": self.state}
        times = {"started": self.started, "ended": self.ended, "seconds": self.seconds}
        return {**head, "attempts": self.attempts, **times, "error": self.error, "outputs": dict(step.outputs)}


def fresh() -> tuple[Step, ...]:
    """Seven steps of which none has begun."""
    return tuple(Step(name) for name in STEPS)


@dataclass(frozen=True)
class Server:
    """A server and how far it is. ``id`` is how it was ordered, ``system_id`` MAAS's name of it once that is known.

    ``state`` is pending, running, completed, failed, cancelled or interrupted. ``job`` is empty where it was
    provisioned without one. Times are ISO 8601.
    """

    id: str
    state: str = "pending"
    system_id: str = ""
    hostname: str = ""
    mac: str = ""
    job: str = ""
    order: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = field(default_factory=fresh)
    started: str = ""
    updated: str = ""
    #: why it failed, where no step says so
    error: str = ""

    @property
    def names(self) -> set[str]:
        """All that it may be called, in small letters."""
        given = {self.id, self.system_id, self.hostname, self.mac}
        return {name.lower() for name in given | {self.hostname.partition(".")[0]} if name}

    def is_called(self, name: str) -> bool:
        """Whether a name is one of its own; of a name with a domain the first part counts too."""
        wanted = name.lower()
        return bool({wanted, wanted.partition(".")[0]} & self.names)

    @property
    def at(self) -> Step | None:
        """The step that runs, or failed; else the last one that was done."""
        for state in (RUNNING, FAILED):
            found = next((one for one in self.steps if one.state == state), None)
            if found:
                return found
        return next((one for one in reversed(self.steps) if one.state == DONE), None)

    @property
    def done(self) -> int:
        return sum(one.state in (DONE, SKIPPED) for one in self.steps)

    @property
    def reason(self) -> str:
        """Why it failed, in a line, or nothing."""
        return next((one.error for one in self.steps if one.state == FAILED and one.error), self.error)

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.steps)

    def document(self, *, brief: bool = False) -> dict[str, Any]:
        """``brief`` leaves out what may be long: the BIOS settings that change."""
        at = self.at
        steps = [one.document(brief=brief) for one in self.steps]
        names = {"server_id": self.id, "system_id": self.system_id, "hostname": self.hostname, "mac": self.mac}
        place = {"step": at.number if at else 0, "step_name": at.name if at else "", "total_steps": len(STEPS)}
        times = {"started": self.started, "updated": self.updated}
        whole = {**names, "state": self.state, "job": self.job, **place, "error": self.reason, **times}
        return {**whole, "order": dict(self.order), "steps": steps}


def of_record(key: str, body: Mapping[str, Any]) -> Server:
    """A server out of its checkpoint record. Whatever is not in it counts as not known."""
    who, order = mapping(body.get("server")), mapping(body.get("order"))
    names = {name: str(who.get(name) or "") for name in ("hostname", "mac")}
    shown = hide_secrets({name: value for name, value in order.items() if value not in (None, "", [])})
    known = mapping(body.get("steps"))
    return Server(
        names["hostname"] or key,
        str(body.get("state") or "pending"),
        str(who.get("system_id") or key),
        job=str(body.get("job") or ""),
        order=shown,
        steps=tuple(step_of(name, mapping(known.get(name))) for name in STEPS),
        started=str(body.get("started") or ""),
        updated=str(body.get("updated") or ""),
        **names,
    )


def step_of(name: str, body: Mapping[str, Any]) -> Step:
    return Step(
        name,
        str(body.get("state") or PENDING),
        int(body.get("attempts") or 0),
        str(body.get("started") or ""),
        str(body.get("ended") or ""),
        float(body.get("seconds") or 0.0),
        first_line(body.get("error")),
        mapping(body.get("outputs")),
    )


def without_secrets(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """A step's outputs for showing. Of a BIOS setting whose name tells of a secret, the values are hidden."""
    found: dict[str, Any] = hide_secrets(_without_changes(outputs))
    if "changes" in outputs:
        found["changes"] = [_change(one) for one in _changes(outputs)]
    return found


def _without_changes(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if name != "changes"}


def _changes(outputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = outputs.get("changes")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _change(one: Mapping[str, Any]) -> dict[str, Any]:
    name = str(one.get("name") or "")
    values = {key: hide_secrets({name: one[key]})[name] for key in ("before", "after") if key in one}
    return {**one, **values}


def stopped(server: Server, state: str) -> Server:
    """A server that is not at it any more, though its record says so: the step that ran is not done."""
    steps = tuple(replace(one, state=PENDING) if one.state == RUNNING else one for one in server.steps)
    return replace(server, state=state, steps=steps)


def first_line(text: Any) -> str:
    return next((line.strip() for line in str(text or "").splitlines() if line.strip()), "")


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def whole_state(states: Iterable[str]) -> str:
    """What several servers are together: the worst that is over, unless some go on."""
    found = list(states)
    for word in ("running", "pending", "failed", "interrupted", "cancelled"):
        if word in found:
            return word
    return "completed"
