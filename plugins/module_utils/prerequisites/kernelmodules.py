# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules: loaded now, and named in a file that systemd reads at boot."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.atomic import write_atomically
from ..common.errors import Denied, InvalidInput, OperationFailed, Unsupported
from ..common.programs import run
from . import gather, parse

FOLDER = Path("/etc/modules-load.d")
HEAD = "# Made by Rackstead (rackstead.infra.kernel_modules). Changes by hand are undone at the next run.\n"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,54}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def ensure(names: Sequence[str], file: str, *, check: bool) -> dict[str, Any]:
    """Have the modules loaded, and loaded again at every boot."""
    _validate(names, file)
    wanted = sorted({name.replace("-", "_") for name in names})
    seen = gather.kernel(wanted)
    out = [name for name in wanted if name not in seen.loaded and name not in seen.builtin]
    if out and seen.container:
        hint = f"on the container's host: sudo modprobe --all {' '.join(out)}"
        raise Unsupported(f"kernel modules cannot be loaded in a container: {', '.join(out)}", hint=hint)
    gone = [name for name in out if name not in seen.there]
    if gone:
        raise OperationFailed(f"kernel {seen.release} does not have {', '.join(gone)}", where="modules")
    path = FOLDER / file
    before = path.read_text(errors="replace") if path.exists() else ""
    after = HEAD + "".join(f"{name}\n" for name in wanted if name not in seen.builtin)
    if not check:
        _apply(path, before, after, out)
    return {
        "changed": bool(out) or before != after,
        "loaded": out,
        "path": str(path),
        "diff": [
            {"before": before, "after": after, "before_header": str(path), "after_header": str(path)},
            {
                "before": _lines(sorted(set(wanted) - set(out))),
                "after": _lines(wanted),
                "before_header": "modules of the running kernel",
                "after_header": "modules of the running kernel",
            },
        ],
    }


def _lines(words: Sequence[str]) -> str:
    return "".join(f"{word}\n" for word in words)


def _validate(names: Sequence[str], file: str) -> None:
    lines = [
        f'names: "{name}" is not valid; allowed: names of kernel modules' for name in names if not _NAME.fullmatch(name)
    ]
    if not names:
        lines.append("names: empty; allowed: names of kernel modules")
    if not _FILE.fullmatch(file) or not file.endswith(".conf"):
        lines.append(f'file: "{file}" is not valid; allowed: a name that ends in .conf')
    if lines:
        raise InvalidInput(lines)


def _apply(path: Path, before: str, after: str, out: Sequence[str]) -> None:
    if (out or before != after) and os.geteuid() != 0:
        raise Denied("kernel modules are root's", hint="use become")
    if out:
        argv = ["modprobe", "--all", *out]
        found = run(argv, 60)
        if found.rc:
            raise OperationFailed(f"{' '.join(argv)}: {found.last_line}", where="modules")
        left = [name for name in out if name not in parse.loaded_modules(gather.text("/proc/modules"))]
        if left:
            raise OperationFailed(
                f"modprobe says that all is well, but {', '.join(left)} is not there", where="modules"
            )
    if before != after:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, after.encode(), mode=0o644)
