# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue, which is DBOS's: durable, ordered by priority, shared by workers on one database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine

NAME = "jobs"
#: Executions of another version would not be recovered; the state store says what is good, not the code's version.
VERSION = "1"
#: Connections to a queue in SQLite.
CONNECTIONS = 20
#: Seconds between two looks of a worker at the queue.
POLL = 0.05
#: Seconds after which an execution that is still not running is looked up in the queue.
DOUBT = 30.0
#: Seconds for which executions that are over stay in DBOS's tables.
KEPT = 3600.0
OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class Queue:
    """Executions of jobs. DBOS allows one of these in a process."""

    def __init__(self, url: str, executor: str) -> None:
        self._url = url
        self._executor = executor
        self._put: dict[tuple[str, int], float] = {}
        self._dbos: Any = None
        self._workflow: Any = None
        self._engine: Engine | None = None

    def start(self, perform: Callable[[str, int], None], parallel: int) -> None:
        """Begin to hand out executions, ``parallel`` at once. The number of the worker that started last counts
        for all workers of one queue."""
        from dbos import DBOS

        _prepare(self._url)
        self._engine = _sqlite(self._url) if self._url.startswith("sqlite:") else None
        DBOS(
            config={
                "name": "rackstead",
                "system_database_url": self._url,
                "system_database_engine": self._engine,
                "executor_id": self._executor,
                "application_version": VERSION,
                "log_level": "ERROR",
                "notification_listener_polling_interval_sec": 1.0,
                "max_executor_threads": parallel + 8,
            }
        )

        # Not divided into steps: an execution reads from the state store what was done, and does nothing twice.
        @DBOS.workflow(name="run_job")
        def run_job(job_id: str, execution: int) -> None:
            perform(job_id, execution)

        self._dbos, self._workflow = DBOS, run_job
        DBOS.listen_queues([NAME])
        DBOS.launch()
        DBOS.register_queue(NAME, worker_concurrency=parallel, polling_interval_sec=POLL, on_conflict="always_update")

    def put(self, job_id: str, execution: int, priority: int, idle: bool) -> bool:
        """Queue an execution, once. False if the queue has had it and is through with it, which is looked up
        where there are ``idle`` hands and it still does not run."""
        from dbos import SetEnqueueOptions, SetWorkflowID

        name = (job_id, execution)
        known = self._put.get(name)
        if known is not None:
            return not idle or time.monotonic() - known < DOUBT or self._pending(name)
        with SetWorkflowID(f"{job_id}.{execution}"), SetEnqueueOptions(priority=priority + 1):
            self._dbos.enqueue_workflow(NAME, self._workflow, job_id, execution)
        self._put[name] = time.monotonic()
        return True

    def _pending(self, name: tuple[str, int]) -> bool:
        status = self._dbos.get_workflow_status(f"{name[0]}.{name[1]}")
        if status is None or status.status in OVER:
            del self._put[name]
            return status is None  # lost with its database: it is queued again at the next look
        self._put[name] = time.monotonic()
        return True

    def forget(self) -> None:
        """Delete what has been over for long."""
        before = (datetime.now(UTC) - timedelta(seconds=KEPT)).isoformat()
        while found := self._dbos.list_workflows(
            status=OVER, completed_before=before, limit=500, load_input=False, load_output=False
        ):
            self._dbos.delete_workflows([one.workflow_id for one in found])
        now = time.monotonic()
        self._put = {name: at for name, at in self._put.items() if now - at < KEPT}

    def stop(self) -> None:
        """Wait for what runs to end, and leave the database."""
        if self._dbos:
            self._dbos.destroy(workflow_completion_timeout_sec=10, destroy_registry=True)
        if self._engine:
            self._engine.dispose()


def _prepare(url: str) -> None:
    """Have SQLite keep a write-ahead log, so that who reads does not keep others from writing."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            database.execute("PRAGMA journal_mode = WAL")


def _sqlite(url: str) -> Engine:
    """As DBOS would make it, but commits do not wait for the disk. What a power failure takes from the queue, the
    state store still has: it is queued again."""
    from sqlalchemy import create_engine, event

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for setting in ("busy_timeout = 30000", "foreign_keys = ON", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {setting}")

    engine = create_engine(url, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=30)
    event.listen(engine, "connect", connected)
    return engine
