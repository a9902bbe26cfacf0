# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads of the stand-in's clusters, held down for reasons and put back; and every order of reasons, purely."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    InvalidInput,
    OperationFailed,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import workloads
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.model import NotRunning, OnWorker
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Result, Runner
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.workloads import (
    KEPT,
    PAUSED,
    PRIORITY,
    RESOURCES,
    Change,
    Kept,
    Scaler,
    Selection,
    Target,
    Workload,
    claimed,
    ensure_workloads,
    released,
    restore,
    scale,
)
from testbed.microk8s import FAST, Lab

ALL = Selection()


def one(kind: str, name: str, level: int, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    about = {"name": name, "namespace": namespace, "labels": labels, "resourceVersion": "7", "uid": f"{kind}-{name}"}
    # Words at which the client would stop, if it looked for them in objects.
    spec = {"note": "microk8s is not running, try microk8s start"}
    spec |= {"suspend": not level} if kind == "CronJob" else {"replicas": level}  # type: ignore[dict-item]
    return {"apiVersion": "x/v1", "kind": kind, "metadata": about, "spec": spec}


def priority(value: str) -> dict[str, str]:
    return {PRIORITY: value}


def usual() -> list[dict[str, Any]]:
    return [
        one("Deployment", "web", 3, tier="front", **priority("100")),
        one("Deployment", "mail", 2, **priority("10")),
        one("Deployment", "off", 0),
        one("Deployment", "coredns", 1, "kube-system"),
        one("StatefulSet", "db", 5, "data", **priority("50")),
        one("CronJob", "report", 1),
        one("CronJob", "never", 0),
    ]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state", FAST)


@pytest.fixture
def node(lab: Lab) -> MicroK8s:
    made = lab.formed(1, 1)
    with lab.truth() as state:
        spaces = [
            {"kind": "Namespace", "metadata": {"name": name}} for name in ("default", "kube-system", "shop", "data")
        ]
        held: dict[str, Any] = {"namespaces": spaces, **{resource: [] for resource in RESOURCES.values()}}
        for item in usual():
            held[RESOURCES[item["kind"]]].append(item)
        state["clusters"]["c"]["objects"] = held
    return made["n1"]


def objects(lab: Lab) -> dict[str, dict[str, Any]]:
    held = lab.cluster("n1")["objects"]
    return {item["metadata"]["name"]: item for resource in RESOURCES.values() for item in held[resource]}


def levels(lab: Lab) -> dict[str, int]:
    """What is wanted of each now."""
    return {name: workloads.workload(item).level for name, item in objects(lab).items()}


def kept(lab: Lab, name: str) -> Any:
    text = objects(lab)[name]["metadata"].get("annotations", {}).get(KEPT)
    return json.loads(text) if text else None


BEFORE = {"web": 3, "mail": 2, "off": 0, "coredns": 1, "db": 5, "report": 1, "never": 0}


def as_before(lab: Lab) -> bool:
    found = objects(lab)
    return levels(lab) == BEFORE and not any(item["metadata"].get("annotations") for item in found.values())


def change(lab: Lab, name: str, **spec: Any) -> None:
    """Somebody else writes to an object."""
    with lab.truth() as state:
        for resource in RESOURCES.values():
            for item in state["clusters"]["c"]["objects"][resource]:
                if item["metadata"]["name"] == name:
                    item["spec"].update(spec)
                    item["metadata"]["resourceVersion"] = str(int(item["metadata"]["resourceVersion"]) + 1)


def autoscaler(lab: Lab, name: str, least: int) -> None:
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    item = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": f"{name}-hpa", "namespace": "shop"}}
    with lab.truth() as state:
        state["clusters"]["c"]["objects"]["horizontalpodautoscalers.autoscaling"] = [
            {**item, "spec": {"scaleTargetRef": aim, "minReplicas": least, "maxReplicas": 9}}
        ]


# -- with the stand-in ------------------------------------------------------------------------------------------------
def test_paused_and_resumed(lab: Lab, node: MicroK8s) -> None:
    checked = scale(node, "pause", ALL, PAUSED, check=True)
    assert checked["changed"] and as_before(lab)
    done = scale(node, "pause", ALL, PAUSED)
    assert {**done, "warnings": []} == {**checked, "warnings": []} and done["warnings"] == []
    # the least important first; what is off already is left alone
    assert [(row["name"], row["before"], row["after"]) for row in done["workloads"]] == [
        ("report", 1, 0),
        ("mail", 2, 0),
        ("db", 5, 0),
        ("web", 3, 0),
    ]
    assert levels(lab) == {**dict.fromkeys(BEFORE, 0), "coredns": 1}
    assert kept(lab, "db") == {"was": 5, "by": {"pause": 0}}
    assert "deployment shop/web: 0 replicas (was 3; pause)" in done["diff"]["after"]
    assert "cronjob shop/report: suspended (pause)" in done["diff"]["after"]
    again = scale(node, "pause", ALL, PAUSED)
    assert not again["changed"] and again["selected"] == 6
    assert restore(node, "pause", check=True)["changed"] and levels(lab)["web"] == 0
    back = restore(node, "pause")
    assert [row["name"] for row in back["workloads"]] == ["web", "db", "mail", "report"] and as_before(lab)
    assert not restore(node, "pause")["changed"]


def test_reasons_do_not_undo_each_other(lab: Lab, node: MicroK8s) -> None:
    scale(node, "scale_down", ALL, Target(percent=50))
    assert levels(lab) == {**BEFORE, "web": 2, "mail": 1, "db": 3}  # rounded up; CronJobs are on schedule
    scale(node, "pause", Selection(("shop",)), PAUSED)
    assert kept(lab, "web") == {"was": 3, "by": {"pause": 0, "scale_down": 2}}
    restore(node, "scale_down")
    assert levels(lab) == {**BEFORE, "web": 0, "mail": 0, "report": 0}
    scale(node, "scale_down", ALL, Target(replicas=1))  # under the pause
    assert kept(lab, "mail") == {"was": 2, "by": {"pause": 0, "scale_down": 1}}
    restore(node, "pause")
    assert levels(lab) == {**BEFORE, "web": 1, "mail": 1, "db": 1}
    scale(node, "scale_down", ALL, Target(replicas=4))  # another wish of the same reason
    assert levels(lab) == {**BEFORE, "db": 4} and kept(lab, "web") is None
    restore(node, "scale_down")
    assert as_before(lab)


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(("kube-system",)), {"coredns"}),
        (Selection(("data", "kube-system")), {"db", "coredns"}),
        (Selection(selector="tier=front"), {"web"}),
        (Selection(selector="tier!=front"), {"mail", "db", "report"}),
        (Selection(below_priority=50), {"mail", "report"}),
        (Selection(("shop",), "tier", 100), set()),
    ],
)
def test_only_what_is_selected(lab: Lab, node: MicroK8s, selection: Selection, names: set[str]) -> None:
    done = scale(node, "pause", selection, PAUSED)
    assert {row["name"] for row in done["workloads"]} == names
    assert {name for name, level in levels(lab).items() if level != BEFORE[name]} == names
    restore(node, "pause")
    assert as_before(lab)


class Killed(BaseException):
    """Nothing in the core catches it, and nothing is cleaned up: as with SIGKILL."""


class Cut:
    """Runs commands; before or after the patch of that number it does ``what``."""

    def __init__(self, inner: Runner, number: int, after: bool, what: Callable[[], None]) -> None:
        self.inner, self.left, self.after, self.what = inner, number, after, what

    def run(self, argv: Sequence[str], timeout: float) -> Result:
        if "patch" not in argv:
            return self.inner.run(argv, timeout)
        self.left -= 1
        if not self.left and not self.after:
            self.what()
        result = self.inner.run(argv, timeout)
        if not self.left and self.after:
            self.what()
        return result


def killed() -> None:
    raise Killed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 3])
def test_killed_anywhere_and_run_again(lab: Lab, node: MicroK8s, number: int, after: bool) -> None:
    runner = node.runner
    for act in (lambda: scale(node, "pause", ALL, PAUSED), lambda: restore(node, "pause")):
        node.runner = Cut(runner, number, after, killed)
        with pytest.raises(Killed):
            act()
        node.runner = runner
        act()
    assert as_before(lab)


def test_somebody_who_writes_at_the_same_time_is_not_overwritten(lab: Lab, node: MicroK8s) -> None:
    runner = node.runner
    only = Selection(("shop",), "tier=front")
    node.runner = Cut(runner, 1, False, lambda: change(lab, "web", replicas=7))
    done = scale(node, "pause", only, PAUSED)
    assert [(row["before"], row["was"]) for row in done["workloads"]] == [(7, 7)] and levels(lab)["web"] == 0
    node.runner = Cut(runner, 1, False, lambda: change(lab, "web", paused=True))
    restore(node, "pause")
    assert levels(lab)["web"] == 7 and objects(lab)["web"]["spec"]["paused"] is True


def test_who_always_writes_is_told(lab: Lab, node: MicroK8s) -> None:
    class Busy(Cut):
        def run(self, argv: Sequence[str], timeout: float) -> Result:
            if "patch" in argv:
                change(lab, "web", busy=True)
            return self.inner.run(argv, timeout)

    node.runner = Busy(node.runner, 0, False, killed)
    with pytest.raises(OperationFailed, match="others write to it all the time"):
        scale(node, "pause", Selection(selector="tier"), PAUSED)
    assert levels(lab) == BEFORE


def test_what_somebody_set_meanwhile_counts(lab: Lab, node: MicroK8s) -> None:
    scale(node, "pause", Selection(("shop",)), PAUSED)
    change(lab, "web", replicas=4)
    change(lab, "mail", replicas=1)
    back = restore(node, "pause")
    assert levels(lab) == {**BEFORE, "web": 4, "mail": 1} and kept(lab, "web") is None
    assert (
        "deployment shop/web: somebody set 4 replicas meanwhile; that counts, not what was kept, 3 replicas"
        in (back["warnings"])
    )
    scale(node, "pause", Selection(("shop",)), PAUSED)
    change(lab, "web", replicas=2)
    assert "somebody set 2 replicas" in scale(node, "pause", Selection(("shop",)), PAUSED)["warnings"][0]
    assert kept(lab, "web") == {"was": 2, "by": {"pause": 0}}


def test_autoscalers_are_told_and_are_nobody(lab: Lab, node: MicroK8s) -> None:
    autoscaler(lab, "web", 2)
    done = scale(node, "scale_down", Selection(selector="tier"), Target(replicas=1))
    told = "keeps 2 or more, and may scale it up again; only at 0 replicas it does nothing"
    assert done["warnings"] == [f"deployment shop/web: HorizontalPodAutoscaler web-hpa {told}"]
    change(lab, "web", replicas=2)  # as it does
    assert restore(node, "scale_down")["warnings"] == [] and as_before(lab)
    assert scale(node, "pause", Selection(selector="tier"), PAUSED)["warnings"] == []


def test_one_that_is_refused_does_not_hold_up_the_others(lab: Lab, node: MicroK8s) -> None:
    lab.order("n1", patch="shop/mail")
    with pytest.raises(OperationFailed, match=r"1 of 6 .* 3 others were: deployment shop/mail: .*denied by a policy"):
        scale(node, "pause", ALL, PAUSED)
    assert levels(lab) == {**dict.fromkeys(BEFORE, 0), "coredns": 1, "mail": 2}
    lab.order("n1", patch="")
    assert [row["name"] for row in scale(node, "pause", ALL, PAUSED)["workloads"]] == ["mail"]
    restore(node, "pause")
    assert as_before(lab)


def test_one_that_goes_meanwhile_is_no_fault(lab: Lab, node: MicroK8s) -> None:
    def gone() -> None:
        with lab.truth() as state:
            held = state["clusters"]["c"]["objects"]["deployments.apps"]
            held[:] = [item for item in held if item["metadata"]["name"] != "web"]

    node.runner = Cut(node.runner, 4, False, gone)
    assert [row["name"] for row in scale(node, "pause", ALL, PAUSED)["workloads"]] == ["report", "mail", "db"]


def test_a_control_plane_that_goes_meanwhile_is_told(lab: Lab, node: MicroK8s) -> None:
    def lose_quorum() -> None:
        lost = [{"host": name, "address": f"{name}:19001", "id": 9, "role": "voter"} for name in ("n8", "n9")]
        with lab.truth() as state:
            state["clusters"]["c"]["members"] += lost

    runner = node.runner
    node.runner = Cut(runner, 2, False, lambda: lab.order("n1", dead=True))
    with pytest.raises(NotRunning):
        scale(node, "pause", ALL, PAUSED)
    lab.order("n1", dead=False)
    node.runner = Cut(runner, 2, False, lose_quorum)
    with pytest.raises(Unreachable, match="statefulset data/db: the API server does not answer"):
        scale(node, "pause", ALL, PAUSED)
    with pytest.raises(Unreachable, match="does not run"):
        restore(node, "pause")
    with lab.truth() as state:
        del state["clusters"]["c"]["members"][1:]
    assert [row["name"] for row in restore(node, "pause")["workloads"]] == ["mail", "report"] and as_before(lab)


def test_marks_that_cannot_be_read_are_left(lab: Lab, node: MicroK8s) -> None:
    for text in ("{", "{}", '{"was": 3, "by": {}}', '{"was": -1, "by": {"pause": 0}}', '{"was": 3, "by": {"x": true}}'):
        with lab.truth() as state:
            web = state["clusters"]["c"]["objects"]["deployments.apps"][0]
            web["metadata"]["annotations"] = {KEPT: text}
        for done in (scale(node, "pause", Selection(selector="tier"), PAUSED), restore(node, "pause")):
            assert not done["changed"] and "cannot be read" in done["warnings"][0]


def test_bad_input_is_told_before_anything_changes(lab: Lab, node: MicroK8s) -> None:
    bad: list[tuple[str, str, Selection, Target, str]] = [
        ("scaled", "a b", ALL, Target(), "reason: .*\nreplicas, percent: allowed: exactly one"),
        ("scaled", "x", ALL, Target(1, 1), "exactly one"),
        ("scaled", "x", ALL, Target(replicas=-1), "replicas: -1 is not valid; allowed: 0 or more"),
        ("scaled", "x", ALL, Target(percent=101), "percent: 101 is not valid; allowed: 0 to 100"),
        ("paused", "x", Selection(("shp",)), Target(), 'no "shp"; did you mean "shop"'),
        ("paused", "x", ALL, Target(replicas=1), "replicas, percent: do not go with state paused"),
        ("restored", "x", Selection(("shop",)), Target(), "do not go with state restored"),
    ]
    for state, reason, selection, target, told in bad:
        with pytest.raises(InvalidInput, match=told):
            ensure_workloads(node, state, reason, selection, target, False)
    change(lab, "web")
    with lab.truth() as truth:
        truth["clusters"]["c"]["objects"]["deployments.apps"][0]["metadata"]["labels"][PRIORITY] = "high"
    with pytest.raises(InvalidInput, match=r'deployment shop/web: label .*: "high" is no integer'):
        scale(node, "x", Selection(below_priority=9), PAUSED)
    with pytest.raises(OperationFailed, match="unable to parse requirement"):
        scale(node, "x", Selection(selector="a b"), PAUSED)
    assert as_before(lab)


def test_a_worker_is_refused(lab: Lab, node: MicroK8s) -> None:
    worker = lab.machine("n2", 2)
    with pytest.raises(OnWorker):
        restore(worker, "pause")


# -- purely -----------------------------------------------------------------------------------------------------------
def applied(made: Change) -> Workload:
    return Workload("Deployment", "shop", "web", "1", made.level, made.kept)


def test_reasons_in_any_order_give_what_the_lowest_wants() -> None:
    """All orders in which three reasons come and go, from 0 to 4 replicas."""
    targets = {"a": Target(replicas=0), "b": Target(percent=50), "c": Target(replicas=3)}
    steps = [(reason, act) for reason in targets for act in ("come", "go")]
    for was, order in itertools.product(range(5), itertools.permutations(steps)):
        work, there = Workload("Deployment", "shop", "web", "1", was), set()
        for reason, act in order:
            made = claimed(work, reason, targets[reason]) if act == "come" else released(work, reason)
            work = applied(made)
            there = there | {reason} if act == "come" else there - {reason}
            assert work.level == min([was, *(targets[one].of(was) for one in there)]) and not made.void
            assert (work.kept is None) == all(targets[one].of(was) == was for one in there)
        for reason in sorted(there):
            work = applied(released(work, reason))
        assert (work.level, work.kept) == (was, None)


def test_what_is_kept_comes_back_from_its_text() -> None:
    assert Kept.read(Kept(3, {"b": 1, "a": 0}).text) == Kept(3, {"a": 0, "b": 1})


def test_an_autoscaler_that_was_overruled_by_hand() -> None:
    """At 0 replicas it does nothing: whoever sets another number, or 0, is somebody."""
    work = Workload("Deployment", "shop", "web", "1", 5, Kept(3, {"pause": 0}))
    assert released(work, "pause", Scaler("h", 2)) == Change(work, 5, None, void=True)
    work = Workload("Deployment", "shop", "web", "1", 0, Kept(3, {"scale_down": 1}))
    assert released(work, "scale_down", Scaler("h", 2)) == Change(work, 0, None, void=True)


def test_who_belongs_to_a_controller_is_told() -> None:
    work = Workload("StatefulSet", "shop", "db", "1", 2, owned=True)
    assert workloads.warnings_of(claimed(work, "pause", PAUSED), None) == [
        "statefulset shop/db: it belongs to another object, whose controller may set it back"
    ]
