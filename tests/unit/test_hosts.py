# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are written in one word each, on the command line and in jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.hosts import read_hosts
from hypothesis import given
from hypothesis import strategies as st

from rackstead import cli_system
from rackstead.options import BadUsage, Job
from rackstead.remote.config import Choice
from rackstead.terminal import Terminal


@pytest.mark.parametrize(
    ("word", "name", "variables"),
    [
        ("node1", "node1", {"ansible_host": "node1"}),
        ("pi@node1.lan:2222", "node1.lan", {"ansible_host": "node1.lan", "ansible_user": "pi", "ansible_port": 2222}),
        ("a=root@192.0.2.11", "a", {"ansible_host": "192.0.2.11", "ansible_user": "root"}),
        ("a=[2001:db8::1]:22", "a", {"ansible_host": "2001:db8::1", "ansible_port": 22}),
        ("incus://web", "web", {"ansible_host": "web", "ansible_connection": "rackstead.infra.instance"}),
    ],
)
def test_a_host_in_one_word(word: str, name: str, variables: dict[str, Any]) -> None:
    [found] = read_hosts([word], "-i")
    assert found.name == name
    assert found.variables == {"ansible_connection": "ansible.builtin.ssh", **variables}
    assert read_hosts([found.word], "-i") == [found]


@pytest.mark.parametrize(
    "word",
    [
        "",
        "-oProxyCommand=id",
        "a=-x",
        "x@-y",
        "-l@node1",
        "node 1",
        "a:b",
        "a:0",
        "a:99999",
        "a\n",
        "{{ x }}",
        "ftp://a",
    ],
)
def test_what_ssh_could_take_for_an_option_is_refused(word: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_hosts(["fine", word], "-i")
    assert len(error.value.problems) == 1 and "allowed: [NAME=]" in error.value.problems[0]


@given(st.text(max_size=30))
def test_no_word_begins_like_an_option(word: str) -> None:
    try:
        [found] = read_hosts([word], "-i")
    except InvalidInput:
        return
    assert not any(str(value).startswith("-") or "{" in str(value) for value in found.variables.values())


def test_each_host_once() -> None:
    with pytest.raises(InvalidInput, match='"a" is named twice'):
        read_hosts(["a=192.0.2.1", "a=192.0.2.2"], "-i")


# -- the command line's -i --------------------------------------------------------------------------
def job(choice: Choice | None = None) -> Job:
    return Job("check_prerequisites", Terminal(as_json=True), choice=choice)


def server() -> Choice:
    return Choice("https://rackstead.example", "token")


def test_hosts_and_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli_system.where(job(), "node1.example.com,pi@b", None, True).variables == {
        "system_become": True,
        "system_hosts": ["node1.example.com", "pi@b"],
    }
    (tmp_path / "hosts").write_text("[nodes]\na\nb\n")
    found = cli_system.where(job(), "hosts", "a", False)
    assert found.inventory == str(tmp_path / "hosts") and found.variables["rackstead_host"] == "a"
    assert cli_system.where(job(), None, None, False).variables == {"system_become": None}
    for given_, limit, words in (
        ("hosts.ini", None, "does not exist"),
        ("./hosts2", None, "does not exist"),
        ("a,b", "a", "--limit"),
        (None, "a", "--limit"),
    ):
        with pytest.raises(BadUsage, match=words):
            cli_system.where(job(), given_, limit, False)


def test_a_server_is_told_hosts_and_never_secrets(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="name the hosts that the server"):
        cli_system.where(job(server()), None, None, False)
    path = tmp_path / "hosts.yml"
    hosts = {
        "a": {"ansible_host": "192.0.2.1", "ansible_user": "pi", "rack": "r1"},
        "b": {"ansible_port": 2222},
        "c": {"ansible_connection": "rackstead.infra.instance"},
    }
    path.write_text(json.dumps({"all": {"children": {"nodes": {"hosts": hosts}}}}))
    found = cli_system.where(job(server()), str(path), None, False)
    assert found.variables["system_hosts"] == ["a=pi@192.0.2.1", "b:2222", "incus://c"]
    assert found.inventory == ""
    assert cli_system.where(job(server()), str(path), "b", False).variables["system_hosts"] == ["b:2222"]

    hosts["a"]["ansible_password"] = "tr0ub4dor"
    hosts["b"]["ansible_connection"] = "local"
    path.write_text(json.dumps({"all": {"hosts": hosts}}))
    with pytest.raises(InvalidInput) as error:
        cli_system.where(job(server()), str(path), None, False)
    assert [line.split(": ", 2)[2].split(" ")[0] for line in error.value.problems] == ["a:", "b:"]
    assert "tr0ub4dor" not in str(error.value)
    path.write_text("[nodes]\n")
    with pytest.raises(InvalidInput, match="names no host"):
        cli_system.where(job(server()), str(path), None, False)
