# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster is to become, looked at before anything is done: every fault in one line, and who joins whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..common.known import known
from ..common.problems import Problems, nearest
from . import quorum
from .addons import CORE
from .info import UNRESPONSIVE
from .membership import CONTROL, SINGLE, STOPPED, WORKER
from .snaps import channel_fault


@dataclass(frozen=True)
class Host:
    """A machine, as the inventory names it and as it was found."""

    host: str
    worker: bool
    name: str = ""
    address: str = ""
    machine_id: str = ""
    place: str = ""
    problem: str = ""
    nodes: tuple[str, ...] = ()
    addons: tuple[str, ...] = ()

    @property
    def reachable(self) -> bool:
        return bool(self.place)

    @classmethod
    def of(cls, host: str, worker: bool, found: Mapping[str, Any] | None) -> Host:
        """``found`` is what microk8s_info returned; None where the machine was not reached."""
        if not found:
            return cls(host, worker)
        nodes = tuple(node["name"] for node in found["nodes"])
        addons = tuple(addon["name"] for addon in found["addons"])
        plain = {key: found[key] for key in ("name", "address", "machine_id", "place", "problem")}
        return cls(host, worker, **plain, nodes=nodes, addons=addons)


@dataclass(frozen=True)
class Order:
    """Who is the cluster that others join, and who joins it, in this order: control plane first.

    ``conductors`` can be asked about the cluster, those in it already first; ``turns`` is the order of an upgrade.
    """

    seed: str
    joins: tuple[str, ...]
    conductors: tuple[str, ...]
    turns: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


def order(hosts: Sequence[Host], only: Sequence[str] = (), addons: Sequence[str] = (), channel: str = "") -> Order:
    """Raises InvalidInput with a line for each fault. ``only`` names the hosts that may be changed; empty means all."""
    problems = Problems()
    _reached(hosts, problems)
    _told_apart(hosts, problems)
    _known_hosts(hosts, only, problems)
    _roles(hosts, problems)
    _addons(hosts, addons, problems)
    if channel and (fault := channel_fault(channel)):
        problems.add("", fault)
    control = [host for host in hosts if not host.worker]
    seed = next((host for host in control if host.place == CONTROL), None) or _first_single(control, only)
    _elsewhere(hosts, seed, problems)
    problems.raise_if_any()
    seed = known(seed)
    workers = [host for host in hosts if host.worker]
    joins = [one.host for one in [*control, *workers] if one is not seed and one.place not in (WORKER, CONTROL)]
    # Whoever is in the cluster, or is to be: somebody must be able to ask it when one of them is away.
    conductors = [host.host for host in sorted(control, key=lambda host: host.place != CONTROL)]
    turns = [*reversed(conductors), *(host.host for host in workers)]
    wanted = [tuple(name for name in names if not only or name in only) for names in (joins, turns)]
    return Order(seed.host, wanted[0], tuple(conductors), wanted[1], tuple(_warnings(control)))


def _first_single(control: Sequence[Host], only: Sequence[str]) -> Host | None:
    """A cluster that begins: the first that has MicroK8s already, else the first."""
    old = [host for host in control if host.place == SINGLE and host.host not in only]
    return next(iter(old or control), None)


def _elsewhere(hosts: Sequence[Host], seed: Host | None, problems: Problems) -> None:
    for host in hosts:
        if seed and host is not seed and host.place in (WORKER, CONTROL) and host.name not in seed.nodes:
            problems.add(host.host, f"is in another cluster than {seed.host}, and must leave it first")


def _reached(hosts: Sequence[Host], problems: Problems) -> None:
    for host in hosts:
        if not host.reachable:
            problems.add(host.host, "cannot be reached; see that it is on and that Ansible may log in")
        elif host.place == UNRESPONSIVE:
            problems.add(host.host, f"MicroK8s does not answer: {host.problem}")
        elif host.place == STOPPED:
            problems.add(host.host, "MicroK8s is stopped; snap start microk8s starts it")


def _told_apart(hosts: Sequence[Host], problems: Problems) -> None:
    for what, value in (("host name", "name"), ("address", "address"), ("machine-id", "machine_id")):
        seen: dict[str, str] = {}
        for host in hosts:
            found = getattr(host, value)
            if found and found in seen:
                problems.add(host.host, f"has the same {what} as {seen[found]}: {found}; each needs its own")
            elif found:
                seen[found] = host.host
    for host in hosts:
        if host.address and not _is_address(host.address):
            problems.add(host.host, f'"{host.address}" is not an address')


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _known_hosts(hosts: Sequence[Host], only: Sequence[str], problems: Problems) -> None:
    names = [host.host for host in hosts]
    for name in only:
        if name not in names:
            problems.add("microk8s_nodes", f'"{name}" is not a host of this play{nearest(name, names)}')


def _roles(hosts: Sequence[Host], problems: Problems) -> None:
    if not any(not host.worker for host in hosts):
        problems.add("microk8s_worker", "all hosts are workers; a cluster needs one that is not, better three")
    for host in hosts:
        if host.place == WORKER and not host.worker:
            problems.add(
                host.host, "is a worker of a cluster already, and must leave it first to be of the control plane"
            )
        if host.place == CONTROL and host.worker:
            problems.add(host.host, "is of a control plane already, and must leave it first to be a worker")


def _addons(hosts: Sequence[Host], addons: Sequence[str], problems: Problems) -> None:
    """What the installed MicroK8s offers counts; before there is one, what its core repository has had for years."""
    listed = sorted({addon for host in hosts for addon in host.addons})
    for name in addons:
        short = name.rpartition("/")[2]
        known = listed or CORE
        if short not in known and (listed or nearest(short, known)):
            problems.add("microk8s_addons", f'there is no addon "{name}"{nearest(short, known)}')


def _warnings(control: Sequence[Host]) -> list[str]:
    return quorum.warnings(quorum.Datastore.of(quorum.Member(host.host) for host in control))
