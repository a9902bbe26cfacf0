# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts in one word each: ``[NAME=][SCHEME://][USER@]ADDRESS[:PORT]``. Pure.

What is read here ends on the command line of ssh, so a word that could be taken for one of its options is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .problems import Problems

#: Schemes, and the connection plugins of Ansible that they stand for.
CONNECTIONS = {"ssh": "ansible.builtin.ssh", "incus": "rackstead.infra.instance"}
ALLOWED = "[NAME=][ssh://|incus://][USER@]ADDRESS[:PORT], such as pi@node1 or node1=192.0.2.11:2222"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}"
_WORD = re.compile(
    rf"(?:(?P<name>{_NAME})=)?(?:(?P<scheme>ssh|incus)://)?(?:(?P<user>[A-Za-z_][A-Za-z0-9_.-]*)@)?"
    rf"(?:(?P<address>{_NAME})|\[(?P<six>[0-9A-Fa-f:.]+)\])(?::(?P<port>\d{{1,5}}))?"
)


@dataclass(frozen=True)
class Host:
    """A host to be worked on."""

    name: str
    address: str
    user: str = ""
    port: int = 0
    scheme: str = "ssh"

    @property
    def variables(self) -> dict[str, Any]:
        """What Ansible is to know of it."""
        found: dict[str, Any] = {
            "ansible_connection": CONNECTIONS[self.scheme],
            "ansible_host": self.address,
            "ansible_user": self.user,
            "ansible_port": self.port,
        }
        return {name: value for name, value in found.items() if value}

    @property
    def word(self) -> str:
        """The host as it is written."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        whole = (f"{self.user}@" if self.user else "") + address + (f":{self.port}" if self.port else "")
        scheme = f"{self.scheme}://" if self.scheme != "ssh" else ""
        return (f"{self.name}=" if self.name != self.address else "") + scheme + whole


def read_hosts(words: Sequence[str], where: str) -> list[Host]:
    """The hosts that words name. Raises InvalidInput."""
    problems = Problems()
    found = [_read(str(word), where, problems) for word in words]
    names = [one.name for one in found if one]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.add(where, f'"{name}" is named twice', "each host once")
    problems.raise_if_any()
    return [one for one in found if one]


def _read(word: str, where: str, problems: Problems) -> Host | None:
    match = _WORD.fullmatch(word)
    port = int(match["port"] or 0) if match else 0
    if not match or port > 65535 or match["port"] == "0":
        problems.add(where, f'"{word}" is not valid', ALLOWED)
        return None
    address = match["address"] or match["six"]
    return Host(match["name"] or address, address, match["user"] or "", port, match["scheme"] or "ssh")
