# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of lists: a cursor says where the next one begins. What is in it is nobody's business but ours."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import check_key
from fastapi import Query

from .problems import Refusal

Limit = Annotated[int, Query(ge=1, le=500, description="At most so many on a page.")]
Cursor = Annotated[str, Query(max_length=600, description="The next of the page before.")]


def write(list_name: str, order: str, after: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([list_name, order, after]).encode()).decode().rstrip("=")


def read(cursor: str, list_name: str, order: str) -> str:
    """The key after which the page begins. Raises Refusal."""
    if not cursor:
        return ""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or found[:2] != [list_name, order] or len(found) != 3 or not good_key(found[2]):
        text = "is not the next of a page of this list in this order"
        raise Refusal(422, f"cursor: {text}", [("query/cursor", text)])
    return str(found[2])


def good_key(key: Any) -> bool:
    problems = Problems()
    check_key(key, problems)
    return not problems.lines


def joined(items: Sequence[bytes], list_name: str, order: str, last: str, *, full: bool) -> bytes:
    """The same as ``page``, of items that are JSON already."""
    following = json.dumps(write(list_name, order, last) if full else None).encode()
    return b'{"items":[' + b",".join(items) + b'],"next":' + following + b"}"


def page(items: Sequence[Any], list_name: str, order: str, last: str, *, full: bool) -> dict[str, Any]:
    """``last`` is the key of the last one looked at; ``full``: there may be more after it."""
    return {"items": list(items), "next": write(list_name, order, last) if full else None}
