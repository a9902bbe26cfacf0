# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that waits: deadlines, and polling with backoff until a condition holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import DeadlineExceeded

T = TypeVar("T")


class Deadline:
    """A point on the monotonic clock, ``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    def expired(self) -> bool:
        return self.remaining() <= 0.0


def wait_until(
    probe: Callable[[], T | None],
    deadline: Deadline,
    *,
    what: str,
    first: float = 0.05,
    most: float = 1.0,
    growth: float = 1.5,
    last_seen: Callable[[], str] | None = None,
) -> T:
    """Call ``probe`` until it returns something other than None, and return that.

    The pause between calls grows from ``first`` to ``most`` seconds, ``growth`` times each time: with 1.1
    what takes long is noticed at most a tenth of its time too late. The probe is called once more at the
    deadline, so a condition that came true during the last pause counts.
    ``last_seen`` may say what was observed last, for the error. Raises DeadlineExceeded.
    """
    pause = first
    while True:
        found = probe()
        if found is not None:
            return found
        left = deadline.remaining()
        if left <= 0.0:
            seen = f" (last seen: {last_seen()})" if last_seen else ""
            raise DeadlineExceeded(f"waited {deadline.seconds:g} s in vain for {what}{seen}")
        time.sleep(min(pause, left))
        pause = min(pause * growth, most)
