# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines as MAAS tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEW, COMMISSIONING, FAILED_COMMISSIONING, MISSING, READY, RESERVED, DEPLOYED, RETIRED, BROKEN, DEPLOYING = range(10)
ALLOCATED, FAILED_DEPLOYMENT, RELEASING, RELEASING_FAILED, DISK_ERASING, FAILED_DISK_ERASING = range(10, 16)
RESCUE, ENTERING_RESCUE, FAILED_ENTERING_RESCUE, EXITING_RESCUE, FAILED_EXITING_RESCUE = range(16, 21)
TESTING, FAILED_TESTING = 21, 22
#: A machine in one of these goes nowhere by itself, and something went wrong.
FAILED = frozenset(
    {
        FAILED_COMMISSIONING,
        MISSING,
        BROKEN,
        FAILED_DEPLOYMENT,
        RELEASING_FAILED,
        FAILED_DISK_ERASING,
        FAILED_ENTERING_RESCUE,
        FAILED_EXITING_RESCUE,
        FAILED_TESTING,
    }
)
#: MAAS is at work on a machine in one of these, and it will get to another.
BUSY = frozenset({COMMISSIONING, DEPLOYING, RELEASING, DISK_ERASING, ENTERING_RESCUE, EXITING_RESCUE, TESTING})


@dataclass(frozen=True)
class Machine:
    """A machine. ``memory`` is in MiB, ``storage`` in MB, as MAAS counts them."""

    system_id: str
    hostname: str
    fqdn: str
    status: int
    status_name: str
    status_message: str
    power: str
    addresses: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    pool: str = ""
    zone: str = ""
    architecture: str = ""
    cpus: int = 0
    memory: int = 0
    storage: float = 0.0
    distro_series: str = ""
    owner_data: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As a task returns it."""
        return {**vars(self), **{name: list(getattr(self, name)) for name in ("addresses", "macs", "tags")}}


def machine_of(document: Mapping[str, Any]) -> Machine:
    """A machine from MAAS's document. What newer or older releases leave out is empty."""
    macs = [str(card["mac_address"]).lower() for card in document.get("interface_set") or [] if card.get("mac_address")]
    return Machine(
        str(document["system_id"]),
        str(document.get("hostname", "")),
        str(document.get("fqdn", "")),
        int(document["status"]),
        str(document.get("status_name", "")),
        str(document.get("status_message") or ""),
        str(document.get("power_state", "unknown")),
        tuple(map(str, document.get("ip_addresses") or [])),
        tuple(macs),
        tuple(sorted(map(str, document.get("tag_names") or []))),
        _name(document.get("pool")),
        _name(document.get("zone")),
        str(document.get("architecture") or ""),
        int(document.get("cpu_count") or 0),
        int(document.get("memory") or 0),
        float(document.get("storage") or 0),
        str(document.get("distro_series") or ""),
        {str(key): str(value) for key, value in (document.get("owner_data") or {}).items()},
    )


def _name(value: Any) -> str:
    return str(value.get("name", "")) if isinstance(value, Mapping) else str(value or "")
