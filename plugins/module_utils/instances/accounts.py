# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups of an instance, by name or number, as its own /etc/passwd and /etc/group have them."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.errors import InvalidInput, NotFound
from ..common.problems import nearest
from .incus.client import IncusClient


@dataclass(frozen=True)
class Account:
    """A line of /etc/passwd. ``name`` and ``home`` are empty for a number without a line."""

    uid: int
    gid: int
    name: str = ""
    home: str = ""


def parse_passwd(text: str) -> list[Account]:
    """The accounts in a passwd(5) file; lines that are none are left out."""
    rows = [line.split(":") for line in text.splitlines()]
    return [
        Account(int(row[2]), int(row[3]), row[0], row[5])
        for row in rows
        if len(row) >= 7 and row[2].isdigit() and row[3].isdigit()
    ]


def parse_group(text: str) -> dict[str, int]:
    """Group names and numbers in a group(5) file."""
    rows = [line.split(":") for line in text.splitlines()]
    return {row[0]: int(row[2]) for row in rows if len(row) >= 4 and row[2].isdigit()}


def _read(client: IncusClient, instance: str, path: str) -> str:
    try:
        return client.pull(instance, path).content.decode(errors="replace")
    except NotFound:
        return ""


def find_account(client: IncusClient, instance: str, user: str, field: str = "user") -> Account:
    """The account of a user's name or number. A number without an account gets group 0, as Incus gives it."""
    known = parse_passwd(_read(client, instance, "/etc/passwd"))
    for account in known:
        if user in (account.name, str(account.uid)):
            return account
    if user.isdigit():
        return Account(int(user), 0)
    hint = nearest(user, [account.name for account in known])
    raise InvalidInput([f'{field}: instance {instance} has no user "{user}" in /etc/passwd{hint}'])


def find_gid(client: IncusClient, instance: str, group: str, field: str = "group") -> int:
    """The number of a group's name or number."""
    if group.isdigit():
        return int(group)
    known = parse_group(_read(client, instance, "/etc/group"))
    if group not in known:
        hint = nearest(group, known)
        raise InvalidInput([f'{field}: instance {instance} has no group "{group}" in /etc/group{hint}'])
    return known[group]
