# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers' code: community.general, out of the ``ansible`` bundle on PyPI.

Only what is measured is unpacked, into a cache outside the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "ansible==12.*"
GENERAL = "ansible_collections/community/general/"
WANTED = (
    "MANIFEST.json",
    "FILES.json",
    "meta/runtime.yml",
    "plugins/modules/lxd_container.py",
    "plugins/module_utils/lxd.py",
    "plugins/doc_fragments/attributes.py",
    "plugins/connection/incus.py",
    "plugins/inventory/lxd.py",
    "plugins/plugin_utils/unsafe.py",
)


class Unavailable(Exception):
    """The bundle is not here and cannot be had; the message says why."""


def cache_dir() -> Path:
    """``RACKSTEAD_BENCH_CACHE``, or a folder of ours under the user's cache."""
    named = os.environ.get("RACKSTEAD_BENCH_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else home / "rackstead-bench"


def collections_tree() -> Path:
    """A folder for ANSIBLE_COLLECTIONS_PATH that holds community.general's part in this. Raises Unavailable."""
    tree = cache_dir() / "collections"
    if not (tree / GENERAL).is_dir():
        tree.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tree.parent) as scratch:
            _unpack(_wheel(Path(scratch)), Path(scratch) / "collections")
            shutil.rmtree(tree, ignore_errors=True)
            (Path(scratch) / "collections").rename(tree)  # whole or not at all
    return tree


def version(tree: Path) -> str:
    """community.general's version."""
    import json

    info = json.loads((tree / GENERAL / "MANIFEST.json").read_text())["collection_info"]
    return f"community.general {info['version']}"


def _wheel(scratch: Path) -> Path:
    """The bundle: the file that RACKSTEAD_BENCH_BUNDLE names, or a download of about 52 MB."""
    named = os.environ.get("RACKSTEAD_BENCH_BUNDLE")
    if named:
        if not Path(named).is_file():
            raise Unavailable(f"RACKSTEAD_BENCH_BUNDLE names no file: {named}")
        return Path(named)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(scratch), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = sorted(scratch.glob("ansible-*.whl"))
    if done.returncode or not found:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise Unavailable(f"pip cannot download {REQUIREMENT}: {lines[-1]}")
    return found[-1]


def _unpack(wheel: Path, tree: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
        for name in WANTED:
            if GENERAL + name not in there:
                raise Unavailable(f"{wheel.name} has no {GENERAL + name}")
            archive.extract(GENERAL + name, tree)
