# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far servers are, out of what a run tells: its events while it goes on, its tasks' results when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rich.console import RenderableType

from . import orders
from .progress import (
    DONE,
    FAILED,
    PENDING,
    RUNNING,
    SKIPPED,
    STEPS,
    TASK,
    Server,
    Step,
    first_line,
    mapping,
)

#: What an event of ansible-runner says of a step.
STATES = {
    "runner_on_start": RUNNING,
    "runner_on_ok": DONE,
    "runner_on_failed": FAILED,
    "runner_on_unreachable": FAILED,
    "runner_on_skipped": SKIPPED,
}
Tell = Callable[[dict[str, Any]], None]


class Returned(Protocol):
    """What a task has returned on a host, as ``run.TaskResult`` has it."""

    @property
    def task(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def result(self) -> Mapping[str, Any]: ...


def of_results(results: Iterable[Returned]) -> list[Server]:
    """The servers of a run that is over, or of what there is of one, in the order in which they began."""
    found: dict[str, Server] = {}
    for one in results:
        found |= {host: server for host, server in ordered(one.result).items() if host not in found}
        name = step_in(one.task)
        if name:
            before = found.get(one.host) or Server(one.host)
            found[one.host] = with_step(before, name, _states(one.status, one.result), one.result)
    return [ended(one) for one in found.values()]


def ordered(result: Mapping[str, Any], names: Sequence[str] = ()) -> dict[str, Server]:
    """The servers that the task which checks an order has returned, by their hosts' names; ``names`` as ordered."""
    servers = result.get("servers")
    given = [mapping(one) for one in servers] if isinstance(servers, list) else []
    if not all(mapping(one.get("server")).get("system_id") for one in given):
        return {}
    called = names if len(names) == len(given) else [""] * len(given)
    found = {}
    for name, one in zip(called, given, strict=True):
        who = {key: str(one["server"].get(key) or "") for key in ("system_id", "hostname", "mac")}
        order = {key: value for key, value in mapping(one.get("order")).items() if value not in (None, "", [])}
        steps = tuple(Step(step, PENDING if step in one.get("steps", STEPS) else SKIPPED) for step in STEPS)
        found[who["system_id"]] = Server(name or who["hostname"] or who["system_id"], order=order, steps=steps, **who)
    return found


def ended(server: Server) -> Server:
    """A server of a run that is over: what was not come to stays pending."""
    states = {one.state for one in server.steps}
    if states <= {PENDING, SKIPPED}:
        return server
    return replace(server, state="failed" if FAILED in states else "completed")


def _states(status: str, result: Mapping[str, Any]) -> str:
    if status != "ok":
        return FAILED
    return SKIPPED if result.get("skipped") else DONE


def step_in(task: str) -> str:
    """The step that a task of the playbook is, or nothing."""
    match = TASK.search(task)
    return match[2] if match and match[2] in STEPS else ""


def with_step(server: Server, name: str, state: str, result: Mapping[str, Any]) -> Server:
    """The server after a step has come to this state; ``result`` is what its task has returned."""
    who = mapping(result.get("server"))
    step = Step(
        name,
        state,
        int(result.get("attempts") or 0),
        seconds=float(result.get("seconds") or 0.0),
        error=first_line(result.get("msg")) if state == FAILED else "",
        found=mapping(result.get("outputs")),
    )
    return replace(
        server,
        system_id=str(who.get("system_id") or server.system_id),
        hostname=str(who.get("hostname") or server.hostname),
        mac=str(who.get("mac") or server.mac),
        steps=tuple(step if one.name == name else one for one in server.steps),
    )


@dataclass
class Board:
    """Follows a run by its events. ``servers`` are those that were ordered; ``tell`` is told each step as it changes."""

    servers: list[str]
    picture_of: Callable[[list[Server], float], list[RenderableType]]
    tell: Tell = lambda _step: None
    known: dict[str, Server] = field(default_factory=dict)
    #: what the playbook's hosts were ordered as
    hosts: dict[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.known = {name: Server(name) for name in self.servers}

    def _meet(self, result: Mapping[str, Any]) -> None:
        """Learn which hosts of the playbook are which servers."""
        found = ordered(result, self.servers)
        self.hosts = {host: server.id for host, server in found.items()}
        self.known = {**self.known, **{server.id: server for server in found.values()}}

    def take(self, event: Mapping[str, Any]) -> list[str]:
        """Learn from an event; returns a line for a step that is over."""
        data = event.get("event_data") or {}
        state = STATES.get(str(event["event"]))
        if event["event"] == "runner_on_ok" and not self.hosts:
            self._meet(data.get("res") or {})
        name = step_in(str(data.get("task") or ""))
        if event["event"] == "job_started":
            self.__post_init__()  # another attempt
        if not state or not name:
            return []
        result = data.get("res") or {}
        if state == DONE and result.get("skipped"):
            state = SKIPPED
        called = self.hosts.get(str(data.get("host") or ""), str(data.get("host") or ""))
        server = with_step(self.known.get(called) or Server(called), name, state, result)
        self.known = {**self.known, called: server}
        step = next(one for one in server.steps if one.name == name)
        self.tell(told(server, step))
        return [] if state == RUNNING else [line_of(server, step)]

    def picture(self, _width: int) -> list[RenderableType]:
        return self.picture_of(list(self.known.values()), time.monotonic() - self.begun)

    def line(self) -> str:
        """How many servers are through, or have failed."""
        known = list(self.known.values())
        failed = sum(any(step.state == FAILED for step in one.steps) for one in known)
        done = sum(one.done == len(STEPS) for one in known)
        return f"{done} of {len(known)} done" + (f", {failed} failed" if failed else "")


def told(server: Server, step: Step) -> dict[str, Any]:
    """A step for a progress callback. ``status`` is running, done, failed or skipped."""
    place = {"server_id": server.id, "step": step.number, "total_steps": len(STEPS), "step_name": step.name}
    rest = {"status": step.state, "seconds": step.seconds, "attempts": step.attempts, "error": step.error}
    return {**place, "title": step.title, **rest, "outputs": dict(step.outputs)}


def line_of(server: Server, step: Step) -> str:
    """A step that is over, as a line of plain text."""
    tries = f", {step.attempts} attempts" if step.attempts > 1 else ""
    took = f" after {step.seconds:.1f} s" if step.seconds else ""
    error = f": {step.error}" if step.error else ""
    return f"{server.id}: step {step.number}/{len(STEPS)} {step.name} {step.state}{took}{tries}{error}"


def names_of(servers: Iterable[Mapping[str, Any]]) -> list[str]:
    return [orders.name_of(one) for one in servers]


def merged(ordered: Iterable[str], found: Iterable[Server]) -> list[Server]:
    """The servers as they were ordered: those that no step has told of have not begun."""
    known = list(found)
    by_order = []
    for name in ordered:
        one = next((server for server in known if server.is_called(name)), None)
        by_order.append(replace(one, id=name) if one else Server(name, PENDING))
    return by_order
