# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialises an Incus daemon: a pool, a bridge, the default profile and the API's address.

Only what is missing is made. What somebody configured already is kept, and said; with
``reconfigure`` it is brought to what was asked for.
"""

from __future__ import annotations

import ipaddress
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.errors import Conflict, OperationFailed, RacksteadError
from ..common.units import format_size
from .incus.client import IncusClient

PROFILE = "default"
API_PORT = 8443
ROUTES = Path("/proc/net/route")
#: A pool with less room than this holds no instance worth the name.
LEAST_FREE = 512 * 1024**2

Device = Mapping[str, str]


@dataclass(frozen=True)
class Pool:
    """The storage pool. ``source`` is a device, dataset or folder, ``size`` the size of a loop file."""

    name: str = "default"
    driver: str = "dir"
    source: str = ""
    size: str = ""

    def config(self) -> dict[str, str]:
        return {key: value for key, value in (("source", self.source), ("size", self.size)) if value}


@dataclass(frozen=True)
class Bridge:
    """The network. An address is ``auto``, ``none`` or the bridge's own in CIDR notation."""

    name: str = "incusbr0"
    ipv4: str = "auto"
    ipv6: str = "none"
    nat: bool = True

    def config(self) -> dict[str, str]:
        config = {"ipv4.address": self.ipv4, "ipv6.address": self.ipv6}
        for family, address in (("ipv4", self.ipv4), ("ipv6", self.ipv6)):
            if address != "none":
                config[f"{family}.nat"] = "true" if self.nat else "false"
        return config


@dataclass(frozen=True)
class Desired:
    """What a provider is to have. An empty ``https_address`` asks nothing of the API's address."""

    pool: Pool = field(default_factory=Pool)
    bridge: Bridge = field(default_factory=Bridge)
    https_address: str = ""
    reconfigure: bool = False


@dataclass(frozen=True)
class Observed:
    """What the daemon has: ``pool`` and ``network`` are None where it knows no such name."""

    pool: dict[str, Any] | None = None
    network: dict[str, Any] | None = None
    profile: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    clustered: bool = False

    def devices(self) -> dict[str, dict[str, str]]:
        return dict(self.profile.get("devices") or {})

    def root(self) -> str | None:
        """Name of the default profile's root disk."""
        return self._device(lambda device: device.get("type") == "disk" and device.get("path") == "/")

    def nic(self) -> str | None:
        """Name of the default profile's first network device."""
        return self._device(lambda device: device.get("type") == "nic")

    def _device(self, fits: Callable[[Device], bool]) -> str | None:
        devices = self.devices()
        return next((name for name in sorted(devices) if fits(devices[name])), None)

    def summary(self) -> dict[str, Any]:
        """The part that initialising may change, for the diff."""
        return {
            "https_address": str(self.config.get("core.https_address", "")),
            "pool": _only(self.pool, "name", "driver", "config"),
            "bridge": _only(self.network, "name", "managed", "config"),
            "profile": self.devices(),
        }


@dataclass(frozen=True)
class Step:
    """One write: what it does in words, and the request that does it."""

    what: str
    method: str
    path: str
    body: dict[str, Any]


class Change:
    """What initialising changes; ``kept`` says what differs from the wish and stays as it is."""

    def __init__(self, seen: Observed, desired: Desired) -> None:
        self.seen = seen
        self.desired = desired
        self.steps: list[Step] = []
        self.kept: list[str] = []
        self.before = seen.summary()
        self.after = dict(self.before)

    @property
    def changed(self) -> bool:
        return bool(self.steps)

    def add(self, what: str, method: str, path: str, body: dict[str, Any], part: str, after: Any) -> None:
        self.steps.append(Step(what, method, path, body))
        self.after[part] = after

    def address(self) -> None:
        wanted = canonical_address(self.desired.https_address)
        current = str(self.seen.config.get("core.https_address", ""))
        if not wanted or wanted == canonical_address(current):
            return
        if current and not self.desired.reconfigure:
            self.kept.append(f"the API listens on {current}, not on {wanted}")
            return
        body = {"config": {"core.https_address": wanted}}
        self.add(f"let the API listen on {wanted}", "PATCH", "", body, "https_address", wanted)

    def pool(self) -> None:
        wanted = self.desired.pool
        if self.seen.pool is not None:
            self._pool_driver(str(self.seen.pool["driver"]))
        elif self._may_create("pool", wanted.name, self.seen.root()):
            body = {"name": wanted.name, "driver": wanted.driver, "config": wanted.config()}
            self.add(f"create pool {wanted.name} ({wanted.driver})", "POST", "/storage-pools", body, "pool", body)

    def _pool_driver(self, driver: str) -> None:
        wanted = self.desired.pool
        if driver == wanted.driver:
            return
        text = f"pool {wanted.name} has the driver {driver}, not {wanted.driver}"
        if self.desired.reconfigure:
            raise Conflict(text, hint="a pool's driver cannot be changed: name another pool, or remove this one first")
        self.kept.append(text)

    def _may_create(self, kind: str, name: str, in_use: str | None) -> bool:
        """A default profile that names another one already says which is used: then none is made."""
        if in_use and not self.desired.reconfigure:
            return False
        if self.seen.clustered:
            self.kept.append(f"{kind} {name} does not exist; in a cluster it is defined on every member first")
        return not self.seen.clustered

    def bridge(self) -> None:
        wanted = self.desired.bridge
        if self.seen.network is not None:
            self._bridge_config(self.seen.network)
        elif self._may_create("bridge", wanted.name, self.seen.nic()):
            body = {"name": wanted.name, "type": "bridge", "config": wanted.config()}
            after = {"name": wanted.name, "managed": True, "config": body["config"]}
            self.add(f"create bridge {wanted.name} (IPv4 {wanted.ipv4})", "POST", "/networks", body, "bridge", after)

    def _bridge_config(self, network: Mapping[str, Any]) -> None:
        """``auto`` fits any address; an interface of the machine itself is nobody's to configure."""
        if not network["managed"]:
            return
        name, config = str(network["name"]), network["config"]
        wanted = {key: value for key, value in self.desired.bridge.config().items() if value != "auto"}
        differs = {key: value for key, value in wanted.items() if _value(config, key) != value}
        if not differs:
            return
        if not self.desired.reconfigure:
            text = ", ".join(f"{key} {_value(config, key)}, not {value}" for key, value in differs.items())
            self.kept.append(f"bridge {name} has {text}")
            return
        after = {"name": name, "managed": True, "config": {**config, **differs}}
        path, body = f"/networks/{name}", {"config": differs}
        self.add(f"set {', '.join(differs)} of bridge {name}", "PATCH", path, body, "bridge", after)

    def profile(self) -> None:
        devices = self.seen.devices()
        added: dict[str, dict[str, str]] = {}
        parts = (("root", self._root(), self.seen.root()), ("eth0", self._nic(), self.seen.nic()))
        for name, wanted, current in parts:
            if current is None:
                added[_free(name, devices)] = wanted
            elif _target(wanted) != _target(devices[current]):
                if self.desired.reconfigure:
                    added[current] = wanted
                else:
                    self.kept.append(f"profile {PROFILE} keeps its device {current} ({_target(devices[current])})")
        if added:
            after = {**devices, **added}
            what = f"give profile {PROFILE} the device{'s' * (len(added) > 1)} {' and '.join(sorted(added))}"
            self.add(what, "PATCH", f"/profiles/{PROFILE}", {"devices": after}, "profile", after)

    def _root(self) -> dict[str, str]:
        return {"type": "disk", "path": "/", "pool": self.desired.pool.name}

    def _nic(self) -> dict[str, str]:
        name = self.desired.bridge.name
        if self.seen.network is not None and not self.seen.network["managed"]:
            return {"type": "nic", "name": "eth0", "nictype": "bridged", "parent": name}
        return {"type": "nic", "name": "eth0", "network": name}


def observe(client: IncusClient, desired: Desired) -> Observed:
    server = client.get("")
    return Observed(
        pool=client.find(f"/storage-pools/{desired.pool.name}"),
        network=client.find(f"/networks/{desired.bridge.name}"),
        profile=client.get(f"/profiles/{PROFILE}"),
        config=server.get("config") or {},
        clustered=bool((server.get("environment") or {}).get("server_clustered")),
    )


def decide(seen: Observed, desired: Desired) -> Change:
    """The change from ``seen`` to ``desired``. Raises what cannot be done, before anything is."""
    change = Change(seen, desired)
    change.address()
    change.pool()
    change.bridge()
    change.profile()
    return change


def apply(client: IncusClient, change: Change) -> None:
    for step in change.steps:
        try:
            _write(client, step)
        except RacksteadError as error:
            raise error.at(step.what) from error


def _write(client: IncusClient, step: Step) -> None:
    try:
        client.change(step.method, step.path, step.body)
    except OperationFailed as error:
        # Incus takes a subnet for used if its first address answers, and behind some firewalls every
        # address does. The daemon's routes are ours only where it is on this machine.
        if "find an unused IPv4 subnet" not in error.what or not client.endpoint.socket_path:
            raise
        config = {**step.body["config"], "ipv4.address": free_subnet(ROUTES.read_text())}
        client.change(step.method, step.path, {**step.body, "config": config})


def free_subnet(routes: str) -> str:
    """An address for a bridge, in a /24 of 10.0.0.0/8 that no route leads to. ``routes``: /proc/net/route."""
    used = [network for line in routes.splitlines()[1:] if (network := _route(line)).prefixlen > 0]
    for _attempt in range(1000):
        network = ipaddress.IPv4Network(f"10.{random.randrange(256)}.{random.randrange(256)}.0/24")
        if not any(network.overlaps(other) for other in used):
            return f"{network[1]}/24"
    raise OperationFailed("no free /24 in 10.0.0.0/8", hint="name the bridge's address")


def _route(line: str) -> ipaddress.IPv4Network:
    """Destination of a line of /proc/net/route, whose numbers are hexadecimal in the machine's byte order."""
    fields = line.split()
    destination, mask = (int(fields[at], 16).to_bytes(4, sys.byteorder) for at in (1, 7))
    return ipaddress.IPv4Network((destination, int.from_bytes(mask, "big").bit_count()))


def ensure(client: IncusClient, desired: Desired, *, check: bool, bare: bool = False) -> Change:
    """Bring the daemon to ``desired``. ``bare``: predict for a daemon that does not exist yet."""
    change = decide(Observed() if bare else observe(client, desired), desired)
    if not check:
        apply(client, change)
    return change


def canonical_address(address: str) -> str:
    """``host:port`` as Incus stores it: the port 8443 where none is given."""
    host, colon, port = address.rpartition(":")
    if not address or (colon and port.isdigit() and (not host or ":" not in host or host.startswith("["))):
        return address
    return f"[{address}]:{API_PORT}" if ":" in address.strip("[]") and "[" not in address else f"{address}:{API_PORT}"


def _only(document: Mapping[str, Any] | None, *keys: str) -> dict[str, Any] | None:
    if document is None:
        return None
    found = {key: document[key] for key in keys}
    found["config"] = {key: value for key, value in found["config"].items() if not key.startswith("volatile.")}
    return found


def _value(config: Mapping[str, str], key: str) -> str:
    """A bridge's setting, with Incus's default where it is not set."""
    return config.get(key) or ("false" if key.endswith(".nat") else "none")


def _free(name: str, taken: Mapping[str, Any]) -> str:
    names = [name, *(f"{name}-{number}" for number in range(2, 100))]
    return next(candidate for candidate in names if candidate not in taken)


def _target(device: Device) -> str:
    for key in ("pool", "network", "parent"):
        if device.get(key):
            return f"{key} {device[key]}"
    return f"type {device.get('type', 'unknown')}"


@dataclass(frozen=True)
class Health:
    """How a provider is, in figures. ``missing`` holds a clause for each thing that is not well."""

    version: str
    driver: str
    pool: str = ""
    pool_driver: str = ""
    pool_free: int | None = None
    bridge: str = ""
    bridge_address: str = ""
    instances: int = 0
    running: int = 0
    images: int = 0
    missing: tuple[str, ...] = ()

    def line(self) -> str:
        """One line for people."""
        if self.missing:
            return f"Incus {self.version} is not ready: {'; '.join(self.missing)}"
        free = "" if self.pool_free is None else f", {format_size(self.pool_free)} free"
        return (
            f"Incus {self.version} ({self.driver}) is ready: pool {self.pool} ({self.pool_driver}{free}), "
            f"bridge {self.bridge} ({self.bridge_address}), {_count(self.images, 'image')}, "
            f"{self.running} of {_count(self.instances, 'instance')} running"
        )


def health(client: IncusClient) -> Health:
    """Look at what the default profile gives an instance, and at what is there."""
    server = client.server()
    seen = Observed(profile=client.get(f"/profiles/{PROFILE}"))
    devices = seen.devices()
    missing: list[str] = []
    root, nic = devices.get(seen.root() or "", {}), devices.get(seen.nic() or "", {})
    query = {"recursion": "1", "all-projects": "true"}  # refused beside a project
    instances = client.transport.request("GET", "/1.0/instances", query).metadata()
    pool = _pool_health(client, root.get("pool", ""), missing)
    bridge = _bridge_health(client, nic.get("network") or nic.get("parent", ""), missing)
    return Health(
        version=server.version,
        driver=server.driver,
        instances=len(instances),
        running=sum(1 for instance in instances if instance["status"] == "Running"),
        images=len(client.get("/images")),
        missing=tuple(missing),
        **pool,
        **bridge,
    )


def _pool_health(client: IncusClient, name: str, missing: list[str]) -> dict[str, Any]:
    pool = client.find(f"/storage-pools/{name}") if name else None
    if pool is None:
        missing.append(f"profile {PROFILE} names no root disk" if not name else f"there is no pool {name}")
        return {}
    if pool["status"] != "Created":
        missing.append(f"pool {name} is {pool['status']}")
    space = client.get(f"/storage-pools/{name}/resources").get("space") or {}
    free = space["total"] - space.get("used", 0) if space.get("total") else None
    if free is not None and free < LEAST_FREE:
        missing.append(f"pool {name} has only {format_size(free)} left")
    return {"pool": name, "pool_driver": pool["driver"], "pool_free": free}


def _bridge_health(client: IncusClient, name: str, missing: list[str]) -> dict[str, Any]:
    state = client.find(f"/networks/{name}/state") if name else None
    if state is None:
        missing.append(f"profile {PROFILE} names no network" if not name else f"the interface {name} does not exist")
        return {}
    if state["state"] != "up":
        missing.append(f"network {name} is {state['state']}")
    found = [f"{item['address']}/{item['netmask']}" for item in state["addresses"] or [] if item["scope"] == "global"]
    return {"bridge": name, "bridge_address": found[0] if found else "no address"}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
