# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each server is: one record a server, written under a lease, with the lease as its fence.

Whoever works on a server holds the lease ``provision/SYSTEM-ID`` from its first step to its last, also
between steps. A holder names its machine and its process. So on the same machine a run that was killed is
seen to be gone at once, and its lease is taken over; elsewhere the lease runs out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from ...common.errors import Conflict, RacksteadError
from ...state.errors import Fenced, Held
from ...state.model import LEASE, Lease
from ...state.store import Change, Store
from .model import NAMES, RECORD, Order, Server

#: Seconds that a lease lasts while a step runs, and how often it is extended by then.
LIVE, BEAT = 60.0, 15.0
#: Seconds that it lasts between two steps: a server may wait that long for a free worker of Ansible.
BETWEEN = 900.0


# -- who works on a server --------------------------------------------------------------------------
def holder_of(pid: int) -> str:
    """The name under which a process holds leases: its machine, its namespace, its number and when it began."""
    return f"{_machine()}|{pid}|{_begun(pid)}"


def _machine() -> str:
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()}|{space}"


def _begun(pid: int) -> str:
    """When a process began, in ticks; nothing where there is none of that number, or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def is_gone(holder: str) -> bool:
    """Whether a lease's holder is known to have ended. Of another machine's nobody here can say."""
    machine, _bar, process = holder.rpartition("|")[0].rpartition("|")
    if machine != _machine() or not process.isdecimal():
        return False
    return _begun(int(process)) != holder.rpartition("|")[2]


def lease_name(system_id: str) -> str:
    return f"{RECORD}/{system_id}"


def is_held(change: Change, system_id: str) -> bool:
    """Whether somebody is at work on a server."""
    row = change.find(LEASE, lease_name(system_id))
    if row is None or not row.body["holder"]:
        return False
    return bool(row.body["expires"] > change.now()) and not is_gone(str(row.body["holder"]))


def state_of(change: Change, body: Mapping[str, Any]) -> str:
    """A record's state as it is now: ``running`` without anybody who runs it is ``interrupted``."""
    state = str(body["state"])
    return "interrupted" if state == "running" and not is_held(change, str(body["server"]["system_id"])) else state


# -- the record -------------------------------------------------------------------------------------
def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def blank() -> dict[str, Any]:
    """A step that nobody has begun."""
    return {"state": "pending", "attempts": 0, "started": "", "ended": "", "seconds": 0.0, "outputs": {}, "error": ""}


def fresh(server: Server, order: Order, job: str, now: float) -> dict[str, Any]:
    """The record of a server that nothing was done for."""
    steps = {name: blank() for name in NAMES}
    times = {"started": stamp(now), "updated": stamp(now)}
    return {"server": vars(server) | {}, "order": order.body(), "state": "running", "job": job, "steps": steps, **times}


class Journal:
    """One server's record, in the hands of one run. A ``dry`` one reads the store and writes nothing."""

    def __init__(self, store: Store, server: Server, holder: str, dry: bool = False) -> None:
        self.store = store
        self.server = server
        self.holder = holder
        self.dry = dry
        self.body: dict[str, Any] = {}
        self.found: dict[str, Any] = blank()
        self._lease: Lease | None = None
        self._lost = Event()

    # -- the lease --------------------------------------------------------------------------------
    def begin(self, step: str, order: Order, job: str, selected: tuple[str, ...], again: bool = False) -> None:
        """Take the server, take its record up where it was left, and mark a step as running, unless it is done.

        Raises Held where another run has the server.

        An order that differs from the record's begins a new one. Steps that are not ``selected`` count as
        skipped, unless they were done. ``again`` forgets, at a run's first step, what was done of the selected
        ones. What the step's record was before stands in ``found``.
        """

        def work(change: Change) -> tuple[Lease | None, dict[str, Any], dict[str, Any]]:
            fetched = change.find(RECORD, self.server.system_id)
            lease, continued = (None, False) if self.dry else self._take(change)
            body = fresh(self.server, order, job, change.now())
            if fetched is not None and fetched.body["order"] == order.body():
                body = {**body, "steps": fetched.body["steps"], "started": fetched.body["started"]}
            forget = again and not continued
            steps = {name: _found(body["steps"][name], name in selected, forget) for name in NAMES}
            found = steps[step]
            if found["state"] != "done":
                begun = {"state": "running", "started": stamp(change.now()), "ended": "", "seconds": 0.0, "error": ""}
                steps = {**steps, step: {**found, **begun, "attempts": 0}}
            body = {**body, "steps": steps}
            if lease is not None:
                change.put(RECORD, self.server.system_id, body, fence=lease)
            return lease, body, found

        self._lease, self.body, self.found = self.store.read(work) if self.dry else self.store.change(work)

    def _take(self, change: Change) -> tuple[Lease, bool]:
        """The lease, and whether this run had it already."""
        name = lease_name(self.server.system_id)
        row = change.find(LEASE, name)
        holder = str(row.body["holder"]) if row else ""
        if row is not None and holder not in ("", self.holder) and is_gone(holder):
            change.release(Lease(name, **row.body))
        try:
            return change.lease(name, self.holder, LIVE), holder == self.holder
        except Held as exc:
            host, _space, process, _begun = (*holder.split("|"), "", "", "", "")[:4]
            what = f"another run is at work on it: process {process or '?'} on {host or '?'}"
            hint = "wait for it, or end it; one that is gone is seen to be gone within 15 minutes, on its own machine at once"
            raise Held(what, where=f"server {self.server.hostname}", hint=hint) from exc

    def guard(self) -> None:
        """Raises Fenced where another run has taken the server: nothing more is to be ordered for it then."""
        if self.dry:
            return
        if self._lost.is_set() or self._lease is None:
            raise Fenced("another run has taken this server over", where=f"server {self.server.hostname}")
        self.store.read(lambda change: change.check_fence(self._own()))

    def _own(self) -> Lease:
        if self._lease is None:
            raise Conflict("nobody has begun with this server", where=f"server {self.server.hostname}")
        return self._lease

    @contextmanager
    def beating(self, opened: Callable[[], Store]) -> Iterator[None]:
        """Extend the lease in the background, through a store that is opened for it."""
        ended = Event()

        def beat() -> None:
            store: Store | None = None
            while not ended.wait(BEAT):
                try:
                    store = store or opened()
                    store.renew(self._own(), LIVE)
                except Fenced:
                    self._lost.set()
                    break
                except (RacksteadError, OSError):
                    continue  # the store does not answer; the lease has some time yet
            if store is not None:
                store.close()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(BEAT)

    # -- writing ----------------------------------------------------------------------------------
    def holds(self) -> bool:
        """Whether this run has the server, as far as it knows."""
        return self._lease is not None and not self._lost.is_set()

    def write(
        self, step: str = "", *, state: str = "", step_state: str = "", hold: float = LIVE, **fields: Any
    ) -> None:
        """Put fields into a step of the record, and perhaps a state into the record. ``hold`` 0 gives the lease back.

        A step that gets to its end is stamped with the time.
        """
        fields = {**fields, "state": step_state} if step_state else fields

        def work(change: Change) -> tuple[Lease, dict[str, Any]]:
            lease = self._own()
            body = {**self.body, "updated": stamp(change.now()), "state": state or self.body["state"]}
            if step:
                ended = {"ended": body["updated"]} if step_state in ("done", "failed") else {}
                body["steps"] = {**body["steps"], step: {**body["steps"][step], **fields, **ended}}
            change.put(RECORD, self.server.system_id, body, fence=lease)
            if hold:
                return change.renew(lease, hold), body
            change.release(lease)
            return lease, body

        if self.dry:
            return
        self._lease, self.body = self.store.change(work)

    def put(self, kind: str, body: Mapping[str, Any], sensitive: Sequence[str] = ()) -> None:
        """Keep something else of the server, under the same fence."""
        if self.dry:
            return
        key = self.server.system_id
        self.store.change(lambda change: change.put(kind, key, body, fence=self._own(), sensitive=sensitive))

    def note(self, step: str, **outputs: Any) -> None:
        """Remember something of a step that is at work: what it is about to do, so that it is not done twice."""
        self.write(step, outputs={**self.outputs(step), **outputs})

    def outputs(self, step: str) -> dict[str, Any]:
        return dict(self.body["steps"][step]["outputs"])

    def step(self, step: str) -> dict[str, Any]:
        return dict(self.body["steps"][step])


def _found(step: Mapping[str, Any], selected: bool, forget: bool) -> dict[str, Any]:
    """A step of the record as a run finds it. A running one was left half done."""
    if not selected:
        return {**step} if step["state"] == "done" else {**step, "state": "skipped"}
    if step["state"] == "skipped" or (forget and step["state"] == "done"):
        return {**step, "state": "pending"}
    return {**step}
