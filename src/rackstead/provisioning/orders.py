# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders: which server becomes what. Read from words, a form or a CSV file, and checked whole. Pure.

What only MAAS or the device types can tell is checked by the playbook, before it touches anything.
"""

from __future__ import annotations

import csv
import io
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems, nearest

from .progress import STEPS

#: The workflow whose jobs these are, and its variable for the servers.
WORKFLOW, SERVERS = "provision", "provision_servers"
#: By one of these a server is named.
NAMES = ("server_id", "hostname", "mac")
COLUMNS = (*NAMES, "device_type", "target_ipmi_ip", "rack_location", "gateway", "netmask", "tags")
NEEDED = ("device_type",)
POOL = "pool:"
#: What separates tags in a cell.
SEPARATORS = " ,;"
Entry = dict[str, Any]


def entry(given: Mapping[str, Any]) -> Entry:
    """An entry of the variable ``provision_servers``: without what is empty."""
    return {name: given[name] for name in COLUMNS if given.get(name) not in (None, "", [], ())}


def name_of(one: Mapping[str, Any]) -> str:
    """By what a server was ordered."""
    return next((str(one[name]) for name in NAMES if one.get(name)), "")


def checked(servers: Sequence[Entry], prefix: Callable[[int], str] = lambda _number: "") -> list[Entry]:
    """The servers, if nothing is wrong with any. Raises InvalidInput with a line for each fault.

    ``prefix`` is what a line begins with that is about the server of this number.
    """
    problems = Problems()
    _check(servers, prefix, problems)
    problems.raise_if_any()
    return list(servers)


def _check(servers: Sequence[Entry], prefix: Callable[[int], str], problems: Problems) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, one in enumerate(servers):
        before = prefix(number)
        for fault in faults(one):
            problems.add("", before + fault)
        for field, value in _unique(one):
            first = seen.setdefault((field, value.lower()), number)
            if first != number:
                there = prefix(first).strip(": ") or "another server"
                problems.add("", f'{before}{field}: "{value}" is that of {there} too')


def _unique(one: Entry) -> Iterable[tuple[str, str]]:
    if name_of(one):
        yield next(name for name in NAMES if one.get(name)), name_of(one)
    target = str(one.get("target_ipmi_ip") or "")
    if target and not target.startswith(POOL):
        yield "target_ipmi_ip", target


def faults(one: Entry) -> list[str]:
    """What is wrong with one server's order, each in words that begin with the field's name."""
    found = [f"{field}: is needed" for field in NEEDED if not one.get(field)]
    if not name_of(one):
        found.insert(0, "server_id: is needed; hostname or mac does as well")
    target = str(one.get("target_ipmi_ip") or "")
    if target and not (target.startswith(POOL) and len(target) > len(POOL)) and address(target) is None:
        found.append(f'target_ipmi_ip: "{target}" is not valid; allowed: an IPv4 address, or pool:NAME')
    for field in ("gateway", "netmask"):
        text = str(one.get(field) or "")
        if text and (address(text) if field == "gateway" else network("0.0.0.0", text)) is None:
            allowed = "an IPv4 address" if field == "gateway" else "a netmask such as 255.255.255.0"
            found.append(f'{field}: "{text}" is not valid; allowed: {allowed}')
    return found or _outside(target, str(one.get("gateway") or ""), str(one.get("netmask") or ""))


def _outside(target: str, gateway: str, netmask: str) -> list[str]:
    within = network(target, netmask) if gateway and netmask else None
    if within is None or ipaddress.IPv4Address(gateway) in within:
        return []
    return [f'gateway: "{gateway}" is outside of the subnet {within} of target_ipmi_ip']


def address(text: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def network(text: str, netmask: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(f"{text}/{netmask}", strict=False)
    except ValueError:
        return None


def step_names(given: Iterable[str], field: str) -> list[str]:
    """Names of steps, in their order. Raises InvalidInput, with the nearest name."""
    words = [word for text in given for word in text.replace("-", "_").split(",") if word]
    problems = Problems()
    for word in words:
        if word not in STEPS:
            problems.add(field, f'"{word}" is no step{nearest(word, STEPS)}', ", ".join(STEPS))
    problems.raise_if_any()
    return [name for name in STEPS if name in words]


# -- CSV --------------------------------------------------------------------------------------------
def read_csv(text: str) -> list[Entry]:
    """The servers of a CSV file, whose first row names the columns. Raises InvalidInput with a line for each fault.

    Rows are told by their number in the file. Empty rows, and those that begin with #, are left out.
    """
    problems = Problems()
    rows = list(_rows(text, problems))
    if not rows:
        problems.add("", "the file holds no servers; its first row is to name columns, such as " + ",".join(COLUMNS))
        problems.raise_if_any()
    (_first, head), *others = rows
    columns = [cell.strip().lower() for cell in head]
    _check_head(columns, problems)
    servers: list[Entry] = []
    numbers: list[int] = []
    for number, cells in others:
        if len(cells) > len(columns):
            problems.add("", f"row {number}: has {len(cells)} cells, and there are {len(columns)} columns")
        numbers.append(number)
        servers.append(_server(columns, cells))
    if not servers and not problems.lines:
        problems.add("", "the file names columns, and no servers")
    if not any(line.startswith("row 1:") for line in problems.lines):
        _check(servers, lambda number: f"row {numbers[number]}: ", problems)
    problems.raise_if_any()
    return servers


def _rows(text: str, problems: Problems) -> Iterable[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].lstrip().startswith("#"):
                yield reader.line_num, cells
    except csv.Error as error:
        problems.add("", f"row {reader.line_num}: cannot be read: {error}")


def _check_head(columns: Sequence[str], problems: Problems) -> None:
    for number, name in enumerate(columns):
        if name not in COLUMNS:
            problems.add("", f'row 1: "{name}" is no column{nearest(name, COLUMNS)}; allowed: {", ".join(COLUMNS)}')
        elif columns.index(name) != number:
            problems.add("", f'row 1: there are several columns "{name}"')
    if not problems.lines and not any(name in columns for name in NAMES):
        problems.add("", "row 1: there is no column server_id; hostname or mac does as well")


def _server(columns: Sequence[str], cells: Sequence[str]) -> Entry:
    found: Entry = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    if "tags" in found:
        found["tags"] = tags(found["tags"])
    return entry(found)


def tags(text: str) -> list[str]:
    """Tags, separated by commas, semicolons or spaces."""
    for sign in SEPARATORS:
        text = text.replace(sign, " ")
    return list(dict.fromkeys(text.split()))


def read_file(data: bytes, name: str) -> list[Entry]:
    """The servers of a CSV file's content; each fault is told with the file's name. Raises InvalidInput."""
    try:
        return read_csv(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        raise InvalidInput([f"{name}: row {row}: is not UTF-8 text"]) from error
    except InvalidInput as error:
        raise InvalidInput([f"{name}: {line}" for line in error.problems]) from error
