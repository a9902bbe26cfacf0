# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of a plan of power: what the door refuses, when they act, and that nothing stops without evidence."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.power.engine import (
    Decision,
    Reading,
    State,
    actions,
    step,
)
from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import PowerPlan, read_power
from ansible_collections.rackstead.infra.plugins.module_utils.power.simulate import Outage, Scenario, simulate
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import CHECKOUT

DOCUMENT = yaml.safe_load((CHECKOUT / "plans/power.yml").read_text()) | {"rules": []}
PLAN = read_power(DOCUMENT)
ALL = frozenset(PLAN.hosts)
BOTH = ("ups1", "ups2")
MAINS, BATTERY, EMPTY = Reading(False), Reading(True, 90, 900), Reading(True, 5, 20)


def rule(name: str = "r", event: str = "power_loss", action: str = "notify", **more: Any) -> dict[str, Any]:
    return {"name": name, "ups": "ups1", "event": event, "action": action, **more}


def planned(*rules: dict[str, Any]) -> PowerPlan:
    return read_power(DOCUMENT | {"rules": list(rules)})


def play(plan: PowerPlan, moments: Sequence[dict[str, Reading]], every: float = 5) -> tuple[State, list[Decision]]:
    """The engine at one poll after the other, with all hosts up and each task done at once."""
    state, found = State(), list[Decision]()
    for number, readings in enumerate(moments):
        state, decided = step(plan, state, readings, ALL, number * every, finished=frozenset(state.tasks))
        found += decided
    return state, found


def told(decisions: list[Decision], action: str) -> list[tuple[float, str]]:
    return [(one.at, one.target) for one in decisions if one.action == action]


# -- the door --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ([rule(ups="ups3")], 'rules[0].ups: "ups3" is not in this plan; did you mean "ups2"?'),
        ([rule(action="pause", target="k8")], 'rules[0].target: "k8" is not one of them; did you mean "k8s"?'),
        ([rule(action="pause", target="storage")], 'rules[0].target: "storage" is not one of them; allowed: clusters'),
        ([rule(action="scale_down")], "rules[0].target: is missing for scale_down"),
        ([rule(event="power_los")], 'rules[0].event: "power_los" is not valid'),
        ([rule(action="workflow")], "rules[0].workflow: is missing for the action workflow"),
        ([rule(workflow="x")], "rules[0].workflow: is for the action workflow alone"),
        ([rule(), rule("s")], 'rules[1].priority: 100 is that of rule "r" for power_loss of ups1, too'),
        ([rule(), rule(priority=5)], 'rules[1].name: "r" is there twice'),
        ([rule(event="battery_replace", charge=50)], "rules[0].event: battery_replace has no thresholds"),
        (
            [rule(event="communication_lost", action="graceful_shutdown", target="k8s")],
            "rules[0].event: communication_lost is no loss of power, and stops nothing",
        ),
        ([rule(action="force_shutdown", target="switch")], 'rules[0].target: "switch" is the controller or the net'),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_a_line(rules: list[dict[str, Any]], line: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        planned(*rules)
    assert [one for one in refused.value.problems if one.startswith(line)], refused.value.problems
    assert len(refused.value.problems) == 1


def test_a_rule_that_is_not_heeded_may_have_anothers_priority() -> None:
    assert len(planned(rule(), rule("s", enabled=False)).by_priority) == 1


# -- when they act ---------------------------------------------------------------------------------
def test_a_delay_is_looked_at_again_when_it_ends_and_holds_up_nobody() -> None:
    plan = planned(rule("slow", action="pause", target="k8s", delay=20), rule("quick", priority=1))
    lost = [dict.fromkeys(BOTH, BATTERY)]
    _, found = play(plan, lost * 12)
    assert told(found, "notify") == [(5, "ups1")] and told(found, "pause") == [(25, "k8s")]
    state, found = play(plan, lost * 4 + [dict.fromkeys(BOTH, MAINS)] * 8)
    assert told(found, "pause") == [] and told(found, "notify") == [(5, "ups1")]
    assert any("holds no longer" in one.reason for one in found) and state.closed


def test_the_lower_number_acts_first() -> None:
    plan = planned(rule("b", priority=7), rule("a", priority=3), rule("c", priority=5))
    _, found = play(plan, [dict.fromkeys(BOTH, BATTERY)] * 2)
    assert [one.rule for one in found if one.action == "notify"] == ["a", "c", "b"]


def test_a_cooldown_keeps_a_rule_from_acting_again_too_soon() -> None:
    moments = [{"ups1": one, "ups2": MAINS} for one in [BATTERY, BATTERY, MAINS, MAINS] * 6]
    _, found = play(planned(rule(cooldown=60)), moments)
    assert told(found, "notify") == [(5, "ups1"), (65, "ups1")]
    _, found = play(planned(rule()), moments)
    assert len(told(found, "notify")) == 6


@pytest.mark.parametrize(("threshold", "at"), [({"charge": 80}, 50), ({"runtime": 700}, 100), ({"on_battery": 60}, 65)])
def test_thresholds_are_waited_for(threshold: dict[str, int], at: float) -> None:
    moments = [{"ups1": Reading(True, 100 - 2 * n, 1000 - 15 * n), "ups2": MAINS} for n in range(30)]
    _, found = play(planned(rule(**threshold)), moments)
    assert told(found, "notify") == [(at, "ups1")]


@pytest.mark.parametrize(
    ("event", "moments", "at"),
    [
        ("power_restored", [BATTERY, BATTERY, MAINS, MAINS, MAINS], 15),
        ("low_battery", [BATTERY, BATTERY, Reading(True, 25, 500)], 10),
        ("critical_battery", [BATTERY, BATTERY, Reading(True, 25, 500), EMPTY], 15),
        ("battery_replace", [MAINS, replace(MAINS, replace=True), replace(MAINS, replace=True)], 5),
        ("communication_lost", [MAINS, None, None], 5),
        ("communication_restored", [MAINS, None, MAINS, MAINS], 10),
    ],
)
def test_each_event_is_told_once(event: str, moments: list[Reading | None], at: float) -> None:
    seen = [{"ups2": MAINS} | ({"ups1": one} if one else {}) for one in moments]
    _, found = play(planned(rule(event=event)), seen)
    assert told(found, "notify") == [(at, "ups1")]


def test_a_rule_stops_and_forces_only_hosts_without_any_mains() -> None:
    plan = planned(rule("a", action="graceful_shutdown", target="k8s"))
    _, found = play(plan, [{"ups1": BATTERY, "ups2": MAINS}] * 4 + [dict.fromkeys(BOTH, BATTERY)] * 3)
    assert told(found, "stop") == [(5, "node3"), (25, "node1"), (25, "node2")]
    plan = planned(rule("a", action="force_shutdown", target="storage", event="critical_battery"))
    state, found = play(plan, [dict.fromkeys(BOTH, EMPTY)] * 2)
    assert told(found, "force_stop") == [(5, "storage")]
    assert "force_stop" in [one.action for one in actions(state) if one.target == "storage"]


def test_a_startup_does_not_wait_for_the_stages_after_it() -> None:
    plan = planned(rule(event="power_restored", action="startup", target="node3"))
    verdict = simulate(plan, Scenario("", (Outage(BOTH, 10, 610),)))
    first = next(one for one in verdict.decisions if one.action == "start")
    assert verdict.safe and first.target == "node3" and first.rule == "r" and verdict.closed


def test_the_simulator_plays_rules_to_the_end() -> None:
    plan = planned(
        rule("shrink", action="scale_down", target="k8s", delay=30),
        rule("grow", event="power_restored", action="scale_up", target="k8s", delay=60),
        rule("job", event="low_battery", action="workflow", workflow="tell_all"),
    )
    verdict = simulate(plan, Scenario("", (Outage(BOTH, 10, 70),)))
    assert verdict.safe and verdict.closed
    assert told(list(verdict.decisions), "scale_down") == [(45, "k8s")]
    assert told(list(verdict.decisions), "scale_up") == [(135, "k8s")]


def test_an_action_has_a_name_that_is_never_used_again() -> None:
    state, names = State(), set[str]()
    moments = [dict.fromkeys(BOTH, EMPTY)] * 2 + [dict.fromkeys(BOTH, MAINS)] * 2
    for number, moment in enumerate(moments * 3):
        before = {one.name for one in actions(state)}
        running = ALL - {host for host, order in state.orders.items() if order.state == "stopping"}
        state, _found = step(PLAN, state, moment, running, number * 5, finished=frozenset(state.tasks))
        new = {one.name for one in actions(state)} - before
        assert not new & names
        names |= new
    assert len(names) > 6


# -- evidence --------------------------------------------------------------------------------------
RULES = [
    rule("now", action="graceful_shutdown", target=["k8s", "storage"], priority=1),
    rule("hard", event="critical_battery", action="force_shutdown", target="k8s"),
    rule("wait", action="graceful_shutdown", target="storage", delay=30, cooldown=60),
]
ALARMED = planned(*RULES, *[{**one, "name": one["name"] + "2", "ups": "ups2"} for one in copy.deepcopy(RULES)])
MOMENT = st.fixed_dictionaries(dict.fromkeys(BOTH, st.sampled_from([None, MAINS, BATTERY, EMPTY])))


@given(st.lists(st.tuples(MOMENT, st.integers(-100_000, 100_000), st.sets(st.sampled_from(BOTH))), max_size=60))
def test_no_flapping_no_silence_and_no_clock_stops_a_host_without_evidence(moments: list[Any]) -> None:
    """A host stops only where each of its UPSes said in two answers running that it is on battery."""
    state, last, sure = State(), dict.fromkeys(BOTH, False), set[str]()
    for moment, now, silent in moments:
        for ups in set(BOTH) - silent:
            battery = moment[ups] in (BATTERY, EMPTY)
            sure |= {ups} if battery and last[ups] else set()
            last[ups] = battery
        readings = {ups: one for ups, one in moment.items() if one}
        state, found = step(ALARMED, state, readings, ALL, now, silent=silent)
        for one in found:
            if one.action in ("stop", "force_stop", "cut"):
                feeds = [one.target] if one.action == "cut" else ALARMED.hosts[one.target].feeds
                assert set(feeds) <= sure


@given(st.lists(st.sampled_from([MAINS, BATTERY]), max_size=8), st.integers(0, 10))
def test_a_critical_battery_is_never_missed(before: list[Reading], charge: int) -> None:
    """Whatever came before: two answers of an empty battery stop the first stage, or it has stopped already."""
    bad = Reading(True, charge, 5000)
    state, _ = play(ALARMED, [dict.fromkeys(BOTH, one) for one in [*before, bad, bad]])
    assert {"node1", "node2", "node3"} <= set(state.orders)


@given(st.integers(1, 100))
def test_mains_that_flap_within_a_poll_stop_nothing(length: int) -> None:
    moments = [dict.fromkeys(BOTH, [MAINS, EMPTY][n % 2]) for n in range(length)]
    state, found = play(ALARMED, moments)
    assert not found and state.closed
