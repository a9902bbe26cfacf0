# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare machine for tests: this machine as it was before anybody installed Incus, thrown away at the end.

An overlay on the root file system takes every write. Processes, mounts and the network are
namespaces of their own below a process that ends when its standard input does, so whatever happens
in the machine, the one below it never notices, and when the tests end, however they end, the kernel
takes all of it down. Its network card hangs on a bridge that reaches the package mirror.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.daemon import Daemon

CHECKOUT = Path(__file__).resolve().parents[2]

#: What a machine must not have before it is initialised.
PACKAGES = (
    "incus incus-base incus-client incus-agent lxcfs dnsmasq-base runit mmdebstrap squashfs-tools squashfs-tools-ng"
)
#: Folders of daemons and of the role. The machine below goes on writing to its own, so they are hidden, not removed.
FOLDERS = "/var/lib/incus /var/log/incus /var/cache/incus /var/lib/rackstead /var/log/rackstead /var/cache/rackstead"
#: Runs in the new namespaces. $1 a folder to mount things below, $2 folders to hide (an overlay hides what is a
#: device 0/0 above); then folders of the machine below to share.
BOOT = r"""
set -eu
here=$1 hidden=$2; shift 2
mount -t tmpfs -o size=8g tmpfs "$here"
mkdir "$here/upper" "$here/work" "$here/root"
for folder in $hidden; do mkdir -p "$here/upper${folder%/*}"; mknod "$here/upper$folder" c 0 0; done
mount -t overlay overlay -o "lowerdir=/,upperdir=$here/upper,workdir=$here/work" "$here/root"
root=$here/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir "$root/run/upper" "$root/run/lock"
mount --bind "$here/upper" "$root/run/upper"
for shared; do mkdir -p "$root$shared"; mount --rbind "$shared" "$root$shared"; done
cd "$root"
pivot_root . mnt
umount -l /mnt
touch /run/booted
exec env --ignore-signal=CHLD cat  # whom nobody waits for is not to stay a zombie
"""


@dataclass
class BareMachine:
    """A machine to run commands on. ``shared`` are folders that it shares with the machine below."""

    daemon: Daemon
    name: str
    shared: Sequence[Path] = ()
    _holder: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def netns(self) -> str:
        return f"{self.daemon.bridge}{self.name}"

    def start(self) -> None:
        folder = self.daemon.slot.folder / f"machine-{self.name}"
        folder.mkdir()
        self._network()
        argv = ["nsenter", f"--net=/run/netns/{self.netns}", "unshare", "--pid", "--fork", "--kill-child=KILL"]
        argv += ["--mount", "--uts", "--propagation=private", "sh", "-c", BOOT, "boot", str(folder), FOLDERS]
        argv += [str(path) for path in (CHECKOUT, os.environ["ANSIBLE_COLLECTIONS_PATH"], *self.shared)]
        self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: self._booted() or None, Deadline(20), what="the bare machine")

    def _booted(self) -> bool:
        assert self._holder is not None
        if self._holder.poll() is not None:
            raise RuntimeError("the bare machine could not be made: is there overlayfs, and are you root?")
        return self._init() != 0 and Path(f"/proc/{self._init()}/root/run/booted").exists()

    def _init(self) -> int:
        assert self._holder is not None
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _network(self) -> None:
        """A veth pair to the daemon's bridge, with the last address of its subnet, and the gateway's NAT."""
        gateway = ipaddress.ip_interface(
            self.daemon.client().get(f"/networks/{self.daemon.bridge}")["config"]["ipv4.address"]
        )
        address = f"{gateway.network[-2]}/{gateway.network.prefixlen}"
        (self.daemon.slot.folder / f"{self.netns}.netns").write_text(self.netns)
        peer = f"{self.netns}p"[-15:]
        inside = ["ip", "-n", self.netns]
        for argv in (
            ["ip", "netns", "add", self.netns],
            [
                "ip",
                "link",
                "add",
                peer,
                "master",
                self.daemon.bridge,
                "type",
                "veth",
                "peer",
                "eth0",
                "netns",
                self.netns,
            ],
            ["ip", "link", "set", peer, "up"],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "addr", "add", address, "dev", "eth0"],
            [*inside, "link", "set", "eth0", "up"],
            [*inside, "route", "add", "default", "via", str(gateway.ip)],
        ):
            subprocess.run(argv, check=True)

    def make_bare(self) -> None:
        """Take away Incus and all that came with it."""
        listing = self.ok("dpkg-query", "--show", "--showformat", "${Package}\\n").split()
        present = [package for package in PACKAGES.split() if package in listing]
        if present:
            self.ok("apt-get", "purge", "--yes", "-qq", *present)
        self.ok("sh", "-c", "rm -f /etc/apt/sources.list.d/*backports* /var/lib/apt/lists/*backports*")
        self.ok("sh", "-c", "sed -i /^root:/d /etc/subuid /etc/subgid; groupdel incus-admin; groupdel incus; true")

    def prefix(self) -> list[str]:
        init = self._init()
        kinds = {"mount": "mnt", "pid": "pid", "net": "net", "uts": "uts"}
        spaces = [f"--{kind}=/proc/{init}/ns/{file}" for kind, file in kinds.items()]
        return ["nsenter", *spaces, f"--root=/proc/{init}/root", "--wdns=/root"]

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("INCUS_", "RACKSTEAD_"))}
        environment = {**kept, "DEBIAN_FRONTEND": "noninteractive", **(env or {})}
        return subprocess.run([*self.prefix(), *argv], capture_output=True, text=True, env=environment, timeout=timeout)

    def ok(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 300) -> str:
        """Output of a command that must succeed."""
        done = self.run(*argv, env=env, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: rc {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def written(self, *ignored: str) -> dict[str, str]:
        """Every file, link and folder that was written since the machine was made: path -> kind, mode, size, time."""
        listing = self.ok("find", "/run/upper", "-mindepth", "1", "-printf", "%P\\t%y %m %s %T@ %C@\\n")
        found = dict(line.split("\t", 1) for line in listing.splitlines())
        # What was removed is a device in the overlay, one for all: its times change with each removal.
        return {
            f"/{path}": "removed" if what.startswith("c ") else what
            for path, what in found.items()
            if not f"/{path}/".startswith(tuple(ignored))
        }

    def stop(self) -> None:
        if self._holder is None:
            return
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(timeout=30)
        self._holder = None
        subprocess.run(["ip", "netns", "delete", self.netns], check=True)


@contextmanager
def bare_machine(daemon: Daemon, name: str, *shared: Path) -> Iterator[BareMachine]:
    """A machine without Incus, gone at the end."""
    machine = BareMachine(daemon, name, shared)
    try:
        machine.start()
        machine.make_bare()
        yield machine
    finally:
        machine.stop()


def playbook(
    machine: BareMachine, folder: Path, book: str, arguments: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the machine, by its own ansible-playbook."""
    path = folder / "play.yml"
    path.write_text(book)
    return machine.run("ansible-playbook", "-i", "localhost,", "-c", "local", str(path), *arguments)
