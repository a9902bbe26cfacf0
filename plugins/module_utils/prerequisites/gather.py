# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads on the machine itself all that the checks want to know, in one go. Changes nothing."""

from __future__ import annotations

import ctypes
import os
import re
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.programs import run
from . import parse
from .model import BOOT_FILES, SNAP_UNITS, TIME_UNITS, Requirements, Snapshot

TABLES = ("tcp", "tcp6", "udp", "udp6")
MODULES_LOAD = (
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
)
#: More of a file than this is nobody's parameters.
LONGEST = 1 << 20


def text(path: str | Path) -> str:
    """What a file holds; nothing where it is not there or not for us."""
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST).decode(errors="replace")
    except OSError:
        return ""


def gather(wanted: Requirements) -> Snapshot:
    """Everything that ``judge`` looks at."""
    name = os.uname()
    core = kernel(wanted.modules)
    sockets = {table: text(f"/proc/net/{table}") for table in TABLES} if wanted.ports else {}
    total, free = disk_at(wanted.disk_path)
    packages = (*wanted.packages, *(["snapd"] if wanted.snapd else []))
    return Snapshot(
        os_release=text("/etc/os-release"),
        machine=name.machine,
        kernel=core.release,
        board=text("/proc/device-tree/model").rstrip("\0\n"),
        container=core.container,
        systemd=os.path.isdir("/run/systemd/system"),
        root=os.geteuid() == 0,
        meminfo=text("/proc/meminfo"),
        disk_total=total,
        disk_free=free,
        mounts=text("/proc/self/mounts"),
        controllers=text("/sys/fs/cgroup/cgroup.controllers"),
        proc_cgroups=text("/proc/cgroups"),
        cmdline=text("/proc/cmdline"),
        boot_files={path: text(path) for path in BOOT_FILES if os.path.isfile(path)},
        units=units(),
        snap_version=run(["snap", "version"]).out if wanted.snapd else "",
        dpkg=dpkg(packages),
        sockets=sockets,
        owners=owners(interesting(sockets, wanted)),
        resolv_conf=text("/etc/resolv.conf"),
        resolved=resolved((*wanted.resolve, socket.gethostname())) if wanted.resolve else {},
        clock_error=clock_error(),
        proc_modules=core.proc_modules,
        modules_builtin=core.builtin,
        modules_there=core.there,
        modules_known=core.known,
        modules_load=core.at_boot,
        swaps=text("/proc/swaps"),
        hostname=socket.gethostname(),
        machine_id=text("/etc/machine-id").strip(),
    )


# -- the kernel -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Kernel:
    """The running kernel, and what it has of the wanted modules."""

    release: str
    container: str
    proc_modules: str
    builtin: tuple[str, ...]
    there: tuple[str, ...]
    known: bool
    at_boot: str

    @property
    def loaded(self) -> set[str]:
        """All modules that are loaded."""
        return parse.loaded_modules(self.proc_modules)


def kernel(modules: Iterable[str]) -> Kernel:
    """What the kernel has of these modules. Their names have underscores, their files may have dashes."""
    release = os.uname().release
    folder = next((one for one in (f"/lib/modules/{release}", f"/usr/lib/modules/{release}") if os.path.isdir(one)), "")
    wanted = tuple(modules)
    return Kernel(
        release,
        container(),
        text("/proc/modules"),
        _inside(wanted, text(f"{folder}/modules.builtin") if folder else ""),
        _among(wanted, text(f"{folder}/modules.dep")) if folder else (),
        bool(folder),
        modules_load(),
    )


def _among(wanted: tuple[str, ...], listing: str) -> tuple[str, ...]:
    """Those of the modules that a list of files names, such as kernel/net/bridge/br_netfilter.ko.xz: …"""
    names = set(re.findall(r"([^/\s]+)\.ko(?:\.\w+)?(?::|\s|$)", listing))
    known = {name.replace("-", "_") for name in names}
    return tuple(name for name in wanted if name in known)


def _inside(wanted: tuple[str, ...], listing: str) -> tuple[str, ...]:
    """Those that the kernel has in itself. Where there is no list of them, some still show: filesystems, parameters."""
    listed = _among(wanted, listing)
    filesystems = text("/proc/filesystems").split()
    return tuple(
        name for name in wanted if name in listed or name in filesystems or os.path.isdir(f"/sys/module/{name}")
    )


def modules_load() -> str:
    """What is loaded at boot. A file hides those of its name in folders that come later."""
    files: dict[str, Path] = {}
    for folder in MODULES_LOAD:
        for path in sorted(Path(folder).glob("*.conf")):
            files.setdefault(path.name, path)
    return "\n".join(text(path) for path in (*files.values(), Path("/etc/modules")))


def container() -> str:
    """What kind of container this is; nothing on a machine of its own."""
    named = text("/run/systemd/container").strip()
    first = re.search(r"(?:^|\0)container=([^\0]+)", text("/proc/1/environ"))
    docker = "docker" if os.path.exists("/.dockerenv") else ""
    return named or (first[1] if first else "") or docker


def clock_error() -> int:
    """The clock's greatest error in microseconds, as the kernel knows it; -1 where it would not say."""
    name, *numbers = "modes", "offset", "freq", "maxerror", "esterror"

    class Timex(ctypes.Structure):
        _fields_ = (
            (name, ctypes.c_uint),
            *((one, ctypes.c_long) for one in numbers),
            ("rest", ctypes.c_char * 256),
        )

    answer = Timex()
    try:
        failed = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(answer)) < 0
    except (OSError, AttributeError):
        return -1
    return -1 if failed else int(answer.maxerror)


# -- the rest ---------------------------------------------------------------------------------------
def disk_at(path: str) -> tuple[int, int]:
    """Size and free space, for others than root, of what holds ``path`` or will."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    found = os.statvfs(place)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def units() -> str:
    """State of the units that matter."""
    return run(["systemctl", "show", "--property=Id,ActiveState,UnitFileState", *SNAP_UNITS, *TIME_UNITS]).out


def dpkg(names: Sequence[str]) -> str:
    """Status of packages. The program fails where it does not know one, and tells the others all the same."""
    return run(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\\n", *names]).out if names else ""


def resolved(names: Sequence[str]) -> dict[str, list[str]]:
    """Addresses of names, all asked for at once."""
    whole = list(dict.fromkeys(names))
    with ThreadPoolExecutor(len(whole)) as pool:
        found = pool.map(lambda name: run(["getent", "ahosts", name]).out, whole)
    return {name: _first_words(out) for name, out in zip(whole, found, strict=True)}


def _first_words(out: str) -> list[str]:
    return list(dict.fromkeys(line.split()[0] for line in out.splitlines() if line.strip()))


def interesting(sockets: dict[str, str], wanted: Requirements) -> set[str]:
    """Sockets on the wanted ports, by their inodes."""
    spans = wanted.ports
    return {
        one.inode
        for one in parse.listeners(sockets)
        if any(one.protocol == span.protocol and span.first <= one.port <= span.last for span in spans)
    }


def owners(inodes: set[str]) -> dict[str, dict[str, Any]]:
    """Which process has each of the sockets. Those of others are root's to see."""
    found: dict[str, dict[str, Any]] = {}
    if not inodes:
        return found
    links = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for link in _links(f"/proc/{pid}/fd"):
            if link in links:
                found.setdefault(links[link], owner(pid))
    return found


def _links(folder: str) -> Iterable[str]:
    try:
        files = os.listdir(folder)
    except OSError:  # gone meanwhile, or somebody else's
        return
    for file in files:
        try:
            yield os.readlink(f"{folder}/{file}")
        except OSError:
            continue


def owner(pid: str) -> dict[str, Any]:
    """A process: what it is called, and what tells to which package or service it belongs."""
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        program = ""
    whose = " ".join([program, *text(f"/proc/{pid}/cgroup").split()])
    return {"pid": int(pid), "name": text(f"/proc/{pid}/comm").strip(), "whose": whose}
