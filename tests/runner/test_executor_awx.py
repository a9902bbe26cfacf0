# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that run as jobs of an AWX: a stand-in that speaks its API and runs real playbooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Denied, InvalidInput, Unreachable
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import keys_from_environment, new_key
from standins import awx as standin
from standins.site import Fault

from rackstead.executors import choose
from rackstead.executors.awx import NOTE, Awx, Launch
from rackstead.executors.awx_client import Settings
from rackstead.executors.elsewhere import Elsewhere
from rackstead.jobs.execution import End
from rackstead.jobs.model import Job, JobState
from rackstead.jobs.service import Service, input_of
from rackstead.jobs.workflows import Catalog
from tests.runner.attempts import SECONDS, SECRET, WORKFLOWS, Attempts, eventually


@dataclass
class Site(Attempts):
    """A state store and an AWX."""

    awx: standin.Awx = field(kw_only=True)
    settings: Settings = field(kw_only=True)

    def attempt(self, job: Job, **settings: Any) -> Elsewhere:
        workflow = self.service.catalog.get(job.workflow)
        variables = input_of(self.service.store, job.id)
        chosen = replace(self.settings, **settings)
        return Launch(chosen, self.service.store, job, workflow, variables, self.service.place(job.id))

    def launches(self) -> int:
        return sum(line.startswith("POST") and line.endswith("/launch/") for line in self.awx.asked)

    def whole(self, job: str) -> bool:
        """Whether the job has every event of AWX, once and in order."""
        return self.counters(job) == list(range(1, len(self.awx.jobs[-1].events) + 1))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    new_key(tmp_path / "key")
    monkeypatch.setenv("RACKSTEAD_STATE_KEY_FILE", str(tmp_path / "key"))
    store = open_store(f"file:{tmp_path}/state", keys=keys_from_environment())
    with standin.running(tmp_path) as awx:
        for name in ("ok", "sleeps", "fails"):
            awx.template(f"rackstead {name}", WORKFLOWS / f"{name}.yml")
        settings = Settings(awx.url, standin.TOKEN, patience=5.0, settle=1.0, look=0.05, most=0.2)
        service = Service(store, tmp_path / "data", Catalog([WORKFLOWS]))
        found = Site(tmp_path, service, NOTE, awx=awx, settings=settings)
        yield found
        found.go()
        for attempt in found.attempts:
            attempt.stop(End.LOST)
        found.pool.shutdown()
    store.close()


def test_a_job_template_runs_and_its_events_become_the_jobs_own(site: Site) -> None:
    site.awx.templates[0].passwords = ("password",)
    job, _verdict = site.run(
        "ok", {"what": "x" * 3000, "password": SECRET}, check=True, limit="localhost", tags=["all"]
    )
    assert (job.state, job.rc, job.changed) == (JobState.COMPLETED, 0, True)
    assert job.recap["localhost"]["ok"] == 2 and job.recap["localhost"]["changed"] == 1
    assert [task["task"] for task in job.tasks] == ["Say it", "Change something"]
    assert all(0 < task["seconds"] < SECONDS for task in job.tasks)
    order = site.awx.jobs[0].order
    assert (order["job_type"], order["limit"], order["job_tags"]) == ("check", "localhost", "all")
    assert site.whole(job.id) and site.notes() == [] and site.launches() == 1
    text = site.service.stdout(job.id)
    assert "x" * 3000 in text and HIDDEN in text and "\x1b" not in text
    kept = [path.read_bytes() for path in (site.folder / "data").rglob("*") if path.is_file()]
    assert kept and not any(SECRET.encode() in one or standin.TOKEN.encode() in one for one in kept)


def test_a_playbook_that_fails_fails_the_job(site: Site) -> None:
    job, verdict = site.run("fails", {"how": "permanently"})
    assert job.state is JobState.FAILED and job.rc == 2 and verdict.result and verdict.result.permanent
    assert "value of how must be one of: other" in job.error


def test_what_awx_does_not_answer_is_asked_again_and_launched_once(site: Site) -> None:
    site.awx.faults = [
        Fault("GET", "job_templates/$", "drop"),
        Fault("POST", "launch", "lose"),
        Fault("GET", r"/\d+/jobs/$", 500),
        Fault("GET", "job_events", 502),
        Fault("GET", r"jobs/\d+/$", 401),
        Fault("GET", "events", "lose"),
    ]
    job, _verdict = site.run("ok")
    assert job.state is JobState.COMPLETED and site.whole(job.id)
    assert len(site.awx.jobs) == site.launches() == 1 and not any(one.times for one in site.awx.faults)


def test_a_launch_that_awx_has_not_done_is_another_attempts(site: Site) -> None:
    site.awx.faults = [Fault("POST", "launch", 503)]
    job_id = site.submit("ok", retries=1)
    job = site.begin(job_id)
    verdict = site.launch(job).result(SECONDS)
    assert verdict.end is End.DIED and "(503), and has launched nothing" in verdict.error
    assert site.ledger.end(job, verdict).state is JobState.PENDING
    job = site.begin(job_id)
    assert site.launch(job).result(SECONDS).end is End.RESULT
    assert len(site.awx.jobs) == 1 and site.notes() == []


def refused(site: Site, fault: str) -> None:
    first = site.awx.templates[0]
    if fault == "unknown":
        first.name = "another"
    elif fault == "needed":
        first.needed = ("what",)
    elif fault == "closed":
        first.asks = frozenset({"variables"})
    elif fault == "viewer":
        site.settings = replace(site.settings, token=standin.VIEWER)
    elif fault == "stranger":
        site.settings = replace(site.settings, token="nobody")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("unknown", ['there is no job template "rackstead ok"']),
        ("needed", ["variables_needed_to_start: 'what' value missing"]),
        ("closed", ['turn on "Prompt on launch" for Limit', 'turn on "Prompt on launch" for Job type']),
        ("secret", ["password is a secret", "password question of the survey"]),
        ("viewer", ["(403): You do not have permission"]),
        ("stranger", ["does not accept the token (401)"]),
    ],
)
def test_what_awx_refuses_is_said_and_not_tried_again(site: Site, fault: str, words: list[str]) -> None:
    refused(site, fault)
    variables = {"password": SECRET} if fault == "secret" else {}
    job, verdict = site.run("ok", variables, check=fault == "closed", limit="a" if fault == "closed" else "", retries=3)
    assert verdict.end is End.REFUSED and (job.state, job.attempt) == (JobState.FAILED, 1)
    assert all(word in job.error for word in words) and len(job.error.splitlines()) == (2 if fault == "closed" else 1)
    assert site.awx.jobs == [] and site.notes() == [] and SECRET not in job.error


def test_a_document_is_refused(site: Site) -> None:
    job, verdict = site.run("sleeps", {"folder": {"a": 1}})
    assert verdict.end is End.REFUSED and "folder is a document" in job.error and site.awx.jobs == []


def test_an_awx_that_ignores_what_it_was_given_is_not_believed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.awx.templates[1].asks -= {"job_type"}
    honest = site.awx._launchable
    monkeypatch.setattr(
        site.awx, "_launchable", lambda *words: (200, {**honest(*words)[1], "ask_job_type_on_launch": True})
    )
    job, verdict = site.run("sleeps", check=True)
    assert verdict.end is End.REFUSED and "AWX ignored job_type" in job.error
    assert site.awx.jobs[0].status == "canceled"


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_cancel_and_time_out_end_the_job_there_and_wait_for_it(site: Site, how: str) -> None:
    site.awx.faults = [Fault("POST", "cancel", "drop")]
    job = site.begin(site.submit("sleeps", timeout=1.0 if how == "timeout" else None))
    future = site.launch(job)
    if how == "cancel":
        eventually(site.sleeping, "the task")
        site.attempts[0].stop(End.CANCELLED)
    verdict = future.result(SECONDS)
    assert site.awx.jobs[0].status == "canceled" and site.notes() == []
    assert verdict.end is (End.CANCELLED if how == "cancel" else End.TIMEOUT)
    assert how == "cancel" or "time-out" in verdict.error


def test_who_has_lost_the_lease_writes_nothing_and_the_next_follows_on(site: Site) -> None:
    job_id = site.submit("sleeps")
    job = site.begin(job_id)
    future = site.launch(job)
    eventually(site.sleeping, "the task")
    eventually(lambda: len(site.counters(job_id)) > 2, "the first events")
    site.attempts[0].stop(End.LOST)
    assert future.result(SECONDS).end is End.LOST and site.awx.jobs[0].status == "running"
    before = site.counters(job_id)
    site.go()
    eventually(lambda: site.awx.jobs[0].status == "successful", "its end in AWX")
    assert site.counters(job_id) == before and site.notes() == [job.run]
    site.ledger.interrupt(job)
    again = site.begin(job_id)
    assert again.execution == 2 and again.run == job.run
    assert site.ledger.end(again, site.launch(again).result(SECONDS)).state is JobState.COMPLETED
    assert site.whole(job_id) and site.launches() == 1


def test_a_job_that_is_cancelled_while_nobody_is_at_it_is_ended_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rackstead.executors.awx.TEND", 0.1)
    job = site.begin(site.submit("sleeps"))
    future = site.launch(job)
    eventually(site.sleeping, "the task")
    site.attempts[0].stop(End.STOPPED)
    future.result(SECONDS)
    site.ledger.interrupt(job)
    assert site.service.cancel(job.id, "bob").state is JobState.CANCELLED
    executor = Awx(site.settings, site.service.store)
    eventually(lambda: executor.tend() or not site.notes(), "AWX to be told")
    executor.close()
    assert site.awx.jobs[0].status == "canceled"


def test_settings_that_are_wrong_are_told(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = site.service.store
    (tmp_path / "token").write_text(standin.TOKEN + "\n")
    choose("awx", store, url=site.awx.url, token_file=str(tmp_path / "token")).close()
    for name, url, token, kind in [
        ("elsewhere", "", "x", InvalidInput),
        ("awx", "", "x", InvalidInput),
        ("awx", "http://awx.example", "x", InvalidInput),
        ("awx", site.awx.url, "", InvalidInput),
        ("awx", site.awx.url, "wrong", Denied),
        ("awx", "http://127.0.0.1:1", "x", Unreachable),
        ("awx", site.awx.url + "/api/v1", standin.TOKEN, Exception),
    ]:
        monkeypatch.setenv("RACKSTEAD_AWX_TOKEN", token)
        with pytest.raises(kind) as found:
            choose(name, store, url=url)
        assert len(str(found.value).splitlines()) == 1 and standin.TOKEN not in str(found.value)


def test_a_worker_that_was_killed_finds_its_awx_job_again(site: Site) -> None:
    (site.folder / "token").write_text(standin.TOKEN)
    words = ["--executor", "awx", "--awx-url", site.awx.url, "--awx-token-file", str(site.folder / "token")]
    job = site.submit("sleeps")
    with site.worker(*words) as killed:
        eventually(site.sleeping, "the task")
        eventually(lambda: len(site.counters(job)) > 2, "the first events")
        killed()
        site.go()
        assert site.service.wait(job, SECONDS).state is JobState.COMPLETED
    assert site.launches() == 1 and site.whole(job) and site.notes() == []


def test_a_lease_is_renewed_while_awx_keeps_a_request_waiting(site: Site) -> None:
    job = site.begin(site.submit("ok"))
    renewed = threading.Event()
    workflow = site.service.catalog.get(job.workflow)
    attempt = Launch(site.settings, site.service.store, job, workflow, {}, site.service.place(job.id))

    def renew() -> bool:
        renewed.set()
        return False

    with site.awx.lock:
        future = site.pool.submit(attempt.run, renew, 0.05)
        assert renewed.wait(SECONDS)
    assert future.result(SECONDS).end is End.LOST and site.awx.jobs == []
