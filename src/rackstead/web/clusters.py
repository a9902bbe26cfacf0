# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster and a node as pages: members drawn, the last scan, operations, and what can be done, once confirmed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    NotFound,
)
from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history
from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry, even
from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from ..fleet.actions import ACTIONS, Action
from ..fleet.members import Drawn, Scan, drawn, store_of, summary
from ..fleet.service import Fleet, target_of
from ..jobs.model import Job, JobState
from ..jobs.service import Service
from ..server.problems import Refusal
from ..server.routes_jobs import enter
from . import hardware
from .pages import Form, Page, Visitor, Who, render, service_of, span

router = APIRouter(route_class=Page, include_in_schema=False)
CLUSTERS, NODES = "/ui/fleet/clusters", "/ui/fleet/nodes"
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$")]
Body = dict[str, Any]
#: Jobs among which a cluster's are looked for, scans of those, and how many of them a page shows.
RECENT, SCANS, SHOWN = 300, 50, 15
MOST_ALERTS, MOST_FINDINGS, MOST_MEMBERS = 8, 20, 150
#: Scans of which there may be results: a node out of reach fails one that knows all about the others.
OVER = (JobState.COMPLETED, JobState.FAILED)


def fleet_of(request: Request) -> Fleet:
    return Fleet(service_of(request))


# -- looking ---------------------------------------------------------------------------------------
@router.get(CLUSTERS + "/{name}")
def cluster(request: Request, who: Who, name: Name) -> Response:
    who.caller.require_unscoped()
    service = service_of(request)
    fleet = fleet_of(request)
    found = fleet.registry.cluster(name)
    nodes = fleet.members(found["name"])
    at, scan = fleet.last_scan(found["name"])
    members = drawn(nodes, scan)
    return render(
        request,
        "cluster.html",
        cluster=found,
        members=members[:MOST_MEMBERS],
        left_out=max(0, len(members) - MOST_MEMBERS),
        summary=summary(members),
        warning=even(nodes, found["name"]),
        scanned=at,
        scan=scan,
        rows=rows(scan),
        findings=scan.findings[:MOST_FINDINGS],
        actions=allowed(service, who) if nodes else {},
        jobs=fleet.operations(found["name"], SHOWN),
    )


def rows(scan: Scan) -> list[Body]:
    """What the scan tells of each machine, as it stands in the table."""
    return [
        {
            "name": host,
            "place": known.get("place", ""),
            "version": known.get("version", ""),
            "channel": known.get("channel", ""),
            "certificates": days(known),
            "bytes": store_of(known).get("bytes"),
        }
        for host, known in sorted(scan.hosts.items())
    ]


def days(known: Mapping[str, Any]) -> str:
    """The certificate that runs out first."""
    first = min(known.get("certificates") or (), key=lambda one: int(one["days"]), default=None)
    return f"{first['days']} days ({first['name']})" if first else ""


def allowed(service: Service, who: Visitor) -> dict[str, Action]:
    """The actions whose workflows this visitor may run here."""
    roles = {one.name: one.role for one in service.catalog.read()[0]}
    return {key: one for key, one in ACTIONS.items() if one.workflow in roles and who.may(roles[one.workflow])}


@router.get(NODES + "/{name}")
def node(request: Request, who: Who, name: Name) -> Response:
    who.caller.require_unscoped()
    service = service_of(request)
    found = Registry(service.store).node(name)
    known = read_report(service, found["name"])
    member: Drawn | None = None
    if found["cluster"]:
        member = drawn([found], fleet_of(request).last_scan(found["cluster"])[1])[0]
    return render(
        request,
        "node.html",
        node=found,
        facts=facts(found),
        member=member,
        known=known,
        age=span(max(0.0, time.time() - known.report.time)) if known else "",
        alerts=known.alerts[:MOST_ALERTS] if known else [],
        report=hardware.address(found["name"]),
        jobs=[one for one in service.jobs(limit=RECENT) if concerns(one, found)][:SHOWN],
    )


def read_report(service: Service, name: str) -> history.Known | None:
    try:
        return history.last(service.store, name)
    except NotFound:
        return None


def concerns(job: Job, node: Mapping[str, Any]) -> bool:
    """Whether a job is on this node: it ran there, is to read its hardware, or is one of its cluster's."""
    wanted = {f"hardware_nodes:{node['name']}", *([target_of(node["cluster"])] if node["cluster"] else ())}
    return node["name"] in job.recap or not wanted.isdisjoint(job.target)


def facts(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The record's fields that are set, with the words of a page."""
    labels = ", ".join(f"{key}={value}" for key, value in sorted(node["labels"].items()))
    bmc = " ".join(str(node["bmc"].get(key) or "") for key in ("protocol", "username", "address")).strip()
    made = {
        "Number": node["id"],
        "Address": node["address"],
        "Port": node["port"],
        "User": node["user"],
        "Key": node["key_file"],
        "Labels": labels,
        "MAC": node["mac"],
        "BMC": bmc if node["bmc"].get("address") else "",
    }
    return [(name, str(value)) for name, value in made.items() if value]


# -- doing -----------------------------------------------------------------------------------------
def chosen(request: Request, who: Visitor, name: str, action: str) -> tuple[str, list[Body], Action]:
    """The cluster's own name, its nodes, and what is to be done. Raises Refusal, NotFound."""
    who.caller.require_unscoped()
    if action not in ACTIONS:
        raise Refusal(404, f'there is no action "{action}"')
    service = service_of(request)
    who.caller.require(service.catalog.get(ACTIONS[action].workflow).role)
    fleet = fleet_of(request)
    found = fleet.registry.cluster(name)["name"]
    fleet.group(found)
    return found, fleet.members(found), ACTIONS[action]


@router.get(CLUSTERS + "/{name}/{action}")
def confirm(request: Request, who: Who, name: Name, action: str) -> Response:
    return _confirm(request, who, name, action)


def _confirm(
    request: Request, who: Visitor, name: str, action: str, problems: list[str] | None = None, status: int = 200
) -> Response:
    found, nodes, what = chosen(request, who, name, action)
    at, scan = fleet_of(request).last_scan(found)
    members = drawn(nodes, scan)
    return render(
        request,
        "confirm.html",
        status,
        cluster=found,
        action=action,
        what=what,
        steps=what.steps(members),
        members=members[:MOST_MEMBERS],
        left_out=max(0, len(members) - MOST_MEMBERS),
        summary=summary(members),
        scanned=at,
        problems=problems or [],
        once=secrets.token_urlsafe(16),
    )


@router.post(CLUSTERS + "/{name}/{action}")
def do(request: Request, who: Who, form: Form, name: Name, action: str) -> Response:
    """Queue the job; leads to its page."""
    found, _nodes, what = chosen(request, who, name, action)
    variables: dict[str, Any] = {}
    if what.field:
        typed = form.get(what.field, "").strip()
        if not typed:
            return _confirm(request, who, name, action, [f"{what.field}: is needed"], 422)
        variables[what.field] = typed
    order = fleet_of(request).order(found, what, variables, check="check" in form)
    order = replace(order, idempotency_key=form.get("once", ""))
    try:
        job = enter(service_of(request), who.caller, order, "/variables")
    except Conflict as error:
        return _confirm(request, who, name, action, [f"{error}. Submit again if that is what you want."], 409)
    return RedirectResponse(f"/ui/jobs/{job.id}", 303)
