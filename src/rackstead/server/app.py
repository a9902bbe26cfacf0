# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the application together: ``create_app(service, settings)``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from fastapi import APIRouter, FastAPI, Request, Response, Security
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from ..jobs.service import Service
from ..tracing import traces
from ..web import routes as web
from . import (
    problems,
    routes_fleet,
    routes_hardware,
    routes_jobs,
    routes_provisioning,
    routes_state,
    routes_tokens,
    routes_webhooks,
)
from .gate import SHOWN, Gate
from .limits import Limits
from .logs import AccessLog
from .metrics import Metrics
from .problems import Json, described
from .ready import Answers, Lines
from .schemas import Health, Problem
from .tokens import Tokens
from .traced import Traced

router = APIRouter(tags=["server"])
#: Seconds for which the state of health is remembered: anyone may ask.
FRESH = 1.0
ABOUT = """Runs playbooks as jobs. Every request but /health needs a token: `Authorization: Bearer TOKEN`.
Errors are problem documents (RFC 9457) that name the field. Lists come in pages: give `next` as `cursor`.
Bodies are at most 1 MB.
"""


@dataclass(frozen=True)
class Settings:
    """``open_metrics``: /metrics needs no token."""

    open_metrics: bool = False


def create_app(service: Service, settings: Settings | None = None) -> FastAPI:
    """The application. In ``app.state``: ``service``, ``gate`` (who asks), ``stopping`` (set when streams must
    end), ``metrics``, ``settings`` and ``traces`` (None where none are recorded)."""
    app = FastAPI(title="rackstead", version=own_version(), description=ABOUT, redoc_url=None, docs_url=None)
    app.state.service = service
    app.state.settings = settings or Settings()
    app.state.gate = Gate(Tokens(service.store))
    app.state.stopping = asyncio.Event()
    app.state.metrics = Metrics(service)
    app.state.lines, app.state.answers = Lines(service.store), Answers(service.store)
    app.state.health = (0.0, {})
    app.state.verifying = asyncio.Lock()
    problems.install(app)
    app.add_middleware(Limits)
    app.add_middleware(AccessLog)
    app.state.traces = traces("server")
    if app.state.traces:
        app.add_middleware(Traced, traces=app.state.traces)
    for part in (
        router,
        routes_jobs.lists,
        routes_jobs.router,
        routes_fleet.router,
        routes_hardware.router,
        routes_provisioning.router,
        routes_state.router,
        routes_tokens.router,
        routes_webhooks.router,
        web.router,
    ):
        app.include_router(part)
    describe(app)
    return app


def own_version() -> str:
    try:
        return version("rackstead")
    except PackageNotFoundError:
        return "0"


def describe(app: FastAPI) -> None:
    """Add to the description of the API what no route refers to by itself."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = made()
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            parts = found.setdefault("components", {}).setdefault("schemas", {})
            parts |= {**schema.pop("$defs", {}), "Problem": schema}
        return made()

    app.openapi = openapi  # type: ignore[method-assign]


@router.get(
    "/health",
    summary="Whether this server can do its work",
    response_model=Health,
    responses={503: {"model": Health, "description": "The state store does not answer"}},
)
async def health(request: Request) -> Response:
    """Needs no token. A server without a worker answers, with the status degraded: jobs wait."""
    at, found = request.app.state.health
    if time.monotonic() - at > FRESH or not found:
        found = await run_in_threadpool(looked, request.app.state.service)
        request.app.state.health = (time.monotonic(), found)
    return Json(found, 200 if found["store"] == "ok" else 503)


def looked(service: Service) -> dict[str, str]:
    try:
        worker = "alive" if service.alive() else "none"
        store = "ok"
    except RacksteadError as error:
        problems.log.error("the state store does not answer: %s", error)
        worker, store = "unknown", "unreachable"
    status = "ok" if worker == "alive" else "degraded"
    return {"status": status, "store": store, "worker": worker, "version": own_version()}


@router.get(
    "/metrics",
    summary="For Prometheus",
    dependencies=[Security(SHOWN)],
    responses={**described(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Needs the role viewer, unless the server was started with --open-metrics."""
    if not request.app.state.settings.open_metrics:
        caller = await request.app.state.gate.caller(request)
        caller.require_unscoped()
    text = await run_in_threadpool(request.app.state.metrics.text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
