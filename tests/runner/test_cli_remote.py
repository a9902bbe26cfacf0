# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line through a server: the same words, a server that goes away and comes back, and what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.daemon import free_port

from rackstead.cli import run_command
from tests.runner.rest_server import SECONDS, Server, running


class Person:
    """Somebody on another machine: nothing but the server's address and a token, in a folder and home of their own."""

    def __init__(self, server: Server, folder: Path, **more: str) -> None:
        folder.mkdir(exist_ok=True)
        self.server = server
        self.folder = folder
        kept = {name: value for name, value in server.env.items() if not name.startswith("RACKSTEAD_")}
        own = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "TMPDIR": str(folder)}
        self.env = {**kept, **own, "RACKSTEAD_SERVER": server.url, "RACKSTEAD_TOKEN": server.token, **more}

    def __call__(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in this process: there are many, and each would have to be started."""
        env = {name: value for name, value in {**self.env, **more}.items() if value}
        out, err = io.StringIO(), io.StringIO()
        surroundings = (patch.dict(os.environ, env, clear=True), chdir(self.folder))
        streams = (patch("sys.stdin", io.StringIO(stdin)), redirect_stdout(out), redirect_stderr(err))
        with ExitStack() as stack:
            for one in (*surroundings, *streams):
                stack.enter_context(one)
            code = run_command(list(words))
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def document(self, *words: str) -> dict[str, Any]:
        done = self(*words, "--json")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.server.argv(*words),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("remote")) as found:
        with_a_worker(found)
        yield found


def with_a_worker(server: Server) -> None:
    def alive() -> bool | None:
        return True if server.get("/health")["worker"] == "alive" else None

    wait_until(alive, Deadline(SECONDS), what="the worker", last_seen=lambda: server.log)


@pytest.fixture
def person(server: Server, tmp_path: Path) -> Person:
    return Person(server, tmp_path / "person")


# -- the same words ---------------------------------------------------------------------------------
def test_jobs_from_submission_to_their_end(person: Person) -> None:
    done = person("job", "submit", "ok", "-e", "what=hello", "--follow", "--tags", "all")
    assert done.returncode == 0 and "what hello" in done.stdout, done.stderr
    job = done.stderr.splitlines()[0]
    assert done.stdout.splitlines()[-1].startswith(f"{job}: completed after")
    shown = person.document("job", "show", job)["job"]
    assert shown["who"] == "admin" and shown["variables"] == {"what": "hello"} and shown["state"] == "completed"
    assert "what hello" in person("job", "logs", job).stdout
    events = person.document("job", "logs", job)["events"]
    lines = person("job", "logs", job, "--follow", "--json", "--after", "2").stdout.splitlines()
    assert [json.loads(line) for line in lines] == events[2:]
    failed = person("job", "submit", "fails", "--retries", "0", "--wait", "--json")
    document = json.loads(failed.stdout)
    assert (failed.returncode, document["errors"]) == (1, ["it failed"])
    listed = person.document("job", "list", "--before", document["job"]["id"], "-n", "1")["jobs"]
    assert [one["id"] for one in listed] == [job]
    assert person("job", "retry", document["job"]["id"]).returncode == 0
    assert person("job", "wait", document["job"]["id"]).returncode == 1


def test_the_registry_and_what_is_done_to_a_cluster(person: Person) -> None:
    assert (
        person("cluster", "add", "--name", "lab", "-e", "microk8s_channel=1.32/stable").stdout == "lab is cluster 1\n"
    )
    added = person.document(
        "node", "add", "--hostname", "node1", "--ip", "node1.invalid", "--cluster", "1", "-l", "a=b"
    )
    assert (added["node"]["cluster"], added["node"]["labels"]) == ("lab", {"a": "b"})
    changed = person.document("node", "change", "1", "--become", "-l", "c=d")["node"]
    assert (changed["become"], changed["labels"]) == (True, {"a": "b", "c": "d"})
    person("cluster", "change", "lab", "--description", "one Pi")
    assert "one Pi" in person("cluster", "list").stdout and "node1.invalid" in person("node", "list").stdout
    wrong = person("node", "change", "node1", "--mac", "x")
    assert (wrong.returncode, wrong.stderr) == (2, 'error: mac: "x" is not valid; allowed: such as 52:54:00:12:34:56\n')
    asks = person("cluster", "shutdown", "lab")
    assert asks.returncode == 2 and "there is no terminal to ask on" in asks.stderr
    scan = person("cluster", "scan", "lab")  # a job there, which finds nobody under that name
    assert scan.returncode == 3 and "node1" in scan.stderr, scan.stderr
    assert person.document("cluster", "show", "lab")["cluster"]["seen"][0]["said"] == "unreachable"
    job = person("cluster", "pause", "lab", "--yes", "--detach", "--selector", "app=web").stdout.strip()
    shown = person.document("operation", "show", job)["job"]
    assert (shown["workflow"], shown["variables"]["microk8s_workload_selector"]) == ("pause", "app=web")
    person("job", "cancel", job)
    assert person("cluster", "remove", "lab").returncode == 1
    person("node", "remove", "node1", "--member")
    assert person("cluster", "remove", "1").stdout == "lab is out of the registry; its machines are as they were\n"


def test_what_there_is_of_a_job_that_runs_and_its_end(person: Person, tmp_path: Path) -> None:
    job = person("job", "submit", "sleeps", "-e", f"folder={tmp_path}").stdout.strip()
    person.server.until(job, "running")
    there = person.document("job", "logs", job)["events"]
    assert there == [] or there[0]["event"] == "job_started"
    assert "being ended" in person("job", "cancel", job).stdout
    assert person("job", "wait", job).returncode == 1
    again = person("job", "cancel", job)
    assert again.returncode == 1 and "it is cancelled already" in again.stderr


def test_bad_input_is_told_as_it_is_here(person: Person) -> None:
    bad = person("job", "submit", "ok", "-e", "number=many", "-e", "wat=1")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert [line.split(":")[0] for line in bad.stderr.splitlines()] == ["error", "error"]
    assert 'error: wat: not a variable of the workflow "ok"; did you mean "what"?' in bad.stderr
    for words, said in (
        (["job", "submit", "oky"], 'no workflow is named "oky"'),
        (["job", "show", "nope"], 'there is no job "nope"'),
        (["job", "show", "0" * 26], "there is no job"),
        (["schedule", "add", "bad", "0 0 1", "ok"], "cron"),
        (["state", "get", "note", "nope"], "note/nope"),
        (["audit", "list", "--where", "seq=1"], "allowed: who"),
    ):
        found = person(*words)
        assert (found.returncode, found.stdout) == (2, "") and said in found.stderr, (words, found.stderr)


def test_workflows_schedules_records_and_the_audit_chain(person: Person) -> None:
    names = {one["name"] for one in person.document("workflow", "list")["workflows"]}
    assert {"apply", "ok", "forks"} <= names
    assert "plan_src" in person("workflow", "show", "apply").stdout
    assert person("schedule", "add", "yearly", "0 0 1 1 *", "ok", "-e", "what=x").returncode == 0
    assert "yearly" in person("schedule", "list").stdout
    assert person("schedule", "pause", "yearly").returncode == 0
    assert "paused" in person("schedule", "list").stdout
    assert person("schedule", "resume", "yearly").returncode == 0
    assert person.document("schedule", "list")["schedules"][0]["paused"] is False
    assert person("schedule", "pause", "daily").returncode == 2
    assert person("schedule", "remove", "yearly").returncode == 0
    assert person("state", "put", "note", "a b/c", '{"text": "x"}', "--expect", "0").returncode == 0
    moved = person("state", "put", "note", "a b/c", '{"text": "y"}', "--expect", "7")
    assert moved.returncode == 1 and len(moved.stderr.splitlines()) == 1
    assert person.document("state", "get", "note", "a b/c")["record"]["body"] == {"text": "x"}
    assert [one["key"] for one in person.document("state", "list", "note")["records"]] == ["a b/c"]
    assert "note" in person("state", "kinds").stdout.split()
    assert person.document("state", "delete", "note", "a b/c")["changed"] is True
    assert person.document("state", "delete", "note", "a b/c")["changed"] is False
    [entry] = person.document("audit", "list", "--where", "action=state.delete", "-n", "1")["entries"]
    assert (entry["who"], entry["target"]) == ("admin", "note/a b/c")
    exported = [json.loads(line)["seq"] for line in person("audit", "export").stdout.splitlines()]
    assert exported == list(range(1, len(exported) + 1)) and len(exported) >= entry["seq"]


def test_tokens_and_the_proof_of_the_audit_chain(person: Person) -> None:
    made = person.document("token", "create", "far", "--role", "operator", "--workflow", "ok*", "--days", "2")
    assert made["token"].startswith("rackstead_")
    assert person.server.call("GET", "/workflows", token=made["token"]).status_code == 200
    assert person.server.call("GET", "/tokens", token=made["token"]).status_code == 403
    again = person("token", "create", "far")
    assert (again.returncode, again.stdout) == (1, "") and "is there already" in again.stderr
    bad = person("token", "create", "b", "--role", "king")
    assert bad.returncode == 2 and "role" in bad.stderr
    [listed] = [one for one in person.document("token", "list")["tokens"] if one["name"] == "far"]
    assert (listed["role"], listed["workflows"]) == ("operator", ["ok*"]) and "digest" not in listed
    assert "far" in person("token", "list").stdout
    assert person("token", "revoke", "far").stdout == "far: revoked\n"
    assert person.server.call("GET", "/workflows", token=made["token"]).status_code == 401
    assert person("token", "revoke", "far").returncode == 2
    [entry] = person.document("audit", "list", "--where", "action=token.create", "-n", "1")["entries"]
    assert (entry["who"], entry["target"]) == ("admin", "token/far")
    whole = person("audit", "verify")
    assert whole.returncode == 0 and whole.stdout.startswith("the audit chain is whole: ")
    assert person.document("audit", "verify")["audit"]["ok"] is True


def test_a_playbook_ends_as_it_does_here(person: Person) -> None:
    nowhere = ("--url", "unix:///nowhere/unix.socket")
    done = person("status", *nowhere)
    assert done.returncode == 3 and done.stdout == ""
    told, error = done.stderr.splitlines()
    assert told.startswith("job ") and person.server.url in told
    assert error.startswith("error: ") and "unix:///nowhere/unix.socket" in error
    document = person.document("status", *nowhere)
    assert (document["exit_code"], document["errors"]) == (3, [error.removeprefix("error: ")])
    [job, _other] = person.document("job", "list", "--workflow", "status", "-n", "2")["jobs"]
    assert job["variables"] == {"rackstead_url": "unix:///nowhere/unix.socket"} and job["retries"] == 0


def test_a_server_fills_in_no_template_that_a_client_sends(person: Person, tmp_path: Path) -> None:
    made = tmp_path / "made"
    expression = "{{ lookup('ansible.builtin.pipe', 'touch " + str(made) + "') }}"
    plan = {"name": "demo", "instances": {"web": {"image": "tiny", "description": expression}}}
    variables = {"plan_src": plan, "rackstead_url": "unix:///nowhere/unix.socket"}
    job = person.server.submit("apply", variables, retries=0, wait=True)
    assert job["state"] == "failed" and "unix:///nowhere/unix.socket" in job["error"] and not made.exists()
    assert job["variables"]["plan_src"].startswith("document, SHA-256 ") and job["inputs"]["plan_src"]
    (person.folder / "demo.yml").write_text(json.dumps(plan))
    assert person("apply", "demo.yml", "--url", "unix:///nowhere/unix.socket").returncode == 3
    assert made.exists()  # here, by who wrote it


def test_a_plan_that_cannot_be_read_is_told_before_anything_is_sent(person: Person) -> None:
    for text, said in (("instances: [", "(line "), ("- a\n", "no mapping"), ("x: '{{ nope }}'", "nope")):
        (person.folder / "bad.yml").write_text(text)
        done = person("apply", "bad.yml")
        assert done.returncode == 2 and "bad.yml" in done.stderr and said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_does_not_go_through_a_server_says_so(person: Person) -> None:
    (person.folder / "demo.yml").write_text("name: demo\n")
    for words in (
        ("init",),
        ("status", "--watch"),
        ("state", "backup", "x"),
        ("state", "migrate", "--to", "sqlite:x"),
        ("apply", "demo.yml", "--client-cert", "demo.yml"),
        ("exec", "--env", "A=b", "-e", "exec_user={{ x }}", "web", "--", "true"),
    ):
        done = person(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert len(done.stderr.splitlines()) == 1 and ("--local" in done.stderr or "template" in done.stderr), words


# -- a server that goes away ------------------------------------------------------------------------
def test_who_follows_goes_on_when_the_server_was_killed(tmp_path: Path) -> None:
    with running(tmp_path, "--listen", f"127.0.0.1:{free_port()}") as server:
        with_a_worker(server)
        person = Person(server, tmp_path / "person")
        marks = tmp_path / "marks"
        marks.mkdir()
        following = person.start("job", "submit", "sleeps", "-e", f"folder={marks}", "--follow")
        try:
            assert following.stderr and following.stdout
            job = following.stderr.readline().strip()
            shown = iter(following.stdout.readline, "")
            assert any("TASK [Wait]" in line for line in shown)
            server.kill()
            server.start()
            (marks / "go").touch()
            rest, _told = following.communicate(timeout=3 * SECONDS)
            assert following.returncode == 0 and rest.splitlines()[-1].startswith(f"{job}: completed after")
        finally:
            following.kill()
            following.communicate()


def test_who_stops_following_does_not_stop_the_job(person: Person, tmp_path: Path) -> None:
    following = person.start("job", "submit", "sleeps", "-e", f"folder={tmp_path}", "--wait")
    assert following.stderr
    job = following.stderr.readline().strip()
    person.server.until(job, "running")
    following.send_signal(signal.SIGINT)
    _out, err = following.communicate(timeout=SECONDS)
    assert following.returncode == 130 and f"job {job} goes on; rackstead job logs -f {job}" in err
    assert person.server.get(f"/tasks/{job}")["state"] == "running"
    person("job", "cancel", job)
    person.server.until(job, "cancelled")


# -- who is let in ----------------------------------------------------------------------------------
@contextmanager
def stranger(body: bytes, kind: str) -> Iterator[str]:
    """Something else that listens, and answers everything with this."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_given: Any) -> None:
            return

    found = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        thread.join()
        found.server_close()


def refused(person: Person, code: int, said: str, env: Mapping[str, str], *words: str) -> None:
    done = person(*(words or ("job", "list")), **env)
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and person.server.token not in done.stderr


def test_a_server_that_cannot_be_spoken_with_is_exit_code_3(person: Person) -> None:
    refused(person, 3, "does not answer", {"RACKSTEAD_SERVER": f"http://127.0.0.1:{free_port()}"})
    refused(person, 3, "does not answer", {"RACKSTEAD_SERVER": f"http://127.0.0.1:{free_port()}"}, "status")
    refused(person, 3, "the token is unknown", {"RACKSTEAD_TOKEN": "rackstead_wrong"})
    refused(person, 3, "the token is unknown", {"RACKSTEAD_TOKEN": "rackstead_wrong"}, "health")
    with stranger(b"<p>hello", "text/html") as url:
        refused(person, 3, "is no rackstead server", {"RACKSTEAD_SERVER": url})
    with stranger(b'{"status": "ok", "version": "99.0.0"}', "application/json") as url:
        refused(person, 3, "is of version 99.0.0", {"RACKSTEAD_SERVER": url})


def test_a_role_that_does_not_reach_is_told(person: Person) -> None:
    viewer = person.server.new_token("looker", "--role", "viewer")
    refused(person, 3, "needs the role operator", {"RACKSTEAD_TOKEN": viewer}, "job", "submit", "ok")


def test_settings_that_cannot_be_meant_are_exit_code_2(person: Person) -> None:
    refused(person, 2, "RACKSTEAD_TOKEN", {"RACKSTEAD_TOKEN": ""})
    refused(person, 2, "--server", {"RACKSTEAD_SERVER": "ftp://x"})
    refused(person, 2, "show the token", {"RACKSTEAD_SERVER": "http://rackstead.example:8650"})
    refused(person, 2, "no-such-file", {"RACKSTEAD_TOKEN": "", "RACKSTEAD_TOKEN_FILE": "no-such-file"})
    refused(person, 2, "--server-ca", {"RACKSTEAD_SERVER_CA": "no-such-file"})


def test_a_server_is_remembered_until_it_is_forgotten(person: Person) -> None:
    nothing = {"RACKSTEAD_SERVER": "", "RACKSTEAD_TOKEN": ""}
    wrong = person("login", person.server.url, stdin="rackstead_wrong\n", **nothing)
    kept = person.folder / "config/rackstead/server.json"
    assert wrong.returncode == 3 and not kept.exists()
    done = person("login", person.server.url, stdin=person.server.token + "\n", **nothing)
    assert done.returncode == 0 and kept.stat().st_mode & 0o777 == 0o600, done.stderr
    assert person("workflow", "show", "forks", **nothing).returncode == 0
    assert person("job", "list", "--local", "--state", "file:here", **nothing).stdout == "no jobs\n"
    kept.chmod(0o640)
    refused(person, 2, "chmod 600", nothing)
    kept.chmod(0o600)
    assert person("logout", **nothing).returncode == 0 and not kept.exists()
    assert person("workflow", "show", "forks", **nothing).returncode == 2  # there is none of that name here


def test_tls_with_a_ca_of_ones_own(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout {key} -out {cert}"
    alone = [*words.split(), "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(alone, check=True, capture_output=True)
    with running(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        person = Person(server, tmp_path / "person")
        assert server.url.startswith("https://")
        refused(person, 3, "certificate", {})
        done = person("job", "submit", "ok", "--wait", RACKSTEAD_SERVER_CA=str(cert))
        assert done.returncode == 0, done.stderr
        assert person("job", "list", "--server-ca", str(cert)).returncode == 0
