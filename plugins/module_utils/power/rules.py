# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: what else is to be done when a UPS tells of something. Pure; the engine asks whether one holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.kinds import Choice, Flag, ListOf, Text, Whole, given
from ..common.problems import nearest
from .words import NAME, PERCENT, SECONDS

if TYPE_CHECKING:
    from .engine import Seen
    from .plan import PowerPlan

#: Events that say of a UPS that it runs on its battery. Only they may stop hosts.
DANGERS = ("power_loss", "low_battery", "critical_battery")
EVENTS = (*DANGERS, "power_restored", "battery_replace", "communication_lost", "communication_restored")
SHUTDOWNS = ("graceful_shutdown", "force_shutdown")
ON_HOSTS = (*SHUTDOWNS, "startup")
ON_CLUSTERS = ("scale_down", "scale_up", "pause", "resume")
ACTIONS = (*ON_HOSTS, *ON_CLUSTERS, "notify", "workflow")
Fault = tuple[str, str, str]


@dataclass(frozen=True)
class Rule:
    """What is to be done when its event holds for its UPS, and all of its thresholds with it."""

    name: str = given(NAME, "The rule's name.")
    ups: str = given(NAME, "The UPS it looks at.")
    event: str = given(Choice(EVENTS), "What happens there.")
    action: str = given(Choice(ACTIONS), "What is done then.")
    target: tuple[str, ...] = given(
        ListOf(NAME, single=True), "Hosts or clusters; clusters only to scale or pause.", ()
    )
    workflow: str = given(Text(), "The workflow that the action workflow starts.", "")
    priority: int = given(Whole(0, 1000), "Of rules that act at the same time, the lower number comes first.", 100)
    delay: int = given(SECONDS, "Wait so long, and act if it still holds then.", 0)
    on_battery: int = given(SECONDS, "Only after so many seconds on battery.", 0)
    charge: int = given(PERCENT, "Only at this charge in percent, or less.", 100)
    runtime: int = given(SECONDS, "Only at so many seconds of runtime left, or less; 86400 is any.", 86400)
    cooldown: int = given(SECONDS, "Act again after so many seconds, at the earliest.", 0)
    enabled: bool = given(Flag(), "Whether it is heeded.", True)


_TOLD: Mapping[str, Callable[[Seen], bool]] = {
    "power_loss": lambda seen: seen.battery,
    "low_battery": lambda seen: seen.battery and seen.low,
    "critical_battery": lambda seen: seen.battery and seen.critical,
    "power_restored": lambda seen: seen.restored,
    "battery_replace": lambda seen: seen.replace,
    "communication_lost": lambda seen: seen.lost,
    "communication_restored": lambda seen: seen.reconnected,
}


def holds(rule: Rule, seen: Seen, now: float) -> bool:
    """Whether a rule's event and all its thresholds are true of what is known of its UPS."""
    if not _TOLD[rule.event](seen):
        return False
    if rule.event not in DANGERS:
        return True
    if now - seen.since < rule.on_battery or (rule.charge < 100 and seen.charge > rule.charge):
        return False
    return rule.runtime == 86400 or (seen.runtime is not None and seen.runtime <= rule.runtime)


def rule_faults(plan: PowerPlan) -> Iterator[Fault]:
    """What is wrong with the rules of a plan, taken together with the rest of it."""
    names: set[str] = set()
    slots: dict[tuple[str, str, int], str] = {}
    for index, rule in enumerate(plan.rules):
        path = f"rules[{index}]"
        if rule.name in names:
            yield f"{path}.name", f'"{rule.name}" is there twice', "a name of its own"
        names.add(rule.name)
        if rule.ups not in plan.upses:
            hint = nearest(rule.ups, plan.upses)
            yield f"{path}.ups", f'"{rule.ups}" is not in this plan{hint}', "UPSes of this plan"
        slot = (rule.ups, rule.event, rule.priority)
        if rule.enabled and slot in slots:
            what = f'{rule.priority} is that of rule "{slots[slot]}" for {rule.event} of {rule.ups}, too'
            yield f"{path}.priority", what, "another number, as two rules cannot both come first"
        elif rule.enabled:
            slots[slot] = rule.name
        yield from _target_faults(plan, rule, path)
        yield from _event_faults(plan, rule, path)


def _target_faults(plan: PowerPlan, rule: Rule, path: str) -> Iterator[Fault]:
    known = [*plan.clusters] if rule.action in ON_CLUSTERS else [*plan.hosts, *plan.clusters]
    allowed = "clusters of this plan" if rule.action in ON_CLUSTERS else "hosts and clusters of this plan"
    for name in rule.target:
        if name not in known:
            yield f"{path}.target", f'"{name}" is not one of them{nearest(name, known)}', allowed
    if rule.action in (*ON_HOSTS, *ON_CLUSTERS) and not rule.target:
        yield f"{path}.target", f"is missing for {rule.action}", allowed
    if (rule.action == "workflow") != bool(rule.workflow):
        word = "is for the action workflow alone" if rule.workflow else "is missing for the action workflow"
        yield f"{path}.workflow", word, "the workflow's name"


def _event_faults(plan: PowerPlan, rule: Rule, path: str) -> Iterator[Fault]:
    if rule.action in SHUTDOWNS and rule.event not in DANGERS:
        yield f"{path}.event", f"{rule.event} is no loss of power, and stops nothing", ", ".join(DANGERS)
    if rule.event not in DANGERS and (rule.on_battery or rule.charge < 100 or rule.runtime < 86400):
        yield f"{path}.event", f"{rule.event} has no thresholds", f"thresholds for {', '.join(DANGERS)}"
    late = [name for name in plan.hosts_of(rule.target) if name in plan.hosts and plan.hosts[name].role != "node"]
    if rule.action in SHUTDOWNS and late:
        yield f"{path}.target", f'"{late[0]}" is the controller or the network', "nodes; those two stop in their stage"
