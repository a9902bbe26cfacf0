# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan format: what a user may write, as frozen dataclasses. The door (door.py) reads into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common.kinds import (
    BAD,
    Address,
    Choice,
    Flag,
    Kind,
    ListOf,
    MapOf,
    Nested,
    Schema,
    Size,
    Text,
    Whole,
    given,
    read_spec,
    shown,
)
from ..common.problems import Problems

#: Incus's own rule for instance names (a host name of one label).
INSTANCE_NAME = Text(
    r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", "letters, digits and dashes, a letter first, up to 63"
)
NAME = Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "letters, digits, dots, dashes and underscores, up to 63")
BRIDGE_NAME = Text(r"[A-Za-z0-9][A-Za-z0-9._-]{1,14}", "letters, digits, dots, dashes and underscores, 2 to 15")
CONFIG = MapOf(Text(scalar=True))
DEVICES = MapOf(MapOf(Text(scalar=True)))
PROTOCOLS = ("tcp", "udp")
STATES = ("running", "stopped", "frozen", "absent")


@dataclass(frozen=True)
class Forward:
    """A port of the host that leads into the instance (an Incus proxy device)."""

    listen: str = given(Text(scalar=True), "port, or address:port, on the host")
    connect: str = given(Text(scalar=True), "port, or address:port, as seen inside the instance")
    protocol: str = given(Choice(PROTOCOLS), "tcp or udp", "tcp")

    @property
    def device(self) -> str:
        return f"forward-{self.protocol}-{self.listen.rsplit(':', 1)[-1]}"

    def endpoints(self) -> tuple[str, str]:
        """Listen and connect as Incus writes them."""
        listen = self.listen if ":" in self.listen else f"0.0.0.0:{self.listen}"
        connect = self.connect if ":" in self.connect else f"127.0.0.1:{self.connect}"
        return f"{self.protocol}:{listen}", f"{self.protocol}:{connect}"


@dataclass(frozen=True)
class _ForwardKind(Kind):
    """A mapping of Forward, with both ends checked to hold a port."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        forward = read_spec(Forward, value, path, problems)
        if forward is BAD:
            return BAD
        for end in ("listen", "connect"):
            port = getattr(forward, end).rsplit(":", 1)[-1]
            if not (port.isascii() and port.isdecimal()) or not 1 <= int(port) <= 65535:
                problems.add(f"{path}.{end}", f"{shown(getattr(forward, end))} has no port", "8080, 127.0.0.1:8080")
                return BAD
        return forward

    def schema(self) -> Schema:
        return Nested(Forward).schema()


@dataclass(frozen=True)
class Network:
    """The instance's first interface, ``eth0``. Further ones are written under ``devices``."""

    type: str = given(Choice(("bridge",)), "kind of attachment", "bridge")
    bridge: str = given(BRIDGE_NAME, "managed network to attach to; the profile's where it is not given", "")
    ipv4: str = given(Address(4, ("auto",)), "auto (DHCP), or a fixed address inside the bridge's subnet", "auto")
    forwards: tuple[Forward, ...] = given(ListOf(_ForwardKind()), "ports of the host that lead into the instance", ())


@dataclass(frozen=True)
class Wait:
    """What must hold before an instance counts as ready."""

    kind: str
    port: int = 0
    command: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        if self.kind == "port":
            return f"TCP port {self.port}"
        return f"command {self.command[0]}" if self.kind == "command" else self.kind


@dataclass(frozen=True)
class _WaitKind(Kind):
    """``running``, ``ipv4``, ``cloud_init``, ``{port: 80}`` or ``{command: [argv]}``."""

    words = ("running", "ipv4", "cloud_init")
    allowed = "running, ipv4, cloud_init, {port: 80}, {command: [argv]}"

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if value in self.words:
            return Wait(str(value))
        if isinstance(value, Mapping) and len(value) == 1:
            key, item = next(iter(value.items()))
            if key == "port":
                port = Whole(1, 65535).read(item, f"{path}.port", problems)
                return BAD if port is BAD else Wait("port", port=port)
            if key == "command":
                if isinstance(item, str):
                    return Wait("command", command=("/bin/sh", "-c", str(item)))
                argv = ListOf(Text(scalar=True)).read(item, f"{path}.command", problems)
                if argv == ():
                    problems.add(f"{path}.command", "names no command", "a command and its arguments")
                return Wait("command", command=argv) if argv is not BAD and argv else BAD
        problems.add(path, f"{shown(value)} is not a condition", self.allowed)
        return BAD

    def schema(self) -> Schema:
        argv = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
        one = {"type": "object", "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
        return {
            "anyOf": [
                {"enum": list(self.words)},
                {**one, "properties": {"port": Whole(1, 65535).schema(), "command": argv}},
            ]
        }


@dataclass(frozen=True)
class _CloudKind(Kind):
    """A cloud-init document: text with one of its headers, or a mapping (a cloud-config)."""

    headed: bool = True

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        from .cloudinit import check_text, dump  # PyYAML is needed only where there is such a document

        if isinstance(value, Mapping):
            return dump(value, headed=self.headed)
        if not isinstance(value, str):
            problems.add(path, f"{shown(value)} is not a cloud-init document", "text or a mapping")
            return BAD
        fault = check_text(value, headed=self.headed)
        if fault:
            problems.add(path, fault)
            return BAD
        return str(value)

    def schema(self) -> Schema:
        return {"type": ["string", "object"]}


@dataclass(frozen=True)
class _CpusKind(Kind):
    """A number of CPUs, or a pinned set such as ``0-3`` or ``0,2``."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return str(value)
        if isinstance(value, str) and Text(r"[1-9]\d*|\d+([-,]\d+)+").read(value, path, Problems()) is not BAD:
            return str(value)
        problems.add(path, f"{shown(value)} is not a number of CPUs", "2, 0-3, 0,2")
        return BAD

    def schema(self) -> Schema:
        return {"type": ["integer", "string"], "minimum": 1, "pattern": r"^([1-9]\d*|\d+([-,]\d+)+)$"}


@dataclass(frozen=True)
class InstanceSpec:
    """One instance. Fields left out are left alone on an instance that exists."""

    image: str = given(Text(r"\S+", "an alias such as debian/12, or remote:alias"), "image alias, or remote:alias", "")
    type: str = given(Choice(("container", "virtual-machine")), "kind of instance", "container")
    description: str | None = given(Text(), "free text", None)
    memory: str = given(Size(percent=True), "memory limit, such as 512MiB", "")
    cpus: str = given(_CpusKind(), "number of CPUs, or a pinned set such as 0-3", "")
    disk: str = given(Size(), "size of the root disk", "")
    pool: str = given(NAME, "storage pool of the root disk; the profile's where it is not given", "")
    profiles: tuple[str, ...] | None = given(ListOf(NAME), "profiles, in order; Incus's default where not given", None)
    config: Mapping[str, str] = given(CONFIG, "further Incus configuration keys", {})
    devices: Mapping[str, Mapping[str, str]] = given(DEVICES, "further Incus devices", {})
    network: Network | None = given(Nested(Network), "the first interface", None)
    volumes: Mapping[str, str] = given(MapOf(Text(r"/\S*", "an absolute path")), "volume name: path to mount it at", {})
    cloud_init: str = given(_CloudKind(), "cloud-init user data, as text or mapping", "")
    vendor_data: str = given(_CloudKind(), "cloud-init vendor data, as text or mapping", "")
    network_config: str = given(_CloudKind(headed=False), "cloud-init network configuration, as text or mapping", "")
    metadata: Mapping[str, str] = given(CONFIG, "labels, kept as user.* configuration keys", {})
    state: str = given(Choice(STATES), "running, stopped, frozen or absent", "running")
    wait_for: tuple[Wait, ...] = given(ListOf(_WaitKind(), single=True), "conditions for being ready", ())
    wait_timeout: int | None = given(
        Whole(1, 86400), "seconds to become ready in; the task's timeout where not given", None
    )
    depends_on: tuple[str, ...] = given(ListOf(INSTANCE_NAME, single=True), "instances that must be ready before", ())
    project: str = given(NAME, "Incus project; the plan's where not given", "")
    target: str = given(
        Text(r"@?[A-Za-z0-9._-]+", "a member, or @group"), "cluster member or @group to create it on", ""
    )
    ephemeral: bool = given(Flag(), "deleted by Incus when it stops", False)


@dataclass(frozen=True)
class ProfileSpec:
    description: str | None = given(Text(), "free text", None)
    config: Mapping[str, str] = given(CONFIG, "Incus configuration keys", {})
    devices: Mapping[str, Mapping[str, str]] = given(DEVICES, "Incus devices", {})
    project: str = given(NAME, "Incus project; the plan's where not given", "")


@dataclass(frozen=True)
class NetworkSpec:
    type: str = given(Choice(("bridge", "macvlan", "sriov", "ovn", "physical")), "Incus network type", "bridge")
    description: str | None = given(Text(), "free text", None)
    config: Mapping[str, str] = given(CONFIG, "Incus network configuration keys, such as ipv4.address", {})
    project: str = given(NAME, "Incus project; the plan's where not given", "")


@dataclass(frozen=True)
class VolumeSpec:
    pool: str = given(NAME, "storage pool", "default")
    size: str = given(Size(), "size of the volume", "")
    content_type: str = given(Choice(("filesystem", "block")), "filesystem or block", "filesystem")
    description: str | None = given(Text(), "free text", None)
    config: Mapping[str, str] = given(CONFIG, "further volume configuration keys", {})
    project: str = given(NAME, "Incus project; the plan's where not given", "")
    target: str = given(NAME, "cluster member to create it on", "")


@dataclass(frozen=True)
class ProjectSpec:
    description: str | None = given(Text(), "free text", None)
    config: Mapping[str, str] = given(CONFIG, "Incus project configuration keys, such as features.images", {})


@dataclass(frozen=True)
class PlanSpec:
    """A whole plan."""

    name: str = given(NAME, "the plan's name, which marks what it owns; the file's name where not given", "")
    project: str = given(NAME, "Incus project of everything below", "")
    defaults: InstanceSpec | None = given(
        Nested(InstanceSpec), "values for every instance that does not set them", None
    )
    projects: Mapping[str, ProjectSpec] = given(MapOf(Nested(ProjectSpec), NAME), "Incus projects", {})
    networks: Mapping[str, NetworkSpec] = given(MapOf(Nested(NetworkSpec), BRIDGE_NAME), "managed networks", {})
    storage_volumes: Mapping[str, VolumeSpec] = given(MapOf(Nested(VolumeSpec), NAME), "custom volumes", {})
    profiles: Mapping[str, ProfileSpec] = given(MapOf(Nested(ProfileSpec), NAME), "profiles", {})
    instances: Mapping[str, InstanceSpec] = given(MapOf(Nested(InstanceSpec), INSTANCE_NAME), "instances", {})
