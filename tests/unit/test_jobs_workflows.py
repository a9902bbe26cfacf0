# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workflows: declarations beside playbooks, and the variables that jobs are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN

from rackstead.jobs.execution import request_of
from rackstead.jobs.model import Job
from rackstead.jobs.workflows import Catalog, Workflow, secrets_of
from rackstead.run import options_of

OPTIONS = {
    "server": {"type": "str", "description": "A server."},
    "count": {"type": "int", "default": 1},
    "names": {"type": "list", "elements": "str"},
    "mode": {"type": "str", "choices": ["fast", "slow"]},
    "pin": {"type": "str", "no_log": True},
    "settings": {"type": "dict", "options": {"size": {"type": "int", "description": "Its size."}}},
}


def declare(folder: Path, name: str, workflow: Any, options: Any = OPTIONS) -> Catalog:
    (folder / "specs").mkdir(exist_ok=True)
    (folder / f"{name}.yml").write_text("[]")
    document = {"argument_specs": {"main": {"short_description": "Short", "options": options}}, "workflow": workflow}
    (folder / "specs" / f"{name}.yml").write_text(yaml.safe_dump(document))
    return Catalog([folder])


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return declare(tmp_path, "build", {"target": ["server", "names", "rack {server}"]}).get("build")


def test_every_playbook_of_the_collection_is_a_workflow() -> None:
    catalog = Catalog([])
    playbooks = {path.stem for path in (Path(__file__).parents[2] / "playbooks").glob("*.yml")}
    found, faults = catalog.read()
    assert faults == [] and {one.playbook.rpartition(".")[2] for one in found} == playbooks
    assert catalog.get("apply").playbook == "rackstead.infra.apply"
    assert "rackstead_url" in catalog.get("apply").options and "provider_pool_driver" in catalog.get("init").options
    assert catalog.get("start").targets({}) == ["provider"] == catalog.get("init").targets({})
    assert catalog.get("start").targets({"rackstead_url": "https://a:1"}) == ["provider https://a:1"]


def test_what_is_not_declared_has_defaults(tmp_path: Path) -> None:
    found = declare(tmp_path, "plain", {}).get("plain")
    assert (found.title, found.priority, found.retries, found.role, found.target) == ("Short", 5, 3, "operator", ())
    assert found.playbook == str(tmp_path / "plain.yml")


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        ({"priority": 10}, 'workflow.priority: "10" is not valid; allowed: 0 (first) to 9'),
        ({"priority": True}, 'workflow.priority: "True" is not valid'),
        ({"node": "a b"}, 'workflow.node: "a b" is not valid; allowed: the name of a Receptor node'),
        ({"timeout": 0}, 'workflow.timeout: "0" is not valid; allowed: seconds, more than 0'),
        ({"retries": "3"}, 'workflow.retries: "3" is not valid'),
        ({"role": "root"}, 'workflow.role: "root" is not valid; allowed: viewer, operator, admin'),
        ({"target": [1]}, "workflow.target"),
        ({"target": "rack {sever}"}, 'workflow.target: unknown key "sever"; did you mean "server"?'),
        ({"target": "server:{serverz.id}"}, 'workflow.target: unknown key "serverz"'),
        ({"forks": 0}, 'workflow.forks: "0" is not valid; allowed: 1 to 500'),
        ({"playbook": "../evil"}, 'workflow.playbook: "../evil" is not valid'),
        ({"playbook": "nowhere"}, 'there is no playbook "'),
        ({"timout": 3}, 'unknown key "timout"; did you mean "timeout"?'),
        ("yes", "workflow: not a mapping"),
    ],
)
def test_a_bad_declaration_is_told_and_harms_no_other(tmp_path: Path, declared: Any, line: str) -> None:
    declare(tmp_path, "good", {})
    catalog = declare(tmp_path, "bad", declared)
    with pytest.raises(InvalidInput) as caught:
        catalog.get("bad")
    found, faults = catalog.read()
    assert line in str(caught.value) and faults == caught.value.problems and "good" in {one.name for one in found}


def test_a_declaration_without_a_playbook_is_bad(tmp_path: Path) -> None:
    declare(tmp_path, "lonely", {})
    (tmp_path / "lonely.yml").unlink()
    with pytest.raises(InvalidInput, match="there is no playbook"):
        Catalog([tmp_path]).get("lonely")


def test_a_workflow_may_have_another_name_than_its_playbook_and_work_on_many_hosts(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text("[]")
    found = declare(tmp_path, "short", {"playbook": "other", "forks": 20}).get("short")
    assert (found.name, found.playbook, found.forks) == ("short", str(tmp_path / "other.yml"), 20)
    job = Job("0" * 26, "short", "Short", {}, 1.0)
    request = request_of(job, found, {})
    assert "--forks 20" in options_of(request)
    assert request.environment == {"RACKSTEAD_JOB": job.id}
    assert "--forks" not in options_of(request_of(job, declare(tmp_path, "plain", {}).get("plain"), {}))


def test_a_machine_has_variables_of_its_own_for_a_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = declare(tmp_path, "short", {}).get("short")
    job = Job("0" * 26, "short", "Short", {}, 1.0)
    site = tmp_path / "site"
    assert request_of(job, found, {}).variable_files == ()
    monkeypatch.setenv("RACKSTEAD_VARIABLES", str(site))
    assert request_of(job, found, {}).variable_files == ()
    site.mkdir()
    (site / "short.yml").write_text("server: a\n")
    assert options_of(request_of(job, found, {})) == f"-e @{site}/short.yml"


def test_a_target_names_each_entry_of_a_list(tmp_path: Path) -> None:
    options = {"servers": {"type": "list", "elements": "dict"}, "rack": {"type": "str"}}
    found = declare(tmp_path, "many", {"target": "{rack} server:{servers.id|name}"}, options).get("many")
    servers = [{"id": "a1", "name": "x"}, {"name": "b"}, {"id": "a1"}, {"other": 1}, {"id": "{rack}"}]
    assert found.targets({"servers": servers, "rack": "R"}) == ["R server:a1", "R server:b", "R server:rack"]
    assert found.targets({}) == [] == found.targets({"servers": "no list"})


def test_an_unknown_workflow_is_told_with_the_nearest(workflow: Workflow) -> None:
    with pytest.raises(NotFound, match='did you mean "apply"'):
        Catalog([]).get("aply")


def test_ones_own_workflow_comes_before_the_collections(tmp_path: Path) -> None:
    assert declare(tmp_path, "apply", {}).get("apply").playbook == str(tmp_path / "apply.yml")


def test_variables_are_read_in_their_types(workflow: Workflow) -> None:
    assert workflow.check({"count": "3", "names": "a,b"}) == {"count": 3, "names": ["a", "b"]}


def test_every_fault_is_told_at_once(workflow: Workflow) -> None:
    with pytest.raises(InvalidInput) as caught:
        workflow.check({"count": "many", "mode": "quick", "sever": "a", "settings": {"width": 1}})
    lines = caught.value.problems
    assert len(lines) == 4 and lines[0].endswith('did you mean "server"?')
    assert all(any(word in line for line in lines) for word in ("count", "mode", "width"))


def test_faults_do_not_quote_secrets(tmp_path: Path) -> None:
    options = {"pin": {"type": "int", "no_log": True}}
    with pytest.raises(InvalidInput) as caught:
        declare(tmp_path, "secret", {}, options).get("secret").check({"pin": "correct-horse"})
    assert "correct-horse" not in str(caught.value) and "pin" in str(caught.value)


def test_secrets_are_masked_by_declaration_and_by_name(workflow: Workflow) -> None:
    given = {"pin": "1234", "server": "a", "settings": {"password": "x1"}}
    masked = workflow.masked(given)
    assert masked == {"pin": HIDDEN, "server": "a", "settings": {"password": HIDDEN}}
    assert secrets_of(given, masked) == ["1234", "x1"]


def test_targets_come_from_variables_and_words(workflow: Workflow) -> None:
    assert workflow.targets({"server": "a", "names": ["x", "y"]}) == ["server:a", "names:x", "names:y", "rack a"]
    assert workflow.targets({}) == ["rack"]
