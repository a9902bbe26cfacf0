# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisioning from end to end, on real BMCs, a real sshd, and stand-ins for MAAS and SUM that fail as they do.

What came of it is read from the peers: the BMC's LAN settings, MAAS's tags and power parameters, the BIOS file.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from standins.site import Fault
from testbed import rack as racks
from testbed import rackbios
from testbed.ansible import Playbooks, PlayResult, TaskResult

from tests.integration.provisioning import LONG, QUICK, SECRETS, Run, orders, unfinished, untouched

#: Boots and orders of MAAS, in seconds.
PACE = {"boot": 0.1, "delay": 0.2}
STEPS = list(QUICK)


def provision(folder: Path, variables: dict[str, Any], *arguments: str, check: bool = False) -> PlayResult:
    """Run the playbook, with the variables in a file: they hold secrets."""
    folder.mkdir(exist_ok=True)
    play = Playbooks(folder, {})
    file = folder / "servers.yml"
    file.touch(mode=0o600)
    file.write_text(json.dumps(variables))
    argv = ["ansible-playbook", "rackstead.infra.provision_server", "-e", f"@{file}", "--diff"]
    return play.run([*argv, *(["--check"] if check else []), *arguments], timeout=LONG)


class Watch:
    """Notes the command lines of all processes, as anybody on the machine might."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.wait(0.02):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(entry.read_bytes())
                except OSError:
                    continue  # gone between two looks

    @contextmanager
    def looking(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._end.set()
            self._thread.join()


@dataclass
class Story:
    """One server: a rehearsal, the real thing, and once more. ``calm`` says that the rehearsal touched nothing."""

    rack: racks.Rack
    rehearsal: PlayResult
    calm: bool
    real: PlayResult
    left: list[str]
    again: PlayResult
    orders: list[str]
    argv: set[bytes]
    folder: Path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder, watch = tmp_path_factory.mktemp("one"), Watch()
    with racks.running(1, **PACE) as rack, watch.looking():
        variables = rack.variables(provision_steps=QUICK)
        rehearsal = provision(folder / "rehearsal", variables, check=True)
        calm = untouched(rack, 1) and not [line for line in rack.maas.asked if not line.startswith("GET")]
        real = provision(folder / "real", variables, "-vvv")
        left, told = unfinished(rack, 1), orders(rack.servers[0])
        again = provision(folder / "again", variables)
        yield Story(rack, rehearsal, calm, real, left, again, told, watch.seen, folder)


def steps_of(play: PlayResult) -> list[TaskResult]:
    """The tasks of the role; Ansible puts its name in front of theirs."""
    return [one for one in play.results if ": Step " in one.task]


def test_one_server_from_new_to_tagged(story: Story) -> None:
    story.real.ok()
    assert story.left == []
    steps = steps_of(story.real)
    assert [one.task.partition(" : ")[2] for one in steps] == [f"Step {n}/7: {name}" for n, name in enumerate(STEPS, 1)]
    assert [one.changed for one in steps] == [True, False, False, True, True, True, True]
    diff = json.dumps(steps[3].diff)
    assert all(name in diff for _menu, name, _order in rackbios.WANTED)
    moved = steps[5].diff
    assert story.rack.old(1) in moved["before"] and story.rack.new(1) in moved["after"]


def test_a_rehearsal_touches_nothing(story: Story) -> None:
    story.rehearsal.ok()
    assert story.calm
    steps = {one.task.split()[-1]: one for one in steps_of(story.rehearsal)}
    assert list(steps) == STEPS and steps["commission"].changed
    assert story.rack.new(1) in str(steps["bmc"].diff) and "unit-1" in str(steps["finalize"].diff)


def test_a_second_time_there_is_nothing_to_do(story: Story) -> None:
    story.again.ok()
    assert not story.again.changed
    assert orders(story.rack.servers[0]) == story.orders and unfinished(story.rack, 1) == []


def test_secrets_are_nowhere(story: Story) -> None:
    """Not in argv, output, results, diffs, or the state store. The play's variables themselves are the user's."""
    plays = (story.rehearsal, story.real, story.again)
    texts = {f"play {number}": f"{play.stdout}{play.stderr}{play.results}" for number, play in enumerate(plays)}
    texts |= {"argv": repr(story.argv)}
    state = [path for path in (story.rack.folder / "state").rglob("*") if path.is_file()]
    left = [path for path in story.folder.rglob("*") if path.is_file() and path.name != "servers.yml"]
    host = [path for path in story.rack.servers[0].host.folder.rglob("*") if path.is_file()]
    assert len(state) > 3 and len(story.argv) > 20 and host
    texts |= {str(path): path.read_bytes().decode("utf-8", "replace") for path in [*state, *left, *host]}
    found = [(where, secret) for where, text in texts.items() for secret in SECRETS if secret in text]
    assert found == []
    assert any(b"ansible-playbook" in argv for argv in story.argv)


# -- many ---------------------------------------------------------------------------------------------
def test_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    """Six at once, four of which fail, each in its way. When what was wrong is put right, they go on from there."""
    with racks.running(6, **PACE) as rack:
        fine, tested, licence, busy, lost, refused = rack.servers
        tested.machine.ends = {"commission": 22}
        licence.host.faults(license=False)
        busy.host.faults(busy=2)
        lost.machine.lease = None
        refused.host.faults(refuse=["Cores Enabled"])
        rack.maas.faults = [Fault("POST", f"{fine.system_id}.*commission", "lose"), Fault("GET", "machines", 503)]
        steps = {**QUICK, "address": {"timeout": 4, "attempts": 2, "backoff": 0.2}}
        servers = [rack.order(number, "pool:rack") for number in range(1, 7)]
        variables = rack.variables(*servers, provision_steps=steps)
        first = provision(tmp_path / "first", variables, "--forks", "6")
        said = {one.host: (one.task.split()[-1], one.msg) for one in first.results if one.status == "failed"}
        assert set(said) == {server.system_id for server in (tested, licence, lost, refused)}, first.stdout
        assert said[tested.system_id][0] == "commission" and "no disk was found" in said[tested.system_id][1]
        assert said[licence.system_id][0] == "bios_pull" and "product key" in said[licence.system_id][1]
        assert said[lost.system_id][0] == "address" and "in vain" in said[lost.system_id][1]
        assert said[refused.system_id][0] == "bios_push" and "Cores Enabled" in said[refused.system_id][1]
        assert unfinished(rack, 1, fine.bmc_address) == unfinished(rack, 4, busy.bmc_address) == []
        tested.machine.ends, lost.machine.lease = {}, 0.0
        licence.host.faults()
        refused.host.faults()
        provision(tmp_path / "second", variables, "--forks", "6").ok()
        wrong = {number: unfinished(rack, number, rack.servers[number - 1].bmc_address) for number in range(1, 7)}
        assert wrong == {1: [], 2: ["commissioned once"], 3: [], 4: [], 5: [], 6: ["pushed once"]}
        assert refused.host.pushes() == 2 and orders(tested).count("commission") == 2
        addresses = sorted(server.bmc_address for server in rack.servers)
        assert addresses == [rack.new(number) for number in range(1, 7)]


# -- what may go wrong --------------------------------------------------------------------------------
def test_bad_input_is_told_at_once_and_before_maas_is_asked(tmp_path: Path) -> None:
    with racks.running(2, **PACE) as rack:
        servers = [
            rack.order(1, device_type="s2.c2.smal"),
            rack.order(2, target="10.0.0.300"),
            rack.order(2, target=rack.new(3), gateway="192.0.2.1"),
            rack.order(1, target="pool:rakc"),
        ]
        variables = rack.variables(*servers, provision_steps={"bmcc": {}}, provision_ssh_key_file="/no/key")
        said = provision(tmp_path / "play", variables)
        assert said.rc != 0
        lines = said.last.msg.splitlines()
        told = (
            ("servers[0].device_type", "s2.c2.small"),
            ("servers[1].target_ipmi_ip", "10.0.0.300"),
            ("servers[2].gateway", "192.0.2.1"),
            ("servers[3].target_ipmi_ip", "rack"),
            ("servers[3]", "comes twice"),
            ("steps", "bmc"),
            ("ssh_key_file", "/no/key"),
        )
        missing = [words for words in told if not any(all(word in line for word in words) for line in lines)]
        assert missing == [], said.last.msg
        assert rack.maas.asked == [] and untouched(rack, 1) and untouched(rack, 2)


def test_a_template_that_is_not_right(tmp_path: Path) -> None:
    with racks.running(1, **PACE) as rack:
        variables = rack.variables()
        types = tmp_path / "device_mappings.yaml"
        types.write_text("s2.c2.small: {template_file: none.xml, settings: {quite_boot: false}}\n")
        said = provision(tmp_path / "play", {**variables, "provision_device_types": str(types)})
        assert said.rc != 0 and "none.xml" in said.last.msg and "quiet_boot" in said.last.msg
        assert rack.maas.asked == []


@pytest.fixture(scope="module")
def four() -> Iterator[racks.Rack]:
    """Servers that runs of the core are tried on, one for each test."""
    with racks.running(5, **PACE) as rack:
        yield rack


def record(rack: racks.Rack, number: int) -> dict[str, Any]:
    store = open_store(f"file:{rack.folder}/state")
    try:
        return dict(store.get("provision", rack.servers[number - 1].system_id).body)
    finally:
        store.close()


def test_a_wrong_bmc_password_is_tried_once(four: racks.Rack) -> None:
    run = Run(four, 1, bmc_password="no-such-word")
    assert run.ended() == 1
    assert "bmc: Denied: " in run.log.read_text() and "no-such-word" not in run.log.read_text()
    assert four.network.logins[four.old(1), "admin"] == 1
    assert record(four, 1)["state"] == "failed" and "no-such-word" not in str(record(four, 1))
    Run(four, 1).ok()
    assert unfinished(four, 1) == []


def test_a_key_that_expires_midway(four: racks.Rack) -> None:
    keys = dict(four.maas.keys)
    four.maas.faults = [Fault("POST", "rescue_mode", "expire")]
    run = Run(four, 2)
    assert run.ended() == 1 and "does not accept the API key" in run.log.read_text()
    four.maas.keys.update(keys)
    Run(four, 2).ok()
    assert unfinished(four, 2) == []


def test_a_bmc_that_is_lost_is_told_with_both_addresses(four: racks.Rack) -> None:
    """It goes where nobody reaches it: what can be done is to say where it was and where it is."""
    pace = {**QUICK, "bmc": {"timeout": 8, "attempts": 1}}
    four.network.cut = {four.new(3)}
    run = Run(four, 3, steps=pace)
    assert run.ended() == 1
    said = run.log.read_text()
    assert four.old(3) in said and four.new(3) in said and "ac:1f:6b:00:00:03" in said
    assert four.servers[2].machine.parameters["power_address"] == four.old(3)
    four.network.cut = set()
    Run(four, 3).ok()
    assert unfinished(four, 3) == []


def test_a_bmc_that_does_not_get_there_has_its_old_settings_back(four: racks.Rack) -> None:
    four.network.stuck = {4: four.old(4)}
    before = four.servers[3].bmc.lan()
    run = Run(four, 4, steps={**QUICK, "bmc": {"timeout": 8, "attempts": 1}})
    assert run.ended() == 1 and "its old settings are back" in run.log.read_text()
    assert four.servers[3].bmc.lan() == before
    four.network.stuck = {}
    Run(four, 4).ok()
    assert unfinished(four, 4) == []


def test_two_servers_that_ask_a_pool_at_once() -> None:
    """Each gets an address of its own, and none that a BMC has of which nobody knows."""
    with racks.running(4, **PACE) as rack:
        rack.servers[3].bmc.set_lan(rack.new(2))
        runs = [Run(rack, number, target="pool:rack") for number in (1, 2, 3)]
        for run in runs:
            run.ok()
        got = [server.bmc_address for server in rack.servers[:3]]
        assert sorted(got) == [rack.new(1), rack.new(3), rack.new(4)]
        assert [unfinished(rack, number, got[number - 1]) for number in (1, 2, 3)] == [[], [], []]
