# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan does, option by option, in this process and through ansible-playbook."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.execute import execute
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint
from ansible_collections.rackstead.infra.plugins.module_utils.instances.progress import Event
from testbed import daemon as testbed
from testbed.ansible import Modules, Playbooks
from testbed.proxy import RecordingProxy

from tests.integration.planning import actions_of, applied, entry_of, raw, refusal, run

SECRET = "correct-horse-battery-staple"
TINY = {"image": "tiny", "state": "stopped"}


def plan(name: str = "behaves", /, **instances: Any) -> dict[str, Any]:
    return {"name": name, "defaults": TINY, "instances": instances}


def memory_of(client: IncusClient, name: str) -> int:
    """The memory limit that the kernel keeps an instance to, in bytes; the host's memory where there is none."""
    return int(client.get(f"/instances/{name}/state")["memory"]["total"])


def inside(client: IncusClient, name: str, *argv: str) -> str:
    """Output of a command in an instance."""
    result = execute(client, name, argv, timeout=30)
    assert result.rc == 0, result.stderr
    return result.stdout.decode().strip()


# -- through ansible-playbook -------------------------------------------------------------------------
@pytest.mark.parametrize("become", [False, True])
def test_a_playbook_applies_a_file_and_shows_it_live(
    project: Any, play: Playbooks, tmp_path: Path, become: bool
) -> None:
    """Here in the controller's worker; with become as a module in the background, its progress fetched."""
    (tmp_path / "part.json").write_text(json.dumps({"state": "running", "wait_for": "ipv4"}))
    (tmp_path / "live.yml").write_text(
        "defaults: {image: tiny, state: stopped, metadata: {site: '{{ site | upper }}'}}\n"
        "instances:\n"
        "  a: {memory: '{{ 32 * 2 }}MiB', cloud_init: \"#cloud-config\\nhostname: {{ site }}\\n\"}\n"
        "  b: \"{{ lookup('file', '" + str(tmp_path / "part.json") + "') | from_json }}\"\n"
        "  c: {config: '{{ keys }}'}\n"
    )
    progress = tmp_path / "progress.jsonl"
    task = {
        "name": "apply",
        "rackstead.infra.plan": {"src": str(tmp_path / "live.yml"), "progress_file": str(progress)},
        "vars": {"site": "here", "keys": {"user.password": SECRET}},
        "become": become,
        "become_method": "ansible.builtin.su",
    }
    result = play([task, {**task, "name": "again"}], env=project.env, diff=True).ok()
    first, again = result.of("apply"), result.of("again")
    assert first["plan"] == "live"
    assert first["summary"] == {"total": 3, "changed": 3, "unchanged": 0, "failed": 0, "skipped": 0}
    assert not again.changed
    config = project.client.get("/instances/a")["config"]
    assert config["limits.memory"] == "64MiB"
    assert config["user.site"] == "HERE"
    assert config["cloud-init.user-data"] == "#cloud-config\nhostname: here\n"
    assert project.client.get("/instances/c")["config"]["user.password"] == SECRET
    done = [line for line in result.stdout.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in done] == ["[1/3", "[2/3", "[3/3", "[1/1"]
    assert any("instance b" in line and ": created, started (" in line for line in done)
    assert any("instance b" in line and ": ready (" in line for line in done)
    events = [json.loads(line) for line in progress.read_text().splitlines()]
    assert {"create", "wait", "done"} <= {event["phase"] for event in events}
    assert next(event["detail"] for event in events if event["phase"] == "wait") == "waiting for ipv4"
    assert SECRET not in result.stdout + result.stderr + progress.read_text() + json.dumps(first.result)


def test_a_failure_in_the_background_is_told_as_one_here(project: Any, play: Playbooks) -> None:
    bad = plan(a={"devices": {"x": {"type": "disk", "source": "/nowhere/at/all", "path": "/x"}}, "state": "running"})
    tasks = [
        {
            "name": f"become {become}",
            "rackstead.infra.plan": {"plan": document, "on_error": "continue"},
            "become": become,
            "become_method": "ansible.builtin.su",
            "ignore_errors": True,
        }
        for document in (bad, plan(a={"memory": "1GBB"}))
        for become in (False, True)
    ]
    found = [one for one in play(tasks, env=project.env).results if one.task.startswith("become")]
    assert [one.status for one in found] == ["ignored"] * 4
    here, there, bad_here, bad_there = (one.result for one in found)
    assert "/nowhere/at/all" in here["msg"]
    assert "/nowhere/at/all" in there["msg"]
    assert here["summary"]["failed"] == there["summary"]["failed"] == 1
    assert bad_here["problems"] == bad_there["problems"]
    assert "invocation" not in there
    assert not {"ansible_job_id", "results_file"} & there.keys()


def test_check_mode_in_the_background_writes_nothing(
    project: Any, play: Playbooks, recording_proxy: RecordingProxy, tmp_path: Path
) -> None:
    task = {
        "name": "apply",
        "rackstead.infra.plan": {"plan": plan(a={}), "plan_file": str(tmp_path / "x.plan")},
        "become": True,
        "become_method": "ansible.builtin.su",
    }
    result = play([task], env={**project.env, **recording_proxy.env}, check=True, diff=True).ok()
    assert result.changed
    assert result.last.diff[0]["after_header"] == f"instance a (project {project.name})"
    assert recording_proxy.mutating == []
    assert (tmp_path / "x.plan").exists()


def test_a_user_who_may_not_use_the_socket(project: Any, play: Playbooks) -> None:
    """As another user: the module runs as nobody, and says what that lacks."""
    os.chmod(play.folder, 0o755)
    task = {
        "name": "apply",
        "rackstead.infra.plan": {"plan": plan(a={})},
        "become": True,
        "become_user": "nobody",
        "become_method": "ansible.builtin.su",
        "ignore_errors": True,
    }
    places = {"ansible_remote_tmp": "/tmp/.rackstead-nobody", "ansible_async_dir": "/tmp/.rackstead-nobody"}
    flags = {"ansible_become_flags": "-s /bin/sh", "ansible_python_interpreter": "/usr/bin/python3"}
    result = play([task], env=project.env, variables={**flags, **places})
    shutil.rmtree("/tmp/.rackstead-nobody")
    assert result.last.status == "ignored"
    assert "you need to be root or in the group incus-admin" in result.last.msg
    assert "\n" not in result.last.msg


def test_the_same_by_the_module_alone(project: Any, run_module: Modules) -> None:
    first = run_module("plan", {"plan": plan(a={})}, env=project.env)
    again = run_module("plan", {"plan": plan(a={})}, env=project.env)
    assert first["changed"]
    assert not again["changed"]
    assert first["plan"] == "behaves"


# -- what is touched ----------------------------------------------------------------------------------
def test_a_limit_touches_only_its_instances_and_what_they_use(project: Any) -> None:
    client = project.client
    document = plan(
        web1={"profiles": ["default", "web"]}, web2={}, db1={"volumes": {"data": "/data"}, "depends_on": "web1"}
    )
    document["profiles"] = {"web": {}}
    document["storage_volumes"] = {"data": {}}
    assert set(actions_of(applied(client, document, limit=["web*"]))) == {"web", "web1", "web2"}
    assert set(actions_of(applied(client, document, limit=["db1"]))) == {"data", "db1"}
    applied(client, document, limit=["db1"], state="started")
    assert client.get("/instances/db1")["status"] == "Running"
    assert client.get("/instances/web1")["status"] == "Stopped"
    assert set(actions_of(applied(client, document, limit=["db1"], state="absent"))) == {"db1"}
    assert client.find("/storage-pools/default/volumes/custom/data")


def test_prune_takes_only_what_this_plan_made(project: Any) -> None:
    client = project.client
    whole = plan(a={}, b={"volumes": {"data": "/data"}, "profiles": ["default", "web"]})
    whole["profiles"] = {"web": {}}
    whole["storage_volumes"] = {"data": {}}
    applied(client, whole)
    applied(client, plan("other", theirs={}))
    client.post("/instances", {"name": "byhand", "source": {"type": "image", "alias": "tiny"}})
    assert not applied(client, plan(a={}))["changed"]
    pruned = applied(client, plan(a={}), prune=True)
    assert actions_of(pruned) == {"b": ["delete"], "web": ["delete"], "data": ["delete"]}
    assert project.names() == ["a", "byhand", "theirs"]
    assert not applied(client, plan(a={}), prune=True)["changed"]


def test_absent_leaves_foreign_things_alone(project: Any) -> None:
    client = project.client
    document = plan(a={}, theirs={}, byhand={})
    document["profiles"] = {"default": {"config": {"user.note": "ours"}}, "web": {}}
    applied(client, plan("other", theirs={}))
    client.post("/instances", {"name": "byhand", "source": {"type": "image", "alias": "tiny"}})
    applied(client, {**document, "instances": {"a": {}}})
    result = applied(client, document, state="absent")
    assert actions_of(result) == {"a": ["delete"], "web": ["delete"]}
    assert entry_of(result, "theirs")["notes"] == ["left alone: it was not made by plan behaves"]
    assert project.names() == ["byhand", "theirs"]
    assert not applied(client, document, state="absent")["changed"]


def test_power_states(project: Any) -> None:
    client = project.client
    document = plan(a={"state": "running", "wait_for": "ipv4"}, b={"depends_on": "a"}, c={"state": "frozen"})
    applied(client, document)
    assert not applied(client, document)["changed"]
    statuses = {name: client.get(f"/instances/{name}")["status"] for name in "abc"}
    assert statuses == {"a": "Running", "b": "Stopped", "c": "Frozen"}
    stopped = applied(client, document, state="stopped")
    assert actions_of(stopped) == {"a": ["stop"], "c": ["unfreeze", "stop"]}
    told: list[Event] = []
    started = applied(client, document, state="started", told=told)
    assert actions_of(started) == {name: ["start"] for name in "abc"}
    order = [event.resource.split()[1] for event in told if event.phase == "done"]
    assert order.index("a") < order.index("b")
    assert "waiting for ipv4" in [event.detail for event in told]
    again = applied(client, document)
    assert actions_of(again) == {"b": ["stop"], "c": ["freeze"]}


# -- what needs a restart, and what does not ----------------------------------------------------------
def test_live_changes_reach_a_running_instance_without_a_restart(project: Any, tmp_path: Path) -> None:
    client = project.client
    applied(client, plan(a={"state": "running", "memory": "64MiB"}))
    born = inside(client, "a", "stat", "-c", "%Y", "/proc/1")
    assert memory_of(client, "a") == 64 * 1024**2
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("shared")
    changed = plan(
        a={
            "state": "running",
            "memory": "96MiB",
            "config": {"limits.processes": 123},
            "devices": {"share": {"type": "disk", "source": str(tmp_path), "path": "/share"}},
            "metadata": {"role": "web"},
            "description": "new",
        }
    )
    assert actions_of(applied(client, changed)) == {"a": ["update"]}
    assert memory_of(client, "a") == 96 * 1024**2
    assert inside(client, "a", "cat", "/share/file") == "shared"
    assert actions_of(applied(client, plan(a={"state": "running"}))) == {"a": ["update"]}
    assert memory_of(client, "a") > 1024**3
    assert execute(client, "a", ["test", "-e", "/share/file"], timeout=30).rc != 0
    assert inside(client, "a", "stat", "-c", "%Y", "/proc/1") == born


def test_a_changed_profile_reaches_a_running_instance(project: Any) -> None:
    client = project.client
    document = plan(a={"state": "running", "profiles": ["default", "small"]})
    document["profiles"] = {"small": {"config": {"limits.memory": "64MiB"}}}
    applied(client, document)
    document["profiles"]["small"]["config"]["limits.memory"] = "80MiB"
    assert actions_of(applied(client, document)) == {"small": ["update"]}
    assert memory_of(client, "a") == 80 * 1024**2


def test_what_needs_a_restart_is_refused_stored_or_done(project: Any) -> None:
    client = project.client
    running = plan(a={"state": "running", "memory": "64MiB"})
    nested = plan(a={"state": "running", "memory": "80MiB", "config": {"security.nesting": True}})
    applied(client, running)
    before = raw(client)
    born = inside(client, "a", "stat", "-c", "%Y", "/proc/1")
    where = f"instance a (project {project.name})"
    assert refusal(client, nested) == (
        f"{where}: config.security.nesting would count only after a restart; "
        "allowed: on_change=restart (restarts it), on_change=never (stores it for the next start)"
    )
    assert refusal(client, nested, check=True) == refusal(client, nested)
    assert raw(client) == before
    stored = applied(client, nested, on_change="never")
    assert entry_of(stored, "a")["notes"] == ["counts from the next start on: config.security.nesting"]
    assert inside(client, "a", "stat", "-c", "%Y", "/proc/1") == born
    assert not applied(client, nested)["changed"]
    restarted = applied(client, running, on_change="restart")
    assert entry_of(restarted, "a")["actions"] == ["stop", "update", "start"]
    assert entry_of(restarted, "a")["notes"][0] == "restarted for: config.security.nesting"
    assert "security.nesting" not in client.get("/instances/a")["config"]
    assert client.get("/instances/a")["status"] == "Running"


# -- saved plans --------------------------------------------------------------------------------------
def test_a_saved_plan_is_applied_once_and_only_as_it_was_seen(project: Any, tmp_path: Path) -> None:
    client = project.client
    file = str(tmp_path / "saved.plan")
    document = plan(a={"config": {"user.password": SECRET}}, b={})
    shown = applied(client, document, check=True, plan_file=file)
    assert project.names() == []
    assert SECRET not in Path(file).read_text()
    document["instances"]["c"] = {}
    assert "instance c" in refusal(client, document, plan_file=file)
    del document["instances"]["c"]
    done = applied(client, document, plan_file=file)
    assert done["diff"] == shown["diff"]
    line = refusal(client, document, plan_file=file)
    assert "instance a" in line
    assert "changed since on the server" in line


def test_a_saved_plan_is_refused_where_reality_moved(project: Any, tmp_path: Path) -> None:
    client = project.client
    file = str(tmp_path / "saved.plan")
    applied(client, plan(a={}))
    document = plan(a={"memory": "64MiB"})
    applied(client, document, check=True, plan_file=file)
    client.patch("/instances/a", {"config": {"user.note": "moved"}})
    assert refusal(client, document, plan_file=file) == (
        f"plan_file {file} is not applied: instance a (project {project.name}): config.user.note changed since on the "
        "server; make it anew and look again"
    )
    assert refusal(client, document, plan_file=file, state="absent").endswith("was made for state present, not absent")
    client.patch("/instances/a", {"config": {"user.note": ""}})
    assert applied(client, document, plan_file=file)["changed"]


# -- networks, projects, volumes ----------------------------------------------------------------------
def answer(port: int) -> str:
    """What a port of this host answers over HTTP."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
        return str(response.read().decode().strip())


def test_a_network_of_its_own_and_a_port_that_answers_on_the_host(project: Any, daemon: testbed.Daemon) -> None:
    client = project.client
    own, gateway = f"{daemon.bridge}n", daemon.slot.subnet(testbed.SPARE)
    address, port, other = gateway.replace(".1/24", ".77"), testbed.free_port(), testbed.free_port()
    serve = "mkdir -p /www; echo {} >/www/index.html; busybox httpd -p 80 -h /www"

    def document(first: int, second: int) -> dict[str, Any]:
        found = plan(
            web={
                "state": "running",
                "network": {
                    "bridge": own,
                    "ipv4": address,
                    "forwards": [{"listen": f"127.0.0.1:{first}", "connect": 80}],
                },
                "wait_for": [
                    "ipv4",
                    {"command": f"test -e /www || {{ {serve.format('web')}; }}"},
                    {"port": 80},
                ],
            },
            app={
                "state": "running",
                "network": {"forwards": [{"listen": f"127.0.0.1:{second}", "connect": 80}]},
                "wait_for": [{"command": f"test -e /www || {{ {serve.format('app')}; }}"}, {"port": 80}],
            },
        )
        found["networks"] = {own: {"config": {"ipv4.address": gateway, "ipv4.nat": False, "ipv6.address": "none"}}}
        return found

    applied(client, document(port, other))
    assert client.addresses("web") == [address]
    assert (answer(port), answer(other)) == ("web", "app")
    assert not applied(client, document(port, other))["changed"]
    # One gives its port up, the other gets it: in that order, though they are worked on together.
    third = testbed.free_port()
    assert actions_of(applied(client, document(third, port))) == {"web": ["update"], "app": ["update"]}
    assert (answer(third), answer(port)) == ("web", "app")
    swapped = refusal(client, document(port, third))
    assert "addresses or ports go round in a circle" in swapped
    assert set(actions_of(applied(client, document(third, port), state="absent"))) == {own, "web", "app"}
    assert own not in {path.rpartition("/")[2] for path in client.get("/networks")}


@pytest.fixture
def new_project(daemon: testbed.Daemon) -> Iterator[str]:
    """The name of a project that does not exist yet, and does not afterwards."""
    name = f"rstest-made-{os.getpid()}"
    yield name
    testbed.remove_project(daemon.client(), name)


@pytest.mark.parametrize("own_images", [True, False])
def test_a_project_of_its_own_with_all_in_it(daemon: testbed.Daemon, new_project: str, own_images: bool) -> None:
    client = daemon.client()
    images = sorted(client.get("/images"))
    root = {"type": "disk", "path": "/", "pool": "default"}
    document = {
        "name": "behaves",
        "project": new_project,
        "projects": {new_project: {"description": "ours", "config": {"features.images": own_images}}},
        "profiles": {"default": {"devices": {"root": root}}, "web": {"config": {"limits.processes": 100}}},
        "storage_volumes": {"data": {}},
        "instances": {"a": {**TINY, "profiles": ["default", "web"], "volumes": {"data": "/data"}}},
    }
    if own_images:
        lines = refusal(client, document).split("\n")
        assert lines == [
            (
                f'instance a (project {new_project}).image: image "tiny" does not exist; '
                "allowed: no image is there, or remote:alias; rackstead.infra.image gets or builds one"
            )
        ]
        document["instances"] = {}
    predicted = applied(client, document, check=True)
    assert client.find(f"/projects/{new_project}") is None
    done = applied(client, document)
    assert [entry["actions"] for entry in done["resources"]] == [entry["actions"] for entry in predicted["resources"]]
    assert not applied(client, document)["changed"]
    assert client.get(f"/projects/{new_project}")["description"] == "ours"
    assert applied(client, document, state="absent")["changed"]
    assert client.find(f"/projects/{new_project}") is None
    assert sorted(client.get("/images")) == images


def test_a_volume_keeps_its_data(project: Any) -> None:
    client = project.client
    document = plan(a={"state": "running", "volumes": {"data": "/data"}}, b={"state": "running"})
    document["storage_volumes"] = {"data": {"size": "16MiB"}}
    applied(client, document)
    inside(client, "a", "sh", "-c", "echo kept >/data/file")
    moved = plan(a={"state": "running"}, b={"state": "running", "volumes": {"data": "/srv"}})
    moved["storage_volumes"] = document["storage_volumes"]
    applied(client, moved)
    assert inside(client, "b", "cat", "/srv/file") == "kept"
    alone = {"name": "behaves", "storage_volumes": document["storage_volumes"]}
    assert actions_of(applied(client, alone, prune=True)) == {"a": ["delete"], "b": ["delete"]}
    assert client.find("/storage-pools/default/volumes/custom/data")


# -- elsewhere ----------------------------------------------------------------------------------------
def test_over_tls_with_a_restricted_certificate(daemon: testbed.Daemon, project: Any, play: Playbooks) -> None:
    """A certificate that may use one project applies a plan there, and sees nothing of the others."""
    trusted = daemon.trust(f"restricted-{project.name}", projects=[project.name])
    client = IncusClient(Endpoint(project=project.name, **trusted))
    document = plan(a={"state": "running", "wait_for": "ipv4"}, b={"memory": "64MiB"})
    assert applied(client, document)["changed"]
    assert not applied(client, document)["changed"]
    assert project.names() == ["a", "b"]
    assert not applied(client, document, prune=True)["changed"]
    line = refusal(client, {**document, "project": "default"})
    assert "default" in line
    task = {
        "name": "apply",
        "rackstead.infra.plan": {
            "plan": document,
            "project": project.name,
            "url": trusted["url"],
            "client_cert": trusted["cert_file"],
            "client_key": trusted["key_file"],
            "server_fingerprint": trusted["fingerprint"],
        },
    }
    assert not play([task]).ok().changed
    assert applied(client, document, state="absent")["changed"]


def test_targets_in_a_cluster(cluster: testbed.Cluster) -> None:
    client = cluster.first.client()
    client.post("/cluster/groups", {"name": "east", "members": ["m2"]})
    document = plan("spread", one={"target": "m1"}, two={"target": "m2"}, three={"target": "@east"}, four={})
    document["networks"] = {"rsnet0": {"config": {"ipv4.address": "auto", "ipv6.address": "none"}}}
    document["storage_volumes"] = {"vol": {"target": "m2", "size": "16MiB"}}
    try:
        assert refusal(client, plan(a={"target": "m3"})) == (
            'instance a.target: member "m3" does not exist; allowed: m1, m2'
        )
        assert applied(client, document)["changed"]
        assert not applied(client, document)["changed"]
        where = {entry["name"]: entry["location"] for entry in client.get("/instances", recursion="1")}
        assert {name: where[name] for name in ("one", "two", "three")} == {"one": "m1", "two": "m2", "three": "m2"}
        network = client.get("/networks/rsnet0")
        assert network["status"] == "Created"
        assert network["config"]["ipv4.address"].startswith("10.")  # what Incus chose, which is no change
        document["networks"]["rsnet0"]["description"] = "changed"
        document["storage_volumes"]["vol"]["description"] = "changed"
        document["instances"]["two"]["memory"] = "64MiB"
        assert set(actions_of(applied(client, document))) == {"rsnet0", "vol", "two"}
        assert not applied(client, document)["changed"]
    finally:
        applied(client, document, state="absent")
        client.put("/cluster/groups/east", {"description": "", "members": []})
        client.delete("/cluster/groups/east")
    assert client.get("/instances") == []


def test_a_network_that_a_killed_run_only_announced_is_finished(cluster: testbed.Cluster) -> None:
    """On a cluster a network is announced on each member before it is made; a kill may come between."""
    client = cluster.first.client()
    document = {
        "name": "spread",
        "networks": {"rsnet1": {"config": {"ipv4.address": "10.77.8.1/24", "ipv6.address": "none"}}},
    }
    client.post("/networks", {"name": "rsnet1", "type": "bridge"}, params={"target": "m1"})
    try:
        assert applied(client, document)["changed"]
        assert client.get("/networks/rsnet1")["status"] == "Created"
        assert not applied(client, document)["changed"]
    finally:
        applied(client, document, state="absent")


# -- cloud-init ---------------------------------------------------------------------------------------
def test_cloud_init_is_waited_for_and_its_failures_are_told(project: Any, debian_image: str) -> None:
    client = project.client
    write = {"path": "/etc/greeting", "content": "hello\n"}
    ports = {name: testbed.free_port() for name in ("good",)}
    good = {
        "image": debian_image,
        "cloud_init": {
            "write_files": [write],
            "runcmd": ["systemd-run --unit=web python3 -m http.server 8000 --directory /etc/cloud"],
        },
        "network": {"forwards": [{"listen": f"127.0.0.1:{ports['good']}", "connect": 8000}]},
        "wait_for": ["cloud_init", {"port": 8000}, {"command": ["grep", "-q", "hello", "/etc/greeting"]}],
    }
    bad = {
        "image": debian_image,
        "cloud_init": "#cloud-config\nruncmd:\n  - [sh, -c, exit 3]\n",
        "wait_for": "cloud_init",
    }
    document = {"name": "behaves", "instances": {"good": good, "bad": bad}}
    told: list[Event] = []
    result = run(client, document, on_error="continue", told=told)
    assert [event.detail for event in told if event.phase == "wait" and "good" in event.resource] == [
        "waiting for cloud_init",
        "waiting for TCP port 8000",
        "waiting for command grep",
    ]
    assert "error" not in entry_of(result, "good")
    assert answer(ports["good"])
    error = entry_of(result, "bad")["error"]
    assert error.startswith(f"instance bad (project {project.name}): cloud-init ended with errors: ")
    assert "runcmd" in error
    assert "\n" not in error
    assert result["msg"] == error
    del document["instances"]["bad"]
    assert not applied(client, document)["changed"]
    wait_until(lambda: answer(ports["good"]) or None, Deadline(60), what="the port to answer still")
