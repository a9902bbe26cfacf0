# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs commands on this machine, each with a deadline, and ends them whole when it has passed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..common.errors import DeadlineExceeded, NotFound


@dataclass(frozen=True)
class Result:
    """What a command answered."""

    rc: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both outputs in one line."""
        return " ".join(f"{self.out} {self.err}".split())


class Runner(Protocol):
    """Whoever runs commands."""

    def run(self, argv: Sequence[str], timeout: float, feed: str = "") -> Result:
        """``feed`` is what the command reads. Raises NotFound where there is no such command, and DeadlineExceeded."""


class Local:
    """Runs commands here. No input but what is given, English answers."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.env = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}

    def run(self, argv: Sequence[str], timeout: float, feed: str = "") -> Result:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=self.env,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise NotFound(f"there is no command {argv[0]}", hint="is MicroK8s installed here?") from error
        try:
            out, err = process.communicate(feed or None, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _end(process)
            # Not the whole command line: it may hold a token.
            raise DeadlineExceeded(f"{' '.join(argv[:2])} did not end within {timeout:g} s") from error
        return Result(process.returncode, out, err)


def _end(process: subprocess.Popen[str]) -> None:
    """End a command with all that it started, which may hold its output open."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(BrokenPipeError):  # what it had not read
                pipe.close()
