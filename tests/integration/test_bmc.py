# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules for BMCs on real ones: OpenIPMI's simulator over RMCP+, sushy-tools' service over Redfish.

What happened is read from what the peers hold, not from what the modules say.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from testbed import bmc as testbed
from testbed.ansible import Modules, Playbooks, done, failed

#: Addresses of the loopback that a BMC may have here.
OLD, NEW, OTHER = "127.0.77.10", "127.0.77.50", "127.0.77.60"
MOVE = {"source": "static", "address": NEW, "netmask": "255.255.255.0", "gateway": "127.0.77.1"}


@pytest.fixture(scope="module")
def modules() -> Iterator[Modules]:
    runner = Modules({})
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[testbed.Ipmi]:
    with testbed.ipmi() as bmc:
        yield bmc


@pytest.fixture
def bmc(shared: testbed.Ipmi) -> testbed.Ipmi:
    """A BMC whose server is off and knows nothing of other tests."""
    shared.set_power(False)
    (shared.folder / "chassis.log").unlink(missing_ok=True)
    (shared.folder / "deaf").unlink(missing_ok=True)
    shared.set_lan("127.0.0.1")
    return shared


@pytest.fixture
def wire(bmc: testbed.Ipmi) -> Iterator[testbed.Wire]:
    bmc.set_lan(OLD)
    wire = testbed.Wire(bmc, [OLD, NEW])
    yield wire
    wire.close()


# -- power --------------------------------------------------------------------------------------------
def test_power_comes_into_the_state_that_is_wanted(modules: Modules, bmc: testbed.Ipmi) -> None:
    def power(state: str, **options: Any) -> dict[str, Any]:
        return done(modules("bmc_power", {**bmc.options, "protocol": "ipmi", "state": state}, **options))

    predicted = power("on", check=True, diff=True)
    assert predicted["changed"] and bmc.chassis()["power"] == "0" and bmc.commands() == []
    first = power("on", diff=True)
    assert first["changed"] and bmc.chassis()["power"] == "1"
    assert (first["power"], first["before"], first["diff"]) == ("on", "off", predicted["diff"])
    assert not power("on")["changed"]
    assert power("cycle")["changed"] and bmc.chassis()["power"] == "1"
    assert bmc.commands() == ["power 1", "power 0", "power 1"]
    assert power("soft")["changed"] and bmc.chassis()["power"] == "0"
    assert not power("soft")["changed"] and not power("off")["changed"]
    assert power("cycle")["power"] == "on"  # from off it is only switched on
    assert power("reset")["changed"] and bmc.commands()[-1] == "reset 1"


def test_a_server_that_does_not_shut_down(modules: Modules, bmc: testbed.Ipmi) -> None:
    bmc.set_power(True)
    bmc.be_deaf()
    args = {**bmc.options, "protocol": "ipmi", "state": "soft", "wait": 1}
    message = failed(modules("bmc_power", args))
    assert message == "waited 1 s in vain for power off (last seen: on); force: true switches it off then"
    assert bmc.chassis()["power"] == "1"
    assert done(modules("bmc_power", {**args, "force": True}))["power"] == "off"
    assert bmc.chassis()["power"] == "0"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"state": "reset"}, "state: reset is not possible: the server of BMC 127.0.0.1 is off; allowed: on, cycle"),
        ({"state": "on", "force": True}, "force: is of no use with state on; allowed: with state soft"),
        ({"state": "on", "wait": -1}, "wait: -1 is not valid; allowed: seconds, 0 or more"),
        ({"state": "on", "host": "not a host"}, "host: 'not a host' is not valid; allowed: the BMC's name or address"),
        (
            {"state": "on", "port": 0, "username": "a-name-that-is-too-long"},
            (
                "port: 0 is not valid; allowed: 1 to 65535\n"
                "username: 'a-name-that-is-too-long' is too long; allowed: at most 16 bytes"
            ),
        ),
        (
            {"state": "on", "redfish_url": "https://user:word@host"},
            "redfish_url: is not valid; allowed: https://name-or-address, with :port if need be",
        ),
    ],
)
def test_bad_input_is_told_before_anything_happens(
    modules: Modules, bmc: testbed.Ipmi, args: dict[str, Any], message: str
) -> None:
    assert failed(modules("bmc_power", {**bmc.options, "protocol": "ipmi", **args})) == message
    assert bmc.commands() == []


def test_a_wrong_password_is_tried_once(modules: Modules, bmc: testbed.Ipmi) -> None:
    args = {**bmc.options, "protocol": "ipmi", "state": "on", "password": "wrong-one"}
    message = failed(modules("bmc_power", args))
    assert message == (
        "BMC 127.0.0.1: refuses user admin: wrong name or password; check username and password; "
        "nothing was tried a second time, so that the account is not locked"
    )
    assert "wrong-one" not in message
    assert (bmc.folder / "log").read_text().lower().count("authentication") <= 1
    assert "wrong name or password" in failed(modules("bmc_power", {**args, "username": "nobody"}))


def test_nobody_there(modules: Modules, bmc: testbed.Ipmi) -> None:
    nobody = testbed.free_port()
    args = {**bmc.options, "protocol": "ipmi", "state": "on", "port": nobody, "timeout": 0.5}
    message = failed(modules("bmc_power", args))
    assert message.startswith(f"BMC 127.0.0.1: no answer over IPMI on UDP port {nobody} (")


# -- boot ---------------------------------------------------------------------------------------------
def test_boot_override(modules: Modules, bmc: testbed.Ipmi) -> None:
    """The simulator keeps the device alone, so the mode cannot be read back, and that is told."""
    args = {**bmc.options, "protocol": "ipmi", "device": "pxe", "mode": "efi"}
    assert done(modules("bmc_boot", args, check=True))["changed"] and "boot" not in bmc.chassis()
    result = done(modules("bmc_boot", args))
    assert result["changed"] and bmc.chassis()["boot"] == "pxe"
    assert not result["verified"]
    told = (
        "BMC 127.0.0.1 took the boot flags, but shows pxe next time (legacy) for them in place of pxe next time (efi)"
    )
    assert told in str(result["warnings"])
    del args["mode"]
    assert not done(modules("bmc_boot", args))["changed"]
    message = failed(modules("bmc_boot", {**args, "device": "none", "persistent": True}))
    assert message == "persistent: is of no use with device none; allowed: with another device"


# -- info ---------------------------------------------------------------------------------------------
def test_info(modules: Modules, bmc: testbed.Ipmi) -> None:
    subsets = ["power", "boot", "device", "sensors", "events", "fru", "lan", "users"]
    result = done(modules("bmc_info", {**bmc.options, "protocol": "ipmi", "subsets": subsets}))
    found = result["bmc"]
    assert (result["protocol"], result["missing"], result["changed"]) == ("ipmi", {}, False)
    assert found["power"] == "off"
    assert found["device"]["manufacturer"] == "Super Micro Computer"
    assert found["device"]["guid"] == f"{bmc.number:032x}"
    assert [(one["name"], one["value"], one["unit"]) for one in found["sensors"]] == [("CPU1 Temp", 40, "°C")]
    assert [(one["sensor_type"], one["data"]) for one in found["events"]] == [(1, [0x57, 0x60, 0x70])]
    assert found["fru"]["product"]["serial_number"] == "S999888"
    assert found["fru"]["board"]["product_name"] == "X11DPU"
    assert (found["lan"]["address"], found["lan"]["mac"]) == ("127.0.0.1", "ac:1f:6b:00:00:01")
    users = [(one["slot"], one["name"], one["privilege"]) for one in found["users"]]
    assert (2, "admin", "administrator") in users


# -- users --------------------------------------------------------------------------------------------
def test_a_user_from_beginning_to_end(modules: Modules, bmc: testbed.Ipmi) -> None:
    name, first, second = "monitor", "first-word-1", "second-word-2"
    everything: list[str] = []

    def user(check: bool = False, **args: Any) -> dict[str, Any]:
        result = modules("bmc_user", {**bmc.options, "name": name, **args}, check=check, diff=True)
        everything.append(str({**result, "invocation": None}))
        return done(result)

    def gets_in(password: str, privilege: str = "operator") -> bool:
        args = {**bmc.options, "username": name, "password": password, "session_privilege": privilege}
        return not modules("bmc_info", {**args, "protocol": "ipmi", "subsets": ["power"]}).get("failed")

    new = {"user_password": first, "privilege": "operator"}
    predicted = user(check=True, **new)
    assert predicted["changed"] and not gets_in(first)
    created = user(**new)
    assert created["diff"] == predicted["diff"] and created["user"]["privilege"] == "operator"
    assert gets_in(first)
    assert not user(**new)["changed"]
    assert not user(privilege="operator", user_password=second, update_password="on_create")["changed"]
    changed = user(privilege="operator", user_password=second)
    assert changed["changed"] and changed["password_changed"] and gets_in(second) and not gets_in(first)
    assert user(privilege="user", user_password=second)["changed"] and gets_in(second, "user")
    assert user(state="absent", check=True)["changed"] and gets_in(second, "user")
    assert user(state="absent")["changed"] and not gets_in(second, "user")
    assert not user(state="absent")["changed"]
    assert not [text for text in everything if first in text or second in text]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"name": "new"}, "user_password: is missing; user new does not exist and needs one"),
        ({"name": "admin", "state": "absent"}, "name: admin is the user who asks; allowed: another user removes it"),
        (
            {"name": "admin", "privilege": "user"},
            "privilege: user would be that of the user who asks; allowed: another user changes it",
        ),
        (
            {"name": "seventeen-letters", "user_password": "x" * 17, "slot": 64},
            (
                "name: 'seventeen-letters' is not valid; allowed: 1 to 16 bytes\n"
                "user_password: its length is not valid; allowed: 1 to 16 bytes\n"
                "slot: 64 is not valid; allowed: 2 to 63"
            ),
        ),
    ],
)
def test_users_that_cannot_be(modules: Modules, bmc: testbed.Ipmi, args: dict[str, Any], message: str) -> None:
    assert failed(modules("bmc_user", {**bmc.options, **args})) == message


def test_a_slot_that_is_taken(modules: Modules, bmc: testbed.Ipmi) -> None:
    args = {**bmc.options, "name": "new", "user_password": "word", "slot": 2}
    assert failed(modules("bmc_user", args)).startswith("slot: 2 is user admin's; allowed: 3, 4, 5")
    assert failed(modules("bmc_user", {**args, "name": "admin", "slot": 5, "privilege": "administrator"})) == (
        "slot: user admin is in slot 2; allowed: 2"
    )


def test_the_user_who_asks_changes_the_own_password(modules: Modules) -> None:
    with testbed.ipmi() as own:
        args = {"name": "admin", "privilege": "administrator", "user_password": "tomorrow"}
        assert done(modules("bmc_user", {**own.options, **args}))["password_changed"]
        assert "wrong name or password" in failed(modules("bmc_user", {**own.options, **args}))
        assert not done(modules("bmc_user", {**own.options, **args, "password": "tomorrow"}))["changed"]


# -- LAN ----------------------------------------------------------------------------------------------
def test_a_bmc_moves_to_another_address(modules: Modules, wire: testbed.Wire) -> None:
    predicted = done(modules("bmc_lan", {**wire.options(OLD), **MOVE, "vlan": 7}, check=True, diff=True))
    assert predicted["changed"] and wire.bmc.lan()["ip_addr"] == OLD
    result = done(modules("bmc_lan", {**wire.options(OLD), **MOVE, "vlan": 7}, diff=True))
    assert result["diff"] == predicted["diff"] and result["before"]["address"] == OLD
    held = wire.bmc.lan()
    assert (held["ip_addr"], held["default_gw_ip_addr"], held["ip_addr_src"]) == (NEW, "127.0.77.1", "static")
    assert result["lan"]["vlan"] == 7
    assert not done(modules("bmc_lan", {**wire.options(NEW), **MOVE, "vlan": 7}))["changed"]
    assert done(modules("bmc_lan", {**wire.options(NEW), "vlan": 0}))["lan"]["vlan"] == 0


def test_a_bmc_that_is_lost_is_told_with_both_addresses(modules: Modules, wire: testbed.Wire) -> None:
    """It took an address at which nobody reaches it."""
    message = failed(modules("bmc_lan", {**wire.options(OLD), **MOVE, "address": OTHER, "wait": 3}))
    assert message.startswith(f"BMC {OLD}: went from {OLD} to {OTHER} and answers neither there (waited 3 s in vain")
    assert f"look for it at {OTHER} and {OLD}, with MAC address ac:1f:6b:00:00:01" in message
    assert wire.bmc.lan()["ip_addr"] == OTHER


def test_a_bmc_that_does_not_get_there_has_its_old_settings_back(modules: Modules, bmc: testbed.Ipmi) -> None:
    """It says it has the new address, and answers at the old one only."""
    args = {**bmc.options, **MOVE, "wait": 3}
    message = failed(modules("bmc_lan", args))
    assert message.startswith(f"BMC 127.0.0.1: did not get from 127.0.0.1 to {NEW}: waited 3 s in vain")
    assert message.endswith("; its old settings are back")
    assert bmc.lan()["ip_addr"] == "127.0.0.1" and bmc.lan()["default_gw_ip_addr"] == "127.0.0.1"


def test_an_address_that_another_bmc_has(modules: Modules, wire: testbed.Wire) -> None:
    with testbed.ipmi(2) as other, ExitStack() as stack:
        other.set_lan(OTHER)
        stack.callback(testbed.Wire(other, [OTHER], wire.port).close)
        args = {**wire.options(OLD), **MOVE, "address": OTHER}
        for check in (True, False):
            message = failed(modules("bmc_lan", args, check=check))
            assert message == (f"BMC {OTHER}: address: another BMC answers there already; name a free address")
        assert wire.bmc.lan()["ip_addr"] == OLD


def test_a_lock_that_a_killed_run_has_left(modules: Modules, bmc: testbed.Ipmi) -> None:
    """The lock of a run that died is taken over."""
    from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.ipmi import LOCK, LOCK_HELD, Ipmi
    from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.model import Endpoint

    endpoint = Endpoint("127.0.0.1", testbed.USER, testbed.PASSWORD, bmc.port)
    with Ipmi(endpoint) as killed:
        killed._set_parameter(killed.channel(), LOCK, bytes([LOCK_HELD]))
    result = done(modules("bmc_lan", {**bmc.options, "gateway": "127.0.0.254", "netmask": "255.255.255.0"}))
    assert result["changed"] and bmc.lan()["default_gw_ip_addr"] == "127.0.0.254"


def test_a_change_that_a_killed_run_has_not_committed(modules: Modules, wire: testbed.Wire) -> None:
    """The BMC shows it as if it were so, and is still where it was."""
    from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.ipmi import (
        ADDRESS,
        GATEWAY,
        LOCK,
        LOCK_HELD,
        Ipmi,
    )
    from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.model import Endpoint

    sent = [(LOCK, bytes([LOCK_HELD])), (GATEWAY, bytes([127, 0, 77, 1])), (ADDRESS, bytes([127, 0, 77, 50]))]
    with Ipmi(Endpoint(OLD, testbed.USER, testbed.PASSWORD, wire.port)) as killed:
        for number, data in sent:
            killed._set_parameter(killed.channel(), number, data)
        assert killed.lan().address == NEW and wire.bmc.lan()["ip_addr"] == OLD
    assert done(modules("bmc_lan", {**wire.options(OLD), **MOVE}))["changed"]
    held = wire.bmc.lan()
    assert (held["ip_addr"], held["default_gw_ip_addr"]) == (NEW, "127.0.77.1")
    assert not done(modules("bmc_lan", {**wire.options(NEW), **MOVE}))["changed"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "nothing is asked for; allowed: at least one of source, address, netmask, gateway, vlan"),
        (
            {"source": "dhcp", "address": "192.0.2.1"},
            "address: 192.0.2.1 is of no use with source dhcp; allowed: with source static",
        ),
        (
            {"address": "192.0.2.300", "gateway": "x", "vlan": 4095},
            (
                "address: '192.0.2.300' is not an IPv4 address; allowed: such as 192.0.2.10\n"
                "gateway: 'x' is not an IPv4 address; allowed: such as 192.0.2.10\n"
                "vlan: 4095 is not valid; allowed: 1 to 4094, 0 for none"
            ),
        ),
        (
            {"address": "192.0.2.255", "netmask": "255.255.255.0", "gateway": "198.51.100.1"},
            (
                "address: 192.0.2.255 is no host's in 192.0.2.0/24; allowed: between 192.0.2.0 and 192.0.2.255\n"
                "gateway: 198.51.100.1 is no other host's in 192.0.2.0/24; allowed: between 192.0.2.0 and 192.0.2.255"
            ),
        ),
        ({"netmask": "255.0.255.0"}, "netmask: 255.0.255.0 is not a netmask; allowed: such as 255.255.255.0"),
    ],
)
def test_lan_settings_that_cannot_be(modules: Modules, bmc: testbed.Ipmi, args: dict[str, Any], message: str) -> None:
    before = bmc.lan()
    assert failed(modules("bmc_lan", {**bmc.options, **args})) == message
    assert bmc.lan() == before


# -- Redfish ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def service(certificate: tuple[Path, Path]) -> Iterator[testbed.Redfish]:
    with testbed.redfish(certificate) as running:
        yield running


def test_redfish(modules: Modules, service: testbed.Redfish) -> None:
    options = {**service.options, "ca_cert": str(service.certificate[0]) if service.certificate else ""}
    assert service.system()["PowerState"] == "Off"
    assert done(modules("bmc_power", {**options, "state": "on"}, check=True))["changed"]
    assert service.system()["PowerState"] == "Off"
    assert done(modules("bmc_power", {**options, "state": "on"}))["changed"]
    assert service.system()["PowerState"] == "On"
    assert not done(modules("bmc_power", {**options, "state": "on"}))["changed"]

    wanted = {**options, "device": "pxe", "mode": "efi", "persistent": True}
    result = done(modules("bmc_boot", wanted))
    assert result["changed"] and result["verified"]
    boot = service.system()["Boot"]
    assert isinstance(boot, dict)
    assert (boot["BootSourceOverrideTarget"], boot["BootSourceOverrideEnabled"]) == ("Pxe", "Continuous")
    assert not done(modules("bmc_boot", wanted))["changed"]
    message = failed(modules("bmc_boot", {**options, "device": "usb"}))
    assert message == "BMC 127.0.0.1: device: usb is not possible; allowed: none, pxe, disk, cd"

    info = done(modules("bmc_info", {**options, "subsets": ["power", "boot", "device", "users"]}))
    assert info["protocol"] == "redfish" and info["bmc"]["power"] == "on"
    assert info["bmc"]["device"]["uuid"] == testbed.SYSTEM
    assert info["missing"] == {"users": "users is read over IPMI only"}


def test_redfish_with_what_is_wrong(modules: Modules, service: testbed.Redfish) -> None:
    assert service.certificate
    trusted = {**service.options, "ca_cert": str(service.certificate[0]), "subsets": ["power"]}
    message = failed(modules("bmc_info", {**service.options, "subsets": ["power"]}))
    assert message == f"BMC 127.0.0.1: no answer from {service.url}: its certificate is not trusted"
    assert done(modules("bmc_info", {**trusted, "ca_cert": None, "validate_certs": False}))["bmc"]["power"]
    message = failed(modules("bmc_info", {**trusted, "password": "wrong-one"}))
    assert message.startswith("BMC 127.0.0.1: refuses user admin: wrong name or password")
    url = f"https://127.0.0.1:{testbed.free_port()}"
    message = failed(modules("bmc_info", {**trusted, "redfish_url": url}))
    assert message == f"BMC 127.0.0.1: no answer from {url}: connection refused"


def test_without_redfish_ipmi_is_taken(modules: Modules, bmc: testbed.Ipmi) -> None:
    assert done(modules("bmc_info", {**bmc.options, "subsets": ["power"]}))["protocol"] == "ipmi"


# -- wake and secrets ---------------------------------------------------------------------------------
def test_wake(modules: Modules) -> None:
    import socket

    mac = "ac:1f:6b:00:00:01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asleep, socket.socket() as awake:
        asleep.bind(("127.0.0.1", 0))
        asleep.settimeout(30)
        args = {"mac": mac, "broadcast": "127.0.0.1", "port": asleep.getsockname()[1]}
        secret = "01-02-03-04-05-06"
        assert done(modules("wake", {**args, "secure_on": secret}))["changed"]
        packet = asleep.recv(200)
        assert packet == b"\xff" * 6 + bytes.fromhex("ac1f6b000001") * 16 + bytes(range(1, 7))
        assert done(modules("wake", args, check=True))["changed"]
        awake.bind(("127.0.0.1", 0))
        awake.listen()
        there = {**args, "wait_for": "127.0.0.1", "wait_port": awake.getsockname()[1]}
        assert modules("wake", there) == {**done(modules("wake", there)), "changed": False, "awake": True}
        asleep.setblocking(False)
        with pytest.raises(BlockingIOError):
            asleep.recv(200)  # neither check mode nor a machine that is awake is sent anything
    message = failed(modules("wake", {"mac": "ac-1f:6b:00:00:01", "broadcast": "here", "port": 0}))
    assert message == (
        "mac: 'ac-1f:6b:00:00:01' is not a MAC address; allowed: such as ac:1f:6b:00:00:01\n"
        "broadcast: 'here' is not an IPv4 address; allowed: such as 192.0.2.255\n"
        "port: 0 is not valid; allowed: 1 to 65535"
    )


def test_a_play_shows_no_secret(bmc: testbed.Ipmi, tmp_path: Path) -> None:
    """Options once, in module_defaults, secrets from the environment; the most that Ansible can be asked to say."""
    secrets = {"RACKSTEAD_BMC_PASSWORD": testbed.PASSWORD, "NEW": "watchful-words"}
    tasks = [
        {"rackstead.infra.bmc_power": {"state": "on"}},
        {"rackstead.infra.bmc_user": {"name": "watch", "user_password": "{{ lookup('env', 'NEW') }}"}},
        {"rackstead.infra.bmc_user": {"name": "watch", "state": "absent"}},
    ]
    options = {"host": "127.0.0.1", "port": bmc.port, "username": testbed.USER}
    block = {"block": tasks, "module_defaults": {"group/rackstead.infra.bmc": options}}
    ran = Playbooks(tmp_path, secrets)([block], diff=True, arguments=["-vvvv"]).ok()
    assert bmc.chassis()["power"] == "1" and [one.changed for one in ran.results] == [True, True, True]
    assert not [secret for secret in secrets.values() if secret in str(ran)]


def test_the_playbook_switches_all_that_it_can(bmc: testbed.Ipmi, tmp_path: Path) -> None:
    """The first server's BMC is not there; the second is switched nevertheless, and the play ends as failed."""
    play = Playbooks(tmp_path, {"RACKSTEAD_BMC_USERNAME": testbed.USER})
    variables = {
        "server_bmcs": ["127.0.77.99", "127.0.0.1"],
        "server_port": bmc.port,
        "server_protocol": "ipmi",
        "server_password": testbed.PASSWORD,
        "server_state": "on",
    }
    ran = play.run(["ansible-playbook", "rackstead.infra.server_power", "-e", json.dumps(variables)])
    assert ran.rc != 0 and bmc.chassis()["power"] == "1"
    results = {one["item"]: one for one in ran.last["results"]}
    assert results["127.0.0.1"]["changed"] and results["127.0.77.99"]["failed"]
    assert f"no answer over IPMI on UDP port {bmc.port}" in results["127.0.77.99"]["msg"]
    assert testbed.PASSWORD not in ran.stdout + ran.stderr
    wrong = play.run(
        ["ansible-playbook", "rackstead.infra.server_power", "-e", json.dumps({**variables, "server_state": "up"})]
    )
    assert wrong.rc != 0 and "value of server_state must be one of: on, off, soft, cycle, reset" in wrong.stdout
