# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No module sends anything that changes something in check mode, and what it predicts would be a change.

A recording proxy stands between module and daemon. Every module has to be here: a new one without a
case fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testbed import daemon as testbed
from testbed.ansible import Modules, Playbooks
from testbed.proxy import READING, RecordingProxy, Request

Words = dict[str, str]
MODULES = Path(__file__).parents[2] / "plugins/modules"
PLAN = {
    "instances": {"box": {"state": "stopped"}, "new": {"image": "tiny", "wait_for": ["ipv4"]}},
    "profiles": {"used": {"config": {"limits.cpu": 2}}, "fresh": {}},
    "storage_volumes": {"more": {}},
    "networks": {"rstwire0": {"config": {"ipv4.address": "none", "ipv6.address": "none"}}},
}

#: Arguments with which a real run would change something. {place} is a folder of the test.
CASES: dict[str, list[dict[str, Any]]] = {
    "image": [
        {"alias": "wire", "source": "file", "path": "{tiny}"},
        {"alias": "tiny", "state": "absent"},
    ],
    "instance": [
        {"name": "new", "image": "tiny"},
        {"name": "box", "memory": "64MiB", "description": "other"},
        {"name": "box", "state": "stopped"},
        {"name": "box", "state": "frozen"},
        {"name": "box", "state": "restarted"},
        {"name": "box", "state": "absent"},
        {"name": "box", "new_name": "other", "on_change": "restart"},
        {"name": "box", "config": {"security.nesting": True}, "on_change": "restart"},
    ],
    "instance_exec": [
        {"instance": "box", "cmd": "touch /wire"},
        {"instance": "box", "argv": ["touch", "/wire"], "creates": "/wire", "user": "root", "cwd": "/etc"},
    ],
    "instance_file": [
        {"instance": "box", "path": "/etc/passwd", "src": "{place}/file", "mode": "0600", "owner": "root"},
        {"instance": "box", "path": "/srv/a/b", "state": "directory"},
        {"instance": "box", "path": "/tree", "src": "{place}", "recursive": True},
        {"instance": "box", "path": "/link", "state": "link", "src": "etc"},
        {"instance": "box", "path": "/etc", "state": "absent", "recursive": True},
        {"instance": "box", "path": "/etc", "state": "pulled", "dest": "{place}/etc", "recursive": True},
    ],
    "instance_snapshot": [
        {"instances": ["*"], "keep": 1},
        {"instance": "box", "name": "one", "expires_at": "2099-01-01"},
        {"instance": "box", "name": "one", "state": "restored"},
        {"instance": "box", "name": "one", "state": "absent"},
        {"instance": "box", "state": "pruned", "match": "*", "keep": 0},
    ],
    "network": [
        {"name": "rstwire0", "config": {"ipv4.address": "none"}},
        {"name": "{bridge}", "description": "other"},
    ],
    "plan": [
        {"plan": PLAN, "name": "wire", "adopt": True},
        {"plan": PLAN, "name": "wire", "adopt": True, "plan_file": "{place}/saved.plan"},
        {"plan": {"instances": {"kept": {}}}, "name": "wired", "state": "stopped"},
        {"plan": {"instances": {"kept": {}}}, "name": "wired", "state": "absent"},
        {"plan": {}, "name": "wired", "prune": True},
    ],
    "profile": [
        {"name": "fresh", "config": {"limits.cpu": 1}},
        {"name": "used", "description": "other"},
        {"name": "idle", "state": "absent"},
    ],
    "project": [
        {"name": "rstest-wire", "description": "new"},
        {"name": "{project}", "description": "other"},
        {"name": "{empty}", "state": "absent"},
    ],
    "provider": [{"https_address": "127.0.0.1:1", "reconfigure": True}],
    "storage_volume": [
        {"name": "more", "size": "10MiB"},
        {"name": "data", "description": "other"},
        {"name": "data", "state": "absent"},
    ],
}
#: Modules that only look.
INFO: dict[str, list[dict[str, Any]]] = {
    "instance_info": [{"state": True, "all_projects": True}],
    "instance_log_info": [{"instances": ["*"]}],
    "provider_host_info": [{}],
    "provider_info": [{}],
}
#: Modules that speak TLS only, which the proxy cannot read; they have a test of their own below.
OVER_TLS = ("remote",)


def writes(request: Request) -> bool:
    """Whether a request changes something, or could by what goes over it after an upgrade."""
    return request.method not in READING or "/sftp" in request.path or "/websocket" in request.path


@pytest.fixture
def project(module_project: Any) -> Any:
    """One for all tests here: as long as they pass, none has changed it."""
    return module_project


@pytest.fixture(scope="module")
def words(module_project: Any, daemon: testbed.Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Words]:
    """What there is of everything in the project, as the words that stand for it in the cases."""
    place = tmp_path_factory.mktemp("place")
    project = module_project
    client, empty = project.client, f"{project.name}-empty"
    client.post("/profiles", {"name": "used"})
    client.post("/profiles", {"name": "idle"})
    client.post("/storage-pools/default/volumes/custom", {"name": "data", "type": "custom"})
    project.incus("launch", "tiny", "box", "-q", "--profile", "default", "--profile", "used")
    project.incus("launch", "tiny", "kept", "-q", "-c", "user.rackstead.plan=wired")
    for name in ("snapshot-20200101T000000Z", "one"):
        project.incus("snapshot", "create", "box", name)
    client.post("/projects", {"name": empty})
    (place / "file").write_text("text\n")
    here = {"place": str(place), "tiny": str(testbed.ROOT / "tiny.tar.gz")}
    yield {**here, "bridge": daemon.bridge, "project": project.name, "empty": empty}
    testbed.remove_project(daemon.client(), empty)


def filled(value: Any, words: Words) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, words) for item in value]
    return value.format(**words) if isinstance(value, str) else value


def everything(project: Any, daemon: testbed.Daemon) -> dict[str, Any]:
    """What the daemon has, but for what moves by itself."""
    places = ("/projects", "/profiles", "/networks", "/images", "/images/aliases", "/storage-pools/default/volumes")
    found: dict[str, Any] = {"server": daemon.client().get("")["config"]}
    for client in (daemon.client(), project.client):
        found.update({f"{client.project} {place}": client.get(place, recursion="1") for place in places})
        found[client.project] = [_still(document) for document in client.get("/instances", recursion="2")]
    return {key: _still_list(value) if isinstance(value, list) else value for key, value in found.items()}


def _still(document: dict[str, Any]) -> dict[str, Any]:
    state = document.pop("state") or {}
    return {**document, "started_at": state.get("started_at")}


def _still_list(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the machine's own interfaces, which come and go. Neither the list nor ``used_by`` has an order."""
    kept = [document for document in documents if document.get("managed", True)]
    still = [{**document, "used_by": sorted(document.get("used_by") or ())} for document in kept]
    return sorted(still, key=lambda document: str(document.get("name") or document.get("fingerprint")))


def test_every_module_is_here() -> None:
    groups = yaml.safe_load((MODULES.parents[1] / "meta/runtime.yml").read_text())["action_groups"]
    assert {*CASES, *INFO, *OVER_TLS} == {*groups["all"]}, "all that talk to Incus"


@pytest.mark.parametrize("module", [*CASES, *INFO])
def test_check_mode_changes_nothing(
    project: Any,
    daemon: testbed.Daemon,
    words: Words,
    run_module: Modules,
    recording_proxy: RecordingProxy,
    module: str,
) -> None:
    before = everything(project, daemon)
    for case in {**CASES, **INFO}[module]:
        recording_proxy.clear()
        args = filled(case, words)
        result = run_module(module, args, check=True, diff=True, env={**project.env, **recording_proxy.env})
        assert not result.get("failed"), (args, result.get("msg"))
        assert result["changed"] is (module in CASES), args
        assert [str(request) for request in recording_proxy.requests if writes(request)] == [], args
        assert recording_proxy.requests, args
    assert everything(project, daemon) == before
    (Path(words["place"]) / "saved.plan").unlink(missing_ok=True)  # the one thing that a check may write, if asked to
    assert [path.name for path in Path(words["place"]).iterdir()] == ["file"]


def test_the_actions_change_nothing_either(
    project: Any, daemon: testbed.Daemon, words: Words, play: Playbooks, recording_proxy: RecordingProxy
) -> None:
    """Modules with a controller's side of their own, as a playbook runs them."""
    before = everything(project, daemon)
    tasks = [
        {f"rackstead.infra.{module}": filled(case, words)}
        for module in ("plan", "instance_file")
        for case in CASES[module]
    ]
    result = play(tasks, check=True, diff=True, env={**project.env, **recording_proxy.env}).ok()
    assert [task.changed for task in result.results] == [True] * len(tasks)
    assert [str(request) for request in recording_proxy.requests if writes(request)] == []
    assert everything(project, daemon) == before


def test_enrolment_changes_nothing(daemon: testbed.Daemon, run_module: Modules, tmp_path: Path) -> None:
    """Seen from the server: no certificate comes or goes, and a token stays good."""
    files = {"client_cert": str(tmp_path / "client.crt"), "client_key": str(tmp_path / "client.key")}
    here = {**files, "url": daemon.https_url, "server_fingerprint": daemon.fingerprint}
    before = certificates(daemon)
    enrol = {**here, "token": daemon.token("wire")}
    tokens = daemon.incus("config", "trust", "list-tokens", "-f", "csv")
    assert run_module("remote", enrol, check=True, diff=True)["changed"]
    assert list(tmp_path.iterdir()) == []
    assert certificates(daemon) == before
    assert daemon.incus("config", "trust", "list-tokens", "-f", "csv") == tokens
    assert run_module("remote", enrol)["changed"]
    trusted = certificates(daemon)
    assert trusted != before
    assert run_module("remote", {**here, "state": "absent"}, check=True)["changed"]
    assert certificates(daemon) == trusted
    assert run_module("remote", {**here, "state": "absent"})["changed"]
    assert certificates(daemon) == before


def certificates(daemon: testbed.Daemon) -> list[str]:
    return sorted(daemon.client().get("/certificates"))


def test_a_real_run_is_seen(project: Any, words: Words, run_module: Modules, recording_proxy: RecordingProxy) -> None:
    """Without this, a proxy that sees nothing would prove nothing."""
    env = {**project.env, **recording_proxy.env}
    for module in ("instance", "instance_exec", "instance_file", "instance_snapshot", "profile", "storage_volume"):
        recording_proxy.clear()
        assert run_module(module, filled(CASES[module][0], words), env=env)["changed"], module
        assert [request for request in recording_proxy.requests if writes(request)], module
