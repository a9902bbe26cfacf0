# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alerts of a node are new, and which are over, since its last report; and an entry of the audit chain for them.

The chain is what is told to others from: the entry is written in the transaction that keeps the report, so that
there is one for each report with such news, whoever is killed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..state.store import Change
from .compare import CRITICAL, SEVERITIES, WARNING
from .model import Report

#: What the chain calls reports in which there is something new, and those in which something is over only.
ALERT, CLEAR = "hardware.alert", "hardware.clear"
ACTIONS = (ALERT, CLEAR)
WHO = "hardware_report"
#: The parts of a report that alerts come from.
SECTIONS = ("smart", "sensors", "filesystems", "raid", "lvm", "memory", "certificates", "kubernetes")
#: Alerts of a kind that an entry names, and characters of each of their texts.
MOST, LONGEST = 20, 300
#: What a text says beside what is wrong: how much is left, how far a repair is.
BESIDE = re.compile(r", (?:[\d.]+ \w+ left|[\w-]+ is at [\d.]+ %)$")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?: (?:days|hours)\b)?")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class News:
    raised: list[Row] = field(default_factory=list)
    cleared: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.raised or self.cleared)

    @property
    def action(self) -> str:
        return ALERT if self.raised else CLEAR


def news(before: Sequence[Row], after: Sequence[Row]) -> News:
    """What is new or graver, and what is over. An alert whose numbers alone are otherwise is the same one."""
    old, new = _by_identity(before), _by_identity(after)
    raised = [one for key, one in new.items() if key not in old or _rank(one) < _rank(old[key])]
    return News(raised, [one for key, one in old.items() if key not in new])


def _by_identity(rows: Sequence[Row]) -> dict[tuple[str, str, str], Row]:
    """The gravest of each."""
    found: dict[tuple[str, str, str], Row] = {}
    for one in sorted(rows, key=_rank):
        text = NUMBER.sub("#", BESIDE.sub("", str(one.get("text", ""))))
        found.setdefault((str(one.get("section")), str(one.get("what")), text), one)
    return found


def _rank(one: Row) -> int:
    """0 for the gravest."""
    severity = one.get("severity")
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def standing(body: Mapping[str, Any]) -> list[Row]:
    """The alerts of a node's record that were not seen to be over."""
    given = body.get("standing", body.get("alerts"))
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def tell(change: Change, report: Report, before: Sequence[Row], alerts: Sequence[Row]) -> list[Row]:
    """Put the news, if there are any, into the audit chain. Gives the alerts that stand now.

    What a report could not read, or was not to, says nothing: an alert of such a part stands.
    """
    after = [*alerts, *(one for one in before if not _says(report, str(one.get("section"))))]
    found = news(before, after)
    if found:
        counts = {name: sum(1 for one in after if one.get("severity") == name) for name in (CRITICAL, WARNING)}
        lists = {"raised": shown(found.raised), "cleared": shown(found.cleared)}
        more = {"raised_count": len(found.raised), "cleared_count": len(found.cleared)}
        details = {"time": report.time, **counts, **more, **lists}
        change.append_audit(WHO, found.action, f"hardware/{report.node}", details=details)
    return after


def _says(report: Report, section: str) -> bool:
    """Whether a report tells what is in a part. That there are no arrays anybody may see; other parts may be absent
    because only root may look."""
    without = section in report.sections and report.sections[section].state == "absent"
    return report.read(section) or (section == "raid" and without)


def shown(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The first of them, the gravest first."""
    names = ("section", "what", "severity", "text", "value", "threshold")
    return [{name: _short(one.get(name)) for name in names} for one in sorted(rows, key=_rank)[:MOST]]


def _short(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value
