# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store, the audit chain and schedules over REST."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN, hide_secrets
from ansible_collections.rackstead.infra.plugins.module_utils.state.audit import key_of
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import RESERVED, Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change
from fastapi import APIRouter, Body, Depends, Header, Path, Request, Response
from fastapi import Query as Parameter
from starlette.concurrency import run_in_threadpool

from ..jobs import schedules
from ..jobs.model import INPUT, JOB, KEY, OPEN, PART
from ..jobs.service import WORKER, Order
from ..web.sessions import SESSION
from ..webhooks import registry
from . import paging
from .gate import Caller, needs
from .problems import Json, Refusal, described
from .routes_jobs import ORDER, Viewer, Word, found_workflow, service_of
from .schemas import (
    KIND,
    SCHEDULE_NAME,
    AuditPage,
    AuditVerdict,
    KindList,
    Mapping,
    NewSchedule,
    RecordDocument,
    RecordPage,
    ScheduleDocument,
    ScheduleList,
)
from .tokens import TOKEN

router = APIRouter()
Admin = Annotated[Caller, Depends(needs("admin"))]
Operator = Annotated[Caller, Depends(needs("operator"))]
Schedule = Annotated[str, Path(pattern=SCHEDULE_NAME, examples=["nightly"])]
Kind = Annotated[str, Path(pattern=KIND, examples=["note"])]
Key = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["web-01"])]
IfMatch = Annotated[
    str, Header(pattern=r'^("?\d{1,15}"?)?$', description="Only if the record is at this version; 0: if there is none.")
]
#: Never shown, and never written from outside.
PRIVATE = (INPUT, KEY, PART, SESSION, TOKEN, *registry.KINDS)
MANAGED = (*RESERVED, *PRIVATE, JOB, OPEN, WORKER, schedules.SCHEDULE)
ETAG = {"headers": {"ETag": {"description": "The version", "schema": {"type": "string"}}}}


# -- the audit chain --------------------------------------------------------------------------------
@router.get("/audit", tags=["audit"], summary="Who did what", response_model=AuditPage, responses=described())
def audit(
    request: Request,
    caller: Viewer,
    who: Word = "",
    action: Word = "",
    target: Word = "",
    result: Word = "",
    sort: Annotated[Literal["-seq", "seq"], Parameter(description="The newest, or the oldest first.")] = "-seq",
    limit: paging.Limit = 50,
    cursor: paging.Cursor = "",
) -> Response:
    """Entries of the audit chain. Not for tokens that are for some workflows or targets only."""
    caller.require_unscoped()
    wanted = {"who": who, "action": action, "target": target, "result": result}
    where = {name: value for name, value in wanted.items() if value}
    after = paging.read(cursor, "audit", sort)
    found = service_of(request).store.audit(Query(where, after=after, descending=sort == "-seq", limit=limit))
    last = key_of(found[-1].seq) if found else ""
    return Json(paging.page([vars(one) for one in found], "audit", sort, last, full=len(found) == limit))


@router.get(
    "/audit/verify", tags=["audit"], summary="Prove the chain whole", response_model=AuditVerdict, responses=described()
)
async def verify(request: Request, caller: Viewer) -> Response:
    """Reads all of it: a long chain takes a while, and others who ask wait. Not for tokens that are for some
    workflows or targets only."""
    caller.require_unscoped()
    async with request.app.state.verifying:
        found = await run_in_threadpool(service_of(request).store.verify_audit)
    return Json(vars(found))


# -- the state store --------------------------------------------------------------------------------
@router.get("/state", tags=["state"], summary="Kinds of records", response_model=KindList, responses=described())
def kinds(request: Request, caller: Viewer) -> Response:
    caller.require_unscoped()
    return Json({"items": [kind for kind in service_of(request).store.kinds() if kind not in PRIVATE]})


@router.get(
    "/state/{kind}", tags=["state"], summary="List records", response_model=RecordPage, responses=described(404)
)
def records(
    request: Request,
    caller: Viewer,
    kind: Kind,
    prefix: Annotated[
        str, Parameter(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="Keys that begin so.")
    ] = "",
    sort: Annotated[Literal["key", "-key"], Parameter(description="Upwards, or downwards.")] = "key",
    limit: paging.Limit = 50,
    cursor: paging.Cursor = "",
) -> Response:
    readable(caller, kind)
    after = paging.read(cursor, f"state/{kind}", sort)
    query = Query(prefix=prefix, after=after, descending=sort == "-key", limit=limit)
    found = service_of(request).store.list(kind, query)
    last = found[-1].key if found else ""
    return Json(paging.page([shown(one) for one in found], f"state/{kind}", sort, last, full=len(found) == limit))


@router.get(
    "/state/{kind}/{key:path}",
    tags=["state"],
    summary="Show a record",
    response_model=RecordDocument,
    responses={**described(404), 200: {"model": RecordDocument, "description": "The record", **ETAG}},
)
def record(request: Request, caller: Viewer, kind: Kind, key: Key) -> Response:
    readable(caller, kind)
    found = service_of(request).store.get(kind, key)
    return Json(shown(found), headers={"ETag": f'"{found.version}"'})


@router.put(
    "/state/{kind}/{key:path}",
    tags=["state"],
    summary="Write a record",
    response_model=RecordDocument,
    responses={
        **described(400, 408, 412, 413),
        200: {"model": RecordDocument, "description": "The record as it is now", **ETAG},
    },
)
def write(
    request: Request,
    caller: Admin,
    kind: Kind,
    key: Key,
    body: Annotated[Mapping, Body(examples=[{"text": "rack 3, slot 7"}])],
    if_match: IfMatch = "",
) -> Response:
    """Kinds that rackstead keeps itself cannot be written."""
    writable(caller, kind)
    if HIDDEN in json.dumps(body):
        text = f"{HIDDEN} stands for what is not shown; write the value itself"
        raise Refusal(422, text, [("", text)])

    def work(change: Change) -> Record:
        found = change.put(kind, key, body, expect=version_of(if_match))
        details = {"version": found.version}
        change.append_audit(caller.name, "state.put", f"{kind}/{key}", origin=caller.origin, details=details)
        return found

    found = service_of(request).store.change(work)
    return Json(shown(found), headers={"ETag": f'"{found.version}"'})


@router.delete(
    "/state/{kind}/{key:path}",
    tags=["state"],
    summary="Delete a record",
    status_code=204,
    responses=described(404, 412),
)
def delete(request: Request, caller: Admin, kind: Kind, key: Key, if_match: IfMatch = "") -> Response:
    writable(caller, kind)

    def work(change: Change) -> None:
        if not change.delete(kind, key, expect=version_of(if_match)):
            raise NotFound("there is no such record", where=f"{kind}/{key}")
        change.append_audit(caller.name, "state.delete", f"{kind}/{key}", origin=caller.origin)

    service_of(request).store.change(work)
    return Response(status_code=204)


def readable(caller: Caller, kind: str) -> None:
    caller.require_unscoped()
    if kind in PRIVATE:
        raise Refusal(403, f'records of the kind "{kind}" are not shown')


def writable(caller: Caller, kind: str) -> None:
    caller.require_unscoped()
    if kind in MANAGED:
        raise Refusal(403, f'the kind "{kind}" is rackstead\'s own; it is not written from outside')


def version_of(if_match: str) -> int | None:
    return int(if_match.strip('"')) if if_match else None


def shown(found: Record) -> dict[str, Any]:
    """A record without secrets."""
    body = {name: HIDDEN if name in found.sensitive else value for name, value in found.body.items()}
    known = {"kind": found.kind, "key": found.key, "version": found.version, "time": found.time}
    return {**known, "body": hide_secrets(body)}


# -- schedules --------------------------------------------------------------------------------------
@router.get(
    "/schedules", tags=["schedules"], summary="List schedules", response_model=ScheduleList, responses=described()
)
def list_schedules(request: Request, caller: Viewer) -> Response:
    caller.require_unscoped()
    return Json({"items": [schedule_document(one) for one in schedules.every(service_of(request))]})


@router.post(
    "/schedules",
    tags=["schedules"],
    summary="Have a job come again and again",
    status_code=201,
    response_model=ScheduleDocument,
    responses=described(400, 404, 408, 409, 413),
)
def add_schedule(request: Request, caller: Viewer, body: NewSchedule) -> Response:
    """Needs the role that the workflow names."""
    service = service_of(request)
    caller.require_unscoped()
    caller.require(found_workflow(service, body.workflow).role)
    order = Order(body.workflow, body.variables, **{key: getattr(body, key) for key in ORDER})
    found = schedules.add(service, body.name, body.cron, order, caller.name, caller.origin, body.zone)
    return Json(schedule_document(found), 201)


@router.delete(
    "/schedules/{name}",
    tags=["schedules"],
    summary="Remove a schedule",
    status_code=204,
    responses=described(404),
)
def remove_schedule(request: Request, caller: Operator, name: Schedule) -> Response:
    """Jobs that it has queued stay."""
    caller.require_unscoped()
    schedules.remove(service_of(request), name, caller.name, caller.origin)
    return Response(status_code=204)


@router.post(
    "/schedules/{name}/pause",
    tags=["schedules"],
    summary="Have a schedule queue nothing",
    response_model=ScheduleDocument,
    responses=described(404),
)
def pause_schedule(request: Request, caller: Operator, name: Schedule) -> Response:
    caller.require_unscoped()
    return Json(schedule_document(schedules.pause(service_of(request), name, caller.name, caller.origin)))


@router.post(
    "/schedules/{name}/resume",
    tags=["schedules"],
    summary="Have a schedule go on",
    response_model=ScheduleDocument,
    responses=described(404),
)
def resume_schedule(request: Request, caller: Operator, name: Schedule) -> Response:
    """What came while it was paused is left out."""
    caller.require_unscoped()
    found = schedules.pause(service_of(request), name, caller.name, caller.origin, paused=False)
    return Json(schedule_document(found))


def schedule_document(found: Record) -> dict[str, Any]:
    keys = ("cron", "zone", "workflow", "variables", "next", "last", "who", "error")
    return {"name": found.key, **{key: found.body[key] for key in keys}, "paused": schedules.is_paused(found)}
