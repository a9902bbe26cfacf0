# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks MAAS's REST API 2.0 as far as its public documentation tells and a machine's way needs.

OAuth 1.0 is checked (PLAINTEXT). A machine goes from status to status by the clock: an order puts it into a
status under way, and after the site's delay it has arrived, whoever asks. ``faults`` makes it fail.

With a ``driver`` MAAS switches its machines by it, as the power parameters tell, and an order gets on only when
the machine has booted and asked what to do (``booted``). A machine that nobody ordered to boot is switched off.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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
    16: "Rescue mode",
    17: "Entering rescue mode",
    18: "Failed to enter rescue mode",
    19: "Exiting rescue mode",
    20: "Failed to exit rescue mode",
    21: "Testing",
    22: "Failed testing",
}
#: op -> the statuses in which MAAS takes it, the status under way, and where that leads.
ORDERS: dict[str, tuple[set[int], int, int]] = {
    "commission": ({0, 2, 4, 8, 22}, 1, 4),
    "deploy": ({4, 10}, 9, 6),
    "release": ({5, 6, 10, 11, 13, 15}, 12, 4),
    "rescue_mode": ({4, 6, 8, 18}, 17, 16),
    "exit_rescue_mode": ({16, 18, 20}, 19, 4),
}
ABORTS = {1: 0, 21: 22, 9: 10, 14: 15}
FAILURES = {"commission": 2, "deploy": 11, "release": 13, "rescue_mode": 18, "exit_rescue_mode": 20}
#: A machine that boots in one of these goes on with what was ordered; in the others of these it just runs.
EXPECTED, RUNS = {1, 9, 17, 19, 21}, {6, 16}
#: What a driver is told: power parameters, and on, off, cycle or query. Answers on or off; raises PowerError.
Driver = Callable[[Mapping[str, str], str], str]


class PowerError(Exception):
    """A machine could not be switched."""


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
    parameters: dict[str, str] = field(default_factory=dict)
    #: Where it has booted, but for its address, which comes so long after; None never comes.
    lease: float | None = 0.0
    #: The status before rescue mode.
    earlier: int = 4
    #: Counts the orders: what was begun for an earlier one is of no concern.
    number: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    _due: tuple[float, int, str] | None = None
    _lease: tuple[float, str] | None = None

    def go(self, under_way: int, end: int | None, op: str, delay: float) -> None:
        self.status, self.message = under_way, ""
        self.number += 1
        self._due = None if end is None else (time.monotonic() + delay, end, op)
        self.note(STATUS[under_way])

    def note(self, said: str) -> None:
        self.events.append({"node": self.system_id, "hostname": self.hostname, "level": "INFO", "description": said})

    def fail(self, op: str, why: str) -> None:
        self.status, self.message, self._due = FAILURES.get(op, self.status), why, None
        self.note(why)

    def boots(self, address: str, delay: float) -> None:
        """It has booted: what it is ordered to do takes ``delay``, and it has an address after its lease's time."""
        if self._due is not None:
            self._due = (time.monotonic() + delay, *self._due[1:])
        self._lease = None if self.lease is None else (time.monotonic() + self.lease, address)

    def tick(self) -> str:
        """Arrive, if it is time: the order that has ended then."""
        if self._lease is not None and time.monotonic() >= self._lease[0]:
            self.address, self._lease = self._lease[1], None
        if self._due is None or time.monotonic() < self._due[0]:
            return ""
        _when, self.status, op = self._due
        self._due = None
        self.note(STATUS[self.status])
        if self.status in (2, 22):
            name, code, said = self.script
            self.message = "1 script failed"
            self.results = [{"name": name, "status": 3, "exit_status": code, "output": _encoded(said)}]
        elif self.status in FAILURES.values():
            self.message = f"{op} failed"
        self.power = "on" if self.status == 6 else self.power
        return op

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
        self.misfortunes["expire"] = self.keys.clear  # from then on
        self.driver: Driver | None = None
        self._switching: list[threading.Thread] = []

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

    # -- power ------------------------------------------------------------------------------------
    def tick(self) -> None:
        """Have everything happen whose time has come."""
        with self.lock:
            for machine in self.machines.values():
                if machine.tick():
                    self._ended(machine)

    def _ended(self, machine: Machine) -> None:
        """A machine that was commissioned stays on only where that was ordered."""
        told = next((given for op, given in reversed(machine.orders) if op == "commission"), {})
        if machine.status == 4 and told.get("enable_ssh", "").lower() not in ("1", "true", "yes", "on"):
            self._switch(machine, "off")

    def booted(self, system_id: str, address: str) -> None:
        """A machine has booted from the network and asks what to do."""
        with self.lock:
            self.tick()
            machine = self.machines[system_id]
            machine.power = "on"
            if machine.status in EXPECTED:
                machine.boots(address, self.delay)
            elif machine.status in RUNS:
                machine.boots(address, 0)
            else:
                self._switch(machine, "off")

    def _switch(self, machine: Machine, command: str) -> None:
        """Have the driver do so, while MAAS goes on. Where it fails, so does what was ordered."""
        if self.driver is None:
            return
        number, driver, parameters = machine.number, self.driver, dict(machine.parameters)
        ended = machine._due[2] if machine._due else ""

        def carry_out() -> None:
            try:
                power = driver(parameters, command)
            except PowerError as error:
                with self.lock:
                    if machine.number == number:
                        machine.fail(ended, f"Power {command} for the node failed: {error}")
                return
            with self.lock:
                machine.power = power
                machine.note(f"Node powered {power}")

        self._switching = [thread for thread in self._switching if thread.is_alive()]
        self._switching.append(threading.Thread(target=carry_out))
        self._switching[-1].start()

    def _power_state(self, machine: Machine) -> dict[str, str]:
        if self.driver is not None:
            self.lock.release()  # a BMC that does not answer keeps nobody else waiting
            try:
                machine.power = self.driver(dict(machine.parameters), "query")
            except PowerError:
                machine.power = "error"
            finally:
                self.lock.acquire()
        return {"state": machine.power}

    def close(self) -> None:
        super().close()
        for thread in self._switching:
            thread.join()

    # -- HTTP -------------------------------------------------------------------------------------
    def line(self, method: str, path: str, query: dict[str, str]) -> str:
        return " ".join([method, path.removeprefix("/MAAS/api/2.0"), *([query["op"]] if "op" in query else [])])

    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        self._check(request.headers.get("Authorization") or "")
        self.tick()
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
        if kind == "events" and query.get("op") == "query":
            return self._events(query)
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

    def _events(self, query: dict[str, str]) -> dict[str, Any]:
        found = [
            event
            for machine in self.machines.values()
            if query.get("id", machine.system_id) == machine.system_id
            and query.get("hostname", machine.hostname) == machine.hostname
            for event in machine.events
        ]
        return {"count": len(found), "events": found[::-1][: int(query.get("limit", 100))]}

    # -- machines ---------------------------------------------------------------------------------
    def _machine(self, method: str, machine: Machine, op: str, data: list[tuple[str, str]]) -> Any:
        number = list(self.machines).index(machine.system_id)
        if method == "GET":
            if op == "query_power_state":
                return self._power_state(machine)
            return dict(machine.parameters) if op == "power_parameters" else machine.document(number)
        given = dict(data)
        machine.orders.append((op or "update", given))
        if method == "PUT":
            prefix = "power_parameters_"
            told = {key.removeprefix(prefix): value for key, value in data if key.startswith(prefix)}
            machine.parameters.update({key: value for key, value in told.items() if key != "skip_check"})
        elif op in ORDERS:
            self._order(machine, op)
        elif op == "abort":
            if machine.status not in ABORTS:
                raise Refused(409, f"Cannot abort in its current state: {STATUS[machine.status]}")
            machine.go(ABORTS[machine.status], None, op, 0)
            self._switch(machine, "off")
        elif op in ("mark_broken", "mark_fixed"):
            machine.go(8 if op == "mark_broken" else 4, None, op, 0)
            machine.message = given.get("comment", "")
        elif op in ("power_on", "power_off"):
            machine.power = op.removeprefix("power_")
            self._switch(machine, machine.power)
        elif op == "set_owner_data":
            merged = {**machine.owner_data, **given}
            machine.owner_data = {key: value for key, value in merged.items() if value}
        else:
            raise Refused(400, f"Unrecognised signature: method=POST op={op}")
        return machine.document(number)

    def _order(self, machine: Machine, op: str) -> None:
        takes, under_way, end = ORDERS[op]
        if machine.status not in takes:
            raise Refused(409, f"{op} is not possible in status {STATUS[machine.status]}.")
        if op == "rescue_mode":
            machine.earlier = machine.status
        leaves = op == "exit_rescue_mode"
        ends = machine.ends.get(op, machine.earlier if leaves else end)
        off = op == "release" or (leaves and machine.earlier != 6)
        machine.go(under_way, ends, op, self.delay if self.driver is None or off else float("inf"))
        self._switch(machine, "off" if off else "cycle")

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
