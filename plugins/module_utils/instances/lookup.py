# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds instances by name or pattern, and says in one sentence why it cannot."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..common.errors import InvalidInput, NotFound, OperationFailed
from ..common.problems import nearest
from .incus.client import IncusClient

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
WILD = re.compile(r"[*?\[]")


def checked_name(name: str, field: str = "instance") -> str:
    """The name itself, if Incus could know one like it. It becomes part of request paths."""
    if not NAME.fullmatch(name):
        raise InvalidInput([f'{field}: "{name}" is not a name; allowed: letters, digits and dashes, up to 63'])
    return name


def instance_names(client: IncusClient) -> list[str]:
    """Names of the project's instances, sorted."""
    return sorted(str(url).rpartition("/")[2].partition("?")[0] for url in client.get("/instances"))


def get_instance(client: IncusClient, name: str, field: str = "instance") -> dict[str, Any]:
    """An instance's document. Raises NotFound, with the nearest name there is."""
    found = client.find(f"/instances/{checked_name(name, field)}")
    if found is None:
        raise unknown(client, name, instance_names(client))
    return dict(found)


def require_running(document: Mapping[str, Any]) -> None:
    """Raise OperationFailed unless the instance with this document runs."""
    status = document["status"].lower()
    if status != "running":
        hint = "resume it first" if status == "frozen" else "start it first"
        raise OperationFailed(f"is {status}, not running", where=f"instance {document['name']}", hint=hint)


def unknown(client: IncusClient, name: str, known: Iterable[str]) -> NotFound:
    return NotFound(f'does not exist in project "{client.project}"{nearest(name, known)}', where=f"instance {name}")


def select(names: Iterable[str], patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that a pattern fits, each once and sorted, and the plain names among the patterns that fit none."""
    names = sorted(set(names))
    chosen = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    missing = [pattern for pattern in patterns if not WILD.search(pattern) and pattern not in names]
    return chosen, sorted(set(missing))


def selected_instances(client: IncusClient, patterns: Sequence[str]) -> list[str]:
    """Names of the project's instances that fit. Raises NotFound for plain names that are not there."""
    names = instance_names(client)
    chosen, missing = select(names, patterns)
    if missing:
        raise NotFound("\n".join(str(unknown(client, name, names)) for name in missing))
    return chosen
