# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's own reading of its arguments, before anything is run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer

from rackstead import cli
from rackstead.options import COMMON, extra_variables, job_of
from rackstead.run import Request, options_of


def test_variables_come_as_pairs_as_json_and_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vars.yml").write_text("a: 1\n")
    variables, files = extra_variables(["a=b=c", '{"list": [1, 2]}', "@vars.yml"])
    assert variables == {"a": "b=c", "list": [1, 2]}
    assert files == (tmp_path / "vars.yml",)


@pytest.mark.parametrize("text", ["novalue", "1a=b", "=b", "{not json", "@missing.yml", "[1]"])
def test_variables_that_cannot_be_understood_are_named(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        extra_variables([text])


def test_no_variable_reaches_the_command_line_of_ansible(tmp_path: Path) -> None:
    request = Request(
        "apply", {"token": "hunter2hunter2"}, variable_files=(tmp_path / "a b.yml",), check=True, diff=True, verbosity=2
    )
    assert options_of(request) == f"--check --diff -vv -e '@{tmp_path}/a b.yml'"


@pytest.mark.parametrize(
    ("words", "names", "argv"),
    [
        (["web", cli.DIVIDER, "ls", "-l"], ["web"], ["ls", "-l"]),
        (["web", "db", cli.DIVIDER, "true"], ["web", "db"], ["true"]),
        (["web", cli.DIVIDER, "sh", "-c", "a -- b"], ["web"], ["sh", "-c", "a -- b"]),
        (["web", "journalctl -n 5"], ["web"], ["/bin/sh", "-c", "journalctl -n 5"]),
        (["web", "ls", "/tmp"], ["web"], ["/bin/sh", "-c", "ls /tmp"]),
    ],
)
def test_instances_and_command(words: list[str], names: list[str], argv: list[str]) -> None:
    assert cli.split_words(words) == (names, argv)


@pytest.mark.parametrize("words", [["web"], ["web", cli.DIVIDER], [cli.DIVIDER, "ls"]])
def test_neither_instance_nor_command_may_be_missing(words: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        cli.split_words(words)


def test_only_the_first_divider_of_exec_is_ours() -> None:
    assert cli.divided(["exec", "web", "--", "a", "--", "b"]) == ["exec", "web", "--", cli.DIVIDER, "a", "--", "b"]
    assert cli.divided(["apply", "--", "-x.yml"]) == ["apply", "--", "-x.yml"]


def test_a_plan_is_a_file_or_the_name_of_one_applied_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("")
    assert cli.plan_choice("demo") == {"plan_src": str(tmp_path / "demo")}
    assert cli.plan_choice("lab") == {"plan_name": "lab"}
    assert cli.plan_choice(None) == {}
    for missing in ("lab.yml", "plans/lab"):
        with pytest.raises(typer.BadParameter, match="does not exist"):
            cli.plan_choice(missing)


def test_a_selection_needs_an_instance_or_a_plan() -> None:
    assert cli.selection(["a*"], None) == {"instance_names": ["a*"]}
    assert cli.selection(None, "lab") == {"plan_name": "lab"}
    with pytest.raises(typer.BadParameter):
        cli.selection([], None)


@pytest.mark.parametrize(
    ("words", "plan", "names", "snapshot"),
    [
        (["web"], None, ["web"], None),
        (["web", "daily"], None, ["web"], "daily"),
        (["daily"], "lab", [], "daily"),
        (None, "lab", [], None),
    ],
)
def test_instance_and_snapshot(
    words: list[str] | None, plan: str | None, names: list[str], snapshot: str | None
) -> None:
    assert cli.instance_and_snapshot(words, plan) == (names, snapshot)


def test_lists_may_be_repeated_and_comma_separated() -> None:
    assert cli.listed(["a,b", "c*"]) == ["a", "b", "c*"] and cli.listed(None) is None


def test_connection_options_become_the_environment_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        **dict.fromkeys(COMMON),
        "local": True,
        "url": "https://h:8443",
        "client_cert": Path("c.pem"),
        "as_json": False,
        "verbose": 0,
        "own": 1,
    }
    job = job_of("status", given)
    assert given == {"own": 1}
    assert job.environment == {"RACKSTEAD_URL": "https://h:8443", "RACKSTEAD_CLIENT_CERT": f"{tmp_path}{os.sep}c.pem"}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["apply"], "PLAN"),
        (["aply"], "aply"),
        (["apply", "nowhere.yml"], 'file "nowhere.yml" does not exist'),
        (["status", "--nonsense"], "--nonsense"),
        (["apply", "nowhere.yml", "--on-change", "perhaps"], "perhaps"),
        (["destroy"], "--all"),
        (["destroy", "lab", "--all"], "--all"),
        (["destroy", "lab"], "--yes"),
        (["exec", "web"], "command"),
        (["start"], "instance"),
        (["restore", "web"], "snapshot"),
    ],
)
def test_bad_usage_is_one_red_line_and_exit_code_2(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: ") and text in err


def test_bad_usage_with_json_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["apply", "nowhere.yml", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False and document["exit_code"] == 2 and "nowhere.yml" in document["errors"][0]


@pytest.mark.parametrize("argv", [[], ["--help"], ["apply", "-h"]])
def test_help_is_well(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 0 and "Usage: rackstead" in capsys.readouterr().out


def test_version_names_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["version", "--json"])
    assert ended.value.code == 0
    assert set(json.loads(capsys.readouterr().out)["versions"]) == {
        "rackstead",
        "ansible-core",
        "ansible-runner",
        "python",
    }
