# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BMC's own address: changed so that the BMC is never lost in silence.

The branch one sits on: the change goes over the address that it changes. So the new address must be
free beforehand; it counts as set when the same BMC answers there and shows what was wanted; and if the
BMC still answers at the old one instead, it gets its old settings back.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import (
    Conflict,
    DeadlineExceeded,
    Denied,
    InvalidInput,
    OperationFailed,
    RacksteadError,
    Unreachable,
)
from ...common.show import diff_of
from .ipmi import Ipmi
from .model import Endpoint, Lan
from .presence import answers

#: How long a session is waited for where a BMC is known to be, in seconds.
NOBODY = 4.0


def wanted_lan(before: Lan, given: dict[str, Any]) -> Lan:
    """The settings that the options make of the present ones. Raises InvalidInput with all that is wrong."""
    problems = _problems(given)
    if problems:
        raise InvalidInput(problems)
    after = replace(before, **{name: value for name, value in given.items() if value is not None})
    if after.source != "static":
        return replace(after, address=before.address, netmask=before.netmask, gateway=before.gateway)
    return _checked(after)


def _problems(given: dict[str, Any]) -> list[str]:
    problems = []
    for name in ("address", "netmask", "gateway"):
        if given[name] is not None and given["source"] == "dhcp":
            problems.append(f"{name}: {given[name]} is of no use with source dhcp; allowed: with source static")
        elif given[name] is not None and not _is_address(given[name]):
            problems.append(f"{name}: {given[name]!r} is not an IPv4 address; allowed: such as 192.0.2.10")
    if given["vlan"] is not None and not 0 <= given["vlan"] <= 4094:
        problems.append(f"vlan: {given['vlan']} is not valid; allowed: 1 to 4094, 0 for none")
    return problems


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _checked(lan: Lan) -> Lan:
    """The settings, if address, netmask and gateway fit each other. A gateway 0.0.0.0 is none."""
    try:
        network = ipaddress.IPv4Network((lan.address, lan.netmask), strict=False)
    except ValueError as exc:
        raise InvalidInput([f"netmask: {lan.netmask} is not a netmask; allowed: such as 255.255.255.0"]) from exc
    problems = []
    address, gateway = ipaddress.IPv4Address(lan.address), ipaddress.IPv4Address(lan.gateway)
    ends = (network.network_address, network.broadcast_address) if network.prefixlen < 31 else ()
    first, last = network[0], network[-1]
    if address in ends or address == ipaddress.IPv4Address(0):
        problems.append(f"address: {address} is no host's in {network}; allowed: between {first} and {last}")
    if int(gateway) and (gateway not in network or gateway in ends or gateway == address):
        problems.append(f"gateway: {gateway} is no other host's in {network}; allowed: between {first} and {last}")
    if problems:
        raise InvalidInput(problems)
    return replace(lan, address=str(address), netmask=str(network.netmask), gateway=str(gateway))


def ensure_lan(
    endpoint: Endpoint, given: dict[str, Any], wait: float, *, check: bool, asked: str = ""
) -> dict[str, Any]:
    """Have the BMC's LAN settings so. ``given`` holds the options, None where they stay as they are.

    ``wait`` is how long the BMC has for answering at its new address, in seconds. ``asked`` is an address
    that was asked a moment ago, and nobody was there. Raises
    OperationFailed where it does not; its old settings are back then, if it could still be asked.
    """
    problems = _problems(given)
    if problems:
        raise InvalidInput(problems)
    with Ipmi(endpoint) as bmc:
        if not check:
            bmc.settle_lan()
        before, guid = bmc.lan(), bmc.guid()
        after = wanted_lan(before, given)
        changed = before != after
        if changed and after.address not in (before.address, asked):
            _nobody_has(replace(endpoint, host=after.address), guid)
        if changed and not check:
            _send(bmc, after)
    if changed and not check:
        after = _arrived(endpoint, before, after, guid, wait)
    shown = diff_of(before.shown(), after.shown(), f"BMC {before.mac or endpoint.host}")
    return {"changed": changed, "lan": {**after.shown(), "mac": after.mac}, "before": before.shown(), "diff": shown}


def _nobody_has(elsewhere: Endpoint, guid: str) -> None:
    """Refuse an address at which another BMC answers."""
    if not answers(elsewhere.host, elsewhere.port):
        return
    try:
        with Ipmi(replace(elsewhere, timeout=NOBODY)) as other:
            there = other.guid()
    except Unreachable:
        return
    except Denied:
        there = "another BMC's"
    if not guid or there != guid:
        where = f"BMC {elsewhere.host}"
        raise Conflict("address: another BMC answers there already", where=where, hint="name a free address")


def _send(bmc: Ipmi, after: Lan) -> None:
    # It may be gone before it answers. Whether it arrived is what counts.
    with suppress(Unreachable):
        bmc.set_lan(after)


def _arrived(endpoint: Endpoint, before: Lan, after: Lan, guid: str, wait: float) -> Lan:
    """The settings as the BMC shows them at its new address."""
    new = replace(endpoint, host=after.address) if after.address != before.address else endpoint
    seen = ""

    def there() -> Lan | None:
        nonlocal seen
        if not answers(new.host, new.port):
            seen = f"nobody answers at {new.host}"
            return None
        try:
            with Ipmi(replace(new, timeout=NOBODY)) as bmc:
                if guid and bmc.guid() != guid:
                    raise Conflict("another BMC answers at the new address", where=f"BMC {new.host}")
                bmc.release_lan()
                found = bmc.lan()
        except (Unreachable, OperationFailed) as exc:  # on its way, or not quite awake there
            seen = exc.what
            return None
        same = found.shown() == after.shown() or (after.source == "dhcp" == found.source and found.vlan == after.vlan)
        seen = f"{new.host} answers with {found.shown()}"
        return found if same else None

    try:
        return wait_until(there, Deadline(wait), what="the BMC at its new address", most=2.0, last_seen=lambda: seen)
    except (DeadlineExceeded, Conflict, Denied) as exc:
        raise _rolled_back(endpoint, before, after, exc) from exc


def _rolled_back(endpoint: Endpoint, before: Lan, after: Lan, cause: RacksteadError) -> OperationFailed:
    """What to tell after the BMC was put back, or could not be."""
    moved = f"{before.address} to {after.address}" if after.address != before.address else "other LAN settings"
    try:
        if not answers(endpoint.host, endpoint.port):
            raise Unreachable("nobody answers there", where=f"BMC {endpoint.host}")
        with Ipmi(replace(endpoint, timeout=NOBODY)) as bmc:
            now = bmc.lan()
            if now.shown() != before.shown():
                bmc.set_lan(before)
            back = bmc.lan().shown() == before.shown()
    except (Unreachable, Denied) as exc:
        hint = (
            f"look for it at {after.address} and {before.address}, with MAC address {before.mac or 'unknown'}; from "
            f"its own server: ipmitool lan set 1 ipaddr {before.address}, or the BIOS set-up's BMC page"
        )
        what = f"went from {moved} and answers neither there ({cause}) nor at the old address ({exc.what})"
        return OperationFailed(what, where=f"BMC {endpoint.host}", hint=hint)
    state = "its old settings are back" if back else "and its old settings could not be put back"
    return OperationFailed(f"did not get from {moved}: {cause}; {state}", where=f"BMC {endpoint.host}")
