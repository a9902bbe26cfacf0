# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of a cluster and of a node, without a server: members drawn, scans read, actions told in their order."""

from __future__ import annotations

from typing import Any

import pytest

from rackstead.fleet.actions import ACTIONS
from rackstead.fleet.members import Drawn, Scan, drawn, scanned, summary
from rackstead.fleet.service import target_of
from rackstead.jobs.model import Job, JobState
from rackstead.jobs.workflows import Catalog
from rackstead.web import clusters, pages


def node(name: str, worker: bool = False, **more: Any) -> dict[str, Any]:
    bare = {"id": 1, "name": name, "cluster": "lab", "worker": worker, "address": name, "port": 0, "user": ""}
    return {**bare, "key_file": "", "labels": {}, "mac": "", "bmc": {}, **more}


NODES = [node("n1"), node("n2"), node("n3"), node("n4"), node("n5"), node("n10"), node("w1", worker=True)]


def known(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "place": "control-plane", "version": "v1.32.3", "channel": "1.32/stable", **more}


def told(host: str, status: str = "ok", **result: Any) -> dict[str, Any]:
    return {"action": "rackstead.infra.microk8s_info", "task": "Look", "host": host, "status": status, "result": result}


def answer() -> dict[str, Any]:
    roles = {"n1": "voter", "n2": "voter", "n3": "voter", "n4": "standby", "n5": "spare", "n10": "spare"}
    store = {
        "members": [{"name": name, "role": role, "up": name != "n3"} for name, role in roles.items()],
        "quorum": True,
        "bytes": 4096,
    }
    nodes = [{"name": name, "ready": name != "n4", "schedulable": name != "n5"} for name in (*roles, "w1")]
    late = {"severity": "critical", "what": "n3 is down", "todo": "start it"}
    soon = {"severity": "warning", "what": "server.crt", "todo": "refresh it"}
    certificates = [{"name": "server.crt", "days": 300}, {"name": "front.crt", "days": 12}]
    return {
        "results": [
            told("n1", microk8s=known("n1", datastore=store, nodes=nodes, certificates=certificates), findings=[soon]),
            told("n2", microk8s=known("n2", datastore={"members": [], "quorum": None}), findings=[soon, late]),
            told("n3", "unreachable", msg="no route"),
            told("w1", microk8s=known("w1", place="stopped", datastore={}), findings=[]),
            {"action": "ansible.builtin.debug", "task": "Say", "host": "n1", "status": "ok", "result": {}},
        ]
    }


def test_members_are_drawn_as_the_scan_found_them() -> None:
    found = drawn(NODES, scanned(answer()))
    assert [(one.name, one.role, one.shape, one.said, one.tone) for one in found] == [
        ("n1", "voter", "circle", "ready", "ok"),
        ("n2", "voter", "circle", "ready", "ok"),
        ("n3", "voter", "circle", "unreachable", "failed"),
        ("n4", "standby", "diamond", "not ready", "failed"),
        ("n10", "spare", "triangle", "ready", "ok"),
        ("n5", "spare", "triangle", "takes no pods", "interrupted"),
        ("w1", "worker", "square", "stopped", "failed"),
    ]
    assert [one.name for one in found if one.crossed] == ["n3", "n4", "w1"]
    assert summary(found) == (
        "3 voters, 1 standby, 2 spares, 1 worker; n3 is unreachable, n4 is not ready, w1 is stopped."
    )


def test_without_a_scan_nothing_is_claimed() -> None:
    found = drawn([node("n1", address="192.0.2.1"), node("w1", worker=True)], Scan())
    assert [(one.role, one.shape, one.said, one.tone, one.address) for one in found] == [
        ("control plane", "hexagon", "not scanned", "pending", "192.0.2.1"),
        ("worker", "square", "not scanned", "pending", ""),
    ]
    assert summary(found) == "1 of the control plane, 1 worker."
    assert summary([]) == "no members."
    assert scanned({}) == Scan()


@pytest.mark.parametrize(
    ("place", "words"), [("absent", "is not installed"), ("stopped", "is stopped"), ("unresponsive", "does not answer")]
)
def test_a_machine_that_says_itself_what_is_wrong(place: str, words: str) -> None:
    found = drawn([node("n1")], Scan({"n1": known("n1", place=place)}))
    assert found[0].crossed
    assert summary(found) == f"1 of the control plane; n1 {words}."


def test_a_node_that_kubernetes_knows_by_another_name() -> None:
    store = {"members": [{"name": "pi-1", "role": "voter", "up": True}], "quorum": True}
    own = known("pi-1", datastore=store, nodes=[{"name": "pi-1", "ready": True}])
    assert drawn([node("n1")], Scan({"n1": own})) == [Drawn("n1", "voter", "ready")]


def test_findings_come_once_and_the_worst_first() -> None:
    scan = scanned(answer())
    assert [one[0] for one in scan.findings] == ["critical", "warning"]
    assert scan.away == {"n3"}
    first = clusters.rows(scan)[0]
    assert (first["name"], first["certificates"], first["bytes"]) == ("n1", "12 days (front.crt)", 4096)
    assert [one["certificates"] for one in clusters.rows(scan)[1:]] == ["", ""]


def test_actions_name_the_members_in_their_order() -> None:
    members = drawn(NODES, scanned(answer()))
    stopped = ACTIONS["shutdown"].steps(members)
    assert "n1, n2, n3, n4, n10, n5, w1" in stopped[1]
    assert stopped[3].endswith("all at once: w1.")
    assert "n10, n5, n4, n1, n2, n3" in stopped[4]  # spares, standbys, voters
    assert ACTIONS["shutdown-force"].steps(members) == stopped[3:]
    for action in ACTIONS.values():
        assert all(step.endswith(".") for step in action.steps([]))


def test_actions_are_workflows_that_take_what_they_are_given() -> None:
    catalog = Catalog([])
    for action in ACTIONS.values():
        given = {"rackstead_host": "cluster_lab", **action.variables}
        given |= {action.field: 50 if action.field.endswith("_percent") else "1.33/stable"} if action.field else {}
        workflow = catalog.get(action.workflow)
        assert workflow.check(given) == given
        assert workflow.targets(given) == [target_of("lab")]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"target": ["cluster cluster_lab"]}, True),
        ({"target": ["cluster cluster_lab2"]}, False),
        ({"target": ["hardware_nodes:n1"]}, True),
        ({"target": ["hardware_nodes:n10"]}, False),
        ({"recap": {"n1": {"ok": 1}}}, True),
        ({"recap": {"n10": {"ok": 1}}}, False),
    ],
)
def test_which_jobs_are_a_nodes(more: dict[str, Any], expected: bool) -> None:
    job = Job("1", "scan", "Scan", {}, 1.0, state=JobState.COMPLETED, **more)
    assert clusters.concerns(job, node("n1")) is expected


def test_the_facts_of_a_node_are_those_that_are_set() -> None:
    bmc = {"address": "192.0.2.9", "protocol": "redfish", "username": "ops"}
    found = node("n1", labels={"rack": "a", "disk": "ssd"}, bmc=bmc, mac="02:00:00:00:00:01")
    assert clusters.facts(found) == [
        ("Number", "1"),
        ("Address", "n1"),
        ("Labels", "disk=ssd, rack=a"),
        ("MAC", "02:00:00:00:00:01"),
        ("BMC", "redfish ops 192.0.2.9"),
    ]


def test_the_drawing_tells_shapes_and_words_and_no_markup() -> None:
    macro = pages.templates.get_template("drawing.html").module
    found = drawn(NODES, scanned(answer()))
    text = str(macro.members([*found, Drawn("<b>", "worker")], summary(found), 3))  # type: ignore[attr-defined]
    for one in found:
        assert f'data-shape="{one.shape}"' in text
        assert f">{one.name}</a>" in text
    assert text.count("M11 11 23 23M23 11 11 23") == 3
    assert "<b>" not in text
    assert "And 3 more." in text
