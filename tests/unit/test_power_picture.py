# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of played outages: whole, true of what was played, and without what would be markup."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.power import picture
from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import PowerPlan, read_power
from ansible_collections.rackstead.infra.plugins.module_utils.power.simulate import (
    Outage,
    Scenario,
    Verdict,
    simulate,
    sweep,
)

from rackstead.cli import run_command

TOP = Path(__file__).resolve().parent.parent.parent
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def plan() -> PowerPlan:
    return read_power(yaml.safe_load((TOP / "plans/power.yml").read_text()))


def drawn(plan: PowerPlan, scenario: Scenario) -> tuple[ElementTree.Element, Verdict, picture.Track]:
    track = picture.Track()
    verdict = simulate(plan, scenario, track.look)
    return ElementTree.fromstring(picture.timeline(plan, scenario, verdict, track)), verdict, track


def test_a_timeline_shows_each_ups_host_and_decision(plan: PowerPlan) -> None:
    scenario = Scenario("power.yml", (Outage(("ups1", "ups2"), 10, 610),))
    found, verdict, track = drawn(plan, scenario)
    assert found.attrib["aria-label"] == (
        f"ups1, ups2 without mains from 0:10 to 10:10: safe with {verdict.spare:.0f} seconds to spare"
    )
    texts = {one.text for one in found.iter(f"{SVG}text")}
    assert {*plan.upses, *plan.hosts} <= texts
    titles = [one.text or "" for one in found.iter(f"{SVG}title")]
    for one in verdict.decisions:
        if one.action != "event":
            assert any(f"{one.action} {one.target}: {one.reason}" in title for title in titles)
    # node1 is up, stops, is off, starts and is up again, one after the other without a gap.
    runs = [(state, track.seconds[first]) for first, _last, state in picture.stretches(track.hosts["node1"])]
    assert [state for state, _at in runs] == ["up", "stopping", "off", "starting", "up"]
    stop = next(one for one in verdict.decisions if one.action == "stop" and one.target == "node1")
    assert runs[1][1] == stop.at


def test_what_is_not_safe_is_said(plan: PowerPlan) -> None:
    found, verdict, _track = drawn(plan, Scenario("power.yml", (Outage(("ups1", "ups2"), 10),), charge=2, lasts=3600))
    assert not verdict.safe and found.attrib["aria-label"].endswith(f"for good: not safe: {verdict.failure}")


def test_watching_changes_nothing(plan: PowerPlan) -> None:
    scenario = Scenario("power.yml", (Outage(("ups2",), 10, 300),))
    assert simulate(plan, scenario, picture.Track().look) == simulate(plan, scenario)


def test_margins_show_the_seconds_that_are_not_safe(plan: PowerPlan) -> None:
    scenario = Scenario("power.yml", (Outage(("ups1", "ups2"), 10, 200),), charge=20)
    verdicts = sweep(plan, scenario, every=40)
    bad = [back for back, one in verdicts if not one.safe]
    found = ElementTree.fromstring(picture.margins(verdicts))
    lines = [one for one in found.iter(f"{SVG}line") if one.attrib["class"] == "badline"]
    assert len(lines) == len(bad)
    assert ("are not safe" if bad else "safe at each") in found.attrib["aria-label"]


def test_names_are_no_markup() -> None:
    assert "&lt;b&gt;" in picture._label("<b>", 1.0)


def test_the_command_draws(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["power", "simulate", "--scenario", str(TOP / "plans/outage.yml")]
    assert run_command([*words, "--picture", str(tmp_path / "a.svg")]) == 0
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    capfd.readouterr()
    assert run_command([*words, "--picture", str(tmp_path / "none/a.svg")]) == 2
    assert capfd.readouterr().err.startswith(f"error: --picture: {tmp_path}/none/a.svg cannot be written: No such file")
