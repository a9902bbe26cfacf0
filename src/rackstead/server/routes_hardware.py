# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware reports over REST."""

from __future__ import annotations

from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history, page
from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from ..jobs.service import Order
from .problems import Json, Refusal, described
from .routes_jobs import SUBMITTED, Viewer, service_of, submitted
from .schemas import (
    END_OF_TIME,
    NODE_NAME,
    HardwareChanges,
    HardwareDocument,
    HardwareList,
    HardwareOrder,
)

router = APIRouter(tags=["hardware"])
WORKFLOW = "hardware_report"
Node = Annotated[str, Path(pattern=NODE_NAME, examples=["node1"], description="The node's name in the inventory.")]
Since = Annotated[float, Query(gt=0, le=END_OF_TIME, description="Seconds since the epoch; else the report before.")]
#: A page of somebody's data: it may show itself, and nothing else.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}


@router.post("/api/hardware-report", summary="Read nodes' hardware", **{**SUBMITTED, "tags": ["hardware"]})
async def collect(request: Request, caller: Viewer, body: HardwareOrder) -> Response:
    """The workflow hardware_report. Nodes are hosts of the inventory that RACKSTEAD_INVENTORY names on the server.

    Where node_id is the number of a node in the registry, all of them are hosts of the registry.
    """
    known = await run_in_threadpool(known_node, service_of(request).store, body.node_id)
    nodes = [*([] if body.node_id is None else [known or str(body.node_id)]), *body.nodes]
    if not nodes:
        text = "name a node in node_id, or several in nodes"
        raise Refusal(422, text, [("/node_id", text)])
    variables: dict[str, Any] = {"hardware_nodes": list(dict.fromkeys(nodes))}
    variables |= {"hardware_sections": body.sections} if body.sections else {}
    variables |= {"hardware_become": True} if body.become else {}
    return await submitted(request, caller, Order(WORKFLOW, variables, body.check_mode, registry=bool(known)), body)


def known_node(store: Store, given: str | int | None) -> str:
    """The name of the node that has this number in the registry, or nothing."""
    if not isinstance(given, int):
        return ""
    return next((str(one["name"]) for one in Registry(store).nodes() if one["id"] == given), "")


@router.get("/api/hardware-report", summary="All nodes in short", response_model=HardwareList, responses=described())
def fleet(request: Request, caller: Viewer) -> Response:
    """The last report of each node. Not for tokens that are for some workflows or targets only."""
    caller.require_unscoped()
    return Json({"items": [history.summary(one) for one in history.fleet(service_of(request).store)]})


@router.get(
    "/api/hardware-report/{node}",
    summary="A node's last report",
    response_model=HardwareDocument,
    responses=described(404),
)
def report(request: Request, caller: Viewer, node: Node) -> Response:
    caller.require_unscoped()
    return Json(history.last(service_of(request).store, node).document())


@router.get(
    "/api/hardware-report/{node}/history",
    summary="A node's reports in short, the newest first",
    response_model=HardwareList,
    responses=described(404),
)
def earlier(request: Request, caller: Viewer, node: Node, limit: Annotated[int, Query(ge=1, le=500)] = 30) -> Response:
    caller.require_unscoped()
    found = history.history(service_of(request).store, node, limit)
    return Json({"items": [history.summary(one) for one in found]})


@router.get(
    "/api/hardware-report/{node}/changes",
    summary="What has changed about a node",
    response_model=HardwareChanges,
    responses=described(404),
)
def changes(request: Request, caller: Viewer, node: Node, since: Since | None = None) -> Response:
    """Up to its last report. There is nothing to tell of a node with one report only (404)."""
    caller.require_unscoped()
    before, after, found = history.between(service_of(request).store, node, since)
    told = [one.document() for one in found]
    return Json({"node": node, "before": before.time, "after": after.time, "changes": told})


@router.get(
    "/api/hardware-report/{node}/page",
    summary="A node's report as a page",
    response_class=HTMLResponse,
    responses=described(404),
)
def as_page(request: Request, caller: Viewer, node: Node) -> Response:
    """HTML that stands alone, with its charts in it."""
    caller.require_unscoped()
    store = service_of(request).store
    content = page.node(history.last(store, node), history.history(store, node))
    return HTMLResponse(page.whole(node, content), headers=HEADERS)
