# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether anything answers as a BMC at an address, asked without a login and without a library.

A session's time-out is made for BMCs that are there and slow. An address that is free says nothing at all,
and waiting that long for nothing is the larger part of moving a BMC.
"""

from __future__ import annotations

import socket

from ...common.deadline import Deadline

#: RMCP presence ping (ASF 2.0, section 3.2.4.2), and Get Channel Authentication Capabilities (IPMI 2.0, section
#: 22.13) outside any session: every BMC has to answer the second, many have the first switched off.
PING = bytes.fromhex("0600ff06000011be80000000")
CAPABILITIES = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
#: How long an address that nobody has is asked, in seconds, and how often.
PATIENCE, TIMES = 1.5, 3


def answers(host: str, port: int = 623, patience: float = PATIENCE) -> bool:
    """Whether a BMC, any, is at an address. Asked ``TIMES`` times within ``patience`` seconds: packets get lost."""
    try:
        where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError:
        return False
    with socket.socket(where[0], socket.SOCK_DGRAM) as asker:
        for _time in range(TIMES):
            if _heard(asker, where[4], Deadline(patience / TIMES)):
                return True
    return False


def _heard(asker: socket.socket, address: tuple[object, ...], deadline: Deadline) -> bool:
    """Ask once, and wait for an answer. Only what comes from that address is looked at."""
    try:
        asker.connect(address)
        asker.send(PING)
        asker.send(CAPABILITIES)
    except OSError:
        return _nothing(asker, deadline)
    while not deadline.expired():
        asker.settimeout(max(deadline.remaining(), 0.001))
        try:
            if asker.recv(512)[:1] == PING[:1]:
                return True
        except TimeoutError:
            return False
        except OSError:  # somebody is there, and no BMC: the port is closed, for now at least
            return _nothing(asker, deadline)
    return False


def _nothing(asker: socket.socket, deadline: Deadline) -> bool:
    """Let the rest of the time pass before the next try: a BMC that is just starting closes its port, too."""
    asker.settimeout(max(deadline.remaining(), 0.001))
    try:
        return asker.recv(512)[:1] == PING[:1]
    except OSError:
        return False
