# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisioning by command, REST and Python: the same words here and through a server, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, OperationFailed

from rackstead.provisioning import provision_server
from tests.runner.provisioned import BOUND, CSV, Racks, racks
from tests.runner.test_cli_remote import Person, with_a_worker

ORDER = {"server_id": "machine-123", "device_type": "s2.c2.small", "target_ipmi_ip": "192.168.100.50"}
STEPS = ["commission", "address", "bios_pull", "bios_modify", "bios_push", "bmc", "finalize"]
SECRETS = ("swordfish", "old-swordfish")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racks]:
    with racks(tmp_path_factory.mktemp("racks")) as found:
        with_a_worker(found)
        yield found


@pytest.fixture(params=["here", "through the server"])
def person(request: pytest.FixtureRequest, site: Racks, tmp_path: Path) -> Person:
    """Somebody on the server's machine who goes without it, or somebody elsewhere who goes through it."""
    if request.param != "here":
        return Person(site, tmp_path / "person")
    own = {name: value for name, value in site.env.items() if name.startswith("RACKSTEAD_")}
    return Person(site, tmp_path / "person", **{**own, "RACKSTEAD_SERVER": "", "RACKSTEAD_TOKEN": ""})


@pytest.fixture
def elsewhere(site: Racks, tmp_path: Path) -> Person:
    return Person(site, tmp_path / "elsewhere")


def states(document: dict[str, Any]) -> list[str]:
    return [one["state"] for one in document["servers"][0]["steps"]]


# -- the command ------------------------------------------------------------------------------------
def test_several_servers_of_which_one_fails_and_is_taken_up_again(person: Person, site: Racks, tmp_path: Path) -> None:
    a, b = f"a-{tmp_path.name}"[:40], f"b-{tmp_path.name}"[:40]
    (person.folder / "servers.csv").write_text(
        f"{CSV}{a},s2.c2.small,10.0.0.1,Rack-A-U1,blue;web\n{b},s2.c2.small,10.0.0.2,,\n"
    )
    site.fail(b, "bmc", "the BMC does not answer at 10.0.0.2")
    done = person("provision", "--batch", "servers.csv")
    assert done.returncode == 1, done.stderr
    assert f"error: {b}: the BMC does not answer at 10.0.0.2" in done.stderr.splitlines()
    assert f"{a}: step 7/7 finalize done after 0.5 s" in done.stderr
    assert f"{b}: step 6/7 bmc failed after 0.5 s: the BMC does not answer at 10.0.0.2" in done.stderr
    assert "2 servers: 1 completed, 1 failed" in done.stdout
    assert re.search(rf"{a} +completed +✔ ✔ ✔ ✔ ✔ ✔ ✔", done.stdout)
    assert re.search(rf"{b} +failed +✔ ✔ ✔ ✔ ✔ ✘ ·  6/7 bmc", done.stdout)
    (site.gates / f"fail-{b}-bmc").unlink()
    again = person.document("provision", b, "s2.c2.small", "10.0.0.2", "--tag", "blue")
    assert (again["command"], again["exit_code"], again["errors"]) == ("provision", 0, [])
    assert again["servers"][0]["state"] == "completed"
    listed = {one["server_id"]: one for one in person.document("provision", "list", "-n", "500")["servers"]}
    assert {listed[a]["state"], listed[b]["state"]} == {"completed"}
    assert listed[a]["order"]["tags"] == ["blue", "web"] and listed[a]["step"] == 7
    shown = person("provision", "status", b)
    assert shown.returncode == 0 and "192.168" not in shown.stdout and "3 settings to change" in shown.stdout
    assert not any(word in done.stdout + done.stderr + shown.stdout for word in SECRETS)
    assert person.document("provision", "status", b)["status"]["servers"][0]["steps"][5]["outputs"]["changed"] is True


def test_a_dry_run_shows_what_would_change_and_leaves_no_record(person: Person, tmp_path: Path) -> None:
    name = f"dry-{tmp_path.name}"[:40]
    words = ["provision", name, "s2.c2.small", "192.168.100.50", "--rack-location", "Rack-A-U10", "--dry-run"]
    done = person(*words, "--from-step", "bios-modify")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Advanced / CPU Configuration / Hyper-Threading +Off +On", done.stdout)
    assert "BMC address: 10.0.0.9 → 192.168.100.50" in done.stdout and "tags: s2.c2.small" in done.stdout
    assert re.search(rf"{name} +completed +– – – ✔ ✔ ✔ ✔", done.stdout)
    assert "1 server: 1 looked at" in done.stdout
    assert not any(word in done.stdout for word in SECRETS)
    assert all(one["server_id"] != name for one in person.document("provision", "list", "-n", "500")["servers"])
    unknown = person("provision", "status", name)
    assert unknown.returncode == 2 and "nothing is known of provisioning" in unknown.stderr


def test_everything_wrong_is_told_at_once_and_nothing_is_begun(person: Person, site: Racks) -> None:
    before = site.get("/tasks?limit=1")["items"]
    (person.folder / "bad.csv").write_text(f"{CSV}a,small,10.0.0.1\n,small,10.0.0.1\nb,,10.0.0.2,,,more\n")
    bad = person("provision", "--batch", "bad.csv", "--only-steps", "bios_pull,bmcc")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.splitlines() == [
        "error: bad.csv: row 4: has 6 cells, and there are 5 columns",
        "error: bad.csv: row 3: server_id: is needed; hostname or mac does as well",
        'error: bad.csv: row 3: target_ipmi_ip: "10.0.0.1" is that of row 2 too',
        "error: bad.csv: row 4: device_type: is needed",
        'error: only_steps: "bmcc" is no step; did you mean "bmc"?; allowed: ' + ", ".join(STEPS),
    ]
    for words, line in (
        (["a", "small", "10.0.0.300"], 'target_ipmi_ip: "10.0.0.300" is not valid'),
        (["a"], "name a server and what it is to become"),
        (["a", "small", "--batch", "bad.csv"], "--batch: goes with no other server"),
        (["--batch", "nowhere.csv"], '--batch: "nowhere.csv" cannot be read: No such file'),
        (["status", "nobody"], 'nothing is known of provisioning a server or job "nobody"'),
        (["list", "--state-of", "done"], '--state-of: "done" is not a state'),
    ):
        found = person("provision", *words)
        assert found.returncode == 2 and line in found.stderr, words
    assert site.get("/tasks?limit=1")["items"] == before


def test_what_only_maas_knows_is_told_before_anything_is_touched(person: Person) -> None:
    done = person("provision", "unknown", "small")
    assert done.returncode == 2
    assert 'error: unknown: server_id: MAAS knows no machine "unknown"' in done.stderr
    assert "STEPS" not in done.stdout


def test_the_first_word_is_a_server_or_a_command(person: Person) -> None:
    for words in (["provision"], ["provision", "--help"], ["provision", "-h"]):
        found = person(*words).stdout
        assert "Usage: rackstead provision" in found and "cancel" in found, words
    for words in (["provision", "machine-1", "--help"], ["provision", "run", "-h"], ["provision", "--batch", "-h"]):
        assert "--rack-location" in person(*words).stdout or words[-1] == "-h"


def test_ctrl_c_at_a_server_cancels_the_job(elsewhere: Person, site: Racks) -> None:
    release = site.hold("srv-int", "bios_push")
    running = elsewhere.start("provision", "srv-int", "s2.c2.small", "10.0.1.1")
    try:
        name = site_server(site, "srv-int", "running")["job"]
        site.reached("srv-int", "bios_push", "running")
        running.send_signal(signal.SIGINT)
        _out, err = running.communicate(timeout=BOUND)
    finally:
        release()
        running.kill()
    assert running.returncode == 130 and f"job {name} is cancelled; what was done stays" in err
    found = site.status("srv-int")
    assert found["state"] == "cancelled" and found["servers"][0]["state"] == "cancelled"
    assert states(found)[:5] == ["done"] * 4 + ["pending"]


def site_server(site: Racks, name: str, state: str) -> dict[str, Any]:
    """A server in the list when it is in this state."""

    def there() -> dict[str, Any] | None:
        items = site.get("/api/orchestration/servers?limit=500")["items"]
        return next((one for one in items if one["server_id"] == name and one["state"] == state), None)

    return wait_until(there, Deadline(BOUND), what=f"{name} to be {state}", last_seen=lambda: site.log)


def test_a_command_that_is_killed_here_leaves_its_server_interrupted(site: Racks, tmp_path: Path) -> None:
    own = {name: value for name, value in site.env.items() if name.startswith("RACKSTEAD_")}
    here = Person(site, tmp_path / "here", **own)
    here.env = {**here.env, "RACKSTEAD_MARK": "killed"}
    del here.env["RACKSTEAD_SERVER"], here.env["RACKSTEAD_TOKEN"]
    release = site.hold("srv-kill", "address")
    running = here.start("provision", "srv-kill", "s2.c2.small", "10.0.1.2")
    try:
        site.reached("srv-kill", "address", "running")
        assert here("provision", "cancel", "srv-kill").returncode == 1
        assert "end the command that does it" in here("provision", "cancel", "srv-kill").stderr
        running.send_signal(signal.SIGTERM)
        _out, err = running.communicate(timeout=BOUND)
    finally:
        release()
        running.kill()
    assert running.returncode == 130 and "interrupted (SIGTERM): what was done stays" in err
    found = site_server(site, "srv-kill", "interrupted")
    assert (found["job"], [one["state"] for one in found["steps"]][:2]) == ("", ["done", "pending"])
    again = here.document("provision", "srv-kill", "s2.c2.small", "10.0.1.2")
    assert again["servers"][0]["state"] == "completed"


# -- REST -------------------------------------------------------------------------------------------
def test_an_order_as_earlier_orchestrators_take_it(site: Racks) -> None:
    release = site.hold("machine-123", "bmc")
    answer = site.call("POST", "/api/orchestration/provision", {**ORDER, "rack_location": "Rack-A-U10"})
    found = answer.json()
    assert (answer.status_code, found["state"], found["workflow"]) == (202, "pending", "provision")
    assert answer.headers["location"] == f"/api/orchestration/workflow/{found['id']}/status"
    assert [one["server_id"] for one in found["servers"]] == ["machine-123"]
    job = site.get(f"/tasks/{found['id']}")
    assert job["target"] == ["server:machine-123"] and job["who"] == "admin"
    seen = site.reached(found["id"], "bmc", "running")
    server = seen["servers"][0]
    assert (seen["state"], server["step"], server["step_name"], server["total_steps"]) == ("running", 6, "bmc", 7)
    assert states(seen) == ["done"] * 5 + ["running", "pending"]
    assert server["order"] == {**ORDER, "rack_location": "Rack-A-U10"} | {"server_id": "machine-123"} or server["order"]
    assert server["steps"][3]["outputs"]["changes"][0]["name"] == "Hyper-Threading"
    assert not any(word in json.dumps(seen) for word in SECRETS)
    by_name = site.status("ID-machine-123")
    assert (by_name["job"], by_name["servers"][0]["steps"]) == (found["id"], server["steps"])
    release()
    assert states(site.over(found["id"], "completed")) == ["done"] * 7


def test_cancelled_by_its_server_and_taken_up_again(site: Racks) -> None:
    release = site.hold("srv-rest", "bios_pull")
    job = site.order("srv-rest")["id"]
    site.reached(job, "bios_pull", "running")
    answer = site.call("POST", "/api/orchestration/workflow/srv-rest/cancel")
    assert (answer.status_code, answer.json()["id"]) == (202, job)
    found = site.over(job, "cancelled")
    assert (found["servers"][0]["state"], states(found)[:3]) == ("cancelled", ["done", "done", "pending"])
    assert site.call("POST", "/api/orchestration/workflow/srv-rest/cancel").status_code == 409
    release()
    assert site.order("srv-rest", wait=True)["state"] == "completed"
    assert site.status(job)["state"] == "cancelled"


def test_a_dry_run_over_rest_tells_what_would_change(site: Racks) -> None:
    found = site.order("srv-dry", dry_run=True, wait=True)
    assert (found["dry_run"], found["state"], found["servers"][0]["system_id"]) == (True, "completed", "id-srv-dry")
    assert len(found["servers"][0]["steps"][3]["outputs"]["changes"]) == 3
    assert site.call("GET", "/state/provision/id-srv-dry").status_code == 404


def test_problems_name_the_fields_of_the_body(site: Racks) -> None:
    def pointers(**more: Any) -> list[str]:
        answer = site.call("POST", "/api/orchestration/provision", {**ORDER, **more})
        assert answer.status_code == 422, answer.text
        return [one["pointer"] for one in answer.json()["errors"]]

    assert pointers(target_ipmi_ip="10.0.0.256", from_step="nope") == ["/target_ipmi_ip", "/from_step"]
    assert pointers(server_id="", device_type="") == ["/device_type"]
    assert pointers(server_id="") == ["/server_id"]
    assert pointers(gateway="10.0.0.1", netmask="255.255.255.0") == ["/gateway"]
    assert pointers(variables={"provision_from_stepp": "x"}) == ["/variables/provision_from_stepp"]
    assert pointers(servr="x") == ["/servr"]
    assert site.call("GET", "/api/orchestration/workflow/nobody/status").status_code == 404
    assert site.call("GET", f"/api/orchestration/workflow/{'0' * 26}/status").status_code == 404


def test_roles_and_scopes(site: Racks) -> None:
    viewer = site.new_token("vera", "--role", "viewer")
    mine = site.new_token("mine", "--role", "operator", "--target", "server:srv-mine*")
    other = site.new_token("other", "--role", "operator", "--workflow", "ok")
    assert site.call("POST", "/api/orchestration/provision", ORDER, token=viewer).status_code == 403
    assert site.call("POST", "/api/orchestration/provision", ORDER, token=mine).status_code == 403
    assert site.call("POST", "/api/orchestration/provision", ORDER, token=other).status_code == 403
    body = {**ORDER, "server_id": "srv-mine-1", "wait": True}
    assert site.call("POST", "/api/orchestration/provision", body, token=mine).status_code == 200
    theirs = site.order("srv-theirs", wait=True)["id"]
    seen = site.get("/api/orchestration/servers?limit=500", token=mine)["items"]
    assert {one["server_id"] for one in seen} == {"srv-mine-1"}
    assert site.get("/api/orchestration/servers", token=other)["items"] == []
    for name in (theirs, "srv-theirs", "id-srv-theirs"):
        path = f"/api/orchestration/workflow/{name}"
        assert site.call("GET", f"{path}/status", token=mine).status_code == 403
        assert site.call("POST", f"{path}/cancel", token=mine).status_code == 403
        assert site.call("POST", f"{path}/cancel", token=viewer).status_code == 403
        assert site.call("GET", f"{path}/status", token=viewer).status_code == 200
        assert site.call("GET", f"{path}/status", token="").status_code == 401


# -- Python -----------------------------------------------------------------------------------------
@pytest.fixture(params=["here", "through the server"])
def surroundings(request: pytest.FixtureRequest, site: Racks) -> Iterator[None]:
    own = dict(site.env)
    if request.param != "here":
        own = {name: value for name, value in own.items() if not name.startswith("RACKSTEAD_")}
        own |= {"RACKSTEAD_SERVER": site.url, "RACKSTEAD_TOKEN": site.token}
    with patch.dict(os.environ, own, clear=True):
        yield


@pytest.mark.usefixtures("surroundings")
def test_a_function_does_the_same(site: Racks, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = f"py-{tmp_path.name}"[:40]
    seen: list[dict[str, Any]] = []
    given = {**ORDER, "server_id": name, "rack_location": "Rack-A-U10"}
    found = provision_server(**given, progress_callback=seen.append)
    assert (found["server_id"], found["state"], found["step"]) == (name, "completed", 7)
    assert [one["step_name"] for one in seen if one["status"] == "done"] == STEPS
    assert {(one["server_id"], one["total_steps"]) for one in seen} == {(name, 7)}
    assert [one["status"] for one in seen][:2] == ["running", "done"]
    site.fail(name, "finalize", "MAAS does not answer")
    seen.clear()
    with pytest.raises(OperationFailed, match="MAAS does not answer"):
        provision_server(**given, progress_callback=seen.append)
    assert (seen[-1]["status"], seen[-1]["error"]) == ("failed", "MAAS does not answer")
    with pytest.raises(InvalidInput, match="MAAS knows no machine"):
        provision_server(**{**given, "server_id": "unknown"})
    with pytest.raises(InvalidInput, match="target_ipmi_ip"):
        provision_server(**{**given, "target_ipmi_ip": "nowhere"})
    assert capfd.readouterr().out == ""
