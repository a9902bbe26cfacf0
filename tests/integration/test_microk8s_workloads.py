# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster paused and resumed by the playbooks, on machines that are folders on this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed.ansible import Playbooks, PlayResult
from testbed.microk8s import FAST, Lab, inventory


def test_a_cluster_is_paused_and_resumed(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state", FAST)
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(json.dumps(inventory(lab.formed(3))))
    lab.order("n1", dead=True)
    plays = Playbooks(tmp_path / "plays", {})
    plays.folder.mkdir()

    def play(name: str, **given: Any) -> PlayResult:
        words = ["ansible-playbook", f"rackstead.infra.{name}", "-i", str(hosts), "--diff"]
        return plays.run([*words, "-e", json.dumps({"rackstead_host": "all", **given})])

    def replicas() -> int:
        found: int = lab.cluster("n2")["objects"]["deployments.apps"][0]["spec"]["replicas"]
        return found

    paused = play("pause", microk8s_workload_namespaces=["shop"]).ok()
    assert [one.host for one in paused.results if one.task == "Change the workloads" and one.status == "ok"] == ["n2"]
    assert paused.of("Change the workloads", "n2").changed and replicas() == 0
    play("resume").ok()
    assert replicas() == 2
