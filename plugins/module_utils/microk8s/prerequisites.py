# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine needs for MicroK8s: each need met, nearly met or missing, and how to mend it. Only reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import DeadlineExceeded, NotFound
from .runner import Runner

PASS, WARN, FAIL = "pass", "warn", "fail"
ARCHITECTURES = ("x86_64", "aarch64", "ppc64le", "s390x")
#: system -> the first release that is known to do
SYSTEMS = {"ubuntu": 20.04, "debian": 11.0}
#: GiB: what it needs, what it ought to have
MEMORY = (2.0, 4.0)
DISK = (10.0, 20.0)
#: Some of the memory is the kernel's own before anybody counts.
GRACE = 0.9
GIB = 1 << 30
MODULES = ("br_netfilter", "overlay", "vxlan")
CONTROLLERS = ("cpu", "memory", "pids")
#: port -> who listens there
PORTS = {
    10250: "kubelet",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
    16443: "kube-apiserver",
    19001: "dqlite",
    25000: "cluster-agent",
}
PI_FLAGS = "cgroup_enable=memory cgroup_memory=1"
PI_FILES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")
#: A name of a Kubernetes node.
_NODE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_LISTENING = "0A"


@dataclass(frozen=True)
class Check:
    """One need. ``mend`` says how to meet it, where it is not met."""

    name: str
    result: str
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Machine:
    """Where things are looked for; tests look elsewhere."""

    runner: Runner
    root: Path = Path("/")
    name: str = ""
    architecture: str = ""
    release: str = ""
    host_to_resolve: str = "api.snapcraft.io"
    seconds: float = 10.0

    @classmethod
    def here(cls, runner: Runner, host_to_resolve: str) -> Machine:
        found = os.uname()
        return cls(runner, Path("/"), found.nodename, found.machine, found.release, host_to_resolve)

    def text(self, path: str) -> str:
        """A file's text; empty where there is none."""
        try:
            return (self.root / path).read_text(errors="replace").replace("\0", "")
        except OSError:
            return ""

    def answer(self, *argv: str) -> str | None:
        """A command's output; None where it fails, is missing or takes too long."""
        try:
            result = self.runner.run(argv, self.seconds)
        except (NotFound, DeadlineExceeded):
            return None
        return result.out.strip() if result.rc == 0 else None


def check_all(machine: Machine) -> list[Check]:
    """Every need, in the order in which one would mend them."""
    checks = (_system, _architecture, _init, _hostname, _memory, _disk, _cgroups, _modules, _snapd, _time, _ports)
    return [found for check in checks for found in check(machine)] + list(_dns(machine))


def _system(machine: Machine) -> Iterator[Check]:
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', machine.text("etc/os-release"), re.M))
    name, version = fields.get("ID", ""), fields.get("VERSION_ID", "")
    what = fields.get("PRETTY_NAME") or "a system without /etc/os-release"
    first = SYSTEMS.get(name)
    if first is None:
        yield Check("system", WARN, f"{what} has not been tried", "Ubuntu 20.04 or newer, Debian 11 or newer")
    elif re.fullmatch(r"[\d.]+", version) and float(version) < first:
        yield Check("system", FAIL, f"{what} is too old", f"take {name} {first:g} or newer")
    else:
        yield Check("system", PASS, what)


def _architecture(machine: Machine) -> Iterator[Check]:
    good = machine.architecture in ARCHITECTURES
    mend = "" if good else f"MicroK8s is built for {', '.join(ARCHITECTURES)}"
    yield Check("architecture", PASS if good else FAIL, machine.architecture, mend)


def _init(machine: Machine) -> Iterator[Check]:
    good = (machine.root / "run/systemd/system").is_dir()
    what = "systemd runs" if good else "systemd does not run"
    yield Check(
        "systemd", PASS if good else FAIL, what, "" if good else "snapd needs a machine that systemd has started"
    )


def _hostname(machine: Machine) -> Iterator[Check]:
    good = bool(_NODE.fullmatch(machine.name)) and not machine.name.startswith("localhost")
    mend = "" if good else "hostnamectl set-hostname NAME: lower-case letters, digits, - and ., and a name of its own"
    yield Check("hostname", PASS if good else FAIL, machine.name, mend)


def _sized(name: str, size: float, bounds: tuple[float, float], what: str, mend: str) -> Check:
    least, better = bounds
    result = FAIL if size < least * GRACE else WARN if size < better * GRACE else PASS
    return Check(name, result, what, "" if result == PASS else f"{mend}: {least:g} GiB at least, better {better:g}")


def _memory(machine: Machine) -> Iterator[Check]:
    found = re.search(r"^MemTotal:\s+(\d+) kB", machine.text("proc/meminfo"), re.M)
    size = int(found[1]) * 1024 / GIB if found else 0.0
    yield _sized("memory", size, MEMORY, f"{size:.1f} GiB", "more memory")


def _disk(machine: Machine) -> Iterator[Check]:
    places = [path for path in (machine.root / "var/snap", machine.root / "var") if path.exists()]
    place = (places or [machine.root])[0]
    found = os.statvfs(place)
    size = found.f_bavail * found.f_frsize / GIB
    yield _sized("disk", size, DISK, f"{size:.1f} GiB free at /var", "more room at /var/snap")


def _cgroups(machine: Machine) -> Iterator[Check]:
    unified = machine.text("sys/fs/cgroup/cgroup.controllers").split()
    rows = [line.split() for line in machine.text("proc/cgroups").splitlines() if not line.startswith("#")]
    listed = unified or [row[0] for row in rows if len(row) == 4 and row[3] == "1"]
    missing = [name for name in CONTROLLERS if name not in listed]
    kind = "cgroup v2" if unified else "cgroup v1"
    if not missing:
        yield Check("cgroups", PASS, f"{kind} with {', '.join(CONTROLLERS)}")
        return
    mend = "a kernel with these controllers"
    if "memory" in missing and (file := pi_file(machine)):
        mend = f"append {PI_FLAGS} to the line in /{file}, and reboot"
    yield Check("cgroups", FAIL, f"{kind} without {', '.join(missing)}", mend)


def pi_file(machine: Machine) -> str:
    """Where a Raspberry Pi has the kernel's arguments; empty on other machines."""
    if not machine.text("proc/device-tree/model").startswith("Raspberry Pi"):
        return ""
    return next((path for path in PI_FILES if (machine.root / path).is_file()), PI_FILES[0])


def _modules(machine: Machine) -> Iterator[Check]:
    folder = f"lib/modules/{machine.release}"
    listed = machine.text(f"{folder}/modules.dep") + machine.text(f"{folder}/modules.builtin")
    known = {Path(line.partition(":")[0]).name.partition(".")[0].replace("-", "_") for line in listed.splitlines()}
    loaded = {line.split()[0] for line in machine.text("proc/modules").splitlines() if line.strip()}
    built_in = {name for name in MODULES if (machine.root / "sys/module" / name).is_dir()}
    missing = [name for name in MODULES if name not in known | loaded | built_in]
    if missing:
        mend = "install the kernel's modules (linux-modules-extra on Ubuntu); in a container, load them on its host"
        yield Check("modules", WARN, f"neither loaded nor to be had: {', '.join(missing)}", mend)
    else:
        yield Check("modules", PASS, ", ".join(MODULES))


def _snapd(machine: Machine) -> Iterator[Check]:
    good = (machine.root / "usr/bin/snap").exists()
    yield Check("snapd", PASS if good else FAIL, "there" if good else "not there", "" if good else "apt install snapd")


def _time(machine: Machine) -> Iterator[Check]:
    told = machine.answer("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if told == "yes":
        yield Check("time", PASS, "synchronised")
    else:
        what = "not synchronised" if told == "no" else "nobody knows whether it is synchronised"
        yield Check("time", WARN, what, "apt install systemd-timesyncd; timedatectl set-ntp true")


def _ports(machine: Machine) -> Iterator[Check]:
    if (machine.root / "var/snap/microk8s").exists():
        yield Check("ports", PASS, "MicroK8s is there already, and has them itself")
        return
    taken = [port for port in sorted(PORTS) if port in _listening(machine)]
    listed = ", ".join(f"{port} ({PORTS[port]})" for port in taken)
    mend = "see who has them with ss -ltnp, and stop it" if taken else ""
    yield Check("ports", FAIL if taken else PASS, f"taken: {listed}" if taken else "free", mend)


def _listening(machine: Machine) -> set[int]:
    rows: Sequence[list[str]] = [
        line.split() for name in ("tcp", "tcp6") for line in machine.text(f"proc/net/{name}").splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENING}


def _dns(machine: Machine) -> Iterator[Check]:
    name = machine.host_to_resolve
    if not name:
        return
    found = machine.answer("getent", "hosts", name)
    mend = "" if found else "see /etc/resolv.conf; where no store is to be reached, ask for another name, or for none"
    yield Check("dns", PASS if found else WARN, f"{name} {'has' if found else 'has no'} address", mend)


def summary(checks: Sequence[Check]) -> list[str]:
    """A line for each need that is not met, those that must be mended first."""
    order = {FAIL: 0, WARN: 1}
    open_ones = sorted((check for check in checks if check.result != PASS), key=lambda check: order[check.result])
    return [f"{check.result}: {check.name}: {check.what}; {check.mend}" for check in open_ones]
