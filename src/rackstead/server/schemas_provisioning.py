# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes in and out where servers are provisioned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..provisioning.progress import STEPS, Server, Step, fresh
from ..provisioning.service import Status
from .schemas import EXAMPLE_ID, LONGEST_WAIT, Mapping, Strict, Wait, WaitSeconds

#: A job's id, or any name of a server: of MAAS, of the network, or a MAC address.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}$"
Words = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
State = Literal["pending", "running", "completed", "failed", "cancelled", "interrupted"]
ORDER: dict[str, Any] = {
    "server_id": "machine-123",
    "device_type": "s2.c2.small",
    "target_ipmi_ip": "192.168.100.50",
    "rack_location": "Rack-A-U10",
}
_BEGUN = (
    Step("commission", "done", 1, "2026-01-01T10:00:00+00:00", "2026-01-01T10:14:10+00:00", 850.0),
    Step("address", "running", 1, "2026-01-01T10:14:10+00:00"),
)
_EXAMPLE = Server(
    "machine-123",
    "running",
    "4y3h7n",
    "machine-123",
    "52:54:00:12:34:56",
    EXAMPLE_ID,
    {name: value for name, value in ORDER.items() if name != "server_id"},
    (*_BEGUN, *fresh()[len(_BEGUN) :]),
    "2026-01-01T10:00:00+00:00",
    "2026-01-01T10:14:10+00:00",
)


class Provision(Strict):
    """A server, and what it is to become. It is named by server_id, hostname or mac."""

    model_config = ConfigDict(json_schema_extra={"example": ORDER})
    server_id: Words = Field("", description="MAAS's system ID of it.")
    hostname: Words = ""
    mac: Words = ""
    device_type: Words = Field(min_length=1)
    target_ipmi_ip: Words = Field("", description="Address for its BMC, or pool:NAME. Without it the BMC stays there.")
    rack_location: Words = ""
    gateway: Words = Field("", description="The BMC's.")
    netmask: Words = Field("", description="The BMC's.")
    tags: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field([], max_length=100)
    from_step: Words = Field("", description=f"Begin with this step: {', '.join(STEPS)}.")
    only_steps: list[Words] = Field([], max_length=100, description="These steps only.")
    dry_run: bool = Field(False, description="Find out what would change, and touch nothing.")
    variables: Mapping = Field({}, description="Further variables of the workflow.")
    idempotency_key: str = Field("", max_length=200, description="The same key gives the same job, once.")
    wait: Wait = False
    wait_seconds: WaitSeconds = LONGEST_WAIT


class StepDocument(BaseModel):
    """One of the seven steps. Times are ISO 8601, empty where there are none as yet."""

    number: int
    title: str
    name: str
    state: Literal["pending", "running", "done", "failed", "skipped"]
    attempts: int
    started: str
    ended: str
    seconds: float
    error: str
    outputs: dict[str, Any] = Field(description="What it has found out, without secrets.")


class ServerDocument(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE.document()})
    server_id: str = Field(description="As it was ordered.")
    system_id: str = Field(description="MAAS's name of it, once that is known.")
    hostname: str
    mac: str
    state: State
    job: str = Field(description="The id of the job; empty where it was provisioned without one.")
    step: int = Field(description="The number of the step that it is at; 0: none has begun.")
    step_name: str
    total_steps: int
    error: str
    started: str
    updated: str
    order: dict[str, Any]
    steps: list[StepDocument]


class StatusDocument(BaseModel):
    """A job and the servers that it is for; or a server."""

    model_config = ConfigDict(
        json_schema_extra={"example": Status(EXAMPLE_ID, "running", [_EXAMPLE], EXAMPLE_ID).document()}
    )
    id: str
    workflow: str
    state: State
    job: str
    dry_run: bool
    error: str
    servers: list[ServerDocument]


class ServerList(BaseModel):
    items: list[ServerDocument]
