# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisioning against peers with fixed delays: one server, then many at once, by whole ``ansible-playbook`` processes.

MAAS takes some seconds over each order, and a boot takes ``BOOT``. What a server takes beyond the delays of its
peers is our own work. It is told by the record, step by step, so that Ansible's start is not in it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from testbed import rack as racks

from . import process
from .measures import MILLISECONDS, Measure
from .process import Wrong
from .world import tool

ONE, MANY, SLOWEST = (
    "provisioning, one server",
    "provisioning, all servers at once",
    "provisioning, the slowest of them",
)
#: Over the peers' delays that are fixed. It holds what BMCs, SSH and SUM themselves take, and waiting for answers that
#: an address that nobody has does not give.
OVER = "provisioning, one server, over the delays"
#: Processor time of the playbook and all that it starts.
OWN = "provisioning, own work for each server"
OURS = "provision_server"
BOOT = 3.0


def measures(servers: int, maas: float, say: Callable[[str], None]) -> list[Measure]:
    """One server by itself, then ``servers`` of them. MAAS takes ``maas`` seconds over an order."""
    boot = min(BOOT, maas)
    # Commissioning boots once, and so does rescue mode, which is entered and left.
    delays = 3 * maas + 2 * boot
    one, _slowest, _work = _round(1, maas, boot)
    many, slowest, work = _round(servers, maas, boot)
    values = {ONE: (1, one), OVER: (1, one - delays), MANY: (servers, many), SLOWEST: (servers, slowest)}
    values[OWN] = (servers, work)
    for what, (count, seconds) in values.items():
        say(f"{what} ({count}): {seconds:.1f} s")
    extra = {"maas_s": maas, "boot_s": boot}
    return [
        Measure(what, OURS, count, MILLISECONDS, [seconds * 1000], extra=extra)
        for what, (count, seconds) in values.items()
    ]


def _round(count: int, maas: float, boot: float) -> tuple[float, float, float]:
    """Seconds of all together and of the slowest, by the records; processor time for each server."""
    with racks.running(count, boot=boot, delay=maas) as rack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "servers.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(rack.variables()))
        argv = [tool("ansible-playbook"), "rackstead.infra.provision_server", "-e", f"@{file}", "--forks", str(count)]
        environment = {**os.environ, "ANSIBLE_HOME": name, "ANSIBLE_CONFIG": str(folder / "ansible.cfg")}
        (folder / "ansible.cfg").touch()
        sample, _printed = process.run(argv, environment, folder)
        bodies = _records(rack)
        if any(server.bmc_address != rack.new(number) for number, server in enumerate(rack.servers, 1)):
            raise Wrong("a BMC is not where it should be")
    spans = [(_time(body["started"]), _time(body["updated"])) for body in bodies]
    whole = max(end for _begin, end in spans) - min(begin for begin, _end in spans)
    took = [end - begin for begin, end in spans]
    return whole, max(took), (sample.cpu or 0.0) / count


def _records(rack: racks.Rack) -> list[dict[str, Any]]:
    store = open_store(f"file:{rack.folder}/state")
    try:
        bodies = [dict(store.get("provision", server.system_id).body) for server in rack.servers]
    finally:
        store.close()
    if {body["state"] for body in bodies} != {"completed"}:
        raise Wrong(f"not all servers were completed: {[body['state'] for body in bodies]}")
    return bodies


def _time(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
