# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Molecule scenario, run by Molecule: its platform is an instance that a plan makes."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.runner.conftest import CommandLine


@pytest.mark.timeout(900)
def test_the_scenario_of_the_role_provider(rackstead: CommandLine, debian_image: str) -> None:
    shutil.copytree(CHECKOUT / "extensions", rackstead.folder / "extensions")
    done: Any = subprocess.run(
        ["molecule", "test", "--scenario-name", "provider"],
        cwd=rackstead.folder / "extensions",
        env={**rackstead.env, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout
    recaps = re.findall(r"^molecule-provider +: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE)
    assert len(recaps) == 3, done.stdout  # converge, idempotence, verify
    assert int(recaps[0]) > 0 and recaps[1:] == ["0", "0"]
    assert rackstead.project.names() == []
