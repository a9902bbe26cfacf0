# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that runs one attempt of a job: ``python -m rackstead.jobs.child PID-OF-THE-ENGINE``.

It reads an order, one line of JSON, from standard input: so secrets are in no argument and no environment.
An engine starts it before there is a job, so that what it imports is there when one comes. It ends, with all
that it has started, when the engine's process does.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import answers
from ..answers import Exit
from ..run import KILLED, Interrupted, Outcome, Request, interruptible, run
from .events import EventLog, bare
from .model import Result

PR_SET_PDEATHSIG = 1
#: What ssh and the resolver say of a host whose name leads nowhere.
NO_SUCH_NAME = (
    "could not resolve hostname",
    "name or service not known",
    "nodename nor servname",
    "no address associated",
)
COUNTS = {
    "ok": "ok",
    "changed": "changed",
    "dark": "unreachable",
    "failures": "failed",
    "skipped": "skipped",
    "rescued": "rescued",
    "ignored": "ignored",
}


class Account:
    """What is learnt of a run from its events: the recap, and how long each task took."""

    def __init__(self) -> None:
        self.recap: dict[str, dict[str, int]] = {}
        self.tasks: list[dict[str, Any]] = []
        self._begun = 0.0

    def take(self, event: Mapping[str, Any], at: float | None = None) -> None:
        """``at`` is when it came, in seconds on any clock: now, where it is not told."""
        at = time.monotonic() if at is None else at
        data = event.get("event_data") or {}
        if event["event"] in ("playbook_on_task_start", "playbook_on_handler_task_start", "playbook_on_stats"):
            self._end_task(at)
        if event["event"] in ("playbook_on_task_start", "playbook_on_handler_task_start"):
            self.tasks.append({"task": str(data.get("name") or data.get("task") or ""), "seconds": 0.0})
            self._begun = at
        elif event["event"] == "playbook_on_stats":
            for name, word in COUNTS.items():
                for host, count in (data.get(name) or {}).items():
                    self.recap.setdefault(host, dict.fromkeys(COUNTS.values(), 0))[word] = int(count)

    def _end_task(self, at: float) -> None:
        if self.tasks and not self.tasks[-1]["seconds"]:
            self.tasks[-1]["seconds"] = round(at - self._begun, 3)


def main() -> None:
    # Where an engine of many threads dies, the signal comes many times: later ones must not disturb the end.
    with interruptible(once=True):
        try:
            die_with(int(sys.argv[1]))
            import ansible_runner.interface  # noqa: F401  now, while nobody waits

            line = sys.stdin.readline()
            if line:
                _obey(json.loads(line))
                os._exit(Exit.OK)  # all is on the disk; the interpreter would only take its modules apart
        except Interrupted:
            sys.exit(Exit.INTERRUPTED)


def die_with(parent: int) -> None:
    """Have the kernel tell this process when the engine is gone, however it went."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise Interrupted("the engine is gone")


def _obey(order: Mapping[str, Any]) -> None:
    """Run the playbook; leave the result in a file, whole or not at all."""
    account = Account()
    with EventLog(Path(order["folder"]), order["secrets"]) as log:

        def listen(event: Mapping[str, Any]) -> None:
            account.take(event)
            log.take(event)

        outcome = run(Request(**order["request"]), listen)
        if outcome.rc == KILLED:
            sys.exit(KILLED)  # that is not how the playbook ended
        result = result_of(outcome, account)
        errors = [log.clean(line) for line in result.errors]
        answer = log.clean(json.dumps(answer_of(outcome), default=str))
    write_whole(Path(order["answer"]), json.loads(answer), durable=False)
    write_whole(Path(order["result"]), {**asdict(result), "errors": errors})


def result_of(outcome: Outcome, account: Account) -> Result:
    code = answers.exit_code(outcome)
    errors = answers.errors(outcome)
    return Result(
        outcome.rc or int(code),
        errors,
        code != Exit.OK and _permanent(code, outcome, account),
        answers.changed(outcome),
        account.recap,
        account.tasks,
    )


def answer_of(outcome: Outcome) -> dict[str, Any]:
    """What the tasks returned, without secrets: from it a command line makes the same tables as from a run of its own."""
    tasks = [asdict(found) | {"result": bare(found.result)} for found in outcome.results]
    return {"rc": outcome.rc, "results": tasks, "errors": outcome.errors, "documents": outcome.documents}


def _permanent(code: Exit, outcome: Outcome, account: Account) -> bool:
    """Whether another attempt must end the same way: bad input, a playbook that cannot be read, an unknown host."""
    unreadable = bool(outcome.errors) and not account.tasks
    unknown = any(sign in line.lower() for line in answers.errors(outcome) for sign in NO_SUCH_NAME)
    return code == Exit.USAGE or unreadable or unknown


def write_whole(path: Path, document: Mapping[str, Any], *, durable: bool = True) -> None:
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(document, file, default=str)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    new.rename(path)


if __name__ == "__main__":
    main()
