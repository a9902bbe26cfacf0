# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends of jobs: which entries of the audit chain are some, and what of them is told to others."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.rackstead.infra.plugins.module_utils.state.model import AuditEntry

from .model import JobState

CANCEL = "job.cancel"
#: What the chain calls the ends that an engine writes.
ENDS = {f"job.{state.value}": state for state in JobState if state.final}


def ended(entry: AuditEntry) -> JobState | None:
    """The state in which a job came to its end with this entry; None if it did not."""
    if entry.action == CANCEL:  # the end only of a job that did not run just then
        return JobState.CANCELLED if entry.details.get("state") == JobState.CANCELLED else None
    return ENDS.get(entry.action)


def hosts(recap: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many hosts there were, and of how many something is to be told."""
    found = {"all": len(recap)}
    for name in ("changed", "failed", "unreachable"):
        found[name] = sum(1 for counts in recap.values() if counts.get(name))
    return found
