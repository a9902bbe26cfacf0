# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks as they are declared and kept.

A webhook is three records: what is shown of it, what is sealed (secret and URL), and how its deliveries stand.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import KEY_HINT, Change, Store

from ..jobs.model import JobState
from .signing import new_secret

#: Kinds of records. ``DELIVERY`` has one for each end that is still to be delivered; its key begins with the
#: webhook's name and a slash.
WEBHOOK, SECRET, STATUS, DELIVERY = "webhook", "webhook-secret", "webhook-status", "webhook-delivery"
KINDS = (WEBHOOK, SECRET, STATUS, DELIVERY)
STATES = tuple(state.value for state in JobState if state.final)
#: What a webhook may be told besides: news of hardware reports. Only who asks for it gets it.
ALERT = "alert"
TOLD = (*STATES, ALERT)
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
LONGEST_URL = 2000
MOST_WEBHOOKS, MOST_PATTERNS = 100, 100
PAGE = 500
HOUR = 3600.0
#: How long an earlier secret signs beside a new one, in hours: if nobody says, and at most. Earlier ones at most.
OVERLAP, LONGEST_OVERLAP, MOST_EARLIER = 24.0, 720.0, 3


@dataclass(frozen=True)
class Webhook:
    """``url`` is without its query, which may hold a secret. ``id`` tells it from an earlier one of this name.

    ``workflows`` are shell patterns; without any, all are meant. Alerts come from no workflow.
    """

    name: str
    url: str
    id: str = ""
    states: list[str] = field(default_factory=lambda: list(STATES))
    workflows: list[str] = field(default_factory=list)
    created: float = 0.0
    who: str = ""
    #: until when an earlier secret signs as well; 0 where there was none
    earlier_until: float = 0.0

    @classmethod
    def of(cls, record: Record) -> Webhook:
        return cls(record.key, **record.body)

    @property
    def wants_alerts(self) -> bool:
        return ALERT in self.states

    def wants(self, state: str, workflow: str) -> bool:
        patterns = self.workflows or ["*"]
        return state in self.states and any(fnmatchcase(workflow, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Status:
    """How a webhook's deliveries stand. ``cursor`` is the entry of the audit chain up to which they were entered.

    ``failures`` counts attempts in vain, ``given_up`` deliveries; ``error`` is that of the last attempt, if it was
    in vain. Times are seconds since the epoch.
    """

    id: str
    cursor: int
    pending: int = 0
    delivered: int = 0
    failures: int = 0
    given_up: int = 0
    last: float | None = None
    error: str = ""

    @classmethod
    def of(cls, record: Record) -> Status:
        return cls(**record.body)


def add(
    store: Store,
    name: str,
    url: str,
    who: str,
    origin: str,
    *,
    states: Sequence[str] = (),
    workflows: Sequence[str] = (),
) -> tuple[Webhook, str]:
    """Declare a webhook for the ends, and the alerts if ``states`` has ``ALERT``, that come from now on. Gives it and its secret: the one time that it is seen.

    Raises InvalidInput, also where there is no key to seal the secret with, or Conflict where the name is taken.
    """
    _check(store, name, url, states, workflows)
    secret = new_secret()
    told = public(url)

    def work(change: Change) -> Webhook:
        if change.find(WEBHOOK, name):
            raise Conflict("is there already", where=f'webhook "{name}"', hint="remove it first")
        if len(change.list(WEBHOOK, Query(limit=MOST_WEBHOOKS))) >= MOST_WEBHOOKS:
            raise Conflict(f"there are {MOST_WEBHOOKS} already, which is the most", where="webhooks")
        chosen = [state for state in TOLD if state in states] or list(STATES)
        hook = Webhook(name, told, uuid.uuid4().hex, chosen, list(workflows), change.now(), who)
        body = dict(vars(hook))
        del body["name"]
        change.put(WEBHOOK, name, body)
        change.put(SECRET, name, {"secret": secret, "url": url}, sensitive=["secret", "url"])
        details = {"url": told, "states": hook.states, "workflows": hook.workflows}
        entry = change.append_audit(who, "webhook.add", f"{WEBHOOK}/{name}", origin=origin, details=details)
        change.put(STATUS, name, dict(vars(Status(hook.id, entry.seq))))
        return hook

    return store.change(work), secret


def rotate(store: Store, name: str, who: str, origin: str, *, overlap: float = OVERLAP) -> tuple[Webhook, str]:
    """Give a webhook a new secret; for ``overlap`` hours the one that it had signs as well.

    Gives the webhook and the secret: the one time that it is seen. Raises NotFound or InvalidInput.
    """
    _check_overlap(store, overlap)
    secret = new_secret()

    def work(change: Change) -> Webhook:
        record = change.find(WEBHOOK, name)
        if record is None:
            raise NotFound(f'there is no webhook "{name}"')
        kept, end = change.get(SECRET, name), change.now() + overlap * HOUR
        # One that was to end sooner does; without an overlap none goes on.
        left = [{**one, "until": min(one["until"], end)} for one in _earlier(kept.body, change.now())]
        earlier = [{"secret": kept.body["secret"], "until": end}, *left][:MOST_EARLIER] if overlap else []
        body = {"secret": secret, "url": kept.body["url"], "earlier": earlier}
        change.put(SECRET, name, body, sensitive=["secret", "url", "earlier"])
        change.put(WEBHOOK, name, {**record.body, "earlier_until": end if overlap else 0.0})
        details = {"overlap_hours": overlap}
        change.append_audit(who, "webhook.rotate", f"{WEBHOOK}/{name}", origin=origin, details=details)
        return Webhook.of(change.get(WEBHOOK, name))

    return store.change(work), secret


def _earlier(body: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
    """Secrets that still sign beside the present one."""
    return [one for one in body.get("earlier", []) if one["until"] > now]


def remove(store: Store, name: str, who: str, origin: str) -> None:
    """What was still to be delivered goes too. Raises NotFound."""

    def work(change: Change) -> None:
        if not change.delete(WEBHOOK, name):
            raise NotFound(f'there is no webhook "{name}"')
        change.delete(SECRET, name)
        change.delete(STATUS, name)
        left = 0
        while page := change.list(DELIVERY, Query(prefix=f"{name}/", limit=PAGE)):
            left += len(page)
            for one in page:
                change.delete(DELIVERY, one.key)
        details = {"undelivered": left}
        change.append_audit(who, "webhook.remove", f"{WEBHOOK}/{name}", origin=origin, details=details)

    store.change(work)


def every(source: Store | Change) -> list[tuple[Webhook, Status]]:
    """All webhooks and how they stand. Needs no key."""
    status = {one.key: Status.of(one) for one in source.list(STATUS, Query(limit=MOST_WEBHOOKS))}
    found = [Webhook.of(one) for one in source.list(WEBHOOK, Query(limit=MOST_WEBHOOKS))]
    return [(one, status[one.name]) for one in found if one.name in status]


def opened(store: Store, name: str) -> tuple[str, list[str]]:
    """URL and secrets, the present one first. Raises NotFound, InvalidInput without a key, Unsealable with a wrong one."""

    def work(change: Change) -> tuple[str, list[str]]:
        if change.find(WEBHOOK, name) is None:
            raise NotFound(f'there is no webhook "{name}"')
        body: Mapping[str, Any] = change.get(SECRET, name).body
        earlier = [str(one["secret"]) for one in _earlier(body, change.now())]
        return str(body["url"]), [str(body["secret"]), *earlier]

    return store.read(work)


def document(hook: Webhook, status: Status) -> dict[str, Any]:
    """What is shown of it."""
    shown = {"name": hook.name, "url": hook.url, "states": hook.states, "workflows": hook.workflows}
    counts = {name: value for name, value in vars(status).items() if name not in ("id", "cursor")}
    return {**shown, "created": hook.created, "who": hook.who, "earlier_until": hook.earlier_until or None, **counts}


def public(url: str) -> str:
    """The URL without its query."""
    return url.partition("?")[0] + ("?…" if "?" in url else "")


def _check(store: Store, name: str, url: str, states: Sequence[str], workflows: Sequence[str]) -> None:
    problems = Problems()
    if not re.fullmatch(NAME, name):
        problems.add("name", f'"{name}" is not valid', "1 to 63 letters, digits and _ -")
    for state in states:
        if state not in TOLD:
            problems.add("states", f'"{state}" is not valid', ", ".join(TOLD))
    if len(workflows) > MOST_PATTERNS or not all(1 <= len(one) <= 100 and one.isprintable() for one in workflows):
        problems.add("workflows", "is not valid", f"at most {MOST_PATTERNS} names or shell patterns")
    wrong = url_problem(url)
    if wrong:
        problems.add("url", wrong)
    if store.seal is None:
        problems.add("secret", f"there is no key to seal it with; {KEY_HINT}")
    problems.raise_if_any()


def _check_overlap(store: Store, overlap: float) -> None:
    problems = Problems()
    if not 0 <= overlap <= LONGEST_OVERLAP:
        problems.add("overlap_hours", f"{overlap:g} is not valid", f"0 to {LONGEST_OVERLAP:g}")
    if store.seal is None:
        problems.add("secret", f"there is no key to seal it with; {KEY_HINT}")
    problems.raise_if_any()


def url_problem(url: str) -> str:
    """What is wrong with a receiver's URL. The URL is not quoted: it may hold a secret."""
    from .sending import refused

    allowed = "allowed: https://HOST[:PORT]/PATH, or http"
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return f"is not a URL of at most {LONGEST_URL} printable ASCII characters; {allowed}"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return f"is not valid; {allowed}"
    if parts.scheme not in ("http", "https") or not host:
        return f"is not valid; {allowed}"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return f"holds a user, a password or a fragment; {allowed}"
    return refused(host)
