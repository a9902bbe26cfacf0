# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules for one resource: instance, profile, network, project and storage_volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from testbed.ansible import Modules

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(project: Any, run_module: Modules) -> Run:
    """``run("profile", name=…)`` runs a module; what check mode said before is compared with what was done."""

    def one(module: str, *, check: bool = False, **args: Any) -> dict[str, Any]:
        predicted = run_module(module, args, check=True, diff=True, env=project.env)
        if check:
            return predicted
        done = run_module(module, args, diff=True, env=project.env)
        if not done.get("failed"):  # what fails is looked at by the test itself
            assert {key: done[key] for key in SAME} == {key: predicted[key] for key in SAME}
        return done

    return one


SAME = ("changed", "actions", "before", "after", "diff")


@pytest.fixture
def instance(run: Run) -> Run:
    return lambda **args: run("instance", **{"name": "box", **args})


def status(project: Any, name: str = "box") -> str:
    return str(project.client.get(f"/instances/{name}")["status"])


# -- instance -----------------------------------------------------------------------------------------
def test_bad_input_is_told_before_anything_happens(project: Any, run: Run) -> None:
    wrong = run(
        "instance", name="box", image="tiny", memory="1GBB", cpus="x", wait_for=["soon"], network={"ipv4": "10.0.0"}
    )
    assert wrong["problems"] == [
        'memory: "1GBB" is not a size; allowed: 512MiB, 2GB, 10GiB, 50%',
        'cpus: "x" is not a number of CPUs; allowed: 2, 0-3, 0,2',
        'network.ipv4: "10.0.0" is not an IPv4 address; allowed: auto, an address such as 10.0.0.5',
        'wait_for[0]: "soon" is not a condition; allowed: running, ipv4, cloud_init, {port: 80}, {command: [argv]}',
    ]
    assert run("instance", name="a/b")["msg"].startswith('name: "a/b" is not a name')
    assert run("instance", name="box", image="tini")["msg"].count("\n") == 0
    assert 'did you mean "tiny"' in run("instance", name="box", image="tini")["msg"]
    assert "has no image, and does not exist yet" in run("instance", name="box")["msg"]
    assert "choices" in str(run("instance", name="box", state="running")["msg"]) or "one of" in str(
        run("instance", name="box", state="running")["msg"]
    )
    assert project.names() == []


def test_a_virtual_machine_is_refused_where_the_host_has_none(project: Any, daemon: Any, instance: Run) -> None:
    if daemon.client().server().vm_support:
        pytest.skip("this host runs virtual machines")
    refused = instance(image="tiny", type="virtual-machine")
    assert "cannot run virtual machines" in refused["msg"]
    assert project.names() == []


def test_life_of_an_instance(project: Any, instance: Run) -> None:
    made = instance(image="tiny", memory="64MiB", metadata={"role": "web"}, wait_for=["ipv4"])
    assert made["actions"] == ["create", "start"]
    assert made["before"] is None
    assert project.client.addresses("box")
    config = project.client.get("/instances/box")["config"]
    assert (config["limits.memory"], config["user.role"]) == ("64MiB", "web")
    assert not [key for key in config if key.startswith("user.rackstead.")]
    assert not instance(image="tiny", memory="64MiB", metadata={"role": "web"}, wait_for=["ipv4"])["changed"]

    changed = instance(memory="96MiB")
    assert changed["actions"] == ["update"]
    assert changed["diff"]["before"] != changed["diff"]["after"]
    assert status(project) == "Running"
    assert project.client.get("/instances/box")["config"]["user.role"] == "web"
    assert instance(config={"limits.memory": ""})["changed"]
    assert "limits.memory" not in project.client.get("/instances/box")["config"]
    assert not instance(config={"limits.memory": ""})["changed"]

    for state, actions, then in (
        ("frozen", ["freeze"], "Frozen"),
        ("present", [], "Frozen"),
        ("started", ["unfreeze"], "Running"),
        ("stopped", ["stop"], "Stopped"),
        ("present", [], "Stopped"),
        ("frozen", ["start", "freeze"], "Frozen"),
        ("stopped", ["unfreeze", "stop"], "Stopped"),
        ("started", ["start"], "Running"),
    ):
        assert instance(state=state)["actions"] == actions, state
        assert status(project) == then
        assert not instance(state=state)["changed"]

    gone = instance(state="absent")
    assert gone["actions"] == ["delete"]
    assert gone["after"] is None
    assert not instance(state="absent")["changed"]
    assert project.names() == []


def test_present_makes_it_and_leaves_it_stopped(project: Any, instance: Run) -> None:
    assert instance(image="tiny", state="present")["actions"] == ["create"]
    assert status(project) == "Stopped"
    project.incus("start", "box")
    assert instance(state="present", description="mine")["actions"] == ["update"]
    assert status(project) == "Running"


def test_restarted_always_restarts_what_runs(project: Any, instance: Run) -> None:
    assert instance(image="tiny", state="restarted")["actions"] == ["create", "start"]
    before = project.client.get("/instances/box/state")["started_at"]
    assert instance(state="restarted")["actions"] == ["stop", "start"]
    between = project.client.get("/instances/box/state")["started_at"]
    assert before < between
    assert instance(state="restarted", memory="64MiB")["actions"] == ["update", "stop", "start"]
    assert instance(state="restarted", config={"security.nesting": True})["actions"] == ["stop", "update", "start"]
    assert between < project.client.get("/instances/box/state")["started_at"]
    instance(state="stopped")
    assert instance(state="restarted")["actions"] == ["start"]


def test_what_needs_a_restart_is_refused_unless_allowed(project: Any, instance: Run) -> None:
    instance(image="tiny")
    nesting = {"config": {"security.nesting": True}}
    refused = instance(**nesting)
    assert "would count only after a restart" in refused["msg"]
    assert instance(**nesting, on_change="never")["notes"] == ["counts from the next start on: config.security.nesting"]
    assert instance(config={"security.nesting": False}, on_change="restart")["actions"] == ["stop", "update", "start"]


def test_renaming(project: Any, instance: Run) -> None:
    project.incus("init", "tiny", "other", "-q")
    instance(image="tiny")
    refused = instance(new_name="new")
    assert refused["msg"] == (
        "instance box: is running, and must be stopped to be renamed; "
        "allow that with on_change: restart, or use state: stopped"
    )
    assert instance(new_name="other", state="stopped")["msg"] == (
        "instance box: cannot become other, since that exists too"
    )
    assert instance(name="nobody", new_name="new")["msg"] == f'instance nobody: does not exist in project "{project}"'
    assert instance(new_name="new", state="absent")["msg"].startswith("new_name: means nothing with state: absent")
    assert instance(new_name="a_b")["msg"].startswith('new_name: "a_b" is not a name')

    renamed = instance(new_name="new", on_change="restart", memory="64MiB")
    assert renamed["actions"] == ["stop", "rename", "update", "start"]
    assert (renamed["before"]["name"], renamed["after"]["name"]) == ("box", "new")
    assert project.names() == ["new", "other"]
    assert status(project, "new") == "Running"
    assert not instance(new_name="new", on_change="restart", memory="64MiB")["changed"]
    assert instance(name="new", new_name="box", state="stopped")["actions"] == ["stop", "rename"]
    assert instance(new_name="new", state="present")["actions"] == ["rename"]
    assert status(project, "new") == "Stopped"
    assert instance(new_name="new", state="present", memory="32MiB")["actions"] == ["update"]


def test_a_forwarded_port_and_devices(project: Any, instance: Run) -> None:
    forward = {"listen": "127.0.0.1:0", "connect": "80"}
    assert instance(image="tiny", network={"forwards": [forward]})["msg"].startswith("network.forwards[0]")
    device = {"type": "disk", "source": "/usr/share", "path": "/srv/share", "readonly": "true"}
    made = instance(image="tiny", devices={"share": device})
    assert made["after"]["devices"]["share"] == device
    assert not instance(devices={"share": device})["changed"]


# -- the rest -----------------------------------------------------------------------------------------
CASES = {
    "profile": (
        {"name": "small", "config": {"limits.cpu": 1}, "devices": {"gone": {"type": "none"}}},
        {"name": "small", "config": {"limits.cpu": 2}, "description": "new"},
    ),
    "network": (
        {"name": "", "config": {"ipv4.address": "none", "ipv6.address": "none", "bridge.mtu": 1400}},
        {"name": "", "config": {"bridge.mtu": 1300}, "description": "new"},
    ),
    "project": (
        {"name": "rstest-made", "config": {"features.images": False}},
        {"name": "rstest-made", "config": {"limits.instances": 3}, "description": "new"},
    ),
    "storage_volume": (
        {"name": "data", "size": "64MiB"},
        {"name": "data", "size": "128MiB", "description": "new"},
    ),
}


@pytest.mark.parametrize("module", CASES)
def test_made_changed_and_deleted(project: Any, run: Run, daemon: Any, module: str) -> None:
    # A bridge is an interface of the machine, where other tests' daemons have theirs.
    first, second = ({**case, "name": case["name"] or f"{daemon.bridge}x"} for case in CASES[module])
    assert run(module, **first, check=True)["actions"] == ["create"]
    assert run(module, **first)["actions"] == ["create"]
    assert run(module, **first)["actions"] == []
    changed = run(module, **second)
    assert changed["actions"] == ["update"]
    assert "+description: new" in _unified(changed["diff"])
    assert run(module, **second)["actions"] == []
    name = {"name": first["name"], "state": "absent"}
    assert run(module, **name)["actions"] == ["delete"]
    assert run(module, **name)["actions"] == []


def _unified(diff: dict[str, str]) -> str:
    import difflib

    return "\n".join(difflib.unified_diff(diff["before"].splitlines(), diff["after"].splitlines()))


def test_what_is_in_use_is_not_deleted(project: Any, run: Run, daemon: Any) -> None:
    run("profile", name="used")
    run("storage_volume", name="used")
    project.incus("init", "tiny", "box", "-q", "--profile", "default", "--profile", "used")
    project.incus("storage", "volume", "attach", "default", "used", "box", "/srv")
    for check in (True, False):
        refused = run("profile", name="used", state="absent", check=check)
        assert refused["msg"] == f"profile used: is in use by instance box (project {project})"
        refused = run("storage_volume", name="used", state="absent", check=check)
        assert refused["msg"] == f"storage volume used: is in use by instance box (project {project})"
        refused = run("network", name=daemon.bridge, state="absent", check=check)
        assert refused["msg"].startswith(f"network {daemon.bridge}: is in use by ")
        refused = run("project", name=project.name, state="absent", check=check)
        assert refused["msg"].startswith(f"project {project}: still holds instance box")
    assert run("project", name="default", state="absent")["msg"].startswith("name: Incus's own default project")


def test_what_cannot_change_is_said(project: Any, run: Run) -> None:
    run("storage_volume", name="data")
    assert "content_type cannot change in place" in run("storage_volume", name="data", content_type="block")["msg"]
    assert 'storage pool "no" does not exist' in run("storage_volume", name="data", pool="no")["msg"]


@pytest.mark.parametrize("module", CASES)
def test_names_are_checked(run: Run, module: str) -> None:
    refused = run(module, name="a/../b", state="absent")
    assert refused["msg"].startswith('name: "a/../b" is not valid; allowed: letters')
