# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backends that the conformance suite runs against: one more is one more entry of BACKENDS."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from testbed import postgres

from tests.standins import surreal_ws


class Servers:
    """Servers that backends need, started when first asked for; end them with ``close``."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._postgres: postgres.Postgres | None = None
        self._surreal = ""
        self._count = itertools.count(1)

    @property
    def postgres(self) -> postgres.Postgres:
        if self._postgres is None:
            self._postgres = self._stack.enter_context(postgres.running())
        return self._postgres

    def new_database(self) -> str:
        return self.postgres.new_database(f"state{next(self._count)}")

    def new_surreal(self) -> str:
        if not self._surreal:
            self._surreal = self._stack.enter_context(surreal_ws.process())
        return f"{self._surreal}/state{next(self._count)}"

    def close(self) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Backend:
    """A kind of backend."""

    #: the URL of a store that nobody has made yet, given a folder of its own
    url: Callable[[Path, Servers], str]
    #: whether several processes may use one store at once
    shared: bool = True
    #: whether it works in a process that is forked from one where it works
    forks: bool = True


BACKENDS = {
    "file": Backend(lambda folder, _servers: f"file:{folder}/state"),
    "sqlite": Backend(lambda folder, _servers: f"sqlite:{folder}/state/state.db"),
    "postgresql": Backend(lambda _folder, servers: servers.new_database()),
    "surrealkv": Backend(lambda folder, _servers: f"surrealkv:{folder}/state", shared=False, forks=False),
    "ws": Backend(lambda _folder, servers: servers.new_surreal()),
}
