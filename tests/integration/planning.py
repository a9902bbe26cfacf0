# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan task in this process, on a real daemon, and what the daemon shows of it in raw answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.plantask import OPTIONS, request_of, run_plan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.progress import Event, Progress

#: Seed of everything that is drawn at random; another one by the environment.
SEED = int(os.environ.get("RACKSTEAD_TEST_SEED", "2"))
Raw = dict[tuple[str, str], dict[str, Any]]


def run(
    client: IncusClient,
    plan: Mapping[str, Any],
    *,
    check: bool = False,
    told: list[Event] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The plan task's result. Raises the core's errors, as the task turns them into a failure."""
    params = {**{name: option.get("default") for name, option in OPTIONS.items()}, "plan": plan, **options}
    progress = Progress(told.append if told is not None else None)
    return run_plan(request_of(params, client), client, check=check, progress=progress)


def applied(client: IncusClient, plan: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """As ``run``, for what must go well."""
    result = run(client, plan, **options)
    assert not result.get("failed"), result["msg"]
    return result


def refusal(client: IncusClient, plan: Mapping[str, Any], **options: Any) -> str:
    """Why the task refuses to start."""
    try:
        result = run(client, plan, **options)
    except RacksteadError as error:
        return str(error)
    raise AssertionError(f"not refused: {result['summary']}")


def actions_of(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """Actions by the names of the resources that have some."""
    return {entry["name"]: entry["actions"] for entry in result["resources"] if entry["actions"]}


def entry_of(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in result["resources"] if entry["name"] == name)
    return found


def raw(client: IncusClient, *networks: str) -> Raw:
    """All of a project as the daemon shows it, by kind and name, and those of the ``networks`` that are there."""
    paths = {
        "instance": "/instances",
        "profile": "/profiles",
        "storage_volume": "/storage-pools/default/volumes/custom",
    }
    found = {
        (kind, entry["name"]): _own(entry) for kind, path in paths.items() for entry in client.get(path, recursion="1")
    }
    # Incus looks through all instances to answer for a network: it is asked only about those that are there.
    there = {path.rpartition("/")[2] for path in client.get("/networks")}
    found.update({("network", name): _own(client.get(f"/networks/{name}")) for name in there.intersection(networks)})
    return found


def _own(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody set of a resource, without what the daemon keeps for itself."""
    kept = ("status", "description", "profiles", "devices", "type", "content_type", "location", "ephemeral")
    config = {k: v for k, v in entry["config"].items() if not k.startswith(("volatile.", "image."))}
    return {"config": config, **{key: entry[key] for key in kept if key in entry}}
