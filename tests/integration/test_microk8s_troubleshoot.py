# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a cluster, found by the playbook; its machines are folders on this host."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path

from testbed.ansible import Playbooks
from testbed.microk8s import FAST, Lab, inventory


def test_reports_of_all_machines_come_to_the_control_node(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state", FAST)
    made = inventory(lab.formed(2, 1))
    for name, host in made["all"]["hosts"].items():
        host["microk8s_node_name"] = name
    made["all"]["hosts"]["away"] = {"ansible_host": "away.invalid"}
    hosts, into = tmp_path / "hosts.yml", tmp_path / "reports"
    hosts.write_text(json.dumps(made))
    with lab.truth() as state:
        for name in ("n1", "n3"):
            state["machines"][name]["logs"] = {"daemon-kubelite": "write: no space left on device\n"}
    lab.order("n2", inspect="silent")
    (into / ".reports").mkdir(parents=True)
    (into / ".reports/old.tar.gz").touch()  # of a run that was killed
    given = {"rackstead_host": "all", "microk8s_troubleshoot_into": str(into)}
    plays = Playbooks(tmp_path / "plays", {})
    plays.folder.mkdir()
    words = ["ansible-playbook", "rackstead.infra.troubleshoot", "-i", str(hosts), "-e", json.dumps(given)]
    ran = plays.run(words)
    (archive,) = into.iterdir()
    assert (stat.S_IMODE(into.stat().st_mode), stat.S_IMODE(archive.stat().st_mode)) == (0o700, 0o600)
    with tarfile.open(archive) as tar:
        names = sorted(Path(one).name for one in tar.getnames())
        file = tar.extractfile(next(one for one in tar.getnames() if one.endswith("findings.json")))
        assert file
        found = json.load(file)
    assert names == ["findings.json", "findings.txt", "n1.tar.gz", "n3.tar.gz"]
    worst = {one["what"].partition(" (")[0]: one["nodes"] for one in found if one["severity"] == "critical"}
    assert worst == {"a disk is full": ["n1", "n3"], "it cannot be reached": ["away"]}
    silent = next(one for one in found if one["what"] == "it could not inspect itself")
    assert silent["nodes"] == ["n2"] and "No space left on device" in silent["todo"]
    assert "1. critical: a disk is full" in ran.stdout
    assert not list(tmp_path.glob("n*/data/current/inspection-report-*"))
