# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's backup by the playbook, from machines that are folders on this host, to the control node."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import backup
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Local
from testbed.ansible import LOCAL, Playbooks, PlayResult
from testbed.microk8s import FAST, Lab


def inventory(machines: dict[str, MicroK8s]) -> dict[str, Any]:
    """Hosts that share this one: who a machine is, the stand-in learns from its environment."""
    hosts = {}
    for name, client in machines.items():
        assert isinstance(client.runner, Local)
        mine = {key: value for key, value in client.runner.env.items() if key.startswith("MICROK8S_STANDIN_")}
        words = shlex.join(f"{key}={value}" for key, value in mine.items())
        commands = {}
        for what, command in (("microk8s_command", client.command), ("microk8s_snap_command", client.snap_command)):
            script = Path(f"{command}-here")
            script.write_text(f'#!/bin/sh\nexec env {words} {shlex.quote(command)} "$@"\n')
            script.chmod(0o755)
            commands[what] = str(script)
        hosts[name] = {**LOCAL, **commands, "microk8s_data_dir": str(client.data)}
    return {"all": {"hosts": hosts}}


def test_a_backup_comes_to_the_control_node(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "state", FAST)
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(json.dumps(inventory(lab.formed(3, 1))))
    lab.order("n1", dead=True)
    plays = Playbooks(tmp_path / "plays", {})
    kept, fetched = tmp_path / "kept", tmp_path / "fetched"

    def play(*arguments: str) -> PlayResult:
        given = {"rackstead_host": "all", "microk8s_backup_path": str(kept), "microk8s_backup_fetch": str(fetched)}
        words = ["ansible-playbook", "rackstead.infra.backup_cluster", "-i", str(hosts), "-e", json.dumps(given)]
        plays.folder.mkdir(exist_ok=True)
        return plays.run([*words, *arguments])

    checked = play("--check", "--diff").ok()
    assert checked.of("Take a backup", "n2").changed and not kept.exists() and not fetched.exists()
    ran = play("--diff", "-vvv").ok()
    taken = [one.host for one in ran.results if one.task == "Take a backup" and one.status == "ok"]
    assert taken == ["n2"]
    (archive,) = fetched.iterdir()
    assert archive.read_bytes() == (kept / archive.name).read_bytes()
    assert (stat.S_IMODE(fetched.stat().st_mode), stat.S_IMODE(archive.stat().st_mode)) == (0o700, 0o600)
    assert backup.read_back(archive).counts["shop/secrets"] == 1
    secret = lab.cluster("n2")["objects"]["secrets"][1]["data"]["key"]
    assert secret.encode() in backup.files_of(archive)["objects/shop/secrets.yaml"]
    assert secret not in ran.stdout + ran.stderr + json.dumps([one.result for one in ran.results])

    for name in ("n2", "n3"):
        lab.order(name, dead=True)
    refused = play()
    assert refused.rc == 2 and "none of its hosts is of a control plane that runs" in refused.stdout
    assert list(fetched.iterdir()) == [archive]
