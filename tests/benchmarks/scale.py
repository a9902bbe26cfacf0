# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory of many stopped instances, and the memory of a plan of many."""

from __future__ import annotations

import json
from pathlib import Path

from .lifecycle import CREATE, OURS, check_recap, names_of, plan_play
from .process import Peak, Wrong, run
from .samples import Row
from .world import World, tool

PLUGIN, PEER = "rackstead.infra.instances", "community.general.lxd"
INVENTORY, LISTING, EVERYWHERE = "inventory, empty play", "ansible-inventory --list", "empty play on all"


def empty_play(world: World, hosts: str = "localhost") -> Path:
    """A play without a task: Ansible's own start-up."""
    book = [{"hosts": hosts, "connection": "local", "gather_facts": False, "tasks": []}]
    return world.file(f"empty-{hosts}.yml", book)


def startup(world: World, row: Row, repeats: int = 1) -> None:
    """Add samples of the empty play to ``row``. Done between the measurements, it meets the same conditions."""
    play = empty_play(world)
    if not row.samples:
        world.playbook(play)  # byte code of Ansible itself is compiled now
    for _ in range(repeats):
        row.samples.append(world.playbook(play)[0])
    world.say(f"empty play: {row.samples[-1].wall:.2f} s")


def inventories(world: World, count: int, *, peers: bool, repeats: int, start: Row) -> list[Row]:
    """Plays without a task, and listings, with our inventory; with the peer's, or a static file, for comparison."""
    world.expect(count, "Stopped")
    ours = str(
        world.file("bench.instances.yml", {"plugin": PLUGIN, "url": world.url, "projects": [world.rest.project]})
    )
    static = str(world.file("static.ini", "\n".join(names_of(count))))
    rows = [
        Row(INVENTORY, PLUGIN, count, startup=start),
        Row(EVERYWHERE, PLUGIN, count, startup=start),
        Row(EVERYWHERE, "static file", count, startup=start),
    ]
    for _ in range(repeats):
        for row, hosts, source in zip(rows, ("localhost", "all", "all"), (ours, ours, static), strict=True):
            # localhost is made by Ansible where no inventory has it
            row.samples.append(world.playbook(empty_play(world, hosts), source)[0])
            world.say(f"{row.operation} of {count} · {row.contender}: {row.samples[-1].wall:.2f} s")
    rows.append(listing(world, PLUGIN, ours, count))
    if peers:
        rows.append(listing(world, PEER, peer_inventory(world), count))
    return rows


def peer_inventory(world: World) -> str:
    project, url = world.rest.project, f"unix:{world.rest.path}"
    return str(world.file("bench.lxd.yml", {"plugin": PEER, "url": url, "project": project, "type_filter": "both"}))


def listing(world: World, name: str, source: str, count: int) -> Row:
    """One run of ansible-inventory, whose output must hold all instances."""
    sample, printed = run([tool("ansible-inventory"), "-i", source, "--list"], world.env, world.folder)
    found = json.loads(printed[printed.index("{") :])["_meta"]["hostvars"]
    if len(found) != count:
        raise Wrong(f"{name} found {len(found)} of {count} instances")
    world.say(f"{LISTING} of {count} · {name}: {sample.wall:.2f} s")
    return Row(LISTING, name, count, [sample])


def apply_plan(world: World, count: int, operation: str, start: Row) -> Row:
    """Bring a plan of ``count`` stopped instances about (or find it so) and watch the memory of the process tree."""
    play = plan_play(world, "stopped", names_of(count), {"state": "present"})
    peak = Peak()
    before = len(world.rest.names())
    sample, printed = world.playbook(play, watch=peak)
    check_recap(printed, changed=operation == CREATE)
    world.expect(count, "Stopped")
    done = f"create {count - before}" if operation == CREATE else operation
    row = Row(f"plan of {count}: {done}", OURS, count, [sample], start, extra=peak.document())
    world.say(f"{row.operation}: {sample.wall:.2f} s, {peak.rss / 1e6:.0f} MB")
    return row


def empty_memory(world: World, start: Row) -> Row:
    """What an empty play of Ansible takes itself: for comparison."""
    peak = Peak()
    sample, _printed = world.playbook(empty_play(world), watch=peak)
    return Row("empty play", "ansible-playbook, memory watched", 0, [sample], start, extra=peak.document())
