# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session with upsd. What is cut, late or garbled ends in an error, never in a shorter answer.

The protocol is a few lines of text. It is spoken here and not by pynut2, which takes a list that a lost connection
cut short for the whole, has no deadline and no STARTTLS, and needs telnetlib, which Python 3.13 no longer has.
"""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

from ...common.deadline import Deadline
from ...common.errors import Denied, InvalidInput, NotFound, OperationFailed, RacksteadError, Unreachable, Unsupported
from .status import LOST, STALE, UpsStatus, parse_status

PORT = 3493
NAME = re.compile(r"[A-Za-z0-9_.-]+")
#: More than any UPS has to say: what goes beyond is no upsd.
LONGEST_LINE, LONGEST_ANSWER = 8192, 1 << 20
#: upsd's refusals that say that the way to the UPS is cut.
CUT_OFF = {"DATA-STALE": STALE, "DRIVER-NOT-CONNECTED": LOST}
_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')


@dataclass(frozen=True)
class Server:
    """Where upsd is. ``ca_file`` names whom to trust with its certificate; without it, the system's authorities."""

    host: str
    port: int = PORT
    tls: bool = False
    ca_file: str = ""
    timeout: float = 5.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Refused(OperationFailed):
    """upsd answered ERR; ``code`` is the word after it."""

    def __init__(self, code: str, *, where: str) -> None:
        super().__init__(f"upsd refused with {code}", where=where)
        self.code = code


def words(line: str) -> list[str]:
    """A line's words, out of their quotes. Raises ValueError where a quote is not closed."""
    found, at = [], 0
    line = line.rstrip()
    while at < len(line):
        match = _WORD.match(line, at)
        if not match:
            raise ValueError("not a line of NUT's protocol")
        quoted, bare = match.groups()
        found.append(bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    return found


def quoted(text: str, field: str) -> str:
    """A word as upsd reads it back: its parser takes # for a comment also within quotes. Raises InvalidInput."""
    if not text.isprintable():
        raise InvalidInput([f"{field}: is not valid; allowed: text without line breaks and control characters"])
    return '"' + re.sub(r'(["\\\\#])', r"\\\1", text) + '"'


def connect(server: Server) -> Client:
    """Open a session, over TLS if the server is to have it: then nothing is asked without it."""
    deadline = Deadline(server.timeout)
    try:
        connection = socket.create_connection((server.host, server.port), timeout=server.timeout)
    except OSError as error:
        hint = "see that upsd runs there, and that its LISTEN lines name an address that is reached from here"
        raise Unreachable(f"upsd does not answer: {error}", where=str(server), hint=hint) from error
    client = Client(connection, server)
    try:
        if server.tls:
            client.start_tls(deadline)
    except BaseException:
        client.close()
        raise
    return client


class Client:
    """A session over a connection. A broken answer closes it: what came after could belong to another question."""

    def __init__(self, connection: socket.socket, server: Server) -> None:
        self._connection = connection
        self._server = server
        self._buffer = b""
        self._read = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def start_tls(self, deadline: Deadline) -> None:
        """Go over to TLS, and check the certificate and the name in it."""
        try:
            answer = self._ask("STARTTLS", deadline)
        except Refused:
            hint = "give upsd a certificate (CERTFILE in upsd.conf)"
            raise Unsupported("upsd offers no TLS", where=str(self._server), hint=hint) from None
        if answer != ["OK", "STARTTLS"] or self._buffer:
            raise self._broken("its answer to STARTTLS is not one")
        try:
            context = ssl.create_default_context(cafile=self._server.ca_file or None)
            self._connection.settimeout(max(deadline.remaining(), 0.001))
            self._connection = context.wrap_socket(self._connection, server_hostname=self._server.host)
        except ssl.SSLCertVerificationError as error:
            hint = "name the authority's file with ca_cert, and the server as its certificate does"
            raise Denied(f"upsd's certificate: {error.verify_message}", where=str(self._server), hint=hint) from error
        except OSError as error:
            raise self._broken(f"TLS failed: {error}") from error

    def upses(self) -> dict[str, str]:
        """Names of the UPSes that upsd knows, with their descriptions."""
        return {row[0]: row[1] for row in self._list("UPS", 2)}

    def variables(self, ups: str) -> dict[str, str]:
        """All variables of a UPS."""
        return {row[0]: row[1] for row in self._list(f"VAR {self._named(ups)}", 2)}

    def commands(self, ups: str) -> list[str]:
        """Instant commands that a UPS offers."""
        return [row[0] for row in self._list(f"CMD {self._named(ups)}", 1)]

    def status(self, ups: str, read_at: float) -> UpsStatus:
        """A reading. Where upsd has lost the UPS it says that, and is no error."""
        try:
            return parse_status(ups, self.variables(ups), read_at)
        except Refused as error:
            if error.code not in CUT_OFF:
                raise
            return UpsStatus(ups, read_at, communication=CUT_OFF[error.code])

    def sign_in(self, username: str, password: str) -> None:
        """Say who asks from now on. upsd looks at it only when something is ordered, and answers OK to all here."""
        deadline = Deadline(self._server.timeout)
        for request in (f"USERNAME {quoted(username, 'username')}", f"PASSWORD {quoted(password, 'password')}"):
            if self._ask(request, deadline) != ["OK"]:
                raise self._broken("it did not answer OK to a user's name and password")

    def order(self, ups: str, command: str, value: str = "") -> str:
        """Order an instant command. Gives a name to ask ``outcome`` by; none where upsd is too old (2.7)."""
        deadline = Deadline(self._server.timeout)
        with suppress(Refused):  # upsd 2.7 can only tell that it has passed the command on
            self._ask("SET TRACKING ON", deadline)
        request = f"INSTCMD {self._named(ups)} {quoted(command, 'command')}"
        answer = self._ask(f"{request} {quoted(value, 'value')}" if value else request, deadline)
        if answer == ["OK"]:
            return ""
        if answer[:2] == ["OK", "TRACKING"] and len(answer) == 3:
            return answer[2]
        raise self._broken("its answer to INSTCMD is not one")

    def outcome(self, tracking: str) -> bool | None:
        """True when the UPS has carried out an order, None as long as that is open. Raises Refused if it has not."""
        answer = self._ask(f"GET TRACKING {self._named(tracking)}", Deadline(self._server.timeout))
        if answer not in (["SUCCESS"], ["PENDING"]):
            raise self._broken("its answer to GET TRACKING is not one")
        return True if answer == ["SUCCESS"] else None

    def force_shutdown(self, ups: str) -> None:
        """Set FSD: every upsmon of this UPS shuts its machine down. It stays until upsd is started anew."""
        if self._ask(f"FSD {self._named(ups)}", Deadline(self._server.timeout)) != ["OK", "FSD-SET"]:
            raise self._broken("its answer to FSD is not one")

    def _named(self, ups: str) -> str:
        """The name, if it is one: anything else could be a second line of the protocol."""
        if not NAME.fullmatch(ups):
            raise NotFound(f"no UPS can have the name {ups!r}", where=str(self._server))
        return ups

    def _list(self, subject: str, width: int) -> list[list[str]]:
        """The rows of a list without the words they begin with. Only END LIST ends it."""
        deadline = Deadline(self._server.timeout)
        title = ["LIST", *subject.split()]
        if self._ask(" ".join(title), deadline) != ["BEGIN", *title]:
            raise self._broken(f"its answer to LIST {subject} begins with another list")
        start, rows = title[1:], []
        while (row := self._line(deadline)) != ["END", *title]:
            if row[: len(start)] != start or len(row) != len(start) + width:
                raise self._broken(f"a line of LIST {subject} is not whole")
            rows.append(row[len(start) :])
        return rows

    def _ask(self, request: str, deadline: Deadline) -> list[str]:
        """Send a line, and give the first one of the answer."""
        self._read = 0
        if self._buffer:
            raise self._broken("it spoke without being asked")
        try:
            self._connection.settimeout(max(deadline.remaining(), 0.001))
            self._connection.sendall(f"{request}\n".encode())
        except OSError as error:
            raise self._broken(f"the connection is lost: {error}") from error
        answer = self._line(deadline)
        if answer[0] == "ERR":
            raise self._refusal(answer[1] if len(answer) > 1 else "no reason", request)
        return answer

    def _refusal(self, code: str, request: str) -> RacksteadError:
        if code == "UNKNOWN-UPS":
            about = request.split()[1 if request.startswith(("INSTCMD", "FSD")) else -1]
            return NotFound(f"upsd knows no UPS {about!r}", where=str(self._server))
        if code == "ACCESS-DENIED":
            hint = "see the user, the password, and what the user may do, in upsd.users"
            return Denied("upsd refuses this to us", where=str(self._server), hint=hint)
        return Refused(code, where=str(self._server))

    def _line(self, deadline: Deadline) -> list[str]:
        """The next line's words."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > LONGEST_LINE or self._read > LONGEST_ANSWER:
                raise self._broken("it says more than any upsd does")
            self._receive(deadline)
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        try:
            found = words(line.decode())
        except ValueError as error:
            raise self._broken("a line is not of NUT's protocol") from error
        if not found:
            raise self._broken("a line is empty")
        return found

    def _receive(self, deadline: Deadline) -> None:
        """Some more bytes. The deadline is that of the whole answer: who sends one byte a second gets no more."""
        if deadline.expired():
            raise self._broken(f"no whole answer within {self._server.timeout:g} s")
        try:
            self._connection.settimeout(deadline.remaining() or 0.001)
            more = self._connection.recv(4096)
        except TimeoutError as error:
            raise self._broken(f"no whole answer within {self._server.timeout:g} s") from error
        except OSError as error:
            raise self._broken(f"the connection is lost: {error}") from error
        if not more:
            raise self._broken("the connection ended in the middle of an answer")
        self._buffer += more
        self._read += len(more)

    def _broken(self, what: str) -> Unreachable:
        self.close()
        return Unreachable(what, where=str(self._server), hint="whether the UPS has power is not known from this")
