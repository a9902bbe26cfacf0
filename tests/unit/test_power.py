# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of power, the engine that decides in an outage, and the simulator that plays one against it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.power.engine import (
    Decision,
    Reading,
    State,
    outstanding,
    resumed,
    step,
)
from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import read_power
from ansible_collections.rackstead.infra.plugins.module_utils.power.schema import power_schema, schema_text
from ansible_collections.rackstead.infra.plugins.module_utils.power.simulate import (
    Outage,
    Scenario,
    check_scenario,
    read_scenario,
    remedy,
    runtime,
    simulate,
)
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from rackstead.cli import app
from tests.conftest import CHECKOUT

DOCUMENT = yaml.safe_load((CHECKOUT / "plans/power.yml").read_text())
#: The engine's own stages; rules have a file of tests of their own.
PLAN = replace(read_power(DOCUMENT), rules=())
ALL = frozenset(PLAN.hosts)
OUTAGE = read_scenario(yaml.safe_load((CHECKOUT / "plans/outage.yml").read_text()))
MAINS, BATTERY = Reading(False), Reading(True, 90, 900)
BOTH = ("ups1", "ups2")


def play(*moments: dict[str, Reading], state: State | None = None) -> tuple[State, list[Decision]]:
    """The engine at one poll after the other, with all hosts up."""
    state, found = state or State(), []
    for number, readings in enumerate(moments):
        state, decided = step(PLAN, state, readings, ALL, number * PLAN.poll)
        found += decided
    return state, found


def stops(decisions: list[Decision]) -> list[str]:
    return [one.target for one in decisions if one.action == "stop"]


# -- the door --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("hosts", "node3", "feeds"), ["ups3"], 'hosts.node3.feeds: "ups3" is not in this plan; did you mean "ups2"?'),
        (("hosts", "node3", "feeds"), [], "hosts.node3.feeds: is empty"),
        (("clusters", "k8s"), ["node1", "node2", "nod3"], 'clusters.k8s: "nod3" is not in this plan; did you mean'),
        (("clusters", "storage"), ["node1"], "clusters.storage: is the name of a host, too"),
        (("stages", 0, "targets"), ["control"], 'stages[1].targets: "storage" stops after the controller'),
        (("stages", 0, "budget"), 30, 'stages[0].budget: "node1" takes 45 s to stop'),
        (("stages", 1, "name"), "cluster", 'stages[1].name: "cluster" is there twice'),
        (("stages", 1, "targets"), ["node1"], 'stages[1].targets: "node1" stops in stage cluster already'),
        (("stages", 1, "targets"), ["node1"], "hosts.storage: is in no stage"),
    ],
)
def test_a_fault_is_told_with_its_path(path: tuple[Any, ...], value: Any, line: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInput) as told:
        read_power(document)
    assert any(one.startswith(line) for one in told.value.problems), told.value.problems


def test_a_scenario_names_what_is_there() -> None:
    with pytest.raises(InvalidInput, match=r'outages\[0\].upses: "ups9" is not in the plan') as told:
        check_scenario(PLAN, Scenario("", (Outage(("ups9",), 5, 4),)))
    assert len(told.value.problems) == 2


def test_the_shipped_schema_is_fresh_and_the_example_fits_it() -> None:
    shipped = CHECKOUT / "docs/schema/power.schema.json"
    assert shipped.read_text() == schema_text(), "write it anew: python -m tests.tools.schema"
    Draft202012Validator(power_schema()).validate(DOCUMENT)


# -- evidence --------------------------------------------------------------------------------------
def test_two_readings_are_evidence_and_one_is_not() -> None:
    state, found = play({"ups1": BATTERY, "ups2": MAINS}, {"ups1": MAINS, "ups2": MAINS})
    assert found == [] and not state.upses["ups1"].battery
    state, found = play({"ups1": BATTERY, "ups2": MAINS}, {"ups1": BATTERY, "ups2": MAINS})
    assert [one.target for one in found] == ["ups1"] and state.upses["ups1"].battery


def test_a_forced_shutdown_counts_at_once() -> None:
    _, found = play(dict.fromkeys(BOTH, Reading(True, 90, 900, forced=True)))
    assert stops(found) == ["node1", "node2", "node3"]


def test_silence_is_not_a_loss_of_power() -> None:
    state, found = play(*[{} for _ in range(500)])
    assert [one.reason.split(":")[0] for one in found] == ["communication_lost"] * 2
    assert not state.orders


def test_one_ups_endangers_only_what_hangs_on_it_alone() -> None:
    critical = Reading(True, 5, 30)
    _, found = play(*[{"ups1": critical, "ups2": MAINS}] * 3)
    assert stops(found) == ["node3"]


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(BOTH, st.sampled_from([None, MAINS, BATTERY]))), max_size=60))
def test_nothing_stops_without_evidence(moments: list[dict[str, Reading | None]]) -> None:
    """Whatever UPSes say, a host stops only where each of its UPSes said twice running that it is on battery."""
    state, agreed = State(), {name: [False] for name in BOTH}
    for number, moment in enumerate(moments):
        readings = {name: one for name, one in moment.items() if one}
        for name in BOTH:
            agreed[name].append(moment[name] is BATTERY and number > 0 and moments[number - 1][name] is BATTERY)
        state, found = step(PLAN, state, readings, ALL, number * 60)
        for target in stops(found):
            assert all(any(agreed[ups]) for ups in PLAN.hosts[target].feeds)


@given(st.integers(0, 10), st.integers(0, 5))
def test_a_critical_battery_is_never_missed(charge: int, calm: int) -> None:
    bad = Reading(True, charge, 5000)
    _, found = play(*[dict.fromkeys(BOTH, MAINS)] * calm, *[dict.fromkeys(BOTH, bad)] * 2)
    assert stops(found) == ["node1", "node2", "node3"]


def test_a_stage_that_takes_too_long_is_forced_once() -> None:
    _, found = play(*[dict.fromkeys(BOTH, Reading(True, 5, 30))] * 60)
    assert sorted(one.target for one in found if one.action == "force_stop") == ["node1", "node2", "node3"]


# -- the journal -----------------------------------------------------------------------------------
def test_an_engine_resumed_from_any_moment_decides_the_same() -> None:
    moments = [dict.fromkeys(BOTH, Reading(True, max(0, 90 - 4 * n), 900 - 30 * n)) for n in range(30)]
    end, found = play(*moments)
    assert stops(found)
    for cut in range(len(moments)):
        state, decided = play(*moments[:cut])
        state = State.from_json(json.loads(json.dumps(state.as_json())))
        for number in range(cut, len(moments)):
            state, more = step(PLAN, state, moments[number], ALL, number * PLAN.poll)
            decided = decided + more
        assert decided == found and state == end


def test_what_was_decided_and_not_confirmed_is_known_after_a_kill() -> None:
    state, _ = play(*[dict.fromkeys(BOTH, Reading(True, 5, 30))] * 2)
    assert outstanding(state) == [("stop", "node1"), ("stop", "node2"), ("stop", "node3")]
    assert outstanding(resumed(PLAN, state)) == outstanding(state)


# -- the simulator ---------------------------------------------------------------------------------
def test_the_example_is_safe_and_ends_as_it_began() -> None:
    found = simulate(PLAN, OUTAGE)
    assert found.safe and found.spare > 0 and found.up == ALL and found.closed


@pytest.mark.parametrize("part", range(12))
def test_whenever_the_mains_return_all_is_as_it_was(part: int) -> None:
    for back in range(11 + part, 1500, 84):
        found = simulate(PLAN, replace(OUTAGE, outages=(Outage(BOTH, 10, back),)))
        assert found.safe and found.up == ALL and found.closed, (back, found.failure)
        told = [one.target for one in found.decisions if one.action == "stop"]
        assert len(told) == len(set(told)), f"stopped twice, mains back at {back}"


def test_mains_that_never_return_end_with_everything_off_in_order() -> None:
    found = simulate(PLAN, replace(OUTAGE, outages=(Outage(BOTH, 10),), lasts=20000))
    assert found.safe and not found.up
    assert [one.target for one in found.decisions if one.action == "stop"][-2:] == ["switch", "control"]
    assert {one.target for one in found.decisions if one.action == "cut"} == {"ups2"}


def test_what_fails_is_named_and_the_change_that_is_named_saves_it() -> None:
    late = replace(PLAN.stages[0], on_battery=5000, runtime=0)
    upses = {name: replace(ups, critical=0) for name, ups in PLAN.upses.items()}
    plan = replace(PLAN, upses=upses, stages=(late, *PLAN.stages[1:]))
    found = simulate(plan, replace(OUTAGE, outages=(Outage(BOTH, 10, 3000),)))
    assert not found.safe and "lost its power" in found.failure
    text = remedy(plan, replace(OUTAGE, outages=(Outage(BOTH, 10, 3000),)))
    seconds = int(text.split("on_battery ")[1].split()[0])
    for value, safe in ((seconds, True), (seconds + 1, False)):
        changed = replace(plan, stages=(replace(late, on_battery=value), *plan.stages[1:]))
        assert simulate(changed, replace(OUTAGE, outages=(Outage(BOTH, 10, 3000),))).safe is safe


def test_a_battery_gives_less_to_more_load_and_when_old_or_cold() -> None:
    ups = PLAN.upses["ups1"]
    rated = runtime(replace(ups, health=100), 100, ups.rated_watts)
    assert rated == pytest.approx(ups.watt_hours * 3600 / ups.rated_watts)
    assert runtime(ups, 100, 2 * ups.rated_watts) < runtime(ups, 100, ups.rated_watts) / 2
    assert runtime(replace(ups, temperature=5), 100, 300) < runtime(ups, 100, 300) < rated


# -- the command -----------------------------------------------------------------------------------
def run(*words: str) -> tuple[int, dict[str, Any]]:
    found = CliRunner().invoke(app, ["power", *words, "--json"])
    told = json.loads(found.stdout)
    return told["exit_code"], told


def test_the_command_tells_the_verdict_of_the_example() -> None:
    code, told = run("simulate", "--scenario", str(CHECKOUT / "plans/outage.yml"))
    assert code == 0 and told["safe"] and "done" in [one["action"] for one in told["decisions"]]
    code, told = run("check", str(CHECKOUT / "plans/power.yml"))
    assert code == 0 and set(told["upses"]) == {"ups1", "ups2", "all UPSes"}


def test_the_command_sweeps_and_fails_with_the_change_that_would_help(tmp_path: Path) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["upses"]["ups1"] = document["upses"]["ups2"] = {"watt_hours": 60, "critical": 0}
    document["stages"][0] |= {"on_battery": 3000, "runtime": 0}
    (tmp_path / "power.yml").write_text(yaml.safe_dump(document))
    case = {"plan": "power.yml", "outages": [{"upses": list(BOTH), "lost": 0, "back": 3000}]}
    (tmp_path / "outage.yml").write_text(yaml.safe_dump(case))
    code, told = run("simulate", "--scenario", str(tmp_path / "outage.yml"))
    assert code == 1 and told["errors"][1].startswith("the smallest change: stages[0] (cluster): on_battery ")
    case["outages"] = [{"upses": list(BOTH), "lost": 0, "back": 60}]
    (tmp_path / "outage.yml").write_text(yaml.safe_dump(case))
    code, told = run("simulate", "--scenario", str(tmp_path / "outage.yml"), "--sweep")
    assert code == 0 and [one["back"] for one in told["margins"]] == list(range(1, 61))


def test_a_file_that_is_none_is_bad_usage(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["power", "check", str(tmp_path / "none.yml")])
    assert found.exit_code == 2 and "cannot be read" in " ".join(found.output.split())
