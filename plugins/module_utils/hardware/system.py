# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system itself, its processors and its memory: ``/proc``, ``lscpu -J``, ``dmidecode``."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import DeadlineExceeded
from .machine import Absent, Broken, Machine, mapping, mappings, number, share, text, whole
from .model import Cpu, Memory, MemoryModule, System

KIB = 1024
#: In how many ticks of the clock of one processor its use is measured, and how long that may take.
TICKS, LONGEST = 12, 0.5
#: Where a container sees what it is allowed.
CGROUP = "/sys/fs/cgroup"
CPUS = f"{CGROUP}/cpuset.cpus.effective"
CONTAINER = re.compile(r"(?:^|\0)container=([^\0]+)")
_SIZE = re.compile(r"(\d+)\s*([kMGT]?)i?B", re.ASCII)
_FACTORS = {"": 1, "k": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


# -- the system ------------------------------------------------------------------------------------
def system(machine: Machine) -> System:
    release = release_of(machine.value("/etc/os-release") or machine.value("/usr/lib/os-release"))
    name = os.uname()
    booted = number(machine.value("/proc/uptime").partition(" ")[0])
    kind, within = kind_of(machine)
    return System(
        name.nodename,
        release,
        name.release,
        name.machine,
        kind,
        within,
        None if booted is None else round(time.time() - booted),
    )


def release_of(words: str) -> str:
    found = re.search(r'^PRETTY_NAME=["\']?([^"\'\n]*)', words, re.MULTILINE)
    return text(found[1]) if found else ""


def kind_of(machine: Machine) -> tuple[str, str]:
    """Machine, virtual machine or container, and what it is in."""
    within = container_of(machine)
    if within:
        return "container", within
    model = machine.value("/proc/device-tree/model")
    if model:
        return "machine", text(model)
    if re.search(r"^flags\s*:.*\bhypervisor\b", machine.value("/proc/cpuinfo"), re.MULTILINE):
        return "virtual machine", text(machine.value("/sys/class/dmi/id/sys_vendor"))
    return "machine", ""


def container_of(machine: Machine) -> str:
    """What kind of container this is in, or nothing."""
    told = machine.value("/run/systemd/container") or machine.value("/run/host/container-manager")
    if told:
        return text(told)
    found = CONTAINER.search(machine.value("/proc/1/environ"))
    if found:
        return text(found[1])
    if machine.names("/run/.containerenv"):
        return "podman"
    # Machines whose image was made in a container have the file, too; a container has hosts mounted.
    mounted = re.search(r"^\S+ /etc/hosts ", machine.value("/proc/mounts"), re.MULTILINE)
    return "docker" if machine.names("/.dockerenv") and mounted else ""


# -- processors -------------------------------------------------------------------------------------
def cpu(machine: Machine) -> Cpu:
    """lscpu's words where it is there, else those of /proc/cpuinfo."""
    use = use_of(machine)
    load = machine.value("/proc/loadavg").split()
    common: dict[str, Any] = {
        "use_percent": use,
        "load_1": number(load[0]) if load else None,
        "load_15": number(load[2]) if len(load) > 2 else None,
    }
    try:
        known = lscpu_of(machine.json("lscpu", "-J"))
    except (Absent, Broken):
        known = cpuinfo_of(machine.read("/proc/cpuinfo"))
    own = threads_of(machine.value(CPUS)) if container_of(machine) else None
    return Cpu(**{**known, **common, **({"threads": own} if own else {})})


def threads_of(words: str) -> int | None:
    """How many processors a list such as 0-3,8 names."""
    parts = re.findall(r"(\d{1,6})(?:-(\d{1,6}))?", words)
    return sum(int(last or first) - int(first) + 1 for first, last in parts) or None


def lscpu_of(found: Any) -> dict[str, Any]:
    """The fields of ``lscpu -J``, which newer ones nest."""
    words: dict[str, str] = {}
    flat(mapping(found).get("lscpu"), words)
    sockets, cores = whole(words.get("Socket(s)")), whole(words.get("Core(s) per socket"))
    if sockets is None:  # as on ARM, where clusters are counted
        sockets = whole(words.get("Cluster(s)")) and 1
        cores = cores or whole(words.get("Core(s) per cluster"))
    return {
        "model": words.get("Model name", ""),
        "vendor": words.get("Vendor ID", ""),
        "sockets": sockets,
        "cores": sockets * cores if sockets and cores else None,
        "threads": whole(words.get("CPU(s)")),
        "most_mhz": number(words.get("CPU max MHz")),
    }


def flat(entries: Any, words: dict[str, str], depth: int = 8) -> None:
    for one in mappings(entries):
        name = text(one.get("field")).rstrip(":")
        words.setdefault(name, text(one.get("data")))
        if depth:
            flat(one.get("children"), words, depth - 1)


def cpuinfo_of(words: str) -> dict[str, Any]:
    pairs = re.findall(r"^([^:\n]+?)\s*:[ \t]*(.*)$", words, re.MULTILINE)
    first = dict(reversed(pairs))
    threads = sum(name == "processor" for name, _value in pairs)
    packages = {value for name, value in pairs if name == "physical id"}
    cores = whole(first.get("cpu cores"))
    return {
        "model": text(first.get("model name") or first.get("Model") or first.get("Hardware")),
        "vendor": text(first.get("vendor_id")),
        "sockets": len(packages) or None,
        "cores": cores * len(packages) if cores and packages else None,
        "threads": threads or None,
        "most_mhz": None,
    }


def use_of(machine: Machine) -> float | None:
    """How busy all processors are, over some ticks of their clock; nothing where no clock ticks."""
    before = ticks(machine.value("/proc/stat"))

    def later() -> tuple[int, int] | None:
        now = ticks(machine.value("/proc/stat"))
        return now if now[1] - before[1] >= TICKS else None

    if not before[1]:
        return None
    try:
        after = wait_until(later, Deadline(LONGEST), what="the processors' clock", first=0.06)
    except DeadlineExceeded:
        return None
    return share(max(0, after[0] - before[0]), after[1] - before[1])


def ticks(words: str) -> tuple[int, int]:
    """Ticks in which the processors had work, and all their ticks."""
    found = re.match(r"cpu\s+(\d[\d ]*)", words)
    counts = [int(one) for one in found[1].split()[:8]] if found else []
    idle = sum(counts[3:5])
    return sum(counts) - idle, sum(counts)


# -- memory ----------------------------------------------------------------------------------------
def memory(machine: Machine) -> Memory:
    found = meminfo_of(machine.read("/proc/meminfo"))
    return limited(machine, found) if container_of(machine) else found


def limited(machine: Machine, found: Memory) -> Memory:
    """A container's memory is what its cgroup allows it, if that is less than the machine has."""
    most, used = whole(machine.value(f"{CGROUP}/memory.max")), whole(machine.value(f"{CGROUP}/memory.current"))
    if not most or used is None or most >= (found.total_bytes or 0):
        return found
    cache = re.search(r"^inactive_file (\d{1,15})$", machine.value(f"{CGROUP}/memory.stat"), re.MULTILINE)
    cached = int(cache[1]) if cache else 0
    used = max(0, used - cached)
    return Memory(most, used, max(0, most - used), cached, found.swap_total_bytes, found.swap_used_bytes)


def meminfo_of(words: str) -> Memory:
    """The fields of /proc/meminfo. Raises Broken where the total is missing."""
    found = {name: int(count) * KIB for name, count in re.findall(r"^(\w+):\s+(\d{1,15}) kB$", words, re.MULTILINE)}
    total = found.get("MemTotal")
    if not total:
        raise Broken("/proc/meminfo does not say how much memory there is")
    available = found.get("MemAvailable", found.get("MemFree"))
    swap, free = found.get("SwapTotal"), found.get("SwapFree")
    return Memory(
        total,
        None if available is None else max(0, total - available),
        available,
        found.get("Cached"),
        swap,
        None if swap is None or free is None else max(0, swap - free),
    )


def memory_modules(machine: Machine) -> list[MemoryModule]:
    try:
        return modules_of(machine.run("dmidecode", "-t", "memory"))
    except Broken as error:  # so it ends where there is no DMI
        raise Absent(f"the firmware does not tell of its memory modules ({error})") from error


def modules_of(words: str) -> list[MemoryModule]:
    """The slots of ``dmidecode -t memory`` that hold something. Raises Absent where it knows of none."""
    found = []
    for block in re.split(r"\n\s*\n", words):
        if not re.search(r"^Memory Device$", block, re.MULTILINE):
            continue
        field = dict(re.findall(r"^\t([^:\t][^:]*):\s*(.*)$", block, re.MULTILINE))
        size = size_of(field.get("Size", ""))
        if size:
            found.append(
                MemoryModule(
                    slot=known(field.get("Locator")),
                    size_bytes=size,
                    kind=known(field.get("Type")),
                    speed=known(field.get("Speed")),
                    manufacturer=known(field.get("Manufacturer")),
                    part=known(field.get("Part Number")),
                    serial=known(field.get("Serial Number")),
                )
            )
    if not found:
        raise Absent("the firmware does not tell of its memory modules (no DMI)")
    return found


def size_of(words: str) -> int | None:
    """Bytes in words such as ``16 GB`` or ``8192 MB``, which the firmware counts in powers of two."""
    found = _SIZE.match(words)
    return int(found[1]) * _FACTORS[found[2]] if found else None


def known(value: Any) -> str:
    """What firmware says, without what vendors leave in where they say nothing."""
    words = text(value)
    empty = ("", "unknown", "not specified", "none", "default string", "to be filled by o.e.m.", "no asset tag")
    return "" if words.lower() in empty or set(words) <= set("0 ") else words
