# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts pip into a bare venv with the pip of another one, which ``~/pip-of`` names.

Stands where ansible-test would run a get-pip.py downloaded from its own host:
the checks then need no other registry than the one pip is set up for.
Called as ``get_pip.py [pip options] PACKAGE... [--no-setuptools] [--no-wheel]``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Install what is named, pip among it, for the interpreter that runs this."""
    wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
    python = (Path.home() / "pip-of").read_text(encoding="utf-8")
    subprocess.run([python, "-m", "pip", "--python", sys.executable, "install", "--quiet", *wanted], check=True)


if __name__ == "__main__":
    main()
