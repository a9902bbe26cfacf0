# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit chain: each entry carries the digest of the one before, so that no change goes unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from .model import AuditEntry, AuditReport, to_json

#: ``previous`` of the first entry.
START = "0" * 64
#: The record of kind ``meta`` that holds the number and digest of the last entry.
HEAD = "audit-head"


def key_of(seq: int) -> str:
    return f"{seq:016d}"


def digest_of(seq: int, body: Mapping[str, Any]) -> str:
    """SHA-256 over all of an entry but its own digest."""
    content = {name: value for name, value in body.items() if name != "digest"}
    return hashlib.sha256(to_json({**content, "seq": seq}).encode()).hexdigest()


def entry_of(key: str, body: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(seq=int(key), **body)


class Verifier:
    """Takes the entries in order, and stops at the first that does not fit the chain."""

    def __init__(self) -> None:
        self.count = 0
        self.last = START
        self.report: AuditReport | None = None

    def take(self, key: str, body: Mapping[str, Any]) -> None:
        seq = self.count + 1
        if self.report:
            return
        if key != key_of(seq):
            self._broken(seq, f"entry {seq} is missing, {key} follows")
        elif body.get("previous") != self.last:
            self._broken(seq, f"entry {seq} does not follow from entry {seq - 1}")
        elif body.get("digest") != digest_of(seq, body):
            self._broken(seq, f"entry {seq} was changed: its digest is not that of its content")
        else:
            self.count, self.last = seq, str(body["digest"])

    def finish(self, head: Mapping[str, Any] | None) -> AuditReport:
        """Compare the end with what the store remembers as its last entry."""
        seq, digest = (head["seq"], head["digest"]) if head else (0, START)
        if not self.report and seq > self.count:
            self._broken(self.count + 1, f"entry {self.count + 1} is missing, {seq} were written")
        if not self.report and (seq, digest) != (self.count, self.last):
            self._broken(self.count, f"entry {self.count} is not the last that was written")
        return self.report or AuditReport(self.count, ok=True)

    def _broken(self, seq: int, why: str) -> None:
        self.report = AuditReport(self.count, ok=False, broken=seq, why=why)
