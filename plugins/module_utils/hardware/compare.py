# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed between two reports of a node: what is there and how it is built, not how busy it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..common.units import format_size
from .model import Report

CRITICAL, WARNING, NOTICE = "critical", "warning", "notice"
SEVERITIES = (CRITICAL, WARNING, NOTICE)
#: Memory that a kernel keeps for itself differs between boots; less than this share of it is no change.
MEMORY_SLACK = 0.02
#: A loss of memory that is more than a setting of firmware.
MEMORY_LOSS = 0.05
#: What becomes of other interfaces, which software makes, is no news of the hardware. A container has no others.
HARDWARE_NICS = ("physical", "bond", "vlan", "team")


@dataclass(frozen=True)
class Difference:
    """One thing that is otherwise than before. ``before`` and ``after`` are None where there was or is none."""

    section: str
    what: str
    field: str
    before: Any
    after: Any
    severity: str
    text: str

    def document(self) -> dict[str, Any]:
        return asdict(self)


def differences(before: Report, after: Report) -> list[Difference]:
    """What is otherwise in ``after``, the gravest first. A part that one of them has not read is no change in itself."""
    found = [*_sections(before, after)]
    for section, compare in COMPARISONS.items():
        if before.read(section) and after.read(section):
            found += compare(before, after)
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _sections(before: Report, after: Report) -> Iterator[Difference]:
    """Parts that can be read no longer, or again."""
    for name, section in after.sections.items():
        if before.read(name) and section.state != "ok":
            text = f"{name} cannot be read any more: {section.reason}"
            yield Difference(name, "", "", "ok", section.state, WARNING, text)
        elif name in before.sections and not before.read(name) and section.state == "ok":
            yield Difference(name, "", "", before.sections[name].state, "ok", NOTICE, f"{name} can be read now")


# -- plain fields ----------------------------------------------------------------------------------
def _fields(section: str, names: Mapping[str, str], severity: str) -> Callable[[Report, Report], Iterator[Difference]]:
    """Compares fields of a section that has one value; what is not known in one of them is no change."""

    def compare(before: Report, after: Report) -> Iterator[Difference]:
        for name, label in names.items():
            old, new = (getattr(getattr(report, section), name) for report in (before, after))
            if old != new and old not in (None, "") and new not in (None, ""):
                yield Difference(section, "", name, old, new, severity, f"{label}: {old} -> {new}")

    return compare


def _memory(before: Report, after: Report) -> Iterator[Difference]:
    old, new = before.memory.total_bytes, after.memory.total_bytes
    if old and new and abs(new - old) > old * MEMORY_SLACK:
        lost = (old - new) / old
        severity = CRITICAL if lost > MEMORY_LOSS else WARNING if lost > 0 else NOTICE
        text = f"memory: {format_size(old)} -> {format_size(new)} ({-100 * lost:+.0f} %)"
        yield Difference("memory", "", "total_bytes", old, new, severity, text)
    old, new = before.memory.swap_total_bytes, after.memory.swap_total_bytes
    if old is not None and new is not None and old != new:
        text = f"swap: {format_size(old)} -> {format_size(new)}"
        yield Difference("memory", "", "swap_total_bytes", old, new, NOTICE, text)


def _cpu(before: Report, after: Report) -> Iterator[Difference]:
    yield from _fields("cpu", {"model": "processor"}, WARNING)(before, after)
    old, new = before.cpu.threads, after.cpu.threads
    if old and new and old != new:
        severity = CRITICAL if new < old else NOTICE
        yield Difference("cpu", "", "threads", old, new, severity, f"processors: {old} -> {new}")


# -- lists of things -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Things:
    """How the things of a section are compared: by what they are known, and which of their fields count."""

    section: str
    word: str
    list_of: Callable[[Report], Sequence[Any]]
    key: Callable[[Any], str]
    #: fields whose change counts, with its severity
    fields: Mapping[str, str]
    gone: str = CRITICAL
    new: str = NOTICE
    name: Callable[[Any], str] = lambda one: str(one.name)

    def __call__(self, before: Report, after: Report) -> Iterator[Difference]:
        old = {self.key(one): one for one in self.list_of(before)}
        new = {self.key(one): one for one in self.list_of(after)}
        for key, one in old.items():
            if key not in new:
                yield self._told(one, "", self.name(one), None, self.gone, "is gone")
            else:
                yield from self._changed(one, new[key])
        for key, one in new.items():
            if key not in old:
                yield self._told(one, "", None, self.name(one), self.new, "is new")

    def _changed(self, old: Any, new: Any) -> Iterator[Difference]:
        for field, severity in self.fields.items():
            before, after = getattr(old, field), getattr(new, field)
            if before != after and before not in (None, "") and after not in (None, ""):
                text = f"{field_words(field)} {shown(field, before)} -> {shown(field, after)}"
                yield self._told(new, field, before, after, severity, text)

    def _told(self, one: Any, field: str, before: Any, after: Any, severity: str, words: str) -> Difference:
        name = self.name(one)
        return Difference(self.section, name, field, before, after, severity, f"{self.word} {name}: {words}")


def field_words(field: str) -> str:
    """A field's name for people."""
    return field.removesuffix("_bytes").replace("_", " ")


def shown(field: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.endswith("_bytes") and isinstance(value, (int, float)):
        return format_size(value)
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _disk_name(one: Any) -> str:
    what = " ".join(part for part in (one.model, one.serial and f"serial {one.serial}") if part)
    return f"{one.name} ({what})" if what else str(one.name)


def _smart_states(before: Report, after: Report) -> Iterator[Difference]:
    old = {one.serial or one.disk: one for one in before.smart}
    for one in after.smart:
        known = old.get(one.serial or one.disk)
        if known and known.passed is not None and one.passed is not None and known.passed != one.passed:
            severity = NOTICE if one.passed else CRITICAL
            words = "SMART: passes again" if one.passed else "SMART: says that it is failing"
            yield Difference(
                "smart", one.disk, "passed", known.passed, one.passed, severity, f"disk {one.disk}: {words}"
            )


COMPARISONS: dict[str, Callable[[Report, Report], Iterator[Difference]]] = {
    "system": _fields(
        "system", {"hostname": "host name", "os": "system", "kernel": "kernel", "kind": "kind of machine"}, NOTICE
    ),
    "cpu": _cpu,
    "memory": _memory,
    "memory_modules": Things(
        "memory_modules",
        "memory module",
        lambda report: report.memory_modules,
        lambda one: f"{one.slot} {one.serial}",
        {"size_bytes": CRITICAL},
        name=lambda one: one.slot or one.serial,
    ),
    "disks": Things(
        "disks",
        "disk",
        lambda report: report.disks,
        lambda one: one.serial or one.wwn or one.name,
        {"size_bytes": WARNING},
        name=_disk_name,
    ),
    "smart": _smart_states,
    "filesystems": Things(
        "filesystems",
        "file system",
        lambda report: report.filesystems,
        lambda one: one.mountpoint,
        {"kind": NOTICE, "size_bytes": NOTICE, "read_only": CRITICAL},
        gone=WARNING,
        name=lambda one: one.mountpoint,
    ),
    "lvm": Things(
        "lvm",
        "volume group",
        lambda report: report.lvm.groups,
        lambda one: one.name,
        {"size_bytes": NOTICE, "partial": CRITICAL},
    ),
    "raid": Things(
        "raid",
        "array",
        lambda report: report.raid,
        lambda one: one.name,
        {"state": WARNING, "level": WARNING, "degraded": CRITICAL, "faulty": CRITICAL},
    ),
    "nics": Things(
        "nics",
        "network card",
        lambda report: [one for one in report.nics if one.kind in HARDWARE_NICS or report.system.kind == "container"],
        lambda one: one.name,
        {"mac": WARNING, "link": WARNING, "speed_mbit": WARNING, "duplex": WARNING},
    ),
    "gpus": Things(
        "gpus",
        "GPU",
        lambda report: report.gpus,
        lambda one: one.slot,
        {"model": NOTICE},
        name=lambda one: f"{one.slot} ({one.model})",
    ),
    "firmware": _fields(
        "firmware",
        {"bios_version": "firmware version", "product": "product", "serial": "serial number", "board": "board"},
        NOTICE,
    ),
    "bmc": _fields("bmc", {"firmware": "BMC's firmware", "address": "BMC's address", "mac": "BMC's MAC"}, NOTICE),
    "kubernetes": Things(
        "kubernetes",
        "storage class",
        lambda report: report.kubernetes.classes,
        lambda one: one.name,
        {"provisioner": WARNING, "default": NOTICE},
        gone=WARNING,
    ),
}
