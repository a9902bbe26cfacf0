# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wake-on-LAN, for machines without a BMC: the magic packet of AMD's white paper 20213."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import InvalidInput, OperationFailed

MAC = re.compile(r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}|[0-9A-Fa-f]{12}")
#: A machine that sleeps deeply may miss a packet; it is sent again so often while it is waited for, in seconds.
AGAIN = 5.0


def magic_packet(mac: str, password: str = "") -> bytes:
    """Six times FF, sixteen times the address, then the SecureOn password, if any (an address of six bytes)."""
    return b"\xff" * 6 + _bytes(mac) * 16 + (_bytes(password) if password else b"")


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(re.sub("[:-]", "", mac))


def problems_of(params: dict[str, Any]) -> list[str]:
    """What is wrong with the options of the module wake."""
    problems = []
    if not MAC.fullmatch(params["mac"]):
        problems.append(f"mac: {params['mac']!r} is not a MAC address; allowed: such as ac:1f:6b:00:00:01")
    if params["secure_on"] and not MAC.fullmatch(params["secure_on"]):
        problems.append("secure_on: is not valid; allowed: six bytes written like a MAC address")
    try:
        ipaddress.IPv4Address(params["broadcast"])
    except ValueError:
        problems.append(f"broadcast: {params['broadcast']!r} is not an IPv4 address; allowed: such as 192.0.2.255")
    for name in ("port", "wait_port"):
        if not 1 <= params[name] <= 65535:
            problems.append(f"{name}: {params[name]} is not valid; allowed: 1 to 65535")
    return problems


def wake(params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Send the packet; with ``wait_for`` only if the machine does not answer, and until it does."""
    problems = problems_of(params)
    if problems:
        raise InvalidInput(problems)
    host, port = params["wait_for"], params["wait_port"]
    if host and _answers(host, port):
        return {"changed": False, "awake": True}
    if check:
        return {"changed": True, "awake": None}
    packet = magic_packet(params["mac"], params["secure_on"] or "")
    _send(packet, params)
    if host:
        _until_awake(packet, params)
    return {"changed": True, "awake": True if host else None}


def _until_awake(packet: bytes, params: dict[str, Any]) -> None:
    host, port = params["wait_for"], params["wait_port"]
    again = Deadline(AGAIN)

    def awake() -> bool | None:
        nonlocal again
        if _answers(host, port):
            return True
        if again.expired():
            _send(packet, params)
            again = Deadline(AGAIN)
        return None

    wait_until(awake, Deadline(params["timeout"]), what=f"{host} to answer on TCP port {port}", first=0.2)


def _send(packet: bytes, params: dict[str, Any]) -> None:
    place = (params["broadcast"], params["port"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            sender.sendto(packet, place)
        except OSError as exc:
            raise OperationFailed(f"the packet could not be sent to {place[0]}: {exc.strerror}", where="wake") from exc


def _answers(host: str, port: int, patience: float = 1.0) -> bool:
    try:
        with socket.create_connection((host, port), patience):
            return True
    except OSError:
        return False
