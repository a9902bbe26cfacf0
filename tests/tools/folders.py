# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary folders that end with the process that made them, or with the next run if that was killed."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "rackstead-tree-"


def temporary_folder() -> Path:
    """A folder named after this process; gone when it ends."""
    sweep()
    owner = os.getpid()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{owner}-"))
    # A forked child runs the exit hooks too: only the process that made it removes it.
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    return folder


def sweep() -> None:
    """Remove this user's folders of processes that are no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and folder.lstat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
