# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin on a real daemon, asked through ansible-inventory and ansible-playbook."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed import daemon as testbed
from testbed.ansible import Playbooks, unwrapped
from testbed.proxy import RecordingProxy

PLUGIN = "rackstead.infra.instances"
Listing = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def fleet(daemon: testbed.Daemon, module_project: Any) -> Any:
    """A project with a running and a stopped instance."""
    module_project.incus("launch", "tiny", "web", "-q", "-c", "user.role=web", "-c", "user.rackstead.plan=demo")
    module_project.incus("init", "tiny", "db", "-q", "-c", "user.role=db", "-c", "user.note={{ 6 * 7 }}")
    return module_project


@pytest.fixture
def listing(play: Playbooks, tmp_path: Path) -> Iterator[Listing]:
    """``listing(options, *arguments)``: what ``ansible-inventory --list`` makes of the options, as a document."""

    def run(options: dict[str, Any], *arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
        file = tmp_path / "hosts.yml"
        file.write_text(json.dumps({"plugin": PLUGIN, **options}))
        argv = ["ansible-inventory", "-i", str(file), "--list", *arguments]
        environment = {**play.environment(tmp_path / "none"), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1"}
        (tmp_path / "ansible.cfg").touch()
        done = subprocess.run(argv, env={**environment, **(env or {})}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.split()))  # older releases break lines
        document: dict[str, Any] = unwrapped(json.loads(done.stdout))
        return document

    yield run


def members(document: dict[str, Any]) -> dict[str, list[str]]:
    return {group: sorted(body["hosts"]) for group, body in document.items() if "hosts" in body}


def variables(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document["_meta"]["hostvars"]
    return found


def test_hosts_groups_and_variables(listing: Listing, fleet: Any) -> None:
    found = listing({"projects": [fleet.name]})
    assert members(found) == {
        "status_running": ["web"],
        "status_stopped": ["db"],
        "type_container": ["db", "web"],
        "image_busybox_1": ["db", "web"],
        "profile_default": ["db", "web"],
        "plan_demo": ["web"],
        f"project_{fleet.name.replace('-', '_')}": ["db", "web"],
        "role_web": ["web"],
        "role_db": ["db"],
        "note____6___7___": ["db"],
    }
    web = variables(found)["web"]
    assert web["ansible_connection"] == "rackstead.infra.instance"
    assert web["rackstead_status"] == "running"
    assert web["rackstead_metadata"] == {"role": "web"}
    assert web["rackstead_ipv4"] == []


def test_one_request_for_a_project_and_none_from_the_cache(
    listing: Listing, play: Playbooks, fleet: Any, recording_proxy: RecordingProxy, tmp_path: Path
) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    options = {"url": recording_proxy.url, "projects": [fleet.name], **cache}
    question = f"GET /1.0/instances?recursion=1&project={fleet.name}"
    first = listing(options)
    assert [str(request) for request in recording_proxy.requests] == [question]
    assert listing(options) == first
    assert len(recording_proxy.requests) == 1, "a second run took the answer from the cache"
    play([], tmp_path / "hosts.yml", arguments=["--flush-cache"]).ok()
    assert [str(request) for request in recording_proxy.requests] == [question, question]
    listing({**options, "addresses": True})
    assert str(recording_proxy.requests[-1]) == question.replace("recursion=1", "recursion=2")
    assert len(recording_proxy.requests) == 3


def test_addresses_only_when_asked(listing: Listing, fleet: Any) -> None:
    (address,) = wait_until(lambda: fleet.client.addresses("web") or None, Deadline(20), what="an address")
    found = variables(listing({"projects": [fleet.name], "addresses": True, "connection": False}))
    assert found["web"]["rackstead_ipv4"] == [address]
    assert found["web"]["ansible_host"] == address
    assert "ansible_connection" not in found["web"]
    assert found["db"]["rackstead_ipv4"] == []


def test_several_projects_and_remotes_over_socket_and_tls(
    listing: Listing, fleet: Any, project: Any, daemon: testbed.Daemon
) -> None:
    project.incus("init", "tiny", "web", "-q")
    trusted = daemon.trust("inventory", projects=[project.name])
    far = {
        "name": "far",
        "url": trusted["url"],
        "client_cert": trusted["cert_file"],
        "client_key": trusted["key_file"],
        "server_fingerprint": trusted["fingerprint"],
        "projects": [project.name],
    }
    near = {"name": "near", "url": daemon.url_unix, "projects": [fleet.name, project.name]}
    found = variables(listing({"remotes": [near, far]}))
    both, mine = fleet.name, project.name
    assert set(found) == {f"db.{both}.near", f"web.{both}.near", f"web.{mine}.near", f"web.{mine}.far"}
    assert found[f"web.{mine}.far"]["ansible_rackstead_url"] == daemon.https_url
    assert found[f"web.{mine}.far"]["ansible_host"] == "web"


def test_a_star_means_every_project(
    listing: Listing, fleet: Any, project: Any, recording_proxy: RecordingProxy
) -> None:
    project.incus("init", "tiny", "web", "-q")
    found = variables(listing({"url": recording_proxy.url, "projects": ["*"]}))
    assert {f"web.{fleet.name}", f"web.{project.name}"} <= set(found)
    assert len(recording_proxy.requests) == 1


def test_composed_variables_and_groups(listing: Listing, fleet: Any) -> None:
    options = {
        "projects": [fleet.name],
        "filters": {"name": "w*"},
        "compose": {"upper": "rackstead_name | upper"},
        "groups": {"plans": "rackstead_plan != ''"},
        "keyed_groups": [{"key": "rackstead_metadata.role", "prefix": "is"}],
        "group_by": ["status"],
    }
    found = listing(options)
    assert members(found) == {"status_running": ["web"], "plans": ["web"], "is_web": ["web"]}
    assert variables(found)["web"]["upper"] == "WEB"
    with pytest.raises(RuntimeError, match="Could not set upper"):
        listing({**options, "strict": True, "compose": {"upper": "nothing_like_it | upper"}})


def test_metadata_is_no_template(play: Playbooks, fleet: Any, tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text(json.dumps({"plugin": PLUGIN, "projects": [fleet.name]}))
    result = play(
        [{"name": "show", "ansible.builtin.debug": {"var": "rackstead_metadata.note"}}], file, hosts="db"
    ).ok()
    assert result.last["rackstead_metadata.note"] == "{{ 6 * 7 }}"


def test_a_play_runs_in_the_instances(play: Playbooks, fleet: Any, tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text(json.dumps({"plugin": PLUGIN, "projects": [fleet.name], "filters": {"status": "running"}}))
    result = play([{"name": "who", "ansible.builtin.raw": "hostname"}], file).ok()
    assert [(one.host, one["stdout"].strip()) for one in result.results] == [("web", "web")]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"projects": ["no-such"]}, 'project "no-such" of Incus at .*not found'),
        ({"url": "unix:///no/such.socket"}, r"Incus at unix:///no/such.socket: connect: No such file or directory"),
        ({"filters": {"statu": "x"}}, 'unknown key "statu"; did you mean "status"'),
        ({"group_by": ["profil"]}, "profil"),
        ({"remotes": [{"name": "a", "ulr": "x"}]}, r'remotes\[0\]: unknown key "ulr"; did you mean "url"'),
    ],
)
def test_faults_are_told_in_a_line(listing: Listing, fleet: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RuntimeError, match=sentence):
        listing(options)


def test_the_shipped_inventories_work(play: Playbooks, fleet: Any) -> None:
    folder = Path(__file__).parents[2] / "inventory"
    env = {"RACKSTEAD_PROJECT": fleet.name}
    result = play(
        [{"name": "who", "ansible.builtin.raw": "hostname"}], folder / "instances.yml", env=env, hosts="role_web"
    )
    assert result.ok().last["stdout"].strip() == "web"
    tasks = [{"name": "ask", "rackstead.infra.instance_info": {}}]
    found = play(tasks, folder / "localhost.yml", env=env).ok().last["instances"]
    assert [instance["name"] for instance in found] == ["db", "web"]
