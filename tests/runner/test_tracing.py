# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traces at a real collector: requests, jobs, attempts and tasks, from server and worker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from standins.collector import SERVER, Seen, spans
from standins.receivers import Receiver, receiving
from testbed.daemon import free_port

from tests.runner.rest_server import SECONDS, Server

TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "hunter2hunter2"


@dataclass
class Traced(Server):
    """A server that is asked for traces."""

    port: int = 0

    @property
    def env(self) -> dict[str, str]:
        own = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "200"}
        kept = {name: value for name, value in super().env.items() if not name.startswith("OTEL_")}
        return {**kept, **own}


@contextmanager
def serving(folder: Path, port: int) -> Iterator[Traced]:
    server = Traced(folder, port=port)
    try:
        yield server.start()
    finally:
        server.end()


def test_a_job_is_a_trace_from_the_request_to_its_tasks(tmp_path: Path) -> None:
    with serving(tmp_path, free_port()) as server:
        with receiving(Receiver(), port=server.port) as collector:
            headers = {"traceparent": f"00-{TRACE}-{CLIENT}-01"}
            body = {"variables": {"what": SECRET}, "wait": True, "wait_seconds": SECONDS}
            answer = server.call("POST", "/workflows/ok", body, headers=headers)
            assert (answer.status_code, answer.json()["state"]) == (200, "completed")
            assert server.submit("fails", retries=0, wait=True, wait_seconds=SECONDS)["state"] == "failed"
            found = wait_until(
                lambda: whole(collector), Deadline(SECONDS), what="the spans", last_seen=lambda: server.log
            )
            check_tree(found, answer.json()["id"])
            [failed] = [one for one in found if one.name == "job fails"]
            assert failed.error
            assert failed.trace not in (TRACE, "0" * 32)
            raw = b"".join(one.body for one in collector.got)
            assert SECRET.encode() not in raw
            assert server.token.encode() not in raw
        # The collector is away now. That stops nothing, and nobody.
        assert server.submit("ok", wait=True, wait_seconds=SECONDS)["state"] == "completed"
        assert server.stop() == 0


def whole(collector: Receiver) -> list[Seen] | None:
    """The spans, when all have come: they are sent in batches, by two processes."""
    found = spans(collector)
    names = [one.name for one in found]
    submitted = names.count("POST /workflows/{name}") == 2
    return found if submitted and {"job ok", "job fails"} <= set(names) else None


def check_tree(found: list[Seen], job_id: str) -> None:
    mine = [one for one in found if one.trace == TRACE]
    [request] = [one for one in mine if one.kind == SERVER]
    [job] = [one for one in mine if one.name == "job ok"]
    assert (request.name, request.parent) == ("POST /workflows/{name}", CLIENT)
    assert request.attributes["http.response.status_code"] == 200
    assert request.resource["service.name"] == job.resource["service.name"] == "rackstead"
    assert (request.resource["rackstead.part"], job.resource["rackstead.part"]) == ("server", "worker")
    assert (job.parent, job.error) == (request.id, False)
    wanted = {"rackstead.job.id": job_id, "rackstead.job.state": "completed", "rackstead.workflow": "ok"}
    assert {name: job.attributes[name] for name in wanted} == wanted
    assert (job.attributes["rackstead.hosts.all"], job.attributes["rackstead.hosts.changed"]) == (1, 1)
    below = [one for one in mine if one.parent == job.id]
    assert sorted(one.name for one in below) == ["attempt 1", "queue"]
    [attempt] = [one for one in below if one.name == "attempt 1"]
    tasks = [one for one in mine if one.parent == attempt.id]
    last = sorted(tasks, key=lambda one: one.start)[-2:]
    assert [one.name for one in last] == ["task Say it", "task Change something"]
    for one in last:
        assert one.attributes["rackstead.hosts.ok"] == 1
        assert attempt.start <= one.start <= one.end <= attempt.end


def test_what_cannot_be_traced_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is missing: a module of its name stands before it, and cannot be imported."""
    hidden = tmp_path / "hidden/opentelemetry/exporter"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')\n")
    server = Traced(tmp_path, ("--no-worker",), port=1)
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", f"{hidden.parents[1]}:{os.environ['ANSIBLE_COLLECTIONS_PATH']}")
    try:
        server.start()
        lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
        told = [one["message"] for one in lines if one["logger"] == "rackstead.tracing"]
        assert len(told) == 1
        assert told[0].startswith("nothing is traced: OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra")
        assert server.get("/tasks")["items"] == []
    finally:
        server.end()
