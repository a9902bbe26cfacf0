# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why pods are not ready, and which claims have no volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import info, pods
from testbed.microk8s import FAST, Lab


def pod(phase: str = "Pending", about: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    metadata = {"name": "web-0", "namespace": "shop", **(about or {})}
    return {"metadata": metadata, "spec": {"nodeName": "n2"}, "status": {"phase": phase, **status}}


def container(restarts: int = 0, ready: bool = False, **state: Any) -> dict[str, Any]:
    return {"name": "c", "restartCount": restarts, "ready": ready, "state": state}


NO_CPU = "0/3 nodes are available: 3 Insufficient cpu."
READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("item", "reason", "restarts"),
    [
        (
            pod(
                "Running",
                containerStatuses=[container(7, waiting={"reason": "CrashLoopBackOff", "message": "back-off"})],
            ),
            "CrashLoopBackOff",
            7,
        ),
        (pod(containerStatuses=[container(waiting={"reason": "ImagePullBackOff"})]), "ImagePullBackOff", 0),
        (
            pod(
                initContainerStatuses=[container(2, terminated={"reason": "Error"})],
                containerStatuses=[container(waiting={"reason": "PodInitializing"})],
            ),
            "Error",
            2,
        ),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_CPU}]),
            "Unschedulable",
            0,
        ),
        (pod("Running", containerStatuses=[container(running={})]), "NotReady", 0),
        (pod("Failed", reason="Evicted", message="The node was low on resource"), "Evicted", 0),
        (pod("Running", {"deletionTimestamp": "2026-01-01T00:00:00Z"}), "Terminating", 0),
        (pod(containerStatuses=[container(waiting={"reason": "ContainerCreating"})]), "Pending", 0),
        ({"metadata": {"name": "web-0", "namespace": "shop"}}, "Unknown", 0),
    ],
)
def test_why_a_pod_is_not_ready(item: dict[str, Any], reason: str, restarts: int) -> None:
    (found,) = pods.unwell([item])
    assert (found["namespace"], found["name"]) == ("shop", "web-0")
    assert (found["reason"], found["restarts"]) == (reason, restarts)


def test_what_is_ready_or_has_ended_well_is_left_out() -> None:
    assert pods.unwell([pod("Succeeded"), pod("Running", conditions=READY)]) == []


def claim(name: str, phase: str, **spec: Any) -> dict[str, Any]:
    asked = {"resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": asked, "status": {"phase": phase}}


def test_a_scan_tells_pods_and_claims_with_what_to_do(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state", FAST)
    node = lab.formed(1)["n1"]
    assert info.gather(node)["pods"] is None
    well = info.gather(node, workloads=True)
    assert (well["pods"], well["claims"]) == ([], [])
    with lab.truth() as state:
        held = state["clusters"]["c"]["objects"]
        held["pods"].append(pod("Running", containerStatuses=[container(7, waiting={"reason": "CrashLoopBackOff"})]))
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_CPU}
        held["pods"].append(pod(about={"name": "db-0"}, conditions=[unscheduled]))
        bound = claim("a", "Bound", storageClassName="microk8s-hostpath", volumeName="pvc-1")
        bound["status"]["capacity"] = {"storage": "2Gi"}
        pending = claim("b", "Pending", storageClassName="fast")
        held["persistentvolumeclaims"] = [bound, pending, claim("c", "Lost", volumeName="pvc-2")]
    found = info.gather(node, workloads=True)
    assert found["claims"][0] == {
        "namespace": "shop",
        "name": "a",
        "phase": "Bound",
        "class": "microk8s-hostpath",
        "size": "2Gi",
        "volume": "pvc-1",
    }
    told = [f"{one.severity}: {one.what}: {one.todo}" for one in info.findings(found) if one not in info.findings(well)]
    assert told == [
        f"warning: pod shop/db-0 is not ready: Unschedulable: {NO_CPU}: add a node, uncordon one, or ask for less",
        "warning: pod shop/web-0 is not ready: CrashLoopBackOff, restarted 7 times: see kubectl logs --previous",
        (
            "warning: claim shop/b (class fast, 1Gi) is pending: see that the storage class is there and its provisioner "
            "runs; one that waits for a pod is well"
        ),
        "warning: claim shop/c (no class, 1Gi) is lost: its volume pvc-2 is gone: restore it, or delete the claim",
    ]
