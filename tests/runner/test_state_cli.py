# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``state`` and ``audit``, run as a user runs them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead.cli import run_command

SECRET = "correct-horse-battery-staple-7731"


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


class Commands:
    """Runs a command in this process: starting Python again for each is the slowest part."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Ended:
        code = run_command(list(words))
        told = self._capture.readouterr()
        return Ended(code, told.out, told.err)


@pytest.fixture
def rackstead(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RACKSTEAD_STATE", f"file:{tmp_path}/state")
    for name in ("RACKSTEAD_STATE_KEY", "RACKSTEAD_STATE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Commands(capfd)


def test_records_from_put_to_delete(rackstead: Commands) -> None:
    assert rackstead("state", "put", "host", "web", '{"ip": "10.0.0.1", "n": 3}', "--expect", "0").code == 0
    assert rackstead("state", "put", "host", "db", '{"ip": "10.0.0.2"}').code == 0
    assert json.loads(rackstead("state", "get", "host", "web").out) == {"ip": "10.0.0.1", "n": 3}
    listed = rackstead("state", "list", "host", "--where", "n=3", "--json").document
    assert [one["key"] for one in listed["records"]] == ["web"]
    assert rackstead("state", "kinds").out.split() == ["audit", "host", "meta"]
    moved = rackstead("state", "put", "host", "web", "{}", "--expect", "9", "--json")
    assert (moved.code, moved.document["errors"]) == (
        1,
        ["host/web: is at version 1, version 9 was expected; read it again"],
    )
    assert rackstead("state", "delete", "host", "web").code == 0
    assert rackstead("state", "get", "host", "web").code == 2
    entries = rackstead("audit", "list", "--json").document["entries"]
    assert [(one["action"], one["target"]) for one in entries] == [
        ("state delete", "host/web"),
        ("state put", "host/db"),
        ("state put", "host/web"),
    ]
    assert "the audit chain is whole: 3 entries" in rackstead("audit", "verify").out
    exported = [json.loads(line) for line in rackstead("audit", "export").out.splitlines()]
    assert [one["seq"] for one in exported] == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["state", "put", "host", "web", "{"], "JSON: not valid"),
        (["state", "put", "audit", "web", "{}"], 'kind: "audit" is the store\'s own'),
        (["state", "list", "host", "--where", "x"], '--where: "x" is not valid; allowed: FIELD=VALUE'),
        (["state", "kinds", "--state", "nix:/x"], '"nix" is no kind of store'),
        (["state", "migrate"], "--to: name the store to move to"),
        (["state", "migrate", "--abort"], "no migration is under way"),
        (["state", "rekey"], "RACKSTEAD_STATE_KEY_FILE: is not set"),
        (["state", "restore", "missing"], "cannot be read: No such file"),
    ],
)
def test_bad_input_is_named(rackstead: Commands, words: list[str], complaint: str) -> None:
    found = rackstead(*words)
    assert (found.code, found.out) == (2, "")
    assert complaint in found.err


def test_sensitive_fields_are_shown_when_asked_for(
    rackstead: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rackstead("state", "key", "new", "keys").code == 0
    monkeypatch.setenv("RACKSTEAD_STATE_KEY_FILE", str(tmp_path / "keys"))
    put = rackstead(
        "state", "put", "host", "bmc", json.dumps({"password": SECRET}), "--sensitive", "password", "--json"
    )
    assert put.code == 0
    assert SECRET not in put.out + rackstead("state", "list", "host").out + rackstead("state", "get", "host", "bmc").out
    assert json.loads(rackstead("state", "get", "host", "bmc", "--reveal").out) == {"password": SECRET}
    assert rackstead("state", "key", "new", "keys", "--json").document["keys"] == 2
    assert rackstead("state", "rekey", "--json").document["changed"] == 1
    assert rackstead("state", "rekey", "--json").document["changed"] == 0


def test_backup_restore_and_migrate(rackstead: Commands, tmp_path: Path) -> None:
    for name in "abc":
        rackstead("state", "put", "host", name, "{}")
    assert "7 records are in backup" in rackstead("state", "backup", "backup").out  # with the audit and its head
    assert rackstead("state", "restore", "backup").code == 1  # not empty
    assert rackstead("state", "restore", "backup", "--state", f"sqlite:{tmp_path}/other.db").code == 0
    found = rackstead("state", "migrate", "--to", f"sqlite:{tmp_path}/new.db", "--live", "--json").document
    assert (found["migration"]["records"], found["migration"]["audit_entries"]) == (7, 3)
    both = ["--from", f"file:{tmp_path}/state", "--to", f"sqlite:{tmp_path}/new.db"]
    assert rackstead("state", "migrate", *both, "--verify-only").code == 0
    assert rackstead("state", "put", "host", "a", '{"n": 1}').code == 0  # by the old URL
    store = open_store(f"sqlite:{tmp_path}/new.db")
    assert store.get("host", "a").body == {"n": 1}
    store.close()
    differs = rackstead("state", "migrate", *both, "--verify-only")
    assert differs.code == 1
    assert "host/a: differs" in differs.err


def test_on_a_terminal_it_asks_for_what_is_missing(tmp_path: Path, rackstead: Commands) -> None:
    rackstead("state", "put", "host", "a", "{}")
    paths = os.pathsep.join(path for path in sys.path if path)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "rackstead.cli", "state", "migrate"],
        env={**os.environ, "PYTHONPATH": paths, "TERM": "xterm", "COLUMNS": "200"},  # type: ignore[arg-type]
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 200),
    )
    child.expect(r"From \(file:")
    child.sendline("")
    child.expect("To: ")
    child.sendline(f"sqlite:{tmp_path}/new.db")
    child.expect(r"Do others write meanwhile\? \[y/N\] ")
    child.sendline("y")
    child.expect(r"each\s+verified")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
