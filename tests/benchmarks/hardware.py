# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a hardware report takes: of one node and of many, over SSH, remembered in SQLite.

Whole processes of ``ansible-playbook`` with as many forks as the workflow has. All nodes are this machine, which does
the work of each: real ones would share it. Beside it, ``ansible.builtin.ping`` on the same nodes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import fleet
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from testbed.nodes import Nodes, nodes

from rackstead.cli_hardware import FORKS

from .measures import MILLISECONDS, Measure
from .process import Wrong, run
from .world import tool

REPORT = "hardware report over SSH, whole process"
OURS, PING = "rackstead.infra.hardware_report", "ansible.builtin.ping"
PLAY = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}]


def measures(count: int, rounds: int, say: Callable[[str], None]) -> list[Measure]:
    """Of one node and of ``count``, in turns with the floor."""
    found = []
    with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as place:
        folder = Path(place)
        with nodes(folder / "nodes") as peer:
            for many in sorted({1, count}):
                names = [f"node{number:02}" for number in range(1, many + 1)]
                ours = Measure(REPORT, OURS, many, MILLISECONDS, floor=f"{PING}, {many}")
                floor = Measure(REPORT, f"{PING}, {many}", many, MILLISECONDS)
                one_round(folder, peer, names, Measure(REPORT, "", many, MILLISECONDS), floor=None)  # compiles
                for _ in range(rounds):
                    one_round(folder, peer, names, ours, floor)
                say(f"{REPORT} of {many}: {ours.best:.0f} ms, ping {floor.best:.0f} ms")
                found += [ours, floor]
    return found


def one_round(folder: Path, peer: Nodes, names: list[str], ours: Measure, floor: Measure | None) -> None:
    inventory = str(peer.inventory(names))
    state = f"sqlite:{folder}/state-{len(names)}.db"
    book = folder / "ping.yml"
    book.write_text(json.dumps(PLAY))
    base = [tool("ansible-playbook"), "-i", inventory, "--forks", str(FORKS)]
    orders = [(ours, [*base, "rackstead.infra.hardware_report", "-e", json.dumps({"hardware_nodes": ["all"]})])]
    orders += [(floor, [*base, str(book)])] if floor else []
    for measure, command in orders:
        sample, _printed = run(command, environment(folder, state), folder)
        measure.rounds.append(sample.wall * 1000)
    check(state, names)


def check(state: str, names: list[str]) -> None:
    """All nodes were read and remembered."""
    store = open_store(state)
    try:
        known = {one.node for one in fleet(store) if one.report.read("memory")}
    finally:
        store.close()
    if known != set(names):
        raise Wrong(f"there are reports of {len(known)} nodes, not of {len(names)}")


def environment(folder: Path, state: str) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "RACKSTEAD_STATE": state,
    }
