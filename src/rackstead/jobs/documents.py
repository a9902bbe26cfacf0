# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents: a variable of the type path may be given the document itself, a mapping, in place of a path.

So a plan reaches a worker from wherever it was written. Each run finds it as a file of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ..run import FILES, is_folder

#: Names of files in a folder: no paths.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,199}")
Options = Mapping[str, Mapping[str, Any]]


def documents(options: Options, variables: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Those of the variables that are documents."""
    return {
        name: value
        for name, value in variables.items()
        if isinstance(value, Mapping) and options.get(name, {}).get("type") == "path"
    }


def faults(options: Options, variables: Mapping[str, Any]) -> list[str]:
    """What is wrong with documents that are folders: their files have plain names, and hold mappings."""
    found = []
    for name, document in documents(options, variables).items():
        files = document[FILES] if is_folder(document) else {}
        bad = not isinstance(files, Mapping) or any(
            not _NAME.fullmatch(file) or not isinstance(content, Mapping) for file, content in files.items()
        )
        if bad:
            found.append(f"{name}: is no folder of documents; allowed: plain names of files, and a mapping for each")
    return found


def digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def shown(options: Options, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables for showing: a document by its digest."""
    found = documents(options, variables)
    return {**variables, **{name: f"document, SHA-256 {digest(one)}" for name, one in found.items()}}
