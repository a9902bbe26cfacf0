# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine's MicroK8s stopped and started, so that it comes back by itself at the next boot.

``microk8s stop`` disables the services, and a machine that loses its power then would stay without them. snapd's own
``snap stop`` does not, and ``snap start --enable`` makes up for what somebody else has disabled.
"""

from __future__ import annotations

from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import DeadlineExceeded, NotFound, OperationFailed, Unreachable
from ..common.show import diff_of
from .client import MicroK8s
from .model import NotRunning, OnWorker

SNAP = "microk8s"


def ensure_stopped(client: MicroK8s, seconds: float, check: bool) -> dict[str, Any]:
    """No service of MicroK8s runs on this machine, within ``seconds``; at its next boot they do again."""
    before = _running(client)
    if before and not check:
        client.snap_done("stop", SNAP)
        wait_until(lambda: not _running(client) or None, Deadline(seconds), what="MicroK8s to be stopped", first=0.2)
    return _answer(client, before, False)


def ensure_started(client: MicroK8s, ready: bool, seconds: float, check: bool) -> dict[str, Any]:
    """The services run on this machine, within ``seconds``, and will at its next boot.

    ``ready`` waits until the machine answers for the cluster, too: that takes a quorum of its datastore.
    """
    before = _running(client)
    if not before and not check:
        client.snap_done("start", "--enable", SNAP)
    if not check:
        deadline = Deadline(seconds)
        wait_until(lambda: _running(client) or None, deadline, what="MicroK8s to be started", first=0.2)
        if ready:
            client.wait_up(deadline.remaining())
    return _answer(client, before, True)


def _running(client: MicroK8s) -> bool:
    """Whether the services run. Those that do not answer in time, or say nothing sensible, do. Raises NotFound."""
    try:
        client.status()
    except NotRunning:
        return False
    except NotFound as error:
        raise NotFound("MicroK8s is not installed on this machine", hint="see the playbook setup_cluster") from error
    except (OnWorker, Unreachable, OperationFailed, DeadlineExceeded):
        return True
    return True


def _answer(client: MicroK8s, before: bool, after: bool) -> dict[str, Any]:
    words = {False: "stopped", True: "started"}
    shown = diff_of({"microk8s": words[before]}, {"microk8s": words[after]}, client.hostname)
    return {"changed": before != after, "before": words[before], "diff": shown}
