# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes and deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common import deadline as waiting
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import DeadlineExceeded
from ansible_collections.rackstead.infra.plugins.module_utils.common.units import format_size, parse_size
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        (7, 7),
        ("7B", 7),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("2 GiB", 2 * 1024**3),
        ("3TB", 3 * 1000**4),
        ("1PiB", 1024**5),
    ],
)
def test_a_size_in_bytes(text: str | int, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "B", "-1", "1.5GiB", "1 G iB", "1gib", "1GBB", "ten", "１MB", True, -1])
def test_what_is_no_size(text: str | int) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (200 * 1024**2, "200 MiB"),
        (5 * 1024**5, "5120 TiB"),
    ],
)
def test_a_size_for_people(count: int, text: str) -> None:
    assert format_size(count) == text


@given(st.integers(0, 10**6), st.sampled_from(["B", "kB", "MB", "KiB", "MiB", "GiB"]))
def test_a_size_keeps_its_value(count: int, unit: str) -> None:
    assert parse_size(f"{count}{unit}") == parse_size(f"  {count}  {unit} ") == count * parse_size(f"1{unit}")


class Clock:
    """Time that passes only in sleep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        monkeypatch.setattr(waiting.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(waiting.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def after(clock: Clock, moment: float) -> Callable[[], str | None]:
    return lambda: "there" if clock.now >= moment else None


def test_a_condition_that_holds_costs_no_pause(clock: Clock) -> None:
    assert wait_until(lambda: 0, Deadline(5), what="x") == 0
    assert clock.pauses == []


def test_pauses_grow_and_are_bounded(clock: Clock) -> None:
    wait_until(after(clock, 20), Deadline(60), what="x", first=0.1, most=1.0)
    assert clock.pauses[:3] == pytest.approx([0.1, 0.15, 0.225])
    assert max(clock.pauses) == 1.0
    assert clock.now < 21


def test_a_condition_that_comes_true_in_the_last_pause_counts(clock: Clock) -> None:
    assert wait_until(after(clock, 10), Deadline(10), what="x", first=6, most=6) == "there"
    assert clock.now == 10


def test_a_deadline_says_what_was_waited_for_and_seen_last(clock: Clock) -> None:
    with pytest.raises(DeadlineExceeded, match=r"^waited 2 s in vain for an address \(last seen: none\)$"):
        wait_until(lambda: None, Deadline(2), what="an address", last_seen=lambda: "none")
    assert clock.now == pytest.approx(2)


def test_what_is_left_is_never_negative() -> None:
    deadline = Deadline(0)
    assert deadline.expired()
    assert deadline.remaining() == 0
    assert 0 < Deadline(5).remaining() <= 5
    assert time.monotonic() > 0
