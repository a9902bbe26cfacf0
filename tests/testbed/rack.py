# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack of servers for tests: real BMCs that move, systems that boot when the power goes on, and a MAAS over them.

Nothing here knows of the collection's code. A server is an ``ipmi_sim`` behind a network in which it has the
address that its LAN settings name; its system is a real sshd, up while the chassis is on and the boot is done.
MAAS (a stand-in) switches it over IPMI at the address that its power parameters name.
"""

from __future__ import annotations

import itertools
import os
import selectors
import shutil
import socket
import struct
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from standins import maas as standin
from testbed import bmc as testbed
from testbed import rackbios
from testbed.daemon import free_port
from testbed.rackhost import Host, make_key

from tests.tools.folders import temporary_folder

#: MAAS has an account of its own on each BMC, as it makes one when it commissions.
MAAS_USER, MAAS_PASSWORD = "maas", "maas-own-word-4"
MAAS_LINE = f'  user 3 true "{MAAS_USER}" "{MAAS_PASSWORD}" admin 10 none md2 md5 straight\n'
NETMASK = "255.255.255.0"
RMCP_PLUS, RAKP1 = 0x06, 0x12
#: A conversation that is older than so many others is over.
CONVERSATIONS = 256
_numbers = itertools.count(1)


class Network:
    """Carries packets to whichever BMC has the address that they are for. ``logins`` counts (address, user name).

    Nobody is reached at an address that is ``cut``. A BMC that is ``stuck`` (by its number) answers at that address,
    whatever it says.
    """

    def __init__(self, bmcs: Sequence[testbed.Ipmi], addresses: Sequence[str], port: int) -> None:
        self.port = port
        self.logins: Counter[tuple[str, str]] = Counter()
        self.cut: set[str] = set()
        self.stuck: dict[int, str] = {}
        self._bmcs = bmcs
        self._known: dict[int, tuple[tuple[int, int], str]] = {}
        self._selector = selectors.DefaultSelector()
        self._lines: OrderedDict[tuple[int, str, object], socket.socket] = OrderedDict()
        self._stop, stopped = socket.socketpair()
        self._selector.register(stopped, selectors.EVENT_READ, None)
        for address in addresses:
            self._open(address)
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _open(self, address: str) -> None:
        door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        door.bind((address, self.port))
        door.setblocking(False)
        self._selector.register(door, selectors.EVENT_READ, lambda: self._in(door, address))

    def address_of(self, bmc: testbed.Ipmi) -> str:
        """The address that a BMC really has."""
        if bmc.number in self.stuck:
            return self.stuck[bmc.number]
        file = bmc.folder / "lan"
        about = file.stat()
        state = (about.st_mtime_ns, about.st_ino)
        known = self._known.get(bmc.number)
        if known is None or known[0] != state:
            known = self._known[bmc.number] = (state, bmc.lan().get("ip_addr", ""))
        return known[1]

    def _carry(self) -> None:
        while True:
            for key, _events in self._selector.select():
                if key.data is None:
                    return
                with suppress(BlockingIOError, ConnectionRefusedError, FileNotFoundError):
                    key.data()

    def _in(self, door: socket.socket, address: str) -> None:
        packet, client = door.recvfrom(2048)
        self._note(packet, address)
        for bmc in self._bmcs:
            if address not in self.cut and self.address_of(bmc) == address:
                self._line(bmc, door, address, client).send(packet)

    def _note(self, packet: bytes, address: str) -> None:
        """Count the logins: RAKP message 1 names the user (IPMI 2.0, table 13-11)."""
        if len(packet) > 43 and packet[4] == RMCP_PLUS and packet[5] & 0x3F == RAKP1:
            name = packet[44 : 44 + packet[43]].decode("ascii", "replace")
            self.logins[address, name] += 1

    def _line(self, bmc: testbed.Ipmi, door: socket.socket, address: str, client: object) -> socket.socket:
        key = (bmc.number, address, client)
        if key not in self._lines:
            line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            line.setblocking(False)
            line.connect(("127.0.0.1", bmc.port))
            self._lines[key] = line
            self._selector.register(line, selectors.EVENT_READ, lambda: self._out(bmc, line, door, address, client))
            self._forget()
        self._lines.move_to_end(key)
        return self._lines[key]

    def _forget(self) -> None:
        while len(self._lines) > CONVERSATIONS:
            _key, oldest = self._lines.popitem(last=False)
            self._selector.unregister(oldest)
            oldest.close()

    def _out(self, bmc: testbed.Ipmi, line: socket.socket, door: socket.socket, address: str, client: object) -> None:
        if line.fileno() < 0:
            return  # forgotten in this very round
        packet = line.recv(2048)
        if address not in self.cut and self.address_of(bmc) == address:
            door.sendto(packet, client)  # type: ignore[arg-type]

    def close(self) -> None:
        self._stop.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._stop.close()
        self._selector.close()


def switch(parameters: Mapping[str, str], command: str, port: int) -> str:
    """MAAS's driver for IPMI: on, off, cycle or query; the power then. Raises PowerError."""
    import pyipmi
    import pyipmi.interfaces

    rmcp = pyipmi.interfaces.create_interface("rmcpplus", keep_alive_interval=0, max_retries=3)
    session = pyipmi.create_connection(rmcp)
    session.session.set_session_type_rmcp(parameters["power_address"], port)
    session.session.set_auth_type_user(parameters["power_user"], parameters["power_pass"])
    session.target = pyipmi.Target(ipmb_address=0x20)
    try:
        session.interface.open()
        session.interface.set_timeout(1.0)
        session.session.establish()
        try:
            return _press(session, command)
        finally:
            session.close()
    except pyipmi.errors.AuthenticationError as error:
        session.interface.close()
        raise standin.PowerError("Incorrect password. Check BMC configuration and try again.") from error
    except (OSError, struct.error, *_failures(pyipmi.errors)) as error:
        session.interface.close()
        raise standin.PowerError("Connection timed out. Check BMC configuration and try again.") from error


def _failures(errors: Any) -> tuple[type[Exception], ...]:
    names = ("RetryError", "IpmiTimeoutError", "IpmiConnectionError", "CompletionCodeError", "MessageStatusCodeError")
    return tuple(getattr(errors, name) for name in names)


def _press(session: Any, command: str) -> str:
    on = bool(session.get_chassis_status().power_on)
    if command == "query":
        return "on" if on else "off"
    if on and command in ("off", "cycle"):
        session.chassis_control_power_down()
    if command in ("on", "cycle") and not (on and command == "on"):
        session.chassis_control_power_up()
    return "off" if command == "off" else "on"


class Server:
    """One server: BMC, system, and what MAAS has of it."""

    def __init__(self, bmc: testbed.Ipmi, host: Host, machine: standin.Machine) -> None:
        self.bmc, self.host, self.machine = bmc, host, machine
        self.boot_at: float | None = None
        self._heard = 0

    def __str__(self) -> str:
        return self.machine.hostname

    @property
    def system_id(self) -> str:
        return self.machine.system_id

    @property
    def bmc_address(self) -> str:
        """Where its BMC is by its own LAN settings."""
        return self.bmc.lan()["ip_addr"]

    def commands(self) -> list[str]:
        """What the chassis was told since the last time."""
        told = self.bmc.commands()
        new, self._heard = told[self._heard :], len(told)
        return new


class Rack:
    """Servers that were enlisted in MAAS: New, off, BMCs at ``old(n)``; addresses ``new(n)`` are free."""

    def __init__(self, size: int, *, boot: float = 0.2, delay: float = 0.3) -> None:
        self.folder = temporary_folder()
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        number = next(_numbers)
        self.net = f"127.{64 + os.getpid() % 128}.{number % 250 + 1}"
        self.bmc_port, self.ssh_port = free_port(), free_port()
        self.boot, self.size = boot, size
        self.key = make_key(self.folder / "id")
        self.seen_at = self.folder / "here"
        self.seen_at.mkdir()
        self.trouble: list[str] = []
        self.servers: list[Server] = []
        self._end = threading.Event()
        try:
            self._set_up(delay)
        except BaseException:
            self._stack.close()
            raise

    def _set_up(self, delay: float) -> None:
        self.maas = self._stack.enter_context(standin.running(delay))
        self.maas.driver = lambda parameters, command: switch(parameters, command, self.bmc_port)
        for number in range(1, self.size + 1):
            self.servers.append(self._server(number))
        for server in self.servers:
            wait_until(server.bmc.answers, Deadline(60), what="ipmi_sim to answer", first=0.02)
        addresses = [self.old(n) for n in range(1, self.size + 1)] + [self.new(n) for n in range(1, 101)]
        bmcs = [server.bmc for server in self.servers]
        self.network = Network(bmcs, addresses, self.bmc_port)
        self._stack.callback(self.network.close)
        thread = threading.Thread(target=self._watch)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._end.set)

    def _server(self, number: int) -> Server:
        folder = self.folder / f"server{number}"
        for part in ("bmc", "host"):
            (folder / part).mkdir(parents=True)
        bmc = testbed.Ipmi(folder / "bmc", number, MAAS_LINE)
        bmc.furnish()
        bmc.set_lan(self.old(number))
        bmc.run()
        self._stack.callback(bmc.stop)
        host = Host(folder / "host", self.seen_at, f"{self.net}.{number}", self.ssh_port, self.key)
        parameters = {"power_driver": "LAN_2_0", "power_address": self.old(number), "power_user": MAAS_USER}
        parameters |= {"power_pass": MAAS_PASSWORD, "cipher_suite_id": "3", "privilege_level": "OPERATOR"}
        return Server(bmc, host, self.maas.add(f"node{number:02}", parameters=parameters))

    def old(self, number: int) -> str:
        """Where the BMC of a server is at first; from 1."""
        return f"{self.net}.{100 + number}"

    def new(self, number: int) -> str:
        """An address that a BMC may get, 1 to 100."""
        return f"{self.net}.{150 + number}"

    @property
    def gateway(self) -> str:
        return f"{self.net}.254"

    @property
    def pool(self) -> dict[str, str]:
        """The free addresses as a pool of ``provision_pools``."""
        return {"addresses": f"{self.new(1)}-{self.new(100)}", "netmask": NETMASK, "gateway": self.gateway}

    # -- orders -----------------------------------------------------------------------------------
    def order(self, number: int, target: str = "", **more: Any) -> dict[str, Any]:
        """An entry of ``provision_servers`` for a server, from 1."""
        where = {"target_ipmi_ip": target or self.new(number), "rack_location": f"Rack-A-U{number}"}
        lan = {} if target.startswith("pool:") else {"gateway": self.gateway, "netmask": NETMASK}
        named = {"server_id": self.servers[number - 1].system_id, "device_type": rackbios.DEVICE_TYPE}
        return {**named, **where, **lan, "tags": ["rack-a", f"unit-{number}"], **more}

    def variables(self, *orders: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Variables of the playbook ``provision_server`` for these orders; for all servers without any."""
        servers = list(orders) or [self.order(number) for number in range(1, self.size + 1)]
        return {
            "provision_servers": servers,
            "provision_device_types": str(rackbios.device_types(self.folder)),
            "provision_pools": {"rack": self.pool},
            "provision_maas_url": self.maas.url,
            "provision_maas_api_key": standin.KEY,
            "provision_ssh_user": "root",
            "provision_ssh_key_file": str(self.key),
            "provision_ssh_port": self.ssh_port,
            "provision_sum": str(self.seen_at / "sum"),
            "provision_bmc_username": testbed.USER,
            "provision_bmc_password": testbed.PASSWORD,
            "provision_bmc_port": self.bmc_port,
            "provision_state_url": f"file:{self.folder}/state",
            **more,
        }

    # -- what happens by itself -------------------------------------------------------------------
    def _watch(self) -> None:
        """The life of the servers: power and boots. All systems are children of this thread."""
        try:
            while not self._end.wait(0.02):
                self.maas.tick()
                for server in self.servers:
                    for command in server.commands():
                        self._happens(server, command)
                    if server.boot_at is not None and time.monotonic() >= server.boot_at:
                        self._boots(server)
        except Exception as error:
            self.trouble.append(repr(error))
            raise
        finally:
            for server in self.servers:
                server.host.stop()

    def _happens(self, server: Server, command: str) -> None:
        deaf = (server.bmc.folder / "deaf").exists()
        if command in ("power 0", "reset 1") or (command == "shutdown 1" and not deaf):
            server.host.stop()
            server.boot_at = None
        running = server.host.up or server.boot_at is not None
        if (command == "power 1" and not running) or (command == "reset 1" and server.bmc.chassis()["power"] == "1"):
            server.boot_at = time.monotonic() + self.boot

    def _boots(self, server: Server) -> None:
        server.boot_at = None
        server.host.start()
        self.maas.booted(server.system_id, server.host.address)

    def lose_power(self, server: Server) -> None:
        """As if its cable were pulled and put back: its system and its BMC end, the BMC comes back with what it has."""
        server.bmc.stop()
        server.bmc.set_power(False)
        with (server.bmc.folder / "chassis.log").open("a") as log:
            log.write("power 0\n")
        wait_until(lambda: None if server.host.up else True, Deadline(60), what="the system to end", first=0.02)
        self.revive(server)

    def revive(self, server: Server) -> None:
        """Have a BMC again whose process was stopped."""
        server.bmc.run()
        wait_until(server.bmc.answers, Deadline(60), what="ipmi_sim to answer", first=0.02)

    def close(self) -> None:
        self._stack.close()
        assert not self.trouble, self.trouble


@contextmanager
def running(size: int, *, boot: float = 0.2, delay: float = 0.3) -> Iterator[Rack]:
    """A rack of ``size`` servers. A boot takes ``boot`` seconds, and what MAAS does with a booted machine ``delay``."""
    rack = Rack(size, boot=boot, delay=delay)
    try:
        yield rack
    finally:
        rack.close()
