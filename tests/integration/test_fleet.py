# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of the registry, looked at and shut down from the command line; its machines are folders on this host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.microk8s import FAST, Lab, inventory

from rackstead.cli import run_command
from tests.conftest import CHECKOUT

SECONDS = 120


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Three machines that are a cluster, in a registry whose store is named as it is seen from here alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RACKSTEAD_SERVER", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("RACKSTEAD_STATE", "sqlite:registry.db")
    monkeypatch.setenv("RACKSTEAD_DATA", str(tmp_path / "jobs"))
    found = Lab(tmp_path / "state", FAST)
    inventory(found.formed(3))
    assert run_command(["cluster", "add", "--name", "lab"]) == 0
    for number in (1, 2, 3):
        assert run_command(["node", "add", "--hostname", f"n{number}", "--cluster", "lab"]) == 0
    return found


def given(folder: Path) -> dict[str, str]:
    """How the machines are reached, and their commands."""
    here = f"{folder}/{{{{ inventory_hostname }}}}"
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "microk8s_command": f"{here}/microk8s-here",
        "microk8s_snap_command": f"{here}/snap-here",
        "microk8s_data_dir": f"{here}/data/current",
        "microk8s_node_name": "{{ inventory_hostname }}",
    }


def said(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capfd.readouterr()
    code = run_command([*words, "--json"])
    return code, json.loads(capfd.readouterr().out)


def test_a_cluster_is_scanned_by_its_id(tmp_path: Path, lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    lab.order("n3", dead=True)
    code, found = said(capfd, "cluster", "scan", "1", "-e", json.dumps(given(tmp_path)))
    assert (code, found["cluster"], found["errors"]) == (1, "lab", [])
    places = {one["node"]: one["microk8s"]["place"] for one in found["nodes"]}
    assert places == {"n1": "control-plane", "n2": "control-plane", "n3": "stopped"}
    assert [one["severity"] for one in found["nodes"][2]["findings"]] == ["critical"]
    seen = said(capfd, "cluster", "show", "lab")[1]["cluster"]["seen"]
    assert {one["name"]: (one["role"], one["said"]) for one in seen} == {
        "n1": ("voter", "ready"),
        "n2": ("voter", "ready"),
        "n3": ("voter", "stopped"),
    }


def test_a_job_shuts_a_cluster_down_and_another_looks(
    tmp_path: Path, lab: Lab, capfd: pytest.CaptureFixture[str]
) -> None:
    asks = said(capfd, "cluster", "shutdown", "lab", "--force")
    assert asks[0] == 2 and asks[1]["errors"][0].startswith("lab: workloads stop or move, and there is no terminal")
    with worker(tmp_path):
        ended(said(capfd, "cluster", "shutdown", "lab", "--force", "--yes", "--detach")[1]["job"]["id"], capfd)
        assert not any(one["running"] for one in lab.state["machines"].values())
        ended(said(capfd, "cluster", "scan", "lab", "--detach")[1]["job"]["id"], capfd)
    seen = said(capfd, "cluster", "show", "lab")[1]["cluster"]["seen"]
    assert {one["name"]: one["said"] for one in seen} == {"n1": "stopped", "n2": "stopped", "n3": "stopped"}


def ended(job: str, capfd: pytest.CaptureFixture[str]) -> None:
    def over() -> bool | None:
        found = said(capfd, "operation", "show", job)[1]["job"]
        return found["state"] in ("completed", "failed") or None

    wait_until(over, Deadline(SECONDS), what="the job to end", first=0.1, most=0.5)
    found = said(capfd, "operation", "show", job)[1]["job"]
    assert found["state"] == "completed", found["error"]


@contextmanager
def worker(folder: Path) -> Iterator[None]:
    """One that knows how the machines are reached."""
    site = folder / "site"
    site.mkdir()
    for name in ("scan", "shutdown_cluster"):
        (site / f"{name}.yml").write_text(json.dumps(given(folder)))
    paths = [str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RACKSTEAD_VARIABLES": str(site)}
    with (folder / "worker.log").open("wb") as log:
        words = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "rackstead.cli", "worker"]
        process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)
