# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of an outage: a file that is only added to, and that is on the disk before anything is done.

Each line is a checksum and a document. The last whole line is what counts; what a kill or a loss of power has left
of a line after it is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from pathlib import Path
from typing import Any

from ..common.atomic import sync_folder, write_atomically
from ..common.errors import Conflict

#: Bytes from which a closed journal begins anew.
LARGE = 1_000_000


class Journal:
    """One monitor's journal. A second monitor on the same file is refused. Raises Conflict and OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Conflict("another monitor writes this journal", where=str(path)) from None
        self.last: dict[str, Any] | None = None
        self._file = self._opened()

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    def append(self, document: dict[str, Any], *, closed: bool) -> None:
        """Have a document on the disk. A closed journal that has grown large is replaced by this one line."""
        line = _line(document)
        if closed and os.fstat(self._file).st_size > LARGE:
            write_atomically(self.path, line, mode=0o600)
            os.close(self._file)
            self._file = self._opened()
            return
        self._write(line)
        os.fsync(self._file)
        self.last = document

    def _write(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._file, line) :]

    def _opened(self) -> int:
        """The file, ready to be added to, without what is torn at its end."""
        number = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        whole, self.last = _read(self.path)
        os.ftruncate(number, whole)
        os.fsync(number)
        sync_folder(self.path.parent)
        return number


def _line(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(path: Path) -> tuple[int, dict[str, Any] | None]:
    """How many bytes are whole lines, and the last of them."""
    whole, last, torn = 0, None, 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        checksum, _space, text = line.rstrip(b"\n").partition(b" ")
        good = line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(text)
        if good and torn:
            raise Conflict(
                f"line {torn} of the journal is damaged, and there are lines after it",
                where=str(path),
                hint="look at what is on and off, then move the file away",
            )
        if good:
            whole, last = whole + len(line), json.loads(text)
        else:
            torn = torn or number
    return whole, last
