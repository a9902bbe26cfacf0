# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that shuts itself down, with a command that ends when the test has looked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.hostoff import ensure_off
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound


def test_a_shutdown_is_under_way_once_and_outlives_whoever_asked(tmp_path: Path) -> None:
    lock, gate, off = str(tmp_path / "lock"), tmp_path / "gate", tmp_path / "off"
    os.mkfifo(gate)
    # It waits at the gate, and by itself for no longer than a minute.
    command = ["timeout", "60", "sh", "-c", f"echo $$ > {off}.new; mv {off}.new {off}; cat {gate}"]
    planned = ensure_off(command, 0, lock, check=True)
    assert planned["changed"] and not off.exists() and not (tmp_path / "lock").exists()
    assert ensure_off(command, 0, lock, check=False) == planned
    try:
        wait_until(lambda: off.exists() or None, Deadline(50), what="the command to run", first=0.01)
        assert os.getsid(int(off.read_text())) != os.getsid(0)
        again = ensure_off(command, 0, lock, check=False)
        assert not again["changed"] and again["under_way"] and again == ensure_off(command, 0, lock, check=True)
    finally:
        wait_until(lambda: opened(gate), Deadline(50), what="the command to be at the gate", first=0.01)
    # A machine that is still there when it has ended can be told again.
    ended = wait_until(
        lambda: ensure_off(command, 0, lock, check=True)["changed"] or None, Deadline(50), what="the end", first=0.01
    )
    assert ended


def opened(gate: Path) -> bool | None:
    """Let the command through; none where it is not there yet."""
    try:
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return None
    return True


def test_bad_input_and_a_missing_command_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="command: is empty"):
        ensure_off([], 0, str(tmp_path / "lock"), check=False)
    with pytest.raises(InvalidInput, match="delay: -1 is not valid"):
        ensure_off(["true"], -1, str(tmp_path / "lock"), check=False)
    with pytest.raises(NotFound, match="no command no-such-command"):
        ensure_off(["no-such-command"], 0, str(tmp_path / "lock"), check=True)
