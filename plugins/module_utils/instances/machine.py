# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine has of what a provider needs: programs, packages, services, ids, firewall. Reads only."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import RacksteadError, Unreachable
from . import firewall
from .incus.client import IncusClient

#: Where packages put the daemon: Debian and Ubuntu, the upstream project's packages, and others.
PROGRAMS = (
    "/usr/libexec/incus/incusd",
    "/opt/incus/bin/incusd",
    "/usr/lib/incus/incusd",
    "/usr/sbin/incusd",
    "/usr/bin/incusd",
)
LXCFS = "/var/lib/lxcfs"
LXD = ("/var/lib/lxd/containers", "/var/snap/lxd/common/lxd")
SUBORDINATE = ("/etc/subuid", "/etc/subgid")
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Questions:
    """What to look for. ``supervisor_pid`` is the pid file of runsvdir, ``files`` those to take digests of."""

    bridge: str
    group: str
    supervisor_pid: str
    packages: Sequence[str] = ()
    users: Sequence[str] = ()
    files: Sequence[str] = ()


def look(client: IncusClient, ask: Questions) -> dict[str, Any]:
    """Everything at once; the keys are documented in the module provider_host_info."""
    installed = installed_packages()
    return {
        "daemon": daemon(client),
        "program": next((program for program in PROGRAMS if os.access(program, os.X_OK)), ""),
        "packages_missing": [name for name in ask.packages if name not in installed],
        "virtual_machines": all(Path(path).exists() for path in ("/dev/kvm", "/dev/vhost-vsock")),
        "apparmor": Path("/sys/kernel/security/apparmor").exists(),
        "lxcfs": not _is_dead(LXCFS) and os.path.ismount(LXCFS),
        "lxd": any(Path(path).exists() for path in LXD),
        "unit": output("systemctl", "show", "--property=ActiveState", "--value", "incus.service").strip(),
        "supervisor": supervisor_runs(ask.supervisor_pid),
        "subordinate_ids": {path: root_ranges(path) for path in SUBORDINATE},
        "group": group_exists(ask.group),
        "users_unknown": [name for name in ask.users if not user_exists(name)],
        "users_outside": [name for name in ask.users if name not in members(ask.group)],
        "digests": {path: digest(path) for path in ask.files},
        "neighbours": neighbours(ask.bridge),
    }


def output(*argv: str) -> str:
    """What a command printed; nothing where it is missing or fails."""
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            argv, check=False, capture_output=True, text=True, env={"PATH": SEARCH, "LC_ALL": "C"}, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def daemon(client: IncusClient) -> dict[str, Any]:
    """Whether a daemon answers, and which. One that answers with an error answers, too."""
    try:
        found = client.get("")
    except Unreachable:
        return {"answers": False, "pid": 0, "version": ""}
    except RacksteadError:
        return {"answers": True, "pid": 0, "version": ""}
    environment = found.get("environment") or {}
    return {
        "answers": True,
        "pid": int(environment.get("server_pid") or 0),
        "version": str(environment.get("server_version") or ""),
    }


def installed_packages() -> set[str]:
    listing = output("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n")
    return {line.split()[0] for line in listing.splitlines() if line.endswith(" installed")}


def _is_dead(mount: str) -> bool:
    """Whether a FUSE mount has lost its process."""
    try:
        os.stat(mount)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def supervisor_runs(pid_file: str) -> bool:
    """Whether the pid in ``pid_file`` is a runsvdir that runs. A pid may belong to somebody else by now."""
    try:
        pid = int(Path(pid_file).read_text())
        name, _paren, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (OSError, ValueError):
        return False
    return name.endswith("(runsvdir") and rest.split()[0] not in "ZX"


def root_ranges(path: str) -> list[str]:
    """Root's ranges of subordinate ids, as lines such as ``root:1000000:1000000000``."""
    try:
        text = Path(path).read_text()
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if re.match(r"(root|0):", line)]


def group_exists(name: str) -> bool:
    return any(group.gr_name == name for group in grp.getgrall())


def user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def members(group: str) -> Iterable[str]:
    return next((found.gr_mem for found in grp.getgrall() if found.gr_name == group), [])


def digest(path: str) -> str:
    """SHA-256 of a file, or nothing where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def neighbours(bridge: str) -> list[dict[str, Any]]:
    """Firewalls of others in the way of ``bridge``."""
    seen = firewall.Seen(
        iptables=output("iptables", "-S"),
        ip6tables=output("ip6tables", "-S"),
        chains=output("nft", "-j", "list", "chains"),
        firewalld_zone=output("firewall-cmd", f"--get-zone-of-interface={bridge}").strip(),
        bridged=_bridged(),
    )
    found = firewall.findings(seen, bridge)
    return [{"neighbour": one.neighbour, "problem": one.problem, "commands": list(one.commands)} for one in found]


def _bridged() -> bool:
    try:
        return Path("/proc/sys/net/bridge/bridge-nf-call-iptables").read_text().strip() == "1"
    except OSError:
        return False
