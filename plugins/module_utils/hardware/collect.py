# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a machine: all collectors at once, each of which may find nothing without spoiling the rest."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..common.deadline import Deadline
from ..common.errors import InvalidInput
from . import devices, services, storage, system
from .machine import Absent, Broken, Machine
from .model import SECTIONS, Report, Section

Collector = Callable[[Machine], Any]
COLLECTORS: dict[str, Collector] = {
    "system": system.system,
    "cpu": system.cpu,
    "memory": system.memory,
    "memory_modules": system.memory_modules,
    "disks": storage.disks,
    "smart": storage.smart,
    "filesystems": storage.filesystems,
    "lvm": storage.lvm,
    "raid": storage.raid,
    "nics": devices.nics,
    "gpus": devices.gpus,
    "sensors": devices.sensors,
    "firmware": devices.firmware,
    "bmc": devices.bmc,
    "docker": services.docker,
    "kubernetes": services.kubernetes,
}
#: What a container sees in sysfs is its host's.
OF_THE_HOST = ("memory_modules", "disks", "smart", "lvm", "raid", "gpus", "sensors", "firmware", "bmc")
#: Wrong turns that odd output may lead a parser to. A parser's own mistakes are among them: they, too, cost a part
#: of the report and never the whole.
ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)
#: Seconds for all.
LONGEST = 15.0


@dataclass
class Reading:
    """One part of the report, while it is read and afterwards."""

    section: Section = Section("failed", "not finished in time")
    value: Any = None


def collect(
    machine: Machine,
    node: str,
    *,
    sections: Iterable[str] = (),
    certificates: Iterable[str] = (),
    seconds: float = LONGEST,
) -> Report:
    """The report of a machine. Without ``sections`` all of them. Raises InvalidInput."""
    wanted = chosen(sections)
    begun = time.time()
    started = time.perf_counter()
    collectors = {**COLLECTORS, "certificates": services.certificates_at(certificates)}
    within = system.container_of(machine)
    readings = {name: Reading() for name in wanted}
    # The use of the processors comes first: beside the others it would be their doing.
    if "cpu" in readings:
        fill(readings["cpu"], collectors["cpu"], machine)
    rest = {name: barred(name, collectors[name], within) for name in wanted if name != "cpu"}
    side_by_side(readings, rest, machine, Deadline(seconds))
    return assembled(node, begun, time.perf_counter() - started, readings)


def chosen(sections: Iterable[str]) -> list[str]:
    """The parts that are wanted, in their order. Raises InvalidInput."""
    given = list(sections)
    if set(given) <= set(SECTIONS):
        return [name for name in SECTIONS if not given or name in given]
    from ..common.problems import nearest  # where it is needed alone: it loads a good deal

    lines = [
        f'sections: "{name}" is not a part of a report{nearest(str(name), SECTIONS)}; allowed: {", ".join(SECTIONS)}'
        for name in given
        if name not in SECTIONS
    ]
    raise InvalidInput(lines)


def barred(name: str, collector: Collector, within: str) -> Collector:
    """The collector, or one that says that there is nothing of that kind in a container."""
    if not within or name not in OF_THE_HOST:
        return collector

    def outside(_machine: Machine) -> Any:
        raise Absent(f"this is a container ({within}): what it shows of that is its host's")

    return outside


def side_by_side(
    readings: Mapping[str, Reading], collectors: Mapping[str, Collector], machine: Machine, deadline: Deadline
) -> None:
    """Run all collectors at once. Those that have not ended by the deadline are left behind."""
    threads = [
        threading.Thread(target=fill, args=(readings[name], collector, machine), name=name, daemon=True)
        for name, collector in collectors.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline.remaining())


def fill(reading: Reading, collector: Collector, machine: Machine) -> None:
    """Read one part. Whatever goes wrong is a reason."""
    started = time.perf_counter()
    value, state, reason = None, "ok", ""
    try:
        value = collector(machine)
    except Absent as error:
        state, reason = "absent", str(error)
    except Broken as error:
        state, reason = "failed", str(error)
    except ODD as error:
        state, reason = "failed", f"what was found is not understood ({type(error).__name__}: {str(error)[:120]})"
    # In this order: who looks after the deadline sees either all of it or nothing.
    reading.value = value
    reading.section = Section(state, reason, round(time.perf_counter() - started, 3))


def assembled(node: str, begun: float, took: float, readings: Mapping[str, Reading]) -> Report:
    found = {name: reading.section for name, reading in readings.items()}
    values = {name: readings[name].value for name, section in found.items() if section.state == "ok"}
    report = Report(node, round(begun, 3), round(took, 3), found, **values)
    warmest = devices.cpu_temperature(report.sensors)
    return dataclasses.replace(report, cpu=dataclasses.replace(report.cpu, temperature_celsius=warmest))
