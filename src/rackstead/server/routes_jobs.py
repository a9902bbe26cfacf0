# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs and workflows over REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Protocol

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from ..jobs.model import Job, JobState
from ..jobs.service import Order, Service, wanted
from ..jobs.workflows import Workflow
from ..tracing import TRACEPARENT
from . import paging
from .follow import Line, follow
from .gate import Caller, Gate, needs
from .problems import Json, Refusal, described, of_error
from .ready import Lines, Ready
from .schemas import (
    EXAMPLE_ID,
    JOB_ID,
    WORKFLOW,
    Creation,
    JobDocument,
    JobPage,
    Results,
    Submission,
    WorkflowDocument,
    WorkflowList,
)

router = APIRouter()
#: Lists that are asked for often.
lists = APIRouter(route_class=Ready)
Viewer = Annotated[Caller, Depends(needs("viewer"))]
Id = Annotated[str, Path(pattern=JOB_ID, examples=[EXAMPLE_ID], description="The job's id.")]
Name = Annotated[str, Path(pattern=WORKFLOW, examples=["apply"], description="The workflow's name.")]
Word = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
After = Annotated[int, Query(ge=0, le=2**53, description="Only events with a higher number.")]
#: Seconds after which a stream says something, so that what stands between does not end it.
SIGN_OF_LIFE = 15.0
ORDER = ("limit", "tags", "priority", "retries", "timeout", "check", "diff", "node")


def service_of(connection: Request | WebSocket) -> Service:
    found: Service = connection.app.state.service
    return found


# -- jobs -------------------------------------------------------------------------------------------
@lists.get("/tasks", tags=["jobs"], summary="List jobs", response_model=JobPage, responses=described())
def tasks(
    request: Request,
    caller: Viewer,
    state: Annotated[list[JobState] | None, Query(description="Only in this state. Repeatable.")] = None,
    workflow: Word = "",
    who: Word = "",
    sort: Annotated[Literal["-created", "created"], Query(description="The newest, or the oldest first.")] = "-created",
    limit: paging.Limit = 50,
    cursor: paging.Cursor = "",
    before: Annotated[
        str, Query(pattern=f"^$|{JOB_ID}", description="Only jobs older than this one. Not with sort=created.")
    ] = "",
) -> Response:
    """A token for some workflows or targets sees their jobs only; its pages may be short, the last has no next."""
    if before and sort == "created":
        raise Refusal(422, "before: does not go with sort=created", [("query/before", "does not go with sort=created")])
    query = wanted(
        states=[one.value for one in state or ()],
        workflow=workflow,
        who=who,
        after=paging.read(cursor, "tasks", sort) or before,
        limit=limit,
        descending=sort == "-created",
    )
    lines: Lines = request.app.state.lines
    found = lines.find(query)
    seen = [line.text for _id, line in found if caller.token.covers(line.workflow, line.target)]
    last = found[-1][0] if found else ""
    return Response(paging.joined(seen, "tasks", sort, last, full=len(found) == limit), media_type="application/json")


@router.get(
    "/tasks/{job_id}", tags=["jobs"], summary="Show a job", response_model=JobDocument, responses=described(404)
)
def task(request: Request, caller: Viewer, job_id: Id) -> Response:
    return Json(visible(service_of(request), caller, job_id).public())


@router.get(
    "/jobs/{job_id}/stdout",
    tags=["jobs"],
    summary="What ansible-playbook has printed",
    response_class=PlainTextResponse,
    responses=described(404),
)
def stdout(request: Request, caller: Viewer, job_id: Id) -> Response:
    service = service_of(request)
    visible(service, caller, job_id)
    return PlainTextResponse(service.stdout(job_id).encode("utf-8", "replace"))


@router.get(
    "/jobs/{job_id}/results",
    tags=["jobs"],
    summary="What the tasks of the last run have returned",
    response_model=Results,
    responses=described(404),
)
def results(request: Request, caller: Viewer, job_id: Id) -> Response:
    """Whole, but for secrets. There are none for a run that was ended early, nor for one that AWX made."""
    service = service_of(request)
    job = visible(service, caller, job_id)
    try:
        text = service.answer(job)
    except FileNotFoundError as error:
        raise Refusal(404, f"job {job_id} has left no results") from error
    return Response(text, media_type="application/json")


@router.post(
    "/tasks/{job_id}/cancel",
    tags=["jobs"],
    summary="Cancel a job",
    status_code=202,
    response_model=JobDocument,
    responses=described(404, 409),
)
def cancel(request: Request, caller: Viewer, job_id: Id) -> Response:
    """A job that waits is over at once, one that runs within 3 seconds, with all the processes that it started."""
    service = service_of(request)
    changeable(service, caller, job_id)
    return Json(service.cancel(job_id, caller.name, caller.origin).public(), 202)


@router.post(
    "/tasks/{job_id}/retry",
    tags=["jobs"],
    summary="Run a job again that failed or was cancelled",
    status_code=202,
    response_model=JobDocument,
    responses=described(404, 409),
)
def retry(request: Request, caller: Viewer, job_id: Id) -> Response:
    service = service_of(request)
    changeable(service, caller, job_id)
    return Json(service.retry(job_id, caller.name, caller.origin).public(), 202)


def visible(service: Service, caller: Caller, job_id: str) -> Job:
    job = service.show(job_id)
    caller.require_scope(job.workflow, job.target)
    return job


def changeable(service: Service, caller: Caller, job_id: str) -> None:
    """Who may cancel a job or run it again is who may submit it."""
    job = visible(service, caller, job_id)
    try:
        role = service.catalog.get(job.workflow).role
    except (NotFound, InvalidInput):
        role = "operator"  # it was taken away since
    caller.require(role)


# -- events -----------------------------------------------------------------------------------------
@router.get(
    "/jobs/{job_id}/events",
    tags=["jobs"],
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        **described(404),
        200: {
            "description": "Server-sent events: the number as id, the event as JSON in data. When the job is over, "
            "an event named end with the job as data.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'id: 1\ndata: {"seq": 1, "time": 1795270000.3, "event": "job_started"}\n\n',
                }
            },
        },
    },
)
async def events(
    request: Request,
    caller: Viewer,
    job_id: Id,
    after: After = 0,
    last_event_id: Annotated[
        str, Header(pattern=r"^\d{0,15}$", description="The number of the last event seen; counts before after.")
    ] = "",
    keep: Annotated[
        bool, Query(alias="follow", description="Until the job is over; else only what there is already.")
    ] = True,
) -> Response:
    service = service_of(request)
    await run_in_threadpool(visible, service, caller, job_id)
    number = int(last_event_id) if last_event_id else after
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    lines = stream(request, service, job_id, number, keep)
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def stream(request: Request, service: Service, job_id: str, after: int, keep: bool) -> AsyncIterator[str]:
    stopping: asyncio.Event = request.app.state.stopping
    clock = asyncio.get_running_loop().time
    said = clock()
    yield "retry: 1000\n\n"
    async for lines in follow(service, job_id, after, stopping):
        if lines:
            note_lag(request, lines)
            yield "".join(f"id: {line.seq}\ndata: {line.text}\n\n" for line in lines)
            said = clock()
        elif not keep:
            return
        elif clock() - said > SIGN_OF_LIFE:
            yield ":\n\n"
            said = clock()
    if not stopping.is_set():
        job = await run_in_threadpool(service.show, job_id)
        yield f"event: end\ndata: {json.dumps(job.public(), default=str)}\n\n"


def note_lag(connection: Request | WebSocket, lines: list[Line]) -> None:
    connection.app.state.metrics.events(lines[-1].time)


@router.websocket("/jobs/{job_id}/ws")
async def socket(socket: WebSocket, job_id: Id, after: After = 0) -> None:
    """The same as a WebSocket: a message an event, at the end ``{"event": "end", "job": …}``."""
    service = service_of(socket)
    gate: Gate = socket.app.state.gate
    await run_in_threadpool(visible, service, await gate.caller(socket), job_id)
    await socket.accept()
    listener = asyncio.create_task(listen(socket))
    try:
        async for lines in follow(service, job_id, after, socket.app.state.stopping, listener.done):
            for line in lines:
                await socket.send_text(line.text)
        if not socket.app.state.stopping.is_set() and not listener.done():
            job = await run_in_threadpool(service.show, job_id)
            await socket.send_text(json.dumps({"event": "end", "job": job.public()}, default=str))
            await socket.close()
    except WebSocketDisconnect:
        return  # whoever listened has gone
    finally:
        listener.cancel()


async def listen(socket: WebSocket) -> None:
    """Until the client goes away; nothing that it says counts."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue


# -- workflows --------------------------------------------------------------------------------------
@router.get(
    "/workflows", tags=["workflows"], summary="List workflows", response_model=WorkflowList, responses=described()
)
def workflows(request: Request, caller: Viewer) -> Response:
    found, broken = service_of(request).catalog.read()
    seen = [one for one in found if caller.token.knows(one.name)]
    return Json({"items": [workflow_document(one) for one in seen], "broken": broken})


@router.get(
    "/workflows/{name}",
    tags=["workflows"],
    summary="Show a workflow and its variables",
    response_model=WorkflowDocument,
    responses=described(404),
)
def workflow(request: Request, _caller: Viewer, name: Name) -> Response:
    return Json(workflow_document(found_workflow(service_of(request), name)))


def workflow_document(one: Workflow) -> dict[str, Any]:
    keys = ("name", "title", "description", "target", "priority", "timeout", "retries", "backoff", "role", "options")
    return {key: getattr(one, key) for key in keys}


def found_workflow(service: Service, name: str) -> Workflow:
    try:
        return service.catalog.get(name)
    except NotFound as error:
        names = ", ".join(one.name for one in service.catalog.read()[0])
        raise Refusal(404, f"{error}; there are: {names}") from error


SUBMITTED: dict[str, Any] = {
    "tags": ["workflows"],
    "status_code": 202,
    "response_model": JobDocument,
    "responses": {
        **described(400, 404, 408, 409, 413),
        200: {"model": JobDocument, "description": "The job that was waited for, which is over"},
        202: {
            "model": JobDocument,
            "description": "The job, which is queued or runs",
            "headers": {"Location": {"description": "Where to look at it", "schema": {"type": "string"}}},
        },
    },
}


@router.post("/workflows/servers/create", summary="Apply a plan to servers", **SUBMITTED)
async def create_servers(request: Request, caller: Viewer, body: Creation) -> Response:
    """The workflow apply: settings is the plan, servers are those of its instances that are meant."""
    variables: dict[str, Any] = {"plan_src": path_of(body.settings)}
    variables |= {"plan_limit": body.servers} if body.servers else {}
    variables |= {"plan_name": body.infra} if body.infra else {}
    return await submitted(request, caller, Order("apply", variables, body.check_mode), body)


@router.post("/workflows/taskserv/create", summary="Run the workflow taskserv", **SUBMITTED)
async def create_taskserv(request: Request, caller: Viewer, body: Creation) -> Response:
    """A workflow of one's own with this name: it gets settings, servers and infra as variables."""
    return await submitted(request, caller, _own("taskserv", body), body)


@router.post("/workflows/cluster/create", summary="Run the workflow cluster", **SUBMITTED)
async def create_cluster(request: Request, caller: Viewer, body: Creation) -> Response:
    """A workflow of one's own with this name: it gets settings, servers and infra as variables."""
    return await submitted(request, caller, _own("cluster", body), body)


def path_of(settings: str) -> str:
    """As it is seen from where the server was started. Raises Refusal for the home of somebody who is not known."""
    try:
        return str(FilePath(settings).expanduser().absolute())
    except (RuntimeError, ValueError) as error:
        text = "is not the path of anybody here"
        raise Refusal(422, f"settings: {text}", [("/settings", text)]) from error


def _own(name: str, body: Creation) -> Order:
    variables: dict[str, Any] = {"settings": path_of(body.settings)}
    variables |= {"servers": body.servers} if body.servers else {}
    variables |= {"infra": body.infra} if body.infra else {}
    return Order(name, variables, body.check_mode)


@router.post("/workflows/{name}", summary="Submit a job", **SUBMITTED)
async def submit(request: Request, caller: Viewer, name: Name, body: Submission) -> Response:
    """Needs the role that the workflow names."""
    given = {key: getattr(body, key) for key in (*ORDER, "not_before", "after", "idempotency_key")}
    order = Order(name, body.variables, **given)
    return await submitted(request, caller, order, body, "/variables")


class Waiting(Protocol):
    """A body that says whether the answer is to wait for the job's end."""

    wait: bool
    wait_seconds: float


async def submitted(request: Request, caller: Caller, order: Order, body: Waiting, base: str = "") -> Response:
    service = service_of(request)
    order = replace(order, traceparent=request.scope.get(TRACEPARENT, ""))
    job = await run_in_threadpool(enter, service, caller, order, base)
    if body.wait:
        job = await waited(request, service, job, body.wait_seconds)
    return Json(job.public(), 200 if job.state.final else 202, {"Location": f"/tasks/{job.id}"})


def enter(service: Service, caller: Caller, order: Order, base: str) -> Job:
    workflow = found_workflow(service, order.workflow)
    allowed(caller, workflow, order, base)
    try:
        return service.submit(order, caller.name, caller.origin)
    except InvalidInput as error:
        raise pointed(error, order, base) from error
    except NotFound as error:
        raise Refusal(422, str(error), [("/after", str(error))]) from error  # a job that this one comes after


def allowed(caller: Caller, workflow: Workflow, order: Order, base: str) -> None:
    caller.require(workflow.role)
    if caller.token.scoped:
        try:
            targets = workflow.targets(workflow.check(order.variables))
        except InvalidInput as error:
            raise pointed(error, order, base) from error
        caller.require_scope(workflow.name, targets)


def pointed(error: InvalidInput, order: Order, base: str) -> Refusal:
    """The order's own fields stand beside its variables."""
    found = of_error(error, base)
    own = {f"{base}/{name}": f"/{name}" for name in (*ORDER, "idempotency_key") if name not in order.variables}
    return Refusal(found.status, found.detail, [(own.get(pointer, pointer), text) for pointer, text in found.errors])


async def waited(request: Request, service: Service, job: Job, seconds: float) -> Job:
    """The job when it is over, or as it is when the time is."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    async for _lines in follow(service, job.id, 0, request.app.state.stopping, lambda: clock() > end):
        if await request.is_disconnected():
            break
    return await run_in_threadpool(service.show, job.id)
