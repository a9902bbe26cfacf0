# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receptor nodes for tests: folders of their own, loopback only, gone at the end, however that comes.

The program is Debian's, unpacked and not installed. apt fetches it from the mirror that this machine uses, into
folders of the tests, and checks the archive's signature and the package's digest as it always does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.daemon import ROOT, exclusive, free_port, run

from tests.tools.folders import temporary_folder

#: Debian's release that has the package, and is not this machine's perhaps.
SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECONDS = 60.0


class Missing(Exception):
    """There is no Receptor here, and none can be had."""


def program() -> Path:
    """Receptor's program. Raises Missing with the reason."""
    found = shutil.which("receptor")
    if found:
        return Path(found)
    with exclusive("receptor"):
        place = ROOT / "receptor"
        if not (place / "usr/bin/receptor").exists():
            try:
                _unpack(place)
            except (OSError, RuntimeError) as error:
                raise Missing(f"Debian's package receptor cannot be had: {' '.join(str(error).split())}") from error
        return place / "usr/bin/receptor"


def _unpack(place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        work = Path(name)
        for part in ("lists/partial", "archives/partial", "sources", "tree"):
            (work / part).mkdir(parents=True)
        source = f"Types: deb\nURIs: {_mirror()}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n"
        (work / "sources/debian.sources").write_text(source)
        places = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": work / "sources",
            "Dir::State::lists": work / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": work,
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Sandbox::User": "root",
        }
        apt = ["apt-get", "-q", *(word for key, value in places.items() for word in ("-o", f"{key}={value}"))]
        run(*apt, "update", cwd=work, timeout=300)
        run(*apt, "download", "receptor", cwd=work, timeout=300)
        run("dpkg-deb", "-x", *work.glob("receptor_*.deb"), work / "tree")
        shutil.rmtree(place, ignore_errors=True)
        (work / "tree").rename(place)


def _mirror() -> str:
    """The mirror of Debian that apt uses here."""
    folder = Path("/etc/apt")
    for path in [*sorted((folder / "sources.list.d").glob("*.sources")), folder / "sources.list"]:
        text = path.read_text() if path.exists() else ""
        found = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?)\s*(\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
        if found:
            return found[1]
    raise RuntimeError("apt's sources name no mirror of Debian")


class Node:
    """A node and all that it starts, in a process namespace that ends with this process."""

    def __init__(
        self, binary: Path, folder: Path, name: str, config: list[dict[str, Any]], env: dict[str, str]
    ) -> None:
        self.name = name
        self.data = folder / name
        self.data.mkdir()
        self.socket = folder / f"{name}.sock"
        self.scratch = folder / f"{name}.tmp"
        self.scratch.mkdir()
        self._log = folder / f"{name}.log"
        own = [
            {"node": {"id": name, "datadir": str(self.data)}},
            {"control-service": {"service": "control", "filename": str(self.socket)}},
        ]
        (folder / f"{name}.json").write_text(json.dumps([*own, *config]))  # YAML, too
        alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        self._argv = [*alone, str(binary), "-c", str(folder / f"{name}.json")]
        self._env = {**env, "TMPDIR": str(self.scratch)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """Whether it answers; not if it has ended, as where its port was taken meanwhile."""
        self.socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._process = process

        def answers() -> bool | None:
            return False if process.poll() is not None else self._answers() or None

        return wait_until(answers, Deadline(SECONDS), what=f"node {self.name}", first=0.02, last_seen=self.output)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("status"))
        except OSError:
            return False

    def ask(self, command: str) -> dict[str, Any]:
        """The answer of the control socket."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SECONDS)
            line.connect(str(self.socket))
            with line.makefile("rwb") as file:
                file.readline()
                file.write(f"{command}\n".encode())
                file.flush()
                found: dict[str, Any] = json.loads(file.readline())
                return found

    def units(self) -> list[str]:
        """Folders of units of work that it keeps."""
        return [path.name for path in (self.data / self.name).glob("*")]

    def output(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        if self._process:
            self._process.kill()
            self._process.wait(SECONDS)


class Mesh:
    """Two nodes that know each other: ``here``, where jobs are submitted, and ``there``, which runs them."""

    def __init__(self, here: Node, there: Node) -> None:
        self.here = here
        self.there = there

    def wait_joined(self) -> None:
        def joined() -> bool | None:
            offers = self.here.ask("status").get("Advertisements") or ()
            routes = self.here.ask("status").get("RoutingTable") or {}
            return (self.there.name in routes and any(one["NodeID"] == self.there.name for one in offers)) or None

        wait_until(joined, Deadline(SECONDS), what="the two nodes to know each other", last_seen=self.here.output)


@contextmanager
def running(env: dict[str, str]) -> Iterator[Mesh]:
    """A mesh whose second node does signed work only. ``env`` is the nodes' environment. Raises Missing."""
    binary = program()
    if os.getuid() != 0:
        raise Missing("the nodes get process namespaces of their own, which only root can make")
    folder = temporary_folder()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        secret, public = folder / "key.pem", folder / "key.pub"
        run("openssl", "genrsa", "-out", secret, "2048")
        run("openssl", "rsa", "-in", secret, "-pubout", "-out", public)
        work = {"worktype": "rackstead", "command": sys.executable, "params": "-m rackstead.cli node"}
        there, port = _listening(
            binary,
            folder,
            [
                {"work-verification": {"publickey": str(public)}},
                {"work-command": {**work, "verifysignature": True}},
            ],
            env,
            stack,
        )
        peer = {"tcp-peer": {"address": f"127.0.0.1:{port}"}}
        here = Node(
            binary, folder, "here", [peer, {"work-signing": {"privatekey": str(secret), "tokenexpiration": "5m"}}], env
        )
        stack.callback(here.kill)
        if not here.start():
            raise RuntimeError(f"node {here.name} has ended: {here.output()}")
        mesh = Mesh(here, there)
        mesh.wait_joined()
        yield mesh


def _listening(
    binary: Path, folder: Path, config: list[dict[str, Any]], env: dict[str, str], stack: ExitStack
) -> tuple[Node, int]:
    for number in range(5):
        port = free_port("127.0.0.1")
        listener = {"tcp-listener": {"port": port, "bindaddr": "127.0.0.1"}}
        node = Node(binary, folder, f"there{number}", [listener, *config], env)
        stack.callback(node.kill)
        if node.start():
            return node, port
    raise RuntimeError(f"no node could listen: {node.output()}")
