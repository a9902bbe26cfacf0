# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifecycle of many tiny instances: ours, a loop of lxd_container, a loop of incus commands, the floor.

A contender's cycle is: nothing → create (stopped) → nothing to do → start → stop (by the harness, not
measured) → delete. Before and after each step the harness looks whether the daemon is in the state
it should be in.
"""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from .floor import Rest, each
from .process import Wrong, run
from .samples import Row, Sample
from .world import World

CREATE, NOTHING, START, DELETE = "create stopped", "nothing to do", "start", "delete stopped"
OPERATIONS = (CREATE, NOTHING, START, DELETE)
IMAGE = "tiny"
MEMORY = "64MiB"
OURS, LXD, COMMAND, FLOOR = "rackstead.infra.plan", "lxd_container, loop", "incus, loop", "floor"


def names_of(count: int) -> list[str]:
    return [f"bench-{number:04}" for number in range(count)]


class Contender(ABC):
    """One way to bring ``names`` into a state."""

    label: str

    def __init__(self, world: World, names: list[str]) -> None:
        self.world, self.names = world, names

    @abstractmethod
    def do(self, operation: str) -> Sample:
        """Do it to all and say how long it took."""


class Floor(Contender):
    """Raw REST with a fixed number of workers."""

    def __init__(self, world: World, names: list[str], workers: int) -> None:
        super().__init__(world, names)
        self.workers = workers
        self.label = f"{FLOOR}, {workers} workers" if workers > 1 else f"{FLOOR}, 1 worker"

    def do(self, operation: str) -> Sample:
        rest = Rest(self.world.rest.path, self.world.rest.project)  # connections of its own
        actions: dict[str, Callable[[str], None]] = {
            CREATE: lambda name: rest.create(name, IMAGE, {"limits.memory": MEMORY}),
            START: rest.start,
            DELETE: rest.delete,
        }
        begin = time.perf_counter()
        if operation == NOTHING:
            rest.look()
        else:
            each(actions[operation], self.names, self.workers)
        return Sample(time.perf_counter() - begin)


class Plan(Contender):
    """Ours: one task for the whole plan."""

    label = OURS

    def __init__(self, world: World, names: list[str]) -> None:
        super().__init__(world, names)
        self.plays = {
            CREATE: plan_play(world, "stopped", names, {"state": "present"}),
            START: plan_play(world, "stopped", names, {"state": "started"}),
            DELETE: plan_play(world, "stopped", names, {"state": "absent"}),
        }
        self.plays[NOTHING] = self.plays[CREATE]

    def do(self, operation: str) -> Sample:
        sample, printed = self.world.playbook(self.plays[operation])
        check_recap(printed, changed=operation != NOTHING)
        return sample


class LxdContainer(Contender):
    """community.general.lxd_container in a loop."""

    label = LXD

    def __init__(self, world: World, names: list[str]) -> None:
        super().__init__(world, names)
        self.plays = {
            CREATE: self._play("stopped"),
            START: self._play("started"),
            DELETE: self._play("absent"),
        }
        self.plays[NOTHING] = self.plays[CREATE]

    def _play(self, state: str) -> Path:
        options = {
            "name": "{{ item }}",
            "state": state,
            "url": f"unix:{self.world.rest.path}",
            "snap_url": "unix:/nonexistent",
            "project": self.world.rest.project,
            "source": {"type": "image", "alias": IMAGE},
            "config": {"limits.memory": MEMORY},
        }
        task: dict[str, object] = {"community.general.lxd_container": options, "loop": self.names}
        return self.world.file(f"lxd-{state}-{len(self.names)}.yml", local_play([task]))

    def do(self, operation: str) -> Sample:
        sample, printed = self.world.playbook(self.plays[operation])
        check_recap(printed, changed=operation != NOTHING)
        return sample


class Command(Contender):
    """The incus command in a shell's loop; for nothing to do it asks whether each instance is there."""

    label = COMMAND

    def do(self, operation: str) -> Sample:
        incus = shutil.which("incus", path=self.world.env["PATH"]) or "incus"
        line = {
            CREATE: f'{incus} init {IMAGE} "$n" -c limits.memory={MEMORY} -q',
            NOTHING: f'{incus} config show "$n" >/dev/null',
            START: f'{incus} start "$n" -q',
            DELETE: f'{incus} delete "$n" -q',
        }[operation]
        script = f'set -e; for n in "$@"; do {line}; done'
        command = ["/bin/sh", "-c", script, "loop", *self.names]
        return run(command, self.world.env, self.world.folder)[0]


def local_play(tasks: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]


def plan_play(world: World, kind: str, names: list[str], options: dict[str, object]) -> Path:
    """A plan of these instances and a play that applies it."""
    plan = {
        "name": "bench",
        "defaults": {"image": IMAGE, "state": kind},
        "instances": {name: {"memory": MEMORY} for name in names},
    }
    stem = f"{kind}-{len(names)}"
    src = world.file(f"plan-{stem}.yml", yaml.safe_dump(plan, sort_keys=False))
    task: dict[str, object] = {"rackstead.infra.plan": {"src": str(src), **options}}
    label = "-".join(str(value) for value in options.values())
    return world.file(f"play-{stem}-{label}.yml", local_play([task]))


def check_recap(printed: str, *, changed: bool) -> None:
    """The last lines must say what was expected of the task."""
    recap = printed[printed.rfind("PLAY RECAP") :]
    wanted = "changed=1" if changed else "changed=0"
    if wanted not in recap:
        raise Wrong(f"expected {wanted} in the recap:\n{printed[-2000:]}")


def cycle(world: World, contender: Contender, rows: Mapping[str, Row]) -> None:
    """One round of the operations that have a row; the samples go there. The harness does what lies between."""
    count = len(contender.names)
    harness = Floor(world, contender.names, 8)
    after = {CREATE: (count, "Stopped"), NOTHING: (count, "Stopped"), START: (count, "Running"), DELETE: (0, "")}
    world.expect(0)
    for operation in OPERATIONS:
        if operation == DELETE:
            world.stop_all()
        if operation in rows:
            sample = contender.do(operation)
            rows[operation].samples.append(sample)
            world.say(f"{operation} {count} · {contender.label}: {sample.wall:.2f} s")
        elif operation in (CREATE, DELETE):
            harness.do(operation)
        else:
            continue
        world.expect(*after[operation])
