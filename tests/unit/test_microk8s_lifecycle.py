# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines stopped and started, nodes emptied and let back in, and the order of it all, on clusters of the stand-in."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import info, lifecycle, node, quorum, sequence
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.quorum import Datastore, Member, QuorumLost
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.sequence import Seen, shutdown, startup
from testbed.microk8s import FAST, Lab

WAIT = 20.0


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state", FAST)


def seen(machines: dict[str, MicroK8s], *workers: str) -> list[Seen]:
    return [Seen.of(name, name in workers, info.gather(client)) for name, client in machines.items()]


# -- one machine -----------------------------------------------------------------------------------
def test_a_machine_that_was_stopped_is_not_disabled(lab: Lab) -> None:
    client = lab.formed(1)["n1"]
    planned = lifecycle.ensure_stopped(client, WAIT, check=True)
    assert planned["changed"] and lab.state["machines"]["n1"]["running"]
    assert lifecycle.ensure_stopped(client, WAIT, check=False) == planned
    assert not lifecycle.ensure_stopped(client, WAIT, check=False)["changed"]
    machine = lab.state["machines"]["n1"]
    assert not machine["running"] and not machine.get("disabled")


def test_what_somebody_disabled_is_enabled_by_a_start(lab: Lab) -> None:
    client = lab.formed(1)["n1"]
    client.run("stop")
    assert lab.state["machines"]["n1"]["disabled"]
    assert lifecycle.ensure_started(client, True, WAIT, check=True)["changed"]
    assert lifecycle.ensure_started(client, True, WAIT, check=False)["changed"]
    assert not lifecycle.ensure_started(client, True, WAIT, check=False)["changed"]
    assert lab.state["machines"]["n1"]["running"] and not lab.state["machines"]["n1"]["disabled"]


def test_workers_are_stopped_and_started_too(lab: Lab) -> None:
    client = lab.formed(1, 1)["n2"]
    assert lifecycle.ensure_stopped(client, WAIT, check=False)["changed"]
    assert lifecycle.ensure_started(client, True, WAIT, check=False)["changed"]


def test_a_machine_whose_status_hangs_is_stopped_nevertheless(lab: Lab) -> None:
    client = lab.formed(1)["n1"]
    client.quick = 0.3
    lab.order("n1", status="hang")
    with pytest.raises(DeadlineExceeded, match="MicroK8s to be stopped"):  # nobody can say whether it is
        lifecycle.ensure_stopped(client, 0.5, check=False)
    assert not lab.state["machines"]["n1"]["running"]


def test_a_machine_without_microk8s_is_told(lab: Lab) -> None:
    with pytest.raises(NotFound, match="MicroK8s is not installed"):
        lifecycle.ensure_stopped(lab.machine("bare", 9), WAIT, check=False)


# -- nodes -----------------------------------------------------------------------------------------
def test_all_nodes_are_emptied_at_once_and_only_our_cordons_are_lifted(lab: Lab) -> None:
    client = lab.formed(3, 1)["n1"]
    client.kubectl("cordon", "n3")
    names = ["n1", "n2", "n3", "n4"]
    planned = node.ensure_emptied(client, names, WAIT, check=True)
    assert planned["changed"] and [one["cordoned"] for one in lab.cluster("n1")["nodes"].values()].count(True) == 1
    assert node.ensure_emptied(client, names, WAIT, check=False) == planned
    nodes = lab.cluster("n1")["nodes"]
    assert all(one["cordoned"] and one["pods"] == 0 for one in nodes.values())
    assert not node.ensure_emptied(client, names, WAIT, check=False)["changed"]
    assert node.ensure_released(client, names, check=False)["changed"]
    assert not node.ensure_released(client, names, check=False)["changed"]
    assert [name for name, one in lab.cluster("n1")["nodes"].items() if one["cordoned"]] == ["n3"]


def test_a_budget_in_the_way_of_one_node_is_told_and_the_others_are_emptied(lab: Lab) -> None:
    client = lab.formed(1, 2)["n1"]
    with lab.truth() as state:
        state["clusters"]["c"]["nodes"]["n2"]["budget"] = True
    told = node.ensure_emptied(client, ["n1", "n2", "n3"], 0.2, check=False)
    assert list(told["left"]) == ["n2"] and "disruption budget" in told["warnings"][0]
    assert [one["pods"] for one in lab.cluster("n1")["nodes"].values()] == [0, 2, 0]


def test_nodes_of_a_cluster_that_does_not_answer_are_not_touched(lab: Lab) -> None:
    client = lab.formed(3)["n1"]
    for name in ("n2", "n3"):
        lab.order(name, dead=True)
    with pytest.raises(Unreachable):
        node.ensure_emptied(client, ["n1"], WAIT, check=False)


# -- the order -------------------------------------------------------------------------------------
def test_workers_go_first_and_voters_last(lab: Lab) -> None:
    machines = lab.formed(5, 2)
    found = shutdown(seen(machines, "n6", "n7"))
    assert found.workers == ("n6", "n7")
    assert found.control == ("n4", "n5", "n1", "n2", "n3")
    assert found.conductor == "n1" and set(found.nodes) == set(machines) and found.warnings == ()


def test_every_order_keeps_whoever_is_up_quorate_until_only_voters_are_left() -> None:
    """All mixtures of five members up and down that have a quorum."""
    roles = ["voter", "voter", "voter", "standby", "spare"]
    for ups in itertools.product((True, False), repeat=5):
        members = tuple(Member(f"n{n}", role, up) for n, (role, up) in enumerate(zip(roles, ups, strict=True)))
        store = Datastore.of(members)
        if not store.quorate:
            continue
        nodes = {member.name: member.up for member in members}
        answering = [member.name for member in members if member.up]
        hosts = [
            Seen(m.name, name=m.name, place="control-plane" if m.up else "stopped", answers=m.up, nodes=nodes, members=members)
            for m in members
        ]  # fmt: skip
        found = shutdown(hosts)
        assert sorted(found.control) == sorted(answering)
        proof = quorum.prove(store, [quorum.Step("stop", name) for name in found.control], whole=True)
        assert proof.lost is None


def test_a_member_that_would_stay_without_a_quorum_is_told(lab: Lab) -> None:
    hosts = seen(lab.formed(3))
    with pytest.raises(QuorumLost, match="stop n2 would leave the datastore without quorum"):
        shutdown(hosts[:2])
    forced = shutdown(hosts[:2], force=True)
    assert forced.control == ("n1", "n2")
    assert any("done nevertheless" in line for line in forced.warnings)
    assert "not among the hosts, and left as they are: n3" in forced.warnings


def test_a_worker_that_is_not_among_the_hosts_is_told_and_left(lab: Lab) -> None:
    hosts = seen(lab.formed(1, 1), "n2")
    assert shutdown(hosts[:1]).warnings == ("not among the hosts, and left as they are: n2",)


def test_what_is_in_the_way_is_told_at_once(lab: Lab) -> None:
    hosts = [*seen(lab.formed(1)), Seen("away"), Seen("bare", name="bare", place="absent")]
    with pytest.raises(InvalidInput) as told:
        shutdown(hosts)
    assert str(told.value).splitlines() == [
        "away: cannot be reached; see that it is on, or say microk8s_force: true to leave it as it is",
        "bare: MicroK8s is not installed",
    ]
    with pytest.raises(InvalidInput, match="bare: MicroK8s is not installed") as forced:
        startup(hosts, force=True)
    assert "away" not in str(forced.value)
    with pytest.raises(InvalidInput, match="rackstead_host: none of its hosts"):
        startup([Seen("away")], force=True)


def test_two_clusters_are_not_shut_down_as_one(lab: Lab) -> None:
    hosts = seen(lab.formed(1))
    other = replace(hosts[0], host="other", name="other", nodes={"other": True})
    with pytest.raises(InvalidInput, match="other: is not a node of the cluster of n1"):
        shutdown([*hosts, other])


def test_a_cluster_that_is_half_stopped_is_stopped_whole(lab: Lab) -> None:
    machines = lab.formed(3, 1)
    for name in ("n4", "n1", "n2"):
        lifecycle.ensure_stopped(machines[name], WAIT, check=False)
    found = shutdown(seen(machines, "n4"))
    assert (found.control, found.workers, found.conductor) == (("n3",), (), "")
    assert "nobody answers for the cluster" in found.warnings[0]
    lifecycle.ensure_stopped(machines["n3"], WAIT, check=False)
    again = shutdown(seen(machines, "n4"))
    assert (again.control, again.workers, again.warnings) == ((), (), ())
    started = startup(seen(machines, "n4"))
    assert started == sequence.Turns(("n1", "n2", "n3"), ("n4",), "n1", ("n1", "n2", "n3", "n4"))


def test_what_was_found_is_read_as_microk8s_info_tells_it(lab: Lab) -> None:
    found: dict[str, Any] = info.gather(lab.formed(1, 1)["n2"])
    assert Seen.of("work", False, found).worker and not Seen.of("work", True, None).place


# -- power -----------------------------------------------------------------------------------------
def test_the_machine_that_runs_the_play_is_switched_off_last(lab: Lab) -> None:
    hosts = seen(lab.formed(2, 2), "n3", "n4")
    assert shutdown(hosts).power == (("n3", "n4"), ("n1", "n2"))
    own = [replace(one, here=one.host in ("n1", "n4")) for one in hosts]
    found = shutdown(own)
    assert found.power == (("n3",), ("n2",), ("n1", "n4")) and found.here == ("n1", "n4")
    assert found.control == ("n2", "n1")  # the datastore's order is not changed by that


def test_machines_that_are_off_already_are_no_obstacle_where_all_are_to_be_off(lab: Lab) -> None:
    """As after a run that was killed among the machines."""
    hosts = seen(lab.formed(1, 1), "n2")
    with pytest.raises(InvalidInput, match="n2: cannot be reached"):
        shutdown([hosts[0], Seen("n2", worker=True)])
    found = shutdown([hosts[0], Seen("n2", worker=True)], off=True)
    assert found.control == ("n1",) and found.workers == () and found.power == (("n2",), ("n1",))
    assert found.warnings[0] == "n2 cannot be reached, and is taken to be off"
    gone = shutdown([Seen("n1"), Seen("n2", worker=True)], off=True)
    assert gone.control == () and gone.power == (("n2",), ("n1",))


def test_a_voter_that_cannot_be_reached_and_is_up_is_not_taken_to_be_off(lab: Lab) -> None:
    hosts = seen(lab.formed(3))
    with pytest.raises(QuorumLost):
        shutdown([hosts[0], hosts[1], Seen("n3")], off=True)


def test_in_check_mode_machines_that_were_not_switched_on_are_no_obstacle(lab: Lab) -> None:
    assert startup([Seen("n1"), Seen("n2", worker=True)], off=True).control == ()
    found = startup([*seen(lab.formed(1)), Seen("n2", worker=True)], off=True)
    assert found.control == ("n1",) and found.conductor == "n1"
