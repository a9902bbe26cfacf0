# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NUT's own upsd and dummy-ups drivers, in a folder and on a port of their own; they end with the tests."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.daemon import exclusive, free_port

from tests.tools.folders import temporary_folder

DRIVER, UPSD = "/lib/nut/dummy-ups", "/lib/nut/upsd"
#: Seconds in which anything here happens, also on a busy machine.
PATIENCE = 60.0
#: Who may do what: all; commands, with a password that must be quoted; be a primary upsmon; test the battery.
USERS = """
[admin]
  password = secret
  actions = SET
  actions = FSD
  instcmds = ALL
[quoted]
  password = "a \\"secret\\" \\\\ \\#1"
  instcmds = ALL
[monitor]
  password = mon
  upsmon primary
[tester]
  password = test
  instcmds = test.battery.start
"""
QUOTED = 'a "secret" \\ #1'
READY = {
    "ups.mfr": "APC",
    "ups.model": "Smart-UPS 1500",
    "ups.status": "OL",
    "ups.load": "23",
    "ups.temperature": "25.0",
    "battery.charge": "100",
    "battery.charge.low": "20",
    "battery.runtime": "3600",
    "battery.voltage": "27.3",
    "input.voltage": "230.0",
    "output.voltage": "230.0",
    "device.type": "ups",
}


def ensure_nut() -> None:
    """Install Debian's NUT where it is missing. As it comes, it starts nothing."""
    with exclusive("packages"):
        if Path(UPSD).exists() and Path(DRIVER).exists() and shutil.which("upsrw"):
            return
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "--no-install-recommends", "nut-server", "nut-client"]):
            subprocess.run([*apt, *words], check=True, env=env, stdout=subprocess.DEVNULL, timeout=900)


class Nut:
    """One upsd and a driver for each UPS. ``upses`` has their first variables, or the text of a ``.seq`` file."""

    def __init__(self, upses: Mapping[str, Mapping[str, str] | str]) -> None:
        self.folder = temporary_folder()
        self.port = free_port("127.0.0.1")
        self.upses = dict(upses)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def place(self, ups: str) -> str:
        return f"{ups}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Write the configuration, start all of it, and wait until upsd has heard of each UPS."""
        self._configure()
        for ups in self.upses:
            self.start_driver(ups)
        self.start_upsd()
        for ups in self.upses:
            self.wait_for(ups, "[A-Z]", what="a first reading")
            given = self.upses[ups]
            for name in () if isinstance(given, str) else given:  # upsd hears of them one by one
                self.wait_for(ups, ".", variable=name, what=f"{name} of {ups}")

    def start_driver(self, ups: str) -> None:
        self._start(ups, DRIVER, "-a", ups)
        wait_until(
            lambda: list(self.folder.glob(f"dummy-ups-{ups}")) or None, Deadline(PATIENCE), what=f"{ups}'s driver"
        )

    def start_upsd(self) -> None:
        self._start("upsd", UPSD)
        wait_until(self._listens, Deadline(PATIENCE), what="upsd to listen", first=0.02)

    def restart_upsd(self) -> None:
        """Start upsd again, and its drivers, which have their first values then.

        A driver of NUT 2.8.0 that writes to a upsd which is gone aborts ("bit out of range"), sooner or later.
        """
        drivers = [name for name in self._running if name != "upsd"]
        for name in list(self._running):
            self.stop(name)
        for ups in drivers:
            self.start_driver(ups)
        self.start_upsd()

    def stop(self, name: str) -> None:
        """End ``upsd`` or the driver of a UPS, as a crash does."""
        process = self._running.pop(name)
        (self.folder / f"dummy-ups-{name}").unlink(missing_ok=True)
        process.kill()
        process.wait(PATIENCE)

    def close(self) -> None:
        for name in list(self._running):
            self.stop(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def set(self, ups: str, **values: str) -> None:
        """Change variables (``ups_status="OB DISCHRG"``), and wait until upsd tells them."""
        for name, value in values.items():
            variable = name.replace("_", ".")
            argv = ["upsrw", "-s", f"{variable}={value}", "-u", "admin", "-p", "secret", self.place(ups)]
            wait_until(
                lambda argv=argv: _accepted(argv), Deadline(PATIENCE), what=f"{ups} to take {variable}", first=0.1
            )
            self.wait_for(ups, f"(FSD )?{re.escape(value)}$", variable=variable, what=value)

    def wait_for(self, ups: str, pattern: str, *, what: str, variable: str = "ups.status") -> None:
        """Wait until NUT's own client is told a value that matches."""
        wait_until(
            lambda: re.match(pattern, self.read(ups, variable)),
            Deadline(PATIENCE),
            what=f"{ups} to have {what}",
            first=0.02,
            most=0.1,
        )

    def read(self, ups: str, variable: str) -> str:
        """What NUT's own client is told; nothing where that is an error."""
        argv = ["upsc", self.place(ups), variable]
        return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()

    def _configure(self) -> None:
        sections = ["user = " + getpass.getuser(), "pollinterval = 1", "maxretry = 1"]
        for ups, said in self.upses.items():
            scripted = isinstance(said, str)
            file = self.folder / (f"{ups}.seq" if scripted else f"{ups}.dev")
            file.write_text(said if isinstance(said, str) else "".join(f"{k}: {v}\n" for k, v in said.items()))
            mode = "dummy-loop" if scripted else "dummy-once"
            sections.append(
                f'[{ups}]\n  driver = dummy-ups\n  port = {file.name}\n  mode = {mode}\n  desc = "{ups} of a test"'
            )
        (self.folder / "ups.conf").write_text("\n".join(sections) + "\n")
        (self.folder / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {self.port}\nMAXAGE 15\nALLOW_NO_DEVICE yes\n")
        users = self.folder / "upsd.users"
        users.touch(0o600)
        users.write_text(USERS)

    def _start(self, name: str, program: str, *words: str) -> None:
        places = {"NUT_CONFPATH": self.folder, "NUT_STATEPATH": self.folder, "NUT_ALTPIDPATH": self.folder}
        env = {**os.environ, **{key: str(value) for key, value in places.items()}, "NUT_QUIET_INIT_UPSNOTIFY": "true"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, *words, "-u", getpass.getuser(), "-D"],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _listens(self) -> bool | None:
        if self._running["upsd"].poll() is not None:
            raise RuntimeError(f"upsd ended: {(self.folder / 'upsd.log').read_text()[-2000:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE):
            return True
        return None


def _accepted(argv: list[str]) -> bool | None:
    """Whether upsrw did it. upsd takes the variables of a driver for read-only until that has told of them twice."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode and "READONLY" not in done.stderr:
        raise RuntimeError(f"upsrw: {done.stderr}")
    return done.returncode == 0 or None


@contextmanager
def running(upses: Mapping[str, Mapping[str, str] | str]) -> Iterator[Nut]:
    ensure_nut()
    nut = Nut(upses)
    try:
        nut.start()
        yield nut
    finally:
        nut.close()


class Meddler:
    """A proxy before upsd. It passes ``limit`` bytes of answers on each connection, and then does ``then``.

    ``then`` is ``cut`` (hangs up), ``silence`` (says nothing more), or ``spoil`` (the next byte is no text).
    No limit passes everything, in pieces of ``piece`` bytes.
    """

    def __init__(self, port: int, limit: int | None = None, then: str = "cut", piece: int = 65536) -> None:
        self.limit, self.then, self.piece = limit, then, piece
        self.passed = 0
        self._upstream = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Meddler:
        return self

    def __exit__(self, *_: object) -> None:
        for one in [self._listener, *self._open]:
            _close(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream), timeout=PATIENCE)
            except OSError:
                return  # closed, or nothing to pass on
            self._open += [client, server]
            threading.Thread(target=self._questions, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _questions(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):  # either side hung up
            while data := client.recv(65536):
                server.sendall(data)
        _close(server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        left = self.limit
        with suppress(OSError):  # either side hung up
            while data := server.recv(self.piece):
                passed = data if left is None else data[:left]
                self.passed += len(passed)  # before whoever reads them may look at it
                client.sendall(passed)
                if left is not None:
                    left -= len(passed)
                    if len(passed) < len(data):
                        self._end(client, data[len(passed) :])
                        return
        _close(client)

    def _end(self, client: socket.socket, rest: bytes) -> None:
        if self.then == "cut":
            _close(client)
        elif self.then == "spoil":
            client.sendall(b"\xff" + rest[1:])


def _close(one: socket.socket) -> None:
    with suppress(OSError):  # the other side was quicker
        one.shutdown(socket.SHUT_RDWR)
    one.close()
