# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens, limits, addresses and problem documents, without a server."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.alerts import Thresholds
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import forget, remember
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.model import Report, Section, Smart
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from rackstead.jobs.execution import End, Verdict
from rackstead.jobs.ledger import Ledger
from rackstead.jobs.model import JobState, Result
from rackstead.jobs.service import Order, Service
from rackstead.jobs.workflows import Catalog
from rackstead.server import limits, logs, metrics, paging, tokens
from rackstead.server.problems import Refusal, field_of
from rackstead.server.process import Address
from rackstead.server.tokens import Token, Tokens
from tests.conftest import CHECKOUT


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file:{tmp_path}/state")


# -- tokens -----------------------------------------------------------------------------------------
def test_a_token_is_found_by_its_text_alone(store: Store) -> None:
    text = tokens.create(store, "anna", "operator", "root", "cli", days=1)
    found = Tokens(store).find(text)
    assert found is not None
    assert (found.name, found.role) == ("anna", "operator")
    assert found.expires == pytest.approx(found.created + 86_400)
    assert Tokens(store).find(tokens.digest(text)) is None
    assert Tokens(store).find(text + "x") is None
    assert text not in json.dumps(store.get("token", "anna").body)


def test_use_is_noted_at_most_once_a_minute(store: Store) -> None:
    text = tokens.create(store, "anna", "viewer", "root", "cli")
    known = Tokens(store)
    assert known.remembered(text) is None
    known.find(text)
    noted = store.get("token", "anna")
    assert noted.body["used"] is not None
    assert known.remembered(text) is not None
    known.forget()
    known.find(text)
    assert store.get("token", "anna").version == noted.version


def test_tokens_that_cannot_be(store: Store) -> None:
    tokens.create(store, "anna", "viewer", "root", "cli")
    with pytest.raises(Conflict):
        tokens.create(store, "anna", "viewer", "root", "cli")
    with pytest.raises(InvalidInput) as error:
        tokens.create(store, "an na", "boss", "root", "cli")
    assert len(error.value.problems) == 2
    with pytest.raises(NotFound):
        tokens.revoke(store, "otto", "root", "cli")
    actions = [entry.action for entry in store.audit()]
    assert actions == ["token.create"]


@pytest.mark.parametrize(
    ("token", "workflow", "targets", "good"),
    [
        (Token("t", "viewer"), "apply", [], True),
        (Token("t", "viewer", ["a*"]), "apply", ["x:1"], True),
        (Token("t", "viewer", ["b*"]), "apply", [], False),
        (Token("t", "viewer", [], ["x:*"]), "apply", ["x:1", "x:2"], True),
        (Token("t", "viewer", [], ["x:*"]), "apply", ["x:1", "y:2"], False),
        (Token("t", "viewer", [], ["x:*"]), "apply", [], False),
        (Token("t", "viewer", ["b*"], ["x:*"]), "apply", ["x:1"], False),
    ],
)
def test_scopes(token: Token, workflow: str, targets: list[str], good: bool) -> None:
    assert token.covers(workflow, targets) is good


# -- limits -----------------------------------------------------------------------------------------
def test_a_client_that_does_not_take_its_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TAKE", 0.05)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never(_message: Any = None) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(limits.Limits(app)({"type": "http", "headers": []}, never, never))


# -- words ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        ("plan_sr: not a variable of the workflow", "/variables/plan_sr"),
        ("argument 'number' is of type str and we were unable to convert to int", "/variables/number"),
        ("value of how must be one of: plainly, got: x", "/variables/how"),
        ("missing required arguments: folder", "/variables/folder"),
        ("nothing that names a field", "/variables"),
    ],
)
def test_the_field_that_a_line_names(line: str, pointer: str) -> None:
    assert field_of(line, "/variables")[0] == pointer


def test_cursors_are_for_one_list_in_one_order() -> None:
    cursor = paging.write("tasks", "created", "01x")
    assert paging.read(cursor, "tasks", "created") == "01x"
    for name, order, text in (
        ("audit", "created", cursor),
        ("tasks", "-created", cursor),
        ("tasks", "created", "WzFd"),
        ("tasks", "created", "!"),
        ("tasks", "created", paging.write("tasks", "created", "a\0b")),
    ):
        with pytest.raises(Refusal):
            paging.read(text, name, order)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [("127.0.0.1:8650", True), ("[::1]:0", True), ("localhost:1", True), ("0.0.0.0:80", False), ("[::]:80", False)],
)
def test_addresses(text: str, loopback: bool) -> None:
    assert Address.of(text).loopback is loopback


@pytest.mark.parametrize("text", ["", "8650", ":8650", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "a.example:80"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        Address.of(text)


def test_a_line_of_the_log_has_no_token_in_it(store: Store) -> None:
    text = tokens.create(store, "anna", "viewer", "root", "cli")
    job = "0" * 26
    record = logging.LogRecord("rackstead", logging.INFO, "", 0, "job %s: %s, password=swordfish", (job, text), None)
    record.fields = {"path": f"/tasks/{text}"}
    line = logs.Formatter().format(record)
    assert json.loads(line)["job"] == job
    assert text not in line
    assert "swordfish" not in line


# -- metrics ----------------------------------------------------------------------------------------
def test_a_job_that_is_cancelled_between_two_attempts_has_ended(store: Store, tmp_path: Path) -> None:
    service = Service(store, tmp_path / "data", Catalog([CHECKOUT / "tests/runner/workflows"]))
    found = metrics.Metrics(service)
    ledger = Ledger(store, "worker", "host", 30.0)
    job = service.submit(Order("fails"), "ann")
    begun = ledger.begin(job.id, job.execution, "1.0.0")
    assert begun
    assert ledger.end(begun, Verdict(End.RESULT, Result(2), "it broke")).state is JobState.PENDING
    assert service.cancel(job.id, "ann").state is JobState.CANCELLED
    lines = found.text().decode().splitlines()
    assert 'rackstead_jobs_ended_total{state="cancelled",workflow="fails"} 1.0' in lines


def test_alerts_of_hardware_reports_are_counted_by_part_and_not_by_node(store: Store, tmp_path: Path) -> None:
    found = metrics.Metrics(Service(store, tmp_path / "data", Catalog([CHECKOUT / "tests/runner/workflows"])))

    def lines() -> list[str]:
        return [line for line in found.text().decode().splitlines() if line.startswith("rackstead_hardware")]

    assert 'rackstead_hardware_alerts{section="smart",severity="critical"} 0.0' in lines()
    assert "rackstead_hardware_nodes 0.0" in lines()
    before = len(lines())
    for number in range(150):
        report = Report(
            node=f"node{number}",
            time=1000.0 + number,
            sections={"smart": Section("ok")},
            smart=[Smart(disk="sda", passed=False)],
        )
        remember(store, report, Thresholds())
    assert len(lines()) == before + 1  # the age
    assert 'rackstead_hardware_alerts{section="smart",severity="critical"} 150.0' in lines()
    assert "rackstead_hardware_nodes 150.0" in lines()
    [age] = [float(line.split()[1]) for line in lines() if "oldest" in line]
    assert age == pytest.approx(time.time() - 1000.0, abs=600)
    forget(store, "node7")
    assert 'rackstead_hardware_alerts{section="smart",severity="critical"} 149.0' in lines()
