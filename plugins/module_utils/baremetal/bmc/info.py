# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what a BMC tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...common.errors import Unsupported
from .model import Bmc

SUBSETS = ("power", "boot", "device", "sensors", "events", "fru", "lan", "users")


def read_info(bmc: Bmc, subsets: Sequence[str]) -> dict[str, Any]:
    """The parts asked for. What the BMC does not have is named in ``missing``, with the reason."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for subset in subsets:
        try:
            if subset == "power":
                found[subset] = bmc.power()
            else:
                found[subset] = vars(bmc.boot()) if subset == "boot" else bmc.facts(subset)
        except Unsupported as exc:
            missing[subset] = exc.what
    return {"changed": False, "protocol": bmc.protocol, "bmc": found, "missing": missing}
