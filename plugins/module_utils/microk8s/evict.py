# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods taken off nodes by the eviction API, within a span of time; what is in the way is told by name.

The API server decides on each eviction, by the disruption budgets. Nothing is remembered: whoever comes after a killed
run looks which pods are there still.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import DeadlineExceeded, OperationFailed, Unreachable
from .client import MicroK8s, told

#: Evictions under way at the same time.
AT_ONCE = 8
#: After so many rounds without an answer, about half a minute, the API server is taken to be away.
SILENT = 10
#: A command has at least so many seconds.
LEAST = 10.0
#: Of many pods that are left, so many are told in one line.
SHOWN = 5
MIRROR = "kubernetes.io/config.mirror"
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget, and what the disruption controller says of it."""

    namespace: str
    name: str
    selector: Mapping[str, Any] | None
    allowed: int = 0
    healthy: int = 0
    needed: int = 0
    #: Whether an empty selector means all pods, as it does since policy/v1.
    empty_is_all: bool = True

    def covers(self, pod: Pod) -> bool:
        if self.namespace != pod.namespace or self.selector is None:
            return False
        labels = self.selector.get("matchLabels") or {}
        rules = self.selector.get("matchExpressions") or []
        if not labels and not rules:
            return self.empty_is_all
        return all(pod.labels.get(key) == value for key, value in labels.items()) and all(
            _meets(pod.labels, rule) for rule in rules
        )

    def __str__(self) -> str:
        allows = f"{self.allowed} disruption{'' if self.allowed == 1 else 's'}"
        return f"disruption budget {self.name} allows {allows} ({self.healthy} healthy, {self.needed} needed)"

    @property
    def row(self) -> dict[str, Any]:
        return {"name": self.name, "allowed": self.allowed, "healthy": self.healthy, "needed": self.needed}


def _meets(labels: Mapping[str, str], rule: Object) -> bool:
    key, values = rule["key"], rule.get("values") or ()
    met = {
        "In": key in labels and labels[key] in values,
        "NotIn": key not in labels or labels[key] not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return met[rule["operator"]]


@dataclass(frozen=True)
class Pod:
    """A pod that has a node. ``stays`` is why it is none that a drain takes away."""

    namespace: str
    name: str
    uid: str
    node: str
    labels: Mapping[str, str] = field(default_factory=dict)
    stays: str = ""
    #: Whether it has come to its end, or has been asked to.
    finished: bool = False
    leaving: bool = False
    grace: int | None = None
    finalizers: tuple[str, ...] = ()
    #: Volumes whose content goes with the pod.
    volumes: tuple[str, ...] = ()
    #: Whether a controller makes another one of it.
    replaced: bool = True

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Held:
    """A pod that is there still, and why."""

    pod: Pod
    why: str
    budgets: tuple[Budget, ...] = ()

    def __str__(self) -> str:
        return f"{self.pod}: {self.why}"

    @property
    def row(self) -> dict[str, Any]:
        return {
            "node": self.pod.node,
            "namespace": self.pod.namespace,
            "name": self.pod.name,
            "why": self.why,
            "budgets": [one.row for one in self.budgets],
        }


# -- reading ----------------------------------------------------------------------------------------------------------
def pod_of(item: Object) -> Pod:
    """One pod, as the API server tells it."""
    about, spec = item["metadata"], item.get("spec") or {}
    owner = next((one["kind"] for one in about.get("ownerReferences") or () if one.get("controller")), "")
    stays = "a mirror pod" if MIRROR in (about.get("annotations") or {}) else ""
    return Pod(
        namespace=about["namespace"],
        name=about["name"],
        uid=about["uid"],
        node=spec.get("nodeName", ""),
        labels=about.get("labels") or {},
        stays=stays or ("of a DaemonSet" if owner == "DaemonSet" else ""),
        finished=(item.get("status") or {}).get("phase") in ("Succeeded", "Failed"),
        leaving="deletionTimestamp" in about,
        grace=about.get("deletionGracePeriodSeconds"),
        finalizers=tuple(about.get("finalizers") or ()),
        volumes=tuple(one["name"] for one in spec.get("volumes") or () if one.get("emptyDir") is not None),
        replaced=bool(owner),
    )


def budget_of(item: Object) -> Budget:
    about, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    return Budget(
        namespace=about["namespace"],
        name=about["name"],
        selector=spec.get("selector"),
        allowed=int(status.get("disruptionsAllowed", 0)),
        healthy=int(status.get("currentHealthy", 0)),
        needed=int(status.get("desiredHealthy", 0)),
        empty_is_all=item.get("apiVersion") != "policy/v1beta1",
    )


def to_go(client: MicroK8s, nodes: Sequence[str], patience: float = 0.0) -> list[Pod]:
    """The pods of these nodes that a drain takes away. Those of DaemonSets would be back at once, mirror pods never go."""
    only = [f"--field-selector=spec.nodeName={nodes[0]}"] if len(nodes) == 1 else []
    pods = (pod_of(item) for item in _listed(client, "pods", patience, *only))
    return sorted(
        (one for one in pods if one.node in nodes and not one.stays), key=lambda one: (one.namespace, one.name)
    )


def budgets(client: MicroK8s, patience: float = 0.0) -> list[Budget]:
    return [budget_of(item) for item in _listed(client, "poddisruptionbudgets.policy", patience)]


def keeping(pods: Iterable[Pod]) -> list[Held]:
    """Pods that have something which would be lost."""
    return [
        Held(one, f"what is in its emptyDir {_names(one.volumes)} would be lost")
        for one in pods
        if one.volumes and not one.finished and not one.leaving
    ]


def _names(names: Sequence[str]) -> str:
    return f"volume{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _listed(client: MicroK8s, resource: str, patience: float, *options: str) -> list[Object]:
    # Not client.run, which looks for words that an object may hold as well.
    argv = [client.command, "kubectl", "get", resource, "--all-namespaces", "--output=json", *options]
    result = client.runner.run(argv, patience or client.quick)
    if result.rc != 0:
        raise Unreachable(f"kubectl get {resource} failed: {result.err.strip()[:300]}")
    try:
        items: list[Object] = json.loads(result.out)["items"]
    except (ValueError, KeyError, TypeError):
        raise Unreachable(f"kubectl get {resource} answered something that is no list") from None
    return items


def _version(client: MicroK8s, patience: float) -> str:
    """What the API server takes for an eviction: policy/v1, or before Kubernetes 1.22 policy/v1beta1."""
    result = client.runner.run([client.command, "kubectl", "get", "--raw", "/api/v1"], patience)
    if result.rc != 0:
        raise Unreachable(f"the API server does not tell its kinds: {told(result)}")
    try:
        known = json.loads(result.out)["resources"]
        found = next((one for one in known if one["name"] == "pods/eviction"), None)
    except (ValueError, KeyError, TypeError):
        raise Unreachable("the API server's kinds cannot be read") from None
    if found is None:
        raise OperationFailed("the API server knows no evictions")
    return f"{found.get('group', 'policy')}/{found.get('version', 'v1')}"


# -- doing ------------------------------------------------------------------------------------------------------------
@dataclass
class Emptying:
    """Nodes that are emptied, and the one place that evicts."""

    client: MicroK8s
    nodes: Sequence[str]
    #: Whether pods go whose emptyDir volumes are lost with them.
    delete_emptydir: bool = True
    there: list[Pod] = field(default_factory=list)
    evicted: dict[str, Pod] = field(default_factory=dict)
    #: By pod, why it is there still.
    refused: dict[str, str] = field(default_factory=dict)
    kept: list[Held] = field(default_factory=list)
    trouble: str = ""
    _silent: int = 0
    _takes: str = ""
    _deadline: Deadline = field(default_factory=lambda: Deadline(0))

    def over(self, seconds: float) -> None:
        """Until the nodes are empty, nothing more can be done, or so many seconds are over. Raises nothing for those."""
        self._deadline = Deadline(seconds)
        try:
            wait_until(self._round, self._deadline, what="nodes to be empty", first=0.2, most=5.0)
        except DeadlineExceeded:
            with contextlib.suppress(Unreachable, DeadlineExceeded):  # then what was seen last is told
                self.asked()  # what the last round asked may have gone

    def _round(self) -> bool | None:
        """Whether it is over. What does not answer is asked again, also while the API server is restarted."""
        try:
            self._evict()
            self._silent, self.trouble = 0, ""
        except (Unreachable, DeadlineExceeded) as error:
            self._silent, self.trouble = self._silent + 1, str(error)
            return self._silent >= SILENT or None
        return len(self.there) == len(self.kept) or None

    def _patience(self) -> float:
        """How long one command may take: what is left, but long enough for a machine that is busy."""
        return min(self.client.quick, max(LEAST, self._deadline.remaining()))

    def asked(self) -> list[Pod]:
        """The pods that are there, and now to be asked to leave."""
        self.there = to_go(self.client, self.nodes, self._patience())
        self.kept = [] if self.delete_emptydir else keeping(self.there)
        stay = {one.pod.uid for one in self.kept}
        return [one for one in self.there if not one.leaving and one.uid not in stay]

    def _evict(self) -> None:
        if asked := self.asked():
            self._takes = self._takes or _version(self.client, self._patience())
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._ask, asked))

    def _ask(self, pod: Pod) -> None:
        """One eviction, of this very pod: one of a StatefulSet may be back under its name."""
        eviction = {
            "apiVersion": self._takes,
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
        argv = [self.client.command, "kubectl", "create", "--raw", path, "--filename=-"]
        result = self.client.runner.run(argv, self._patience(), feed=json.dumps(eviction))
        if result.rc == 0 and result.out.lstrip().startswith("{"):  # plain text with 0 is MicroK8s' own
            self.evicted[pod.uid] = pod
            self.refused.pop(pod.uid, None)
        elif "Error from server" in result.err:
            self.refused[pod.uid] = result.err.strip().removeprefix("Error from server ")[:300]
        else:
            raise Unreachable(f"the API server does not answer: {told(result)}")

    # -- what came of it --------------------------------------------------------------------------
    def left(self) -> dict[str, list[Held]]:
        """By node, the pods that are there still."""
        if not self.there:
            return {}
        try:
            known = budgets(self.client, self._patience())
        except (Unreachable, DeadlineExceeded):
            known = []  # the API server's own words are told then
        kept = {one.pod.uid: one for one in self.kept}
        return by_node(kept.get(pod.uid) or self._held(pod, known) for pod in self.there)

    def _held(self, pod: Pod, known: Sequence[Budget]) -> Held:
        refusal = self.refused.get(pod.uid, "")
        mine = tuple(one for one in known if one.covers(pod))
        if pod.leaving or pod.uid in self.evicted:
            waits = f", and waits for {', '.join(pod.finalizers)}" if pod.finalizers else ""
            grace = f" (it may take {pod.grace} s)" if pod.grace else ""
            return Held(pod, f"has been asked to leave{grace}{waits}, and is there still")
        if len(mine) > 1:
            names = ", ".join(one.name for one in mine)
            return Held(pod, f"disruption budgets {names} cover it, of which there may be one", mine)
        if mine and "disruption budget" in refusal:
            return Held(pod, str(mine[0]), mine)
        return Held(pod, refusal or self.trouble or "has not been asked yet", mine)


def by_node(held: Iterable[Held]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for one in held:
        found.setdefault(one.pod.node, []).append(one)
    return found


def alone(pods: Iterable[Pod]) -> list[str]:
    """What somebody should know of pods that go."""
    return [f"{one}: it belongs to no controller, and nobody makes another" for one in pods if not one.replaced]


def line(held: Sequence[Held]) -> str:
    """What is in the way, of one node."""
    more = f"; and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
    return "; ".join(map(str, held[:SHOWN])) + more
