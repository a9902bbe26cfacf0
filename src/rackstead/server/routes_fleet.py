# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of nodes and clusters over REST, and what is done to clusters."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import even
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from ..fleet.actions import ACTIONS
from ..fleet.members import drawn
from ..fleet.service import Fleet
from .gate import Caller
from .problems import Json, described
from .routes_jobs import SUBMITTED, Viewer, service_of, submitted
from .routes_state import Admin
from .schemas_fleet import (
    NAME,
    ClusterAction,
    ClusterChange,
    ClusterDocument,
    ClusterList,
    NewCluster,
    NewNode,
    NodeChange,
    NodeDocument,
    NodeList,
    PlannedList,
)

router = APIRouter(tags=["fleet"])
Node = Annotated[str, Path(pattern=NAME, examples=["node1"], description="The node's name or id.")]
Cluster = Annotated[str, Path(pattern=NAME, examples=["lab"], description="The cluster's name or id.")]
Member = Annotated[bool, Query(description="Also where the node is in a cluster.")]
WRITTEN = described(400, 404, 408, 409, 413)
Body = dict[str, Any]


def fleet_of(request: Request, caller: Caller) -> Fleet:
    """Not for tokens that are for some workflows or targets only."""
    caller.require_unscoped()
    return Fleet(service_of(request), caller.name, caller.origin)


# -- nodes -----------------------------------------------------------------------------------------
@router.get("/nodes", summary="All nodes of the registry", response_model=NodeList, responses=described())
def nodes(request: Request, caller: Viewer) -> Response:
    return Json({"items": [node(one) for one in fleet_of(request, caller).registry.nodes()]})


@router.post("/nodes", summary="Enter a node", status_code=201, response_model=NodeDocument, responses=WRITTEN)
def add_node(request: Request, caller: Admin, body: NewNode) -> Response:
    """Touches no machine."""
    return Json(node(fleet_of(request, caller).registry.add_node(body.model_dump(exclude_unset=True))), 201)


@router.get("/nodes/{name}", summary="A node", response_model=NodeDocument, responses=described(404))
def show_node(request: Request, caller: Viewer, name: Node) -> Response:
    return Json(node(fleet_of(request, caller).registry.node(name)))


@router.patch("/nodes/{name}", summary="Change a node", response_model=NodeDocument, responses=WRITTEN)
def change_node(request: Request, caller: Admin, name: Node, body: NodeChange, member: Member = False) -> Response:
    """Touches no machine. A node that is in a cluster goes to another only with member."""
    given = body.model_dump(exclude_unset=True)
    return Json(node(fleet_of(request, caller).registry.change_node(name, given, member=member)))


@router.delete("/nodes/{name}", summary="Forget a node", status_code=204, responses=described(404, 409))
def remove_node(request: Request, caller: Admin, name: Node, member: Member = False) -> Response:
    """Touches no machine. A node that is in a cluster is forgotten only with member."""
    fleet_of(request, caller).registry.remove_node(name, member=member)
    return Response(status_code=204)


def node(record: Body) -> Body:
    """Records of earlier versions lack fields."""
    return {"become": False, **record}


# -- clusters --------------------------------------------------------------------------------------
@router.get("/clusters", summary="All clusters of the registry", response_model=ClusterList, responses=described())
def clusters(request: Request, caller: Viewer) -> Response:
    fleet = fleet_of(request, caller)
    found = fleet.registry.nodes()
    return Json({"items": [cluster(fleet, one, found) for one in fleet.registry.clusters()]})


@router.post("/clusters", summary="Enter a cluster", status_code=201, response_model=ClusterDocument, responses=WRITTEN)
def add_cluster(request: Request, caller: Admin, body: NewCluster) -> Response:
    """Touches no machine."""
    fleet = fleet_of(request, caller)
    return Json(cluster(fleet, fleet.registry.add_cluster(body.model_dump(exclude_unset=True)), ()), 201)


@router.get("/clusters/{name}", summary="A cluster", response_model=ClusterDocument, responses=described(404))
def show_cluster(request: Request, caller: Viewer, name: Cluster) -> Response:
    """With its members as the last scan has found them."""
    fleet = fleet_of(request, caller)
    return Json(cluster(fleet, fleet.registry.cluster(name), fleet.registry.nodes()))


@router.patch("/clusters/{name}", summary="Change a cluster", response_model=ClusterDocument, responses=WRITTEN)
def change_cluster(request: Request, caller: Admin, name: Cluster, body: ClusterChange) -> Response:
    """Touches no machine; POST …/actions brings the machines to it."""
    fleet = fleet_of(request, caller)
    changed = fleet.registry.change_cluster(name, body.model_dump(exclude_unset=True))
    return Json(cluster(fleet, changed, fleet.registry.nodes()))


@router.delete("/clusters/{name}", summary="Forget a cluster", status_code=204, responses=described(404, 409))
def remove_cluster(request: Request, caller: Admin, name: Cluster) -> Response:
    """Touches no machine. Only a cluster without nodes is forgotten."""
    fleet_of(request, caller).registry.remove_cluster(name)
    return Response(status_code=204)


def cluster(fleet: Fleet, record: Body, nodes: Any) -> Body:
    own = [one for one in nodes if one["cluster"] == record["name"]]
    at, scan = fleet.last_scan(record["name"])
    seen = [asdict(one) for one in drawn(own, scan)]
    names = [one["name"] for one in own]
    return {**record, "nodes": names, "warning": even(own, record["name"]), "scanned": at, "seen": seen}


@router.get(
    "/clusters/{name}/actions",
    summary="What can be done to a cluster",
    response_model=PlannedList,
    responses=described(404),
)
def actions(request: Request, caller: Viewer, name: Cluster) -> Response:
    """Each with what would happen to its members as the last scan has found them."""
    fleet = fleet_of(request, caller)
    members = fleet.drawn(fleet.registry.cluster(name)["name"])
    found = [
        {
            "action": key,
            "workflow": one.workflow,
            "steps": one.steps(members),
            "workloads": one.workloads,
            "danger": one.danger,
        }
        for key, one in ACTIONS.items()
    ]
    return Json({"items": found})


@router.post("/clusters/{name}/actions", summary="Do something to a cluster", **{**SUBMITTED, "tags": ["fleet"]})
async def act(request: Request, caller: Viewer, name: Cluster, body: ClusterAction) -> Response:
    """A job, with the registry as it is when it runs as the inventory. Needs the role of its workflow."""
    fleet = Fleet(service_of(request), caller.name, caller.origin)
    order = await run_in_threadpool(fleet.order, name, ACTIONS[body.action], body.variables, check=body.check_mode)
    return await submitted(request, caller, order, body, "/variables")
