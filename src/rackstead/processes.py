# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends everything a run has started, however deep and in whichever session it is.

Ansible's workers and modules leave the process group and session of ansible-playbook, so neither is
enough. A run therefore puts a cookie into the environment of what it starts. Whoever descends from
this process, or carries the cookie, belongs to the run. A daemon that is to outlive the run is
started without the cookie.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import DeadlineExceeded

COOKIE = "RACKSTEAD_RUN"
PROC = Path("/proc")
#: No process has it.
NOBODY = -1


def members(cookie: str, head: int | None = None) -> set[int]:
    """Processes of the run with this cookie, without this process itself.

    ``head`` is the process whose descendants belong to it: this one if None, or NOBODY.
    """
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    head = os.getpid() if head is None else head
    found = {pid for pid in parents if pid == head or _descends(pid, head, parents)}
    marked = {pid for pid in parents if pid not in found and _carries(pid, cookie)}
    return (found | marked) - {os.getpid()}


def end_all(cookie: str, grace: float = 5.0, head: int | None = None) -> set[int]:
    """Ask every process of the run (see ``members``) to end, kill what has not after ``grace`` seconds.

    Returns what could not be ended (another user's processes, for example).
    """
    polite = Deadline(grace)
    told: set[int] = set()

    def none_left() -> bool | None:
        alive = members(cookie, head)
        kill = polite.expired()
        for pid in sorted(alive if kill else alive - told):  # those that started others first
            _signal(pid, signal.SIGKILL if kill else signal.SIGTERM)
        told.update(alive)
        return None if alive else True

    with suppress(DeadlineExceeded):  # what is left then is returned
        wait_until(none_left, Deadline(2 * grace + 0.5), what="the run's processes to end", first=0.02, most=0.02)
    if head is None:
        _reap()  # elsewhere children that are no run's would lose their exit status
    return members(cookie, head)


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]


def _parent(pid: int) -> int | None:
    """The parent's pid, or None for a process that is gone or a zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return None if state in "ZX" else int(parent)


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def carried(prefix: str) -> set[str]:
    """The cookies of processes that begin so."""
    sign = f"{COOKIE}={prefix}".encode()
    entries = [entry for pid in _pids() for entry in _environ(pid) if entry.startswith(sign)]
    return {entry.decode(errors="replace").partition("=")[2] for entry in entries}


def _carries(pid: int, cookie: str) -> bool:
    return f"{COOKIE}={cookie}".encode() in _environ(pid)


def _environ(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # gone, or another user's


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # ended by itself; or not ours to end, which end_all reports


def _reap() -> None:
    """Take the exit status of children that have ended, so that none stays a zombie."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return
