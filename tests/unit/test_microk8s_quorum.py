# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quorum proof, against every state of up to seven members with every subset of them down."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import quorum
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.quorum import (
    SPARE,
    STANDBY,
    VOTER,
    Datastore,
    Member,
    Step,
    prove,
    safe_order,
)

MOST = 7


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(1, count + 1)]


def usual(count: int) -> Datastore:
    """Members with the roles that dqlite gives so many."""
    voters = 3 if count >= 3 else 1
    roles = [VOTER] * voters + [STANDBY if count >= 3 else SPARE] * 3 + [SPARE] * MOST
    return Datastore.of(Member(name, role) for name, role in zip(names(count), roles, strict=False))


def subsets(count: int) -> Iterator[Datastore]:
    """The usual members, with every subset of them down."""
    for up in itertools.product((True, False), repeat=count):
        members = [Member(m.name, m.role, is_up) for m, is_up in zip(usual(count).members, up, strict=True)]
        yield Datastore.of(members)


def every_kind() -> Iterator[Datastore]:
    """Every mixture of roles, up and down, of up to seven members; names do not matter."""
    kinds = list(itertools.product((VOTER, STANDBY, SPARE), (True, False)))
    for count in range(1, MOST + 1):
        for chosen in itertools.combinations_with_replacement(kinds, count):
            yield Datastore.of(Member(name, role, up) for name, (role, up) in zip(names(count), chosen, strict=True))


def majority(store: Datastore) -> bool:
    """What quorum means, said a second time: the voters that are up outnumber those that are down."""
    up = [m for m in store.members if m.role == VOTER and m.up]
    down = [m for m in store.members if m.role == VOTER and not m.up]
    return len(up) > len(down)


def every_step(store: Datastore) -> Iterator[Step]:
    yield Step("join", "new")
    for member in store.members:
        yield Step("remove", member.name)
        yield Step("start" if not member.up else "stop", member.name)
        if member.up:
            yield Step("leave", member.name)


def all_states() -> Iterator[Datastore]:
    for count in range(1, MOST + 1):
        yield from subsets(count)
    yield from every_kind()


def test_quorum_is_a_majority_of_the_voters() -> None:
    for store in all_states():
        assert store.quorate == majority(store), store


def test_a_step_is_proven_only_if_every_state_on_the_way_has_a_majority() -> None:
    refused = passed = 0
    for store in all_states():
        for step in every_step(store):
            proof = prove(store, [step])
            on_the_way = [found for _what, found in quorum.states(store, step)]
            before = [store] if step.kind in quorum.WRITTEN else []
            good = step.kind == "start" or all(majority(found) for found in [*before, *on_the_way])
            if step.kind == "start":
                assert proof.lost is None
            else:
                assert (proof.lost is None) == good, (store, step)
            if proof.lost:
                refused += 1
                assert not majority(proof.lost.store)
                assert all(majority(one.store) for one in proof.trail[:-1])
            else:
                passed += 1
    assert refused > 1000 and passed > 1000


def test_members_change_by_one_role_or_one_member_at_a_time() -> None:
    """Each state follows from the one before by a single write of the datastore, so none on the way is left out."""
    for store in all_states():
        for step in every_step(store):
            if not store.quorate and step.kind in quorum.WRITTEN:
                continue
            last = store
            for _what, found in quorum.states(store, step):
                before, after = set(last.members), set(found.members)
                assert len({m.name for m in before ^ after}) <= 1, (store, step)
                last = found


def test_what_settles_has_the_voters_it_can_have() -> None:
    for store in all_states():
        if (
            not store.quorate or len(store.voters()) > 4
        ):  # dqlite never has more than four, for as long as one hands over
            continue
        end = quorum.settled(store)
        up = sum(member.up for member in end.members)
        assert majority(end), store
        if len(end.members) < 3:
            assert len(end.voters()) == 1 and end.voting == 1
        else:
            assert end.voting == min(3, up), (store, end)
            assert quorum.settled(end) == end


@pytest.mark.parametrize("kind", ["remove", "leave", "stop"])
def test_an_order_is_found_exactly_if_there_is_one(kind: str) -> None:
    found_one = none = 0
    for count in range(2, MOST + 1):
        for store in subsets(count):
            able = [m.name for m in store.members if m.up or kind == "remove"]
            for chosen in itertools.combinations(able, 2):
                steps = [Step(kind, name) for name in chosen]
                order = safe_order(store, steps)
                possible = [p for p in itertools.permutations(steps) if prove(store, p).lost is None]
                assert (order is not None) == bool(possible), (store, steps)
                if order is None:
                    none += 1
                else:
                    found_one += 1
                    assert prove(store, order).lost is None and sorted(map(str, order)) == sorted(map(str, steps))
    assert found_one and none


def test_a_way_round_keeps_the_quorum_all_along() -> None:
    helped = 0
    for count in range(1, MOST + 1):
        for store in subsets(count):
            for member in store.members:
                if not member.up:
                    continue
                for kind in ("leave", "stop", "remove"):
                    step = Step(kind, member.name)
                    order = quorum.way_round(store, [step])
                    if order is not None:
                        assert prove(store, order).lost is None and order[-1] == step
                        helped += len(order) > 1
    assert helped > 20


def test_an_upgrade_goes_where_all_voters_are_up_and_nowhere_where_one_is_down() -> None:
    for count in range(3, MOST + 1):
        for store in subsets(count):
            for member in store.members:
                lost = prove(store, quorum.restarts([member.name])).lost
                voters_up = store.voting - (member.role == VOTER and member.up)
                assert (lost is None) == (voters_up >= 2), (store, member)


def test_a_shutdown_of_everything_stops_voters_last() -> None:
    for count in range(1, MOST + 1):
        for store in subsets(count):
            if not store.quorate:
                continue
            steps = quorum.stops(store, names(count))
            assert prove(store, steps, whole=True).lost is None, store
            others = [s for s in steps if (m := store.find(s.name)) and m.role != VOTER]
            if others and len(steps) > len(others) and store.spared == 0:
                assert prove(store, steps[::-1], whole=True).lost is not None


def test_the_refusal_names_the_state_and_the_order_that_would_do() -> None:
    store = Datastore.of([Member("a"), Member("b", up=False), Member("c")])
    with pytest.raises(quorum.QuorumLost) as caught:
        quorum.demand(store, [Step("leave", "c")])
    assert str(caught.value) == (
        "leave c would leave the datastore without quorum when c votes no more: a (voter), b (voter, down), c (spare): "
        "1 of 2 voters up, 2 needed; this order keeps it: start b, leave c; force: true does it nevertheless"
    )
    warned = quorum.demand(store, [Step("leave", "c")], force=True)
    assert len(warned) == 1 and warned[0].endswith("done nevertheless, because of force")
    assert quorum.demand(store, [Step("remove", "b"), Step("leave", "c")]) == []


def test_nothing_is_written_without_quorum() -> None:
    store = Datastore.of([Member("a"), Member("b", up=False), Member("c", up=False)])
    with pytest.raises(quorum.QuorumLost, match="join d is not possible: the datastore has no quorum"):
        quorum.demand(store, [Step("join", "d")])


def test_a_wrong_order_gets_the_right_one() -> None:
    store = Datastore.of([Member("a"), Member("b", up=False), Member("c")])
    with pytest.raises(quorum.QuorumLost, match="this order keeps it: remove b, leave a"):
        quorum.demand(store, [Step("leave", "a"), Step("remove", "b")])


@pytest.mark.parametrize(("count", "warned"), [(1, False), (2, True), (3, False), (4, True), (5, False)])
def test_an_even_number_is_warned_of(count: int, warned: bool) -> None:
    assert bool(quorum.warnings(usual(count))) == warned
    if count == 4:
        assert "take 3 or 5" in quorum.warnings(usual(4))[0]
