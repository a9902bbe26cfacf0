# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisions one server in a process of its own, which can be killed at a named point: ``… provision_child FILE``.

FILE is a JSON document: ``params`` (options of ``provision_step``), ``server``, ``order``, ``trace`` (a file that gets
a line for each point that is passed), and ``point`` with ``how`` (KILL or STOP), what is done to this process there.
A point is what happens around each write into the state store, each order to MAAS, each run of SUM and each LAN
parameter, with the step in front: ``bmc: after lan 3``.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.sum import Sum
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bmc.ipmi import Ipmi
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.maas.client import Maas
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision import engine
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.journal import (
    Journal,
    holder_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.model import (
    NAMES,
    Server,
    order_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.settings import (
    settings_of,
)
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.task import Task
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

#: What only looks whether the lease is still ours changes nothing.
HARMLESS = ("guard", "beat")


class Points:
    """The points that are passed, and what happens at one of them."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.step = ""
        self.passed: Counter[str] = Counter()

    def hit(self, what: str) -> None:
        name = f"{self.step}: {what}"
        self.passed[name] += 1
        name += f" #{self.passed[name]}" if self.passed[name] > 1 else ""
        with Path(self.job["trace"]).open("a") as trace:
            trace.write(name + "\n")
        if name == self.job.get("point"):
            os.kill(os.getpid(), getattr(signal, f"SIG{self.job['how']}"))

    def around(self, owner: type, name: str, label: Callable[..., str]) -> None:
        """Have points before and after a method, as far as it has a label."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **named: Any) -> Any:
            what = label(*args, **named)
            if what:
                self.hit(f"before {what}")
            result = original(*args, **named)
            if what:
                self.hit(f"after {what}")
            return result

        setattr(owner, name, wrapped)


def _store(*_args: Any, **_named: Any) -> str:
    """Who writes into the store."""
    caller = sys._getframe(2).f_code.co_name
    return "" if caller in HARMLESS else f"store {caller}"


def _order(_maas: Maas, method: str, path: str, **content: Any) -> str:
    op = (content.get("params") or {}).get("op", "")
    return "" if method == "GET" else " ".join(["MAAS", method, op or path.split("/", maxsplit=1)[0]])


def _lan(_bmc: Ipmi, _channel: Any, number: int, *_rest: Any) -> str:
    return f"lan {number}"


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    points = Points(job)
    points.around(Store, "change", _store)
    points.around(Maas, "_ask", _order)
    points.around(Sum, "_sum", lambda _sum, _folder, words, _deadline: f"sum {words[0]}")
    points.around(Ipmi, "_set_parameter", _lan)
    engine.LONGEST = 3.0  # for a connection to come back by itself
    settings = settings_of(job["params"])
    store = open_store(job["params"]["state_url"])
    journal = Journal(store, Server(**job["server"]), holder_of(os.getpid()))
    with Maas(settings.maas) as maas:
        for points.step in NAMES:
            task = Task(settings, journal.server, order_of(job["order"]), maas, journal, Deadline(60), tell=print)
            points.hit("begin")
            try:
                result = engine.run_step(task, points.step)
            except RacksteadError as error:
                sys.exit(f"{points.step}: {type(error).__name__}: {error}")
            print(json.dumps({points.step: [result.changed, result.attempts]}), flush=True)
            points.hit("end")


if __name__ == "__main__":
    main()
