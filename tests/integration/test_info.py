# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that only look."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.ansible import Modules, Playbooks
from testbed.proxy import RecordingProxy


@pytest.fixture
def instances(project: Any) -> None:
    project.incus("launch", "tiny", "run", "-q", "-c", "user.rackstead.plan=shop", "-c", "user.rackstead.image=tiny/1")
    project.incus("init", "tiny", "idle", "-q", "-c", "user.role=db", "-c", "user.db_password=correct-horse")


def names(result: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in result["instances"]]


def test_instances_by_name_plan_and_project(project: Any, instances: None, run_module: Modules) -> None:
    def info(**args: Any) -> dict[str, Any]:
        return run_module("instance_info", args, env=project.env)

    everything = info()
    assert (everything["changed"], names(everything)) == (False, ["idle", "run"])
    assert names(info(name=["id*", "nothing"])) == ["idle"]
    assert names(info(plan="shop")) == ["run"]
    assert names(info(plan="shop", name="idle")) == []
    assert ("run", project.name) in [(e["name"], e["project"]) for e in info(all_projects=True)["instances"]]
    idle, run = everything["instances"]
    assert (run["plan"], run["image"], run["status"], run["type"]) == ("shop", "tiny/1", "Running", "container")
    assert (idle["plan"], idle["image"], idle["status"]) == ("", "tiny busybox", "Stopped")
    assert (run["metadata"], idle["metadata"]["role"]) == ({}, "db")
    assert "correct-horse" not in str(everything)
    assert run["ipv4"] is None
    assert run["snapshots"] is None


def test_state_is_there_when_asked_for(project: Any, instances: None, run_module: Modules) -> None:
    project.incus("snapshot", "create", "idle", "one")
    address = wait_until(lambda: project.client.addresses("run") or None, Deadline(20), what="an address")
    idle, run = run_module("instance_info", {"state": True}, env=project.env)["instances"]
    assert run["ipv4"] == address
    assert run["memory"]["usage"] > 0
    assert run["processes"] > 0
    assert run["cpu_seconds"] > 0
    assert (idle["ipv4"], idle["processes"]) == ([], 0)
    assert [snapshot["name"] for snapshot in idle["snapshots"]] == ["one"]
    assert run["snapshots"] == []


def test_looking_changes_nothing(
    project: Any, instances: None, run_module: Modules, recording_proxy: RecordingProxy
) -> None:
    env = {**project.env, **recording_proxy.env}
    run_module("instance_info", {}, env=env)
    assert len(recording_proxy.requests) == 1
    run_module("instance_info", {"state": True}, env=env)
    run_module("provider_info", {}, env=env)
    assert recording_proxy.mutating == []


def test_the_example_in_the_documentation(project: Any, instances: None, play: Playbooks) -> None:
    ask = {"name": "ask", "rackstead.infra.instance_info": {"plan": "shop", "state": True}, "register": "found"}
    show = {
        "name": "show",
        "ansible.builtin.debug": {"msg": "{{ item.name }} is {{ item.status }} at {{ item.ipv4 | join(', ') }}"},
        "loop": "{{ found.instances }}",
    }
    result = play([ask, show], env=project.env).ok()
    assert "run is Running at " in result.stdout


def test_the_provider_of_the_tests(daemon: Any, run_module: Modules) -> None:
    found = run_module("provider_info", {}, env=daemon.env)
    assert found["provider"]["version"].startswith("6.")
    assert found["provider"]["addresses"] == [daemon.https]
    assert found["provider"]["api_extensions_count"] > 400
    assert found["capabilities"]["containers"]
    assert found["capabilities"]["virtual_machines"] == found["provider"]["vm_support"]
    assert found["capacity"]["cpus"] > 0
    assert 0 < found["capacity"]["memory_used"] < found["capacity"]["memory_total"]
    [pool] = found["capacity"]["pools"]
    assert (pool["name"], pool["driver"]) == ("default", "dir")
    assert 0 < pool["used"] < pool["total"]
    assert found["members"] == []
    if not found["provider"]["vm_support"]:
        assert any(note.startswith("no virtual machines: ") for note in found["health"]["notes"])
    assert found["health"]["ok"] == (found["health"]["problems"] == [])


def test_a_restricted_client_is_told_what_it_may_see(project: Any, daemon: Any, run_module: Modules) -> None:
    trusted = daemon.trust("restricted-info", projects=[project.name])
    args = {
        "url": trusted["url"],
        "client_cert": trusted["cert_file"],
        "client_key": trusted["key_file"],
        "server_fingerprint": trusted["fingerprint"],
        "project": project.name,
    }
    found = run_module("provider_info", args)
    assert "failed" not in found, found["msg"]
    assert found["capacity"] is None
    assert "capacity and warnings are not shown to a restricted client" in found["health"]["notes"]
    assert run_module("instance_info", args)["instances"] == []
    nobody = {key: value for key, value in args.items() if not key.startswith("client_")}
    assert "does not trust this client" in run_module("provider_info", nobody)["msg"]


def test_a_daemon_that_is_not_there(tmp_path: Any, run_module: Modules) -> None:
    lost = run_module("provider_info", {"url": f"unix://{tmp_path}/none.socket"})
    assert lost["failed"]
    assert "is the Incus daemon running?" in lost["msg"]
    assert "\n" not in lost["msg"]


def test_a_cluster_has_members(cluster: Any, run_module: Modules) -> None:
    found = run_module("provider_info", {}, env=cluster.env)
    assert [member["name"] for member in found["members"]] == cluster.members
    assert {member["status"] for member in found["members"]} == {"Online"}
    assert found["capabilities"]["clustered"]
    assert {pool["member"] for pool in found["capacity"]["pools"]} == set(cluster.members)
