# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of nodes and clusters, over stores of files and of SQLite, and as an inventory."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry, even
from ansible_collections.rackstead.infra.plugins.module_utils.registry.inventory import build_hosts
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store


@pytest.fixture(params=["file:{}/state", "sqlite:{}/state.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    store = open_store(url)
    yield Registry(store, "anna")
    store.close()


def test_a_node_and_a_cluster_are_found_by_name_and_id(registry: Registry) -> None:
    registry.add_cluster({"name": "lab", "variables": {"microk8s_channel": "1.32/stable"}})
    added = registry.add_node({"name": "node1", "address": "192.0.2.1", "cluster": "1"})
    assert (added["id"], added["cluster"]) == (1, "lab")
    assert registry.node("1") == registry.node("node1") == added
    assert registry.cluster("lab") == registry.cluster("1")
    assert [one.action for one in registry.store.audit()] == ["cluster.add", "node.add"]


def test_an_id_never_comes_twice(registry: Registry) -> None:
    registry.add_node({"name": "node1"})
    registry.remove_node("node1")
    assert registry.add_node({"name": "node1"})["id"] == 2


def test_all_faults_are_told_at_once_and_nothing_is_kept(registry: Registry) -> None:
    registry.add_cluster({"name": "lab"})
    registry.add_node({"name": "node1", "address": "192.0.2.1"})
    before = registry.nodes()
    with pytest.raises(InvalidInput) as caught:
        registry.add_node({"name": "node1", "address": "-oProxy", "port": 70000, "cluster": "lap", "adress": "x"})
    assert [line.partition(":")[0] for line in caught.value.problems] == [
        'unknown key "adress"; did you mean "address"?',
        "address",
        "port",
        "name",
        "cluster",
    ]
    assert 'did you mean "lab"?' in caught.value.problems[-1]
    with pytest.raises(InvalidInput, match=r'"192\.0\.2\.1" is that of node1 too'):
        registry.add_node({"name": "node2", "address": "192.0.2.1"})
    assert registry.nodes() == before


def test_secrets_are_refused(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match='unknown key "password"'):
        registry.add_node({"name": "node1", "bmc": {"address": "192.0.2.9", "password": "hunter2"}})
    with pytest.raises(InvalidInput, match="is a secret"):
        registry.add_cluster({"name": "lab", "variables": {"microk8s_password": "hunter2"}})


def test_what_is_in_use_is_not_removed(registry: Registry) -> None:
    registry.add_cluster({"name": "lab"})
    registry.add_node({"name": "node1", "cluster": "lab"})
    with pytest.raises(Conflict, match='is in the cluster "lab"'):
        registry.remove_node("node1")
    with pytest.raises(Conflict, match="still has nodes: node1"):
        registry.remove_cluster("lab")
    registry.remove_node("node1", member=True)
    registry.remove_cluster("lab")
    assert registry.nodes() == registry.clusters() == []
    registry.add_node({"name": "node10"})
    with pytest.raises(NotFound, match='did you mean "node10"'):
        registry.node("node1")


def test_writers_at_the_same_time_lose_nothing(url: str) -> None:
    def add(first: int) -> None:
        store = open_store(url)
        for number in range(first, first + 4):
            Registry(store).add_node({"name": f"node{number}"})
        store.close()

    threads = [threading.Thread(target=add, args=(first,), daemon=True) for first in (0, 4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    store = open_store(url)
    assert sorted(one["id"] for one in Registry(store).nodes()) == list(range(1, 9))
    store.close()


def test_an_even_control_plane_is_warned_of() -> None:
    nodes = [{"cluster": "lab", "worker": False}, {"cluster": "lab", "worker": False}]
    assert even(nodes, "lab").startswith("lab: 2 control-plane nodes")
    assert even([*nodes, {"cluster": "lab", "worker": True}], "lab")
    assert not even(nodes[:1], "lab")


def test_hosts_have_their_own_variables_and_their_clusters(registry: Registry) -> None:
    registry.add_cluster({"name": "lab", "variables": {"microk8s_channel": "1.32/stable"}})
    registry.add_node(
        {"name": "node1", "address": "192.0.2.1", "user": "pi", "key_file": "/k", "port": 2222, "cluster": "lab"}
    )
    registry.add_node({"name": "work1", "worker": True, "cluster": "lab", "labels": {"rack": "a"}})
    first, second = build_hosts(registry.nodes(), registry.clusters())
    assert first.variables == {
        "microk8s_channel": "1.32/stable",
        "ansible_host": "192.0.2.1",
        "ansible_user": "pi",
        "ansible_port": 2222,
        "ansible_ssh_private_key_file": "/k",
        "rackstead_id": 1,
        "rackstead_cluster": "lab",
        "microk8s_worker": False,
    }
    assert second.groups == (("cluster", "lab"), ("microk8s", "worker"), ("label", "rack_a"))


def test_ansible_reads_the_registry_as_an_inventory(registry: Registry, url: str, tmp_path: Path) -> None:
    registry.add_cluster({"name": "lab"})
    registry.add_node({"name": "node1", "address": "192.0.2.1", "cluster": "lab"})
    source = tmp_path / "nodes.yml"
    source.write_text(f"plugin: rackstead.infra.nodes\nurl: {url}\n")

    def told(*what: str) -> dict[str, Any]:
        argv = ["ansible-inventory", "-i", str(source), *what]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=True)
        return dict(json.loads(done.stdout))

    assert told("--list")["cluster_lab"]["hosts"] == ["node1"]
    assert told("--host", "node1")["ansible_host"] == "192.0.2.1"
