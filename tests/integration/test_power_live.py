# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An outage that a real upsd tells of, watched over by the monitor, which is killed in the middle; beside it, the same
outage in the simulator. Hosts are files here, and stopping one is taking its file away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import read_power
from ansible_collections.rackstead.infra.plugins.module_utils.power.simulate import Outage, Scenario, simulate
from testbed import nut as testbed

from tests.conftest import CHECKOUT

SECONDS = 120
HOSTS = ("node1", "node2", "storage")


class Site:
    """A plan, hosts that are up where their file is there, and what was done to them, in its order."""

    def __init__(self, folder: Path, ups: str) -> None:
        self.folder = folder
        for name in HOSTS:
            self.up(name).touch()
        script = 'echo "$1 $2" >>"$3/log"; if [ "$1" = start ]; then touch "$3/up-$2"; else rm -f "$3/up-$2"; fi'
        do = ["sh", "-c", script, "sh"]
        commands = {one: [*do, one, "{target}", str(folder)] for one in ("stop", "force_stop", "start")}
        stages = [
            {"name": "batch", "targets": "node2", "on_battery": 2, "budget": 60},
            {"name": "web", "targets": "node1", "on_battery": 4, "budget": 60},
            {"name": "storage", "targets": "storage", "on_battery": 6, "budget": 60},
        ]
        self.document = {
            "poll": 1,
            "upses": {"ups1": {"watt_hours": 600, "rated_watts": 300, "nut": ups}},
            "hosts": {name: {"feeds": ["ups1"], "watts": 50, "stop": 1, "start": 30} for name in HOSTS},
            "stages": stages,
            "commands": {**commands, "probe": ["test", "-e", f"{folder}/up-{{target}}"]},
        }
        (folder / "power.yml").write_text(json.dumps(self.document))

    def up(self, host: str) -> Path:
        return self.folder / f"up-{host}"

    @property
    def done(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def printed(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("monitor-*")))

    @contextmanager
    def monitor(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        words = ["power", "monitor", str(self.folder / "power.yml"), "--journal", str(self.folder / "journal")]
        paths = [str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        with (self.folder / f"monitor-{name}").open("wb") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "rackstead.cli", *words]
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(SECONDS)

    def eventually(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(lambda: condition() or None, Deadline(SECONDS), what=what, first=0.1, last_seen=self.printed)


def test_an_outage_goes_as_the_simulator_says_though_the_monitor_is_killed(tmp_path: Path) -> None:
    with testbed.running({"ups1": testbed.READY}) as nut:
        site = Site(tmp_path, nut.place("ups1"))
        with site.monitor("one"):
            site.eventually((tmp_path / "journal").exists, "the journal")
            nut.set("ups1", ups_status="OB DISCHRG")
            site.eventually(lambda: len(site.done) > 0, "the first stage")
        with site.monitor("two"):
            site.eventually(lambda: len(site.done) >= len(HOSTS), "the other stages")
            nut.set("ups1", ups_status="OL")
            site.eventually(lambda: "done " in site.printed(), "all to be up")
    assert all(site.up(name).exists() for name in HOSTS)
    verdict = simulate(read_power(site.document), Scenario("power.yml", (Outage(("ups1",), 5, 60),)))
    said = [f"{one.action} {one.target}" for one in verdict.decisions if one.action in ("stop", "force_stop", "start")]
    assert verdict.safe and site.done == said  # each once, in this order
