# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets tests import ``ansible_collections.rackstead.infra`` and ``rackstead``, and run Ansible on them.

``make`` stages the collection and names the tree in ANSIBLE_COLLECTIONS_PATH.
Where pytest is run by hand, a link to the checkout in a temporary folder does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

from tests.tools.folders import temporary_folder

CHECKOUT = Path(__file__).resolve().parent.parent
COLLECTION = Path("ansible_collections/rackstead/infra")


def staged_tree() -> Path | None:
    """The tree of ANSIBLE_COLLECTIONS_PATH that holds the collection."""
    for entry in os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep):
        if entry and (Path(entry) / COLLECTION).is_dir():
            return Path(entry)
    return None


def linked_tree() -> Path:
    """A tree of its own that links to the checkout; gone when this process ends."""
    tree = temporary_folder()
    link = tree / COLLECTION
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT)
    return tree


def set_up_paths() -> None:
    """Put the tree and ``src`` first, here and for every process started from here."""
    tree = staged_tree() or linked_tree()
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(tree)
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    for name in ("RACKSTEAD_SERVER", "RACKSTEAD_TOKEN", "RACKSTEAD_TOKEN_FILE", "RACKSTEAD_SERVER_CA"):
        os.environ.pop(name, None)
    os.environ["XDG_CONFIG_HOME"] = str(temporary_folder())  # the server of whoever runs the tests is none of theirs
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    sys.path[:0] = [str(tree), str(CHECKOUT / "src")]
    sys.path.append(str(CHECKOUT / "tests"))  # the package testbed


set_up_paths()

# The same cases on every run, none remembered from the last. A daemon answers when it can.
settings.register_profile(
    "rackstead", database=None, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rackstead")
