# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes in and out of the registry of nodes and clusters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .schemas import LONGEST_WAIT, Mapping, Strict, Wait, WaitSeconds

#: A name, or an id. What exactly a name may be, the registry says.
NAME = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$"
Text = Annotated[str, Field(max_length=1000)]
Labels = Annotated[
    dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=63)]], Field(max_length=100)
]
#: Those of fleet/actions.py.
ActionName = Literal[
    "setup",
    "scan",
    "troubleshoot",
    "backup",
    "upgrade",
    "pause",
    "resume",
    "scale-down",
    "scale-up",
    "shutdown",
    "shutdown-force",
    "start",
]


class Bmc(Strict):
    """How a BMC is reached; its password is not kept."""

    address: Text = ""
    protocol: Literal["", "ipmi", "redfish"] = ""
    username: Text = ""


class NodeChange(Strict):
    """Fields that are not given stay as they are."""

    model_config = ConfigDict(json_schema_extra={"example": {"cluster": "lab", "become": True}})
    address: Text = Field("", description="A name or an address; without it, the node's name.")
    user: Text = Field("", description="Who logs in there.")
    port: int = Field(0, ge=0, le=65535, description="SSH's; 0 is 22.")
    key_file: Text = Field("", description="The path of the private key on the server, never a key.")
    become: bool = Field(False, description="Who logs in becomes root by sudo.")
    worker: bool = Field(False, description="Without a part in the control plane.")
    cluster: Text = Field("", description="The cluster it is for, by name or id.")
    labels: Labels = Field({}, description="Words by which it is chosen.")
    mac: Text = Field("", description="Its network card's, to wake it by.")
    bmc: Bmc = Bmc()


class NewNode(NodeChange):
    """A node to be entered in the registry."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "node1", "address": "192.0.2.11", "user": "pi", "cluster": "lab"}}
    )
    name: Text


class NodeDocument(BaseModel):
    id: int
    name: str
    address: str
    user: str
    port: int
    key_file: str
    become: bool
    worker: bool
    cluster: str
    labels: dict[str, str]
    mac: str
    bmc: dict[str, str]


class NodeList(BaseModel):
    items: list[NodeDocument]


class ClusterChange(Strict):
    """Fields that are not given stay as they are; variables are taken whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"description": "three Pis"}})
    description: Text = ""
    variables: Mapping = Field({}, description="Of the role microk8s, for all nodes.")


class NewCluster(ClusterChange):
    """A cluster to be entered in the registry."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "lab", "variables": {"microk8s_channel": "1.32/stable"}}}
    )
    name: Text


class SeenMember(BaseModel):
    """A node of a cluster as the last scan has found it."""

    name: str
    role: str = Field(description="voter, standby, spare, worker, or control plane where no scan knows more.")
    said: str = Field(description="ready, takes no pods, stopped, unreachable, not scanned …")
    address: str


class ClusterDocument(BaseModel):
    id: int
    name: str
    description: str
    variables: dict[str, Any]
    nodes: list[str]
    warning: str = Field(description="Where the control plane has an even number of nodes, what that means.")
    scanned: float = Field(description="When it was scanned last, or 0.")
    seen: list[SeenMember]


class ClusterList(BaseModel):
    items: list[ClusterDocument]


class ClusterAction(Strict):
    """What is to be done to a cluster: a job of the playbook that does it."""

    model_config = ConfigDict(json_schema_extra={"example": {"action": "scan", "wait": True}})
    action: ActionName
    variables: Mapping = Field({}, description="Further variables of the workflow.")
    check_mode: bool = Field(False, description="Say what would be done, and do nothing.")
    wait: Wait = False
    wait_seconds: WaitSeconds = LONGEST_WAIT


class Planned(BaseModel):
    """What would happen."""

    action: str
    workflow: str
    steps: list[str]
    workloads: str
    danger: bool = Field(description="Whether workloads stop or move.")


class PlannedList(BaseModel):
    items: list[Planned]
