# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what NUT tells of a UPS to what the engine decides by. Pure."""

from __future__ import annotations

from .engine import Reading
from .nut.status import UpsStatus
from .nut.watcher import Observed


def reading_of(status: UpsStatus) -> Reading | None:
    """A reading, or None where the status is no evidence: the UPS is lost, or on line and on battery at once.

    A UPS that calibrates itself runs on its battery by its own will, with the mains there: that is no outage,
    and its low battery is none either (upsmon sees it the same way). A forced shutdown counts whatever else is said.
    """
    if status.stale or not (status.on_line or status.on_battery or status.fsd):
        return None
    battery = status.on_battery and not status.calibrating
    return Reading(
        on_battery=battery,
        charge=100.0 if status.charge_percent is None else status.charge_percent,
        runtime=status.runtime_seconds,
        low=status.low_battery and not status.calibrating,
        forced=status.fsd,
        replace=status.replace_battery,
    )


def reading(observed: Observed) -> Reading | None:
    """A reading, or None where the reason says why there is none."""
    return reading_of(observed.status) if observed.status and not observed.reason else None
