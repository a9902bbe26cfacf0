# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisioning as a server offers it: what ``provisioning.service.Provisioning`` can tell, asked for over REST."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ..jobs.model import Job
from ..provisioning.progress import Server, Step
from ..provisioning.service import Status
from .client import Client, quoted
from .service import job_of

PLACE = "/api/orchestration"
MOST = 500


class RemoteProvisioning:
    """Of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def every(self, limit: int, wanted: Callable[[Server], bool] = lambda _one: True) -> list[Server]:
        found = self._client.get(f"{PLACE}/servers", limit=MOST)
        return [one for one in map(server_of, found["items"]) if wanted(one)][:limit]

    def status(self, name: str) -> Status:
        found = self._client.get(f"{PLACE}/workflow/{quoted(name)}/status")
        rest = {name: found[name] for name in ("job", "dry_run", "error")}
        return Status(found["id"], found["state"], [server_of(one) for one in found["servers"]], **rest)

    def cancel(self, name: str, _who: str = "", _origin: str = "") -> Job:
        return job_of(self._client.send("POST", f"{PLACE}/workflow/{quoted(name)}/cancel"))


def server_of(document: Mapping[str, Any]) -> Server:
    known = {one.name for one in fields(Server)}
    body = {name: value for name, value in document.items() if name in known}
    return Server(**{**body, "id": document["server_id"], "steps": tuple(map(step_of, document["steps"]))})


def step_of(document: Mapping[str, Any]) -> Step:
    known = {one.name for one in fields(Step)}
    return Step(**{name: value for name, value in document.items() if name in known}, found=document["outputs"])
