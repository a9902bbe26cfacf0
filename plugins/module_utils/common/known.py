# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says to the reader and to the type checker that something optional is there."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def known(value: T | None) -> T:
    """The value, which the caller's own logic has put there: None is a mistake in the code."""
    if value is None:
        raise AssertionError("a value that must be there by now is missing")
    return value
