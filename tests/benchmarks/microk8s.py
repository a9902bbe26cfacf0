# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters of the stand-in for MicroK8s: one set up from bare machines, and many nodes scanned.

All machines are folders of this one, which does the work of each. A set-up is held against the delays that the stand-in
is ordered to take: one for all installations, which go at once, and one for each join, which go one by one. A scan goes
over SSH, in turns with a bare gathering of facts on the same hosts.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.microk8s import FAST, Lab, inventory, own_host
from testbed.nodes import Nodes, nodes

from rackstead.cli_hardware import FORKS

from .measures import MILLISECONDS, Measure
from .process import Wrong, run
from .world import tool

SETUP = "setup of 3+2 nodes, whole process"
SCAN = "scan over SSH, whole process"
DELAYS = "the stand-in's delays"
SETUP_OURS, SCAN_OURS, FACTS = "rackstead.infra.setup_cluster", "rackstead.infra.scan", "ansible.builtin.setup"
CONTROL, WORKERS = 3, 2
#: One node in so many is of the control plane; an odd number, as an even one is warned of.
CONTROL_SHARE = 5
PLAY = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.setup": {}}]}]


def measures(scanned: int, seconds: float, rounds: int, say: Callable[[str], None]) -> list[Measure]:
    """A cluster set up, with so many seconds for an installation or a join; and so many nodes scanned."""
    delays = seconds * (CONTROL + WORKERS)
    setup = Measure(SETUP, SETUP_OURS, CONTROL + WORKERS, MILLISECONDS, floor=DELAYS)
    fixed = Measure(SETUP, DELAYS, CONTROL + WORKERS, MILLISECONDS, [delays * 1000])
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as place:
            setup.rounds.append(set_up(Path(place), seconds) * 1000)
    say(f"{SETUP}: {setup.best / 1000:.1f} s, the delays {delays:.1f} s")
    scan = Measure(SCAN, SCAN_OURS, scanned, MILLISECONDS, floor=FACTS)
    facts = Measure(SCAN, FACTS, scanned, MILLISECONDS)
    with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as place:
        scans(Path(place), scanned, rounds, scan, facts)
    say(f"{SCAN} of {scanned}: {scan.best:.0f} ms, facts {facts.best:.0f} ms")
    return [setup, fixed, scan, facts]


def set_up(folder: Path, seconds: float) -> float:
    """Seconds in which bare machines became a cluster."""
    lab = Lab(folder / "state", {**FAST, "install": seconds, "join": seconds})
    names = [f"n{number}" for number in range(1, CONTROL + WORKERS + 1)]
    hosts = {name: own_host(lab.machine(name, number), number) for number, name in enumerate(names, 1)}
    for name in names[CONTROL:]:
        hosts[name]["microk8s_worker"] = True
    given = {"rackstead_host": "all", "microk8s_hosts_file": False}
    sample, _printed = run(command(folder, SETUP_OURS, hosts, given), environment(folder), folder)
    made = lab.cluster("n1")
    workers = [name for name, node in made["nodes"].items() if node["worker"]]
    if sorted(made["nodes"]) != names or sorted(workers) != names[CONTROL:]:
        raise Wrong(f"the cluster has {', '.join(made['nodes'])}, of which {', '.join(workers)} are workers")
    return sample.wall


def scans(folder: Path, count: int, rounds: int, scan: Measure, facts: Measure) -> None:
    """Scans and gatherings of facts, in turns; the first of each, which compiles, is not measured."""
    control = min(count, count // CONTROL_SHARE | 1)
    lab = Lab(folder / "state", FAST)
    machines = inventory(lab.formed(control, count - control))["all"]["hosts"]
    with nodes(folder / "nodes") as peer:
        hosts = {name: over_ssh(peer, name, variables) for name, variables in machines.items()}
        orders = [(scan, SCAN_OURS), (facts, "")]
        for number in range(rounds + 1):
            for measure, playbook in orders:
                argv = command(folder, playbook, hosts, {"rackstead_host": "all"})
                sample, printed = run(argv, environment(folder), folder)
                check(playbook, printed, count)
                if number:
                    measure.rounds.append(sample.wall * 1000)


def over_ssh(peer: Nodes, name: str, variables: dict[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in variables.items() if key.startswith("microk8s_")}
    return {**peer.variables(), **own, "microk8s_node_name": name}


def check(playbook: str, printed: str, count: int) -> None:
    """All hosts were looked at, and a scan found all of them well."""
    well = printed.count("all is well") if playbook else count
    looked = len(re.findall(r"unreachable=0 +failed=0", printed))
    if (well, looked) != (count, count):
        raise Wrong(f"{looked} of {count} hosts answered, and {well} were well:\n{printed[-1500:]}")


def command(folder: Path, playbook: str, hosts: dict[str, Any], given: dict[str, Any]) -> list[str]:
    file = folder / "hosts.yml"
    file.write_text(json.dumps({"all": {"hosts": hosts}}))
    book = folder / "facts.yml"
    book.write_text(json.dumps(PLAY))
    words = [tool("ansible-playbook"), playbook or str(book), "-i", str(file), "--forks", str(FORKS)]
    return [*words, "-e", json.dumps(given)]


def environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
    }
