# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service layer of jobs as a server offers it: what ``jobs.service.Service`` can do, asked for over REST."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound, Unreachable

from ..jobs.model import Job, JobState
from ..jobs.service import Order
from ..jobs.workflows import Workflow
from .client import PATIENCE, Client, quoted
from .config import Choice

ID = re.compile(r"[0-9a-z]{26}")
#: What of an order stands in the body of a submission beside its variables.
ORDER = ("check", "diff", "limit", "tags", "priority", "retries", "timeout", "node")


class Remote:
    """Jobs, schedules, records and the audit chain of one server."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.catalog = RemoteCatalog(client)

    def check(self) -> dict[str, Any]:
        """The server's state of health. Raises Unreachable where it is not there, or cannot be spoken with."""
        health: dict[str, Any] = self.client.get("/health")
        theirs, ours = str(health.get("version", "")), own_version()
        if not theirs:
            raise Unreachable("is no rackstead server", where=self.client.choice.url)
        if "0" not in (theirs, ours) and theirs.split(".", maxsplit=1)[0] != ours.split(".")[0]:
            raise Unreachable(
                f"is of version {theirs}, and this is {ours}; the first numbers must be the same",
                where=self.client.choice.url,
            )
        return health

    # -- jobs --------------------------------------------------------------------------------------
    def submit(self, order: Order, _who: str = "", _origin: str = "") -> Job:
        """Queue a job. It has a key in any case, so that an answer that was lost can be asked for again."""
        body: dict[str, Any] = {name: getattr(order, name) for name in ORDER}
        body |= {"variables": dict(order.variables), "tags": list(order.tags), "after": list(order.after)}
        body |= {"not_before": order.not_before, "idempotency_key": order.idempotency_key or uuid.uuid4().hex}
        return job_of(self.client.send("POST", f"/workflows/{quoted(order.workflow)}", body))

    def cancel(self, job_id: str, _who: str = "", _origin: str = "") -> Job:
        return job_of(self.client.send("POST", f"/tasks/{named(job_id)}/cancel"))

    def retry(self, job_id: str, _who: str = "", _origin: str = "") -> Job:
        return job_of(self.client.send("POST", f"/tasks/{named(job_id)}/retry"))

    def show(self, job_id: str) -> Job:
        return job_of(self.client.get(f"/tasks/{named(job_id)}"))

    def jobs(
        self,
        *,
        states: list[str] | tuple[str, ...] = (),
        workflow: str = "",
        who: str = "",
        after: str = "",
        limit: int,
    ) -> list[Job]:
        """Jobs, the newest first; ``after`` is the id of the last one seen."""
        given = {"workflow": workflow, "who": who, "before": after}
        params = {name: value for name, value in given.items() if value}
        return [job_of(one) for one in self.client.pages("/tasks", limit, state=list(states), **params)]

    def events(self, job_id: str, after: int = 0, follow: bool = False) -> Iterator[dict[str, Any]]:
        """The job's events with numbers above ``after``; with ``follow`` until the job is over."""
        path = f"/jobs/{named(job_id)}/events"
        for name, data in self.client.stream(path, after, follow="true" if follow else "false"):
            if name != "end":
                yield data

    def results(self, job_id: str) -> dict[str, Any]:
        """What the tasks of a job's last run returned. Raises NotFound."""
        found: dict[str, Any] = self.client.get(f"/jobs/{named(job_id)}/results")
        return found

    def wait(self, job_id: str, seconds: float) -> Job:
        """The job when it is over. Raises DeadlineExceeded."""

        def ended() -> Job | None:
            job = self.show(job_id)
            self.client.patience = PATIENCE
            return job if job.state.final else None

        return wait_until(ended, Deadline(seconds), what=f"job {job_id} to end", first=0.05, most=1.0)

    def alive(self) -> bool:
        """Whether any worker gives signs of life."""
        return bool(self.client.get("/health")["worker"] == "alive")

    # -- schedules ---------------------------------------------------------------------------------
    def add_schedule(self, title: str, cron: str, order: Order, zone: str) -> dict[str, Any]:
        body = {name: getattr(order, name) for name in ORDER} | {"tags": list(order.tags)}
        body |= {"name": title, "cron": cron, "zone": zone, "workflow": order.workflow}
        found: dict[str, Any] = self.client.send("POST", "/schedules", {**body, "variables": dict(order.variables)})
        return found

    def schedules(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/schedules")["items"]
        return found

    def pause_schedule(self, title: str, *, paused: bool) -> None:
        self.client.send("POST", f"/schedules/{quoted(title)}/{'pause' if paused else 'resume'}")

    def remove_schedule(self, title: str) -> None:
        self.client.send("DELETE", f"/schedules/{quoted(title)}")


class RemoteCatalog:
    """The workflows that a server has."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, name: str) -> Workflow:
        return workflow_of(self._client.get(f"/workflows/{quoted(name)}"))

    def read(self) -> tuple[list[Workflow], list[str]]:
        found = self._client.get("/workflows")
        return [workflow_of(one) for one in found["items"]], list(found["broken"])


def named(job_id: str) -> str:
    """A job's id as a piece of a path. Raises NotFound for what can be none."""
    if not ID.fullmatch(job_id):
        raise NotFound(f'there is no job "{job_id}"')
    return quoted(job_id)


def job_of(document: Mapping[str, Any]) -> Job:
    known = {one.name for one in fields(Job)}
    body = {name: value for name, value in document.items() if name in known}
    return Job(**body | {"state": JobState(body["state"])})


def workflow_of(document: Mapping[str, Any]) -> Workflow:
    known = {one.name for one in fields(Workflow)}
    body = {name: value for name, value in document.items() if name in known}
    return Workflow(**{"playbook": "", **body, "target": tuple(body["target"])})


def own_version() -> str:
    try:
        return version("rackstead")
    except PackageNotFoundError:
        return "0"


@contextmanager
def connected(choice: Choice) -> Iterator[Remote]:
    """A server that is there, and of our version."""
    client = Client(choice)
    try:
        remote = Remote(client)
        remote.check()
        yield remote
    finally:
        client.close()
