# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan task around the decision: limit, options, the result, and what is kept out of logs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.instances.apply import Outcome
from ansible_collections.rackstead.infra.plugins.module_utils.instances.door import read_plan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint
from ansible_collections.rackstead.infra.plugins.module_utils.instances.plantask import (
    OPTIONS,
    differing,
    limited,
    request_of,
    result_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.instances.spec import PlanSpec
from ansible_collections.rackstead.infra.plugins.modules import plan as module

from tests.unit.plan_worlds import changes, instance, world

SECRET = "correct-horse-battery-staple"
DOCUMENT: dict[str, Any] = {
    "project": "site",
    "projects": {"site": {}, "elsewhere": {}},
    "networks": {"one0": {}, "two0": {}, "three0": {}},
    "storage_volumes": {"data": {}, "other": {}, "spare": {}},
    "profiles": {
        "default": {},
        "web": {"devices": {"eth1": {"type": "nic", "network": "two0"}}},
        "db": {"devices": {"disk": {"type": "disk", "pool": "default", "source": "other", "path": "/db"}}},
    },
    "instances": {
        "web1": {
            "profiles": ["web"],
            "network": {"bridge": "one0"},
            "volumes": {"data": "/srv"},
            "depends_on": ["db1"],
        },
        "web2": {"depends_on": ["web1"]},
        "db1": {"profiles": ["db"], "project": "elsewhere"},
    },
}


def under(limit: list[str], *, only_instances: bool = False) -> PlanSpec:
    problems = Problems()
    plan = limited(read_plan(DOCUMENT, problems), limit, problems, only_instances=only_instances)
    assert problems.lines == []
    return plan


def parts(plan: PlanSpec) -> dict[str, list[str]]:
    names = ("projects", "networks", "storage_volumes", "profiles", "instances")
    return {name: sorted(getattr(plan, name)) for name in names if getattr(plan, name)}


def test_without_a_limit_the_plan_is_whole() -> None:
    assert parts(under([])) == {name: sorted(DOCUMENT[name]) for name in DOCUMENT if name != "project"}


def test_a_limit_keeps_what_the_instances_use() -> None:
    assert parts(under(["web1"])) == {
        "projects": ["site"],
        "networks": ["one0", "two0"],
        "storage_volumes": ["data"],
        "profiles": ["web"],
        "instances": ["web1"],
    }
    assert parts(under(["web2"])) == {"projects": ["site"], "profiles": ["default"], "instances": ["web2"]}
    assert parts(under(["d*"])) == {
        "projects": ["elsewhere", "site"],
        "storage_volumes": ["other"],
        "profiles": ["db"],
        "instances": ["db1"],
    }


def test_a_limit_cuts_dependencies_that_lead_out_of_it() -> None:
    found = under(["web*"])
    assert found.instances["web1"].depends_on == ()
    assert found.instances["web2"].depends_on == ("web1",)


def test_under_a_limit_only_instances_are_deleted() -> None:
    assert parts(under(["web1"], only_instances=True)) == {"instances": ["web1"]}


def test_a_pattern_that_matches_nothing() -> None:
    problems = Problems()
    limited(read_plan(DOCUMENT, problems), ["wbe1", "db?"], problems)
    assert problems.lines == [
        'limit: "wbe1" matches no instance; did you mean "web1"?; allowed: web1, web2, db1',
    ]


def params(**given: Any) -> dict[str, Any]:
    return {**{name: option.get("default") for name, option in OPTIONS.items()}, "plan": {}, **given}


def test_options_that_make_no_sense_are_told_together() -> None:
    client = IncusClient(Endpoint())
    request = request_of(params(parallel=0, timeout=-1, prune=True, limit=["x"], plan={"x": 1}), client)
    assert request.problems.lines == [
        "parallel: 0 is not valid; allowed: 1 or more",
        "timeout: -1 is not valid; allowed: 1 or more",
        'unknown key "x"; known: defaults, instances, name, networks, profiles, project, projects, storage_volumes',
        "prune: does not go with limit, nor with a state other than present",
        'limit: "x" matches no instance',
    ]


@pytest.mark.parametrize(
    ("given", "document", "owner"),
    [("task", {"name": "file"}, "task"), ("", {"name": "file"}, "file"), ("", {}, "plan"), ("task", {}, "task")],
)
def test_whose_mark_is_left(given: str, document: dict[str, Any], owner: str) -> None:
    assert request_of(params(name=given, plan=document), IncusClient(Endpoint())).owner == owner


def test_differences_by_their_path() -> None:
    before = {"a": 1, "config": {"x": "1", "y": "2"}, "devices": {"d": {"k": "v"}}}
    after = {"a": 1, "config": {"x": "1", "y": "3", "z": "4"}, "devices": {"d": {"k": "w"}}, "status": "Running"}
    assert differing(before, after) == ["config.y", "config.z", "devices.d.k", "status"]
    assert differing(None, {"a": 1}) == ["a"]
    assert differing(before, before) == []


def test_the_result_counts_and_names_failures() -> None:
    document = {"instances": {name: {"image": "tiny", "state": "stopped"} for name in "abcd"}}
    there = instance("d", config={"user.rackstead.image": "tiny"}, status="Stopped")
    outcomes = [Outcome(change) for change in changes(document, world(there)).values()]
    outcomes[1].error = OperationFailed("no space left", where="instance b")
    outcomes[2].skipped = "not started, since instance b failed (on_error=stop)"
    result = result_of("lab", outcomes)
    assert result["summary"] == {"total": 4, "changed": 1, "unchanged": 1, "failed": 1, "skipped": 1}
    assert result["changed"] is True
    assert result["failed"] is True
    assert result["msg"].split("\n") == [
        "instance b: no space left",
        "instance c: not started, since instance b failed (on_error=stop)",
    ]
    assert [entry["changed"] for entry in result["resources"]] == [True, True, False, False]
    assert [entry["before_header"] for entry in result["diff"]] == [f"instance {name} (absent)" for name in "abc"]
    json.dumps(result)


def test_secrets_are_in_no_part_of_the_result() -> None:
    fields = {"config": {"environment.DB_PASSWORD": SECRET}, "cloud_init": {"password": SECRET}}
    document = {"instances": {"a": {"image": "tiny", **fields}}}
    found = [Outcome(change) for change in changes(document, world()).values()]
    assert SECRET not in json.dumps(result_of("lab", found))


def test_the_module_keeps_the_plan_out_of_the_systems_log(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """AnsibleModule writes its arguments to syslog, unless it is told not to."""
    logged: list[str] = []
    monkeypatch.setattr(
        basic.AnsibleModule, "log", lambda self, message, log_args=None: logged.append(f"{message} {log_args}")
    )
    given = {"plan": {"instances": {"a": {"cloud_init": {"password": SECRET}}}}, "url": "unix:///nowhere/incus.socket"}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        module.main()
    assert "nowhere/incus.socket" in json.loads(capsys.readouterr().out)["msg"]
    assert SECRET not in str(logged)
