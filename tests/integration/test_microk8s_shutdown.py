# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters shut down and started by the playbooks, from machines that are folders on this host; and runs that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.ansible import Playbooks, PlayResult
from testbed.microk8s import FAST, Lab, inventory

from rackstead import processes

WORKERS = ("n4", "n5")


class Site:
    """Three machines of a control plane and two workers."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab(folder / "state", FAST)
        hosts = inventory(self.lab.formed(3, 2))
        for name, variables in hosts["all"]["hosts"].items():
            variables |= {"microk8s_node_name": name, "microk8s_worker": name in WORKERS}
        self.hosts = folder / "hosts.yml"
        self.hosts.write_text(json.dumps(hosts))
        self.plays = Playbooks(folder / "plays", {})
        self.plays.folder.mkdir()
        self.kept = folder / "kept"

    def argv(self, playbook: str, *arguments: str, **given: Any) -> list[str]:
        usual = {"rackstead_host": "all", "microk8s_backup_path": str(self.kept), "microk8s_drain_wait": 1}
        usual |= {"microk8s_wait": 60, **given}
        return [
            "ansible-playbook",
            f"rackstead.infra.{playbook}",
            "-i",
            str(self.hosts),
            "-e",
            json.dumps(usual),
            *arguments,
        ]

    def play(self, playbook: str, *arguments: str, **given: Any) -> PlayResult:
        return self.plays.run(self.argv(playbook, *arguments, **given))

    def killed(self, playbook: str, when: Callable[[], bool | None]) -> None:
        """Begin, and kill everything of it once ``when`` is true."""
        cookie = uuid.uuid4().hex
        env = {**os.environ, processes.COOKIE: cookie}
        with subprocess.Popen(
            self.argv(playbook), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        ) as run:
            try:
                wait_until(when, Deadline(120), what="the point at which to kill", first=0.02)
            finally:
                while left := processes.members(cookie, run.pid) | ({run.pid} if run.poll() is None else set()):
                    for pid in left:
                        try:
                            os.kill(pid, signal.SIGKILL)
                        except ProcessLookupError:
                            continue
                    run.wait(30)

    def running(self) -> list[str]:
        return [name for name, machine in self.lab.state["machines"].items() if machine["running"]]

    def cordoned(self) -> list[str]:
        return [name for name, node in self.lab.cluster("n1")["nodes"].items() if node["cordoned"]]

    def untouched(self) -> bool:
        """Whether nothing was done to any machine, but to look at it."""
        return set(self.lab.commands()) == {"microk8s version"}  # by which the machines were made

    def stopped(self) -> list[str]:
        """The machines whose MicroK8s was stopped, in that order."""
        return [one["host"] for one in self.lab.state["log"] if one["argv"] == ["snap", "stop", "microk8s"]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_cluster_is_shut_down_and_started_as_it_was(site: Site) -> None:
    with site.lab.truth() as state:
        state["clusters"]["c"]["nodes"]["n2"]["cordoned"] = True  # somebody's, who wants it so
        state["clusters"]["c"]["nodes"]["n5"]["budget"] = True  # and a pod that may not go
    checked = site.play("shutdown_cluster", "--check").ok()
    assert checked.of("rackstead.infra.microk8s : Stop the workers", "n4").changed
    assert site.untouched() and not site.kept.exists()

    said = site.play("shutdown_cluster").ok()
    assert site.running() == [] and len(list(site.kept.glob("*.tar.gz"))) == 1
    assert "node n5 could not be drained within 1 s" in said.stdout + said.stderr
    assert set(site.stopped()[:2]) == set(WORKERS) and site.stopped()[2:] == ["n1", "n2", "n3"]
    # At their next boot they come back.
    assert not any(machine.get("disabled") for machine in site.lab.state["machines"].values())
    # Only voters were left when the quorum went, and nobody was left alone with less than they.
    assert all(lost[-1].endswith("up") for lost in site.lab.cluster("n1")["lost"][:1])
    again = site.play("shutdown_cluster").ok()
    assert not any(one.changed for one in again.results)

    site.play("start_cluster").ok()
    assert site.running() == ["n1", "n2", "n3", "n4", "n5"] and site.cordoned() == ["n2"]
    assert not any(one.changed for one in site.play("start_cluster").ok().results)


def test_by_force_nothing_is_drained_or_backed_up(site: Site) -> None:
    site.play("shutdown_cluster", microk8s_shutdown_mode="force").ok()
    assert site.running() == [] and site.cordoned() == [] and not site.kept.exists()


def test_runs_that_are_killed_are_taken_up_by_the_next(site: Site) -> None:
    site.killed("shutdown_cluster", lambda: "n1" in site.stopped() or None)
    site.play("shutdown_cluster").ok()
    assert site.running() == []
    site.killed("start_cluster", lambda: len(site.running()) > 1 or None)
    site.play("start_cluster").ok()
    assert len(site.running()) == 5 and site.cordoned() == []


def test_what_is_wrong_is_told_before_anything_is_stopped(site: Site) -> None:
    refused = site.play("shutdown_cluster", "--limit", "n1,n2")
    assert refused.rc == 2 and "stop n2 would leave the datastore without quorum" in refused.stdout
    assert site.untouched()
    bad = site.play("shutdown_cluster", microk8s_shutdown_mode="gracefull")
    assert bad.rc == 2 and "gracefull" in bad.stdout and site.untouched()
