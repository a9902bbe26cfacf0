# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates: for how long they are good, and refreshed in time."""

from __future__ import annotations

from typing import Any

from ..common.errors import Conflict, OperationFailed
from ..common.show import diff_of
from .client import MicroK8s
from .membership import CONTROL, look

NAMES = ("server.crt", "front-proxy-client.crt", "ca.crt")


def ensure_certificate(
    client: MicroK8s, name: str, days: int, seconds: float, force: bool, check: bool
) -> dict[str, Any]:
    """The certificate is good for more than so many days yet, or is made anew."""
    left = _left(client, name)
    due = left <= days
    if due and name == "ca.crt" and look(client).kind == CONTROL and not force:
        raise Conflict(
            f"ca.crt is good for {left} days, and this machine is in a cluster",
            hint="all nodes have to leave and join again when it is refreshed; force: true does it nevertheless",
        )
    after = left
    if due and not check:
        client.done("refresh-certs", "--cert", name, slow=True)
        client.wait_ready(seconds)
        after = _left(client, name)
        if after <= days:
            raise OperationFailed(f"{name} was refreshed, and is still good for {after} days only")
    shown = diff_of({"days": left}, {"days": after if not check else "anew"} if due else {"days": left}, name)
    return {"changed": due, "days": after, "before": left, "diff": shown}


def _left(client: MicroK8s, name: str) -> int:
    found = {one.name: one.days for one in client.certificates()}
    if name not in found:
        raise OperationFailed(f"microk8s refresh-certs --check does not name {name}")
    return found[name]
