# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects every fault in a user's input, so that all are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .errors import InvalidInput


def nearest(word: str, known: Iterable[str]) -> str:
    """'; did you mean "x"?' for the known word nearest to ``word``, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


class Problems:
    """One line a fault: ``path: what is wrong; what is allowed``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, path: str, what: str, allowed: str = "") -> None:
        line = f"{path}: {what}" if path else what
        self._keep(f"{line}; allowed: {allowed}" if allowed else line)

    def unknown(self, path: str, key: str, known: Iterable[str]) -> None:
        names = sorted(known)
        hint = nearest(key, names) or f"; known: {', '.join(names)}"
        self._keep(f'{path + ": " if path else ""}unknown key "{key}"{hint}')

    def _keep(self, line: str) -> None:
        """One line, whatever line breaks the user's own words hold."""
        self.lines.append(" ".join(line.splitlines()))

    def raise_if_any(self) -> None:
        if self.lines:
            raise InvalidInput(self.lines)
