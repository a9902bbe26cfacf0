# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How BIOS documents are read from a machine and pushed to it, whichever way leads there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...common.deadline import Deadline
from .model import BiosDocument, Pending, Pushed, SettingChange


class Transport(Protocol):
    """One machine's BIOS. Open between ``__enter__`` and ``__exit__``. Nothing here ever reboots the machine."""

    #: whose names its settings bear: supermicro or redfish
    vendor: str
    where: str

    def __enter__(self) -> Transport: ...

    def __exit__(self, *exc: object) -> None: ...

    def fetch(self, deadline: Deadline) -> BiosDocument:
        """The settings as the machine runs with them. Raises Unreachable, Conflict (busy), Unsupported (licence)."""

    def push(self, document: BiosDocument, changes: Sequence[SettingChange], deadline: Deadline) -> Pushed:
        """Store ``changes`` for the next boot, and only them. ``document`` is what they were decided from."""

    def pending(self, deadline: Deadline) -> Pending | None:
        """What waits for the next boot; None where nothing does, or the transport cannot tell."""

    def settled(self, pushed: Pushed, deadline: Deadline) -> dict[str, str]:
        """Wait after a boot until what is read back counts. Returns causes that the machine gives, by setting's name."""

    def boot_id(self, deadline: Deadline) -> str:
        """What tells one boot of the machine from the next; nothing where the transport sees no such thing."""

    def await_boot(self, before: str, deadline: Deadline) -> None:
        """Wait, after a reboot was ordered, until another boot than ``before`` is seen. Raises DeadlineExceeded."""
