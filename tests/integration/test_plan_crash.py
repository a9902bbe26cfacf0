# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Crash safety: an apply that is killed at any moment leaves nothing that the next one does not put right.

A plan of twenty instances is made, changed and deleted over and over, each time by a process of its
own that is killed with SIGKILL somewhere on its way. The next apply must converge to exactly what an
undisturbed one makes, and a third must find nothing to do.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed.ansible import Playbooks

from tests.integration.planning import SEED, Raw, applied, raw

KILLS = 30
#: Every so many kills the apply runs in ansible-playbook, else as a module in a process of its own.
PLAYBOOK_EVERY = 10
MODULE = "ansible_collections.rackstead.infra.plugins.modules.plan"


def first_plan() -> dict[str, Any]:
    """Twenty instances: fifteen stopped, five running, of which two are waited for and two need others."""
    running = {
        "run1": {"wait_for": "ipv4"},
        "run2": {"depends_on": ["run1"]},
        "run3": {"depends_on": ["run2"], "wait_for": ["running", "ipv4"], "volumes": {"data": "/data"}},
        "run4": {},
        "run5": {"state": "frozen"},
    }
    stopped = {f"stop{number:02}": {"state": "stopped", "metadata": {"number": number}} for number in range(15)}
    return {
        "name": "crash",
        "defaults": {"image": "tiny", "memory": "64MiB", "profiles": ["default", "base"]},
        "profiles": {"base": {"config": {"limits.processes": 200}}},
        "storage_volumes": {"data": {"size": "16MiB"}},
        "instances": {**running, **stopped},
    }


def second_plan() -> dict[str, Any]:
    """The same with everything that can change changed: added, removed, restarted, started, stopped."""
    plan = first_plan()
    plan["profiles"]["base"]["config"]["limits.processes"] = 300
    plan["defaults"]["memory"] = "96MiB"
    instances = plan["instances"]
    for name in ("stop00", "stop01", "stop02"):
        del instances[name]
    for name in ("new00", "new01", "new02"):
        instances[name] = {"state": "stopped", "description": name}
    instances["run4"]["config"] = {"security.nesting": True}
    instances["run5"]["state"] = "running"
    instances["stop03"]["state"] = "running"
    instances["run2"].update(state="stopped", depends_on=[])
    instances["run3"].update(depends_on=["run1"])
    return plan


@dataclass
class Stage:
    """A plan and options; ``seconds`` and ``made`` are what an undisturbed run takes and leaves."""

    plan: dict[str, Any]
    options: dict[str, Any]
    seconds: float = 0.0
    made: Raw = field(default_factory=dict)


STAGES = (
    Stage(first_plan(), {}),
    Stage(second_plan(), {"on_change": "restart", "prune": True}),
    Stage(second_plan(), {"state": "absent"}),
)


@dataclass
class Scene:
    """One project, where the stages follow each other."""

    project: Any
    folder: Path
    play: Playbooks
    killed: int = 0
    survived: int = 0

    def undisturbed(self, stage: Stage) -> None:
        begun = time.monotonic()
        assert applied(self.project.client, stage.plan, **stage.options)["changed"]
        stage.seconds, stage.made = time.monotonic() - begun, raw(self.project.client)

    def disturbed(self, stage: Stage, share: float) -> None:
        """Kill an apply after a share of its time, counted from the first thing it does; then apply again."""
        progress = self.folder / f"progress{self.killed + self.survived}.jsonl"
        process = self._start(stage, progress)
        try:
            wait_until(lambda: _begun(process, progress) or None, Deadline(60), what="the apply's first action")
            left = Deadline(stage.seconds * share)
            wait_until(lambda: left.expired() or None, Deadline(60), what="the moment to kill", first=0.002, most=0.01)
        finally:
            running = process.poll() is None
            if running:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.killed += running
        self.survived += not running
        if not running:  # faster than undisturbed: something else kept the machine busy then
            stage.seconds *= 0.8
        self._converge(stage)

    def _start(self, stage: Stage, progress: Path) -> subprocess.Popen[bytes]:
        args = {**stage.options, "plan": stage.plan, "progress_file": str(progress)}
        if (self.killed + 1) % PLAYBOOK_EVERY == 0:
            book = self.folder / "apply.json"
            task = {"name": "apply", "rackstead.infra.plan": args}
            book.write_text(
                json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}])
            )
            argv, env = (
                ["ansible-playbook", "-i", "localhost,", str(book)],
                self.play.environment(self.folder / "record"),
            )
        else:
            file = self.folder / "args.json"
            file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": args}))
            argv = [sys.executable, "-m", MODULE, str(file)]
            env = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
        log = (self.folder / "log").open("ab")
        with log:
            env = {**env, **self.project.env}
            return subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _converge(self, stage: Stage) -> None:
        client = self.project.client
        applied(client, stage.plan, **stage.options)
        assert raw(client) == stage.made
        assert not applied(client, stage.plan, **stage.options)["changed"]
        self._nothing_is_left_over(stage)

    def _nothing_is_left_over(self, stage: Stage) -> None:
        """No operation goes on, and the pool holds what the listing shows and no more."""
        client, daemon = self.project.client, self.project.daemon
        assert client.operations() == []
        pool = daemon.folder / "storage-pools/default"
        prefix = f"{self.project.name}_"
        for folder, kind in (("containers", "instance"), ("custom", "storage_volume")):
            listed = sorted(name for what, name in stage.made if what == kind)
            there = sorted(path.name for path in (pool / folder).iterdir() if path.name.startswith(prefix))
            assert there == [prefix + name for name in listed]
            halves = [
                name
                for name in there
                if folder == "containers" and not (pool / folder / name / "rootfs/bin/busybox").exists()
            ]
            assert halves == []


def _begun(process: subprocess.Popen[bytes], progress: Path) -> bool:
    return process.poll() is not None or (progress.exists() and progress.stat().st_size > 0)


def moments(count: int) -> Iterator[float]:
    """Shares of a run's time, spread evenly and then shaken, in random order."""
    generator = random.Random(SEED)
    shares = [(number + generator.random()) / count for number in range(count)]
    generator.shuffle(shares)
    yield from shares


@pytest.mark.timeout(600)
def test_an_apply_killed_at_any_moment_is_put_right_by_the_next(project: Any, play: Playbooks, tmp_path: Path) -> None:
    scene = Scene(project, tmp_path, play)
    for stage in STAGES:
        scene.undisturbed(stage)
    shares = moments(KILLS)
    while scene.killed < KILLS:
        for stage in STAGES:
            scene.disturbed(stage, next(shares, 0.5))
        assert scene.survived <= KILLS, "the applies end before they can be killed"
    times = ", ".join(f"{stage.seconds:.1f}" for stage in STAGES)
    print(f"seed {SEED}: killed {scene.killed} times, ended before {scene.survived} times; undisturbed {times} s")
