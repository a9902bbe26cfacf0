# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""exec's streams, straight from the core: nothing is lost, nothing hangs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import DeadlineExceeded
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.execute import execute

MANY = 200
BIG = 8 * 1024 * 1024


@pytest.fixture(name="box")
def _box(project: Any) -> str:
    project.client.post("/instances", {"name": "box", "source": {"type": "image", "alias": "tiny"}, "start": True})
    return "box"


def test_output_of_commands_that_end_at_once_is_never_lost(project: Any, box: str) -> None:
    """The daemon pings a stream and may be gone before the answer; what it sent before still counts."""
    seen = [execute(project.client, box, ["/bin/echo", str(number)]).stdout for number in range(MANY)]
    assert seen == [f"{number}\n".encode() for number in range(MANY)]


def test_large_streams_flow_both_ways_at_once(project: Any, box: str) -> None:
    data = bytes(range(256)) * (BIG // 256)
    result = execute(project.client, box, ["/bin/cat"], stdin=data)
    assert (result.rc, result.stdout == data, result.stderr) == (0, True, b"")


def test_a_command_that_reads_nothing_is_killed_in_time(project: Any, box: str) -> None:
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"did not end within 0\.5 s and was killed"):
        execute(project.client, box, ["/bin/sh", "-c", "sleep 600"], stdin=b"x" * BIG, timeout=0.5)
    assert time.monotonic() - begun < 300
    assert b"sleep 600" not in execute(project.client, box, ["/bin/ps"]).stdout
