# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on record: what files and commands said when a report was made, to make it again anywhere.

``python tests/testbed/recorded.py FILE`` makes a record of the machine on which it runs. It needs nothing but Python and
the collection beside it, and so runs in a container, too.
"""

from __future__ import annotations

import fnmatch
import json
import re
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # alone on some machine: the collection lies beside, as tests/ does
    import importlib

    TOP = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(TOP / "plugins"))
    machine = importlib.import_module("module_utils.hardware.machine")
else:
    from ansible_collections.rackstead.infra.plugins.module_utils.hardware import machine

#: Files of which a part is kept only: they hold what is nobody's business.
KEPT = {
    "/proc/1/environ": (re.compile(r"(?:^|\0)(container=[^\0]+)"), "\0"),
    "/proc/stat": (re.compile(r"^(cpu\d* .*)$", re.MULTILINE), "\n"),
    "/proc/cpuinfo": (
        re.compile(
            r"^((?:processor|vendor_id|model name|Model|flags|physical id|cpu cores|Hardware)\s*:.*|)$", re.MULTILINE
        ),
        "\n",
    ),
    "/proc/mounts": (re.compile(r"^(\S+ (?:/|/boot\S*|/etc/hosts) .*)$", re.MULTILINE), "\n"),
}


class Recorder(machine.Machine):  # type: ignore[misc, name-defined]
    """The machine itself, noting what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, Any] = {}
        self.links: dict[str, str] = {}
        self.paths: set[str] = set()
        self.commands: dict[str, Any] = {}

    def read(self, path: str) -> str:
        try:
            text = str(super().read(path))
        except machine.Absent as error:
            self.files[path] = {"absent": str(error)}
            raise
        if path in KEPT:
            pattern, between = KEPT[path]
            text = between.join(pattern.findall(text))
        self.files[path] = text
        return text

    def names(self, pattern: str) -> list[str]:
        found: list[str] = super().names(pattern)
        self.paths |= set(found)
        return found

    def target(self, path: str) -> str:
        self.links[path] = super().target(path)
        return self.links[path]

    def has(self, command: str) -> bool:
        there = bool(super().has(command))
        if not there:
            self.commands.setdefault(command, {"absent": f"{command} is not installed"})
        return there

    def run(self, *argv: str, ok: tuple[int, ...] = (0,), seconds: float = 0.0) -> str:
        try:
            said = str(super().run(*argv, ok=ok, seconds=seconds))
        except machine.Absent as error:
            self.commands[argv[0]] = {"absent": str(error)}
            raise
        except machine.Broken as error:
            self.commands[" ".join(argv)] = {"broken": str(error)}
            raise
        self.commands[" ".join(argv)] = {"out": said}
        return said

    def document(self) -> dict[str, Any]:
        files = {path: text for path, text in sorted(self.files.items()) if not isinstance(text, dict)}
        links = {path: text for path, text in sorted(self.links.items()) if text}
        return {"files": files, "links": links, "paths": sorted(self.paths), "commands": self.commands}


class Recorded(machine.Machine):  # type: ignore[misc, name-defined]
    """A machine on record. What it has no record of is not there."""

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__()
        self.files: dict[str, str] = record.get("files", {})
        self.links: dict[str, str] = record.get("links", {})
        self.paths = sorted({*record.get("paths", ()), *self.files})
        self.commands: dict[str, dict[str, str]] = record.get("commands", {})
        self.looks = 0

    def read(self, path: str) -> str:
        if path not in self.files:
            raise machine.Absent(f"{path}: No such file or directory")
        return self.later(self.files[path]) if path == "/proc/stat" else self.files[path]

    def later(self, stat: str) -> str:
        """The clock goes on from one look to the next: of 40 ticks, 10 with work."""
        self.looks += 1
        words = stat.split()
        if len(words) < 5 or not words[1].isdigit() or not words[4].isdigit():
            return stat
        return f"cpu {int(words[1]) + 10 * self.looks} {words[2]} {words[3]} {int(words[4]) + 30 * self.looks}\n"

    def names(self, pattern: str) -> list[str]:
        """As glob does it: a star stays within one folder."""
        depth = pattern.count("/")
        cut = {"/".join(path.split("/")[: depth + 1]) for path in self.paths if path.count("/") >= depth}
        return sorted(path for path in cut if fnmatch.fnmatchcase(path, pattern))

    def target(self, path: str) -> str:
        return self.links.get(path, "")

    def has(self, command: str) -> bool:
        own = [line for line in self.commands if line.split(" ")[0] == command]
        return any("absent" not in self.commands[line] for line in own)

    def run(self, *argv: str, ok: tuple[int, ...] = (0,), seconds: float = 0.0) -> str:
        said = self.commands.get(" ".join(argv)) or self.commands.get(argv[0])
        if said is None or "absent" in said:
            raise machine.Absent(f"{argv[0]} is not installed")
        if "broken" in said:
            raise machine.Broken(said["broken"])
        return said["out"]


def load(path: Path) -> Recorded:
    return Recorded(json.loads(path.read_text()))


def main(path: str) -> None:
    collect = importlib.import_module("module_utils.hardware.collect")
    recorder = Recorder()
    collect.collect(recorder, "recorded")
    Path(path).write_text(json.dumps(recorder.document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
