# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks and single modules as a user would, and returns what they answered."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CALLBACKS = Path(__file__).with_name("callback")
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


@dataclass(frozen=True)
class TaskResult:
    """One task on one host. ``status`` is ok, failed, ignored, unreachable or skipped."""

    status: str
    host: str
    task: str
    action: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))

    @property
    def diff(self) -> Any:
        return self.result.get("diff")

    @property
    def msg(self) -> str:
        return str(self.result.get("msg", ""))

    def __getitem__(self, key: str) -> Any:
        return self.result[key]


@dataclass(frozen=True)
class PlayResult:
    """An ended ansible-playbook. ``results`` stand in the order in which they came in."""

    rc: int
    stdout: str
    stderr: str
    results: list[TaskResult] = field(default_factory=list)

    @property
    def last(self) -> TaskResult:
        return self.results[-1]

    @property
    def changed(self) -> bool:
        return any(result.changed for result in self.results)

    def of(self, task: str, host: str = "") -> TaskResult:
        """The result of the task with this name (on this host)."""
        return next(r for r in self.results if r.task == task and host in ("", r.host))

    def ok(self) -> PlayResult:
        """Itself, if nothing failed; raises AssertionError with the output otherwise."""
        assert self.rc == 0, f"ansible-playbook ended with {self.rc}\n{self.stdout}\n{self.stderr}"
        return self


class Playbooks:
    """Runs ansible-playbook below a folder of its own, with a given environment."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)
        self._count = itertools.count(1)

    def __call__(
        self,
        tasks: Sequence[Mapping[str, Any]],
        inventory: Mapping[str, Any] | str | Path | None = None,
        *,
        check: bool = False,
        diff: bool = False,
        variables: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        hosts: str = "all",
        play: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        timeout: float = 240,
    ) -> PlayResult:
        """Run ``tasks`` (or whole plays, which have ``hosts``) on ``inventory``: localhost, hosts with their
        variables, or the path of an inventory file. ``play`` adds keywords to the play around the tasks.
        """
        here = self.folder / f"play{next(self._count)}"
        here.mkdir(parents=True)
        plays: Any = tasks
        if not tasks or "hosts" not in tasks[0]:
            plays = [{"hosts": hosts, "gather_facts": False, **(play or {}), "tasks": list(tasks)}]
        book = here / "play.yml"
        book.write_text(json.dumps(plays, default=str))
        argv = ["ansible-playbook", "-i", str(_inventory(here, inventory)), str(book), *arguments]
        argv += ["--check"] if check else []
        argv += ["--diff"] if diff else []
        argv += ["-e", json.dumps(variables)] if variables else []
        return self.run(argv, here, env, timeout)

    def run(
        self, argv: Sequence[str], here: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 240
    ) -> PlayResult:
        """Run any command line that runs a playbook, and collect its results."""
        here = here or self.folder / f"run{next(self._count)}"
        here.mkdir(parents=True, exist_ok=True)
        record = here / "record.jsonl"
        (self.folder / "ansible.cfg").touch()
        done = subprocess.run(
            argv,
            env={**self.environment(record), **(env or {})},
            cwd=here,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        lines = record.read_text().splitlines() if record.exists() else []
        return PlayResult(done.returncode, done.stdout, done.stderr, [TaskResult(**json.loads(line)) for line in lines])

    def environment(self, record: Path) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "RACKSTEAD_"))}
        return {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "rackstead_record",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "RACKSTEAD_RECORD": str(record),
            **self.env,
        }


def _inventory(here: Path, inventory: Mapping[str, Any] | str | Path | None) -> Path:
    if isinstance(inventory, (str, Path)):
        return Path(inventory)
    hosts = {"localhost": LOCAL} if inventory is None else dict(inventory)
    file = here / "hosts.json"  # JSON is YAML, and the extension keeps the script plugin away from it
    file = file.with_suffix(".yml")
    file.write_text(json.dumps({"all": {"hosts": hosts}}, default=str))
    return file


class Modules:
    """Runs single modules in fresh processes forked from one that has the libraries loaded: 50 ms each."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)
        self._server: subprocess.Popen[str] | None = None

    def __call__(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
        diff: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The result of ``rackstead.infra.<name>`` (or of a module of Ansible by its full name)."""
        request = {
            "module": name if "." in name else f"ansible_collections.rackstead.infra.plugins.modules.{name}",
            "args": {**(args or {}), "_ansible_check_mode": check, "_ansible_diff": diff},
            "env": {**self.env, **(env or {})},
        }
        server = self._running()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(request, default=str) + "\n")
        server.stdin.flush()
        answer: dict[str, Any] = json.loads(server.stdout.readline())
        if answer["result"] is None:
            raise RuntimeError(f"{name} gave no result (rc {answer['rc']}):\n{answer['stdout']}\n{answer['stderr']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _running(self) -> subprocess.Popen[str]:
        if self._server is None:
            argv = [sys.executable, "-m", "testbed.modules"]
            env = {k: v for k, v in os.environ.items() if not k.startswith("RACKSTEAD_")}
            env["PYTHONPATH"] = os.pathsep.join([os.environ["ANSIBLE_COLLECTIONS_PATH"], str(CALLBACKS.parents[1])])
            self._server = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self._server

    def close(self) -> None:
        if self._server is not None:
            self._server.communicate()
            self._server = None


def unwrapped(value: Any) -> Any:
    """A document without the mappings in which ansible-inventory puts text that is no template."""
    if isinstance(value, dict):
        return (
            value["__ansible_unsafe"]
            if set(value) == {"__ansible_unsafe"}
            else {k: unwrapped(v) for k, v in value.items()}
        )
    return [unwrapped(item) for item in value] if isinstance(value, list) else value


def done(result: dict[str, Any]) -> dict[str, Any]:
    """A module's result, if it did not fail."""
    assert not result.get("failed"), result
    return result


def failed(result: dict[str, Any]) -> str:
    """What a module said that had to fail."""
    assert result.get("failed"), result
    return str(result["msg"])
