# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What instances pass on to each other: a fixed address on a bridge, a port of the host, a volume. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .model import LIVE_STATES, Change, Devices, Observed, Ref


@dataclass(frozen=True, order=True)
class Claim:
    """``kind`` is address, port or volume; ``place`` an address's bridge, a volume's pool."""

    kind: str
    value: str
    place: str = ""

    @property
    def exclusive(self) -> bool:
        """Whether only one instance at a time can have it. Some share a volume."""
        return self.kind != "volume"


def claims_of(devices: Devices) -> dict[Claim, str]:
    """Each claim that devices make, and the device's name."""
    found: dict[Claim, str] = {}
    for name, device in devices.items():
        if device.get("type") == "nic" and device.get("ipv4.address") and device.get("network"):
            found[Claim("address", device["ipv4.address"], device["network"])] = name
        elif device.get("type") == "proxy" and device.get("bind", "host") == "host" and device.get("listen"):
            found[Claim("port", device["listen"])] = name
        elif device.get("type") == "disk" and device.get("pool") and device.get("source"):
            found[Claim("volume", device["source"], device["pool"])] = name
    return found


def claims_before(change: Change) -> dict[Claim, str]:
    return claims_of(change.observed.devices) if change.observed else {}


def claims_after(change: Change) -> dict[Claim, str]:
    """What an instance claims when its change is through."""
    if "delete" in change.actions:
        return {}
    devices = dict(change.observed.devices) if change.observed else {}
    if change.desired and {"create", "update"} & set(change.actions):
        devices = {name: device for name, device in devices.items() if f"device:{name}" not in change.removes}
        devices.update(change.desired.devices)
    return claims_of(devices)


def handovers(changes: Iterable[Change]) -> list[tuple[Claim, Ref, Ref]]:
    """What one gives up and another one gets, with giver and taker."""
    given: dict[Claim, Ref] = {}
    taken: list[tuple[Claim, Ref]] = []
    for change in changes:
        if change.ref.kind == "instance" and change.actions:
            before, after = claims_before(change).keys(), claims_after(change).keys()
            given.update((claim, change.ref) for claim in before - after)
            taken.extend((claim, change.ref) for claim in sorted(after - before))
    return [(claim, given[claim], ref) for claim, ref in taken if claim in given]


def contested(changes: Iterable[Change], others: Iterable[Observed]) -> Iterator[tuple[Ref, str, Claim, Ref]]:
    """What two would have in the end: who asks, by which device, for what, and who has it.

    An address is one instance's alone. A port is where both run; that two of the plan have the same is told
    of elsewhere. ``others`` are all instances that were observed, those of the changes among them.
    """
    mine = {change.ref: change for change in changes if change.ref.kind == "instance"}
    holders: dict[Claim, Ref] = {}
    for other in others:
        if other.ref not in mine:
            kinds = ("address", "port") if other.status in LIVE_STATES else ("address",)
            holders.update((claim, other.ref) for claim in claims_of(other.devices) if claim.kind in kinds)
    after = {ref: claims_after(change) for ref, change in mine.items()}
    for ref, change in mine.items():  # who keeps what it has comes before who asks for it
        for claim in claims_before(change).keys() & after[ref].keys():
            if claim.kind == "address":
                holders.setdefault(claim, ref)
    for ref, wanted in after.items():
        lives = (mine[ref].after or {}).get("status") in LIVE_STATES
        for claim, device in wanted.items():
            holder = holders.setdefault(claim, ref) if claim.kind == "address" else holders.get(claim, ref)
            if holder != ref and (claim.kind == "address" or lives):
                yield ref, device, claim, holder
