# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service layer of jobs, on a state store in files: no worker runs here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced, Held
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import keys_from_environment, new_key

from rackstead.jobs import events, schedules
from rackstead.jobs.events import EventLog
from rackstead.jobs.execution import End, Verdict
from rackstead.jobs.ledger import Ledger, judged, pause
from rackstead.jobs.model import INPUT, JOB, OPEN, Job, JobState, Result, new_id
from rackstead.jobs.retention import Retention
from rackstead.jobs.service import Order, Service, input_of
from rackstead.jobs.workflows import Catalog

WORKFLOWS = Path(__file__).parents[1] / "runner" / "workflows"
SECRET = "correct-horse-battery"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    new_key(tmp_path / "key")
    monkeypatch.setenv("RACKSTEAD_STATE_KEY_FILE", str(tmp_path / "key"))
    store = open_store(f"file:{tmp_path}/state", keys=keys_from_environment())
    return Service(store, tmp_path / "data", Catalog([WORKFLOWS]))


@pytest.fixture
def ledger(service: Service) -> Ledger:
    return Ledger(service.store, "me", "here", 30.0)


def begun(ledger: Ledger, job: Job) -> Job:
    found = ledger.begin(job.id, job.execution, "1.0.0")
    assert found is not None
    return found


def ok(**fields: Any) -> Verdict:
    return Verdict(End.RESULT, Result(0, **fields))


def failed(**fields: Any) -> Verdict:
    return Verdict(End.RESULT, Result(2, ["it failed"], **fields), "it failed")


# -- submitting ------------------------------------------------------------------------------------
def test_a_submitted_job_waits_with_the_workflows_own_values(service: Service) -> None:
    job = service.submit(Order("ok", {"number": "3", "server": "a"}), "ann", "cli")
    assert (job.state, job.priority, job.retries, job.target) == (JobState.PENDING, 5, 0, ["server:a"])
    assert job.variables == {"number": 3, "server": "a"} and service.show(job.id) == job
    [entry] = service.store.audit()
    assert (entry.who, entry.action, entry.target, entry.origin) == ("ann", "job.submit", f"job/{job.id}", "cli")


@pytest.mark.parametrize(
    ("order", "word"),
    [
        (Order("ok", {"number": "x", "wat": 1}), "wat"),
        (Order("ok", priority=10), "priority"),
        (Order("ok", node="-edge"), "node"),
        (Order("ok", timeout=0), "timeout"),
        (Order("ok", retries=-1), "retries"),
        (Order("ok", limit="-e@/etc/shadow"), "limit"),
        (Order("ok", limit="web,@/etc/shadow"), "limit"),
        (Order("ok", tags=["--become"]), "tags"),
    ],
)
def test_a_bad_order_leaves_nothing(service: Service, order: Order, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        service.submit(order, "ann")
    assert service.store.kinds() == []


def test_secrets_are_masked_and_sealed(service: Service, tmp_path: Path) -> None:
    job = service.submit(Order("ok", {"password": SECRET, "what": "x"}), "ann")
    assert job.variables == {"password": HIDDEN, "what": "x"}
    assert input_of(service.store, job.id) == {"password": SECRET, "what": "x"}
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept and not any(SECRET.encode() in content for content in kept)


def test_without_a_key_secrets_are_refused(service: Service) -> None:
    service.store.seal = None
    with pytest.raises(InvalidInput, match="RACKSTEAD_STATE_KEY"):
        service.submit(Order("ok", {"password": SECRET}), "ann")
    assert service.submit(Order("ok"), "ann")


def test_an_idempotency_key_gives_the_same_job(service: Service) -> None:
    order = Order("ok", {"what": "x"}, idempotency_key="k")
    job = service.submit(order, "ann")
    assert service.submit(order, "bob").id == job.id and len(service.jobs()) == 1
    with pytest.raises(Conflict, match='idempotency key "k"'):
        service.submit(replace(order, variables={"what": "y"}), "ann")


def test_a_job_runs_on_the_node_that_it_or_its_workflow_names(service: Service, tmp_path: Path) -> None:
    job = service.submit(Order("ok", node="edge1", idempotency_key="k"), "ann")
    assert job.node == "edge1" and service.show(job.id).node == "edge1"
    with pytest.raises(Conflict):
        service.submit(Order("ok", node="edge2", idempotency_key="k"), "ann")
    (tmp_path / "own/specs").mkdir(parents=True)
    (tmp_path / "own/there.yml").write_text("[]")
    (tmp_path / "own/specs/there.yml").write_text("workflow: {node: edge3}")
    service.catalog = Catalog([tmp_path / "own"])
    assert [service.submit(Order("there", node=node), "ann").node for node in ("", "edge4")] == ["edge3", "edge4"]


def test_a_job_may_only_come_after_one_that_is_there(service: Service) -> None:
    with pytest.raises(NotFound):
        service.submit(Order("ok", after=["nope"]), "ann")
    assert service.jobs() == []


def test_the_digest_of_a_file_that_is_named_is_kept(service: Service, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yml"
    plan.write_text("name: x\n")
    first = service.submit(Order("apply", {"plan_src": str(plan)}), "ann").inputs["plan_src"]
    plan.write_text("name: y\n")
    assert service.submit(Order("apply", {"plan_src": str(plan)}), "ann").inputs["plan_src"] != first


def test_jobs_are_listed_by_time_with_filters_and_a_cursor(service: Service) -> None:
    made = [service.submit(Order("ok" if number % 2 else "fails"), f"u{number}").id for number in range(5)]
    assert [job.id for job in service.jobs()] == made[::-1]
    assert [job.id for job in service.jobs(workflow="ok")] == [made[3], made[1]]
    assert [job.id for job in service.jobs(after=made[2], limit=1)] == [made[1]]
    assert [job.id for job in service.jobs(who="u4", states=["pending"])] == [made[4]]
    assert service.jobs(states=["failed"]) == []


def test_ids_sort_by_time() -> None:
    made = [new_id() for _number in range(1000)]
    assert made == sorted(set(made)) and all(len(one) == 26 for one in made)


# -- cancelling and running again ------------------------------------------------------------------
def test_a_waiting_job_is_cancelled_at_once(service: Service) -> None:
    job = service.submit(Order("ok"), "ann")
    assert service.cancel(job.id, "bob").state is JobState.CANCELLED
    assert service.store.find(OPEN, job.id) is None
    with pytest.raises(Conflict, match="it is cancelled already"):
        service.cancel(job.id, "bob")
    assert [entry.action for entry in service.store.audit()] == ["job.submit", "job.cancel"]


def test_a_cancelled_job_can_run_again(service: Service, ledger: Ledger) -> None:
    job = service.submit(Order("ok"), "ann")
    with pytest.raises(Conflict, match="failed and cancelled"):
        service.retry(job.id, "ann")
    service.cancel(job.id, "ann")
    again = service.retry(job.id, "ann")
    assert (again.state, again.execution, again.cancel) == (JobState.PENDING, 2, "")
    assert ledger.begin(job.id, 1, "1.0.0") is None
    assert begun(ledger, again).attempt == 1


# -- an execution ----------------------------------------------------------------------------------
def test_an_execution_begins_once_and_ends_once(service: Service, ledger: Ledger) -> None:
    job = begun(ledger, service.submit(Order("ok"), "ann"))
    assert ledger.begin(job.id, 1, "1.0.0") is None
    assert ledger.end(job, ok(changed=True)).state is JobState.COMPLETED
    with pytest.raises(Fenced):
        ledger.end(job, ok())
    assert [entry.action for entry in service.store.audit()] == ["job.submit", "job.completed"]
    assert service.store.find(OPEN, job.id) is None


def test_two_jobs_never_hold_one_target(service: Service, ledger: Ledger) -> None:
    one, two, other = (service.submit(Order("ok", {"server": name}), "ann") for name in ("a", "a", "b"))
    one = begun(ledger, one)
    with pytest.raises(Held):
        ledger.begin(two.id, 1, "1.0.0")
    assert service.show(two.id).state is JobState.PENDING and begun(ledger, other)
    ledger.bounce(two.id, 1, "waits")
    ledger.end(one, ok())
    assert begun(ledger, service.show(two.id)).execution == 2


def test_who_lost_a_job_writes_nothing(service: Service, ledger: Ledger) -> None:
    lost = begun(ledger, service.submit(Order("ok", {"server": "a"}), "ann"))
    ledger.interrupt(lost)
    now = begun(ledger, service.show(lost.id))
    assert (now.execution, now.attempt) == (2, 1)
    for write in (lambda: ledger.end(lost, ok()), lambda: ledger.renew(lost), lambda: ledger.interrupt(lost)):
        with pytest.raises(Fenced):
            write()
    assert service.show(lost.id).state is JobState.RUNNING
    assert ledger.end(now, ok()).state is JobState.COMPLETED


def test_a_lease_that_another_job_took_fences_off(service: Service, ledger: Ledger) -> None:
    quick = Ledger(service.store, "me", "here", 0.001)
    job = begun(quick, service.submit(Order("ok", {"server": "a"}), "ann"))
    begun(ledger, service.submit(Order("ok", {"server": "a"}), "ann"))
    with pytest.raises(Fenced):
        quick.renew(job)
    with pytest.raises(Fenced):
        quick.end(job, ok())


def test_a_failed_attempt_is_followed_by_another_up_to_the_last(service: Service, ledger: Ledger) -> None:
    job = service.submit(Order("fails", retries=1), "ann")
    after = ledger.end(begun(ledger, job), failed())
    assert (after.state, after.execution, after.attempt) == (JobState.PENDING, 2, 1) and after.not_before > 0
    after = ledger.end(begun(ledger, after), failed())
    assert (after.state, after.attempt, after.error, after.rc) == (JobState.FAILED, 2, "it failed", 2)


JOB_NOW = Job("j", "ok", "Ok", {}, 0.0, state=JobState.RUNNING, attempt=1, retries=3)


@pytest.mark.parametrize(
    ("job", "verdict", "state"),
    [
        (JOB_NOW, ok(), JobState.COMPLETED),
        (JOB_NOW, failed(), JobState.PENDING),
        (JOB_NOW, failed(permanent=True), JobState.FAILED),
        (JOB_NOW, Verdict(End.REFUSED, error="no such workflow"), JobState.FAILED),
        (JOB_NOW, Verdict(End.TIMEOUT, error="too long"), JobState.PENDING),
        (JOB_NOW, Verdict(End.DIED, error="killed"), JobState.PENDING),
        (replace(JOB_NOW, attempt=4), failed(), JobState.FAILED),
        (replace(JOB_NOW, cancel="ann"), failed(), JobState.CANCELLED),
        (replace(JOB_NOW, cancel="ann"), Verdict(End.CANCELLED), JobState.CANCELLED),
        (replace(JOB_NOW, cancel="ann"), ok(), JobState.COMPLETED),
    ],
)
def test_what_an_end_means(job: Job, verdict: Verdict, state: JobState) -> None:
    assert judged(job, verdict, 1.0).state is state


def test_pauses_double_with_jitter_up_to_a_bound() -> None:
    assert len({pause(5.0, 1) for _number in range(50)}) > 40
    for attempt, mean in ((1, 5.0), (2, 10.0), (4, 40.0), (30, 600.0)):
        assert all(0.75 * mean <= pause(5.0, attempt) <= 1.25 * mean for _number in range(50))


# -- events ----------------------------------------------------------------------------------------
def test_events_are_numbered_on_from_what_is_there(tmp_path: Path) -> None:
    for _round in range(2):
        with EventLog(tmp_path) as log:
            log.add("a")
            log.add("b")
    assert [event["seq"] for event in events.read(tmp_path)] == [1, 2, 3, 4]
    assert [event["seq"] for event in events.read(tmp_path, after=3)] == [4]


@pytest.mark.parametrize("torn", ['{"seq": 3, "ti', "x" * 200_000])
def test_what_a_killed_writer_left_of_a_line_is_dropped(tmp_path: Path, torn: str) -> None:
    with EventLog(tmp_path) as log:
        log.add("a", text="y" * 100_000)
        log.add("b")
    with (tmp_path / events.FILE).open("a") as file:
        file.write(torn)
    assert [event["event"] for event in events.read(tmp_path)] == ["a", "b"]
    with EventLog(tmp_path) as log:
        log.add("c")
    assert [(event["seq"], event["event"]) for event in events.read(tmp_path)] == [(1, "a"), (2, "b"), (3, "c")]


def test_events_are_followed_until_the_job_is_over(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.add("1")
        found = events.read(tmp_path, over=lambda: log._seq >= 3)
        seen = []
        for event in found:
            seen.append(event["event"])
            if log._seq < 3:
                log.add(str(log._seq + 1))
    assert seen == ["1", "2", "3"]


def test_events_hold_no_secrets(tmp_path: Path) -> None:
    hidden = 'quo"ted-secret'
    with EventLog(tmp_path, [SECRET, hidden]) as log:
        result = {"msg": f"it is {SECRET}", "password": "other", "cmd": [hidden], "invocation": {"x": 1}}
        log.take(
            {"event": "runner_on_ok", "stdout": f"ok {SECRET} {hidden}", "event_data": {"host": "h", "res": result}}
        )
    for name in (events.FILE, events.STDOUT):
        text = (tmp_path / name).read_text()
        assert SECRET not in text and "ted-secret" not in text and HIDDEN in text
    [event] = events.read(tmp_path)
    assert event["result"] == {"msg": f"it is {HIDDEN}", "password": HIDDEN, "cmd": [HIDDEN]}


def test_a_long_result_is_cut() -> None:
    found = events.short({"msg": "m", "stdout": "x" * 20_000, "lines": ["y" * 1000] * 1000})
    assert found == {"msg": "m", "cut": True}
    assert len(events.short({"stdout": "x" * 20_000})["stdout"]) < 17_000


# -- schedules and retention -----------------------------------------------------------------------
def test_a_schedule_comes_once_each_time(service: Service) -> None:
    schedules.add(service, "nightly", "0 2 * * *", Order("ok", {"password": SECRET}, tags=["x"]), "ann")
    schedules.run_due(service)
    assert service.jobs() == []
    make_due(service)
    schedules.run_due(service)
    schedules.run_due(service)
    [job] = service.jobs()
    assert (job.schedule, job.who, job.tags) == ("nightly", "ann", ["x"])
    assert input_of(service.store, job.id) == {"password": SECRET}
    [record] = schedules.every(service)
    assert record.body["next"] > record.time and record.body["last"] == job.id


def make_due(service: Service) -> None:
    [record] = schedules.every(service)
    service.store.put(schedules.SCHEDULE, record.key, {**record.body, "next": 1.0})


def test_a_paused_schedule_queues_nothing_and_leaves_out_what_came_meanwhile(service: Service) -> None:
    schedules.add(service, "often", "* * * * *", Order("ok"), "ann")
    assert schedules.is_paused(schedules.pause(service, "often", "ann"))
    make_due(service)
    schedules.run_due(service)
    assert service.jobs() == []
    record = schedules.pause(service, "often", "ann", paused=False)
    assert not schedules.is_paused(record) and record.body["next"] > record.time
    assert schedules.pause(service, "often", "ann", paused=False).version == record.version
    schedules.run_due(service)
    assert service.jobs() == []
    make_due(service)
    schedules.run_due(service)
    assert len(service.jobs()) == 1
    with pytest.raises(NotFound):
        schedules.pause(service, "other", "ann")


def test_a_schedule_waits_for_its_last_job(service: Service) -> None:
    schedules.add(service, "often", "* * * * *", Order("ok"), "ann")
    for _round in range(2):
        make_due(service)
        schedules.run_due(service)
    assert len(service.jobs()) == 1 and "not over" in schedules.every(service)[0].body["error"]
    service.cancel(service.jobs()[0].id, "ann")
    make_due(service)
    schedules.run_due(service)
    assert len(service.jobs()) == 2 and schedules.every(service)[0].body["error"] == ""


def test_a_schedule_whose_workflow_is_gone_says_so(service: Service) -> None:
    schedules.add(service, "old", "* * * * *", Order("ok"), "ann")
    make_due(service)
    service.catalog = Catalog([])
    schedules.run_due(service)
    assert service.jobs() == [] and 'no workflow is named "ok"' in schedules.every(service)[0].body["error"]


def test_bad_schedules_are_refused(service: Service) -> None:
    for cron, zone, word in (("* * * *", "UTC", "cron"), ("0 0 30 2 *", "UTC", "cron"), ("* * * * *", "Mars", "zone")):
        with pytest.raises(InvalidInput, match=word):
            schedules.add(service, "x", cron, Order("ok"), "ann", zone=zone)
    schedules.add(service, "x", "* * * * *", Order("ok"), "ann")
    with pytest.raises(Conflict, match="is there already"):
        schedules.add(service, "x", "* * * * *", Order("ok"), "ann")
    schedules.remove(service, "x", "ann")
    with pytest.raises(NotFound):
        schedules.remove(service, "x", "ann")
    assert service.store.kinds() == ["audit", "meta"]


def test_cron_expressions_follow_their_time_zone() -> None:
    # 2026-03-29 is the day on which clocks in Berlin go from 2 to 3: half past two comes at 1:30 UTC the day before
    before = 1774738800.0  # 2026-03-28T23:00Z
    assert schedules.utc(schedules.next_time("30 12 * * *", "Europe/Berlin", before)) == "2026-03-29T10:30:00Z"
    assert schedules.utc(schedules.next_time("30 12 * * *", "UTC", before)) == "2026-03-29T12:30:00Z"


@pytest.mark.parametrize(
    ("retention", "left"), [(Retention(1.0, 0), 2), (Retention(0.0, 1), 1), (Retention(0.0, 0), 3)]
)
def test_retention_takes_old_jobs_with_all_their_traces(service: Service, retention: Retention, left: int) -> None:
    made = [service.submit(Order("ok", idempotency_key=str(number)), "ann") for number in range(4)]
    for job in made[:3]:
        service.cancel(job.id, "ann")
        EventLog(service.place(job.id)).__exit__()
    EventLog(service.place("0" * 26)).__exit__()  # of a job that another machine's worker has forgotten
    old = service.store.get(JOB, made[0].id)
    service.store.put(JOB, old.key, {**old.body, "ended": 1.0})
    gone = retention.prune(service)
    kept = {job.id for job in service.jobs()}
    assert gone == 3 - left and len(kept) == left + 1 and made[3].id in kept
    assert {path.name for path in (service.folder / "jobs").iterdir()} == kept - {made[3].id}
    assert {record.key for record in service.store.list(INPUT)} == kept
    if gone:
        assert service.submit(Order("ok", idempotency_key="0"), "ann").id != made[0].id
