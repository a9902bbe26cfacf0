# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a BMC is asked and what it answers, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Devices to boot from. ``none`` leaves the choice to the firmware.
BOOT_DEVICES = ("none", "pxe", "disk", "cd", "usb", "bios", "diag")
BOOT_MODES = ("efi", "legacy")
PRIVILEGES = ("user", "operator", "administrator")


@dataclass(frozen=True)
class Endpoint:
    """Where a BMC is and who asks. ``timeout`` is in seconds, for each exchange."""

    host: str
    username: str
    password: str = field(repr=False)
    port: int = 623
    redfish_url: str = ""
    cipher_suite: int | None = None
    verify: bool = True
    ca_file: str = ""
    timeout: float = 10.0
    privilege: str = "administrator"


@dataclass(frozen=True)
class Boot:
    """What the server boots from next, or always. ``mode`` is None where the BMC leaves it open."""

    device: str
    persistent: bool = False
    mode: str | None = None


@dataclass(frozen=True)
class Lan:
    """The BMC's own IPv4 settings. ``vlan`` 0 is none."""

    address: str
    netmask: str
    gateway: str
    source: str
    vlan: int = 0
    mac: str = ""

    def shown(self) -> dict[str, Any]:
        """The settings that may be set, by option name."""
        return {name: getattr(self, name) for name in ("source", "address", "netmask", "gateway", "vlan")}


@dataclass(frozen=True)
class User:
    """A user of the BMC in its numbered slot. ``enabled`` is None where the BMC does not say."""

    slot: int
    name: str
    privilege: str
    enabled: bool | None = None


class Bmc(Protocol):
    """What both protocols can do. A session is open between ``__enter__`` and ``__exit__``."""

    protocol: str

    def power(self) -> str:
        """``on`` or ``off``."""

    def press(self, action: str) -> None:
        """Ask for ``on``, ``off``, ``soft`` (the operating system's own shutdown) or ``reset``."""

    def boot(self) -> Boot:
        """What is to be booted."""

    def set_boot(self, boot: Boot) -> None:
        """Have it boot so."""

    def facts(self, subset: str) -> Mapping[str, Any] | list[Any]:
        """One part of what the BMC tells, see ``info.SUBSETS``. Raises Unsupported where it has no such part."""
