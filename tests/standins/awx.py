# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks AWX's REST API, version 2, as far as its public documentation tells and a launch needs.

Job templates run their playbooks through ansible-runner, as AWX does, so that events are real. As there, events
come in batches and not in order, the last of them after a job's end. ``faults`` makes it fail.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import ansible_runner
from standins.site import Refused, Site

TOKEN, VIEWER = "token-of-an-operator", "token-of-a-viewer"
OVER = ("successful", "failed", "error", "canceled")
ASKS = ("variables", "limit", "tags", "job_type", "diff_mode")
ASKED = {"limit": "limit", "job_tags": "tags", "job_type": "job_type", "diff_mode": "diff_mode"}
STATUS = {"successful": "successful", "canceled": "canceled"}
SHORT = 1024


@dataclass
class Template:
    id: int
    name: str
    playbook: Path
    asks: frozenset[str] = frozenset(ASKS)
    needed: tuple[str, ...] = ()
    passwords: tuple[str, ...] = ()


@dataclass
class Job:
    id: int
    template: Template
    order: dict[str, Any]
    created: str
    status: str = "pending"
    explanation: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    seen_over: int = 0

    def take(self, event: dict[str, Any]) -> None:
        """Each third event is seen only after the two that follow it."""
        (self.late if event["counter"] % 3 == 0 else self.events).append(event)
        if self.late and event["counter"] - self.late[0]["counter"] >= 2:
            self.events.append(self.late.pop(0))

    def document(self) -> dict[str, Any]:
        hidden = {name: "$encrypted$" for name in self.template.passwords if name in self.order["extra_vars"]}
        return {
            "id": self.id,
            "type": "job",
            "url": f"/api/v2/jobs/{self.id}/",
            "name": self.template.name,
            "status": self.status,
            "created": self.created,
            "job_template": self.template.id,
            "job_type": self.order.get("job_type", "run"),
            "limit": self.order.get("limit", ""),
            "extra_vars": json.dumps({**self.order["extra_vars"], **hidden}),
            "job_explanation": self.explanation,
            "result_traceback": "",
        }

    def detail(self) -> dict[str, Any]:
        """The last events come after it was seen twice that the job is over."""
        self.seen_over += self.status in OVER
        if self.seen_over > 2:
            self.events += self.late
            self.late = []
        return {**self.document(), "event_processing_finished": self.seen_over > 2}


class Awx(Site):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.templates: list[Template] = []
        self.jobs: list[Job] = []

    def template(self, name: str, playbook: Path, **options: Any) -> Template:
        found = Template(len(self.templates) + 7, name, playbook, **options)
        self.templates.append(found)
        return found

    def close(self) -> None:
        for job in self.jobs:
            job.cancelled.set()
        for job in self.jobs:
            if job.thread:
                job.thread.join()
        super().close()

    # -- HTTP --------------------------------------------------------------------------------------
    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        token = str(request.headers.get("Authorization")).removeprefix("Bearer ")
        if token not in (TOKEN, VIEWER):
            raise Refused(401, {"detail": "Authentication credentials were not provided."})
        for pattern, view in self._views(request.command).items():
            match = re.fullmatch(f"/api/v2/{pattern}/", path)
            if match:
                if request.command == "POST" and token == VIEWER:
                    raise Refused(403, {"detail": "You do not have permission to perform this action."})
                return view(query, json.loads(body or b"{}"), *(int(one) for one in match.groups()))
        raise Refused(404, {"detail": "Not found."})

    def _views(self, method: str) -> dict[str, Callable[..., tuple[int, Any]]]:
        if method == "POST":
            return {r"job_templates/(\d+)/launch": self._launch, r"jobs/(\d+)/cancel": self._cancel}
        return {
            "me": lambda query, body: (200, {"count": 1, "results": [{"username": "rackstead"}]}),
            "job_templates": self._templates,
            r"job_templates/(\d+)/launch": self._launchable,
            r"job_templates/(\d+)/survey_spec": self._survey,
            r"job_templates/(\d+)/jobs": self._jobs,
            r"jobs/(\d+)": lambda query, body, number: (200, self._job(number).detail()),
            r"jobs/(\d+)/job_events": self._events,
            r"jobs/(\d+)/stdout": self._stdout,
        }

    @staticmethod
    def _page(query: dict[str, str], rows: list[dict[str, Any]]) -> tuple[int, Any]:
        size, number = min(int(query.get("page_size", 25)), 200), int(query.get("page", 1))
        if number > max(1, -(-len(rows) // size)):
            raise Refused(404, {"detail": "Invalid page."})
        after = number * size < len(rows)
        found = rows[(number - 1) * size : number * size]
        return 200, {"count": len(rows), "next": f"?page={number + 1}" if after else None, "results": found}

    @staticmethod
    def _known(query: dict[str, str], what: str, *names: str) -> None:
        for name in query.keys() - {"page", "page_size", "order_by", "no_truncate", *names}:
            if name.startswith("extra_vars"):
                raise Refused(403, {"detail": "Filtering on extra_vars is not allowed."})
            raise Refused(400, {"detail": f"{what} has no field named '{name}'"})

    # -- job templates -----------------------------------------------------------------------------
    def _template(self, number: int) -> Template:
        for one in self.templates:
            if one.id == number:
                return one
        raise Refused(404, {"detail": "Not found."})

    def _templates(self, query: dict[str, str], _body: Any) -> tuple[int, Any]:
        self._known(query, "JobTemplate", "name")
        rows = [{"id": one.id, "name": one.name} for one in self.templates if query.get("name", one.name) == one.name]
        return self._page(query, rows)

    def _launchable(self, _query: dict[str, str], _body: Any, number: int) -> tuple[int, Any]:
        one = self._template(number)
        return 200, {
            **{f"ask_{name}_on_launch": name in one.asks for name in ASKS},
            "survey_enabled": bool(one.passwords),
            "variables_needed_to_start": list(one.needed),
            "passwords_needed_to_start": [],
            "defaults": {"extra_vars": "", "diff_mode": False, "limit": "", "job_tags": "", "job_type": "run"},
        }

    def _survey(self, _query: dict[str, str], _body: Any, number: int) -> tuple[int, Any]:
        spec = [{"variable": name, "type": "password", "required": False} for name in self._template(number).passwords]
        return 200, {"name": "", "description": "", "spec": spec}

    def _jobs(self, query: dict[str, str], _body: Any, number: int) -> tuple[int, Any]:
        self._known(query, "Job", "created__gte")
        since = datetime.fromisoformat(query.get("created__gte", "1970-01-01T00:00:00+00:00"))
        rows = [
            one.document()
            for one in self.jobs
            if one.template.id == number and datetime.fromisoformat(one.created) >= since
        ]
        return self._page(query, rows[::-1] if query.get("order_by") == "-id" else rows)

    def _launch(self, _query: dict[str, str], body: dict[str, Any], number: int) -> tuple[int, Any]:
        template = self._template(number)
        missing = [f"'{name}' value missing" for name in template.needed if name not in body.get("extra_vars", {})]
        if missing:
            raise Refused(400, {"variables_needed_to_start": missing})
        ignored = {name: body[name] for name, ask in ASKED.items() if name in body and ask not in template.asks}
        order = {"extra_vars": {}, **{name: value for name, value in body.items() if name not in ignored}}
        job = Job(len(self.jobs) + 41, template, order, datetime.now(UTC).isoformat())
        self.jobs.append(job)
        job.thread = threading.Thread(target=self._run, args=[job])
        job.thread.start()
        return 201, {"job": job.id, "ignored_fields": ignored, **job.document()}

    # -- jobs --------------------------------------------------------------------------------------
    def _job(self, number: int) -> Job:
        for one in self.jobs:
            if one.id == number:
                return one
        raise Refused(404, {"detail": "Not found."})

    def _cancel(self, _query: dict[str, str], _body: Any, number: int) -> tuple[int, Any]:
        job = self._job(number)
        if job.status in OVER:
            raise Refused(405, {"detail": 'Method "POST" not allowed.'})
        job.cancelled.set()
        return 202, {}

    def _events(self, query: dict[str, str], _body: Any, number: int) -> tuple[int, Any]:
        self._known(query, "JobEvent", "counter__gt")
        rows = [one for one in self._job(number).events if one["counter"] > int(query.get("counter__gt", 0))]
        if query.get("order_by") == "counter":
            rows.sort(key=lambda one: int(one["counter"]))
        if query.get("no_truncate") != "true":
            rows = [{**one, "stdout": one["stdout"][:SHORT]} for one in rows]
        return self._page(query, rows)

    def _stdout(self, query: dict[str, str], _body: Any, number: int) -> tuple[int, Any]:
        job = self._job(number)
        text = "\n".join(one["stdout"] for one in sorted(job.events, key=lambda one: int(one["counter"])))
        return 200, text if query.get("format") == "txt" else {"content": text}

    def _run(self, job: Job) -> None:
        options = ["--check"] if job.order.get("job_type") == "check" else []
        options += ["--diff"] if job.order.get("diff_mode") else []
        options += ["--limit", job.order["limit"]] if job.order.get("limit") else []
        options += ["--tags", job.order["job_tags"]] if job.order.get("job_tags") else []
        private = self.folder / f"awx-{job.id}"
        private.mkdir()
        job.status = "running"

        def on_event(event: dict[str, Any]) -> bool:
            with self.lock:
                job.take({**event, "id": 1000 + event["counter"], "job": job.id})
            return False

        done = ansible_runner.run(
            private_data_dir=str(private),
            playbook=str(job.template.playbook),
            inventory="localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'",
            extravars=job.order["extra_vars"],
            cmdline=" ".join(options) or None,
            envvars={"ANSIBLE_FORCE_COLOR": "1"},
            event_handler=on_event,
            cancel_callback=job.cancelled.is_set,
            settings={"pexpect_timeout": 0.3},
            quiet=True,
        )
        with self.lock:
            job.status = STATUS.get(done.status, "failed")


@contextmanager
def running(folder: Path) -> Iterator[Awx]:
    found = Awx(folder)
    try:
        yield found
    finally:
        found.close()
