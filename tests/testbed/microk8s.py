# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines with the stand-in for MicroK8s: what is true of them, faults to order, and clients that ask them."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Local

from .ansible import LOCAL

STANDIN = Path(__file__).resolve().parent.parent / "standins/microk8s"
#: No delay but what is needed to be seen.
FAST = {"install": 0.05, "join": 0.05, "leave": 0.0, "refresh": 0.1, "enable": 0.0, "disable": 0.0, "drain": 0.0}
#: Beginnings of commands that only look.
QUIET = ("snap list", "snap info", "microk8s status", "microk8s kubectl get", "microk8s refresh-certs --check")


class Lab:
    """What all machines share: a folder with the stand-in's state."""

    def __init__(self, folder: Path, delays: dict[str, float] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with self.truth() as state:
            state.update(machines={}, clusters={}, faults={}, log=[], delays=dict(delays or {}))

    @contextmanager
    def truth(self) -> Iterator[dict[str, Any]]:
        """The state, to be looked at and changed, while no command does."""
        with (self.folder / "lock").open("a") as lock:
            os.chmod(lock.fileno(), 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self.folder / "state.json"
            state = json.loads(file.read_text()) if file.exists() else {}
            yield state
            new = file.with_suffix(".new")
            new.write_text(json.dumps(state))
            new.chmod(0o666)
            new.replace(file)

    @property
    def state(self) -> dict[str, Any]:
        with self.truth() as state:
            return state

    def order(self, host: str, **faults: Any) -> None:
        """Order faults of one machine; an empty value takes one back."""
        with self.truth() as state:
            state["faults"].setdefault(host, {}).update(faults)

    def cluster(self, host: str) -> dict[str, Any]:
        """The cluster in which a machine is."""
        state = self.state
        found: dict[str, Any] = state["clusters"][state["machines"][host]["cluster"]]
        return found

    def roles(self, host: str) -> dict[str, str]:
        """The datastore's members and their roles, as a machine's cluster has them."""
        return {member["host"]: member["role"] for member in self.cluster(host)["members"]}

    def commands(self, host: str = "") -> list[str]:
        """The command lines that were run, without what only looks."""
        lines = [" ".join(one["argv"]) for one in self.state["log"] if host in ("", one["host"])]
        return [line for line in lines if not line.startswith(QUIET)]

    def formed(self, control: int, workers: int = 0) -> dict[str, MicroK8s]:
        """Machines n1, n2, … that are a cluster already, as if they had joined one by one."""
        names = [f"n{number}" for number in range(1, control + workers + 1)]
        roles = ["voter"] * (3 if control >= 3 else 1) + ["standby" if control >= 3 else "spare"] * control
        version = {"version": "v1.32.3", "revision": "8148", "channel": "1.32/stable", "running": True}
        made = {name: self.machine(name, number) for number, name in enumerate(names, start=1)}
        members = [
            {"host": name, "address": f"10.0.0.{number}:19001", "id": number, "role": roles[number - 1]}
            for number, name in enumerate(names[:control], start=1)
        ]
        node = {"cordoned": False, "annotations": {}, "pods": 2, "budget": False}
        with self.truth() as state:
            for number, name in enumerate(names, start=1):
                place = {"address": f"10.0.0.{number}", "cluster": "c", "worker": number > control}
                state["machines"][name] = {**version, **place}
            state["clusters"]["c"] = {
                "id": "c",
                "members": members,
                "nodes": {name: {**node, "worker": name in names[control:]} for name in names},
                "tokens": {},
                "joining": None,
                "addons": {"ha-cluster": []},
                "lost": [],
                "certificates": {"ca.crt": 3650, "server.crt": 365, "front-proxy-client.crt": 365},
            }
        for name, client in made.items():
            (self.folder.parent / name / "microk8s").symlink_to(STANDIN)
            client.runner.run([client.command, "version"], 20)  # which writes the machine's files
        return made

    def machine(self, name: str, number: int) -> MicroK8s:
        """A client of a machine that is no more than an environment."""
        home = self.folder.parent / name
        home.mkdir(exist_ok=True)
        if not (home / "snap").exists():
            (home / "snap").symlink_to(STANDIN)
        env = {
            "MICROK8S_STANDIN_STATE": str(self.folder),
            "MICROK8S_STANDIN_DATA": str(home / "data"),
            "MICROK8S_STANDIN_BIN": str(home),
            "MICROK8S_STANDIN_HOST": name,
            "MICROK8S_STANDIN_ADDRESS": f"10.0.0.{number}",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        data = str(home / "data/current")
        return MicroK8s(Local(env), str(home / "microk8s"), str(home / "snap"), data, quick=20, slow=40, hostname=name)


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


def own_host(client: MicroK8s, number: int) -> dict[str, Any]:
    """A machine as a host of a play whose modules run under the machine's own name, with its own machine-id."""
    assert isinstance(client.runner, Local)
    home, name = Path(client.snap_command).parent, client.hostname
    identity = home / "machine-id"
    identity.write_text(f"{number:032x}\n")
    mine = {key: value for key, value in client.runner.env.items() if key.startswith("MICROK8S_STANDIN_")}
    words = shlex.join([*(f"{key}={value}" for key, value in mine.items()), sys.executable])
    bind = f"{{ [ ! -e /etc/machine-id ] || mount --bind {shlex.quote(str(identity))} /etc/machine-id; }}"
    inner = f'hostname {name} && {bind} && exec env {words} "$@"'
    python = home / "python"
    python.write_text(f'#!/bin/sh\nexec unshare --uts --mount sh -c {shlex.quote(inner)} sh "$@"\n')
    python.chmod(0o755)
    return {
        **LOCAL,
        "ansible_python_interpreter": str(python),
        "ansible_remote_tmp": str(home / "tmp"),
        "microk8s_command": client.command,
        "microk8s_snap_command": client.snap_command,
        "microk8s_data_dir": str(client.data),
        "microk8s_address": f"10.0.0.{number}",
    }
