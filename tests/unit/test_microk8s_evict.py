# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods asked to leave by the eviction API, on clusters of the stand-in: who goes, who stays, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import evict, node
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.evict import Budget, Emptying, Pod
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Result
from testbed.microk8s import FAST, Lab

WAIT = 60.0


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state", FAST)


def pod(name: str, node: str = "n1", about: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod of a ReplicaSet, as the API server tells it."""
    owner = {"kind": "ReplicaSet", "name": "api", "controller": True, "uid": "x"}
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "ownerReferences": [owner], **(about or {})}
    return {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": node, **spec}, "status": {"phase": "Running"}}


def put(lab: Lab, *pods: dict[str, Any]) -> None:
    """These pods, and no others."""
    with lab.truth() as state:
        cluster = state["clusters"]["c"]
        cluster["objects"] = {"pods": list(pods)}
        for one in cluster["nodes"].values():
            one["pods"] = 0


def where(lab: Lab) -> dict[str, str]:
    """The node of each pod; none where it waits for one."""
    pods = lab.cluster("n1")["objects"]["pods"]
    return {one["metadata"]["name"]: one["spec"].get("nodeName", "") for one in pods}


def owned_by(kind: str) -> dict[str, Any]:
    return {"ownerReferences": [{"kind": kind, "name": "x", "controller": True, "uid": "x"}]}


# -- who goes --------------------------------------------------------------------------------------
def test_pods_of_daemonsets_and_mirror_pods_are_left(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    mirror = {"annotations": {evict.MIRROR: "x"}, "ownerReferences": []}
    put(lab, pod("proxy", about=owned_by("DaemonSet")), pod("static", about=mirror), pod("api"), pod("far", "n2"))
    told = node.ensure_emptied(client, ["n1"], WAIT, check=False)
    assert told["evicted"] == ["shop/api"] and told["left"] == {} and told["warnings"] == []
    assert where(lab) == {"proxy": "n1", "static": "n1", "api": "", "far": "n2"}


def test_a_pod_that_nobody_makes_anew_is_warned_of(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    put(lab, pod("bare", "n2", about={"ownerReferences": []}))
    planned = node.ensure_drained(client, "n2", WAIT, False, True)
    assert where(lab) == {"bare": "n2"}
    assert node.ensure_drained(client, "n2", WAIT, False, False) == planned
    assert planned["warnings"] == ["pod shop/bare: it belongs to no controller, and nobody makes another"]


def test_what_would_be_lost_with_a_pod_is_an_option(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    keeps = pod("cache", "n2", volumes=[{"name": "scratch", "emptyDir": {}}, {"name": "settings", "configMap": {}}])
    put(lab, keeps, pod("api", "n2"))
    with pytest.raises(Conflict, match=r"pod shop/cache: what is in its emptyDir volume scratch would be lost"):
        node.ensure_drained(client, "n2", WAIT, False, False, delete_emptydir=False)
    assert not lab.cluster("n1")["nodes"]["n2"]["cordoned"]  # nothing was begun
    told = node.ensure_emptied(client, ["n2"], WAIT, check=False, delete_emptydir=False)
    assert list(told["left"]) == ["n2"] and where(lab) == {"cache": "n2", "api": ""}
    assert node.ensure_drained(client, "n2", WAIT, False, False)["evicted"] == ["shop/cache"]


# -- what is in the way ----------------------------------------------------------------------------
def test_a_budget_in_the_way_is_named_with_what_it_allows(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    with lab.truth() as state:
        state["clusters"]["c"]["nodes"]["n2"].update(budget=True)
    told = node.ensure_emptied(client, ["n2"], 0.2, check=False)
    why = "disruption budget web-n2 allows 0 disruptions (2 healthy, 2 needed)"
    first = told["blocked"][0]
    assert (first["namespace"], first["name"], first["node"], first["why"]) == ("default", "web-n2-0", "n2", why)
    assert first["budgets"] == [{"name": "web-n2", "allowed": 0, "healthy": 2, "needed": 2}]
    assert f"pod default/web-n2-1: {why}" in told["left"]["n2"]
    with pytest.raises(OperationFailed, match=r"node n2 could not be drained within 0.2 s: pod default/web-n2-0"):
        node.ensure_drained(client, "n2", 0.2, False, False)


class Freeing:
    """Runs what it is told, and takes a budget away after so many refusals."""

    def __init__(self, lab: Lab, client: MicroK8s, after: int) -> None:
        self.lab, self.runner, self.after = lab, client.runner, after

    def run(self, argv: Sequence[str], timeout: float, feed: str = "") -> Result:
        result = self.runner.run(argv, timeout, feed)
        if "(TooManyRequests)" in result.err:
            self.after -= 1
            if self.after == 0:
                with self.lab.truth() as state:
                    state["clusters"]["c"]["nodes"]["n2"].update(budget=False)
        return result


def test_an_eviction_that_is_refused_is_tried_again(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    with lab.truth() as state:
        state["clusters"]["c"]["nodes"]["n2"].update(budget=True)
    client.runner = Freeing(lab, client, after=3)
    told = node.ensure_emptied(client, ["n2"], WAIT, check=False)
    assert told["left"] == {} and told["evicted"] == ["default/web-n2-0", "default/web-n2-1"]


def test_a_pod_that_does_not_go_is_told_with_what_it_waits_for(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    leaving = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30, "finalizers": ["x/y"]}
    put(lab, pod("slow", "n2", about=leaving))
    told = node.ensure_emptied(client, ["n2"], 0.1, check=False)
    assert (
        told["blocked"][0]["why"] == "has been asked to leave (it may take 30 s), and waits for x/y, and is there still"
    )
    assert told["evicted"] == []


class Away:
    """An API server that answers nothing from the first eviction on."""

    def __init__(self, client: MicroK8s) -> None:
        self.runner, self.away = client.runner, False

    def run(self, argv: Sequence[str], timeout: float, feed: str = "") -> Result:
        self.away = self.away or bool(feed)
        refused = "The connection to the server 127.0.0.1:16443 was refused - did you specify the right host or port?"
        return Result(1, "", refused) if self.away else self.runner.run(argv, timeout)


def test_an_api_server_that_goes_away_is_told_for_each_pod(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    client.runner = Away(client)
    told = node.ensure_emptied(client, ["n2"], 0.2, check=False)
    assert "did you specify the right host" in told["left"]["n2"] and told["evicted"] == []


def test_text_of_microk8s_with_exit_code_0_is_no_eviction(lab: Lab) -> None:
    class Plain(Away):
        def run(self, argv: Sequence[str], timeout: float, feed: str = "") -> Result:
            return (
                Result(0, "This MicroK8s deployment is acting as a node in a cluster.\n", "")
                if feed
                else self.runner.run(argv, timeout)
            )

    client = lab.formed(1, 1)["n1"]
    client.runner = Plain(client)
    told = node.ensure_emptied(client, ["n2"], 0.2, check=False)
    assert told["evicted"] == [] and list(told["left"]) == ["n2"]


def test_a_pod_that_came_back_under_its_name_is_not_taken_for_the_old_one(lab: Lab) -> None:
    client = lab.formed(1, 1)["n1"]
    put(lab, pod("db-0", "n2", about=owned_by("StatefulSet")))
    emptying = Emptying(client, ["n2"])
    (old,) = emptying.asked()
    with lab.truth() as state:
        state["clusters"]["c"]["objects"]["pods"][0]["metadata"]["uid"] = "new"
    emptying._takes = "policy/v1"
    emptying._ask(old)
    assert where(lab) == {"db-0": "n2"} and not emptying.evicted


def test_only_the_first_of_many_are_told_in_a_line() -> None:
    held = [evict.Held(Pod("shop", f"p{number}", str(number), "n1"), "stays") for number in range(8)]
    assert evict.line(held).endswith("pod shop/p4: stays; and 3 more")


# -- which budgets ---------------------------------------------------------------------------------
RULE = {"key": "tier", "operator": "In", "values": ["web", "api"]}


@pytest.mark.parametrize(
    ("selector", "covered"),
    [
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "mail"}}, False),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [RULE]}, False),
        ({"matchExpressions": [RULE | {"operator": "NotIn"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({}, True),
        (None, False),
    ],
)
def test_a_budget_covers_the_pods_that_its_selector_means(selector: dict[str, Any] | None, covered: bool) -> None:
    one = Pod("shop", "web-1", "u", "n1", labels={"app": "web"})
    assert Budget("shop", "web", selector).covers(one) is covered
    assert not Budget("elsewhere", "web", selector).covers(one)


def test_before_policy_v1_an_empty_selector_means_no_pod() -> None:
    item = {"apiVersion": "policy/v1beta1", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {}}}
    one = Pod("shop", "web-1", "u", "n1")
    assert not evict.budget_of(item).covers(one)
    assert evict.budget_of({**item, "apiVersion": "policy/v1"}).covers(one)
