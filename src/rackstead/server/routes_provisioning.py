# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers from a rack to tagged machines, over REST. The paths are those of earlier orchestrators."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from ..jobs.model import Job
from ..jobs.service import Order
from ..provisioning.orders import WORKFLOW, checked, entry, faults
from ..provisioning.progress import SERVER_STATES, Server
from ..provisioning.service import How, Provisioning, Status, order_of
from ..tracing import TRACEPARENT
from .gate import Caller
from .problems import Json, Refusal, described
from .routes_jobs import Viewer, changeable, enter, service_of, waited
from .schemas import EXAMPLE_ID, JobDocument
from .schemas_provisioning import NAME, Provision, ServerList, StatusDocument

router = APIRouter(prefix="/api/orchestration", tags=["provisioning"])
Name = Annotated[
    str, Path(pattern=NAME, examples=[EXAMPLE_ID, "machine-123"], description="A job's id, or any name of a server.")
]
LOCATION = {"Location": {"description": "Where to look at it", "schema": {"type": "string"}}}


def provisioning_of(request: Request) -> Provisioning:
    return Provisioning(service_of(request))


@router.post(
    "/provision",
    summary="Provision a server",
    status_code=202,
    response_model=StatusDocument,
    responses={
        **described(400, 404, 408, 409, 413),
        200: {"model": StatusDocument, "description": "The server of the job that was waited for, which is over"},
        202: {"model": StatusDocument, "description": "The job is queued, or runs", "headers": LOCATION},
    },
)
async def provision(request: Request, caller: Viewer, body: Provision) -> Response:
    """Queues a job of the workflow provision; its id is that of the status. Several servers: POST /workflows/provision."""
    order = ordered(body)
    order = replace(order, traceparent=request.scope.get(TRACEPARENT, ""))
    service = service_of(request)
    job = await run_in_threadpool(enter, service, caller, order, "/variables")
    if body.wait:
        job = await waited(request, service, job, body.wait_seconds)
    found = await run_in_threadpool(provisioning_of(request).status, job.id)
    place = f"{router.prefix}/workflow/{job.id}/status"
    return Json(found.document(), 200 if job.state.final else 202, {"Location": place})


def ordered(body: Provision) -> Order:
    """Raises InvalidInput, whose lines name fields of the body."""
    one = entry(body.model_dump())
    how = How(body.dry_run, body.from_step, body.only_steps, body.variables, body.idempotency_key)
    try:
        order = order_of([one], how)
    except InvalidInput as error:
        raise InvalidInput([*faults(one), *error.problems]) from error
    checked([one])
    return order


@router.get(
    "/workflow/{name}/status",
    summary="How far a job's servers are, or a server",
    response_model=StatusDocument,
    responses=described(404),
)
def status(request: Request, caller: Viewer, name: Name) -> Response:
    found = provisioning_of(request).status(name)
    visible(caller, found)
    return Json(found.document())


@router.post(
    "/workflow/{name}/cancel",
    summary="Cancel a job, or the one that a server waits for",
    status_code=202,
    response_model=JobDocument,
    responses=described(404, 409),
)
def cancel(request: Request, caller: Viewer, name: Name) -> Response:
    """For all servers of the job. What was done stays; ordered again, each goes on where it stopped."""
    return Json(cancelled(request, caller, name).public(), 202)


def cancelled(request: Request, caller: Caller, name: str) -> Job:
    """The job of this id or server, which is to be ended. Raises Refusal where the caller may not."""
    service = service_of(request)
    job_id = provisioning_of(request).job_of(name)
    changeable(service, caller, job_id)
    return service.cancel(job_id, caller.name, caller.origin)


@router.get(
    "/servers",
    summary="Servers and how far they are",
    response_model=ServerList,
    responses=described(),
)
def servers(
    request: Request,
    caller: Viewer,
    state: Annotated[
        list[Literal["pending", "running", "completed", "failed", "cancelled", "interrupted"]] | None,
        Query(description="Only in this state. Repeatable."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
) -> Response:
    """Those that something happens to first, then those that were touched last. Without the BIOS settings that change."""
    wanted = state or SERVER_STATES
    found = provisioning_of(request).every(limit, lambda one: one.state in wanted and seen(caller, one))
    return Json({"items": [one.document(brief=True) for one in found]})


# -- who may see what ------------------------------------------------------------------------------
def seen(caller: Caller, server: Server) -> bool:
    """Whether a token is good for a server, by any of its names."""
    names = {server.id, server.system_id, server.hostname, server.mac} - {""}
    return any(caller.token.covers(WORKFLOW, [f"server:{name}"]) for name in names)


def visible(caller: Caller, found: Status) -> None:
    """Raises Refusal where a token is not good for each of the servers."""
    if not caller.token.knows(WORKFLOW) or not all(seen(caller, one) for one in found.servers):
        raise Refusal(403, f'the token "{caller.name}" is not for {found.id}')
