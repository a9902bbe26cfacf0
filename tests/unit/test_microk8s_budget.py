# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a shutdown fits into a span of time, in all cases of a grid; and the mark that tells of it afterwards."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import mark
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.budget import Step, clock, fit
from testbed.microk8s import FAST, Lab

DRAIN, BACKUP, STOP = Step("drain", 300, 20), Step("backup", 60), Step("stop", 90)
ORDER = ("backup", "drain")
LENGTHS = (0, 1, 2, 4)


@pytest.mark.parametrize(
    ("left", "drain", "backup"),
    [(500, 300, 60), (450, 300, 60), (449, 300, 0), (390, 300, 0), (389, 299, 0), (110, 20, 0), (109, 0, 0), (0, 0, 0)],
)
def test_the_backup_goes_before_the_pods(left: float, drain: float, backup: float) -> None:
    fits = fit([DRAIN, BACKUP, STOP], ORDER, left)
    assert fits.granted == {"drain": drain, "backup": backup, "stop": 90}
    assert ("backup" in fits.left_out) == (not backup) and ("drain" in fits.left_out) == (not drain)
    assert ("drain" in fits.shortened) == (0 < drain < 300)
    assert bool(fits.late) == (left < 90)


def test_what_is_worth_more_goes_last_and_leaves_the_others_what_they_can_use() -> None:
    fits = fit([DRAIN, BACKUP, STOP], ("drain", "backup"), 200)
    assert fits.granted == {"drain": 50, "backup": 60, "stop": 90}
    assert fits.shortened == {"drain": "has 50 s instead of 300 s"}
    # No time for the pods is of use; so the backup, which would go first, has its time after all.
    assert fit([Step("drain", 300, 150), BACKUP, STOP], ORDER, 190).granted == {"drain": 0, "backup": 60, "stop": 90}


def test_what_is_said_names_the_step_and_the_seconds() -> None:
    fits = fit([DRAIN, BACKUP, STOP], ORDER, 50)
    assert fits.left_out["backup"] == "left out: it takes 60 s, and 0 s were to spare"
    assert fits.left_out["drain"] == "left out: it takes 20 s, and 0 s were to spare"
    assert fits.late == "stop: takes 90 s, 50 s are left; done nevertheless"


def test_all_cases_of_a_grid() -> None:
    """Whatever the lengths, the order and the time: what counts most has most, and nothing is given that is not there."""
    for lengths in itertools.product(LENGTHS, repeat=3):
        for least in itertools.product((None, 1, 3), repeat=2):
            steps = [Step("a", lengths[0], least[0]), Step("b", lengths[1], least[1]), Step("must", lengths[2])]
            for order in ((), ("a",), ("a", "b"), ("b", "a")):
                for left in range(12):
                    holds(steps, order, left)


def possible(step: Step) -> list[float]:
    """The seconds that a step may be given: none, or what is of use, in whole seconds."""
    least = step.seconds if step.least is None else min(step.least, step.seconds)
    return [0.0, *(float(second) for second in range(int(least), int(step.seconds) + 1))]


def holds(steps: list[Step], order: tuple[str, ...], left: int) -> None:
    fits = fit(steps, order, left)
    by_name = {step.name: step for step in steps}
    kept = [step for step in steps if step.name not in order]
    assert all(fits.granted[step.name] == step.seconds for step in kept)
    needed = sum(step.seconds for step in kept)
    room = max(0, left - needed)
    valued = list(reversed(order))
    choices = itertools.product(*(possible(by_name[name]) for name in valued))
    best = max(choice for choice in choices if sum(choice) <= room)  # the most valued first, as tuples compare
    assert tuple(fits.granted[name] for name in valued) == best
    assert set(fits.left_out) == {name for name in order if by_name[name].seconds and not fits.granted[name]}
    assert not set(fits.left_out) & set(fits.shortened)
    short = {name for name in order if 0 < fits.granted[name] < by_name[name].seconds}
    assert set(fits.shortened) == short and bool(fits.late) == (needed > left)


def test_bad_input_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as told:
        fit([STOP, Step("stop", -1)], ("backup", "backup"), 10)
    assert str(told.value).splitlines() == [
        "steps: stop is named twice",
        "order: backup is named twice",
        "steps: stop: is not valid; allowed: seconds, 0 or more",
    ]


def test_the_clock_runs_from_where_it_began() -> None:
    assert clock(100, None, 7000.0) == (7000.0, 100)
    assert clock(100, 7000.0, 7040.0) == (7000.0, 60)
    assert clock(100, 7000.0, 7140.0) == (7000.0, 0)
    with pytest.raises(InvalidInput, match="budget: 0 is not valid"):
        clock(0, None, 1.0)
    with pytest.raises(InvalidInput, match="began: 9 lies ahead"):
        clock(5, 9.0, 1.0)


# -- the mark --------------------------------------------------------------------------------------
def test_what_was_left_out_is_remembered_and_told_once(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state", FAST)
    client = lab.formed(3)["n1"]
    planned = mark.ensure_marked(client, "n2", {"backup": "left out"}, check=True)
    assert planned["changed"] and not lab.cluster("n1")["nodes"]["n2"]["annotations"]
    assert mark.ensure_marked(client, "n2", {"backup": "left out"}, check=False) == planned
    assert not mark.ensure_marked(client, "n2", {"backup": "left out"}, check=False)["changed"]
    assert mark.ensure_marked(client, "n3", {"drain": "left out"}, check=False)["changed"]
    assert [bool(one["annotations"]) for one in lab.cluster("n1")["nodes"].values()] == [False, False, True]
    told = mark.ensure_unmarked(client, check=True)
    assert told["left_out"] == {"drain": "left out"} and told["warnings"][0].endswith("did not do all: drain left out")
    assert mark.ensure_unmarked(client, check=False) == told
    assert mark.ensure_unmarked(client, check=False)["warnings"] == []


def test_a_shutdown_that_did_all_leaves_no_mark(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state", FAST)
    client = lab.formed(1)["n1"]
    mark.ensure_marked(client, "n1", {"backup": "left out"}, check=False)
    assert mark.ensure_marked(client, "n1", {}, check=False)["changed"]
    assert not lab.cluster("n1")["nodes"]["n1"]["annotations"]
    with pytest.raises(Conflict, match='no node "n9"'):
        mark.ensure_marked(client, "n9", {}, check=False)


@pytest.mark.parametrize("text", ["some words", "[1]", '{"left_out": 5}'])
def test_a_mark_that_somebody_else_wrote_is_taken_away_and_says_nothing(tmp_path: Path, text: str) -> None:
    lab = Lab(tmp_path / "state", FAST)
    client = lab.formed(1)["n1"]
    client.kubectl("annotate", "node", "n1", f"{mark.SHUTDOWN}={text}")
    told = mark.ensure_unmarked(client, check=False)
    assert told["changed"] and told["warnings"] == [] and not lab.cluster("n1")["nodes"]["n1"]["annotations"]
