# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``webhook``: who is told of the ends of jobs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from .answers import Exit
from .blocks import STYLE, Where, registered, server_of
from .cli_jobs import who
from .cli_state import here, opened
from .options import Job as Command
from .view import _filled as filled
from .view_jobs import time_of

webhook = typer.Typer(help="URLs that are told of the ends of jobs.", epilog="Example: rackstead webhook list", **STYLE)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.")]
EXAMPLE = "Example: rackstead webhook"


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(webhook, name="webhook", rich_help_panel=panel)


@registered(webhook, "webhook add", epilog=f"{EXAMPLE} add chat https://receiver.example/rackstead --on failed")
def add(
    told: Command,
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="The receiver: https://… or http://…")],
    where: Where,
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="STATE",
            help="Only these ends: completed, failed, cancelled; or alert: news of hardware reports. Repeatable.",
            show_default=False,
        ),
    ] = None,
    workflows: Annotated[
        list[str] | None,
        typer.Option("--workflow", metavar="PATTERN", help="Only for these workflows. Repeatable.", show_default=False),
    ] = None,
) -> int:
    """Tell a URL of each job that ends from now on. Its secret is printed now, and never again."""
    from .webhooks import registry

    with server_of(where, told) as server:
        if server:
            body = {"name": name, "url": url, "states": states or [], "workflows": workflows or []}
            made = server.client.send("POST", "/webhooks", body)
        else:
            with opened(where.state) as store:
                hook, secret = registry.add(store, name, url, *who(), states=states or (), workflows=workflows or ())
            made = {"name": name, "url": hook.url, "secret": secret}
    told.terminal.note(f'the secret of the webhook "{name}", which is not shown again:')
    told.terminal.show(str(made["secret"]))
    return told.end(Exit.OK, [], {key: made[key] for key in ("name", "url", "secret")})


@registered(webhook, "webhook list", epilog=f"{EXAMPLE} list")
def list_(told: Command, where: Where) -> int:
    """All webhooks, and how their deliveries stand."""
    from .webhooks import registry

    with server_of(where, told) as server:
        if server:
            found = list(server.client.get("/webhooks")["items"])
        else:
            with opened(where.state) as store:
                found = [registry.document(hook, status) for hook, status in store.read(registry.every)]
    told.terminal.show(webhooks_table(found))
    return told.end(Exit.OK, [], {"webhooks": found})


def webhooks_table(found: list[Mapping[str, Any]]) -> RenderableType:
    if not found:
        return Text("no webhooks", style="dim")
    rows = [
        {
            "NAME": Text(one["name"], style="bold"),
            "URL": Text(one["url"]),
            "ON": Text(", ".join(one["states"])),
            "WORKFLOWS": Text(", ".join(one["workflows"]) or "all"),
            "PENDING": Text(str(one["pending"])),
            "DELIVERED": Text(str(one["delivered"])),
            "GIVEN UP": Text(str(one["given_up"])),
            "LAST": Text(time_of(one["last"])),
            "ERROR": Text(one["error"], style="red"),
        }
        for one in found
    ]
    return filled(rows, ("NAME", "URL"))


@registered(webhook, "webhook rotate", epilog=f"{EXAMPLE} rotate chat --overlap 48")
def rotate(
    told: Command,
    name: Name,
    where: Where,
    overlap: Annotated[
        float, typer.Option("--overlap", metavar="HOURS", help="For so long the earlier secret signs as well. 0: not.")
    ] = 24.0,
) -> int:
    """Give it a new secret, which is printed now, and never again."""
    from .webhooks import registry

    with server_of(where, told) as server:
        if server:
            from .remote.client import quoted

            body = {"overlap_hours": overlap}
            made = server.client.send("POST", f"/webhooks/{quoted(name)}/rotate", body)
        else:
            with opened(where.state) as store:
                hook, secret = registry.rotate(store, name, *who(), overlap=overlap)
            made = {"name": name, "url": hook.url, "secret": secret}
    told.terminal.note(f'the new secret of the webhook "{name}", which is not shown again:')
    told.terminal.show(str(made["secret"]))
    return told.end(Exit.OK, [], {key: made[key] for key in ("name", "url", "secret")})


@registered(webhook, "webhook remove", epilog=f"{EXAMPLE} remove chat")
def remove(told: Command, name: Name, where: Where) -> int:
    """Tell it nothing more. What was still to be delivered is not delivered."""
    from .webhooks import registry

    with server_of(where, told) as server:
        if server:
            from .remote.client import quoted

            server.client.send("DELETE", f"/webhooks/{quoted(name)}")
        else:
            with opened(where.state) as store:
                registry.remove(store, name, *who())
    told.terminal.show(f"{name}: removed")
    return told.end(Exit.OK, [])


@registered(webhook, "webhook test", epilog=f"{EXAMPLE} test chat")
def test(told: Command, name: Name, where: Where) -> int:
    """Send a message of the type webhook.test from here, once. Exit code 1 if the receiver does not take it."""
    from .webhooks import delivery, registry, sending

    with here(where, "webhook test") as store:
        url, secrets = registry.opened(store, name)
        user, origin = who()
        body = delivery.written("webhook.test", time.time(), {"webhook": name, "who": user})
        answer = sending.post(url, secrets, f"msg_test_{uuid.uuid4().hex}", body.encode())
        result = "ok" if answer.ok else "failed"
        details = {"status": answer.status, "error": answer.error}
        store.append_audit(
            user, "webhook.test", f"{registry.WEBHOOK}/{name}", origin=origin, result=result, details=details
        )
    if answer.ok:
        told.terminal.show(f"{name}: answered {answer.status}")
    errors = [] if answer.ok else [f"{registry.public(url)}: {answer.error}"]
    return told.end(Exit.OK if answer.ok else Exit.FAILED, errors, {"status": answer.status})
