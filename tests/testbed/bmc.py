# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real BMCs for tests: OpenIPMI's simulator, and a Redfish service by sushy-tools. They end with the tests."""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.daemon import exclusive, free_port

USER, PASSWORD = "admin", "plain-sight-7"
#: Keeps the chassis and the LAN settings in files of ``name:value`` lines. A server that is deaf does not shut down.
HOOK = """#!/bin/sh
folder=$1 file=$1/$2 op=$3; shift 3
case $op in
get) for name; do
    value=$(sed -n "s/^$name://p" "$file" | tail -1)
    if [ -z "$value" ]; then case $name in
        power) value=0;; boot) value=default;; ip_addr_src) value=static;; *mac_addr) value=00:00:00:00:00:00;;
        *) value=0.0.0.0;; esac; fi
    echo "$name:$value"; done;;
set) while [ $# -ge 2 ]; do
    echo "$1 $2" >> "$file.log"
    if [ "$1" = shutdown ]; then [ -e "$folder/deaf" ] || set -- power 0; fi
    { grep -v "^$1:" "$file"; echo "$1:$2"; } > "$file.new"; mv "$file.new" "$file"
    shift 2; done;;
esac
"""
LAN_CONF = """name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid {guid}
    lan_config_program "{hook} {folder} lan"
  endlan
  chassis_control "{hook} {folder} chassis"
  user 1 false "" "" user 10 none md2 md5 straight
  user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""
EMULATOR = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x2a7c 0x0906 persist_sdr
mc_set_guid 0x20 {guid}
sel_enable 0x20 1000 0x0a
sensor_add 0x20 0 1 0x01 0x01
sensor_set_value 0x20 0 1 0x28 0
main_sdr_add 0x20 {sdr}
mc_add_fru_data 0x20 0 256 file 0 "{folder}/fru.bin"
sel_add 0x20 0x02 0 0 0 0 0x20 0 4 1 1 1 0x57 0x60 0x70
mc_enable 0x20
"""


def _area(body: bytes) -> bytes:
    """An area of a FRU inventory (IPMI Platform Management FRU, section 8): version, length, body, checksum."""
    body += b"\xc1"
    size = (len(body) + 3 + 7) // 8 * 8
    area = (bytes([1, size // 8]) + body).ljust(size - 1, b"\0")
    return area + bytes([-sum(area) & 0xFF])


def _fru() -> bytes:
    """Chassis, board and product of a Supermicro server."""

    def text(words: str) -> bytes:
        return bytes([0xC0 | len(words)]) + words.encode()

    chassis = _area(b"\x17" + text("CSE-829U") + text("C829UAH12345"))
    fields = ("Supermicro", "X11DPU", "ZM123S456", "X11DPU-P", "")
    board = _area(b"\x19\0\0\0" + b"".join(map(text, fields)))
    fields = ("Supermicro", "SYS-6029U", "PN-1", "0123456789", "S999888", "asset-1", "")
    product = _area(b"\x19" + b"".join(map(text, fields)))
    after_chassis = 1 + len(chassis) // 8
    header = bytes([1, 0, 1, after_chassis, after_chassis + len(board) // 8, 0, 0])
    return (header + bytes([-sum(header) & 0xFF]) + chassis + board + product).ljust(256, b"\0")


def _sdr() -> str:
    """A full sensor record (IPMI 2.0, table 43-1): sensor 1, CPU1 Temp, in degrees Celsius, y = x."""
    name = b"CPU1 Temp"
    record = [0, 0, 0x51, 1, 0, 0x20, 0, 1, 3, 1, 0x7F, 0x68, 1, 1, 0x80, 0x0A, 0x80, 0x0A, 0x38, 0x38]
    record += [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x28, 0x50, 0, 0xFF, 0, 0xA0, 0x90, 0x70, 0, 0, 0, 1, 1, 0, 0, 0]
    record += [0xC0 | len(name), *name]
    record[4] = len(record) - 5
    return " ".join(f"0x{byte:02x}" for byte in record)


def installed(program: str, package: str) -> str:
    """Path of a program; installs Debian's package where it is missing."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    with exclusive("packages"):
        if not shutil.which(program, path=path):
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq"]
            for words in (["update"], ["install", "--no-install-recommends", package]):
                subprocess.run([*apt, *words], env=env, check=True, stdout=subprocess.DEVNULL)
    found = shutil.which(program, path=path)
    assert found, f"{package} is installed, and there is no {program}"
    return found


def simulator() -> str:
    """Path of ``ipmi_sim``."""
    return installed("ipmi_sim", "openipmi")


def spawn(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A process that ends with the thread that started it; what it says is in ``folder``'s log."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


class Ipmi:
    """One BMC. ``chassis()`` and ``lan()`` are what it holds, whatever it says."""

    def __init__(self, folder: Path, number: int = 1, users: str = "") -> None:
        """``users`` are further lines of the simulator's configuration."""
        self.folder = folder
        self.number = number
        self.users = users
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, object]:
        """Options of the modules that lead to it."""
        return {"host": "127.0.0.1", "port": self.port, "username": USER, "password": PASSWORD}

    def start(self) -> None:
        self.furnish()
        self.run()
        wait_until(self.answers, Deadline(60), what="ipmi_sim to answer", first=0.02)

    def furnish(self) -> None:
        """What its process needs, and the first settings."""
        words = {"folder": self.folder, "hook": self.folder / "hook", "user": USER, "password": PASSWORD}
        words |= {"port": self.port, "guid": f"{self.number:032x}", "sdr": _sdr()}
        (self.folder / "lan.conf").write_text(LAN_CONF.format(**words) + self.users)
        (self.folder / "sim.emu").write_text(EMULATOR.format(**words))
        (self.folder / "fru.bin").write_bytes(_fru())
        (self.folder / "hook").write_text(HOOK)
        (self.folder / "hook").chmod(0o755)
        (self.folder / "state").mkdir()
        (self.folder / "chassis").touch()
        self.set_lan("127.0.0.1")

    def run(self) -> None:
        """Its process, with whatever it held before."""
        argv = [simulator(), "-n", "-c", "lan.conf", "-f", "sim.emu", "-s", "state"]
        self._process = spawn(argv, self.folder)

    def answers(self) -> bool | None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"ipmi_sim ended: {(self.folder / 'log').read_text()[-2000:]}")
        # An ASF presence ping, and whatever comes back.
        ping = bytes.fromhex("0600ff06000011be80010000")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.2)
            asker.connect(("127.0.0.1", self.port))
            try:
                asker.send(ping)
                return bool(asker.recv(512)) or None
            except OSError:
                return None

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=60)
            self._process = None

    # -- what it holds ----------------------------------------------------------------------------
    def _held(self, name: str) -> dict[str, str]:
        lines = (self.folder / name).read_text().splitlines()
        return dict(line.split(":", 1) for line in lines)

    def chassis(self) -> dict[str, str]:
        return self._held("chassis")

    def lan(self) -> dict[str, str]:
        return self._held("lan")

    def commands(self) -> list[str]:
        """What the chassis was told since the start."""
        log = self.folder / "chassis.log"
        return log.read_text().splitlines() if log.exists() else []

    def set_lan(self, address: str, source: str = "static") -> None:
        gateway = address.rpartition(".")[0] + ".1"
        values = {"ip_addr": address, "ip_addr_src": source, "subnet_mask": "255.255.255.0"}
        values |= {"default_gw_ip_addr": gateway, "mac_addr": f"ac:1f:6b:00:00:{self.number:02x}"}
        (self.folder / "lan").write_text("".join(f"{name}:{value}\n" for name, value in values.items()))

    def set_power(self, on: bool) -> None:
        (self.folder / "chassis").write_text(f"power:{int(on)}\n")

    def be_deaf(self) -> None:
        """Its server no longer shuts down when asked to."""
        (self.folder / "deaf").touch()


@contextmanager
def ipmi(number: int = 1) -> Iterator[Ipmi]:
    with tempfile.TemporaryDirectory(prefix="rackstead-bmc-") as folder:
        bmc = Ipmi(Path(folder), number)
        try:
            bmc.start()
            yield bmc
        finally:
            bmc.stop()


class Wire:
    """A network in which a BMC really has the address that its LAN settings name, and no other.

    ``reachable`` addresses of the loopback lead to it while it has them. An address that it takes and
    that is not among them is out of reach, as behind a wrong gateway.
    """

    def __init__(self, bmc: Ipmi, reachable: list[str], port: int = 0) -> None:
        self.bmc = bmc
        self.port = port or free_port()
        self._selector = selectors.DefaultSelector()
        self._upstream: dict[tuple[str, object], socket.socket] = {}
        self._stop, stopped = socket.socketpair()
        self._selector.register(stopped, selectors.EVENT_READ, None)
        for address in reachable:
            door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            door.bind((address, self.port))
            self._selector.register(
                door, selectors.EVENT_READ, lambda door=door, address=address: self._in(door, address)
            )
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def options(self, address: str) -> dict[str, object]:
        return {**self.bmc.options, "host": address, "port": self.port}

    def _carry(self) -> None:
        while True:
            for key, _events in self._selector.select():
                if key.data is None:
                    return
                key.data()

    def _in(self, door: socket.socket, address: str) -> None:
        packet, client = door.recvfrom(2048)
        if self.bmc.lan().get("ip_addr") == address:
            self._to_bmc(door, address, client).send(packet)

    def _to_bmc(self, door: socket.socket, address: str, client: object) -> socket.socket:
        if (address, client) not in self._upstream:
            wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            wire.connect(("127.0.0.1", self.bmc.port))
            self._upstream[address, client] = wire
            self._selector.register(wire, selectors.EVENT_READ, lambda: self._out(wire, door, address, client))
        return self._upstream[address, client]

    def _out(self, wire: socket.socket, door: socket.socket, address: str, client: object) -> None:
        packet = wire.recv(2048)
        if self.bmc.lan().get("ip_addr") == address:  # gone with the answer not yet sent
            door.sendto(packet, client)  # type: ignore[arg-type]

    def close(self) -> None:
        self._stop.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._stop.close()
        self._selector.close()


# -- Redfish ------------------------------------------------------------------------------------------
SYSTEM = "11111111-2222-3333-4444-555555555555"
SETTINGS = """SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'
SUSHY_EMULATOR_LISTEN_PORT = {port}
SUSHY_EMULATOR_STATE_DIR = '{folder}'
SUSHY_EMULATOR_AUTH_FILE = '{folder}/htpasswd'
SUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '{system}', 'name': 'node1', 'power_state': 'Off',
    'nics': [{{'mac': 'ac:1f:6b:00:00:02', 'ip': '192.0.2.20'}}]}}]
{tls}
"""


class Redfish:
    """A Redfish service with one system; over HTTPS with a certificate of its own if ``certificate`` is given."""

    def __init__(self, folder: Path, certificate: tuple[Path, Path] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.certificate = certificate
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, object]:
        where = {"host": "127.0.0.1", "redfish_url": self.url}
        return {**where, "username": USER, "password": PASSWORD}

    def start(self) -> None:
        import bcrypt

        secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (self.folder / "htpasswd").write_text(f"{USER}:{secret}\n")
        tls = ""
        if self.certificate:
            cert, key = self.certificate
            tls = f"SUSHY_EMULATOR_SSL_CERT = '{cert}'\nSUSHY_EMULATOR_SSL_KEY = '{key}'"
        text = SETTINGS.format(port=self.port, folder=self.folder, system=SYSTEM, tls=tls)
        (self.folder / "settings").write_text(text)
        program = Path(sys.executable).with_name("sushy-emulator")
        self._process = spawn([str(program), "--config", str(self.folder / "settings")], self.folder)
        wait_until(self._answers, Deadline(60), what="the Redfish service to answer", first=0.05)

    def _answers(self) -> bool | None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"sushy-emulator ended: {(self.folder / 'log').read_text()[-2000:]}")
        verify = str(self.certificate[0]) if self.certificate else True
        try:
            return requests.get(f"{self.url}/redfish/v1/", timeout=2, verify=verify).ok or None
        except requests.ConnectionError:
            return None

    def system(self) -> dict[str, object]:
        """The system as the service shows it."""
        verify = str(self.certificate[0]) if self.certificate else True
        path = f"{self.url}/redfish/v1/Systems/{SYSTEM}"
        answer: dict[str, object] = requests.get(path, auth=(USER, PASSWORD), timeout=10, verify=verify).json()
        return answer

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=60)
            self._process = None


@contextmanager
def redfish(certificate: tuple[Path, Path] | None = None) -> Iterator[Redfish]:
    with tempfile.TemporaryDirectory(prefix="rackstead-redfish-") as folder:
        service = Redfish(Path(folder), certificate)
        try:
            service.start()
            yield service
        finally:
            service.stop()
