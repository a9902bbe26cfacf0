# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a shutdown left out, remembered in the cluster, for whoever starts it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..common.errors import Conflict, OperationFailed
from ..common.show import diff_of
from .client import MicroK8s

#: Annotation of a node: when, and what was left out.
SHUTDOWN = "rackstead.io/shutdown"


def ensure_marked(client: MicroK8s, name: str, left_out: Mapping[str, str], check: bool) -> dict[str, Any]:
    """The node of this name alone says what was left out; with nothing left out, none does."""
    marks = _marks(client)
    if name not in marks:
        raise Conflict(f'the cluster has no node "{name}"', hint=f"it has {', '.join(marks)}")
    before = {node: found for node, found in marks.items() if found}
    after = {name: dict(left_out)} if left_out else {}
    plain = {node: found.get("left_out") for node, found in before.items()}
    if plain != after and not check:
        _clear(client, [node for node in before if node not in after])
        if after:
            made = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "left_out": dict(left_out)}
            client.kubectl("annotate", "node", name, f"{SHUTDOWN}={json.dumps(made)}", "--overwrite")
    return {"changed": plain != after, "left_out": dict(left_out), "diff": diff_of(plain, after, "marks of a shutdown")}


def ensure_unmarked(client: MicroK8s, check: bool) -> dict[str, Any]:
    """No node bears a mark; what it said is told."""
    before = {node: found for node, found in _marks(client).items() if found}
    if not check:
        _clear(client, list(before))
    left_out = {step: why for found in before.values() for step, why in found.get("left_out", {}).items()}
    told = [
        f"the shutdown of {found.get('at', 'an unknown time')} did not do all: {step} {why}"
        for found in before.values()
        for step, why in found.get("left_out", {}).items()
    ]
    plain = {node: found.get("left_out") for node, found in before.items()}
    shown = diff_of(plain, {}, "marks of a shutdown")
    return {"changed": bool(before), "left_out": left_out, "warnings": told, "diff": shown}


def _clear(client: MicroK8s, names: list[str]) -> None:
    for name in names:
        client.kubectl("annotate", "node", name, f"{SHUTDOWN}-")


def _marks(client: MicroK8s) -> dict[str, dict[str, Any]]:
    """By node, its mark; empty where it has none. What somebody else wrote there is a mark without a word."""
    try:
        items = json.loads(client.kubectl("get", "nodes", "--output", "json"))["items"]
        texts = {one["metadata"]["name"]: (one["metadata"].get("annotations") or {}).get(SHUTDOWN, "") for one in items}
    except (ValueError, KeyError, TypeError) as error:
        raise OperationFailed("kubectl get nodes answered what cannot be read") from error
    return {name: _read(text) for name, text in texts.items()}


def _read(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    usable = isinstance(found, dict) and isinstance(found.get("left_out", {}), dict)
    return {"left_out": {}, **found} if usable else {"left_out": {}}
