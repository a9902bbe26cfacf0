# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks about clusters, killed with -9 as a command of MicroK8s or snap ends, and run again.

The machines are folders of this host. With ``RACKSTEAD_KILLS=1`` in the environment the playbooks are killed after every
single command, with ``RACKSTEAD_KILLS=10`` after every tenth, with ``RACKSTEAD_KILLS=changes`` after every one that
changes something; one run for each. Else they are killed once, where most is at stake.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.backup import NAME as BACKUP
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.config import PENDING
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.mark import SHUTDOWN
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.parse import CORDONED_BY
from testbed.ansible import Playbooks, PlayResult
from testbed.microk8s import FAST, QUIET, STANDIN, Lab, own_host

KILLING = STANDIN.with_name("microk8s_killing")
#: Kill after every so many commands; 0 is for one kill at the command that a case names.
ORDERED = os.environ.get("RACKSTEAD_KILLS", "0")
EVERY = 1 if ORDERED == "changes" else int(ORDERED)
#: Machines of a cluster. Where it is killed once, the fewest will do.
CONTROL, WORKERS = (3, 2) if EVERY else (1, 1)
#: Commands that are not counted.
UNCOUNTED = (*QUIET, "microk8s kubectl api-resources") if ORDERED == "changes" else ()
#: Word of the environment by which a run's processes are known.
RUN = "MICROK8S_KILLED_RUN"


def host(client: MicroK8s, number: int) -> dict[str, Any]:
    """A machine as a host of a play, with the commands that can be killed."""
    for command in (client.snap_command, client.command):
        if Path(command).is_symlink():
            Path(command).unlink()
            Path(command).symlink_to(KILLING)
    return own_host(client, number)


class Site:
    """Machines, and one playbook that is killed and run again."""

    def __init__(self, folder: Path, playbook: str, variables: dict[str, Any]) -> None:
        self.lab = Lab(folder / "state", FAST)
        self.hosts: dict[str, dict[str, Any]] = {}
        self.folder, self.playbook = folder, playbook
        usual = {"rackstead_host": "all", "microk8s_hosts_file": False, "microk8s_wait": 120, "microk8s_drain_wait": 60}
        self.variables = {**usual, **variables}

    def add(self, clients: dict[str, MicroK8s], **variables: Any) -> None:
        for name, client in clients.items():
            self.hosts[name] = {**host(client, len(self.hosts) + 1), **variables}

    def play(self, run: str = "none") -> PlayResult:
        plays = Playbooks(self.folder / "plays", {"ANSIBLE_PIPELINING": "1"})
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts}}))
        name = f"rackstead.infra.{self.playbook}"
        words = ["ansible-playbook", name, "-i", str(inventory), "-e", json.dumps(self.variables)]
        here = self.folder / "plays" / run
        return plays.run(words, here, env={RUN: run})

    def killed(self, **when: Any) -> bool:
        """Run the playbook until it is killed; false where it came to its end before."""
        run = secrets.token_hex(8)
        if "after" in when:
            lines = [" ".join(one["argv"]) for one in self.lab.state["log"]]
            when["after"] += sum(not line.startswith(UNCOUNTED) for line in lines)
            when["quiet"] = UNCOUNTED
        order = self.lab.folder / "kill"
        order.write_text(json.dumps({"run": f"{RUN}={run}", **when}))
        ended = self.play(run)
        if order.exists():
            order.unlink()
            ended.ok()
            return False
        assert ended.rc == -signal.SIGKILL, f"{ended.rc}\n{ended.stdout}\n{ended.stderr}"
        return True


@dataclass(frozen=True)
class Case:
    """A playbook, on what it is run, what has to be true at its end, and the command after which killing hurts most."""

    site: Callable[[Path], Site]
    holds: Callable[[Site], None]
    command: str


def bare(folder: Path) -> Site:
    """A machine that is to be a cluster, and a worker for it."""
    given = {"microk8s_addons": [{"name": "dns"}], "microk8s_arguments": {"kubelet": {"--max-pods": "200"}}}
    site = Site(folder, "setup_cluster", given)
    site.add({"n1": site.lab.machine("n1", 1)})
    site.add({"n2": site.lab.machine("n2", 2)}, microk8s_worker=True)
    return site


def set_up(site: Site) -> None:
    cluster = site.lab.cluster("n1")
    assert {name: node["worker"] for name, node in cluster["nodes"].items()} == {"n1": False, "n2": True}
    assert site.lab.cluster("n2")["id"] == cluster["id"]
    assert site.lab.roles("n1") == {"n1": "voter"}
    assert "dns" in cluster["addons"]
    for name in ("n1", "n2"):
        machine = site.lab.state["machines"][name]
        assert machine["running"] and machine["channel"] == "1.32/stable"
        args = site.folder / name / "data/current/args"
        assert "--max-pods=200" in (args / "kubelet").read_text().split()
        assert not (args / PENDING).exists()


def formed(folder: Path) -> Site:
    """Nodes of which somebody has cordoned one. Where it is killed once, one of two is upgraded."""
    given = {"microk8s_channel": "1.33/stable", "microk8s_nodes": [] if EVERY else ["n2"]}
    site = Site(folder, "upgrade", given)
    machines = site.lab.formed(3 if EVERY else 1, 0 if EVERY else 1)
    worker = {} if EVERY else {"n2": machines.pop("n2")}
    site.add(machines)
    site.add(worker, microk8s_worker=True)
    with site.lab.truth() as state:
        state["clusters"]["c"]["nodes"]["n1"].update(cordoned=True, annotations={"by": "somebody"})
    return site


def upgraded(site: Site) -> None:
    cluster = site.lab.cluster("n1")
    other, *ours = cluster["nodes"].values()
    assert other["cordoned"] and other["annotations"] == {"by": "somebody"}
    assert [(node["cordoned"], node["annotations"]) for node in ours] == [(False, {})] * len(ours)
    assert set(site.lab.roles("n1").values()) == {"voter"}
    assert not cluster["lost"], "the quorum was lost on the way"
    for name, machine in site.lab.state["machines"].items():
        new = name in (site.variables["microk8s_nodes"] or site.hosts)
        assert machine["running"] and machine["channel"] == ("1.33/stable" if new else "1.32/stable")


def going_down(folder: Path) -> Site:
    """A control plane and workers, of which somebody has cordoned the last."""
    site = Site(folder, "shutdown_cluster", {"microk8s_backup_path": str(folder / "kept")})
    machines = site.lab.formed(CONTROL, WORKERS)
    workers = {name: machines.pop(name) for name in list(machines)[-WORKERS:]}
    site.add(machines)
    site.add(workers, microk8s_worker=True)
    with site.lab.truth() as state:
        state["clusters"]["c"]["nodes"][list(workers)[-1]].update(cordoned=True, annotations={"by": "somebody"})
    return site


def down(site: Site) -> None:
    machines = site.lab.state["machines"]
    assert not any(machine["running"] or machine.get("disabled") for machine in machines.values())
    cluster = site.lab.cluster("n1")
    # Every node that we have cordoned says so, and the pods are gone; nobody's replicas have changed.
    *ours, other = cluster["nodes"].values()
    assert [node["annotations"] for node in ours] == [{CORDONED_BY: "rackstead"}] * len(ours)
    assert other["annotations"] == {"by": "somebody"}
    assert all(node["cordoned"] and node["pods"] == 0 for node in cluster["nodes"].values())
    assert [one["spec"]["replicas"] for one in cluster["objects"]["deployments.apps"]] == [2]
    # The workers are down before any of the control plane, of which one goes after the other.
    stopped = [one["host"] for one in site.lab.state["log"] if one["argv"] == ["snap", "stop", "microk8s"]]
    in_order = list(dict.fromkeys(stopped))
    assert set(in_order[:WORKERS]) == set(list(machines)[-WORKERS:]) and in_order[WORKERS:] == list(machines)[:-WORKERS]
    backups = [one.name for one in (site.folder / "kept").iterdir() if one.name != ".lock"]
    assert backups and all(BACKUP.fullmatch(name) for name in backups), backups


def coming_up(folder: Path) -> Site:
    """What a shutdown has left, with one thing that it left out."""
    site = going_down(folder)
    site.playbook = "start_cluster"
    mark = json.dumps({"at": "2026-12-01T00:00:00+00:00", "left_out": {"backup": "left out"}})
    with site.lab.truth() as state:
        for machine in state["machines"].values():
            machine["running"] = False
        for node in list(state["clusters"]["c"]["nodes"].values())[:-1]:
            node.update(cordoned=True, annotations={CORDONED_BY: "rackstead"})
        state["clusters"]["c"]["nodes"]["n1"]["annotations"][SHUTDOWN] = mark
    return site


def up(site: Site) -> None:
    assert all(machine["running"] for machine in site.lab.state["machines"].values())
    *ours, other = site.lab.cluster("n1")["nodes"].values()
    assert [(node["cordoned"], node["annotations"]) for node in ours] == [(False, {})] * len(ours)
    assert other["cordoned"] and other["annotations"] == {"by": "somebody"}
    assert set(site.lab.roles("n1").values()) == {"voter"}


CASES = {
    "setup_cluster": Case(bare, set_up, "microk8s join"),
    "upgrade": Case(formed, upgraded, "microk8s kubectl cordon"),
    "shutdown_cluster": Case(going_down, down, "snap stop"),
    "start_cluster": Case(coming_up, up, "microk8s kubectl uncordon"),
}


def kill_and_run_again(case: Case, folder: Path, **when: Any) -> bool:
    """Whether it was killed before its end. What has to be true at the end is, either way."""
    site = case.site(folder)
    killed = site.killed(**when)
    if killed:
        site.play("again").ok()
    case.holds(site)
    return killed


@pytest.mark.timeout(14400 if EVERY else 300)
@pytest.mark.parametrize("name", CASES)
def test_a_killed_playbook_is_run_again(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    if not EVERY:
        assert kill_and_run_again(case, tmp_path, command=case.command)
        return
    for number in itertools.count(1, EVERY):
        if not kill_and_run_again(case, tmp_path / str(number), after=number):
            assert number > 1
            return
        print(f"{name}: killed after {number}, and put right", flush=True)
