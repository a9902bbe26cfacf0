# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots on a real daemon."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from testbed.ansible import Modules
from testbed.proxy import RecordingProxy

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(project: Any, run_module: Modules) -> Run:
    def snapshot(*, check: bool = False, diff: bool = False, env: Any = None, **args: Any) -> dict[str, Any]:
        env = {**project.env, **(env or {})}
        return run_module("instance_snapshot", {"instance": "a1", **args}, check=check, diff=diff, env=env)

    return snapshot


@pytest.fixture
def instances(project: Any) -> list[str]:
    for name in ("a1", "a2", "b1"):
        project.incus("init", "tiny", name, "-q")
    return ["a1", "a2", "b1"]


def names(project: Any, instance: str) -> list[str]:
    return sorted(entry["name"] for entry in project.client.get(f"/instances/{instance}/snapshots", recursion="1"))


def test_bad_parameters_and_unknown_instances(project: Any, instances: list[str], run: Run) -> None:
    assert run(instance="a1/snapshots/x")["problems"][0].startswith('instances: "a1/snapshots/x" is not a name')
    unknown = run(instance=["a1", "zz", "b11"])
    assert unknown["msg"].splitlines() == [
        f'instance b11: does not exist in project "{project}"; did you mean "b1"?',
        f'instance zz: does not exist in project "{project}"',
    ]
    assert names(project, "a1") == []
    nothing = run(instance="zz*")
    assert (nothing["changed"], nothing["instances"]) == (False, [])


def test_taken_on_several_at_once_and_not_again(project: Any, instances: list[str], run: Run) -> None:
    predicted = run(instance=["a*"], name="one", check=True, diff=True)
    assert predicted["changed"]
    assert names(project, "a1") == []
    made = run(instance=["a*"], name="one", diff=True)
    assert [entry["actions"] for entry in made["instances"]] == [[{"action": "create", "snapshot": "one"}]] * 2
    assert [entry["actions"] for entry in made["instances"]] == [e["actions"] for e in predicted["instances"]]
    assert made["diff"] == predicted["diff"]
    assert made["diff"][0]["after"] == "one: stays\n"
    assert [names(project, name) for name in instances] == [["one"], ["one"], []]
    again = run(instance=["a*"], name="one")
    assert not again["changed"]
    assert again["instances"][0]["snapshots"][0]["name"] == "one"


def test_the_default_name_is_the_time(project: Any, instances: list[str], run: Run) -> None:
    made = run(instance=["*"])
    assert made["name"].startswith("snapshot-20")
    assert [names(project, name) for name in instances] == [[made["name"]]] * 3


def test_expiry(project: Any, instances: list[str], run: Run) -> None:
    run(name="one", expires_at="2h")
    found = project.client.get("/instances/a1/snapshots/one")
    assert found["expires_at"] > found["created_at"]
    assert not run(name="one", expires_at="3h")["changed"]
    changed = run(name="one", expires_at="2099-01-31T12:00:00+01:00", diff=True)
    assert changed["instances"][0]["actions"] == [{"action": "update", "snapshot": "one"}]
    assert changed["diff"][0]["after"] == "one: expires 2099-01-31T11:00:00Z\n"
    assert project.client.get("/instances/a1/snapshots/one")["expires_at"] == "2099-01-31T11:00:00Z"
    assert not run(name="one", expires_at="2099-01-31T11:00:00Z")["changed"]


def test_restored_and_deleted(project: Any, instances: list[str], run: Run) -> None:
    project.client.push("a1", "/root/kept", b"kept")
    project.incus("start", "a1")
    run(name="one")
    project.client.push("a1", "/root/new", b"new")
    lost = run(name="none", state="restored")
    assert lost["msg"] == 'instance a1: has no snapshot "none"; did you mean "one"?'
    assert run(name="one", state="restored", check=True)["changed"]
    assert sorted(project.client.pull("a1", "/root").entries) == ["kept", "new"]
    restored = run(name="one", state="restored", diff=True)
    assert restored["instances"][0]["actions"] == [{"action": "restore", "snapshot": "one"}]
    assert "snapshot one" in restored["diff"][0]["after"]
    assert project.client.pull("a1", "/root").entries == ("kept",)
    assert project.client.get("/instances/a1")["status"] == "Running"

    assert run(name="one", state="absent", check=True)["changed"]
    assert run(name="one", state="absent")["changed"]
    assert not run(name="one", state="absent")["changed"]
    assert names(project, "a1") == []


def test_one_that_cannot_be_served_keeps_all_from_being_touched(project: Any, instances: list[str], run: Run) -> None:
    run(instance="a1", name="one")
    failed = run(instance=["a1", "a2"], name="one", state="restored")
    assert failed["msg"] == 'instance a2: has no snapshot "one"'
    assert failed["failed"]
    assert not failed["changed"]


def test_pruned_by_count_and_only_of_its_own_pattern(project: Any, instances: list[str], run: Run) -> None:
    project.incus("snapshot", "create", "a1", "by-hand")
    for day in ("20200101", "20200102", "20200103"):
        run(name=f"nightly-{day}")
    predicted = run(name="nightly-%Y%m%d", keep=2, check=True)["instances"][0]
    done = run(name="nightly-%Y%m%d", keep=2)
    assert done["instances"][0]["actions"] == predicted["actions"]
    assert [entry["action"] for entry in predicted["actions"]] == ["create", "delete", "delete"]
    assert names(project, "a1") == ["by-hand", "nightly-20200103", done["name"]]
    assert not run(name="nightly-%Y%m%d", keep=2)["changed"]
    assert not run(name="nightly-%Y%m%d", state="pruned", older_than="1h")["changed"]
    assert run(state="pruned", match="*", keep=0)["changed"]
    assert names(project, "a1") == []


@pytest.mark.skipif(shutil.which("criu") is not None, reason="this host has CRIU")
def test_stateful_says_what_is_missing(project: Any, instances: list[str], run: Run) -> None:
    assert run(name="one", stateful=True)["msg"] == "instance a1: is stopped, not running; start it first"
    project.incus("start", "a1")
    assert "migration.stateful=true" in run(name="one", stateful=True, check=True)["msg"]
    project.incus("config", "set", "a1", "migration.stateful=true")
    failed = run(name="one", stateful=True)
    assert failed["msg"] == "instance a1: Unable to create a stateful snapshot. CRIU isn't installed"
    assert names(project, "a1") == []


def test_check_mode_sends_nothing_that_writes(
    project: Any, instances: list[str], run: Run, recording_proxy: RecordingProxy
) -> None:
    run(name="one")
    for args in (
        {"name": "two"},
        {"name": "one", "expires_at": "2099-01-01"},
        {"name": "one", "state": "restored"},
        {"name": "one", "state": "absent"},
        {"state": "pruned", "match": "*", "keep": 0},
    ):
        assert run(**args, check=True, env=recording_proxy.env)["changed"], args
    assert recording_proxy.requests
    assert recording_proxy.mutating == []
