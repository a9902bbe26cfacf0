# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``node`` and ``cluster``, run as a user runs them, up to where Ansible begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import default_url, open_store

from rackstead import cli_jobs
from rackstead.cli import run_command


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


Run = Callable[[str], Ended]
EVEN = "lab: 2 control-plane nodes survive no more losses than 1 would; take an odd number"


@pytest.fixture
def rackstead(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RACKSTEAD_STATE", f"sqlite:{tmp_path}/state.db")
    monkeypatch.setenv("RACKSTEAD_DATA", str(tmp_path / "jobs"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("RACKSTEAD_SERVER", "RACKSTEAD_TOKEN", "RACKSTEAD_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(line: str) -> Ended:
        code = run_command(line.split())
        return Ended(code, *capfd.readouterr())

    return run


def test_nodes_come_and_go_by_name_and_by_id(rackstead: Run, tmp_path: Path) -> None:
    assert rackstead("cluster add --name lab --description Pis -e microk8s_channel=1.32/stable").out == (
        "lab is cluster 1\n"
    )
    added = rackstead(
        "node add --hostname node1 --ip 192.0.2.11 --user pi --port 2222 --key-path id --cluster 1 "
        "--label rack=a --label room=2 --bmc-address 192.0.2.111 --bmc-protocol ipmi --json"
    ).document
    assert (added["command"], added["warnings"]) == ("node add", [])
    node = added["node"]
    assert (node["id"], node["cluster"], node["labels"]) == (1, "lab", {"rack": "a", "room": "2"})
    assert (node["key_file"], node["port"], node["bmc"]["protocol"]) == (f"{tmp_path}/id", 2222, "ipmi")
    assert rackstead("node show 1 --json").document["node"] == node
    assert "rack=a, room=2" in rackstead("node show node1").out
    second = rackstead("node add --name node2 --cluster lab")
    assert (second.code, second.out, second.err) == (0, "node2 is node 2\n", f"warning: {EVEN}\n")
    assert rackstead("node add --hostname work1 --worker").code == 0
    assert [one.split()[1] for one in rackstead("node list").out.splitlines()] == ["NODE", "node1", "node2", "work1"]
    listed = rackstead("node list --cluster 1 --json").document["nodes"]
    assert [one["name"] for one in listed] == ["node1", "node2"]
    gone = rackstead("node remove 2 --member")
    assert (gone.code, gone.out, gone.err) == (0, "node2 is out of the registry; the machine is as it was\n", "")
    assert rackstead("node show node2").code == 2


def test_clusters_tell_their_nodes(rackstead: Run) -> None:
    assert "no clusters" in rackstead("cluster list").out and "no nodes" in rackstead("node list").out
    rackstead('cluster add --name lab -e {"microk8s_addons":["dns"]}')
    for name in ("node1", "node2"):
        rackstead(f"node add --hostname {name} --cluster lab")
    assert "2 (even)" in rackstead("cluster list").out
    shown = rackstead("cluster show 1 --json").document
    assert (shown["cluster"]["nodes"], shown["warnings"]) == (["node1", "node2"], [EVEN])
    assert shown["cluster"]["variables"] == {"microk8s_addons": ["dns"]}
    kept = rackstead("cluster remove lab")
    assert (kept.code, kept.err) == (1, "error: lab: still has nodes: node1, node2; remove them first\n")
    for name in ("1", "2"):
        rackstead(f"node remove {name} --member")
    gone = rackstead("cluster remove 1")
    assert (gone.code, gone.out) == (0, "lab is out of the registry; its machines are as they were\n")
    store = open_store(default_url())
    audit = [(one.who, one.action, one.target) for one in store.audit()]
    store.close()
    assert audit[-1] == (cli_jobs.who()[0], "cluster.remove", "cluster/lab")


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("node add --hostname node1 --port 70000", 2, 'port: "70000" is not valid; allowed: 1 to 65535'),
        ("node add --hostname node1 --label rack", 2, '--label: "rack" is not understood; allowed: KEY=VALUE'),
        ("node show nod0", 2, 'there is no node "nod0"; did you mean "node0"?'),
        ("node remove node0", 1, 'node0: is in the cluster "lab"; the playbook remove_node takes it out'),
        ("node list --cluster lap", 2, 'there is no cluster "lap"; did you mean "lab"?'),
        ("cluster scan lap", 2, 'there is no cluster "lap"; did you mean "lab"?'),
        ("cluster setup bare", 1, "bare: has no nodes; rackstead node add --cluster bare enters one"),
        ("cluster add --name lab", 2, 'name: there is a cluster "lab" already'),
    ],
)
def test_what_is_wrong_is_told_in_one_line(rackstead: Run, line: str, code: int, told: str) -> None:
    rackstead("cluster add --name lab")
    rackstead("cluster add --name bare")
    rackstead("node add --hostname node0 --cluster lab")
    ended = rackstead(line)
    assert (ended.code, ended.out, ended.err) == (code, "", f"error: {told}\n")
    assert rackstead(f"{line} --json").document["errors"] == [told]


@pytest.mark.parametrize("line", ["node status a", "node install a"])
def test_a_server_is_refused(rackstead: Run, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKSTEAD_SERVER", "http://localhost:1")
    monkeypatch.setenv("RACKSTEAD_TOKEN", "t")
    ended = rackstead(line)
    what = " ".join(line.split()[:2])
    assert ended.code == 2 and ended.err.startswith(f"error: {what} does not go through a server (http://localhost:1)")
    assert ended.err.count("\n") == 1


def test_node_alone_is_still_what_receptor_calls(rackstead: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rackstead.executors.node.main", lambda: 7)
    assert rackstead("node").code == 7
    assert rackstead("node list").code == 0


def test_operations_are_jobs(rackstead: Run) -> None:
    listed = rackstead("operation list --json")
    assert (listed.code, listed.document["jobs"]) == (0, [])
    assert rackstead("operation show 0").err == rackstead("job show 0").err != ""


def test_clusters_that_ansible_takes_for_one_are_refused(rackstead: Run) -> None:
    for cluster, node in (("a-b", "node1"), ("a.b", "node2")):
        rackstead(f"cluster add --name {cluster}")
        assert rackstead(f"node add --hostname {node} --cluster {cluster}").code == 0
    ended = rackstead("cluster scan a-b")
    assert ended.code == 1 and '"a.b" is the same group for Ansible, cluster_a_b' in ended.err
