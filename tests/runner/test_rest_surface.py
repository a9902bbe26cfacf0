# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists in pages, problem documents, and clients that mean no good: a server without a worker."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead.jobs.service import Order, Service
from rackstead.jobs.workflows import Catalog
from tests.runner.rest_server import SECONDS, WORKFLOWS, Server, running

PROBLEM = "application/problem+json"
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("surface"), "--no-worker", "--open-metrics") as found:
        yield found


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of an answer, which fits its status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["title"]
    return found


def pages(server: Server, path: str) -> list[Any]:
    found, cursor = [], ""
    while cursor is not None:
        page = server.get(f"{path}&cursor={cursor}")
        found += page["items"]
        cursor = page["next"]
    return found


# -- lists ------------------------------------------------------------------------------------------
def test_pages_filters_and_order(server: Server) -> None:
    made = [server.submit(name, tags=["pages"])["id"] for name in ("ok", "fails", "ok", "ok", "fails")]
    server.call("POST", f"/tasks/{made[2]}/cancel")
    ids = [one["id"] for one in pages(server, "/tasks?limit=2")]
    assert [one for one in ids if one in made] == made[::-1]
    assert [one["id"] for one in pages(server, "/tasks?limit=2&sort=created")] == ids[::-1]
    of = {one["id"] for one in pages(server, "/tasks?limit=2&workflow=ok&state=pending&state=running")}
    assert of & set(made) == {made[0], made[3]}
    assert [one["id"] for one in pages(server, "/tasks?limit=1&state=cancelled")] == [made[2]]
    assert pages(server, "/tasks?limit=5&who=nobody") == []


def test_a_page_does_not_move_when_jobs_are_added(server: Server) -> None:
    for _ in range(3):
        server.submit("ok")
    first = server.get("/tasks?limit=2")
    before = [one["id"] for one in pages(server, "/tasks?limit=500")]
    server.submit("ok")
    second = server.get(f"/tasks?limit=2&cursor={first['next']}")
    assert [one["id"] for one in first["items"] + second["items"]] == before[:4]


def test_a_list_has_at_once_what_another_process_has_written(server: Server) -> None:
    """This process writes to the server's store behind its back."""
    service = Service(open_store(server.env["RACKSTEAD_STATE"]), server.folder / "data", Catalog([WORKFLOWS]))
    path = "/tasks?limit=3&who=behind"
    assert server.get(path) == server.get(path) == {"items": [], "next": None}
    made: list[str] = []
    for number in range(8):
        made.insert(0, service.submit(Order("ok", {"what": "x"}), "behind").id)
        found = server.get(path)
        assert [one["id"] for one in found["items"]] == made[:3] and bool(found["next"]) is (number > 1)
        assert server.get(path) == found
        service.cancel(made[0], "behind")
        assert server.get(path)["items"][0] == server.get(f"/tasks/{made[0]}")
        assert server.get(path)["items"][0]["state"] == "cancelled"
    service.store.close()


def test_cursors_are_checked(server: Server) -> None:
    cursor = server.get("/tasks?limit=1")["next"]
    for path in (
        "/tasks?cursor=nonsense",
        "/tasks?cursor=ÿ",
        f"/tasks?cursor={cursor}&sort=created",
        f"/audit?cursor={cursor}",
        f"/tasks?cursor={cursor[:-4]}",
    ):
        found = problem(server.call("GET", path), 422)
        assert found["errors"][0]["pointer"] == "query/cursor", path


def test_the_state_store(server: Server) -> None:
    for number in range(5):
        answer = server.call("PUT", f"/state/note/rack-{number}/slot", {"number": number, "api_token": "swordfish"})
        assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    found = pages(server, "/state/note?limit=2&prefix=rack-")
    assert [one["key"] for one in found] == [f"rack-{number}/slot" for number in range(5)]
    assert found[0]["body"] == {"number": 0, "api_token": "********"}
    path = "/state/note/rack-0/slot"
    assert server.call("PUT", path, {"number": 9}, headers={"If-Match": '"1"'}).headers["etag"] == '"2"'
    problem(server.call("PUT", path, {"number": 8}, headers={"If-Match": '"1"'}), 412)
    problem(server.call("PUT", path, {"number": 8}, headers={"If-Match": "0"}), 412)
    assert server.get(path)["body"] == {"number": 9}
    assert problem(server.call("PUT", path, {"api_token": "********"}), 422)["errors"]
    assert server.call("DELETE", path, headers={"If-Match": "2"}).status_code == 204
    problem(server.call("DELETE", path), 404)
    problem(server.call("GET", path), 404)
    for kind in ("audit", "lease", "meta", "job", "job-input", "token", "worker", "schedule"):
        problem(server.call("PUT", f"/state/{kind}/x", {}), 403)
    for kind in ("job-input", "token", "job-key"):
        problem(server.call("GET", f"/state/{kind}"), 403)
    assert "note" in server.get("/state")["items"]
    assert "token" not in server.get("/state")["items"]


def test_schedules(server: Server) -> None:
    body = {"name": "nightly", "cron": "30 2 * * *", "workflow": "ok", "variables": {"what": "x"}}
    assert server.call("POST", "/schedules", body).status_code == 201
    problem(server.call("POST", "/schedules", body), 409)
    bad = problem(server.call("POST", "/schedules", {**body, "name": "b", "cron": "never"}), 422)
    assert bad["errors"][0]["pointer"] == "/cron"
    found = server.get("/schedules")["items"]
    assert [(one["name"], one["workflow"]) for one in found] == [("nightly", "ok")]
    assert found[0]["paused"] is False
    for word, paused in (("pause", True), ("pause", True), ("resume", False)):
        answer = server.call("POST", f"/schedules/nightly/{word}")
        assert (answer.status_code, answer.json()["paused"]) == (200, paused)
    assert problem(server.call("POST", "/schedules/daily/pause"), 404)
    told = server.get("/audit?target=schedule/nightly")["items"]
    assert [one["action"] for one in told] == ["schedule.resume", "schedule.pause", "schedule.add"]
    assert server.call("DELETE", "/schedules/nightly").status_code == 204
    problem(server.call("DELETE", "/schedules/nightly"), 404)


# -- workflows --------------------------------------------------------------------------------------
def test_servers_are_created_by_the_workflow_apply(server: Server) -> None:
    body = {"infra": "production", "settings": "./settings.yaml", "servers": ["web-01", "web-02"], "check_mode": True}
    job = server.call("POST", "/workflows/servers/create", body)
    assert job.status_code == 202
    found = job.json()
    assert (found["workflow"], found["check"]) == ("apply", True)
    assert found["variables"] == {
        "plan_src": str(server.folder / "settings.yaml"),
        "plan_limit": ["web-01", "web-02"],
        "plan_name": "production",
    }
    nameless = {**body, "settings": "0" * 1000}  # no file can be named so
    assert server.call("POST", "/workflows/servers/create", nameless).status_code == 202
    for name in ("taskserv", "cluster"):
        told = problem(server.call("POST", f"/workflows/{name}/create", body), 404)
        assert f'no workflow is named "{name}"' in told["detail"]
        assert "apply" in told["detail"]


def test_settings_in_the_home_of_nobody_are_refused(server: Server) -> None:
    for kind in ("servers", "taskserv", "cluster"):
        found = problem(server.call("POST", f"/workflows/{kind}/create", {"settings": "~nobody-here/x.yml"}), 422)
        assert found["errors"] == [{"pointer": "/settings", "detail": "is not the path of anybody here"}]


def test_workflows_tell_their_variables(server: Server) -> None:
    found = {one["name"]: one for one in server.get("/workflows")["items"]}
    assert {"apply", "ok", "sleeps"} <= set(found)
    assert server.get("/workflows/ok")["options"]["password"]["no_log"] is True
    assert 'did you mean "sleeps"' in problem(server.call("GET", "/workflows/sleep"), 404)["detail"]


def test_problems_name_the_fields(server: Server) -> None:
    body = {"variables": {"wha": "x", "number": "seven"}, "limit": "-x"}
    found = problem(server.call("POST", "/workflows/ok", body), 422)
    assert [one["pointer"] for one in found["errors"]] == ["/variables/wha", "/variables/number", "/limit"]
    assert found["instance"] == "/workflows/ok"
    found = problem(server.call("POST", "/workflows/ok", {"variabels": {}, "priority": 77}), 422)
    assert {one["pointer"] for one in found["errors"]} == {"/variabels", "/priority"}
    found = problem(server.call("POST", "/workflows/sleeps", {}), 422)
    assert [one["pointer"] for one in found["errors"]] == ["/variables/folder"]
    found = problem(server.call("POST", "/workflows/ok", {"after": ["0" * 26]}), 422)
    assert [one["pointer"] for one in found["errors"]] == ["/after"]
    problem(server.call("GET", f"/tasks/{'0' * 26}"), 404)
    problem(server.call("GET", "/nothing"), 404)
    assert problem(server.call("DELETE", "/tasks"), 405)["title"] == "Method Not Allowed"


def test_the_same_key_gives_the_same_job(server: Server) -> None:
    first = server.submit("ok", {"what": "once"}, idempotency_key="k1")
    assert server.submit("ok", {"what": "once"}, idempotency_key="k1")["id"] == first["id"]
    problem(server.call("POST", "/workflows/ok", {"variables": {"what": "other"}, "idempotency_key": "k1"}), 409)


def test_metrics_may_be_open(server: Server) -> None:
    answer = server.call("GET", "/metrics", token="")
    assert answer.status_code == 200
    assert "rackstead_queue_depth" in answer.text


# -- clients that mean no good ----------------------------------------------------------------------
def raw(server: Server, text: bytes, *, patience: float = SECONDS) -> bytes:
    """Send bytes, and read until the server closes the connection."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), patience) as connection:
        connection.sendall(text)
        found = b""
        while added := connection.recv(65_536):
            found += added
    return found


def head(server: Server, path: str, *lines: str, method: str = "POST") -> bytes:
    given = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {server.token}", *lines]
    return ("\r\n".join([*given, "Content-Type: application/json"]) + "\r\n\r\n").encode()


def test_large_bodies_are_refused_unread(server: Server) -> None:
    announced = raw(server, head(server, "/workflows/ok", f"Content-Length: {10 * MEGABYTE}"))
    assert announced.startswith(b"HTTP/1.1 413 ")
    assert b'"title":"Content Too Large"' in announced or b'"title":"Request Entity Too Large"' in announced
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=SECONDS)
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(160):
            yield b" " * (MEGABYTE // 16)
            sent += 1

    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/workflows/ok", chunks(), headers, encode_chunked=True)
        status = connection.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        status = 413  # closed while we were still sending
    connection.close()
    assert status == 413
    assert sent < 160 or status == 413
    fits = {"variables": {"what": "x" * (MEGABYTE - 200)}}
    assert server.call("POST", "/workflows/ok", fits).status_code == 202
    problem(server.call("POST", "/workflows/ok", {"variables": {"what": "x" * MEGABYTE}}), 413)


@pytest.mark.parametrize(
    "path",
    [
        "/tasks/../../../../etc/passwd",
        "/tasks/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/jobs/..%2f..%2fstate.db/events",
        "/jobs/..%2f..%2fstate.db/stdout",
        "/workflows/..%2f..%2f..%2fetc",
        "/workflows/%00",
        "/state/..%2fstate/x",
        "/state/note/..%2f..%2f..%2fetc%2fpasswd",
        "/state/note/%00",
        "/tasks/01M7Z8SXJ4J5ZG396BFK4QQ1AK",
    ],
)
def test_paths_lead_nowhere_else(server: Server, path: str) -> None:
    text = raw(server, head(server, path, "Connection: close", method="GET"))
    assert int(text.split()[1]) in (404, 422), text
    assert b"root:" not in text


def test_bodies_that_are_no_json(server: Server) -> None:
    for body, statuses in (
        (b"{", (422,)),
        (b"\xff\xfe", (400, 422)),
        (b"[" * 100_000, (400, 422)),
        (b'{"variables": {"what": "\\ud800"}}', (202, 422)),
        (b'{"variables": {"number": NaN}}', (422,)),
        (b'{"not_before": Infinity}', (422,)),
        (b'{"variables": {"number": 1e999}}', (422,)),
        (b'{"variables": {"what": ' + b"[" * 400 + b"]" * 400 + b"}}", (422,)),
        (b"null", (422,)),
    ):
        text = raw(server, head(server, "/workflows/ok", f"Content-Length: {len(body)}", "Connection: close") + body)
        assert int(text.split()[1]) in statuses, (body[:40], text)
    assert server.get("/tasks?limit=500")["items"]


def test_words_never_reach_a_shell(server: Server) -> None:
    words = "$(touch pwned); `touch pwned` | touch pwned\n{{ lookup('pipe', 'touch pwned') }}"
    job = server.submit("ok", {"what": words})
    assert job["variables"]["what"] == words
    assert not list(server.folder.rglob("pwned"))


def test_slow_clients_are_let_go(server: Server) -> None:
    """A head, or a body, that does not come: the others are served meanwhile, and these are closed."""
    unfinished = b"GET /tasks HTTP/1.1\r\nHost: x\r\n"
    again = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HT"
    body = head(server, "/workflows/ok", "Content-Length: 1000") + b"{"
    answers: dict[bytes, bytes] = {}
    threads = [
        threading.Thread(target=lambda text=text: answers.update({text: raw(server, text)}))
        for text in (unfinished, again, body, b"")
        for _ in range(10)
    ]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    assert server.call("GET", "/tasks").status_code == 200
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert time.monotonic() - begun < SECONDS
    assert answers[unfinished] == b""
    assert answers[b""] == b""
    assert answers[again].startswith(b"HTTP/1.1 200 ")
    assert answers[body].startswith(b"HTTP/1.1 408 ")
    assert server.call("GET", "/tasks").status_code == 200


def test_logs_are_json_and_name_jobs(server: Server) -> None:
    job = server.submit("ok")
    server.get(f"/tasks/{job['id']}")

    def written() -> list[dict[str, Any]] | None:
        """The log's whole lines, once the request's is there: it is written after the answer."""
        whole = server.log.rpartition("\n")[0].splitlines()
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        asked = {"job": job["id"], "status": 200, "who": "admin"}
        return lines if any(asked.items() <= line.items() for line in lines) else None

    lines = wait_until(written, Deadline(30), what="the request's line in the log")
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert "Traceback" not in server.log


# -- the registry -----------------------------------------------------------------------------------
def test_nodes_and_clusters_come_change_and_go(server: Server) -> None:
    made = server.call("POST", "/clusters", {"name": "lab", "variables": {"microk8s_channel": "1.32/stable"}})
    assert (made.status_code, made.json()["nodes"]) == (201, [])
    node = {"name": "node1", "address": "192.0.2.11", "cluster": str(made.json()["id"]), "labels": {"rack": "a"}}
    added = server.call("POST", "/nodes", node)
    assert (added.status_code, added.json()["cluster"], added.json()["become"]) == (201, "lab", False)
    number = added.json()["id"]
    changed = server.call("PATCH", f"/nodes/{number}", {"become": True, "bmc": {"address": "192.0.2.111"}})
    assert (changed.json()["become"], changed.json()["bmc"]["address"]) == (True, "192.0.2.111")
    assert server.get("/nodes/node1") == changed.json() and server.get("/nodes")["items"] == [changed.json()]
    shown = server.get("/clusters/lab")
    assert (shown["nodes"], shown["scanned"], shown["seen"][0]["said"]) == (["node1"], 0.0, "not scanned")
    wrong = problem(server.call("PATCH", "/nodes/node1", {"port": 22, "mac": "x", "cluster": "lap"}), 422)
    assert [one["pointer"] for one in wrong["errors"]] == ["/mac", "/cluster"]
    assert 'did you mean "lab"' in wrong["detail"]
    problem(server.call("PATCH", "/nodes/node1", {"cluster": ""}), 409)
    problem(server.call("DELETE", "/nodes/node1"), 409)
    problem(server.call("DELETE", "/clusters/lab"), 409)
    said = problem(server.call("GET", "/nodes/nod1"), 404)
    assert 'did you mean "node1"' in said["detail"]
    server.call("PATCH", "/clusters/lab", {"description": "one Pi"})
    assert server.get("/clusters")["items"][0]["description"] == "one Pi"
    assert server.call("DELETE", "/nodes/node1?member=true").status_code == 204
    assert server.call("DELETE", "/clusters/lab").status_code == 204
    assert server.get("/nodes")["items"] == server.get("/clusters")["items"] == []


def test_what_is_done_to_a_cluster_is_a_job_for_those_whose_role_reaches_so_far(server: Server) -> None:
    server.call("POST", "/clusters", {"name": "site"})
    problem(server.call("POST", "/clusters/site/actions", {"action": "scan"}), 409)  # it has no nodes
    number = server.call("POST", "/nodes", {"name": "work1", "worker": True, "cluster": "site"}).json()["id"]
    planned = {one["action"]: one for one in server.get("/clusters/site/actions")["items"]}
    assert planned["shutdown"]["danger"] and any("work1" in step for step in planned["shutdown"]["steps"])
    job = server.call("POST", "/clusters/site/actions", {"action": "shutdown", "check_mode": True})
    assert (job.status_code, job.json()["workflow"], job.json()["registry"]) == (202, "shutdown_cluster", True)
    assert job.json()["target"] == ["cluster cluster_site"] and job.json()["check"]
    wrong = problem(server.call("POST", "/clusters/site/actions", {"action": "scan", "variables": {"x": 1}}), 422)
    assert [one["pointer"] for one in wrong["errors"]] == ["/variables/x"]
    problem(server.call("POST", "/clusters/site/actions", {"action": "explode"}), 422)
    viewer = server.new_token("sees", "--role", "viewer")
    assert server.get("/clusters/site", token=viewer)["nodes"] == ["work1"]
    for path, body in (("/clusters/site/actions", {"action": "shutdown"}), ("/nodes", {"name": "node2"})):
        problem(server.call("POST", path, body, token=viewer), 403)
    read = server.call("POST", "/api/hardware-report", {"node_id": number})
    assert (read.json()["variables"]["hardware_nodes"], read.json()["registry"]) == (["work1"], True)
