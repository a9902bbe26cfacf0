# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters of the registry: orders for what is done to them, the inventory of a run, and what scans have found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict, InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store

from rackstead import run
from rackstead.fleet.actions import ACTIONS, action
from rackstead.fleet.hosts import ALL
from rackstead.fleet.service import Fleet, keep_scan
from rackstead.jobs.execution import request_of
from rackstead.jobs.service import Service
from rackstead.jobs.workflows import Catalog
from rackstead.run import TaskResult

TEMPLATE = "{{ lookup('pipe', 'id') }}"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    store = open_store(f"file:{tmp_path}/state")
    found = Fleet(Service(store, tmp_path / "jobs", Catalog()), "ann")
    found.registry.add_cluster({"name": "lab", "variables": {"microk8s_channel": "1.32/stable"}})
    found.registry.add_node({"name": "n1", "address": "192.0.2.1", "cluster": "lab", "become": True})
    found.registry.add_node({"name": "w1", "worker": True, "cluster": "lab"})
    found.registry.add_node({"name": "alone", "labels": {"rack": "a"}})
    yield found
    store.close()


def seen(host: str, place: str, **more: Any) -> TaskResult:
    known = {"name": host, "place": place, "version": "v1.32.3", "datastore": {}, "nodes": [], "certificates": []}
    result = {"microk8s": {**known, **more}, "findings": []}
    return TaskResult("rackstead.infra.microk8s_info", "Look", host, "ok", result)


def test_each_action_is_a_job_on_the_registrys_hosts(fleet: Fleet) -> None:
    needed = {"upgrade": {"microk8s_channel": "1.33/stable"}, "scale-down": {"microk8s_workload_percent": "50"}}
    for name in ACTIONS:
        job = fleet.act("1", name, needed.get(name, {}), check=True)
        assert (job.registry, job.check, job.target) == (True, True, ["cluster cluster_lab"]), name
        assert job.variables["rackstead_host"] == "cluster_lab"
    assert [one.id for one in fleet.operations("lab", 1)] == [job.id]
    assert fleet.operations("other") == []


def test_what_is_wrong_is_told_before_there_is_a_job(fleet: Fleet) -> None:
    fleet.registry.add_cluster({"name": "bare"})
    with pytest.raises(NotFound, match=r'"shutdwn" is unknown.*did you mean "shutdown"'):
        action("shutdwn")
    with pytest.raises(Conflict, match="bare: has no nodes"):
        fleet.act("bare", "scan")
    with pytest.raises(InvalidInput, match="microk8s_chanel: not a variable"):
        fleet.act("lab", "setup", {"microk8s_chanel": "x"})
    assert fleet.jobs.jobs() == []


def test_the_inventory_of_a_run_has_every_node_and_its_groups(fleet: Fleet, tmp_path: Path) -> None:
    fleet.registry.change_cluster("lab", {"variables": {"microk8s_channel": TEMPLATE}})
    hosts = fleet.hosts()
    assert {name: sorted(one["hosts"]) for name, one in hosts.items()} == {
        ALL: ["alone", "n1", "w1"],
        "cluster_lab": ["n1", "w1"],
        "label_rack_a": ["alone"],
        "microk8s_worker": ["w1"],
    }
    assert hosts[ALL]["hosts"]["n1"]["ansible_become"] is True and "ansible_become" not in hosts[ALL]["hosts"]["w1"]
    assert fleet.hosts(become=True)[ALL]["vars"] == {"ansible_become": True}
    path = run.write_inventory(tmp_path, str(tmp_path), hosts)
    # The registry's text is nothing that Ansible looks into; this machine's own is.
    assert path.read_text().count(f'!unsafe "{TEMPLATE}"') == 2
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "plain").mkdir()
    plain = run.write_inventory(tmp_path / "plain", str(tmp_path))
    assert json.loads(plain.read_text())["all"].keys() == {"hosts"}


def test_a_job_gets_the_hosts_as_they_are_when_it_runs(fleet: Fleet) -> None:
    job = fleet.act("lab", "scan")
    workflow = replace(fleet.jobs.catalog.get("scan"), hosts=fleet.hosts())
    request = request_of(job, workflow, job.variables)
    assert request.hosts["cluster_lab"] == {"hosts": {"n1": {}, "w1": {}}}


def test_the_last_scan_is_kept_and_those_it_did_not_look_at_stay_as_they_were(fleet: Fleet) -> None:
    assert fleet.last_scan("lab")[0] == 0.0
    members = [{"name": "n1", "role": "voter", "up": True}]
    first = seen("n1", "control-plane", datastore={"members": members, "quorum": True})
    keep_scan(fleet.registry, [first, TaskResult("rackstead.infra.microk8s_info", "Look", "w1", "unreachable", {})])
    drawn = {one.name: (one.role, one.said) for one in fleet.drawn("lab")}
    assert drawn == {"n1": ("voter", "runs"), "w1": ("worker", "unreachable")}
    keep_scan(fleet.registry, [seen("w1", "stopped"), seen("alone", "single")])
    at, scan = fleet.last_scan("lab")
    assert at > 0.0 and set(scan.hosts) == {"n1", "w1"} and scan.hosts["w1"]["place"] == "stopped"
    fleet.registry.remove_node("w1", member=True)
    keep_scan(fleet.registry, [first])
    assert set(fleet.last_scan("lab")[1].hosts) == {"n1"}
