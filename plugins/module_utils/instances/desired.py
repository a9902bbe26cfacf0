# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the plan's words to Incus's: configuration keys, devices and creation requests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .door import SET_BY_FIELD
from .marks import IMAGE_MARK, KEYS_MARK, PLAN_MARK
from .model import KINDS, Desired, Ref
from .spec import InstanceSpec, PlanSpec
from .world import World

STATUS = {"running": "Running", "stopped": "Stopped", "frozen": "Frozen", "absent": ""}
REMOTES = {
    "images": "https://images.linuxcontainers.org",
    "ubuntu": "https://cloud-images.ubuntu.com/releases",
    "ubuntu-daily": "https://cloud-images.ubuntu.com/daily",
}


def desired_resources(plan: PlanSpec, world: World, owner: str) -> list[Desired]:
    """Everything the plan wants, in the order of KINDS. ``owner`` is the mark to leave, if any."""
    found = [
        *_projects(plan, owner),
        *_networks(plan, world, owner),
        *_volumes(plan, world, owner),
        *_profiles(plan, world, owner),
        *(_instance(plan, name, spec, world, owner) for name, spec in plan.instances.items()),
    ]
    return sorted(found, key=lambda one: KINDS.index(one.ref.kind))


def bookkeeping(config: Mapping[str, str], devices: Mapping[str, Any], owner: str, **fields: Any) -> dict[str, str]:
    """The mark that says which plan owns a resource and what of it the plan has set.

    ``fields`` are the resource's own ones, such as its description; None means not set.
    """
    if not owner:
        return {}
    keys = [f"config:{key}" for key in sorted(config)] + [f"device:{name}" for name in sorted(devices)]
    keys += [f"field:{name}" for name in sorted(fields) if fields[name] is not None]
    return {PLAN_MARK: owner, KEYS_MARK: ",".join(keys) or "none"}


def _projects(plan: PlanSpec, owner: str) -> Iterator[Desired]:
    for name, spec in plan.projects.items():
        config = {**spec.config, **bookkeeping(spec.config, {}, owner, description=spec.description)}
        yield Desired(Ref("project", name), description=spec.description, config=config)


def _needs_project(plan: PlanSpec, project: str) -> frozenset[Ref]:
    return frozenset({Ref("project", project)} if project in plan.projects else ())


def _networks(plan: PlanSpec, world: World, owner: str) -> Iterator[Desired]:
    for name, spec in plan.networks.items():
        project = spec.project or plan.project
        yield Desired(
            world.ref("network", name, project),
            description=spec.description,
            config={**spec.config, **bookkeeping(spec.config, {}, owner, description=spec.description)},
            type=spec.type,
            needs=_needs_project(plan, project),
        )


def _volumes(plan: PlanSpec, world: World, owner: str) -> Iterator[Desired]:
    for name, spec in plan.storage_volumes.items():
        project = spec.project or plan.project
        config = {**spec.config, **({"size": spec.size} if spec.size else {})}
        yield Desired(
            world.ref("storage_volume", name, project, spec.pool),
            description=spec.description,
            config={**config, **bookkeeping(config, {}, owner, description=spec.description)},
            content_type=spec.content_type,
            target=spec.target,
            needs=_needs_project(plan, project),
        )


def _profiles(plan: PlanSpec, world: World, owner: str) -> Iterator[Desired]:
    for name, spec in plan.profiles.items():
        project = spec.project or plan.project
        yield Desired(
            world.ref("profile", name, project),
            description=spec.description,
            config={**spec.config, **bookkeeping(spec.config, spec.devices, owner, description=spec.description)},
            devices=spec.devices,
            needs=_needs_project(plan, project) | frozenset(_networks_of(plan, world, spec.devices)),
        )


def _networks_of(plan: PlanSpec, world: World, devices: Mapping[str, Mapping[str, str]]) -> Iterator[Ref]:
    for device in devices.values():
        spec = plan.networks.get(device.get("network", ""))
        if spec:
            yield world.ref("network", device["network"], spec.project or plan.project)


def _instance(plan: PlanSpec, name: str, spec: InstanceSpec, world: World, owner: str) -> Desired:
    project = spec.project or plan.project
    ref = Ref("instance", name, project)
    if spec.state == "absent":
        return Desired(ref, state="absent", needs=_instance_needs(plan, project, spec, {}, world))
    devices = _devices(plan, project, spec, world)
    config = _config(spec)
    marks = bookkeeping(config, devices, owner, description=spec.description, profiles=spec.profiles)
    if owner and spec.image:
        marks[IMAGE_MARK] = spec.image
    return Desired(
        ref,
        description=spec.description,
        config={**config, **marks},
        devices=devices,
        profiles=spec.profiles,
        status=STATUS[spec.state],
        image=spec.image,
        type=spec.type,
        target=spec.target,
        create={"source": _source(spec.image, world.aliases(project)), "ephemeral": spec.ephemeral},
        waits=spec.wait_for,
        wait_timeout=spec.wait_timeout,
        needs=_instance_needs(plan, project, spec, devices, world),
    )


def _config(spec: InstanceSpec) -> dict[str, str]:
    config = dict(spec.config)
    config.update({key: getattr(spec, field) for field, key in SET_BY_FIELD.items() if getattr(spec, field)})
    config.update({f"user.{key}": value for key, value in spec.metadata.items()})
    return config


def _devices(plan: PlanSpec, project: str, spec: InstanceSpec, world: World) -> dict[str, Mapping[str, str]]:
    devices: dict[str, Mapping[str, str]] = dict(spec.devices)
    below = profile_devices(plan, project, spec.profiles, world)
    if spec.disk or spec.pool:
        root = next((dict(device) for device in below.values() if is_root(device)), {"type": "disk", "path": "/"})
        root.update({key: value for key, value in (("size", spec.disk), ("pool", spec.pool)) if value})
        devices["root"] = root
    network = spec.network
    if network and (network.bridge or network.ipv4 != "auto"):
        nic = {"type": "nic", "name": "eth0", "network": network.bridge or below.get("eth0", {}).get("network", "")}
        if network.ipv4 != "auto":
            nic["ipv4.address"] = network.ipv4
        devices["eth0"] = nic
    for forward in network.forwards if network else ():
        listen, connect = forward.endpoints()
        devices[forward.device] = {"type": "proxy", "listen": listen, "connect": connect}
    for volume, path in spec.volumes.items():
        if volume in plan.storage_volumes:
            pool = plan.storage_volumes[volume].pool
            devices[volume] = {"type": "disk", "pool": pool, "source": volume, "path": path}
    return devices


def is_root(device: Mapping[str, str]) -> bool:
    return device.get("type") == "disk" and device.get("path") == "/"


def profile_devices(
    plan: PlanSpec, project: str, names: tuple[str, ...] | None, world: World
) -> dict[str, Mapping[str, str]]:
    """The devices that profiles bring, as they will be once the plan's own profiles are applied."""
    found: dict[str, Mapping[str, str]] = {}
    for name in names if names is not None else ("default",):
        ref = world.ref("profile", name, project)
        there = world.resources.get(ref)
        if there:
            found.update(there.devices)
        spec = plan.profiles.get(name)
        if spec and world.ref("profile", name, spec.project or plan.project) == ref:
            found.update(spec.devices)
    return found


def _instance_needs(
    plan: PlanSpec, project: str, spec: InstanceSpec, devices: Mapping[str, Mapping[str, str]], world: World
) -> frozenset[Ref]:
    """What must be there, of this plan, before the instance can be."""
    needs = set(_needs_project(plan, project)) | set(_networks_of(plan, world, devices))
    for name in spec.profiles if spec.profiles is not None else ("default",):
        profile = plan.profiles.get(name)
        ref = world.ref("profile", name, project)
        if profile and world.ref("profile", name, profile.project or plan.project) == ref:
            needs.add(ref)
    for device in devices.values():
        volume = plan.storage_volumes.get(device.get("source", "")) if device.get("pool") else None
        if volume:
            needs.add(world.ref("storage_volume", device["source"], volume.project or plan.project, volume.pool))
    for need in spec.depends_on:
        if need in plan.instances:
            needs.add(Ref("instance", need, plan.instances[need].project or plan.project))
    return frozenset(needs)


def _source(image: str, aliases: Mapping[str, str]) -> dict[str, str]:
    """Where the root filesystem comes from: a local alias if there is one, else the named remote."""
    if not image:
        return {}
    for alias in (image, image.replace(":", "/", 1)):
        if alias in aliases:
            return {"type": "image", "fingerprint": aliases[alias]}
    remote, colon, alias = image.partition(":")
    if colon and remote in REMOTES:
        return {"type": "image", "mode": "pull", "protocol": "simplestreams", "server": REMOTES[remote], "alias": alias}
    return {}
