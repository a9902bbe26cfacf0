# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan applied, looked at and destroyed through a server, on a real Incus."""

from __future__ import annotations

import json
import signal
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until

from tests.runner.rest_server import SECONDS, Server
from tests.runner.test_cli import PATIENT, PLAN

if TYPE_CHECKING:
    from tests.runner.conftest import CommandLine


class OnIncus(Server):
    """A server whose Incus is the test's own."""

    incus: dict[str, str]

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, **self.incus}


@pytest.fixture
def remote(rackstead: CommandLine, tmp_path: Path) -> Iterator[CommandLine]:
    """The command line, which knows the server and not where Incus is."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = OnIncus(folder)
    server.incus = {**rackstead.project.env, "RACKSTEAD_STATE_KEY": b64encode(bytes(range(32))).decode()}
    try:
        server.start()
        rackstead.further = dict.fromkeys(server.incus, "")
        rackstead.further |= {"RACKSTEAD_SERVER": server.url, "RACKSTEAD_TOKEN": server.token}
        yield rackstead
    finally:
        server.end()


def test_from_a_plan_to_instances_and_back(remote: CommandLine) -> None:
    plan = remote.plan(PLAN)
    seen = remote("apply", plan, "--check", "--diff", "-e", "role=front")
    assert seen.code == 0 and "+  limits.memory: 32MiB" in seen.out and "front" in seen.out, seen.err
    assert "2 would change" in seen.out and remote.project.names() == []
    done = remote("apply", plan)
    rows = {row[1]: row[2:] for row in done.rows if row[0] == "instance"}
    assert done.code == 0 and rows["web"][:2] == ["created,", "started"] and rows["db"][0] == "created"
    assert "[2/2] instance db" in done.err and "error" not in done.err
    again = remote("apply", plan, "--json").document
    assert (again["changed"], again["plan"], again["exit_code"]) == (False, "demo", 0)
    ran = remote("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.code, ran.out) == (7, "out\n") and ran.err.splitlines()[-1] == "err"
    assert remote("apply", plan, "--check", "--plan-file", "saved").code == 0
    remote.project.incus("config", "set", "web", "limits.memory=40MiB")
    refused = remote("apply", plan, "--plan-file", "saved")
    assert refused.code == 1 and "instance web" in refused.err and "limits.memory" in refused.err
    drifted = remote("health", plan)
    assert drifted.code == 1 and "instance web is not as the plan says" in drifted.out
    gone = remote("destroy", plan, "--yes", "--json").document
    assert gone["summary"]["changed"] == 2 and remote.project.names() == []


def test_what_is_deleted_is_what_was_shown(remote: CommandLine) -> None:
    plan = remote.plan("name: demo\ninstances: {web: {image: tiny, state: stopped}}\n")
    assert remote("apply", plan).code == 0
    for answer, moved in (("y", True), ("y", False)):
        asked = remote.terminal("destroy", plan)
        asked.expect(r"Delete this\? \[y/N\] ")
        if moved:
            remote.project.incus("config", "set", "web", "limits.memory=40MiB")
        asked.sendline(answer)
        asked.expect(pexpect.EOF)
        asked.close()
        good = answer == "y" and not moved
        assert asked.exitstatus == (0 if good else 1), asked.before
        assert remote.project.names() == ([] if good else ["web"])


def waits(remote: CommandLine, job: str) -> None:
    """Returns when the job has made its instance, and waits for it."""

    def there() -> bool | None:
        running = json.loads(remote("job", "show", job, "--json").out)["job"]["state"] == "running"
        return True if running and "slow" in remote.project.names() else None

    wait_until(there, Deadline(SECONDS), what="the instance", last_seen=lambda: remote("job", "logs", job).out)


def test_ctrl_c_cancels_the_job_and_a_closed_terminal_does_not(remote: CommandLine) -> None:
    plan = remote.plan(PATIENT)
    jobs = []
    for number in (signal.SIGINT, signal.SIGHUP):
        running = remote.start("apply", plan)
        assert running.stderr is not None
        told = running.stderr.readline()
        assert told.startswith("job "), told
        job = told.split()[1]
        waits(remote, job)
        running.send_signal(number)
        _out, err = running.communicate(timeout=SECONDS)
        assert running.returncode == 130, err
        jobs.append((job, err))
    assert f"job {jobs[0][0]} is cancelled" in jobs[0][1]
    assert f"job {jobs[1][0]} goes on" in jobs[1][1]
    states = {one["id"]: one["state"] for one in json.loads(remote("job", "list", "--json").out)["jobs"]}
    assert states[jobs[0][0]] == "cancelled" and states[jobs[1][0]] == "running"
    remote("exec", "slow", "--", "touch", "/go")
    assert remote("job", "wait", jobs[1][0]).code == 0
