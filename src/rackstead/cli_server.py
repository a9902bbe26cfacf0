# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``serve`` and ``token``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from .answers import Exit
from .blocks import STYLE, Where, registered, server_of
from .cli_jobs import Data, State, jobs, who
from .options import Job as Command
from .options import guarded
from .terminal import Terminal
from .view import _filled as filled
from .view_jobs import time_of

if TYPE_CHECKING:
    from .jobs.service import Service

token = typer.Typer(
    help="Tokens for the REST API.", epilog="Example: rackstead token create anna --role operator", **STYLE
)
FIRST = "admin"


def register(app: typer.Typer, panel: str) -> None:
    app.command(rich_help_panel=panel, epilog="Example: rackstead serve --init > admin.token")(serve)
    app.add_typer(token, name="token", rich_help_panel=panel)


def serve(
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where to listen; port 0 is any free one.")
    ] = "127.0.0.1:8650",
    init: Annotated[
        bool, typer.Option("--init", help="Make the data directory and the first admin token, which is printed once.")
    ] = False,
    cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM).", show_default=False)
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).", show_default=False)
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure-http", help="Listen for others without TLS, as behind a proxy that does it.")
    ] = False,
    open_metrics: Annotated[bool, typer.Option("--open-metrics", help="/metrics needs no token.")] = False,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=1000, metavar="N", help="Jobs at once.")] = 4,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Run no jobs here; other workers do.")] = False,
    state: State = "",
    data: Data = "",
) -> int:
    """Serve the REST API, and run the jobs, until Ctrl-C or SIGTERM."""
    told = Command("serve", Terminal())

    def work() -> int:
        surroundings(state, data)
        from .server import logs, process

        plan = process.Plan(process.Address.of(listen), 0 if no_worker else parallel, cert, key, insecure, open_metrics)
        with jobs(state, data) as service:
            if init:
                begin(told, service)
            logs.set_up()
            process.run(service, plan)
        return Exit.OK

    return guarded(told, work)


def surroundings(state: str, data: str) -> None:
    """The worker finds store and folder in its environment: a URL may hold a password, and arguments are public."""
    for name, value in (("RACKSTEAD_STATE", state), ("RACKSTEAD_DATA", data)):
        if value:
            os.environ[name] = value


def begin(told: Command, service: Service) -> None:
    """Make what a server needs, once."""
    from .server import tokens

    service.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if tokens.every(service.store):
        told.terminal.note("there are tokens already: --init made none")
        return
    text = tokens.create(service.store, FIRST, "admin", *who())
    told.terminal.note(f'the token "{FIRST}", which is not shown again:')
    told.terminal.show(text)
    told.terminal.out.file.flush()


# -- token ------------------------------------------------------------------------------------------
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.")]


@registered(token, "token create", epilog="Example: rackstead token create anna --role operator --days 90")
def create(
    told: Command,
    name: Name,
    where: Where,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, operator or admin.")] = "viewer",
    workflows: Annotated[
        list[str] | None,
        typer.Option("--workflow", metavar="PATTERN", help="Only for these workflows. Repeatable.", show_default=False),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="PATTERN", help="Only for these targets. Repeatable.", show_default=False),
    ] = None,
    days: Annotated[float, typer.Option("--days", min=0, metavar="N", help="Good for so long. 0: for ever.")] = 0.0,
) -> int:
    """Make a token. It is printed now, and never again."""
    with server_of(where, told) as server:
        if server:
            wanted = {"name": name, "role": role, "workflows": workflows or [], "targets": targets or [], "days": days}
            text = str(server.client.send("POST", "/tokens", wanted)["token"])
        else:
            from .server import tokens

            with jobs(where.state, "") as service:
                text = tokens.create(
                    service.store, name, role, *who(), workflows=workflows or (), targets=targets or (), days=days
                )
    told.terminal.show(text)
    return told.end(Exit.OK, [], {"name": name, "token": text})


@registered(token, "token list", epilog="Example: rackstead token list")
def list_(told: Command, where: Where) -> int:
    """All tokens, without what they are."""
    with server_of(where, told) as server:
        if server:
            found = list(server.client.get("/tokens")["items"])
        else:
            from .server import tokens

            with jobs(where.state, "") as service:
                found = [vars(one) for one in tokens.every(service.store)]
    told.terminal.show(tokens_table(found))
    return told.end(Exit.OK, [], {"tokens": found})


def tokens_table(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return Text("no tokens", style="dim")
    rows = [
        {
            "NAME": Text(one["name"], style="bold"),
            "ROLE": Text(one["role"]),
            "WORKFLOWS": Text(", ".join(one["workflows"]) or "all"),
            "TARGETS": Text(", ".join(one["targets"]) or "all"),
            "EXPIRES": Text(time_of(one["expires"]) if one["expires"] else "never"),
            "USED": Text(time_of(one["used"])),
        }
        for one in found
    ]
    return filled(rows, ("NAME", "ROLE"))


@registered(token, "token revoke", epilog="Example: rackstead token revoke anna")
def revoke(told: Command, name: Name, where: Where) -> int:
    """Take a token back. Servers refuse it within two seconds."""
    with server_of(where, told) as server:
        if server:
            from .remote.client import quoted

            server.client.send("DELETE", f"/tokens/{quoted(name)}")
        else:
            from .server import tokens

            with jobs(where.state, "") as service:
                tokens.revoke(service.store, name, *who())
    told.terminal.show(f"{name}: revoked")
    return told.end(Exit.OK, [])
