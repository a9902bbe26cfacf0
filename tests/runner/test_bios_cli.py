# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``rackstead bios lint`` as a user runs it, on the example that the documentation shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

EXAMPLE = CHECKOUT / "docs/examples/bios"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "types"))


def lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # COLUMNS, which some test runner or library may have set, would make plain output wrap.
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    env = {**kept, "PYTHONPATH": f"{os.environ['ANSIBLE_COLLECTIONS_PATH']}{os.pathsep}{CHECKOUT / 'src'}"}
    argv = [sys.executable, "-m", "rackstead.cli", "bios", "lint", *arguments]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_what_device_types_come_to(folder: Path) -> None:
    done = lint(folder, "device_mappings.yaml")
    assert done.returncode == 0, done.stderr
    assert "s2.c2.desktop  extends s2.c2.small, s2; s2_c2_small.xml" in done.stdout
    assert "Console Redirection > Console Redirection #2: Unchecked -> Checked" in done.stdout
    one = json.loads(lint(folder, "device_mappings.yaml", "--type", "s2.c2.small", "--json").stdout)
    (found,) = one["device_types"]
    assert found["line"] == ["s2", "s2.c2.small"] and len(found["changes"]) == 12
    assert found["settings"]["boot_order"] == ["PXE", "HDD"]
    # Against a machine that is so already, there is nothing to change.
    text = (folder / "s2_reference.xml").read_text()
    (folder / "other.xml").write_text(
        text.replace('"Quiet Boot" checkedStatus="Checked"', '"Quiet Boot" checkedStatus="Unchecked"')
    )
    less = json.loads(
        lint(folder, "device_mappings.yaml", "--type", "s2.c2.small", "--against", "other.xml", "--json").stdout
    )
    assert len(less["device_types"][0]["changes"]) == 11


def test_faults_of_device_types(folder: Path) -> None:
    file = folder / "device_mappings.yaml"
    file.write_text(
        file.read_text().replace("name: Slot 1 OPROM", "name: Slot 1 OPRAM").replace("value: 500", "value: 50000")
    )
    done = lint(folder, "device_mappings.yaml")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 2  # each once, though two types have it
    assert (
        's2.c2.small.settings.option_roms: this BIOS has no setting for it; looked for: "Slot 1 OPRAM"' in done.stderr
    )
    assert lint(folder, "nothing.yaml").returncode == 2
    told = lint(folder, "device_mappings.yaml", "--type", "s2.c2.smal")
    assert told.returncode == 2 and 'did you mean "s2.c2.small"?' in told.stderr
