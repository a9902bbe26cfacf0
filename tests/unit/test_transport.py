# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests over kept connections, against a server that answers as no daemon should have to be made to."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    OperationFailed,
    Unreachable,
    Unsupported,
)
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import (
    Endpoint,
    Transport,
    typed_error,
)

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"metadata": "a"}'
Answer = bytes | Callable[[socket.socket], None]


class Server:
    """Answers each connection's requests with what it was given, one answer a request, then hangs up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scripts: list[list[Answer]] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.hung_up = threading.Semaphore(0)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with client:
                for answer in self.scripts.pop(0):
                    if callable(answer):
                        answer(client)
                    else:
                        self.requests.append(self._request(client))
                        client.sendall(answer)
            self.hung_up.release()

    def _request(self, client: socket.socket) -> bytes:
        stream = client.makefile("rb", buffering=0)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.read(1)
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = b""
        if lines.get(b"transfer-encoding") == b"chunked":
            while not body.endswith(b"0\r\n\r\n"):
                body += stream.read(65536)
        while len(body) < int(lines.get(b"content-length", b"0")):
            body += stream.read(65536)
        return head + body

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "socket")
    yield made
    made.close()


@pytest.fixture
def transport(server: Server) -> Transport:
    return Transport(Endpoint(f"unix://{server.path}"), timeout=5)


def test_requests_share_a_connection_and_a_closed_one_is_opened_anew(server: Server, transport: Transport) -> None:
    server.scripts = [[OK, OK], [OK]]
    for _turn in range(2):
        assert transport.request("GET", "/1.0").metadata() == "a"
    assert server.connections == 1
    assert server.hung_up.acquire(timeout=5)
    assert transport.request("GET", "/1.0").metadata() == "a"
    assert server.connections == 2


def test_a_server_that_closes_after_its_answer_is_believed(server: Server, transport: Transport) -> None:
    closing = OK.replace(b"Content", b"Connection: close\r\nContent", 1)
    server.scripts = [[closing], [OK]]
    assert transport.request("GET", "/1.0").metadata() == transport.request("GET", "/1.0").metadata() == "a"
    assert server.connections == 2


def test_a_request_is_never_sent_twice(server: Server, transport: Transport) -> None:
    server.scripts = [[b""], [OK]]
    with pytest.raises(Unreachable, match=r"POST /1.0/instances"):
        transport.request("POST", "/1.0/instances", body={"name": "a"})
    assert len(server.requests) == 1


def test_paths_and_questions_are_quoted(server: Server, transport: Transport) -> None:
    server.scripts = [[OK]]
    transport.request("GET", "/1.0/images/aliases/a b/ü", {"path": "/a&b=c\r\n"})
    assert server.requests[0].startswith(b"GET /1.0/images/aliases/a%20b/%C3%BC?path=%2Fa%26b%3Dc%0D%0A HTTP/1.1\r\n")


@pytest.mark.parametrize("kind", ["file", "memory", "bytes", "pipe"])
def test_bodies_of_every_kind_arrive_whole(server: Server, transport: Transport, tmp_path: Path, kind: str) -> None:
    content = os.urandom(200_000)
    server.scripts = [[OK]]
    if kind == "pipe":
        reading, writing = os.pipe()
        threading.Thread(target=lambda: [os.write(writing, content[:1000]), os.close(writing)]).start()
        with os.fdopen(reading, "rb") as body:
            transport.request("POST", "/x", body=body)
        assert b"transfer-encoding: chunked" in server.requests[0].lower()
        assert content[:1000] in server.requests[0]
        return
    (tmp_path / "file").write_bytes(b"skipped" + content)
    with (tmp_path / "file").open("rb") as file:
        file.seek(7)
        transport.request("POST", "/x", body={"file": file, "memory": io.BytesIO(content), "bytes": content}[kind])
    assert content in server.requests[0]


def test_an_answer_flows_into_a_sink_but_a_refusal_does_not(server: Server, transport: Transport) -> None:
    data = os.urandom(1_000_000)
    refusal = b'HTTP/1.1 404 Not Found\r\nContent-Length: 30\r\n\r\n{"error": "no such file there"}'
    server.scripts = [
        [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Incus-Type: file\r\n\r\n%b" % (len(data), data), refusal]
    ]
    received = bytearray()
    found = transport.request("GET", "/x", sink=received.extend)
    assert received == data
    assert found.headers["x-incus-type"] == "file"
    received.clear()
    with pytest.raises(NotFound, match="no such file there"):
        transport.request("GET", "/x", sink=received.extend)
    assert not received


def test_a_refusal_before_the_body_is_through_is_read(server: Server, transport: Transport) -> None:
    refusal = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\n\r\n{"error": "not you"}'

    def refuse(client: socket.socket) -> None:
        client.recv(1000)
        client.sendall(refusal)
        client.shutdown(socket.SHUT_RD)

    server.scripts = [[refuse, lambda client: client.recv(1)]]
    with pytest.raises((Denied, Unreachable)):
        transport.request("POST", "/x", body=b"x" * 50_000_000)


def test_a_pending_answer_leaves_the_thread_its_next_request(server: Server, transport: Transport) -> None:
    slow = threading.Event()

    def answer_later(client: socket.socket) -> None:
        client.recv(65536)
        threading.Thread(target=lambda: (slow.wait(5), client2.sendall(OK))).start()
        client2 = client.dup()

    server.scripts = [[answer_later], [OK]]
    pending = transport.begin("GET", "/wait")
    assert transport.request("GET", "/other").metadata() == "a"
    slow.set()
    assert pending.response(5).metadata() == "a"
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut short",
        b"SMTP 220 hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
    ],
)
def test_half_an_answer_or_none_is_unreachable(server: Server, transport: Transport, answer: bytes) -> None:
    server.scripts = [[answer]]
    with pytest.raises(Unreachable, match=r"GET /1\.0"):
        transport.request("GET", "/1.0")


def test_silence_ends_with_the_timeout(server: Server) -> None:
    release = threading.Event()
    server.scripts = [[lambda _client: release.wait(10) and None]]
    with pytest.raises(Unreachable, match="timed out"):
        Transport(Endpoint(f"unix://{server.path}"), timeout=0.2).request("GET", "/1.0")
    release.set()


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "Instance not found", NotFound),
        (500, "Image not found", NotFound),
        (403, "not authorized", Denied),
        (400, "Certificate is restricted", Denied),
        (409, "already there", Conflict),
        (500, "The instance already exists", Conflict),
        (412, "ETag does not match", Conflict),
        (400, 'Instance type "virtual-machine" is not supported on this server', Unsupported),
        (500, "disk full", OperationFailed),
    ],
)
def test_refusals_have_types(status: int, message: str, kind: type[Exception]) -> None:
    assert type(typed_error(status, message)) is kind


def test_unusable_certificates_are_named_with_their_option(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    junk = str(tmp_path / "junk")
    for options, sentence in (
        ({"cert_file": "/no/such.crt"}, "client_cert: /no/such.crt"),
        ({"cert_file": junk, "key_file": junk}, f"client_cert: {junk} with key {junk}"),
        ({"ca_file": junk}, f"ca_cert: {junk}"),
    ):
        with pytest.raises(InvalidInput, match=sentence):
            Transport(Endpoint("https://127.0.0.1:1", **options)).request("GET", "/1.0")
