# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The courier: follows the audit chain and delivers. Servers and workers have one each; a lease in the state store
lets one of them work. Each webhook has a thread of its own, so that a slow receiver delays nobody else.
"""

from __future__ import annotations

import heapq
import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound, RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced, Held
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Lease, Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import KEY_HINT, Change, Store

from .delivery import FAR, Outcome, Patience, blocked, conclude, enter, look
from .registry import DELIVERY, Status, Webhook, every, opened
from .sending import Answer, post

log = logging.getLogger("rackstead.webhooks")
LEASE = "webhooks"


@dataclass(frozen=True)
class Times:
    """Seconds: between two looks at the chain; for which the lease holds, and after which it is renewed; before a
    secret that cannot be read is looked at again; and for threads that are to end."""

    look: float = 1.0
    lease: float = 6.0
    renew: float = 2.0
    blocked: float = 30.0
    grace: float = 2.0


class Courier:
    """``start`` and ``stop`` it once. Nothing that receivers do reaches who started it."""

    def __init__(self, store: Store, times: Times | None = None, patience: Patience | None = None) -> None:
        self.store = store
        self.times = times or Times()
        self.patience = patience or Patience()
        self.lease: Lease | None = None
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._renew_at = 0.0
        self._senders: dict[str, Sender] = {}
        #: up to where the chain was looked at, for each webhook
        self._seen: dict[str, int] = {}
        self._told = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is just being sent is not waited for long: it may be sent once more, by the next."""
        self._stopping.set()
        self._thread.join(self.times.grace)
        self._let_go()

    def _live(self) -> None:
        while True:
            try:
                self._round()
            except RacksteadError as error:
                log.error("webhooks wait: %s", error)
            except Exception:
                log.exception("webhooks wait: the courier's round failed; it is tried again")
            if self._stopping.wait(self.times.look):
                return

    def _round(self) -> None:
        hooks, head = self.store.read(_looked)
        if not hooks or not self._hold():
            self._let_go()
            return
        try:
            self._follow(hooks, head)
        except Fenced as error:
            log.warning("%s; another delivers from here on", error)
            self._let_go()

    def _follow(self, hooks: list[tuple[Webhook, Status]], head: int) -> None:
        there = {hook.id for hook, _status in hooks}
        for gone in self._senders.keys() - there:
            self._senders.pop(gone).end()
        for hook, status in hooks:
            if hook.id not in self._senders or not self._senders[hook.id].is_alive():
                self._senders[hook.id] = Sender(self, hook)
                self._senders[hook.id].start()
            self._catch_up(hook, status.cursor, head)

    def _catch_up(self, hook: Webhook, kept: int, head: int) -> None:
        """Enter what has ended since. What nobody wants is written once in a while only."""
        seen = max(kept, self._seen.get(hook.id, 0))
        while seen < head and self._hold() and not self._stopping.is_set():
            before, lease = seen, self.lease
            seen, found = self.store.read(partial(look, hook=hook, seen=before))
            if lease and (found or seen - kept >= FAR):
                keys = self.store.change(partial(enter, hook=hook, found=found, cursor=seen, lease=lease))
                self._senders[hook.id].add(keys)
                kept = seen
            self._seen[hook.id] = seen
            if seen == before:
                return  # there is no room, or no such webhook any more

    # -- the lease -----------------------------------------------------------------------------------
    def _hold(self) -> bool:
        """Whether the lease is this courier's, for long enough."""
        if self.store.seal is None:
            if not self._told:
                log.error("webhooks: nothing is delivered from here: there is no key for their secrets; %s", KEY_HINT)
            self._told = True
            return False
        if self.lease and time.monotonic() < self._renew_at:
            return True
        at = time.monotonic()
        try:
            if self.lease:
                self.lease = self.store.renew(self.lease, self.times.lease)
            else:
                self.lease = self.store.lease(LEASE, self._holder, self.times.lease)
                log.info("webhooks are delivered from here")
        except Held:
            return False
        except Fenced as error:
            log.warning("%s; another delivers from here on", error)
            return False
        self._renew_at = at + self.times.renew
        return True

    def _let_go(self) -> None:
        """Have the threads end, and give the lease back."""
        senders = list(self._senders.values())
        for sender in senders:
            sender.end()
        end = time.monotonic() + self.times.grace
        for sender in senders:
            sender.join(max(0.0, end - time.monotonic()))
        self._senders, self._seen = {}, {}
        lease, self.lease = self.lease, None
        if lease:
            with suppress(RacksteadError):
                self.store.release(lease)


def _looked(change: Change) -> tuple[list[tuple[Webhook, Status]], int]:
    """The webhooks, and the number of the chain's last entry."""
    hooks = every(change)
    last = change.audit(Query(descending=True, limit=1)) if hooks else []
    return hooks, last[0].seq if last else 0


class Sender(threading.Thread):
    """Delivers to one receiver, one after the other, each when its time has come."""

    def __init__(self, courier: Courier, hook: Webhook) -> None:
        super().__init__(name=f"webhook {hook.name}", daemon=True)
        self._courier = courier
        self._store = courier.store
        self._hook = hook
        self._bell = threading.Condition()
        self._ended = False
        #: when, on the monotonic clock, and which
        self._due: list[tuple[float, str]] = []
        self._known: set[str] = set()

    def add(self, keys: list[str], after: float = 0.0) -> None:
        with self._bell:
            for key in keys:
                if key not in self._known:
                    self._known.add(key)
                    heapq.heappush(self._due, (time.monotonic() + after, key))
            self._bell.notify()

    def end(self) -> None:
        with self._bell:
            self._ended = True
            self._bell.notify()

    def run(self) -> None:
        try:
            self._load()
            while key := self._next():
                again = self._try(key)
                self._known.discard(key)
                if again is not None:
                    self.add([key], again)
        except RacksteadError as error:
            log.warning("webhook %s: its deliveries wait: %s", self._hook.name, error)
        except Exception:
            log.exception("webhook %s: its deliveries wait; they are tried again", self._hook.name)

    def _load(self) -> None:
        """What an earlier courier has left."""
        after = f"{self._hook.name}/"
        prefix = after
        while page := self._store.list(DELIVERY, Query(prefix=prefix, after=after, limit=100)):
            now = time.time()
            for one in page:
                self.add([one.key], max(0.0, min(one.body["next"] - now, self._courier.patience.longest)))
            after = page[-1].key

    def _next(self) -> str:
        """Wait for the next delivery's time. Empty when this is to end."""
        with self._bell:
            while not self._ended:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is not None and left <= 0.0:
                    return heapq.heappop(self._due)[1]
                self._bell.wait(left)
        return ""

    def _try(self, key: str) -> float | None:
        """One attempt. Gives the seconds until the next, or None if there is none. Raises Fenced."""
        record = self._store.find(DELIVERY, key)
        if record is None:
            return None
        try:
            url, secrets = opened(self._store, self._hook.name)
        except NotFound:
            return None
        except RacksteadError as error:
            return self._blocked(str(error))
        answer = post(url, secrets, str(record.body["id"]), str(record.body["body"]).encode())
        outcome = self._concluded(key, answer, int(record.body["attempt"]) + 1)
        if outcome:
            self._tell(outcome, answer)
        return outcome.again if outcome else None

    def _concluded(self, key: str, answer: Answer, attempt: int) -> Outcome | None:
        patience, lease = self._courier.patience, self._lease()
        pause = min(patience.first * 2.0 ** min(attempt - 1, 30), patience.longest) * random.uniform(0.75, 1.25)
        return self._store.change(lambda change: conclude(change, self._hook, key, answer, lease, patience, pause))

    def _blocked(self, error: str) -> float:
        lease = self._lease()
        self._store.change(lambda change: blocked(change, self._hook, error, lease))
        log.error("webhook %s: %s", self._hook.name, error)
        return self._courier.times.blocked

    def _lease(self) -> Lease:
        lease = self._courier.lease
        if lease is None:
            raise Fenced("was given back", where=f"lease {LEASE}")
        return lease

    def _tell(self, outcome: Outcome, answer: Answer) -> None:
        name, job = self._hook.name, outcome.job
        if answer.ok:
            log.info("webhook %s: %s is told, attempt %d", name, job, outcome.attempt)
        elif outcome.given_up:
            log.error("webhook %s: %s: given up after %d attempts: %s", name, job, outcome.attempt, answer.error)
        else:
            again = round(outcome.again or 0.0)
            log.warning("webhook %s: %s: %s; tried again in %d s", name, job, answer.error, again)


@contextmanager
def delivering(store: Store) -> Iterator[None]:
    """While this runs, webhooks are delivered."""
    courier = Courier(store)
    courier.start()
    try:
        yield
    finally:
        courier.stop()
