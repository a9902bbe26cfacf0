# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian image of the tests: built by the collection itself, once, into a cache that runs share."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.instances import imagebuild
from testbed.daemon import ROOT, exclusive, run

#: Runs in CI may name a folder that outlives them.
CACHE = Path(os.environ.get("RACKSTEAD_CACHE") or ROOT / "images")


def order(cache: Path = CACHE, release: str = "12") -> imagebuild.Order:
    """What the module ``image`` orders for ``debian/12``."""
    bare = imagebuild.recipe_for("debian", release)
    sources = imagebuild.mirrors_for("debian", bare.release, bare.architecture)
    recipe = imagebuild.recipe_for("debian", release, suites=[source.suite for source in sources])
    return imagebuild.Order(recipe, sources, cache)


def ensure_tools() -> None:
    """Have what building needs on this machine."""
    with exclusive("packages"):
        if missing := imagebuild.missing_tools(order().recipe):
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq"]
            run(*apt, "install", "--no-install-recommends", *missing, env=env)


def image() -> imagebuild.Built:
    """The image's files, from the cache or built into it."""
    found = imagebuild.cached(order())
    if found:
        return found
    ensure_tools()
    return imagebuild.ensure_built(order())
