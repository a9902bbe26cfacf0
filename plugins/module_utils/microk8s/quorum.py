# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quorum of the datastore, proven before anything is done: a model of dqlite's members, and every state on the way.

dqlite keeps three voters (one where the cluster has fewer than three members), up to three standbys, and spares. It
can write as long as more than half of its voters are up. A member that joins comes in as a spare; the leader then
gives out roles. A member that leaves hands its role over first. Nothing here touches a cluster.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..common.errors import Conflict

VOTER, STANDBY, SPARE = "voter", "standby", "spare"
VOTERS = STANDBYS = 3
KINDS = ("join", "leave", "remove", "stop", "start")
#: Steps that the datastore itself has to write down.
WRITTEN = ("join", "leave", "remove")
#: So many steps beside those that were asked for are thought of to find a way.
MOST_HELP = 2


class QuorumLost(Conflict):
    """What was asked for would leave the datastore without a majority of its voters."""


@dataclass(frozen=True, order=True)
class Member:
    """One member of the datastore."""

    name: str
    role: str = VOTER
    up: bool = True

    def __str__(self) -> str:
        return f"{self.name} ({self.role}{'' if self.up else ', down'})"


@dataclass(frozen=True)
class Step:
    """One thing that is done to one member: one of KINDS."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Datastore:
    """The members, by name, each once."""

    members: tuple[Member, ...] = ()

    @classmethod
    def of(cls, members: Iterable[Member]) -> Datastore:
        return cls(tuple(sorted(members)))

    def voters(self) -> list[Member]:
        return [member for member in self.members if member.role == VOTER]

    @property
    def needed(self) -> int:
        """So many voters have to be up."""
        return len(self.voters()) // 2 + 1

    @property
    def voting(self) -> int:
        """So many voters are up."""
        return sum(member.up for member in self.voters())

    @property
    def quorate(self) -> bool:
        return self.voting >= self.needed

    @property
    def spared(self) -> int:
        """So many more voters may go down before the quorum is lost."""
        return max(0, self.voting - self.needed)

    def find(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)

    def put(self, member: Member) -> Datastore:
        return Datastore.of([*(one for one in self.members if one.name != member.name), member])

    def without(self, name: str) -> Datastore:
        return Datastore(tuple(member for member in self.members if member.name != name))

    def __str__(self) -> str:
        members = ", ".join(map(str, self.members)) or "no members"
        return f"{members}: {self.voting} of {len(self.voters())} voters up, {self.needed} needed"


@dataclass(frozen=True)
class Passed:
    """A state on the way, and what led to it."""

    step: Step
    what: str
    store: Datastore


@dataclass(frozen=True)
class Proof:
    """Every state that the steps go through, up to the first that has no quorum, which is ``lost`` then."""

    trail: tuple[Passed, ...]
    lost: Passed | None = None

    @property
    def end(self) -> Datastore:
        return self.trail[-1].store if self.trail else Datastore()


def settled(store: Datastore) -> Datastore:
    """The members when the leader has given out all roles."""
    for _what, found in _given_out(store):
        store = found
    return store


def _given_out(store: Datastore) -> Iterator[tuple[str, Datastore]]:
    """Every state while the leader gives out roles, one at a time."""
    while True:
        change = _next_role(store)
        if change is None:
            return
        store = store.put(change)
        yield f"{change.name} is made a {change.role}", store


def _next_role(store: Datastore) -> Member | None:
    """The next member whose role the leader changes."""
    if not store.quorate:
        return None
    voters = store.voters()
    present = [member for member in voters if member.up]
    if len(store.members) < VOTERS:
        return next((replace(one, role=SPARE) for one in voters if one != present[0]), None)
    waiting = sorted((m for m in store.members if m.up and m.role != VOTER), key=lambda m: m.role != STANDBY)
    if len(present) < VOTERS and waiting:
        return replace(waiting[0], role=VOTER)
    if len(present) > VOTERS:
        return replace(present[-1], role=SPARE)
    absent = [member for member in voters if not member.up]
    if len(present) == VOTERS and absent:
        return replace(absent[0], role=SPARE)
    return _next_standby(store)


def _next_standby(store: Datastore) -> Member | None:
    standbys = [member for member in store.members if member.role == STANDBY]
    present = [member for member in standbys if member.up]
    spares = [member for member in store.members if member.role == SPARE and member.up]
    if len(present) < STANDBYS and spares:
        return replace(spares[0], role=STANDBY)
    absent = [member for member in standbys if not member.up]
    return replace(absent[0], role=SPARE) if absent else None


def states(store: Datastore, step: Step) -> Iterator[tuple[str, Datastore]]:
    """Every state that a step goes through, the last one included."""
    member = store.find(step.name)
    if step.kind == "join":
        store = store.put(Member(step.name, SPARE))
        yield f"{step.name} is added", store
    elif member is None:
        yield f"{step.name} is not a member", store
        return
    elif step.kind in ("stop", "start"):
        # What the leader may do meanwhile is not counted on.
        yield (
            f"{step.name} is {'down' if step.kind == 'stop' else 'up'}",
            store.put(replace(member, up=step.kind == "start")),
        )
        return
    else:
        for what, found in _without(store, member, step.kind):
            store = found
            yield what, store
    yield from _given_out(store)


def _without(store: Datastore, member: Member, kind: str) -> Iterator[tuple[str, Datastore]]:
    """A member goes. One that leaves, and votes, hands over first."""
    if kind == "leave" and member.role == VOTER and member.up:
        others = [one for one in store.members if one.up and one.role != VOTER]
        if others:
            heir = min(others, key=lambda one: one.role != STANDBY)
            store = store.put(replace(heir, role=VOTER))
            yield f"{heir.name} takes over from {member.name}", store
        if len(store.members) > 1:
            store = store.put(replace(member, role=SPARE))
            yield f"{member.name} votes no more", store
    yield f"{member.name} is removed", store.without(member.name)


def prove(store: Datastore, steps: Sequence[Step], whole: bool = False) -> Proof:
    """Go through every state of these steps, in this order, until one has no quorum.

    ``whole`` is for a shutdown of everything: when all that is left to be done is to stop voters, the quorum may go.
    """
    trail: list[Passed] = []
    for number, step in enumerate(steps):
        if step.kind in WRITTEN and not store.quorate:
            before = Passed(step, f"before {step}", store)
            return Proof((*trail, before), before)
        for what, found in states(store, step):
            passed = Passed(step, what, found)
            trail.append(passed)
            excused = step.kind == "start" or (whole and _only_voters_left(found, steps[number + 1 :]))
            if not found.quorate and not excused:
                return Proof(tuple(trail), passed)
            store = found
    return Proof(tuple(trail))


def _only_voters_left(store: Datastore, steps: Sequence[Step]) -> bool:
    stopped = {step.name for step in steps if step.kind == "stop"}
    up = {member.name for member in store.members if member.up}
    return up == stopped and all(member.role == VOTER for member in store.members if member.name in stopped)


def stops(store: Datastore, names: Iterable[str]) -> tuple[Step, ...]:
    """These members' shutdown in the order that costs least: spares, standbys, then voters."""
    rank = {SPARE: 0, STANDBY: 1, VOTER: 2}
    wanted = set(names)
    found = [member for member in store.members if member.name in wanted and member.up]
    return tuple(Step("stop", member.name) for member in sorted(found, key=lambda m: (rank[m.role], m.name)))


def restarts(names: Iterable[str]) -> tuple[Step, ...]:
    """One after the other, down and up again, as an upgrade does."""
    return tuple(step for name in names for step in (Step("stop", name), Step("start", name)))


def safe_order(store: Datastore, steps: Sequence[Step]) -> tuple[Step, ...] | None:
    """An order of these steps in which the quorum is never lost; those of one member keep theirs."""
    return _ordered(store, tuple(steps), {})


def _ordered(
    store: Datastore, steps: tuple[Step, ...], known: dict[tuple[Datastore, tuple[Step, ...]], bool]
) -> tuple[Step, ...] | None:
    if not steps:
        return ()
    if (store, steps) in known:
        return None
    for number, step in enumerate(steps):
        if any(earlier.name == step.name for earlier in steps[:number]):
            continue
        proof = prove(store, [step])
        if proof.lost is None:
            rest = _ordered(proof.end, steps[:number] + steps[number + 1 :], known)
            if rest is not None:
                return (step, *rest)
    known[store, steps] = False
    return None


def way_round(store: Datastore, steps: Sequence[Step]) -> tuple[Step, ...] | None:
    """An order that loses nothing: of the steps alone, or after members that are down were started or removed."""
    named = {step.name for step in steps}
    absent = [member.name for member in store.members if not member.up and member.name not in named]
    for most in range(MOST_HELP + 1):
        for chosen in itertools.combinations(absent, most):
            for kinds in itertools.product(("start", "remove"), repeat=most):
                help_first = tuple(Step(kind, name) for kind, name in zip(kinds, chosen, strict=True))
                before = prove(store, help_first)
                if before.lost is None:
                    order = safe_order(before.end if help_first else store, steps)
                    if order is not None:
                        return (*help_first, *order)
    return None


def demand(store: Datastore, steps: Sequence[Step], force: bool = False, whole: bool = False) -> list[str]:
    """Refuse steps that lose the quorum, with the state that would and an order that would not.

    With ``force`` they may; then the same is returned as a warning. Raises QuorumLost.
    """
    proof = prove(store, steps, whole)
    if proof.lost is None:
        return []
    lost = proof.lost
    what = f"{lost.step} would leave the datastore without quorum when {lost.what}: {lost.store}"
    if lost.what.startswith("before "):
        what = f"{lost.step} is not possible: the datastore has no quorum: {lost.store}"
    order = way_round(store, steps)
    instead = f"this order keeps it: {', '.join(map(str, order))}" if order else "no order keeps it"
    if force:
        return [f"{what}; {instead}; done nevertheless, because of force"]
    raise QuorumLost(what, hint=f"{instead}; force: true does it nevertheless")


def warnings(store: Datastore) -> list[str]:
    """What somebody who counts on these members ought to know."""
    count = len(store.members)
    if count and count % 2 == 0:
        fewer, more = count - 1, count + 1
        line = f"{count} control-plane nodes survive no more losses than {fewer}; take {fewer} or {more}"
        return [line]
    return []
