# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a BIOS be as wanted: fetch, decide, check, push, boot, read back, and put back what did not work out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...common.deadline import Deadline
from ...common.errors import OperationFailed, RacksteadError
from .decide import decide, restoring
from .device_types import DeviceType
from .model import APPLIED, CURRENT, PENDING, SCHEDULED, BiosDocument, Pending, Pushed, Rejected, SettingChange
from .transport import Transport
from .verify import verify

FAILURES = ("keep", "restore")
#: Orders the machine's reboot, and does not wait for it.
Reboot = Callable[[], None]


@dataclass(frozen=True)
class Patience:
    """Seconds that one command of the transport may take, and a boot with all that follows."""

    command: float = 600.0
    boot: float = 1200.0


class SettingsRejected(OperationFailed):
    """The machine has booted, and some settings are not there. ``rejected`` says which, and why."""

    def __init__(self, rejected: Sequence[Rejected], total: int, then: str, *, where: str) -> None:
        listed = "; ".join(
            f"{one.change.path} ({one.change.before} -> {one.change.after}): {one.cause}" for one in rejected
        )
        super().__init__(f"{len(rejected)} of {total} settings were rejected: {listed}", where=where, hint=then)
        self.rejected = tuple(rejected)


def ensure_bios(
    transport: Transport,
    wanted: DeviceType | BiosDocument | None,
    *,
    check: bool,
    reboot: Reboot | None = None,
    on_failure: str = "keep",
    patience: Patience | None = None,
    keep: Callable[[BiosDocument], None] | None = None,
) -> dict[str, Any]:
    """Have the BIOS as a device type, or as an earlier document, has it; with ``wanted`` None only read it.

    Only what differs is pushed, and where nothing differs nothing is rebooted. Without ``reboot`` the settings
    stay pending; what an earlier push has left pending is not pushed again. ``keep`` is handed the document
    as it was before anything is pushed. Raises InvalidInput before anything is sent, SettingsRejected after
    the boot.
    """
    work = _Work(transport, patience or Patience())
    before = transport.fetch(work.deadline())
    changes = _changes(before, wanted)
    pending = transport.pending(work.deadline()) if changes or wanted is None else None
    if not changes:
        return _answer(before, (), CURRENT, changed=False, pending=pending)
    ready = pending is not None and pending.covers(changes)
    if check:
        state = APPLIED if reboot else pending.state if pending and ready else PENDING
        return _answer(before, changes, state, changed=bool(reboot) or not ready, rebooted=bool(reboot))
    if keep:
        keep(before)
    pushed = Pushed(changes, pending.task) if pending and ready else work.push(before, changes)
    if reboot is None:
        state = pending.state if pending and ready else SCHEDULED if pushed.task else PENDING
        return _answer(before, changes, state, changed=not ready)
    rejected = work.boot_and_verify(pushed, reboot)
    if rejected:
        then = work.put_back(before, changes, reboot) if on_failure == "restore" else _KEPT
        raise SettingsRejected(rejected, len(changes), then, where=transport.where)
    return _answer(before, changes, APPLIED, changed=True, rebooted=True)


_KEPT = "the others are in effect"


def _changes(before: BiosDocument, wanted: DeviceType | BiosDocument | None) -> tuple[SettingChange, ...]:
    if wanted is None:
        return ()
    return decide(before, wanted) if isinstance(wanted, DeviceType) else restoring(before, wanted)


class _Work:
    """The steps that change something, each with its deadline."""

    def __init__(self, transport: Transport, patience: Patience) -> None:
        self._transport = transport
        self._patience = patience

    def deadline(self) -> Deadline:
        return Deadline(self._patience.command)

    def push(self, document: BiosDocument, changes: Sequence[SettingChange]) -> Pushed:
        return self._transport.push(document, changes, self.deadline())

    def boot_and_verify(self, pushed: Pushed, reboot: Reboot) -> tuple[Rejected, ...]:
        boot = self._transport.boot_id(self.deadline())
        reboot()
        deadline = Deadline(self._patience.boot)
        self._transport.await_boot(boot, deadline)
        return read_back(self._transport, pushed, deadline)[1]

    def put_back(self, before: BiosDocument, changes: Sequence[SettingChange], reboot: Reboot) -> str:
        """Have the settings that were touched as they were. Returns what to tell of it."""
        touched = {change.key for change in changes}
        try:
            now = self._transport.fetch(self.deadline())
            back = [change for change in restoring(now, before) if change.key in touched]
            if not back:
                return "nothing else had been changed"
            left = self.boot_and_verify(self.push(now, back), reboot)
        except RacksteadError as exc:
            return f"the others could not be put back: {exc}"
        if left:
            return f"of the others, {len(left)} could not be put back: {'; '.join(one.change.path for one in left)}"
        return f"the others ({len(back)}) were put back as they were"


def read_back(
    transport: Transport, pushed: Pushed, deadline: Deadline
) -> tuple[tuple[SettingChange, ...], tuple[Rejected, ...]]:
    """After the boot: applied and rejected changes of a push, the latter with their causes."""
    causes = transport.settled(pushed, deadline)
    return verify(transport.fetch(deadline), pushed.changes, causes)


# -- answers --------------------------------------------------------------------------------------------
def _answer(
    before: BiosDocument,
    changes: Sequence[SettingChange],
    state: str,
    *,
    changed: bool,
    rebooted: bool = False,
    pending: Pending | None = None,
) -> dict[str, Any]:
    return {
        "changed": changed,
        "state": pending.state if pending and not changes else state,
        "vendor": before.vendor,
        "changes": [{**change.shown(), "state": state} for change in changes],
        "rebooted": rebooted,
        "diff": diff(changes, "BIOS"),
        "document": before,
        "pending": pending,
    }


def diff(changes: Sequence[SettingChange], header: str) -> Mapping[str, str]:
    """One entry of Ansible's ``diff``: a line for each setting that changes, with its menu path."""
    shown = [(change.path, change.shown()) for change in changes]
    return {
        "before_header": header,
        "after_header": header,
        "before": "".join(f"{path}: {one['before']}\n" for path, one in shown),
        "after": "".join(f"{path}: {one['after']}\n" for path, one in shown),
    }
