# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of a BMC."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ...common.errors import Conflict, Denied, InvalidInput, OperationFailed
from ...common.known import known
from ...common.show import diff_of
from .ipmi import LONGEST_NAME, LONGEST_PASSWORD, Ipmi
from .model import PRIVILEGES, Endpoint, User


@dataclass(frozen=True)
class Wanted:
    """The user that is to be, or not to be. ``slot`` None takes the user's own, else the first free one."""

    name: str
    present: bool
    privilege: str = "user"
    password: str | None = field(default=None, repr=False)
    update_password: bool = True
    slot: int | None = None

    def problems(self) -> list[str]:
        found = []
        if not self.name or len(self.name.encode()) > LONGEST_NAME:
            found.append(f"name: {self.name!r} is not valid; allowed: 1 to {LONGEST_NAME} bytes")
        if self.password is not None and not 1 <= len(self.password.encode()) <= LONGEST_PASSWORD:
            found.append(f"user_password: its length is not valid; allowed: 1 to {LONGEST_PASSWORD} bytes")
        if self.slot is not None and not 2 <= self.slot <= 63:
            found.append(f"slot: {self.slot} is not valid; allowed: 2 to 63")
        return found


def ensure_user(bmc: Ipmi, wanted: Wanted, *, check: bool) -> dict[str, Any]:
    """Have a user with a privilege and a password, or not have it.

    Whether the password is right is found out by logging in once, and after a change the same way.
    """
    users = bmc.users()
    there = [user for user in users if user.name == wanted.name]
    if len(there) > 1:
        slots = ", ".join(str(user.slot) for user in there)
        raise Conflict(f"name: {wanted.name} stands in slots {slots}", hint="name one of them in slot")
    before = there[0] if there else None
    if wanted.present:
        return _present(bmc, wanted, users, before, check)
    if before and before.name == bmc.endpoint.username:
        raise InvalidInput([f"name: {wanted.name} is the user who asks; allowed: another user removes it"])
    if before and not check:
        bmc.remove_user(before.slot)
        if any(user.name == wanted.name for user in bmc.users()):
            raise OperationFailed(f"user {wanted.name}: is disabled, but the BMC keeps its name in slot {before.slot}")
    return _result(bmc, before, None, bool(before), False)


def _present(bmc: Ipmi, wanted: Wanted, users: list[User], before: User | None, check: bool) -> dict[str, Any]:
    if before is None and wanted.password is None:
        raise InvalidInput([f"user_password: is missing; user {wanted.name} does not exist and needs one"])
    itself = before is not None and before.name == bmc.endpoint.username
    if itself and before and before.privilege != wanted.privilege:
        raise InvalidInput(
            [f"privilege: {wanted.privilege} would be that of the user who asks; allowed: another user changes it"]
        )
    slot = before.slot if before else _free_slot(users, wanted.slot)
    if before and wanted.slot not in (None, before.slot):
        raise InvalidInput([f"slot: user {wanted.name} is in slot {before.slot}; allowed: {before.slot}"])
    after = User(slot, wanted.name, wanted.privilege, None if before is None else before.enabled and True)
    password = _password(bmc, wanted, before)
    changed = before is None or before.enabled is False or password is not None or before.privilege != wanted.privilege
    if changed and not check:
        bmc.set_user(slot, wanted.name, wanted.privilege, password)
        _verify(bmc, wanted, slot, password or (wanted.password if wanted.update_password else None))
    return _result(bmc, before, after, changed, password is not None)


def _free_slot(users: list[User], slot: int | None) -> int:
    free = [user.slot for user in users if not user.name]
    if slot is not None and slot not in free:
        holder = next((user.name for user in users if user.slot == slot), "")
        what = f"is user {holder}'s" if holder else "does not exist"
        raise InvalidInput([f"slot: {slot} {what}; allowed: {', '.join(map(str, free[:8])) or 'none is free'}"])
    if not free:
        raise Conflict("no slot is free for another user", hint="remove one")
    return slot or free[0]


def _password(bmc: Ipmi, wanted: Wanted, before: User | None) -> str | None:
    """The password that is to be set. Whether a user has it already the BMC is asked once, by logging in."""
    if wanted.password is None or before is None or before.privilege not in PRIVILEGES:
        return wanted.password  # nobody ever got in by this slot: a killed run may have named it and no more
    if not wanted.update_password:
        return None
    if (wanted.name, wanted.password) == (bmc.endpoint.username, bmc.endpoint.password):
        return None
    if before.enabled is False or before.privilege != wanted.privilege:
        return wanted.password  # the user would not get in with the right one either
    return None if logs_in(bmc.endpoint, wanted, wanted.password) else wanted.password


def logs_in(endpoint: Endpoint, user: Wanted, password: str) -> bool:
    """Whether a user gets in with a password, once the privilege is right. Tried once."""
    try:
        with Ipmi(replace(endpoint, username=user.name, password=password, privilege=user.privilege)):
            return True
    except Denied:
        return False


def _verify(bmc: Ipmi, wanted: Wanted, slot: int, password: str | None) -> None:
    user = known(next((user for user in bmc.users() if user.slot == slot), None))
    where = f"user {wanted.name}"
    if (user.name, user.privilege) != (wanted.name, wanted.privilege):
        raise OperationFailed(
            f"was set, but did not stick: slot {slot} shows {user.name} {user.privilege}", where=where
        )
    if password is not None and not logs_in(bmc.endpoint, wanted, password):
        raise OperationFailed("was set, but does not get in with the new password", where=where)


def _result(bmc: Ipmi, before: User | None, after: User | None, changed: bool, password: bool) -> dict[str, Any]:
    sides = [
        {"slot": user.slot, "name": user.name, "privilege": user.privilege} if user else None
        for user in (before, after)
    ]
    diff = diff_of(sides[0], sides[1], f"BMC {bmc.endpoint.host}")
    if before and after and password:
        diff["after"] += "# the password changes\n"
    return {"changed": changed, "user": sides[1], "password_changed": password, "diff": diff}
