# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing in and out, the overview, the audit chain and the state store as pages. ``router`` has all pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.show import hide_secrets
from ansible_collections.rackstead.infra.plugins.module_utils.state.audit import key_of
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from fastapi import APIRouter, Path, Request
from fastapi import Query as Parameter
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from ..jobs import schedules
from ..jobs.model import Job, JobState
from ..jobs.service import MISSED, Service
from ..server.problems import Refusal
from ..server.routes_jobs import Word
from ..server.routes_state import PRIVATE, shown
from ..server.schemas import KIND
from . import clusters, fleet, hardware, jobs, pages, provisioning, sessions, webhooks, workflows
from . import schedules as schedule_pages
from .pages import Form, Page, Visitor, Who, render, service_of, sessions_of

router = APIRouter(route_class=Page, include_in_schema=False)
#: Jobs that are looked at to find what needs a person, and how many of a kind the overview names.
RECENT, NAMED, MOST_LINES = 200, 10, 30
ON_A_PAGE = 50


@router.get("/")
def root() -> Response:
    return RedirectResponse("/ui/", 307)


@router.get("/ui")
def bare() -> Response:
    return RedirectResponse("/ui/", 307)


@router.get("/ui/static/{name}")
def static(name: str) -> Response:
    return pages.static(name)


# -- sessions --------------------------------------------------------------------------------------
@router.get(pages.SIGN_IN)
def sign_in_form(request: Request, wanted: Annotated[str, Parameter(alias="next")] = "/ui/") -> Response:
    return _sign_in(request, wanted)


def _sign_in(request: Request, wanted: str, status: int = 200, error: str = "") -> Response:
    """The form's proof needs a cookie: there is no session as yet."""
    visit = request.cookies.get(pages.VISIT) or sessions.new_id()
    context: dict[str, Any] = {"wanted": pages.local(wanted), "error": error, "proof": sessions.proof(visit)}
    answer = render(request, "sign_in.html", status, **context)
    pages.set_cookie(request, answer, pages.VISIT, visit)
    return answer


@router.post(pages.SIGN_IN)
def sign_in(request: Request, form: Form) -> Response:
    wanted = pages.local(form.get("next", ""))
    session = sessions_of(request).open(form.get("token", "").strip(), pages.origin_of(request))
    if session is None:
        return _sign_in(request, wanted, 401, "This token is unknown, was revoked, or is out of date.")
    answer = RedirectResponse(wanted, 303)
    pages.set_cookie(request, answer, pages.COOKIE, session)
    return answer


@router.post("/ui/sign-out")
def sign_out(request: Request, who: Who, _form: Form) -> Response:
    sessions_of(request).close(who.session, who.caller.name, who.caller.origin)
    answer = RedirectResponse(pages.SIGN_IN, 303)
    answer.delete_cookie(pages.COOKIE, path="/ui")
    return answer


# -- the overview ----------------------------------------------------------------------------------
@dataclass
class Needs:
    """What waits for a person."""

    jobs: list[Job] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.jobs or self.lines)


@router.get("/ui/")
def overview(request: Request, who: Who) -> Response:
    service = service_of(request)

    def in_state(*states: JobState) -> list[Job]:
        found = service.jobs(states=[one.value for one in states], limit=ON_A_PAGE)
        return [job for job in found if jobs.seen(who, job)]

    workers = list(_workers(service))
    waiting = in_state(JobState.PENDING)
    needs = _needs(service, who, any(one["alive"] for one in workers), len(waiting))
    named = {job.id for job in needs.jobs}
    return render(
        request,
        "overview.html",
        running=in_state(JobState.RUNNING, JobState.INTERRUPTED),
        waiting=waiting,
        failed=[job for job in in_state(JobState.FAILED) if job.id not in named][:NAMED],
        workers=workers,
        needs=needs,
    )


def _workers(service: Service) -> Iterator[dict[str, Any]]:
    now = service.store.read(lambda change: change.now())
    for one in service.workers():
        silent = now - one.time
        running = len(one.body.get("running", ()))
        alive = silent < MISSED * one.body["heartbeat"]
        yield {**one.body, "id": one.key, "alive": alive, "silent": silent, "running": running}


def _needs(service: Service, who: Visitor, alive: bool, waiting: int) -> Needs:
    found = Needs(_unmended([job for job in service.jobs(limit=RECENT) if jobs.seen(who, job)])[:NAMED])
    if not alive:
        jobs_wait = f" {waiting} {'job waits' if waiting == 1 else 'jobs wait'}." if waiting else ""
        found.lines.append(f"No worker gives signs of life.{jobs_wait}")
    if who.unscoped:
        found.lines += service.catalog.read()[1]
        found.lines += [
            f"schedule {one.key}: {one.body['error']}" for one in schedules.every(service) if one.body["error"]
        ]
    del found.lines[MOST_LINES:]
    return found


def _unmended(recent: list[Job]) -> list[Job]:
    """Failed jobs after which none like it has completed; of each sort the newest."""
    last: dict[tuple[str, ...], Job] = {}
    for job in recent:
        if job.state in (JobState.FAILED, JobState.COMPLETED):
            last.setdefault((job.workflow, *job.target), job)
    return [job for job in last.values() if job.state is JobState.FAILED]


# -- audit and state -------------------------------------------------------------------------------
@router.get("/ui/audit")
def audit(
    request: Request,
    who: Who,
    by: Word = "",
    action: Word = "",
    before: Annotated[int, Parameter(ge=0, lt=10**16)] = 0,
) -> Response:
    who.caller.require_unscoped()
    where = {name: value for name, value in (("who", by), ("action", action)) if value}
    query = Query(where, after=key_of(before) if before else "", descending=True, limit=ON_A_PAGE)
    found = service_of(request).store.audit(query)
    older = found[-1].seq if len(found) == ON_A_PAGE else 0
    rows = [{**vars(one), "details": hide_secrets(one.details)} for one in found]
    return render(request, "audit.html", rows=rows, by=by, action=action, before=before, older=older)


def _admin(who: Visitor) -> None:
    who.caller.require_unscoped()
    who.caller.require("admin")


def _readable(who: Visitor, kind: str) -> None:
    _admin(who)
    if kind in PRIVATE:
        raise Refusal(403, f'records of the kind "{kind}" are not shown')


@router.get("/ui/state")
def kinds(request: Request, who: Who) -> Response:
    _admin(who)
    found = [kind for kind in service_of(request).store.kinds() if kind not in PRIVATE]
    return render(request, "kinds.html", kinds=found)


@router.get("/ui/state/{kind}")
def records(
    request: Request, who: Who, kind: Annotated[str, Path(pattern=KIND)], prefix: Word = "", after: Word = ""
) -> Response:
    _readable(who, kind)
    found = service_of(request).store.list(kind, Query(prefix=prefix, after=after, limit=ON_A_PAGE))
    more = found[-1].key if len(found) == ON_A_PAGE else ""
    context: dict[str, Any] = {"rows": [_summary(one) for one in found], "prefix": prefix, "after": after}
    return render(request, "records.html", kind=kind, more=more, **context)


def _summary(record: Record) -> dict[str, Any]:
    found = shown(record)
    return {**found, "body": pages.compact(found["body"])}


@router.get("/ui/state/{kind}/{key:path}")
def record(
    request: Request,
    who: Who,
    kind: Annotated[str, Path(pattern=KIND)],
    key: Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")],
) -> Response:
    _readable(who, kind)
    found = service_of(request).store.get(kind, key)
    body = pages.pretty(shown(found)["body"], 25_000)
    return render(request, "record.html", record=found, body=body)


router.include_router(jobs.router)
router.include_router(workflows.router)
router.include_router(provisioning.router)
router.include_router(hardware.router)
router.include_router(fleet.router)
router.include_router(clusters.router)
router.include_router(schedule_pages.router)
router.include_router(webhooks.router)


@router.get("/ui/{rest:path}")
def nothing(rest: str, _who: Who) -> Response:
    raise Refusal(404, f'there is no page "{rest}"')
