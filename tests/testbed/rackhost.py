# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system of a server in a rack: what boots when its power goes on. A real sshd, in namespaces of its own.

All systems have the same path for what is theirs alone: it leads each to a folder of its own. As a system that came
from the network does, each has a new host key, a new boot ID and no temporary files at every boot.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from standins import sum as standin
from testbed import rackbios
from testbed.bmc import installed, spawn
from testbed.daemon import exclusive, run

#: A home of its own: the shell of whoever runs the tests may do much when it starts.
CONFIG = """Port {port}
ListenAddress {address}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {key}.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
MaxStartups 100
SetEnv HOME={home} TMPDIR={home}/tmp
Subsystem sftp internal-sftp
"""
#: SUM comes with every system that boots; what it knows is the board's and outlives them.
SUM = """#!/bin/sh
SUM_STATE={seen_at}/sum.state exec {python} -I -S {program} "$@"
"""
BOOT_ID = "/proc/sys/kernel/random/boot_id"
POLICY = Path("/usr/sbin/policy-rc.d")


def sshd() -> str:
    """Path of ``sshd``. Where Debian's package is installed for it, no service is started."""
    with exclusive("sshd"), _no_service():
        program = installed("sshd", "openssh-server")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return program


@contextmanager
def _no_service() -> Iterator[None]:
    if POLICY.exists() or Path("/usr/sbin/sshd").exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def make_key(path: Path) -> Path:
    """A key pair of SSH."""
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rack", "-f", path)
    return path


class Host:
    """One system: its folder, seen at ``seen_at`` by itself, and its sshd while it is up."""

    def __init__(self, folder: Path, seen_at: Path, address: str, port: int, key: Path) -> None:
        self.folder, self.seen_at = folder, seen_at
        self.address, self.port = address, port
        self.boots = 0
        self._process: subprocess.Popen[bytes] | None = None
        words = {"port": port, "address": address, "folder": folder, "key": key, "home": seen_at}
        (folder / "sshd_config").write_text(CONFIG.format(**words))
        self._state = folder / "sum.state"
        self._state.mkdir()
        (self._state / "bios.xml").write_bytes(rackbios.before())
        (folder / "sum").write_text(SUM.format(seen_at=seen_at, python=sys.executable, program=standin.__file__))
        (folder / "sum").chmod(0o755)

    def start(self) -> None:
        """Boot. Whoever calls must live as long as the system is to."""
        self.stop()
        self.boots += 1
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink(missing_ok=True)
        make_key(self.folder / "host_key")
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        (self.folder / "tmp").mkdir()
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        mounts = f'mount --bind "{self.folder}/boot_id" {BOOT_ID} && mount --bind "{self.folder}" "{self.seen_at}"'
        post = f"{self.seen_at}/sum --booted"
        mount = f'{mounts} && {post} && exec {sshd()} -D -e -f "{self.folder}/sshd_config"'
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._process = spawn([*namespaces, "sh", "-c", mount], self.folder)

    def stop(self) -> None:
        """Lose power: everything that runs there ends at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=60)
            self._process = None

    # -- its BIOS, and the SUM on it ------------------------------------------------------------------
    def bios(self) -> bytes:
        """The settings with which it runs."""
        return (self._state / "bios.xml").read_bytes()

    def pending(self) -> list[str]:
        """What waits for the next boot."""
        return sorted(path.name for path in self._state.glob("pending*.xml"))

    def pushes(self) -> int:
        """How often SUM was told to change something."""
        calls = self._state / "calls.jsonl"
        return calls.read_text().count('"ChangeBiosCfg"') if calls.exists() else 0

    def faults(self, **faults: Any) -> None:
        """Have SUM fail: see the stand-in for it."""
        (self._state / "faults.json").write_text(json.dumps(faults))

    @property
    def up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether somebody may log in."""
        with socket.socket() as caller:
            caller.settimeout(0.5)
            try:
                caller.connect((self.address, self.port))
                return caller.recv(4) == b"SSH-"
            except OSError:
                return False
