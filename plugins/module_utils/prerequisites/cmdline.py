# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with a Raspberry Pi's kernel parameters: one line, of which all that is not ours stays byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.atomic import write_atomically
from ..common.errors import Denied, InvalidInput, NotFound, OperationFailed
from .model import BOOT_FILES
from .parse import enables, parameters

#: What every command line that boots a system says.
NEEDED = "root="


def is_command_line(text: str) -> bool:
    """Whether a file holds kernel parameters, and not a note on where they have gone."""
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) == 1 and any(word.startswith(NEEDED) for word in parameters(lines[0]))


def missing(text: str, wanted: Sequence[str]) -> list[str]:
    """Those of the parameters that are not in force."""
    return [one for one in wanted if not enables(text, one)]


def added(text: str, wanted: Sequence[str]) -> str:
    """The text with what is missing at the end of its line; all other characters stay."""
    rest = missing(text, wanted)
    if not rest:
        return text
    line = text.rstrip()
    return f"{line} {' '.join(rest)}{text[len(line) :]}"


def ensure(paths: Sequence[str], wanted: Sequence[str], *, check: bool) -> dict[str, Any]:
    """Have the parameters in the first of the files that is a command line. Says whether a boot is outstanding."""
    bad = [one for one in wanted if not one or any(sign in one for sign in " \t\r\n\"'")]
    if bad or not wanted:
        raise InvalidInput([f'parameters: "{one}" is not valid; allowed: name or name=value' for one in bad or [""]])
    path, text = _first(paths or BOOT_FILES)
    new = added(text, wanted)
    changed = new != text
    if changed and not check:
        _write(path, new)
    return {
        "changed": changed,
        "path": str(path),
        "added": missing(text, wanted),
        "reboot": changed or bool(missing(_running(), wanted)),
        "diff": {"before": text, "after": new, "before_header": str(path), "after_header": str(path)},
    }


def _first(paths: Sequence[str]) -> tuple[Path, str]:
    for path in map(Path, paths):
        try:
            # Characters that are no UTF-8 must come back as they were.
            text = path.read_bytes().decode(errors="surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            raise Denied("cannot be read", where=str(path), hint="use become") from error
        if is_command_line(text):
            return path, text
    hint = "a command line is one line with root= in it"
    raise NotFound(f"none of these is a kernel command line: {', '.join(paths)}", hint=hint)


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode(errors="surrogateescape"))
    except PermissionError as error:
        raise Denied("cannot be written", where=str(path), hint="use become") from error
    except OSError as error:
        raise OperationFailed(f"cannot be written: {error.strerror}", where=str(path)) from error


def _running() -> str:
    return Path("/proc/cmdline").read_text(errors="replace")
