# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MAAS's machines as hosts."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...common.errors import InvalidInput

GROUP_KINDS = ("status", "pool", "zone", "tag", "architecture", "power")
FILTERS = ("status", "pool", "zone", "tag", "architecture", "power", "name")


class Host(NamedTuple):
    """A host of the inventory. ``groups`` are (kind, value) pairs: the plugin makes names of them."""

    name: str
    variables: dict[str, Any]
    groups: tuple[tuple[str, str], ...]


def check_wanted(filters: Mapping[str, Any], group_by: Sequence[str]) -> None:
    """Raise InvalidInput for filters and kinds of groups that there are not."""
    problems = [f"filters.{key}: is unknown; allowed: {', '.join(FILTERS)}" for key in filters if key not in FILTERS]
    problems += [
        f"group_by: {kind} is unknown; allowed: {', '.join(GROUP_KINDS)}"
        for kind in group_by
        if kind not in GROUP_KINDS
    ]
    if problems:
        raise InvalidInput(problems)


def _values(record: Mapping[str, Any], kind: str) -> list[str]:
    """The texts that a machine has for a kind of group or filter."""
    if kind == "tag":
        return [str(tag) for tag in record["tags"]]
    names = {"status": "status_name", "name": "hostname"}
    value = str(record[names.get(kind, kind)])
    return [value] if value else []


def _fits(record: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    for kind, wanted in filters.items():
        patterns = [str(one).lower() for one in (wanted if isinstance(wanted, list) else [wanted])]
        if not any(fnmatch.fnmatchcase(value.lower(), one) for value in _values(record, kind) for one in patterns):
            return False
    return True


def build_hosts(
    records: Sequence[Mapping[str, Any]], filters: Mapping[str, Any], group_by: Sequence[str]
) -> list[Host]:
    """Hosts of the machines that pass the filters. Two machines of one name are told apart by their domains."""
    records = [record for record in records if _fits(record, filters)]
    count: dict[str, int] = {}
    for record in records:
        count[record["hostname"]] = count.get(record["hostname"], 0) + 1
    hosts = []
    for record in records:
        twice = count[record["hostname"]] > 1
        groups = tuple((kind, value) for kind in group_by for value in _values(record, kind))
        hosts.append(Host(record["fqdn"] if twice else record["hostname"], _variables(record), groups))
    return hosts


def _variables(record: Mapping[str, Any]) -> dict[str, Any]:
    variables = {f"maas_{name}": value for name, value in record.items()}
    if record["addresses"]:
        variables["ansible_host"] = record["addresses"][0]
    return variables
