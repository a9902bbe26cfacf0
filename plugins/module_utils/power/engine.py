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

from .plan import Host, PowerPlan, Stage, Ups
from .rules import SHUTDOWNS, Rule, holds

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
    """``action`` on ``target``, and why.

    Actions: event, stop, force_stop, start, cut (a UPS), done, and those of rules that no host is the target of.
    """

    at: float
    action: str
    target: str
    reason: str
    stage: str = ""
    rule: str = ""


@dataclass
class Seen:
    """What is known of one UPS."""

    battery: bool = False
    since: float = 0.0
    agreeing: int = 0
    lost: bool = False
    charge: float = 100.0
    runtime: float | None = None
    low: bool = False
    critical: bool = False
    replace: bool = False
    #: The mains, or the connection, have been away and are back.
    restored: bool = False
    reconnected: bool = False


@dataclass
class Order:
    """What a host was told: stopping, stopped, starting; no order is a host that runs as ever."""

    state: str
    since: float
    stage: int
    forced: bool = False
    number: int = 0


@dataclass
class Task:
    """What is to be done once and tells by itself when it is done: all that is no order to a host."""

    action: str
    target: str
    reason: str
    rule: str = ""


@dataclass
class Watch:
    """A rule that holds, or has acted not long ago."""

    since: float | None = None
    acted: bool = False
    last: float | None = None


@dataclass(frozen=True)
class Action:
    """Something to be carried out. Its ``name`` is never used again, so that it can be done exactly once."""

    name: str
    action: str
    target: str
    reason: str = ""
    rule: str = ""


@dataclass
class State:
    """All that is remembered. ``closed`` says whether all is as it was before."""

    upses: dict[str, Seen] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    rules: dict[str, Watch] = field(default_factory=dict)
    #: Counts what was ever ordered.
    number: int = 0

    @property
    def closed(self) -> bool:
        waiting = any(one.since is not None and not one.acted for one in self.rules.values())
        return not (self.orders or self.tasks or waiting or any(seen.battery for seen in self.upses.values()))

    def copy(self) -> State:
        """Another one that may be changed. Many times quicker than a deep copy."""
        return State(
            {name: copy.copy(one) for name, one in self.upses.items()},
            {name: copy.copy(one) for name, one in self.orders.items()},
            {name: copy.copy(one) for name, one in self.tasks.items()},
            {name: copy.copy(one) for name, one in self.rules.items()},
            self.number,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> State:
        return cls(
            {name: Seen(**one) for name, one in document["upses"].items()},
            {name: Order(**one) for name, one in document["orders"].items()},
            {name: Task(**one) for name, one in document["tasks"].items()},
            {name: Watch(**one) for name, one in document["rules"].items()},
            document["number"],
        )


def step(
    plan: PowerPlan,
    state: State,
    readings: Mapping[str, Reading],
    running: Set[str],
    now: float,
    *,
    finished: Set[str] = frozenset(),
    silent: Set[str] = frozenset(),
) -> tuple[State, list[Decision]]:
    """The state after this moment, and what is to be done. ``running`` are the hosts that are up.

    ``finished`` are the tasks that have been carried out, by their actions' names. ``silent`` are UPSes that were
    not asked since the last time: they have not lost their connection, but there is no new evidence either.
    """
    turn = _Turn(plan, state.copy(), running, now)
    for name in finished:
        turn.state.tasks.pop(name, None)
    for name, ups in plan.upses.items():
        if name not in silent:
            turn.look(name, ups, readings.get(name))
        else:
            turn.state.upses.setdefault(name, Seen())
    turn.confirm()
    turn.rules()
    turn.stop()
    turn.start()
    return turn.state, turn.decisions


def resumed(plan: PowerPlan, state: State) -> State:
    """The state for an engine whose own host was off: it runs, so that host is up again, and its UPS has cut."""
    state = state.copy()
    state.tasks = {name: task for name, task in state.tasks.items() if task.action != "cut"}
    for name, order in state.orders.items():
        if plan.hosts[name].role == "controller":
            order.state = "starting"
    return state


def outstanding(state: State) -> list[tuple[str, str]]:
    """Actions that were decided and not confirmed yet, to be carried out (again) after a kill."""
    words = {"stopping": "stop", "starting": "start"}
    return [(words[order.state], name) for name, order in state.orders.items() if order.state in words]


def actions(state: State) -> list[Action]:
    """All that is to be carried out and not known to be done, with the names by which it is done once."""
    words = {"stopping": "stop", "starting": "start"}
    found = []
    for host, order in state.orders.items():
        if order.state in words:
            action = "force_stop" if order.forced and order.state == "stopping" else words[order.state]
            found.append(Action(f"{order.number}-{action}-{host}", action, host))
    tasks = (Action(name, one.action, one.target, one.reason, one.rule) for name, one in state.tasks.items())
    return [*found, *tasks]


class _Turn:
    def __init__(self, plan: PowerPlan, state: State, running: Set[str], now: float) -> None:
        self.plan, self.state, self.running, self.now = plan, state, running, now
        self.decisions: list[Decision] = []

    def decide(self, action: str, target: str, reason: str, stage: str = "", rule: str = "") -> None:
        self.decisions.append(Decision(self.now, action, target, reason, stage, rule))

    def order(self, host: str, state: str, stage: int, *, forced: bool = False) -> None:
        self.state.number += 1
        self.state.orders[host] = Order(state, self.now, stage, forced, self.state.number)

    def task(self, action: str, target: str, reason: str, stage: str = "", rule: str = "") -> None:
        self.state.number += 1
        self.state.tasks[f"{self.state.number}-{action}-{target}"] = Task(action, target, reason, rule)
        self.decide(action, target, reason, stage, rule)

    # -- what UPSes say ----------------------------------------------------------------------------
    def look(self, name: str, ups: Ups, reading: Reading | None) -> None:
        seen = self.state.upses.setdefault(name, Seen())
        if reading is None:
            if not seen.lost:
                self.decide("event", name, "communication_lost: this is not taken for a loss of power")
            seen.lost, seen.agreeing, seen.reconnected = True, 0, False
            return
        if seen.lost:
            seen.reconnected = True
            self.decide("event", name, "communication_restored")
        seen.lost = False
        if reading.replace and not seen.replace:
            self.decide("event", name, "battery_replace: the UPS asks for a new battery")
        seen.replace, seen.charge, seen.runtime = reading.replace, reading.charge, reading.runtime
        self._power(name, seen, reading)
        low = seen.battery and (reading.forced or reading.low or reading.charge <= max(ups.low, ups.critical))
        if low and not seen.low:
            self.decide("event", name, f"low_battery: charge {reading.charge:.0f} %")
        seen.low = low
        bad = seen.battery and (reading.forced or reading.low or reading.charge <= ups.critical)
        if bad and not seen.critical:
            why = "FSD" if reading.forced else "LB" if reading.low else f"charge {reading.charge:.0f} %"
            self.decide("event", name, f"critical_battery: {why}")
        seen.critical = bad

    def _power(self, name: str, seen: Seen, reading: Reading) -> None:
        battery = reading.on_battery or reading.forced
        seen.agreeing = seen.agreeing + 1 if battery != seen.battery else 0
        if seen.agreeing < EVIDENCE and not (reading.forced and not seen.battery):
            return
        seen.battery, seen.since, seen.agreeing, seen.restored = battery, self.now, 0, not battery
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
            elif order.state == "starting" and self.now - order.since >= 2 * self.plan.hosts[name].start:
                self.order(name, "starting", order.stage)
                self.decide("start", name, "is not up yet: once more", self.plan.stages[order.stage].name)
        if before and not self.state.orders:
            self.decide("done", "all", "no order is left open")

    def _over(self, order: Order) -> bool:
        return self.now - order.since >= self.plan.stages[order.stage].budget

    # -- rules -------------------------------------------------------------------------------------
    def rules(self) -> None:
        """Let each rule act that holds, for as long as it is to wait, and has not acted yet."""
        for rule in self.plan.by_priority:
            watch = self.state.rules.get(rule.name)
            hosts = self._hosts_of(rule)
            if not holds(rule, self.state.upses[rule.ups], self.now) or hosts == ():
                if watch:
                    self._forget(rule, watch)
                continue
            watch = watch or self.state.rules.setdefault(rule.name, Watch())
            if watch.since is None:
                watch.since = self.now
                if rule.delay:
                    self.decide("event", rule.ups, f"rule {rule.name} waits {rule.delay} s", rule=rule.name)
            cold = watch.last is None or self.now - watch.last >= rule.cooldown
            if not watch.acted and cold and self.now - watch.since >= rule.delay:
                watch.acted, watch.last = True, self.now
                self._act(rule, hosts or ())

    def _forget(self, rule: Rule, watch: Watch) -> None:
        """A rule that does not hold any more. Its cooldown outlives that."""
        if watch.since is not None and not watch.acted and rule.delay:
            self.decide("event", rule.ups, f"rule {rule.name} holds no longer, and does nothing", rule=rule.name)
        watch.since, watch.acted = None, False
        if watch.last is None or self.now - watch.last >= rule.cooldown:
            del self.state.rules[rule.name]

    def _hosts_of(self, rule: Rule) -> tuple[str, ...] | None:
        """The hosts that a rule would stop or start now; None for one that does neither."""
        names = self.plan.hosts_of(rule.target)
        orders = self.state.orders
        if rule.action == "startup":
            off = (name for name in names if name in orders and orders[name].state == "stopped")
            return tuple(name for name in off if not self._without_mains(self.plan.hosts[name]))
        if rule.action not in SHUTDOWNS:
            return None
        up = (name for name in names if name in self.running and self._without_mains(self.plan.hosts[name]))
        if rule.action == "graceful_shutdown":
            return tuple(name for name in up if name not in orders)
        return tuple(n for n in up if n not in orders or (self._is(n, "stopping") and not orders[n].forced))

    def _act(self, rule: Rule, hosts: tuple[str, ...]) -> None:
        why = f"rule {rule.name}: {rule.event} of {rule.ups}"
        for name in hosts:
            index = self.plan.stage_of(name)
            if not self._is(name, "stopping"):
                self.order(name, "starting" if rule.action == "startup" else "stopping", index)
            self.state.orders[name].forced = rule.action == "force_shutdown"
            words = {"startup": "start", "graceful_shutdown": "stop", "force_shutdown": "force_stop"}
            self.decide(words[rule.action], name, why, self.plan.stages[index].name, rule.name)
        if rule.action == "workflow":
            self.task("workflow", rule.workflow, why, rule=rule.name)
        elif rule.action == "notify":
            self.task("notify", rule.ups, why, rule=rule.name)
        elif not hosts:
            for cluster in rule.target:
                self.task(rule.action, cluster, why, rule=rule.name)

    # -- stages ------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Begin the next stage with hosts in danger, once those before it are done."""
        for index, stage in enumerate(self.plan.stages):
            members = self.plan.members(stage)
            due = [name for name in members if name in self.running and name not in self.state.orders]
            due = [name for name in due if self._without_mains(self.plan.hosts[name])]
            stopping = []
            for name in due:
                if reason := self._why(stage, self.plan.hosts[name]):
                    stopping.append(name)
                    self.order(name, "stopping", index)
                    self.decide("stop", name, reason, stage.name)
            self._cut(stage, stopping)
            if due or any(self._is(name, "stopping") for name in members):
                return

    def _cut(self, stage: Stage, stopping: list[str]) -> None:
        """Let UPSes switch off after the controller, so that it comes up by itself with the mains."""
        hosts = [self.plan.hosts[name] for name in stopping]
        for ups in dict.fromkeys(u for host in hosts if host.role == "controller" for u in host.feeds):
            why = f"in {stage.budget} s; on again with the mains, and so the controller"
            self.task("cut", ups, why, stage.name)

    def _is(self, name: str, state: str) -> bool:
        order = self.state.orders.get(name)
        return order is not None and order.state == state

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
                    self.order(name, "starting", index)
                    self.decide("start", name, "mains are back", self.plan.stages[index].name)
            if any(self._is(name, "starting") for name in mine):
                return
