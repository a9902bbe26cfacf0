# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a machine, what was seen on it, and what was found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PASS, WARN, FAIL = "pass", "warn", "fail"
STATUSES = (PASS, WARN, FAIL)

#: Who mends a failed check: parts of the role, or a boot. Nothing: a human being.
BY_PACKAGES, BY_SERVICE, BY_TIME, BY_MODULES, BY_BOOT, BY_REBOOT = (
    "packages",
    "service",
    "time",
    "modules",
    "boot",
    "reboot",
)

#: Kernel parameters that switch the memory controller on, on a Raspberry Pi.
CGROUP_PARAMETERS = ("cgroup_enable=memory", "cgroup_memory=1")
#: Where the firmware of a Raspberry Pi reads the kernel's parameters, newest first.
BOOT_FILES = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")
#: Services that set the clock, as Debian and Ubuntu name them.
TIME_UNITS = ("systemd-timesyncd.service", "chrony.service", "ntpsec.service", "ntp.service", "openntpd.service")
SNAP_UNITS = ("snapd.socket", "snapd.service")


@dataclass(frozen=True)
class Ports:
    """A range of ports of one protocol."""

    first: int
    last: int
    protocol: str = "tcp"


@dataclass(frozen=True)
class Requirements:
    """What a machine must have, and what it should."""

    distributions: Mapping[str, str]
    architectures: tuple[str, ...]
    memory: int
    memory_recommended: int
    disk_path: str
    disk: int
    disk_recommended: int
    cgroups: tuple[str, ...]
    snapd: bool
    packages: tuple[str, ...]
    ports: tuple[Ports, ...]
    port_owners: tuple[str, ...]
    resolve: tuple[str, ...]
    time: bool
    modules: tuple[str, ...]
    swap: str


@dataclass(frozen=True)
class Snapshot:
    """All that was read on a machine, as it was read: files, and what commands printed. JSON can hold it."""

    os_release: str = ""
    machine: str = ""
    kernel: str = ""
    #: model of a board, as its device tree says
    board: str = ""
    #: kind of container, such as lxc; empty on a machine of its own
    container: str = ""
    #: whether systemd is the machine's first process
    systemd: bool = True
    root: bool = True
    meminfo: str = ""
    disk_total: int = 0
    disk_free: int = 0
    mounts: str = ""
    #: cgroup.controllers at the root of the unified tree
    controllers: str = ""
    proc_cgroups: str = ""
    cmdline: str = ""
    #: the boot files that are there, by path
    boot_files: dict[str, str] = field(default_factory=dict)
    #: Id, ActiveState and UnitFileState of units, as ``systemctl show`` prints them
    units: str = ""
    snap_version: str = ""
    #: ``dpkg-query``'s lines: name and status
    dpkg: str = ""
    #: /proc/net/tcp and its like, by name
    sockets: dict[str, str] = field(default_factory=dict)
    #: who has a socket, by its inode: pid, name, and what tells whose it is
    owners: dict[str, dict[str, Any]] = field(default_factory=dict)
    resolv_conf: str = ""
    #: addresses of the names that were looked up
    resolved: dict[str, list[str]] = field(default_factory=dict)
    #: greatest error of the clock in microseconds, or less than 0 where the kernel would not say
    clock_error: int = -1
    proc_modules: str = ""
    #: those of the wanted modules that are in the kernel itself, and those that it could load
    modules_builtin: tuple[str, ...] = ()
    modules_there: tuple[str, ...] = ()
    #: the folder of the kernel's modules is there at all
    modules_known: bool = True
    modules_load: str = ""
    swaps: str = ""
    hostname: str = ""
    machine_id: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    ``mended_by`` names the part of the role that mends it, ``items`` what that part is to take care of.
    """

    name: str
    status: str
    found: str
    wanted: str = ""
    mend: str = ""
    mended_by: str = ""
    items: tuple[str, ...] = ()
