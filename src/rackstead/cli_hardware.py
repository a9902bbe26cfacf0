# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``hardware``: reads what machines are made of, and shows what is remembered of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import answers, view_hardware
from .answers import Exit
from .blocks import STYLE, Where, registered, server_of
from .cli_state import opened
from .options import BadUsage, command, place_option
from .options import Job as Command
from .run import INVENTORY, Outcome

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import Known

hardware = typer.Typer(
    help="What machines are made of: read, remembered, compared.",
    epilog="Example: rackstead hardware collect web-01 web-02 --inventory hosts.yml",
    **STYLE,
)
#: Machines that are read at the same time.
FORKS = 20
Node = Annotated[str, typer.Argument(metavar="NODE", help="The node's name in the inventory.")]
State = Annotated[str, place_option("--state", "URL", "The state store. (RACKSTEAD_STATE)")]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write it as a page that stands alone.", show_default=False),
]


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(hardware, name="hardware", rich_help_panel=panel)


# -- reading ---------------------------------------------------------------------------------------
@command(hardware, epilog="Example: rackstead hardware collect 'web-*' --inventory hosts.yml --become")
def collect(
    job: Command,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE]...",
            help="Hosts, groups or patterns of the inventory. (default: this machine)",
            show_default=False,
        ),
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--inventory",
            "-i",
            metavar="PATH",
            help=f"The inventory with the nodes. ({INVENTORY})",
            show_default=False,
        ),
    ] = None,
    become: Annotated[
        bool, typer.Option("--become", "-b", help="Root reads, who alone sees disks' health and LVM.")
    ] = False,
    sections: Annotated[
        list[str] | None,
        typer.Option("--section", metavar="NAME", help="Only this part. Repeatable.", show_default=False),
    ] = None,
    check: Annotated[bool, typer.Option("--check", "--dry-run", help="Read and compare, and keep nothing.")] = False,
    state: State = "",
) -> int:
    """Read nodes' hardware, compare it with the last time, and keep it."""
    if job.choice and (inventory or state):
        raise BadUsage("--inventory and --state: the server has its own; leave them out, or give --local")
    if inventory:
        if not inventory.expanduser().exists():
            raise BadUsage(f'--inventory: "{inventory}" does not exist')
        job.environment = {**job.environment, INVENTORY: os.path.abspath(inventory.expanduser())}
    variables = {
        "hardware_nodes": list(nodes) if nodes else None,
        "hardware_sections": list(sections) if sections else None,
        "hardware_become": become or None,
        "hardware_state_url": state or None,
    }
    outcome = job.play("hardware_report", "Reading", variables, check=check, forks=FORKS)
    return show_collected(job, outcome)


def show_collected(job: Command, outcome: Outcome) -> int:
    found = sorted((one for one in answers.records(outcome, "hardware_report") if "report" in one), key=_name)
    if found:
        job.terminal.show(view_hardware.fleet_table([known_of(one) for one in found]))
    for one in found:
        lines = view_hardware.news(known_of(one))
        if lines:
            job.terminal.show("", *lines)
    keys = ("node", "time", "before", "changes", "alerts", "changed", "report")
    told = [{key: one.get(key) for key in (*keys, "time") if key in one} for one in found]
    return job.finish(named(outcome), {"changed": answers.changed(outcome), "nodes": told})


def _name(one: Mapping[str, Any]) -> str:
    return str(one.get("node", ""))


def named(outcome: Outcome) -> Outcome:
    """The outcome, with the node in each line of what went wrong: there may be many."""
    results = [
        replace(one, result={**one.result, "msg": f"{one.host}: {one.result.get('msg', '')}"})
        if one.status != "ok" and not one.result.get("problems") and not one.result.get("argument_errors")
        else one
        for one in outcome.results
    ]
    return replace(outcome, results=results)


def known_of(document: Mapping[str, Any]) -> Known:
    """A node from what a task or a server says of it."""
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history
    from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Record

    return history.known_of(Record(history.KIND, str(document.get("node", "")), 0, 0.0, dict(document)))


# -- showing ---------------------------------------------------------------------------------------
@registered(hardware, "hardware list", epilog="Example: rackstead hardware list --html fleet.html")
def list_(told: Command, where: Where, html: Html = None) -> int:
    """The last report of every node, in short."""
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history, page

    with server_of(where, told) as server:
        if server:
            if html:
                names = [str(one["node"]) for one in server.client.get("/api/hardware-report")["items"]]
                found = [known_of(server.client.get(_path(name))) for name in names]
                rows = [history.summary(one) for one in found]
            else:
                found, rows = [], list(server.client.get("/api/hardware-report")["items"])
        else:
            with opened(where.state) as store:
                found = history.fleet(store)
            rows = [history.summary(one) for one in found]
    if html:
        write(told, html, page.whole("Hardware", page.fleet(found)))
    told.terminal.show(view_hardware.summaries(rows))
    return told.end(Exit.OK, [], {"nodes": rows})


@registered(hardware, "hardware show", epilog="Example: rackstead hardware show web-01 --html web-01.html")
def show(told: Command, node: Node, where: Where, html: Html = None) -> int:
    """A node's last report. As a page it has charts, also of the values over time."""
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history, page

    earlier: Sequence[Known] = ()
    with server_of(where, told) as server:
        if server:
            known = known_of(server.client.get(_path(node)))
            text = server.client.text(f"{_path(node)}/page") if html else ""
        else:
            with opened(where.state) as store:
                known = history.last(store, node)
                earlier = history.history(store, node) if html else ()
            text = page.whole(node, page.node(known, earlier)) if html else ""
    if html:
        write(told, html, text)
    told.terminal.show(*view_hardware.node(known))
    return told.end(Exit.OK, [], known.document())


@registered(hardware, "hardware diff", epilog="Example: rackstead hardware diff web-01 --since 2026-11-01")
def diff(
    told: Command,
    node: Node,
    where: Where,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help="Since the report at this time; else the last but one.", show_default=False
        ),
    ] = "",
) -> int:
    """What has changed about a node's hardware. Exit code 0 also where something has."""
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history

    at = moment(since) if since else None
    with server_of(where, told) as server:
        if server:
            given = {} if at is None else {"since": at}
            found = server.client.get(f"{_path(node)}/changes", **given)
        else:
            with opened(where.state) as store:
                before, after, changes = history.between(store, node, at)
            told_of = [one.document() for one in changes]
            found = {"node": node, "before": before.time, "after": after.time, "changes": told_of}
    told.terminal.show(*view_hardware.changes(found))
    return told.end(Exit.OK, [], found)


def moment(text: str) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise BadUsage(f'--since: "{text}" is not a time; allowed: 2030-01-31, 2030-01-31T02:00Z') from error


def _path(node: str) -> str:
    from .remote.client import quoted

    return f"/api/hardware-report/{quoted(node)}"


def write(told: Command, path: Path, text: str) -> None:
    try:
        path.expanduser().write_text(text)
    except OSError as error:
        raise BadUsage(f'--html: "{path}" cannot be written: {error.strerror}') from error
    told.terminal.note(f"the page is in {path}")
