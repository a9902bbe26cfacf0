# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's record and events as spans; and what the environment asks of traces."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from rackstead import tracing
from rackstead.jobs import spans
from rackstead.jobs.model import Job, JobState
from tests.conftest import CHECKOUT

JOB = Job("01kamq3v5t8w9x2y4z6a7b8c9d", "ok", "Ok", {"password": "hunter2"}, 100.0, started=103.0, ended=120.0)


def event(name: str, at: float, **more: Any) -> dict[str, Any]:
    return {"seq": 1, "time": at, "event": name, **more}


def task(name: str, at: float, **more: Any) -> dict[str, Any]:
    return event("playbook_on_task_start", at, task=name, task_action="debug", **more)


def shape(span: spans.Span) -> tuple[Any, ...]:
    return (span.name, span.start, span.end, [shape(one) for one in span.children])


def test_attempts_and_tasks() -> None:
    seen = [
        event("job_started", 103.0, attempt=1, worker="w1"),
        task("one", 104.0),
        event("runner_on_failed", 105.0, host="a"),
        event("playbook_on_stats", 105.0),
        event("job_ended", 106.0, result="result"),
        event("job_started", 110.0, attempt=2, worker="w1"),
        task("one", 111.0),
        event("runner_on_ok", 112.0, host="a"),
        event("runner_on_ok", 112.0, host="b"),
        task("two", 113.0),
        event("runner_on_unreachable", 114.0, host="a"),
        event("playbook_on_stats", 115.0),
        event("job_ended", 120.0, result="result"),
    ]
    root = spans.of_job(JOB, seen)
    assert shape(root) == (
        "job ok",
        100.0,
        120.0,
        [
            ("queue", 100.0, 103.0, []),
            ("attempt 1", 103.0, 106.0, [("task one", 104.0, 105.0, [])]),
            ("attempt 2", 110.0, 120.0, [("task one", 111.0, 113.0, []), ("task two", 113.0, 115.0, [])]),
        ],
    )
    first, second = root.children[2].children
    assert first.attributes == {"ansible.task.action": "debug", "rackstead.hosts.ok": 2}
    assert (first.error, second.error) == ("", "unreachable")
    assert "hunter2" not in repr(root)


def test_a_worker_that_was_killed_leaves_its_attempt_open() -> None:
    seen = [
        event("job_started", 103.0, attempt=1),
        task("one", 104.0),
        event("job_started", 110.0, attempt=1),
        task("one", 111.0),
        event("job_interrupted", 112.0),
        event("job_started", 113.0, attempt=1),
        event("playbook_on_stats", 119.0),
    ]
    attempts = spans.of_job(JOB, seen).children[1:]
    assert [(one.start, one.end) for one in attempts] == [(103.0, 104.0), (110.0, 112.0), (113.0, 119.0)]
    assert attempts[1].attributes["rackstead.attempt.result"] == "interrupted"


def test_a_job_that_was_run_again_begins_there() -> None:
    seen = [
        event("job_started", 10.0, attempt=1),
        event("job_ended", 20.0, result="result"),
        event("job_started", 103.0, attempt=1),
        event("job_ended", 120.0, result="result"),
    ]
    assert shape(spans.of_job(JOB, seen)) == ("job ok", 103.0, 120.0, [("attempt 1", 103.0, 120.0, [])])


def test_no_events_and_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are files of the machine that ran the job."""
    assert shape(spans.of_job(JOB, [])) == ("job ok", 100.0, 120.0, [("queue", 100.0, 103.0, [])])
    monkeypatch.setattr(spans, "MOST_TASKS", 2)
    seen = [event("job_started", 103.0, attempt=1), *(task(str(number), 104.0) for number in range(5))]
    root = spans.of_job(JOB, seen)
    assert len(root.children[1].children) == 2
    assert root.attributes["rackstead.tasks.left_out"] == 3


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.COMPLETED])
def test_a_failed_job_is_an_error(state: JobState) -> None:
    from dataclasses import replace

    recap = {"a": {"ok": 1, "changed": 0, "failed": 1}}
    root = spans.of_job(replace(JOB, state=state, recap=recap), [])
    assert bool(root.error) is (state is JobState.FAILED)
    assert root.attributes["rackstead.job.state"] == state.value
    assert (root.attributes["rackstead.hosts.all"], root.attributes["rackstead.hosts.failed"]) == (1, 1)


# -- the environment --------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("more", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_what_turns_it_off(monkeypatch: pytest.MonkeyPatch, more: dict[str, str]) -> None:
    assert tracing.traces("server") is None
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **more}.items():
        monkeypatch.setenv(name, value)
    assert tracing.traces("server") is None


def test_a_protocol_that_is_not_spoken(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with caplog.at_level(logging.ERROR):
        assert tracing.traces("server") is None
    text = 'nothing is traced: OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not spoken; allowed: http/protobuf'
    assert [one.getMessage() for one in caplog.records] == [text]


def test_without_it_nothing_is_imported() -> None:
    code = (
        "import sys, rackstead.jobs.engine, rackstead.server.process, rackstead.tracing as t;"
        "assert t.traces('server') is None;"
        "found = [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))];"
        "assert not found, found"
    )
    import os

    path = os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
