# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines to reach over SSH: names in an inventory behind one throw-away sshd of this machine."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.daemon import exclusive, free_port

SSHD = "/usr/sbin/sshd"
#: Seconds in which it listens, also on a busy machine.
PATIENCE = 60.0


def ensure_sshd() -> None:
    """Install Debian's OpenSSH server if it is missing. Its own service is not used."""
    if not Path(SSHD).exists() or not shutil.which("ssh"):
        with exclusive("packages"):
            apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq"]
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run([*apt, "update"], check=True, env=env, stdout=subprocess.DEVNULL)
            packages = ["openssh-server", "openssh-client"]
            subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True, env=env)
    Path("/run/sshd").mkdir(exist_ok=True)


class Nodes:
    """An sshd in a folder, and inventories of names that lead to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    def variables(self, **more: Any) -> dict[str, Any]:
        """How a name leads to it. The connection is not kept: nothing outlives the play."""
        options = f"-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=yes"
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.folder / "id"),
            "ansible_ssh_common_args": options,
            "ansible_ssh_args": "-o ControlMaster=no -o ControlPath=none -o ConnectTimeout=60",
            "ansible_python_interpreter": sys.executable,
            **more,
        }

    def inventory(self, names: list[str], **others: dict[str, Any]) -> Path:
        """A file with these names, and ``others`` with variables of their own on top."""
        hosts = {name: self.variables() for name in names}
        hosts |= {name: self.variables(**given) for name, given in others.items()}
        path = self.folder / "hosts.yml"
        path.write_text(json.dumps({"all": {"children": {"nodes": {"hosts": hosts}}}}))
        return path

    def prepare(self) -> None:
        for name in ("host", "id"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        public = (self.folder / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        shutil.copy(self.folder / "id.pub", self.folder / "authorized_keys")
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder}/host",
            f"PidFile {self.folder}/sshd.pid",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            # A user's own .bashrc may do anything: on one machine it waits up to a minute for a lock. Bash reads it for
            # a command that comes over SSH, in the home folder and at the first level of shells only.
            f"SetEnv HOME={self.folder} SHLVL=9",
            "MaxStartups 500",
            "LoginGraceTime 300",
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def answers(self) -> bool | None:
        with closing(socket.socket()) as probe:
            probe.settimeout(5)
            return True if probe.connect_ex(("127.0.0.1", self.port)) == 0 else None


@contextmanager
def nodes(folder: Path) -> Iterator[Nodes]:
    """The sshd, which ends with the block, or with this process however that ends."""
    ensure_sshd()
    folder.mkdir(mode=0o700, exist_ok=True)
    made = Nodes(folder)
    made.prepare()
    with (folder / "log").open("wb") as log:
        argv = ["setpriv", "--pdeathsig", "KILL", SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
        sshd = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(
            made.answers,
            Deadline(PATIENCE),
            what="sshd to listen",
            last_seen=lambda: (folder / "log").read_text(errors="replace"),
        )
        yield made
    finally:
        sshd.kill()
        sshd.wait(PATIENCE)
