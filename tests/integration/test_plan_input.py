# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one line each, all of them at once, and nothing is asked of the daemon that changes something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint
from testbed import daemon as testbed
from testbed.ansible import Modules, Playbooks
from testbed.proxy import RecordingProxy

from tests.integration.planning import applied, refusal, run

SIZES = "512MiB, 2GB, 10GiB"
BAD = """
nam: x
instances:
  a:
    image: tiny
    memroy: 1GiB
    memory: 1GBB
    depends_on: [b]
  b:
    image: tiny
    depends_on: [a]
    network: {ipv4: 10.0.0.5}
  c:
    image: nowhere-near
    cloud_init: |
      #cloud-config
      runcmd: [
    network: {ipv4: 10.0.0.5}
  d:
    image: tiny
    type: virtual-machine
  e:
    image: tiny
    profiles: [defualt]
"""


def told(where: str) -> list[str]:
    """What is said of BAD, in the order of checks: the document first, then what it refers to."""
    return [
        'unknown key "nam"; did you mean "name"?',
        'instances.a: unknown key "memroy"; did you mean "memory"?',
        f'instances.a.memory: "1GBB" is not a size; allowed: {SIZES}, 50%',
        "instances.c.cloud_init: is not YAML (line 3, column 1): did not find expected node content",
        "instances.a.depends_on: goes in a circle: a -> b -> a; allowed: dependencies without a circle",
        "instances.c.network.ipv4: 10.0.0.5 is taken by instance b; allowed: an address of its own",
        f'instance c {where}.image: image "nowhere-near" does not exist; ',
        f'instance e {where}.profiles: profile "defualt" does not exist; did you mean "default"?; allowed: default',
    ]


def through(proxy: RecordingProxy, project: Any) -> IncusClient:
    return IncusClient(Endpoint(url=proxy.url, project=project.name))


@pytest.mark.parametrize("check", [True, False])
def test_all_faults_at_once_and_nothing_is_written(project: Any, recording_proxy: RecordingProxy, check: bool) -> None:
    client = through(recording_proxy, project)
    found = refusal(client, yaml.safe_load(BAD), check=check).split("\n")
    where = f"(project {project.name})"
    vm = f"instance d {where}.type: this host cannot run virtual machines"
    assert [line for line in found if line.startswith(vm)]
    rest = [line for line in found if not line.startswith((vm, f"instance b {where}.dev", f"instance c {where}.dev"))]
    assert [line.split("allowed: tiny")[0].split("allowed: debian")[0] for line in rest] == told(where)
    assert recording_proxy.requests
    assert recording_proxy.mutating == []


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"limit": ["nothing*"]}, 'limit: "nothing*" matches no instance; allowed: a'),
        ({"parallel": 0}, "parallel: 0 is not valid; allowed: 1 or more"),
        ({"timeout": 0}, "timeout: 0 is not valid; allowed: 1 or more"),
        ({"prune": True, "limit": ["a"]}, "prune: does not go with limit, nor with a state other than present"),
        ({"prune": True, "state": "absent"}, "prune: does not go with limit, nor with a state other than present"),
        (
            {"plan_file": "/nowhere/x.plan"},
            (
                'plan_file: "/nowhere/x.plan" cannot be read: No such file or directory; '
                "run in check mode first, which writes it"
            ),
        ),
    ],
)
def test_options_that_make_no_sense(project: Any, recording_proxy: RecordingProxy, options: Any, line: str) -> None:
    client = through(recording_proxy, project)
    assert refusal(client, {"instances": {"a": {"image": "tiny", "state": "stopped"}}}, **options) == line
    assert recording_proxy.mutating == []


def test_a_virtual_machine_where_the_host_has_none(project: Any, recording_proxy: RecordingProxy) -> None:
    document = {"instances": {name: {"image": "tiny", "type": "virtual-machine"} for name in ("v1", "v2")}}
    found = refusal(through(recording_proxy, project), document).split("\n")
    assert [line.split(": ", 1)[0] for line in found] == [
        f"instance {n} (project {project.name}).type" for n in ("v1", "v2")
    ]
    assert all(line.endswith("; allowed: container") for line in found)
    assert recording_proxy.mutating == []


def test_a_saved_plan_that_moved(project: Any, recording_proxy: RecordingProxy, tmp_path: Path) -> None:
    client = project.client
    document = {"name": "input", "instances": {"a": {"image": "tiny", "state": "stopped"}}}
    applied(client, document)
    document["instances"]["a"]["memory"] = "64MiB"
    file = tmp_path / "saved.plan"
    applied(client, document, check=True, plan_file=str(file))
    client.patch("/instances/a", {"description": "moved", "config": {"user.note": "1"}})
    assert refusal(through(recording_proxy, project), document, plan_file=str(file)) == (
        f"plan_file {file} is not applied: instance a (project {project.name}): config.user.note, description "
        "changed since on the server; make it anew and look again"
    )
    for content in ("", "garbage", "{}", '{"format": 1}', "[1]"):
        file.write_text(content)
        line = refusal(through(recording_proxy, project), document, plan_file=str(file))
        assert line.startswith(f'plan_file: "{file}" is not a saved plan')
        assert "\n" not in line
    assert recording_proxy.mutating == []
    assert run(client, document)["changed"]


# -- through Ansible ----------------------------------------------------------------------------------
def test_files_that_hold_no_plan(play: Playbooks, recording_proxy: RecordingProxy, tmp_path: Path) -> None:
    """Each task in one play: the message is one line, and names the file and where in it."""
    folder = tmp_path / "plans"
    folder.mkdir()
    contents: dict[str, bytes] = {
        "broken.yml": b"instances:\n  a: {image: tiny\n  b: [\n",
        "tabs.yml": b"instances:\n\ta: {}\n",
        "binary.yml": bytes(range(256)),
        "list.yml": b"- a\n- b\n",
        "text.yml": b"just words\n",
        "empty.yml": b"",
        "twice.yml": b"instances: {}\n---\ninstances: {}\n",
        "undefined.yml": b"instances: {a: {image: '{{ nobody_set_this }}'}}\n",
        "vault.yml": b"$ANSIBLE_VAULT;1.1;AES256\n6131\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "unreadable.yml").symlink_to("/proc/sys/net/ipv4/route/flush")  # refuses to be read, even by root
    (folder / "folder.yml").mkdir()
    names = [*contents, "unreadable.yml", "folder.yml", "missing.yml"]
    tasks = [
        {"name": name, "rackstead.infra.plan": {"src": str(folder / name)}, "ignore_errors": True} for name in names
    ]
    result = play(tasks, env=recording_proxy.env)
    for name in names:
        found = result.of(name)
        assert found.status == "ignored", name
        assert "\n" not in found.msg, found.msg
        assert str(folder / name) in found.msg
        assert "Traceback" not in found.msg
    said = {name: result.of(name).msg for name in names}
    start = 'src: "{}" cannot be read as a plan: '
    assert "(line 3, column " in said["broken.yml"]
    assert "(line 2, column 1)" in said["tabs.yml"]
    assert said["list.yml"].endswith("holds no mapping; allowed: a plan with keys such as instances and profiles")
    assert said["empty.yml"].endswith("holds no mapping; allowed: a plan with keys such as instances and profiles")
    assert said["binary.yml"] == start.format(folder / "binary.yml") + "it is not UTF-8 text"
    assert said["undefined.yml"].startswith(f'src: "{folder / "undefined.yml"}" cannot be templated: ')
    assert "'nobody_set_this' is undefined" in said["undefined.yml"]
    assert said["unreadable.yml"] == start.format(folder / "unreadable.yml") + "Permission denied"
    assert said["folder.yml"] == start.format(folder / "folder.yml") + "Is a directory"
    assert said["missing.yml"].endswith("does not exist, neither here nor beside the playbook or its files/")
    assert recording_proxy.mutating == []


def test_arguments_of_the_task(play: Playbooks, recording_proxy: RecordingProxy) -> None:
    arguments: dict[str, Any] = {
        "neither": {},
        "both": {"src": "x.yml", "plan": {}},
        "unknown": {"plan": {}, "instances": {}},
        "choice": {"plan": {}, "state": "up"},
        "type": {"plan": {}, "parallel": "many"},
        "text": {"plan": "instances"},
    }
    tasks = [{"name": name, "rackstead.infra.plan": args, "ignore_errors": True} for name, args in arguments.items()]
    result = play(tasks, env=recording_proxy.env)
    said = {name: result.of(name).msg for name in arguments}
    assert said["neither"] == "one of the following is required: plan, src"
    assert "mutually exclusive" in said["both"]
    assert "instances" in said["unknown"]
    assert "present, absent, started, stopped" in said["choice"]
    assert "parallel" in said["type"]
    assert "plan" in said["text"]
    assert all("\n" not in line for line in said.values())
    assert recording_proxy.requests == []


def test_a_playbook_shows_all_faults_and_fails_before_anything_happens(
    project: Any, play: Playbooks, recording_proxy: RecordingProxy, tmp_path: Path
) -> None:
    file = tmp_path / "bad.yml"
    file.write_text(BAD)
    env = {**project.env, **recording_proxy.env}
    result = play([{"name": "apply", "rackstead.infra.plan": {"src": str(file)}}], env=env)
    assert result.rc != 0
    assert len(result.last["problems"]) >= len(told(""))
    assert result.last.msg.split("\n") == result.last["problems"]
    assert recording_proxy.mutating == []


def test_the_module_by_itself_says_the_same(project: Any, run_module: Modules, recording_proxy: RecordingProxy) -> None:
    env = {**project.env, **recording_proxy.env}
    result = run_module("plan", {"plan": yaml.safe_load(BAD)}, env=env)
    assert result["failed"]
    assert result["problems"][:3] == told("")[:3]
    assert json.dumps(result)
    assert recording_proxy.mutating == []


def test_a_server_that_does_not_trust_us(daemon: testbed.Daemon, project: Any) -> None:
    cert, key = testbed.client_certificate(daemon.slot.folder, "stranger")
    client = daemon.client(
        project.name,
        url=daemon.https_url,
        cert_file=str(cert),
        key_file=str(key),
        fingerprint=daemon.fingerprint,
    )
    line = refusal(client, {"instances": {"a": {"image": "tiny"}}})
    assert line.startswith(f"Incus at {daemon.https_url}: the server does not trust this client")
    pinned = daemon.client(project.name, url=daemon.https_url, fingerprint="00" * 32)
    assert "not the pinned" in refusal(pinned, {"instances": {"a": {"image": "tiny"}}})
