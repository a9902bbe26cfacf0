# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook provision_server as a user runs it, for one server of a rack."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.journal import state_of
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import NAMES
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from testbed import rack as racks
from testbed.ansible import Playbooks, PlayResult

from tests.integration.provisioning import LONG, QUICK, SECRETS, orders, unfinished, untouched

STEPS = [f"Step {number}/7: {name}" for number, name in enumerate(NAMES, 1)]
PROGRAM = ["ansible-playbook", "rackstead.infra.provision_server"]


@pytest.fixture
def rack() -> Iterator[racks.Rack]:
    with racks.running(1) as running:
        yield running


@pytest.fixture
def play(tmp_path: Path) -> Playbooks:
    return Playbooks(tmp_path, {})


def command(play: Playbooks, variables: dict[str, Any], *arguments: str) -> Sequence[str]:
    file = play.folder / "servers.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"provision_steps": QUICK, **variables}))
    return [*PROGRAM, "-e", f"@{file}", *arguments]


def provision(play: Playbooks, variables: dict[str, Any], *arguments: str) -> PlayResult:
    ran = play.run(command(play, variables, *arguments), timeout=LONG)
    said = ran.stdout + ran.stderr + json.dumps([one.result for one in ran.results])
    assert not [secret for secret in SECRETS if secret in said]
    return ran


def of(ran: PlayResult, step: int) -> Any:
    """The result of a step's task; the name of its role may stand in front."""
    return next(one for one in ran.results if one.task.endswith(STEPS[step - 1]))


def record(rack: racks.Rack) -> dict[str, Any]:
    store = open_store(f"file:{rack.folder}/state")
    try:
        body = store.get("provision", rack.servers[0].system_id).body
        return {**body, "state": store.read(lambda change: state_of(change, body))}
    finally:
        store.close()


def test_a_server_is_provisioned(rack: racks.Rack, play: Playbooks) -> None:
    bad = rack.variables(rack.order(1), {**rack.order(1), "device_type": "s2.c2.smal", "tags": ["not ok"]})
    ran = provision(play, bad)
    assert ran.rc == 2 and len(ran.last["problems"]) == 4, ran.stdout
    assert untouched(rack, 1) and rack.maas.asked == []

    rehearsal = provision(play, rack.variables(), "--check", "--diff").ok()
    assert of(rehearsal, 1).changed and of(rehearsal, 4)["outputs"] == {"changes": [], "unknown": True}
    assert f"+address: {rack.new(1)}" in rehearsal.stdout and "+tags: [rack-a, unit-1]" in rehearsal.stdout
    assert untouched(rack, 1) and not (Path(rack.folder) / "state/provision").exists()

    ran = provision(play, rack.variables(), "--diff").ok()
    assert unfinished(rack, 1) == []
    assert "+CPU Configuration > Cores Enabled #2: 8" in ran.stdout
    assert [of(ran, step).changed for step in range(1, 8)] == [True, False, False, True, True, True, True]
    assert of(ran, 6)["outputs"]["after"]["address"] == rack.new(1)
    body = record(rack)
    assert body["state"] == "completed" and {step["state"] for step in body["steps"].values()} == {"done"}
    assert len(body["steps"]["bios_modify"]["outputs"]["changes"]) == 4

    before = orders(rack.servers[0])
    again = provision(play, rack.variables()).ok()
    assert not again.changed and orders(rack.servers[0]) == before
    assert not provision(play, rack.variables(provision_only_steps=["bmc"])).ok().changed
    assert record(rack)["state"] == "completed"


def test_a_wrong_password_is_tried_once_and_then_gone_on_from(rack: racks.Rack, play: Playbooks) -> None:
    ran = provision(play, rack.variables(provision_bmc_password="mistyped-1"))
    assert ran.rc == 2 and "wrong name or password" in of(ran, 6).msg
    assert rack.network.logins[rack.old(1), "admin"] == 1
    assert record(rack)["state"] == "failed" and record(rack)["steps"]["bmc"]["attempts"] == 1
    provision(play, rack.variables()).ok()
    assert unfinished(rack, 1) == []


def test_a_cancelled_run_says_so_and_is_gone_on_from(rack: racks.Rack, play: Playbooks) -> None:
    """Stuck in commissioning, its process gets the signal that a cancelled job's gets."""
    machine = rack.servers[0].machine
    machine.ends["commission"] = None
    log = play.folder / "output"
    with log.open("wb") as output:
        argv = ["setpriv", "--pdeathsig", "KILL", *command(play, rack.variables())]
        environment = play.environment(play.folder / "record.jsonl")
        run = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_until(lambda: machine.status == 1 or None, Deadline(LONG), what="commissioning", first=0.05)
        run.send_signal(signal.SIGTERM)
        run.wait(timeout=LONG)
        wait_until(lambda: record(rack)["state"] == "cancelled" or None, Deadline(LONG), what="the record", first=0.05)
    finally:
        run.kill()
        run.wait()
    step = record(rack)["steps"]["commission"]
    assert step["state"] == "failed" and "run again" in step["error"], log.read_text()
    machine.ends.clear()
    machine.go(1, 4, "commission", 0.5)  # MAAS comes to its end after all
    rack.maas.booted(machine.system_id, rack.servers[0].host.address)
    provision(play, rack.variables()).ok()
    assert unfinished(rack, 1) == []
