# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses for BMCs: each has one server, by a record of its own, so that two servers never get one.

An address stays a server's until the server's BMC has another. It is taken in one transaction, whoever
else asks at that moment. In a pool, addresses at which some BMC answers already are passed over.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.errors import InvalidInput
from ...state.model import Query
from ...state.store import Change
from ..bmc import presence
from ..bmc.model import Endpoint
from .journal import stamp
from .model import ADDRESS_RECORD
from .retry import Settled

if TYPE_CHECKING:
    from .task import Task

KEYS = ("addresses", "netmask", "gateway")
#: More addresses a pool cannot have.
MOST = 65536
PAGE = 1000


@dataclass(frozen=True)
class Pool:
    """A range of addresses, both ends included."""

    name: str
    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def addresses(self) -> Iterator[str]:
        return (str(ipaddress.IPv4Address(number)) for number in range(int(self.first), int(self.last) + 1))

    def __contains__(self, address: str) -> bool:
        return self.first <= ipaddress.IPv4Address(address) <= self.last


def pool_of(name: str, given: Mapping[str, Any]) -> Pool:
    """A pool from its settings. Raises ValueError with what is wrong."""
    text = str(given.get("addresses") or "")
    try:
        if "/" in text:
            network = ipaddress.IPv4Network(text)
            hosts = network.prefixlen < 31
            first, last = network[1 if hosts else 0], network[-2 if hosts else -1]
        else:
            start, _dash, end = text.partition("-")
            first = ipaddress.IPv4Address(start.strip())
            last = ipaddress.IPv4Address(end.strip()) if end else first
    except ValueError:
        raise ValueError(f'"{text}" is no range of addresses; allowed: 192.0.2.10-192.0.2.50, 192.0.2.0/26') from None
    if last < first:
        raise ValueError(f'"{text}" ends before it begins; allowed: 192.0.2.10-192.0.2.50')
    found = Pool(name, first, last)
    if len(found) > MOST:
        raise ValueError(f'"{text}" has {len(found)} addresses; allowed: at most {MOST}')
    return found


# -- whose an address is ----------------------------------------------------------------------------
def owners(change: Change) -> dict[str, str]:
    """Addresses and the servers that have them."""
    found: dict[str, str] = {}
    after = ""
    while page := change.list(ADDRESS_RECORD, Query(after=after, limit=PAGE)):
        found |= {record.key: str(record.body["system_id"]) for record in page}
        after = page[-1].key
    return found


def first_free(pool: Pool, taken: Mapping[str, str], system_id: str, passed: set[str]) -> str:
    """The server's own address of the pool, else the first that is nobody's; nothing where there is none."""
    own = [one for one, owner in taken.items() if owner == system_id and one in pool]
    if own:
        return min(own, key=ipaddress.IPv4Address)
    return next((one for one in pool.addresses() if one not in taken and one not in passed), "")


def address_for(task: Task, told: Endpoint) -> str:
    """The address that the server's BMC is to have, which is the server's from now on. Raises Settled."""
    if not task.order.pool:
        return _reserved(task, task.order.target_ipmi_ip)
    pool = pool_of(task.order.pool, task.settings.pools[task.order.pool])
    passed: set[str] = set()
    while True:
        address, own = _take(task, pool, passed)
        if not address:
            hint = "make the pool larger, or remove records of the kind provision_address that are no longer true"
            raise Settled(f"pool {pool.name} has no free address left", where=task.where, hint=hint)
        if own or address == told.host:
            return address
        if not presence.answers(address, told.port):
            task.asked = address
            return address
        task.tell(f"{task.where}: a BMC answers at {address} already, which is passed over")
        passed.add(address)
        _give_back(task, address)


def _take(task: Task, pool: Pool, passed: set[str]) -> tuple[str, bool]:
    """An address, and whether the server had it before."""

    def work(change: Change) -> tuple[str, bool]:
        taken = owners(change)
        address = first_free(pool, taken, task.server.system_id, passed)
        if address and address not in taken and not task.check:
            change.put(ADDRESS_RECORD, address, _body(task, change), expect=0)
        return address, address in taken

    return task.journal.store.read(work) if task.check else task.journal.store.change(work)


def _body(task: Task, change: Change) -> dict[str, Any]:
    taken = stamp(change.now())
    return {
        "system_id": task.server.system_id,
        "server": task.server.hostname,
        "pool": task.order.pool,
        "taken": taken,
    }


def _reserved(task: Task, address: str) -> str:
    """An address that was named, if it is no other server's."""

    def work(change: Change) -> str:
        found = change.find(ADDRESS_RECORD, address)
        if found is None and not task.check:
            change.put(ADDRESS_RECORD, address, _body(task, change), expect=0)
        return str(found.body["system_id"]) if found else task.server.system_id

    owner = task.journal.store.read(work) if task.check else task.journal.store.change(work)
    if owner != task.server.system_id:
        hint = f"if that is no longer so, remove the record {ADDRESS_RECORD}/{address} from the state store"
        raise Settled(f"address {address} is server {owner}'s", where=task.where, hint=hint)
    return address


def _give_back(task: Task, address: str) -> None:
    if not task.check:
        task.journal.store.delete(ADDRESS_RECORD, address)


def forget_others(task: Task, address: str) -> None:
    """The server's BMC has this address now: others that it had are free again."""

    def work(change: Change) -> None:
        for one, owner in owners(change).items():
            if owner == task.server.system_id and one != address:
                change.delete(ADDRESS_RECORD, one)

    task.journal.store.change(work)


def check_free(change: Change, pool: Pool, system_ids: list[str]) -> str:
    """What is wrong where servers want more addresses of a pool than it has, or nothing."""
    taken = owners(change)
    here = {one for one in taken if one in pool}
    have = {owner for one, owner in taken.items() if one in here}
    wanting = [one for one in system_ids if one not in have]
    free = len(pool) - len(here)
    if len(wanting) <= free:
        return ""
    return f"pool {pool.name}: {len(wanting)} addresses are wanted; {free} of {len(pool)} are free"


def check_pools(given: Mapping[str, Any]) -> dict[str, Pool]:
    """All pools. Raises InvalidInput with all that is wrong."""
    problems, pools = [], {}
    for name, settings in given.items():
        if not isinstance(settings, Mapping):
            problems.append(f"pools.{name}: is not a mapping; allowed: {', '.join(KEYS)}")
            continue
        problems += [
            f'pools.{name}: unknown key "{key}"; allowed: {", ".join(KEYS)}' for key in settings if key not in KEYS
        ]
        try:
            pools[str(name)] = pool_of(str(name), settings)
        except ValueError as exc:
            problems.append(f"pools.{name}.addresses: {exc}")
    if problems:
        raise InvalidInput(problems)
    return pools
