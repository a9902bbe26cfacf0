# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of values that a plan of power is made of."""

from __future__ import annotations

from ..common.kinds import Text, Whole

NAME = Text(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "letters, digits, dots, dashes and underscores")
SECONDS = Whole(0, 86400)
PERCENT = Whole(0, 100)
