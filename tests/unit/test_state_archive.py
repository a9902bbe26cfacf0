# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup and restore: the same records come back, and a damaged file changes nothing."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    InvalidInput,
    OperationFailed,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state import archive, fill
from ansible_collections.rackstead.infra.plugins.module_utils.state.backend import Backend
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Row
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_backend, open_store

Rows = list[tuple[str, str, Row]]


def silent(stage: str, done: int, total: int) -> None:
    """Nobody looks."""


def rows_of(url: str) -> Rows:
    backend = open_backend(url)
    try:
        return backend.run(lambda tx: list(fill.everything(tx)), write=False)
    finally:
        backend.close()


def filled(url: str, count: int) -> Rows:
    store = open_store(url)
    store.change(
        lambda c: [c.put("box", f"b{n:04d}", {"n": n, "name": "ä\n☃", "deep": {"a": [1.5]}}) for n in range(count)]
    )
    store.put("box", "b0001", {"n": -1})
    store.delete("box", "b0002")
    store.lease("one", "me", 60)
    store.append_audit("me", "put", "box/b0001")
    store.close()
    return rows_of(url)


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'source'}"


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'target'}"


@pytest.fixture
def saved(tmp_path: Path, source: str) -> Path:
    filled(source, 20)
    path = tmp_path / "backup.jsonl"
    archive.backup(open_store(source).backend, path, silent)
    return path


def test_everything_comes_back(tmp_path: Path, source: str, target: str) -> None:
    before = filled(source, fill.BATCH * 2 + 7)
    path = tmp_path / "backup.jsonl"
    made = archive.backup(open_store(source).backend, path, silent)
    assert archive.restore(open_backend(target), path, silent) == made
    assert rows_of(target) == before
    assert made.records == len(before)
    assert path.stat().st_mode & 0o777 == 0o600
    store = open_store(target)
    assert store.verify_audit().ok
    assert store.put("box", "b0002", {}).version > 1  # versions of deleted records are remembered


def test_a_store_that_is_not_empty_is_left_alone(saved: Path, source: str, target: str) -> None:
    open_store(target).put("other", "x", {"a": 1})
    before = rows_of(target)
    with pytest.raises(Conflict, match="is not empty"):
        archive.restore(open_backend(target), saved, silent)
    assert rows_of(target) == before
    archive.restore(open_backend(target), saved, silent, replace=True)
    assert rows_of(target) == rows_of(source)
    open_store(target).put("other", "x", {"a": 1})  # it is open to everybody


def test_any_damage_is_found_before_anything_is_changed(saved: Path, target: str) -> None:
    open_store(target).put("other", "x", {"a": 1})
    before = rows_of(target)
    good = saved.read_bytes()
    lines = good.splitlines(keepends=True)
    chance = random.Random(3)
    broken = [
        good[:-1][: chance.randrange(len(good) - 1)],  # cut off
        b"".join(lines[:4] + lines[5:]),  # a record is missing
        b"".join([*lines[:4], lines[5], lines[4], *lines[6:]]),  # two are swapped
        good + lines[3],  # something follows
        b"".join(lines[:-1]),  # the end is missing
        b"",
        b"[]\n",
    ]
    for at in chance.sample(range(len(good) - 1), 40):
        broken.append(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    for data in broken:
        saved.write_bytes(data)
        with pytest.raises(OperationFailed, match="damaged"):
            archive.restore(open_backend(target), saved, silent, replace=True)
    assert rows_of(target) == before
    with pytest.raises(InvalidInput, match="No such file"):
        archive.restore(open_backend(target), saved.with_name("missing"), silent)


class Killed(BaseException):
    pass


def dies_after(batches: int) -> archive.Tell:
    left = iter(range(batches))

    def tell(stage: str, done: int, total: int) -> None:
        if next(left, None) is None:
            raise Killed

    return tell


def test_a_killed_restore_is_gone_on_with(
    saved: Path, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "BATCH", 4)
    backend = open_backend(target)
    with pytest.raises(Killed):
        archive.restore(backend, saved, dies_after(2), replace=True)
    half = rows_of(target)
    assert 0 < len(half) < len(rows_of(source))
    with pytest.raises(Conflict, match=r"being filled from the backup backup.jsonl; run `rackstead state restore`"):
        open_store(target).find("box", "b0000")
    seen: list[int] = []
    archive.restore(backend, saved, lambda stage, done, total: seen.append(done))
    assert seen[0] > 8  # not from the start
    assert rows_of(target) == rows_of(source)


def test_a_failed_backup_leaves_the_one_before(saved: Path, source: str) -> None:
    before = saved.read_bytes()
    with pytest.raises(Killed):
        archive.backup(open_store(source).backend, saved, dies_after(3))
    assert saved.read_bytes() == before
    assert sorted(os.listdir(saved.parent)) == ["backup.jsonl", "source"]


def test_a_backup_is_one_moment(tmp_path: Path, source: str, target: str) -> None:
    """What is read twice, because the first time met a conflict, is in the file once."""
    before = filled(source, 3)

    class Twice:
        def __init__(self, backend: Backend) -> None:
            self.run_once, self.close = backend.run, backend.close

        def run(self, work, *, write):  # type: ignore[no-untyped-def]
            self.run_once(work, write=write)
            return self.run_once(work, write=write)

    path = tmp_path / "backup.jsonl"
    assert archive.backup(Twice(open_backend(source)), path, silent) == archive.check(path)
    archive.restore(open_backend(target), path, silent)
    assert rows_of(target) == before
