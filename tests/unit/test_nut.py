# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NUT's client against what a real upsd 2.8.0 said, whole, and cut at every byte."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Denied,
    InvalidInput,
    NotFound,
    Unreachable,
    Unsupported,
)
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.client import (
    Client,
    Server,
    connect,
    quoted,
    words,
)
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.command import ensure_command
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.info import read_info, server_of
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.status import parse_status
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.survey import parse_scan, scan_usb
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.watcher import Observed, Watcher, read_place
from ansible_collections.rackstead.infra.plugins.module_utils.power.readings import reading

VARIABLES = (Path(__file__).parent / "recorded" / "nut-list-var.txt").read_bytes()
UPSES = b'BEGIN LIST UPS\nUPS ups1 "settable UPS"\nUPS ups2 "scripted UPS"\nEND LIST UPS\n'
COMMANDS = b"BEGIN LIST CMD ups1\nCMD ups1 load.off\nEND LIST CMD ups1\n"


@contextmanager
def answering(said: bytes, *, ends: bool = True, timeout: float = 5.0) -> Iterator[Client]:
    """A client whose server says just this, and then goes away or falls silent."""
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, Server("upsd", timeout=timeout)) as client:
        theirs.sendall(said)
        if ends:
            theirs.shutdown(socket.SHUT_WR)
        yield client


@contextmanager
def upsd(answers: dict[bytes, bytes]) -> Iterator[int]:
    """A server on a port of its own that knows these questions."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, answers), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(20)
        assert not thread.is_alive()


def _serve(listening: socket.socket, answers: dict[bytes, bytes]) -> None:
    listening.settimeout(10)
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            connection.sendall(answers[line.strip()])


def test_a_whole_answer_becomes_a_reading() -> None:
    with answering(VARIABLES) as client:
        status = client.status("ups1", 7.5)
    assert (status.on_line, status.on_battery, status.low_battery, status.fsd) == (True, False, False, False)
    assert (status.charge_percent, status.runtime_seconds, status.load_percent) == (100, 3600, 23)
    assert (status.input_volts, status.battery_volts, status.temperature_celsius) == (230, 27.3, 25)
    assert (status.communication, status.read_at) == ("ok", 7.5)


@pytest.mark.parametrize("said", [VARIABLES, UPSES, COMMANDS], ids=["variables", "upses", "commands"])
def test_an_answer_cut_at_any_byte_is_an_error(said: bytes) -> None:
    for length in range(len(said)):
        with answering(said[:length]) as client, pytest.raises(Unreachable):
            asked(client, said)


def asked(client: Client, said: bytes) -> object:
    """Ask what this answers."""
    if said is UPSES:
        return client.upses()
    return client.commands("ups1") if said is COMMANDS else client.status("ups1", 0)


def test_a_byte_that_is_no_text_spoils_the_answer() -> None:
    for at in range(len(VARIABLES)):
        spoilt = VARIABLES[:at] + b"\xff" + VARIABLES[at + 1 :]
        with answering(spoilt) as client, pytest.raises(Unreachable):
            client.status("ups1", 0)


def test_a_silent_server_meets_the_deadline() -> None:
    with answering(VARIABLES[:-1], ends=False, timeout=0.05) as client, pytest.raises(Unreachable, match=r"0\.05 s"):
        client.variables("ups1")


def test_after_a_broken_answer_the_session_is_over() -> None:
    with answering(VARIABLES[:50] + b"\n" + VARIABLES) as client:
        with pytest.raises(Unreachable):
            client.variables("ups1")
        with pytest.raises(Unreachable):
            client.variables("ups1")


@pytest.mark.parametrize(
    ("said", "communication"), [(b"ERR DATA-STALE\n", "stale"), (b"ERR DRIVER-NOT-CONNECTED\n", "lost")]
)
def test_a_lost_ups_is_neither_on_line_nor_on_battery(said: bytes, communication: str) -> None:
    with answering(said) as client:
        status = client.status("ups1", 0)
    assert (status.communication, status.stale, status.on_line, status.on_battery) == (
        communication,
        True,
        False,
        False,
    )


def test_refusals_have_their_kinds() -> None:
    with answering(b"ERR UNKNOWN-UPS\n") as client, pytest.raises(NotFound, match="upsd knows no UPS 'nosuch'"):
        client.variables("nosuch")
    with answering(b"ERR ACCESS-DENIED\n") as client, pytest.raises(Denied):
        client.variables("ups1")
    with answering(UPSES) as client, pytest.raises(NotFound, match="can have the name"):
        client.variables("ups1\nFSD ups1")


def test_quotes_are_undone() -> None:
    assert words(r'VAR u ups.status "OB DISCHRG"') == ["VAR", "u", "ups.status", "OB DISCHRG"]
    assert words(r'VAR u x "a \"b\" \\ c"') == ["VAR", "u", "x", 'a "b" \\ c']
    assert words('VAR u x ""') == ["VAR", "u", "x", ""]
    for line in ('VAR u x "OB', 'VAR u x "OB"DISCHRG', 'VAR u"x'):
        with pytest.raises(ValueError, match="protocol"):
            words(line)


@pytest.mark.parametrize(
    ("flags", "on_line", "on_battery", "stale"),
    [
        ("OL CHRG", True, False, False),
        ("OB DISCHRG LB", False, True, False),
        ("FSD OB LB", False, True, False),
        ("OL OB", False, False, False),
        ("WAIT", False, False, True),
        ("", False, False, True),
    ],
)
def test_flags(flags: str, on_line: bool, on_battery: bool, stale: bool) -> None:
    status = parse_status("u", {"ups.status": flags}, 0)
    assert (status.on_line, status.on_battery, status.stale) == (on_line, on_battery, stale)
    assert status.low_battery == ("LB" in flags)
    assert status.fsd == ("FSD" in flags)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "101", "", "full", "1e999"])
def test_a_charge_that_cannot_be_is_unknown(text: str) -> None:
    assert parse_status("u", {"ups.status": "OL", "battery.charge": text}, 0).charge_percent is None


def params(port: int, **more: object) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port, "tls": False, "ca_cert": None, "timeout": 10.0, **more}


def test_info_leaves_the_drivers_parameters_out() -> None:
    answers = {b"LIST UPS": UPSES, b"LIST VAR ups1": VARIABLES, b"LIST CMD ups1": COMMANDS}
    with upsd(answers) as port:
        (found,) = read_info(params(port), ["ups1"])["upses"]
    assert found["description"] == "settable UPS"
    assert found["commands"] == ["load.off"]
    assert found["variables"]["ups.model"] == "Smart-UPS 1500"
    assert not [name for name in found["variables"] if name.startswith("driver.parameter.")]


def test_info_names_the_nearest_ups() -> None:
    with upsd({b"LIST UPS": UPSES}) as port, pytest.raises(InvalidInput, match="did you mean 'ups1'"):
        read_info(params(port), ["upps1"])


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        server_of(params(0, host="", timeout=0.0, ca_cert="/x"))
    assert [line.partition(":")[0] for line in caught.value.problems] == ["host", "port", "timeout", "ca_cert"]


def test_without_tls_nothing_is_asked_where_tls_is_to_be() -> None:
    with upsd({b"STARTTLS": b"ERR FEATURE-NOT-CONFIGURED\n"}) as port, pytest.raises(Unsupported, match="no TLS"):
        connect(Server("127.0.0.1", port, tls=True))


def test_what_was_said_before_tls_is_not_taken_for_said_within() -> None:
    with answering(b"OK STARTTLS\n" + UPSES) as client, pytest.raises(Unreachable, match="STARTTLS"):
        client.start_tls(Deadline(5))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own for 127.0.0.1, with its key beside it."""
    made = tmp_path_factory.mktemp("tls") / "upsd.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=upsd", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{made}.key", "-out", str(made)]
    subprocess.run([*argv, *named], check=True, capture_output=True, timeout=60)
    return made


@contextmanager
def upsd_over_tls(certificate: Path) -> Iterator[int]:
    """A server that goes over to TLS when asked to, and then lists its UPSes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve_tls, args=(listening, certificate), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(20)
        assert not thread.is_alive()


def _serve_tls(listening: socket.socket, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    listening.settimeout(10)
    connection, _ = listening.accept()
    connection.settimeout(10)
    with connection:
        connection.recv(100)
        connection.sendall(b"OK STARTTLS\n")
        try:
            with context.wrap_socket(connection, server_side=True) as within:
                within.recv(100)
                within.sendall(UPSES)
        except OSError:
            return  # the client found the certificate wanting, and went


def test_within_tls_the_same_is_said(certificate: Path) -> None:
    with (
        upsd_over_tls(certificate) as port,
        connect(Server("127.0.0.1", port, tls=True, ca_file=str(certificate), timeout=10)) as client,
    ):
        assert client.upses() == {"ups1": "settable UPS", "ups2": "scripted UPS"}


@pytest.mark.parametrize(("host", "trusted"), [("127.0.0.1", False), ("localhost", True)])
def test_an_unknown_certificate_or_another_name_is_denied(certificate: Path, host: str, trusted: bool) -> None:
    authority = str(certificate) if trusted else ""
    with upsd_over_tls(certificate) as port, pytest.raises(Denied, match="certificate"):
        connect(Server(host, port, tls=True, ca_file=authority, timeout=10))


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Unreachable, match="upsd does not answer"):
        connect(Server("127.0.0.1", port))


def test_what_is_quoted_is_read_back() -> None:
    for text in ("plain", "", 'a "b" \\ #c', "Straße"):
        assert words(quoted(text, "password")) == [text]
    with pytest.raises(InvalidInput, match=r"^password: "):
        quoted("two\nlines", "password")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("u@h", "h", 3493),
        ("u@192.0.2.1:4000", "192.0.2.1", 4000),
        ("u@[::1]:4000", "::1", 4000),
        ("u@[::1]", "::1", 3493),
    ],
)
def test_places_are_those_of_nut(text: str, host: str, port: int) -> None:
    place = read_place(text)
    assert (place.ups, place.server.host, place.server.port) == ("u", host, port)


@pytest.mark.parametrize("text", ["", "u", "@h", "u@", "u@h:0", "u@h:65536", "u@h:x", "a b@h", "u@a b", "u@::1"])
def test_no_place(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^upses\.rack: .*allowed: (UPS@)?HOST or"):
        read_place(text, "upses.rack")


@pytest.mark.parametrize(
    ("flags", "battery", "low", "forced"),
    [
        ("OL", False, False, False),
        ("OB LB", True, True, False),
        ("OL LB", False, True, False),
        ("OB LB CAL", False, False, False),
        ("FSD OL", False, False, True),
        ("FSD", False, False, True),
    ],
)
def test_readings_for_the_engine(flags: str, battery: bool, low: bool, forced: bool) -> None:
    status = parse_status("u", {"ups.status": flags, "battery.runtime": "90"}, 0)
    found = reading(Observed("rack", 0, 1, status))
    assert found is not None
    assert (found.on_battery, found.low, found.forced) == (battery, low, forced)
    assert (found.charge, found.runtime, found.replace) == (100, 90, False)


@pytest.mark.parametrize("flags", ["", "WAIT", "OL OB", "CHRG"])
def test_what_is_no_evidence_is_no_reading(flags: str) -> None:
    assert reading(Observed("rack", 0, 1, parse_status("u", {"ups.status": flags}, 0))) is None


def test_a_reason_is_no_reading() -> None:
    status = parse_status("u", {"ups.status": "OB LB"}, 0)
    assert reading(Observed("rack", 0, 1, status, "too old")) is None
    assert reading(Observed("rack", 0, 1, None, "lost")) is None


def test_before_the_first_answer_a_watcher_has_none() -> None:
    found = Watcher({"rack": read_place("u@h")}).latest()["rack"]
    assert (found.status, found.number, found.reason) == (None, 0, "not asked yet")


def test_an_old_reading_no_longer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with upsd({b"LIST VAR ups1": VARIABLES}) as port:
        with Watcher({"rack": read_place(f"ups1@127.0.0.1:{port}")}, poll=0.5) as watcher:
            (first,) = watcher.wait(0, 60)
        assert first.status is not None and first.status.on_line
        now = "ansible_collections.rackstead.infra.plugins.module_utils.power.nut.watcher.time.monotonic"
        monkeypatch.setattr(now, lambda: first.at + 7)
        found = watcher.latest()["rack"]
        monkeypatch.undo()
    assert (found.status, found.reason) == (None, "nothing was heard for 7 s")


QUIET = b'BEGIN LIST VAR ups1\nVAR ups1 ups.status "OL"\nVAR ups1 ups.beeper.status "%s"\nEND LIST VAR ups1\n'
BEEPS = b"BEGIN LIST CMD ups1\nCMD ups1 beeper.disable\nEND LIST CMD ups1\n"
SIGNS_IN = {b'USERNAME "me"': b"OK\n", b'PASSWORD "horse"': b"OK\n"}
ORDERS = {
    b"SET TRACKING ON": b"OK\n",
    b'INSTCMD ups1 "beeper.disable"': b"OK TRACKING 1-2\n",
    b"GET TRACKING 1-2": b"SUCCESS\n",
}


def beeping(port: int) -> dict[str, object]:
    more = {"ups": "ups1", "command": "beeper.disable", "value": "", "username": "me", "password": "horse", "wait": 5.0}
    return params(port, **more)


@pytest.mark.parametrize(("check", "outcome"), [(True, "not ordered"), (False, "done")])
def test_a_beeper_is_silenced(check: bool, outcome: str) -> None:
    asked_first = {b"LIST UPS": UPSES, b"LIST VAR ups1": QUIET % b"enabled", b"LIST CMD ups1": BEEPS}
    with upsd(asked_first if check else {**asked_first, **SIGNS_IN, **ORDERS}) as port:
        found = ensure_command(beeping(port), check=check)
    assert (found["changed"], found["outcome"]) == (True, outcome)
    assert found["diff"] == {"before": {"beeper": "enabled"}, "after": {"beeper": "disabled"}}


def test_a_silent_beeper_is_left_alone() -> None:
    with upsd({b"LIST UPS": UPSES, b"LIST VAR ups1": QUIET % b"disabled", b"LIST CMD ups1": BEEPS}) as port:
        found = ensure_command(beeping(port), check=False)
    assert (found["changed"], found["outcome"]) == (False, "unchanged")


def test_an_old_upsd_only_passes_an_order_on() -> None:
    old = {b"SET TRACKING ON": b"ERR INVALID-ARGUMENT\n", b'INSTCMD ups1 "beeper.disable"': b"OK\n"}
    asked_first = {b"LIST UPS": UPSES, b"LIST VAR ups1": QUIET % b"enabled", b"LIST CMD ups1": BEEPS}
    with upsd({**asked_first, **SIGNS_IN, **old}) as port:
        assert ensure_command(beeping(port), check=False)["outcome"] == "accepted"


SCANNED = (
    'USB:driver="usbhid-ups",port="auto",vendorid="051D",productid="0002",'
    'product="Back-UPS ES 700G FW:871.O4 .I USB FW:O4",serial="5B1234",vendor="American Power Conversion",bus="001"\n'
)


def test_what_the_scanner_prints_becomes_devices() -> None:
    (device,) = parse_scan("a line of its log\n" + SCANNED)
    assert (device["kind"], device["driver"], device["serial"]) == ("usb", "usbhid-ups", "5B1234")
    assert device["product"].startswith("Back-UPS ES 700G FW:871")
    assert parse_scan("") == []


def test_without_the_scanner_a_scan_says_so(tmp_path: Path) -> None:
    assert scan_usb("no-such-scanner") == ([], "no-such-scanner is not installed, so USB ports were not looked at")
    scanner = tmp_path / "scanner"
    scanner.write_text("#!/bin/sh\necho No USB device found >&2; exit 1\n")
    scanner.chmod(0o755)
    assert scan_usb(str(scanner)) == ([], "No USB device found")
    scanner.write_text(f"#!/bin/sh\ncat <<'E'\n{SCANNED}E\n")
    assert [one["driver"] for one in scan_usb(str(scanner))[0]] == ["usbhid-ups"]
