# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All measurements in one go: the order, the sizes, what is skipped and why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError

from . import bios, bundle, connection, hardware, jobs, lifecycle, microk8s, plot, provision, rest, scale, state
from .floor import WORKERS
from .lifecycle import CREATE, DELETE, NOTHING, OPERATIONS, START, Command, Contender, Floor, LxdContainer, Plan
from .measures import RECORDS_A_SECOND, Measure
from .process import Failed, Wrong
from .samples import Row
from .world import World

#: Parts that need an Incus daemon, and those of the runner.
ON_INCUS = ("lifecycle", "scale", "connection")
RUNNER = ("jobs", "rest", "state", "bios", "provision", "hardware", "microk8s")
PARTS = (*ON_INCUS, *RUNNER)
PICTURE = "state-stores.svg"
CONTENDERS = ("ours", "floor", "incus", "lxd")


@dataclass(frozen=True)
class Sizes:
    """How many of what, and how often."""

    count: int = 50
    slow_count: int = 15  # of lxd_container where it is slow; its loop is linear, so its seconds are scaled to `count`
    inventory: int = 500
    memory: int = 1000
    hosts: int = 10
    forks: int = 5  # Ansible's own default
    repeats: int = 3
    startups: int = 5
    turns: int = 1  # of the connection plugins, which take long
    jobs: int = 1000  # that are drained
    parallel: int = 32  # of them at once
    runs: int = 10  # of one job and of ansible-playbook, in turns
    stored: int = 100_000  # jobs that are listed
    seconds: int = 10  # for which they are asked for
    followed: int = 5  # jobs whose events a client waits for
    records: int = 1000  # of each backend of the state store
    rounds: int = 3  # of what belongs to jobs, REST, the state store and hardware reports
    nodes: int = 20  # whose hardware is read at once
    scanned: int = 50  # nodes of a cluster that are scanned at once
    microk8s_seconds: int = 10  # that an installation or a join takes there
    servers: int = 20  # that are provisioned at once
    maas_seconds: int = 8  # that MAAS takes over an order there


@dataclass
class Bench:
    """A run over the chosen parts and contenders. Rows and notes gather here."""

    world: World
    sizes: Sizes
    contenders: Sequence[str] = CONTENDERS
    parts: Sequence[str] = PARTS
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""

    def run(self) -> None:
        start = Row("empty play", "ansible-playbook", 0)
        self.rows.append(start)
        scale.startup(self.world, start, self.sizes.startups)
        if "lifecycle" in self.parts:
            self.lifecycle(start)
        if "scale" in self.parts and "ours" in self.contenders:
            self.scale(start)
        if "connection" in self.parts:
            self.connection(start)

    def peers(self) -> str:
        """Make community.general available to Ansible. Returns its version, or nothing after a note on why not."""
        try:
            tree = bundle.collections_tree()
        except bundle.Unavailable as reason:
            self.notes.append(f"community.general was not measured: {reason}")
            return ""
        self.world.use_collections(tree)
        return bundle.version(tree)

    # -- fifty instances ------------------------------------------------------------------------------
    def lifecycle(self, start: Row) -> None:
        names = lifecycle.names_of(self.sizes.count)
        ours = [Plan(self.world, names)] if "ours" in self.contenders else []
        floors = [Floor(self.world, names, workers) for workers in WORKERS] if "floor" in self.contenders else []
        table = {one.label: self._block(one, start if one in ours else None) for one in (*ours, *floors)}
        for floor in floors[1:]:
            del table[floor.label][NOTHING]  # one question, whoever asks it
        for plan in ours:
            self.world.playbook(plan.plays[CREATE], options=["--check"])  # its byte code is compiled now
        for turn in range(self.sizes.repeats):
            scale.startup(self.world, start)
            # One worker is never the best at anything but telling how much the daemon does at once.
            for contender in (*ours, *(floor for floor in floors if floor.workers > 1 or turn == 0)):
                lifecycle.cycle(self.world, contender, table[contender.label])
        blocks = [*table.values(), *self._command(names), *self._lxd(start)]
        found = [block[operation] for operation in OPERATIONS for block in blocks if operation in block]
        self.rows += [row for row in found if row.samples]
        self.notes.append("between start and delete the harness cut the power of all (forced stop), unmeasured")

    def _block(self, contender: Contender, start: Row | None) -> dict[str, Row]:
        return {name: Row(name, contender.label, self.sizes.count, startup=start) for name in OPERATIONS}

    def _command(self, names: list[str]) -> list[dict[str, Row]]:
        if "incus" not in self.contenders:
            return []
        contender = Command(self.world, names)
        block = self._block(contender, None)
        lifecycle.cycle(self.world, contender, block)
        return [block]

    def _lxd(self, start: Row) -> list[dict[str, Row]]:
        """Nothing to do on all of them, for that is a target; the slow operations on fewer."""
        if "lxd" not in self.contenders or not self.peers():
            return []
        few = min(self.sizes.slow_count, self.sizes.count)
        every, some = (LxdContainer(self.world, lifecycle.names_of(count)) for count in (self.sizes.count, few))
        block = self._block(every, start)
        for operation in (CREATE, START, DELETE):
            block[operation].did = few
        try:
            lifecycle.cycle(self.world, every, {NOTHING: block[NOTHING]})
            lifecycle.cycle(self.world, some, {name: block[name] for name in (CREATE, START, DELETE)})
        except (Failed, Wrong) as error:
            self.world.empty()
            self.notes.append(f"lxd_container failed and is left out where it has no row: {error}")
        if few != self.sizes.count:
            self.notes.append(f"lxd_container: n ({few}) means measured on {few}, start-up apart scaled to n")
        return [block]

    # -- hundreds -------------------------------------------------------------------------------------
    def scale(self, start: Row) -> None:
        half, whole = self.sizes.inventory, self.sizes.memory
        peers = "lxd" in self.contenders and bool(self.peers())
        self.rows.append(scale.empty_memory(self.world, start))
        self.rows.append(scale.apply_plan(self.world, half, CREATE, start))
        self.rows += scale.inventories(self.world, half, peers=peers, repeats=self.sizes.repeats, start=start)
        self.rows.append(scale.apply_plan(self.world, whole, CREATE, start))
        self.rows.append(scale.apply_plan(self.world, whole, NOTHING, start))
        self.world.empty()

    # -- inside instances -----------------------------------------------------------------------------
    def connection(self, start: Row) -> None:
        if connection.IMAGE not in {
            found["name"] for found in self.world.rest.ask("GET", "/images/aliases", recursion="1")
        }:
            self.notes.append(f"the connection was not measured: the daemon has no image {connection.IMAGE}")
            return
        plugins = [connection.OURS] if "ours" in self.contenders else []
        if "lxd" in self.contenders and self.peers():
            if shutil.which("incus", path=self.world.env["PATH"]):
                plugins.append(connection.PEER)
            else:
                self.notes.append("community.general.incus was not measured: the incus command is not here")
        with connection.hosts(self.world, self.sizes.hosts) as names:
            self.rows += connection.measure(self.world, names, plugins, self.sizes.forks, self.sizes.turns, start)


def runner(
    sizes: Sizes, parts: Sequence[str], say: Callable[[str], None], folder: Path
) -> tuple[list[Measure], list[str], str]:
    """What needs no Incus: measures, notes, and what broke it off. A picture of the backends goes into ``folder``."""
    found: list[Measure] = []
    notes: list[str] = []
    try:
        if "jobs" in parts:
            found += jobs.drains(sizes.jobs, sizes.parallel, sizes.rounds, say)
            found += jobs.delays(sizes.runs, say)
        if "rest" in parts:
            found += rest.measures(sizes.stored, sizes.seconds, sizes.followed, sizes.rounds, say)
        if "bios" in parts:
            found += bios.measures(sizes.rounds, say)
        if "provision" in parts:
            found += provision.measures(sizes.servers, float(sizes.maas_seconds), say)
        if "state" in parts:
            stores, notes = state.measures(sizes.records, sizes.rounds, say)
            found += stores
            groups = [(what, [one for one in stores if one.what == what]) for what in state.WHATS]
            picture = plot.bars("Backends of the state store", RECORDS_A_SECOND, groups)
            (folder / PICTURE).write_text(picture)
        if "hardware" in parts:
            found += hardware.measures(sizes.nodes, sizes.rounds, say)
        if "microk8s" in parts:
            found += microk8s.measures(sizes.scanned, float(sizes.microk8s_seconds), sizes.rounds, say)
    except (Failed, Wrong, RacksteadError) as error:
        return found, notes, str(error)
    return found, notes, ""
