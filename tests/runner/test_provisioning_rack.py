# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real workflow on a rack of servers, ordered by command, over REST and from Python. The peers tell how it went."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from testbed import rack as testbed
from testbed import rackbios
from testbed.rack import Rack

from rackstead.provisioning import provision_server
from tests.integration.provisioning import SECRETS, unfinished, untouched
from tests.runner.provisioned import Racks
from tests.runner.test_cli_remote import Person, with_a_worker

#: Attempts follow each other quickly.
QUICK = {name: {"backoff": 0.2} for name in "commission address bios_pull bios_modify bios_push bmc finalize".split()}


@dataclass
class Real(Racks):
    """Whose workflow is the collection's."""

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "RACKSTEAD_WORKFLOWS": ""}

    def site(self, rack: Rack) -> Real:
        """This machine's variables for the workflow: all that is not ordered."""
        variables = rack.variables(provision_steps=QUICK)
        for name in ("provision_servers", "provision_state_url"):
            del variables[name]
        file = self.folder / "variables/provision.yml"
        file.touch(mode=0o600)
        file.write_text(json.dumps(variables))
        return self


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    with testbed.running(3, boot=0.05, delay=0.05) as found:
        yield found


@pytest.fixture(scope="module")
def site(rack: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    found = Real(tmp_path_factory.mktemp("real"))
    found.prepare()
    found.site(rack)
    try:
        yield found.start()  # type: ignore[misc]
    finally:
        found.end()


def words_of(rack: Rack, number: int) -> list[str]:
    order = rack.order(number)
    words = [order["server_id"], order["device_type"], order["target_ipmi_ip"], "--netmask", order["netmask"]]
    words += ["--gateway", order["gateway"], "--rack-location", order["rack_location"]]
    return ["provision", *words, *(word for tag in order["tags"] for word in ("--tag", tag))]


def left(folder: Path) -> str:
    """All that the server has written."""
    return "".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())


@pytest.mark.timeout(600)
def test_a_server_by_command_here(site: Real, rack: Rack, tmp_path: Path) -> None:
    own = {name: value for name, value in site.env.items() if name.startswith("RACKSTEAD_")}
    here = Person(site, tmp_path / "here", **{**own, "RACKSTEAD_SERVER": "", "RACKSTEAD_TOKEN": ""})
    words = words_of(rack, 1)
    dry = here(*words, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "1 server: 1 looked at" in dry.stdout and untouched(rack, 1)
    wrong = here("provision", "node99", "s9.wrong", rack.new(1))
    assert wrong.returncode == 2, wrong.stderr
    assert "s9.wrong" in wrong.stderr or "node99" in wrong.stderr
    assert untouched(rack, 1)
    done = here(*words)
    assert done.returncode == 0, done.stderr
    assert unfinished(rack, 1) == []
    assert re.search(r"completed +✔ ✔ ✔ ✔ ✔ ✔ ✔", done.stdout)
    shown = here("provision", "status", str(rack.servers[0]))
    assert f"{len(rackbios.WANTED)} settings to change" in shown.stdout and rack.new(1) in shown.stdout
    again = here(*words, "--dry-run")
    assert again.returncode == 0 and unfinished(rack, 1) == []
    assert not any(word in text for word in SECRETS for text in (done.stdout, done.stderr, shown.stdout))


@pytest.mark.timeout(600)
def test_a_server_over_rest(site: Real, rack: Rack) -> None:
    with_a_worker(site)
    order = rack.order(2)
    found = site.order(order.pop("server_id"), **order)
    over = site.over(found["id"])
    assert over["state"] == "completed", over
    assert unfinished(rack, 2) == []
    server = over["servers"][0]
    assert [one["state"] for one in server["steps"]] == ["done"] * 7
    assert (server["hostname"], server["job"]) == (str(rack.servers[1]), found["id"])
    assert len(server["steps"][3]["outputs"]["changes"]) == len(rackbios.WANTED)
    assert site.status(str(rack.servers[1]))["job"] == found["id"]
    files = left(site.folder / "data") + json.dumps(over) + site.log
    assert not any(word in files for word in SECRETS)


@pytest.mark.timeout(600)
def test_a_server_from_python(site: Real, rack: Rack) -> None:
    seen: list[dict[str, Any]] = []
    with patch.dict(os.environ, site.env, clear=True):
        found = provision_server(**rack.order(3), progress_callback=seen.append)
    assert unfinished(rack, 3) == []
    assert (found["state"], found["system_id"]) == ("completed", rack.servers[2].system_id)
    assert [one["step"] for one in seen if one["status"] == "done"] == [1, 2, 3, 4, 5, 6, 7]
