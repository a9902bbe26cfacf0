# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order a cluster's machines are stopped and started, and what stands in the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..common.problems import Problems
from . import quorum
from .info import UNRESPONSIVE
from .membership import ABSENT, CONTROL, SINGLE, STOPPED, WORKER
from .quorum import Datastore, Member

AWAY = "cannot be reached"


@dataclass(frozen=True)
class Seen:
    """A machine as the inventory names it, and as it was found; ``place`` is empty where it could not be reached.

    ``here`` is the machine that runs the play.
    """

    host: str
    worker: bool = False
    name: str = ""
    place: str = ""
    answers: bool = False
    nodes: Mapping[str, bool] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    here: bool = False

    @classmethod
    def of(cls, host: str, worker: bool, found: Mapping[str, Any] | None, here: bool = False) -> Seen:
        """``found`` is what microk8s_info returned. What a machine says it is counts, before what it was to be."""
        if not found:
            return cls(host, worker, here=here)
        place, store = found["place"], found["datastore"]
        return cls(
            host,
            worker if place in (STOPPED, UNRESPONSIVE) else place == WORKER,
            found["name"],
            place,
            place in (CONTROL, SINGLE) and bool(found["running"]) and bool(store["quorum"]),
            {node["name"]: node["ready"] for node in found["nodes"]},
            tuple(Member(one["name"], one["role"], one["up"]) for one in store["members"]),
            here,
        )


@dataclass(frozen=True)
class Turns:
    """Hosts by kind, in their order; who is asked about the cluster, if anybody; and the nodes that may be emptied.

    ``power`` are all hosts, by the turns in which they are switched off; those ``here`` run the play.
    """

    control: tuple[str, ...]
    workers: tuple[str, ...]
    conductor: str = ""
    nodes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    power: tuple[tuple[str, ...], ...] = ()
    here: tuple[str, ...] = ()


def shutdown(hosts: Sequence[Seen], force: bool = False, off: bool = False) -> Turns:
    """All workers, then the control plane: spares, standbys, voters.

    Raises InvalidInput with a line for each machine that is in the way, QuorumLost where members stay up that would be
    left without a quorum. ``force`` stops what can be stopped, and says what it could not. ``off`` is for machines that
    are switched off at the end: those that cannot be reached may be off already.
    """
    warned = _reachable(hosts, force, off)
    turns, here = _power(hosts), tuple(one.host for one in hosts if one.here)
    conductor = next((one for one in hosts if one.answers), None)
    up = [one for one in hosts if one.place not in ("", STOPPED)]
    workers = tuple(one.host for one in up if one.worker)
    control = [one for one in up if not one.worker]
    if conductor is None:
        if up:
            warned.append("nobody answers for the cluster: its pods stay where they are, and nothing is backed up")
        return Turns(tuple(one.host for one in control), workers, warnings=tuple(warned), power=turns, here=here)
    _together(hosts, conductor)
    names = {one.name: one.host for one in hosts if one.name}
    store = Datastore.of(conductor.members)
    steps = quorum.stops(store, [one.name for one in control])
    warned += quorum.demand(store, steps, force, whole=True)
    ordered = [names[step.name] for step in steps]
    first = [one.host for one in control if one.host not in ordered]
    others = sorted(set(conductor.nodes) - set(names))
    if others:
        warned.append(f"not among the hosts, and left as they are: {', '.join(others)}")
    ready = tuple(name for name, is_ready in conductor.nodes.items() if is_ready and name in names)
    return Turns((*first, *ordered), workers, conductor.host, ready, tuple(warned), turns, here)


def _power(hosts: Iterable[Seen]) -> tuple[tuple[str, ...], ...]:
    """Workers, the control plane, and at last the machine that runs the play, which cannot be asked afterwards."""
    workers = tuple(one.host for one in hosts if one.worker and not one.here)
    control = tuple(one.host for one in hosts if not one.worker and not one.here)
    own = tuple(one.host for one in hosts if one.here)
    return tuple(turn for turn in (workers, control, own) if turn)


def startup(hosts: Sequence[Seen], force: bool = False, off: bool = False) -> Turns:
    """The control plane, all at once, since a quorum takes several; then the workers. Raises InvalidInput.

    ``off`` is for check mode, in which machines that cannot be reached were not switched on.
    """
    warned = _reachable(hosts, force, off)
    there = [one for one in hosts if one.place]
    control = tuple(one.host for one in there if not one.worker)
    if not control and off:
        return Turns((), (), warnings=tuple(warned))
    if not control:
        problems = Problems()
        problems.add("rackstead_host", "none of its hosts that can be reached is of the control plane")
        problems.raise_if_any()
    workers = tuple(one.host for one in there if one.worker)
    names = tuple(one.name for one in there)
    return Turns(control, workers, control[0], names, tuple(warned))


def _reachable(hosts: Iterable[Seen], force: bool, off: bool = False) -> list[str]:
    """What is told of machines that are left as they are. Raises InvalidInput where they are in the way."""
    problems, warned = Problems(), []
    for one in hosts:
        if not one.place and off:
            warned.append(f"{one.host} {AWAY}, and is taken to be off")
        elif not one.place and force:
            warned.append(f"{one.host} {AWAY}, and is left as it is")
        elif not one.place:
            problems.add(one.host, f"{AWAY}; see that it is on, or say microk8s_force: true to leave it as it is")
        elif one.place == ABSENT:
            problems.add(one.host, "MicroK8s is not installed")
    problems.raise_if_any()
    return warned


def _together(hosts: Iterable[Seen], conductor: Seen) -> None:
    """Raises InvalidInput with a line for each machine of another cluster."""
    problems = Problems()
    for one in hosts:
        if one.place and one.name not in conductor.nodes:
            problems.add(
                one.host, f"is not a node of the cluster of {conductor.host}; shut each cluster down by itself"
            )
    problems.raise_if_any()
