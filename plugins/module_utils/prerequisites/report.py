# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of what was found on several hosts: the checks of each, and what only shows beside the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .judge import NEW_MACHINE_ID
from .model import BY_REBOOT, FAIL, PASS, STATUSES, WARN, Check

#: What comes of a failed check: it counts, unless this run is to mend it.
MODES = ("check", "predict", "install")
Found = Mapping[str, Any]


def document(check: Check) -> dict[str, Any]:
    """A check as a task returns it."""
    return {
        "name": check.name,
        "status": check.status,
        "found": check.found,
        "wanted": check.wanted,
        "mend": check.mend if check.status != PASS else "",
        "mended_by": check.mended_by,
        "items": list(check.items),
    }


def reports(found: Mapping[str, Found], mode: str) -> dict[str, dict[str, Any]]:
    """A report for each host. ``found`` holds what the module prerequisites_info returned on each.

    With the mode ``check`` every failure counts, with ``predict`` those that nobody mends, and with ``install`` those
    that are more than an outstanding boot.
    """
    if mode not in MODES:
        raise ValueError(f'"{mode}" is no mode: {", ".join(MODES)}')
    return {host: report(host, [*one["checks"], *beside(host, found)], mode) for host, one in found.items()}


def beside(host: str, found: Mapping[str, Found]) -> list[dict[str, Any]]:
    """Whether a host's name and machine id are its own."""
    if len(found) < 2:
        return []
    words = "a host name and machine id that no other host has"
    own = found[host]
    twins = {
        key: sorted(name for name, one in found.items() if name != host and one[key] and one[key] == own[key])
        for key in ("hostname", "machine_id")
    }
    said = [
        f"{label} {own[key]} is also that of {', '.join(twins[key])}"
        for key, label in (("hostname", "host name"), ("machine_id", "machine id"))
        if twins[key]
    ]
    if not said:
        return [document(Check("unique", PASS, "host name and machine id", words))]
    mends = ["sudo hostnamectl set-hostname NAME"] if twins["hostname"] else []
    mends += [NEW_MACHINE_ID] if twins["machine_id"] else []
    return [document(Check("unique", FAIL, "; ".join(said), words, "; ".join(mends)))]


def report(host: str, checks: Sequence[Found], mode: str) -> dict[str, Any]:
    """The checks of one host with what follows from them."""
    failed = [one for one in checks if one["status"] == FAIL]
    waiting = [one for one in failed if one["mended_by"] == BY_REBOOT]
    excused = {"check": [], "predict": [one for one in failed if one["mended_by"]], "install": waiting}[mode]
    broken = [one for one in failed if one not in excused]
    return {
        "host": host,
        "checks": [dict(one) for one in checks],
        "summary": {status: sum(one["status"] == status for one in checks) for status in STATUSES},
        "ready": not failed,
        "reboot": bool(waiting),
        "lines": [line(one) for one in checks],
        "broken": [f"{host}: {one['name']}: {one['found']}; {one['mend']}" for one in broken],
        "would_mend": [one["name"] for one in checks if one["mended_by"] not in ("", BY_REBOOT)],
    }


def line(one: Found) -> str:
    """A check for people, in one line."""
    mend = f" -> {one['mend']}" if one["status"] in (WARN, FAIL) and one["mend"] else ""
    return f"{one['status']:4}  {one['name']:12}  {one['found']}{mend}"
