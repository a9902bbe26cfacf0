# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots are pruned, and how times are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.units import parse_duration
from ansible_collections.rackstead.infra.plugins.module_utils.instances.snapshots import (
    Snapshot,
    SnapshotRequest,
    doomed,
    parse_time,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def aged(*hours: int) -> list[Snapshot]:
    return [Snapshot(f"s{hour}", NOW - timedelta(hours=hour)) for hour in hours]


def test_the_newest_stay_and_of_the_rest_the_old_go() -> None:
    some = aged(1, 50, 2, 100)
    assert doomed(some, 2, None, NOW) == ["s100", "s50"]
    assert doomed(some, None, 3600 * 24, NOW) == ["s100", "s50"]
    assert doomed(some, 3, 3600, NOW) == ["s100"]
    assert doomed(some, 0, None, NOW) == ["s100", "s50", "s2", "s1"]
    assert doomed(some, 0, 3600 * 60, NOW) == ["s100"]
    assert doomed(aged(24), None, 3600 * 24, NOW) == []


@given(st.lists(st.integers(0, 1000), unique=True), st.integers(0, 20), st.none() | st.integers(0, 4_000_000))
def test_pruning_keeps_what_it_promises(hours: list[int], keep: int, age: int | None) -> None:
    gone = set(doomed(aged(*hours), keep, age, NOW))
    stays = [hour for hour in sorted(hours) if f"s{hour}" not in gone]
    assert set(sorted(hours)[:keep]) <= set(stays)
    assert all(age is not None and hour * 3600 <= age for hour in stays[keep:])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("1w2d", 777600), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "1.5h", "-1d", "7y"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_times_are_utc() -> None:
    assert parse_time("2026-11-21T10:10:55.165364828Z") == datetime(2026, 11, 21, 10, 10, 55, tzinfo=UTC)
    assert parse_time("2026-11-21T12:10:55+02:00") == datetime(2026, 11, 21, 10, 10, 55, tzinfo=UTC)
    assert parse_time("2026-11-21") == datetime(2026, 11, 21, tzinfo=UTC)


def request(**options: object) -> SnapshotRequest:
    return SnapshotRequest(("box",), now=NOW, **options)  # type: ignore[arg-type]


def test_names_and_expiry_follow_the_clock() -> None:
    assert request().full_name == "snapshot-20300131T120000Z"
    assert request(expires_at="1d").expiry == NOW + timedelta(days=1)
    assert request(expires_at="2031-01-01").expiry == datetime(2031, 1, 1, tzinfo=UTC)
    assert request().expiry is None


def test_only_names_of_the_same_pattern_are_pruned() -> None:
    nightly = request(name="nightly-%Y%m%d")
    assert nightly.may_prune("nightly-20300130")
    assert not nightly.may_prune("nightly-by-hand")
    assert not nightly.may_prune("before-upgrade")
    assert request(match="before-*").may_prune("before-upgrade")
    assert request(match="*").may_prune("anything")


def test_every_fault_is_told() -> None:
    wrong = request(name="a b", state="pruned", older_than="x", parallel=0, expires_at="soon")
    with pytest.raises(InvalidInput) as told:
        wrong.check()
    assert told.value.problems == [
        'name: "a b" is not a name; allowed: no spaces and no slashes',
        'older_than: "x" is not a duration; allowed: 30m, 12h, 7d, 2w',
        'match: which snapshots may be pruned is not told by a fixed name; allowed: a pattern, such as "*"',
        "parallel: 0 is not valid; allowed: 1 or more",
        "expires_at: means nothing with state: pruned; allowed: state: present",
        'expires_at: "soon" is no time; allowed: a time such as 2030-01-31T12:00:00Z, or a duration such as 30m, 12h, 7d, 2w',
    ]
    for options, word in (
        ({"state": "pruned"}, "keep: state: pruned needs to know what to keep"),
        ({"keep": 0}, "keep: 0 is not valid; allowed: 1 or more"),
        ({"state": "restored", "name": ""}, "name: state: restored needs the name of a snapshot"),
        ({"state": "absent", "name": "x", "keep": 2}, "keep: and older_than mean nothing with state: absent"),
    ):
        with pytest.raises(InvalidInput) as told:
            request(**options).check()
        assert told.value.problems[0].startswith(word)
