# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster restored by the playbook, from machines that are folders on this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.backup import Wanted, backups, ensure_backup
from testbed.ansible import Playbooks, PlayResult
from testbed.microk8s import FAST, Lab, inventory


def test_a_cluster_comes_back_from_the_control_nodes_copy(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state", FAST)
    made = lab.formed(3, 1)
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(json.dumps(inventory(made)))
    archive = Path(ensure_backup(made["n1"], Wanted(tmp_path / "fetched"))["archive"])
    kept, before = tmp_path / "kept", lab.cluster("n1")["objects"]
    plays = Playbooks(tmp_path / "plays", {})
    plays.folder.mkdir()

    def play(*arguments: str, **more: Any) -> PlayResult:
        given = {"rackstead_host": "all", "microk8s_backup_path": str(kept), "microk8s_restore_from": str(archive)}
        words = ["ansible-playbook", "rackstead.infra.restore_cluster", "-i", str(hosts), "-e"]
        return plays.run([*words, json.dumps({**given, **more}), *arguments])

    def damage() -> dict[str, Any]:
        with lab.truth() as state:
            held = state["clusters"]["c"]["objects"]
            held["secrets"].clear()
            held["deployments.apps"][0]["spec"]["replicas"] = 9
        found: dict[str, Any] = lab.cluster("n1")["objects"]
        return found

    damaged = damage()
    lab.order("n1", dead=True)
    refused = play()
    assert refused.rc == 2 and "shop/deployments.apps/web (spec.replicas)" in refused.stdout
    ran = play("--diff", microk8s_restore_kinds=["secrets"]).ok()
    assert ran.of("Restore the objects", "n2").result["created"] == ["shop/secrets/key"]
    assert lab.cluster("n1")["objects"]["deployments.apps"] == damaged["deployments.apps"]
    secret = before["secrets"][1]["data"]["key"]
    assert lab.cluster("n1")["objects"]["secrets"][0]["data"] == {"key": secret}
    assert secret not in ran.stdout + ran.stderr + json.dumps([one.result for one in ran.results])
    refused = play(microk8s_restore_datastore=True)  # as n1 is away
    assert refused.rc == 2 and "members of the datastore are not among the machines that run" in refused.stdout
    assert lab.cluster("n1").get("restores") is None

    lab.order("n1", dead=False)
    damage()
    play(microk8s_restore_datastore=True).ok()
    cluster = lab.cluster("n1")
    assert cluster["objects"] == before and cluster["restores"] == [{"awake": []}] and cluster["lost"] == []
    assert [one.get("kubelite", True) for one in lab.state["machines"].values()] == [True] * 4
    assert len(backups(kept / "before-restore")) == 1
    assert {one.name for one in kept.iterdir()} == {"before-restore"}
