# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of power as JSON Schema (draft 2020-12), for editors. Generated from plan.py."""

from __future__ import annotations

import json
from typing import Any

from ..common.kinds import spec_schema
from .plan import PowerPlan


def power_schema() -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rackstead plan of power",
        "description": "UPSes, what hangs on them, and what stops when, as rackstead power checks it.",
        **spec_schema(PowerPlan),
    }


def schema_text() -> str:
    """The document as it is shipped in docs/schema/power.schema.json."""
    return json.dumps(power_schema(), indent=2) + "\n"
