# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sensitive fields: sealed at rest, bound to their place, and rotated without a pause."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.state import seal
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import Keys, Unsealable, new_key, read_file

SECRET = "correct-horse-battery-staple-7731"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    new_key(path)
    return path


def keys_of(path: Path) -> Keys:
    return Keys(read_file(path), path)


def test_what_is_sealed_comes_back_and_shows_nothing(key_file: Path) -> None:
    keys = keys_of(key_file)
    for value in (SECRET, {"a": [1, 2.5, None, True]}, ""):
        sealed = keys.seal("user", "ada", "password", value)
        assert keys.open("user", "ada", "password", json.loads(json.dumps(sealed))) == value
        assert SECRET not in json.dumps(sealed)
    assert keys.seal("user", "ada", "p", "x") != keys.seal("user", "ada", "p", "x")


@pytest.mark.parametrize("place", [("other", "ada", "p"), ("user", "bob", "p"), ("user", "ada", "q")])
def test_a_value_opens_only_where_it_was_sealed(key_file: Path, place: tuple[str, str, str]) -> None:
    keys = keys_of(key_file)
    with pytest.raises(Unsealable, match="changed or moved"):
        keys.open(*place, keys.seal("user", "ada", "p", SECRET))


def test_a_changed_value_does_not_open(key_file: Path) -> None:
    keys = keys_of(key_file)
    sealed = keys.seal("user", "ada", "p", SECRET)
    data = bytearray(base64.b64decode(sealed["data"]))
    for at in (0, 12, len(data) - 1):
        torn = bytearray(data)
        torn[at] ^= 1
        with pytest.raises(Unsealable, match="changed or moved"):
            keys.open("user", "ada", "p", {**sealed, "data": base64.b64encode(torn).decode()})
    for broken in ({**sealed, "data": ""}, {**sealed, "data": "%"}, {"data": sealed["data"]}, None):
        with pytest.raises(Unsealable):
            keys.open("user", "ada", "p", broken)


def test_a_new_key_seals_and_the_old_one_still_opens(key_file: Path) -> None:
    running = keys_of(key_file)
    old = running.seal("user", "ada", "p", SECRET)
    first, count = new_key(key_file)
    assert count == 2
    new = running.seal("user", "ada", "p", SECRET)  # a process that was there before
    assert (new["key"], running.first) == (first, first)
    assert old["key"] != first
    assert running.open("user", "ada", "p", old) == running.open("user", "ada", "p", new) == SECRET


def test_a_missing_key_is_named(key_file: Path, tmp_path: Path) -> None:
    sealed = keys_of(key_file).seal("user", "ada", "p", SECRET)
    new_key(tmp_path / "others")
    with pytest.raises(Unsealable, match=f'user/ada.p: was sealed with key "{sealed["key"]}"'):
        keys_of(tmp_path / "others").open("user", "ada", "p", sealed)


def test_a_key_file_is_private_and_says_what_is_wrong(key_file: Path, tmp_path: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["keys"]
    key_file.chmod(0o640)
    with pytest.raises(InvalidInput, match="mode 0640"):
        read_file(key_file)
    key_file.chmod(0o600)
    key_file.write_text(f"# ours\n\n{SECRET}\n")
    with pytest.raises(InvalidInput, match="line 3 is not a key") as told:
        read_file(key_file)
    assert SECRET not in str(told.value)
    key_file.write_text("# nothing\n")
    with pytest.raises(InvalidInput, match="holds no key"):
        read_file(key_file)
    with pytest.raises(InvalidInput, match="No such file"):
        read_file(tmp_path / "missing")
    with pytest.raises(InvalidInput, match="is not there, or cannot be written"):
        new_key(tmp_path / "missing" / "keys")


def test_keys_come_from_the_environment(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seal.VARIABLE, raising=False)
    monkeypatch.delenv(seal.FILE_VARIABLE, raising=False)
    assert seal.keys_from_environment() is None
    monkeypatch.setenv(seal.FILE_VARIABLE, str(key_file))
    by_file = seal.keys_from_environment()
    assert by_file
    with monkeypatch.context() as both:
        both.setenv(seal.VARIABLE, "x")
        with pytest.raises(InvalidInput, match="set one of them"):
            seal.keys_from_environment()
    monkeypatch.delenv(seal.FILE_VARIABLE)
    monkeypatch.setenv(seal.VARIABLE, key_file.read_text())
    by_value = seal.keys_from_environment()
    assert by_value
    assert by_value.open("a", "b", "c", by_file.seal("a", "b", "c", SECRET)) == SECRET


def test_rekey_seals_everything_under_the_first_key(key_file: Path, tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'store'}"
    keys = keys_of(key_file)
    store = open_store(url, keys=keys)
    for number in range(seal.BATCH + 5):
        store.put("user", f"u{number:03d}", {"password": SECRET, "n": number}, sensitive=["password"])
    store.put("note", "plain", {"text": "open"})
    before = store.list("user", Query(limit=1000))
    first, _count = new_key(key_file)
    assert seal.rekey(store.backend, keys) == (seal.BATCH + 5, seal.BATCH + 5)
    assert seal.rekey(store.backend, keys) == (0, seal.BATCH + 5)
    key_file.write_text(key_file.read_text().splitlines()[0])  # the old key is gone
    assert store.list("user", Query(limit=1000)) == before  # versions and times too
    assert keys.first == first
    texts = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert SECRET.encode() not in texts
    store.close()
