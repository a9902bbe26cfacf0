# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of provisioning share: the end state as the peers have it, and runs that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.settings import OPTIONS
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from standins import maas as standin
from testbed import bmc as testbed
from testbed import rackbios
from testbed.rack import NETMASK, Rack, Server

ROOT = Path(__file__).resolve().parents[2]
#: A run has so many seconds, on however busy a machine.
LONG = 180.0
SECRETS = (standin.SECRET, standin.TOKEN, testbed.PASSWORD)
#: Attempts follow each other quickly.
QUICK = {name: {"backoff": 0.2} for name in "commission address bios_pull bios_modify bios_push bmc finalize".split()}


def unfinished(rack: Rack, number: int, target: str = "", bios: bytes = b"") -> list[str]:
    """What a server's peers do not hold, though it should have come through all seven steps."""
    server = rack.servers[number - 1]
    target, lan, machine = target or rack.new(number), server.bmc.lan(), server.machine
    held = (lan["ip_addr"], lan["subnet_mask"], lan["default_gw_ip_addr"], lan["ip_addr_src"])
    found = {
        "LAN": held == (target, NETMASK, rack.gateway, "static"),
        "power address": machine.parameters["power_address"] == target,
        "power account": machine.parameters["power_user"] == "maas",
        "BIOS": server.host.bios() == (bios or rackbios.after()),
        "nothing pending": server.host.pending() == [],
        "pushed once": server.host.pushes() == 1,
        "commissioned once": orders(server).count("commission") == 1,
        "Ready": machine.status == 4,
        "tags": machine.tags == {"rack-a", f"unit-{number}"},
        "rack location": f"Rack-A-U{number}" in machine.owner_data.values(),
    }
    return [what for what, well in found.items() if not well]


def orders(server: Server) -> list[str]:
    """What MAAS was told about a server."""
    return [op for op, _data in server.machine.orders]


def untouched(rack: Rack, number: int) -> bool:
    """Whether nothing was done with a server at all."""
    server = rack.servers[number - 1]
    calm = not server.machine.orders and not server.host.pushes() and not server.bmc.commands()
    return calm and server.bmc_address == rack.old(number) and server.machine.status == 0


# -- runs in a process of their own -------------------------------------------------------------------
def params_of(rack: Rack, **more: Any) -> dict[str, Any]:
    """Options of ``provision_step`` for a rack."""
    options = {name: option.get("default") for name, option in OPTIONS.items()}
    variables = {name.removeprefix("provision_"): value for name, value in rack.variables().items()}
    del variables["servers"]
    return {**options, **variables, "steps": QUICK, **more}


class Run:
    """One server, provisioned by the core in a process of its own. ``point`` is where it is killed or stopped."""

    def __init__(
        self, rack: Rack, number: int, point: str = "", how: str = "KILL", target: str = "", **more: Any
    ) -> None:
        self.number, self.point, self.how = number, point, how
        machine = rack.servers[number - 1].machine
        self.folder = rack.folder / f"server{number}"
        self.trace = self.folder / "trace"
        self.trace.unlink(missing_ok=True)
        order = {key: value for key, value in rack.order(number, target).items() if key != "server_id"}
        server = {"system_id": machine.system_id, "hostname": machine.hostname, "mac": machine.mac}
        job = {"params": params_of(rack, **more), "server": server, "order": order, "trace": str(self.trace)}
        job |= {"point": point, "how": how}
        file = self.folder / "job.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(job))
        self.log = self.folder / "output"
        with self.log.open("wb") as output:
            argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.integration.provision_child"]
            self.process = subprocess.Popen(
                [*argv, str(file)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{os.environ['ANSIBLE_COLLECTIONS_PATH']}{os.pathsep}{ROOT}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def ended(self) -> int:
        """Its exit code, in the end."""
        try:
            return self.process.wait(timeout=LONG)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self}: does not end; it said: {self.log.read_text()}") from None

    def reached(self) -> None:
        """Wait until it has stopped at its point."""

        def there() -> bool | None:
            if self.process.poll() is not None:
                raise AssertionError(f"{self}: ended before: {self.log.read_text()}")
            state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state == "T" or None

        wait_until(there, Deadline(LONG), what=str(self), first=0.02, most=0.2)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ok(self) -> list[str]:
        """The points it passed, if it ended well."""
        assert self.ended() == 0, f"{self}: {self.log.read_text()}"
        return self.trace.read_text().splitlines()

    def __str__(self) -> str:
        return f"server {self.number} ({self.how} at {self.point or 'no point'})"
