# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says: one typed model. A field's name ends in its unit (``_bytes``, ``_celsius``, ``_percent``, …).

Every field has a value that means "not known", so that a report can be read whatever is missing in it.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

#: What the ending of a field's name says about its unit.
UNITS = {
    "bytes": "B",
    "celsius": "°C",
    "percent": "%",
    "mhz": "MHz",
    "mbit": "Mbit/s",
    "hours": "h",
    "days": "d",
    "seconds": "s",
    "time": "seconds since the epoch",
}


@dataclass(frozen=True)
class Section:
    """How the reading of one part went: ``ok``; ``absent`` or ``failed``, with the reason."""

    state: str = "absent"
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class System:
    hostname: str = ""
    os: str = ""
    kernel: str = ""
    architecture: str = ""
    #: machine, virtual machine or container
    kind: str = ""
    #: by what it is virtualised, or contained
    within: str = ""
    boot_time: float | None = None


@dataclass(frozen=True)
class Cpu:
    model: str = ""
    vendor: str = ""
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    most_mhz: float | None = None
    use_percent: float | None = None
    load_1: float | None = None
    load_15: float | None = None
    temperature_celsius: float | None = None


@dataclass(frozen=True)
class Memory:
    total_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    cached_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None


@dataclass(frozen=True)
class MemoryModule:
    slot: str = ""
    size_bytes: int | None = None
    kind: str = ""
    speed: str = ""
    manufacturer: str = ""
    part: str = ""
    serial: str = ""


@dataclass(frozen=True)
class Partition:
    name: str = ""
    size_bytes: int | None = None
    kind: str = ""
    filesystem: str = ""
    label: str = ""
    uuid: str = ""
    mountpoints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Disk:
    name: str = ""
    #: hdd, ssd, nvme, mmc, virtual
    kind: str = ""
    model: str = ""
    serial: str = ""
    wwn: str = ""
    transport: str = ""
    size_bytes: int | None = None
    removable: bool = False
    partitions: list[Partition] = field(default_factory=list)


@dataclass(frozen=True)
class Smart:
    """The health of one disk. ``wear_percent`` is what is used up of its life."""

    disk: str = ""
    model: str = ""
    serial: str = ""
    #: why there is nothing below
    reason: str = ""
    passed: bool | None = None
    temperature_celsius: float | None = None
    temperature_limit_celsius: float | None = None
    wear_percent: float | None = None
    spare_percent: float | None = None
    spare_limit_percent: float | None = None
    power_on_hours: int | None = None
    power_cycles: int | None = None
    written_bytes: int | None = None
    reallocated_sectors: int | None = None
    pending_sectors: int | None = None
    media_errors: int | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Filesystem:
    mountpoint: str = ""
    source: str = ""
    kind: str = ""
    size_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    #: of what users can have, as df counts
    used_percent: float | None = None
    read_only: bool = False


@dataclass(frozen=True)
class PhysicalVolume:
    name: str = ""
    group: str = ""
    size_bytes: int | None = None
    free_bytes: int | None = None
    missing: bool = False


@dataclass(frozen=True)
class VolumeGroup:
    name: str = ""
    size_bytes: int | None = None
    free_bytes: int | None = None
    partial: bool = False


@dataclass(frozen=True)
class LogicalVolume:
    name: str = ""
    group: str = ""
    size_bytes: int | None = None
    layout: str = ""
    #: of a thin pool or a snapshot
    data_percent: float | None = None
    health: str = ""


@dataclass(frozen=True)
class Lvm:
    physical: list[PhysicalVolume] = field(default_factory=list)
    groups: list[VolumeGroup] = field(default_factory=list)
    volumes: list[LogicalVolume] = field(default_factory=list)


@dataclass(frozen=True)
class Array:
    """A RAID of Linux (md)."""

    name: str = ""
    level: str = ""
    state: str = ""
    size_bytes: int | None = None
    members: list[str] = field(default_factory=list)
    spares: list[str] = field(default_factory=list)
    faulty: list[str] = field(default_factory=list)
    wanted: int | None = None
    working: int | None = None
    degraded: bool = False
    #: such as recovery, resync, check
    action: str = ""
    progress_percent: float | None = None


@dataclass(frozen=True)
class Nic:
    name: str = ""
    mac: str = ""
    #: physical, loopback, bond, bridge, vlan, veth, …
    kind: str = ""
    driver: str = ""
    state: str = ""
    link: bool | None = None
    speed_mbit: int | None = None
    duplex: str = ""
    mtu: int | None = None
    addresses: list[str] = field(default_factory=list)
    received_bytes: int | None = None
    sent_bytes: int | None = None
    receive_errors: int | None = None
    send_errors: int | None = None
    dropped: int | None = None


@dataclass(frozen=True)
class Gpu:
    slot: str = ""
    vendor: str = ""
    model: str = ""
    driver: str = ""
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    use_percent: float | None = None
    temperature_celsius: float | None = None


@dataclass(frozen=True)
class Sensor:
    chip: str = ""
    name: str = ""
    #: temperature, fan, voltage, current, power
    kind: str = ""
    value: float | None = None
    #: °C, rpm, V, A, W
    unit: str = ""
    high: float | None = None
    critical: float | None = None


@dataclass(frozen=True)
class Firmware:
    vendor: str = ""
    product: str = ""
    serial: str = ""
    board: str = ""
    bios_vendor: str = ""
    bios_version: str = ""
    bios_date: str = ""


@dataclass(frozen=True)
class Bmc:
    device: str = ""
    firmware: str = ""
    manufacturer: str = ""
    ipmi_version: str = ""
    guid: str = ""
    address: str = ""
    mac: str = ""


@dataclass(frozen=True)
class DockerVolume:
    name: str = ""
    driver: str = ""
    mountpoint: str = ""


@dataclass(frozen=True)
class StorageClass:
    name: str = ""
    provisioner: str = ""
    default: bool = False
    reclaim: str = ""


@dataclass(frozen=True)
class PersistentVolume:
    name: str = ""
    size_bytes: int | None = None
    state: str = ""
    claim: str = ""
    storage_class: str = ""


@dataclass(frozen=True)
class Claim:
    namespace: str = ""
    name: str = ""
    state: str = ""
    size_bytes: int | None = None
    volume: str = ""
    storage_class: str = ""


@dataclass(frozen=True)
class Kubernetes:
    classes: list[StorageClass] = field(default_factory=list)
    volumes: list[PersistentVolume] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


@dataclass(frozen=True)
class Certificate:
    path: str = ""
    subject: str = ""
    expires_time: float | None = None


@dataclass(frozen=True)
class Report:
    """All that is known of a node at ``time``, in seconds since the epoch."""

    node: str = ""
    time: float = 0.0
    seconds: float = 0.0
    sections: dict[str, Section] = field(default_factory=dict)
    system: System = field(default_factory=System)
    cpu: Cpu = field(default_factory=Cpu)
    memory: Memory = field(default_factory=Memory)
    memory_modules: list[MemoryModule] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    smart: list[Smart] = field(default_factory=list)
    filesystems: list[Filesystem] = field(default_factory=list)
    lvm: Lvm = field(default_factory=Lvm)
    raid: list[Array] = field(default_factory=list)
    nics: list[Nic] = field(default_factory=list)
    gpus: list[Gpu] = field(default_factory=list)
    sensors: list[Sensor] = field(default_factory=list)
    firmware: Firmware = field(default_factory=Firmware)
    bmc: Bmc = field(default_factory=Bmc)
    docker: list[DockerVolume] = field(default_factory=list)
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    certificates: list[Certificate] = field(default_factory=list)

    def read(self, section: str) -> bool:
        """Whether this part was read."""
        return section in self.sections and self.sections[section].state == "ok"

    def missing(self) -> list[tuple[str, Section]]:
        """The parts that were not read, in their order."""
        return [(name, self.sections[name]) for name in SECTIONS if name in self.sections and not self.read(name)]

    def document(self) -> dict[str, Any]:
        """The report as JSON knows it."""
        return dataclasses.asdict(self)


#: The parts that are read one by one, in the order in which they are told.
SECTIONS = tuple(
    one.name for one in dataclasses.fields(Report) if one.name not in ("node", "time", "seconds", "sections")
)


def unit_of(name: str) -> str:
    """The unit of a field, by its name."""
    return UNITS.get(name.rpartition("_")[2], "")


# -- reading a document ---------------------------------------------------------------------------
def report_of(document: Any) -> Report:
    """The report in a document, whoever has written it: what does not fit is left out."""
    return built(Report, document)


def built(kind: type[T], value: Any) -> T:
    """A dataclass from a mapping. Fields that are not there, or of another type, keep what means "not known"."""
    given = value if isinstance(value, Mapping) else {}
    found: dict[str, Any] = {}
    for name, hint in _hints(typing.cast(typing.Hashable, kind)).items():
        if name in given:
            fits, read = _read(hint, given[name])
            if fits:
                found[name] = read
    return kind(**found)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(hint: Any, value: Any) -> tuple[bool, Any]:
    """Whether a value is what a type says, and the value in that type."""
    if dataclasses.is_dataclass(hint):
        return isinstance(value, Mapping), built(hint, value)  # type: ignore[arg-type]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        found = [_read(inner[0], one) for one in value] if isinstance(value, list) else []
        return isinstance(value, list), [one for fits, one in found if fits]
    if origin is dict:
        pairs = value.items() if isinstance(value, Mapping) else ()
        return isinstance(value, Mapping), {str(key): _read(inner[1], one)[1] for key, one in pairs}
    if inner:  # a plain type, or None
        return (True, None) if value is None else _read(inner[0], value)
    return _plain(hint, value)


def _plain(hint: Any, value: Any) -> tuple[bool, Any]:
    if hint is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
        return (fits and math.isfinite(value)), float(value) if fits else 0.0
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, hint), value
