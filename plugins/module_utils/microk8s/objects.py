# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's objects as somebody would have written them: without what the cluster makes and adds itself."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..common.errors import OperationFailed, Unreachable
from .client import MicroK8s, told

#: The part of a file's name that stands for objects in no namespace. No namespace can have this name.
NOWHERE = "_cluster"
#: Kinds that a cluster makes itself, by resource and group.
MADE_BY_KIND = {
    "events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "leases.coordination.k8s.io",
    "controllerrevisions.apps", "nodes", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io",
    "volumeattachments.storage.k8s.io", "certificatesigningrequests.certificates.k8s.io",
    "ipamblocks.crd.projectcalico.org", "ipamhandles.crd.projectcalico.org", "ipamconfigs.crd.projectcalico.org",
    "blockaffinities.crd.projectcalico.org", "clusterinformations.crd.projectcalico.org",
}  # fmt: skip
#: Fields of metadata that the cluster writes.
WRITTEN = (
    "managedFields", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "ownerReferences",
    "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
#: Annotations that the cluster writes.
NOTED = (
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/selected-node",
)
#: Labels and annotations of objects that the API server keeps as it wants them.
KEPT_BY_SERVER = (
    ("labels", "kubernetes.io/bootstrapping", "rbac-defaults"),
    ("labels", "kube-aggregator.kubernetes.io/automanaged", "onstart"),
    ("labels", "kube-aggregator.kubernetes.io/automanaged", "true"),
    ("annotations", "apf.kubernetes.io/autoupdate-spec", "true"),
)
#: What JSON holds as it is and YAML does not.
FOREIGN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
JOB_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name")

Object = dict[str, Any]
#: Objects by resource (``deployments.apps``) and namespace.
Groups = dict[tuple[str, str], list[Object]]


def resources(client: MicroK8s) -> list[str]:
    """What can be listed and created, and is not made by the cluster."""
    result = client.run("kubectl", "api-resources", "--verbs=list,create", "--output=name")
    if result.rc != 0:  # it tells a part also when an aggregated API is away: a backup of a part is none
        raise Unreachable(f"the API server does not tell its kinds: {told(result)}")
    return [name for name in result.out.split() if name not in MADE_BY_KIND]


def collect(client: MicroK8s) -> Groups:
    """All objects, one kind after the other; one that is served by two groups comes once."""
    groups: Groups = {}
    seen: set[str] = set()
    for resource in resources(client):
        for item in _listed(client, resource):
            uid = item.get("metadata", {}).get("uid", "")
            if made(item) or (uid and uid in seen):
                continue
            seen.add(uid)
            groups.setdefault((resource, item["metadata"].get("namespace") or NOWHERE), []).append(cleaned(item))
    for group in groups.values():
        group.sort(key=lambda one: str(one["metadata"]["name"]))
    return groups


def _listed(client: MicroK8s, resource: str) -> list[Object]:
    # Not client.run, which looks for words that an object may hold as well.
    argv = [client.command, "kubectl", "get", resource, "--all-namespaces", "--output=json"]
    result = client.runner.run(argv, client.slow)
    if result.rc != 0:  # its standard output may hold Secrets
        raise OperationFailed(f"kubectl get {resource} failed: {result.err.strip()[:300]}")
    try:
        items: list[Object] = json.loads(result.out)["items"]
    except (ValueError, KeyError, TypeError):
        raise OperationFailed(f"kubectl get {resource} answered something that is no list") from None
    return items


def made(item: Object) -> bool:
    """Whether the cluster makes this object itself, or is about to remove it."""
    about, kind = item.get("metadata", {}), item.get("kind")
    if about.get("deletionTimestamp") or any(one.get("controller") for one in about.get("ownerReferences") or ()):
        return True
    if any((about.get(where) or {}).get(key) == value for where, key, value in KEPT_BY_SERVER):
        return True
    if kind == "Pod" and "kubernetes.io/config.mirror" in (about.get("annotations") or {}):
        return True
    name, namespace = about.get("name", ""), about.get("namespace", "")
    return (
        (kind == "ConfigMap" and name == "kube-root-ca.crt")
        or (kind == "Secret" and item.get("type") == "kubernetes.io/service-account-token")
        or (kind == "Service" and (namespace, name) == ("default", "kubernetes"))
        or (kind == "PriorityClass" and name.startswith("system-"))
    )


def cleaned(item: Object) -> Object:
    """The object without what the cluster adds: it can be created anew, in this cluster or in another."""
    new = copy.deepcopy(item)
    new.pop("status", None)
    about = new["metadata"]
    for field in WRITTEN:
        about.pop(field, None)
    for note in NOTED:
        (about.get("annotations") or {}).pop(note, None)
    if not about.get("annotations"):
        about.pop("annotations", None)
    _clean_spec(str(new.get("kind")), new)
    return new


def _clean_spec(kind: str, new: Object) -> None:
    spec = new.get("spec") or {}
    if kind == "Service" and spec.get("clusterIP") != "None":
        for field in ("clusterIP", "clusterIPs"):
            spec.pop(field, None)
    elif kind == "PersistentVolume":
        for field in ("uid", "resourceVersion"):
            (spec.get("claimRef") or {}).pop(field, None)
    elif kind == "Namespace":
        new.pop("spec", None)
    elif kind == "ServiceAccount":
        own = f"{new['metadata']['name']}-token-"
        kept = [one for one in new.pop("secrets", None) or () if not str(one.get("name", "")).startswith(own)]
        new |= {"secrets": kept} if kept else {}
    elif kind == "Job" and not spec.get("manualSelector"):
        spec.pop("selector", None)
        for where in (new, spec.get("template") or {}):
            labels = (where.get("metadata") or {}).get("labels") or {}
            for label in JOB_LABELS:
                labels.pop(label, None)
    elif kind == "Pod":
        _clean_pod(spec)


def _clean_pod(spec: Object) -> None:
    """A pod may run elsewhere; the volume with its token is added by whoever admits it."""
    spec.pop("nodeName", None)
    spec["volumes"] = [one for one in spec.get("volumes") or () if not one["name"].startswith("kube-api-access-")]
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        mounts = container.get("volumeMounts") or ()
        container["volumeMounts"] = [one for one in mounts if not one["name"].startswith("kube-api-access-")]


def counts(groups: Groups) -> dict[str, int]:
    """How many objects there are, by ``NAMESPACE/RESOURCE``."""
    return dict(sorted(Counter({f"{place}/{kind}": len(group) for (kind, place), group in groups.items()}).items()))


def written(group: Iterable[Object]) -> bytes:
    """Documents of YAML. Each is written as JSON, which is YAML too, so that no library is needed on the machine."""
    return "".join(f"---\n{_document(one)}\n" for one in group).encode()


def _document(one: Object) -> str:
    """YAML takes some characters for ends of lines, or takes them not at all; pairs of escapes it does not join."""
    text = json.dumps(one, indent=1, ensure_ascii=False)
    return FOREIGN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def read(text: bytes) -> list[Object]:
    """What ``written`` wrote. In JSON, no string has a line of its own, so that such a line parts documents."""
    return [json.loads(part) for part in f"\n{text.decode()}".split("\n---\n")[1:]]


def differing(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """Which counts differ, a line each."""
    return [
        f"{key}: {before.get(key, 0)} in the backup, {now.get(key, 0)} in the cluster"
        for key in sorted({*before, *now})
        if before.get(key, 0) != now.get(key, 0)
    ]
