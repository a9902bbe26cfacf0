# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that write to a state store until they end or are killed, and tell what was acknowledged."""

from __future__ import annotations

import itertools
import os
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced, Held, VersionMoved
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Lease, Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change, Store

Tell = Callable[[str], None]
COPIES = 50


class Worker:
    """``work(store, tell)`` in a process of its own. What it tells is told, whatever becomes of it."""

    def __init__(self, url: str, work: Callable[[Store, Tell], None]) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(reading)
            _child(url, work, writing)
        os.close(writing)
        self._pipe = os.fdopen(reading)
        self.lines: list[str] = []

    def hear(self, count: int) -> None:
        """Wait for so many lines more."""
        self.lines += [line.rstrip("\n") for line in itertools.islice(self._pipe, count)]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.join(-signal.SIGKILL)

    def join(self, code: int = 0) -> list[str]:
        """Wait for its end; all it told."""
        self.lines += self._pipe.read().splitlines()
        self._pipe.close()
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == code, self.lines[-1:]
        return self.lines


def _child(url: str, work: Callable[[Store, Tell], None], pipe: int) -> None:
    try:
        store = open_store(url)
        work(store, lambda line: os.write(pipe, f"{line}\n".encode()) and None)
        store.close()
        os._exit(0)
    except BaseException:  # noqa: BLE001  the parent shows it
        with suppress(BrokenPipeError):
            os.write(pipe, traceback.format_exc().encode())
    finally:
        os._exit(1)


# -- what they do ---------------------------------------------------------------------------------
def body(number: int) -> dict[str, Any]:
    """A body whose parts must agree."""
    return {"n": number, "copies": [number] * COPIES}


def whole(found: dict[str, Any]) -> bool:
    return found == body(found["n"])


def add_one(store: Store, key: str, optimistic: bool) -> None:
    """Add one to a shared counter, by an expected version or within one transaction."""

    def within(change: Change) -> None:
        record = change.find("counter", key)
        change.put("counter", key, body(record.body["n"] + 1 if record else 1))

    def by_version() -> bool | None:
        record = store.find("counter", key)
        number, version = (record.body["n"], record.version) if record else (0, 0)
        with suppress(VersionMoved):
            store.put("counter", key, body(number + 1), expect=version)
            return True
        return None

    if optimistic:
        wait_until(by_version, Deadline(60), what="a version that stays", first=0.001, most=0.05)
    else:
        store.change(within)


def count(name: str, times: int) -> Callable[[Store, Tell], None]:
    def work(store: Store, tell: Tell) -> None:
        chance = random.Random(name)
        for number in range(times):
            key = chance.choice("abc")
            add_one(store, key, optimistic=number % 2 == 0)
            tell(key)
        store.append_audit(name, "count", "counter")

    return work


def write_for_ever(name: str) -> Callable[[Store, Tell], None]:
    """Three records that belong together, again and again; tells the key of each that was acknowledged."""

    def work(store: Store, tell: Tell) -> None:
        for number in range(100_000):
            key = f"{name}-{number:06d}"

            def together(change: Change, key: str = key, number: int = number) -> None:
                total = change.find("total", "all")
                change.put("total", "all", body(total.body["n"] + 1 if total else 1))
                change.put("job", key, body(number), expect=0)
                change.append_audit(name, "put", key)

            store.change(together)
            tell(key)

    return work


def contend(name: str, last: int) -> Callable[[Store, Tell], None]:
    """Take a lease that soon expires, and write under it until another has taken it; tells each token."""

    def taken(store: Store) -> Lease | None:
        with suppress(Held):
            return store.lease("target", name, 0.02)
        return None

    def refused(store: Store, lease: Lease) -> bool | None:
        def write(change: Change) -> None:
            before = change.find("target", "t")
            change.put("target", "t", {"token": lease.token}, fence=lease)
            assert before is None or before.body["token"] <= lease.token

        try:
            store.change(write)
        except Fenced:
            return True
        return None

    def work(store: Store, tell: Tell) -> None:
        for lease in _leases(lambda: taken(store)):
            tell(str(lease.token))
            if lease.token >= last:
                return
            wait_until(lambda held=lease: refused(store, held), Deadline(60), what="a refusal", first=0.002, most=0.01)

    return work


def _leases(take: Callable[[], Lease | None]) -> Iterator[Lease]:
    while True:
        yield wait_until(take, Deadline(60), what="the lease", first=0.002, most=0.01)


def read_for_ever(store: Store, tell: Tell) -> None:
    tell("reading")
    while True:
        store.list("job", Query(where={"n": -1}))
