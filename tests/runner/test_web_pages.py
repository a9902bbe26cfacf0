# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web page in a browser: signing in, forms, the live log, what each role may, and how every page looks and weighs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.alerts import Thresholds
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import remember
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.model import Report, Section, Smart
from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import new_key
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from rackstead.fleet.members import MODULE
from rackstead.fleet.service import keep_scan
from rackstead.jobs.ledger import save
from rackstead.jobs.model import Job, JobState, new_id
from rackstead.run import TaskResult
from rackstead.web import sessions
from rackstead.web.pages import COOKIE, STATIC, VISIT
from tests.runner.web_site import PATIENCE, Site, browser, provider

LARGEST, LONGEST = 150_000, 300
FIRST_VIEW = """() => new Promise(done => new PerformanceObserver(list => {
    const found = list.getEntriesByName("first-contentful-paint");
    if (found.length) done(found[0].startTime);
}).observe({type: "paint", buffered: true}))"""
MARKUP = "</code><img src=x onerror=alert>"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
OPEN = ("/ui/sign-in", "/ui/static/page.css", "/ui/static/page.js", "/ui/static/icon.svg")
CLOSED = (
    "/ui/",
    "/ui/jobs",
    "/ui/workflows",
    "/ui/workflows/ok",
    "/ui/instances",
    "/ui/audit",
    "/ui/schedules",
    "/ui/schedules/new?workflow=ok",
    "/ui/fleet",
    "/ui/fleet/clusters/lab",
    "/ui/fleet/clusters/lab/shutdown",
    "/ui/fleet/nodes/node1",
    "/ui/webhooks",
    "/ui/state",
    "/ui/nowhere",
)
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("web")
    new_key(folder / "keys")
    with provider(folder / "incus"):
        found = Site(folder)
        try:
            yield found.start()
        finally:
            found.end()


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as found:
        yield found


Visit = Callable[..., Page]
#: Cookies of those who have signed in, by token.
Known = dict[str, Any]


@pytest.fixture(scope="module")
def known() -> Known:
    return {}


@pytest.fixture
def visit(site: Site, chrome: Browser, known: Known) -> Iterator[Visit]:
    """A page of a browser of its own, signed in; with ``fresh`` in a session of its own."""
    contexts: list[BrowserContext] = []

    def new(path: str = "/ui/", *, token: str = "", fresh: bool = False, **options: Any) -> Page:
        token = token or site.token
        context = chrome.new_context(**{"viewport": WIDE, **options}, base_url=site.url)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        if token in known and not fresh:
            context.add_cookies(known[token])
            page.goto(path)
            return page
        page.goto(path)
        page.fill("#token", token)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(site.url + path)
        if not fresh:
            known[token] = context.cookies()
        return page

    yield new
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def viewer(site: Site) -> str:
    return site.new_token("vera", "--role", "viewer")


def client(page: Page, **headers: str) -> httpx.Client:
    """Asks as the page's browser does, and follows nothing. Nothing is to be verified, and certificates take time to load."""
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    return httpx.Client(
        base_url=urlsplit(page.url)._replace(path="", query="").geturl(), cookies=cookies, headers=headers, verify=False
    )


def proof_of(page: Page) -> str:
    return page.locator("form.who input[name=proof]").input_value()


# -- who gets in -----------------------------------------------------------------------------------
def test_nobody_gets_in_without_a_token(site: Site, chrome: Browser) -> None:
    job = site.submit("ok", wait=True)
    guesses = ({}, {COOKIE: "guess"}, {COOKIE: site.token}, {VISIT: sessions.new_id()})
    for cookies in guesses:
        with httpx.Client(base_url=site.url, cookies=cookies, verify=False) as anybody:
            for path in (*CLOSED, f"/ui/jobs/{job['id']}", f"/ui/jobs/{job['id']}/events", f"/ui/jobs/{job['id']}/log"):
                answer = anybody.get(path)
                assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/ui/sign-in"), path
            refused = anybody.post("/ui/workflows/ok", data={"proof": sessions.proof("guess")})
            assert refused.headers.get("location") == "/ui/sign-in" or refused.status_code == 403
    assert [httpx.get(site.url + path).status_code for path in OPEN] == [200] * len(OPEN)
    page = chrome.new_page(base_url=site.url)
    page.goto("/ui/audit")
    page.fill("#token", "rackstead_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unknown")
    expect(page.locator("#token")).to_have_attribute("aria-invalid", "true")
    page.close()


def test_a_session_keeps_no_token(site: Site, visit: Visit) -> None:
    page = visit("/ui/audit?action=session.open", fresh=True)
    expect(page.locator("tbody tr").first).to_contain_text("admin")
    [cookie] = [one for one in page.context.cookies() if one["name"] == COOKIE]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/ui")
    assert site.token not in str(page.context.storage_state())
    assert page.evaluate("document.cookie") == ""
    store = open_store(f"sqlite:{site.folder}/state.db")
    kept = [(one.key, one.body) for one in store.list(sessions.SESSION)]
    store.close()
    assert kept
    assert not any(text in str(kept) for text in (cookie["value"], site.token))
    assert site.call("GET", "/state/session").status_code == 403
    with client(page) as old:
        assert old.get("/ui/").status_code == 200
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{site.url}/ui/sign-in")
        assert old.get("/ui/").status_code == 303


def test_a_revoked_token_ends_its_sessions(site: Site, visit: Visit) -> None:
    page = visit("/ui/jobs", token=site.new_token("gone"))
    assert site.command("token", "revoke", "gone").returncode == 0
    page.goto("/ui/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_link_cannot_lead_elsewhere(site: Site) -> None:
    for wanted in ("https://evil.invalid/", "//evil.invalid", "/ui/../../x\\", "javascript:alert(1)"):
        answer = httpx.get(f"{site.url}/ui/sign-in", params={"next": wanted})
        assert 'name="next" value="/ui/"' in answer.text


def test_forms_of_others_are_refused(site: Site, visit: Visit, tmp_path: Path) -> None:
    job = site.submit("sleeps", {"folder": str(tmp_path)})
    page, other = visit(), visit(fresh=True)
    with client(page, Origin="http://evil.invalid") as browser_of_page:
        for proof in ("", "0" * 64, proof_of(other)):
            for path in (f"/ui/jobs/{job['id']}/cancel", "/ui/workflows/ok", "/ui/instances", "/ui/sign-out"):
                assert browser_of_page.post(path, data={"proof": proof}).status_code == 403
    assert site.get(f"/tasks/{job['id']}")["state"] in ("pending", "running")
    (tmp_path / "go").touch()


def test_viewers_see_no_buttons_and_are_refused(site: Site, visit: Visit, viewer: str, tmp_path: Path) -> None:
    job = site.submit("sleeps", {"folder": str(tmp_path)})
    page = visit(f"/ui/jobs/{job['id']}", token=viewer)
    expect(page.get_by_role("heading", name="Sleeps")).to_be_visible()
    proof = proof_of(page)
    for path in (f"/ui/jobs/{job['id']}", "/ui/instances", "/ui/workflows/ok", "/ui/"):
        page.goto(path)
        assert [one.inner_text() for one in page.get_by_role("button").all()] == ["Sign out"]
    assert page.get_by_role("link", name="State", exact=True).count() == 0
    with client(page) as raw:
        for path, form in (
            (f"/ui/jobs/{job['id']}/cancel", {}),
            (f"/ui/jobs/{job['id']}/retry", {}),
            ("/ui/workflows/ok", {}),
            ("/ui/instances", {"action": "stop", "name": "web-01"}),
            ("/ui/schedules", {"action": "pause", "name": "x"}),
            ("/ui/schedules/new?workflow=ok", {"name": "x", "cron": "* * * * *"}),
        ):
            answer = raw.post(path, data={"proof": proof, **form})
            assert (answer.status_code, "needs the role operator" in answer.text) == (403, True), path
        assert [raw.get(path).status_code for path in ("/ui/state", "/ui/state/job", "/ui/webhooks")] == [403] * 3
        for path in ("/ui/webhooks", "/ui/webhooks/do"):
            assert raw.post(path, data={"proof": proof, "name": "x"}).status_code == 403
    (tmp_path / "go").touch()
    assert site.until(job["id"], "completed", "failed", "cancelled")["state"] == "completed"


# -- schedules and webhooks ------------------------------------------------------------------------
def test_a_schedule_from_its_form_to_its_end(site: Site, visit: Visit) -> None:
    page = visit("/ui/schedules", viewport=NARROW)
    page.get_by_label("Workflow", exact=True).select_option("ok")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("When", exact=False).first.fill("never")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("Name: is needed")
    page.fill("#name", "from-page")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#error-cron")).to_contain_text("minute hour day month weekday")
    page.fill("#cron", "0 0 1 1 *")
    page.fill("#zone", "Europe/Nowhere")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#error-zone")).to_contain_text("is not known")
    assert page.locator("#cron").input_value() == "0 0 1 1 *"
    page.fill("#zone", "")
    page.fill("#v-what", "word")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/ui/schedules")
    row = page.locator("tr", has_text="from-page")
    expect(row).to_contain_text("active")
    [made] = [one for one in site.get("/schedules")["items"] if one["name"] == "from-page"]
    assert (made["cron"], made["zone"], made["variables"]["what"]) == ("0 0 1 1 *", "UTC", "word")
    row.get_by_role("button", name="Pause from-page").click()
    expect(row).to_contain_text("paused")
    row.get_by_role("button", name="Resume from-page").focus()
    page.keyboard.press("Enter")
    expect(row).to_contain_text("active")
    row.locator("summary").focus()
    page.keyboard.press("Enter")
    row.get_by_role("button", name="Remove from-page now").click()
    expect(row).to_have_count(0)
    told = [one["action"] for one in site.get("/audit?target=schedule/from-page")["items"]]
    assert told == [f"schedule.{word}" for word in ("remove", "resume", "pause", "add")]


def test_a_webhook_from_its_form_to_its_end(site: Site, visit: Visit) -> None:
    page = visit("/ui/webhooks", viewport=NARROW)
    page.fill("#name", "from-page")
    page.fill("#url", "http://169.254.169.254/?word=s3cr3t")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#error-url")).to_contain_text("link-local")
    assert "s3cr3t" not in page.content()
    page.fill("#url", "http://127.0.0.1:9/x?word=s3cr3t")
    page.get_by_label("completed").uncheck()
    page.get_by_label("cancelled").uncheck()
    page.fill("#workflows", "app*\nhealth")
    page.get_by_role("button", name="Add").click()
    first = page.locator("#secret").inner_text().strip()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/=]{44}", first) and violations(page) == []
    page.get_by_role("link", name="All webhooks").click()
    row = page.locator("tr", has_text="from-page")
    expect(row).to_contain_text("app*, health")
    assert "whsec_" not in page.content() and "s3cr3t" not in page.content()
    row.locator("summary", has_text="New secret").click()
    row.get_by_role("textbox").fill("2")
    row.get_by_role("button", name="Make a new secret for from-page").click()
    second = page.locator("#secret").inner_text().strip()
    assert second.startswith("whsec_") and second != first
    expect(page.get_by_text("signs as well until")).to_be_visible()
    [made] = [one for one in site.get("/webhooks")["items"] if one["name"] == "from-page"]
    assert (made["states"], made["workflows"]) == (["failed"], ["app*", "health"]) and made["earlier_until"]
    page.get_by_role("link", name="All webhooks").click()
    row.locator("summary", has_text="Remove").click()
    row.get_by_role("button", name="Remove from-page now").click()
    expect(row).to_have_count(0)


# -- jobs ------------------------------------------------------------------------------------------
def log_of(page: Page) -> str:
    return page.locator("#log").inner_text().strip()


def state_of(page: Page, word: str) -> None:
    expect(page.locator("#head .state")).to_have_text(word)


def test_submit_and_watch_live_to_the_end(site: Site, visit: Visit, tmp_path: Path) -> None:
    page = visit("/ui/workflows/sleeps")
    page.get_by_label("folder").fill(str(tmp_path))
    page.get_by_label("word").fill(MARKUP)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/ui/jobs/*")
    page.evaluate("window.loaded = 1")
    expect(page.locator("#log")).to_contain_text("TASK [Wait]")
    expect(page.locator(".timeline text", has_text="Wait")).to_be_visible()
    state_of(page, "running")
    expect(page.locator("#live-state")).to_have_text("Live.")
    (tmp_path / "go").touch()
    state_of(page, "completed")
    expect(page.locator("#live-state")).to_have_text("The job is over.")
    expect(page.locator(".recap")).to_contain_text("3 ok")
    assert page.evaluate("window.loaded") == 1  # it was the same page all the time
    expect(page.locator("dd code", has_text=MARKUP)).to_be_visible()
    live = log_of(page)
    page.reload()
    assert log_of(page) == live
    assert live.count("TASK [Leave another mark]") == 1
    page.locator("#as-table summary").click()
    assert page.locator("#as-table tbody tr").count() == 3


def test_cancel_and_run_again(site: Site, visit: Visit, tmp_path: Path) -> None:
    job = site.submit("sleeps", {"folder": str(tmp_path)})
    page = visit(f"/ui/jobs/{job['id']}")
    expect(page.locator("#log")).to_contain_text("TASK [Wait]")
    page.get_by_role("button", name="Cancel").click()
    state_of(page, "cancelled")
    with client(page) as raw:
        again = raw.post(f"/ui/jobs/{job['id']}/cancel", data={"proof": proof_of(page)})
    assert (again.status_code, "it is cancelled already" in again.text) == (409, True)
    (tmp_path / "go").touch()
    page.get_by_role("button", name="Run again").click()
    state_of(page, "completed")


def test_a_killed_server_that_comes_back(site: Site, visit: Visit, tmp_path: Path) -> None:
    job = site.submit("sleeps", {"folder": str(tmp_path)})
    page = visit(f"/ui/jobs/{job['id']}")
    expect(page.locator("#log")).to_contain_text("TASK [Wait]")
    expect(page.locator("#live-state")).to_have_text("Live.")
    page.evaluate("window.loaded = 1")
    site.kill()
    expect(page.locator("#live-state")).to_contain_text("The connection is lost")
    site.start()
    expect(page.locator("#live-state")).to_have_text("Live.")
    (tmp_path / "go").touch()
    state_of(page, "completed")
    live = log_of(page)
    assert page.evaluate("window.loaded") == 1
    page.reload()
    assert log_of(page) == live
    assert live.count("PLAY [Sleeps]") == 2  # once before the kill, and once after
    assert live.count("PLAY RECAP") == 1


def test_without_javascript(site: Site, visit: Visit) -> None:
    page = visit("/ui/workflows/ok", java_script_enabled=False)
    page.get_by_label("what", exact=True).fill("plain")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/ui/jobs/*")
    site.until(urlsplit(page.url).path.rpartition("/")[2], "completed")
    page.reload()
    state_of(page, "completed")
    expect(page.locator("#log")).to_contain_text("what plain")


def test_filters_of_jobs(site: Site, visit: Visit) -> None:
    site.submit("fails", {"how": "permanently"}, wait=True)
    page = visit("/ui/jobs")
    page.get_by_label("State").select_option("failed")
    page.get_by_label("Workflow").select_option("fails")
    page.get_by_role("button", name="Show").click()
    assert parse_qs(urlsplit(page.url).query) == {"state": ["failed"], "workflow": ["fails"]}
    rows = page.locator("tbody tr")
    assert rows.count() >= 1
    assert {row.locator(".state").inner_text() for row in rows.all()} == {"failed"}
    page.goto("/ui/")
    expect(page.get_by_role("region", name="Needs a person")).to_contain_text("Fails")


# -- forms -----------------------------------------------------------------------------------------
def test_errors_stand_at_their_fields_and_what_was_typed_stays(site: Site, visit: Visit) -> None:
    page = visit("/ui/workflows/apply")
    page.get_by_label("plan_parallel").fill("many")
    page.get_by_label("plan_content").fill("instances:\na: b: c")
    page.get_by_label("plan_limit").fill("web-01\nweb-02")
    page.get_by_label("plan_on_error").select_option("continue")
    page.get_by_label("Check mode").check()
    page.get_by_text("When and how often").click()
    page.get_by_label("Retries").fill("few")
    page.get_by_role("button", name="Submit").click()
    alert = page.get_by_role("alert")
    for field, text, typed in (
        ("plan_parallel", "unable to convert to int", "many"),
        ("plan_content", "cannot be read: line 2", "instances:\na: b: c"),
        ("Retries", '"few" is not a whole number', "few"),
    ):
        entry = page.get_by_label(field)
        expect(entry).to_have_value(typed)
        expect(entry).to_have_attribute("aria-invalid", "true")
        expect(page.locator(f"[id='error-{entry.get_attribute('name')}']")).to_contain_text(text)
        expect(alert.get_by_role("link", name=field)).to_be_visible()
    expect(page.get_by_label("plan_limit")).to_have_value("web-01\nweb-02")
    expect(page.get_by_label("plan_on_error")).to_have_value("continue")
    expect(page.get_by_label("Check mode")).to_be_checked()
    page.goto("/ui/workflows/sleeps")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#error-v-folder")).to_have_text("is needed")


def test_a_form_that_is_sent_twice_is_one_job(site: Site, visit: Visit) -> None:
    page = visit("/ui/workflows/ok")
    fields = {
        one.get_attribute("name"): one.input_value() for one in page.locator("form.order input[type=hidden]").all()
    }
    with client(page) as raw:
        places = {raw.post("/ui/workflows/ok", data=fields).headers["location"] for _time in range(2)}
        other = raw.post("/ui/workflows/ok", data={**fields, "v-what": "else"})
    assert len(places) == 1
    assert (other.status_code, "Submit again" in other.text) == (409, True)


# -- instances -------------------------------------------------------------------------------------
def test_instances_and_what_can_be_done(site: Site, visit: Visit) -> None:
    page = visit("/ui/instances")
    row = page.get_by_role("row").filter(has_text="web-01")
    expect(row).to_contain_text("10.9.0.2")
    expect(page.get_by_role("rowheader", name="db-<b>01")).to_be_visible()
    expect(page.get_by_role("button", name="Start db-<b>01")).to_be_visible()
    row.locator("summary").click()
    row.get_by_role("button", name="Stop web-01 now").click()
    page.wait_for_url("**/ui/jobs/*")
    job = urlsplit(page.url).path.rpartition("/")[2]
    site.call("POST", f"/tasks/{job}/cancel")
    found = site.until(job, "cancelled", "failed")
    assert (found["workflow"], found["variables"]["instance_names"], found["who"]) == ("stop", ["web-01"], "admin")


def test_without_a_provider(site: Site, visit: Visit) -> None:
    socket = site.folder / "incus"
    socket.rename(site.folder / "away")
    try:
        page = visit("/ui/instances")
        expect(page.locator(".notice")).to_contain_text("No provider answers")
    finally:
        (site.folder / "away").rename(socket)


# -- nodes and clusters ----------------------------------------------------------------------------
def register(site: Site) -> None:
    """Two clusters and a node in none, some of which there are reports of. Once for the site."""
    store = open_store(f"sqlite:{site.folder}/state.db")
    fleet = Registry(store, "anna")
    if not fleet.clusters():
        fleet.add_cluster({"name": "lab", "description": MARKUP})
        fleet.add_cluster({"name": "pair"})
        for number, cluster in enumerate(("lab", "lab", "lab", "pair", "pair", "")):
            fleet.add_node({"name": f"node{number}", "address": f"192.0.2.{number + 1}", "cluster": cluster})
        fleet.add_node({"name": "work0", "worker": True, "cluster": "lab"})
        for node, wear in (("node0", 10.0), ("node1", 85.0), ("work0", 99.0)):
            disk = Smart(disk="sda", wear_percent=wear)
            remember(
                store, Report(node=node, time=1000.0, sections={"smart": Section("ok")}, smart=[disk]), Thresholds()
            )
    store.close()


def test_the_fleet_as_it_is_registered(site: Site, visit: Visit) -> None:
    register(site)
    page = visit("/ui/fleet", viewport=NARROW)
    expect(page.get_by_role("link", name="Fleet")).to_have_attribute("aria-current", "page")
    lab, pair = (page.get_by_role("region", name=name, exact=True) for name in ("lab", "pair"))
    expect(lab).to_contain_text(MARKUP)
    expect(lab).to_contain_text("Survives the loss of one control-plane node at a time.")
    expect(pair).to_contain_text("2 will not")
    expect(pair.locator(".notice")).to_contain_text("take an odd number")
    members = [one.inner_text().split()[0] for one in lab.get_by_role("listitem").all()]
    assert members == ["node0", "node1", "node2", "work0"]
    assert (lab.locator("svg circle").count(), lab.locator("svg rect").count()) == (3, 1)
    for name, words in (("node0", "no alerts"), ("node1", "1 alert,"), ("node2", "no hardware report")):
        expect(lab.get_by_role("listitem").filter(has_text=name)).to_contain_text(words)
    expect(page.get_by_role("region", name="Without a cluster")).to_contain_text("node5")
    assert lab.get_by_role("link", name="report of").count() == 3  # node2 has no report to lead to
    lab.get_by_role("link", name="work0", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("work0")
    expect(page.get_by_role("region", name="Hardware")).to_contain_text("critical")
    page.get_by_role("link", name="Its last report").click()
    assert urlsplit(page.url).path == "/ui/hardware/work0"


def scanned(site: Site) -> None:
    """A scan of the cluster lab is kept, in which a voter does not answer."""
    members = [{"name": f"node{number}", "role": "voter", "up": number != 2} for number in range(3)]
    nodes = [{"name": name, "ready": name != "node2"} for name in ("node0", "node1", "node2", "work0")]
    known = {
        "name": "node0",
        "place": "control-plane",
        "version": "v1.32.3",
        "channel": "1.32/stable",
        "certificates": [{"name": "server.crt", "days": 12}],
        "nodes": nodes,
        "datastore": {"members": members, "quorum": True, "bytes": 52_428_800},
    }
    finding = {"severity": "warning", "what": f"node2 {MARKUP}", "todo": "start it"}
    found = {"node0": ("ok", {"microk8s": known, "findings": [finding]}), "node2": ("unreachable", {})}
    store = open_store(f"sqlite:{site.folder}/state.db")
    results = [TaskResult(MODULE, "Look", host, status, result) for host, (status, result) in found.items()]
    keep_scan(Registry(store), results)
    store.close()


def test_a_cluster_its_members_and_a_shutdown_that_is_confirmed(site: Site, visit: Visit, viewer: str) -> None:
    register(site)
    scanned(site)
    page = visit("/ui/fleet")
    page.get_by_role("link", name="lab", exact=True).click()
    drawing = page.get_by_role("region", name="Members")
    expect(drawing).to_contain_text("3 voters, 1 worker; node2 is unreachable.")
    assert (drawing.locator("svg circle").count(), drawing.locator("svg rect").count()) == (3, 1)
    look = page.get_by_role("region", name="Last scan")
    for words in ("v1.32.3", "12 days (server.crt)", "50.0 MiB", MARKUP):
        expect(look).to_contain_text(words)
    page.get_by_role("link", name="Shut down", exact=True).click()
    steps = page.locator("main ol li")
    expect(steps.nth(3)).to_have_text("The workers are stopped, all at once: work0.")
    expect(steps.nth(4)).to_contain_text("node0, node1, node2")
    with client(page) as browser:
        assert browser.post(page.url, data={"proof": "guess"}).status_code == 403
    page.get_by_role("button", name="Shut down: lab").click()
    page.wait_for_url("**/ui/jobs/*")
    job = page.url.rpartition("/")[2]
    site.call("POST", f"/tasks/{job}/cancel")  # 409 where it has failed already: no such host
    found = site.until(job, "cancelled", "failed")
    assert found["variables"] == {"rackstead_host": "cluster_lab", "microk8s_shutdown_mode": "graceful"}
    page.goto("/ui/fleet/clusters/lab")
    expect(page.get_by_role("region", name="Operations").locator(f'a[href="/ui/jobs/{job}"]')).to_be_visible()
    page = visit("/ui/fleet/clusters/lab", token=viewer)
    assert page.get_by_role("navigation", name="Actions").get_by_role("link").all_inner_texts() == ["Scan"]
    with client(page) as browser:
        proof = {"proof": proof_of(page)}
        assert browser.post("/ui/fleet/clusters/lab/shutdown", data=proof).status_code == 403
        assert browser.get("/ui/fleet/clusters/lab/explode").status_code == 404
        assert browser.get("/ui/fleet/clusters/lap").status_code == 404


def test_an_upgrade_wants_a_channel(site: Site, visit: Visit) -> None:
    register(site)
    page = visit("/ui/fleet/clusters/pair/upgrade")
    with client(page) as browser:
        answer = browser.post("/ui/fleet/clusters/pair/upgrade", data={"proof": proof_of(page)})
    assert answer.status_code == 422
    assert "microk8s_channel: is needed" in answer.text
    expect(page.locator("main")).to_contain_text("there is no scan yet")


# -- every page ------------------------------------------------------------------------------------
def heavy_job(site: Site) -> str:
    """A job with more of everything than a page can show."""
    recap = {f"host-{number}.example": dict.fromkeys(("ok", "changed", "failed"), number + 1) for number in range(500)}
    tasks = [
        {"task": f"Task {number} with quite a long name, as people give them", "seconds": number}
        for number in range(300)
    ]
    variables = {f"variable_{number}": ['"<&>"' * 500] for number in range(200)}
    job = Job(new_id(), "ok", "Heavy", variables, 1.0, "anna", state=JobState.FAILED, started=1.0, ended=9.0)
    job = replace(job, recap=recap, tasks=tasks, error="it <failed> " * 1000, target=["rack"] * 200)
    store = open_store(f"sqlite:{site.folder}/state.db")
    store.change(lambda change: save(change, job))
    store.close()
    folder = site.folder / "data/jobs" / job.id
    folder.mkdir()
    event = {"time": 2.0, "event": "verbose", "stdout": '"<&>"' * 100}
    lines = [json.dumps({"seq": number, **event}) for number in range(1, 5000)]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    return job.id


@pytest.fixture(scope="module")
def paths(site: Site) -> list[str]:
    done = site.submit("ok", {"what": "a long word " * 20, "number": 7}, wait=True)["id"]
    failed = site.submit("fails", {"how": "permanently"}, wait=True)["id"]
    site.call("PUT", "/state/note/rack-1", {"text": "slot 7", "password": "hidden"})
    jobs = [f"/ui/jobs/{done}", f"/ui/jobs/{failed}"]
    jobs.append(f"/ui/jobs/{heavy_job(site)}")
    state = ["/ui/state", "/ui/state/job", "/ui/state/note/rack-1"]
    pages = ["/ui/", "/ui/jobs", "/ui/workflows", "/ui/workflows/apply", "/ui/instances", "/ui/audit", "/ui/nowhere"]
    for number in range(3):
        body = {"name": f"often-{number}", "cron": "0 0 1 1 *", "workflow": "ok"}
        assert site.call("POST", "/schedules", body).status_code == 201
        hook = {"name": f"hook-{number}", "url": "http://127.0.0.1:9/x?y=z", "states": ["failed"], "workflows": ["no*"]}
        assert site.call("POST", "/webhooks", hook).status_code == 201
    assert site.call("POST", "/schedules/often-1/pause").status_code == 200
    assert site.call("POST", "/webhooks/hook-1/rotate", {}).status_code == 200
    register(site)
    again = ["/ui/schedules", "/ui/schedules/new?workflow=apply", "/ui/webhooks", "/ui/fleet"]
    scanned(site)
    again += ["/ui/fleet/clusters/lab", "/ui/fleet/clusters/lab/upgrade", "/ui/fleet/nodes/node1"]
    return [*pages, *jobs, *state, *again, "/ui/sign-in"]


def violations(page: Page, **options: Any) -> list[str]:
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [f"{one['id']} on {page.url}" for one in found if one["impact"] in ("serious", "critical")]


def with_errors(page: Page) -> None:
    page.goto("/ui/workflows/sleeps")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_be_visible()


def test_every_page_is_accessible_and_fits_a_phone(visit: Visit, paths: list[str]) -> None:
    page = visit(viewport=NARROW)
    for path in paths:
        page.goto(path)
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], path
        headings = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
        assert headings[0] == 1, path
        assert all(after - before <= 1 for before, after in itertools.pairwise(headings)), path
        assert violations(page) == []
    with_errors(page)
    assert violations(page) == []
    page.set_viewport_size(WIDE)
    for path in (paths[0], paths[3], paths[7]):
        page.goto(path)
        assert violations(page) == []


def test_every_page_can_be_read_in_the_dark(visit: Visit, paths: list[str]) -> None:
    page = visit(viewport=WIDE, color_scheme="dark")
    only = {"runOnly": ["color-contrast", "link-in-text-block"]}
    for path in paths:
        page.goto(path)
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 26)"
        assert violations(page, **only) == []
    with_errors(page)
    assert violations(page, **only) == []


def test_secrets_are_hidden_in_the_state_store(visit: Visit, paths: list[str]) -> None:
    page = visit("/ui/state/note/rack-1")
    expect(page.locator("pre")).to_contain_text('"password": "********"')
    page.goto("/ui/state")
    kinds = page.locator(".kinds").inner_text().split()
    assert "note" in kinds
    assert not {"session", "token", "job-input", "job-key"} & set(kinds)
    for kind in ("session", "token", "job-input"):
        assert page.goto(f"/ui/state/{kind}").status == 403  # type: ignore[union-attr]


def test_weight_and_first_view(visit: Visit, paths: list[str]) -> None:
    page = visit()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108  Playwright marks what it is given
    slow = {}
    for path in paths:
        best = float("inf")
        for _time in range(10):  # the machine may be busy with something else
            answers.clear()
            page.goto(path)
            best = min(best, page.evaluate(FIRST_VIEW))
            if best < LONGEST:
                break
        own = [one.body() for one in answers if "/static/" not in one.url]
        assert 500 < sum(map(len, own)) < LARGEST - sum(map(len, STATIC.values())), path
        if best >= LONGEST:
            slow[path] = best
    assert slow == {}


def test_headers_forbid_what_the_page_does_not_need(site: Site, visit: Visit) -> None:
    page = visit()
    with client(page) as raw:
        for path in ("/ui/", "/ui/jobs", "/ui/nowhere"):
            answer = raw.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"<[^>]+\s(style|on\w+)=|<script(?! src=\"/ui/)|<style|https?://", answer.text)


# -- the keyboard ----------------------------------------------------------------------------------
def test_the_keyboard_reaches_everything(site: Site, chrome: Browser) -> None:
    page = chrome.new_page(base_url=site.url, viewport=WIDE)
    page.goto("/ui/jobs")
    page.keyboard.type(site.token)  # the field has the focus
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/ui/jobs")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_text("Skip to the content")
    assert focused.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    assert focused.bounding_box()["x"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_id("state")
    reached = set()
    wanted = page.locator("main a, main button, main select, main input").count()
    while page.evaluate("document.activeElement.closest('main') !== null"):
        reached.add(page.evaluate("[...document.querySelectorAll('main *')].indexOf(document.activeElement)"))
        page.keyboard.press("Tab")
    assert len(reached) == wanted
    page.close()
