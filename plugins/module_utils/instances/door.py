# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door: a parsed YAML document in, a checked PlanSpec out, or every fault of it at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ..common.kinds import BAD, read_spec
from ..common.problems import Problems, nearest
from .marks import MARK
from .spec import InstanceSpec, PlanSpec

#: field of InstanceSpec -> configuration key that it sets
SET_BY_FIELD = {
    "memory": "limits.memory",
    "cpus": "limits.cpu",
    "cloud_init": "cloud-init.user-data",
    "vendor_data": "cloud-init.vendor-data",
    "network_config": "cloud-init.network-config",
}


def read_plan(document: Any, problems: Problems, *, name: str = "", project: str = "") -> PlanSpec:
    """Read a plan. ``name`` and ``project`` stand in where the document gives none.

    Faults go to ``problems``; the plan that comes back holds what is good, for further checks.
    Raises InvalidInput where the document is no plan at all.
    """
    if isinstance(document, Mapping) and document.get("defaults"):
        document = _with_defaults(document, problems)
    plan = read_spec(PlanSpec, {} if document is None else document, "", problems)
    if plan is BAD:
        problems.raise_if_any()
    plan = dataclasses.replace(plan, name=plan.name or name, project=plan.project or project or "default")
    for check in (_check_instances, _check_dependencies, _check_addresses, _check_forwards):
        for path, what, allowed in check(plan):
            problems.add(path, what, allowed)
    return plan


def _with_defaults(document: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The document with ``defaults`` merged below each instance; mappings merge, all else is replaced."""
    defaults = document["defaults"]
    faults = len(problems.lines)
    read_spec(InstanceSpec, defaults, "defaults", problems)
    if len(problems.lines) > faults:  # told once, not again for each instance; what is good still counts
        whole = defaults if isinstance(defaults, Mapping) else {}
        defaults = {key: value for key, value in whole.items() if _is_good(key, value)}
    merged = {key: value for key, value in document.items() if key != "defaults"}
    instances = document.get("instances")
    if isinstance(defaults, Mapping) and isinstance(instances, Mapping):
        merged["instances"] = {
            name: _merge(defaults, own) if own is None or isinstance(own, Mapping) else own
            for name, own in instances.items()
        }
    return merged


def _is_good(key: str, value: Any) -> bool:
    """Whether an instance could have this field with this value."""
    faults = Problems()
    read_spec(InstanceSpec, {key: value}, "", faults)
    return not faults.lines


def _merge(defaults: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in (own or {}).items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = {**below, **value} if both and key not in SET_BY_FIELD else value  # type: ignore[dict-item]
    return merged


Fault = tuple[str, str, str]


def _check_instances(plan: PlanSpec) -> Iterator[Fault]:
    for name, spec in plan.instances.items():
        path = f"instances.{name}"
        for field, key in SET_BY_FIELD.items():
            if getattr(spec, field) and key in spec.config:
                yield f"{path}.config.{key}", f"is set by {field} already", f"one of {field} and config.{key}"
        for key in spec.config:
            if key.startswith(("volatile.", "image.", MARK)):
                yield f"{path}.config.{key}", "is kept by Incus or by this collection", "any other key"
        for key in spec.metadata:
            if f"user.{key}" in spec.config or key.startswith("rackstead."):
                yield (
                    f"{path}.metadata.{key}",
                    "is set twice, or reserved",
                    f"one of metadata.{key} and config.user.{key}",
                )
        for volume in spec.volumes:
            if volume not in plan.storage_volumes:
                hint = nearest(volume, plan.storage_volumes)
                yield (
                    f"{path}.volumes.{volume}",
                    f"is not in storage_volumes{hint}",
                    "a volume of this plan, or a disk under devices",
                )
        for device in sorted(set(spec.devices) & _made_devices(spec)):
            yield f"{path}.devices.{device}", "is made from network, volumes or disk already", "another device name"


def _made_devices(spec: InstanceSpec) -> set[str]:
    """Names of the devices that other fields of the instance make."""
    made = set(spec.volumes)
    if spec.network:
        made.update(forward.device for forward in spec.network.forwards)
        if spec.network.bridge or spec.network.ipv4 != "auto":
            made.add("eth0")
    if spec.disk or spec.pool:
        made.add("root")
    return made


def _check_dependencies(plan: PlanSpec) -> Iterator[Fault]:
    graph = {name: spec.depends_on for name, spec in plan.instances.items()}
    for name, needs in graph.items():
        for need in needs:
            if need not in graph:
                yield (
                    f"instances.{name}.depends_on",
                    f'"{need}" is not in this plan{nearest(need, graph)}',
                    "instances of this plan",
                )
            elif plan.instances[need].state != "running" and plan.instances[name].state == "running":
                yield (
                    f"instances.{name}.depends_on",
                    f'"{need}" is to be {plan.instances[need].state}',
                    "instances that run",
                )
    cycle = find_cycle(graph)
    if cycle:
        yield (
            f"instances.{cycle[0]}.depends_on",
            f"goes in a circle: {' -> '.join(cycle)}",
            "dependencies without a circle",
        )


def find_cycle(graph: Mapping[str, tuple[str, ...]]) -> list[str]:
    """One cycle as a path that ends where it began, or nothing."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            path, stack = [start], [(start, iter(graph[start]))]
        while stack:
            node, needs = stack[-1]
            need = next(needs, None)
            if need is None:
                done.add(node)
                stack.pop()
                path.pop()
            elif need in path:
                return [*path[path.index(need) :], need]
            elif need in graph and need not in done:
                path.append(need)
                stack.append((need, iter(graph[need])))
    return []


def _check_addresses(plan: PlanSpec) -> Iterator[Fault]:
    seen: dict[tuple[str, str, str], str] = {}
    for name, spec in plan.instances.items():
        if spec.network is None or spec.network.ipv4 == "auto" or spec.state == "absent":
            continue
        key = (spec.project or plan.project, spec.network.bridge, spec.network.ipv4)
        if key in seen:
            yield (
                f"instances.{name}.network.ipv4",
                f"{key[2]} is taken by instance {seen[key]}",
                "an address of its own",
            )
        seen.setdefault(key, name)


def _check_forwards(plan: PlanSpec) -> Iterator[Fault]:
    seen: dict[tuple[str, str], str] = {}
    for name, spec in plan.instances.items():
        for index, forward in enumerate(spec.network.forwards if spec.network else ()):
            port = forward.endpoints()[0].split(":", 1)[1].rpartition(":")[2]
            path = f"instances.{name}.network.forwards[{index}].listen"
            key = (forward.protocol, port)
            if key in seen and spec.state != "absent":
                yield path, f"port {port} is forwarded to instance {seen[key]} already", "a port of its own"
            seen.setdefault(key, name)
