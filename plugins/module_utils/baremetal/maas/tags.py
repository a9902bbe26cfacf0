# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MAAS's tags: the tag itself, and which machines have it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...common.errors import InvalidInput
from ...common.show import diff_of
from .client import Maas

NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def ensure_tag(
    maas: Maas,
    name: str,
    present: bool,
    comment: str | None,
    machines: Sequence[str] | None,
    exact: bool,
    *,
    check: bool,
) -> dict[str, Any]:
    """Have a tag, on at least (``exact``: on none but) these machines, or not have it."""
    if not NAME.fullmatch(name):
        raise InvalidInput([f"name: {name!r} is not valid; allowed: letters, digits, - _ ."])
    if exact and machines is None:
        raise InvalidInput(["exact: is of no use without machines; allowed: with them"])
    document = maas.tag(name)
    before = (
        None if document is None else {"comment": str(document.get("comment") or ""), "machines": _tagged(maas, name)}
    )
    after = None
    if present:
        had = set(before["machines"] if before else [])
        wanted = {maas.find(one).system_id for one in machines or []}
        kept = sorted(wanted if exact else had | wanted)
        after = {"comment": comment if comment is not None else (before or {}).get("comment", ""), "machines": kept}
    if before != after and not check:
        _write(maas, name, before, after)
    shown = diff_of(before, after, f"tag {name}")
    return {"changed": before != after, "tag": after and {"name": name, **after}, "diff": shown}


def _tagged(maas: Maas, name: str) -> list[str]:
    return sorted(maas.tagged(name))


def _write(maas: Maas, name: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    if after is None:
        maas.delete(f"tags/{name}/")
        return
    if before is None:
        maas.post("tags/", name=name, comment=after["comment"])
    elif before["comment"] != after["comment"]:
        maas.put(f"tags/{name}/", comment=after["comment"])
    had, have = set(before["machines"] if before else []), set(after["machines"])
    if had != have:
        maas.update_tagged(name, sorted(have - had), sorted(had - have))
