# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks by themselves: ansible-playbook with no inventory and no configuration."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testbed.proxy import RecordingProxy

    from tests.runner.conftest import CommandLine

PLAN = "name: demo\ninstances:\n  web: {image: tiny}\n  db: {image: tiny, depends_on: [web]}\n"


def playbook(
    rackstead: CommandLine, name: str, *options: str, env: dict[str, str] | None = None, **variables: Any
) -> Any:
    """Run a playbook without a terminal; ``text`` is all it said, ``rc`` ansible-playbook's exit code."""
    argv = ["ansible-playbook", f"rackstead.infra.{name}", *options]
    return subprocess.run(
        [*argv, "-e", json.dumps(variables)] if variables else argv,
        cwd=rackstead.folder,
        env={**rackstead.env, "ANSIBLE_NOCOLOR": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def states(rackstead: CommandLine) -> dict[str, str]:
    return {one["name"]: one["status"] for one in rackstead.project.client.get("/instances", recursion="1")}


def test_a_plans_life(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN)
    applied = playbook(rackstead, "apply", plan_src=plan)
    assert applied.returncode == 0, applied.stdout
    assert "plan demo: 2 of 2 resources changed" in applied.stdout and "[2/2] instance db" in applied.stdout
    assert states(rackstead) == {"db": "Running", "web": "Running"}
    assert playbook(rackstead, "stop", plan_src=plan, plan_limit=["db"]).returncode == 0
    assert states(rackstead) == {"db": "Stopped", "web": "Running"}
    ill = playbook(rackstead, "health", plan_src=plan)
    assert ill.returncode != 0 and "instance db is not as the plan says, to do: start" in ill.stdout
    assert playbook(rackstead, "start", instance_names=["d*"]).returncode == 0
    assert playbook(rackstead, "health", plan_src=plan).returncode == 0
    shown = playbook(rackstead, "status", plan_name="demo")
    assert shown.returncode == 0 and "web  Running" in shown.stdout and "changed=0" in shown.stdout

    refused = playbook(rackstead, "destroy", plan_src=plan)
    assert refused.returncode != 0 and "nothing was deleted" in refused.stdout and "instance web" in refused.stdout
    assert set(states(rackstead)) == {"db", "web"}
    assert playbook(rackstead, "destroy", plan_src=plan, confirm=True).returncode == 0
    assert states(rackstead) == {}
    assert playbook(rackstead, "destroy", plan_src=plan, confirm=True).stdout.count("changed=0") == 1


def test_a_command_a_snapshot_and_the_logs(rackstead: CommandLine) -> None:
    rackstead.project.incus("launch", "tiny", "one", "-q")
    assert playbook(rackstead, "snapshot", instance_names=["one"], snapshot_name="clean").returncode == 0
    said = playbook(rackstead, "exec", instance_names=["one"], exec_argv=["sh", "-c", "echo seen; touch /made"])
    assert said.returncode == 0 and "one: seen" in said.stdout
    failed = playbook(rackstead, "exec", instance_names=["one"], exec_argv=["sh", "-c", "exit 4"])
    assert failed.returncode != 0 and "one: the command ended with exit code 4" in failed.stdout
    assert playbook(rackstead, "restore", instance_names=["one"], snapshot_name="clean").returncode == 0
    assert playbook(rackstead, "exec", instance_names=["one"], exec_argv=["test", "-e", "/made"]).returncode != 0
    rackstead.project.client.push("one", "/var/log", b"", kind="directory")
    rackstead.project.client.push("one", "/var/log/cloud-init-output.log", b"first\nlast\n")
    logged = playbook(rackstead, "logs", instance_names=["one"], logs_source="cloud-init", logs_lines=1)
    assert logged.returncode == 0 and "last" in logged.stdout and "first" not in logged.stdout


@pytest.mark.parametrize(
    ("name", "variables", "line"),
    [
        ("apply", {"plan_src": "x.yml", "plan_on_change": "perhaps"}, "value of plan_on_change must be one of"),
        ("exec", {"instance_names": ["one"]}, "missing required arguments: exec_argv"),
        ("logs", {"instance_names": ["one"], "logs_lines": "many"}, "logs_lines"),
        ("destroy", {"confirm": True}, "name a plan by plan_src or plan_name, or give destroy_all=true"),
        ("status", {"instance_names": ["gone"]}, "instance gone does not exist"),
        ("stop", {"plan_name": "gone"}, "plan gone has no instances"),
    ],
)
def test_bad_variables_are_told(rackstead: CommandLine, name: str, variables: dict[str, Any], line: str) -> None:
    done = playbook(rackstead, name, **variables)
    assert done.returncode != 0 and line in done.stdout


def test_check_mode_changes_nothing_at_the_wire(rackstead: CommandLine, recording_proxy: RecordingProxy) -> None:
    rackstead("apply", rackstead.plan(PLAN))
    rackstead.project.incus("snapshot", "create", "web", "clean")
    rackstead.project.incus("stop", "db", "--force")
    plan = rackstead.plan(PLAN + "  new: {image: tiny}\n")
    runs: list[tuple[str, dict[str, Any]]] = [
        ("apply", {"plan_src": plan}),
        ("start", {"instance_names": ["db"]}),
        ("stop", {"plan_src": rackstead.plan(PLAN)}),
        ("exec", {"instance_names": ["web"], "exec_argv": ["touch", "/made"]}),
        ("snapshot", {"plan_name": "demo"}),
        ("restore", {"instance_names": ["web"], "snapshot_name": "clean"}),
        ("destroy", {"plan_src": plan, "confirm": True}),
        ("destroy", {"destroy_all": True}),
    ]
    before = states(rackstead)
    for name, variables in runs:
        done = playbook(rackstead, name, "--check", "--diff", env=recording_proxy.env, **variables)
        assert done.returncode == 0, f"{name}: {done.stdout}"
    assert len(recording_proxy.requests) > len(runs) and recording_proxy.mutating == []
    assert states(rackstead) == before


def test_another_host_of_the_inventory(rackstead: CommandLine) -> None:
    inventory = "there ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
    (rackstead.folder / "hosts.ini").write_text(f"[lab]\n{inventory}")
    options = ("-i", "hosts.ini")
    url = rackstead.env["RACKSTEAD_URL"]
    done = playbook(rackstead, "status", *options, env={"RACKSTEAD_URL": ""}, rackstead_host="lab", rackstead_url=url)
    assert done.returncode == 0 and "ok: [there]" in done.stdout
