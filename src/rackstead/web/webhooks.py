# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks as a page, for admins: the list, a form for a new one, a new secret, and the end of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from ..server.problems import Refusal, of_error
from ..webhooks import registry
from . import forms
from .forms import Field
from .pages import Form, Page, Visitor, Who, render, service_of

router = APIRouter(route_class=Page, include_in_schema=False)
LIST = "/ui/webhooks"
ON_A_PAGE = 40


def _admin(who: Visitor) -> None:
    who.caller.require_unscoped()
    who.caller.require("admin")


@router.get(LIST)
def every(request: Request, who: Who, page: Annotated[int, Query(ge=1, le=10_000)] = 1) -> Response:
    _admin(who)
    return _page(request, {}, number=page)


def fields(typed: Mapping[str, str]) -> list[Field]:
    found = [
        Field("name", "Name", "text", "1 to 63 letters, digits and _ -", required=True),
        Field("url", "URL", "text", "The receiver: https://… or http://…", required=True),
        Field("workflows", "Workflows", "area", "Only for these.", "Names or shell patterns, one a line. Empty: all."),
    ]
    for one in found:
        one.value = typed.get(one.name, "")
    return found


def _page(
    request: Request,
    typed: Mapping[str, str],
    errors: Mapping[str, list[str]] | None = None,
    status: int = 200,
    number: int = 1,
) -> Response:
    """The list, and the form below it. A URL may hold a secret: it is not shown again, whatever was wrong."""
    shown = fields({name: text for name, text in typed.items() if name != "url"})
    wrong = dict(errors or {})
    for one in shown:
        one.errors = wrong.pop(one.name, [])
    found = service_of(request).store.read(registry.every)
    begin, end = (number - 1) * ON_A_PAGE, number * ON_A_PAGE
    return render(
        request,
        "webhooks.html",
        status,
        rows=[registry.document(*one) for one in found[begin:end]],
        total=len(found),
        more=number + 1 if len(found) > end else 0,
        fields=shown,
        states=[(one, f"on-{one}" in typed if typed else one in registry.STATES) for one in registry.TOLD],
        overlap=registry.OVERLAP,
        faults=[one for one in shown if one.errors],
        others=[text for texts in wrong.values() for text in texts],
    )


@router.post(LIST)
def add(request: Request, who: Who, form: Form) -> Response:
    _admin(who)
    states = [state for state in registry.TOLD if f"on-{state}" in form]
    wrong: dict[str, list[str]] = {} if states else {"": ["Choose at least one thing that is told."]}
    status, name = 422, form.get("name", "").strip()
    if not wrong:
        try:
            hook, secret = registry.add(
                service_of(request).store,
                name,
                form.get("url", "").strip(),
                who.caller.name,
                who.caller.origin,
                states=states,
                workflows=forms.lines(form.get("workflows", "")),
            )
            return _secret(request, hook, secret)
        except InvalidInput as error:
            for pointer, text in of_error(error).errors:
                wrong.setdefault(pointer.strip("/"), []).append(text)
        except (Conflict, forms.Unreadable) as error:
            status = 409 if isinstance(error, Conflict) else 422
            wrong["name" if isinstance(error, Conflict) else "workflows"] = [str(error)]
    return _page(request, form, wrong, status)


def _secret(request: Request, hook: registry.Webhook, secret: str) -> Response:
    """The one page that shows it. It is an answer to a form: who loads it anew is asked, and refused."""
    return render(request, "webhook_secret.html", hook=hook, secret=secret)


@router.post(f"{LIST}/do")
def act(request: Request, who: Who, form: Form) -> Response:
    _admin(who)
    given: tuple[Any, ...] = (service_of(request).store, form.get("name", ""), who.caller.name, who.caller.origin)
    action = form.get("action", "")
    if action == "remove":
        registry.remove(*given)
        return RedirectResponse(LIST, 303)
    if action != "rotate":
        raise Refusal(422, f'action: "{action}" is not valid; allowed: rotate, remove')
    try:
        overlap = forms.number(form.get("overlap", ""))
    except forms.Unreadable as error:
        raise Refusal(422, f"overlap: {error}") from error
    return _secret(request, *registry.rotate(*given, overlap=overlap))
