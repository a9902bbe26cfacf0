# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store in files: what is on the disk, and what a kill leaves."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    DeadlineExceeded,
    InvalidInput,
    OperationFailed,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state import filestore
from ansible_collections.rackstead.infra.plugins.module_utils.state.filestore import name_of
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import AuditReport
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import default_url, open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(f"file:{root}")


def change_much(change: Change) -> None:
    change.put("job", "a", {"n": 2})
    change.delete("job", "b")
    change.put("new", "c", {})
    change.append_audit("me", "change", "much")


def in_child(work: Callable[[], object], stop_before: int) -> bool:
    """Run ``work`` in a child that dies before its nth step on the disk; whether it came to its end."""
    child = os.fork()
    if not child:
        steps = 0

        def counted(name: str, owner: Any) -> None:
            real = getattr(owner, name)

            def step(*args: Any, **kwargs: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps == stop_before:
                    os._exit(9)
                return real(*args, **kwargs)

            setattr(owner, name, step)

        for name, owner in (("fsync", os), ("rename", Path), ("unlink", Path), ("mkdir", Path)):
            counted(name, owner)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def content(store: Store) -> tuple[dict[str, int], int]:
    records = [record for kind in ("job", "new") for record in store.list(kind)]
    assert store.verify_audit() == AuditReport(len(store.audit()), ok=True)
    return {record.key: record.version for record in records}, len(store.audit())


def test_a_kill_at_any_step_leaves_all_or_nothing(tmp_path: Path) -> None:
    """Also if the one who finishes the work is killed at any step."""
    seen, number, ended = [], 0, False
    while not ended:
        number += 1
        root = tmp_path / str(number)
        store = open_store(f"file:{root}")
        store.put("job", "a", {"n": 1})
        store.put("job", "b", {"n": 1})
        ended = in_child(lambda store=store: store.change(change_much), number)
        again = -(number % 2)
        while not in_child(lambda store=store: store.put("other", "x", {}), (again := again + 2)):
            assert content(store) in (({"a": 1, "b": 1}, 0), ({"a": 2, "c": 1}, 1))
        seen.append(content(store))
        assert set(os.listdir(root / ".tmp")) == set() and not (root / ".journal").exists()
    before = seen.index(({"a": 2, "c": 1}, 1))
    assert 0 < before < len(seen) - 1  # killed on both sides of the moment that counts
    assert all(found == ({"a": 1, "b": 1}, 0) for found in seen[:before])
    assert all(found == ({"a": 2, "c": 1}, 1) for found in seen[before:])


def test_only_the_owner_can_read(store: Store, root: Path) -> None:
    store.change(change_much)
    for path in [root, *root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_reading_makes_nothing(store: Store, root: Path) -> None:
    assert store.list("job") == [] == store.kinds()
    assert not root.exists()


@pytest.mark.parametrize(
    "text", ["", '{"kind": "job"', "[]", '{"kind": "job", "key": "a", "version": "1", "time": 1, "body": {}}', "\xff"]
)
def test_a_damaged_document_is_named(store: Store, root: Path, text: str) -> None:
    store.put("job", "a", {"n": 1})
    store.put("job", "b", {"n": 1})
    (root / "job/a.json").write_bytes(text.encode("latin-1"))
    for work in (lambda: store.get("job", "a"), lambda: store.list("job"), lambda: store.put("job", "a", {})):
        with pytest.raises(OperationFailed, match=r"job/a\.json: the file is damaged"):
            work()
    assert store.get("job", "b").body == {"n": 1}


def test_a_document_in_the_place_of_another_is_named(store: Store, root: Path) -> None:
    store.put("job", "a", {})
    (root / "job/a.json").rename(root / "job/b.json")
    with pytest.raises(OperationFailed, match="it is of job/a"):
        store.get("job", "b")
    (root / "job/b.json").rename(root / "job/%41.json")
    with pytest.raises(OperationFailed, match="its name is not that of a record"):
        store.list("job")


@pytest.mark.parametrize("text", ["{", "{}", '{"sha256": "0", "steps": "[]"}'])
def test_a_damaged_journal_is_named(store: Store, root: Path, text: str) -> None:
    store.put("job", "a", {})
    (root / ".journal").write_text(text)
    with pytest.raises(OperationFailed, match=r"\.journal: the file is damaged"):
        store.get("job", "a")


def test_names_of_files_are_short_and_distinct() -> None:
    keys = ["a", "A", "..", "a/b", "a%2Fb", "~", "%7E", "ä" * 200, "ä" * 199, "\U0001f600" * 200]
    names = [name_of(key) for key in keys]
    assert len(set(names)) == len(keys)
    assert max(map(len, names)) <= 255 and not any("/" in name for name in names)


def test_who_waits_for_the_lock_gives_up(store: Store, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("job", "a", {})
    monkeypatch.setattr(filestore, "LOCK_SECONDS", 0.05)
    with (root / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DeadlineExceeded, match=f"the lock of file:{root}"):
            store.get("job", "a")
    assert store.get("job", "a").version == 1


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationFailed, match=f"file:{tmp_path}/file/state: "):
        open_store(f"file:{tmp_path}/file/state").put("job", "a", {})


# -- URLs -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", ["file:{}", "file://{}"])
def test_a_path_in_a_url(root: Path, url: str) -> None:
    open_store(url.format(root)).put("job", "a", {})
    assert (root / "job/a.json").exists()


@pytest.mark.parametrize(
    "url", ["", "/var/lib", "mysql://me:hunter2@host/db", "file:", "file://host/path", "postgresql://me:hunter2@h:x/db"]
)
def test_a_bad_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^state store: .*; allowed: ") as raised:
        open_store(url)
    assert "hunter2" not in str(raised.value)


def test_the_default_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RACKSTEAD_STATE", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert default_url() == "file:/var/lib/rackstead/state"
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert default_url() == "file:~/.local/state/rackstead/state"
    monkeypatch.setenv("RACKSTEAD_STATE", "sqlite:/x/y.db")
    assert default_url() == "sqlite:/x/y.db"
