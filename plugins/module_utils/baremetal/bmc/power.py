# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power: the state that is wanted, and waiting until the BMC shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import DeadlineExceeded, InvalidInput
from ...common.show import diff_of
from .model import Bmc

STATES = ("on", "off", "soft", "cycle", "reset")


def ensure_power(bmc: Bmc, wanted: str, wait: float, force: bool, *, check: bool, host: str) -> dict[str, Any]:
    """Have the server on, off, off by its own shutdown (``soft``), or started anew.

    ``wait`` is in seconds; 0 sends the command and does not wait. ``force`` switches off a server that
    has not shut down in that time. Raises DeadlineExceeded.
    """
    before = bmc.power()
    after = "off" if wanted in ("off", "soft") else "on"
    anew = wanted in ("cycle", "reset")
    if wanted == "reset" and before == "off":
        raise InvalidInput([f"state: reset is not possible: the server of BMC {host} is off; allowed: on, cycle"])
    if force and wanted != "soft":
        raise InvalidInput([f"force: is of no use with state {wanted}; allowed: with state soft"])
    changed = anew or before != after
    if changed and not check:
        _press(bmc, wanted, before, wait, force)
    started = {"started_anew": True} if anew and before == "on" else {}
    shown = diff_of({"power": before}, {"power": after, **started}, f"BMC {host}")
    return {"changed": changed, "power": after if changed else before, "before": before, "diff": shown}


def _press(bmc: Bmc, wanted: str, before: str, wait: float, force: bool) -> None:
    if wanted == "cycle":
        # In two steps, so that both protocols do the same. Killed between them, the next run switches on.
        if before == "on":
            bmc.press("off")
            _await(bmc, "off", max(wait, 1.0))
        bmc.press("on")
        _await(bmc, "on", wait)
        return
    bmc.press(wanted)
    if wanted == "reset":
        return  # the power stays on all the while: there is nothing to see
    try:
        _await(bmc, "off" if wanted in ("off", "soft") else "on", wait)
    except DeadlineExceeded as exc:
        if not force:
            if wanted == "soft":
                exc.hint = "force: true switches it off then"
            raise
        bmc.press("off")
        _await(bmc, "off", wait)


def _await(bmc: Bmc, state: str, seconds: float) -> None:
    if seconds:
        seen: Mapping[str, str] = {}

        def reached() -> bool | None:
            nonlocal seen
            seen = {"power": bmc.power()}
            return seen["power"] == state or None

        wait_until(reached, Deadline(seconds), what=f"power {state}", first=0.2, last_seen=lambda: seen["power"])
