# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out actions by commands that a plan declares. Each action is begun once, whoever is killed when.

A command outlives the monitor. It holds a lock under its action's name as long as it runs, and leaves its exit code;
one that was itself killed leaves neither, and is begun again.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from .engine import Action
from .plan import PowerPlan
from .rules import ON_HOSTS

#: The exit code appears whole, and after the command's end.
_SCRIPT = 'name=$0; "$@"; echo $? >"$name.new"; mv "$name.new" "$name.code"'
#: Seconds that a probe may take. One that is ended for that says nothing about its host.
PATIENCE = 30


def needed(plan: PowerPlan) -> list[str]:
    """The commands that a plan's stages and rules may ask for."""
    found = ["stop", "force_stop", "start", "probe"]
    if any(host.role == "controller" for host in plan.hosts.values()):
        found.append("cut")
    return list(dict.fromkeys([*found, *(one.action for one in plan.by_priority if one.action not in ON_HOSTS)]))


class Commands:
    """The commands of a plan, with a folder for locks, exit codes and output."""

    def __init__(self, commands: Mapping[str, Sequence[str]], folder: Path) -> None:
        self._commands, self._folder = commands, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._children: list[subprocess.Popen[bytes]] = []
        self._probes: dict[str, subprocess.Popen[bytes]] = {}
        self._up: dict[str, bool] = {}

    def carry_out(self, action: Action) -> int | None:
        """Begin it unless it runs or has ended; its exit code if it has. Raises OSError."""
        self._children = [one for one in self._children if one.poll() is None]
        code, lock = self._folder / f"{action.name}.code", self._folder / f"{action.name}.lock"
        number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if code.exists():
                return int(code.read_text(encoding="ascii"))
            self._begin(action, number)
        except BlockingIOError:
            return None  # it runs, begun by this monitor or by one before it
        finally:
            os.close(number)
        return None

    def _begin(self, action: Action, lock: int) -> None:
        path = self._folder / action.name
        with (path.with_name(f"{action.name}.output")).open("ab") as output:
            child = subprocess.Popen(  # pylint: disable=consider-using-with,ansible-bad-function
                ["/bin/sh", "-c", _SCRIPT, str(path), *self._words(action)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                start_new_session=True,
            )
        self._children.append(child)

    def _words(self, action: Action) -> list[str]:
        values = {"{target}": action.target, "{reason}": action.reason, "{rule}": action.rule}
        return [
            re.sub(r"\{(target|reason|rule)\}", lambda found: values[found[0]], word)
            for word in self._commands[action.action]
        ]

    def running(self, orders: Mapping[str, str]) -> Set[str]:
        """Of the hosts with orders, those that are up, by the last probe that told. Does not wait for one."""
        for host in [one for one in self._up if one not in orders]:
            del self._up[host]
        for host, state in orders.items():
            self._up.setdefault(host, state == "stopping")
            self._probe(host)
        return {host for host, up in self._up.items() if up}

    def _probe(self, host: str) -> None:
        probe = self._probes.get(host)
        code = probe.poll() if probe else None
        if probe and code is None:
            return
        if code in (0, 1):
            self._up[host] = code == 0
        words = self._words(Action("", "probe", host))
        self._probes[host] = subprocess.Popen(  # pylint: disable=consider-using-with,ansible-bad-function
            ["timeout", str(PATIENCE), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def clear(self) -> None:
        """Remove what ended actions have left, but for the output."""
        for code in self._folder.glob("*.code"):
            code.with_suffix(".lock").unlink(missing_ok=True)
            code.unlink()
