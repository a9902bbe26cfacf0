# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters shut down and started by the playbooks, from machines that are folders on this host.

Runs that are killed are in test_microk8s_kills.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.mark import SHUTDOWN
from testbed import bmc as testbed
from testbed.ansible import Playbooks, PlayResult
from testbed.microk8s import FAST, Lab, inventory


class Site:
    """Machines of a control plane and workers."""

    def __init__(
        self, folder: Path, control: int, workers: int, own: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.lab = Lab(folder / "state", FAST)
        hosts = inventory(self.lab.formed(control, workers))
        for number, (name, variables) in enumerate(hosts["all"]["hosts"].items()):
            variables |= {"microk8s_node_name": name, "microk8s_worker": number >= control, **(own or {}).get(name, {})}
        self.hosts = folder / "hosts.yml"
        self.hosts.write_text(json.dumps(hosts))
        self.plays = Playbooks(folder / "plays", {"ANSIBLE_PIPELINING": "1"})
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

    def mark(self, host: str) -> dict[str, Any]:
        """What the cluster remembers of a shutdown, on whichever node."""
        texts = [one["annotations"].get(SHUTDOWN) for one in self.lab.cluster(host)["nodes"].values()]
        found: dict[str, Any] = next((json.loads(text)["left_out"] for text in texts if text), {})
        return found


def test_a_cluster_is_shut_down_and_started_as_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path, 3, 1)
    with site.lab.truth() as state:
        state["clusters"]["c"]["nodes"]["n2"]["cordoned"] = True  # somebody's, who wants it so
        state["clusters"]["c"]["nodes"]["n4"]["budget"] = True  # and a pod that may not go
    refused = site.play("shutdown_cluster", "--limit", "n1,n2")
    assert refused.rc == 2 and "stop n2 would leave the datastore without quorum" in refused.stdout
    checked = site.play("shutdown_cluster", "--check").ok()
    assert checked.of("rackstead.infra.microk8s : Stop the workers", "n4").changed
    assert site.untouched() and not site.kept.exists()

    said = site.play("shutdown_cluster").ok()
    assert site.running() == [] and len(list(site.kept.glob("*.tar.gz"))) == 1
    assert "node n4 could not be drained within 1 s" in said.stdout + said.stderr
    assert site.stopped() == ["n4", "n1", "n2", "n3"] and site.mark("n1") == {}
    # At their next boot they come back.
    assert not any(machine.get("disabled") for machine in site.lab.state["machines"].values())
    # Only voters were left when the quorum went, and nobody was left alone with less than they.
    assert all(lost[-1].endswith("up") for lost in site.lab.cluster("n1")["lost"][:1])
    again = site.play("shutdown_cluster").ok()
    assert not any(one.changed for one in again.results)

    site.play("start_cluster").ok()
    assert site.running() == ["n1", "n2", "n3", "n4"] and site.cordoned() == ["n2"]
    assert not any(one.changed for one in site.play("start_cluster", "--check").ok().results)


def test_what_does_not_fit_into_the_budget_is_left_out_and_told(tmp_path: Path) -> None:
    """The seconds are far from each other: no machine is so slow that another step would fit or not."""
    site = Site(tmp_path, 1, 1)
    given = {"microk8s_budget": 1000, "microk8s_budget_stop": 400, "microk8s_budget_backup": 300}
    said = site.play("shutdown_cluster", **given, microk8s_drain_wait=2).ok()
    assert site.running() == [] and site.stopped() == ["n2", "n1"] and not site.kept.exists()
    assert "backup left out: it takes 300 s" in said.stderr and "drain" not in said.stderr
    assert list(site.mark("n1")) == ["backup"]
    assert [node["pods"] for node in site.lab.cluster("n1")["nodes"].values()] == [0, 0]
    told = site.play("start_cluster").ok()
    assert "did not do all: backup left out" in told.stderr and site.mark("n1") == {}
    assert site.running() == ["n1", "n2"] and site.cordoned() == []

    # Not even the machines can be stopped in time. They are, and nothing else is done.
    short = site.play("shutdown_cluster", microk8s_budget=30, microk8s_budget_stop=60).ok()
    assert "stop: takes 120 s" in short.stderr and site.running() == [] and site.cordoned() == []
    assert list(site.mark("n1")) == ["drain", "backup"] and not site.kept.exists()


def test_an_api_server_that_goes_away_in_the_middle_keeps_no_machine_up(tmp_path: Path) -> None:
    site = Site(tmp_path, 1, 1)
    site.lab.order("n1", api="drain")
    said = site.play("shutdown_cluster").ok()
    assert "the node stays cordoned" in said.stderr and site.cordoned() == ["n1", "n2"]
    assert said.of("rackstead.infra.microk8s : Back the cluster up", "n1").status == "ignored"
    assert not list(site.kept.glob("*.tar.gz")) and site.stopped() == ["n2", "n1"] and site.running() == []


class Sleeper(threading.Thread):
    """A machine that answers once it was woken."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.asleep, self.awake = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        self.asleep.bind(("127.0.0.1", 0))
        self.asleep.settimeout(200)
        self.awake.bind(("127.0.0.1", 0))
        self.heard = b""
        where = {"broadcast": "127.0.0.1", "port": self.asleep.getsockname()[1], "address": "127.0.0.1"}
        self.variables = {"mac": "ac:1f:6b:00:00:02", **where, "wait_port": self.awake.getsockname()[1]}

    def run(self) -> None:
        try:
            self.heard = self.asleep.recv(200)
        except TimeoutError:
            return
        self.awake.listen()


def test_machines_are_switched_off_and_on(tmp_path: Path) -> None:
    """By their BMCs, by a packet, by themselves; and by force nothing is drained or backed up."""
    with testbed.ipmi(1) as first, testbed.ipmi(2) as second:
        sleeper = Sleeper()

        def host(name: str, bmc: testbed.Ipmi, **variables: Any) -> dict[str, Any]:
            command = ["touch", str(tmp_path / f"gone.{name}")]
            off = {"microk8s_poweroff_command": command, "microk8s_poweroff_lock": str(tmp_path / f"lock.{name}")}
            return {"microk8s_own": False, "microk8s_bmc": {**bmc.options, "protocol": "ipmi"}, **off, **variables}

        woken = {"microk8s_power_on": "wol", "microk8s_wol": sleeper.variables}
        own = {"n1": host("n1", first, microk8s_power_on="bmc"), "n2": host("n2", second, **woken)}
        site = Site(tmp_path, 1, 1, own)
        first.set_power(True)
        second.set_power(True)
        said = site.play("shutdown_cluster", microk8s_power_off="bmc", microk8s_shutdown_mode="force").ok()
        assert site.running() == [] and site.cordoned() == [] and not site.kept.exists()
        assert [bmc.chassis()["power"] for bmc in (first, second)] == ["0", "0"]
        task = "rackstead.infra.microk8s : Switch the machines off by their BMCs"
        done = [one.host for one in said.results if one.task == task and one.changed]
        assert done == ["n2", "n1"] and testbed.PASSWORD not in said.stdout + said.stderr

        sleeper.start()
        site.play("start_cluster").ok()
        assert first.chassis()["power"] == "1" and b"\xac\x1f\x6b\x00\x00\x02" * 16 in sleeper.heard
        assert second.chassis()["power"] == "0" and site.running() == ["n1", "n2"]

        site.play("shutdown_cluster", microk8s_power_off="host", microk8s_shutdown_mode="force").ok()
        names = ["gone.n1", "gone.n2"]

        def all_gone() -> bool | None:
            return sorted(one.name for one in tmp_path.glob("gone.*")) == names or None

        wait_until(all_gone, Deadline(120), what="both machines to shut down", first=0.05)
