# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door: what is ordered is checked as a whole, before MAAS or a server is touched.

Every fault gets one line, and all of them come at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ...common.errors import InvalidInput
from ...common.kinds import BAD, Address, ListOf, Text, given, read_spec
from ...common.problems import Problems
from ..maas.model import Machine
from .model import Order, Server
from .pool import Pool

HOSTNAME = Text(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", "a name such as rack-a-10")
MAC = Text(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", "a MAC address such as ac:1f:6b:00:00:01")
TAG = Text(r"[A-Za-z0-9_.-]{1,255}", "letters, digits, - _ .")
#: Owner data in MAAS hold no more.
LOCATION = Text(r"[^\x00-\x1f]{1,200}", "1 to 200 characters on one line")
NAMED = ("server_id", "hostname", "mac")


@dataclass(frozen=True)
class Target(Address):
    """An address, or ``pool:NAME``."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if isinstance(value, str) and value.startswith("pool:"):
            return value
        return super().read(value, path, problems)


@dataclass(frozen=True)
class ServerSpec:
    """One entry of ``provision_servers``."""

    device_type: str = given(Text(), "The server's device type.")
    server_id: str = given(Text(r"[A-Za-z0-9._:-]{1,100}", "MAAS's system ID"), "MAAS's system ID.", "")
    hostname: str = given(HOSTNAME, "Its name.", "")
    mac: str = given(MAC, "MAC address of one of its network cards.", "")
    target_ipmi_ip: str = given(Target(), "The address that its BMC is to have, or pool:NAME.", "")
    netmask: str = given(Address(), "The BMC's netmask.", "")
    gateway: str = given(Address(), "The BMC's gateway.", "")
    rack_location: str = given(LOCATION, "Where it stands.", "")
    tags: tuple[str, ...] = given(ListOf(TAG, single=True), "Its tags.", ())


@dataclass(frozen=True)
class Wanted:
    """A server by the name that it was ordered under, and what is ordered for it."""

    name: str
    order: Order
    path: str = field(default="", compare=False)
    #: whether an address was given at all, even one that cannot be
    aimed: bool = True


class Types(Protocol):
    """What knows the device types by name: ``bios.device_types.DeviceTypes``."""

    def resolve(self, name: str) -> object: ...


def read_servers(servers: Sequence[Any], pools: Mapping[str, Pool], types: Types | None) -> tuple[Wanted, ...]:
    """The servers as they are ordered. Raises InvalidInput with all that is wrong."""
    problems = Problems()
    if not servers:
        problems.add("servers", "there are none", "at least one server")
    found = [_read(one, f"servers[{number}]", problems) for number, one in enumerate(servers)]
    wanted = [one for one in found if one is not None]
    for one in wanted:
        _check(one, pools, types, problems)
    _once([(one.path, one.name.lower()) for one in wanted], "server", problems)
    addresses = [(f"{one.path}.target_ipmi_ip", one.order.target_ipmi_ip) for one in wanted if not one.order.pool]
    _once([(path, address) for path, address in addresses if address], "address", problems)
    _apart(addresses, {name: pools[name] for one in wanted if (name := one.order.pool) in pools}, problems)
    problems.raise_if_any()
    return tuple(wanted)


def _read(value: Any, path: str, problems: Problems) -> Wanted | None:
    if isinstance(value, Mapping):  # an empty cell of a table is nothing
        value = {key: item for key, item in value.items() if item not in (None, "")}
    spec = read_spec(ServerSpec, value, path, problems)
    if spec is BAD:
        return None
    names = [name for name in NAMED if getattr(spec, name)]
    if len(names) != 1:
        if not any(isinstance(value, Mapping) and value.get(name) for name in NAMED):
            problems.add(path, "says not which server it is", f"one of {', '.join(NAMED)}")
        elif len(names) > 1:
            problems.add(path, f"names its server by {' and '.join(names)}", f"one of {', '.join(NAMED)}")
        return None
    fields = ("device_type", "target_ipmi_ip", "netmask", "gateway", "rack_location")
    tags = tuple(dict.fromkeys(spec.tags))
    order = Order(**{name: getattr(spec, name) for name in fields}, tags=tags)
    name = re.sub("-", ":", spec.mac).lower() or spec.server_id or spec.hostname
    return Wanted(name, order, path, "target_ipmi_ip" in value)


def _once(places: list[tuple[str, str]], what: str, problems: Problems) -> None:
    """Complain of what comes twice."""
    first: dict[str, str] = {}
    for path, value in places:
        if value in first:
            problems.add(path, f'{what} "{value}" comes twice', f"once; it is in {first[value]} already")
        first.setdefault(value, path)


def _apart(addresses: list[tuple[str, str]], used: Mapping[str, Pool], problems: Problems) -> None:
    """Complain of addresses that another server of the same order might get from a pool."""
    for path, address in addresses:
        for name, pool in used.items():
            if address and address in pool:
                what = f'"{address}" is of the pool "{name}", from which others of this order take theirs'
                problems.add(path, what, f"pool:{name}, or an address outside of it")


def _check(one: Wanted, pools: Mapping[str, Pool], types: Types | None, problems: Problems) -> None:
    order, path = one.order, one.path
    if types is not None:
        try:
            types.resolve(order.device_type)
        except InvalidInput as exc:
            problems.lines += [f"{path}.{line}" for line in exc.problems]
    if order.pool and order.pool not in pools:
        known = ", ".join(sorted(pools)) or "none"
        problems.add(f"{path}.target_ipmi_ip", f'there is no pool "{order.pool}"', known)
    if not order.target_ipmi_ip:
        for name in () if one.aimed else ("netmask", "gateway"):
            if getattr(order, name):
                problems.add(f"{path}.{name}", "is of no use without target_ipmi_ip", "with it")
    elif not order.pool:
        _check_network(order, path, problems)


def _check_network(order: Order, path: str, problems: Problems) -> None:
    """Address, netmask and gateway fit each other, as far as they are given."""
    try:
        network = ipaddress.IPv4Network((order.target_ipmi_ip, order.netmask or "0.0.0.0"), strict=False)
        if order.netmask and str(network.netmask) != order.netmask:
            raise ValueError("a host mask")
    except ValueError:
        problems.add(f"{path}.netmask", f"{order.netmask} is not a netmask", "such as 255.255.255.0")
        return
    address = ipaddress.IPv4Address(order.target_ipmi_ip)
    if not order.netmask:
        return
    ends = (network.network_address, network.broadcast_address) if network.prefixlen < 31 else ()
    if address in ends:
        problems.add(
            f"{path}.target_ipmi_ip", f"{address} is no host's in {network}", f"between {network[1]} and {network[-2]}"
        )
    gateway = ipaddress.IPv4Address(order.gateway or "0.0.0.0")
    if int(gateway) and (gateway not in network or gateway in ends or gateway == address):
        problems.add(f"{path}.gateway", f"{gateway} is no other host's in {network}", "a gateway in the BMC's subnet")


def check_pool_networks(pools: Mapping[str, Pool], given_pools: Mapping[str, Any], problems: Problems) -> None:
    """Netmasks and gateways of pools fit their addresses."""
    for name, pool in pools.items():
        settings = given_pools[name]
        read = {
            key: Address().read(settings[key], f"pools.{name}.{key}", problems)
            for key in ("netmask", "gateway")
            if settings.get(key)
        }
        if BAD in read.values():
            continue
        for end in dict.fromkeys((str(pool.first), str(pool.last))):
            _check_network(Order("", end, read.get("netmask", ""), read.get("gateway", "")), f"pools.{name}", problems)


# -- which machines they are ------------------------------------------------------------------------
def find_machines(wanted: Sequence[Wanted], machines: Sequence[Machine]) -> tuple[tuple[Server, Order], ...]:
    """The machines of MAAS that are meant. Raises InvalidInput with all that are not there, or meant twice."""
    problems = Problems()
    found: list[tuple[str, Server, Order]] = []
    for one in wanted:
        fitting = [machine for machine in machines if _is(machine, one.name)]
        if len(fitting) == 1:
            machine = fitting[0]
            mac = machine.macs[0] if machine.macs else ""
            found.append((one.path, Server(machine.system_id, machine.hostname, mac), one.order))
        elif fitting:
            ids = ", ".join(machine.system_id for machine in fitting)
            problems.add(one.path, f'server "{one.name}" is {len(fitting)} machines of MAAS', f"one of {ids}")
        else:
            problems.add(one.path, f'MAAS has no machine "{one.name}"', "a system ID, hostname or MAC address of MAAS")
    _once([(path, server.system_id) for path, server, _order in found], "machine", problems)
    problems.raise_if_any()
    return tuple((server, order) for _path, server, order in found)


def _is(machine: Machine, name: str) -> bool:
    return name in (machine.system_id, machine.hostname, machine.fqdn) or name in machine.macs


def with_pool_settings(order: Order, given_pools: Mapping[str, Any]) -> Order:
    """An order that takes from its pool what it does not say itself."""
    source = given_pools.get(order.pool, {}) if order.pool else {}
    netmask, gateway = (str(source.get(name) or "") for name in ("netmask", "gateway"))
    return replace(order, netmask=order.netmask or netmask, gateway=order.gateway or gateway)
