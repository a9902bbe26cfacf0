# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store's backends beside each other, and beside a file that is written and synced."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.state.migrate import Migration
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from tests.runner.state_backends import BACKENDS, Servers

from .measures import RECORDS_A_SECOND, Measure

PUTS, GETS, MIGRATION = "put, each durable", "get", "migration into it"
WHATS = (PUTS, GETS, MIGRATION)
FLOOR = "a file, written and synced"
#: of a record: about as long as a small job's
BODY = {
    "state": "completed",
    "workflow": "apply",
    "who": "anna",
    "variables": {"plan_src": "/srv/web.yml"},
    "text": "x" * 600,
}
BATCH = 500
Say = Callable[[str], None]


def measures(records: int, rounds: int, say: Say) -> tuple[list[Measure], list[str]]:
    """All backends in turns; notes on those that could not be measured."""
    floor = Measure(PUTS, FLOOR, records, RECORDS_A_SECOND)
    found = {
        (name, what): Measure(what, name, records, RECORDS_A_SECOND, floor=FLOOR if what == PUTS else "")
        for what in WHATS
        for name in BACKENDS
    }
    servers, missing = Servers(), {}
    try:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as place:
                floor.rounds.append(synced(Path(place), records))
                for name in [one for one in BACKENDS if one not in missing]:
                    try:
                        took = backend(name, Path(place) / name, servers, records)
                    except ImportError as error:
                        missing[name] = f"the store {name}: was not measured: {error}"
                        continue
                    for what, rate in took.items():
                        found[name, what].rounds.append(rate)
                        say(f"{what} · {name}: {rate:.0f} records/s")
    finally:
        servers.close()
    return [floor, *(one for one in found.values() if one.rounds)], list(missing.values())


def backend(name: str, folder: Path, servers: Servers, records: int) -> dict[str, float]:
    """Records a second of each kind."""
    folder.mkdir()
    keys = [f"{number:06d}" for number in range(records)]
    store = open_store(BACKENDS[name].url(folder, servers))
    store.put("warm", "up", {})
    puts = rate(records, lambda: [store.put("thing", key, BODY) for key in keys])
    gets = rate(records, lambda: [store.get("thing", key) for key in keys])
    store.close()
    (folder / "target").mkdir()
    source, target = f"sqlite:{folder}/source.db", BACKENDS[name].url(folder / "target", servers)
    fill(source, keys)
    migration = Migration(source, target, lambda *_told: None)
    moved = rate(records, lambda: migration.run(live=False))
    migration.close()
    return {PUTS: puts, GETS: gets, MIGRATION: moved}


def fill(url: str, keys: list[str]) -> None:
    store = open_store(url)

    def some(change: Change, first: int) -> None:
        for key in keys[first : first + BATCH]:
            change.put("thing", key, BODY)

    for first in range(0, len(keys), BATCH):
        store.change(lambda change, first=first: some(change, first))  # type: ignore[misc]
    store.close()


def synced(folder: Path, records: int) -> float:
    """What the disk does: a file for each record, each synced before the next."""

    def write() -> None:
        for number in range(records):
            file = os.open(folder / f"synced-{number}", os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(file, str(BODY).encode())
            os.fsync(file)
            os.close(file)

    return rate(records, write)


def rate(count: int, work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return count / (time.monotonic() - begun)
