# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file is written whole or not at all: also where the writer is killed, or the power goes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Put ``data`` in the place of a file; its mode and owner stay, unless ``mode`` says otherwise.

    What a killed run has left beside it is replaced. The dot in front keeps it from those who read a whole folder.
    Raises OSError.
    """
    unfinished = unfinished_name(path)
    write_unfinished(path, data, mode=mode)
    try:
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink()
        raise
    sync_folder(path.parent)


def unfinished_name(path: Path) -> Path:
    """Where the content lies until it takes its place."""
    return path.with_name(f".{path.name}.unfinished")


def write_unfinished(path: Path, data: bytes, *, mode: int | None = None) -> Path:
    """Write what is to take the place of ``path`` beside it, and have it on the disk."""
    unfinished = unfinished_name(path)
    with suppress(FileNotFoundError):
        unfinished.unlink()
    number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        _dress(file.fileno(), path, mode)
        os.fsync(file.fileno())
    return unfinished


def _dress(number: int, path: Path, mode: int | None) -> None:
    """Give the open file the mode and owner of the one it replaces. FAT, where boot files are, knows neither."""
    try:
        old = path.stat()
    except FileNotFoundError:
        old = None
    if old and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(number, old.st_uid, old.st_gid)
    with suppress(PermissionError):
        os.fchmod(number, mode if mode is not None else (old.st_mode & 0o7777 if old else 0o644))


def sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
