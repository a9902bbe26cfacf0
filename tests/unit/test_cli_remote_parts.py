# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the way through a server that need none: settings, documents, streams, and how far a job is."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from rich.console import Console

from rackstead import cli_system, view
from rackstead.blocks import Block, spread
from rackstead.jobs import documents
from rackstead.progress import STILL, Tally, step_of_text
from rackstead.remote import config
from rackstead.remote.client import _lines, _parsed
from rackstead.remote.documents import read
from rackstead.run import Request, is_folder, place_of, read_documents, write_variables

OPTIONS: dict[str, dict[str, Any]] = {"plan_src": {"type": "path"}, "settings": {"type": "dict"}}


# -- settings ---------------------------------------------------------------------------------------
@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in (config.URL, config.TOKEN, config.TOKEN_FILE, config.CA):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return monkeypatch


def test_without_a_setting_there_is_no_server(nothing: pytest.MonkeyPatch) -> None:
    assert config.choose() is None
    nothing.setenv(config.URL, "http://localhost:1")
    assert config.choose(local=True) is None


def test_an_option_comes_before_the_environment_and_that_before_what_is_kept(
    nothing: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config.keep(config.Choice("https://kept", "kept"))
    assert config.choose() == config.Choice("https://kept", "kept")
    nothing.setenv(config.URL, "https://set/")
    with pytest.raises(InvalidInput, match="no token is kept for https://set/"):
        config.choose()
    (tmp_path / "token").write_text("from-file\n")
    nothing.setenv(config.TOKEN_FILE, str(tmp_path / "token"))
    assert config.choose() == config.Choice("https://set", "from-file")
    nothing.setenv(config.TOKEN, "from-environment")
    assert config.choose("https://option") == config.Choice("https://option", "from-environment")
    nothing.delenv(config.TOKEN)
    nothing.delenv(config.TOKEN_FILE)
    assert config.choose("https://kept/") == config.Choice("https://kept", "kept")


def test_what_is_kept_is_for_nobody_else(nothing: pytest.MonkeyPatch) -> None:
    path = config.keep(config.Choice("https://kept", "kept"))
    assert path.stat().st_mode & 0o777 == 0o600 and [one.name for one in path.parent.iterdir()] == [path.name]
    path.chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        config.choose()
    path.chmod(0o600)
    path.write_text("{")
    with pytest.raises(InvalidInput, match="login writes it anew"):
        config.choose()
    assert config.forget() is True and config.forget() is False


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://x", "http://example.com", "https://u:p@x", "https://x:port", "https://x?y"]
)
def test_a_token_goes_to_no_such_url(url: str) -> None:
    with pytest.raises(InvalidInput, match="--server"):
        config.checked(url, "token", "")
    for good in ("http://localhost:1", "http://127.0.0.1", "http://[::1]:1", "https://example.com/below"):
        assert config.checked(good, "token", "").url == good


# -- documents --------------------------------------------------------------------------------------
def test_a_document_is_a_mapping_where_a_path_may_stand() -> None:
    given = {"plan_src": {"name": "x"}, "settings": {"a": 1}, "other": {}}
    assert documents.documents(OPTIONS, given) == {"plan_src": {"name": "x"}}
    shown = documents.shown(OPTIONS, given)
    assert shown["plan_src"] == f"document, SHA-256 {documents.digest({'name': 'x'})}" and shown["settings"] == {"a": 1}


@pytest.mark.parametrize("files", ["x", {"../x": {}}, {"a/b": {}}, {".": {}}, {"a": "text"}, {"": {}}])
def test_a_folder_of_documents_leads_nowhere_else(files: Any) -> None:
    [line] = documents.faults(OPTIONS, {"plan_src": {"_files": files}})
    assert line.startswith("plan_src: ") and documents.faults(OPTIONS, {"plan_src": {"_files": {"a.b": {}}}}) == []


def test_a_run_finds_documents_as_files_and_their_text_is_literal(tmp_path: Path) -> None:
    plan, folder = {"name": "{{ x }}", "é": "\U0001f600"}, {"_files": {"one": {"a": 1}}}
    request = Request("apply", documents={"plan_src": plan, "destroy_saved": folder})
    write_variables(tmp_path, request)
    place = place_of(tmp_path, "plan_src")
    assert '!unsafe "{{ x }}"' in place.read_text() and place.stat().st_mode & 0o777 == 0o600
    paths = yaml.safe_load((tmp_path / "env/extravars").read_text())
    assert paths == {"plan_src": str(place), "destroy_saved": str(place_of(tmp_path, "destroy_saved"))}
    found = read_documents(tmp_path, request)
    assert found == {"plan_src": None, "destroy_saved": folder} and is_folder(found["destroy_saved"])
    place.write_text(json.dumps({"new": True}))
    assert read_documents(tmp_path, request)["plan_src"] == {"new": True}


def test_a_file_that_is_no_plan_is_a_document_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("text: '{{ 1 + 1 }}'\n")
    assert read(path, "settings") == {"text": "{{ 1 + 1 }}"}
    for text in ("- a\n", "a: [", "day: 2030-01-31\n"):
        path.write_text(text)
        with pytest.raises(InvalidInput, match="settings: "):
            read(path, "settings")


def test_a_plan_is_filled_in_and_named(tmp_path: Path) -> None:
    path, more = tmp_path / "web.yml", tmp_path / "more.yml"
    path.write_text("description: '{{ a }}{{ b }}'\nliteral: !unsafe '{{ c }}'\ncount: '{{ n }}'\n")
    more.write_text("b: 2\nn: 3\n")
    found = read(path, "plan_src", {"a": "{{ 'o' ~ 'ne' }}"}, (more,))
    assert (found["name"], found["description"], found["literal"]) == ("web", "one2", "{{ c }}")
    assert str(found["count"]) == "3"


# -- streams and answers ----------------------------------------------------------------------------
def test_events_are_read_out_of_a_stream() -> None:
    text = (
        b'retry: 1000\n\nid: 1\ndata: {"a": 1}\n\n:\n\nid: 2\ndata: {"a": 2}\n\nevent: end\ndata: {}\n\nid: 3\ndata: {'
    )
    assert list(_parsed(iter(text.split(b"\n")))) == [(1, "", {"a": 1}), (2, "", {"a": 2}), (0, "end", {})]


def test_each_fault_is_a_line_with_its_field() -> None:
    problem = {
        "detail": "wat: not a variable; did you mean \"what\"?; argument 'n' is of type str",
        "errors": [
            {"pointer": "/variables/wat", "detail": 'not a variable; did you mean "what"?'},
            {"pointer": "/variables/n", "detail": "argument 'n' is of type str"},
        ],
    }
    lines = ['wat: not a variable; did you mean "what"?', "argument 'n' is of type str"]
    assert _lines(problem, problem["detail"]) == lines and _lines({}, "detail") == ["detail"]


# -- how far a job is -------------------------------------------------------------------------------
def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": data}


def test_tasks_are_counted_against_the_last_run() -> None:
    tally = Tally(3, {"a": 3, "b": 1})
    assert (tally.done, tally.total, tally.several) == (0, 3, False)
    for one in (
        event("playbook_on_task_start", task="One"),
        event("runner_on_ok", host="a"),
        event("runner_on_failed", host="b"),
        event("runner_on_failed", host="a", ignore_errors=True),
        event("playbook_on_handler_task_start", task="Two"),
    ):
        tally.take(one)
    assert (tally.done, tally.total, tally.task, tally.several) == (1, 3, "Two", True)
    assert (tally.hosts, tally.failed) == ({"a": 2, "b": 1}, {"b": 1})
    assert (tally.total_of("a"), tally.total_of("b"), tally.total_of("new")) == (3, 1, 3)
    tally.take(event("playbook_on_stats"))
    assert tally.done == 2
    tally.take(event("job_started"))
    assert (tally.done, tally.hosts, tally.failed) == (0, {}, {})


def test_nobody_says_how_many_there_are_before_the_first_run() -> None:
    tally = Tally()
    tally.take(event("playbook_on_task_start", task="One"))
    assert tally.total == 0 and tally.total_of("a") == 1


def test_a_bar_for_each_host_who_is_behind_comes_first() -> None:
    tally = Tally(4, hosts={"quick": 4, "slow": 1, "broken": 2}, failed={"broken": 1})
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(*view.host_lines(tally), sep="\n")
    lines = [line.split() for line in captured.get().splitlines()]
    assert [line[0] for line in lines] == ["slow", "broken", "quick"]
    assert lines[0][-1] == "1/4" and lines[1][-3:] == ["2/4", "1", "failed"]


def test_steps_are_read_out_of_what_ansible_prints() -> None:
    step = step_of_text("[2/3] instance web: created, started (1.8 s)\n", 1)
    assert step and (step.resource, step.detail, step.done, step.total, step.final) == (
        "instance web",
        "created, started (1.8 s)",
        2,
        3,
        True,
    )
    still = step_of_text("[2/3] instance db: waiting for ipv4 (10 s)", 2)
    assert still and still.phase == STILL
    assert step_of_text("ok: [localhost]", 0) is None and step_of_text("[WARNING]: x", 0) is None


# -- blocks -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Pair(Block):
    one: Annotated[str, typer.Option("--one")] = "1"
    two: Annotated[int, typer.Option("--two")] = 2


def test_a_block_stands_for_its_options() -> None:
    def work(name: str, pair: Pair, told: str, last: bool = False) -> int:
        assert (name, told, last) == ("x", "told", True)
        return pair.two + len(pair.one)

    made = spread(work, hidden=("told",))
    assert list(inspect.signature(made).parameters) == ["name", "one", "two", "last"]
    assert made(name="x", one="111", two=5, last=True, told="told") == 8


def test_an_address_that_the_inventory_marks_as_no_template_is_sent_as_it_is(tmp_path: Path) -> None:
    """As ``ansible-inventory`` prints what an inventory plugin or a file gives with ``!unsafe``."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {a: {ansible_host: !unsafe 192.0.2.7, ansible_user: root}, b: {}}}\n")
    found = [(one.name, one.address, one.user) for one in cli_system.listed(inventory, None)]
    assert found == [("a", "192.0.2.7", "root"), ("b", "b", "")]
