# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules as pages: the list, what can be done with one, and a form for a new one made from its workflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from ..jobs import schedules
from ..jobs.workflows import Workflow
from ..server.problems import Refusal
from ..server.routes_jobs import found_workflow, pointed
from ..server.schemas import SCHEDULE_NAME, WORKFLOW
from . import forms
from .forms import Field
from .pages import Form, Page, Who, render, service_of
from .workflows import VARIABLES, add_errors

router = APIRouter(route_class=Page, include_in_schema=False)
ACTIONS = ("pause", "resume", "remove")
LIST = "/ui/schedules"
ON_A_PAGE = 40


@router.get(LIST)
def every(request: Request, who: Who, page: Annotated[int, Query(ge=1, le=10_000)] = 1) -> Response:
    who.caller.require_unscoped()
    service = service_of(request)
    found = schedules.every(service)
    begin, end = (page - 1) * ON_A_PAGE, page * ON_A_PAGE
    rows = [{**one.body, "name": one.key, "paused": schedules.is_paused(one)} for one in found[begin:end]]
    names = [one for one in service.catalog.read()[0] if who.may(one.role)]
    return render(
        request,
        "schedules.html",
        rows=rows,
        total=len(found),
        more=page + 1 if len(found) > end else 0,
        workflows=names,
        may=who.may("operator"),
    )


@router.post(LIST)
def act(request: Request, who: Who, form: Form) -> Response:
    who.caller.require_unscoped()
    who.caller.require("operator")
    service, name, action = service_of(request), form.get("name", ""), form.get("action", "")
    if action not in ACTIONS:
        raise Refusal(422, f'action: "{action}" is not valid; allowed: {", ".join(ACTIONS)}')
    if action == "remove":
        schedules.remove(service, name, who.caller.name, who.caller.origin)
    else:
        schedules.pause(service, name, who.caller.name, who.caller.origin, paused=action == "pause")
    return RedirectResponse(LIST, 303)


@router.get(f"{LIST}/new")
def blank(request: Request, who: Who, workflow: Annotated[str, Query(pattern=WORKFLOW)]) -> Response:
    who.caller.require_unscoped()
    found = found_workflow(service_of(request), workflow)
    who.caller.require(found.role)
    return _form(request, found, {"zone": "UTC"})


def own_fields(typed: Mapping[str, str]) -> list[Field]:
    return [
        Field("name", "Name", "text", "What the schedule shall be called.", required=True, value=typed.get("name", "")),
        Field(
            "cron",
            "When",
            "text",
            "Minute, hour, day, month, weekday: 30 2 * * 1-5 is half past two from Monday to Friday.",
            required=True,
            value=typed.get("cron", ""),
        ),
        Field("zone", "Time zone", "text", "Such as Europe/Berlin.", default="UTC", value=typed.get("zone", "")),
    ]


def _form(
    request: Request,
    workflow: Workflow,
    typed: Mapping[str, str],
    errors: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    when = own_fields(typed)
    variables = forms.variable_fields(workflow, typed)
    how = [one for one in forms.order_fields(workflow, typed) if one.name != "at"]
    wrong = dict(errors or {})
    for one in (*when, *variables, *how):
        one.errors = wrong.pop(one.name, [])
    return render(
        request,
        "schedule.html",
        status,
        workflow=workflow,
        typed=typed,
        when=when,
        fields=[one for one in variables if not one.label.startswith(forms.CONNECTION)],
        connection=[one for one in variables if one.label.startswith(forms.CONNECTION)],
        own=how,
        faults=[one for one in (*when, *variables, *how) if one.errors],
        others=[text for texts in wrong.values() for text in texts],
    )


@router.post(f"{LIST}/new")
def add(request: Request, who: Who, form: Form, workflow: Annotated[str, Query(pattern=WORKFLOW)]) -> Response:
    who.caller.require_unscoped()
    service = service_of(request)
    found = found_workflow(service, workflow)
    who.caller.require(found.role)
    order, wrong = forms.read(found, form)
    name, cron, zone = (form.get(field, "").strip() for field in ("name", "cron", "zone"))
    if not re.fullmatch(SCHEDULE_NAME, name):
        wrong["name"] = ["is needed: at most 100 letters, digits and . _ -, a letter or digit first"]
    status = 422
    if not wrong:
        try:
            schedules.add(service, name, cron, order, who.caller.name, who.caller.origin, zone or "UTC")
            return RedirectResponse(LIST, 303)
        except InvalidInput as error:
            for pointer, text in pointed(error, order, VARIABLES).errors:
                own = pointer.removeprefix(f"{VARIABLES}/")
                beside = own in ("cron", "zone") and own not in found.options
                add_errors(wrong, [(f"/{own}" if beside else pointer, text)])
        except Conflict:
            status, wrong["name"] = 409, ["is taken: remove that schedule first, or choose another name"]
    return _form(request, found, form, wrong, status)
