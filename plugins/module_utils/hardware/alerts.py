# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in a report wants somebody's attention, by thresholds. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..common.problems import Problems
from ..common.units import format_size
from .compare import CRITICAL, SEVERITIES, WARNING
from .model import Filesystem, Report, Smart

DAY = 86_400.0


@dataclass(frozen=True)
class Thresholds:
    """From where on a value is told. Of each pair the second is critical."""

    disk_wear_percent: float = 80.0
    disk_wear_critical_percent: float = 95.0
    disk_temperature_celsius: float = 60.0
    disk_temperature_critical_celsius: float = 70.0
    temperature_celsius: float = 80.0
    temperature_critical_celsius: float = 95.0
    filesystem_percent: float = 85.0
    filesystem_critical_percent: float = 95.0
    certificate_days: float = 30.0
    certificate_critical_days: float = 7.0
    memory_percent: float = 95.0


#: What a threshold may be, by the end of its name.
BOUNDS = {"percent": (0.0, 100.0), "celsius": (0.0, 200.0), "days": (0.0, 36_500.0)}
NAMES = tuple(one.name for one in fields(Thresholds))


@dataclass(frozen=True)
class Alert:
    section: str
    what: str
    severity: str
    text: str
    value: float | None = None
    threshold: float | None = None

    def document(self) -> dict[str, Any]:
        return asdict(self)


def thresholds_of(given: Mapping[str, Any]) -> Thresholds:
    """Thresholds, some of which somebody has set. Raises InvalidInput with a line for each fault."""
    problems = Problems()
    found: dict[str, float] = {}
    for name, value in given.items():
        if name not in NAMES:
            problems.unknown("thresholds", str(name), NAMES)
            continue
        low, high = BOUNDS[name.rpartition("_")[2]]
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            found[name] = -1.0
        if isinstance(value, bool) or not low <= found[name] <= high:
            problems.add(f"thresholds.{name}", f'"{value}" is not valid', f"a number from {low:g} to {high:g}")
    problems.raise_if_any()
    return Thresholds(**found)


def alerts(report: Report, limits: Thresholds = Thresholds()) -> list[Alert]:
    """All of them, the gravest first."""
    found = [one for look in LOOKS for one in look(report, limits)]
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _over(value: float | None, warning: float, critical: float) -> tuple[str, float] | None:
    """Which threshold a value has reached."""
    if value is None or value < min(warning, critical):
        return None
    return (CRITICAL, critical) if value >= critical else (WARNING, warning)


# -- disks -----------------------------------------------------------------------------------------
def _disks(report: Report, limits: Thresholds) -> Iterator[Alert]:
    for one in report.smart:
        if one.passed is False:
            yield Alert("smart", one.disk, CRITICAL, f"disk {_disk(one)} says that it is failing")
        for words in one.warnings:
            yield Alert("smart", one.disk, CRITICAL, f"disk {_disk(one)}: {words}")
        yield from _worn(one, limits)
        yield from _bad_sectors(one)
        yield from _warm_disk(one, limits)


def _disk(one: Smart) -> str:
    return f"{one.disk} ({one.model})" if one.model else one.disk


def _worn(one: Smart, limits: Thresholds) -> Iterator[Alert]:
    over = _over(one.wear_percent, limits.disk_wear_percent, limits.disk_wear_critical_percent)
    if over:
        text = f"disk {_disk(one)} is worn: {one.wear_percent:g} % of its life is used"
        yield Alert("smart", one.disk, over[0], text, one.wear_percent, over[1])
    spare, limit = one.spare_percent, one.spare_limit_percent
    if spare is not None and limit is not None and spare < limit:
        text = f"disk {_disk(one)} has {spare:g} % of its spare left, and needs {limit:g} %"
        yield Alert("smart", one.disk, CRITICAL, text, spare, limit)


def _bad_sectors(one: Smart) -> Iterator[Alert]:
    kinds = (
        (one.pending_sectors, CRITICAL, "sectors that it cannot read"),
        (one.media_errors, CRITICAL, "errors of its medium"),
        (one.reallocated_sectors, WARNING, "sectors that it has replaced"),
    )
    for count, severity, words in kinds:
        if count:
            yield Alert("smart", one.disk, severity, f"disk {_disk(one)} has {count} {words}", float(count), 0.0)


def _warm_disk(one: Smart, limits: Thresholds) -> Iterator[Alert]:
    over = _over(one.temperature_celsius, limits.disk_temperature_celsius, limits.disk_temperature_critical_celsius)
    if over:
        text = f"disk {_disk(one)} is at {one.temperature_celsius:g} °C"
        yield Alert("smart", one.disk, over[0], text, one.temperature_celsius, over[1])


# -- the rest --------------------------------------------------------------------------------------
#: Chips that tell of disks, which have limits of their own.
DISK_CHIPS = re.compile(r"^(nvme|drivetemp)")


def _temperatures(report: Report, limits: Thresholds) -> Iterator[Alert]:
    for one in report.sensors:
        if one.kind != "temperature" or one.value is None:
            continue
        disk = DISK_CHIPS.match(one.chip)
        warning = limits.disk_temperature_celsius if disk else limits.temperature_celsius
        critical = limits.disk_temperature_critical_celsius if disk else limits.temperature_critical_celsius
        over = _over(one.value, warning, min(critical, one.critical or critical))
        if over:
            text = f"{one.name} of {one.chip} is at {one.value:g} °C"
            yield Alert("sensors", f"{one.chip} {one.name}", over[0], text, one.value, over[1])


def _filesystems(report: Report, limits: Thresholds) -> Iterator[Alert]:
    for one in report.filesystems:
        over = _over(one.used_percent, limits.filesystem_percent, limits.filesystem_critical_percent)
        if over and not one.read_only:
            yield Alert("filesystems", one.mountpoint, over[0], _full(one), one.used_percent, over[1])


def _full(one: Filesystem) -> str:
    left = "" if one.available_bytes is None else f", {format_size(one.available_bytes)} left"
    return f"{one.mountpoint} is {one.used_percent:g} % full{left}"


def _arrays(report: Report, _limits: Thresholds) -> Iterator[Alert]:
    for one in report.raid:
        if one.degraded:
            count = "" if one.wanted is None else f": {one.working} of {one.wanted} disks work"
            going = "" if not one.action else f", {one.action} is at {one.progress_percent or 0:g} %"
            text = f"array {one.name} is {'inactive' if one.state == 'inactive' else 'degraded'}{count}{going}"
            yield Alert("raid", one.name, CRITICAL, text)
    for group in report.lvm.groups:
        if group.partial:
            yield Alert("lvm", group.name, CRITICAL, f"volume group {group.name} lacks a physical volume")
    for volume in report.lvm.volumes:
        if volume.data_percent is not None and "pool" in volume.layout and volume.data_percent >= 90:
            text = f"thin pool {volume.group}/{volume.name} is {volume.data_percent:g} % full"
            yield Alert("lvm", f"{volume.group}/{volume.name}", CRITICAL, text, volume.data_percent, 90.0)


def _memory(report: Report, limits: Thresholds) -> Iterator[Alert]:
    total, used = report.memory.total_bytes, report.memory.used_bytes
    percent = round(100.0 * used / total, 1) if total and used is not None else None
    if percent is not None and percent >= limits.memory_percent:
        text = f"{percent:g} % of the memory is in use"
        yield Alert("memory", "", WARNING, text, percent, limits.memory_percent)


def _certificates(report: Report, limits: Thresholds) -> Iterator[Alert]:
    for one in report.certificates:
        if one.expires_time is None:
            continue
        days = (one.expires_time - report.time) / DAY
        limit = limits.certificate_critical_days if days < limits.certificate_critical_days else limits.certificate_days
        if days < limit:
            severity = CRITICAL if days < limits.certificate_critical_days else WARNING
            name = one.subject or one.path
            text = f"the certificate {name} ({one.path}) {_runs_out(days)}"
            yield Alert("certificates", one.path, severity, text, round(days, 1), limit)


def _runs_out(days: float) -> str:
    if days < 0:
        return f"ran out {-days:.0f} days ago"
    return f"runs out in {days:.0f} days" if days >= 2 else f"runs out in {days * 24:.0f} hours"


def _claims(report: Report, _limits: Thresholds) -> Iterator[Alert]:
    for one in report.kubernetes.claims:
        if one.state == "Lost":
            name = f"{one.namespace}/{one.name}"
            yield Alert("kubernetes", name, CRITICAL, f"claim {name} has lost its volume")
    for volume in report.kubernetes.volumes:
        if volume.state == "Failed":
            yield Alert("kubernetes", volume.name, WARNING, f"volume {volume.name} could not be reclaimed")


Look = Callable[[Report, Thresholds], Iterator[Alert]]
LOOKS: tuple[Look, ...] = (_disks, _temperatures, _filesystems, _arrays, _memory, _certificates, _claims)
