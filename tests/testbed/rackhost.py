# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system of a server in a rack: what boots when its power goes on. A real sshd, in namespaces of its own.

All systems have the same path for what is theirs alone: it leads each to a folder of its own. As a system that came
from the network does, each has a new host key, a new boot ID and no temporary files at every boot.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from testbed.bmc import installed, spawn
from testbed.daemon import exclusive, run

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
SetEnv TMPDIR={tmp}
Subsystem sftp internal-sftp
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
        words = {"port": port, "address": address, "folder": folder, "key": key, "tmp": seen_at / "tmp"}
        (folder / "sshd_config").write_text(CONFIG.format(**words))

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
        mount = f'{mounts} && exec {sshd()} -D -e -f "{self.folder}/sshd_config"'
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._process = spawn([*namespaces, "sh", "-c", mount], self.folder)

    def stop(self) -> None:
        """Lose power: everything that runs there ends at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=60)
            self._process = None

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
