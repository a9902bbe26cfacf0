# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware reports as a user makes them: over SSH, on the command line, through a server and on the page.

No test here is about time: bounds are only there so that nothing hangs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from testbed.nodes import Nodes, nodes

from tests.conftest import CHECKOUT
from tests.runner.conftest import Ended
from tests.runner.web_site import PATIENCE, Site, browser

#: Seconds after which something hangs.
SECONDS = 600.0
NAMES = ["node1", "node10", "node2"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nodes(tmp_path_factory.mktemp("nodes")) as found:
        found.inventory(NAMES, away={"ansible_port": 1})
        yield found


class Shell:
    """The command line with a state store of its own, or at a server."""

    def __init__(self, folder: Path, **more: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RACKSTEAD_", "COLUMNS"))}
        self.folder = folder
        self.env = {
            **kept,
            "RACKSTEAD_STATE": f"sqlite:{folder}/state.db",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]),
            **more,
        }

    def __call__(self, *words: str) -> Ended:
        argv = [sys.executable, "-m", "rackstead.cli", "hardware", *words]
        done = subprocess.run(
            argv,
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def document(self, *words: str) -> dict[str, Any]:
        done = self(*words, "--json")
        assert done.code == 0, done.err
        return done.document


# -- the command line ------------------------------------------------------------------------------
def test_reading_over_ssh_remembering_and_comparing(fleet: Nodes, tmp_path: Path) -> None:
    shell = Shell(tmp_path, RACKSTEAD_INVENTORY=str(fleet.folder / "hosts.yml"))
    first = shell.document("collect", "node1", "node10")
    assert [one["node"] for one in first["nodes"]] == ["node1", "node10"]
    assert first["changed"]
    report = first["nodes"][0]["report"]
    assert set(report["sections"]) >= {"cpu", "memory", "disks", "bmc"}
    assert all(one["state"] == "ok" or one["reason"] for one in report["sections"].values())
    assert report["memory"]["total_bytes"] == memory_of_this_machine()
    assert shell("diff", "node1").code == 2  # one report only

    again = shell.document("collect", "node1", "--check")
    assert again["nodes"][0]["before"] == first["nodes"][0]["time"]
    assert shell.document("show", "node1")["time"] == first["nodes"][0]["time"]  # check mode keeps nothing

    shell.document("collect", "node1", "--section", "memory")
    assert shell.document("diff", "node1")["changes"] == []
    listed = shell.document("list")["nodes"]
    assert [one["node"] for one in listed] == ["node1", "node10"]
    assert shell("list", "--html", "fleet.html").code == 0
    assert shell("show", "node10", "--html", "node10.html").code == 0
    for page in ("fleet.html", "node10.html"):
        assert "<svg" in (tmp_path / page).read_text()


def memory_of_this_machine() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("MemTotal:"))) * 1024


def test_a_node_that_is_away_keeps_nothing_from_the_others(fleet: Nodes, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    done = shell("collect", "node1", "away", "--inventory", str(fleet.folder / "hosts.yml"))
    assert done.code == 3
    assert "away: " in done.err
    assert shell("show", "node1").code == 0
    missing = shell("show", "node")
    assert (missing.code, missing.err) == (
        2,
        'error: there is no report of the node "node"; did you mean "node1"?; collect one first\n',
    )


def test_what_cannot_be_meant_is_refused(fleet: Nodes, tmp_path: Path) -> None:
    shell = Shell(tmp_path, RACKSTEAD_INVENTORY=str(fleet.folder / "hosts.yml"))
    stranger = shell("collect", "node3")
    assert (stranger.code, stranger.err) == (1, 'error: "node3" is not in the inventory\n')
    part = shell("collect", "node1", "--section", "disk")
    assert part.code == 2
    assert "value of sections must be one or more of" in part.err
    assert shell("collect", "--inventory", "nowhere.yml").code == 2
    assert shell("diff", "node1", "--since", "yesterday").code == 2
    assert shell.document("list")["nodes"] == []


def test_this_machine_without_an_inventory(tmp_path: Path) -> None:
    [found] = Shell(tmp_path).document("collect")["nodes"]
    assert found["node"] == "localhost"
    assert found["report"]["cpu"]["threads"] == os.cpu_count()


# -- through a server ------------------------------------------------------------------------------
@dataclass
class Rack(Site):
    """A server that knows an inventory."""

    inventory: str = ""

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in super().env.items() if name != "RACKSTEAD_WORKFLOWS"}
        return {**kept, "RACKSTEAD_INVENTORY": self.inventory}

    def ended(self, job_id: str) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            job: dict[str, Any] = self.get(f"/tasks/{job_id}")
            return job if job["state"] in ("completed", "failed", "cancelled") else None

        return wait_until(over, Deadline(SECONDS), what=f"job {job_id} to end", last_seen=lambda: self.log[-4000:])

    def read(self, node: str, **more: Any) -> dict[str, Any]:
        answer = self.call("POST", "/api/hardware-report", {"node_id": node, **more})
        assert answer.status_code in (200, 202), answer.text
        return self.ended(answer.json()["id"])


@pytest.fixture(scope="module")
def rack(fleet: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    found = Rack(tmp_path_factory.mktemp("rack"), inventory=str(fleet.folder / "hosts.yml"))
    try:
        yield found.start()
    finally:
        found.end()


def test_rest_reads_nodes_by_their_names(rack: Rack) -> None:
    assert rack.call("GET", "/api/hardware-report/node1").status_code == 404
    job = rack.read("node1")
    assert (job["state"], job["workflow"], job["target"]) == ("completed", "hardware_report", ["hardware_nodes:node1"])
    report = rack.get("/api/hardware-report/node1")
    assert (report["node"], report["before"]) == ("node1", None)
    assert rack.call("GET", "/api/hardware-report/node1/changes").status_code == 404  # one report only
    rack.read("node1")
    changes = rack.get("/api/hardware-report/node1/changes")
    assert changes["before"] == report["time"]
    history = rack.get("/api/hardware-report/node1/history")["items"]
    assert [one["time"] for one in history] == [changes["after"], changes["before"]]
    assert (
        rack.get("/api/hardware-report/node1/history?limit=1")["items"] == history[:1] or history[0]["age_seconds"] >= 0
    )
    assert "node1" in [one["node"] for one in rack.get("/api/hardware-report")["items"]]
    page = rack.call("GET", "/api/hardware-report/node1/page")
    assert page.headers["content-type"].startswith("text/html") and "<svg" in page.text


def test_rest_refuses_what_it_cannot_do(rack: Rack) -> None:
    nobody = rack.call("POST", "/api/hardware-report", {})
    assert (nobody.status_code, nobody.json()["errors"][0]["pointer"]) == (422, "/node_id")
    assert rack.call("POST", "/api/hardware-report", {"node_id": "a/b"}).status_code == 422
    assert rack.call("POST", "/api/hardware-report", {"node_id": ["x"]}).status_code == 422
    stranger = rack.read("node77")
    assert stranger["state"] == "failed"
    viewer = rack.new_token("vera", "--role", "viewer")
    assert rack.call("POST", "/api/hardware-report", {"node_id": "node1"}, token=viewer).status_code == 403
    assert rack.call("GET", "/api/hardware-report", token=viewer).status_code == 200
    assert rack.call("GET", "/api/hardware-report", token="wrong").status_code == 401


def test_reports_can_be_scheduled(rack: Rack) -> None:
    body = {"name": "nightly", "cron": "0 3 * * *", "workflow": "hardware_report"}
    answer = rack.call("POST", "/schedules", {**body, "variables": {"hardware_nodes": ["nodes"], "hardware_keep": 90}})
    assert answer.status_code == 201, answer.text
    assert answer.json()["variables"] == {"hardware_nodes": ["nodes"], "hardware_keep": 90}
    assert rack.call("DELETE", "/schedules/nightly").status_code == 204


def test_the_command_line_through_the_server(rack: Rack, tmp_path: Path) -> None:
    shell = Shell(tmp_path, RACKSTEAD_SERVER=rack.url, RACKSTEAD_TOKEN=rack.token)
    shell.env.pop("RACKSTEAD_STATE")
    [found] = shell.document("collect", "node2")["nodes"]
    assert found["node"] == "node2"
    assert shell.document("show", "node2")["time"] == found["time"]
    assert "node2" in [one["node"] for one in shell.document("list")["nodes"]]
    assert shell("show", "node2", "--html", "node2.html").code == 0
    assert "<svg" in (tmp_path / "node2.html").read_text()
    assert shell("list", "--html", "fleet.html").code == 0
    assert shell("collect", "node2", "--inventory", ".").code == 2
    assert shell("show", "node3").code == 2


# -- the page --------------------------------------------------------------------------------------
def test_the_page_shows_nodes_and_has_them_read(rack: Rack) -> None:
    if rack.call("GET", "/api/hardware-report/node1").status_code == 404:
        rack.read("node1")
    with browser() as chrome:
        page = chrome.new_page(base_url=rack.url)
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.goto("/ui/hardware")
        page.fill("#token", rack.token)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{rack.url}/ui/hardware")
        assert accessible(page)
        page.get_by_role("link", name="node1", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("node1", timeout=PATIENCE)
        expect(page.locator("svg.hw-chart").first).to_be_visible(timeout=PATIENCE)
        assert page.evaluate("getComputedStyle(document.querySelector('.hw-chart .bar')).fill") != "rgb(0, 0, 0)"
        assert accessible(page)
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Read it now").click()
        page.wait_for_url("**/ui/jobs/*")
        job = page.url.rpartition("/")[2]
    assert rack.ended(job)["state"] == "completed"
    assert httpx.get(f"{rack.url}/ui/hardware", timeout=SECONDS).status_code == 303  # nobody without a session


def accessible(page: Any) -> bool:
    found = Axe().run(page).response["violations"]
    assert found == [], json.dumps(found)[:2000]
    return True
