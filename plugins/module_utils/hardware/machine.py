# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that is looked at: its files and its commands, each with a reason where it has none."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Where commands are that are not in a user's path.
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin")
#: The most that is read of a file or of what a command says, in bytes.
MOST = 8 << 20


class Absent(Exception):
    """This machine has no such thing; the text says why."""


class Broken(Exception):
    """It is there, and does not answer as it should."""


class Machine:
    """The machine on which this runs. ``seconds`` is the time that one command may take."""

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds = seconds
        self._path = os.pathsep.join([os.environ.get("PATH", os.defpath), *FOLDERS])

    # -- files -------------------------------------------------------------------------------------
    def read(self, path: str) -> str:
        """The text of a file. Raises Absent."""
        try:
            with open(path, "rb") as file:
                return file.read(MOST).decode("utf-8", "replace")
        except PermissionError as error:
            raise Absent(f"{path} may be read by root only") from error
        except OSError as error:
            raise Absent(f"{path}: {error.strerror or error}") from error

    def value(self, path: str) -> str:
        """One line of a file, without the spaces around it; nothing where it cannot be read."""
        try:
            return self.read(path).strip("\0 \t\r\n")
        except Absent:
            return ""

    def names(self, pattern: str) -> list[str]:
        """Paths like a shell pattern, sorted."""
        return sorted(glob.glob(pattern))

    def target(self, path: str) -> str:
        """Where a symbolic link leads, or nothing."""
        try:
            return os.readlink(path)
        except OSError:
            return ""

    # -- commands ----------------------------------------------------------------------------------
    def has(self, command: str) -> bool:
        return shutil.which(command, path=self._path) is not None

    def run(self, *argv: str, ok: tuple[int, ...] = (0,), seconds: float = 0.0) -> str:
        """What a command prints. Raises Absent where it is not installed, Broken where it fails or takes too long.

        A process that hangs in the kernel is left behind: nothing can end it.
        """
        command = shutil.which(argv[0], path=self._path)
        if command is None:
            raise Absent(f"{argv[0]} is not installed")
        try:
            child = subprocess.Popen(
                [command, *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C", "PATH": self._path},
            )
        except OSError as error:
            raise Absent(f"{argv[0]} cannot be run: {error.strerror or error}") from error
        return self._ended(child, argv[0], ok, seconds or self.seconds)

    def _ended(self, child: subprocess.Popen[bytes], name: str, ok: tuple[int, ...], seconds: float) -> str:
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise Broken(f"{name} has not answered in {seconds:g} s") from error
        if ok and child.returncode not in ok:
            said = err.decode("utf-8", "replace").strip().splitlines() or [""]
            raise Broken(f"{name} ended with {child.returncode}{': ' if said[0] else ''}{said[0][:200]}")
        return out[:MOST].decode("utf-8", "replace")

    def json(self, *argv: str, ok: tuple[int, ...] = (0,), seconds: float = 0.0) -> Any:
        """What a command prints, as the document that it is. Raises Absent or Broken."""
        return document(self.run(*argv, ok=ok, seconds=seconds), argv[0])


def document(text: str, where: str) -> Any:
    """The JSON in a text. Raises Broken."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Broken(f"{where} has not answered with JSON: {text.strip()[:80]!r}") from error


def at_once(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What ``work`` makes of each item, all at the same time. An error of one of them is raised when all have ended.

    The standard library's pools load too much for a module that runs for a fifth of a second.
    """
    given = list(items)
    found: dict[int, R] = {}
    errors: list[Exception] = []

    def run(number: int) -> None:
        try:
            found[number] = work(given[number])
        except Exception as error:  # noqa: BLE001  raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [found[number] for number in range(len(given))]


# -- values that may be anything --------------------------------------------------------------------
def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings in a list, whatever else is in it."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """A value as text on one line; nothing for what is no text and no number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return " ".join(str(value).split())[:300]


def number(value: Any) -> float | None:
    """A finite number, also one that is written as text."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e18 else None  # which a NaN is not either


def whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def share(part: float | None, of: float | None) -> float | None:
    """A part in per cent, with one decimal."""
    return None if part is None or not of or of < 0 else round(100.0 * part / of, 1)
