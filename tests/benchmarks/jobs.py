# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: how fast those that do nothing are drained, and what a job takes beside the bare ansible-playbook."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead.jobs.service import Order, Service
from rackstead.jobs.workflows import Catalog
from tests.testbed import postgres

from .drain import WORKFLOWS
from .measures import JOBS_A_SECOND, MILLISECONDS, Measure
from .process import Failed, descendants, text_of
from .world import CHECKOUT, tool

DRAIN = "drain of jobs that do nothing, {}"
FIRST, WHOLE = "from the order to the first task", "from the order to the end"
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
OURS, DBOS, BARE = "rackstead worker", "DBOS alone", "ansible-playbook"
#: Words of ansible-playbook when it comes to a task.
TASK = b"TASK ["
SECONDS = 120.0
LOOKS = 4
Say = Callable[[str], None]


# -- draining -----------------------------------------------------------------------------------------
def drains(count: int, parallel: int, rounds: int, say: Say) -> list[Measure]:
    """In turns, so that a busy minute hits all."""
    found = {
        (store, by): Measure(DRAIN.format(store), by, count, JOBS_A_SECOND, floor=DBOS if by == OURS else "")
        for store in (SQLITE, POSTGRESQL)
        for by in (OURS, DBOS)
    }
    with postgres.running() as server:
        for number in range(rounds):
            for (store, by), measure in found.items():
                with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as folder:
                    url = server.new_database(f"r{number}") if store == POSTGRESQL else f"sqlite:{folder}/state.db"
                    told = drain(url, Path(folder), count, parallel, by)
                measure.rounds.append(told["drained"])
                measure.extra = {"parallel": parallel, "cpu_ms": told["cpu_ms"], "submitted": told.get("submitted")}
                say(
                    f"{measure.what} · {by}: {told['drained']:.0f} jobs/s, {told['cpu_ms']:.1f} ms of processor time each"
                )
    return list(found.values())


def drain(url: str, folder: Path, count: int, parallel: int, by: str) -> dict[str, float]:
    words = [sys.executable, "-m", "tests.benchmarks.drain", url, str(folder), str(count), str(parallel)]
    done = subprocess.run([*words, *(["--floor"] if by == DBOS else [])], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"the drain ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


# -- beside ansible-playbook --------------------------------------------------------------------------
def delays(rounds: int, say: Say) -> list[Measure]:
    """A job on an idle worker and the same playbook by itself, in turns."""
    first, whole = (
        {by: Measure(what, by, 1, MILLISECONDS, floor=BARE if by == OURS else "") for by in (OURS, BARE)}
        for what in (FIRST, WHOLE)
    )
    with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as place:
        folder = Path(place)
        with worker(folder) as (service, process):
            for number in range(rounds + 1):
                found = {BARE: bare(folder), OURS: job(service, process)}
                if number:  # the first meets cold caches
                    for by, (start, end) in found.items():
                        first[by].rounds.append(start * 1000)
                        whole[by].rounds.append(end * 1000)
        service.store.close()
    for measure in (*first.values(), *whole.values()):
        say(f"{measure.what} · {measure.by}: {measure.median:.0f} ms")
    return [*first.values(), *whole.values()]


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RACKSTEAD_", "ANSIBLE_"))}
    (folder / "home").mkdir(exist_ok=True)
    return {
        **kept,
        "HOME": str(folder / "home"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]),
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "RACKSTEAD_STATE": f"sqlite:{folder}/state.db",
        "RACKSTEAD_DATA": f"{folder}/data",
        "RACKSTEAD_WORKFLOWS": str(WORKFLOWS),
    }


@contextmanager
def worker(folder: Path) -> Iterator[tuple[Service, subprocess.Popen[bytes]]]:
    """A worker as a user starts it."""
    service = Service(open_store(f"sqlite:{folder}/state.db"), folder / "data", Catalog([WORKFLOWS]))
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rackstead.cli", "worker"], env=environment(folder), stdout=log, stderr=log
        )
    try:
        wait_until(lambda: service.alive() or None, Deadline(SECONDS), what="the worker")
        yield service, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)


def job(service: Service, process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Seconds from the order to the first task and to the end."""
    idle(process.pid)
    ordered = time.time()
    found = service.wait(service.submit(Order("ok", {"what": "x"}), "bench").id, SECONDS)
    if found.state != "completed" or found.ended is None:
        raise Failed(f"job {found.id} is {found.state}: {found.error}")
    start = next(one["time"] for one in service.events(found.id) if one["event"] == "playbook_on_task_start")
    return start - ordered, found.ended - ordered


def idle(pid: int) -> None:
    """Wait until the worker has the process for its next job ready: it sleeps, and does so at several looks."""
    asleep = 0

    def ready() -> bool | None:
        nonlocal asleep
        found = [one for one in descendants(pid) if "rackstead.jobs.child" in text_of(f"/proc/{one}/cmdline")]
        states = [text_of(f"/proc/{one}/stat").rpartition(")")[2].split()[:1] for one in found]
        asleep = asleep + 1 if states and all(one == ["S"] for one in states) else 0
        return True if asleep >= LOOKS else None

    wait_until(ready, Deadline(SECONDS), what="the worker to be idle", first=0.05, most=0.05)


def bare(folder: Path) -> tuple[float, float]:
    """The same of ansible-playbook by itself, as it says so."""
    book = str(WORKFLOWS / "ok.yml")
    words = [tool("ansible-playbook"), "-i", "localhost,", "-c", "local", book, "-e", "what=x"]
    ordered = time.time()
    with subprocess.Popen(words, env=environment(folder), stdout=subprocess.PIPE, cwd=folder) as process:
        seen, start = b"", 0.0
        while process.stdout and (some := os.read(process.stdout.fileno(), 65536)):
            seen += some
            if not start and TASK in seen:
                start = time.time()
    if process.returncode or not start:
        raise Failed(f"ansible-playbook ended with {process.returncode}:\n{seen.decode()[-2000:]}")
    return start - ordered, time.time() - ordered
