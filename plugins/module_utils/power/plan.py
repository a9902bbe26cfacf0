# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of power: what hangs on which UPS, and what stops when. One door checks it as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..common.kinds import BAD, Choice, ListOf, MapOf, Nested, Text, Whole, given, read_spec
from ..common.problems import Problems, nearest
from .rules import Rule, rule_faults
from .words import NAME, PERCENT, SECONDS

#: What commands can be declared for. A probe ends with 0 where the host is up, with 1 where it is off.
COMMANDS = (
    *("stop", "force_stop", "start", "cut", "probe"),
    *("scale_down", "scale_up", "pause", "resume", "notify", "workflow"),
)
PLACE = Text(r"[^@\s]+@[^@\s]+", "UPS@HOST or UPS@HOST:PORT")


@dataclass(frozen=True)
class Ups:
    """A UPS: what its battery can do, and when it is critical."""

    watt_hours: int = given(Whole(1, 1_000_000), "What the battery gives at rated_watts, when new.")
    rated_watts: int = given(Whole(1, 1_000_000), "The load at which it gives that.", 300)
    health: int = given(Whole(1, 100), "Percent of its capacity that is left with its age.", 100)
    temperature: int = given(Whole(0, 60), "Degrees Celsius where the battery stands.", 25)
    critical: int = given(PERCENT, "Charge in percent from which all stages begin without waiting.", 10)
    low: int = given(PERCENT, "Charge in percent at which rules are told of a low battery.", 30)
    nut: str = given(PLACE, "Where the monitor asks for it; its own name at 127.0.0.1 by default.", "")


@dataclass(frozen=True)
class Host:
    """A host: where it gets its power, and what it takes to stop and start it."""

    feeds: tuple[str, ...] = given(ListOf(NAME, single=True), "UPSes of its supplies; one with mains is enough.")
    watts: int = given(Whole(1, 100_000), "What it draws.")
    stop: int = given(Whole(1, 86400), "Seconds from the order to power-off.", 60)
    start: int = given(Whole(1, 86400), "Seconds from power-on to ready.", 120)
    role: str = given(Choice(("node", "network", "controller")), "What depends on it.", "node")


@dataclass(frozen=True)
class Stage:
    """Hosts that stop together, and when: any of the three conditions is enough."""

    name: str = given(NAME, "The stage's name.")
    targets: tuple[str, ...] = given(ListOf(NAME, single=True), "Hosts or clusters.")
    budget: int = given(Whole(1, 86400), "Seconds it may take.", 300)
    on_battery: int = given(SECONDS, "Begin after so many seconds on battery; 86400 is never.", 86400)
    charge: int = given(PERCENT, "Begin at this charge in percent, or less.", 0)
    runtime: int = given(SECONDS, "Begin at so many seconds of runtime left, or less.", 0)


@dataclass(frozen=True)
class PowerPlan:
    """All of it. Stages run in the order they are written in, and start again in the reverse."""

    upses: dict[str, Ups] = given(MapOf(Nested(Ups), NAME), "UPSes by name.")
    hosts: dict[str, Host] = given(MapOf(Nested(Host), NAME), "Hosts by name.")
    stages: tuple[Stage, ...] = given(ListOf(Nested(Stage)), "Stages, in their order.")
    clusters: dict[str, tuple[str, ...]] = given(MapOf(ListOf(NAME), NAME), "Names for several hosts.", {})
    poll: int = given(Whole(1, 60), "Seconds between two readings of a UPS.", 5)
    rules: tuple[Rule, ...] = given(ListOf(Nested(Rule)), "What else is done when something happens.", ())
    commands: dict[str, tuple[str, ...]] = given(
        MapOf(ListOf(Text()), Text("|".join(COMMANDS), ", ".join(COMMANDS))),
        "What the monitor runs for an action: a program and its words, with {target}, {reason} and {rule} filled in.",
        {},
    )

    def members(self, stage: Stage) -> tuple[str, ...]:
        """The hosts of a stage, each once."""
        return self.hosts_of(stage.targets)

    def hosts_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The hosts that names of hosts and clusters stand for, each once."""
        found = (host for name in names for host in self.clusters.get(name, (name,)))
        return tuple(dict.fromkeys(found))

    @cached_property
    def by_priority(self) -> tuple[Rule, ...]:
        """The rules that are heeded, in the order in which they act."""
        return tuple(sorted((one for one in self.rules if one.enabled), key=lambda one: one.priority))

    def stage_of(self, host: str) -> int:
        """The number of the stage in which a host stops."""
        return next(index for index, stage in enumerate(self.stages) if host in self.members(stage))


def read_power(document: Any) -> PowerPlan:
    """The plan in a parsed YAML document; raises InvalidInput with a line for each fault."""
    problems = Problems()
    plan = read_spec(PowerPlan, document, "", problems)
    if plan is not BAD:
        for path, what, allowed in _faults(plan):
            problems.add(path, what, allowed)
    problems.raise_if_any()
    return plan


Fault = tuple[str, str, str]


def _faults(plan: PowerPlan) -> Iterator[Fault]:
    for name, host in plan.hosts.items():
        yield from _unknown(f"hosts.{name}.feeds", host.feeds, plan.upses, "UPSes of this plan")
        if not host.feeds:
            yield f"hosts.{name}.feeds", "is empty", "at least one UPS"
    for name, members in plan.clusters.items():
        yield from _unknown(f"clusters.{name}", members, plan.hosts, "hosts of this plan")
        if name in plan.hosts:
            yield f"clusters.{name}", "is the name of a host, too", "another name"
    yield from _stage_faults(plan)
    yield from rule_faults(plan)


def _unknown(path: str, names: Iterable[str], known: Iterable[str], allowed: str) -> Iterator[Fault]:
    known = list(known)
    for name in names:
        if name not in known:
            yield path, f'"{name}" is not in this plan{nearest(name, known)}', allowed


def _stage_faults(plan: PowerPlan) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    names: set[str] = set()
    rank = {"node": 0, "network": 1, "controller": 1}
    highest = 0
    for index, stage in enumerate(plan.stages):
        path = f"stages[{index}]"
        if stage.name in names:
            yield f"{path}.name", f'"{stage.name}" is there twice', "a name of its own"
        names.add(stage.name)
        yield from _unknown(f"{path}.targets", stage.targets, (*plan.hosts, *plan.clusters), "hosts and clusters")
        for host in plan.members(stage):
            if host not in plan.hosts:
                continue
            if host in seen:
                yield f"{path}.targets", f'"{host}" stops in stage {seen[host]} already', "each host once"
            seen.setdefault(host, stage.name)
            now = rank[plan.hosts[host].role]
            if now < highest:
                yield f"{path}.targets", f'"{host}" stops after the controller or the network', "those two last"
            if plan.hosts[host].stop > stage.budget:
                yield f"{path}.budget", f'"{host}" takes {plan.hosts[host].stop} s to stop', "a budget that holds it"
        highest = max([highest, *(rank[plan.hosts[h].role] for h in plan.members(stage) if h in plan.hosts)])
    for host in plan.hosts:
        if host not in seen:
            yield f"hosts.{host}", "is in no stage", "each host in one stage"
