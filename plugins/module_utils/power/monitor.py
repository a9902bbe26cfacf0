# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor: asks UPSes, lets the engine decide, writes that down, and has it carried out.

What is decided is in the journal before it begins. An action has a name that is never used again, and leaves a lock
and its exit code under that name (``commands.py``): so a monitor that was killed anywhere, and comes back, follows what
runs, and begins what does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, Protocol

from ..common.errors import Conflict, InvalidInput
from .commands import needed
from .engine import Action, Decision, Reading, State, actions, resumed, step
from .journal import Journal
from .nut.watcher import Watcher
from .plan import PowerPlan
from .readings import reading

#: What a journal need not know: it is read anew, and evidence begins anew after a restart.
_PASSING = ("agreeing", "charge", "runtime")
Heard = tuple[Mapping[str, Reading], Set[str]]


class Actor(Protocol):
    """Who carries out actions, and knows which hosts are up."""

    def carry_out(self, action: Action) -> int | None:
        """Begin it, once for each name. Its exit code when it has ended."""

    def running(self, orders: Mapping[str, str]) -> Set[str]:
        """Which of the hosts with orders (and their states) are up."""

    def clear(self) -> None:
        """Nothing that was carried out needs to be known any more."""


class Boot(Protocol):
    """The machine's clock since its boot, which nobody sets, and that boot's name."""

    def __call__(self) -> tuple[float, str]: ...


def since_boot() -> tuple[float, str]:
    return time.monotonic(), Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Monitor:
    """One turn after the other. Raises Conflict where the journal is that of another plan."""

    def __init__(
        self,
        plan: PowerPlan,
        journal: Journal,
        source: Callable[[], Heard],
        actor: Actor,
        tell: Callable[[Decision], None],
        boot: Boot = since_boot,
    ) -> None:
        self.plan, self.journal, self.source, self.actor, self.tell, self.boot = (
            *(plan, journal, source, actor, tell, boot),
        )
        self.state, self._ahead = self._begun()
        self._known = essence(self.state)

    def _begun(self) -> tuple[State, float]:
        """The state in the journal, and how far its clock is ahead of the machine's.

        Time in which the machine was off is not counted: no clock tells it that cannot have been set since.
        """
        now, name = self.boot()
        last = self.journal.last
        if last is None:
            self.actor.clear()  # a new journal counts from one: what is there by these names was another's
            return State(), -now
        state = State.from_json(last["state"])
        state.upses = {ups: seen for ups, seen in state.upses.items() if ups in self.plan.upses}
        if (state.orders or state.tasks) and last["stages"] != _stages(self.plan):
            raise Conflict(
                "the journal is open, and was written with other stages",
                where=str(self.journal.path),
                hint="run the monitor with the plan as it was, until all is up",
            )
        if last["boot"] != name:
            return resumed(self.plan, state), last["now"] - now
        return state, last["now"] - last["monotonic"]

    def turn(self) -> list[Decision]:
        """Hear, decide, write down, act. Returns what was decided."""
        readings, silent = self.source()
        codes = self._carry_out()
        up = self.actor.running({host: order.state for host, order in self.state.orders.items()})
        running = {host for host in self.plan.hosts if host not in self.state.orders or host in up}
        finished = frozenset(name for name in codes if name in self.state.tasks)
        now, name = self.boot()
        state, decided = step(
            self.plan, self.state, readings, running, now + self._ahead, finished=finished, silent=silent
        )
        known = essence(state)
        if known != self._known:
            place = {"now": now + self._ahead, "monotonic": now, "boot": name, "stages": _stages(self.plan)}
            self.journal.append({"state": state.as_json(), **place}, closed=state.closed)
        self.state, self._known = state, known
        for one in decided:
            self.tell(one)
        self._tell_failures(finished, codes, now + self._ahead)
        self._carry_out()
        if state.closed and decided:
            self.actor.clear()
        return decided

    def _carry_out(self) -> dict[str, int]:
        """Begin all that is decided and has not begun; the exit codes of what has ended."""
        codes = {one.name: self.actor.carry_out(one) for one in actions(self.state)}
        return {name: code for name, code in codes.items() if code is not None}

    def _tell_failures(self, finished: Set[str], codes: Mapping[str, int], now: float) -> None:
        for name in sorted(finished):
            if codes[name]:
                self.tell(Decision(now, "event", name, f"failed: its command ended with {codes[name]}"))


def essence(state: State) -> dict[str, Any]:
    """What of a state must not be forgotten."""
    document = state.as_json()
    for seen in document["upses"].values():
        for name in _PASSING:
            del seen[name]
    return document


def _stages(plan: PowerPlan) -> list[list[str]]:
    return [list(plan.members(stage)) for stage in plan.stages]


class NutSource:
    """What a watcher has heard since the last time."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._numbers: dict[str, int] = {}

    def __call__(self) -> Heard:
        readings, silent = {}, set()
        for name, one in self._watcher.latest().items():
            found = reading(one)
            if one.number == 0 or (one.status and one.number == self._numbers.get(name)):
                silent.add(name)
            elif found:
                readings[name] = found
            self._numbers[name] = one.number
        return readings, silent


def check_commands(plan: PowerPlan) -> None:
    """Refuse to watch over a plan that says what is to be done, but not how."""
    lacking = [one for one in needed(plan) if not plan.commands.get(one)]
    if lacking:
        raise InvalidInput([f"commands.{one}: is missing; the monitor runs it" for one in lacking])
