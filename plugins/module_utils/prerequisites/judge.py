# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what was seen on a machine with what is required. Pure: a snapshot in, checks out."""

from __future__ import annotations

from collections.abc import Callable

from ..common.units import format_size
from . import cmdline, parse
from .model import (
    BOOT_FILES,
    BY_BOOT,
    BY_MODULES,
    BY_PACKAGES,
    BY_REBOOT,
    BY_SERVICE,
    BY_TIME,
    CGROUP_PARAMETERS,
    FAIL,
    PASS,
    TIME_UNITS,
    WARN,
    Check,
    Ports,
    Requirements,
    Snapshot,
)

#: What firmware and kernel keep for themselves: a machine sold with 4 GiB shows a little less.
KEPT_BY_THE_MACHINE = 0.1
#: The kernel takes the clock for set when its error is below this, in microseconds.
LARGEST_CLOCK_ERROR = 16_000_000
#: What people call the architectures.
ARCHITECTURES = {"x86_64": "x86-64", "aarch64": "ARM64"}


def judge(seen: Snapshot, wanted: Requirements) -> list[Check]:
    """Every check that the requirements ask for, in the order in which people read them."""
    found = (look(seen, wanted) for look in LOOKS)
    return [check for check in found if check is not None]


# -- the machine ------------------------------------------------------------------------------------
def system(seen: Snapshot, wanted: Requirements) -> Check:
    fields = parse.os_release(seen.os_release)
    name, version = fields.get("ID", ""), fields.get("VERSION_ID", "")
    title = fields.get("PRETTY_NAME") or name or "unknown"
    least = wanted.distributions.get(name)
    allowed = " or ".join(f"{one} {number}" for one, number in sorted(wanted.distributions.items())) + ", and newer"
    if least is None:
        return Check("os", FAIL, title, allowed, "install one of these on the machine")
    if not version:
        # Debian's testing and unstable have no number, and are newer than what has one.
        return Check("os", WARN, title, allowed, "a release that is not out yet may change any day")
    if parse.version_parts(version) < parse.version_parts(least):
        return Check("os", FAIL, title, allowed, f"upgrade it to {name} {least}")
    return Check("os", PASS, title, allowed)


def architecture(seen: Snapshot, wanted: Requirements) -> Check:
    allowed = " or ".join(ARCHITECTURES.get(one, one) for one in wanted.architectures)
    found = ARCHITECTURES.get(seen.machine, seen.machine)
    if seen.machine in wanted.architectures:
        return Check("architecture", PASS, found, allowed)
    # A Raspberry Pi with a 32-bit system is a 64-bit machine.
    able = seen.machine in ("armv7l", "armv8l", "i686") and bool(seen.board or seen.machine == "armv8l")
    mend = "install the 64-bit system on it" if able else "take another machine"
    return Check("architecture", FAIL, found, allowed, mend)


def memory(seen: Snapshot, wanted: Requirements) -> Check:
    found = parse.memory_total(seen.meminfo)
    usual = 1 - KEPT_BY_THE_MACHINE
    words = f"{format_size(wanted.memory)}, better {format_size(wanted.memory_recommended)}"
    if found < wanted.memory * usual:
        return Check("memory", FAIL, format_size(found), words, "give the machine more memory")
    if found < wanted.memory_recommended * usual:
        return Check("memory", WARN, format_size(found), words, "more memory leaves room for workloads")
    return Check("memory", PASS, format_size(found), words)


def disk(seen: Snapshot, wanted: Requirements) -> Check:
    words = f"{format_size(wanted.disk)}, better {format_size(wanted.disk_recommended)}"
    found = f"{format_size(seen.disk_free)} of {format_size(seen.disk_total)} free at {wanted.disk_path}"
    mend = f"make room below {wanted.disk_path}, or put a larger disk there"
    if seen.disk_free < wanted.disk:
        return Check("disk", FAIL, found, words, mend)
    return Check("disk", WARN if seen.disk_free < wanted.disk_recommended else PASS, found, words, mend)


def swap(seen: Snapshot, wanted: Requirements) -> Check | None:
    areas = parse.swap_areas(seen.swaps)
    if wanted.swap == "allow":
        return None
    if not areas:
        return Check("swap", PASS, "none", "none")
    status = FAIL if wanted.swap == "refuse" else WARN
    mend = "sudo swapoff --all, and take swap out of /etc/fstab (on a Raspberry Pi: out of dphys-swapfile or zram)"
    return Check("swap", status, f"in use: {', '.join(areas)}", "none", on_host(seen, mend))


def on_host(seen: Snapshot, mend: str) -> str:
    """Of a container, it is the host that has this."""
    return f"on the container's host: {mend}" if seen.container else mend


# -- cgroups ----------------------------------------------------------------------------------------
def cgroups(seen: Snapshot, wanted: Requirements) -> Check:
    version = parse.cgroup_version(seen.mounts)
    words = f"cgroups {' or '.join(wanted.cgroups)} with the memory controller"
    if not version:
        mend = on_host(seen, "mount cgroups (systemd does it by itself)")
        return Check("cgroups", FAIL, "none mounted", words, mend)
    on = "memory" in parse.controllers(seen.mounts, seen.controllers, seen.proc_cgroups)
    found = f"cgroups {version}, memory controller {'on' if on else 'off'}"
    if on and version not in wanted.cgroups:
        mend = on_host(seen, f"boot the kernel with systemd.unified_cgroup_hierarchy={int(version == 'v1')}")
        return Check("cgroups", FAIL, found, words, mend)
    return Check("cgroups", PASS, found, words) if on else _controller_off(seen, found, words)


def _controller_off(seen: Snapshot, found: str, words: str) -> Check:
    if seen.container:
        mend = on_host(seen, "hand the memory controller on to the container")
        return Check("cgroups", FAIL, found, words, mend)
    parameters = " ".join(CGROUP_PARAMETERS)
    if "Raspberry Pi" not in seen.board:
        mend = (
            f"add {parameters} to the kernel's parameters (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub)"
        )
        return Check("cgroups", FAIL, found, words, f"{mend}, and boot it again")
    path = boot_file(seen)
    if not path:
        mend = f"add {parameters} to the kernel's parameters, where the machine's boot loader reads them, and boot it again"
        return Check("cgroups", FAIL, found, words, mend)
    if cmdline.missing(seen.boot_files[path], CGROUP_PARAMETERS):
        mend = f"add {parameters} to the line in {path}, and boot it again"
        return Check("cgroups", FAIL, found, words, mend, BY_BOOT, (path,))
    mend = f"boot it again: {path} asks for it already"
    return Check("cgroups", FAIL, found, words, mend, BY_REBOOT, (path,))


def boot_file(seen: Snapshot) -> str:
    """The file that the firmware reads. Where it has moved, a note about that lies at the old place."""
    return next((path for path in BOOT_FILES if cmdline.is_command_line(seen.boot_files.get(path, ""))), "")


# -- programs ---------------------------------------------------------------------------------------
def snapd(seen: Snapshot, wanted: Requirements) -> Check | None:
    if not wanted.snapd:
        return None
    words = "installed, answers, and comes back after a boot"
    if not seen.systemd:
        return Check("snapd", FAIL, "no systemd runs", words, "snapd needs a machine whose first process is systemd")
    if "snapd" not in parse.installed_packages(seen.dpkg):
        return Check("snapd", FAIL, "not installed", words, "sudo apt-get install snapd", BY_PACKAGES, ("snapd",))
    version = parse.snap_versions(seen.snap_version).get("snapd", "")
    states = parse.unit_states(seen.units)
    active = [unit for unit in ("snapd.socket", "snapd.service") if states.get(unit, ("", ""))[0] == "active"]
    mend = "sudo systemctl enable --now snapd.socket"
    if not active or version in ("", "unavailable"):
        failed = [unit for unit, state in states.items() if unit.startswith("snapd") and state[0] == "failed"]
        found = f"{failed[0]} has failed" if failed else "installed, but it does not answer"
        return Check("snapd", FAIL, found, words, f"{mend}; journalctl --unit snapd says why", BY_SERVICE)
    if not any(states.get(unit, ("", ""))[1].startswith("enabled") for unit in ("snapd.socket", "snapd.service")):
        return Check("snapd", WARN, f"{version}, not started at boot", words, mend, BY_SERVICE)
    return Check("snapd", PASS, f"{version}, {active[0]} is active", words)


def packages(seen: Snapshot, wanted: Requirements) -> Check | None:
    if not wanted.packages:
        return None
    there = parse.installed_packages(seen.dpkg)
    gone = tuple(name for name in wanted.packages if name not in there)
    words = ", ".join(wanted.packages)
    if not gone:
        return Check("packages", PASS, "all installed", words)
    mend = f"sudo apt-get install {' '.join(gone)}"
    return Check("packages", FAIL, f"missing: {', '.join(gone)}", words, mend, BY_PACKAGES, gone)


def modules(seen: Snapshot, wanted: Requirements) -> Check | None:
    if not wanted.modules:
        return None
    words = f"{', '.join(wanted.modules)}, also after a boot"
    loaded = parse.loaded_modules(seen.proc_modules)
    out = tuple(one for one in wanted.modules if one not in loaded and one not in seen.modules_builtin)
    if seen.container:
        return _modules_of_a_host(seen, out, words)
    hopeless = [one for one in out if one not in seen.modules_there]
    if hopeless:
        found = f"kernel {seen.kernel} does not have {', '.join(hopeless)}"
        return Check("modules", FAIL, found, words, "boot a kernel that has them (its modules' package may be missing)")
    if out:
        mend = f"sudo modprobe --all {' '.join(out)}, and name them in /etc/modules-load.d"
        return Check("modules", FAIL, f"not loaded: {', '.join(out)}", words, mend, BY_MODULES, wanted.modules)
    lasting = {*parse.modules_at_boot(seen.modules_load), *seen.modules_builtin}
    forgotten = [one for one in wanted.modules if one not in lasting]
    if forgotten:
        found = f"loaded, but nothing loads {', '.join(forgotten)} at the next boot"
        return Check(
            "modules", WARN, found, words, "name them in a file in /etc/modules-load.d", BY_MODULES, wanted.modules
        )
    return Check("modules", PASS, "loaded", words)


def _modules_of_a_host(seen: Snapshot, out: tuple[str, ...], words: str) -> Check:
    if not out:
        return Check("modules", PASS, "loaded by the host", words)
    if not seen.modules_known:
        found = f"not loaded: {', '.join(out)}; they may be in the host's kernel itself"
        return Check("modules", WARN, found, words, on_host(seen, f"sudo modprobe --all {' '.join(out)}"))
    return Check(
        "modules", FAIL, f"not loaded: {', '.join(out)}", words, on_host(seen, f"sudo modprobe --all {' '.join(out)}")
    )


# -- network and time -------------------------------------------------------------------------------
def ports(seen: Snapshot, wanted: Requirements) -> Check | None:
    if not wanted.ports:
        return None
    words = f"free: {', '.join(_range(one) for one in wanted.ports)}"
    taken: dict[str, str] = {}
    unseen = False
    for one in sorted(parse.listeners(seen.sockets), key=lambda one: (one.port, one.protocol)):
        if not any(is_in(one, span) for span in wanted.ports):
            continue
        owner = seen.owners.get(one.inode)
        if owner and any(word in owner["whose"] for word in wanted.port_owners):
            continue
        unseen = unseen or owner is None
        who = f"{owner['name']}, pid {owner['pid']}" if owner else "somebody"
        taken[f"{one.port}/{one.protocol}"] = who
    if not taken:
        return Check("ports", PASS, "free, or in use by the cluster itself", words)
    found = "in use: " + "; ".join(f"{port} by {who}" for port, who in taken.items())
    if unseen and not seen.root:
        return Check("ports", WARN, found, words, "look again as root, which sees who has them")
    return Check("ports", FAIL, found, words, "stop what has them, or give it other ports")


def is_in(one: parse.Listener, span: Ports) -> bool:
    """Whether a listener is within a range of ports."""
    return one.protocol == span.protocol and span.first <= one.port <= span.last


def _range(span: Ports) -> str:
    text = str(span.first) if span.first == span.last else f"{span.first}-{span.last}"
    return text if span.protocol == "tcp" else f"{text}/{span.protocol}"


def dns(seen: Snapshot, wanted: Requirements) -> Check | None:
    if not wanted.resolve:
        return None
    words = f"resolves {', '.join(wanted.resolve)}, and the machine's own name"
    servers = parse.nameservers(seen.resolv_conf)
    failed = [name for name in wanted.resolve if not seen.resolved.get(name)]
    if failed:
        asked = f"asked {', '.join(servers)}" if servers else "/etc/resolv.conf names no server"
        mend = "name a server that answers in /etc/resolv.conf, or in what writes it (netplan, systemd-resolved)"
        return Check("dns", FAIL, f"does not resolve {', '.join(failed)}; {asked}", words, mend)
    if not seen.resolved.get(seen.hostname):
        mend = f"add a line for {seen.hostname} to /etc/hosts, or to the name server"
        return Check("dns", WARN, f"does not resolve its own name, {seen.hostname}", words, mend)
    return Check("dns", PASS, f"resolves {', '.join((*wanted.resolve, seen.hostname))}", words)


def time(seen: Snapshot, wanted: Requirements) -> Check | None:
    if not wanted.time:
        return None
    words = "the clock is synchronised"
    states = parse.unit_states(seen.units)
    running = [unit.partition(".")[0] for unit in TIME_UNITS if states.get(unit, ("", ""))[0] == "active"]
    by = f" by {running[0]}" if running else ""
    if 0 <= seen.clock_error < LARGEST_CLOCK_ERROR:
        whose = " by the container's host" if seen.container else by
        return Check("time", PASS, f"synchronised{whose}", words)
    if seen.container:
        return Check("time", WARN, "the host's clock is not synchronised", words, on_host(seen, "have it synchronised"))
    if running:
        mend = f"wait a little; if it stays so, {running[0]} does not reach its server"
        return Check("time", WARN, f"{running[0]} runs, but has not synchronised yet", words, mend)
    mend = "sudo apt-get install systemd-timesyncd, sudo timedatectl set-ntp true"
    return Check("time", FAIL, "not synchronised, and nothing does it", words, mend, BY_TIME)


# -- who the machine is -----------------------------------------------------------------------------
def hostname(seen: Snapshot, _wanted: Requirements) -> Check:
    words = "lower-case letters, digits, - and ."
    if parse.is_node_name(seen.hostname):
        return Check("hostname", PASS, seen.hostname, words)
    mend = "sudo hostnamectl set-hostname NAME"
    return Check("hostname", FAIL, seen.hostname or "none", words, mend)


def machine_id(seen: Snapshot, _wanted: Requirements) -> Check:
    words = "an id of its own in /etc/machine-id"
    if parse.is_machine_id(seen.machine_id):
        return Check("machine_id", PASS, seen.machine_id, words)
    mend = NEW_MACHINE_ID
    return Check("machine_id", FAIL, seen.machine_id or "none", words, mend)


#: Makes a new machine id.
NEW_MACHINE_ID = "sudo rm -f /etc/machine-id /var/lib/dbus/machine-id; sudo systemd-machine-id-setup; boot it again"

LOOKS: tuple[Callable[[Snapshot, Requirements], Check | None], ...] = (
    system,
    architecture,
    memory,
    disk,
    swap,
    cgroups,
    modules,
    packages,
    snapd,
    ports,
    dns,
    time,
    hostname,
    machine_id,
)
