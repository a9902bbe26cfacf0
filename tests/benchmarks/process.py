# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that are timed: the wall clock, the processor time and, where asked, the memory of the whole tree."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .samples import Sample

SAMPLING = 0.02  # seconds between two looks at the process tree


class Failed(Exception):
    """A measured command did not end well; a measurement of it would be worth nothing."""


class Wrong(Exception):
    """A measured command ended well, but did not do what it was to do."""


@dataclass
class Peak:
    """Peak memory in bytes. ``pss`` counts a page shared by several processes once, ``rss`` every time."""

    pss: int = 0
    rss: int = 0
    largest: int = 0  # peak RSS of the largest single process
    processes: int = 0

    def document(self) -> dict[str, int]:
        return {f"peak_{name}": getattr(self, name) for name in ("pss", "rss", "largest", "processes")}


def run(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, *, watch: Peak | None = None, allow: Sequence[int] = (0,)
) -> tuple[Sample, str]:
    """Run to the end. Returns the sample and what was printed; raises Failed with the end of it."""
    with open(cwd / "output.txt", "w+b") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a group of its own, to be killed as a whole
        )
        watcher = _Watcher(process.pid, watch) if watch is not None else None
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            if watcher:
                watcher.end()
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait a second time
        output.seek(0)
        printed = output.read().decode(errors="replace")
    if process.returncode not in allow:
        raise Failed(f"{' '.join(command[:3])} … ended with {process.returncode}:\n{printed[-3000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime), printed


class _Watcher:
    """Looks at a process and its descendants until told to end."""

    def __init__(self, pid: int, peak: Peak) -> None:
        self._pid, self._peak = pid, peak
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SAMPLING):
            seen = [memory for pid in descendants(self._pid) if (memory := memory_of(pid))]
            if seen:
                self._peak.pss = max(self._peak.pss, sum(pss for pss, _, _ in seen))
                self._peak.rss = max(self._peak.rss, sum(rss for _, rss, _ in seen))
                self._peak.largest = max(self._peak.largest, *(high for _, _, high in seen), 0)
                self._peak.processes = max(self._peak.processes, len(seen))


def descendants(pid: int) -> list[int]:
    """The process and all that came from it, as far as they still live."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        for task in _listing(Path(f"/proc/{current}/task")):
            waiting.extend(int(child) for child in text_of(task / "children").split())
    return found


def memory_of(pid: int) -> tuple[int, int, int] | None:
    """(PSS, RSS, highest RSS so far) in bytes, or None for a process that is gone."""
    rollup, status = _fields(f"/proc/{pid}/smaps_rollup"), _fields(f"/proc/{pid}/status")
    if "Pss" not in rollup or "VmHWM" not in status:
        return None
    return rollup["Pss"], rollup["Rss"], status["VmHWM"]


def _fields(path: str) -> dict[str, int]:
    """The lines ``Name:  123 kB`` of a /proc file, in bytes."""
    pairs = (line.split() for line in text_of(path).splitlines())
    return {pair[0].rstrip(":"): int(pair[1]) * 1024 for pair in pairs if len(pair) == 3 and pair[2] == "kB"}


def _listing(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:  # the process ended between two looks
        return []


def text_of(path: Path | str) -> str:
    """What a file of /proc says; nothing where it is gone."""
    try:
        return Path(path).read_text()
    except OSError:  # as above
        return ""
