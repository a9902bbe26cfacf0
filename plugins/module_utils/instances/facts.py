# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of instances, in plain documents for people and playbooks. Only reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..common.show import hide_secrets
from .incus.client import IncusClient, global_addresses
from .lookup import select
from .marks import IMAGE_MARK, PLAN_MARK, metadata_of
from .snapshots import observed, shown

#: States are asked for one by one, so many at a time.
WORKERS = 8


def instance_facts(
    client: IncusClient, patterns: Sequence[str], *, plan: str = "", state: bool = False, everywhere: bool = False
) -> list[dict[str, Any]]:
    """Facts about the instances that fit, sorted by project and name.

    ``patterns`` are names or globs, none: all. ``plan`` narrows to what bears that plan's mark, ``state``
    adds what only a running instance has, ``everywhere`` looks into all projects.
    """
    documents = _chosen(_listed(client, everywhere), patterns, plan)
    if state:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="facts") as pool:
            full = list(pool.map(lambda document: _with_state(client, document), documents))
        documents = [document for document in full if document]
    return [facts_of(document) for document in documents]


def _listed(client: IncusClient, everywhere: bool) -> list[dict[str, Any]]:
    if not everywhere:
        return list(client.get("/instances", recursion="1"))
    query = {"recursion": "1", "all-projects": "true"}  # Incus refuses this beside a project
    return list(client.transport.request("GET", "/1.0/instances", query).metadata())


def _chosen(documents: Iterable[dict[str, Any]], patterns: Sequence[str], plan: str) -> list[dict[str, Any]]:
    found = [document for document in documents if not plan or document["config"].get(PLAN_MARK) == plan]
    if patterns:
        names, _missing = select((document["name"] for document in found), patterns)
        found = [document for document in found if document["name"] in names]
    return sorted(found, key=lambda document: (document["project"], document["name"]))


def _with_state(client: IncusClient, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document with state and snapshots; None for an instance that has gone meanwhile."""
    here = client.in_project(document["project"])
    found: dict[str, Any] | None = here.find(f"/instances/{document['name']}", recursion="1")
    return found


def facts_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """One instance. What was not asked for is None."""
    config: Mapping[str, str] = document["config"]
    return {
        "name": document["name"],
        "project": document["project"],
        "status": document["status"],
        "type": document["type"],
        "plan": config.get(PLAN_MARK, ""),
        "image": config.get(IMAGE_MARK) or config.get("image.description", ""),
        "profiles": document["profiles"],
        "description": document["description"],
        "config": hide_secrets(dict(config)),
        "devices": hide_secrets(document["devices"]),
        "location": document["location"],
        "created_at": document["created_at"],
        "metadata": hide_secrets(metadata_of(config)),
        **_state_facts(document.get("state"), document.get("snapshots")),
    }


def _state_facts(state: Mapping[str, Any] | None, snapshots: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    if state is None:
        return dict.fromkeys(("ipv4", "ipv6", "memory", "cpu_seconds", "processes", "snapshots"))
    memory = state.get("memory") or {}
    return {
        "ipv4": list(global_addresses(state, "inet")),
        "ipv6": list(global_addresses(state, "inet6")),
        "memory": {"usage": memory.get("usage", 0), "peak": memory.get("usage_peak", 0)},
        "cpu_seconds": round((state.get("cpu") or {}).get("usage", 0) / 1e9, 3),
        "processes": max(0, state.get("processes", 0)),
        "snapshots": [shown(observed(snapshot)) for snapshot in snapshots or ()],
    }
