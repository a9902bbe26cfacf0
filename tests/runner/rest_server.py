# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``rackstead serve`` as a process of its own, and a client for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until

from tests.conftest import CHECKOUT
from tests.runner.conftest import end, pids, read, state

SECONDS = 60.0
WORKFLOWS = CHECKOUT / "tests/runner/workflows"


@dataclass
class Server:
    """A server with state and data in ``folder``, or its ``state`` elsewhere. The first start makes its first token."""

    folder: Path
    words: tuple[str, ...] = ()
    token: str = ""
    url: str = ""
    process: subprocess.Popen[str] = field(init=False)
    starts: int = 0
    state: str = ""

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RACKSTEAD_")}
        own = {
            "RACKSTEAD_STATE": self.state or f"sqlite:{self.folder}/state.db",
            "RACKSTEAD_DATA": f"{self.folder}/data",
            "RACKSTEAD_WORKFLOWS": str(WORKFLOWS),
            "RSTEST_SERVER": str(self.folder),
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]),
        }
        return {**kept, **own}

    @property
    def log_file(self) -> Path:
        return self.folder / f"log-{self.starts}"

    @property
    def log(self) -> str:
        return "".join((self.folder / f"log-{number}").read_text() for number in range(1, self.starts + 1))

    def start(self) -> Server:
        """Returns when it listens; its worker comes a little later."""
        self.starts += 1
        first = ["--init"] if not self.token else []
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                self.argv("serve", "--listen", "127.0.0.1:0", *first, *self.words),
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        if first and self.process.stdout:
            self.token = self.process.stdout.readline().strip()
        self.url = wait_until(
            self._listening, Deadline(SECONDS), what="the server to listen", last_seen=lambda: self.log
        )
        return self

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "rackstead.cli", *words]

    def _listening(self) -> str | None:
        assert self.process.poll() is None, self.log
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        return next((line["url"] for line in lines if "url" in line), None)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command on the same state."""
        return subprocess.run(
            self.argv(*words), cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=SECONDS
        )

    def new_token(self, name: str, *words: str) -> str:
        done = self.command("token", "create", name, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        token = self.token if token is None else token
        given = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        return httpx.request(method, self.url + path, json=body, headers=given, timeout=SECONDS)

    def get(self, path: str, **more: Any) -> Any:
        answer = self.call("GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, workflow: str, variables: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        answer = self.call("POST", f"/workflows/{workflow}", {"variables": variables or {}, **more})
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())

    def until(self, job_id: str, *states: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            job = self.get(f"/tasks/{job_id}")
            return job if job["state"] in states else None

        return wait_until(there, Deadline(SECONDS), what=f"job {job_id} to be {states}", last_seen=lambda: self.log)

    @contextmanager
    def stream(self, job_id: str, after: int | None = None) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a job as they come: fields of each server-sent event, data read."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        with httpx.stream("GET", f"{self.url}/jobs/{job_id}/events", headers=headers, timeout=SECONDS) as answer:
            assert answer.status_code == 200
            yield parsed(answer.iter_lines())

    def family(self) -> list[int]:
        """Processes of this server, its worker and its jobs."""
        mark = f"RSTEST_SERVER={self.folder}".encode()
        return [pid for pid in pids() if mark in read(pid, "environ").split(b"\0") and state(pid) not in "ZX"]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(SECONDS)
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)

    def end(self) -> None:
        """Leave nothing running, however the test went."""
        if self.process.poll() is None:
            self.stop()
        end(self.family())


def parsed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = {}
    for line in lines:
        if line:
            name, _colon, value = line.partition(": ")
            found[name] = json.loads(value) if name == "data" else value
        else:
            if "data" in found:
                yield found
            found = {}


@contextmanager
def running(folder: Path, *words: str, state: str = "") -> Iterator[Server]:
    server = Server(folder, words, state=state)
    try:
        yield server.start()
    finally:
        server.end()
