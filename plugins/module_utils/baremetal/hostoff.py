# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This machine shut down by its own operating system, a moment after whoever asked has had the answer."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.errors import InvalidInput, NotFound
from ..common.show import diff_of

#: Where it is known that a shutdown is under way. It is gone after the next boot.
LOCK = "/run/rackstead-poweroff.lock"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def ensure_off(command: Sequence[str], delay: float, lock: str, check: bool) -> dict[str, Any]:
    """The machine shuts down in ``delay`` seconds. Where it is about to already, nothing is done.

    The process that does it belongs to nobody: neither the end of the connection nor a killed run holds it up.
    """
    if not command or delay < 0:
        bad = (
            "command: is empty; allowed: words" if not command else f"delay: {delay:g} is not valid; allowed: 0 or more"
        )
        raise InvalidInput([bad])
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:{SBIN}")
    if program is None:
        raise NotFound(f"there is no command {command[0]} on this machine", hint="see the option command")
    if check:
        return _answer(not _held(Path(lock)))
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _answer(False)
        _detached([program, *command[1:]], delay, handle)
    finally:
        os.close(handle)
    return _answer(True)


def _detached(words: Sequence[str], delay: float, handle: int) -> None:
    """The lock is held as long as the process lives, and whatever it becomes."""
    subprocess.Popen(
        ["/bin/sh", "-c", 'sleep "$0"; exec "$@"', f"{delay:g}", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        pass_fds=(handle,),
        start_new_session=True,
    )


def _held(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _answer(changed: bool) -> dict[str, Any]:
    before = {"machine": "running" if changed else "shutting down"}
    return {
        "changed": changed,
        "under_way": not changed,
        "diff": diff_of(before, {"machine": "shutting down"}, "power"),
    }
