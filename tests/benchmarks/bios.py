# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long reading a BIOS file takes, deciding what changes, and writing what is pushed: our own work, no machine's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.decide import decide
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.device_types import load
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.document import Document
from testbed import biosdocs

from .measures import MILLISECONDS, Measure

DIFF, OURS = "read and diff of a BIOS file", "bios_config"
#: Every tenth setting is to be another.
TYPES = "{supermicro: [%s]}"
SETTINGS = 300


def measures(rounds: int, say: Callable[[str], None]) -> list[Measure]:
    """Each round reads the file anew. What the file of device types takes is not in it: that is read once a run."""
    measure = Measure(DIFF, OURS, SETTINGS, MILLISECONDS)
    data = biosdocs.board(SETTINGS)
    wishes = ", ".join(f"{{name: Feature 0, menu: Menu {menu}, value: Auto}}" for menu in range(SETTINGS // 10))
    with tempfile.TemporaryDirectory(prefix="rackstead-bench-") as folder:
        file = Path(folder) / "types.yaml"
        file.write_text(f"it: {TYPES % wishes}\n")
        device_type = load(file).resolve("it")
    for _ in range(max(rounds, 1) * 5):
        start = time.perf_counter()
        document = Document.parse(data)
        changes = decide(document, device_type)
        only = document.only(changes)
        measure.rounds.append((time.perf_counter() - start) * 1000)
        if len(changes) != SETTINGS // 10 or len(only.settings) != len(changes):
            raise AssertionError(f"{len(changes)} settings differ, not {SETTINGS // 10}")
    say(f"{DIFF}, {SETTINGS} settings: {measure.best:.1f} ms")
    return [measure]
