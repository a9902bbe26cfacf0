# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan format as JSON Schema (draft 2020-12), for editors. Generated from spec.py."""

from __future__ import annotations

import json
from typing import Any

from ..common.kinds import spec_schema
from .spec import PlanSpec


def plan_schema() -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rackstead plan",
        "description": "Instances and what they need, as rackstead.infra.plan applies them.",
        **spec_schema(PlanSpec),
    }


def schema_text() -> str:
    """The document as it is shipped in docs/schema/plan.schema.json."""
    return json.dumps(plan_schema(), indent=2) + "\n"
