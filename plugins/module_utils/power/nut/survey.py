# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What UPSes there are: at the servers that are named, and at this machine's USB ports."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ...common.errors import RacksteadError
from .client import Server
from .info import read_upses

SCANNER = "nut-scanner"
#: Servers that are asked at once, each within its own timeout.
MOST_AT_ONCE = 32
#: Seconds that the scanner has: a USB bus answers in one or two.
SCAN_TIMEOUT = 60.0
_FIELD = re.compile(r'([A-Za-z0-9_.]+)="([^"]*)"')


@dataclass(frozen=True)
class Surveyed:
    """A server's UPSes, as ``ups_info`` tells of them, or the error for which there are none."""

    server: Server
    upses: tuple[dict[str, Any], ...] = ()
    error: RacksteadError | None = None


def survey(servers: Sequence[Server], wanted: Sequence[str] = ()) -> list[Surveyed]:
    """Ask all servers at once, so that a dead one costs its timeout and no more. None wanted means all UPSes."""
    with ThreadPoolExecutor(min(len(servers), MOST_AT_ONCE) or 1) as pool:
        return list(pool.map(lambda server: _asked(server, list(wanted)), servers))


def _asked(server: Server, wanted: list[str]) -> Surveyed:
    try:
        return Surveyed(server, tuple(read_upses(server, wanted)))
    except RacksteadError as error:
        return Surveyed(server, error=error)


def scan_usb(command: str = SCANNER) -> tuple[list[dict[str, str]], str]:
    """What NUT's scanner finds at this machine's USB ports, and a note where that is nothing."""
    program = shutil.which(command)
    if not program:
        return [], f"{command} is not installed, so USB ports were not looked at"
    try:
        done = subprocess.run(
            [program, "-q", "-U", "-P"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=SCAN_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], f"{command} did not end within {SCAN_TIMEOUT:g} s"
    found = parse_scan(done.stdout)
    said = done.stderr.strip().splitlines()
    return found, "" if found else said[-1] if said else "no UPS at a USB port"


def parse_scan(text: str) -> list[dict[str, str]]:
    """The devices of ``nut-scanner -P``: a line for each, ``USB:driver="usbhid-ups",port="auto",…``."""
    devices = []
    for line in text.splitlines():
        bus, colon, rest = line.partition(":")
        fields = dict(_FIELD.findall(rest))
        if colon and fields.get("driver"):
            devices.append({**fields, "kind": bus.lower()})
    return devices
