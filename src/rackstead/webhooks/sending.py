# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt to deliver: a POST that has a deadline, follows no redirect and reads no answer but its status."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any

from requests import PreparedRequest, RequestException, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ..reasons import reason_of
from .signing import headers

#: Seconds to connect, to wait for more of an answer, and for all of an attempt.
CONNECT, ANSWER, WHOLE = 5.0, 15.0, 20.0
#: The longest pause that a receiver may ask for, in seconds.
LONGEST_WISH = 3600.0
_open = threading.local()


@dataclass(frozen=True)
class Answer:
    """``status`` is 0 where there was no answer; ``error`` is empty where it is well."""

    status: int = 0
    error: str = ""
    #: seconds after which the receiver wants to be asked again
    wish: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def gone(self) -> bool:
        """The receiver says that it never wants this again."""
        return self.status == HTTPStatus.GONE


def post(url: str, secrets: Sequence[str], message: str, body: bytes, whole: float = WHOLE) -> Answer:
    """Sign and send. Never raises for what the receiver or the network does."""
    opened: list[socket.socket] = []
    _open.sockets, _open.end = opened, time.monotonic() + whole
    timer = threading.Timer(whole, _cut, [opened])
    timer.daemon = True
    timer.start()
    try:
        with _session() as session:
            given = {**headers(secrets, message, int(time.time()), body), "User-Agent": "rackstead"}
            answer = session.post(
                url, data=body, headers=given, timeout=(CONNECT, ANSWER), allow_redirects=False, stream=True
            )
            with answer:
                return _read(answer.status_code, answer.headers.get("Retry-After", ""))
    except (RequestException, OSError, ValueError) as error:
        late = time.monotonic() >= _open.end
        return Answer(error=f"no answer in {whole:g} s" if late else without_query(reason_of(error), url))
    finally:
        timer.cancel()
        for one in opened:
            one.close()


def without_query(text: str, url: str) -> str:
    """An error's text, which may quote the URL, without what may be a secret in it."""
    query = url.partition("?")[2]
    return text.replace(query, "…") if query else text


def _read(status: int, wish: str) -> Answer:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(status)
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    text = f"answered {status} {phrase}".strip()
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        text += "; redirects are not followed"
    return Answer(status, text, min(float(wish), LONGEST_WISH) if wish.isdecimal() and len(wish) < 10 else 0.0)


def _cut(sockets: list[socket.socket]) -> None:
    """End an attempt that takes too long: the thread that waits for more of an answer gets none."""
    for one in sockets:
        with suppress(OSError):
            socket.socket.shutdown(one, socket.SHUT_RDWR)


# -- where it may go --------------------------------------------------------------------------------
def refused(host: str) -> str:
    """Why nothing is sent to this address; empty for good ones, and for names.

    Loopback and private addresses are good: only admins declare webhooks, and receivers stand there. Link-local
    ones are where clouds tell a machine its own secrets.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    kinds = ("link-local", address.is_link_local), ("multicast", address.is_multicast)
    found = [kind for kind, is_one in (*kinds, ("unspecified", address.is_unspecified)) if is_one]
    return f"{address} is a {found[0]} address; nothing is sent there" if found else ""


def _watched(made: socket.socket) -> socket.socket:
    """Look where a name has led, before anything is sent there."""
    why = refused(str(made.getpeername()[0]))
    if why or time.monotonic() >= _open.end:
        made.close()
        raise OSError(why or "it took too long to connect")
    # A second handle on the connection: TLS takes the first one over.
    _open.sockets.append(made.dup())
    return made


class Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())


class Tls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())


class PlainPool(HTTPConnectionPool):
    ConnectionCls = Plain


class TlsPool(HTTPSConnectionPool):
    ConnectionCls = Tls


class Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}


def _session() -> Session:
    """Takes proxies and certificate authorities from the environment, and passwords from nowhere."""
    found = Session()
    for scheme in ("http://", "https://"):
        found.mount(scheme, Adapter())
    found.auth = _nobody
    return found


def _nobody(request: PreparedRequest) -> PreparedRequest:
    """Else a .netrc would be looked into."""
    return request
