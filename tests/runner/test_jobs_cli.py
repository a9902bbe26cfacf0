# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands job, workflow, schedule and worker, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT

SECONDS = 120


class Shell:
    def __init__(self, folder: Path) -> None:
        self.env = {
            **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
            "RACKSTEAD_STATE": f"file:{folder}/state",
            "RACKSTEAD_DATA": str(folder / "data"),
            "RACKSTEAD_WORKFLOWS": str(Path(__file__).parent / "workflows"),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]),
            "TMPDIR": str(folder),
        }
        self.folder = folder

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "rackstead.cli", *words]
        return subprocess.run(argv, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS)

    def document(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*words, "--json").stdout)
        return found


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def worker(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "rackstead.cli", "worker"]
    running = subprocess.Popen(argv, env=shell.env, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None and "4 jobs at once" in running.stderr.readline()
    yield running
    running.send_signal(signal.SIGINT)
    assert running.wait(SECONDS) == 0
    running.stderr.close()


def test_what_cannot_be_meant_is_refused_before_it_is_queued(shell: Shell) -> None:
    bad = shell("job", "submit", "ok", "-e", "number=many", "-e", "wat=1")
    assert bad.returncode == 2 and bad.stdout == ""
    assert [line.split(":")[0] for line in bad.stderr.splitlines()] == ["error", "error"]
    assert 'did you mean "what"?' in bad.stderr and "many" in bad.stderr
    for words, said in (
        (["submit", "oky"], 'no workflow is named "oky"'),
        (["submit", "ok", "-e", "password=correct-horse"], "RACKSTEAD_STATE_KEY"),
        (["submit", "ok", "--at", "soon"], "--at"),
        (["submit", "ok", "--priority", "10"], "--priority"),
        (["list", "--state-of", "done"], "--state-of"),
        (["show", "nope"], 'there is no job "nope"'),
        (["cancel", "nope"], 'there is no job "nope"'),
    ):
        found = shell("job", *words)
        assert (found.returncode, found.stdout) == (2, "") and said in found.stderr, words
    assert shell.document("job", "list")["jobs"] == []


def test_without_a_worker_a_job_waits_and_says_so(shell: Shell) -> None:
    found = shell("job", "submit", "ok", "--key", "once")
    assert found.returncode == 0 and "no worker is running" in found.stderr
    job = found.stdout.strip()
    assert shell("job", "submit", "ok", "--key", "once").stdout.strip() == job
    assert f"{job}: cancelled" in shell("job", "cancel", job).stdout
    again = shell("job", "cancel", job)
    assert again.returncode == 1 and "it is cancelled already" in again.stderr
    assert shell("job", "wait", job).returncode == 1


def test_a_job_is_followed_to_its_end(shell: Shell, worker: subprocess.Popen[str]) -> None:
    followed = shell("job", "submit", "ok", "-e", "what=hello", "--follow", "--tags", "all", "--check")
    job = followed.stderr.strip()
    assert followed.returncode == 0 and "what hello" in followed.stdout
    assert followed.stdout.splitlines()[-1].startswith(f"{job}: completed after")
    shown = shell("job", "show", job).stdout
    assert "what=hello" in shown and "localhost: " in shown and "Change something" in shown
    logs = shell("job", "logs", job, "--follow").stdout
    assert "what hello" in logs and "PLAY RECAP" in logs
    events = shell.document("job", "logs", job)["events"]
    lines = shell("job", "logs", job, "--follow", "--json", "--after", "2").stdout.splitlines()
    assert [json.loads(line) for line in lines] == events[2:]
    assert job in shell("job", "list", "--workflow", "ok", "-s", "completed").stdout


def test_a_failed_jobs_end_is_the_exit_code_and_it_can_run_again(shell: Shell, worker: subprocess.Popen[str]) -> None:
    failed = shell("job", "submit", "fails", "--retries", "0", "--wait", "--json")
    document = json.loads(failed.stdout)
    assert (failed.returncode, document["exit_code"], document["ok"]) == (1, 1, False)
    assert document["errors"] == ["it failed"] and document["job"]["state"] == "failed"
    job = document["job"]["id"]
    assert "queued again" in shell("job", "retry", job).stdout
    assert shell("job", "wait", job).returncode == 1
    assert shell.document("job", "show", job)["job"]["execution"] == 2


def test_paths_are_those_of_who_submits(shell: Shell, worker: subprocess.Popen[str]) -> None:
    (shell.folder / "here").mkdir()
    found = json.loads(shell("job", "submit", "flaky", "-e", "folder=here", "--wait", "--json").stdout)
    assert found["job"]["state"] == "completed" and found["job"]["attempt"] == 2
    assert found["job"]["variables"] == {"folder": str(shell.folder / "here")}


def test_workflows_and_schedules(shell: Shell) -> None:
    names = {one["name"] for one in shell.document("workflow", "list")["workflows"]}
    assert {"apply", "ok", "forks"} <= names
    shown = shell("workflow", "show", "apply").stdout
    assert "plan_src" in shown and "rackstead_url" in shown
    assert shell("schedule", "add", "yearly", "0 0 1 1 *", "ok", "-e", "what=x").returncode == 0
    assert "yearly" in shell("schedule", "list").stdout
    assert shell("schedule", "add", "bad", "0 0 1", "ok").returncode == 2
    assert shell("schedule", "remove", "yearly").returncode == 0
    assert shell.document("schedule", "list")["schedules"] == []


def test_help_does_not_load_what_only_jobs_need() -> None:
    code = "import sys, rackstead.cli; print([name for name in ('dbos', 'sqlalchemy', 'yaml', 'ansible') if name in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]])}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=SECONDS)
    assert found.stdout == "[]\n"
