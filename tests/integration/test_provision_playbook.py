# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of provisioning that are cancelled, put back, or do some steps only."""

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
from testbed import rackbios
from testbed.ansible import Playbooks, PlayResult

from tests.integration.provisioning import LONG, QUICK, SECRETS, Run, orders, unfinished

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


def record(rack: racks.Rack) -> dict[str, Any]:
    store = open_store(f"file:{rack.folder}/state")
    try:
        body = store.get("provision", rack.servers[0].system_id).body
        return {**body, "state": store.read(lambda change: state_of(change, body))}
    finally:
        store.close()


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


def test_settings_that_did_not_all_stick_are_put_back_on_request(rack: racks.Rack) -> None:
    host = rack.servers[0].host
    host.faults(refuse=["Quiet Boot"])
    run = Run(rack, 1, on_failure="restore")
    assert run.ended() != 0
    said = run.log.read_text()
    assert "1 of 4 BIOS settings were rejected: Boot Feature > Quiet Boot: " in said and "old settings are back" in said
    assert host.bios() == rackbios.before() and host.pushes() == 2
    step = record(rack)["steps"]["bios_push"]
    assert record(rack)["state"] == "failed" and [one["name"] for one in step["outputs"]["rejected"]] == ["Quiet Boot"]
    host.faults()
    Run(rack, 1).ok()
    assert unfinished(rack, 1) == ["pushed once"] and host.pushes() == 3


def test_only_some_steps(rack: racks.Rack, play: Playbooks) -> None:
    """The BMC of a machine that is not commissioned is moved, and nothing else is done; then all the rest."""
    ran = provision(play, rack.variables(provision_only_steps=["bmc"])).ok()
    done = [one.task for one in ran.results if "Step" in one.task and one.status != "skipped"]
    assert len(done) == 1 and done[0].endswith(STEPS[5])
    assert record(rack)["state"] == "completed" and orders(rack.servers[0]) == ["update"]
    assert rack.servers[0].bmc_address == rack.new(1)
    Run(rack, 1).ok()
    assert unfinished(rack, 1) == []
