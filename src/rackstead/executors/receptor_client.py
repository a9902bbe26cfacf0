# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receptor's control socket, as far as it is needed: requests with a deadline, and errors in one line.

The protocol is lines of JSON. Its own client library tells a unit's name only after all of the payload was sent, and
waits without an end; here the name is known before the unit can start, and can be written down.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
    Unreachable,
)

SOCKET = "RACKSTEAD_RECEPTOR_SOCKET"
#: What a node must offer: ``rackstead node`` under this name.
WORK_TYPE = "rackstead"
#: The parameter of a unit that names the attempt. Receptor keeps it with the unit.
MARK = "rackstead_run"
#: Seconds between two bytes of an answer. To cancel a unit may take Receptor ten.
PATIENCE = 30.0
_HELLO = re.compile(r"Receptor Control, node (.+)")
_CREATED = re.compile(r"Work unit created with ID (\S+)\. Send stdin data and EOF\.")


@dataclass(frozen=True)
class Settings:
    socket: str
    #: seconds for which a node that is not in reach is waited for, and Receptor itself
    patience: float = 10.0
    #: seconds between two looks
    look: float = 0.3


def settings(path: str) -> Settings | None:
    """From the option, else from the environment; None where neither names a socket. Raises InvalidInput."""
    path = path or os.environ.get(SOCKET, "")
    if not path:
        return None
    path = path.removeprefix("unix:")
    if not os.path.isabs(path):
        raise InvalidInput([f'--receptor-socket: "{path}" is not valid; allowed: the absolute path of a socket'])
    return Settings(path)


class Mesh:
    """What a node knows of the others."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self.name = str(status["NodeID"])
        self._routes = set(status.get("RoutingTable") or {}) | {self.name}
        self._known = self._routes | set(status.get("KnownConnectionCosts") or {})
        self._offers: dict[str, dict[str, bool]] = {}
        for one in status.get("Advertisements") or ():
            self._known.add(one["NodeID"])
            if one["Service"] == "control":
                offers = one.get("WorkCommands") or ()
                self._offers[one["NodeID"]] = {offer["WorkType"]: bool(offer["Secure"]) for offer in offers}

    def fault(self, node: str) -> RacksteadError | None:
        """Why no job can be given to a node. Unreachable: that may change."""
        if node not in self._known:
            others = ", ".join(sorted(self._known))
            return NotFound(f'Receptor knows no node "{node}"; it knows {others}', where=f'node "{self.name}"')
        if node not in self._routes:
            return Unreachable("Receptor has no way to it", where=f'node "{node}"')
        if WORK_TYPE not in self._offers.get(node, {WORK_TYPE: False}):
            return NotFound(f'offers no work of the type "{WORK_TYPE}"', where=f'node "{node}"')
        return None

    def signed(self, node: str) -> bool:
        """Whether a node asks for signed work. The one at the socket trusts whoever may open that."""
        return node != self.name and self._offers.get(node, {}).get(WORK_TYPE, False)


class Submission:
    """A unit that begins when all of the payload was sent."""

    def __init__(self, unit: str, line: Line) -> None:
        self.unit = unit
        self._line = line

    def send(self, payload: Path) -> None:
        """Raises Unreachable, or OperationFailed with Receptor's reason: the unit has not begun then, as far as
        Receptor knows."""
        with self._line.errors():
            with payload.open("rb") as file:
                shutil.copyfileobj(file, self._line.file)
            self._line.end()
        self._line.answer()


class Line:
    """One connection, which is good for one request."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(PATIENCE)
        try:
            with self.errors():
                self._socket.connect(path)
                self.file = self._socket.makefile("rwb")
            hello = self.text()
            if not _HELLO.fullmatch(hello):
                raise InvalidInput([f'--receptor-socket: at "{path}" is no Receptor: it says "{hello[:60]}"'])
        except BaseException:
            self._socket.close()
            raise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What the operating system says, as one line."""
        try:
            yield
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            raise Unreachable(f'at "{self._path}" nothing answers: {why}', where="Receptor") from error

    def text(self) -> str:
        with self.errors():
            line = self.file.readline()
            if not line:
                raise ConnectionResetError("it has hung up")
        return line.decode(errors="replace").strip()

    def say(self, command: Mapping[str, Any]) -> None:
        with self.errors():
            self.file.write(json.dumps(command).encode() + b"\n")
            self.file.flush()

    def end(self) -> None:
        """Nothing more is sent."""
        self.file.flush()
        self._socket.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Nothing more is read either: whoever does comes to the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            if self._socket.fileno() >= 0 and error.errno not in GONE:
                raise

    def patient(self) -> None:
        """Lines may be long in coming."""
        self._socket.settimeout(None)

    def answer(self) -> dict[str, Any]:
        text = self.text()
        reason = told(text)
        if reason:
            raise (
                NotFound(reason, where="Receptor")
                if "unknown work unit" in reason
                else OperationFailed(reason, where="Receptor")
            )
        found: dict[str, Any] = json.loads(text)
        return found

    def close(self) -> None:
        try:
            self.file.close()
        except OSError as error:
            if error.errno not in GONE:
                raise
        finally:
            self._socket.close()


GONE = (32, 104, 107)  # EPIPE, ECONNRESET, ENOTCONN


def told(text: str) -> str:
    """The reason in an answer that is none; it may have come through several nodes."""
    if not text.startswith("ERROR"):
        return ""
    return text.rpartition("ERROR:")[2].strip() or text


class Control:
    """A node's control socket."""

    def __init__(self, chosen: Settings) -> None:
        self._path = chosen.socket

    @contextmanager
    def _line(self) -> Iterator[Line]:
        line = Line(self._path)
        try:
            yield line
        finally:
            line.close()

    def _ask(self, command: str, **more: Any) -> dict[str, Any]:
        with self._line() as line:
            line.say({"command": command, **more})
            return line.answer()

    def mesh(self) -> Mesh:
        return Mesh(self._ask("status"))

    def unit(self, name: str) -> dict[str, Any]:
        """State, detail and so on. Raises NotFound."""
        found: dict[str, Any] = self._ask("work", subcommand="status", unitid=name)
        return found

    def units(self, run: str) -> list[str]:
        """Units that were made for an attempt, whether they have begun or not."""
        found = self._ask("work", subcommand="list")
        return [name for name, one in found.items() if _params(one).get(MARK) == run]

    @contextmanager
    def submit(self, node: str, run: str, *, signed: bool, seconds: float) -> Iterator[Submission]:
        """A new unit for a node, which gives up if it cannot begin there within ``seconds``. Left without a payload,
        it does nothing."""
        order = {"command": "work", "subcommand": "submit", "node": node, "worktype": WORK_TYPE, MARK: run}
        order |= {"signwork": "true"} if signed else {}
        with self._line() as line:
            mesh = self.mesh()
            line.say(order if node == mesh.name else order | {"ttl": f"{seconds:.0f}s"})
            text = line.text()
            made = _CREATED.fullmatch(text)
            if not made:
                raise OperationFailed(told(text) or text, where="Receptor")
            yield Submission(made[1], line)

    @contextmanager
    def results(self, name: str) -> Iterator[Line]:
        """What a unit writes, from its beginning, as it comes. Raises NotFound."""
        with self._line() as line:
            line.say({"command": "work", "subcommand": "results", "unitid": name, "startpos": 0})
            text = line.text()
            if told(text):
                raise NotFound(told(text), where="Receptor")
            line.patient()
            yield line

    def cancel(self, name: str) -> bool:
        """End a unit. Whether it has ended; if not, Receptor tries on. Raises NotFound."""
        return "cancelled" in self._ask("work", subcommand="cancel", unitid=name)

    def release(self, name: str) -> None:
        """End a unit, and take away its files here and there: Receptor does so as soon as it can."""
        try:
            self._ask("work", subcommand="release", unitid=name)
        except NotFound:
            return


def begun(unit: Mapping[str, Any]) -> bool:
    """Whether a unit has been started on its node, as far as Receptor knows."""
    extra = unit.get("ExtraData")
    return bool(extra.get("RemoteStarted", True)) if isinstance(extra, Mapping) else True


def _params(unit: Mapping[str, Any]) -> Mapping[str, Any]:
    extra = unit.get("ExtraData")
    found = extra.get("RemoteParams") if isinstance(extra, Mapping) else None
    return found if isinstance(found, Mapping) else {}
