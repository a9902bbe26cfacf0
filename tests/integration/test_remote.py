# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enrolment at a real daemon over HTTPS: tokens, pins, restricted certificates."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed import daemon as testbed
from testbed.ansible import Modules, Playbooks

Remote = Callable[..., dict[str, Any]]


@pytest.fixture
def remote(run_module: Modules, daemon: testbed.Daemon, tmp_path: Path) -> Remote:
    """``remote(**params)`` runs the module with a key pair of the test's own."""

    def run(check: bool = False, **params: Any) -> dict[str, Any]:
        pair = {"client_cert": str(tmp_path / "keys/client.crt"), "client_key": str(tmp_path / "keys/client.key")}
        return run_module("remote", {**pair, **params}, check=check, diff=True, env={"RACKSTEAD_URL": ""})

    return run


class Eavesdropper:
    """Passes a TCP connection on to a server and keeps what the client said."""

    def __init__(self, upstream: str) -> None:
        host, _colon, port = upstream.rpartition(":")
        self.upstream = (host, int(port))
        self.heard = bytearray()
        self.connections = 0
        self.ended = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self.upstream)
            for source, target, keep in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, target, keep), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        try:
            while data := source.recv(65536):
                if keep:
                    self.heard += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return
        finally:
            self.ended += keep

    def records(self) -> list[int]:
        """Types of the TLS records heard (RFC 8446, section 5.1): 22 handshake, 23 application data."""
        found, at = [], 0
        while at + 5 <= len(self.heard):
            found.append(self.heard[at])
            at += 5 + int.from_bytes(self.heard[at + 3 : at + 5], "big")
        return found

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def eavesdropper(daemon: testbed.Daemon) -> Iterator[Eavesdropper]:
    made = Eavesdropper(daemon.https)
    yield made
    made.close()


def shake_hands(address: str) -> None:
    """A TLS handshake, and nothing more."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _colon, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain):
        return


def with_fields(token: str, **fields: Any) -> str:
    """The token with other fields in it."""
    return base64.b64encode(json.dumps({**json.loads(base64.b64decode(token)), **fields}).encode()).decode()


def certificates(daemon: testbed.Daemon) -> set[str]:
    return {found["fingerprint"] for found in daemon.client().get("/certificates", recursion="1")}


def test_a_token_enrols_once_and_the_machine_stays_trusted(
    remote: Remote, daemon: testbed.Daemon, tmp_path: Path
) -> None:
    token = daemon.token("laptop")
    before = certificates(daemon)
    predicted = remote(check=True, token=token)
    assert predicted["changed"]
    assert certificates(daemon) == before
    assert not (tmp_path / "keys").exists()
    made = remote(token=token)
    assert made["changed"]
    assert made["diff"] == predicted["diff"]
    facts = made["remote"]
    assert facts["trusted"]
    assert facts["name"] == "laptop"
    assert facts["server_fingerprint"] == daemon.fingerprint
    assert facts["url"] == daemon.https_url
    assert certificates(daemon) - before == {facts["client_fingerprint"]}
    key = tmp_path / "keys/client.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    again = remote(token=token)  # used up, and not needed any more
    assert not again["changed"]
    assert again["remote"] == facts
    assert not remote(url=daemon.https_url, server_fingerprint=daemon.fingerprint)["changed"]


def test_the_certificate_works_and_can_be_withdrawn(
    remote: Remote, run_module: Modules, daemon: testbed.Daemon, tmp_path: Path
) -> None:
    facts = remote(token=daemon.token("worker"))["remote"]
    options = {name: facts[name] for name in ("url", "client_cert", "client_key", "server_fingerprint")}
    assert "instances" in run_module("instance_info", options)
    wanted = {"url": daemon.https_url, "server_fingerprint": daemon.fingerprint, "state": "absent"}
    assert remote(check=True, **wanted)["changed"]
    assert facts["client_fingerprint"] in certificates(daemon)
    assert remote(**wanted)["changed"]
    assert facts["client_fingerprint"] not in certificates(daemon)
    assert not remote(**wanted)["changed"]
    assert (tmp_path / "keys/client.key").exists()
    refused = run_module("instance_info", options)
    assert refused["failed"]
    assert "not trusted" in refused["msg"]


def test_a_restricted_certificate_is_told_and_kept_to_its_project(
    remote: Remote, run_module: Modules, daemon: testbed.Daemon, project: Any
) -> None:
    project.incus("init", "tiny", "mine", "-q")
    facts = remote(token=daemon.token("guest", projects=[project.name]))["remote"]
    assert facts["restricted"]
    assert facts["projects"] == [project.name]
    options = {name: facts[name] for name in ("url", "client_cert", "client_key", "server_fingerprint")}
    inside = run_module("instance_info", {**options, "project": project.name})
    assert [found["name"] for found in inside["instances"]] == ["mine"]
    made = run_module("instance", {**options, "project": project.name, "name": "ours", "image": "tiny"})
    assert made["changed"], made
    assert project.client.get("/instances/ours")["status"] == "Running"
    run = run_module("instance_exec", {**options, "project": project.name, "instance": "ours", "argv": ["hostname"]})
    assert run["stdout"] == "ours"
    outside = run_module("instance", {**options, "project": "default", "name": "theirs", "image": "tiny"})
    assert outside["failed"]
    assert "\n" not in outside["msg"]
    assert "restricted" in outside["msg"]
    assert daemon.client().find("/instances/theirs") is None
    refused = remote(url=daemon.https_url, server_fingerprint=daemon.fingerprint, state="absent")
    assert refused["failed"]
    assert facts["client_fingerprint"] in certificates(daemon)


def test_a_wrong_pin_is_refused_before_anything_is_said(
    remote: Remote, daemon: testbed.Daemon, eavesdropper: Eavesdropper, tmp_path: Path
) -> None:
    url = f"https://{eavesdropper.address}"
    token = with_fields(daemon.token("pinned"), fingerprint="ab" * 32)
    refused = remote(url=url, token=token)
    assert refused["failed"]
    assert f"the server's certificate has fingerprint {daemon.fingerprint}, not the pinned abab" in refused["msg"]
    assert not (tmp_path / "keys").exists()
    assert eavesdropper.connections == 1
    wait_until(lambda: eavesdropper.ended == 1 or None, Deadline(60), what="the connection's end")
    heard = eavesdropper.records()
    eavesdropper.heard.clear()
    shake_hands(eavesdropper.address)
    wait_until(lambda: eavesdropper.ended == 2 or None, Deadline(60), what="the bare handshake's end")
    assert eavesdropper.records() == heard
    assert remote(url=url, token=daemon.token("pinned2"))["changed"]
    assert len(eavesdropper.records()) > 2 * len(heard)


def test_used_expired_and_foreign_tokens_are_refused(
    remote: Remote, run_module: Modules, daemon: testbed.Daemon, tmp_path: Path
) -> None:
    token = daemon.token("once")
    assert remote(token=token)["changed"]
    other = {"client_cert": str(tmp_path / "other.crt"), "client_key": str(tmp_path / "other.key")}
    used = remote(token=token, **other)
    assert "the server refused the token" in used["msg"]
    assert "used once" in used["msg"]
    old = with_fields(daemon.token("late"), expires_at="2020-01-02T03:04:05.678901234Z")
    third = {"client_cert": str(tmp_path / "third.crt"), "client_key": str(tmp_path / "third.key")}
    expired = remote(token=old, **third)
    assert "token: it expired at 2020-01-02 03:04:05 UTC" in expired["msg"]
    assert not (tmp_path / "third.key").exists()
    for result in (used, expired):
        assert result["failed"]
        assert json.loads(base64.b64decode(token))["secret"] not in json.dumps(result)
    missing = remote(url=daemon.https_url, server_fingerprint=daemon.fingerprint, **third)
    assert "does not trust this client; get a token on the server with `incus config trust add NAME`" in missing["msg"]


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"token": "bm90IGpzb24="}, "token: this is no Incus trust token"),
        ({"token": "€"}, "token: this is no Incus trust token"),
        ({"url": "http://x"}, 'url: "http://x" is not a remote server; allowed: https://host:8443'),
        ({}, "url: is missing"),
        ({"url": "https://127.0.0.1:1"}, "Incus at https://127.0.0.1:1: connect: Connection refused"),
    ],
)
def test_bad_input_is_named(remote: Remote, params: dict[str, str], sentence: str) -> None:
    result = remote(**params)
    assert result["failed"]
    assert sentence in result["msg"]


def test_a_key_without_its_certificate_is_named(remote: Remote, daemon: testbed.Daemon, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/client.key").write_text("x")
    assert "client_cert: " in remote(token=daemon.token("half"))["msg"]


def test_the_token_stays_out_of_a_plays_output(play: Playbooks, daemon: testbed.Daemon, tmp_path: Path) -> None:
    token = daemon.token("quiet")
    pair = {"client_cert": str(tmp_path / "c.crt"), "client_key": str(tmp_path / "c.key")}
    tasks = [{"name": "enrol", "rackstead.infra.remote": {"token": token, "url": daemon.https_url, **pair}}]
    result = play(tasks, diff=True, arguments=["-vvv"]).ok()
    assert result.changed
    assert token not in result.stdout + result.stderr
    assert json.loads(base64.b64decode(token))["secret"] not in result.stdout + result.stderr
