# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line and the playbooks, run as a user runs them, on a private daemon."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pytest
from testbed.daemon import free_port

from tests.conftest import CHECKOUT
from tests.integration.conftest import Project, daemon, debian_image, project, recording_proxy

__all__ = ["daemon", "debian_image", "project", "recording_proxy"]

SECONDS = 120


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table on standard output, heading and rule left out."""
        lines = self.out.splitlines()
        rule = next(number for number, line in enumerate(lines) if line.startswith("───"))
        return [line.split() for line in lines[rule + 1 :]]


@dataclass
class CommandLine:
    """Runs ``rackstead`` in a folder and project of its own; ``scratch`` is its TMPDIR."""

    folder: Path
    project: Project
    marker: str
    scratch: Path = field(init=False)
    started: list[Any] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    #: on top of the environment; what is empty is taken away
    further: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir()

    @property
    def env(self) -> dict[str, str]:
        paths = os.pathsep.join([str(CHECKOUT / "src"), os.environ.get("PYTHONPATH", "")])
        # COLUMNS, which some test runner or library may have set, would make plain output wrap.
        kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        base = {name: value for name, value in kept.items() if not name.startswith("RACKSTEAD_")}
        own = {"TMPDIR": str(self.scratch), "RSTEST_MARKER": self.marker, "PYTHONPATH": paths, "HOME": str(self.folder)}
        whole = {**base, **self.project.env, **own, **self.further}
        return {name: value for name, value in whole.items() if value or name not in self.further}

    def plan(self, text: str, name: str = "demo.yml") -> str:
        """Write a plan; its path relative to the folder comes back. FREE_A and FREE_B become free ports of the host."""
        for sign in ("FREE_A", "FREE_B"):
            if sign in text:
                text = text.replace(sign, str(self.port(sign)))
        (self.folder / name).write_text(text)
        return name

    def port(self, sign: str) -> int:
        """The free port that stands for ``sign`` in this test."""
        return self.ports.setdefault(sign, free_port())

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "rackstead.cli", *words]

    def __call__(self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
        """Run it to its end, without a terminal."""
        done = subprocess.run(
            self.argv(*words),
            cwd=self.folder,
            env={**self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it without a terminal."""
        running = subprocess.Popen(
            self.argv(*words),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(running)
        return running

    def terminal(self, *words: str, columns: int = 80) -> pexpect.spawn[str]:
        """Start it on a terminal of its own."""
        command, *rest = self.argv(*words)
        child = pexpect.spawn(
            command,
            rest,
            cwd=str(self.folder),
            env={**self.env, "TERM": "xterm-256color"},  # type: ignore[arg-type]  # pexpect's stubs ask for os._Environ
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(40, columns),
        )
        self.started.append(child)
        return child

    def family(self) -> list[int]:
        """Processes that were started from here and still run."""
        mark = f"RSTEST_MARKER={self.marker}".encode()
        return [pid for pid in pids() if mark in read(pid, "environ").split(b"\0") and state(pid) not in "ZX"]


def pids() -> list[int]:
    return [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and int(entry.name) != os.getpid()
    ]


def read(pid: int, name: str) -> bytes:
    try:
        return (Path("/proc") / str(pid) / name).read_bytes()
    except OSError:
        return b""


def state(pid: int) -> str:
    """The letter of its state; X for one that is gone, also if it goes between two looks."""
    told = read(pid, "stat").rpartition(b")")[2].split()
    return told[0].decode() if told else "X"


def end(family: Iterable[int]) -> None:
    """Kill processes; those that ended by themselves meanwhile are gone as well."""
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def rackstead(tmp_path: Path, project: Project) -> Iterator[CommandLine]:
    """``rackstead(*words)`` runs the command line; whatever it leaves running ends with the test."""
    commands = CommandLine(tmp_path, project, f"{os.getpid()}-{tmp_path.name}")
    yield commands
    for running in commands.started:
        if isinstance(running, pexpect.spawn):
            running.close(force=True)
        else:
            running.kill()
            running.communicate()
    end(commands.family())
