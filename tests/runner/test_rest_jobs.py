# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs over REST: submitted, waited for, followed live, cancelled, listed; and a server that is killed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testbed import postgres
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.runner.rest_server import SECONDS, Server, running

REASONS = "application/problem+json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("jobs")) as found:
        yield found


def test_a_job_that_is_waited_for(server: Server) -> None:
    job = server.submit("ok", {"what": "x", "number": 7}, wait=True)
    assert (job["state"], job["rc"], job["changed"]) == ("completed", 0, True)
    assert job["recap"]["localhost"]["ok"] == 2
    failed = server.submit("fails", retries=0, wait=True)
    assert (failed["state"], failed["rc"]) == ("failed", 2)
    assert "it failed" in failed["error"]
    text = server.call("GET", f"/jobs/{job['id']}/stdout")
    assert "TASK [Say it]" in text.text


def test_waiting_ends_when_its_time_is_over(server: Server, tmp_path: Path) -> None:
    job = server.submit("sleeps", {"folder": str(tmp_path)}, wait=True, wait_seconds=0.2)
    assert job["state"] in ("pending", "running")
    assert server.call("POST", f"/tasks/{job['id']}/cancel").status_code == 202
    server.until(job["id"], "cancelled")


def test_events_live_and_resumed_in_the_middle(server: Server, tmp_path: Path) -> None:
    job = server.submit("sleeps", {"folder": str(tmp_path)})
    seen = []
    with server.stream(job["id"]) as events:
        for event in events:
            seen.append(event)
            if event["data"].get("task") == "Wait":
                break
    assert server.get(f"/tasks/{job['id']}")["state"] == "running"  # they came while it ran
    last = int(seen[-1]["id"])
    with server.stream(job["id"], after=last - 2) as events:
        again = [next(events), next(events)]
        (tmp_path / "go").touch()
        rest = list(events)
    assert [int(one["id"]) for one in again] == [last - 1, last]
    assert again[1]["data"] == seen[-1]["data"]
    numbers = [int(one["id"]) for one in rest if "id" in one]
    assert numbers == list(range(last + 1, last + 1 + len(numbers)))
    assert rest[-1]["event"] == "end"
    assert rest[-1]["data"]["state"] == "completed"
    with server.stream(job["id"]) as events:
        assert [one["data"] for one in events][:-1] == [one["data"] for one in [*seen, *rest[:-1]]]


def test_events_as_a_websocket(server: Server) -> None:
    job = server.submit("ok", {"what": "socket"})
    url = server.url.replace("http:", "ws:") + f"/jobs/{job['id']}/ws"
    headers = {"Authorization": f"Bearer {server.token}"}
    with connect(url, additional_headers=headers, open_timeout=SECONDS) as socket:
        found = [json.loads(text) for text in socket]
    assert [one["seq"] for one in found[:-1]] == list(range(1, len(found)))
    assert found[-1]["event"] == "end"
    assert found[-1]["job"]["state"] == "completed"
    with connect(f"{url}?after={found[-2]['seq'] - 1}", additional_headers=headers) as socket:
        assert [json.loads(text) for text in socket] == found[-2:]
    for given, status in (({}, 401), ({"Authorization": "Bearer x"}, 401)):
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers=given)
        assert refused.value.response.status_code == status


def test_cancel_a_job_that_runs(server: Server, tmp_path: Path) -> None:
    job = server.submit("forks", {"folder": str(tmp_path)})
    with server.stream(job["id"]) as events:
        next(one for one in events if one["data"].get("event") == "runner_on_start")
        assert server.call("POST", f"/tasks/{job['id']}/cancel").status_code == 202
        end = list(events)[-1]
    assert end["data"]["state"] == "cancelled"
    again = server.call("POST", f"/tasks/{job['id']}/cancel")
    assert (again.status_code, again.headers["content-type"]) == (409, REASONS)


def test_run_a_job_again(server: Server) -> None:
    job = server.submit("fails", {"how": "permanently"}, wait=True)
    assert job["state"] == "failed"
    again = server.call("POST", f"/tasks/{job['id']}/retry")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    assert server.until(job["id"], "failed")["execution"] == 2


def test_a_job_of_a_node_is_refused_where_there_is_no_receptor(server: Server) -> None:
    job = server.submit("ok", node="edge1", wait=True)
    assert (job["state"], job["node"]) == ("failed", "edge1")
    assert job["error"].startswith('--node: "edge1" is not in reach: this worker has no Receptor')


def test_a_job_that_ends_before_it_begins_ends_its_stream(server: Server) -> None:
    job = server.submit("ok", not_before=4e9)
    with server.stream(job["id"]) as events:
        server.call("POST", f"/tasks/{job['id']}/cancel")
        assert [one["data"]["state"] for one in events] == ["cancelled"]


def test_metrics(server: Server, tmp_path: Path) -> None:
    job = server.submit("ok", {"server": "m1"}, wait=True)
    assert job["state"] == "completed"
    with server.stream(job["id"]) as events:
        assert list(events)
    never = server.submit("sleeps", {"folder": str(tmp_path), "server": "m1"})
    server.until(never["id"], "running")
    server.call("POST", f"/tasks/{never['id']}/cancel")
    server.until(never["id"], "cancelled")
    first = server.submit("sleeps", {"folder": str(tmp_path), "server": "m2"})
    server.until(first["id"], "running")
    second = server.submit("sleeps", {"folder": str(tmp_path), "server": "m2"})
    text = server.call("GET", "/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    assert float(values['rackstead_jobs_ended_total{state="completed",workflow="ok"}']) >= 1
    assert float(values['rackstead_jobs_ended_total{state="cancelled",workflow="sleeps"}']) >= 1
    assert float(values['rackstead_jobs{state="running",workflow="sleeps"}']) == 1
    assert float(values["rackstead_queue_depth"]) == 1
    assert float(values["rackstead_lease_waits"]) == 1
    assert 0 < float(values["rackstead_queue_age_seconds"]) < SECONDS
    assert float(values["rackstead_worker_alive"]) == 1
    assert float(values['rackstead_job_duration_seconds_count{workflow="ok"}']) >= 1
    assert float(values['rackstead_store_transaction_seconds_count{kind="read"}']) > 1
    assert float(values["rackstead_event_lag_seconds_count"]) >= 1
    for one in (second, first):
        server.call("POST", f"/tasks/{one['id']}/cancel")
        server.until(one["id"], "cancelled")


def test_killed_with_a_job_running_and_started_again(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        marks = tmp_path / "marks"
        marks.mkdir()
        job = server.submit("sleeps", {"folder": str(marks)})
        with server.stream(job["id"]) as events:
            seen = next(one for one in events if one["data"].get("task") == "Wait")
        with ThreadPoolExecutor(8) as many:  # a server with threads: its end is told to the worker many times
            list(many.map(lambda _: server.get("/tasks"), range(16)))
        server.kill()
        server.start()
        (marks / "go").touch()
        with server.stream(job["id"], after=int(seen["id"])) as events:
            rest = list(events)
        assert rest[-1]["data"]["state"] == "completed"
        assert "job_interrupted" in [one["data"].get("event") for one in rest]
        actions = [one["action"] for one in server.get(f"/audit?target=job/{job['id']}&sort=seq")["items"]]
        assert actions == ["job.submit", "job.interrupted", "job.completed"]
        assert server.stop() == 0
        assert server.family() == []


def test_a_server_on_postgresql_that_is_killed(tmp_path: Path) -> None:
    """State and queue are in PostgreSQL; what its worker was at goes on."""
    marks = tmp_path / "marks"
    marks.mkdir()
    with postgres.running() as database, running(tmp_path, state=database.new_database("serve")) as server:
        assert server.submit("ok", {"what": "x"}, wait=True)["state"] == "completed"
        job = server.submit("sleeps", {"folder": str(marks)})
        with server.stream(job["id"]) as events:
            seen = next(one for one in events if one["data"].get("task") == "Wait")
        server.kill()
        server.start()
        (marks / "go").touch()
        with server.stream(job["id"], after=int(seen["id"])) as events:
            assert list(events)[-1]["data"]["state"] == "completed"
        assert [one["state"] for one in server.get("/tasks")["items"]] == ["completed"] * 2
        actions = [one["action"] for one in server.get(f"/audit?target=job/{job['id']}&sort=seq")["items"]]
        assert actions == ["job.submit", "job.interrupted", "job.completed"]
        assert not list(tmp_path.rglob("queue.sqlite*"))
        assert server.stop() == 0


def test_a_job_that_runs_on_another_machine_is_followed(tmp_path: Path) -> None:
    """The worker has a data folder that the server does not see."""
    marks = tmp_path / "marks"
    marks.mkdir()
    with (
        postgres.running() as database,
        running(tmp_path, "--no-worker", state=database.new_database("far")) as server,
        (tmp_path / "worker.log").open("w") as log,
    ):
        words = ["setpriv", "--pdeathsig", "KILL", *server.argv("worker", "--data", str(tmp_path / "elsewhere"))]
        worker = subprocess.Popen(words, env=server.env, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            job = server.submit("sleeps", {"folder": str(marks)})
            with server.stream(job["id"]) as events:
                seen = [next(one for one in events if one["data"].get("task") == "Wait")]
                (marks / "go").touch()
                seen += events
            numbers = [int(one["id"]) for one in seen if "id" in one]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert seen[-2]["data"]["event"] == "job_ended" and seen[-1]["data"]["state"] == "completed"
            assert "TASK [Wait]" in server.call("GET", f"/jobs/{job['id']}/stdout").text
            assert server.get(f"/jobs/{job['id']}/results")["rc"] == 0
            assert server.call("GET", "/state/job-part").status_code == 403
        finally:
            worker.terminate()
            worker.wait(SECONDS)
        assert server.get(f"/jobs/{job['id']}/results")["rc"] == 0


def test_told_to_end_while_somebody_follows(tmp_path: Path) -> None:
    with running(tmp_path, "--no-worker") as server:
        job = server.submit("ok")
        with server.stream(job["id"]) as events:
            assert server.stop() == 0
            assert list(events) == []
