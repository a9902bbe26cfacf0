# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of provisioning: the seven steps, what is ordered for a server, and what a step comes back with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

#: Kind of the records that tell how far a server is; their key is MAAS's system ID.
RECORD = "provision"
#: Kind of the records that keep the BIOS document as it was fetched.
BIOS_RECORD = "provision_bios"
#: Kind of the records that say whose a BMC's address is; their key is the address.
ADDRESS_RECORD = "provision_address"
#: States of a record. ``interrupted`` is a running one that nobody runs: see ``journal.state_of``.
STATES = ("running", "completed", "failed", "cancelled", "interrupted")
STEP_STATES = ("pending", "running", "done", "failed", "skipped")
ON_FAILURE = ("keep", "restore")


@dataclass(frozen=True)
class Step:
    """One of the seven, with its pace: seconds that an attempt has, attempts, and the pauses between them.

    The first pause is ``backoff`` seconds; each is ``growth`` times the one before, at most 60.
    """

    name: str
    number: int
    title: str
    timeout: float
    attempts: int
    backoff: float = 5.0
    growth: float = 2.0


STEPS = (
    Step("commission", 1, "Commission the server through MAAS", 1800.0, 2),
    Step("address", 2, "Wait for its address", 300.0, 5, 30.0, 1.0),
    Step("bios_pull", 3, "Read the BIOS settings", 600.0, 3),
    Step("bios_modify", 4, "Decide what changes in them", 180.0, 2),
    Step("bios_push", 5, "Send the changes, boot, read back", 600.0, 2),
    Step("bmc", 6, "Move the BMC to its address", 300.0, 3),
    Step("finalize", 7, "Tag the server", 180.0, 2),
)
NAMES = tuple(step.name for step in STEPS)


def step_of(name: str, pace: Mapping[str, Any] | None = None) -> Step:
    """A step by its name, with what ``pace`` (timeout, attempts, backoff) says otherwise."""
    step = STEPS[NAMES.index(name)]
    given = {key: value for key, value in (pace or {}).items() if value is not None}
    return replace(step, **given)


@dataclass(frozen=True)
class Server:
    """A machine as MAAS knows it."""

    system_id: str
    hostname: str
    mac: str = ""


@dataclass(frozen=True)
class Order:
    """What a server is to become. ``target_ipmi_ip`` is an address, or ``pool:NAME``; empty leaves the BMC alone."""

    device_type: str
    target_ipmi_ip: str = ""
    netmask: str = ""
    gateway: str = ""
    rack_location: str = ""
    tags: tuple[str, ...] = ()

    @property
    def pool(self) -> str:
        """The name of the pool that the address comes from, or nothing."""
        kind, colon, name = self.target_ipmi_ip.partition(":")
        return name if colon and kind == "pool" else ""

    def body(self) -> dict[str, Any]:
        return {**asdict(self), "tags": list(self.tags)}


def order_of(body: Mapping[str, Any]) -> Order:
    """An order from a record, or from what ``provision_order`` returned."""
    texts = {name: str(body.get(name) or "") for name in Order.__dataclass_fields__ if name != "tags"}
    return Order(**texts, tags=tuple(map(str, body.get("tags") or ())))


@dataclass(frozen=True)
class Done:
    """What a step's work came to."""

    changed: bool
    outputs: Mapping[str, Any] = field(default_factory=dict)
    diff: Mapping[str, str] | None = None


@dataclass(frozen=True)
class StepResult:
    """What a task for one step returns."""

    changed: bool
    server: Server
    step: str
    outputs: Mapping[str, Any]
    seconds: float
    attempts: int
    record: Mapping[str, Any]
    diff: Mapping[str, str] | None = None

    def shown(self) -> dict[str, Any]:
        plain = {**vars(self), "server": vars(self.server), "diff": self.diff or {"before": "", "after": ""}}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()}
