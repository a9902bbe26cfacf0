# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One profile, network, project or storage volume by itself, on the plan's own path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..common.errors import Conflict, InvalidInput
from ..common.problems import Problems
from .incus.client import IncusClient
from .model import Ref
from .single import ensure
from .spec import BRIDGE_NAME, NAME
from .writer import path_of

#: option -> field of Incus's document: what cannot change, and is as it is where the option is not given
FIXED = {"network": ("type",), "storage_volume": ("content_type",)}
#: What every project has, and what goes with it.
COMES_WITH_PROJECT = re.compile(r"/1\.0/(profiles/default|images/[^/]*)")
SHOWN_USERS = 5


def run_resource(
    client: IncusClient, kind: str, name: str, body: Mapping[str, Any], *, state: str, check: bool
) -> dict[str, Any]:
    """Make the resource as ``body`` says, or have it absent. Returns the module's result.

    Keys of ``body`` whose value is None are not given. Raises Conflict for one to be deleted that is in use.
    """
    problems = Problems()
    (BRIDGE_NAME if kind == "network" else NAME).read(name, "name", problems)
    if kind == "storage_volume":
        NAME.read(body["pool"], "pool", problems)
    problems.raise_if_any()
    ref = Ref(kind, name, client.project if kind != "project" else "default", body.get("pool") or "")
    document = client.find(path_of(ref))
    if state == "absent":
        body = {key: value for key, value in body.items() if key == "pool"}
        _check_unused(ref, document)
    elif document:
        kept = {field: document[field] for field in FIXED.get(kind, ()) if body.get(field) is None}
        body = {**body, **kept}
    return ensure(client, kind, name, body, state=state, check=check)


def _check_unused(ref: Ref, document: Mapping[str, Any] | None) -> None:
    """Incus refuses to delete what is in use; said before anything is tried, and in check mode too."""
    used = [str(url) for url in (document or {}).get("used_by") or ()]
    if ref.kind == "project":
        used = [url for url in used if not COMES_WITH_PROJECT.fullmatch(url.partition("?")[0])]
    if ref.kind == "project" and ref.name == "default":
        raise InvalidInput(["name: Incus's own default project cannot be deleted; allowed: another project"])
    if used:
        names = sorted({readable(url) for url in used})
        more = f" and {len(names) - SHOWN_USERS} more" if len(names) > SHOWN_USERS else ""
        verb = "still holds" if ref.kind == "project" else "is in use by"
        where = f"{ref.kind.replace('_', ' ')} {ref.name}"
        raise Conflict(f"{verb} {', '.join(names[:SHOWN_USERS])}{more}", where=where)


def readable(url: str) -> str:
    """``instance web (project lab)`` for ``/1.0/instances/web?project=lab``."""
    parts = urlsplit(url)
    path = [unquote(part) for part in parts.path.removeprefix("/1.0/").split("/")]
    project = parse_qs(parts.query).get("project", ["default"])[0]
    place = "" if project == "default" else f" (project {project})"
    if path[0] == "storage-pools" and len(path) >= 5:
        return f"volume {path[4]} in pool {path[1]}{place}"
    return f"{path[0].removesuffix('s')} {'/'.join(path[1:])}{place}"
