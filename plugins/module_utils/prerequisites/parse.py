# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure readers of what the kernel and Debian's programs say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LISTENING, UNCONNECTED = "0A", "07"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Listener:
    """A socket that waits for others."""

    port: int
    protocol: str
    inode: str


def os_release(text: str) -> dict[str, str]:
    """The fields of /etc/os-release."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.isidentifier():
            found[name] = "".join(shlex.split(value)[:1]) if value else ""
    return found


def version_parts(text: str) -> tuple[int, ...]:
    """A version such as 22.04 as numbers, to compare; empty where it is none."""
    return tuple(int(part) for part in text.split(".")) if re.fullmatch(r"\d+(\.\d+)*", text) else ()


def memory_total(meminfo: str) -> int:
    """Bytes of memory, of /proc/meminfo."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def cgroup_version(mounts: str) -> str:
    """v1, v2, or nothing. Of a hybrid, what controls is v1."""
    kinds = {(one[1], one[2]) for one in (line.split() for line in mounts.splitlines()) if len(one) > 2}
    if ("/sys/fs/cgroup", "cgroup2") in kinds:
        return "v2"
    return "v1" if any(kind == "cgroup" for _where, kind in kinds) else ""


def controllers(mounts: str, unified: str, proc_cgroups: str) -> set[str]:
    """The controllers that are on."""
    if cgroup_version(mounts) == "v2":
        return set(unified.split())
    rows = [line.split() for line in proc_cgroups.splitlines() if not line.startswith("#")]
    return {row[0] for row in rows if len(row) == 4 and row[3] == "1"}


def parameters(cmdline: str) -> list[str]:
    """The words of a kernel command line; what is quoted stays together."""
    return re.findall(r'(?:[^\s"]|"[^"]*")+', cmdline)


def enables(cmdline: str, wanted: str) -> bool:
    """Whether ``name=value`` is in force: nothing behind it switches the same off again."""
    name, _equals, value = wanted.partition("=")
    state = False
    for word in parameters(cmdline):
        key, _equals, given = word.partition("=")
        if key == name and name == "cgroup_enable":
            state = state or value in given.split(",")
        elif key == name:
            state = given == value
        elif (name, key) == ("cgroup_enable", "cgroup_disable") and value in given.split(","):
            state = False
    return state


def unit_states(text: str) -> dict[str, tuple[str, str]]:
    """ActiveState and UnitFileState by unit, of ``systemctl show``."""
    found = {}
    for block in text.split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if fields.get("Id"):
            found[fields["Id"]] = (fields.get("ActiveState", ""), fields.get("UnitFileState", ""))
    return found


def installed_packages(dpkg: str) -> set[str]:
    """Packages that are there whole. The status's three letters are desire, state and fault."""
    rows = [line.split() for line in dpkg.splitlines()]
    return {row[0] for row in rows if len(row) == 2 and row[1][1:2] == "i"}


def snap_versions(text: str) -> dict[str, str]:
    """snap, snapd and their like, of ``snap version``. A daemon that does not answer is ``unavailable``."""
    return {row[0]: row[1] for row in (line.split(None, 1) for line in text.splitlines()) if len(row) == 2}


def listeners(tables: Mapping[str, str]) -> Iterator[Listener]:
    """Listening sockets in /proc/net/tcp, tcp6, udp and udp6."""
    for name, text in tables.items():
        protocol = name[:3]
        state = LISTENING if protocol == "tcp" else UNCONNECTED
        for line in text.splitlines():
            row = line.split()
            if len(row) > 9 and ":" in row[1] and row[3] == state:
                yield Listener(int(row[1].rpartition(":")[2], 16), protocol, row[9])


def nameservers(resolv_conf: str) -> list[str]:
    """The name servers of /etc/resolv.conf."""
    rows = [line.split() for line in resolv_conf.splitlines()]
    return [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]


def loaded_modules(proc_modules: str) -> set[str]:
    """Modules that are loaded, of /proc/modules."""
    return {line.split()[0] for line in proc_modules.splitlines() if line.strip()}


def modules_at_boot(text: str) -> set[str]:
    """Modules that files in modules-load.d name, with the underscores that the kernel writes."""
    lines = (line.strip() for line in text.splitlines())
    return {line.split()[0].replace("-", "_") for line in lines if line and line[0] not in "#;"}


def swap_areas(swaps: str) -> list[str]:
    """Swap that is in use, of /proc/swaps."""
    return [line.split()[0] for line in swaps.splitlines()[1:] if line.strip()]


def is_node_name(text: str) -> bool:
    """Whether a host name is such as Kubernetes takes for a node: RFC 1123, in lower case."""
    labels = text.split(".")
    return text != "localhost" and len(text) < 254 and all(_NAME.fullmatch(label) for label in labels)


def is_machine_id(text: str) -> bool:
    """Whether a machine id is one, and not the mark of an image that never booted."""
    return _MACHINE_ID.fullmatch(text) is not None and set(text) != {"0"}
