# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: readings of UPSes and a clock in, decisions with their reasons out. Pure.

Nothing here acts or asks for the time. What is to be remembered is ``State``, which JSON can hold:
write it down, with the decisions, before they are carried out. After a kill, load it and go on:
``step`` repeats no decision that the state knows of, ``outstanding`` names those still to be confirmed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

from .plan import Host, PowerPlan, Stage

#: Readings that must agree before they count; a forced shutdown (FSD) counts at once.
EVIDENCE = 2


@dataclass(frozen=True)
class Reading:
    """What a UPS said just now. Whoever gets no answer hands in none."""

    on_battery: bool
    charge: float = 100.0
    runtime: float | None = None
    low: bool = False
    forced: bool = False
    replace: bool = False


@dataclass(frozen=True)
class Decision:
    """``action`` on ``target``, and why. Actions: event, stop, force_stop, start, cut (a UPS), done."""

    at: float
    action: str
    target: str
    reason: str
    stage: str = ""


@dataclass
class Seen:
    """What is known of one UPS."""

    battery: bool = False
    since: float = 0.0
    agreeing: int = 0
    lost: bool = False
    charge: float = 100.0
    runtime: float | None = None
    critical: bool = False
    replace: bool = False


@dataclass
class Order:
    """What a host was told: stopping, stopped, starting; no order is a host that runs as ever."""

    state: str
    since: float
    stage: int
    forced: bool = False


@dataclass
class State:
    """All that is remembered. A closed journal holds no orders."""

    upses: dict[str, Seen] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> State:
        return cls(
            {name: Seen(**one) for name, one in document["upses"].items()},
            {name: Order(**one) for name, one in document["orders"].items()},
        )


def step(
    plan: PowerPlan, state: State, readings: Mapping[str, Reading], running: Set[str], now: float
) -> tuple[State, list[Decision]]:
    """The state after this moment, and what is to be done. ``running`` are the hosts that are up."""
    turn = _Turn(plan, copy.deepcopy(state), running, now)
    for name, ups in plan.upses.items():
        turn.look(name, ups.critical, readings.get(name))
    turn.confirm()
    turn.stop()
    turn.start()
    return turn.state, turn.decisions


def resumed(plan: PowerPlan, state: State) -> State:
    """The state for an engine that comes back: it runs, so its own host is up again."""
    state = copy.deepcopy(state)
    for name, order in state.orders.items():
        if plan.hosts[name].role == "controller":
            order.state = "starting"
    return state


def outstanding(state: State) -> list[tuple[str, str]]:
    """Actions that were decided and not confirmed yet, to be carried out (again) after a kill."""
    words = {"stopping": "stop", "starting": "start"}
    return [(words[order.state], name) for name, order in state.orders.items() if order.state in words]


class _Turn:
    def __init__(self, plan: PowerPlan, state: State, running: Set[str], now: float) -> None:
        self.plan, self.state, self.running, self.now = plan, state, running, now
        self.decisions: list[Decision] = []

    def decide(self, action: str, target: str, reason: str, stage: str = "") -> None:
        self.decisions.append(Decision(self.now, action, target, reason, stage))

    # -- what UPSes say ----------------------------------------------------------------------------
    def look(self, name: str, critical: int, reading: Reading | None) -> None:
        seen = self.state.upses.setdefault(name, Seen())
        if reading is None:
            if not seen.lost:
                self.decide("event", name, "communication_lost: this is not taken for a loss of power")
            seen.lost, seen.agreeing = True, 0
            return
        if seen.lost:
            self.decide("event", name, "communication_restored")
        seen.lost = False
        if reading.replace and not seen.replace:
            self.decide("event", name, "battery_replace: the UPS asks for a new battery")
        seen.replace, seen.charge, seen.runtime = reading.replace, reading.charge, reading.runtime
        self._power(name, seen, reading)
        bad = seen.battery and (reading.forced or reading.low or reading.charge <= critical)
        if bad and not seen.critical:
            why = "FSD" if reading.forced else "LB" if reading.low else f"charge {reading.charge:.0f} %"
            self.decide("event", name, f"critical_battery: {why}")
        seen.critical = bad

    def _power(self, name: str, seen: Seen, reading: Reading) -> None:
        battery = reading.on_battery or reading.forced
        seen.agreeing = seen.agreeing + 1 if battery != seen.battery else 0
        if seen.agreeing < EVIDENCE and not (reading.forced and not seen.battery):
            return
        seen.battery, seen.since, seen.agreeing = battery, self.now, 0
        why = "FSD" if reading.forced else f"{EVIDENCE} readings agree"
        self.decide("event", name, f"{'power_loss' if battery else 'power_restored'}: {why}")

    # -- hosts -------------------------------------------------------------------------------------
    def _without_mains(self, host: Host) -> bool:
        """Whether each of a host's supplies hangs on a UPS that is on battery."""
        return all(self.state.upses[name].battery for name in host.feeds)

    def confirm(self) -> None:
        """What was ordered and has come true."""
        before = bool(self.state.orders)
        for name, order in list(self.state.orders.items()):
            up = name in self.running
            if order.state == "stopping" and not up:
                order.state = "stopped"
                self.decide("event", name, "is off", self.plan.stages[order.stage].name)
            elif order.state == "stopping" and not order.forced and self._over(order):
                order.forced = True
                self.decide("force_stop", name, "the stage's budget is used up", self.plan.stages[order.stage].name)
            elif order.state == "starting" and (up or self._without_mains(self.plan.hosts[name])):
                # One that lost its power again may be stopped again: it is as if it had never been.
                del self.state.orders[name]
                self.decide("event", name, "is up" if up else "power went again while it came up")
            elif order.state == "stopped" and up:
                del self.state.orders[name]
                self.decide("event", name, "came up by itself")
        if before and not self.state.orders:
            self.decide("done", "all", "no order is left open")

    def _over(self, order: Order) -> bool:
        return self.now - order.since >= self.plan.stages[order.stage].budget

    def stop(self) -> None:
        """Begin the next stage with hosts in danger, once those before it are done."""
        for index, stage in enumerate(self.plan.stages):
            members = self.plan.members(stage)
            if any(self._is(name, "stopping") for name in members):
                return
            due = [name for name in members if name in self.running and name not in self.state.orders]
            due = [name for name in due if self._without_mains(self.plan.hosts[name])]
            reasons = {name: self._why(stage, self.plan.hosts[name]) for name in due}
            if not due:
                continue
            for name, reason in reasons.items():
                if reason:
                    self.state.orders[name] = Order("stopping", self.now, index)
                    self.decide("stop", name, reason, stage.name)
            self._cut(stage, [name for name, reason in reasons.items() if reason])
            return

    def _cut(self, stage: Stage, stopping: list[str]) -> None:
        """Let UPSes switch off after the controller, so that it comes up by itself with the mains."""
        hosts = [self.plan.hosts[name] for name in stopping]
        for ups in dict.fromkeys(u for host in hosts if host.role == "controller" for u in host.feeds):
            why = f"in {stage.budget} s; on again with the mains, and so the controller"
            self.decide("cut", ups, why, stage.name)

    def _is(self, name: str, state: str) -> bool:
        return name in self.state.orders and self.state.orders[name].state == state

    def _why(self, stage: Stage, host: Host) -> str:
        """Why a host of this stage is to stop now, or nothing. The best of its UPSes counts."""
        upses = [self.state.upses[name] for name in host.feeds]
        if all(seen.critical for seen in upses):
            return "critical battery"
        passed = min(self.now - seen.since for seen in upses)
        if stage.on_battery < 86400 and passed >= stage.on_battery:
            return f"{passed:.0f} s on battery, {stage.on_battery} allowed"
        charge = max(seen.charge for seen in upses)
        if charge <= stage.charge:
            return f"charge {charge:.0f} %, stage begins at {stage.charge} %"
        runtimes = [seen.runtime for seen in upses if seen.runtime is not None]
        if len(runtimes) == len(upses) and max(runtimes) <= stage.runtime:
            return f"runtime {max(runtimes):.0f} s, stage begins at {stage.runtime} s"
        return ""

    def start(self) -> None:
        """Start what is off and has mains again: last stage first, each stage up before the next."""
        if any(order.state == "stopping" for order in self.state.orders.values()):
            return  # the point of no return is the order to stop: what was begun is finished first
        for index in range(len(self.plan.stages) - 1, -1, -1):
            mine = {n: o for n, o in self.state.orders.items() if o.stage == index}
            for name, order in mine.items():
                if order.state == "stopped" and not self._without_mains(self.plan.hosts[name]):
                    self.state.orders[name] = Order("starting", self.now, index)
                    self.decide("start", name, "mains are back", self.plan.stages[index].name)
            if any(self._is(name, "starting") for name in mine):
                return
