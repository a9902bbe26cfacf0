# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what over REST, and where the server refuses to listen."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until

from tests.runner.rest_server import SECONDS, Server, running

JOB = {"variables": {"what": "x"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("access"), "--no-worker") as found:
        yield found


def test_nothing_is_told_without_a_token(server: Server) -> None:
    for path in ("/tasks", "/workflows", "/audit", "/state", "/state/job", "/metrics", "/schedules"):
        answer = server.call("GET", path, token="")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    health = server.call("GET", "/health", token="")
    assert health.json()["store"] == "ok"
    assert health.json()["worker"] == "none"


def test_forged_tokens_are_refused(server: Server) -> None:
    good = server.token
    other = good[:-1] + ("A" if good[-1] != "A" else "B")
    digest = json.dumps({"digest": good})
    for text in ("x", other, good + "x", good.upper(), digest, "ö" * 20, "a" * 5000):
        answer = server.call("GET", "/tasks", headers={"Authorization": f"Bearer {text}".encode()}, token="")  # type: ignore[dict-item]
        assert answer.status_code == 401, text
    basic = server.call("GET", "/tasks", headers={"Authorization": f"Basic {good}"}, token="")
    assert basic.status_code == 401


def test_roles(server: Server) -> None:
    viewer, operator = server.new_token("v"), server.new_token("o", "--role", "operator")
    assert server.call("GET", "/tasks", token=viewer).status_code == 200
    refused = server.call("POST", "/workflows/ok", JOB, token=viewer)
    assert refused.status_code == 403
    assert "operator" in refused.json()["detail"]
    job = server.call("POST", "/workflows/ok", JOB, token=operator)
    assert job.status_code == 202
    assert job.json()["who"] == "o"
    assert job.headers["location"] == f"/tasks/{job.json()['id']}"
    assert server.call("POST", f"/tasks/{job.json()['id']}/cancel", token=viewer).status_code == 403
    assert server.call("PUT", "/state/note/a", {"x": 1}, token=operator).status_code == 403
    assert server.call("PUT", "/state/note/a", {"x": 1}).status_code == 200


def test_scopes(server: Server) -> None:
    token = server.new_token("s", "--role", "operator", "--workflow", "o*", "--target", "server:web-*")
    assert server.call("POST", "/workflows/ok", {"variables": {"server": "web-1"}}, token=token).status_code == 202
    for workflow, variables in (("ok", {"server": "db-1"}), ("ok", {}), ("fails", {})):
        answer = server.call("POST", f"/workflows/{workflow}", {"variables": variables}, token=token)
        assert answer.status_code == 403, (workflow, variables)
    mine = server.get("/tasks", token=token)["items"]
    assert [job["target"] for job in mine] == [["server:web-1"]]
    assert server.get("/tasks")["items"][0]["target"] == ["server:web-1"]
    other = server.submit("ok", {"server": "db-1"})
    assert [
        [job["target"] for job in server.get("/tasks?limit=2", token=one)["items"]] for one in (server.token, token)
    ] == [
        [["server:db-1"], ["server:web-1"]],
        [["server:web-1"]],
    ]
    assert [job["target"] for job in server.get("/tasks?limit=2", token=token)["items"]] == [["server:web-1"]]
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        assert server.call(method, f"/tasks/{other['id']}{path}", token=token).status_code == 403
    assert server.call("GET", f"/jobs/{other['id']}/events", token=token).status_code == 403
    assert server.call("GET", "/audit", token=token).status_code == 403
    assert server.call("GET", "/state/job", token=token).status_code == 403
    assert [one["name"] for one in server.get("/workflows", token=token)["items"]] == ["ok"]


def test_a_token_is_refused_when_revoked_or_out_of_date(server: Server) -> None:
    token, short = server.new_token("r"), server.new_token("e", "--days", "0.00001")
    assert server.call("GET", "/tasks", token=token).status_code == 200
    assert server.command("token", "revoke", "r").returncode == 0

    def refused(text: str) -> bool | None:
        return server.call("GET", "/tasks", token=text).status_code == 401 or None

    assert wait_until(lambda: refused(token), Deadline(SECONDS), what="the revoked token to be refused")
    assert wait_until(lambda: refused(short), Deadline(SECONDS), what="the old token to be refused")
    told = server.command("token", "list", "--json")
    assert "r" not in [one["name"] for one in json.loads(told.stdout)["tokens"]]


def test_tokens_are_kept_as_digests_and_never_shown(server: Server) -> None:
    again = server.command("token", "create", "v2")
    token = again.stdout.strip()
    server.call("GET", f"/tasks?who={token}", token=token)
    server.call("GET", f"/tasks/{token}", token=token)
    for text in (token, server.token):
        assert text not in server.log
        files = [path for path in server.folder.rglob("*") if path.is_file()]
        assert [path for path in files if text.encode() in path.read_bytes()] == []
    assert server.call("GET", "/state/token").status_code == 403
    assert server.call("PUT", "/state/token/evil", {"role": "admin"}).status_code == 403
    taken = server.command("token", "create", "v2")
    assert (taken.returncode, taken.stdout) == (1, "")
    assert taken.stderr == 'error: token "v2": is there already; revoke it first\n'
    used = {one["name"]: one["used"] for one in json.loads(server.command("token", "list", "--json").stdout)["tokens"]}
    assert used["v2"] is not None


def test_changes_are_in_the_audit_chain(server: Server) -> None:
    job = server.submit("ok")
    server.call("POST", f"/tasks/{job['id']}/cancel")
    server.call("PUT", "/state/note/b", {"x": 1})
    server.call("DELETE", "/state/note/b")
    found = server.get("/audit?who=admin&limit=4")["items"]
    assert [one["action"] for one in found] == ["state.delete", "state.put", "job.cancel", "job.submit"]
    assert {one["origin"] for one in found} == {"127.0.0.1"}
    assert server.get("/audit?action=token.create&sort=seq")["items"][0]["target"] == "token/admin"


def test_the_first_token_is_printed_once(server: Server) -> None:
    assert server.token.startswith("rackstead_")
    again = subprocess.run(
        server.argv("serve", "--init", "--listen", "203.0.113.1:0", "--no-worker"),
        env=server.env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert again.stdout == ""
    assert "there are tokens already" in again.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--listen", "0.0.0.0:0"), "there is no token yet"),
        (("--listen", "0.0.0.0:0", "--insecure-http"), "there is no token yet"),
        (("--listen", "[::]:0", "--init"), "without TLS"),
        (("--listen", "example:1"), "is not valid"),
        (("--listen", "127.0.0.1:0", "--tls-cert", "x"), "one does not go without the other"),
    ],
)
def test_it_refuses_to_listen(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = Server(tmp_path).command("serve", "--no-worker", *words)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert told in errors[0]


def test_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout {key} -out {cert}"
    subprocess.run([*words.split(), "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], check=True)
    with running(tmp_path, "--no-worker", "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(cert))
        assert httpx.get(f"{server.url}/health", verify=trusting).json()["store"] == "ok"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{server.url}/health")
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https:", "http:") + "/health")


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = Server(tmp_path).command("serve", "--no-worker", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
