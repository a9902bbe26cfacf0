# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readiness of an instance: waits until each condition that the plan names holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..common.deadline import Deadline, wait_until
from ..common.errors import NotFound, OperationFailed, RacksteadError, Unreachable
from .incus.client import IncusClient
from .spec import Wait

if TYPE_CHECKING:
    from .incus.execute import ExecResult

#: Written by cloud-init when it has ended (https://cloudinit.readthedocs.io/en/latest/explanation/instancedata.html).
CLOUD_INIT_RESULT = "/run/cloud-init/result.json"
LISTEN_STATE = "0A"  # st column of /proc/net/tcp, include/net/tcp_states.h TCP_LISTEN


def wait_ready(
    client: IncusClient, name: str, waits: Iterable[Wait], timeout: float, tell: Callable[[str], None]
) -> None:
    """Wait for all conditions in turn, ``timeout`` seconds in all. Raises DeadlineExceeded."""
    deadline = Deadline(timeout)
    for wait in waits:
        tell(f"waiting for {wait.label}")
        probe = _Probe(client, name, wait)
        wait_until(probe, deadline, what=wait.label, most=0.5, last_seen=lambda probe=probe: probe.seen)  # type: ignore[misc]


class _Probe:
    """Looks once whether one condition holds; ``seen`` says what it found last."""

    def __init__(self, client: IncusClient, name: str, wait: Wait) -> None:
        self._client = client
        self._name = name
        self._wait = wait
        self.seen = "nothing yet"

    def __call__(self) -> bool | None:
        check: Callable[[], bool] = getattr(self, f"_{self._wait.kind}")
        return True if check() else None

    def _running(self) -> bool:
        self.seen = str(self._client.get(f"/instances/{self._name}")["status"])
        return self.seen == "Running"

    def _ipv4(self) -> bool:
        addresses = self._client.addresses(self._name)
        self.seen = ", ".join(addresses) or "no address"
        return bool(addresses)

    def _cloud_init(self) -> bool:
        try:
            found = self._client.pull(self._name, CLOUD_INIT_RESULT)
            if found.kind == "symlink":  # its content is the target: Incus does not follow it
                found = self._client.pull(self._name, found.content.decode())
            result = json.loads(found.content)["v1"]
        except NotFound:
            self.seen = "not finished"
            return False
        except ValueError:  # being written just now
            return False
        if result["errors"]:
            raise OperationFailed(
                f"cloud-init ended with errors: {'; '.join(map(str, result['errors']))}",
                hint=f"see /var/log/cloud-init-output.log inside (rackstead logs {self._name})",
            )
        return True

    def _port(self) -> bool:
        """Whether something listens, read off the kernel's socket table: the image needs no tool but cat."""
        tables = self._run("/bin/sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null")
        fields = [line.split() for line in tables.splitlines()]
        listening = {int(row[1].rsplit(":", 1)[1], 16) for row in fields if len(row) > 3 and row[3] == LISTEN_STATE}
        self.seen = f"listening: {', '.join(map(str, sorted(listening))) or 'no port'}"
        return self._wait.port in listening

    def _command(self) -> bool:
        result = self._execute(self._wait.command, 60)
        words = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
        self.seen = f"rc {result.rc}{': ' + words[-1] if words else ''}"
        return result.rc == 0

    def _execute(self, argv: Sequence[str], timeout: float) -> ExecResult:
        from .incus.execute import execute  # and with it websockets, for which most plans have no use

        return execute(self._client, self._name, argv, timeout=timeout)

    def _run(self, *argv: str) -> str:
        try:
            return self._execute(argv, 30).stdout.decode(errors="replace")
        except Unreachable:
            raise
        except RacksteadError as error:  # not running yet, no shell yet
            self.seen = error.what
            return ""
