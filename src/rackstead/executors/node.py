# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a Receptor node: ``rackstead node``, a unit of work.

It is ansible-runner's ``worker`` with what that leaves undone: everything that the playbook has started ends when the
unit is cancelled, and no file stays. An earlier run of the same job that still is there, because a node was cut off
or Receptor started the unit twice, is ended first.
"""

from __future__ import annotations

import fcntl
import functools
import io
import json
import os
import signal
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until

from ..jobs.child import die_with
from ..jobs.execution import GRACE
from ..processes import COOKIE, NOBODY, carried, end_all
from ..run import DEFAULT_TREES, LONGEST_RESULT, PREFIX, Interrupted, interruptible, private_directory, signals_held

#: Tells the playbook's run where its files are.
FOLDER = "RACKSTEAD_NODE_FOLDER"
#: What says whose run a private directory belongs to.
CARD = "node.json"
#: What ends this process.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds for an earlier run to end.
PATIENCE = 10.0


class Begun(io.BufferedIOBase):
    """Standard input from the beginning, although its first line was read."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> bytes:
        first, self._first = self._first, b""
        return first or self._rest.readline(-1 if size is None else size)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._rest.read(-1 if size is None else size)


def main() -> int:
    warnings.simplefilter("ignore")  # Receptor mixes standard error into what is read as events
    with interruptible():
        try:
            die_with(os.getppid())
            first = sys.stdin.buffer.readline()
            run = _run_of(first)
            if not run:
                _say({"status": "error", "job_explanation": "no order came"}, {"eof": True})
                return 1
            with private_directory() as private:
                try:
                    _work(run, private, Begun(first, sys.stdin.buffer))
                finally:
                    # The unit may be released as soon as its end was read: that must not interrupt tidying up.
                    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        except Interrupted:
            return 130
    return 0


def _run_of(line: bytes) -> str:
    """The attempt's name, from the first line of an order; empty where there is no whole line."""
    try:
        return str(json.loads(line)["kwargs"]["ident"])
    except (ValueError, LookupError, TypeError):
        return ""


def _say(*lines: Mapping[str, Any]) -> None:
    sys.stdout.write("".join(json.dumps(line) + "\n" for line in lines))
    sys.stdout.flush()


def _work(run: str, private: Path, order: Begun) -> None:
    from ansible_runner.streaming import Worker

    job = run.partition(".")[0]
    cookie = f"node-{job}-{uuid.uuid4().hex}"
    (private / CARD).write_text(json.dumps({"job": job, "pid": os.getpid()}))
    _end_earlier(job, private)
    place = private / "order"
    place.mkdir()
    tempfile.tempdir = str(private / "tmp")  # ansible-runner's own files end with the others
    os.environ.update(_environment(place, private, cookie))
    # As a class: the function of the same library would listen to signals in place of this process.
    worker = Worker(_input=order, _output=sys.stdout.buffer, private_data_dir=str(place), cancel_callback=lambda: False)
    try:
        status, _rc = worker.run()
        if status == "timeout":
            end_all(cookie, 0.0)
    except BaseException:
        with signals_held():
            end_all(cookie, GRACE)
        raise


def _environment(place: Path, private: Path, cookie: str) -> dict[str, str]:
    trees = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")
    return {
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(
            [str(place / "project" / "collections"), *([trees] if trees else DEFAULT_TREES)]
        ),
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": os.environ.get("ANSIBLE_PIPELINING", "1"),
        "LC_ALL": "C.UTF-8",
        "MAX_EVENT_RES": str(LONGEST_RESULT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "TMPDIR": str(private / "tmp"),  # modules that are killed leave something there
        FOLDER: str(private),
        COOKIE: cookie,
    }


def _end_earlier(job: str, own: Path) -> None:
    """End other runs of the job here, and what those have left that were killed. Raises DeadlineExceeded."""
    for place, pid in list(_others(job, own)):
        wait_until(
            functools.partial(_asked, place, pid),
            Deadline(PATIENCE),
            what="an earlier run of the job to end",
            first=0.05,
            most=0.2,
        )
    for cookie in carried(f"node-{job}-"):
        end_all(cookie, 0.0, NOBODY)


def _others(job: str, own: Path) -> Iterator[tuple[Path, int]]:
    """Private directories and processes of other runs of the job."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{CARD}"):
        try:
            if path.parent != own and path.lstat().st_uid == os.getuid():
                card = json.loads(path.read_text())
                if card["job"] == job:
                    yield path.parent, int(card["pid"])
        except (OSError, ValueError):
            continue  # just being made, or taken away


def _asked(place: Path, pid: int) -> bool | None:
    """Ask a run to end. True if it has."""
    if not _held(place):
        return True
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return None


def _held(place: Path) -> bool:
    """Whether the process is there that a private directory belongs to."""
    try:
        lock = os.open(place / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
