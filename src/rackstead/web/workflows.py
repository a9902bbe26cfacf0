# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workflows as forms, and instances with what can be done to them: both submit jobs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput, NotFound
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from ..jobs.service import Order
from ..jobs.workflows import Workflow
from ..server.problems import Refusal
from ..server.routes_jobs import Name, enter, found_workflow, pointed
from . import forms, instances
from .pages import Form, Page, Who, render, service_of

router = APIRouter(route_class=Page, include_in_schema=False)
provider = instances.Provider()
ON_A_PAGE = 40
VARIABLES = "/variables"


@router.get("/ui/workflows")
def every(request: Request, who: Who) -> Response:
    found, broken = service_of(request).catalog.read()
    mine = [one for one in found if who.caller.token.knows(one.name)]
    return render(request, "workflows.html", workflows=mine, broken=broken if who.unscoped else [])


@router.get("/ui/workflows/{name}")
def one(request: Request, _who: Who, name: Name) -> Response:
    return _form(request, found_workflow(service_of(request), name), {})


def _form(
    request: Request,
    workflow: Workflow,
    typed: Mapping[str, str],
    errors: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    """The form with what was typed; each error stands at its field, those of no field above all."""
    variables = forms.variable_fields(workflow, typed)
    own = forms.order_fields(workflow, typed)
    wrong = dict(errors or {})
    for one in (*variables, *own):
        one.errors = wrong.pop(one.name, [])
    connection = [one for one in variables if one.label.startswith(forms.CONNECTION)]
    return render(
        request,
        "workflow.html",
        status,
        workflow=workflow,
        typed=typed,
        once=secrets.token_urlsafe(16),
        fields=[one for one in variables if one not in connection],
        connection=connection,
        own=own,
        faults=[one for one in (*variables, *own) if one.errors],
        others=[text for texts in wrong.values() for text in texts],
    )


@router.post("/ui/workflows/{name}")
def submit(request: Request, who: Who, form: Form, name: Name) -> Response:
    service = service_of(request)
    workflow = found_workflow(service, name)
    who.caller.require(workflow.role)
    order, wrong = forms.read(workflow, form)
    status = 422
    if wrong:
        add_errors(wrong, _complaints(workflow, order), anew=False)
        return _form(request, workflow, form, wrong, status)
    try:
        return RedirectResponse(f"/ui/jobs/{enter(service, who.caller, order, VARIABLES).id}", 303)
    except Refusal as refusal:
        if refusal.status != status:
            raise
        add_errors(wrong, refusal.errors)
    except Conflict as error:
        status = 409
        wrong[""] = [f"{error}. Submit again if that is what you want."]
    return _form(request, workflow, form, wrong, status)


def _complaints(workflow: Workflow, order: Order) -> Sequence[tuple[str, str]]:
    try:
        workflow.check(order.variables)
    except InvalidInput as error:
        return pointed(error, order, VARIABLES).errors
    return ()


def add_errors(wrong: dict[str, list[str]], errors: Sequence[tuple[str, str]], *, anew: bool = True) -> None:
    """Errors whose pointers name fields of the form. Without ``anew``, of fields that have none yet."""
    known = set(wrong)
    for pointer, text in errors:
        variable = pointer.startswith(f"{VARIABLES}/")
        name = forms.PREFIX + pointer[len(VARIABLES) + 1 :].split(".")[0] if variable else pointer.strip("/")
        if anew or name not in known:
            wrong.setdefault(name, []).append(text)


# -- instances -------------------------------------------------------------------------------------
@router.get("/ui/instances")
def known_instances(request: Request, who: Who, page: Annotated[int, Query(ge=1, le=10_000)] = 1) -> Response:
    who.caller.require_unscoped()
    found, trouble = provider.look()
    begin = (page - 1) * ON_A_PAGE
    shown = found[begin : begin + ON_A_PAGE]
    more = page + 1 if len(found) > begin + ON_A_PAGE else 0
    allowed = [action for action in instances.ACTIONS if who.may(_role(request, action))]
    return render(
        request, "instances.html", instances=shown, total=len(found), trouble=trouble, more=more, allowed=allowed
    )


def _role(request: Request, action: str) -> str:
    try:
        return service_of(request).catalog.get(action).role
    except NotFound:
        return "admin"


@router.post("/ui/instances")
def act(request: Request, who: Who, form: Form) -> Response:
    action = form.get("action", "")
    if action not in instances.ACTIONS:
        raise Refusal(422, f'action: "{action}" is not valid; allowed: {", ".join(instances.ACTIONS)}')
    variables: dict[str, Any] = {"instance_names": [form.get("name", "")]}
    variables |= {"rackstead_project": form["project"]} if form.get("project") else {}
    job = enter(service_of(request), who.caller, Order(action, variables), VARIABLES)
    return RedirectResponse(f"/ui/jobs/{job.id}", 303)
