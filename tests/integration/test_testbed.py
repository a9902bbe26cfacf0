# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' own ground: what the fixtures promise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed import daemon as testbed
from testbed.ansible import Modules, Playbooks
from testbed.proxy import RecordingProxy

KILLED_RUN = """
import json, os, signal
from testbed import daemon as testbed
with testbed.running() as daemon:
    daemon.incus("launch", "tiny", "left-behind", "-q")
    print(json.dumps({"number": daemon.slot.number, "incusd": daemon.pid}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_containers_outlive_the_daemon_and_are_found_again(daemon: testbed.Daemon, project: Any) -> None:
    project.incus("launch", "tiny", "stays", "-q")
    before = project.inside("stays", "stat", "-c", "%Y", "/proc/1")
    daemon.restart()
    daemon.restart(signal.SIGKILL)
    assert project.client.get("/instances/stays")["status"] == "Running"
    assert project.inside("stays", "stat", "-c", "%Y", "/proc/1") == before


def test_an_instance_has_an_address_and_reaches_the_bridge(daemon: testbed.Daemon, project: Any) -> None:
    project.incus("launch", "tiny", "net", "-q")
    found = wait_until(lambda: project.client.addresses("net") or None, Deadline(20), what="an address")
    gateway = daemon.client().get(f"/networks/{daemon.bridge}")["config"]["ipv4.address"].partition("/")[0]
    assert found[0].rpartition(".")[0] == gateway.rpartition(".")[0]
    assert "1 packets received" in project.inside("net", "ping", "-c1", gateway)


def test_https_answers_a_trusted_certificate(daemon: testbed.Daemon) -> None:
    trusted = daemon.trust("testbed")
    assert daemon.client(**trusted).server().trusted


def test_modules_and_plays_run(play: Playbooks, run_module: Modules) -> None:
    assert run_module("ansible.modules.ping", {"data": "one"})["ping"] == "one"
    assert run_module("ansible.modules.command", {"argv": ["true"]}, check=True)["skipped"]
    result = play([{"name": "say", "ansible.builtin.command": "echo two"}]).ok()
    assert result.of("say")["stdout"] == "two"
    assert result.changed


def test_the_proxy_notes_requests_and_passes_streams(project: Any, recording_proxy: RecordingProxy) -> None:
    project.incus("launch", "tiny", "seen", "-q")
    env = {**project.daemon.cli_env, "INCUS_SOCKET": str(recording_proxy.path)}
    argv = ["--project", project.name, "exec", "seen", "--", "cat"]
    # Under load ``incus exec`` now and then says nothing, and ends with 0.
    said = wait_until(
        lambda: testbed.run("incus", *argv, env=env, input="through the proxy") or None, Deadline(60), what="an answer"
    )
    assert said == "through the proxy"
    assert set(recording_proxy.mutating) == {f"POST /1.0/instances/seen/exec?project={project.name}"}
    assert any("/websocket?" in request.path for request in recording_proxy.requests)


def test_a_killed_run_leaves_nothing_running_and_is_cleared_away() -> None:
    paths = [os.environ["ANSIBLE_COLLECTIONS_PATH"], str(Path(__file__).parents[1])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    killed = subprocess.run([sys.executable, "-c", KILLED_RUN], env=env, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = json.loads(killed.stdout)
    wait_until(lambda: not Path(f"/proc/{left['incusd']}").exists() or None, Deadline(20), what="incusd's end")
    folder = testbed.ROOT / f"d{left['number']}"
    bridge = f"{testbed.BRIDGE}{left['number']}"
    assert folder.exists()
    assert Path(f"/sys/class/net/{bridge}").exists()
    slot = testbed.Slot.take()
    slot.release()
    assert not folder.exists()
    assert not Path(f"/sys/class/net/{bridge}").exists()
    assert bridge not in testbed.run("nft", "list", "ruleset")
    assert not [top for top, folders, _files in os.walk("/sys/fs/cgroup") if "lxc.payload.left-behind" in folders]


@pytest.fixture
def foreign_bridge() -> Iterator[str]:
    name = "rsforeign0"
    testbed.run("ip", "link", "add", name, "type", "bridge")
    yield name
    testbed.run("ip", "link", "delete", name)


def test_a_bridge_that_was_there_before_stays(foreign_bridge: str) -> None:
    slot = testbed.Slot.take()
    (slot.folder / "daemon/networks" / foreign_bridge).mkdir(parents=True)
    slot.release()
    assert Path(f"/sys/class/net/{foreign_bridge}").exists()


def test_a_bridge_of_a_cluster_member_is_not_looked_for_here() -> None:
    slot = testbed.Slot.take()
    name = "rsforeign1"
    testbed.run("ip", "link", "add", name, "type", "bridge")
    (slot.folder / "m1/networks" / name).mkdir(parents=True)
    slot.release()
    assert Path(f"/sys/class/net/{name}").exists()
    testbed.run("ip", "link", "delete", name)


def test_a_cluster_has_two_members(cluster: testbed.Cluster) -> None:
    assert sorted(cluster.members) == ["m1", "m2"]
    cluster.first.incus("launch", "tiny", "there", "--target", "m2", "-q")
    assert cluster.first.client().get("/instances/there")["location"] == "m2"
    cluster.first.incus("delete", "-f", "there")
