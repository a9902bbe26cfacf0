# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of one measurement and what is read off them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sample:
    """One run: wall-clock and processor time in seconds (children included)."""

    wall: float
    cpu: float | None = None


@dataclass
class Row:
    """One contender at one operation.

    ``startup`` is the row of the empty play, whose median ``net`` takes off; None for a contender that
    has no such start-up. A slow contender may have done it to ``did`` of ``count`` things only: then its seconds are
    start-up + (measured - start-up) * count / did, for such a loop is linear.
    """

    operation: str
    contender: str
    count: int
    samples: list[Sample] = field(default_factory=list)
    startup: Row | None = None
    did: int = 0
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> float:
        return self.startup.median if self.startup else 0.0

    def whole(self, seconds: float | None = None) -> float:
        """Seconds for ``count`` things, start-up included; the median run unless told which."""
        seconds = self.median if seconds is None else seconds
        if not self.did or self.did == self.count:
            return seconds
        return self.base + (seconds - self.base) * self.count / self.did

    @property
    def median(self) -> float:
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def net(self) -> float:
        return max(0.0, self.whole() - self.base)

    @property
    def spread(self) -> tuple[float, float]:
        """Fastest and slowest run, as ``whole``."""
        walls = [sample.wall for sample in self.samples]
        return self.whole(min(walls)), self.whole(max(walls))

    def document(self) -> dict[str, Any]:
        """For the JSON file. Seconds."""
        low, high = self.spread
        return {
            "operation": self.operation,
            "contender": self.contender,
            "count": self.count,
            "measured_on": self.did or self.count,
            "whole": round(self.whole(), 4),
            "net": round(self.net, 4),
            "startup_taken_off": round(self.base, 4),
            "fastest": round(low, 4),
            "slowest": round(high, 4),
            "samples": [
                {"wall": round(s.wall, 4), "cpu": None if s.cpu is None else round(s.cpu, 4)} for s in self.samples
            ],
            "note": self.note,
            **self.extra,
        }
