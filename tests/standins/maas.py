# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks MAAS's REST API 2.0 as far as its public documentation tells and a machine's way needs.

OAuth 1.0 is checked (PLAINTEXT). A machine goes from status to status by the clock: an order puts it into a
status under way, and after the site's delay it has arrived, whoever asks. ``faults`` makes it fail.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote

from standins.site import Refused, Site

CONSUMER, TOKEN, SECRET = "consumerword", "tokenword", "secretword"
KEY = f"{CONSUMER}:{TOKEN}:{SECRET}"
STATUS = {
    0: "New",
    1: "Commissioning",
    2: "Failed commissioning",
    3: "Missing",
    4: "Ready",
    6: "Deployed",
    8: "Broken",
    9: "Deploying",
    10: "Allocated",
    11: "Failed deployment",
    12: "Releasing",
    13: "Releasing failed",
    14: "Disk erasing",
    15: "Failed disk erasing",
    21: "Testing",
    22: "Failed testing",
}
#: op -> the statuses in which MAAS takes it, the status under way, and where that leads.
ORDERS: dict[str, tuple[set[int], int, int]] = {
    "commission": ({0, 2, 4, 8, 22}, 1, 4),
    "deploy": ({4, 10}, 9, 6),
    "release": ({5, 6, 10, 11, 13, 15}, 12, 4),
}
ABORTS = {1: 0, 21: 22, 9: 10, 14: 15}
FAILURES = {"commission": 2, "deploy": 11, "release": 13}


@dataclass
class Machine:
    """A machine. ``ends`` overrides where an order leads; None never gets there."""

    system_id: str
    hostname: str
    status: int = 0
    power: str = "off"
    address: str = ""
    mac: str = "52:54:00:00:00:01"
    pool: str = "default"
    zone: str = "default"
    message: str = ""
    tags: set[str] = field(default_factory=set)
    owner_data: dict[str, str] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    orders: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ends: dict[str, int | None] = field(default_factory=dict)
    script: tuple[str, int, str] = ("50-maas-01-commissioning", 1, "no disk was found")
    _due: tuple[float, int, str] | None = None

    def go(self, under_way: int, end: int | None, op: str, delay: float) -> None:
        self.status, self.message = under_way, ""
        self._due = None if end is None else (time.monotonic() + delay, end, op)

    def tick(self) -> None:
        """Arrive, if it is time."""
        if self._due is None or time.monotonic() < self._due[0]:
            return
        _when, self.status, op = self._due
        self._due = None
        if self.status in (2, 22):
            name, code, said = self.script
            self.message = "1 script failed"
            self.results = [{"name": name, "status": 3, "exit_status": code, "output": _encoded(said)}]
        elif self.status in FAILURES.values():
            self.message = f"{op} failed"
        self.power = "on" if self.status == 6 else self.power

    def document(self, number: int) -> dict[str, Any]:
        return {
            "system_id": self.system_id,
            "hostname": self.hostname,
            "fqdn": f"{self.hostname}.maas",
            "status": self.status,
            "status_name": STATUS[self.status],
            "status_message": self.message,
            "power_state": self.power,
            "ip_addresses": [self.address] if self.address else [],
            "interface_set": [{"id": number, "mac_address": self.mac, "links": []}],
            "tag_names": sorted(self.tags),
            "pool": {"name": self.pool, "id": 0},
            "zone": {"name": self.zone, "id": 1},
            "architecture": "amd64/generic",
            "cpu_count": 8,
            "memory": 16384,
            "storage": 480000.0,
            "distro_series": "noble" if self.status == 6 else "",
            "owner_data": dict(self.owner_data),
            "resource_uri": f"/MAAS/api/2.0/machines/{self.system_id}/",
        }


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Maas(Site):
    """A MAAS. ``delay`` is how long an order takes, in seconds."""

    out_of_order = ("No available IP addresses", "text/plain")

    def __init__(self, delay: float = 0.3) -> None:
        super().__init__()
        self.delay = delay
        self.machines: dict[str, Machine] = {}
        self.tags: dict[str, str] = {}
        self.keys = {TOKEN: SECRET}

    @property
    def url(self) -> str:
        return f"{super().url}/MAAS"

    @property
    def options(self) -> dict[str, Any]:
        """Options of the modules that lead to it."""
        return {"url": self.url, "api_key": KEY}

    def add(self, hostname: str, **values: Any) -> Machine:
        number = len(self.machines) + 1
        mac = f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"
        machine = Machine(f"abc{number:03d}", hostname, **{"mac": mac, **values})
        self.machines[machine.system_id] = machine
        return machine

    # -- HTTP -------------------------------------------------------------------------------------
    def line(self, method: str, path: str, query: dict[str, str]) -> str:
        return " ".join([method, path.removeprefix("/MAAS/api/2.0"), *([query["op"]] if "op" in query else [])])

    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        self._check(request.headers.get("Authorization") or "")
        data = parse_qsl(body.decode(), keep_blank_values=True)
        document = self._answer(request.command, path, query, data)
        return 204 if document is None else 200, document

    def _check(self, header: str) -> None:
        """OAuth 1.0, section 3.4.4: the signature is the two secrets, of which the consumer has none."""
        given = {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', header)}
        secret = self.keys.get(given.get("oauth_token", ""))
        right = given.get("oauth_consumer_key") == CONSUMER and given.get("oauth_signature") == f"&{secret}"
        if not header.startswith("OAuth ") or given.get("oauth_signature_method") != "PLAINTEXT" or not right:
            raise Refused(401, "Authorization Error: Invalid API key.")

    def _answer(self, method: str, path: str, query: dict[str, str], data: list[tuple[str, str]]) -> Any:
        for machine in self.machines.values():
            machine.tick()
        words = path.removeprefix("/MAAS/api/2.0/").strip("/").split("/")
        kind, name = words[0], words[1] if len(words) > 1 else ""
        if kind == "machines" and not name and method == "GET":
            return self._list(query)
        if kind in ("machines", "nodes") and name:
            machine = self.machines.get(name)
            if machine is None:
                raise Refused(404, "No Machine matches the given query.")
            if words[2:] == ["results"]:
                return [{"id": 1, "results": machine.results}] if machine.results else []
            return self._machine(method, machine, query.get("op", ""), data)
        if kind == "tags":
            return self._tag(method, name, query.get("op", ""), data)
        raise Refused(404, "Unknown API endpoint: " + path)

    def _list(self, query: dict[str, str]) -> list[dict[str, Any]]:
        found = []
        for number, machine in enumerate(self.machines.values()):
            document = machine.document(number)
            fits = all(query[key] == document[key] for key in ("hostname",) if key in query)
            fits = fits and query.get("mac_address", machine.mac) == machine.mac
            if fits and query.get("pool", machine.pool) == machine.pool:
                found.append(document)
        return found

    # -- machines ---------------------------------------------------------------------------------
    def _machine(self, method: str, machine: Machine, op: str, data: list[tuple[str, str]]) -> Any:
        number = list(self.machines).index(machine.system_id)
        if method == "GET":
            return {"state": machine.power} if op == "query_power_state" else machine.document(number)
        given = dict(data)
        machine.orders.append((op, given))
        if op in ORDERS:
            takes, under_way, end = ORDERS[op]
            if machine.status not in takes:
                raise Refused(409, f"{op} is not possible in status {STATUS[machine.status]}.")
            machine.go(under_way, machine.ends.get(op, end), op, self.delay)
        elif op == "abort":
            if machine.status not in ABORTS:
                raise Refused(409, f"Cannot abort in its current state: {STATUS[machine.status]}")
            machine.go(ABORTS[machine.status], None, op, 0)
        elif op in ("mark_broken", "mark_fixed"):
            machine.go(8 if op == "mark_broken" else 4, None, op, 0)
            machine.message = given.get("comment", "")
        elif op in ("power_on", "power_off"):
            machine.power = op.removeprefix("power_")
        elif op == "set_owner_data":
            merged = {**machine.owner_data, **given}
            machine.owner_data = {key: value for key, value in merged.items() if value}
        else:
            raise Refused(400, f"Unrecognised signature: method=POST op={op}")
        return machine.document(number)

    # -- tags -------------------------------------------------------------------------------------
    def _tag(self, method: str, name: str, op: str, data: list[tuple[str, str]]) -> Any:
        given = dict(data)
        if method == "POST" and not name:
            if given["name"] in self.tags:
                raise Refused(400, json.dumps({"name": ["Tag with this Name already exists."]}))
            self.tags[given["name"]] = given.get("comment", "")
            return {"name": given["name"], "comment": given.get("comment", "")}
        if name not in self.tags:
            raise Refused(404, "No Tag matches the given query.")
        having = [(number, one) for number, one in enumerate(self.machines.values()) if name in one.tags]
        if method == "GET":
            if op == "machines":
                return [machine.document(number) for number, machine in having]
            return {"name": name, "comment": self.tags[name]}
        if method == "DELETE":
            del self.tags[name]
            for _number, machine in having:
                machine.tags.discard(name)
            return None
        if method == "PUT":
            self.tags[name] = given.get("comment", self.tags[name])
            return {"name": name, "comment": self.tags[name]}
        added = [self.machines[value] for key, value in data if key == "add"]
        removed = [self.machines[value] for key, value in data if key == "remove"]
        for machine in added:
            machine.tags.add(name)
        for machine in removed:
            machine.tags.discard(name)
        return {"added": len(added), "removed": len(removed)}


@contextmanager
def running(delay: float = 0.3) -> Iterator[Maas]:
    maas = Maas(delay)
    try:
        yield maas
    finally:
        maas.close()
