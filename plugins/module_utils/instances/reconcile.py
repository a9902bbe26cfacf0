# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what to do: desired against observed, giving one Change a resource. Pure, no call is made.

Check mode, the diff, a saved plan and the real run all show and use what this computes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ..common.problems import Problems, nearest
from .claims import contested, handovers
from .desired import is_root
from .door import find_cycle
from .marks import IMAGE_MARK, KEYS_MARK, PLAN_MARK
from .model import KINDS, LIVE_STATES, Change, Desired, Devices, Observed, Ref, View, view
from .world import World

V = TypeVar("V")
#: What Incus gives an instance for which no profiles are named.
DEFAULT_PROFILES = ("default",)
#: Keys of containers that Incus stores at once but that count only from the next start on.
RESTART_PREFIXES = (
    "cloud-init.",
    "limits.kernel.",
    "nvidia.",
    "raw.",
    "security.idmap.",
    "security.nesting",
    "security.privileged",
    "security.syscalls.",
)
#: Keys that a running virtual machine takes at once; all others need it stopped.
VM_LIVE_PREFIXES = ("user.", "limits.memory", "limits.cpu", "boot.", "cluster.", "snapshots.", "security.protection.")


@dataclass(frozen=True)
class Policy:
    """How the user wants changes made. ``owner`` is the plan's mark, empty for single modules."""

    owner: str = ""
    state: str = "present"
    on_change: str = "refuse"
    adopt: bool = False
    prune: bool = False


def compute(desired: Iterable[Desired], world: World, policy: Policy, problems: Problems) -> list[Change]:
    """Changes for everything desired (and pruned). What cannot be done is added to ``problems``."""
    wanted = list(desired)
    changes = [_change(one, world.resources.get(one.ref), policy, problems) for one in wanted]
    if policy.prune and policy.owner:
        changes.extend(_pruned(world, {one.ref for one in wanted}, policy.owner))
    if policy.state == "present":
        _check_references(world, changes, wanted, problems)
    return changes


def owner_of(observed: Observed) -> str:
    return observed.config.get(PLAN_MARK, "")


def _change(desired: Desired, observed: Observed | None, policy: Policy, problems: Problems) -> Change:
    """One resource's change. Problems are added, never raised."""
    if policy.state == "absent" or desired.state == "absent":
        return _absent(desired, observed, policy)
    if policy.state in ("started", "stopped"):
        return _power(desired, observed, policy, problems)
    if observed is None:
        return _create(desired)
    where = str(desired.ref)
    owner = owner_of(observed)
    if desired.ref.kind == "instance" and policy.owner and owner != policy.owner and not policy.adopt:
        whose = f"belongs to plan {owner}" if owner else "exists already and belongs to no plan"
        problems.add(where, f"the name is taken: it {whose}", "another name, or adopt=true to take it over")
        return Change(desired.ref)
    if desired.ref.kind != "instance" and policy.owner and owner != policy.owner:
        desired = _shared(desired, policy.owner)
    return _update(desired, observed, policy, problems)


def _shared(desired: Desired, plan: str) -> Desired:
    """A profile, network, volume or project that was there before is amended, but never becomes ours.

    What we set on it is booked under a key of our plan's own, since other plans may amend it too.
    """
    config = {key: value for key, value in desired.config.items() if key != PLAN_MARK}
    config[f"{KEYS_MARK}.{plan}"] = config.pop(KEYS_MARK)
    return replace(desired, config=config)


def _keys_mark(desired: Desired) -> str:
    """The configuration key under which the plan books what it sets, if it does."""
    return next((key for key in desired.config if key.startswith(KEYS_MARK)), "")


# -- absent and power ---------------------------------------------------------------------------------
def _absent(desired: Desired, observed: Observed | None, policy: Policy) -> Change:
    if observed is None:
        return Change(desired.ref, desired=desired)
    if policy.owner and owner_of(observed) != policy.owner:
        note = f"left alone: it was not made by plan {policy.owner}"
        return Change(desired.ref, (), shown(observed), shown(observed), (note,), desired, observed)
    return _delete(observed, desired)


def _delete(observed: Observed, desired: Desired | None = None) -> Change:
    return Change(observed.ref, ("delete",), shown(observed), None, (), desired, observed)


def _pruned(world: World, wanted: set[Ref], owner: str) -> Iterator[Change]:
    for kind in reversed(KINDS):
        for observed in world.of_kind(kind):
            if owner_of(observed) == owner and observed.ref not in wanted:
                yield _delete(observed)


def _power(desired: Desired, observed: Observed | None, policy: Policy, problems: Problems) -> Change:
    """States started and stopped touch nothing but whether the plan's own instances run."""
    if desired.ref.kind != "instance":
        return Change(desired.ref, desired=desired, observed=observed)
    if observed is None:
        if policy.state == "started":
            problems.add(str(desired.ref), "does not exist", "instances that were applied before (state present)")
        return Change(desired.ref, desired=desired)
    if policy.owner and owner_of(observed) != policy.owner:
        return Change(
            desired.ref,
            (),
            {"status": observed.status},
            {"status": observed.status},
            ("left alone: it belongs to no plan of ours",),
            None,
            observed,
        )
    status = "Running" if policy.state == "started" else "Stopped"
    actions = transition(observed.status, status)
    return Change(desired.ref, actions, {"status": observed.status}, {"status": status}, (), desired, observed)


def transition(now: str, then: str) -> tuple[str, ...]:
    """The actions from one status to another."""
    if not then or now == then:
        return ()
    steps = {
        ("Stopped", "Running"): ("start",),
        ("Frozen", "Running"): ("unfreeze",),
        ("Running", "Frozen"): ("freeze",),
        ("Stopped", "Frozen"): ("start", "freeze"),
    }
    if then == "Stopped":
        return ("unfreeze", "stop") if now == "Frozen" else ("stop",)
    return steps.get((now, then), ("stop", "start") if then == "Running" else ("stop", "start", "freeze"))


# -- present ------------------------------------------------------------------------------------------
def _create(desired: Desired) -> Change:
    after = view(
        _set(_visible(desired.config)),
        desired.devices,
        desired.profiles,
        desired.description or None,
        desired.status,
        type=desired.type,
        image=desired.image,
        content_type=desired.content_type,
    )
    actions = ("create", *transition("Stopped", desired.status))
    return Change(desired.ref, actions, None, after, (), desired, None)


def _update(desired: Desired, observed: Observed, policy: Policy, problems: Problems) -> Change:
    removes = _removed(desired, observed)
    config = {key: value for key, value in observed.config.items() if f"config:{key}" not in removes}
    for key, value in desired.config.items():
        if not same_value(desired.ref.kind, key, value, observed.config.get(key)):
            config[key] = value
    config = _set(config)
    devices = {name: device for name, device in observed.devices.items() if f"device:{name}" not in removes}
    devices.update(desired.devices)
    profiles = _field(desired.profiles, observed.profiles, "field:profiles" in removes, DEFAULT_PROFILES)
    description = _field(desired.description, observed.description, "field:description" in removes, "")
    moved = (config, devices, profiles, description) != (
        dict(observed.config),
        dict(observed.devices),
        observed.profiles,
        observed.description,
    )
    _check_fixed(desired, observed, problems)
    actions, notes = _update_actions(desired, observed, config, devices, moved, policy, problems)
    keys, names = _spoken_of(desired, removes)
    told = None if desired.profiles is None and "field:profiles" not in removes else profiles
    spoken = desired.description is not None or "field:description" in removes
    before = view(
        _pick(observed.config, keys),
        _pick(observed.devices, names),
        None if told is None else observed.profiles,
        observed.description if spoken else None,
        observed.status,
        type=observed.type,
        content_type=observed.content_type,
    )
    after = view(
        _pick(config, keys),
        _pick(devices, names),
        told,
        description if spoken else None,
        desired.status or observed.status,
        type=observed.type,
        content_type=observed.content_type,
    )
    if actions == ("update",) and before == after:
        notes = (*notes, "only what the plan remembers of it changes")
    return Change(desired.ref, actions, before, after, notes, desired, observed, tuple(sorted(removes)))


def _update_actions(
    desired: Desired,
    observed: Observed,
    config: Mapping[str, str],
    devices: Mapping[str, Mapping[str, str]],
    moved: bool,
    policy: Policy,
    problems: Problems,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    power = transition(observed.status, desired.status)
    if not moved:
        return power, ()
    if desired.status == "Stopped":  # nothing need be changed under a running instance then
        return (*power, "update"), ()
    late = _late_keys(observed, config, devices)
    if not late or observed.status not in LIVE_STATES:
        return ("update", *power), ()
    names = ", ".join(late)
    if policy.on_change == "refuse":
        problems.add(
            str(desired.ref),
            f"{names} would count only after a restart",
            "on_change=restart (restarts it), on_change=never (stores it for the next start)",
        )
        return (), ()
    if policy.on_change == "never" and observed.type != "virtual-machine":
        return ("update", *power), (f"counts from the next start on: {names}",)
    if policy.on_change == "never":
        problems.add(str(desired.ref), f"{names} cannot change while the virtual machine runs", "on_change=restart")
    final = desired.status or observed.status
    return (*transition(observed.status, "Stopped"), "update", *transition("Stopped", final)), (
        f"restarted for: {names}",
    )


def _late_keys(observed: Observed, config: Mapping[str, str], devices: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Changed keys and devices that do not take effect while the instance runs."""
    changed = [key for key in sorted({*config, *observed.config}) if config.get(key) != observed.config.get(key)]
    if observed.type == "virtual-machine":
        late = [f"config.{key}" for key in changed if not key.startswith(VM_LIVE_PREFIXES)]
        names = sorted({*devices, *observed.devices})
        return late + [
            f"devices.{name}"
            for name in names
            if is_root(devices.get(name, {})) and devices.get(name) != observed.devices.get(name)
        ]
    return [f"config.{key}" for key in changed if key.startswith(RESTART_PREFIXES)]


def _removed(desired: Desired, observed: Observed) -> frozenset[str]:
    """What this plan set earlier and no longer names, as ``config:key``, ``device:name`` and ``field:name``."""
    booked = observed.config.get(_keys_mark(desired), "")
    ours = {entry for entry in booked.split(",") if entry}
    wanted = {f"config:{key}" for key in desired.config} | {f"device:{name}" for name in desired.devices}
    there = {f"config:{key}" for key in observed.config} | {f"device:{name}" for name in observed.devices}
    if desired.description is None and observed.description:
        there.add("field:description")
    if desired.profiles is None and observed.profiles != DEFAULT_PROFILES:
        there.add("field:profiles")
    return frozenset((ours - wanted) & there)


def _field(wanted: V | None, there: V, dropped: bool, default: V) -> V:
    """What a field will be: as wanted, else as it is, unless the plan set it earlier and dropped it since."""
    if wanted is not None:
        return wanted
    return default if dropped else there


def _spoken_of(desired: Desired, removes: Iterable[str]) -> tuple[set[str], set[str]]:
    """The configuration keys and device names that the plan sets or removes."""
    parts = [entry.split(":", 1) for entry in removes]
    keys = {*_visible(desired.config), *(name for kind, name in parts if kind == "config")}
    return keys, {*desired.devices, *(name for kind, name in parts if kind == "device")}


def _visible(config: Mapping[str, str]) -> dict[str, str]:
    """Configuration without the bookkeeping that would blur a diff."""
    return {key: value for key, value in config.items() if not key.startswith(KEYS_MARK)}


def _set(config: Mapping[str, str]) -> dict[str, str]:
    """Configuration without empty values: to Incus they mean "not set"."""
    return {key: value for key, value in config.items() if value != ""}


def _pick(values: Mapping[str, V], keys: Iterable[str]) -> dict[str, V]:
    return {key: values[key] for key in keys if key in values}


def shown(observed: Observed) -> View:
    """All of a resource that somebody set: what is lost when it goes."""
    config = {k: v for k, v in _visible(observed.config).items() if not k.startswith(("volatile.", "image."))}
    profiles = observed.profiles or None
    return view(
        config,
        observed.devices,
        profiles,
        observed.description or None,
        observed.status,
        type=observed.type,
        content_type=observed.content_type,
    )


def same_value(kind: str, key: str, wanted: str, there: str | None) -> bool:
    """Whether a wanted value is met. Incus replaces a network's ``auto`` by the address it chose."""
    if kind == "network" and wanted == "auto" and key in ("ipv4.address", "ipv6.address"):
        return there not in (None, "", "none")
    return (wanted or None) == there


# -- what cannot be done ------------------------------------------------------------------------------
def _check_fixed(desired: Desired, observed: Observed, problems: Problems) -> None:
    """Say what cannot change on a resource that exists."""
    pairs = [("type", desired.type, observed.type), ("content_type", desired.content_type, observed.content_type)]
    pairs.append(("image", desired.image, observed.config.get(IMAGE_MARK, "")))
    for what, wanted, there in pairs:
        _refuse_move(desired.ref, what, there, wanted, problems)


def _refuse_move(ref: Ref, what: str, there: str, wanted: str, problems: Problems) -> None:
    if wanted and there and wanted != there:
        again = "delete it first, or use another name"
        problems.add(str(ref), f"{what} cannot change in place from {there} to {wanted}", again)


def _check_pool(world: World, desired: Desired, observed: Observed, problems: Problems) -> None:
    """The root disk stays in its pool, be it the instance's own device or a profile's."""
    refs = [world.ref("profile", name, observed.ref.project) for name in observed.profiles]
    layers = [world.resources[ref].devices for ref in refs if ref in world.resources]
    there = _root_pool([*layers, observed.devices])
    _refuse_move(desired.ref, "disk pool", there, _root_pool([desired.devices]), problems)


def _root_pool(layers: Iterable[Devices]) -> str:
    """The pool of the root disk in layers of devices, of which later ones count more."""
    pools = [device.get("pool", "") for devices in layers for device in devices.values() if is_root(device)]
    return pools[-1] if pools else ""


@dataclass(frozen=True)
class _Scene:
    """What will be there once the plan is applied: references are checked against it."""

    world: World
    there: frozenset[Ref]
    subnets: Mapping[Ref, str]

    @classmethod
    def of(cls, world: World, changes: Iterable[Change], wanted: Iterable[Desired]) -> _Scene:
        there = {*world.resources, *(one.ref for one in wanted if one.state != "absent")}
        subnets = {one.ref: one.config.get("ipv4.address", "") for one in world.of_kind("network")}
        for change in changes:
            if change.ref.kind == "network" and change.desired:
                subnets[change.ref] = change.desired.config.get("ipv4.address", subnets.get(change.ref, ""))
        return cls(world, frozenset(there), subnets)

    def names(self, kind: str, projects: Container[str]) -> list[str]:
        return sorted(ref.name for ref in self.there if ref.kind == kind and ref.project in projects)

    def network(self, name: str, project: str) -> Ref | None:
        """The bridge that instances of a project reach under a name."""
        return next((ref for ref in (Ref("network", name, project), Ref("network", name)) if ref in self.there), None)


def _check_references(world: World, changes: list[Change], wanted: list[Desired], problems: Problems) -> None:
    """Check that everything the changes refer to is there, or will be."""
    scene = _Scene.of(world, changes, wanted)
    for change in changes:
        desired = change.desired
        if desired is not None and "delete" not in change.actions and desired.state != "absent":
            _check_against(scene, change, desired, problems)
    _check_claims(scene, changes, problems)


def _check_against(scene: _Scene, change: Change, desired: Desired, problems: Problems) -> None:
    where, pools = str(change.ref), scene.world.pools
    if change.ref.kind != "project" and Ref("project", change.ref.project) not in scene.there:
        names = sorted(ref.name for ref in scene.there if ref.kind == "project")
        problems.add(where, f'project "{change.ref.project}" does not exist', ", ".join(names))
        return
    if change.ref.pool and change.ref.pool not in pools:
        problems.add(where, f'storage pool "{change.ref.pool}" does not exist', ", ".join(pools) or "none is there")
    if change.ref.kind == "instance":
        _check_instance(scene, change, desired, problems)
    for name, device in desired.devices.items():
        _check_device(scene, change, name, device, problems)


def _check_instance(scene: _Scene, change: Change, desired: Desired, problems: Problems) -> None:
    where, world = str(change.ref), scene.world
    if change.observed:
        _check_pool(world, desired, change.observed, problems)
    for name in desired.profiles or ():
        home = world.ref("profile", name, change.ref.project)
        if home not in scene.there:
            known = scene.names("profile", (home.project,))
            problems.add(
                f"{where}.profiles", f'profile "{name}" does not exist{nearest(name, known)}', ", ".join(known)
            )
    if desired.type == "virtual-machine" and not world.server.vm_support:
        problems.add(
            f"{where}.type",
            "this host cannot run virtual machines (Incus reports no qemu driver: no KVM or vhost_vsock)",
            "container",
        )
    if desired.target and not world.server.clustered:
        problems.add(f"{where}.target", f'"{desired.target}" is given, but the server is not a cluster', "no target")
    elif desired.target and not desired.target.startswith("@") and desired.target not in world.members:
        problems.add(f"{where}.target", f'member "{desired.target}" does not exist', ", ".join(world.members))
    if "create" in change.actions and not desired.create.get("source"):
        known = sorted(world.aliases(change.ref.project))
        what = f'image "{desired.image}" does not exist' if desired.image else "has no image, and does not exist yet"
        allowed = (
            f"{', '.join(known) or 'no image is there'}, or remote:alias; rackstead.infra.image gets or builds one"
        )
        problems.add(f"{where}.image", what + nearest(desired.image, known), allowed)


def _check_device(scene: _Scene, change: Change, name: str, device: Mapping[str, str], problems: Problems) -> None:
    """A device's pool and network must exist, and its fixed address must lie in the network's subnet."""
    path, project = f"{change.ref}.devices.{name}", change.ref.project
    pool, network, address = device.get("pool"), device.get("network"), device.get("ipv4.address")
    if pool and pool not in scene.world.pools:
        problems.add(path, f'storage pool "{pool}" does not exist', ", ".join(scene.world.pools))
    if network is None:
        return
    home = scene.network(network, project)
    if home is None:
        known = scene.names("network", (project, "default"))
        hint = nearest(network, known)
        problems.add(path, f'network "{network}" does not exist{hint}', ", ".join(known) or "none is there")
    elif address and "/" in scene.subnets.get(home, ""):
        bridge = ipaddress.ip_interface(scene.subnets[home])
        if ipaddress.ip_address(address) not in bridge.network:
            problems.add(path, f"{address} is not in {network}'s subnet", str(bridge.network))
        elif address == str(bridge.ip):
            problems.add(path, f"{address} is the bridge's own address", f"another one in {bridge.network}")


def _check_claims(scene: _Scene, changes: list[Change], problems: Problems) -> None:
    """Nothing may be given twice, and nothing may go round in a circle of instances at once."""
    for ref, device, claim, holder in contested(changes, scene.world.of_kind("instance")):
        told = any(line.startswith(f"instances.{ref.name}.network.ipv4: ") for line in problems.lines)
        apart = scene.network(claim.place, ref.project) != scene.network(claim.place, holder.project)
        if claim.kind == "port" or not (told or apart):
            article = "an address" if claim.kind == "address" else "a port"
            problems.add(f"{ref}.devices.{device}", f"{claim.value} is taken by {holder}", f"{article} of its own")
    givers: dict[str, tuple[str, ...]] = {}
    for claim, giver, taker in handovers(changes):
        if claim.exclusive:
            givers[str(taker)] = (*givers.get(str(taker), ()), str(giver))
    circle = find_cycle(givers)
    if circle:
        problems.add(
            circle[0], f"addresses or ports go round in a circle: {' <- '.join(circle)}", "to free one of them first"
        )
