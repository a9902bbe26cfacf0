# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator: plays an outage against the engine, second by second, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..common.kinds import ListOf, Nested, Text, Whole, given, read_spec
from ..common.problems import Problems, nearest
from .engine import Decision, Reading, State, resumed, step
from .plan import PowerPlan, Ups
from .words import NAME

#: Peukert's exponent of valve-regulated lead-acid batteries, about 1.1 to 1.3 (W. Peukert, 1897).
PEUKERT = 1.15
#: Part of the capacity that is lost with each degree below 25; a rule of thumb for lead-acid.
COLD = 0.01
#: Seconds that a UPS stays off after a cut where the mains are there already.
OFF_TIME = 10


@dataclass(frozen=True)
class Outage:
    upses: tuple[str, ...] = given(ListOf(NAME, single=True), "UPSes that lose the mains.")
    lost: int = given(Whole(0, 86400), "The second at which they do.", 0)
    back: int = given(Whole(0, 86400), "The second at which the mains are back; 0 is never.", 0)


@dataclass(frozen=True)
class Scenario:
    plan: str = given(Text(), "The plan of power, a file beside this one.")
    outages: tuple[Outage, ...] = given(ListOf(Nested(Outage)), "Who loses the mains, and when.")
    charge: int = given(Whole(1, 100), "Charge of all batteries in percent at the beginning.", 100)
    lasts: int = given(Whole(60, 86400), "Seconds that are played at most.", 7200)


def read_scenario(document: Any) -> Scenario:
    """The scenario in a parsed YAML document; raises InvalidInput with a line for each fault."""
    problems = Problems()
    found = read_spec(Scenario, document, "", problems)
    problems.raise_if_any()
    return found


def check_scenario(plan: PowerPlan, scenario: Scenario) -> None:
    """Refuse a scenario that speaks of what is not in the plan."""
    problems = Problems()
    for index, outage in enumerate(scenario.outages):
        path = f"outages[{index}]"
        for name in outage.upses:
            if name not in plan.upses:
                hint = nearest(name, plan.upses)
                problems.add(f"{path}.upses", f'"{name}" is not in the plan{hint}', "UPSes of the plan")
        if outage.back and outage.back <= outage.lost:
            problems.add(f"{path}.back", f"{outage.back} is not after lost", "a later second, or 0 for never")
    problems.raise_if_any()


@dataclass(frozen=True)
class Verdict:
    """How it went. ``spare`` are the least seconds of runtime that were left to a host that needed them."""

    safe: bool
    spare: float
    failure: str
    ended: int
    decisions: tuple[Decision, ...]
    up: frozenset[str]
    closed: bool

    def as_json(self) -> dict[str, Any]:
        found = {key: value for key, value in vars(self).items() if key not in ("decisions", "up")}
        return {**found, "up": sorted(self.up), "decisions": [asdict(one) for one in self.decisions]}


def runtime(ups: Ups, charge: float, load: float) -> float:
    """Seconds that a battery lasts at this load: Peukert's law, in watts, around the rated load."""
    if load <= 0:
        return 86400.0
    capacity = ups.watt_hours * 3600 * ups.health / 100 * (1 - COLD * max(0, 25 - ups.temperature))
    hours_factor: float = (ups.rated_watts / load) ** (PEUKERT - 1)
    return float(capacity * charge / 100 / load * hours_factor)


#: Who is told, at each second: the second, charges and mains by UPS, and what each host does.
Look = Callable[[int, Mapping[str, float], Mapping[str, bool], Mapping[str, str]], None]


def simulate(plan: PowerPlan, scenario: Scenario, look: Look | None = None) -> Verdict:
    """Play the scenario to its end: until all is as it was, something fails, or its time is over."""
    world = _World(plan, scenario)
    last = max((outage.back or scenario.lasts for outage in scenario.outages), default=0)
    now = 0
    for now in range(scenario.lasts + 1):
        world.tick(now)
        if look:
            look(now, world.charge, {ups: world.mains(ups, now) for ups in plan.upses}, world.states())
        if world.failure or (now > last + 3 * plan.poll and world.quiet()) or world.settled(now):
            break
    if not world.failure and not world.quiet() and not world.on_battery_for_good(now):
        world.failure = f"after {now} s not everything is up: {', '.join(sorted(set(plan.hosts) - world.running))}"
    spare = 0.0 if world.failure else world.spare
    closed = world.state.closed
    up = frozenset(world.running)
    return Verdict(not world.failure, spare, world.failure, now, tuple(world.decisions), up, closed)


class _World:
    """UPSes and hosts as they would be. Only here does anything happen."""

    def __init__(self, plan: PowerPlan, scenario: Scenario) -> None:
        self.plan, self.scenario = plan, scenario
        self.charge = {name: float(scenario.charge) for name in plan.upses}
        self.state, self.decisions, self.failure = State(), list[Decision](), ""
        self.running = set(plan.hosts)
        #: host -> the second at which it is off, or up
        self.stopping: dict[str, int] = {}
        self.starting: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.dark: dict[str, int] = {}
        self.spare = 86400.0
        self.feeds = {name: host.feeds for name, host in plan.hosts.items()}
        self.loads: dict[str, float] = {}
        #: What the loads were added up for: they are the same as long as this is.
        self.loaded: tuple[frozenset[str], frozenset[str]] | None = None
        self.controllers = {name for name, host in plan.hosts.items() if host.role == "controller"}

    def mains(self, ups: str, now: int) -> bool:
        """Whether the mains are there for this UPS."""
        return not any(
            ups in one.upses and one.lost <= now and (not one.back or now < one.back) for one in self.scenario.outages
        )

    def states(self) -> dict[str, str]:
        """What each host does: up, stopping, off or starting."""
        return {
            name: "stopping"
            if name in self.stopping
            else "up"
            if name in self.running
            else "starting"
            if name in self.starting
            else "off"
            for name in self.plan.hosts
        }

    def tick(self, now: int) -> None:
        here = {ups: self.mains(ups, now) for ups in self.plan.upses}
        self._outlets(now, here)
        loads = self._drain(now, here)
        self._hosts(now)
        if now % self.plan.poll == 0 and (not self.controllers or self.controllers & self.running):
            self._engine(now, here, loads)

    def _outlets(self, now: int, here: Mapping[str, bool]) -> None:
        """Cut what is due, and switch on again what has the mains back."""
        for ups, at in list(self.cut.items()):
            if now >= at:
                del self.cut[ups]
                self.dark[ups] = now
        for ups, since in list(self.dark.items()):
            if here[ups] and now >= since + OFF_TIME:
                del self.dark[ups]
                for name in self.controllers - self.running:
                    if ups in self.plan.hosts[name].feeds:
                        self.starting.setdefault(name, now + self.plan.hosts[name].start)

    def _fed(self, name: str) -> list[str]:
        return [ups for ups in self.plan.hosts[name].feeds if ups not in self.dark]

    def _drain(self, now: int, here: Mapping[str, bool]) -> dict[str, float]:
        """A second of load on each battery. What two UPSes feed takes half from each."""
        loads = self._loads()
        left = {}
        for ups, spec in self.plan.upses.items():
            left[ups] = 86400.0 if here[ups] else runtime(spec, self.charge[ups], loads[ups])
            if ups in self.dark or not loads[ups] or here[ups]:
                continue
            self.charge[ups] = max(0.0, self.charge[ups] * (1 - 1 / max(left[ups], 1.0)))
            if left[ups] <= 1:
                self.charge[ups], self.dark[ups] = 0.0, now
        self._lights(now, left)
        return loads

    def _loads(self) -> dict[str, float]:
        """Watts on each UPS, of what is awake."""
        now = (frozenset(self.running.union(self.starting)), frozenset(self.dark))
        if now != self.loaded:
            self.loaded, self.loads = now, dict.fromkeys(self.plan.upses, 0.0)
            for name in now[0]:
                fed = self._fed(name)
                for ups in fed:
                    self.loads[ups] += self.plan.hosts[name].watts / len(fed)
        return self.loads

    def _lights(self, now: int, left: Mapping[str, float]) -> None:
        """What runs without any feed has failed; what runs on the last one is the margin."""
        feeds = {feeds: name for name, feeds in self.feeds.items() if name in self.running}
        for names, some in feeds.items():
            best = max((left[ups] for ups in names if ups not in self.dark), default=0.0)
            self.spare = min(self.spare, best)
            if not self._fed(some) and not self.failure:
                name = min(one for one in self.running if self.feeds[one] == names)
                word = "while it stopped" if name in self.stopping else "while it ran"
                self.failure = f"{name} lost its power at {now} s, {word}"

    def _hosts(self, now: int) -> None:
        for name in [one for one, at in self.stopping.items() if now >= at]:
            del self.stopping[name]
            self.running.discard(name)
        for name in [one for one, at in self.starting.items() if now >= at]:
            del self.starting[name]
            self.running.add(name)
            if name in self.controllers:
                self.state = resumed(self.plan, self.state)

    def _engine(self, now: int, here: Mapping[str, bool], loads: Mapping[str, float]) -> None:
        readings = {}
        for ups, spec in self.plan.upses.items():
            left = runtime(spec, self.charge[ups], loads[ups])
            readings[ups] = Reading(not here[ups], self.charge[ups], left)
        done = frozenset(self.state.tasks)
        self.state, decided = step(self.plan, self.state, readings, self.running, now, finished=done)
        self.decisions.extend(decided)
        for one in decided:
            self._carry_out(one, now)

    def _carry_out(self, one: Decision, now: int) -> None:
        if one.action == "stop":
            self.stopping.setdefault(one.target, now + self.plan.hosts[one.target].stop)
        elif one.action == "force_stop":
            self.stopping[one.target] = now
        elif one.action == "start" and self._fed(one.target):
            self.starting.setdefault(one.target, now + self.plan.hosts[one.target].start)
        elif one.action == "cut":
            budget = next(stage.budget for stage in self.plan.stages if stage.name == one.stage)
            self.cut[one.target] = now + budget

    def quiet(self) -> bool:
        """Whether all is up and nothing is left to do."""
        busy = self.stopping or self.cut or not self.state.closed
        return not busy and len(self.running) == len(self.plan.hosts)

    def settled(self, now: int) -> bool:
        """Whether nothing can happen any more: the mains stay away, and what runs does not need them."""
        if any(one.lost >= now or one.back for one in self.scenario.outages):
            return False
        if self.stopping or self.starting or self.cut:
            return False
        return all(any(self.mains(ups, now) for ups in self.plan.hosts[name].feeds) for name in self.running)

    def on_battery_for_good(self, now: int) -> bool:
        """Whether hosts are off because their mains never came back."""
        off = set(self.plan.hosts) - self.running
        return not self.stopping and all(
            not any(self.mains(ups, now) for ups in self.plan.hosts[name].feeds) for name in off
        )


def remedy(plan: PowerPlan, scenario: Scenario) -> str:
    """The smallest change of one stage's ``on_battery`` that makes the scenario safe, found by bisection."""
    found: list[tuple[int, str]] = []
    for index, stage in enumerate(plan.stages):

        def safe(seconds: int, index: int = index) -> bool:
            stages = list(plan.stages)
            stages[index] = replace(stages[index], on_battery=seconds)
            return simulate(replace(plan, stages=tuple(stages)), scenario).safe

        good, bad = 0, min(stage.on_battery, scenario.lasts)
        if bad == 0 or not safe(0):
            continue
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if safe(middle) else (good, middle)
        text = f"stages[{index}] ({stage.name}): on_battery {good} in place of {stage.on_battery}"
        found.append((stage.on_battery - good, text))
    return min(found)[1] if found else "no single stage's on_battery saves it: more battery, or less load"


def sweep(plan: PowerPlan, scenario: Scenario, every: int = 1) -> list[tuple[int, Verdict]]:
    """The scenario with the mains of all its outages back at each second up to where they were to be."""
    first = min((one.lost for one in scenario.outages), default=0) + 1
    end = max((one.back or scenario.lasts for one in scenario.outages), default=0)
    found = []
    for back in range(first, end + 1, every):
        outages = tuple(replace(one, back=max(back, one.lost + 1)) for one in scenario.outages)
        found.append((back, simulate(plan, replace(scenario, outages=outages))))
    return found
