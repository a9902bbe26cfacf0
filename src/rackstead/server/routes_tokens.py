# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens over REST: for admins whose own token is for everything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from . import tokens
from .gate import Gate
from .problems import Json, described
from .routes_jobs import service_of
from .routes_state import Admin
from .schemas import NewToken, TokenList, TokenMade

router = APIRouter(tags=["tokens"])


@router.get("/tokens", summary="List tokens", response_model=TokenList, responses=described())
def list_tokens(request: Request, caller: Admin) -> Response:
    """Without what they are: nobody can read one back."""
    caller.require_unscoped()
    return Json({"items": [vars(one) for one in tokens.every(service_of(request).store)]})


@router.post(
    "/tokens",
    summary="Make a token",
    status_code=201,
    response_model=TokenMade,
    responses=described(400, 408, 409, 413),
)
def create_token(request: Request, caller: Admin, body: NewToken) -> Response:
    """The answer has the token in it. It is not told again."""
    caller.require_unscoped()
    text = tokens.create(
        service_of(request).store,
        body.name,
        body.role,
        caller.name,
        caller.origin,
        workflows=body.workflows,
        targets=body.targets,
        days=body.days,
    )
    return Json({"name": body.name, "token": text}, 201, {"Cache-Control": "no-store"})


@router.delete("/tokens/{name}", summary="Take a token back", status_code=204, responses=described(404))
def revoke_token(
    request: Request, caller: Admin, name: Annotated[str, Path(pattern=f"^{tokens.NAME}$", examples=["anna"])]
) -> Response:
    """This server refuses it at once, others within two seconds."""
    caller.require_unscoped()
    tokens.revoke(service_of(request).store, name, caller.name, caller.origin)
    gate: Gate = request.app.state.gate
    gate.tokens.forget()
    return Response(status_code=204)
