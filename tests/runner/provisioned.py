# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server whose workflow ``provision`` is that of the tests, and people who use it: on its machine and elsewhere.

The workflow writes the records that the real one writes, at once; files in a folder have steps wait or fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until

from tests.conftest import CHECKOUT
from tests.runner.rest_server import SECONDS
from tests.runner.web_site import Site

WORKFLOWS = CHECKOUT / "tests/runner/provisioning"
BOUND = 4 * SECONDS
CSV = "server_id,device_type,target_ipmi_ip,rack_location,tags\n"


@dataclass
class Racks(Site):
    """``gates`` is the folder that the workflow is told of by this machine's file of variables."""

    @property
    def gates(self) -> Path:
        return self.folder / "gates"

    @property
    def env(self) -> dict[str, str]:
        own = {"RACKSTEAD_WORKFLOWS": str(WORKFLOWS), "RACKSTEAD_VARIABLES": str(self.folder / "variables")}
        return {**super().env, **own}

    def prepare(self) -> Racks:
        self.gates.mkdir()
        (self.folder / "variables").mkdir()
        (self.folder / "variables/provision.yml").write_text(f"provision_ssh_key_file: {self.gates}\n")
        return self

    def hold(self, server: str, step: str) -> Callable[[], None]:
        """Have a server's step wait until what is returned is called."""
        gate = self.gates / f"wait-{server}-{step}"
        gate.touch()
        return lambda: gate.unlink(missing_ok=True)

    def fail(self, server: str, step: str, why: str) -> None:
        (self.gates / f"fail-{server}-{step}").write_text(why)

    def order(self, server: str, **more: Any) -> dict[str, Any]:
        body = {"server_id": server, "device_type": "s2.c2.small", "target_ipmi_ip": "192.168.100.50", **more}
        answer = self.call("POST", "/api/orchestration/provision", body)
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.get(f"/api/orchestration/workflow/{name}/status"))

    def reached(self, name: str, step: str, *states: str) -> dict[str, Any]:
        """The status when the first server's step has come to one of these states."""

        def there() -> dict[str, Any] | None:
            answer = self.call("GET", f"/api/orchestration/workflow/{name}/status")
            if answer.status_code == 404:
                return None  # nothing is known of it yet
            found: dict[str, Any] = answer.json()
            steps = {one["name"]: one["state"] for one in found["servers"][0]["steps"]}
            return found if steps[step] in states else None

        return wait_until(there, Deadline(BOUND), what=f"{step} of {name} to be {states}", last_seen=lambda: self.log)

    def over(self, name: str, *states: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.status(name)
            return found if found["state"] in (states or ("completed", "failed", "cancelled")) else None

        return wait_until(there, Deadline(BOUND), what=f"{name} to be {states}", last_seen=lambda: self.log)


@contextmanager
def racks(folder: Path) -> Iterator[Racks]:
    found = Racks(folder).prepare()
    try:
        yield found.start()
    finally:
        for gate in found.gates.glob("wait-*"):
            os.unlink(gate)
        found.end()
