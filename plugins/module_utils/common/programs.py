# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a machine's own programs in a plain environment, with a bound on their time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
#: Seconds that a program has to answer.
PATIENCE = 10.0


@dataclass(frozen=True)
class Ran:
    """A program that has ended; 127 is one that is not there, 124 one that took too long."""

    rc: int
    out: str
    err: str = ""

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"ended with {self.rc}"


def run(argv: Sequence[str], patience: float = PATIENCE) -> Ran:
    """Run a program in a plain environment, without input."""
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            argv,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env={"PATH": SEARCH, "LC_ALL": "C"},
            timeout=patience,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return Ran(127, "", f"{argv[0]}: not found")
    except PermissionError:
        return Ran(126, "", f"{argv[0]}: permission denied")
    except subprocess.TimeoutExpired:
        return Ran(124, "", f"{argv[0]}: no answer in {patience:g} s")
    return Ran(done.returncode, done.stdout, done.stderr)
