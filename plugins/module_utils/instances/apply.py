# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies changes in dependency order with a bounded number of workers, and tells as it goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import pairwise

from ..common.errors import RacksteadError
from .claims import handovers
from .model import LIVE_STATES, Change, Ref
from .progress import Progress

HEARTBEAT = 10.0
Worker = Callable[[Change], list[str]]


@dataclass
class Outcome:
    """How one change ended. ``duration`` in seconds; ``skipped`` says why it was not tried."""

    change: Change
    duration: float = 0.0
    error: RacksteadError | None = None
    skipped: str = ""
    notes: list[str] = field(default_factory=list)


def order(changes: Iterable[Change]) -> dict[Ref, set[Ref]]:
    """What each change must wait for.

    Things are made after what they need, stopped and deleted before it. Deleted instances go before
    new ones come, whatever else is deleted goes last, and who gives up an address, a port of the host
    or a volume goes before who gets it.
    """
    by_ref = {change.ref: change for change in changes}
    after: dict[Ref, set[Ref]] = {ref: set() for ref in by_ref}
    instances = {ref for ref in by_ref if ref.kind == "instance"}
    down = {ref for ref in instances if _ends_down(by_ref[ref])}
    gone = {ref for ref in by_ref if "delete" in by_ref[ref].actions}
    for ref, change in by_ref.items():
        for need in (_needs(change) | _profiles_of(change, by_ref)) & by_ref.keys():
            if ref in down and need in down:
                after[need].add(ref)
            # An instance that goes down waits for none, so that no circle can come about.
            elif need not in down and not (ref in down and need in instances) and need not in gone:
                after[ref].add(need)
        if ref.kind == "instance" and "create" in change.actions:
            after[ref] |= (gone & instances) - {ref}
        if ref.kind != "instance" and "delete" in change.actions:
            after[ref] |= instances
            after[ref] |= {other for other in by_ref if _goes_before(by_ref[other], change)}
    # Two profiles at once would find the instances that have both of them busy with the other.
    profiles = [ref for ref in by_ref if ref.kind == "profile" and "update" in by_ref[ref].actions]
    for first, second in pairwise(profiles):
        after[second].add(first)
    for _claim, giver, taker in handovers(by_ref.values()):
        if not _waits_for(giver, taker, after):
            after[taker].add(giver)
    return after


def _needs(change: Change) -> frozenset[Ref]:
    return change.desired.needs if change.desired else frozenset()


def _profiles_of(change: Change, by_ref: Mapping[Ref, Change]) -> frozenset[Ref]:
    """The profiles of an instance as it is: Incus writes their changes to it, which must not find it busy."""
    if change.ref.kind != "instance" or not change.observed:
        return frozenset()
    projects = (change.ref.project, "default")
    refs = (Ref("profile", name, project) for name in change.observed.profiles for project in projects)
    return frozenset(ref for ref in refs if ref in by_ref)


def _waits_for(ref: Ref, other: Ref, after: Mapping[Ref, set[Ref]]) -> bool:
    """Whether ``ref`` has to wait for ``other``, be it through others."""
    seen: set[Ref] = set()
    front = [ref]
    while front:
        node = front.pop()
        if node == other:
            return True
        front.extend(after[node] - seen)
        seen |= after[node]
    return False


def _ends_down(change: Change) -> bool:
    """Whether its instance is stopped or gone after the change, or was so before a change of nothing."""
    if not change.actions:
        return (change.after or {}).get("status") not in LIVE_STATES
    return "delete" in change.actions or (change.actions[-1] in ("stop", "update") and "stop" in change.actions)


def _goes_before(other: Change, change: Change) -> bool:
    """Of two deletions beside instances: profiles first, then networks and volumes, projects last."""
    ranks = {"profile": 0, "network": 1, "storage_volume": 1, "project": 2}
    both = "delete" in other.actions and other.ref.kind in ranks and change.ref.kind in ranks
    return both and ranks[other.ref.kind] < ranks[change.ref.kind]


class Executor:
    """Runs ``work`` on each change once all it waits for has ended well."""

    def __init__(self, work: Worker, progress: Progress, busy: set[Ref], *, parallel: int, keep_going: bool) -> None:
        """``busy`` names the changes that have something to do or to wait for, the only ones told of."""
        self._busy = busy
        self._work = work
        self._progress = progress
        self._parallel = parallel
        self._keep_going = keep_going
        self._outcomes: dict[Ref, Outcome] = {}

    def run(self, changes: list[Change]) -> dict[Ref, Outcome]:
        """Outcomes by Ref, one for every change."""
        waits = order(changes)
        by_ref = {change.ref: change for change in changes}
        blocks: dict[Ref, list[Ref]] = {ref: [] for ref in by_ref}
        for ref, befores in waits.items():
            for before in befores:
                blocks[before].append(ref)
        ready = deque(ref for ref, befores in waits.items() if not befores)
        running: dict[Future[Outcome], Ref] = {}
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="apply") as pool:
            while ready or running:
                while ready and len(running) < self._parallel:
                    change = by_ref[ready.popleft()]
                    running[pool.submit(self._one, change, self._blocked(change))] = change.ref
                for ref in self._finished(running):
                    for other in blocks[ref]:
                        waits[other].discard(ref)
                        if not waits[other]:
                            ready.append(other)
        return self._outcomes

    def _blocked(self, change: Change) -> str:
        """Why a change must not be tried, or nothing."""
        failed = [ref for ref, outcome in self._outcomes.items() if outcome.error]
        if failed and not self._keep_going and change.actions:
            return f"not started, since {failed[0]} failed (on_error=stop)"
        needs = _needs(change) if "delete" not in change.actions else frozenset()
        missing = sorted(str(ref) for ref in needs if (out := self._outcomes.get(ref)) and (out.error or out.skipped))
        return f"not started, since it needs {missing[0]}" if missing else ""

    def _one(self, change: Change, blocked: str) -> Outcome:
        begun = time.monotonic()
        outcome = Outcome(change, skipped=blocked)
        name = str(change.ref)
        if not blocked:
            try:
                outcome.notes = self._work(change)
            except RacksteadError as error:
                outcome.error = error.at(name)
        outcome.duration = round(time.monotonic() - begun, 3)
        if change.ref not in self._busy:
            return outcome
        if blocked:
            self._progress.report(name, "skipped", blocked)
        elif outcome.error:
            self._progress.report(name, "failed", f"failed: {outcome.error.what}")
        else:
            self._progress.report(name, "done", f"{past(change)} ({outcome.duration:.1f} s)")
        return outcome

    def _finished(self, running: dict[Future[Outcome], Ref]) -> list[Ref]:
        """Wait for some to end; on a long silence say what is still going on."""
        done, _rest = wait(running, timeout=HEARTBEAT, return_when=FIRST_COMPLETED)
        if not done:
            self._progress.still(str(ref) for ref in running.values())
        ended = []
        for future in done:
            ref = running.pop(future)
            self._outcomes[ref] = future.result()
            ended.append(ref)
        return ended


PAST = {
    "create": "created",
    "update": "updated",
    "start": "started",
    "stop": "stopped",
    "delete": "deleted",
    "freeze": "frozen",
    "unfreeze": "resumed",
}


def past(change: Change) -> str:
    """The change's actions in the past tense."""
    return ", ".join(PAST[action] for action in change.actions) or "ready"
