# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a shell offers after the tab key: workflows, jobs, instances.

Nothing here may take long or print anything: who cannot be asked in time has nothing to offer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import typer

#: Seconds for which somebody waits who has pressed the tab key.
PATIENCE = 1.5
#: As many jobs as fit on a screen.
JOBS = 20
Offers = list[tuple[str, str]]


def in_time(work: Callable[[], Offers]) -> Offers:
    """What the work gives, or nothing if it fails or takes too long."""
    found: Offers = []

    def run() -> None:
        with suppress(Exception):  # there is nobody to tell it to: the line is still being typed
            found.extend(work())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return list(found)


def workflows(ctx: typer.Context, incomplete: str) -> Offers:
    def work() -> Offers:
        from .cli_jobs import catalog

        with catalog(_place(ctx.params), nobody()) as known:
            return [(one.name, one.title) for one in known.read()[0] if one.name.startswith(incomplete)]

    return in_time(work)


def jobs(ctx: typer.Context, incomplete: str) -> Offers:
    def work() -> Offers:
        from .cli_jobs import reached

        with reached(_place(ctx.params), nobody()) as service:
            found = service.jobs(limit=JOBS)
        return [(one.id, f"{one.workflow}, {one.state.value}") for one in found if one.id.startswith(incomplete)]

    return in_time(work)


def servers(ctx: typer.Context, incomplete: str) -> Offers:
    """Those of which it is known how far they are."""

    def work() -> Offers:
        from .cli_provision import reached

        with reached(_place(ctx.params), nobody()) as service:
            found = service.every(JOBS)
        return [(one.id, one.state) for one in found if one.id.startswith(incomplete)]

    return in_time(work)


def nobody() -> Any:
    """Who is told of what goes on meanwhile."""
    from .options import Job as Command
    from .terminal import Terminal

    return Command("", Terminal(as_json=True))


def _place(params: Mapping[str, Any]) -> Any:
    """Where to ask, as the line says so far."""
    from .blocks import Place

    given = {name: params.get(name) for name in ("server", "server_ca", "local", "state", "data")}
    return Place(**{name: value for name, value in given.items() if value})


def instances(ctx: typer.Context, incomplete: str) -> Offers:
    """Of the Incus that this machine's commands work with; a server is not asked: that would be a job."""

    def work() -> Offers:
        from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
        from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint

        from .remote.config import choose

        if choose(ctx.params.get("server") or "", "", bool(ctx.params.get("local"))):
            return []
        fields = {"url": "url", "project": "project", "client_cert": "cert_file", "client_key": "key_file"}
        fields |= {"server_fingerprint": "fingerprint", "ca_cert": "ca_file"}
        given = {
            field: str(ctx.params.get(name) or os.environ.get(f"RACKSTEAD_{name.upper()}", ""))
            for name, field in fields.items()
        }
        client = IncusClient(Endpoint(**{**given, "project": given["project"] or "default"}))
        found = client.get("/instances", recursion="1")
        return [(one["name"], one["status"]) for one in found if one["name"].startswith(incomplete)]

    return in_time(work)
