# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the core is opened by a module: where the commands are, and how long they may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.errors import InvalidInput
from .client import QUICK, SLOW, MicroK8s

#: Argument spec of the doc fragment ``rackstead.infra.microk8s``.
OPTIONS: dict[str, dict[str, Any]] = {
    "command": {"type": "path", "default": "/snap/bin/microk8s"},
    "snap_command": {"type": "path", "default": "/usr/bin/snap"},
    "data_dir": {"type": "path", "default": "/var/snap/microk8s/current"},
    "look_timeout": {"type": "float", "default": QUICK},
    "act_timeout": {"type": "float", "default": SLOW},
}


def client_of(given: Mapping[str, Any]) -> MicroK8s:
    """This machine's MicroK8s, by a module's options."""
    lines = [
        f"{name}: {given[name]:g} is not valid; allowed: seconds, more than 0"
        for name in ("look_timeout", "act_timeout", "wait")
        if given.get(name) is not None and given[name] <= 0
    ]
    if lines:
        raise InvalidInput(lines)
    return MicroK8s(
        command=given["command"],
        snap=given["snap_command"],
        data_dir=given["data_dir"],
        quick=given["look_timeout"],
        slow=given["act_timeout"],
    )
