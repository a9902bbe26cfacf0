# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved plans: applied where nothing moved, refused where something did, and free of secrets."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, Moved
from ansible_collections.rackstead.infra.plugins.module_utils.instances import savedplan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Change, Observed

from tests.unit.plan_worlds import OWNER, changes, instance, world

SECRET = "correct-horse-battery-staple"
PLAN: dict[str, Any] = {
    "instances": {"a": {"image": "tiny", "memory": "128MiB", "config": {"environment.DB_PASSWORD": SECRET}}},
    "profiles": {"web": {}},
}
THERE = instance("a", config={"user.rackstead.image": "tiny", "limits.memory": "64MiB"}, keys="config:limits.memory")


def computed(document: dict[str, Any] = PLAN, *there: Observed) -> list[Change]:
    return list(changes(document, world(*(there or (THERE,)))).values())


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = str(tmp_path / "lab.plan")
    savedplan.save(file, OWNER, "present", computed())
    return file


def moved(path: str, found: list[Change], *, owner: str = OWNER, state: str = "present") -> str:
    """Why the file is refused, without the words that are always there."""
    with pytest.raises(Moved) as refusal:
        savedplan.check(path, owner, state, found)
    text = str(refusal.value)
    assert "\n" not in text
    return text.removeprefix(f"plan_file {path} is not applied: ").removesuffix("; make it anew and look again")


def test_what_did_not_move_is_accepted(path: str) -> None:
    savedplan.check(path, OWNER, "present", computed())


def test_only_the_owner_may_read_it_and_it_holds_no_secret(path: str) -> None:
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert SECRET not in Path(path).read_text()


def test_equal_values_do_not_show_as_equal_digests(tmp_path: Path, path: str) -> None:
    """A salt keeps anybody from trying out likely values against the digests."""
    other = tmp_path / "other.plan"
    savedplan.save(str(other), OWNER, "present", computed())
    digests = [json.loads(Path(file).read_text())["resources"][1]["desired"] for file in (path, other)]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (
            replace(THERE, config={**THERE.config, "limits.memory": "96MiB"}),
            "instance a: config.limits.memory changed since on the server",
        ),
        (
            replace(THERE, config={**THERE.config, "user.new": "1"}),
            "instance a: config.user.new changed since on the server",
        ),
        (replace(THERE, status="Stopped"), "instance a: status changed since on the server"),
        (replace(THERE, profiles=("default", "x")), "instance a: profiles changed since on the server"),
        (replace(THERE, description="x"), "instance a: description changed since on the server"),
        (
            replace(THERE, devices={"eth1": {"type": "none"}}),
            "instance a: devices.eth1 changed since on the server",
        ),
    ],
)
def test_what_moved_on_the_server_is_named(path: str, there: Observed, told: str) -> None:
    assert moved(path, computed(PLAN, there)) == told


def test_what_the_daemon_changes_on_its_own_does_not_count(path: str) -> None:
    there = replace(THERE, config={**THERE.config, "volatile.last_state.power": "RUNNING"})
    savedplan.check(path, OWNER, "present", computed(PLAN, there))


def test_an_instance_that_is_gone(path: str) -> None:
    gone = list(changes(PLAN, world()).values())
    assert moved(path, gone) == (
        "instance a: config.limits.memory, config.user.rackstead.image, config.user.rackstead.keys, "
        "config.user.rackstead.plan, description, profiles, status changed since on the server"
    )


def test_a_plan_that_changed_is_named(path: str) -> None:
    document = {**PLAN, "instances": {"a": {**PLAN["instances"]["a"], "memory": "256MiB"}, "b": {"image": "tiny"}}}
    del document["profiles"]
    assert moved(path, computed(document)) == (
        "instance a: the plan itself changed since; instance b: it is not in the saved plan; "
        "profile web: it is in the saved plan only"
    )


def test_a_change_of_policy_shows_in_the_actions(tmp_path: Path) -> None:
    document = {"instances": {"a": {"image": "tiny", "config": {"security.nesting": True}}}}
    file = str(tmp_path / "x")
    savedplan.save(file, OWNER, "present", list(changes(document, world(THERE), on_change="never").values()))
    now = list(changes(document, world(THERE), on_change="restart").values())
    assert moved(file, now) == "instance a: would now be stop, update, start"


def test_another_plan_or_state(path: str) -> None:
    assert moved(path, computed(), owner="other").endswith("was made for plan lab, not other")
    assert moved(path, computed(), state="absent").endswith("was made for state present, not absent")


GOOD = {"format": 1, "plan": OWNER, "state": "present", "salt": "x", "resources": []}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a saved plan: Expecting value: line 1 column 1 (char 0)"),
        (b"instances:\n  a: {}\n", "is not a saved plan: Expecting value: line 1 column 1 (char 0)"),
        (
            b"\xff\xfe\x00",
            "is not a saved plan: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (b"[]", "is not a saved plan of format 1"),
        (b"{}", "is not a saved plan of format 1"),
        (json.dumps({**GOOD, "format": 2}).encode(), "is not a saved plan of format 1"),
        (json.dumps({**GOOD, "salt": None}).encode(), "is not a saved plan of format 1"),
        (json.dumps({**GOOD, "resources": {}}).encode(), "is not a saved plan of format 1"),
        (json.dumps({**GOOD, "resources": [1]}).encode(), "is not a saved plan of format 1"),
        (json.dumps({**GOOD, "resources": [{"resource": "x"}]}).encode(), "is not a saved plan of format 1"),
    ],
)
def test_what_is_no_saved_plan(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as refusal:
        savedplan.check(str(file), OWNER, "present", computed())
    assert refusal.value.problems == [f'plan_file: "{file}" {told}']


def test_a_file_that_is_not_there_or_cannot_be_read_or_written(tmp_path: Path) -> None:
    missing, folder = tmp_path / "none", tmp_path / "folder"
    folder.mkdir()
    for call, file, told in (
        (
            savedplan.check,
            missing,
            "cannot be read: No such file or directory; run in check mode first, which writes it",
        ),
        (savedplan.check, folder, "cannot be read: Is a directory"),
        (savedplan.save, missing / "below", "cannot be written: No such file or directory"),
        (savedplan.save, folder, "cannot be written: Is a directory"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            call(str(file), OWNER, "present", computed())
        assert refusal.value.problems == [f'plan_file: "{file}" {told}']
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_an_older_file_stays_whole_until_the_new_one_is_there(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path(path).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(savedplan.os, "fsync", full)
    with pytest.raises(InvalidInput, match="No space left on device"):
        savedplan.save(path, OWNER, "present", [])
    assert Path(path).read_bytes() == before
    assert [file.name for file in Path(path).parent.iterdir()] == [Path(path).name]
