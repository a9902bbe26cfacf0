# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a machine: requirements in, checks out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .door import read_requirements
from .gather import gather
from .judge import judge
from .report import document


def look(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the module prerequisites_info returns. Raises InvalidInput."""
    wanted = read_requirements(given)
    seen = gather(wanted)
    return {
        "changed": False,
        "checks": [document(check) for check in judge(seen, wanted)],
        "hostname": seen.hostname,
        "machine_id": seen.machine_id,
    }
