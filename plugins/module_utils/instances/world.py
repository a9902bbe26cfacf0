# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes what the provider has, in a few calls, and keeps it for the pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..common.deadline import Deadline
from ..common.errors import Denied, RacksteadError
from .incus.client import IncusClient, Server
from .model import Observed, Ref
from .spec import PlanSpec

#: kind -> the project feature that gives a project things of its own, and its default for a new project
FEATURES = {
    "profile": ("features.profiles", "true"),
    "network": ("features.networks", "false"),
    "storage_volume": ("features.storage.volumes", "true"),
}
#: Statuses of a network on a cluster that was announced on members, but not made.
UNMADE = ("Pending", "Errored")
#: More instances than this are listed whole rather than asked for one by one.
FEW = 3


@dataclass
class World:
    """The provider's resources by Ref, its image aliases by project, and the names of its pools."""

    server: Server
    resources: dict[Ref, Observed] = field(default_factory=dict)
    images: dict[str, dict[str, str]] = field(default_factory=dict)
    pools: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    features: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def aliases(self, project: str) -> Mapping[str, str]:
        """Image alias -> fingerprint."""
        return self.images.get(project, {})

    def ref(self, kind: str, name: str, project: str, pool: str = "") -> Ref:
        """A Ref in the project where Incus really keeps it: projects may share the default's things."""
        feature, default = FEATURES.get(kind, ("", "true"))
        own = project == "default" or not feature or self.features.get(project, {}).get(feature, default) == "true"
        return Ref(kind, name, project if own else "default", pool)

    def of_kind(self, kind: str) -> Iterator[Observed]:
        return (found for ref, found in self.resources.items() if ref.kind == kind)


def projects_of(plan: PlanSpec) -> list[str]:
    """Every project that the plan touches, the plan's own first."""
    named = [spec.project for spec in plan.networks.values()]
    named += [spec.project for spec in plan.storage_volumes.values()]
    named += [spec.project for spec in plan.profiles.values()]
    named += [spec.project for spec in plan.instances.values()]
    return list(dict.fromkeys([plan.project, *(project or plan.project for project in named)]))


def observe(client: IncusClient, plan: PlanSpec, *, whole: bool = False, timeout: float = 300.0) -> World:
    """Look at everything the plan speaks of; ``whole``: at all there is in every project we see.

    Waits first for operations that an earlier, killed run has left going on the plan's instances,
    so that nothing half made is taken for the state of things.
    """
    world = World(client.server())
    if not world.server.trusted:
        raise Denied(
            "the server does not trust this client",
            where=f"Incus at {client.endpoint.label}",
            hint="enrol it with rackstead.infra.remote",
        )
    world.resources.update((found.ref, found) for found in _projects(client, plan))
    world.features.update({found.ref.name: found.config for found in world.of_kind("project")})
    for name, spec in plan.projects.items():
        world.features[name] = {**world.features.get(name, {}), **spec.config}
    world.pools = _pools(client, plan)
    if world.server.clustered:
        world.members = tuple(path.rsplit("/", 1)[1] for path in client.get("/cluster/members"))
    there = {found.ref.name for found in world.of_kind("project")}
    for project in projects_of(plan):
        if project not in there and project in plan.projects:
            _foresee_project(client, project, world)
    for project in dict.fromkeys([*projects_of(plan), *(sorted(there) if whole else ())]):
        if project in there:
            here = client.in_project(project)
            settle(here, _names(plan, project), timeout)
            _observe_project(here, plan, world, whole)
    return world


def _pools(client: IncusClient, plan: PlanSpec) -> tuple[str, ...]:
    """Names of the storage pools. Incus shows a restricted certificate each pool, but not the list of them:
    then those are looked up that the plan or a profile names.
    """
    try:
        return tuple(path.rsplit("/", 1)[1] for path in client.get("/storage-pools"))
    except Denied:
        here = [client.in_project(name).find("/profiles", recursion="1") or () for name in projects_of(plan)]
        there = [entry for entries in here for entry in entries]
        groups = [*(entry["devices"] for entry in there), *(spec.devices for spec in plan.profiles.values())]
        groups += [spec.devices for spec in plan.instances.values()]
        named = [device.get("pool", "") for devices in groups for device in devices.values()]
        named += [spec.pool for spec in plan.instances.values()]
        named += [volume.pool for volume in plan.storage_volumes.values()]
        return tuple(name for name in dict.fromkeys(named) if name and client.find(f"/storage-pools/{name}"))


def _foresee_project(client: IncusClient, project: str, world: World) -> None:
    """What a project that the plan makes comes with: an empty profile ``default``, or the default project's things."""
    profile = world.ref("profile", "default", project)
    world.resources.setdefault(profile, Observed(profile))
    if world.features[project].get("features.images") == "false":
        world.images[project] = _aliases(client.in_project("default"))


def _names(plan: PlanSpec, project: str) -> list[str]:
    return [name for name, spec in plan.instances.items() if (spec.project or plan.project) == project]


def settle(client: IncusClient, names: Iterable[str], timeout: float) -> None:
    """Wait until no operation goes on on these instances, however each may end."""
    wanted = set(names)
    deadline = Deadline(timeout)
    for operation in client.operations():
        touched = {
            path.split("?", 1)[0].rsplit("/", 1)[-1] for path in (operation.get("resources") or {}).get("instances", ())
        }
        if operation["class"] == "task" and touched & wanted:
            try:
                client.wait(operation["id"], deadline.remaining())
            except RacksteadError:
                continue  # how it ended shows in what is observed next


def _projects(client: IncusClient, plan: PlanSpec) -> Iterator[Observed]:
    try:
        found = client.get("/projects", recursion="1")
    except Denied:  # a restricted certificate may see its own projects only
        found = [entry for name in projects_of(plan) if (entry := client.find(f"/projects/{name}"))]
    for entry in found:
        yield Observed(Ref("project", entry["name"]), entry["description"], entry["config"])


def _observe_project(client: IncusClient, plan: PlanSpec, world: World, whole: bool) -> None:
    project = client.project
    names = _names(plan, project)
    found: list[Observed] = []
    if whole or len(names) > FEW or _claims_something(plan):
        found.extend(observed_instance(entry, project) for entry in client.get("/instances", recursion="1"))
    else:
        entries = (client.find(f"/instances/{name}") for name in names)
        found.extend(observed_instance(entry, project) for entry in entries if entry)
    for entry in client.get("/profiles", recursion="1"):
        ref = world.ref("profile", entry["name"], project)
        found.append(Observed(ref, entry["description"], entry["config"], entry["devices"]))
    # Incus goes through all instances for every network, which takes longer than all the rest.
    for entry in client.get("/networks", recursion="1") if whole or _speaks_of_networks(plan) else ():
        if entry["managed"] and entry.get("status") not in UNMADE:
            ref = world.ref("network", entry["name"], project)
            found.append(Observed(ref, entry["description"], entry["config"], type=entry["type"], status=""))
    pools = world.pools if whole else {spec.pool for spec in plan.storage_volumes.values()} & set(world.pools)
    for pool in sorted(pools):
        for entry in client.get(f"/storage-pools/{pool}/volumes/custom", recursion="1"):
            found.append(_volume(entry, world.ref("storage_volume", entry["name"], project, pool)))
    world.resources.update((one.ref, one) for one in found)
    world.images[project] = _aliases(client)


def _claims_something(plan: PlanSpec) -> bool:
    """Whether an instance of the plan wants what any other may have: a fixed address, a port of the host."""
    networks = [spec.network for spec in plan.instances.values() if spec.network]
    devices = [device for spec in plan.instances.values() for device in spec.devices.values()]
    return any(one.forwards or one.ipv4 != "auto" for one in networks) or any(
        "ipv4.address" in device or device.get("type") == "proxy" for device in devices
    )


def _speaks_of_networks(plan: PlanSpec) -> bool:
    """Whether the plan has, or refers to, any network."""
    devices = [*(spec.devices for spec in plan.profiles.values()), *(spec.devices for spec in plan.instances.values())]
    named = any("network" in device for group in devices for device in group.values())
    return bool(plan.networks) or named or any(spec.network for spec in plan.instances.values())


def _aliases(client: IncusClient) -> dict[str, str]:
    return {entry["name"]: entry["target"] for entry in client.get("/images/aliases", recursion="1")}


def observed_instance(entry: Mapping[str, Any], project: str) -> Observed:
    return Observed(
        ref=Ref("instance", entry["name"], project),
        description=entry["description"],
        config=entry["config"],
        devices=entry["devices"],
        profiles=tuple(entry["profiles"]),
        status=entry["status"],
        type=entry["type"],
        location=entry["location"],
    )


def _volume(entry: Mapping[str, Any], ref: Ref) -> Observed:
    return Observed(
        ref, entry["description"], entry["config"], content_type=entry["content_type"], location=entry["location"]
    )
