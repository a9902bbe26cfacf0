# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""UPSes of a real upsd: read, watched and ordered about, also through a line that fails at any byte."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Denied, Unreachable
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.client import Server, connect
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.info import read_info
from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.watcher import (
    Observed,
    Place,
    Watcher,
    read_place,
)
from testbed import nut as testbed
from testbed.ansible import Modules, done, failed

from rackstead.cli import run_command

UPSES = ("read", "watched", "lost", "ordered")
PATIENCE = testbed.PATIENCE
#: Bytes between two at which the line fails; 1 takes every one, which is some thousand.
STEP = int(os.environ.get("RACKSTEAD_NUT_BYTES", "97"))


@pytest.fixture(scope="module")
def nut() -> Iterator[testbed.Nut]:
    with testbed.running(dict.fromkeys(UPSES, testbed.READY)) as running:
        yield running


@pytest.fixture(scope="module")
def run_module() -> Iterator[Modules]:
    modules = Modules({})
    yield modules
    modules.close()


def params(port: int, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "tls": False, "ca_cert": None, "timeout": PATIENCE, **more}


def without_time(found: dict[str, Any]) -> dict[str, Any]:
    """What is the same each time it is asked."""
    return {"upses": [{**one, "variables": sorted(one["variables"])} for one in found["upses"]]}


# -- read ------------------------------------------------------------------------------------------
def test_info_tells_what_upsd_knows(nut: testbed.Nut, run_module: Modules) -> None:
    nut.set("read", ups_status="OB DISCHRG", battery_charge="64")
    found = done(run_module("ups_info", {"host": "127.0.0.1", "port": nut.port, "timeout": PATIENCE}))
    assert [one["name"] for one in found["upses"]] == sorted(UPSES)
    one = next(one for one in found["upses"] if one["name"] == "read")
    assert (one["flags"], one["on_battery"], one["on_line"]) == (["DISCHRG", "OB"], True, False)
    assert (one["charge_percent"], one["runtime_seconds"], one["commands"]) == (64, 3600, ["load.off"])
    assert (one["variables"]["ups.mfr"], one["description"]) == ("APC", "read of a test")
    assert not [name for name in one["variables"] if name.startswith("driver.parameter.")]


def test_an_answer_in_single_bytes_is_the_same(nut: testbed.Nut) -> None:
    with testbed.Meddler(nut.port, piece=1) as meddler:
        slow = read_info(params(meddler.port), ["ordered"])
    assert without_time(slow) == without_time(read_info(params(nut.port), ["ordered"]))


@pytest.mark.parametrize(("then", "step"), [("cut", STEP), ("spoil", STEP), ("silence", STEP * 10)])
def test_a_line_that_fails_at_any_byte_gives_no_answer(nut: testbed.Nut, then: str, step: int) -> None:
    with testbed.Meddler(nut.port) as meddler:
        whole = without_time(read_info(params(meddler.port), ["ordered"]))
        total = meddler.passed
    assert total > 500
    given = params(0, timeout=0.3)  # who meets it before the fault gets no answer either
    for limit in [*range(0, total, step), total - 1]:
        with testbed.Meddler(nut.port, limit, then) as meddler, pytest.raises(Unreachable):
            read_info({**given, "port": meddler.port}, ["ordered"])
    with testbed.Meddler(nut.port, total, then) as meddler:
        assert without_time(read_info(params(meddler.port), ["ordered"])) == whole


# -- watched ---------------------------------------------------------------------------------------
def seen(watcher: Watcher, name: str, right: Callable[[Observed], bool]) -> Observed:
    """The last word on a UPS, once it is right."""

    def look() -> Observed | None:
        last = watcher.latest()[name]
        return last if right(last) else None

    return wait_until(look, Deadline(PATIENCE), what=name, last_seen=lambda: str(watcher.latest()[name]))


@pytest.fixture
def silent() -> Iterator[Server]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Server("127.0.0.1", listening.getsockname()[1], timeout=0.5)


def test_dead_servers_hold_up_nobody(nut: testbed.Nut, silent: Server) -> None:
    dead = testbed.free_port("127.0.0.1")
    places = {
        "one": Place("watched", Server("127.0.0.1", nut.port, timeout=PATIENCE)),
        "typo": Place("wathced", Server("127.0.0.1", nut.port, timeout=PATIENCE)),
        "silent": Place("any", silent),
        "dead": read_place(f"any@127.0.0.1:{dead}"),
    }
    with Watcher(places, poll=0.05) as watcher:
        first = seen(watcher, "one", lambda last: last.status is not None and last.status.on_line)
        nut.set("watched", ups_status="OB DISCHRG LB")
        later = seen(watcher, "one", lambda last: last.status is not None and last.status.low_battery)
        assert (later.reason, later.number > first.number) == ("", True)
        seen(watcher, "typo", lambda last: "wathced" in last.reason)
        seen(watcher, "silent", lambda last: "no whole answer" in last.reason)
        seen(watcher, "dead", lambda last: "does not answer" in last.reason)
        newer = watcher.wait(later.number, PATIENCE)
        assert newer and min(one.number for one in newer) > later.number
        nut.set("watched", ups_status="OL CHRG")
        seen(watcher, "one", lambda last: last.status is not None and last.status.on_line)


def test_what_is_lost_is_told_and_found_again(nut: testbed.Nut) -> None:
    with Watcher({name: read_place(nut.place(name)) for name in ("watched", "lost")}, poll=0.05) as watcher:
        seen(watcher, "lost", lambda last: not last.reason)
        nut.stop("lost")
        gone = seen(watcher, "lost", lambda last: bool(last.reason))
        assert gone.status is None or not (gone.status.on_battery or gone.status.on_line)
        seen(watcher, "watched", lambda last: last.number > gone.number and not last.reason)
        nut.start_driver("lost")
        seen(watcher, "lost", lambda last: not last.reason)
        with connect(Server("127.0.0.1", nut.port, timeout=PATIENCE)) as client:
            client.sign_in("monitor", "mon")
            client.force_shutdown("lost")
        seen(watcher, "lost", lambda last: last.status is not None and last.status.fsd)
        nut.stop("upsd")
        seen(watcher, "watched", lambda last: bool(last.reason) and last.status is None)
        nut.restart_upsd()
        for name in ("watched", "lost"):
            up = seen(watcher, name, lambda last: not last.reason and last.status is not None and last.status.on_line)
            assert up.status is not None and not up.status.fsd  # only a new upsd forgets it


# -- the command line ------------------------------------------------------------------------------
class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def rackstead(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    monkeypatch.setenv("COLUMNS", "140")
    for name in ("RACKSTEAD_UPS_HOSTS", "RACKSTEAD_UPS_USERNAME", "RACKSTEAD_UPS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Ended:
        code = run_command(["ups", *words])
        return Ended(code, *capfd.readouterr())

    return run


def test_status_tells_of_all_servers_also_beside_a_dead_one(nut: testbed.Nut, rackstead: Callable[..., Ended]) -> None:
    nut.set("read", ups_status="OB LB RB", battery_charge="9")
    dead = f"127.0.0.1:{testbed.free_port('127.0.0.1')}"
    ended = rackstead("status", "--host", f"127.0.0.1:{nut.port}", "-H", dead, "--timeout", str(PATIENCE))
    assert ended.code == 3 and f"{dead}: upsd does not answer" in ended.err
    assert re.search(
        r"^read .*on battery, battery low, battery to be replaced +9 % +60 min 00 s +23 %", ended.out, re.M
    )
    assert re.search(r"^watched .*on the mains", ended.out, re.M)
    alone = rackstead("status", "read", "--host", f"127.0.0.1:{nut.port}", "--json", "--timeout", str(PATIENCE))
    (server,) = json.loads(alone.out)["servers"]
    assert (alone.code, [one["name"] for one in server["upses"]]) == (0, ["read"])
    typo = rackstead("status", "raed", "--host", f"127.0.0.1:{nut.port}", "--timeout", str(PATIENCE))
    assert typo.code == 2 and "did you mean 'read'?" in typo.err


def test_list_and_scan_find_them(
    nut: testbed.Nut, rackstead: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKSTEAD_UPS_HOSTS", f"127.0.0.1:{nut.port}")
    listed = rackstead("list", "--timeout", str(PATIENCE))
    assert listed.code == 0 and re.search(r"^read +127\.0\.0\.1:\d+ +read of a test +load\.off$", listed.out, re.M)
    scanned = rackstead("scan", "--timeout", str(PATIENCE), "--json")
    assert [one["name"] for one in json.loads(scanned.out)["servers"][0]["upses"]] == sorted(UPSES)


def test_a_test_that_the_ups_cannot_do_is_refused(
    nut: testbed.Nut, rackstead: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = rackstead("test", nut.place("ordered"))
    assert ended.code == 2 and "RACKSTEAD_UPS_USERNAME" in ended.err and "password: is missing" in ended.err
    monkeypatch.setenv("RACKSTEAD_UPS_PASSWORD", "secret")
    ended = rackstead("test", nut.place("ordered"), "--username", "admin", "--deep")
    assert ended.code == 2 and "ordered has no 'test.battery.start.deep'; allowed: load.off, fsd" in ended.err
    assert rackstead("test", "no-place").code == 2


# -- ordered ---------------------------------------------------------------------------------------
def order(nut: testbed.Nut, command: str, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": nut.port,
        "ups": "ordered",
        "command": command,
        "username": "admin",
        "password": "secret",
        "timeout": PATIENCE,
        **more,
    }


def test_what_a_ups_does_not_offer_is_refused_with_what_it_does(nut: testbed.Nut, run_module: Modules) -> None:
    said = failed(run_module("ups_command", order(nut, "load.of")))
    assert said == "command: ordered has no 'load.of'; allowed: load.off, fsd; did you mean 'load.off'?"
    assert "did you mean 'ordered'" in failed(run_module("ups_command", order(nut, "fsd", ups="orderd")))
    said = failed(run_module("ups_command", order(nut, "fsd", username="", password="", wait=-1)))
    assert [line.partition(":")[0] for line in said.splitlines()] == ["username", "password", "wait"]


def test_a_wrong_password_and_one_who_may_not_are_denied(nut: testbed.Nut, run_module: Modules) -> None:
    said = failed(run_module("ups_command", order(nut, "load.off", password="wr0ng-horse")))
    assert "refuses" in said and "upsd.users" in said and "wr0ng" not in said
    assert "refuses" in failed(run_module("ups_command", order(nut, "fsd", username="tester", password="test")))
    assert nut.read("ordered", "ups.status") == "OL"


def test_a_password_of_any_characters_is_taken(nut: testbed.Nut) -> None:
    with connect(Server("127.0.0.1", nut.port, timeout=PATIENCE)) as client:
        client.sign_in("quoted", testbed.QUOTED)
        assert client.order("ordered", "load.off")
    with connect(Server("127.0.0.1", nut.port, timeout=PATIENCE)) as client, pytest.raises(Denied):
        client.sign_in("quoted", testbed.QUOTED + "#")
        client.order("ordered", "load.off")


def test_what_the_driver_makes_of_an_order_is_told(nut: testbed.Nut, run_module: Modules) -> None:
    said = failed(run_module("ups_command", order(nut, "load.off")))
    assert said == "ordered: load.off: the driver does not know the command"
    accepted = done(run_module("ups_command", order(nut, "load.off", wait=0)))
    assert (accepted["changed"], accepted["outcome"]) == (True, "accepted")


def test_a_forced_shutdown_is_ordered_once_and_stays(nut: testbed.Nut, run_module: Modules) -> None:
    planned = done(run_module("ups_command", order(nut, "fsd"), check=True, diff=True))
    assert (planned["changed"], planned["outcome"]) == (True, "not ordered")
    assert planned["diff"] == {"before": {"fsd": False}, "after": {"fsd": True}}
    assert nut.read("ordered", "ups.status") == "OL"
    ordered = done(run_module("ups_command", order(nut, "fsd"), env={"RACKSTEAD_UPS_PASSWORD": "secret"}))
    assert (ordered["changed"], ordered["outcome"]) == (True, "done")
    assert nut.read("ordered", "ups.status") == "FSD OL"
    again = done(run_module("ups_command", order(nut, "fsd")))
    assert (again["changed"], again["outcome"]) == (False, "unchanged")
    assert nut.read("ordered", "ups.status") == "FSD OL"
