# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MicroK8s and snap as their command lines offer them: typed answers, and an error for each trap.

Exit codes are not trusted: a stopped node and a worker answer plain text with 0.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from ..common.deadline import Deadline, wait_until
from ..common.errors import NotFound, OperationFailed, Unreachable
from . import parse
from .model import Certificate, DatastoreMember, Node, NotRunning, OnWorker, Snap, Status
from .runner import Local, Result, Runner

STOPPED = "microk8s is not running, try microk8s start"
WORKER = "This MicroK8s deployment is acting as a node in a cluster."
ALONE = "This MicroK8s deployment is not acting as a node in a cluster."
#: Seconds for a command that only looks.
QUICK = 60.0
#: Seconds for one that changes the cluster.
SLOW = 900.0
TOKEN_TTL = 300


class MicroK8s:
    """One machine's MicroK8s."""

    def __init__(
        self,
        runner: Runner | None = None,
        command: str = "/snap/bin/microk8s",
        snap: str = "/usr/bin/snap",
        data_dir: str = "/var/snap/microk8s/current",
        quick: float = QUICK,
        slow: float = SLOW,
        hostname: str = "",
    ) -> None:
        self.runner = runner or Local()
        self.command, self.snap_command = command, snap
        self.data = Path(data_dir)
        self.quick, self.slow = quick, slow
        self._hostname = hostname

    # -- asking ----------------------------------------------------------------------------------
    def run(self, *words: str, slow: bool = False, seconds: float = 0.0) -> Result:
        """One command of ``microk8s``. Raises NotRunning and OnWorker, whatever its exit code is."""
        usual = self.slow if slow else self.quick
        result = self.runner.run([self.command, *words], max(usual, seconds))
        if STOPPED in result.text:
            raise NotRunning("MicroK8s is stopped", hint="microk8s start, or snap start microk8s, starts it")
        if WORKER in result.text:
            raise OnWorker("this machine is a worker of a cluster", hint="ask a node of the control plane")
        return result

    def done(self, *words: str, slow: bool = False, hide: str = "") -> str:
        """The output of a command that has to succeed. ``hide`` is left out of what is told."""
        result = self.run(*words, slow=slow)
        if result.rc != 0:
            what = " ".join(words[:2]) if not hide else words[0]
            raise OperationFailed(f"microk8s {what} failed: {told(result, hide)}")
        return result.out

    def snap(self, *words: str, slow: bool = False) -> Result:
        return self.runner.run([self.snap_command, *words], self.slow if slow else self.quick)

    def snap_done(self, *words: str) -> str:
        result = self.snap(*words, slow=True)
        if result.rc != 0:
            raise OperationFailed(f"snap {' '.join(words[:2])} failed: {told(result)}")
        return result.out

    @property
    def hostname(self) -> str:
        """The name under which Kubernetes knows this machine."""
        return (self._hostname or socket.gethostname()).lower()

    # -- what there is ---------------------------------------------------------------------------
    def installed(self) -> Snap | None:
        try:
            result = self.snap("list", "microk8s")
        except NotFound:
            return None
        return parse.snap_list(result.out) if result.rc == 0 else None

    def status(self) -> Status:
        """Raises NotRunning, OnWorker."""
        return parse.status(self.run("status", "--format", "yaml").out)

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, as a node of the control plane knows them. Raises Unreachable where the API does not answer."""
        result = self.run("kubectl", "get", "nodes", "--output", "json")
        if result.rc != 0:
            raise Unreachable(f"the API server does not answer: {told(result)}")
        return parse.nodes(result.out)

    def node(self, name: str) -> Node | None:
        """The node of exactly this name."""
        return next((node for node in self.nodes() if node.name == name), None)

    def members(self) -> tuple[DatastoreMember, ...]:
        """The datastore's members as it wrote them down itself; empty where there is no such file."""
        try:
            return parse.cluster_yaml((self.data / "var/kubernetes/backend/cluster.yaml").read_text())
        except FileNotFoundError:
            return ()

    def certificates(self) -> tuple[Certificate, ...]:
        return parse.certificates(self.done("refresh-certs", "--check"))

    def wait_ready(self, seconds: float) -> Status:
        """Wait until the services run, and the node is one of the control plane."""
        seen = "nothing"

        def ready() -> Status | None:
            nonlocal seen
            try:
                status = self.status()
            except (NotRunning, OperationFailed, Unreachable) as error:
                seen = str(error)
                return None
            seen = status.message or "not running"
            return status if status.running else None

        deadline = Deadline(seconds)
        return wait_until(ready, deadline, what="MicroK8s to be ready", first=0.2, last_seen=lambda: seen)

    def wait_up(self, seconds: float) -> None:
        """Wait until the services run; a worker says no more than that it is one."""
        try:
            self.wait_ready(seconds)
        except OnWorker:
            return

    def wait_node(self, name: str, seconds: float) -> Node:
        """Wait until the node of this name is there and ready."""
        seen = "not there"

        def ready() -> Node | None:
            nonlocal seen
            try:
                node = self.node(name)
            except (Unreachable, NotRunning, OperationFailed) as error:
                seen = str(error)
                return None
            seen = "not there" if node is None else "not ready"
            return node if node and node.ready else None

        deadline = Deadline(seconds)
        return wait_until(ready, deadline, what=f"node {name} to be ready", first=0.2, last_seen=lambda: seen)

    # -- changing --------------------------------------------------------------------------------
    def token(self, ttl: int = TOKEN_TTL) -> str:
        """A new way to join, good for ``ttl`` seconds. It is a secret."""
        result = self.run("add-node", "--token-ttl", str(ttl), "--format", "json", slow=True)
        if result.rc != 0:
            raise OperationFailed(f"microk8s add-node failed with code {result.rc}")  # its output may be the token
        return parse.connection(result.out)

    def join(self, connection: str, worker: bool) -> None:
        self.done("join", connection, *(["--worker"] if worker else []), slow=True, hide=connection)

    def leave(self) -> None:
        """Raises OperationFailed where this machine is in no cluster."""
        result = self.runner.run([self.command, "leave"], self.slow)
        if STOPPED in result.text:
            raise NotRunning("MicroK8s is stopped, and cannot leave", hint="start it first")
        if result.rc != 0:
            raise OperationFailed(f"microk8s leave failed: {told(result)}")

    def remove(self, name: str, force: bool) -> None:
        self.done("remove-node", name, *(["--force"] if force else []), slow=True)

    def kubectl(self, *words: str, seconds: float = 0.0) -> str:
        """Output of ``kubectl``, which has to succeed."""
        result = self.run("kubectl", *words, seconds=seconds)
        if result.rc != 0:
            raise OperationFailed(f"kubectl {' '.join(words[:2])} failed: {told(result)}")
        return result.out


def told(result: Result, hide: str = "") -> str:
    """What a command said, in one line; of a traceback, its end."""
    lines = [line.strip() for line in f"{result.out}\n{result.err}".splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = [line for line in lines if not line.startswith(("Traceback", "File ", "…"))][-1:]
    text = " ".join(lines) or f"it ended with code {result.rc} and said nothing"
    for secret in secrets(hide):
        text = text.replace(secret, "********")
    return text[:400]


def secrets(connection: str) -> Sequence[str]:
    """A connection string, and the token in it."""
    return [connection, *connection.split("/")[1:2]] if connection else []
