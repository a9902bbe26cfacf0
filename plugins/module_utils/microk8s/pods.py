# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that are not well, and why, and claims of storage: read from what the API server says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

#: What to do about a reason that Kubernetes gives.
REMEDIES = {
    "CrashLoopBackOff": "see kubectl logs --previous",
    "ImagePullBackOff": "see that the image's name is right, and that the registry can be reached",
    "ErrImagePull": "see that the image's name is right, and that the registry can be reached",
    "InvalidImageName": "mend the image's name",
    "CreateContainerConfigError": "see that the ConfigMaps and Secrets are there that it names",
    "Unschedulable": "add a node, uncordon one, or ask for less",
    "OOMKilled": "raise the container's memory limit, or find what it holds",
    "Evicted": "see what fills the node's disk or memory, and delete the pod",
}


def unwell(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pods that are not ready and have not ended well, by namespace and name."""
    found = [_pod(item) for item in items if not _well(item)]
    return sorted(found, key=lambda one: (one["namespace"], one["name"]))


def _well(item: dict[str, Any]) -> bool:
    status = item.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    return status.get("phase") == "Succeeded" or conditions.get("Ready") == "True"


def _pod(item: dict[str, Any]) -> dict[str, Any]:
    about, status = item["metadata"], item.get("status") or {}
    reason, message = next(_reasons(item), (str(status.get("phase") or "Unknown"), ""))
    return {
        "namespace": about.get("namespace", ""),
        "name": about["name"],
        "node": (item.get("spec") or {}).get("nodeName", ""),
        "reason": reason,
        "message": message[:300],
        "restarts": sum(int(one.get("restartCount", 0)) for one in _containers(status)),
    }


def _reasons(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Why, what says most first."""
    status = item.get("status") or {}
    if item["metadata"].get("deletionTimestamp"):
        yield "Terminating", ""
    if status.get("reason"):
        yield str(status["reason"]), str(status.get("message") or "")
    for one in status.get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False":
            yield str(one.get("reason") or "Unschedulable"), str(one.get("message") or "")
    for one in _containers(status):
        for state in ("waiting", "terminated"):
            told = (one.get("state") or {}).get(state) or {}
            if told.get("reason") not in (None, "Completed", "ContainerCreating", "PodInitializing"):
                yield str(told["reason"]), str(told.get("message") or "")
    if any("running" in (one.get("state") or {}) and not one.get("ready") for one in _containers(status)):
        yield "NotReady", "its readiness probe does not succeed"


def _containers(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def claims(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """All claims of storage, with class and size. ``phase`` is Bound, Pending or Lost."""
    found = []
    for item in items:
        spec, status = item.get("spec") or {}, item.get("status") or {}
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "")
        found.append(
            {
                "namespace": item["metadata"].get("namespace", ""),
                "name": item["metadata"]["name"],
                "phase": status.get("phase", "Pending"),
                "class": spec.get("storageClassName") or "",
                "size": (status.get("capacity") or {}).get("storage") or asked,
                "volume": spec.get("volumeName") or "",
            }
        )
    return sorted(found, key=lambda one: (one["namespace"], one["name"]))


def lines(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Severity, what, and what to do, for each pod and claim that is not well."""
    for one in found.get("pods") or ():
        name = f"{one['namespace']}/{one['name']}"
        often = f", restarted {one['restarts']} times" if one["restarts"] else ""
        message = f": {one['message']}" if one["reason"] == "Unschedulable" and one["message"] else ""
        todo = REMEDIES.get(one["reason"], f"kubectl describe pod -n {one['namespace']} {one['name']}")
        yield "warning", f"pod {name} is not ready: {one['reason']}{often}{message}", todo
    for one in found.get("claims") or ():
        if one["phase"] != "Bound":
            kind = f"class {one['class']}" if one["class"] else "no class"
            what = f"claim {one['namespace']}/{one['name']} ({kind}, {one['size']}) is {one['phase'].lower()}"
            yield "warning", what, _claim_todo(one)


def _claim_todo(one: dict[str, Any]) -> str:
    if one["phase"] == "Lost":
        return f"its volume {one['volume']} is gone: restore it, or delete the claim"
    return "see that the storage class is there and its provisioner runs; one that waits for a pod is well"
