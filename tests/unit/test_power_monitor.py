# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor: its journal, what it carries out, and that a kill at any point neither repeats nor skips anything."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.power.commands import Commands
from ansible_collections.rackstead.infra.plugins.module_utils.power.engine import Action, Decision, Reading
from ansible_collections.rackstead.infra.plugins.module_utils.power.journal import Journal
from ansible_collections.rackstead.infra.plugins.module_utils.power.monitor import Monitor, check_commands
from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import read_power
from typer.testing import CliRunner

from rackstead.cli import app
from tests.conftest import CHECKOUT

PLAN = read_power(yaml.safe_load((CHECKOUT / "plans/power.yml").read_text()))
POLL = PLAN.poll
#: Tests among which the points of a kill are divided.
PARTS = 8


# -- the journal -----------------------------------------------------------------------------------
def test_a_journal_that_is_torn_anywhere_holds_its_last_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _number: None)  # what is torn is torn by this test
    path = tmp_path / "journal"
    book = Journal(path)
    ends = [0]
    for number in range(3):
        book.append({"number": number}, closed=False)
        ends.append(path.stat().st_size)
    book.close()
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        book = Journal(path)
        lines = sum(end <= length for end in ends) - 1
        assert book.last == ({"number": lines - 1} if lines else None)
        book.append({"number": 9}, closed=False)
        book.close()
        again = Journal(path)
        assert again.last == {"number": 9}
        again.close()


def test_a_journal_that_is_damaged_in_the_middle_is_refused(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal")
    for number in range(3):
        book.append({"number": number}, closed=False)
    book.close()
    text = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(text.replace(b"1}", b"7}"))
    with pytest.raises(Conflict, match="line 2 of the journal is damaged"):
        Journal(tmp_path / "journal")


def test_a_second_monitor_is_refused(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal")
    with pytest.raises(Conflict, match="another monitor"):
        Journal(tmp_path / "journal")
    book.close()


# -- a kill at each point --------------------------------------------------------------------------
class KilledError(BaseException):
    """The process is gone: nothing may catch this."""


class Points:
    """Counts the places at which a kill may come, and kills at one of them."""

    def __init__(self, at: int = -1) -> None:
        self.at, self.passed = at, 0

    def __call__(self) -> bool:
        """Whether the kill comes here."""
        self.passed += 1
        return self.passed == self.at

    def here(self) -> None:
        if self():
            raise KilledError


class Torn(Journal):
    """A journal whose monitor may be killed before, in and after each line."""

    def __init__(self, path: Path, points: Points) -> None:
        self.points = points
        super().__init__(path)

    def _write(self, line: bytes) -> None:
        self.points.here()
        if self.points():
            os.write(self._file, line[: len(line) // 2])
            raise KilledError
        super()._write(line)
        self.points.here()


class World:
    """Hosts, a clock and two UPSes, which outlive the monitor. Whatever is begun is counted."""

    def __init__(self, back: int, points: Points) -> None:
        self.now, self.back, self.points = 0, back, points
        self.begun: dict[str, tuple[str, str, int]] = {}
        self.off: dict[str, int] = {}
        self.on: dict[str, int] = {}
        self.up = set(PLAN.hosts)

    def heard(self) -> tuple[Mapping[str, Reading], Set[str]]:
        battery = 10 <= self.now < self.back
        return dict.fromkeys(PLAN.upses, Reading(battery, 100 - self.now / 20, 3000 - self.now)), frozenset()

    def boot(self) -> tuple[float, str]:
        return 1000.0 + self.now, "boot"

    def carry_out(self, action: Action) -> int | None:
        if action.name not in self.begun:
            self.points.here()
            self.begun[action.name] = (action.action, action.target, self.now)
            times = {"stop": self.off, "force_stop": self.off, "start": self.on}
            if action.action in times:
                times[action.action][action.target] = self.now + 20
            self.points.here()
        return 0 if self.now >= self.begun[action.name][2] + 20 else None

    def running(self, orders: Mapping[str, str]) -> Set[str]:
        self.up -= {host for host, at in self.off.items() if at <= self.now}
        self.off = {host: at for host, at in self.off.items() if at > self.now}
        self.up |= {host for host, at in self.on.items() if at <= self.now}
        self.on = {host: at for host, at in self.on.items() if at > self.now}
        return self.up & set(orders)

    def clear(self) -> None:
        """It is to be seen at the end what was begun."""


def outage(folder: Path, back: int, kill: int = -1) -> tuple[World, bool]:
    """An outage with a kill at one point. Also whether the journal is closed at the end."""
    points = Points(kill)
    world = World(back, points)
    while True:
        book = Torn(folder / "journal", points)
        try:
            monitor = Monitor(PLAN, book, world.heard, world, lambda one: None, world.boot)
            while world.now < back + 700:
                monitor.turn()
                world.now += POLL
            return world, monitor.state.closed
        except KilledError:
            world.now += POLL
        finally:
            book.close()


@pytest.mark.parametrize(
    ("back", "part"), [*((100, part) for part in range(PARTS)), *((300, part) for part in range(PARTS))]
)
def test_a_kill_at_each_point_neither_repeats_nor_skips_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: int, part: int
) -> None:
    # A kill, other than a loss of power, takes nothing away that was written.
    monkeypatch.setattr(os, "fsync", lambda _number: None)
    (tmp_path / "whole").mkdir()
    whole, closed = outage(tmp_path / "whole", back)
    wanted = [one[:2] for one in whole.begun.values()]
    assert closed and whole.up == set(PLAN.hosts) and max(Counter(wanted).values()) == 1
    assert whole.points.passed > 20
    for kill in range(1 + part, whole.points.passed + 1, PARTS):
        folder = tmp_path / str(kill)
        folder.mkdir()
        world, closed = outage(folder, back, kill)
        assert closed and world.up == set(PLAN.hosts), kill
        assert Counter(one[:2] for one in world.begun.values()) == Counter(wanted), kill
        stages = [one[1] for one in world.begun.values() if one[0] == "stop"]
        assert stages == [one[1] for one in whole.begun.values() if one[0] == "stop"], kill


def test_an_open_journal_of_other_stages_is_refused(tmp_path: Path) -> None:
    world = World(10_000, Points())
    book = Journal(tmp_path / "journal")
    monitor = Monitor(PLAN, book, world.heard, world, lambda one: None, world.boot)
    while not monitor.state.orders:
        monitor.turn()
        world.now += POLL
    book.close()
    other = yaml.safe_load((CHECKOUT / "plans/power.yml").read_text())
    other["clusters"]["k8s"], other["stages"][1]["targets"] = ["node1", "node2"], ["node3", "storage"]
    book = Journal(tmp_path / "journal")
    with pytest.raises(Conflict, match="other stages"):
        Monitor(read_power(other), book, world.heard, world, lambda one: None, world.boot)
    book.close()


# -- commands --------------------------------------------------------------------------------------
def ended(commands: Commands, action: Action) -> int:
    return wait_until(lambda: commands.carry_out(action), Deadline(60), what="the command's end", first=0.01, most=0.1)


def test_a_command_is_begun_once_and_outlives_who_began_it(tmp_path: Path) -> None:
    go, runs = tmp_path / "go", tmp_path / "runs"
    os.mkfifo(go)
    script = f"echo {{target}} >>{runs}; read line <{go}; exit $line"
    declared = {"stop": ("timeout", "60", "sh", "-c", script)}
    action = Action("1-stop-node1", "stop", "node1")
    first, second = (Commands(declared, tmp_path / "actions") for _ in range(2))
    assert first.carry_out(action) is None
    wait_until(lambda: runs.exists() or None, Deadline(60), what="the command to begin")
    assert first.carry_out(action) is None and second.carry_out(action) is None
    with go.open("w") as gate:
        gate.write("7\n")
    assert ended(second, action) == 7 and first.carry_out(action) == 7
    assert runs.read_text() == "node1\n"
    second.clear()
    assert not list((tmp_path / "actions").glob("*.code"))


def test_a_probe_tells_which_hosts_are_up_and_is_not_waited_for(tmp_path: Path) -> None:
    commands = Commands({"probe": ("test", "-e", f"{tmp_path}/{{target}}")}, tmp_path / "actions")
    (tmp_path / "node2").touch()
    orders = {"node1": "stopping", "node2": "starting"}
    assert commands.running(orders) == {"node1"}
    wait_until(
        lambda: commands.running(orders) == {"node2"} or None, Deadline(60), what="the probes", first=0.01, most=0.1
    )


def test_a_plan_without_commands_is_not_watched_over() -> None:
    with pytest.raises(InvalidInput) as told:
        check_commands(PLAN)
    assert "commands.stop: is missing; the monitor runs it" in told.value.problems
    assert "commands.scale_down: is missing; the monitor runs it" in told.value.problems


def test_the_command_refuses_such_a_plan_before_it_writes_anything(tmp_path: Path) -> None:
    words = ["power", "monitor", str(CHECKOUT / "plans/power.yml"), "--journal", str(tmp_path / "journal")]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert told["exit_code"] == 2 and "commands.probe: is missing; the monitor runs it" in told["errors"]
    assert not list(tmp_path.iterdir())


def test_what_nobody_has_written_down_is_not_taken_for_done(tmp_path: Path) -> None:
    """A journal that was moved away counts from one again, and old exit codes must not speak for new actions."""
    commands = Commands({}, tmp_path / "actions")
    (tmp_path / "actions/1-stop-node1.code").write_text("0")
    book = Journal(tmp_path / "journal")
    Monitor(PLAN, book, World(300, Points()).heard, commands, lambda one: None)
    book.close()
    assert not (tmp_path / "actions/1-stop-node1.code").exists()


def test_what_is_decided_is_told(tmp_path: Path) -> None:
    world, lines = World(300, Points()), list[Decision]()
    book = Journal(tmp_path / "journal")
    monitor = Monitor(PLAN, book, world.heard, world, lines.append, world.boot)
    found: list[Any] = []
    while world.now < 60:
        found += monitor.turn()
        world.now += POLL
    book.close()
    assert lines == found and [one.target for one in lines if "power_loss:" in one.reason] == ["ups1", "ups2"]
