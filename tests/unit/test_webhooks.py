# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks without a receiver: signatures, what may be declared, and each step of a delivery."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.hardware import alarms
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.model import Report
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import AuditEntry, Lease
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import Key, Keys
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from rackstead.jobs.ends import ended
from rackstead.jobs.model import JOB, Job, JobState
from rackstead.webhooks import delivery, registry
from rackstead.webhooks.delivery import Patience
from rackstead.webhooks.registry import Webhook
from rackstead.webhooks.sending import Answer, _read, refused, without_query
from rackstead.webhooks.signing import headers, new_secret, sign

URL = "https://receiver.example:8443/hook?token=s3cr3t-of-the-url"
JOB_ID = "01kamq3v5t8w9x2y4z6a7b8c9d"
PATIENCE = Patience(whole=3600.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file:{tmp_path}/state", keys=Keys([Key("one", os.urandom(32))]))


# -- signatures -------------------------------------------------------------------------------------
def test_the_vector_that_standard_webhooks_publishes() -> None:
    secret, message = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, message, 1614265330, b'{"test": 2432232314}') == signature
    assert headers([secret], message, 1614265330, b'{"test": 2432232314}') == {
        "Content-Type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": "1614265330",
        "webhook-signature": signature,
    }


def test_the_vector_of_hmac_sha256() -> None:
    """RFC 4231, case 6: the key is longer than a block. Its text is cut where id, time and body meet."""
    secret = "whsec_" + base64.b64encode(b"\xaa" * 131).decode()
    body = b"Test Using Larger Than Block-Size Key - Hash Key First"
    plain = base64.b64encode(bytes.fromhex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")).decode()
    assert sign(secret, "", 0, body) != f"v1,{plain}"  # id and time are signed too
    assert base64.b64encode(hmac.new(b"\xaa" * 131, body, hashlib.sha256).digest()).decode() == plain
    whole = hmac.new(b"\xaa" * 131, b"m.7." + body, hashlib.sha256).digest()
    assert sign(secret, "m", 7, body) == "v1," + base64.b64encode(whole).decode()


def test_secrets_are_random_and_long_enough() -> None:
    made = {new_secret() for _number in range(20)}
    assert len(made) == 20
    assert all(24 <= len(base64.b64decode(one.removeprefix("whsec_"), validate=True)) <= 64 for one in made)


# -- declaring --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    [
        "ftp://receiver.example/",
        "file:///etc/passwd",
        "receiver.example",
        "https://",
        "https://user:password@receiver.example/",
        "https://receiver.example/#x",
        "https://receiver.example:99999/",
        "https://[::1/",
        "https://receiver.example/a b",
        "https://receiver.example/\r\nHost: evil",
        "https://réceiver.example/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
        "http://[ff02::1]/",
        "https://receiver.example/" + "x" * 2000,
    ],
)
def test_urls_that_are_refused(store: Store, url: str) -> None:
    with pytest.raises(InvalidInput) as error:
        registry.add(store, "chat", url, "root", "cli")
    assert [line.partition(":")[0] for line in error.value.problems] == ["url"]
    assert "password" not in str(error.value).replace("a password", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8700/", "https://10.0.0.7/a?b=c", "http://[::1]:1/", URL])
def test_urls_that_are_good(url: str) -> None:
    assert registry.url_problem(url) == ""


def test_addresses_that_names_may_not_lead_to() -> None:
    assert [refused(host) for host in ("receiver.example", "127.0.0.1", "192.168.1.1", "2001:db8::1")] == [""] * 4
    for host in ("169.254.169.254", "fe80::1%eth0", "::ffff:169.254.1.1", "224.0.0.1", "0.0.0.0", "::"):
        assert "nothing is sent there" in refused(host), host


def test_all_faults_are_told_at_once(store: Store) -> None:
    with pytest.raises(InvalidInput) as error:
        registry.add(store, "a/b", "x", "root", "cli", states=["ended"], workflows=[""])
    assert [line.partition(":")[0] for line in error.value.problems] == ["name", "states", "workflows", "url"]


def test_without_a_key_none_is_added(tmp_path: Path) -> None:
    store = open_store(f"file:{tmp_path}/state")
    with pytest.raises(InvalidInput, match="there is no key to seal it with; set RACKSTEAD_STATE_KEY"):
        registry.add(store, "chat", URL, "root", "cli")
    assert registry.every(store) == []


def test_secret_and_query_are_sealed_and_shown_nowhere(store: Store, tmp_path: Path) -> None:
    hook, secret = registry.add(store, "chat", URL, "root", "cli", states=["failed"], workflows=["app*"])
    assert registry.opened(store, "chat") == (URL, [secret])
    assert hook.url == "https://receiver.example:8443/hook?…"
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"receiver.example" in kept
    for text in (secret, secret.removeprefix("whsec_"), "s3cr3t-of-the-url"):
        assert text.encode() not in kept
    [(found, status)] = registry.every(open_store(f"file:{tmp_path}/state"))  # needs no key
    assert found == hook
    assert registry.document(found, status)["pending"] == 0


def test_for_a_time_an_earlier_secret_signs_as_well(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _hook, first = registry.add(store, "chat", URL, "anna", "here")
    hook, second = registry.rotate(store, "chat", "anna", "here", overlap=2)
    assert registry.opened(store, "chat") == (URL, [second, first])
    now = store.read(lambda change: change.now())
    assert now + 7000 < hook.earlier_until <= now + 7200
    given = headers(registry.opened(store, "chat")[1], "m", 7, b"{}")["webhook-signature"].split()
    assert given == [sign(second, "m", 7, b"{}"), sign(first, "m", 7, b"{}")]
    _hook, third = registry.rotate(store, "chat", "anna", "here", overlap=1)
    assert registry.opened(store, "chat")[1] == [third, second, first]
    with monkeypatch.context() as later:
        later.setattr(registry, "_earlier", lambda body, at, usual=registry._earlier: usual(body, at + 3601))
        assert registry.opened(store, "chat")[1] == [third]
    hook, fourth = registry.rotate(store, "chat", "anna", "here", overlap=0)
    assert (registry.opened(store, "chat")[1], hook.earlier_until) == ([fourth], 0.0)
    for overlap in (-1, 721, float("nan")):
        with pytest.raises(InvalidInput, match="overlap_hours"):
            registry.rotate(store, "chat", "anna", "here", overlap=overlap)
    with pytest.raises(NotFound):
        registry.rotate(store, "other", "anna", "here")
    told = [(one.action, one.details) for one in store.audit()][1:]
    assert told == [("webhook.rotate", {"overlap_hours": hours}) for hours in (2, 1, 0)]
    assert "whsec_" not in json.dumps([vars(one) for one in store.audit()], default=str)


def test_adding_and_removing_is_in_the_audit_chain(store: Store) -> None:
    registry.add(store, "chat", URL, "anna", "cli here")
    with pytest.raises(Conflict, match="is there already"):
        registry.add(store, "chat", URL, "anna", "cli here")
    registry.remove(store, "chat", "otto", "cli there")
    for name in ("chat", "other"):
        with pytest.raises(NotFound):
            registry.remove(store, name, "otto", "cli there")
    with pytest.raises(NotFound):
        registry.opened(store, "chat")
    entries = [(one.action, one.who, one.origin, one.target) for one in store.audit()]
    assert entries == [
        ("webhook.add", "anna", "cli here", "webhook/chat"),
        ("webhook.remove", "otto", "cli there", "webhook/chat"),
    ]
    assert all(not store.list(kind) for kind in registry.KINDS)


@pytest.mark.parametrize(
    ("states", "workflows", "state", "workflow", "wanted"),
    [
        (["failed"], [], "failed", "apply", True),
        (["failed"], [], "completed", "apply", False),
        (["failed"], ["app*", "x"], "failed", "apply", True),
        (["failed"], ["x"], "failed", "apply", False),
    ],
)
def test_what_a_webhook_wants(states: list[str], workflows: list[str], state: str, workflow: str, wanted: bool) -> None:
    assert Webhook("w", "u", "i", states, workflows).wants(state, workflow) is wanted


# -- ends -------------------------------------------------------------------------------------------
def entry(action: str, **details: Any) -> AuditEntry:
    return AuditEntry(7, 1795270000.125, "anna", action, f"job/{JOB_ID}", "", "ok", details, "", "")


def test_which_entries_are_ends() -> None:
    assert ended(entry("job.completed")) is JobState.COMPLETED
    assert ended(entry("job.cancelled")) is JobState.CANCELLED
    assert ended(entry("job.cancel", state="cancelled")) is JobState.CANCELLED
    assert ended(entry("job.cancel", state="running")) is None  # its end comes later
    assert [ended(entry(f"job.{one}")) for one in ("submit", "retry", "again", "interrupted")] == [None] * 4


def test_what_is_told_of_a_job() -> None:
    recap = {"a": {"failed": 1, "changed": 2}, "b": {"failed": 0, "changed": 1}}
    job = Job(
        JOB_ID,
        "apply",
        "Apply",
        {"x": 1},
        1.0,
        "anna",
        state=JobState.FAILED,
        rc=2,
        recap=recap,
        error=f"password: hunter2\n{'x' * 5000}",
    )
    told = json.loads(delivery.message(entry("job.failed", workflow="apply", rc=2), job))
    assert (told["type"], told["timestamp"]) == ("job.failed", "2026-11-21T14:06:40.125Z")
    data = told["data"]
    assert data["hosts"] == {"all": 2, "changed": 2, "failed": 1, "unreachable": 0}
    assert "variables" not in data
    assert "hunter2" not in data["error"]
    assert len(data["error"]) <= delivery.LONGEST_ERROR


def test_a_job_that_is_forgotten_or_runs_again_is_told_of_as_far_as_known() -> None:
    known = entry("job.failed", workflow="apply", attempt=4, rc=2)
    data = {"job": JOB_ID, "workflow": "apply", "state": "failed", "attempt": 4, "rc": 2}
    assert json.loads(delivery.message(known, None))["data"] == data
    again = Job(JOB_ID, "apply", "Apply", {}, 1.0, "anna", state=JobState.PENDING, attempt=0)
    told = json.loads(delivery.message(known, again))["data"]
    assert (told["attempt"], told["rc"], told["who"]) == (4, 2, "anna")
    assert "ended" not in told


# -- steps of a delivery ----------------------------------------------------------------------------
@pytest.fixture
def hook(store: Store) -> Webhook:
    return registry.add(store, "chat", URL, "root", "cli", states=["failed", "completed"])[0]


@pytest.fixture
def lease(store: Store) -> Lease:
    return store.lease("webhooks", "me", 60.0)


def end(store: Store, action: str = "job.failed", number: int = 0) -> None:
    store.append_audit("engine", action, f"{JOB}/{number:026d}", details={"workflow": "apply"})


def entered(store: Store, hook: Webhook, lease: Lease, seen: int = 0) -> tuple[int, list[str]]:
    cursor, found = store.read(lambda change: delivery.look(change, hook, seen))
    return cursor, store.change(lambda change: delivery.enter(change, hook, found, cursor, lease)) if found else []


def concluded(store: Store, hook: Webhook, lease: Lease, key: str, answer: Answer, **more: Any) -> Any:
    patience = more.pop("patience", PATIENCE)
    return store.change(lambda c: delivery.conclude(c, hook, key, answer, lease, patience, more.pop("pause", 7.0)))


def status(store: Store) -> dict[str, Any]:
    return store.get(registry.STATUS, "chat").body


def test_each_end_is_entered_once(store: Store, hook: Webhook, lease: Lease) -> None:
    end(store)
    end(store, "job.cancelled")  # not wanted
    end(store, "job.completed", 1)
    cursor, keys = entered(store, hook, lease)
    assert [key.partition("/")[0] for key in keys] == ["chat", "chat"]
    assert (status(store)["cursor"], status(store)["pending"]) == (cursor, 2)
    assert entered(store, hook, lease, cursor) == (cursor, [])
    assert entered(store, hook, lease) == (cursor, [])  # as after a restart
    ids = [store.get(registry.DELIVERY, key).body["id"] for key in keys]
    assert len(set(ids)) == 2
    assert not any("." in one for one in ids)


def test_ends_before_the_webhook_are_not_told(store: Store, lease: Lease) -> None:
    end(store)
    late, _secret = registry.add(store, "chat", URL, "root", "cli")
    assert entered(store, late, lease)[1] == []


def test_alerts_are_for_who_asked_for_them(store: Store, hook: Webhook, lease: Lease) -> None:
    asked, _secret = registry.add(store, "ops", URL, "root", "cli", states=["alert"], workflows=["apply"])
    plain, _secret = registry.add(store, "plain", URL, "root", "cli")
    rows = [{"section": "smart", "what": "sda", "severity": "critical", "text": "disk sda says that it is failing"}]
    report = Report(node="rack-01", time=1000.0)
    store.change(lambda change: alarms.tell(change, report, [], rows))
    end(store)
    assert len(entered(store, hook, lease)[1]) == 1
    assert len(entered(store, plain, lease)[1]) == 1
    assert plain.states == ["completed", "failed", "cancelled"]
    [key] = entered(store, asked, lease)[1]
    sent = json.loads(store.get(registry.DELIVERY, key).body["body"])
    assert sent["type"] == "hardware.alert"
    assert (sent["data"]["node"], sent["data"]["critical"], sent["data"]["time"]) == ("rack-01", 1, 1000.0)
    assert sent["data"]["raised"] == [{**rows[0], "value": None, "threshold": None}]
    assert store.get(registry.DELIVERY, key).body["id"].startswith("msg_hardware_")


def test_a_cursor_goes_forwards_only(store: Store, hook: Webhook, lease: Lease) -> None:
    end(store)
    cursor, found = store.read(lambda change: delivery.look(change, hook, 0))
    twice = [store.change(lambda change: delivery.enter(change, hook, found, cursor, lease)) for _time in range(2)]
    assert [len(keys) for keys in twice] == [1, 0]
    assert store.change(lambda change: delivery.enter(change, hook, found, cursor - 1, lease)) == []
    assert (status(store)["cursor"], status(store)["pending"]) == (cursor, 1)
    assert store.change(lambda change: delivery.enter(change, hook, [], cursor + 9, lease)) == []
    assert status(store)["cursor"] == cursor + 9


def test_while_many_wait_others_stay_in_the_chain(store: Store, hook: Webhook, lease: Lease, monkeypatch: Any) -> None:
    monkeypatch.setattr(delivery, "PAGE", 2)
    monkeypatch.setattr(delivery, "ROOM", 2)
    for number in range(5):
        end(store, number=number)
    cursor, keys = entered(store, hook, lease)
    assert len(keys) == 2
    assert entered(store, hook, lease, cursor) == (cursor, [])
    concluded(store, hook, lease, keys[0], Answer(200))
    assert len(entered(store, hook, lease, cursor)[1]) == 2


def test_a_delivery_that_was_made_is_gone(store: Store, hook: Webhook, lease: Lease) -> None:
    end(store)
    [key] = entered(store, hook, lease)[1]
    outcome = concluded(store, hook, lease, key, Answer(204))
    assert (outcome.again, outcome.given_up) == (None, False)
    found = status(store)
    assert (found["pending"], found["delivered"], found["error"]) == (0, 1, "")
    assert store.list(registry.DELIVERY) == []
    assert concluded(store, hook, lease, key, Answer(204)) is None


def test_one_that_failed_is_tried_again_and_given_up_in_the_end(store: Store, hook: Webhook, lease: Lease) -> None:
    end(store)
    [key] = entered(store, hook, lease)[1]
    wrong = Answer(500, "answered 500")
    assert concluded(store, hook, lease, key, wrong).again == 7.0
    assert concluded(store, hook, lease, key, Answer(503, "answered 503", wish=60.0)).again == 60.0
    assert concluded(store, hook, lease, key, wrong, pause=99_999.0).again <= 3600.0
    assert store.get(registry.DELIVERY, key).body["attempt"] == 3
    last = concluded(store, hook, lease, key, wrong, patience=Patience(whole=0.0))
    assert (last.attempt, last.given_up, last.again) == (4, True, None)
    found = status(store)
    assert (found["pending"], found["failures"], found["given_up"], found["error"]) == (0, 4, 1, "answered 500")
    told = store.audit()[-1]
    assert (told.action, told.result, told.details["attempts"]) == ("webhook.give_up", "failed", 4)


def test_a_receiver_that_is_gone_is_not_asked_again(store: Store, hook: Webhook, lease: Lease) -> None:
    end(store)
    [key] = entered(store, hook, lease)[1]
    assert concluded(store, hook, lease, key, Answer(410, "answered 410 Gone")).given_up


def test_who_has_lost_the_lease_writes_nothing(store: Store, hook: Webhook, lease: Lease) -> None:
    end(store)
    [key] = entered(store, hook, lease)[1]
    store.release(lease)
    store.lease("webhooks", "another", 60.0)
    end(store, number=1)
    with pytest.raises(Fenced):
        entered(store, hook, lease)
    with pytest.raises(Fenced):
        concluded(store, hook, lease, key, Answer(200))
    assert status(store)["pending"] == 1


def test_a_webhook_of_the_same_name_is_another(store: Store, hook: Webhook, lease: Lease) -> None:
    end(store)
    [key] = entered(store, hook, lease)[1]
    registry.remove(store, "chat", "root", "cli")
    assert concluded(store, hook, lease, key, Answer(200)) is None
    registry.add(store, "chat", URL, "root", "cli")
    end(store, number=1)
    assert entered(store, hook, lease)[1] == []
    assert status(store)["pending"] == 0


def test_errors_do_not_quote_the_query() -> None:
    url = "http://receiver.example/hook?token=s3cr3t"
    assert without_query(f"Invalid URL {url!r}", url) == "Invalid URL 'http://receiver.example/hook?…'"
    assert without_query("refused", "http://receiver.example/hook") == "refused"


@pytest.mark.parametrize(
    ("code", "wish", "error", "seconds"),
    [
        (200, "", "", 0.0),
        (299, "", "", 0.0),
        (302, "", "answered 302 Found; redirects are not followed", 0.0),
        (404, "x", "answered 404 Not Found", 0.0),
        (503, "120", "answered 503 Service Unavailable", 120.0),
        (429, "999999", "answered 429 Too Many Requests", 3600.0),
        (599, "-5", "answered 599", 0.0),
    ],
)
def test_answers(code: int, wish: str, error: str, seconds: float) -> None:
    assert _read(code, wish) == Answer(code, error, seconds)
