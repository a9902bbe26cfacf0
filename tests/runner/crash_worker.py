# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that start fast, to be killed: each line on standard input forks one, whose process id is printed.

What they import is there before. The workflow ``quick`` runs in processes of ``crash_child.py``, others in Ansible's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dbos  # noqa: F401  so that the workers need not

from rackstead.executors.local import Local
from rackstead.jobs.child import PR_SET_PDEATHSIG
from rackstead.jobs.engine import Engine, Settings
from rackstead.jobs.execution import Attempt, Children, Process
from rackstead.jobs.model import Job
from rackstead.jobs.service import open_service
from rackstead.jobs.workflows import Workflow

PARALLEL = 3


class Quick(Children):
    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("crash_child.py")), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )


class Executor(Local):
    def __init__(self) -> None:
        super().__init__()
        self._quick = Quick()

    def attempt(self, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path) -> Attempt:
        if workflow.name != "quick":
            return super().attempt(job, workflow, variables, folder)
        return Process(self._quick, job, workflow, variables, folder)

    def tend(self) -> None:
        self._quick.refill()

    def close(self) -> None:
        self._quick.close()
        super().close()


def work() -> None:
    """As a worker does, until it is killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    Engine(open_service(), Settings(PARALLEL), Executor()).start()
    threading.Event().wait()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    for _line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                work()
            finally:
                os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
