# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads scaled down and paused for a reason, and put back to exactly what they were.

What a workload was, and what each reason wants of it, is kept in an annotation on the object itself, which is written
in one patch with the replicas: killed anywhere, nothing is half done. The lowest wish counts, so that reasons may come
and go in any order. A CronJob is taken for something of which one runs or, suspended, none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..common.errors import Conflict, InvalidInput, OperationFailed, Unreachable
from ..common.problems import nearest
from ..common.show import diff_of
from . import objects
from .client import MicroK8s, told

#: What an object was, and who wants what of it.
KEPT = "rackstead.infra/kept"
#: How much somebody cares, an integer. None is 0, and as a label's value begins with no hyphen, the least.
PRIORITY = "rackstead.infra/priority"
RESOURCES = {"Deployment": "deployments.apps", "StatefulSet": "statefulsets.apps", "CronJob": "cronjobs.batch"}
SYSTEM = "kube-system"
REASON = re.compile(r"[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?")
#: How often an object is read again that others write to at the same time.
TRIES = 8


@dataclass(frozen=True)
class Selection:
    """Which workloads: all but those of kube-system, or of these namespaces, labels, and lower priority alone."""

    namespaces: tuple[str, ...] = ()
    selector: str = ""
    below_priority: int | None = None


@dataclass(frozen=True)
class Target:
    """How much of a workload is wanted at most: so many replicas, or per cent of what it was, rounded up."""

    replicas: int | None = None
    percent: int | None = None
    #: Whether CronJobs are suspended.
    cronjobs: bool = False

    def of(self, was: int) -> int:
        wanted = self.replicas if self.replicas is not None else -(-was * (self.percent or 0) // 100)
        return min(was, wanted)


PAUSED = Target(replicas=0, cronjobs=True)


@dataclass(frozen=True)
class Kept:
    """What a workload was, and to how much each reason holds it down."""

    was: int
    by: Mapping[str, int]

    @property
    def level(self) -> int:
        return min(self.was, *self.by.values())

    @property
    def text(self) -> str:
        return json.dumps({"was": self.was, "by": dict(sorted(self.by.items()))})

    @staticmethod
    def read(text: str) -> Kept:
        """Raises ValueError where it is nothing that was written here."""
        document = json.loads(text)
        if not (isinstance(document, dict) and isinstance(document.get("by"), dict) and document["by"]):
            raise ValueError("no reasons")
        if any(
            isinstance(one, bool) or not isinstance(one, int) or one < 0
            for one in (document.get("was"), *document["by"].values())
        ):
            raise ValueError("no counts")
        return Kept(document["was"], document["by"])


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or CronJob. ``level`` is what its specification says now."""

    kind: str
    namespace: str
    name: str
    version: str
    level: int
    kept: Kept | None = None
    unreadable: bool = False
    priority: str = ""
    owned: bool = False
    leaving: bool = False

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.namespace}/{self.name}"

    @property
    def rank(self) -> int:
        return int(self.priority) if _is_number(self.priority) else 0

    def shown(self, level: int) -> str:
        if self.kind == "CronJob":
            return "on schedule" if level else "suspended"
        return f"{level} replica{'' if level == 1 else 's'}"


@dataclass(frozen=True)
class Scaler:
    """A HorizontalPodAutoscaler."""

    name: str
    least: int


@dataclass(frozen=True)
class Change:
    """What becomes of a workload."""

    work: Workload
    level: int
    kept: Kept | None
    #: What was kept is of no use, as somebody else has set another number meanwhile.
    void: bool = False

    @property
    def needed(self) -> bool:
        return (self.level, self.kept) != (self.work.level, self.work.kept)

    @property
    def patch(self) -> dict[str, Any]:
        """A merge patch that is refused where the object is no longer what it was when it was read."""
        notes = {KEPT: self.kept.text if self.kept else None}
        spec = {"suspend": not self.level} if self.work.kind == "CronJob" else {"replicas": self.level}
        return {"metadata": {"resourceVersion": self.work.version, "annotations": notes}, "spec": spec}


# -- deciding ---------------------------------------------------------------------------------------------------------
def claimed(work: Workload, reason: str, target: Target, scaler: Scaler | None = None) -> Change:
    """The workload held down for one more reason. It never gets more than it was."""
    kept = _standing(work, scaler)
    was = kept.was if kept else work.level
    by = {**(kept.by if kept else {}), reason: target.of(was)}
    return _held(work, was, {one: level for one, level in by.items() if level < was}, void=_void(work, kept))


def released(work: Workload, reason: str, scaler: Scaler | None = None) -> Change:
    """The workload with that reason gone: held by those that are left, or what it was."""
    if work.kept is None or reason not in work.kept.by:
        return Change(work, work.level, work.kept)
    kept = _standing(work, scaler)
    if kept is None:
        return Change(work, work.level, None, void=True)
    return _held(work, kept.was, {one: level for one, level in kept.by.items() if one != reason})


def _held(work: Workload, was: int, by: Mapping[str, int], void: bool = False) -> Change:
    kept = Kept(was, by) if by else None
    return Change(work, kept.level if kept else was, kept, void)


def _standing(work: Workload, scaler: Scaler | None) -> Kept | None:
    """What is kept, unless somebody else has set another number since. An autoscaler is nobody; at 0 it does nothing."""
    kept = work.kept
    if kept is None or work.level == kept.level or (scaler and kept.level and work.level):
        return kept
    return None


def _void(work: Workload, standing: Kept | None) -> bool:
    return work.kept is not None and standing is None


def chosen(works: Iterable[Workload], selection: Selection) -> list[Workload]:
    """Those that are meant, the least important first. Raises InvalidInput for priorities that are no numbers."""
    there = [one for one in works if not one.leaving and _in_namespaces(one, selection)]
    if selection.below_priority is not None:
        bad = [one for one in there if one.priority and not _is_number(one.priority)]
        if bad:
            raise InvalidInput([f'{one}: label {PRIORITY}: "{one.priority}" is no integer' for one in bad])
        there = [one for one in there if one.rank < selection.below_priority]
    return sorted(there, key=_order)


def _in_namespaces(work: Workload, selection: Selection) -> bool:
    return work.namespace in selection.namespaces if selection.namespaces else work.namespace != SYSTEM


def _order(work: Workload) -> tuple[int, str, str, str]:
    return work.rank, work.namespace, work.kind, work.name


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,10}", text) is not None


def warnings_of(change: Change, scaler: Scaler | None) -> list[str]:
    """What somebody should know of this change."""
    work, found = change.work, []
    if change.void:
        kept = work.shown(work.kept.was) if work.kept else "nothing"
        found.append(f"{work}: somebody set {work.shown(work.level)} meanwhile; that counts, not what was kept, {kept}")
    if scaler and change.needed and change.kept and change.level:
        least = f"keeps {scaler.least} or more, and may scale it up again; only at 0 replicas it does nothing"
        found.append(f"{work}: HorizontalPodAutoscaler {scaler.name} {least}")
    if work.owned and change.needed:
        found.append(f"{work}: it belongs to another object, whose controller may set it back")
    return found


# -- reading ----------------------------------------------------------------------------------------------------------
def workload(item: Mapping[str, Any]) -> Workload:
    """One object, as the API server tells it."""
    about, spec, kind = item["metadata"], item.get("spec") or {}, str(item["kind"])
    kept, text = None, (about.get("annotations") or {}).get(KEPT)
    try:
        kept = Kept.read(text) if text is not None else None
        unreadable = False
    except ValueError:
        unreadable = True
    return Workload(
        kind=kind,
        namespace=about["namespace"],
        name=about["name"],
        version=about["resourceVersion"],
        level=int(not spec.get("suspend")) if kind == "CronJob" else int(spec.get("replicas", 1)),
        kept=kept,
        unreadable=unreadable,
        priority=(about.get("labels") or {}).get(PRIORITY, ""),
        owned=any(one.get("controller") for one in about.get("ownerReferences") or ()),
        leaving="deletionTimestamp" in about,
    )


def workloads(client: MicroK8s, selector: str = "", cronjobs: bool = True) -> list[Workload]:
    """Those of all namespaces that bear these labels."""
    kinds = [one for kind, one in RESOURCES.items() if cronjobs or kind != "CronJob"]
    options = [f"--selector={selector}"] if selector else []
    return [workload(item) for kind in kinds for item in objects.listed(client, kind, *options)]


Scalers = Mapping[tuple[str, str, str], Scaler]


def scalers(client: MicroK8s) -> Scalers:
    """Autoscalers by namespace, kind and name of what they scale."""
    found = {}
    for item in objects.listed(client, "horizontalpodautoscalers.autoscaling"):
        about, spec = item["metadata"], item["spec"]
        aim = spec["scaleTargetRef"]
        found[about["namespace"], aim["kind"], aim["name"]] = Scaler(about["name"], int(spec.get("minReplicas", 1)))
    return found


# -- doing ------------------------------------------------------------------------------------------------------------
def scale(client: MicroK8s, reason: str, selection: Selection, target: Target, check: bool = False) -> dict[str, Any]:
    """The selected workloads have no more than the target for this reason. Raises InvalidInput before it does anything."""
    _demand(reason, target)
    _answers(client)
    _demand_namespaces(client, selection)
    works = chosen(workloads(client, selection.selector, target.cronjobs), selection)
    run = Run(client, scalers(client), lambda work, scaler: claimed(work, reason, target, scaler))
    return run.over(works, check)


def restore(client: MicroK8s, reason: str, check: bool = False) -> dict[str, Any]:
    """Whatever was held down for this reason is so no more, wherever it is; the most important come first."""
    _demand(reason, PAUSED)
    _answers(client)
    works = [one for one in workloads(client) if one.unreadable or (one.kept and reason in one.kept.by)]
    run = Run(client, scalers(client), lambda work, scaler: released(work, reason, scaler))
    return run.over(sorted(works, key=_order, reverse=True), check)


def ensure_workloads(
    client: MicroK8s, state: str, reason: str, selection: Selection, target: Target, check: bool
) -> dict[str, Any]:
    """Workloads are ``scaled``, ``paused`` or ``restored``. Raises InvalidInput for what does not go with that."""
    lines = []
    if state != "scaled" and target != Target():
        lines.append(f"replicas, percent: do not go with state {state}; allowed: with state scaled")
    if state == "restored" and selection != Selection():
        lines.append("namespaces, selector, below_priority: do not go with state restored; it is for all of a reason")
    if lines:
        raise InvalidInput(lines)
    if state == "restored":
        return restore(client, reason, check)
    return scale(client, reason, selection, PAUSED if state == "paused" else target, check)


def _demand(reason: str, target: Target) -> None:
    lines = []
    if not REASON.fullmatch(reason):
        lines.append(f'reason: "{reason}" is not valid; allowed: up to 40 of a-z, 0-9, - and _, such as scale_down')
    if (target.replicas is None) == (target.percent is None):
        lines.append("replicas, percent: allowed: exactly one of them")
    if target.replicas is not None and target.replicas < 0:
        lines.append(f"replicas: {target.replicas} is not valid; allowed: 0 or more")
    if target.percent is not None and not 0 <= target.percent <= 100:
        lines.append(f"percent: {target.percent} is not valid; allowed: 0 to 100")
    if lines:
        raise InvalidInput(lines)


def _answers(client: MicroK8s) -> None:
    if not client.status().running:
        raise Unreachable("the control plane does not run on this machine", hint="see microk8s inspect")


def _demand_namespaces(client: MicroK8s, selection: Selection) -> None:
    if selection.namespaces:
        there = [str(one["metadata"]["name"]) for one in objects.listed(client, "namespaces")]
        lines = [
            f'namespaces: the cluster has no "{name}"{nearest(name, there)}'
            for name in selection.namespaces
            if name not in there
        ]
        if lines:
            raise InvalidInput(lines)


@dataclass
class Run:
    """One way through the workloads, and the one place that writes."""

    client: MicroK8s
    scalers: Scalers
    decide: Callable[[Workload, Scaler | None], Change]
    done: list[Change] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def over(self, works: Iterable[Workload], check: bool) -> dict[str, Any]:
        """All of them, also where one is refused. Raises OperationFailed in the end where any was."""
        count = 0
        for work in works:
            if work.unreadable:
                self.warnings.append(f"{work}: its annotation {KEPT} cannot be read; it is left as it is")
                continue
            count += 1
            change = self._decided(work)
            self._take(change if check or not change.needed else self._written(change))
        if self.failed:
            more = f"; {len(self.done)} others were" if self.done else ""
            raise OperationFailed(
                f"{len(self.failed)} of {count} workloads were not changed{more}: {'; '.join(self.failed)}",
                hint="see to them and run it again: it goes on from here",
            )
        return {**self._told(), "selected": count}

    def _decided(self, work: Workload) -> Change:
        return self.decide(work, self._scaler(work))

    def _scaler(self, work: Workload) -> Scaler | None:
        return self.scalers.get((work.namespace, work.kind, work.name))

    def _take(self, change: Change | None) -> None:
        if change:
            self.warnings += warnings_of(change, self._scaler(change.work))
            self.done += [change] if change.needed else []

    def _written(self, change: Change) -> Change | None:
        """The change that was made at last; None where the object is gone, or refused it."""
        work = change.work
        for _time in range(TRIES):
            patch = ["--type=merge", f"--patch={json.dumps(change.patch)}"]
            where = [RESOURCES[work.kind], work.name, f"--namespace={work.namespace}"]
            result = self.client.run("kubectl", "patch", *where, *patch)
            if result.rc == 0 or "(NotFound)" in result.err:
                return change if result.rc == 0 else None
            if "Error from server" not in result.err:
                raise Unreachable(f"the API server does not answer: {told(result)}", where=str(work))
            if "(Conflict)" not in result.err:
                self.failed.append(f"{work}: {told(result)}")
                return None
            again = _again(self.client, work)
            if again is None or not (change := self._decided(again)).needed:
                return change if again else None
        self.failed.append(f"{work}: others write to it all the time ({TRIES} tries)")
        return None

    def _told(self) -> dict[str, Any]:
        before = {str(one.work): _text(one.work, one.work.level, one.work.kept) for one in self.done}
        after = {str(one.work): _text(one.work, one.level, one.kept) for one in self.done}
        return {
            "changed": bool(self.done),
            "workloads": [_row(one) for one in self.done],
            "warnings": self.warnings,
            "diff": diff_of(before, after, "workloads"),
        }


def _again(client: MicroK8s, work: Workload) -> Workload | None:
    """The object as it is now, if it is there and can be read."""
    where = [RESOURCES[work.kind], work.name, f"--namespace={work.namespace}"]
    # Not client.run, which looks for words that an object may hold as well.
    argv = [client.command, "kubectl", "get", *where, "--ignore-not-found", "--output=json"]
    result = client.runner.run(argv, client.quick)
    if result.rc != 0:
        raise Unreachable(f"the API server does not answer: {result.err.strip()[:300]}", where=str(work))
    if not result.out.strip():
        return None
    try:
        found = workload(json.loads(result.out))
    except (ValueError, KeyError, TypeError):
        raise OperationFailed("kubectl get answered something that is no workload", where=str(work)) from None
    if found.unreadable:
        raise Conflict(f"somebody has just overwritten its annotation {KEPT}", where=str(work))
    return found


def _text(work: Workload, level: int, kept: Kept | None) -> str:
    held = f" (was {kept.was}; {', '.join(sorted(kept.by))})" if kept and work.kind != "CronJob" else ""
    return work.shown(level) + (f" ({', '.join(sorted(kept.by))})" if kept and not held else held)


def _row(change: Change) -> dict[str, Any]:
    work = change.work
    return {
        "kind": work.kind,
        "namespace": work.namespace,
        "name": work.name,
        "before": work.level,
        "after": change.level,
        "was": change.kept.was if change.kept else change.level,
        "reasons": sorted(change.kept.by) if change.kept else [],
    }
