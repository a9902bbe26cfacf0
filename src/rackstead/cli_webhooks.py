# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``webhook``: who is told of the ends of jobs."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from .answers import Exit
from .blocks import STYLE
from .cli_jobs import State, who
from .cli_state import command, opened
from .options import Job as Command
from .view import _filled as filled
from .view_jobs import time_of

if TYPE_CHECKING:
    from .webhooks.registry import Status, Webhook

webhook = typer.Typer(help="URLs that are told of the ends of jobs.", **STYLE)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.")]


def register(app: typer.Typer) -> None:
    app.add_typer(webhook, name="webhook", rich_help_panel="Server")


@command(webhook, "add", "webhook add")
def add(
    told: Command,
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="The receiver: https://… or http://…")],
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="STATE",
            help="Only these ends: completed, failed, cancelled. Repeatable.",
            show_default=False,
        ),
    ] = None,
    workflows: Annotated[
        list[str] | None,
        typer.Option("--workflow", metavar="PATTERN", help="Only for these workflows. Repeatable.", show_default=False),
    ] = None,
    state: State = "",
) -> int:
    """Tell a URL of each job that ends from now on. Its secret is printed now, and never again."""
    from .webhooks import registry

    with opened(state) as store:
        hook, secret = registry.add(store, name, url, *who(), states=states or (), workflows=workflows or ())
    told.terminal.note(f'the secret of the webhook "{name}", which is not shown again:')
    told.terminal.show(secret)
    return told.end(Exit.OK, [], {"name": name, "url": hook.url, "secret": secret})


@command(webhook, "list", "webhook list")
def list_(told: Command, state: State = "") -> int:
    """All webhooks, and how their deliveries stand."""
    from .webhooks import registry

    with opened(state) as store:
        found = store.read(registry.every)
    told.terminal.show(webhooks_table(found))
    return told.end(Exit.OK, [], {"webhooks": [registry.document(hook, status) for hook, status in found]})


def webhooks_table(found: list[tuple[Webhook, Status]]) -> RenderableType:
    if not found:
        return Text("no webhooks", style="dim")
    rows = [
        {
            "NAME": Text(hook.name, style="bold"),
            "URL": Text(hook.url),
            "ON": Text(", ".join(hook.states)),
            "WORKFLOWS": Text(", ".join(hook.workflows) or "all"),
            "PENDING": Text(str(status.pending)),
            "DELIVERED": Text(str(status.delivered)),
            "GIVEN UP": Text(str(status.given_up)),
            "LAST": Text(time_of(status.last)),
            "ERROR": Text(status.error, style="red"),
        }
        for hook, status in found
    ]
    return filled(rows, ("NAME", "URL"))


@command(webhook, "remove", "webhook remove")
def remove(told: Command, name: Name, state: State = "") -> int:
    """Tell it nothing more. What was still to be delivered is not delivered."""
    from .webhooks import registry

    with opened(state) as store:
        registry.remove(store, name, *who())
    told.terminal.show(f"{name}: removed")
    return told.end(Exit.OK, [])


@command(webhook, "test", "webhook test")
def test(told: Command, name: Name, state: State = "") -> int:
    """Send a message of the type webhook.test from here, once. Exit code 1 if the receiver does not take it."""
    from .webhooks import delivery, registry, sending

    with opened(state) as store:
        url, secret = registry.opened(store, name)
        user, origin = who()
        body = delivery.written("webhook.test", time.time(), {"webhook": name, "who": user})
        answer = sending.post(url, secret, f"msg_test_{uuid.uuid4().hex}", body.encode())
        result = "ok" if answer.ok else "failed"
        details = {"status": answer.status, "error": answer.error}
        store.append_audit(
            user, "webhook.test", f"{registry.WEBHOOK}/{name}", origin=origin, result=result, details=details
        )
    if answer.ok:
        told.terminal.show(f"{name}: answered {answer.status}")
    errors = [] if answer.ok else [f"{registry.public(url)}: {answer.error}"]
    return told.end(Exit.OK if answer.ok else Exit.FAILED, errors, {"status": answer.status})
