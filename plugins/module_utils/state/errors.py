# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the state store beyond those of ``common/errors.py``."""

from __future__ import annotations

from ..common.errors import Conflict


class VersionMoved(Conflict):
    """The record is not at the version that the writer expected."""


class Held(Conflict):
    """Somebody else holds the lease."""


class Fenced(Conflict):
    """The lease that was to guard a write has been lost."""
