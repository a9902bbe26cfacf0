# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark still runs: with two instances, on a daemon that a killed run left its project on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from testbed.daemon import running

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP))  # the benchmark is a package below tests, named from the top

from tests.benchmarks import bundle, hardware, jobs, lifecycle, measures, microk8s, plot, process, rest, state, targets
from tests.benchmarks.floor import Refused, Rest
from tests.benchmarks.measures import JOBS_A_SECOND, MILLISECONDS, Measure
from tests.benchmarks.samples import Row, Sample
from tests.benchmarks.world import PROJECT
from tests.runner.state_backends import BACKENDS

TINY = "--count 2 --inventory 2 --memory 3 --repeats 1 --startups 1".split()


def test_the_whole_with_tiny_numbers(tmp_path: Path) -> None:
    """Every operation leaves figures; the leftovers of a killed run are gone before, ours after."""
    figures = tmp_path / "figures.json"
    with running() as daemon:
        Rest(daemon.socket).ask("POST", "/projects", {"name": PROJECT, "config": {"features.images": "false"}})
        left = {"type": "image", "alias": "tiny"}
        root = {"root": {"type": "disk", "path": "/", "pool": "default"}}
        Rest(daemon.socket, PROJECT).ask("POST", "/instances", {"name": "left-over", "source": left, "devices": root})
        chosen = ["--parts", "lifecycle", "scale", "--contenders", "ours", "floor", "incus"]
        command = [sys.executable, "-m", "tests.benchmarks", "--socket", daemon.socket, "--json", str(figures)]
        done = subprocess.run([*command, *TINY, *chosen], cwd=TOP, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with pytest.raises(Refused, match="not found"):
            Rest(daemon.socket).ask("GET", f"/projects/{PROJECT}")
    assert "nothing to do on 2, net" in done.stdout and lifecycle.OURS in done.stdout
    check_figures(json.loads(figures.read_text()))


def check_figures(found: dict[str, object]) -> None:
    rows = {(row["operation"], row["contender"]): row for row in found["rows"]}  # type: ignore[attr-defined]
    for operation in lifecycle.OPERATIONS:
        assert rows[operation, lifecycle.OURS]["whole"] > 0
        assert rows[operation, lifecycle.COMMAND]["count"] == 2
    for workers in (4, 8):
        assert rows[lifecycle.START, f"{lifecycle.FLOOR}, {workers} workers"]["to_floor"] >= 1
    memory = [target for target in found["targets"] if target["target"].startswith("memory")]  # type: ignore[attr-defined]
    assert len(memory) == 3
    assert all(20 < target["measured"] < 150 for target in memory)


SMALL = (
    "--jobs 12 --parallel 4 --runs 1 --stored 120 --seconds 1 --followed 1 --records 8 --rounds 1"
    " --servers 2 --maas-seconds 1 --nodes 2"
).split()


@pytest.mark.timeout(600)
def test_the_runners_parts_with_tiny_numbers(tmp_path: Path) -> None:
    """No Incus is started for them. Clusters of MicroK8s are set up and scanned in tests of their own."""
    figures = tmp_path / "figures.json"
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks",
        "--parts",
        "jobs",
        "rest",
        "state",
        "bios",
        "provision",
        "hardware",
        "--json",
        str(figures),
    ]
    done = subprocess.run([*command, *SMALL], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(figures.read_text())
    found = {(one["what"], one["by"]): one for one in document["measures"]}
    for store in (jobs.SQLITE, jobs.POSTGRESQL):
        ours = found[jobs.DRAIN.format(store), jobs.OURS]
        assert ours["best"] > 0 and ours["to_floor"] > 0 and ours["cpu_ms"] > 0
    assert found[rest.LISTS, rest.OURS]["requests"] == 100 and found[rest.EVENTS, rest.OURS]["count"] > 10
    assert {by for what, by in found if what == state.MIGRATION} == set(BACKENDS)
    assert found[jobs.WHOLE, jobs.OURS]["best"] > found[jobs.FIRST, jobs.OURS]["best"]
    reports = [one for one in document["measures"] if one["by"] == hardware.OURS]
    assert sorted(one["count"] for one in reports) == [1, 2]
    measured = [one for one in document["targets"] if one["measured"] is not None]
    assert (len(measured), len(document["targets"])) == (11, 13) and document["rows"] == []
    picture = (tmp_path / "state-stores.svg").read_text()
    assert picture.count("<rect") == 1 + 1 + 3 * len(BACKENDS)  # the ground, the floor and a bar for each


def test_a_rates_floor_is_more_and_a_delays_is_less() -> None:
    drains = [
        Measure("d", by, 9, JOBS_A_SECOND, list(rounds)) for by, rounds in (("ours", (50, 90)), ("all", (180, 120)))
    ]
    delays = [Measure("w", by, 9, MILLISECONDS, list(rounds)) for by, rounds in (("ours", (30, 90)), ("all", (10, 20)))]
    for found, expected in ((drains, 0.5), (delays, 3.0)):
        found[0].floor = "all"
        assert measures.ratio(found, found[0]) == expected and measures.ratio(found, found[1]) is None
    assert measures.percentile([5.0, 1.0, 3.0], 0.99) == 5.0 and measures.percentile([5.0, 1.0, 3.0], 0.5) == 3.0


@pytest.mark.parametrize(("rate", "reached"), [(101.0, True), (99.0, False)])
def test_a_drain_is_judged_by_its_best_round(rate: float, reached: bool) -> None:
    measured = [Measure(jobs.DRAIN.format(jobs.SQLITE), jobs.OURS, 1000, JOBS_A_SECOND, [rate, 10.0])]
    found = {verdict.target: verdict.reached for verdict in targets.runner_verdicts(measured)}
    assert found[jobs.DRAIN.format(jobs.SQLITE)] is reached
    assert found[jobs.DRAIN.format(jobs.POSTGRESQL)] is None


@pytest.mark.parametrize(("setup", "scan", "reached"), [(14.0, 12.0, True), (16.0, 14.0, False)])
def test_clusters_are_held_against_delays_and_bare_facts(setup: float, scan: float, reached: bool) -> None:
    pairs = (
        (microk8s.SETUP, microk8s.SETUP_OURS, microk8s.DELAYS, setup),
        (microk8s.SCAN, microk8s.SCAN_OURS, microk8s.FACTS, scan),
    )
    measured = [
        Measure(what, by, 9, MILLISECONDS, [value], floor=floor if by == ours else "")
        for what, ours, floor, took in pairs
        for by, value in ((ours, took), (floor, 10.0))
    ]
    found = {verdict.target: verdict.reached for verdict in targets.runner_verdicts(measured)}
    assert found[microk8s.SETUP] is reached and found[f"{microk8s.SCAN}, of 9"] is reached


def test_a_picture_is_xml_whose_bars_grow_by_powers_of_ten() -> None:
    bars = [
        Measure("put", name, 9, JOBS_A_SECOND, [value]) for name, value in (("a<b", 10.0), ("c", 100.0), ("d", 1000.0))
    ]
    root = ElementTree.fromstring(plot.bars("Title", "jobs/s", [("put", bars)]))
    widths = [float(one.get("width", "")) for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.get("x")]
    assert widths == [2.0, plot.WIDTH / 2, plot.WIDTH]


def test_a_scaled_row_keeps_the_startup_out_of_the_scaling() -> None:
    start = Row("empty play", "ansible-playbook", 0, [Sample(1.0), Sample(1.0), Sample(9.0)])
    row = Row("start", lifecycle.LXD, 50, [Sample(6.0)], start, did=10)
    assert row.whole() == 1.0 + 5.0 * 5
    assert row.net == 25.0


@pytest.mark.parametrize(("seconds", "reached"), [(4.2, True), (4.4, False)])
def test_a_target_is_the_ratio_to_the_best_floor(seconds: float, reached: bool) -> None:
    start = Row("empty play", "ansible-playbook", 0, [Sample(1.0)])
    floors = [Row(lifecycle.CREATE, f"{lifecycle.FLOOR}, {w} workers", 50, [Sample(s)]) for w, s in ((4, 2.5), (8, 3))]
    ours = Row(lifecycle.CREATE, lifecycle.OURS, 50, [Sample(seconds)], start)
    found = {verdict.target: verdict for verdict in targets.verdicts([*floors, ours])}
    assert found["create stopped 50, net"].reached is reached
    assert found["start …, net"].reached is None


def test_memory_counts_the_children_too(tmp_path: Path) -> None:
    grow = "import time; block = bytearray(b'x') * 60_000_000; time.sleep(0.3)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grow!r}])"
    peak = process.Peak()
    process.run([sys.executable, "-c", outer], os.environ, tmp_path, watch=peak)
    assert peak.processes == 2
    assert 60_000_000 < peak.pss <= peak.rss < 200_000_000


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(process.Failed, match="ended with 3:\nwhy"):
        process.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], os.environ, tmp_path)


def test_a_bundle_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKSTEAD_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RACKSTEAD_BENCH_BUNDLE", str(tmp_path / "none.whl"))
    with pytest.raises(bundle.Unavailable, match=r"names no file: .*none\.whl"):
        bundle.collections_tree()
