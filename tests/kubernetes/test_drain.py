# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes cordoned, emptied and let back in, on a real API server with its controllers and scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, NotFound, OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import evict, node
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.parse import CORDONED_BY
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Result
from testbed.kube import Site

#: For what has to happen, and for what must not.
WAIT, BRIEF = 120.0, 1.0


def of_api(site: Site, name: str) -> tuple[bool, str]:
    """Whether a node takes no pods, and who says to have wanted it so."""
    found = site.cluster.call("GET", f"/api/v1/nodes/{name}")
    return bool(found["spec"].get("unschedulable")), found["metadata"].get("annotations", {}).get(CORDONED_BY, "")


def pods_on(site: Site, name: str) -> list[str]:
    """The applications whose pods a node has."""
    pods = site.cluster.pods(site.namespace)
    return sorted(one["metadata"]["labels"]["app"] for one in pods if one["spec"].get("nodeName") == name)


def test_a_node_is_drained_and_let_back_in(site: Site, client: MicroK8s) -> None:
    here, there = site.nodes
    site.runs("daemonsets", "proxy")
    site.runs("deployments", "web", 3)
    site.runs("statefulsets", "db", 2)
    before = len([name for name in pods_on(site, here) if name != "proxy"])
    planned = node.ensure_drained(client, here, WAIT, False, True)
    assert len(planned["evicted"]) == before and of_api(site, here) == (False, "")
    done = node.ensure_drained(client, here, WAIT, False, False)
    assert {name: done[name] for name in ("changed", "evicted", "diff")} == {
        name: planned[name] for name in ("changed", "evicted", "diff")
    }
    assert of_api(site, here) == (True, "rackstead") and pods_on(site, here) == ["proxy"]
    site.wait(
        lambda: set(site.running("web").values()) == {there} and len(site.running("web")) == 3, "the others' pods"
    )
    site.wait(lambda: site.running("db") == {"db-0": there, "db-1": there}, "the StatefulSet's pods")
    again = node.ensure_drained(client, here, WAIT, False, False)
    assert not again["changed"] and again["evicted"] == []
    assert node.ensure_uncordoned(client, here, False)["changed"]
    assert of_api(site, here) == (False, "")
    assert not node.ensure_uncordoned(client, here, False)["changed"]


def test_what_others_cordoned_stays_cordoned(site: Site, client: MicroK8s) -> None:
    here, there = site.nodes
    client.kubectl("cordon", here)
    assert node.ensure_emptied(client, site.nodes, WAIT, check=False)["changed"]
    assert of_api(site, here) == (True, "") and of_api(site, there) == (True, "rackstead")
    assert node.ensure_released(client, site.nodes, check=False)["changed"]
    assert of_api(site, here) == (True, "") and of_api(site, there) == (False, "")


def test_a_node_that_is_not_there(client: MicroK8s) -> None:
    with pytest.raises(NotFound, match='no node "n11"; did you mean "n1"'):
        node.ensure_drained(client, "n11", WAIT, False, False)


def test_a_budget_in_the_way_is_named_and_tried_again_until_it_allows_it(site: Site, client: MicroK8s) -> None:
    site.runs("deployments", "web", 2)
    site.budget("web", 2)
    told = node.ensure_emptied(client, site.nodes, BRIEF, check=False)
    why = "disruption budget web allows 0 disruptions (2 healthy, 2 needed)"
    assert [one["why"] for one in told["blocked"]] == [why, why] and told["evicted"] == []
    assert all(one["budgets"] == [{"name": "web", "allowed": 0, "healthy": 2, "needed": 2}] for one in told["blocked"])
    assert len(site.running("web")) == 2
    assert node.ensure_released(client, site.nodes[1:], check=False)["changed"]

    class Loosens:
        """Somebody changes the budget after an eviction was refused."""

        runner, refused = client.runner, 0

        def run(self, argv: Sequence[str], timeout: float, feed: str = "") -> Result:
            result = Loosens.runner.run(argv, timeout, feed)
            if feed and "(TooManyRequests)" in result.err:
                Loosens.refused += 1
                site.cluster.patch(site.path("poddisruptionbudgets", "web"), {"spec": {"minAvailable": 1}})
            return result

    before = sum(name == site.nodes[0] for name in site.running("web").values())
    client.runner = Loosens()
    done = node.ensure_drained(client, site.nodes[0], WAIT, False, False)
    assert len(done["evicted"]) == before and (Loosens.refused > 0) == (before > 0)
    site.wait(lambda: list(site.running("web").values()) == [site.nodes[1]] * 2, "both on the other node")


def test_two_budgets_for_one_pod_are_told(site: Site, client: MicroK8s) -> None:
    site.runs("deployments", "web", 1)
    site.budget("web", 0)
    second = {
        "minAvailable": 0,
        "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]},
    }
    site.make("poddisruptionbudgets", "second", second)
    told = node.ensure_emptied(client, site.nodes, BRIEF, check=False)
    assert told["blocked"][0]["why"] == "disruption budgets second, web cover it, of which there may be one"
    assert [one["name"] for one in told["blocked"][0]["budgets"]] == ["second", "web"]


def bare(site: Site, name: str, about: dict[str, Any] | None = None, **spec: Any) -> None:
    """A pod without a controller, on the first node."""
    given = {**site.template(name, **spec)["spec"], "nodeName": site.nodes[0]}
    site.make("pods", name, given, labels={"app": name}, **(about or {}))
    site.wait(lambda: name in site.running(name), f"pod {name} to run")


def test_pods_without_a_controller(site: Site, client: MicroK8s) -> None:
    bare(site, "static", {"annotations": {evict.MIRROR: "x"}})
    bare(site, "alone")
    bare(site, "done")
    site.cluster.patch(f"{site.path('pods', 'done')}/status", {"status": {"phase": "Succeeded"}})
    told = node.ensure_drained(client, site.nodes[0], WAIT, False, False)
    assert told["evicted"] == [f"{site.namespace}/alone", f"{site.namespace}/done"]
    assert f"pod {site.namespace}/alone: it belongs to no controller, and nobody makes another" in told["warnings"]
    assert pods_on(site, site.nodes[0]) == ["static"]


def test_volumes_that_would_be_lost(site: Site, client: MicroK8s) -> None:
    bare(site, "cache", volumes=[{"name": "scratch", "emptyDir": {}}])
    with pytest.raises(
        Conflict, match=f"pod {site.namespace}/cache: what is in its emptyDir volume scratch would be lost"
    ):
        node.ensure_drained(client, site.nodes[0], WAIT, False, False, delete_emptydir=False)
    assert of_api(site, site.nodes[0]) == (False, "") and "cache" in site.running("cache")
    assert node.ensure_drained(client, site.nodes[0], WAIT, False, False)["evicted"] == [f"{site.namespace}/cache"]


def test_a_pod_that_does_not_end_is_told(site: Site, client: MicroK8s) -> None:
    bare(site, "slow")
    site.kubelets.stuck.add(f"{site.namespace}/slow")
    with pytest.raises(
        OperationFailed, match=rf"pod {site.namespace}/slow: has been asked to leave \(it may take 30 s\)"
    ):
        node.ensure_drained(client, site.nodes[0], BRIEF, False, False)
    assert of_api(site, site.nodes[0]) == (True, "rackstead")
    site.kubelets.stuck.clear()
    assert node.ensure_drained(client, site.nodes[0], WAIT, False, False)["evicted"] == []  # it was asked before


def test_an_eviction_is_of_the_very_pod(site: Site, client: MicroK8s) -> None:
    bare(site, "alone")
    emptying = evict.Emptying(client, site.nodes[:1])
    (old,) = emptying.asked()
    site.cluster.call("DELETE", site.path("pods", "alone"), {"gracePeriodSeconds": 0})
    bare(site, "alone")
    emptying._takes = evict._version(client, WAIT)
    emptying._ask(old)
    assert "alone" in site.running("alone") and not emptying.evicted and "(Conflict)" in emptying.refused[old.uid]
