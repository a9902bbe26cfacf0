# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of changes and the workers that carry them out."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import OperationFailed, Unreachable
from ansible_collections.rackstead.infra.plugins.module_utils.instances.apply import Executor, Outcome, order, past
from ansible_collections.rackstead.infra.plugins.module_utils.instances.marks import PLAN_MARK
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Change, Desired, Observed, Ref
from ansible_collections.rackstead.infra.plugins.module_utils.instances.progress import Event, Progress
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plan_worlds import NIC, OWNER, changes, instance, world

TINY = {"image": "tiny"}


def ref(name: str, kind: str = "instance") -> Ref:
    return Ref(kind, name)


def before(document: dict[str, Any], *there: Observed, **policy: Any) -> dict[str, set[str]]:
    """What each change waits for, by the resources' names in words."""
    found = order(changes(document, world(*there), **policy).values())
    return {str(one): {str(other) for other in befores} for one, befores in found.items()}


def chain(*names: str, **fields: Any) -> dict[str, Any]:
    """Instances of which each needs the one before it."""
    needs = dict(zip(names, [[], *([name] for name in names)], strict=False))
    return {"instances": {name: {**TINY, **fields, "depends_on": needs[name]} for name in names}}


# -- order ------------------------------------------------------------------------------------------
def test_things_are_made_after_what_they_need() -> None:
    document = {
        "project": "site",
        "projects": {"site": {"config": {"features.networks": "true", "features.images": "false"}}},
        "networks": {"own0": {}},
        "storage_volumes": {"v": {}},
        "profiles": {"web": {"devices": {"eth1": {"type": "nic", "network": "own0"}}}},
        "instances": {
            "a": {**TINY, "profiles": ["default", "web"], "volumes": {"v": "/srv"}},
            "b": {**TINY, "depends_on": ["a"], "network": {"bridge": "own0"}},
        },
    }
    there = world(Observed(Ref("profile", "default", "site")))
    there.images["site"] = dict(there.aliases("default"))
    there.features["site"] = document["projects"]["site"]["config"]  # type: ignore[index]
    found = {
        str(one).split(" (")[0]: {str(other).split(" (")[0] for other in befores}
        for one, befores in order(changes(document, there).values()).items()
    }
    assert found["project site"] == set()
    assert found["network own0"] == found["storage volume v"] == {"project site"}
    assert found["profile web"] == {"project site", "network own0"}
    assert found["instance a"] == {"project site", "storage volume v", "profile web"}
    assert found["instance b"] == {"project site", "network own0", "instance a"}


def test_instances_go_down_in_the_reverse_order() -> None:
    document = chain("a", "b", "c")
    there = [instance(name) for name in "abc"]
    for state in ("absent", "stopped"):
        assert before(document, *there, state=state) == {
            "instance a": {"instance b"},
            "instance b": {"instance c"},
            "instance c": set(),
        }


def test_the_reverse_order_holds_across_what_is_down_already() -> None:
    document = chain("a", "b", "c")
    there = [instance("a"), instance("b", status="Stopped"), instance("c")]
    assert before(document, *there, state="stopped")["instance a"] == {"instance b"}
    assert before(document, instance("a"), instance("c"), state="absent")["instance b"] == {"instance c"}


def test_a_partly_deleted_plan_has_no_circle() -> None:
    """What a killed run has deleted already must not tie the rest into a knot."""
    document = {"instances": {"a": {**TINY, "depends_on": ["b", "c"]}, "b": {**TINY, "depends_on": ["c"]}, "c": TINY}}
    assert finishes(order(changes(document, world(instance("a"), instance("c")), state="absent").values()))
    there = world(instance("a"), instance("b", status="Stopped"), instance("c"))
    assert finishes(order(changes(document, there, state="stopped").values()))


def test_deleted_instances_go_before_new_ones_and_need_nothing() -> None:
    document = {"instances": {"old": {"state": "absent", "depends_on": ["new"]}, "new": TINY}}
    assert before(document, instance("old")) == {"instance old": set(), "instance new": {"instance old"}}


def test_whatever_else_is_deleted_goes_last() -> None:
    mark = {PLAN_MARK: OWNER}
    document = {
        "projects": {"p": {}},
        "networks": {"own0": {}},
        "storage_volumes": {"v": {}},
        "profiles": {"web": {}},
        "instances": {"a": TINY},
    }
    there = [
        Observed(Ref("project", "p"), config=mark),
        Observed(Ref("network", "own0"), config=mark, type="bridge"),
        Observed(Ref("storage_volume", "v", pool="default"), config=mark, content_type="filesystem"),
        Observed(Ref("profile", "web"), config=mark),
        instance("a"),
    ]
    found = before(document, *there, state="absent")
    assert found["instance a"] == set()
    assert found["profile web"] == {"instance a"}
    assert found["network own0"] == found["storage volume v"] == {"instance a", "profile web"}
    assert found["project p"] == {"instance a", "profile web", "network own0", "storage volume v"}


def test_a_profile_changes_before_the_instances_that_have_it() -> None:
    """Incus writes the change to them, and refuses where one is busy, be it with its own end."""
    document = {
        "profiles": {"default": {"config": {"limits.processes": 50}}},
        "instances": {"a": {"state": "absent"}, "b": TINY},
    }
    there = [instance("a"), instance("b", profiles=("default", "web")), instance("c")]
    found = before(document, *there, prune=True)
    assert found["instance a"] == found["instance c"] == {"profile default"}
    assert "profile default" in found["instance b"]


def test_profiles_change_one_after_the_other() -> None:
    """An instance that has several of them can take one change at a time."""
    names = ("default", "web", "db")
    there = [Observed(Ref("profile", name), config={PLAN_MARK: OWNER}) for name in names[1:]]
    document = {"profiles": {name: {"config": {"limits.processes": 50}} for name in names}}
    assert before(document, *there) == {
        "profile default": set(),
        "profile web": {"profile default"},
        "profile db": {"profile web"},
    }


def test_who_gives_up_an_address_goes_first() -> None:
    held = instance(
        "b",
        config={"user.rackstead.image": "tiny"},
        devices={"eth0": {**NIC, "ipv4.address": "10.0.0.5"}},
        keys="device:eth0",
    )
    free = instance("a", config={"user.rackstead.image": "tiny"})
    document = {"instances": {"a": {**TINY, "network": {"bridge": "br0", "ipv4": "10.0.0.5"}}, "b": TINY}}
    assert before(document, held, free) == {"instance a": {"instance b"}, "instance b": set()}


def test_a_handover_against_the_dependencies_ties_no_knot() -> None:
    """The taker is needed by the giver: the dependency counts, and the daemon has the last word."""
    held = instance(
        "b",
        config={"user.rackstead.image": "tiny"},
        devices={"eth0": {**NIC, "ipv4.address": "10.0.0.5"}},
        keys="device:eth0",
    )
    taker = {**TINY, "network": {"bridge": "br0", "ipv4": "10.0.0.5"}}
    document = {"instances": {"a": taker, "b": {**TINY, "depends_on": ["a"]}}}
    assert before(document, held) == {"instance a": set(), "instance b": {"instance a"}}


def finishes(after: dict[Ref, set[Ref]]) -> bool:
    """Whether everything gets its turn."""
    left = {one: set(befores) for one, befores in after.items()}
    while True:
        ready = [one for one, befores in left.items() if not befores & left.keys()]
        if not ready:
            return not left
        for one in ready:
            del left[one]


STATUSES = st.sampled_from(["", "Running", "Stopped", "Frozen"])
STATES = st.sampled_from(["running", "stopped", "frozen", "absent"])
ADDRESSES = st.sampled_from(["", "10.0.0.5", "10.0.0.6", "10.0.0.7"])


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, Any], list[Observed], dict[str, Any]]:
    """A plan without circles, what an earlier or killed run left of it, and a policy."""
    names = ["a", "b", "c", "d", "e", "f"][: draw(st.integers(3, 6))]
    document: dict[str, Any] = {"instances": {}, "profiles": {"web": {}}, "networks": {"own0": {}}}
    there = []
    for number, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:number] or [name]), unique=True, max_size=3)) if number else []
        spec = {**TINY, "state": draw(STATES), "depends_on": needs, "profiles": ["default", "web"]}
        address = draw(ADDRESSES)
        document["instances"][name] = {**spec, "network": {"bridge": "br0", "ipv4": address}} if address else spec
        status, held = draw(STATUSES), draw(ADDRESSES)
        devices = {"eth0": {**NIC, "ipv4.address": held}} if held else {}
        if status:
            there.append(instance(name, status=status, devices=devices, keys="device:eth0"))
    policy = {
        "state": draw(st.sampled_from(["present", "absent", "started", "stopped"])),
        "on_change": "restart",
        "adopt": True,
    }
    return document, there, policy


@settings(max_examples=400)
@given(situations())
def test_every_change_gets_its_turn(situation: tuple[dict[str, Any], list[Observed], dict[str, Any]]) -> None:
    """Whatever the plan, what is there and what is asked for: no circle, hence no deadlock."""
    from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.desired import desired_resources
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.door import read_plan
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.reconcile import Policy, compute

    document, there, policy = situation
    here = world(*there)
    plan = read_plan(document, Problems(), name=OWNER)
    found = compute(desired_resources(plan, here, OWNER), here, Policy(OWNER, **policy), Problems())
    assert finishes(order(found))
    outcomes = Executor(lambda _change: [], Progress(), set(), parallel=3, keep_going=False).run(found)
    assert len(outcomes) == len(found)


# -- the executor -----------------------------------------------------------------------------------
def made(name: str, *needs: str) -> Change:
    desired = Desired(ref(name), needs=frozenset(map(ref, needs)))
    return Change(ref(name), ("create",), None, {"status": "Running"}, (), desired)


def quiet(name: str, *needs: str) -> Change:
    """A change of nothing."""
    desired = Desired(ref(name), needs=frozenset(map(ref, needs)))
    there = {"status": "Running"}
    return Change(ref(name), (), there, there, (), desired)


def run(
    changes: list[Change], fail: set[str] = frozenset(), *, keep_going: bool = False, parallel: int = 1
) -> tuple[dict[str, Outcome], list[str], list[Event]]:
    """Outcomes by name, names in the order in which they were worked on, and what was told."""
    worked: list[str] = []
    told: list[Event] = []

    def work(change: Change) -> list[str]:
        worked.append(change.ref.name)
        if change.ref.name in fail:
            raise OperationFailed("broke")
        return [f"note of {change.ref.name}"]

    progress = Progress(told.append)
    progress.total = len(changes)
    busy = {change.ref for change in changes if change.actions}
    outcomes = Executor(work, progress, busy, parallel=parallel, keep_going=keep_going).run(changes)
    return {one.name: outcome for one, outcome in outcomes.items()}, worked, told


def test_all_goes_well() -> None:
    outcomes, worked, told = run([made("b", "a"), made("a"), made("c", "b")])
    assert worked == ["a", "b", "c"]
    assert outcomes["a"].notes == ["note of a"]
    assert [(event.resource, event.phase, event.done) for event in told] == [
        ("instance a", "done", 1),
        ("instance b", "done", 2),
        ("instance c", "done", 3),
    ]


def test_stop_starts_nothing_new_after_a_failure() -> None:
    outcomes, worked, told = run([made("a"), made("b"), made("c", "a")], {"a"})
    assert worked == ["a"]
    assert str(outcomes["a"].error) == "instance a: broke"
    assert outcomes["b"].skipped == "not started, since instance a failed (on_error=stop)"
    assert outcomes["c"].skipped == "not started, since instance a failed (on_error=stop)"
    assert [event.phase for event in told] == ["failed", "skipped", "skipped"]
    assert told[-1].done == 3


def test_continue_finishes_what_does_not_need_what_failed() -> None:
    plan = [made("a"), made("b"), made("c", "a"), made("d", "c"), made("e", "b")]
    outcomes, worked, _told = run(plan, {"a"}, keep_going=True)
    assert sorted(worked) == ["a", "b", "e"]
    assert outcomes["c"].skipped == "not started, since it needs instance a"
    assert outcomes["d"].skipped == "not started, since it needs instance c"
    assert not outcomes["e"].skipped


def test_what_is_deleted_needs_nothing() -> None:
    gone = Change(
        ref("b"), ("delete",), {"status": "Stopped"}, None, (), Desired(ref("b"), needs=frozenset({ref("a")}))
    )
    outcomes, worked, _told = run([made("a"), gone], {"a"}, keep_going=True)
    assert sorted(worked) == ["a", "b"]
    assert not outcomes["b"].skipped


def test_what_has_nothing_to_do_is_not_told_of() -> None:
    outcomes, _worked, told = run([quiet("a"), made("b", "a")])
    assert [event.resource for event in told] == ["instance b"]
    assert not outcomes["a"].skipped


def test_an_error_names_resource_and_place() -> None:
    def work(_change: Change) -> list[str]:
        raise Unreachable("connection refused", where="Incus at unix:///x")

    outcomes = Executor(work, Progress(), set(), parallel=1, keep_going=False).run([made("a")])
    assert str(outcomes[ref("a")].error) == "instance a: Incus at unix:///x: connection refused"


def test_no_more_workers_than_asked_for_and_no_fewer() -> None:
    together = threading.Barrier(3)
    lock = threading.Lock()
    running, most = 0, 0

    def work(_change: Change) -> list[str]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(10)  # breaks, and fails the test, unless three are at work at once
        with lock:
            running -= 1
        return []

    plan = [made(name) for name in "abcdefghi"]
    outcomes = Executor(work, Progress(), set(), parallel=3, keep_going=False).run(plan)
    assert len(outcomes) == 9
    assert most == 3


def test_an_error_of_our_own_making_is_not_hidden() -> None:
    def work(_change: Change) -> list[str]:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        Executor(work, Progress(), set(), parallel=2, keep_going=True).run([made("a"), made("b")])


def test_long_work_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.rackstead.infra.plugins.module_utils.instances import apply

    monkeypatch.setattr(apply, "HEARTBEAT", 0.01)
    told: list[Event] = []
    heard = threading.Event()

    def tell(event: Event) -> None:
        if event.phase == "still":
            told.append(event)
            heard.set()

    progress = Progress(tell)

    def work(change: Change) -> list[str]:
        progress.report(str(change.ref), "wait", "waiting for cloud_init")
        assert heard.wait(10)
        return []

    apply.Executor(work, progress, set(), parallel=1, keep_going=False).run([made("a")])
    assert (told[0].resource, told[0].detail) == ("instance a", "waiting for cloud_init (0 s)")


def test_actions_in_the_past_tense() -> None:
    assert past(made("a")) == "created"
    assert past(quiet("a")) == "ready"
    assert (
        past(Change(ref("a"), ("unfreeze", "stop", "update", "start", "freeze")))
        == "resumed, stopped, updated, started, frozen"
    )
