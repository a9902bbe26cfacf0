# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors by what is to be done about them, and the pause before another attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

from ...common.deadline import Deadline, wait_until
from ...common.errors import Conflict, DeadlineExceeded, RacksteadError, Unreachable
from ...state.errors import Fenced, Held
from ..maas.client import Busy
from .model import Step

#: Longest pause before another attempt, in seconds.
LONGEST = 60.0
TRANSIENT, NETWORK, TIMEOUT, FINAL = "transient", "network", "timeout", "final"


class Settled(Conflict):
    """Something else is in the way, and no waiting mends that."""


class Cancelled(RacksteadError):
    """Whoever ran the step was told to end."""


def class_of(error: BaseException) -> str:
    """What kind of trouble it is. What is not known to pass is final: a refused password is tried once."""
    if isinstance(error, Unreachable):
        return NETWORK
    if isinstance(error, DeadlineExceeded):
        return TIMEOUT
    if isinstance(error, Settled | Held | Fenced):
        return FINAL
    return TRANSIENT if isinstance(error, Conflict | Busy) else FINAL


def pause_before(attempt: int, step: Step, draw: Callable[[], float] = random.random) -> float:
    """Seconds before attempt number ``attempt`` (2 and up), up to a tenth more by lot: 20 servers do not come at once."""
    pause = min(LONGEST, step.backoff * step.growth ** (attempt - 2))
    return pause * (1 + draw() / 10)


def rest(seconds: float, interrupted: Callable[[], bool]) -> None:
    """Let time pass before another attempt, unless it is not to be."""
    enough = Deadline(seconds)
    most = Deadline(seconds + 1.0)
    wait_until(lambda: enough.expired() or interrupted() or None, most, what="the next attempt", first=0.05)
