# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of the registry scanned from the command line; its machines are folders on this host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from testbed.microk8s import FAST, Lab, inventory

from rackstead.cli import run_command


def test_a_cluster_is_scanned_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RACKSTEAD_SERVER", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    lab = Lab(tmp_path / "state", FAST)
    inventory(lab.formed(3))
    here = f"{tmp_path}/{{{{ inventory_hostname }}}}"
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "microk8s_command": f"{here}/microk8s-here",
        "microk8s_snap_command": f"{here}/snap-here",
        "microk8s_data_dir": f"{here}/data/current",
    }
    store = ["--state", "sqlite:registry.db"]  # which Ansible, elsewhere, has to find, too
    assert run_command(["cluster", "add", "--name", "lab", *store]) == 0
    for number in (1, 2, 3):
        assert run_command(["node", "add", "--hostname", f"n{number}", "--cluster", "lab", *store]) == 0
    lab.order("n3", dead=True)
    capfd.readouterr()
    code = run_command(["cluster", "scan", "1", *store, "-e", json.dumps(variables), "--json"])
    found = json.loads(capfd.readouterr().out)
    assert (code, found["cluster"], found["errors"]) == (1, "lab", [])
    places = {one["node"]: one["microk8s"]["place"] for one in found["nodes"]}
    assert places == {"n1": "control-plane", "n2": "control-plane", "n3": "stopped"}
    assert [one["severity"] for one in found["nodes"][2]["findings"]] == ["critical"]
