# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the boot: what of a push is there, and what is not, with what is known of why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .decide import unheld
from .model import PASSWORD, BiosDocument, Rejected, SettingChange


def verify(
    after: BiosDocument, changes: Iterable[SettingChange], causes: Mapping[str, str] | None = None
) -> tuple[tuple[SettingChange, ...], tuple[Rejected, ...]]:
    """Applied and rejected changes. ``causes`` are the machine's own words, by setting's name."""
    applied: list[SettingChange] = []
    rejected: list[Rejected] = []
    for change in changes:
        found = after.find(change.key)
        if found is not None and (found.value == change.after or change.type == PASSWORD):
            applied.append(change)
        else:
            rejected.append(Rejected(change, _cause(after, change, causes or {})))
    return tuple(applied), tuple(rejected)


def _cause(after: BiosDocument, change: SettingChange, causes: Mapping[str, str]) -> str:
    if change.name in causes:
        return causes[change.name]
    found = after.find(change.key)
    if found is None:
        return "the BIOS no longer shows this setting"
    conditions = unheld(after, [change])
    if conditions:
        return conditions[0].removeprefix(f"{change.path}: ")
    if found.labels and change.after not in found.labels:
        return f"the BIOS no longer offers it; allowed: {', '.join(found.labels)}"
    if found.value == change.before:
        return f"after the boot it is still {found.value or 'empty'}, and the BIOS gives no reason"
    return f"after the boot it is {found.value or 'empty'}, and the BIOS gives no reason"
