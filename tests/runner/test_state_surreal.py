# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is SurrealDB's own, beyond the conformance suite: one owner, kills of it, signing in, lost connections."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Denied,
    InvalidInput,
    Unreachable,
    Unsupported,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Held
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from tests.runner.test_state_migration import WRITER, Process
from tests.standins import surreal_ws


def test_a_second_process_is_refused_with_the_owners_number(tmp_path: Path) -> None:
    url = f"surrealkv:{tmp_path}/kv"
    owner = Process(WRITER, url, "w")
    try:
        assert owner.hear(4)
        with pytest.raises(Held, match=f"process {owner.process.pid} has it open, and surrealkv: serves one process"):
            open_store(url).get("box", "w-00")
    finally:
        owner.kill()
    assert open_store(url).get("box", "w-00").version == 1


def test_a_killed_owner_loses_nothing_acknowledged(tmp_path: Path) -> None:
    url = f"surrealkv:{tmp_path}/kv"
    told: dict[str, int] = {}
    for number in range(4):
        owner = Process(WRITER, url, f"w{number}")
        assert owner.hear(15 + 10 * number)
        owner.kill()
        told |= {words[1]: int(words[2]) for words in owner.lines if words[0] == "ok" and len(words) == 4}
        store = open_store(url)
        found = {record.key: record.body["n"] for record in store.list("box", Query(limit=1000))}
        assert found.keys() >= told.keys()
        assert all(found[key] in (n, n + 40) for key, n in told.items())
        assert store.verify_audit().ok
        store.close()


def test_threads_lose_no_update(tmp_path: Path) -> None:
    stores = [open_store(f"surrealkv:{tmp_path}/kv") for _ in range(2)]
    stores[0].put("count", "one", {"n": 0})

    def count(number: int) -> None:
        store = stores[number % 2]
        for _ in range(25):
            store.change(lambda c: c.put("count", "one", {"n": c.get("count", "one").body["n"] + 1}))

    threads = [threading.Thread(target=count, args=[number]) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert stores[0].get("count", "one").body == {"n": 100}
    for store in stores:
        store.close()


def test_who_has_no_password_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with surreal_ws.running("me", "correct-horse") as peer:
        url = f"{peer.url}/db"
        with pytest.raises(Denied, match='user "me" is not let in') as refused:
            open_store(url.replace("//", "//me:wrong-horse@")).kinds()
        assert "wrong-horse" not in str(refused.value)
        store = open_store(url.replace("//", "//me:correct-horse@"))
        store.put("box", "a", {})
        store.close()
        monkeypatch.setenv("RACKSTEAD_STATE_USER", "me")
        monkeypatch.setenv("RACKSTEAD_STATE_PASSWORD", "correct-horse")
        store = open_store(url)
        assert store.get("box", "a").version == 1
        store.close()


def test_a_lost_connection_is_told_and_made_again() -> None:
    with surreal_ws.running() as peer:
        url = f"{peer.url}/db"
        store = open_store(url)
        store.put("box", "a", {})
        peer.hang_up()
        with pytest.raises(Unreachable, match="no answer"):
            store.get("box", "a")
        assert store.get("box", "a").version == 1
        store.close()
    with pytest.raises(Unreachable, match="look whether the server runs"):
        open_store(url).kinds()


@pytest.mark.parametrize("url", ["ws://", "ws://host:8000", "ws://host/ns", "wss://host/a/b/c"])
def test_a_url_names_server_namespace_and_database(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"allowed: wss?://host:port/namespace/database"):
        open_store(url)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "surrealdb", None)
    for url in (f"surrealkv:{tmp_path}/kv", "ws://host:1/a/b"):
        with pytest.raises(Unsupported, match=r"pip install 'rackstead\[surreal\]'"):
            open_store(url)
