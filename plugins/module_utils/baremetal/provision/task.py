# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the work of a step has at hand: one server, its peers, its record, and the time that is left."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ...common.deadline import Deadline
from ..bmc import presence
from ..bmc.model import Endpoint
from ..maas.client import Maas
from ..maas.model import Machine
from .journal import Journal
from .model import Order, Server
from .settings import Settings


@dataclass
class Task:
    """One attempt at a step of one server. ``tell`` hands a line to whoever watches."""

    settings: Settings
    server: Server
    order: Order
    maas: Maas
    journal: Journal
    deadline: Deadline
    check: bool = False
    attempt: int = 1
    tell: Callable[[str], None] = lambda _line: None
    #: asks whether the peer that was spoken to last can be reached at all
    peer: Callable[[], bool] | None = field(default=None, repr=False)
    #: an address at which nobody answered as a BMC, a moment ago
    asked: str = ""

    @property
    def where(self) -> str:
        return f"server {self.server.hostname}"

    def machine(self) -> Machine:
        """The machine as MAAS shows it now."""
        with self.speaking_to_maas():
            return self.maas.machine(self.server.system_id)

    def guard(self) -> None:
        """To be called before anything is ordered: another run may have taken this server over."""
        if not self.check:
            self.journal.guard()

    @contextmanager
    def speaking_to_maas(self) -> Iterator[None]:
        where = urlsplit(self.settings.maas.url)
        port = where.port or (443 if where.scheme == "https" else 80)
        self.peer = lambda: connects(where.hostname or "", port)
        yield

    @contextmanager
    def speaking_to_host(self, address: str) -> Iterator[None]:
        self.peer = lambda: connects(address, self.settings.ssh_port)
        yield

    @contextmanager
    def speaking_to_bmc(self, endpoint: Endpoint) -> Iterator[None]:
        self.peer = lambda: presence.answers(endpoint.host, endpoint.port)
        yield


def connects(host: str, port: int, patience: float = 3.0) -> bool:
    """Whether a TCP port takes connections."""
    try:
        with socket.create_connection((host, port), timeout=patience):
            return True
    except OSError:
        return False


def speaks_ssh(host: str, port: int, patience: float = 3.0) -> bool:
    """Whether somebody may log in there: a machine that is booting may take connections and say nothing yet."""
    try:
        with socket.create_connection((host, port), timeout=patience) as caller:
            return caller.recv(4) == b"SSH-"
    except OSError:
        return False
