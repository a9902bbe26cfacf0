# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's options to what upsd tells of its UPSes."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from typing import Any

from ...common.errors import InvalidInput
from .client import PORT, Client, Refused, Server, connect
from .status import OK

OPTIONS: dict[str, Any] = {
    "host": {"type": "str", "default": "localhost"},
    "port": {"type": "int", "default": PORT},
    "tls": {"type": "bool", "default": False},
    "ca_cert": {"type": "path"},
    "timeout": {"type": "float", "default": 5.0},
}
#: How drivers were set up: some of it is secret (SNMP's community, passwords), none of it is a reading.
HIDDEN = "driver.parameter."


def server_of(params: Mapping[str, Any]) -> Server:
    """The server that the options name. Raises InvalidInput with all that is wrong."""
    problems = []
    if not params["host"] or params["host"].split() != [params["host"]]:
        problems.append(f"host: {params['host']!r} is not valid; allowed: upsd's name or address")
    if not 1 <= params["port"] <= 65535:
        problems.append(f"port: {params['port']} is not valid; allowed: 1 to 65535")
    if not 0 < params["timeout"] <= 3600:
        problems.append(f"timeout: {params['timeout']:g} is not valid; allowed: seconds, more than 0, at most 3600")
    if params["ca_cert"] and not params["tls"]:
        problems.append("ca_cert: is of no use without tls; allowed: tls true beside it")
    if problems:
        raise InvalidInput(problems)
    return Server(params["host"], params["port"], params["tls"], params["ca_cert"] or "", params["timeout"])


def read_info(params: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    """What a task returns. ``wanted`` are names of UPSes; none means all."""
    return {"changed": False, "upses": read_upses(server_of(params), wanted)}


def read_upses(server: Server, wanted: list[str]) -> list[dict[str, Any]]:
    """The readings, variables and commands of these UPSes, or of all. Raises InvalidInput for unknown ones."""
    with connect(server) as client:
        known = client.upses()
        problems = [unknown_ups(name, list(known)) for name in wanted if name not in known]
        if problems:
            raise InvalidInput(problems)
        return [_one(client, name, known[name]) for name in wanted or sorted(known)]


def unknown_ups(name: str, known: list[str]) -> str:
    """A line for a name that upsd does not know."""
    near = difflib.get_close_matches(name, known, 1)
    nearest = f"; did you mean {near[0]!r}?" if near else ""
    return f"ups: {name!r} is not known to upsd; allowed: {', '.join(sorted(known)) or 'none, it has no UPS'}{nearest}"


def _one(client: Client, name: str, description: str) -> dict[str, Any]:
    status = client.status(name, time.monotonic())
    found = {**status.document(), "description": description, "variables": {}, "commands": []}
    if status.communication != OK:
        return found
    try:
        shown = {key: value for key, value in client.variables(name).items() if not key.startswith(HIDDEN)}
        return {**found, "variables": shown, "commands": client.commands(name)}
    except Refused:
        # The driver went away between two questions: the reading above was whole, and is what is told.
        return found
