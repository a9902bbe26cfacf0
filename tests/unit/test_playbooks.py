# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks and the specifications of their variables keep together, and the guides with both."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.rackstead.infra.plugins.module_utils.instances import spec as plan

from rackstead.cli import app
from rackstead.options import COMMON

TOP = Path(__file__).resolve().parent.parent.parent
PLAYBOOKS = sorted(path.stem for path in (TOP / "playbooks").glob("*.yml"))
#: Roles declare the variables of these themselves: provider and microk8s.
BY_ROLE = {
    "init",
    *("setup_cluster", "add_node", "remove_node", "upgrade", "scan", "shutdown_cluster", "start_cluster"),
}
SPECIFIED = [name for name in PLAYBOOKS if name not in BY_ROLE]
#: Playbooks whose variables are declared under the name of their workflow.
SPECIFICATIONS = {"provision_server": "provision"}
#: What the tasks hand to each other; the playbooks' own variables never begin like that.
INTERNAL = re.compile(
    r"\b(?:select|validate|rackstead_health|(?:apply|exec|snapshot|logs|health|destroy)_(?:result|found|named|left|left_result|marked|results|doomed|answer|bad|provider|plan|broken|drift|faults))"
)
VARIABLE = re.compile(r"\b((?:rackstead|plan|instance|exec|snapshot|logs|status|destroy)_[a-z_]+|confirm)\b(?! *[:=(])")


def options(name: str) -> dict[str, Any]:
    document = yaml.safe_load((TOP / "playbooks/specs" / f"{SPECIFICATIONS.get(name, name)}.yml").read_text())
    found: dict[str, Any] = document["argument_specs"]["main"]["options"]
    return found


def sources(name: str) -> str:
    """The playbook with the task files it imports."""
    text = (TOP / "playbooks" / f"{name}.yml").read_text()
    imported = re.findall(r"import_tasks: (tasks/\w+\.yml)", text)
    return "\n".join([text, *((TOP / "playbooks" / path).read_text() for path in dict.fromkeys(imported))])


def expressions(text: str) -> str:
    """What is between braces, and what stands after ``when:``, where variables are used."""
    return "\n".join(
        [*re.findall(r"\{\{(.*?)\}\}", text, re.S), *re.findall(r"when:((?:[^\n]*\n(?:\s+- [^\n]*\n)*))", text)]
    )


@pytest.mark.parametrize("name", SPECIFIED)
def test_every_variable_of_a_playbook_is_specified(name: str) -> None:
    known = {*options(name), *options("connection")}
    used = set(VARIABLE.findall(re.sub(r"'[^']*'", "''", expressions(sources(name)))))
    shared = {"instance_names", "plan_src", "plan_name"} if "tasks/select.yml" in sources(name) else set()
    unknown = {variable for variable in used - known - shared if not INTERNAL.match(variable)}
    assert unknown == set()


@pytest.mark.parametrize("name", SPECIFIED)
def test_every_specified_variable_is_used(name: str) -> None:
    assert {variable for variable in options(name) if not re.search(rf"\b{variable}\b", sources(name))} == set()


@pytest.mark.parametrize("name", ["connection", *SPECIFIED])
def test_specifications_are_such_as_ansible_takes(name: str) -> None:
    for variable, option in options(name).items():
        assert option["description"] and option["type"], variable
    needed = {variable: option for variable, option in options(name).items() if option.get("required")}
    required: dict[str, Any] = {variable: option.get("choices", ["x"])[0] for variable, option in needed.items()}
    lists = {variable: option.get("elements") for variable, option in needed.items() if option["type"] == "list"}
    required.update({variable: [{}] if elements == "dict" else ["x"] for variable, elements in lists.items()})
    assert ArgumentSpecValidator(options(name)).validate(required).error_messages == []


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbooks_run_on_this_machine_unless_told_otherwise(name: str) -> None:
    plays = yaml.safe_load((TOP / "playbooks" / f"{name}.yml").read_text())
    assert all(play["gather_facts"] is False for play in plays)
    assert any("default('localhost')" in play["hosts"] for play in plays)
    tasks = [task for play in plays for task in play.get("tasks", [])]
    added = [task.get("ansible.builtin.add_host", {}).get("groups", []) for task in tasks]
    for play in plays:  # else here, or on hosts that another play has made
        assert "default('localhost')" in play["hosts"] or play["hosts"] == "localhost" or [play["hosts"]] in added


def test_the_role_and_the_playbook_that_provision_take_the_same_variables() -> None:
    document = yaml.safe_load((TOP / "roles/provision_server/meta/argument_specs.yml").read_text())
    role, playbook = document["argument_specs"]["main"]["options"], options("provision_server")
    assert role.pop("provision_server") and playbook.pop("provision_servers")
    assert role == playbook
    tasks = (TOP / "roles/provision_server/tasks/main.yml").read_text()
    assert [name for name in role if f"provision_{name.removeprefix('provision_')} |" not in tasks] == []


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_the_guide_to_the_playbooks_names_them_and_their_variables(name: str) -> None:
    guide = (TOP / "docs/playbooks.md").read_text()
    assert f"rackstead.infra.{name}" in guide
    if name not in BY_ROLE:
        assert {variable for variable in options(name) if f"`{variable}`" not in guide} == set()


SPECS = [
    plan.PlanSpec,
    plan.InstanceSpec,
    plan.Network,
    plan.Forward,
    plan.ProfileSpec,
    plan.NetworkSpec,
    plan.VolumeSpec,
    plan.ProjectSpec,
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_the_guide_to_plans_names_every_field(spec: type[Any]) -> None:
    guide = (TOP / "docs/plans.md").read_text()
    assert {field.name for field in dataclasses.fields(spec) if f"`{field.name}`" not in guide} == set()


def examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (TOP / "docs/plans.md").read_text(), re.S)


@pytest.mark.parametrize("text", [text for text in examples() if text.startswith(("name:", "projects:"))])
def test_the_plans_in_the_guide_are_good(text: str) -> None:
    from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.door import read_plan

    problems = Problems()
    read_plan(yaml.safe_load(text), problems)
    assert problems.lines == []


def test_the_guide_to_the_command_line_names_every_option() -> None:
    guide = (TOP / "docs/cli.md").read_text()
    group = typer.main.get_command(app)
    missing = set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"rackstead {name}" in guide or f"{name}|" in guide or f"|{name}" in guide
        for parameter in command.params:
            if parameter.name not in COMMON and parameter.param_type_name == "option":
                missing |= {f"{name} {text}" for text in parameter.opts if text.startswith("--") and text not in guide}
    assert missing - {f"{name} --help" for name in group.commands} == set()  # type: ignore[attr-defined]


GUIDES = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md"))]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(guide: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", guide.read_text())
    local = [link.split("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    assert [link for link in local if not (guide.parent / link).exists()] == []
