# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks with real receivers: what they get, whatever they do, and whoever is killed."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.alerts import Thresholds
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import remember
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.model import Report, Section, Smart
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import Key, Keys, new_key, read_file
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store
from standins.receivers import Got, Receiver, receiving
from testbed import postgres
from testbed.daemon import free_port

from rackstead.cli import run_command
from rackstead.jobs.execution import End, Verdict
from rackstead.jobs.ledger import Ledger
from rackstead.jobs.model import Job, Result
from rackstead.jobs.service import Order, Service
from rackstead.jobs.workflows import Catalog
from rackstead.webhooks import registry, sending
from rackstead.webhooks.courier import Courier, Times
from rackstead.webhooks.delivery import Patience
from rackstead.webhooks.registry import Status
from rackstead.webhooks.signing import sign
from tests.conftest import CHECKOUT
from tests.runner.rest_server import SECONDS, WORKFLOWS, Server

#: A lease that no slow machine loses: it is given back at the end.
QUICK = Times(look=0.05, lease=120.0, renew=1.0, blocked=0.1)
SOON = Patience(first=0.1, longest=0.5)
T = TypeVar("T")


def eventually(condition: Callable[[], T | bool | None], what: str) -> T:
    return wait_until(lambda: condition() or None, Deadline(SECONDS), what=what)  # type: ignore[return-value]


@dataclass
class Site:
    """A state store with jobs whose ends are written as an engine writes them, and couriers."""

    folder: Path
    keys: Keys
    url: str
    couriers: list[Courier] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service = Service(self.store(), self.folder / "data", Catalog([WORKFLOWS]))

    def store(self, keys: Keys | None = None) -> Store:
        return open_store(self.url, keys=keys or self.keys)

    def hook(self, name: str, receiver: Receiver | str, **more: Any) -> str:
        url = receiver if isinstance(receiver, str) else receiver.url
        return registry.add(self.service.store, name, url, "root", "cli", **more)[1]

    def courier(self, patience: Patience = SOON, keys: Keys | None = None) -> Courier:
        """Each on connections of its own, as in a process of its own."""
        found = Courier(self.store(keys), QUICK, patience)
        self.couriers.append(found)
        found.start()
        return found

    def end(self, rc: int = 0, workflow: str = "ok", **variables: Any) -> Job:
        job = self.service.submit(Order(workflow, variables, retries=0), "ann")
        ledger = Ledger(self.service.store, "worker", "host", 30.0)
        begun = ledger.begin(job.id, job.execution, "1.0.0")
        assert begun
        recap = {"web-1": {"ok": 2, "changed": 1, "failed": int(bool(rc)), "unreachable": 0}}
        return ledger.end(begun, Verdict(End.RESULT, Result(rc, ["it broke"] if rc else [], recap=recap), "it broke"))

    def status(self, name: str) -> Status:
        return Status.of(self.service.store.get(registry.STATUS, name))

    def close(self) -> None:
        for one in self.couriers:
            one.stop()
            one.store.close()
        self.service.store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path, Keys([Key("one", os.urandom(32))]), f"sqlite:{tmp_path}/state.db")
    yield found
    found.close()


@pytest.fixture
def site_on_postgresql(tmp_path: Path) -> Iterator[Site]:
    with postgres.running() as server:
        found = Site(tmp_path, Keys([Key("one", os.urandom(32))]), server.url())
        yield found
        found.close()


def good(got: Got, secret: str) -> bool:
    at = int(got.headers["webhook-timestamp"])
    return sign(secret, got.id, at, got.body) in got.headers["webhook-signature"].split()


# -- what is delivered ------------------------------------------------------------------------------
def test_ends_are_told_to_who_wants_them(site: Site) -> None:
    with receiving(Receiver()) as every, receiving(Receiver()) as some:
        secret = site.hook("every", every)
        site.hook("some", some, states=["failed"], workflows=["fail*"])
        site.courier()
        well, badly, other = site.end(), site.end(2, "fails"), site.end(2)
        waiting = site.service.submit(Order("ok"), "ann")
        site.service.cancel(waiting.id, "otto")
        eventually(lambda: len(every.got) == 4 and len(some.got) == 1, "all deliveries")
        assert every.jobs() == [well.id, badly.id, other.id, waiting.id]
        assert some.jobs() == [badly.id]
        first, second, _third, last = every.got
        assert all(good(one, secret) for one in every.got)
        assert not any(good(one, secret) for one in some.got)
        assert len(set(every.ids())) == 4
    assert (first.path, first.headers["content-type"]) == ("/hook", "application/json")
    assert first.event["type"] == "job.completed"
    data = second.event["data"]
    assert (data["state"], data["rc"], data["error"], data["workflow"]) == ("failed", 2, "it broke", "fails")
    assert data["hosts"] == {"all": 1, "changed": 1, "failed": 1, "unreachable": 0}
    assert last.event["data"]["cancelled_by"] == "otto"
    eventually(lambda: site.status("every").delivered == 4 and site.status("every").pending == 0, "the counts")


def test_alerts_of_hardware_reports_are_told_to_who_asked(site: Site) -> None:
    with receiving(Receiver()) as ops, receiving(Receiver()) as plain:
        secret = site.hook("ops", ops, states=["alert"])
        site.hook("plain", plain)
        site.courier()
        store = site.store()
        report = Report(node="rack-01", time=1000.0, sections={"smart": Section("ok")})
        for seconds, passed in ((0, False), (1, False), (2, True)):
            disk = Smart(disk="sda", passed=passed)
            remember(store, replace(report, time=1000.0 + seconds, smart=[disk]), Thresholds())
        store.close()
        job = site.end()
        eventually(lambda: len(ops.got) == 2 and len(plain.got) == 1, "all deliveries")
        assert plain.jobs() == [job.id]
    assert all(good(one, secret) for one in ops.got)
    assert [(one.event["type"], one.event["data"]["node"]) for one in ops.got] == [
        ("hardware.alert", "rack-01"),
        ("hardware.clear", "rack-01"),
    ]
    assert ops.got[0].event["data"]["raised"][0]["text"] == "disk sda says that it is failing"


def test_one_that_fails_is_told_again_with_the_same_id_and_body(site: Site) -> None:
    with receiving(Receiver(lambda number: (500, 404, 302, 200)[min(number, 3)])) as receiver:
        secret = site.hook("chat", receiver)
        site.courier()
        site.end()
        found = eventually(lambda: (one := site.status("chat")).delivered == 1 and one, "the delivery")
        assert isinstance(found, Status)
        assert (found.pending, found.failures, found.given_up, found.error) == (0, 3, 0, "")
        assert len({(one.id, one.body) for one in receiver.got}) == 1
        assert all(good(one, secret) for one in receiver.got)


def test_redirects_lead_nowhere(site: Site) -> None:
    with receiving(Receiver()) as inner, receiving(Receiver(lambda _number: 307, {"Location": inner.url})) as outer:
        site.hook("chat", outer)
        site.courier()
        site.end()
        eventually(lambda: len(outer.got) >= 2, "another attempt")
        assert inner.got == []
        assert "redirects are not followed" in site.status("chat").error


def test_a_slow_receiver_delays_no_other(site: Site) -> None:
    with receiving(Receiver(lambda _number: 0)) as slow, receiving(Receiver()) as quick:
        site.hook("slow", slow)
        site.hook("quick", quick)
        site.courier()
        jobs = [site.end().id for _number in range(5)]
        eventually(lambda: len(quick.got) == 5, "the other's deliveries")
        assert quick.jobs() == jobs
        eventually(lambda: slow.got, "the first attempt")
        assert (site.status("slow").pending, site.status("slow").delivered) == (5, 0)


@pytest.mark.parametrize("reply", [0, 1], ids=["hangs", "drips"])
def test_an_attempt_ends(reply: int) -> None:
    with receiving(Receiver(lambda _number: reply)) as receiver:
        answer = sending.post(receiver.url, ["whsec_AAAA"], "m", b"{}", whole=0.5)
        assert (answer.ok, answer.error) == (False, "no answer in 0.5 s")


def test_what_is_never_taken_is_given_up_and_told(site: Site) -> None:
    with receiving(Receiver(lambda _number: 500)) as receiver:
        site.hook("chat", receiver)
        site.courier(Patience(first=0.05, longest=0.05, whole=0.3))
        job = site.end()
        eventually(lambda: site.status("chat").given_up == 1, "it to be given up")
    found = site.status("chat")
    assert (found.pending, found.delivered, found.error) == (0, 0, "answered 500 Internal Server Error")
    last = site.service.store.audit()[-1]
    assert (last.action, last.target, last.details["job"]) == ("webhook.give_up", "webhook/chat", job.id)
    assert last.details["attempts"] == found.failures == len(receiver.got)


def test_nothing_is_sent_where_a_name_must_not_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name leads to a link-local address here: so loopback is taken for one."""
    with receiving(Receiver()) as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        assert sending.post(url, ["whsec_AAAA"], "m", b"{}").ok
        monkeypatch.setattr(sending, "refused", lambda host: f"{host} is refused" if host.startswith("127.") else "")
        assert sending.post(url, ["whsec_AAAA"], "m", b"{}").error == "127.0.0.1 is refused"
        assert len(receiver.got) == 1


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout {key} -out {cert}"
    subprocess.run([*words.split(), "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with receiving(Receiver(), context=context) as receiver:
        answer = sending.post(receiver.url, ["whsec_AAAA"], "m", b"{}")
        assert "CERTIFICATE_VERIFY_FAILED" in answer.error
        assert receiver.got == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
        assert sending.post(receiver.url, ["whsec_AAAA"], "m", b"{}").ok


# -- who delivers -----------------------------------------------------------------------------------
def test_one_of_several_delivers_and_another_takes_over(site_on_postgresql: Site) -> None:
    site = site_on_postgresql
    with receiving(Receiver()) as receiver:
        site.hook("chat", receiver)
        first, second = site.courier(), site.courier()
        jobs = [site.end().id for _number in range(10)]
        eventually(lambda: site.status("chat").delivered == 10, "the deliveries")
        assert sorted(receiver.jobs()) == jobs
        [holder] = [one for one in (first, second) if one.lease]
        holder.stop()
        jobs += [site.end().id for _number in range(3)]
        eventually(lambda: site.status("chat").delivered == 13, "the other's deliveries")
        assert receiver.jobs() == jobs
        assert [one.lease is not None for one in (first, second)] == [one is not holder for one in (first, second)]


def test_a_removed_webhook_gets_nothing_more(site: Site) -> None:
    with receiving(Receiver(lambda _number: 500)) as receiver:
        site.hook("chat", receiver)
        site.courier()
        site.end()
        eventually(lambda: receiver.got, "the first attempt")
        registry.remove(site.service.store, "chat", "root", "cli")
        receiver.reply = lambda _number: 200
        secret = site.hook("chat", receiver)
        later = site.end()
        eventually(lambda: site.status("chat").delivered == 1, "the delivery")
        assert site.service.store.list(registry.DELIVERY) == []
        [told] = [one for one in receiver.got if one.event["data"]["job"] == later.id]
        assert good(told, secret)


def test_without_the_right_key_deliveries_wait(site: Site) -> None:
    with receiving(Receiver()) as receiver:
        site.hook("chat", receiver)
        wrong = site.courier(keys=Keys([Key("two", os.urandom(32))]))
        job = site.end()
        eventually(lambda: site.status("chat").error, "the error")
        found = site.status("chat")
        assert (found.pending, found.failures) == (1, 0)
        assert 'was sealed with key "one", which is not there' in found.error
        wrong.stop()
        site.courier()
        eventually(lambda: site.status("chat").delivered == 1, "the delivery")
        assert receiver.jobs() == [job.id]


def test_without_a_key_nothing_is_delivered_from_here_and_nothing_is_lost(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RACKSTEAD_STATE_KEY", "RACKSTEAD_STATE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with receiving(Receiver()) as receiver:
        site.hook("chat", receiver)
        plain = Courier(open_store(site.url), QUICK, SOON)
        site.couriers.append(plain)
        plain.start()
        job = site.end()
        eventually(lambda: "there is no key for their secrets" in caplog.text, "the log to tell")
        assert plain.lease is None
        site.courier()  # with the key, and not kept from delivering by the one without
        eventually(lambda: receiver.jobs() == [job.id], "the delivery")


# -- the whole server -------------------------------------------------------------------------------
@dataclass
class Keyed(Server):
    """A server that has a key for secrets."""

    @property
    def env(self) -> dict[str, str]:
        key = self.folder / "keys"
        if not key.exists():
            new_key(key)
        return {**super().env, "RACKSTEAD_STATE_KEY_FILE": str(key)}

    def hook(self, url: str, **more: Any) -> dict[str, Any]:
        answer = self.call("POST", "/webhooks", {"name": "chat", "url": url, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def status(self) -> dict[str, Any]:
        return dict(self.get("/webhooks")["items"][0])


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Keyed]:
    server = Keyed(folder, words)
    try:
        yield server.start()
    finally:
        server.end()


@contextmanager
def documented(folder: Path, secret: str) -> Iterator[tuple[str, Path]]:
    """The receiver of the documentation, as it stands there: its URL, and the file that it prints to."""
    [text] = re.findall(r"```python\n(# receiver\.py.*?)```", (CHECKOUT / "docs/webhooks.md").read_text(), re.S)
    (folder / "receiver.py").write_text(text)
    port, printed = free_port(), folder / "printed"
    env = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    with printed.open("w") as out, (folder / "receiver.log").open("w") as log:
        process = subprocess.Popen([sys.executable, str(folder / "receiver.py")], env=env, stdout=out, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/"

        def listens() -> bool:
            try:
                return httpx.get(url).status_code == 501
            except httpx.TransportError:
                return False

        eventually(listens, "the receiver")
        yield url, printed
    finally:
        process.kill()
        process.wait()


def test_a_server_killed_between_the_end_and_the_delivery_delivers_later(tmp_path: Path) -> None:
    """The receiver has the first attempt in its hands when the server is killed, and does not answer it."""
    with receiving(Receiver(lambda number: 200 if number else 0)) as receiver, serving(tmp_path) as server:
        made = server.hook(f"{receiver.url}?for=us")
        assert made["url"].endswith("/hook?…")
        job = server.submit("ok", {"password": "hunter2hunter2"}, wait=True, wait_seconds=SECONDS)
        assert job["state"] == "completed"
        eventually(lambda: receiver.got, "the first attempt")
        server.kill()
        # An end while no server is there.
        service = Service(open_store(f"sqlite:{tmp_path}/state.db"), tmp_path / "data", Catalog([WORKFLOWS]))
        later = service.submit(Order("ok", not_before=time.time() + 3600), "ann").id
        service.cancel(later, "ann")
        service.store.close()
        server.start()
        eventually(lambda: server.status()["delivered"] == 2, "both deliveries")
        assert server.status()["pending"] == 0
        assert receiver.jobs() == [job["id"], job["id"], later]
        assert receiver.got[0].id == receiver.got[1].id
        assert all(good(one, made["secret"]) for one in receiver.got)
        assert {one.path for one in receiver.got} == {"/hook?for=us"}
        assert not any(b"hunter2" in one.body for one in receiver.got)
        assert 'rackstead_webhook_delivered_total{webhook="chat"} 2.0' in server.call("GET", "/metrics").text
        assert made["secret"] not in server.log


def test_a_worker_delivers_too(site: Site) -> None:
    key = site.folder / "keys"
    new_key(key)
    site.keys = Keys(read_file(key))
    site.service.store.seal = site.keys
    env = {**Server(site.folder).env, "RACKSTEAD_STATE": site.url, "RACKSTEAD_STATE_KEY_FILE": str(key)}
    with receiving(Receiver()) as receiver, (site.folder / "log").open("w") as log:
        site.hook("chat", receiver)
        worker = subprocess.Popen([sys.executable, "-m", "rackstead.cli", "worker"], env=env, stdout=log, stderr=log)
        try:
            job = site.service.submit(Order("ok"), "ann").id
            eventually(lambda: receiver.jobs() == [job], "the delivery")
        finally:
            worker.terminate()
            assert worker.wait(SECONDS) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with serving(tmp_path_factory.mktemp("server"), "--no-worker") as found:
        yield found


def test_the_receiver_of_the_documentation_refuses_what_it_must(server: Keyed, tmp_path: Path) -> None:
    """What a real server has delivered, replayed in every way."""
    with ExitStack() as stack:
        copy = stack.enter_context(receiving(Receiver()))
        secret = str(server.hook(copy.url)["secret"])
        url, printed = stack.enter_context(documented(tmp_path, secret))
        job = server.submit("ok")["id"]
        server.call("POST", f"/tasks/{job}/cancel")
        eventually(lambda: copy.got, "the delivery")
        [got] = copy.got

        def again(body: bytes = got.body, **changed: str) -> int:
            headers = {name: value for name, value in got.headers.items() if name.startswith("webhook-")}
            given = {**headers, **{f"webhook-{name}": value for name, value in changed.items()}}
            raw = {name: value.encode("latin-1") for name, value in given.items()}
            return httpx.post(url, content=body, headers=raw).status_code

        def fresh(at: int) -> dict[str, str]:
            return {"timestamp": str(at), "signature": sign(secret, got.id, at, got.body)}

        at = int(got.headers["webhook-timestamp"])
        assert again(body=got.body + b" ") == 401
        assert again(id="msg_other") == 401
        assert again(timestamp=str(at + 1)) == 401
        assert again(signature="v1,AAAA v2,x \xe4") == 401
        assert again(**fresh(at - 3600)) == again(**fresh(at + 3600)) == 401
        assert again() == 200
        assert again() == 409  # a replay
        assert again(**fresh(at + 1)) == 204  # told once more, in good faith
        assert printed.read_text().count(job) == 1
        assert server.call("DELETE", "/webhooks/chat").status_code == 204


def test_who_may_see_and_add_webhooks(server: Keyed) -> None:
    operator = server.new_token("o", "--role", "operator")
    body = {"name": "mail", "url": "http://127.0.0.1:9/x"}
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/webhooks", None),
        ("POST", "/webhooks", body),
        ("POST", "/webhooks/mail/rotate", {}),
        ("DELETE", "/webhooks/mail", None),
    ]
    for method, path, given in calls:
        assert server.call(method, path, given, token=operator).status_code == 403, method
        assert server.call(method, path, given, token="").status_code == 401, method
    bad = server.call("POST", "/webhooks", {**body, "url": "http://169.254.169.254/"})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/url")
    assert server.call("POST", "/webhooks", body).status_code == 201
    assert server.call("POST", "/webhooks", body).status_code == 409
    listed = server.get("/webhooks")["items"]
    assert "mail" in [one["name"] for one in listed]
    assert "whsec_" not in json.dumps(listed)
    for kind in registry.KINDS:
        assert server.call("GET", f"/state/{kind}").status_code == 403
        assert server.call("PUT", f"/state/{kind}/x", {"a": 1}).status_code == 403
    turned = server.call("POST", "/webhooks/mail/rotate", {"overlap_hours": 0.5})
    assert turned.status_code == 200 and turned.json()["secret"].startswith("whsec_")
    [listed] = [one for one in server.get("/webhooks")["items"] if one["name"] == "mail"]
    assert 1700 < listed["earlier_until"] - time.time() <= 1800
    assert server.call("POST", "/webhooks/mail/rotate", {"overlap_hours": 721}).status_code == 422
    assert server.call("POST", "/webhooks/none/rotate", {}).status_code == 404
    assert server.call("DELETE", "/webhooks/mail").status_code == 204
    assert server.call("DELETE", "/webhooks/mail").status_code == 404


def test_the_command_line_through_a_server(
    server: Keyed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RACKSTEAD_SERVER", server.url)
    monkeypatch.setenv("RACKSTEAD_TOKEN", server.token)

    def shell(*words: str) -> tuple[int, str, str]:
        code = run_command(["webhook", *words])
        return (code, *capsys.readouterr())

    code, out, err = shell("add", "far", "http://127.0.0.1:9/x?y=z", "--on", "failed")
    assert (code, out.startswith("whsec_")) == (0, True), err
    assert shell("add", "far", "ftp://127.0.0.1/")[0] == 2
    [listed] = [one for one in json.loads(shell("list", "--json")[1])["webhooks"] if one["name"] == "far"]
    assert (listed["url"], listed["states"]) == ("http://127.0.0.1:9/x?…", ["failed"])
    assert "far" in shell("list")[1]
    code, out, err = shell("rotate", "far", "--overlap", "1")
    assert (code, out.startswith("whsec_")) == (0, True), err
    assert (shell("rotate", "far", "--overlap", "-1")[0], shell("rotate", "farther")[0]) == (2, 2)
    code, out, err = shell("test", "far")
    assert (code, err.count("error: ")) == (2, 1)
    assert "does not go through a server" in err
    assert shell("remove", "far")[:2] == (0, "far: removed\n")
    assert shell("remove", "far")[2] == 'error: there is no webhook "far"\n'


def test_the_command_line(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    new_key(site.folder / "keys")
    monkeypatch.setenv("HOME", str(site.folder))
    monkeypatch.delenv("RACKSTEAD_SERVER", raising=False)
    monkeypatch.setenv("RACKSTEAD_STATE", site.url)
    monkeypatch.setenv("RACKSTEAD_STATE_KEY_FILE", str(site.folder / "keys"))
    monkeypatch.delenv("COLUMNS", raising=False)  # a narrow table breaks long words

    def shell(*words: str) -> tuple[int, str, str]:
        code = run_command(["webhook", *words])
        return (code, *capsys.readouterr())

    with receiving(Receiver()) as receiver:
        code, out, err = shell("add", "chat", f"{receiver.url}?a=b", "--on", "failed", "--workflow", "app*")
        assert (code, bool(re.fullmatch(r"whsec_[A-Za-z0-9+/=]{44}\n", out))) == (0, True), err
        assert shell("test", "chat") == (0, "chat: answered 200\n", "")
        [got] = receiver.got
        assert (got.event["type"], got.path) == ("webhook.test", "/hook?a=b")
        assert good(got, out.strip())
        code, fresh, err = shell("rotate", "chat")
        assert (code, fresh.startswith("whsec_"), fresh != out) == (0, True, True), err
        assert shell("test", "chat")[0] == 0
        assert good(receiver.got[1], fresh.strip()) and good(receiver.got[1], out.strip())
        assert shell("rotate", "chat", "--overlap", "0")[0] == 0 and shell("test", "chat")[0] == 0
        assert not good(receiver.got[2], fresh.strip()) and not good(receiver.got[2], out.strip())
        url = f"{receiver.url}?…"
        [listed] = json.loads(shell("list", "--json")[1])["webhooks"]
        assert (listed["name"], listed["url"], listed["states"]) == ("chat", url, ["failed"])
        assert all(text in shell("list")[1] for text in ("chat", url, "failed", "app*"))
    code, out, err = shell("test", "chat")
    assert (code, out, err.count("error: ")) == (1, "", 1)
    assert "refused" in err
    assert shell("remove", "chat")[:2] == (0, "chat: removed\n")
    assert shell("remove", "chat")[2] == 'error: there is no webhook "chat"\n'
    assert shell("list")[1] == "no webhooks\n"
    told = [(one.action, one.result) for one in site.service.store.audit()]
    assert told == [
        ("webhook.add", "ok"),
        ("webhook.test", "ok"),
        *[("webhook.rotate", "ok"), ("webhook.test", "ok")] * 2,
        ("webhook.test", "failed"),
        ("webhook.remove", "ok"),
    ]
