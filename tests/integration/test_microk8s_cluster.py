# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MicroK8s cluster from bare machines to its upgrade and the loss of a member.

The machines are real, Debian in containers; MicroK8s is the stand-in. What is asserted is the stand-in's own state.
The tests of this file are one story, and build on each other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed import daemon as testbed
from testbed.ansible import Playbooks, PlayResult
from testbed.microk8s import STANDIN, Lab

pytestmark = pytest.mark.timeout(1200)

CONTROL = ("node1", "node10", "node2")
WORKERS = ("work1", "work2")
SPARE = "node3"
MACHINES = (*CONTROL, *WORKERS, SPARE)
SHARED = "/var/lib/microk8s-standin"


class Site:
    """The machines, and playbooks on them."""

    def __init__(self, folder: Path, project: Any, lab: Lab) -> None:
        self.project, self.lab = project, lab
        self.playbooks = Playbooks(folder / "play", project.env)
        self.playbooks.folder.mkdir()
        self.inventory = folder / "hosts.yml"
        self.connection = {
            "ansible_connection": "rackstead.infra.instance",
            "ansible_rackstead_project": project.name,
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def play(self, name: str, *hosts: str, check: bool = False, **variables: Any) -> PlayResult:
        """Run a playbook with these hosts in the inventory."""
        listed = {host: {**self.connection, "microk8s_worker": host in WORKERS} for host in hosts}
        self.inventory.write_text(json.dumps({"all": {"hosts": listed}}))
        given = {"rackstead_host": "all", "microk8s_wait": 120, "microk8s_drain_wait": 30, **variables}
        argv = ["ansible-playbook", f"rackstead.infra.{name}", "-i", str(self.inventory), "-e", json.dumps(given)]
        return self.playbooks.run([*argv, *(["--check", "--diff"] if check else [])], timeout=600)

    def nodes(self, host: str = "node1") -> dict[str, str]:
        """The cluster's nodes: their role in the datastore, or that they are workers."""
        cluster = self.lab.cluster(host)
        roles = {member["host"]: member["role"] for member in cluster["members"]}
        return {name: "worker" if node["worker"] else roles[name] for name, node in cluster["nodes"].items()}


@pytest.fixture(scope="module")
def site(
    daemon: testbed.Daemon, debian_image: str, module_project: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("microk8s")
    lab = Lab(folder / "lab", {"install": 1.0, "join": 0.5, "refresh": 1.0})
    lab.folder.chmod(0o777)
    shutil.copy(STANDIN, lab.folder / "microk8s")
    module_project.incus("profile", "device", "add", "default", "lab", "disk", f"source={lab.folder}", f"path={SHARED}")
    for name in MACHINES:
        module_project.incus("launch", debian_image, name, "-q")
    for name in MACHINES:
        address_of(module_project, name)
        module_project.inside(name, "ln", "-s", f"{SHARED}/microk8s", "/usr/bin/snap")
    yield Site(folder, module_project, lab)
    # One by one: a project with so many is not gone within the time of one request on a busy machine.
    module_project.incus("delete", "-f", *MACHINES)


def address_of(project: Any, name: str) -> str:
    def found() -> str | None:
        return project.incus("list", name, "-f", "csv", "-c", "4").partition(" ")[0].strip() or None

    return wait_until(found, Deadline(300), what=f"an address of {name}")


def failures(result: PlayResult) -> list[str]:
    found = [found.msg for found in result.results if found.status == "failed"]
    assert result.rc != 0 and found, f"{result.stdout}\n{result.stderr}"
    return found


def test_what_is_wrong_is_told_before_anything_is_done(site: Site) -> None:
    """Also a machine that nobody can reach."""
    addons = [{"name": "metalb"}]
    result = site.play("setup_cluster", "node1", "nowhere", microk8s_addons=addons, microk8s_channel="1.32/stabel")
    assert failures(result)[0].splitlines() == [
        "nowhere: cannot be reached; see that it is on and that Ansible may log in",
        'microk8s_addons: there is no addon "metalb"; did you mean "metallb"?',
        'channel: "1.32/stabel" is not a channel; did you mean "stable"?',
    ]
    result = site.play("setup_cluster", *CONTROL, microk8s_channel="1.23/stable")
    assert 'the store has no channel "1.23/stable" of microk8s' in failures(result)[0]
    assert site.lab.commands() == []


def test_check_mode_on_bare_machines_says_what_it_would_do(site: Site) -> None:
    result = site.play("setup_cluster", *CONTROL, *WORKERS, check=True).ok()
    assert result.of("rackstead.infra.microk8s : Have MicroK8s", "node10").changed
    assert "Would join node1: node10, node2, work1, work2" in result.stdout
    assert site.lab.commands() == []


def test_bare_machines_become_a_cluster(site: Site) -> None:
    addons = [{"name": "dns"}, {"name": "metallb", "arguments": ["192.0.2.100-192.0.2.120"]}]
    given = {
        "microk8s_addons": addons,
        "microk8s_channel": "1.32/stable",
        "microk8s_launch": {"version": "0.2.0", "extraSANs": ["cluster.example"]},
        "microk8s_arguments": {"kubelet": {"--max-pods": "200"}},
        "microk8s_mirrors": [{"registry": "docker.io", "endpoints": ["https://mirror.example:5000"]}],
    }
    result = site.play("setup_cluster", *CONTROL, *WORKERS, **given).ok()
    assert site.nodes() == {**dict.fromkeys(CONTROL, "voter"), **dict.fromkeys(WORKERS, "worker")}
    cluster, state = site.lab.cluster("node1"), site.lab.state
    assert cluster["addons"] == {"ha-cluster": [], "dns": [], "metallb": ["192.0.2.100-192.0.2.120"]}
    assert {state["machines"][name]["channel"] for name in (*CONTROL, *WORKERS)} == {"1.32/stable"}
    assert "cluster.example" in state["machines"]["work1"]["launch"]
    assert " node10\n" in site.project.inside("node1", "cat", "/etc/hosts")
    args = site.project.inside("work2", "cat", "/var/snap/microk8s/current/args/kubelet")
    assert "--max-pods=200" in args
    # One token for each that joined, and none of them told to anybody.
    minted = list(cluster["tokens"])
    assert len(minted) == 4
    told = result.stdout + json.dumps([one.result for one in result.results])
    assert [token for token in minted if token in told] == []

    before = site.lab.commands()
    again = site.play("setup_cluster", *CONTROL, *WORKERS, **given).ok()
    assert not again.changed, [one.task for one in again.results if one.changed]
    assert site.lab.commands() == before


def test_a_node_is_added(site: Site) -> None:
    site.play("add_node", *CONTROL, *WORKERS, SPARE, microk8s_nodes=[SPARE]).ok()
    assert site.nodes()[SPARE] == "standby"


def test_nodes_are_removed(site: Site) -> None:
    """Among them one whose name another's begins with."""
    before = site.lab.commands()
    checked = site.play("remove_node", *CONTROL, *WORKERS, SPARE, check=True, microk8s_nodes=["node1"]).ok()
    assert checked.changed and site.lab.commands() == before
    hosts = (*CONTROL, *WORKERS, SPARE)
    site.play("remove_node", *hosts, microk8s_nodes=["node1", "work2"], microk8s_uninstall=True).ok()
    assert site.nodes("node2") == {"node10": "voter", "node2": "voter", SPARE: "voter", "work1": "worker"}
    assert not {"node1", "work2"} & set(site.lab.state["machines"])


def test_an_upgrade_stops_at_the_first_node_that_does_not_come_back(site: Site) -> None:
    hosts = ("node10", "node2", SPARE, "work1")
    site.lab.order("node2", refresh="stays-down")
    result = site.play("upgrade", *hosts, microk8s_channel="1.33/stable", microk8s_wait=5)
    assert "waited 5 s in vain for MicroK8s to be ready" in failures(result)[-1]
    versions = {name: site.lab.state["machines"][name]["version"] for name in hosts}
    assert versions[SPARE] == versions["node2"] == "v1.33.1" and versions["node10"] == versions["work1"] == "v1.32.3"
    assert site.lab.cluster("node10")["nodes"]["node2"]["cordoned"]

    result = site.play("upgrade", *hosts, microk8s_channel="1.33/stable")
    assert "node2: MicroK8s is stopped; snap start microk8s starts it" in failures(result)[-1]
    site.lab.order("node2", refresh="")
    site.project.inside("node2", "snap", "start", "microk8s")
    site.play("upgrade", *hosts, microk8s_channel="1.33/stable").ok()
    state, cluster = site.lab.state, site.lab.cluster("node10")
    assert {state["machines"][name]["version"] for name in hosts} == {"v1.33.1"}
    assert not any(node["cordoned"] or node["annotations"] for node in cluster["nodes"].values())
    assert cluster["lost"] == []


def test_a_dead_member_is_replaced(site: Site) -> None:
    hosts = ("node10", "node2", SPARE, "work1")
    site.lab.order(SPARE, dead=True)
    site.project.incus("stop", SPARE, "-f")
    scan = site.play("scan", *hosts)
    said = json.dumps([found.result.get("msg") for found in scan.results if found.task == "Say what is not well"])
    assert f"{SPARE} cannot be reached" in said and f"members of the datastore are down: {SPARE}" in said
    # While one is down, none of the others may go.
    refused = site.play("remove_node", *hosts, microk8s_nodes=["node2"])
    assert f"this order keeps it: start {SPARE}, stop node2" in failures(refused)[-1]
    assert not site.lab.cluster("node10")["nodes"]["node2"]["cordoned"]

    site.play("remove_node", *hosts, microk8s_nodes=[SPARE], microk8s_gone=True).ok()
    assert SPARE not in site.nodes("node10")
    given = {"microk8s_nodes": ["node1"], "microk8s_channel": "1.33/stable"}
    # A join that dies in the middle, with the machine alive: the next run cleans up behind it.
    site.lab.order("node1", join="killed")
    assert failures(site.play("add_node", "node10", "node2", "work1", "node1", **given))
    site.play("add_node", "node10", "node2", "work1", "node1", **given).ok()
    assert site.nodes("node10") == {"node1": "voter", "node10": "voter", "node2": "voter", "work1": "worker"}
    assert site.lab.cluster("node10")["lost"] == []
