# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS to a daemon: our client certificate, and the server's, verified or pinned."""

from __future__ import annotations

import hashlib
import socket
import ssl
from urllib.parse import urlsplit

from ...common.errors import Denied, InvalidInput
from .http1 import Connection
from .transport import DEFAULT_PORT, Endpoint


def server_fingerprint(sock: ssl.SSLSocket) -> str:
    """SHA-256 of the peer's certificate, in hex, as Incus prints it."""
    return hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Client context: pinned by fingerprint where one is given, else verified as usual."""
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file or None)
    except OSError as error:
        raise InvalidInput([f"ca_cert: {endpoint.ca_file} is no readable CA certificate: {error}"]) from error
    if endpoint.fingerprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if endpoint.cert_file:
        try:
            context.load_cert_chain(endpoint.cert_file, endpoint.key_file or None)
        except OSError as error:
            files = f"{endpoint.cert_file} with key {endpoint.key_file or endpoint.cert_file}"
            raise InvalidInput([f"client_cert: {files} is no usable certificate: {error}"]) from error
    return context


class Dialler:
    """Opens connections to one endpoint. Resuming the TLS session of one makes the next cost a fraction."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._context = tls_context(endpoint)
        self._session: ssl.SSLSession | None = None

    def open(self, timeout: float) -> Connection:
        """Connect, and check the server's certificate before a byte of any request is sent."""
        parts = urlsplit(self.endpoint.url)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
        plain = socket.create_connection((host, port), timeout=timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = self._context.wrap_socket(plain, server_hostname=host, session=self._session)
        except BaseException:
            plain.close()
            raise
        self._check_pin(sock)
        return Connection(sock, parts.netloc)

    def learn(self, sock: socket.socket) -> None:
        """Take the session of a connection that has been used: the server's tickets come with the first answer."""
        if isinstance(sock, ssl.SSLSocket):
            self._session = sock.session or self._session

    def _check_pin(self, sock: ssl.SSLSocket) -> None:
        pinned = self.endpoint.fingerprint.replace(":", "").lower()
        seen = server_fingerprint(sock) if pinned else ""
        if seen != pinned:
            sock.close()
            raise Denied(
                f"the server's certificate has fingerprint {seen}, not the pinned {pinned}",
                where=self.endpoint.url,
                hint="somebody stands in between, or the server got a new certificate: enrol again if that is so",
            )
