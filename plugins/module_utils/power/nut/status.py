# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a UPS says of itself, with units. Pure: variables of NUT go in, an UpsStatus comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Flag of ``ups.status`` -> the property that names it.
FLAGS = {
    "OL": "on_line",
    "OB": "on_battery",
    "LB": "low_battery",
    "HB": "high_battery",
    "RB": "replace_battery",
    "CHRG": "charging",
    "DISCHRG": "discharging",
    "BYPASS": "bypass",
    "CAL": "calibrating",
    "OFF": "off",
    "OVER": "overloaded",
    "TRIM": "trimming",
    "BOOST": "boosting",
    "FSD": "fsd",
    "ALARM": "alarm",
}
#: What is known of the way to the UPS: it answers; its driver has nothing new; there is no driver, or no server.
OK, STALE, LOST = "ok", "stale", "lost"

#: Field of UpsStatus -> variables of NUT, the first that is there counts; the lowest and highest value believed.
FIELDS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "charge_percent": (("battery.charge",), 0, 100),
    "runtime_seconds": (("battery.runtime",), 0, math.inf),
    "input_volts": (("input.voltage",), 0, math.inf),
    "output_volts": (("output.voltage",), 0, math.inf),
    "battery_volts": (("battery.voltage",), 0, math.inf),
    "load_percent": (("ups.load",), 0, math.inf),
    "temperature_celsius": (("ups.temperature", "battery.temperature"), -273.15, math.inf),
}


@dataclass(frozen=True)
class UpsStatus:
    """One reading. None is what the UPS does not tell; ``read_at`` is a second of whoever's clock took it."""

    ups: str
    read_at: float
    flags: frozenset[str] = frozenset()
    communication: str = OK
    charge_percent: float | None = None
    runtime_seconds: float | None = None
    input_volts: float | None = None
    output_volts: float | None = None
    battery_volts: float | None = None
    load_percent: float | None = None
    temperature_celsius: float | None = None

    @property
    def stale(self) -> bool:
        """Whether this tells nothing about the power: a lost UPS is neither on line nor on battery."""
        return self.communication != OK

    @property
    def on_line(self) -> bool:
        """On the mains. Both OL and OB at once is neither: it is no evidence."""
        return "OL" in self.flags and "OB" not in self.flags

    @property
    def on_battery(self) -> bool:
        return "OB" in self.flags and "OL" not in self.flags

    @property
    def low_battery(self) -> bool:
        return "LB" in self.flags

    @property
    def replace_battery(self) -> bool:
        return "RB" in self.flags

    @property
    def charging(self) -> bool:
        return "CHRG" in self.flags

    @property
    def discharging(self) -> bool:
        return "DISCHRG" in self.flags

    @property
    def calibrating(self) -> bool:
        return "CAL" in self.flags

    @property
    def off(self) -> bool:
        return "OFF" in self.flags

    @property
    def overloaded(self) -> bool:
        return "OVER" in self.flags

    @property
    def bypass(self) -> bool:
        return "BYPASS" in self.flags

    @property
    def fsd(self) -> bool:
        """Whether a forced shutdown was ordered. upsd keeps this until it is started anew."""
        return "FSD" in self.flags

    def document(self) -> dict[str, Any]:
        """As a task's result holds it."""
        numbers = {field: getattr(self, field) for field in FIELDS}
        facts = {"on_line": self.on_line, "on_battery": self.on_battery, "low_battery": self.low_battery}
        return {
            "name": self.ups,
            "communication": self.communication,
            "flags": sorted(self.flags),
            **facts,
            "replace_battery": self.replace_battery,
            "fsd": self.fsd,
            **numbers,
        }


def parse_status(ups: str, variables: Mapping[str, str], read_at: float) -> UpsStatus:
    """A reading from the variables of ``LIST VAR``. Without ``ups.status``, or while it is WAIT, it is stale."""
    flags = frozenset(variables.get("ups.status", "").upper().split())
    communication = STALE if not flags or "WAIT" in flags else OK
    numbers = {field: _number(variables, *how) for field, how in FIELDS.items()}
    return UpsStatus(ups, read_at, flags, communication, **numbers)


def _number(variables: Mapping[str, str], names: tuple[str, ...], lowest: float, highest: float) -> float | None:
    """The first of these that is a number one can believe: drivers print nan and -1 for what they lack."""
    for name in names:
        try:
            value = float(variables.get(name, ""))
        except ValueError:
            continue
        if math.isfinite(value) and lowest <= value <= highest:
            return value
    return None
