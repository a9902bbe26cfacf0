# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BIOS settings by both transports: SUM (a stand-in) on a host behind a real sshd, and Redfish (a stand-in).

What happened is read from what the host and the service hold, not from what we say of it.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.device_types import DeviceType, load
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.document import Document
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.ensure import (
    Patience,
    SettingsRejected,
    ensure_bios,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.redfish import RedfishBios
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.sum import BOOT_ID, Login, Sum
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.model import Endpoint
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.ssh import Host as Where
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.ssh import Local, Result, Ssh
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    DeadlineExceeded,
    Denied,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
    Unsupported,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from standins import redfish_bios as service
from standins import sum as standin
from standins.site import Fault
from testbed import rackbios
from testbed.ansible import Modules, done, failed
from testbed.daemon import free_port
from testbed.rackhost import Host, make_key

SUM = Path(standin.__file__)
WORD = "hush-word-29"  # the BMC's password
PATIENCE = Patience(60, 60)


def soon() -> Deadline:
    return Deadline(120)


@pytest.fixture(scope="module")
def modules() -> Iterator[Modules]:
    runner = Modules({})
    yield runner
    runner.close()


# -- a host with SUM ------------------------------------------------------------------------------------
class Board:
    """A folder in which SUM and its BIOS lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "sum.state"
        self.state.mkdir(exist_ok=True)
        (self.state / "bios.xml").write_bytes(rackbios.before())
        (folder / "sum").write_text(f'#!/bin/sh\nSUM_STATE=$(dirname $0)/sum.state exec python3 {SUM} "$@"\n')
        (folder / "sum").chmod(0o755)

    def faults(self, **faults: Any) -> None:
        (self.state / "faults.json").write_text(json.dumps(faults))

    @property
    def bios(self) -> bytes:
        return (self.state / "bios.xml").read_bytes()

    @property
    def calls(self) -> list[list[str]]:
        file = self.state / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def count(self, command: str) -> int:
        return sum(command in call for call in self.calls)

    def booted(self) -> None:
        env = {**os.environ, "SUM_STATE": str(self.state)}
        subprocess.run([sys.executable, SUM, "--booted"], env=env, check=True)


class Server(Board):
    """A host that really goes and comes back when ``systemctl reboot`` is called on it."""

    def __init__(self, folder: Path, seen_at: Path, key: Path) -> None:
        self.host = Host(folder, seen_at, "127.0.0.1", free_port(), key)
        super().__init__(folder)
        self.seen_at = seen_at
        self.key = key
        (folder / "bin").mkdir()
        # Never this machine's own systemctl.
        (folder / "bin/systemctl").write_text(f'#!/bin/sh\necho "$@" >> {seen_at}/asked\n')
        (folder / "bin/systemctl").chmod(0o755)
        config = folder / "sshd_config"
        path = f"PATH={seen_at}/bin:/usr/local/bin:/usr/bin:/bin"
        config.write_text(config.read_text().replace("SetEnv ", f"SetEnv {path} "))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live)
        self._thread.start()
        wait_until(lambda: self.host.answers() or None, Deadline(60), what="sshd")

    def _live(self) -> None:
        """The process that this thread starts lives as long as it does."""
        self.host.start()
        while not self._stop.wait(0.05):
            if (self.folder / "asked").exists():
                (self.folder / "asked").unlink()
                self.host.start()
        self.host.stop()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def where(self) -> Where:
        return Where("127.0.0.1", self.host.port, "root", str(self.key), host_keys="any")

    @property
    def options(self) -> dict[str, Any]:
        return {
            "transport": "sum",
            "sum": str(self.seen_at / "sum"),
            "ssh_host": "127.0.0.1",
            "ssh_port": self.host.port,
            "ssh_key_file": str(self.key),
            "ssh_host_keys": "any",
            "wait": 120,
        }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    for name in ("host", "here"):
        (tmp_path / name).mkdir()
    made = Server(tmp_path / "host", tmp_path / "here", make_key(tmp_path / "key"))
    try:
        with Ssh(made.where) as shell:  # or the machine that the tests run on would reboot
            found = shell.run(["sh", "-c", "command -v systemctl"], soon()).out.strip()
            assert found == f"{made.seen_at}/bin/systemctl"
        yield made
    finally:
        made.close()


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, Any]:
    return {"device_types": str(rackbios.device_types(tmp_path)), "device_type": rackbios.DEVICE_TYPE}


# -- SSH ------------------------------------------------------------------------------------------------
def test_commands_and_files_over_ssh(server: Server, tmp_path: Path) -> None:
    with Ssh(server.where) as ssh:
        assert ssh.run(["sh", "-c", "cat; echo gone >&2; exit 3"], soon(), stdin=b"come") == Result(3, "come", "gone\n")
        assert ssh.run(["echo", "$HOME", "a  b", "'"], soon()).out == "$HOME a  b '\n"
        big = ssh.run(["sh", "-c", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"], soon())
        assert (len(big.out), len(big.err)) == (3000000, 3000000)
        path = str(tmp_path / "note")
        ssh.write_file(path, b"x\x00\xff" * 100000)
        assert Path(path).stat().st_mode & 0o777 == 0o600 and ssh.owner(path) == os.getuid()
        assert ssh.read_file(path) == b"x\x00\xff" * 100000 and [one.name for one in tmp_path.glob("note*")] == ["note"]
        ssh.remove(path)
        ssh.remove(path)
        assert ssh.owner(path) is None
        with pytest.raises(NotFound, match="note is not there"):
            ssh.read_file(path)
        with pytest.raises(NotFound):
            ssh.write_file(str(tmp_path / "no-folder" / "x"), b"")
        with pytest.raises(DeadlineExceeded, match="in vain for sleep"):
            ssh.run(["sleep", "600"], Deadline(0.5))
        assert ssh.run(["true"], soon()).rc == 0 and ssh.alive()


def test_the_same_face_here(tmp_path: Path) -> None:
    with Local() as here:
        assert here.run(["sh", "-c", "cat; echo gone >&2; exit 3"], soon(), stdin=b"come") == Result(
            3, "come", "gone\n"
        )
        path = str(tmp_path / "note")
        here.write_file(path, b"x")
        assert here.read_file(path) == b"x" and here.owner(path) == os.getuid()
        assert Path(path).stat().st_mode & 0o777 == 0o600
        here.remove(path)
        assert here.owner(path) is None
        with pytest.raises(NotFound):
            here.read_file(path)
        assert here.run(["/nowhere/sum"], soon()).rc == 127
        with pytest.raises(DeadlineExceeded):
            here.run(["sleep", "600"], Deadline(0.2))


def test_who_is_not_let_in_and_what_is_not_there(server: Server, tmp_path: Path) -> None:
    where = server.where
    other = make_key(tmp_path / "other")
    known = tmp_path / "known_hosts"

    def reached(**options: Any) -> None:
        with Ssh(Where(**{**vars(where), **options})):
            pass

    with pytest.raises(Denied, match=r"refuses user root with the key .*; tried once"):
        reached(key_file=str(other))
    with pytest.raises(Denied, match="refuses user root with the password"):
        reached(key_file="", password=WORD)
    with pytest.raises(Denied, match="nokey: No such file"):
        reached(key_file=str(tmp_path / "nokey"))
    with pytest.raises(Denied, match="its host key is not known"):
        reached(host_keys="strict", known_hosts=str(known))
    with pytest.raises(Unreachable, match="does not answer SSH"):
        reached(port=free_port())
    reached(host_keys="new", known_hosts=str(known))
    reached(host_keys="strict", known_hosts=str(known))
    (server.folder / "asked").write_text("reboot")  # comes back with another key
    wait_until(lambda: (server.host.boots == 2 and server.host.answers()) or None, Deadline(60), what="the boot")
    with pytest.raises(Denied, match="shows another host key"):
        reached(host_keys="new", known_hosts=str(known))
    assert WORD not in repr(Where(**{**vars(where), "password": WORD}))


def test_a_host_that_goes_away_under_a_command(server: Server) -> None:
    with Ssh(server.where) as ssh:
        with pytest.raises(Unreachable):
            ssh.run(["sh", "-c", f"systemctl reboot; touch {server.seen_at}/asked; sleep 600"], soon())
        assert not ssh.alive()


# -- SUM on the host ------------------------------------------------------------------------------------
def test_a_bios_becomes_as_its_device_type_says(
    modules: Modules, server: Server, wanted: dict[str, Any], tmp_path: Path
) -> None:
    args = {**server.options, **wanted, "reboot": "host", "file": str(tmp_path / "kept.xml")}
    would = done(modules("bios_config", args, check=True, diff=True))
    assert would["changed"] and would["state"] == "applied" and would["rebooted"]
    assert server.count("ChangeBiosCfg") == 0 and server.host.boots == 1 and not (tmp_path / "kept.xml").exists()
    did = done(modules("bios_config", args, diff=True))
    assert server.bios == rackbios.after() and server.host.boots == 2
    assert (did["changed"], did["changes"], did["diff"]) == (True, would["changes"], would["diff"])
    assert did["diff"]["before"].splitlines()[1] == "CPU Configuration > Intel Virtualization Technology: Disable"
    assert did["diff"]["after"].splitlines()[2] == "CPU Configuration > Cores Enabled #2: 8"
    assert did["changes"][0] == {
        "menu": "Boot Feature",
        "name": "Quiet Boot",
        "order": 1,
        "before": "Checked",
        "after": "Unchecked",
        "setting": "quiet_boot",
        "state": "applied",
    }
    assert (tmp_path / "kept.xml").read_bytes() == rackbios.before()
    again = done(modules("bios_config", args, diff=True))
    assert (
        not again["changed"] and again["state"] == "current" and again["changes"] == [] and again["diff"]["after"] == ""
    )
    assert server.host.boots == 2 and server.count("ChangeBiosCfg") == 1
    back = done(modules("bios_config", {**server.options, "state": "restored", "file": args["file"], "reboot": "host"}))
    assert back["changed"] and server.bios == rackbios.before() and server.host.boots == 3
    left = [one.name for one in (server.folder / "tmp").iterdir() if one.is_dir()]
    assert left == []


def test_settings_wait_for_a_reboot_and_are_pushed_once(
    modules: Modules, server: Server, wanted: dict[str, Any]
) -> None:
    args = {**server.options, **wanted}
    first = done(modules("bios_config", args))
    assert (first["changed"], first["state"], first["rebooted"]) == (True, "pending", False)
    assert server.bios == rackbios.before()
    second = done(modules("bios_config", args))
    assert (second["changed"], second["state"]) == (False, "pending") and server.count("ChangeBiosCfg") == 1
    read = done(modules("bios_config", {**server.options, "state": "fetched"}))
    assert not read["changed"] and read["state"] == "pending" and len(read["pending"]) == len(rackbios.WANTED)
    assert len(read["settings"]) == len(rackbios.SETTINGS)
    third = done(modules("bios_config", {**args, "reboot": "host"}))
    assert (third["changed"], third["state"]) == (True, "applied") and server.bios == rackbios.after()
    assert server.count("ChangeBiosCfg") == 1 and server.host.boots == 2


def test_what_is_rejected_is_told_and_the_rest_put_back(
    modules: Modules, server: Server, wanted: dict[str, Any]
) -> None:
    server.faults(refuse=["Cores Enabled"])
    args = {**server.options, **wanted, "reboot": "host"}
    told = failed(modules("bios_config", {**args, "on_failure": "restore"}))
    assert told.startswith("host 127.0.0.1 port") and "1 of 4 settings were rejected: " in told
    assert "CPU Configuration > Cores Enabled #2 (0 -> 8): after the boot it is still 0" in told
    assert told.endswith("the others (3) were put back as they were")
    assert server.bios == rackbios.before() and server.host.boots == 3
    kept = failed(modules("bios_config", args))
    assert kept.endswith("the others are in effect") and b'"Unchecked"' in server.bios


def test_sum_and_the_reboot_by_sudo(modules: Modules, server: Server, wanted: dict[str, Any]) -> None:
    sudo = server.folder / "bin/sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    args = {**server.options, **wanted, "sudo": True, "reboot": "host"}
    assert "sudo: a password is required" in failed(modules("bios_config", args)) and server.calls == []
    sudo.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {server.seen_at}/sudone\n[ "$1 $2" = "-n --" ] || exit 9\nshift 2\nexec "$@"\n'
    )
    assert done(modules("bios_config", args))["state"] == "applied" and server.bios == rackbios.after()
    ran = [line.split()[2:4] for line in (server.folder / "sudone").read_text().splitlines()]
    assert ["systemctl", "reboot"] in ran and [str(server.seen_at / "sum"), "-c"] in ran


#: Runs the task with the options that its first argument holds.
RUN = """
import json, sys
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.task import OPTIONS, bios_task
given = json.loads(sys.argv[1])
bios_task({**{name: one.get("default") for name, one in OPTIONS.items()}, **given}, check=False)
"""


def test_a_run_that_is_killed_is_finished_by_the_next(modules: Modules, server: Server, wanted: dict[str, Any]) -> None:
    """Killed when the settings are stored and the reboot is not yet ordered, or was: they are stored once."""
    (server.folder / "bin/systemctl").rename(server.folder / "bin/kept")
    (server.folder / "bin/systemctl").write_text("#!/bin/sh\nsleep 600\n")
    (server.folder / "bin/systemctl").chmod(0o755)
    args = {**server.options, **wanted, "reboot": "host"}
    argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", RUN, json.dumps(args)]
    env = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    child = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        marks = server.folder / "tmp"
        wait_until(
            lambda: list(marks.glob("rackstead-bios-*.json")) or None, Deadline(100), what="the settings to be stored"
        )
    finally:
        child.kill()
        child.wait(timeout=60)
    (server.folder / "bin/kept").rename(server.folder / "bin/systemctl")
    assert server.bios == rackbios.before() and server.host.boots == 1
    assert done(modules("bios_config", args))["state"] == "applied"
    assert server.bios == rackbios.after() and server.count("ChangeBiosCfg") == 1 and server.host.boots == 2


def test_a_file_of_the_bios(modules: Modules, server: Server, tmp_path: Path) -> None:
    args = {**server.options, "state": "fetched", "file": str(tmp_path / "bios.xml")}
    assert done(modules("bios_config", args, check=True))["changed"] and not (tmp_path / "bios.xml").exists()
    assert done(modules("bios_config", args))["changed"]
    assert (tmp_path / "bios.xml").read_bytes() == server.bios and (
        tmp_path / "bios.xml"
    ).stat().st_mode & 0o777 == 0o600
    assert not done(modules("bios_config", args))["changed"]


def test_bad_input_before_anything_is_asked(modules: Modules, server: Server, wanted: dict[str, Any]) -> None:
    told = failed(modules("bios_config", {**server.options, **wanted, "device_type": "s2.c2.smal"}))
    assert told == 'device_type: "s2.c2.smal" is not in device_mappings.yaml; did you mean "s2.c2.small"?'
    bad = {"transport": "sum", "sum": "sum", "reboot": "host", "wait": 0, "ssh_port": 0}
    assert [line.split(":")[0] for line in failed(modules("bios_config", bad)).splitlines()] == [
        "device_types",
        "device_type",
        "sum",
        "reboot",
        "ssh_port",
        "wait",
    ]
    assert server.calls == []
    Path(wanted["device_types"]).write_text("s2.c2.small: {supermicro: [{name: Quiet Boat, value: true}]}\n")
    told = failed(modules("bios_config", {**server.options, **wanted}))
    assert told == 's2.c2.small.supermicro: "Quiet Boat" is not a setting of this BIOS; did you mean "Quiet Boot"?'
    assert server.count("ChangeBiosCfg") == 0


# -- SUM and its failures -------------------------------------------------------------------------------
@pytest.fixture
def board(tmp_path: Path) -> Board:
    (tmp_path / "board").mkdir()
    return Board(tmp_path / "board")


@dataclass
class Desk(Local):
    """This machine as a host of its own: it boots when the test says so."""

    folder: Path
    boots: int = 1
    ran: list[list[str]] = field(default_factory=list)

    def run(self, argv: Any, deadline: Deadline, stdin: bytes = b"") -> Result:
        self.ran.append(list(argv))
        text = [word.replace(BOOT_ID, str(self.folder / "boot")) for word in argv]
        (self.folder / "boot").write_text(f"boot-{self.boots}\n")
        return super().run(["env", f"TMPDIR={self.folder}", *text], deadline, stdin)


def in_band(board: Board) -> Sum:
    return Sum(Desk(board.folder), str(board.folder / "sum"), pause=0.05)


def test_a_busy_sum_is_asked_again(board: Board) -> None:
    board.faults(busy=2)
    with in_band(board) as transport:
        assert transport.fetch(soon()).encode() == rackbios.before()
    assert board.count("GetCurrentBiosCfg") == 3
    board.faults(busy=10000)
    with in_band(board) as transport, pytest.raises(Conflict, match="SUM is busy"):
        transport.fetch(Deadline(0.5))


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        ({"license": False}, Unsupported, "product key is not activated .exit code 80: Product key"),
        ({"exit": {"GetCurrentBiosCfg": 105}}, OperationFailed, "SUM's driver does not work"),
        ({"exit": {"GetCurrentBiosCfg": 103}}, Unsupported, "in-band"),
        ({"exit": {"GetCurrentBiosCfg": 77}}, OperationFailed, "failed .exit code 77"),
    ],
)
def test_how_sum_fails(board: Board, faults: dict[str, Any], kind: type[RacksteadError], words: str) -> None:
    board.faults(**faults)
    with in_band(board) as transport, pytest.raises(kind, match=words):
        transport.fetch(soon())
    assert board.count("GetCurrentBiosCfg") == 1


def test_a_sum_that_is_none(board: Board) -> None:
    with pytest.raises(InvalidInput, match='"sum" is not valid; allowed: the absolute path'):
        Sum(Local(), "sum")
    with (
        Sum(Desk(board.folder), "/nowhere/sum") as transport,
        pytest.raises(NotFound, match="/nowhere/sum cannot be run"),
    ):
        transport.fetch(soon())
    # What every machine has by this name writes no BIOS file.
    with Sum(Desk(board.folder), "/usr/bin/sum") as transport, pytest.raises(OperationFailed):
        transport.fetch(soon())


def test_a_file_that_sum_cannot_use(board: Board) -> None:
    document = Document.parse(rackbios.before().replace(b"Quiet Boot", b"Silent Boot"))
    change = next(one for one in document.settings if one.name == "Silent Boot")
    with (
        in_band(board) as transport,
        pytest.raises(OperationFailed, match=r'exit code 60: Setting "Silent Boot" is unknown'),
    ):
        transport.push(document, [_changed(change, "Unchecked")], soon())
    assert list(board.folder.glob("rackstead-bios*")) == []


def _changed(setting: Any, after: str) -> Any:
    from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.model import SettingChange

    return SettingChange(setting.menu, setting.name, setting.order, setting.type, setting.value, after)


def test_out_of_band_without_a_password_in_any_argument(board: Board, tmp_path: Path) -> None:
    board.faults(bmc=["192.0.2.9", "admin", WORD])
    desk = Desk(board.folder)
    login = Login("192.0.2.9", "admin", WORD)
    wanted = load(rackbios.device_types(tmp_path)).resolve(rackbios.DEVICE_TYPE)
    with Sum(desk, str(board.folder / "sum"), bmc=login, lag=30) as transport:
        result = ensure_bios(transport, wanted, check=False, reboot=board.booted, patience=PATIENCE)
    assert result["state"] == "applied" and board.bios == rackbios.after()
    assert WORD not in json.dumps(board.calls) + json.dumps(desk.ran) + repr(login) + repr(result)
    assert list(board.folder.glob("rackstead-bios*")) == []  # nor is the file with it left


@pytest.mark.parametrize(
    ("login", "kind", "words"),
    [
        (Login("192.0.2.9", "admin", "wrong-word"), Denied, "refuses SUM's login; tried once"),
        (Login("192.0.2.8", "admin", WORD), Unreachable, "does not reach the BMC"),
        (Login("192.0.2.9", "admin", "two words"), InvalidInput, "must not be empty or hold blanks"),
    ],
)
def test_a_bmc_that_does_not_let_sum_in(board: Board, login: Login, kind: type[RacksteadError], words: str) -> None:
    board.faults(bmc=["192.0.2.9", "admin", WORD])
    with (
        Sum(Desk(board.folder), str(board.folder / "sum"), bmc=login) as transport,
        pytest.raises(kind, match=words) as caught,
    ):
        transport.fetch(soon())
    assert len(board.calls) <= 1 and login.password not in str(caught.value)


def test_a_setting_that_is_rejected_out_of_band(board: Board, tmp_path: Path) -> None:
    board.faults(refuse=["Quiet Boot"])
    wanted = load(rackbios.device_types(tmp_path)).resolve(rackbios.DEVICE_TYPE)
    login = Login("192.0.2.9", "admin", WORD)
    transport = Sum(Desk(board.folder), str(board.folder / "sum"), bmc=login, lag=1)
    with transport, pytest.raises(SettingsRejected) as caught:
        ensure_bios(transport, wanted, check=False, reboot=board.booted, patience=PATIENCE)
    assert [one.change.name for one in caught.value.rejected] == ["Quiet Boot"]


# -- Redfish --------------------------------------------------------------------------------------------
def enum(name: str, *values: str) -> dict[str, Any]:
    return {
        "AttributeName": name,
        "Type": "Enumeration",
        "MenuPath": "./Cpu",
        "Value": [{"ValueName": v} for v in values],
    }


def firmware(**more: Any) -> service.Firmware:
    attributes = {"ProcVirtualization": "Disabled", "LogicalProc": "Enabled", "QuietBoot": True, "Wattage": 20}
    registry = [
        enum("ProcVirtualization", "Enabled", "Disabled"),
        enum("LogicalProc", "Enabled", "Disabled"),
        {"AttributeName": "QuietBoot", "Type": "Boolean"},
        {"AttributeName": "Wattage", "Type": "Integer", "LowerBound": 10, "UpperBound": 90},
    ]
    options = {"B1": ("Hdd", "debian"), "B2": ("Pxe", "IPv4 Intel"), "B3": ("Usb", "stick")}
    return service.Firmware(attributes, registry, boot_options=options, boot_order=["B1", "B2", "B3"], **more)


TYPES = """
plain:
  settings: {virtualization_enabled: true, quiet_boot: false, boot_order: [PXE]}
  redfish: {Wattage: 30}
"""


@pytest.fixture
def types(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "types.yaml").write_text(TYPES)
    return {"device_types": str(tmp_path / "types.yaml"), "device_type": "plain"}


def options_of(site: service.RedfishBios) -> dict[str, Any]:
    where = {"transport": "redfish", "host": "127.0.0.1", "redfish_url": site.url, "wait": 60}
    return {**where, "username": service.USER, "password": service.PASSWORD}


def patches(site: service.RedfishBios) -> list[str]:
    return [line for line in site.asked if line.startswith(("PATCH", "POST", "PUT", "DELETE"))]


@pytest.mark.parametrize("tells", [True, False])
def test_a_bios_over_redfish(modules: Modules, types: dict[str, Any], tells: bool, tmp_path: Path) -> None:
    with service.redfish_bios(firmware(with_tasks=tells, with_progress=tells)) as site:
        before = copy.deepcopy(site.firmware.attributes)
        args = {**options_of(site), **types, "reboot": "bmc", "file": str(tmp_path / "kept.json")}
        would = done(modules("bios_config", args, check=True, diff=True))
        assert would["changed"] and patches(site) == [] and site.firmware.attributes == before
        did = done(modules("bios_config", args, diff=True))
        assert (did["state"], did["changes"], did["diff"]) == ("applied", would["changes"], would["diff"])
        assert site.firmware.attributes == {
            "ProcVirtualization": "Enabled",
            "LogicalProc": "Enabled",
            "QuietBoot": False,
            "Wattage": 30,
        }
        assert site.firmware.boot_order == ["B2", "B1", "B3"] and site.resets == 1
        sent = patches(site)
        assert len(sent) == 3
        again = done(modules("bios_config", args))
        assert not again["changed"] and patches(site) == sent and site.resets == 1
        done(modules("bios_config", {**options_of(site), "state": "restored", "file": args["file"], "reboot": "bmc"}))
        assert site.firmware.attributes == before and site.firmware.boot_order == ["B1", "B2", "B3"]


@pytest.mark.parametrize(("with_tasks", "state"), [(True, "scheduled"), (False, "pending")])
def test_what_is_pending_is_not_sent_again(
    modules: Modules, types: dict[str, Any], with_tasks: bool, state: str
) -> None:
    with service.redfish_bios(firmware(with_tasks=with_tasks)) as site:
        args = {**options_of(site), **types}
        first = done(modules("bios_config", args))
        assert (first["changed"], first["state"]) == (True, state) and site.resets == 0
        sent = patches(site)
        second = done(modules("bios_config", args))
        assert (second["changed"], second["state"]) == (False, state) and patches(site) == sent
        third = done(modules("bios_config", {**args, "reboot": "bmc"}))
        assert (third["changed"], third["state"]) == (True, "applied") and patches(site)[:-1] == sent


def test_what_redfish_rejects(modules: Modules, types: dict[str, Any]) -> None:
    with service.redfish_bios(firmware(refuse={"Wattage": "Wattage is locked by policy", "QuietBoot": ""})) as site:
        before = copy.deepcopy(site.firmware.attributes)
        args = {**options_of(site), **types, "reboot": "bmc"}
        told = failed(modules("bios_config", {**args, "on_failure": "restore"}))
        assert "2 of 5 settings were rejected" in told and "Wattage (20 -> 30): Wattage is locked by policy" in told
        assert "QuietBoot (Checked -> Unchecked): after the boot it is still Checked" in told
        assert site.firmware.attributes == before and site.firmware.boot_order == ["B1", "B2", "B3"]


def test_settings_that_stay_pending_for_ever(modules: Modules, types: dict[str, Any]) -> None:
    with service.redfish_bios(firmware(pending_for_ever=True)) as site:
        told = failed(modules("bios_config", {**options_of(site), **types, "reboot": "bmc", "wait": 1}))
        assert "in vain for the settings to be taken up" in told and "is Pending" in told


def test_a_stale_job_in_the_way(modules: Modules, types: dict[str, Any]) -> None:
    with service.redfish_bios(firmware()) as site:
        site.tasks["/redfish/v1/Things/Work/Items/9"] = {"TaskState": "Stale"}
        told = failed(modules("bios_config", {**options_of(site), **types}))
        assert "a configuration job is there already" in told and "Items/9 is in the way" in told


def test_a_redfish_service_that_fails(modules: Modules, types: dict[str, Any]) -> None:
    with service.redfish_bios(firmware()) as site:
        args = {**options_of(site), **types}
        told = failed(modules("bios_config", {**args, "password": "wrong-word"}))
        assert "refuses user admin" in told and len(site.asked) == 2  # the root, and one refusal
        site.faults.append(Fault("PATCH", "/Next", 503))
        busy = modules("bios_config", args)
        assert "503" in failed(busy) and busy["failure"]["code"] == "Conflict"
        assert not any(line.startswith("POST") for line in site.asked)
        assert done(modules("bios_config", args))["changed"]


# -- the same intent by both ways -----------------------------------------------------------------------
INTENTS = {"virtualization_enabled": ("Disable", "Enable"), "hyperthreading": ("Disable", "Enable"), "quiet_boot": ()}
ATTRIBUTES = {
    "virtualization_enabled": "ProcVirtualization",
    "hyperthreading": "LogicalProc",
    "quiet_boot": "QuietBoot",
}
SETTINGS = {
    "virtualization_enabled": "Intel Virtualization Technology",
    "hyperthreading": "Hyper-Threading [ALL]",
    "quiet_boot": "Quiet Boot",
}


def answer(transport: Any, wanted: DeviceType, reboot: Any, on_failure: str) -> Any:
    """What ``ensure_bios`` says, in friendly names."""
    try:
        result = ensure_bios(transport, wanted, check=False, reboot=reboot, on_failure=on_failure, patience=PATIENCE)
    except SettingsRejected as exc:
        return "rejected", sorted(one.change.setting for one in exc.rejected), exc.hint
    return result["changed"], result["rebooted"], sorted((one["setting"], one["state"]) for one in result["changes"])


@settings(max_examples=8)
@given(
    st.fixed_dictionaries(dict.fromkeys(INTENTS, st.booleans())),
    st.dictionaries(st.sampled_from(sorted(INTENTS)), st.booleans(), min_size=1),
    st.sets(st.sampled_from(sorted(INTENTS)), max_size=1),
    st.booleans(),
    st.sampled_from(["keep", "restore"]),
)
def test_both_transports_give_the_same_answer(
    tmp_path_factory: pytest.TempPathFactory,
    now: dict[str, bool],
    intent: dict[str, bool],
    refused: set[str],
    boots: bool,
    on_failure: str,
) -> None:
    folder = tmp_path_factory.mktemp("both")
    (folder / "types.yaml").write_text(json.dumps({"it": {"settings": intent}}))
    wanted = load(folder / "types.yaml").resolve("it")
    board = _board_with(folder, now)
    board.faults(refuse=[SETTINGS[one] for one in refused])
    desk = Desk(board.folder)

    def boot() -> None:
        board.booted()
        desk.boots += 1

    ware = firmware(refuse={ATTRIBUTES[one]: "" for one in refused}, starting=1)
    for name, on in now.items():
        ware.attributes[ATTRIBUTES[name]] = on if name == "quiet_boot" else ("Enabled" if on else "Disabled")
    with service.redfish_bios(ware) as site:
        endpoint = Endpoint("127.0.0.1", service.USER, service.PASSWORD, redfish_url=site.url)
        answers: list[list[Any]] = [[], []]
        for _time in range(2):
            with Sum(desk, str(board.folder / "sum"), pause=0.05) as transport:
                answers[0].append(answer(transport, wanted, boot if boots else None, on_failure))
            with RedfishBios(endpoint) as bios:
                reset = (lambda: bios.press("reset")) if boots else None
                answers[1].append(answer(bios, wanted, reset, on_failure))
        assert _without_jobs(answers[0]) == _without_jobs(answers[1])
        there = {name: _is_on(board, name) for name in INTENTS}
        assert there == {name: ware.attributes[ATTRIBUTES[name]] in (True, "Enabled") for name in INTENTS}


def _board_with(folder: Path, now: dict[str, bool]) -> Board:
    (folder / "board").mkdir()
    board = Board(folder / "board")
    document = Document.parse(board.bios)
    changes = []
    for name, on in now.items():
        setting = next(one for one in document.settings if one.name == SETTINGS[name])
        labels = ("Unchecked", "Checked") if name == "quiet_boot" else INTENTS[name]
        changes.append(_changed(setting, labels[on]))
    (board.state / "bios.xml").write_bytes(document.with_changes(changes).encode())
    return board


def _is_on(board: Board, name: str) -> bool:
    setting = next(one for one in Document.parse(board.bios).settings if one.name == SETTINGS[name])
    return setting.value in ("Enable", "Checked")


def _without_jobs(answers: list[Any]) -> str:
    """SUM knows no jobs: what is scheduled at a BMC is pending there."""
    return repr(answers).replace("scheduled", "pending")


# -- secrets --------------------------------------------------------------------------------------------
def test_no_secret_in_results_or_anything_that_is_left(
    modules: Modules, server: Server, types: dict[str, Any], wanted: dict[str, Any]
) -> None:
    server.faults(bmc=["192.0.2.9", "admin", WORD], exit={"ChangeBiosCfg": 60})
    results = [
        modules("bios_config", {**server.options, **wanted, "transport": "sum_oob", "host": "192.0.2.9", "username": "admin", "password": word})
        for word in (WORD, "wrong-word-31")
    ]  # fmt: skip
    results.append(modules("bios_config", {**server.options, **wanted, "ssh_key_file": None, "ssh_password": WORD}))
    with service.redfish_bios(firmware(refuse={"Wattage": "no"})) as site:
        results.append(modules("bios_config", {**options_of(site), **types, "reboot": "bmc"}, diff=True))
    assert all(one["failed"] for one in results)
    words = (WORD, "wrong-word-31", service.PASSWORD)
    # The invocation that Ansible adds has them hidden, too.
    for text in [json.dumps(results), json.dumps(server.calls)]:
        assert not any(word in text for word in words)
    for file in server.folder.rglob("*"):
        if file.is_file() and file.name != "faults.json":
            assert not any(word.encode() in file.read_bytes() for word in words), file
