# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardware_report on real machines: this one, and a Debian container on Incus."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.hardware import history
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from testbed.ansible import LOCAL, Playbooks, PlayResult

TASK = "Read the hardware"


@pytest.fixture(scope="module")
def container(debian_image: str, module_project: Any) -> dict[str, Any]:
    """How Ansible gets into a Debian container that has just been started."""
    module_project.incus("launch", debian_image, "node-1", "-q")
    return {"ansible_connection": "rackstead.infra.instance", "ansible_rackstead_project": module_project.name}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    found = open_store(f"file:{tmp_path}/state")
    yield found
    found.close()


def report(
    play: Playbooks, tmp_path: Path, hosts: dict[str, Any], *, check: bool = False, **options: Any
) -> PlayResult:
    task = {"name": TASK, "rackstead.infra.hardware_report": {"url": f"file:{tmp_path}/state", **options}}
    return play([task], hosts, check=check, diff=True)


def test_a_container_and_its_host_in_one_play(
    play: Playbooks, container: dict[str, Any], store: Any, tmp_path: Path
) -> None:
    hosts = {"node-1": container, "host": LOCAL}
    first = report(play, tmp_path, hosts).ok()
    assert first.of(TASK, "node-1").changed and first.of(TASK, "host").changed
    inside = first.of(TASK, "node-1")["report"]
    assert (inside["system"]["kind"], inside["system"]["within"]) == ("container", "lxc")
    assert (inside["node"], inside["system"]["hostname"]) == ("node-1", "node-1")
    why = {name: one["reason"] for name, one in inside["sections"].items() if one["state"] != "ok"}
    assert why["firmware"] == why["disks"] == "this is a container (lxc): what it shows of that is its host's"
    assert inside["memory"]["total_bytes"] > 0 and inside["cpu"]["threads"] > 0
    assert inside["filesystems"][0]["mountpoint"] == "/"
    assert [one["name"] for one in inside["nics"]] == ["eth0"]
    outside = first.of(TASK, "host")["report"]
    assert outside["cpu"]["threads"] == os.cpu_count()
    assert all(one["state"] == "ok" or one["reason"] for one in outside["sections"].values())
    if shutil.which("lsblk") and list(Path("/sys/block").glob("[svx]*d[a-z]")):
        assert outside["disks"]
    assert [one.node for one in history.fleet(store)] == ["host", "node-1"]

    again = report(play, tmp_path, {"node-1": container}, sections=["cpu", "memory"]).ok()
    assert not again.of(TASK).changed
    assert again.of(TASK)["before"] == inside["time"]


def test_check_mode_keeps_nothing_and_changes_are_told(
    play: Playbooks, container: dict[str, Any], store: Any, tmp_path: Path
) -> None:
    """What was remembered is altered here: memory was twice as much, and there was one more card."""
    hosts = {"node-1": container}
    assert report(play, tmp_path, hosts, check=True).ok().of(TASK).changed
    assert history.fleet(store) == []
    report(play, tmp_path, hosts).ok()
    body = store.get("hardware", "node-1").body
    body["report"]["memory"]["total_bytes"] *= 2
    body["report"]["nics"].append({"name": "eth7", "kind": "physical", "mac": "02:00:00:00:00:07"})
    store.put("hardware", "node-1", body)
    told = report(play, tmp_path, hosts).ok().of(TASK)
    texts = [one["text"] for one in told["changes"]]
    assert told.changed
    assert any(text.startswith("memory: ") and text.endswith("(-50 %)") for text in texts)
    assert "network card eth7: is gone" in texts
    assert "total_bytes" in told.diff["before"]


def test_bad_options_are_told_at_once(play: Playbooks, tmp_path: Path) -> None:
    done = report(play, tmp_path, {"host": LOCAL}, thresholds={"filesystem_percnt": 3, "certificate_days": -1})
    assert done.rc != 0
    assert done.last.msg.splitlines() == [
        'thresholds: unknown key "filesystem_percnt"; did you mean "filesystem_percent"?',
        'thresholds.certificate_days: "-1" is not valid; allowed: a number from 0 to 36500',
    ]
    assert (
        report(play, tmp_path, {"host": LOCAL}, keep=0).last.msg == 'keep: "0" is not valid; allowed: a number from 1'
    )
    assert not (tmp_path / "state").exists()
