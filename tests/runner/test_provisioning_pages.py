# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and their steps in a browser: live, started and ended there, with the keyboard, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision import model
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.journal import blank, fresh
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from playwright.sync_api import Browser, Locator, Page, expect

from rackstead.web.pages import STATIC
from tests.runner.provisioned import Racks, racks
from tests.runner.test_cli_remote import with_a_worker
from tests.runner.test_web_pages import LARGEST, MARKUP, NARROW, WIDE, Known, Visit, client, proof_of, violations, visit
from tests.runner.web_site import browser

PATH = "/ui/provisioning"
DARK = "rgb(19, 22, 26)"
__all__ = ["visit"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racks]:
    with racks(tmp_path_factory.mktemp("pages")) as found:
        with_a_worker(found)
        yield found


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def known() -> Known:
    return {}


def row_of(page: Page, name: str) -> Locator:
    return page.locator("article.server").filter(has=page.get_by_role("heading", name=name, exact=True))


def step_of(page: Page, name: str, number: int) -> Locator:
    return row_of(page, name).locator(".steps li").nth(number - 1)


def is_now(page: Page, name: str, number: int, state: str) -> None:
    expect(step_of(page, name, number).locator(".state")).to_have_class(f"state {state}")


def ordered(page: Page, name: str, **fields: str) -> None:
    page.get_by_label("Server needed").fill(name)
    page.get_by_label("Device type").fill("s2.c2.small")
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " ")).fill(text)
    page.get_by_role("button", name="Start").click()


def test_started_followed_and_seen_to_the_end(site: Racks, visit: Visit) -> None:
    release = site.hold("rack-1", "bios_push")
    page = visit(PATH)
    ordered(page, "rack-1", **{"BMC's_address": "192.168.100.50", "Rack_location": MARKUP, "Tags": "blue, web"})
    page.wait_for_url(f"**{PATH}/*")
    page.goto(PATH)
    page.evaluate("window.loaded = 1")
    is_now(page, "rack-1", 5, "running")
    expect(row_of(page, "rack-1").locator(".steps li")).to_have_count(7)
    expect(row_of(page, "rack-1")).to_contain_text(MARKUP)
    step_of(page, "rack-1", 4).get_by_role("link").click()
    table = row_of(page, "rack-1").locator("table.changes")
    expect(table).to_be_visible()
    expect(table.get_by_role("row").nth(1)).to_contain_text("Advanced / CPU Configuration / Hyper-Threading")
    expect(table.get_by_role("row").nth(2)).to_contain_text("Boot <Option> #2")
    assert "swordfish" not in page.content()
    release()
    is_now(page, "rack-1", 7, "done")
    expect(table).to_be_visible()  # it was put in anew, and stayed open
    assert page.evaluate("window.loaded") == 1
    expect(row_of(page, "rack-1").locator(".head .state")).to_have_text("completed")
    page.get_by_role("link", name="rack-1").click()
    expect(page.locator(".facts")).to_contain_text("10.0.0.9 → 192.168.100.50")
    expect(page.locator(".facts")).to_contain_text("blue, web")


def test_a_step_that_fails_says_why(site: Racks, visit: Visit) -> None:
    site.fail("rack-2", "bmc", f"the BMC does not answer {MARKUP}")
    page = visit(PATH)
    ordered(page, "rack-2")
    page.wait_for_url(f"**{PATH}/*")
    is_now(page, "rack-2", 6, "failed")
    expect(row_of(page, "rack-2").locator(".notice")).to_have_text(f"the BMC does not answer {MARKUP}")
    target = step_of(page, "rack-2", 6).get_by_role("link").get_attribute("href")
    assert page.locator(str(target)).inner_text().startswith("the BMC does not answer")
    page.goto(f"{PATH}?state=failed")
    assert row_of(page, "rack-2").count() == 1 and row_of(page, "rack-1").count() == 0


def test_cancelled_on_the_page(site: Racks, visit: Visit) -> None:
    release = site.hold("rack-3", "address")
    page = visit(PATH)
    ordered(page, "rack-3")
    page.wait_for_url(f"**{PATH}/*")
    is_now(page, "rack-3", 2, "running")
    row_of(page, "rack-3").locator("summary", has_text="Cancel").click()
    page.get_by_role("button", name="End its job").click()
    expect(row_of(page, "rack-3").locator(".head .state")).to_have_text("cancelled")
    is_now(page, "rack-3", 1, "done")
    is_now(page, "rack-3", 2, "pending")
    release()


def test_errors_stand_at_their_fields_and_what_was_typed_stays(site: Racks, visit: Visit) -> None:
    page = visit(PATH)
    ordered(page, "", **{"BMC's_address": "10.0.0.256"})
    alert = page.get_by_role("alert")
    expect(alert.get_by_role("link", name="Server")).to_be_visible()
    expect(page.locator("#error-server_id")).to_contain_text("is needed")
    expect(page.locator("#error-target_ipmi_ip")).to_contain_text("is not valid")
    expect(page.get_by_label("BMC's address")).to_have_value("10.0.0.256")
    expect(page.get_by_label("Device type")).to_have_value("s2.c2.small")
    assert violations(page) == []
    page.goto(PATH)
    page.get_by_text("More: a later step").click()
    page.get_by_label("Several servers").fill("server_id,device_type\na,small\na,small\n")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#error-csv")).to_contain_text('row 3: server_id: "a" is that of row 2 too')
    assert page.get_by_label("Several servers").input_value().startswith("server_id,device_type")


def test_several_servers_and_a_dry_run(site: Racks, visit: Visit) -> None:
    page = visit(PATH)
    page.get_by_text("More: a later step").click()
    page.get_by_label("Several servers").fill("server_id,device_type\nmany-1,small\nmany-2,small\n")
    page.get_by_label("Dry run").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(f"**{PATH}/*")
    for name in ("many-1", "many-2"):
        is_now(page, name, 4, "done")
        expect(row_of(page, name)).to_contain_text("3 BIOS settings")
    expect(page.get_by_role("heading", level=1)).to_contain_text("dry run")


def test_viewers_and_tokens_for_other_things(site: Racks, visit: Visit) -> None:
    job = site.order("rack-9", wait=True)["id"]
    page = visit(PATH, token=site.new_token("vera", "--role", "viewer"))
    assert [one.inner_text() for one in page.get_by_role("button").all()] == ["Show", "Sign out"][::-1]
    with client(page) as raw:
        proof = {"proof": proof_of(page)}
        for path in (PATH, f"{PATH}/{job}/cancel"):
            assert raw.post(path, data=proof).status_code == 403
            assert raw.post(path, data={"proof": "0"}).status_code == 403
        assert raw.get(f"{PATH}/nobody").status_code == 404
    other = visit("/ui/", token=site.new_token("other", "--workflow", "ok"))
    assert other.get_by_role("link", name="Provisioning").count() == 0
    with client(other) as raw:
        assert [raw.get(path).status_code for path in (PATH, f"{PATH}/{job}", f"{PATH}/rack-9")] == [403] * 3


# -- how it looks and weighs ------------------------------------------------------------------------
def heavy(site: Racks) -> None:
    """More servers than a page shows, with more of everything than they show."""
    store = open_store(f"sqlite:{site.folder}/state.db")
    change = {"menu": ["Advanced <menu>"] * 5, "order": 1, "before": '"<&>"' * 20, "after": '"<&>"' * 20}
    changes = [{**change, "name": f"Setting {number} with a long name"} for number in range(300)]
    for number in range(60):
        server = model.Server(f"heavy{number:02}", f"heavy-{number:02}.{'long.' * 20}example", "52:54:00:aa:bb:cc")
        body: dict[str, Any] = fresh(server, model.Order("t" * 60, "192.168.100.50", rack_location="r" * 60), "", 4e9)
        body["state"] = "failed"
        body["steps"]["bios_modify"] = {**blank(), "state": "done", "outputs": {"changes": changes}}
        body["steps"]["bmc"] = {
            **blank(),
            "state": "failed",
            "attempts": 3,
            "seconds": 900.0,
            "error": "it <failed> " * 200,
        }
        store.change(lambda work, key=server.system_id, body=body: work.put("provision", key, body))  # type: ignore[misc]
    store.close()


@pytest.fixture(scope="module")
def paths(site: Racks) -> list[str]:
    heavy(site)
    return [PATH, f"{PATH}?page=2", f"{PATH}/heavy00", f"{PATH}/nobody"]


def test_it_is_accessible_and_fits_a_phone_in_light_and_dark(visit: Visit, paths: list[str]) -> None:
    page = visit(viewport=NARROW)
    dark = visit(viewport=WIDE, color_scheme="dark")
    only = {"runOnly": ["color-contrast", "link-in-text-block"]}
    for path in paths:
        page.goto(path)
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], path
        assert violations(page) == []
        dark.goto(path)
        dark.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert dark.evaluate("getComputedStyle(document.body).backgroundColor") == DARK
        assert violations(dark, **only) == []


def test_its_weight(visit: Visit, paths: list[str]) -> None:
    page = visit()
    static = sum(map(len, STATIC.values()))
    with client(page) as raw:
        for path in paths:
            assert len(raw.get(path).content) < LARGEST - static, path


def test_the_keyboard_reaches_everything(visit: Visit, paths: list[str]) -> None:
    page = visit(f"{PATH}/heavy00")
    page.locator("#main").focus()
    reached = set()
    wanted = page.locator("main a, main button, main select, main input:not([type=hidden]), main summary").count()
    for _time in range(wanted + 5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('main') === null"):
            break
        assert page.locator(":focus").evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        reached.add(page.evaluate("[...document.querySelectorAll('main *')].indexOf(document.activeElement)"))
    assert len(reached) == wanted > 2
    page.goto(f"{PATH}/heavy00")
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("table.changes")).to_be_hidden()
    step_of(page, page.get_by_role("heading", level=1).inner_text(), 4).get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.locator("table.changes")).to_be_visible()
