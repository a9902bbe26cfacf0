# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps 3 to 5: the BIOS document is read, compared with the device type, and what differs is sent.

The document as it was read first is kept: it is what the changes are decided from, however often a run is
killed, and what is put back on request. A push is ordered once: what an earlier run has come to is found out
from the machine, by what it shows, what waits for the next boot, and, where it does not tell that, by booting.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...common.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
)
from ...common.show import diff_of
from ...state.model import to_json
from ..bios.decide import decide
from ..bios.device_types import load
from ..bios.model import PASSWORD, BiosDocument, Pushed, Rejected, SettingChange
from ..bios.parsing import parse
from ..bios.redfish import RedfishBios
from ..bios.sum import Login, Sum
from ..bios.transport import Transport
from ..bios.verify import verify
from ..bmc.model import Endpoint
from ..ssh import Local, Ssh
from .bmcmove import endpoint_of
from .machine import answering, boot, up
from .model import BIOS_RECORD, Done
from .settings import Settings
from .task import Task

PUSH = "bios_push"


@contextmanager
def opened(task: Task) -> Iterator[Transport]:
    """The way to the machine's BIOS that the settings name. In-band, the machine is up then."""
    settings = task.settings
    if settings.bios_transport == "sum":
        host = settings.host(up(task))
        with task.speaking_to_host(host.address), Sum(Ssh(host), settings.sum, sudo=settings.sudo) as transport:
            yield transport
        return
    endpoint = endpoint_of(task)
    with task.speaking_to_bmc(endpoint), _by_bmc(settings, endpoint) as transport:
        yield transport


def _by_bmc(settings: Settings, endpoint: Endpoint) -> Transport:
    if settings.bios_transport == "redfish":
        return RedfishBios(endpoint)
    return Sum(Local(), settings.sum, bmc=Login(endpoint.host, endpoint.username, endpoint.password))


# -- the document that was read first ---------------------------------------------------------------
def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _keep(task: Task, document: BiosDocument) -> dict[str, Any]:
    """Have the document in the state store. Passwords, which some firmware shows, are sealed or left out."""
    data = document.encode()
    secret = any(setting.type == PASSWORD and setting.value for setting in document.settings)
    outputs = {"settings": len(document.settings), "vendor": document.vendor, "digest": _digest(data)}
    body = {**outputs, "server": task.server.hostname, "document": base64.b64encode(data).decode()}
    sealed = ["document"] if secret else []
    task.journal.put(BIOS_RECORD, body, sensitive=sealed)
    return outputs


def kept(task: Task) -> BiosDocument:
    """The document from the state store. Raises NotFound."""
    record = task.journal.store.find(BIOS_RECORD, task.server.system_id)
    if record is None:
        raise NotFound("its BIOS settings were not read yet", where=task.where, hint="begin with the step bios_pull")
    return parse(base64.b64decode(record.body["document"]), f"{task.where}: BIOS document")


def is_pulled(task: Task) -> bool:
    """Whether the document that the record speaks of is there."""
    record = task.journal.store.find(BIOS_RECORD, task.server.system_id)
    return record is not None and record.body["digest"] == task.journal.outputs("bios_pull").get("digest")


def pull(task: Task) -> Done:
    if task.check:
        return Done(False, {})
    with opened(task) as transport:
        document = transport.fetch(task.deadline)
    return Done(False, _keep(task, document))


# -- the decision -----------------------------------------------------------------------------------
def _decided(task: Task, document: BiosDocument) -> tuple[SettingChange, ...]:
    if not task.settings.device_types:
        raise InvalidInput(["device_types: is missing; allowed: the path of a file with device types"])
    try:
        return decide(document, load(task.settings.device_types).resolve(task.order.device_type))
    except InvalidInput as exc:
        raise InvalidInput([f"{task.where}: {line}" for line in exc.problems]) from exc


def _said(changes: Sequence[SettingChange]) -> dict[str, Any]:
    shown = [change.shown() for change in changes]
    return {"changes": shown, "digest": _digest(to_json(shown).encode())}


def _diff(task: Task, changes: Sequence[SettingChange]) -> dict[str, str]:
    shown = [(change.path, change.shown()) for change in changes]
    before, after = ({path: one[side] for path, one in shown} for side in ("before", "after"))
    return diff_of(before, after, f"BIOS of {task.server.hostname}")


def _there(task: Task) -> BiosDocument | None:
    """For a rehearsal: the document as it can be had without touching anything, or None."""
    if task.settings.bios_transport != "sum" or answering(task, task.machine()):
        with opened(task) as transport:
            return transport.fetch(task.deadline)
    try:
        return kept(task)
    except NotFound:
        return None


def modify(task: Task) -> Done:
    """Decide what changes. In a rehearsal, from what the machine shows now, if it is up."""
    document = _there(task) if task.check else kept(task)
    if document is None:
        task.tell(f"{task.where}: is not up, so that what would change in its BIOS cannot be told")
        return Done(True, {"changes": [], "unknown": True})
    changes = _decided(task, document)
    return Done(bool(changes), _said(changes), _diff(task, changes))


def is_decided(task: Task) -> bool:
    """Whether the device type still says what it said."""
    said = task.journal.outputs("bios_modify").get("digest")
    return bool(said) and is_pulled(task) and _said(_decided(task, kept(task)))["digest"] == said


# -- the push ---------------------------------------------------------------------------------------
def is_pushed(task: Task) -> bool:
    """Whether the changes of the record are on the machine. One that is not up now was read back at the time."""
    said = task.journal.outputs(PUSH)
    if said.get("digest") != task.journal.outputs("bios_modify").get("digest"):
        return False
    changes = _decided(task, kept(task))
    now = _now_if_up(task) if changes else None
    return now is None or not _left(now, changes)


def _now_if_up(task: Task) -> BiosDocument | None:
    if task.settings.bios_transport == "sum" and not answering(task, task.machine()):
        return None
    with opened(task) as transport:
        return transport.fetch(task.deadline)


def _left(document: BiosDocument, changes: Sequence[SettingChange]) -> tuple[SettingChange, ...]:
    """The changes that the document does not show yet."""
    _applied, rejected = verify(document, changes)
    return tuple(one.change for one in rejected)


def push(task: Task) -> Done:
    if task.check:
        foreseen = modify(task)  # which shows the diff, too
        return Done(foreseen.changed, {"unknown": True} if foreseen.outputs.get("unknown") else {})
    changes = _decided(task, kept(task))
    diff = _diff(task, changes)
    said = _said(changes)
    if task.journal.outputs(PUSH).get("digest") != said["digest"]:
        task.journal.note(PUSH, digest=said["digest"], stage="", boot="", task="")
    if not changes:
        return Done(False, {**_nothing(), "digest": said["digest"]}, diff)
    applied, rejected, rebooted = _carried_out(task, changes)
    outputs = {"applied": len(applied), "rejected": [one.shown() for one in rejected], "rebooted": rebooted}
    if rejected:
        task.journal.note(PUSH, **outputs, stage="", boot="")  # what is run again sends them again
        raise _refused(task, applied, rejected)
    return Done(rebooted, {**outputs, "digest": said["digest"]}, diff)


def _nothing() -> dict[str, Any]:
    return {"applied": 0, "rejected": [], "rebooted": False}


def _carried_out(
    task: Task, changes: Sequence[SettingChange]
) -> tuple[Sequence[SettingChange], Sequence[Rejected], bool]:
    """Send, boot, read back. What a killed run has left in doubt is settled by the boot, and only then sent again."""
    with opened(task) as transport:
        now = transport.fetch(task.deadline)
        left = _left(now, changes)
        if not left and not task.journal.outputs(PUSH).get("stage"):
            return changes, (), False
        doubt = _send(task, transport, now, left) if left else False
    applied, rejected = _read_back(task, changes)
    if rejected and doubt:
        task.tell(f"{task.where}: the push of a run that was killed had not arrived; it is sent again")
        task.journal.note(PUSH, stage="", boot="")
        return _carried_out(task, changes)
    return applied, rejected, True


def _send(task: Task, transport: Transport, now: BiosDocument, left: Sequence[SettingChange]) -> bool:
    """Have the changes waiting for the next boot. Returns whether it is in doubt that they are."""
    stage = str(task.journal.outputs(PUSH).get("stage", ""))
    if stage == "pushed":
        return False
    if stage == "pushing":
        pending = transport.pending(task.deadline)
        if pending is None or not pending.covers(left):
            return True
        task.journal.note(PUSH, stage="pushed", task=pending.task)
        return False
    task.guard()
    task.journal.note(PUSH, stage="pushing", boot="")
    try:
        pushed = transport.push(now, left, task.deadline)
    except RacksteadError as exc:
        if not isinstance(exc, Unreachable | DeadlineExceeded):
            task.journal.note(PUSH, stage="")  # it was turned down: nothing waits
        raise
    task.journal.note(
        PUSH, stage="pushed", task=pushed.task, refused={one.change.name: one.cause for one in pushed.refused}
    )
    return False


def _read_back(task: Task, changes: Sequence[SettingChange]) -> tuple[Sequence[SettingChange], Sequence[Rejected]]:
    stage = task.journal.outputs(PUSH)
    if stage.get("boot") != "done":
        boot(task, stage, PUSH)
        task.journal.note(PUSH, boot="done")
    with opened(task) as transport:
        causes = dict(stage.get("refused") or {})
        causes |= transport.settled(Pushed(tuple(changes), str(stage.get("task") or "")), task.deadline)
        return verify(transport.fetch(task.deadline), changes, causes)


def _refused(task: Task, applied: Sequence[SettingChange], rejected: Sequence[Rejected]) -> OperationFailed:
    """What to tell of settings that did not stick; on request the others are put back first."""
    lines = "; ".join(f"{one.change.path}: {one.cause}" for one in rejected)
    what = f"{len(rejected)} of {len(applied) + len(rejected)} BIOS settings were rejected: {lines}"
    if task.settings.on_failure != "restore":
        hint = "the others are applied; on_failure: restore puts them back" if applied else ""
        return OperationFailed(what, where=task.where, hint=hint)
    try:
        back = _restored(task, applied)
    except RacksteadError as exc:
        return OperationFailed(what, where=task.where, hint=f"and the old settings could not be put back: {exc}")
    return OperationFailed(what, where=task.where, hint=back)


def _restored(task: Task, applied: Sequence[SettingChange]) -> str:
    """Put back what was applied. Returns how that ended, in words."""
    if not applied:
        return "nothing was applied, so that nothing is to be put back"
    changes = tuple(change.back() for change in applied)
    with opened(task) as transport:
        task.guard()
        pushed = transport.push(transport.fetch(task.deadline), changes, task.deadline)
    task.journal.note(PUSH, stage="restoring", boot="")
    boot(task, task.journal.outputs(PUSH), PUSH)
    with opened(task) as transport:
        causes = transport.settled(pushed, task.deadline)
        _back, stuck = verify(transport.fetch(task.deadline), changes, causes)
    task.journal.note(PUSH, stage="restored", boot="", restored=len(changes) - len(stuck))
    if stuck:
        raise Conflict("; ".join(f"{one.change.path}: {one.cause}" for one in stuck), where=task.where)
    return "the old settings are back"
