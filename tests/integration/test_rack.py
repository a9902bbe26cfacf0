# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The testbed for provisioning itself: a rack whose servers boot, move and die as real ones do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.lan import ensure_lan
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.model import Endpoint
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.client import Maas, Site
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Denied, Unreachable
from standins import maas as standin
from standins.site import Fault
from testbed import bmc as testbed
from testbed import rack as racks
from testbed import rackbios

LONG = 60.0


@pytest.fixture
def rack() -> Iterator[racks.Rack]:
    with racks.running(2) as one:
        yield one


@pytest.fixture
def maas(rack: racks.Rack) -> Iterator[Maas]:
    with Maas(Site(rack.maas.url, standin.KEY)) as client:
        yield client


def until(what: str, probe: Any) -> None:
    wait_until(lambda: probe() or None, Deadline(LONG), what=what, first=0.02, most=0.2)


def status(maas: Maas, server: racks.Server, wanted: int) -> None:
    until(f"status {wanted}", lambda: maas.machine(server.system_id).status == wanted)


def ssh(rack: racks.Rack, server: racks.Server, command: str) -> str:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    argv = ["ssh", *options, "-i", str(rack.key), "-p", str(rack.ssh_port), f"root@{server.host.address}", command]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=LONG).stdout.strip()


def endpoint(rack: racks.Rack, address: str, password: str) -> Endpoint:
    return Endpoint(address, testbed.USER, password, rack.bmc_port, timeout=1.0)


def move(rack: racks.Rack, old: str, new: str, password: str = testbed.PASSWORD) -> None:
    given = {"source": "static", "address": new, "netmask": racks.NETMASK, "gateway": rack.gateway, "vlan": None}
    assert ensure_lan(endpoint(rack, old, password), given, LONG, check=False)["changed"]


def test_a_server_is_commissioned_and_rescued(rack: racks.Rack, maas: Maas) -> None:
    server, other = rack.servers
    assert not server.host.up and maas.machine(server.system_id).addresses == ()
    maas.order(server.system_id, "commission", enable_ssh="1")
    status(maas, server, 4)
    until("sshd", server.host.answers)
    assert maas.machine(server.system_id).addresses == (server.host.address,)
    assert server.bmc.chassis()["power"] == "1" and server.host.boots == 1 and not other.host.up
    (server.host.folder / "own").write_text("of the first")
    assert ssh(rack, server, f"cat {rack.seen_at}/own") == "of the first"
    before = ssh(rack, server, 'touch "$TMPDIR/left"; cat /proc/sys/kernel/random/boot_id')
    file = "$TMPDIR/bios.xml"
    ssh(rack, server, f"{rack.seen_at}/sum -c GetCurrentBiosCfg --file {file}")
    ssh(rack, server, f"sed -i s/Checked/Unchecked/ {file}; {rack.seen_at}/sum -c ChangeBiosCfg --file {file}")
    assert server.host.bios() == rackbios.before() and server.host.pending() and server.host.pushes() == 1
    maas.order(server.system_id, "rescue_mode")
    status(maas, server, 16)
    assert server.host.boots == 2 and server.bmc.commands() == ["power 1", "power 0", "power 1"]
    until("sshd", server.host.answers)
    assert ssh(rack, server, 'ls "$TMPDIR"; cat /proc/sys/kernel/random/boot_id') not in ("", before)
    assert not list((server.host.folder / "tmp").iterdir())
    assert server.host.bios() == rackbios.before().replace(b"Checked", b"Unchecked") and not server.host.pending()
    maas.order(server.system_id, "exit_rescue_mode")
    status(maas, server, 4)
    until("the system to end", lambda: not server.host.up)
    assert server.bmc.chassis()["power"] == "0" and not server.host.answers()
    said = [event["description"] for event in maas.get("events/", op="query", id=server.system_id)["events"]]
    assert said[::-1][:3] == ["Commissioning", "Node powered on", "Ready"]


def test_without_ssh_a_machine_goes_off_again(rack: racks.Rack, maas: Maas) -> None:
    server = rack.servers[0]
    maas.order(server.system_id, "commission")
    status(maas, server, 4)
    until("power off", lambda: server.bmc.chassis()["power"] == "0")
    maas.order(server.system_id, "power_on")  # nothing is to be done with it: MAAS sends it to sleep
    until("a boot", lambda: server.host.boots == 2)
    until("power off", lambda: server.bmc.chassis()["power"] == "0" and not server.host.up)
    assert maas.get(f"machines/{server.system_id}/", op="query_power_state") == {"state": "off"}


def test_a_bmc_moves_and_maas_must_be_told(rack: racks.Rack, maas: Maas) -> None:
    server = rack.servers[0]
    old, new = rack.old(1), rack.new(1)
    move(rack, old, new)
    assert server.bmc_address == new and server.bmc.lan()["default_gw_ip_addr"] == rack.gateway
    assert maas.get(f"machines/{server.system_id}/", op="power_parameters")["power_address"] == old
    maas.order(server.system_id, "commission", enable_ssh="1")
    status(maas, server, 2)
    assert "Connection timed out" in maas.machine(server.system_id).status_message
    maas.put(f"machines/{server.system_id}/", power_parameters_power_address=new)
    maas.order(server.system_id, "commission", enable_ssh="1")
    status(maas, server, 4)
    with pytest.raises(Denied):
        move(rack, new, rack.new(2), "wrong")
    assert rack.network.logins[new, racks.MAAS_USER] == 1
    assert rack.network.logins[new, testbed.USER] == 2  # the move that was looked at where it went, and the refused


def test_faults_to_order(rack: racks.Rack, maas: Maas) -> None:
    server, other = rack.servers
    server.machine.lease, server.machine.ends = None, {"commission": 22}
    maas.order(server.system_id, "commission", enable_ssh="1")
    status(maas, server, 22)
    assert maas.machine(server.system_id).addresses == () and maas.failed_scripts(server.system_id)
    other.machine.ends, other.machine.lease = {"commission": None}, 0.5
    maas.order(other.system_id, "commission", enable_ssh="1")
    until("an address", lambda: maas.machine(other.system_id).addresses)
    assert maas.machine(other.system_id).status == 1
    rack.maas.faults = [Fault("GET", "machines", "slow", seconds=0.2), Fault("GET", "machines", "expire")]
    assert maas.machine(other.system_id).status == 1
    with pytest.raises(Denied):
        maas.machine(other.system_id)


def test_peers_die_and_come_back(rack: racks.Rack, maas: Maas) -> None:
    server = rack.servers[0]
    maas.order(server.system_id, "commission", enable_ssh="1")
    status(maas, server, 4)
    move(rack, rack.old(1), rack.new(1))
    server.bmc.stop()
    there = {**server.machine.parameters, "power_address": rack.new(1)}
    with pytest.raises(standin.PowerError):
        racks.switch(there, "query", rack.bmc_port)
    assert server.host.up
    rack.lose_power(server)
    assert not server.host.up and server.bmc_address == rack.new(1)
    assert racks.switch(there, "query", rack.bmc_port) == "off"
    rack.maas.die()
    with Maas(Site(rack.maas.url, standin.KEY, timeout=0.5)) as client, pytest.raises(Unreachable):
        client.machine(server.system_id)
    rack.maas.rise()
    assert maas.machine(server.system_id).status == 4


def test_a_rack_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, tests.conftest\n"
        "from testbed import rack\n"
        "with rack.running(2) as one:\n"
        "    one.servers[0].machine.status = 6  # deployed: it boots by itself\n"
        "    rack.switch(one.servers[0].machine.parameters, 'on', one.bmc_port)\n"
        "    rack.wait_until(lambda: one.servers[0].host.answers() or None, rack.Deadline(60), what='sshd')\n"
        "    print(one.folder, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = process.stdout.readline().strip()
        assert folder and len(_about(folder)) >= 4  # two BMCs, a system's namespace and its sshd
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == ""  # nobody holds it any longer
    until("every process to end", lambda: not _about(folder))


def _about(folder: str) -> list[str]:
    """Processes that work in or for a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace") + " " + os.readlink(entry / "cwd")
        except OSError:
            continue
        if folder in words:
            found.append(words)
    return found
