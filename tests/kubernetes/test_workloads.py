# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads scaled down, paused and put back, and objects backed up and made anew, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import objects, workloads
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Result
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.workloads import (
    KEPT,
    PRIORITY,
    Selection,
    Target,
)
from testbed.kube import Object, Site

HALF = Target(percent=50)


def levels(site: Site) -> dict[str, int]:
    """What the specifications say."""
    found = {
        name: site.read(kind, name)["spec"]["replicas"]
        for kind, name in (("deployments", "web"), ("deployments", "mail"), ("statefulsets", "db"))
    }
    return {**found, "report": int(not site.read("cronjobs", "report")["spec"]["suspend"])}


@pytest.fixture
def shop(site: Site) -> Site:
    """Two Deployments, a StatefulSet and a CronJob."""
    high = {PRIORITY: "10"}
    site.runs("deployments", "web", 3, labels=high)
    site.runs("deployments", "mail", 2, labels={"team": "post"})
    site.runs("statefulsets", "db", 3, labels=high)
    job = {"template": site.template("report", restartPolicy="Never")}
    site.make("cronjobs", "report", {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": job}}, labels=high)
    return site


def marks(site: Site) -> list[str]:
    kinds = ("deployments", "statefulsets", "cronjobs")
    items = [item for kind in kinds for item in site.cluster.items(site.path(kind))]
    return sorted(one["metadata"]["name"] for one in items if KEPT in one["metadata"].get("annotations", {}))


def test_reasons_come_and_go_and_all_is_what_it_was(shop: Site, client: MicroK8s) -> None:
    was, here = levels(shop), Selection(namespaces=(shop.namespace,))
    down = f"down-{shop.namespace[2:]}"
    assert was == {"web": 3, "mail": 2, "db": 3, "report": 1}
    planned = workloads.scale(client, down, here, HALF, check=True)
    assert planned["changed"] and levels(shop) == was and marks(shop) == []
    assert workloads.scale(client, down, here, HALF) == planned
    assert levels(shop) == {"web": 2, "mail": 1, "db": 2, "report": 1}
    assert not workloads.scale(client, down, here, HALF)["changed"]
    assert workloads.scale(client, f"{down}x", here, workloads.PAUSED)["changed"]
    assert levels(shop) == {"web": 0, "mail": 0, "db": 0, "report": 0}
    shop.wait(lambda: not shop.running("web") and not shop.running("db"), "no pods to be there")
    assert workloads.restore(client, down)["changed"]
    assert levels(shop) == {"web": 0, "mail": 0, "db": 0, "report": 0}
    assert workloads.restore(client, f"{down}x")["changed"]
    assert levels(shop) == was and marks(shop) == []
    assert not workloads.restore(client, f"{down}x")["changed"]
    shop.wait(lambda: (len(shop.running("web")), len(shop.running("db"))) == (3, 3), "the pods to be back")


def test_a_priority_cannot_be_below_0(site: Site) -> None:
    """A label's value does not begin with a hyphen: without the label is the lowest there is."""
    with pytest.raises(RuntimeError, match="must start and end with an alphanumeric character"):
        site.runs("deployments", "web", labels={PRIORITY: "-1"})


def test_selections(shop: Site, client: MicroK8s) -> None:
    here = (shop.namespace,)
    workloads.scale(client, "a", Selection(here, below_priority=5), workloads.PAUSED)
    assert marks(shop) == ["mail"]
    workloads.restore(client, "a")
    workloads.scale(client, "a", Selection(here, selector="team in (post),team!=shop"), workloads.PAUSED)
    assert marks(shop) == ["mail"]
    workloads.restore(client, "a")
    with pytest.raises(InvalidInput, match=f'no "{shop.namespace}x"; did you mean "{shop.namespace}"'):
        workloads.scale(client, "a", Selection((f"{shop.namespace}x",)), HALF)
    with pytest.raises(OperationFailed, match=r"unable to parse requirement|couldn't parse the selector string"):
        workloads.scale(client, "a", Selection(here, selector="a b"), HALF)
    assert marks(shop) == []


class Between:
    """Does something right before the first patch is sent."""

    def __init__(self, client: MicroK8s, act: Any) -> None:
        self.runner, self.act, self.patches = client.runner, act, []
        client.runner = self

    def run(self, argv: Sequence[str], timeout: float, feed: str = "") -> Result:
        if argv[2] == "patch":
            if not self.patches:
                self.act()
            self.patches.append(None)
        result = self.runner.run(argv, timeout, feed)
        if argv[2] == "patch":
            self.patches[-1] = result
        return result


def test_who_writes_at_the_same_time_is_not_overwritten(site: Site, client: MicroK8s) -> None:
    site.runs("deployments", "web", 4)
    path = site.path("deployments", "web")
    between = Between(client, lambda: site.cluster.patch(path, {"spec": {"replicas": 2}}))
    workloads.scale(client, "a", Selection((site.namespace,)), HALF)
    assert "(Conflict)" in between.patches[0].err and between.patches[-1].rc == 0
    assert site.read("deployments", "web")["spec"]["replicas"] == 1
    workloads.restore(client, "a")
    assert site.read("deployments", "web")["spec"]["replicas"] == 2


def test_what_goes_away_meanwhile_is_left_out(site: Site, client: MicroK8s) -> None:
    site.runs("deployments", "web", 2)
    between = Between(client, lambda: site.cluster.call("DELETE", site.path("deployments", "web")))
    assert not workloads.scale(client, "a", Selection((site.namespace,)), HALF)["changed"]
    assert "(NotFound)" in between.patches[0].err


def test_a_number_that_somebody_else_set_counts(site: Site, client: MicroK8s) -> None:
    site.runs("deployments", "web", 4)
    workloads.scale(client, "a", Selection((site.namespace,)), HALF)
    site.cluster.patch(site.path("deployments", "web"), {"spec": {"replicas": 7}})
    told = workloads.restore(client, "a")
    assert "somebody set 7 replicas meanwhile" in told["warnings"][0]
    assert site.read("deployments", "web")["spec"]["replicas"] == 7 and marks(site) == []


def test_autoscalers_are_told(site: Site, client: MicroK8s) -> None:
    site.runs("deployments", "web", 3)
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    site.make("horizontalpodautoscalers", "web", {"scaleTargetRef": aim, "minReplicas": 2, "maxReplicas": 5})
    told = workloads.scale(client, "a", Selection((site.namespace,)), HALF)
    assert "HorizontalPodAutoscaler web keeps 2 or more" in told["warnings"][0]
    workloads.restore(client, "a")


# -- objects ---------------------------------------------------------------------------------------
def written(client: MicroK8s, namespace: str) -> dict[str, list[Object]]:
    """What a backup would hold of a namespace."""
    return {kind: group for (kind, place), group in objects.collect(client).items() if place == namespace}


def test_objects_that_are_backed_up_can_be_made_anew(shop: Site, client: MicroK8s, tmp_path: Path) -> None:
    shop.make("services", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    shop.budget("web", 1)
    text = {"motd": "hello\n---\nmicrok8s is not running\n", "sign": "\u2028 \x85 \U0001f600 ü"}
    shop.cluster.call("POST", shop.path("configmaps"), {"metadata": {"name": "settings"}, "data": text})
    shop.cluster.call("POST", shop.path("secrets"), {"metadata": {"name": "key"}, "stringData": {"key": "hush"}})
    before = written(client, shop.namespace)
    named = {kind: [one["metadata"]["name"] for one in group] for kind, group in before.items()}
    assert named == {
        "configmaps": ["settings"],
        "cronjobs.batch": ["report"],
        "deployments.apps": ["mail", "web"],
        "poddisruptionbudgets.policy": ["web"],
        "secrets": ["key"],
        "serviceaccounts": ["default"],
        "services": ["web"],
        "statefulsets.apps": ["db"],
    }
    for kind, names in named.items():
        if kind != "serviceaccounts":
            client.kubectl("delete", kind, *names, f"--namespace={shop.namespace}", "--wait=false")
    shop.wait(lambda: set(written(client, shop.namespace)) <= {"serviceaccounts"}, "the objects to be gone")
    for number, group in enumerate(before.values()):
        file = tmp_path / f"{number}.yaml"
        file.write_bytes(objects.written(group))
        client.kubectl("apply", f"--filename={file}")
    after = written(client, shop.namespace)
    assert {kind: [_bare(one) for one in group] for kind, group in after.items()} == {
        kind: [_bare(one) for one in group] for kind, group in before.items()
    }
    assert after["configmaps"][0]["data"] == text
    shop.wait(lambda: len(shop.running("web")) == 3, "its pods to run")


def _bare(one: Object) -> str:
    """An object without the note that ``kubectl apply`` leaves on it."""
    about = {**one["metadata"]}
    notes = {key: value for key, value in about.pop("annotations", {}).items() if "last-applied" not in key}
    return json.dumps({**one, "metadata": {**about, "annotations": notes}}, sort_keys=True)


def test_what_the_cluster_makes_itself_is_not_backed_up(site: Site, client: MicroK8s) -> None:
    site.runs("deployments", "web", 2)
    groups = objects.collect(client)
    mine = {kind for kind, place in groups if place == site.namespace}
    assert mine == {"deployments.apps", "serviceaccounts"}
    assert not {kind for kind, _place in groups} & {"events", "endpoints", "leases.coordination.k8s.io", "nodes"}
    roles = [
        one["metadata"]["name"] for one in groups.get(("clusterroles.rbac.authorization.k8s.io", objects.NOWHERE), [])
    ]
    assert "cluster-admin" not in roles
