# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and their seven steps as pages, a form that orders one or several, and the button that ends it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput, NotFound
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse
from markupsafe import escape
from starlette.responses import Response

from ..provisioning.orders import COLUMNS, WORKFLOW, Entry, checked, entry, read_csv, tags
from ..provisioning.progress import FAILED, SERVER_STATES, STEPS, Server, Step
from ..provisioning.service import How, Provisioning, Status, order_of
from ..server.problems import Refusal, of_error
from ..server.routes_jobs import enter
from ..server.routes_provisioning import cancelled, seen, visible
from ..server.schemas_provisioning import NAME
from ..view_provisioning import bmc_address, found_out, lan_changes, setting, text
from .forms import Field
from .pages import Form, Page, Visitor, Who, render, service_of

router = APIRouter(route_class=Page, include_in_schema=False)
HERE = "/ui/provisioning"
Name = Annotated[str, Path(pattern=NAME)]
ON_A_PAGE = 15
#: BIOS settings shown of a server among others, and on a page of its own; and signs of a value.
FEW, MOST, LONGEST = 8, 250, 80
#: Bytes of a page that BIOS settings may take.
BUDGET = 50_000
#: Servers of a job on its page.
MOST_SERVERS = 15
#: The form's fields: what they are called, what they mean, and whether they are needed.
FIELDS = {
    "server_id": ("Server", "MAAS's system ID of it, or its hostname.", True),
    "device_type": ("Device type", "Such as s2.c2.small.", True),
    "target_ipmi_ip": ("BMC's address", "An address, or pool:NAME. Without it the BMC stays where it is.", False),
    "netmask": ("BMC's netmask", "", False),
    "gateway": ("BMC's gateway", "", False),
    "rack_location": ("Rack location", "Such as Rack-A-U10.", False),
    "tags": ("Tags", "Separated by commas.", False),
}


@dataclass(frozen=True)
class Shown:
    """A server as its part of a page has it. ``slug`` makes the ids of its parts."""

    server: Server
    slug: str
    changes: list[tuple[str, str, str]]
    left_out: int
    network: list[tuple[str, str, str]]
    bmc: str

    @property
    def cancellable(self) -> bool:
        return bool(self.server.job) and self.server.state in ("pending", "running")

    def result(self, step: Step) -> str:
        """What stands below a step's name."""
        if step.state == FAILED:
            return "failed"
        if step.changing:
            return f"{step.changing} changed" if self.server.state == "completed" else f"{step.changing} to change"
        return step.state if step.state != "done" else ""

    def behind(self, step: Step) -> str:
        """The part of the page that tells more of a step, or nothing."""
        if step.state == FAILED:
            return f"error-{self.slug}"
        return f"changes-{self.slug}" if step.name == "bios_modify" and step.changing else ""


def all_shown(servers: Sequence[Server], most: int) -> list[Shown]:
    """Servers for one page, with so many BIOS settings of each as it has room for."""
    found: list[Shown] = []
    left = BUDGET
    for server in servers:
        found.append(shown(server, most, left))
        left -= sum(map(weight, found[-1].changes))
    return found


def weight(row: tuple[str, str, str]) -> int:
    """Bytes that a BIOS setting takes, about."""
    return 120 + sum(len(escape(cell).encode()) for cell in row)


def shown(server: Server, most: int, left: int) -> Shown:
    step = next(one for one in server.steps if one.name == "bios_modify")
    rows: list[tuple[str, str, str]] = []
    for one in step.changes(most):
        row = (cut(setting(one)), cut(text(one.get("before"))), cut(text(one.get("after"))))
        left -= weight(row)
        if left < 0:
            break
        rows.append(row)
    network = lan_changes(next(one for one in server.steps if one.name == "bmc"))
    slug = re.sub(r"[^A-Za-z0-9-]", "-", server.system_id or server.id)
    return Shown(server, slug, rows, step.changing - len(rows), network, bmc_address(server))


def cut(words: str) -> str:
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


def moment(iso: str) -> float | None:
    """A record's time in seconds since the epoch."""
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None


# -- looking ---------------------------------------------------------------------------------------
@router.get(HERE)
def every(request: Request, who: Who, state: str = "", page: Annotated[int, Query(ge=1, le=100)] = 1) -> Response:
    return _list(request, who, {}, state=state if state in SERVER_STATES else "", page=page)


def _list(
    request: Request,
    who: Visitor,
    typed: Mapping[str, str],
    wrong: Mapping[str, list[str]] | None = None,
    status: int = 200,
    *,
    state: str = "",
    page: int = 1,
) -> Response:
    """The servers, and the form with what was typed; each error stands at its field, those of no field above all."""
    if not who.caller.token.knows(WORKFLOW):
        raise Refusal(403, f'the token "{who.caller.name}" is not for the workflow "{WORKFLOW}"')
    end = page * ON_A_PAGE
    found = Provisioning(service_of(request)).every(
        end + 1, lambda one: state in ("", one.state) and seen(who.caller, one)
    )
    fields = form_fields(typed, wrong or {})
    known = {one.name for one in fields}
    return render(
        request,
        "provisioning.html",
        status,
        servers=all_shown(found[end - ON_A_PAGE : end], FEW),
        more=page + 1 if len(found) > end else 0,
        state=state,
        states=SERVER_STATES,
        allowed=who.may(_role(request)),
        fields=fields,
        typed=typed,
        others=[line for name, lines in (wrong or {}).items() if name not in known for line in lines],
        once=secrets.token_urlsafe(16),
        moment=moment,
        found_out=found_out,
    )


def form_fields(typed: Mapping[str, str], wrong: Mapping[str, list[str]]) -> list[Field]:
    found = [
        Field(name, label, "text", text, required=needed, value=typed.get(name, ""), errors=list(wrong.get(name, ())))
        for name, (label, text, needed) in FIELDS.items()
    ]
    first = Field("from_step", "Begin with step", "choice", default="the first", choices=list(STEPS))
    first.value, first.errors = typed.get("from_step", ""), list(wrong.get("from_step", ()))
    batch = Field("csv", "Several servers", "area", "CSV. The first row names columns: " + ", ".join(COLUMNS) + ".")
    batch.value, batch.errors = typed.get("csv", ""), list(wrong.get("csv", ()))
    return [*found, first, batch]


def _role(request: Request) -> str:
    try:
        return service_of(request).catalog.get(WORKFLOW).role
    except (NotFound, InvalidInput):
        return "admin"


@router.get(HERE + "/{name}")
def one(request: Request, who: Who, name: Name) -> Response:
    found = Provisioning(service_of(request)).status(name)
    visible(who.caller, found)
    servers = found.servers[:MOST_SERVERS]
    return render(
        request,
        "provisioned.html",
        found=found,
        servers=all_shown(servers, MOST if len(servers) == 1 else FEW),
        left_out=len(found.servers) - len(servers),
        over=over(found),
        allowed=who.may(_role(request)),
        moment=moment,
        found_out=found_out,
    )


def over(found: Status) -> bool:
    return found.state not in ("pending", "running") and all(
        one.state not in ("pending", "running") for one in found.servers
    )


# -- changing --------------------------------------------------------------------------------------
@router.post(HERE)
def start(request: Request, who: Who, form: Form) -> Response:
    who.caller.require(_role(request))
    try:
        servers = ordered(form)
        how = How("dry_run" in form, form.get("from_step", ""), idempotency_key=form.get("once", ""))
        job = enter(service_of(request), who.caller, order_of(servers, how), "/variables")
    except InvalidInput as error:
        field = "csv" if form.get("csv", "").strip() else ""
        return _list(request, who, form, pointed(of_error(error).errors, field), 422)
    except Refusal as refusal:
        if refusal.status != 422:
            raise
        return _list(request, who, form, pointed(refusal.errors, ""), 422)
    except Conflict as error:
        return _list(request, who, form, {"": [f"{error}. Submit again if that is what you want."]}, 409)
    return RedirectResponse(f"{HERE}/{job.id}", 303)


def ordered(form: Mapping[str, str]) -> list[Entry]:
    """The servers that were typed: as CSV if there is any, else the one of the fields. Raises InvalidInput."""
    if form.get("csv", "").strip():
        return read_csv(form["csv"])
    typed: dict[str, Any] = {name: form.get(name, "").strip() for name in FIELDS}
    return checked([entry({**typed, "tags": tags(typed["tags"])})])


def pointed(errors: Sequence[tuple[str, str]], field: str) -> dict[str, list[str]]:
    """Errors by the form's fields; all of them ``field``'s where one is given."""
    found: dict[str, list[str]] = {}
    for pointer, line in errors:
        found.setdefault(field or pointer.rpartition("/")[2], []).append(line)
    return found


@router.post(HERE + "/{name}/cancel")
def cancel(request: Request, who: Who, _form: Form, name: Name) -> Response:
    job = cancelled(request, who.caller, name)
    return RedirectResponse(f"{HERE}/{job.id}", 303)
