# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as pages: the list, one job with its live log, and what can be done with it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound
from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ..jobs.model import Job, JobState
from ..jobs.service import Service
from ..server.follow import follow
from ..server.routes_jobs import SIGN_OF_LIFE, After, Id, Word, changeable, note_lag, visible
from ..server.schemas import JOB_ID
from . import log
from .pages import Form, Page, Visitor, Who, pretty, render, service_of

router = APIRouter(route_class=Page, include_in_schema=False)
ON_A_PAGE = 50
#: Hosts in the recap of a page; variables, and signs of each.
MOST_HOSTS, MOST_VARIABLES, LONGEST = 80, 40, 250
COUNTS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")


def seen(who: Visitor, job: Job) -> bool:
    return who.caller.token.covers(job.workflow, job.target)


@router.get("/ui/jobs")
def every(
    request: Request,
    who: Who,
    state: Word = "",
    workflow: Word = "",
    before: Annotated[str, Query(pattern=f"^$|{JOB_ID}")] = "",
) -> Response:
    service = service_of(request)
    states = [state] if state in list(JobState) else []
    found = service.jobs(states=states, workflow=workflow, after=before, limit=ON_A_PAGE)
    names = sorted({one.name for one in service.catalog.read()[0] if who.caller.token.knows(one.name)} | {workflow})
    return render(
        request,
        "jobs.html",
        jobs=[job for job in found if seen(who, job)],
        state=state,
        workflow=workflow,
        before=before,
        older=found[-1].id if len(found) == ON_A_PAGE else "",
        states=[one.value for one in JobState],
        names=[name for name in names if name],
    )


@router.get("/ui/jobs/{job_id}")
def one(request: Request, who: Who, job_id: Id) -> Response:
    service = service_of(request)
    job = visible(service, who.caller, job_id)
    text = log.read(service.readable(job_id))
    return render(
        request,
        "job.html",
        job=job,
        log=text,
        picture=log.picture(log.bars(job, text.events, time.time())),
        facts=facts(job),
        variables=[(name, pretty(value, LONGEST)) for name, value in list(job.variables.items())[:MOST_VARIABLES]],
        hosts=list(job.recap.items())[:MOST_HOSTS],
        counts=COUNTS,
        changeable=who.may(role_for(service, job)),
    )


def role_for(service: Service, job: Job) -> str:
    try:
        return service.catalog.get(job.workflow).role
    except (NotFound, InvalidInput):
        return "operator"  # it was taken away since


def facts(job: Job) -> list[tuple[str, str]]:
    mode = ", ".join(word for word, on in (("check mode", job.check), ("diff", job.diff)) if on)
    found = {
        "Target": ", ".join(job.target),
        "Mode": mode,
        "Hosts": job.limit,
        "Tags": ", ".join(job.tags),
        "Submitted by": f"{job.who}, from {job.origin}" if job.origin else job.who,
        "Schedule": job.schedule,
        "Attempt": f"{job.attempt} of at most {job.retries + 1}" if job.attempt else "",
        "Priority": str(job.priority),
        "Worker": job.worker,
        "Node": job.node,
        "Exit code": "" if job.rc is None else str(job.rc),
        "Changed": "" if job.changed is None else ("yes" if job.changed else "no"),
        "Collection": job.collection,
    }
    return [(name, value) for name, value in found.items() if value]


@router.get("/ui/jobs/{job_id}/log")
def whole_log(request: Request, who: Who, job_id: Id) -> Response:
    """What ansible-playbook has printed, as text."""
    service = service_of(request)
    visible(service, who.caller, job_id)
    return PlainTextResponse(service.stdout(job_id).encode("utf-8", "replace"))


@router.post("/ui/jobs/{job_id}/cancel")
def cancel(request: Request, who: Who, _form: Form, job_id: Id) -> Response:
    service = service_of(request)
    changeable(service, who.caller, job_id)
    service.cancel(job_id, who.caller.name, who.caller.origin)
    return RedirectResponse(f"/ui/jobs/{job_id}", 303)


@router.post("/ui/jobs/{job_id}/retry")
def retry(request: Request, who: Who, _form: Form, job_id: Id) -> Response:
    service = service_of(request)
    changeable(service, who.caller, job_id)
    service.retry(job_id, who.caller.name, who.caller.origin)
    return RedirectResponse(f"/ui/jobs/{job_id}", 303)


# -- live ------------------------------------------------------------------------------------------
@router.get("/ui/jobs/{job_id}/events")
async def events(request: Request, job_id: Id, who: Who, after: After = 0) -> Response:
    """The log as it grows: server-sent events with the number of the job's event, resumable by it."""
    service = service_of(request)
    await run_in_threadpool(visible, service, who.caller, job_id)
    last = request.headers.get("last-event-id", "")
    number = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(request, service, job_id, number), media_type="text/event-stream", headers=headers)


async def _stream(request: Request, service: Service, job_id: str, after: int) -> AsyncIterator[str]:
    stopping = request.app.state.stopping
    said = time.monotonic()
    yield "retry: 1000\n\n"
    async for lines in follow(service, job_id, after, stopping):
        if lines:
            note_lag(request, lines)
            yield "".join(_message(line.seq, json.loads(line.text)) for line in lines)
        elif time.monotonic() - said > SIGN_OF_LIFE:
            yield ":\n\n"
        else:
            continue
        said = time.monotonic()
    if not stopping.is_set():
        yield "event: end\ndata: {}\n\n"


def _message(number: int, event: dict[str, Any]) -> str:
    return f"id: {number}\ndata: {json.dumps({'event': event['event'], 'text': log.said(event)})}\n\n"
