# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the web page is made of, without a server: forms read, logs and pictures of tasks, sessions that end."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound
from starlette.requests import Request
from starlette.responses import Response

from rackstead.jobs.model import Job, JobState
from rackstead.jobs.workflows import Workflow
from rackstead.web import forms, instances, log, pages, routes

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True, "description": ["First.", "Second."]},
    "count": {"type": "int", "default": 3},
    "ratio": {"type": "float"},
    "force": {"type": "bool"},
    "mode": {"type": "str", "choices": ["fast", "slow"]},
    "hosts": {"type": "list", "elements": "str"},
    "rules": {"type": "list", "elements": "dict", "options": {"port": {"type": "int"}}},
    "labels": {"type": "dict"},
    "source": {"type": "path"},
    "phrase": {"type": "str", "no_log": True, "default": "hush"},
}
WORKFLOW = Workflow("w", "w.yml", "W", "", OPTIONS)


def typed(**fields: str) -> dict[str, str]:
    return {forms.PREFIX + name: text for name, text in fields.items()}


def test_kinds_of_fields() -> None:
    found = {one.label: one for one in forms.variable_fields(WORKFLOW, typed(phrase="x", name="n"))}
    assert next(iter(found)) == "name"
    assert found["name"].help == "First. Second."
    assert {name: one.kind for name, one in found.items() if one.kind != "text"} == {
        "force": "choice",
        "mode": "choice",
        "hosts": "area",
        "rules": "area",
        "labels": "area",
        "phrase": "secret",
    }
    assert (found["count"].default, found["count"].numeric) == ("3", True)
    assert (found["name"].value, found["phrase"].value, found["phrase"].default) == ("n", "", "")
    assert "port" in found["rules"].hint


def test_what_was_typed_becomes_an_order() -> None:
    fields = typed(
        name="n",
        count="7",
        ratio="",
        force="true",
        hosts="web-01\n web-* \n\n",
        rules="- {port: 80}",
        labels='{"a": [1, null]}',
        source="~/x",
    )
    order, errors = forms.read(WORKFLOW, {**fields, "check": "on", "tags": "a, b,", "retries": "0", "once": "key"})
    assert errors == {}
    assert WORKFLOW.check(order.variables) == {
        "name": "n",
        "count": 7,
        "force": True,
        "hosts": ["web-01", "web-*"],
        "rules": [{"port": 80}],
        "labels": {"a": [1, None]},
        "source": str(Path("~/x").expanduser()),
    }
    assert (order.check, order.diff, order.tags, order.retries, order.idempotency_key) == (
        True,
        False,
        ["a", "b"],
        0,
        "key",
    )
    assert (order.timeout, order.priority, order.not_before) == (None, None, 0.0)


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("v-labels", "x: 1\na: b: c", "cannot be read: line 2"),
        ("v-labels", "a: &x [1]\nb: *x", "aliases"),
        ("v-labels", "a: .nan", "cannot be"),
        ("v-labels", "[" * 20_000, "is nested more than 50 times"),
        ("v-labels", "\n".join(" " * depth + "a:" for depth in range(60)), "is nested more than 50 times"),
        ("v-labels", "x" * (forms.LONGEST + 1), "longer than"),
        ("v-labels", "a: !!python/object:os.system {}", "cannot be read"),
        ("v-hosts", "[a, b", "cannot be read"),
        ("v-source", "~nobody-has-this-name/x", "is not the path"),
        ("retries", "1.5", "not a whole number"),
        ("timeout", "long", "not a number"),
        ("at", "tomorrow", "is not a time"),
        ("v-name", "  ", "is needed"),
    ],
)
def test_what_cannot_be_read_is_told_at_its_field(name: str, text: str, wrong: str) -> None:
    _order, errors = forms.read(WORKFLOW, {**typed(name="n"), name: text})
    assert list(errors) == [name]
    assert wrong in errors[name][0]


# -- logs and pictures -----------------------------------------------------------------------------
def event(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {"seq": number, "time": 100.0 + number, "event": name, **more}


RUN = [
    event(1, "job_started", attempt=1, worker="w"),
    event(2, "playbook_on_task_start", task="one", stdout="\nTASK [one] *****"),
    event(3, "runner_on_ok", task="one", host="a", result={"changed": True}, stdout="changed: [a]"),
    event(4, "runner_on_ok", task="one", host="b", result={"changed": False}),
    event(5, "playbook_on_task_start", task="two", stdout="\nTASK [two]"),
    event(6, "runner_on_failed", task="two", host="a", result={}),
    event(9, "playbook_on_stats", stdout="PLAY RECAP"),
    event(10, "job_ended", error="it failed"),
]
JOB = Job("0" * 26, "w", "W", {}, 100.0, tasks=[{"task": "x", "seconds": 2.0}, {"task": "y", "seconds": 1.0}])


def test_the_picture_of_a_run() -> None:
    bars = log.bars(JOB, RUN, 200.0)
    assert [(one.task, one.start, one.seconds, one.outcome) for one in bars] == [
        ("one", 1.0, 3.0, "changed"),
        ("two", 4.0, 4.0, "failed"),
    ]
    picture = log.picture(bars)
    assert [(row.y, round(row.x), round(row.width)) for row in picture.rows] == [(0, 0, 43), (34, 43, 57)]
    assert log.picture([]).rows == []


def test_the_picture_while_a_task_runs_and_after_another_attempt() -> None:
    running = log.bars(JOB, RUN[:5], 111.0)
    assert [(one.task, one.seconds) for one in running] == [("one", 3.0), ("two", 6.0)]
    assert log.bars(JOB, [*RUN, event(11, "job_started", attempt=2)], 112.0) == []


def test_the_picture_where_the_events_are_elsewhere() -> None:
    assert [(one.task, one.start, one.seconds) for one in log.bars(JOB, RUN[3:], 0.0)] == [
        ("x", 0.0, 2.0),
        ("y", 2.0, 1.0),
    ]
    many = [log.Bar(str(number), number, number % 7) for number in range(200)]
    picture = log.picture(many)
    assert (len(picture.rows), picture.left_out) == (log.MOST, 200 - log.MOST)
    assert all(row.x >= 0 and row.x + row.width <= 100.01 for row in picture.rows)


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    assert log.read(tmp_path) == log.Log()
    lines = [json.dumps(one) for one in RUN]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + '\n{"seq": 11, "ev')
    found = log.read(tmp_path)
    assert (found.last, found.cut) == (10, False)
    assert found.text.startswith("-- attempt 1, worker w\n\nTASK [one]\nchanged: [a]\n")
    assert found.text.endswith("PLAY RECAP\n-- attempt ended: it failed\n\n")
    long = [json.dumps(event(number, "verbose", stdout=f"line {number} " + "x" * 500)) for number in range(1, 5000)]
    (tmp_path / "events.jsonl").write_text("\n".join(long) + "\n")
    found = log.read(tmp_path)
    assert (found.last, found.cut) == (4999, True)
    assert len(found.text) <= log.SHOWN
    assert found.text.startswith("line ")


# -- words -----------------------------------------------------------------------------------------
def test_spans() -> None:
    assert [pages.span(one) for one in (0.034, 0.5, 42.2, 200, 7500)] == [
        "0.03 s",
        "0.5 s",
        "42 s",
        "3 min 20 s",
        "2 h 5 min",
    ]


def test_a_failure_is_mended_by_a_later_success_on_the_same_target() -> None:
    failed = replace(JOB, id="1" * 26, state=JobState.FAILED, target=["a"])
    cancelled = replace(JOB, id="2" * 26, state=JobState.CANCELLED, target=["a"])
    other = replace(JOB, id="3" * 26, state=JobState.COMPLETED, target=["b"])
    done = replace(JOB, id="4" * 26, state=JobState.COMPLETED, target=["a"])
    assert routes._unmended([other, cancelled, failed]) == [failed]
    assert routes._unmended([done, failed]) == []


# -- the provider ----------------------------------------------------------------------------------
def test_a_provider_that_is_slow_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), []

    def ask() -> list[dict[str, Any]]:
        asked.append(1)
        assert go.wait(60)
        return [{"name": "web-01"}]

    monkeypatch.setattr(instances, "_ask", ask)
    monkeypatch.setattr(instances, "SECONDS", 0.05)
    provider = instances.Provider()
    sentence = "The provider has not answered in 0.05 s."
    assert [provider.look() for _time in range(2)] == [([], sentence)] * 2
    monkeypatch.setattr(instances, "SECONDS", 60)
    go.set()
    assert provider.look() == ([{"name": "web-01"}], "")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotFound("no socket"), "No provider answers: no socket."),
        (KeyError("x"), "Asking the provider has failed; the server's log says how"),
    ],
)
def test_a_provider_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, sentence: str
) -> None:
    def ask() -> list[dict[str, Any]]:
        raise error

    monkeypatch.setattr(instances, "_ask", ask)
    found, told = instances.Provider().look()
    assert found == []
    assert told.startswith(sentence)
    # It is in the log before the question is answered.
    assert [one.exc_info[0] for one in caplog.records if one.exc_info] == ([KeyError] if "log" in sentence else [])


# -- cookies ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
def test_a_cookie_is_for_https_only_under_https(scheme: str, secure: bool) -> None:
    request = Request({"type": "http", "scheme": scheme, "server": ("localhost", 1), "path": "/", "headers": []})
    answer = Response()
    pages.set_cookie(request, answer, pages.COOKIE, "x")
    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/ui"} <= parts
    assert ("secure" in parts) is secure
