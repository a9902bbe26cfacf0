# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes, addons, snaps and the rest of MicroK8s's core, on clusters of the stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import (
    addons,
    certificates,
    config,
    info,
    node,
    order,
    snaps,
)
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.membership import look
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.model import NotRunning, OnWorker
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.quorum import QuorumLost
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Local
from testbed.microk8s import FAST, Lab

WAIT = 20.0
Machines = dict[str, MicroK8s]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state", FAST)


def machines(lab: Lab, *names: str) -> Machines:
    """Machines with MicroK8s on them, each for itself."""
    made = {name: lab.machine(name, number) for number, name in enumerate(names, start=1)}
    for client in made.values():
        snaps.ensure_snap(client, "present", channel="1.32/stable")
    return made


def join(seed: MicroK8s, client: MicroK8s, worker: bool = False, alone: bool = True) -> dict[str, Any]:
    found = node.ensure_token(seed, client.hostname, worker, alone, 60, False, False)
    assert found["needed"]
    return node.ensure_joined(client, found["connection"], worker, WAIT, False)


def test_a_cluster_is_joined_once(lab: Lab) -> None:
    made = machines(lab, "n1", "n2", "n3", "n4")
    for name in ("n2", "n3", "n4"):
        assert join(made["n1"], made[name], worker=name == "n4")["changed"]
    assert lab.roles("n1") == {"n1": "voter", "n2": "voter", "n3": "voter"}
    assert {name: one["worker"] for name, one in lab.cluster("n1")["nodes"].items()} == {
        "n1": False, "n2": False, "n3": False, "n4": True,
    }  # fmt: skip
    before = lab.commands()
    for name, client in made.items():
        found = node.ensure_token(made["n1"], name, name == "n4", False, 60, False, False)
        assert not found["needed"] and not found["connection"]
        assert not node.ensure_joined(client, "", name == "n4", WAIT, False)["changed"]
    assert lab.commands() == before  # no token was minted
    with pytest.raises(Conflict, match="in a cluster as worker"):
        node.ensure_joined(made["n4"], "", False, WAIT, False)


def test_check_mode_runs_nothing_that_changes(lab: Lab) -> None:
    made = lab.formed(3)
    extra = lab.machine("n9", 9)
    before = lab.commands()
    assert snaps.ensure_snap(extra, "present", channel="1.32/stable", check=True)["changed"]
    assert node.ensure_token(made["n1"], "n9", False, True, 60, False, True)["needed"]
    assert node.ensure_joined(extra, "", False, WAIT, True)["changed"]
    assert node.ensure_left(made["n2"], False, WAIT, True)["changed"]
    assert node.ensure_drained(made["n1"], "n3", 1, False, True)["changed"]
    assert addons.ensure_addon(made["n1"], "dns", True, [], WAIT, True)["changed"]
    assert config.ensure_config(made["n1"], {"kubelet": {"--max-pods": "9"}}, {}, [], check=True)["changed"]
    assert certificates.ensure_certificate(made["n1"], "server.crt", 9999, WAIT, False, True)["changed"]
    lab.order("n3", dead=True)
    assert node.ensure_absent(made["n1"], "n3", True, False, True)["changed"]
    assert lab.commands() == before


def test_names_are_compared_whole(lab: Lab) -> None:
    made = machines(lab, "node1", "node10", "node100")
    join(made["node10"], made["node100"])
    found = node.ensure_token(made["node10"], "node1", False, True, 60, False, False)
    assert found["needed"] and not found["stale"]
    assert not node.ensure_absent(made["node10"], "node1", True, False, False)["changed"]
    assert set(lab.cluster("node10")["nodes"]) == {"node10", "node100"}
    with pytest.raises(NotFound, match='the cluster has no node "node1"; did you mean "node10"'):
        node.ensure_present(made["node10"], "node1", 0.5)
    assert node.ensure_present(made["node10"], "node100", WAIT)["node"]["ready"]


def test_the_token_is_not_told(lab: Lab) -> None:
    made = machines(lab, "n1", "n2")
    connection = node.ensure_token(made["n1"], "n2", False, True, 1, False, False)["connection"]
    token = connection.split("/")[1]

    def expired() -> bool | None:
        return lab.cluster("n1")["tokens"][token] < time.time() or None

    wait_until(expired, Deadline(WAIT), what="the token to expire")
    with pytest.raises(OperationFailed, match="Invalid token") as caught:
        node.ensure_joined(made["n2"], connection, False, WAIT, False)
    assert token not in str(caught.value)
    assert look(made["n2"]).kind == "single"


def test_a_join_race_is_told(lab: Lab) -> None:
    made = machines(lab, "n1", "n2")
    lab.order("n2", join="race")
    with pytest.raises(OperationFailed, match="Another node is joining"):
        join(made["n1"], made["n2"])
    assert join(made["n1"], made["n2"])["changed"]


def test_a_join_that_was_killed_leaves_a_stale_node_that_goes(lab: Lab) -> None:
    made = lab.formed(3)
    made["n4"] = machines(lab, "n4")["n4"]
    lab.order("n4", join="killed")
    with pytest.raises(RacksteadError):
        join(made["n1"], made["n4"])
    found = node.ensure_token(made["n1"], "n4", False, True, 60, False, False)
    assert found["stale"] and not found["needed"]
    assert node.ensure_absent(made["n1"], "n4", True, False, False)["changed"]
    assert join(made["n1"], made["n4"])["changed"]
    assert set(lab.roles("n1")) == {"n1", "n2", "n3", "n4"} and not lab.cluster("n1")["lost"]


def test_another_machine_of_the_same_name_is_refused(lab: Lab) -> None:
    made = lab.formed(2)
    with pytest.raises(Conflict, match="another machine is node n2 of this cluster"):
        node.ensure_token(made["n1"], "n2", False, True, 60, False, False)


def test_leaving_and_removing(lab: Lab) -> None:
    made = lab.formed(4, 1)
    assert node.ensure_left(made["n2"], False, WAIT, False)["changed"]
    assert not node.ensure_left(made["n2"], False, WAIT, False)["changed"]
    assert node.ensure_absent(made["n1"], "n2", False, False, False)["changed"]
    assert not node.ensure_absent(made["n1"], "n2", False, False, False)["changed"]
    assert lab.roles("n1") == {"n1": "voter", "n3": "voter", "n4": "voter"} and not lab.cluster("n1")["lost"]
    for name, seconds in (("n3", 60.0), ("n5", 0.3)):
        with pytest.raises(Conflict, match=f"node {name} is up.*; have it leave first"):
            node.ensure_absent(made["n1"], name, False, False, False, seconds)
    assert node.ensure_left(made["n5"], False, WAIT, False)["changed"]
    assert node.ensure_absent(made["n1"], "n5", False, False, False)["changed"]
    with pytest.raises(Conflict, match="n1 is this machine"):
        node.ensure_absent(made["n1"], "n1", True, True, False)


def test_a_dead_member_is_removed_only_if_somebody_says_that_it_is_gone(lab: Lab) -> None:
    made = lab.formed(3)
    lab.order("n3", dead=True)
    with pytest.raises(Conflict, match="never comes back, say gone: true"):
        node.ensure_absent(made["n1"], "n3", False, False, False)
    with pytest.raises(QuorumLost, match="leave n2 would leave the datastore without quorum"):
        node.ensure_left(made["n2"], False, WAIT, False)
    assert set(lab.roles("n1")) == {"n1", "n2", "n3"}
    assert node.ensure_absent(made["n1"], "n3", True, False, False)["changed"]
    assert lab.roles("n1") == {"n1": "voter", "n2": "spare"} and not lab.cluster("n1")["lost"]


def test_without_quorum_nothing_is_done(lab: Lab) -> None:
    made = lab.formed(3)
    lab.order("n2", dead=True)
    lab.order("n3", dead=True)
    with pytest.raises(Unreachable):
        node.ensure_absent(made["n1"], "n3", True, False, False)
    found = info.gather(made["n1"])
    assert not found["running"] and len(found["datastore"]["members"]) == 3
    assert info.findings(found)[0].what == "n1: the services do not run"


def test_draining_keeps_the_quorum_and_what_others_cordoned(lab: Lab) -> None:
    made = lab.formed(3, 1)
    first = made["n1"]
    assert node.ensure_drained(first, "n2", 5, False, False)["changed"]
    assert lab.cluster("n1")["nodes"]["n2"]["cordoned"] and lab.cluster("n1")["nodes"]["n2"]["pods"] == 0
    assert not node.ensure_drained(first, "n2", 5, False, False)["changed"]
    assert node.ensure_uncordoned(first, "n2", False)["changed"]
    assert not node.ensure_uncordoned(first, "n2", False)["changed"]
    first.kubectl("cordon", "n4")
    assert node.ensure_drained(first, "n4", 5, False, False)["changed"]  # it had pods
    kept = node.ensure_uncordoned(first, "n4", False)
    assert not kept["changed"] and kept["warnings"] == ["node n4 stays cordoned: somebody else did that"]
    assert lab.cluster("n1")["nodes"]["n4"]["cordoned"]
    lab.order("n3", dead=True)
    with pytest.raises(QuorumLost, match="this order keeps it: start n3, stop n2"):
        node.ensure_drained(first, "n2", 5, False, False)
    assert not lab.cluster("n1")["nodes"]["n2"]["cordoned"]


def test_a_budget_that_blocks_a_drain_is_told(lab: Lab) -> None:
    made = lab.formed(3)
    with lab.truth() as state:
        state["clusters"][state["machines"]["n1"]["cluster"]]["nodes"]["n2"]["budget"] = True
    with pytest.raises(OperationFailed, match=r"could not be drained within 0.2 s.*budget") as caught:
        node.ensure_drained(made["n1"], "n2", 0.2, False, False)
    assert "the node stays cordoned" in str(caught.value)


def test_addons(lab: Lab) -> None:
    made = machines(lab, "n1")
    client = made["n1"]
    result = addons.ensure_addon(client, "metallb", True, ["10.0.0.10-10.0.0.20"], WAIT, False)
    assert result["changed"] and lab.cluster("n1")["addons"]["metallb"] == ["10.0.0.10-10.0.0.20"]
    assert not addons.ensure_addon(client, "core/metallb", True, [], WAIT, False)["changed"]
    assert addons.ensure_addon(client, "metallb", False, [], WAIT, False)["changed"]
    with pytest.raises(InvalidInput, match='there is no addon "metalb"; did you mean "metallb"'):
        addons.ensure_addon(client, "metalb", True, [], WAIT, False)


def test_snaps_by_channel(lab: Lab) -> None:
    client = lab.machine("n1", 1)
    for channel, line in (
        ("1.32/stabel", 'channel: "1.32/stabel" is not a channel; did you mean "stable"?'),
        ("1.23/stable", 'channel: the store has no channel "1.23/stable" of microk8s; did you mean "1.33/stable"?'),
    ):
        with pytest.raises(InvalidInput) as caught:
            snaps.ensure_snap(client, "present", channel=channel)
        assert str(caught.value) == line
    assert lab.commands() == []
    assert snaps.ensure_snap(client, "present", channel="1.31/stable")["changed"]
    kept = snaps.ensure_snap(client, "present", channel="1.32/stable")
    assert not kept["changed"] and "an upgrade changes that" in kept["warnings"][0]
    with pytest.raises(InvalidInput, match=r"1\.33/stable is not the version after v1\.31\.7; go to 1.32 first"):
        snaps.ensure_snap(client, "present", channel="1.33/stable", refresh=True)
    result = snaps.ensure_snap(client, "present", channel="1.32/stable", refresh=True)
    assert result["changed"] and result["snap"]["version"] == "v1.32.3"
    assert not snaps.ensure_snap(client, "present", channel="1.32/stable", refresh=True)["changed"]
    with pytest.raises(InvalidInput, match="no way back"):
        snaps.ensure_snap(client, "present", channel="1.31/stable", refresh=True)
    assert snaps.ensure_snap(client, "absent")["changed"] and not snaps.ensure_snap(client, "absent")["changed"]


def test_snaps_from_files(lab: Lab, tmp_path: Path) -> None:
    client = lab.machine("n1", 1)
    files = [tmp_path / name for name in ("core20_2434.snap", "microk8s_8148.snap", "microk8s_8148.assert")]
    with pytest.raises(InvalidInput, match="files: there is no file"):
        snaps.ensure_snap(client, "present", files=[str(files[0])])
    for file in files:
        file.touch()
    names = [str(file) for file in files]
    assert snaps.ensure_snap(client, "present", files=names)["changed"]
    assert [line.split()[1] for line in lab.commands()] == ["ack", "install", "install"]
    assert lab.commands()[1].endswith("core20_2434.snap --dangerous")
    assert lab.commands()[2].endswith("microk8s_8148.snap --classic")
    assert not snaps.ensure_snap(client, "present", files=names, refresh=True)["changed"]


def test_an_installation_whose_command_was_killed_is_waited_for(lab: Lab) -> None:
    client = lab.machine("n1", 1)
    with lab.truth() as state:
        state["delays"]["install"] = 2.0
    assert isinstance(client.runner, Local)
    argv = [client.snap_command, "install", "microk8s", "--classic"]
    process = subprocess.Popen(argv, env=client.runner.env, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: lab.state["machines"].get("n1", {}).get("change"), Deadline(WAIT), what="the change to begin")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    snaps.ensure_snap(client, "present", channel="1.32/stable")
    assert look(client).kind == "single"


def test_certificates_are_refreshed_in_time(lab: Lab) -> None:
    made = lab.formed(2)
    assert not certificates.ensure_certificate(made["n1"], "server.crt", 30, WAIT, False, False)["changed"]
    with lab.truth() as state:
        state["machines"]["n1"]["certificates"] = {"ca.crt": 5, "server.crt": 12, "front-proxy-client.crt": 365}
    assert [one.what for one in info.findings(info.gather(made["n1"])) if one.severity == "warning"] == [
        "n1: ca.crt is good for 5 days",
        "n1: server.crt is good for 12 days",
    ]
    result = certificates.ensure_certificate(made["n1"], "server.crt", 30, WAIT, False, False)
    assert result["changed"] and (result["before"], result["days"]) == (12, 365)
    with pytest.raises(Conflict, match="all nodes have to leave and join again"):
        certificates.ensure_certificate(made["n1"], "ca.crt", 30, WAIT, False, False)


def test_configuration_is_written_once_and_restarts_what_reads_it(lab: Lab) -> None:
    client = machines(lab, "n1")["n1"]
    mirror = {"registry": "docker.io", "endpoints": ["https://mirror.example:5000"], "server": ""}
    proxy = {"HTTPS_PROXY": "http://me:s3cret@proxy.example:3128"}
    wanted: dict[str, Any] = {
        "arguments": {"kubelet": {"--max-pods": "200", "--kubeconfig": None}},
        "environment": proxy,
    }
    result = config.ensure_config(client, **wanted, mirrors=[mirror])
    assert result["files"] == ["kubelet", "containerd-env", "certs.d/docker.io/hosts.toml"]
    assert result["restarted"] == ["microk8s.daemon-containerd", "microk8s.daemon-kubelite"]
    assert "s3cret" not in str(result["diff"])
    args = client.data / "args"
    assert (args / "kubelet").read_text() == "--resolv-conf=${SNAP_DATA}/args/kubelet-resolv\n--max-pods=200\n"
    assert (
        (args / "containerd-env")
        .read_text()
        .endswith("ulimit -n 65536 || true\nHTTPS_PROXY=" + proxy["HTTPS_PROXY"] + "\n")
    )
    assert '[host."https://mirror.example:5000"]' in (args / "certs.d/docker.io/hosts.toml").read_text()
    assert not config.ensure_config(client, **wanted, mirrors=[mirror])["changed"]
    assert lab.state["machines"]["n1"]["services"] == [
        "restart microk8s.daemon-containerd",
        "restart microk8s.daemon-kubelite",
    ]


def test_a_restart_that_a_killed_run_owes_is_made_up_for(lab: Lab) -> None:
    client = machines(lab, "n1")["n1"]
    (client.data / "args" / config.PENDING).write_text("microk8s.daemon-kubelite\n")
    assert config.ensure_config(client, {}, {}, [])["restarted"] == ["microk8s.daemon-kubelite"]
    assert not config.ensure_config(client, {}, {}, [])["changed"]


def test_configuration_that_cannot_be_is_told_at_once(lab: Lab) -> None:
    client = machines(lab, "n1")["n1"]
    mirrors = [{"registry": "docker.io", "endpoints": ["mirror:5000"]}, {"registry": "docker.io", "endpoints": []}]
    with pytest.raises(InvalidInput) as caught:
        config.ensure_config(client, {"kubelt": {}, "kubelet": {"max-pods": "1"}}, {"A-B": "x"}, mirrors)
    assert caught.value.problems == [
        'arguments: unknown key "kubelt"; did you mean "kubelet"?',
        'arguments.kubelet: "max-pods" is not an argument; allowed: --max-pods',
        'environment: "A-B" is not a variable; allowed: letters, digits and _',
        'mirrors.docker.io.endpoints: "mirror:5000" is not an address; allowed: https://HOST[:PORT]',
        'mirrors.registry: "docker.io" is given twice',
    ]


def test_what_answers_in_plain_text_is_told_apart(lab: Lab) -> None:
    made = lab.formed(1, 1)
    with pytest.raises(OnWorker):
        made["n2"].nodes()
    assert info.gather(made["n2"])["place"] == "worker"
    made["n1"].runner.run([made["n1"].command, "stop"], 10)
    with pytest.raises(NotRunning):
        made["n1"].status()
    found = info.gather(made["n1"])
    assert (found["place"], info.findings(found)[0].what) == ("stopped", "n1: MicroK8s is stopped")
    with pytest.raises(Conflict, match="start it first"):
        node.ensure_left(made["n1"], False, WAIT, False)


def test_a_status_that_hangs_ends_in_time_with_its_processes(lab: Lab) -> None:
    made = lab.formed(3)
    lab.order("n1", status="hang")
    client = made["n1"]
    client.quick = 1.0
    with pytest.raises(DeadlineExceeded, match="did not end within 1 s"):
        client.status()
    found = info.gather(client)
    # The datastore's own file still tells who is in it.
    assert found["place"] == "unresponsive" and len(found["datastore"]["members"]) == 3
    assert found["datastore"]["quorum"] is None and info.findings(found)[0].severity == "critical"
    here = subprocess.run(["pgrep", "-f", f"{client.command} status"], capture_output=True, text=True)
    assert here.stdout == ""


# -- what is looked at before anything is done ----------------------------------------------------------------------------
def host(host: str, worker: bool = False, **changes: Any) -> order.Host:
    plain: dict[str, Any] = {"name": host, "address": f"10.0.{ord(host[0])}.{host[1:]}", "machine_id": host}
    return order.Host(host, worker, **{**plain, "place": "absent", **changes})


def test_everything_wrong_is_told_at_once() -> None:
    hosts = [
        host("n1"),
        host("n2", address="10.0.110.1"),
        host("n3", place=""),
        host("n4", place="stopped"),
        host("n5", worker=True, place="control-plane", nodes=("n5",)),
        host("n6", name="n1"),
    ]
    with pytest.raises(InvalidInput) as caught:
        order.order(hosts, ["n22"], ["metalb"], "1.32/stabl")
    assert caught.value.problems == [
        "n3: cannot be reached; see that it is on and that Ansible may log in",
        "n4: MicroK8s is stopped; snap start microk8s starts it",
        "n6: has the same host name as n1: n1; each needs its own",
        "n2: has the same address as n1: 10.0.110.1; each needs its own",
        'microk8s_nodes: "n22" is not a host of this play; did you mean "n2"?',
        "n5: is of a control plane already, and must leave it first to be a worker",
        'microk8s_addons: there is no addon "metalb"; did you mean "metallb"?',
        'channel: "1.32/stabl" is not a channel; did you mean "stable"?',
        "n5: is in another cluster than n1, and must leave it first",
    ]


def test_the_order_begins_with_the_cluster_that_is_there() -> None:
    hosts = [host("n1"), host("w1", worker=True), host("n2", place="control-plane", nodes=("n2", "n3")), host("n3")]
    found = order.order(hosts)
    assert (found.seed, found.joins) == ("n2", ("n1", "n3", "w1")) and found.conductors[0] == "n2"
    assert found.turns == ("n3", "n1", "n2", "w1")
    assert order.order(hosts, ["n1"]).joins == ("n1",) and order.order(hosts, ["w1", "n1"]).turns == ("n1", "w1")
    inside = [*hosts, host("w2", worker=True, place="worker"), host("n4", place="control-plane", nodes=("n2", "n4"))]
    with pytest.raises(InvalidInput, match="w2: is in another cluster than n2"):
        order.order(inside)
    known = [host("n2", place="control-plane", nodes=("n2", "w2", "n4")), *inside[-2:]]
    assert order.order(known).joins == () and order.order(known).turns == ("n4", "n2", "w2")
    fresh = order.order([host("n1"), host("n2"), host("w1", worker=True)])
    assert (fresh.seed, fresh.joins) == ("n1", ("n2", "w1"))
    assert fresh.warnings == ("2 control-plane nodes survive no more losses than 1; take 1 or 3",)


def test_two_clusters_are_not_made_one() -> None:
    hosts = [host("n1", place="control-plane", nodes=("n1", "x")), host("n2", place="control-plane", nodes=("n2", "y"))]
    with pytest.raises(InvalidInput, match="n2: is in another cluster than n1, and must leave it first"):
        order.order(hosts)
