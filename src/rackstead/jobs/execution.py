# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt of a job, seen from the engine: a process is given the order, watched, and ended if need be."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from ..answers import Exit
from ..processes import NOBODY, end_all
from ..run import Request
from .documents import documents
from .model import Job, Result
from .workflows import Workflow, secrets_of, site_files

#: Of the 3 seconds in which a cancelled job is over: for the processes to end by themselves, and until
#: the process of the attempt must have seen to it.
GRACE = 1.0
PATIENCE = 2.0


#: Tells a playbook's tasks which job they belong to.
JOB_VARIABLE = "RACKSTEAD_JOB"
#: Exit codes of a process that was told to end: with its engine, say, or as a service manager stops a worker.
TOLD_TO_END = (Exit.INTERRUPTED, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)


class End(StrEnum):
    """How an attempt came to its end."""

    RESULT = "result"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    #: the process was killed, or failed outside of the playbook
    DIED = "died"
    #: it could not be begun: no such workflow any more, or its variables cannot be read
    REFUSED = "refused"
    #: the lease is another's now: nothing may be written
    LOST = "lost"
    #: this engine stops, or somebody has told the process to; the job goes on elsewhere or later
    STOPPED = "stopped"


@dataclass(frozen=True)
class Verdict:
    end: End
    result: Result | None = None
    error: str = ""


class Attempt(Protocol):
    """Runs a job once. ``stop`` may be called by another thread, at any time."""

    def run(self, renew: Callable[[], bool], every: float) -> Verdict:
        """``renew`` is called ``every`` so many seconds; False means that the lease is lost."""

    def stop(self, end: End) -> None: ...


class Children:
    """Starts the processes of attempts, one ahead of time. Always from the same thread, which lives as long as the
    engine: the kernel tells a process of the end of the thread that started it."""

    def __init__(self) -> None:
        self._spawner = ThreadPoolExecutor(1, "spawner")
        self._spare: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._taken = 0.0

    def take(self) -> subprocess.Popen[str]:
        with self._lock:
            spare, self._spare = self._spare, None
            self._taken = time.monotonic()
        if spare and spare.poll() is None:
            return spare
        return self._spawner.submit(self._start).result()

    def refill(self) -> None:
        """Have one ready again, when the last has had a second to itself."""
        with self._lock:
            if self._spare is None and time.monotonic() - self._taken > 1.0:
                self._spare = self._spawner.submit(self._start).result()

    def close(self) -> None:
        with self._lock:
            if self._spare:
                self._spare.communicate("")
        self._spawner.shutdown()

    def _start(self) -> subprocess.Popen[str]:
        package = Path(__file__).resolve().parents[2]
        path = os.pathsep.join(entry for entry in [str(package), *sys.path] if entry)
        return subprocess.Popen(
            [sys.executable, "-m", "rackstead.jobs.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )


class Process:
    """An attempt as a process of its own."""

    def __init__(self, children: Children, job: Job, workflow: Workflow, variables: Mapping[str, Any], folder: Path):
        self._children = children
        self._job = job
        self._result = result_file(folder, job.execution)
        answer = answer_file(folder, job.execution)
        self._order = {
            "folder": str(folder),
            "result": str(self._result),
            "answer": str(answer),
            "secrets": secrets_of(variables, workflow.masked(variables)),
            "request": asdict(request_of(job, workflow, variables)),
        }
        self._why: End | None = None
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def stop(self, end: End) -> None:
        self._why = self._why or end
        os.eventfd_write(self._bell, 1)

    def run(self, renew: Callable[[], bool], every: float) -> Verdict:
        child = self._children.take()
        try:
            pipe = child.stdin
            if pipe is not None:
                with pipe:
                    pipe.write(json.dumps(self._order, default=str) + "\n")
            self._watch(child, renew, every)
        except BrokenPipeError:
            child.kill()  # it ended before it had its order
        finally:
            verdict = self._finish(child)
        return verdict

    def _watch(self, child: subprocess.Popen[str], renew: Callable[[], bool], every: float) -> None:
        """Until the process has ended, or there is a reason to end it."""
        end = time.monotonic() + self._job.timeout
        renewal = time.monotonic() + every
        handle = os.pidfd_open(child.pid)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.register(self._bell, select.POLLIN)
        try:
            while not self._why:
                left = min(end, renewal) - time.monotonic()
                if any(found == handle for found, _event in poller.poll(max(0.0, left) * 1000 + 1)):
                    return
                if time.monotonic() >= end:
                    self._why = self._why or End.TIMEOUT
                elif time.monotonic() >= renewal:
                    renewal = time.monotonic() + every
                    if not renew():
                        self._why = End.LOST
        finally:
            os.close(handle)

    def _finish(self, child: subprocess.Popen[str]) -> Verdict:
        """See to it that nothing of the attempt runs on, and say how it ended."""
        if self._why:
            child.terminate()
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                end_all(self._job.cookie, 0.0, child.pid)
        code = child.wait()
        result = read_result(self._result)
        if result is None and code in TOLD_TO_END:
            self._why = self._why or End.STOPPED
        if result is None or self._why:
            end_all(self._job.cookie, 0.0, NOBODY)
        os.close(self._bell)
        if self._why is End.TIMEOUT:
            return Verdict(End.TIMEOUT, error=f"ended after {self._job.timeout:g} s, which is its time-out")
        if self._why:
            return Verdict(self._why)
        if result is None:
            how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
            return Verdict(End.DIED, error=f"the process that ran the playbook {how}")
        return Verdict(End.RESULT, result, "\n".join(result.errors))


def request_of(job: Job, workflow: Workflow, variables: Mapping[str, Any]) -> Request:
    whole = documents(workflow.options, variables)
    return Request(
        workflow.playbook,
        {name: value for name, value in variables.items() if name not in whole},
        documents=whole,
        check=job.check,
        diff=job.diff,
        limit=job.limit,
        tags=tuple(job.tags),
        inventory=workflow.inventory,
        hosts=workflow.hosts,
        environment={JOB_VARIABLE: job.id},
        variable_files=site_files(workflow.name),
        cookie=job.cookie,
        grace=GRACE,
        forks=workflow.forks,
    )


def result_file(folder: Path, execution: int) -> Path:
    return folder / f"result-{execution}.json"


def answer_file(folder: Path, execution: int) -> Path:
    """What the tasks of an attempt have returned, whole but for secrets."""
    return folder / f"answer-{execution}.json"


def read_result(path: Path) -> Result | None:
    """What an attempt has left, if it came to its end."""
    try:
        return Result.of(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
