# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules state_record and state_record_info, through ansible-playbook."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from testbed.ansible import Modules, Playbooks

WORD = "Tr0ub4dor"
HIDDEN = "********"
Task = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def modules() -> Iterator[Modules]:
    started = Modules({})
    yield started
    started.close()


@pytest.fixture(params=["file:{}/state", "sqlite:{}/state/state.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


@pytest.fixture
def record(modules: Modules, url: str) -> Task:
    """``record(key, ...)`` runs state_record on the store."""
    return lambda key, check=False, diff=False, **args: modules(
        "state_record", {"url": url, "kind": "host", "key": key, **args}, check=check, diff=diff
    )


@pytest.fixture
def look(modules: Modules, url: str) -> Callable[..., list[dict[str, Any]]]:
    """The records that state_record_info finds in the store."""
    return lambda **args: modules("state_record_info", {"url": url, "kind": "host", **args})["records"]


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "keys"
    file.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    file.chmod(0o600)
    return str(file)


def test_a_record_from_a_playbook(tmp_path: Path, key_file: str) -> None:
    """The whole life of a record, with the options of the store said once."""
    url = f"file:{tmp_path}/state"
    defaults = {"group/rackstead.infra.state": {"url": url, "key_file": key_file}}
    ours = {"kind": "host", "key": "a"}
    tasks = [
        {"name": "make", "rackstead.infra.state_record": {**ours, "body": {"n": 1}, "sensitive": {"word": WORD}}},
        {"name": "again", "rackstead.infra.state_record": {**ours, "body": {"n": 1}, "sensitive": {"word": WORD}}},
        {"name": "look", "rackstead.infra.state_record_info": ours, "register": "found"},
        {
            "name": "change",
            "rackstead.infra.state_record": {
                **ours,
                "expect": "{{ found.records[0].version }}",
                "body": {"n": "{{ found.records[0].body.n + 1 }}"},
                "sensitive": {"word": WORD},
            },
        },
        {"name": "stale", "rackstead.infra.state_record": {**ours, "expect": 1, "body": {}}, "ignore_errors": True},
        {"name": "forget", "rackstead.infra.state_record": {**ours, "state": "absent"}},
        {"name": "gone", "rackstead.infra.state_record_info": ours},
    ]
    plays = Playbooks(tmp_path / "plays", {})
    ran = plays(tasks, play={"module_defaults": defaults}, diff=True, arguments=["-vvv"]).ok()
    assert [ran.of(name).changed for name in ("make", "again", "change", "forget")] == [True, False, True, True]
    found = ran.of("look")["records"][0]
    assert (found["version"], found["body"], found["sensitive"]) == (1, {"n": 1, "word": HIDDEN}, ["word"])
    assert ran.of("change")["record"]["version"] == 2
    assert "-n: 1\n+n: 2" in ran.stdout
    assert "host/a: is at version 2, version 1 was expected" in ran.of("stale").msg
    assert ran.of("stale")["failure"]["code"] == "VersionMoved"
    assert ran.of("gone")["records"] == []
    assert WORD not in ran.stdout + ran.stderr


def test_check_mode_tells_and_makes_nothing(record: Task, tmp_path: Path, url: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    told = record("a", check=True, diff=True, body={"n": 1})
    assert told["changed"] and told["record"]["version"] == 1
    assert (told["diff"]["before"], told["diff"]["after"]) == ("", "n: 1\n")
    assert sorted(tmp_path.rglob("*")) == before
    assert record("a", body={"n": 1})["record"]["version"] == 1
    assert record("a", check=True, body={"n": 2})["record"]["version"] == 2
    assert "is at version 1" in record("a", check=True, body={}, expect=0)["msg"]
    assert record("a", check=True, state="absent")["changed"]
    assert "is not valid" in record("", check=True, body={})["msg"]
    store = open_store(url)
    assert store.get("host", "a").body == {"n": 1}
    store.close()


def test_expected_versions(record: Task) -> None:
    assert record("a", body={"n": 1}, expect=0)["changed"]
    assert not record("a", body={"n": 1}, expect=1)["changed"]
    assert record("a", body={"n": 1}, expect=0)["failed"]
    assert record("a", state="absent", expect=2)["failed"]
    assert record("a", state="absent", expect=1)["record"] is None
    assert not record("a", state="absent")["changed"]


def test_types_stay(record: Task, look: Callable[..., list[dict[str, Any]]]) -> None:
    body = {"whole": 1, "real": 1.5, "flag": True, "none": None, "list": [1, {"a": "ä"}]}
    record("a", body=body)
    assert look()[0]["body"] == body


def test_lists(record: Task, look: Callable[..., list[dict[str, Any]]]) -> None:
    for number, key in enumerate(["a1", "a2", "a3", "b1"]):
        record(key, body={"state": ("up", "down")[number % 2], "n": number})

    def keys(**args: Any) -> list[str]:
        return [found["key"] for found in look(**args)]

    assert keys() == ["a1", "a2", "a3", "b1"]
    assert keys(where={"state": "up"}) == ["a1", "a3"]
    assert keys(where={"state": ["up", "down"], "n": 1}) == ["a2"]
    assert keys(prefix="a", descending=True, limit=2) == ["a3", "a2"]
    assert keys(prefix="a", descending=True, limit=2, after="a2") == ["a1"]


def test_secrets_are_sealed_and_hidden(
    record: Task, look: Callable[..., list[dict[str, Any]]], key_file: str, tmp_path: Path
) -> None:
    assert "RACKSTEAD_STATE_KEY_FILE" in record("a", sensitive={"word": WORD})["msg"]
    first = record("a", diff=True, body={"n": 1}, sensitive={"word": WORD}, key_file=key_file)
    assert first["record"]["body"] == {"n": 1, "word": HIDDEN}
    second = record("a", diff=True, body={"n": 1}, sensitive={"word": WORD[::-1]}, key_file=key_file)
    assert second["changed"] and "a value that is not shown here changes" in second["diff"]["after"]
    for result in (first, second):
        assert WORD not in str(result) and WORD[::-1] not in str(result)
    assert all(WORD[::-1].encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert look(key="a")[0]["body"] == {"n": 1, "word": HIDDEN}
    assert look(key="a", reveal=True, key_file=key_file)[0]["body"] == {"n": 1, "word": WORD[::-1]}
    assert record("a", state="absent")["changed"]


def test_a_password_in_the_url_is_refused(modules: Modules) -> None:
    found = modules("state_record_info", {"url": f"postgresql://me:{WORD}@h/d", "kind": "host"})
    assert "option password" in found["msg"] and WORD not in found["msg"]
