# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of instances."""

from __future__ import annotations

from typing import Any

import pytest
from testbed.ansible import Modules
from testbed.proxy import RecordingProxy


def test_journal_cloud_init_and_console_of_a_system(project: Any, run_module: Modules, debian_image: str) -> None:
    project.incus("launch", debian_image, "full", "-q")
    project.inside("full", "cloud-init", "status", "--wait")
    project.inside("full", "systemd-cat", "-t", "marker", "echo", "seen in the journal")
    project.inside("full", "journalctl", "--sync")
    found = run_module("instance_log_info", {"instance": "full", "lines": 5}, env=project.env)
    texts = {log["source"]: log["text"] for log in found["logs"]}
    assert set(texts) == {"journal", "cloud-init", "console"} and found["changed"] is False
    assert "seen in the journal" in texts["journal"] and "finished at" in texts["cloud-init"]
    assert all(1 <= len(text.splitlines()) <= 5 and text.endswith("\n") for text in texts.values())


def test_logs_that_are_not_there_are_left_out(project: Any, run_module: Modules) -> None:
    project.incus("init", "tiny", "idle", "-q")
    project.client.push("idle", "/var/log", b"", kind="directory")
    project.client.push("idle", "/var/log/cloud-init-output.log", b"one\ntwo\nthree\n")
    found = run_module("instance_log_info", {"instances": ["id*"], "lines": 2}, env=project.env)
    assert found["logs"] == [
        {"instance": "idle", "project": str(project), "source": "cloud-init", "text": "two\nthree\n"}
    ]
    assert run_module("instance_log_info", {"instances": ["no*"]}, env=project.env)["logs"] == []


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ({"instance": "gone"}, "instance gone: does not exist"),
        ({"instance": "x", "lines": 0}, "lines: 0 is not valid"),
        ({"instance": "x", "sources": ["syslog"]}, "syslog"),
    ],
)
def test_bad_input_is_one_line(project: Any, run_module: Modules, args: dict[str, Any], line: str) -> None:
    failed = run_module("instance_log_info", args, env=project.env)
    assert failed["failed"] and line in failed["msg"] and len(failed["msg"].splitlines()) == 1


def test_it_only_reads(project: Any, run_module: Modules, recording_proxy: RecordingProxy) -> None:
    project.incus("launch", "tiny", "box", "-q")
    env = {**project.env, **recording_proxy.env}
    found = run_module(
        "instance_log_info", {"instance": "box", "sources": ["console", "cloud-init"]}, check=True, env=env
    )
    assert not found.get("failed") and recording_proxy.requests and not recording_proxy.mutating
