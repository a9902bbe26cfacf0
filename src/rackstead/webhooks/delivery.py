# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a delivery, each one transaction that only the holder of the lease can make.

The audit chain says which jobs have ended, and which alerts of hardware reports are new. What a webhook wants of it is
entered as deliveries together with its cursor, so that each is entered once, whoever is killed; a delivery is deleted
when it was made or given up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.show import hide_secrets
from ansible_collections.rackstead.infra.plugins.module_utils.hardware import alarms
from ansible_collections.rackstead.infra.plugins.module_utils.state.audit import key_of
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import AuditEntry, Lease, Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from ..jobs.ends import ENDS, ended, hosts
from ..jobs.ledger import ENGINE
from ..jobs.model import JOB, Job, JobState
from .registry import DELIVERY, STATUS, WEBHOOK, Status, Webhook
from .sending import Answer

DAY = 86_400.0
#: Entries of the chain that are looked at at a time, and deliveries of one webhook that wait at most, or a page more.
#: While so many wait, further ends stay where they are: in the chain.
PAGE, ROOM = 200, 1000
#: Entries of the chain by which the cursor that is kept may lag behind, where a webhook wants none of them.
FAR = 1000
#: The longest error of a job that is told, in characters.
LONGEST_ERROR = 1000


@dataclass(frozen=True)
class Patience:
    """Seconds: the pause after the first attempt in vain, doubled each time, up to the longest; and for how long
    after the first attempt others follow."""

    first: float = 5.0
    longest: float = 3600.0
    whole: float = 3 * DAY


@dataclass(frozen=True)
class Outcome:
    """Of an attempt. Without ``again``, the seconds until the next, there is none."""

    attempt: int
    job: str
    again: float | None = None
    given_up: bool = False


# -- from the chain ---------------------------------------------------------------------------------
def look(change: Change, hook: Webhook, seen: int) -> tuple[int, list[AuditEntry]]:
    """The ends and alerts that a webhook wants on the chain's next page. Up to the entry ``seen`` there are none.

    Gives up to where the chain was looked at, and them: ``seen`` if the webhook has no room for more, or is gone.
    """
    status = _status(change, hook)
    if status is None or status.pending >= ROOM:
        return seen, []
    after = max(status.cursor, seen)
    page = change.audit(Query(after=key_of(after), limit=PAGE))
    return page[-1].seq if page else after, [entry for entry in page if _wanted(hook, entry)]


def enter(change: Change, hook: Webhook, found: list[AuditEntry], cursor: int, lease: Lease) -> list[str]:
    """Make them deliveries, and keep up to where the chain was looked at. Gives their keys. Raises Fenced."""
    status = _status(change, hook)
    if status is None or status.cursor >= cursor:
        return []
    keys = [_entered(change, hook, entry) for entry in found if entry.seq > status.cursor]
    after = {**vars(status), "cursor": cursor, "pending": status.pending + len(keys)}
    change.put(STATUS, hook.name, after, fence=lease)
    return keys


def _wanted(hook: Webhook, entry: AuditEntry) -> bool:
    if entry.action in alarms.ACTIONS:
        return hook.wants_alerts
    state = ended(entry)
    return state is not None and hook.wants(state.value, str(entry.details.get("workflow", "")))


def _status(change: Change, hook: Webhook) -> Status | None:
    """None if the webhook was removed, also if there is another of its name since."""
    record = change.find(STATUS, hook.name)
    status = Status.of(record) if record and change.find(WEBHOOK, hook.name) else None
    return status if status and status.id == hook.id else None


def _entered(change: Change, hook: Webhook, entry: AuditEntry) -> str:
    key = f"{hook.name}/{key_of(entry.seq)}"
    about = entry.target.partition("/")[2]
    if entry.action in alarms.ACTIONS:
        name, text = "hardware", alert_message(entry)
    else:
        record = change.find(JOB, about)
        name, text = about, message(entry, Job.of(record) if record else None)
    now = change.now()
    body = {
        "id": f"msg_{name}_{entry.seq}",
        "job": about,  # a node where it is an alert
        "body": text,
        "first": now,
        "next": now,
        "attempt": 0,
    }
    change.put(DELIVERY, key, body)
    return key


def message(entry: AuditEntry, job: Job | None) -> str:
    """What is sent: the same for all attempts. A job that was forgotten since, or run again, is told of as far as
    the chain knows it."""
    state = ENDS.get(entry.action, JobState.CANCELLED)
    known = job if job and job.state is state else None
    data: dict[str, Any] = {
        "job": entry.target.partition("/")[2],
        "workflow": str(entry.details.get("workflow", "")),
        "state": state.value,
        "attempt": entry.details.get("attempt"),
        "rc": entry.details.get("rc"),
    }
    if job:
        data |= {"title": job.title, "who": job.who, "check": job.check, "target": job.target, "created": job.created}
        data["schedule"] = job.schedule
    if known:
        data |= {"attempt": known.attempt, "rc": known.rc, "changed": known.changed, "hosts": hosts(known.recap)}
        data |= {"started": known.started, "ended": known.ended}
        data["error"] = str(hide_secrets(known.error))[:LONGEST_ERROR]
    if state is JobState.CANCELLED and entry.who != ENGINE:
        data["cancelled_by"] = entry.who
    return written(f"job.{state.value}", entry.time, data)


def alert_message(entry: AuditEntry) -> str:
    """What is sent of a node's alerts."""
    return written(entry.action, entry.time, {"node": entry.target.partition("/")[2], **entry.details})


def written(kind: str, at: float, data: Mapping[str, Any]) -> str:
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": when, "data": data}, separators=(",", ":"))


# -- after an attempt -------------------------------------------------------------------------------
def conclude(
    change: Change, hook: Webhook, key: str, answer: Answer, lease: Lease, patience: Patience, pause: float
) -> Outcome | None:
    """Write how an attempt went. None if nobody wants to know any more. Raises Fenced."""
    change.check_fence(lease)
    status, record = _status(change, hook), change.find(DELIVERY, key)
    if status is None or record is None:
        return None
    now, body = change.now(), record.body
    attempt, job = int(body["attempt"]) + 1, str(body["job"])
    left = body["first"] + patience.whole - now
    if answer.ok:
        after = {"pending": status.pending - 1, "delivered": status.delivered + 1, "last": now, "error": ""}
        outcome = Outcome(attempt, job)
    elif answer.gone or left <= 0:
        after = {"pending": status.pending - 1, "failures": status.failures + 1, "error": answer.error}
        after["given_up"] = status.given_up + 1
        details = {"job": job, "attempts": attempt, "error": answer.error}
        change.append_audit(ENGINE, "webhook.give_up", f"{WEBHOOK}/{hook.name}", result="failed", details=details)
        outcome = Outcome(attempt, job, given_up=True)
    else:
        after = {"failures": status.failures + 1, "error": answer.error}
        again = min(max(pause, answer.wish), left)
        outcome = Outcome(attempt, job, again)
        change.put(DELIVERY, key, {**body, "attempt": attempt, "next": now + again})
    if outcome.again is None:
        change.delete(DELIVERY, key)
    change.put(STATUS, hook.name, {**vars(status), **after}, fence=lease)
    return outcome


def blocked(change: Change, hook: Webhook, error: str, lease: Lease) -> None:
    """Note why nothing can even be tried. Raises Fenced."""
    status = _status(change, hook)
    if status and status.error != error:
        change.put(STATUS, hook.name, {**vars(status), "error": error}, fence=lease)
