# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements that are no whole processes: rates and delays."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Contenders that stand for what cannot be gone below, beside which the others are put.
JOBS_A_SECOND, MILLISECONDS, RECORDS_A_SECOND = "jobs/s", "ms", "records/s"


@dataclass
class Measure:
    """One contender at one thing, ``count`` times in each of the rounds. Of a rate more is better, of a delay less.

    ``floor`` names the contender at the same thing that it is compared with.
    """

    what: str
    by: str
    count: int
    unit: str
    rounds: list[float] = field(default_factory=list)
    floor: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> bool:
        return self.unit != MILLISECONDS

    @property
    def best(self) -> float:
        return max(self.rounds) if self.rate else min(self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def document(self) -> dict[str, Any]:
        """For the JSON file."""
        rounds = [round(value, 3) for value in self.rounds]
        found = {"what": self.what, "by": self.by, "count": self.count, "unit": self.unit, "rounds": rounds}
        return {**found, "best": round(self.best, 3), "median": round(self.median, 3), **self.extra}


def find(measures: Iterable[Measure], what: str, by: str) -> Measure | None:
    return next((one for one in measures if (one.what, one.by) == (what, by)), None)


def ratio(measures: Iterable[Measure], one: Measure) -> float | None:
    """What of the floor's rate it reaches, or how many times the floor's delay it takes; the best rounds of both."""
    floor = find(measures, one.what, one.floor) if one.floor else None
    return one.best / floor.best if floor and floor.best else None


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
