# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of one server: probes, attempts, pauses, and what becomes of it in the record.

What a checkpoint says is probed before it counts. Work that fails for a reason that passes is tried again; a
refused password, or what somebody has to look at, is not.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import Conflict, DeadlineExceeded, OperationFailed, RacksteadError, Unreachable
from ...common.show import HIDDEN
from . import bmcmove, firmware, machine
from .journal import BETWEEN
from .model import Done, Step, StepResult
from .retry import LONGEST, NETWORK, TIMEOUT, TRANSIENT, Cancelled, class_of, pause_before, rest
from .task import Task


@dataclass(frozen=True)
class Work:
    """What a step does. ``holds`` says whether what it did before still counts, ``undo`` clears a late attempt away."""

    act: Callable[[Task], Done]
    holds: Callable[[Task], bool]
    undo: Callable[[Task], None] | None = None


WORK = {
    "commission": Work(machine.commission, machine.is_commissioned, machine.undo_commission),
    "address": Work(machine.address, machine.is_at_address),
    "bios_pull": Work(firmware.pull, firmware.is_pulled),
    "bios_modify": Work(firmware.modify, firmware.is_decided),
    "bios_push": Work(firmware.push, firmware.is_pushed),
    "bmc": Work(bmcmove.move, bmcmove.is_moved),
    "finalize": Work(machine.finalize, machine.is_final),
}


def run_step(task: Task, name: str, keep: float = BETWEEN, work: Work | None = None) -> StepResult:
    """Do a step, or find that it is done. Raises what it failed with, which the record then holds.

    ``keep`` is how long the server stays this run's after a step that is not its last, in seconds.
    """
    step, work = task.settings.steps[name], work or WORK[name]
    begun, journal = time.monotonic(), task.journal
    journal.begin(name, task.order, task.settings.job, task.settings.selected, task.settings.again)
    with _told_to_end():
        try:
            done, attempts = _done(task, step, work)
        except BaseException as exc:
            error = _error_of(task, exc)
            _failed(task, name, error, begun)
            raise error from exc
    _finished(task, name, done, attempts, begun, keep)
    return StepResult(done.changed, task.server, name, done.outputs, _since(begun), attempts, journal.body, done.diff)


def _done(task: Task, step: Step, work: Work) -> tuple[Done, int]:
    """What the step came to, and after how many attempts."""
    if _stands(task, step, work):
        return Done(False, task.journal.outputs(step.name)), int(task.journal.found["attempts"])
    return _attempts(task, step, work)


def _error_of(task: Task, exc: BaseException) -> RacksteadError:
    if isinstance(exc, RacksteadError):
        return exc
    if isinstance(exc, KeyboardInterrupt):
        return Cancelled("was interrupted", where=task.where)
    return OperationFailed(f"failed in a way that nobody foresaw: {type(exc).__name__}: {exc}", where=task.where)


def _stands(task: Task, step: Step, work: Work) -> bool:
    """Whether the step was done, and what it did is still so."""
    if task.journal.found["state"] != "done":
        return False
    task.deadline = Deadline(step.timeout)
    try:
        if work.holds(task):
            return True
    except (Unreachable, DeadlineExceeded, Conflict) as exc:  # which the attempts meet too, and know what to do about
        task.tell(f"{task.where}: {step.name}: whether it is still done cannot be told: {plain(task, exc)}")
    task.tell(f"{task.where}: {step.name} was done before, but is no longer so; it is done again")
    task.journal.write(step.name, state="running", step_state="running", error="")
    return False


def _attempts(task: Task, step: Step, work: Work) -> tuple[Done, int]:
    attempt = 0
    while True:
        attempt += 1
        task.attempt, task.deadline, task.peer = attempt, Deadline(step.timeout), None
        if attempt > 1:
            task.journal.write(step.name, attempts=attempt)
        try:
            return work.act(task), attempt
        except RacksteadError as exc:
            kind = class_of(exc)
            task.journal.write(step.name, attempts=attempt, error=plain(task, exc))
            if kind not in (TRANSIENT, NETWORK, TIMEOUT) or attempt >= step.attempts or task.check:
                raise
            _before_another(task, step, work, exc, kind)


def _before_another(task: Task, step: Step, work: Work, error: RacksteadError, kind: str) -> None:
    """Clear away, let some time pass, and see whether the peer can be reached."""
    pause = pause_before(task.attempt + 1, step)
    told = f"attempt {task.attempt} of {step.attempts} failed ({kind})"
    task.tell(f"{task.where}: {step.name}: {told}, again in {pause:.0f} s: {plain(task, error)}")
    if kind == TIMEOUT and work.undo is not None:
        work.undo(task)
    rest(pause, lambda: False)
    peer = task.peer
    if kind == NETWORK and peer is not None and not peer():
        task.tell(f"{task.where}: {step.name}: the connection is still gone")
        try:
            wait_until(lambda: peer() or None, Deadline(LONGEST), what="the connection", first=1.0, most=5.0)
        except DeadlineExceeded:
            task.tell(f"{task.where}: {step.name}: the connection did not come back in {LONGEST:.0f} s")


def plain(task: Task, error: BaseException) -> str:
    """An error in one line, without any secret that might have got into it."""
    text = " ".join(str(error).split())
    for secret in task.settings.secrets:
        text = text.replace(secret, HIDDEN)
    return text


# -- the record -------------------------------------------------------------------------------------
def _finished(task: Task, name: str, done: Done, attempts: int, begun: float, keep: float) -> None:
    journal = task.journal
    last = name == task.settings.selected[-1]
    state, hold = ("completed", 0.0) if last else ("running", keep)
    if journal.found["state"] == "done" and not done.changed and journal.step(name)["state"] == "done":
        journal.write(state=state, hold=hold)
        return
    outputs = {**journal.outputs(name), **done.outputs}
    fields: dict[str, Any] = {"outputs": outputs, "attempts": attempts, "error": ""}
    journal.write(name, state=state, hold=hold, step_state="done", **fields, seconds=_since(begun))


def _failed(task: Task, name: str, error: RacksteadError, begun: float) -> None:
    """Have the record say so. What was noted of a step that is half done stays: the next run goes on from there."""
    cancelled = isinstance(error, Cancelled)
    state = "cancelled" if cancelled else "failed"
    said = "was cancelled; run again, it goes on from here" if cancelled else plain(task, error)
    journal = task.journal
    if not journal.holds():
        return
    journal.write(name, state=state, hold=0.0, step_state="failed", error=said, seconds=_since(begun))


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Have the polite signals raise Cancelled, once: what follows is the record's last line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def end(number: int, _frame: Any) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Cancelled(f"was told to end ({signal.Signals(number).name})")

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
