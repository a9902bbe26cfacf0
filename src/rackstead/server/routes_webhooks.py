# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks over REST: for admins, since a receiver's URL may be nobody else's business."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from ..webhooks import registry
from .problems import Json, described
from .routes_jobs import service_of
from .routes_state import Admin
from .schemas import NewWebhook, Rotation, WebhookList, WebhookMade

router = APIRouter(tags=["webhooks"])
Name = Annotated[str, Path(pattern=f"^{registry.NAME}$", examples=["chat"])]


@router.get("/webhooks", summary="List webhooks", response_model=WebhookList, responses=described())
def list_webhooks(request: Request, caller: Admin) -> Response:
    """With how their deliveries stand, and without their secrets."""
    caller.require_unscoped()
    found = service_of(request).store.read(registry.every)
    return Json({"items": [registry.document(hook, status) for hook, status in found]})


@router.post(
    "/webhooks",
    summary="Have jobs' ends told",
    status_code=201,
    response_model=WebhookMade,
    responses=described(400, 408, 409, 413),
)
def add_webhook(request: Request, caller: Admin, body: NewWebhook) -> Response:
    """The answer has the secret for the signatures in it. It is not told again."""
    caller.require_unscoped()
    hook, secret = registry.add(
        service_of(request).store,
        body.name,
        body.url,
        caller.name,
        caller.origin,
        states=body.states,
        workflows=body.workflows,
    )
    return Json(made(hook, secret), 201)


@router.post(
    "/webhooks/{name}/rotate",
    summary="Give a webhook a new secret",
    response_model=WebhookMade,
    responses=described(400, 404, 408, 413),
)
def rotate_webhook(request: Request, caller: Admin, name: Name, body: Rotation) -> Response:
    """Until the overlap is over, both secrets sign. The answer has the new one in it. It is not told again."""
    caller.require_unscoped()
    store = service_of(request).store
    hook, secret = registry.rotate(store, name, caller.name, caller.origin, overlap=body.overlap_hours)
    return Json(made(hook, secret))


def made(hook: registry.Webhook, secret: str) -> dict[str, Any]:
    return {"name": hook.name, "url": hook.url, "states": hook.states, "workflows": hook.workflows, "secret": secret}


@router.delete("/webhooks/{name}", summary="Remove a webhook", status_code=204, responses=described(404))
def remove_webhook(request: Request, caller: Admin, name: Name) -> Response:
    """What was still to be delivered is not delivered any more."""
    caller.require_unscoped()
    registry.remove(service_of(request).store, name, caller.name, caller.origin)
    return Response(status_code=204)
