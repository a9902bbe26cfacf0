# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware reports as pages: the fleet, and each node with its charts."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history, page
from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from starlette.responses import Response

from ..jobs.service import Order
from ..server.routes_hardware import WORKFLOW
from ..server.routes_jobs import enter
from ..server.schemas import NODE_NAME
from .pages import Form, Page, Visitor, Who, render, service_of

router = APIRouter(route_class=Page, include_in_schema=False)
Node = Annotated[str, Path(pattern=NODE_NAME)]


def address(node: str) -> str:
    return f"/ui/hardware/{quote(node, safe='')}"


def may_collect(who: Visitor, request: Request) -> bool:
    return who.may(service_of(request).catalog.get(WORKFLOW).role)


@router.get("/ui/hardware")
def fleet(request: Request, who: Who) -> Response:
    who.caller.require_unscoped()
    found = history.fleet(service_of(request).store)
    content = Markup(page.fleet(found, address)) if found else None
    return render(
        request, "hardware.html", title="Hardware", node="", content=content, allowed=may_collect(who, request)
    )


@router.get("/ui/hardware/{node}")
def one(request: Request, who: Who, node: Node) -> Response:
    who.caller.require_unscoped()
    store = service_of(request).store
    content = Markup(page.node(history.last(store, node), history.history(store, node)))
    return render(request, "hardware.html", title=node, node=node, content=content, allowed=may_collect(who, request))


@router.post("/ui/hardware/{node}")
def collect(request: Request, who: Who, _form: Form, node: Node) -> Response:
    """Have the node read anew; leads to the job."""
    who.caller.require_unscoped()
    job = enter(service_of(request), who.caller, Order(WORKFLOW, {"hardware_nodes": [node]}), "")
    return RedirectResponse(f"/ui/jobs/{job.id}", 303)
