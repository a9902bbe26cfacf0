# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a shutdown fits into the time that is left. Pure: seconds in, seconds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.problems import Problems


@dataclass(frozen=True)
class Step:
    """Something that takes ``seconds``. With ``least`` it is of use if it gets no more than that; else it takes all."""

    name: str
    seconds: float
    least: float | None = None

    def within(self, room: float) -> float:
        """The seconds that it gets of those that there are; 0 where that would be of no use."""
        least = self.seconds if self.least is None else min(self.least, self.seconds)
        return min(self.seconds, room) if room >= least else 0.0


@dataclass(frozen=True)
class Fit:
    """Seconds for each step; what was left out or shortened, in words; and what does not fit and is done nevertheless."""

    granted: Mapping[str, float]
    left_out: Mapping[str, str]
    shortened: Mapping[str, str]
    late: str = ""


def fit(steps: Sequence[Step], order: Sequence[str], left: float) -> Fit:
    """What of ``steps`` fits into ``left`` seconds.

    ``order`` names those that may be left out, the first to go first. So the last takes what it needs, and each before
    it what is left then. All others are done, whether they fit or not. Raises InvalidInput.
    """
    _check(steps, order)
    by_name = {step.name: step for step in steps}
    due = [step for step in steps if step.name not in order]
    needed = sum(step.seconds for step in due)
    room = max(0.0, left - needed)
    granted = {step.name: step.seconds for step in due}
    left_out, shortened = {}, {}
    for name in reversed([name for name in order if name in by_name]):
        step = by_name[name]
        granted[name] = step.within(room)
        if step.seconds and not granted[name]:
            left_out[name] = f"left out: it takes {_least(step):.0f} s, and {room:.0f} s were to spare"
        elif granted[name] < step.seconds:
            shortened[name] = f"has {granted[name]:.0f} s instead of {step.seconds:.0f} s"
        room -= granted[name]
    late = ""
    if needed > left:
        late = f"{', '.join(step.name for step in due)}: takes {needed:.0f} s, {left:.0f} s are left; done nevertheless"
    return Fit({step.name: granted[step.name] for step in steps}, left_out, shortened, late)


def _least(step: Step) -> float:
    return step.seconds if step.least is None else min(step.least, step.seconds)


def _check(steps: Sequence[Step], order: Sequence[str]) -> None:
    problems = Problems()
    names = [step.name for step in steps]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.add("steps", f"{name} is named twice")
    for name in sorted({name for name in order if list(order).count(name) > 1}):
        problems.add("order", f"{name} is named twice")
    for step in steps:
        if step.seconds < 0 or (step.least or 0) < 0:
            problems.add(f"steps: {step.name}", "is not valid; allowed: seconds, 0 or more")
    problems.raise_if_any()


def of_options(given: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Steps as the module's options name them."""
    return [Step(one["name"], one["seconds"], one["least"]) for one in given]


def clock(budget: float, began: float | None, now: float) -> tuple[float, float]:
    """When it began and how many seconds are left, on a clock that is not set. Raises InvalidInput."""
    problems = Problems()
    if budget <= 0:
        problems.add("budget", f"{budget:g} is not valid; allowed: seconds, more than 0")
    if began is not None and began > now:
        problems.add("began", f"{began:g} lies ahead; allowed: what this module returned on the same machine")
    problems.raise_if_any()
    start = now if began is None else began
    return start, max(0.0, budget - (now - start))
