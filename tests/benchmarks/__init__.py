# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the collection is, beside its peers and the daemon's own floor: ``python -m tests.benchmarks``."""

from __future__ import annotations

from tests import conftest  # finds the collection

__all__ = ["conftest"]
