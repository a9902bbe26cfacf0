# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the writer makes of a daemon that is still busy with a killed run's last request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound, OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Change, Desired, Observed, Ref
from ansible_collections.rackstead.infra.plugins.module_utils.instances.writer import Writer

from tests.unit.plan_worlds import world

WAITED_OUT = "Failed to create instance delete operation: A matching non-reusable operation has now succeeded"
BUSY = 'Failed to create instance stop operation: Instance is busy running a "stop" operation'


class Daemon:
    """A client whose writes end as told, one after the other; None: it goes well. ``status`` is what it shows."""

    def __init__(self, *ends: Exception | None, status: str = "Running") -> None:
        self._ends: Iterator[Exception | None] = iter(ends)
        self.status = status
        self.asked: list[str] = []

    def in_project(self, _name: str) -> Daemon:
        return self

    def operations(self) -> list[Any]:
        return []

    def get(self, _path: str) -> dict[str, str]:
        return {"status": self.status}

    def _write(self, words: str) -> None:
        self.asked.append(words)
        if end := next(self._ends):
            raise end

    def delete(self, path: str) -> None:
        self._write(f"delete {path}")

    def put(self, _path: str, body: dict[str, Any]) -> None:
        self._write(f"{body['action']} {'by force' if body.get('force') else 'gently'}")


def perform(daemon: Daemon, action: str, status: str = "Stopped", **devices: dict[str, str]) -> list[str]:
    ref = Ref("instance", "run1")
    change = Change(ref, (action,), observed=Observed(ref, status=status), desired=Desired(ref, devices=devices))
    return Writer(daemon, world()).perform(change, lambda _action, _detail: None)  # type: ignore[arg-type]


def test_a_delete_that_waited_for_another_delete_is_done() -> None:
    daemon = Daemon(OperationFailed(WAITED_OUT), NotFound("Instance not found"))
    assert perform(daemon, "delete") == []
    assert daemon.asked == ["delete /instances/run1"] * 2


def test_a_daemon_that_was_too_busy_is_asked_again() -> None:
    daemon = Daemon(OperationFailed("context deadline exceeded"), None, status="Stopped")
    assert perform(daemon, "start") == []
    assert len(daemon.asked) == 2
    stuck = Daemon(
        OperationFailed('Failed shutting down instance, status is "Running": context deadline exceeded'), None
    )
    (note,) = perform(stuck, "stop", "Running")
    assert "by force" in note


def test_a_stop_beside_another_stop_does_not_pull_the_plug() -> None:
    daemon = Daemon(OperationFailed(BUSY), OperationFailed("The instance is already stopped"), status="Stopped")
    assert perform(daemon, "stop", "Running") == []
    assert daemon.asked == ["stop gently"] * 2


@pytest.mark.parametrize(
    ("action", "status"), [("start", "Running"), ("stop", "Stopped"), ("freeze", "Frozen"), ("unfreeze", "Running")]
)
def test_a_state_that_is_reached_already_is_as_good(action: str, status: str) -> None:
    daemon = Daemon(OperationFailed("The container is already so"), status=status)
    assert perform(daemon, action, "Running") == []
    assert len(daemon.asked) == 1


def test_a_start_that_fails_is_told() -> None:
    with pytest.raises(OperationFailed, match="no such bridge"):
        perform(Daemon(OperationFailed("no such bridge"), status="Stopped"), "start")


def test_a_stop_that_fails_pulls_the_plug_and_says_so() -> None:
    daemon = Daemon(OperationFailed("Failed shutting down instance"), None)
    (note,) = perform(daemon, "stop", "Running")
    assert "by force" in note and daemon.asked == ["stop gently", "stop by force"]


def test_what_does_not_pass_is_told_at_once() -> None:
    daemon = Daemon(OperationFailed("Failed to remove the volume"))
    with pytest.raises(OperationFailed, match="remove the volume"):
        perform(daemon, "delete")


@pytest.mark.parametrize(
    ("what", "hint"),
    [
        ("Error occurred when starting proxy device: Error: Failed to receive fd", "It forwards tcp:127.0.0.1:8080"),
        ("Idmaps of container and storage volume are not identical", "security.shifted=true"),
    ],
)
def test_what_incus_leaves_open_is_said(what: str, hint: str) -> None:
    port = {"type": "proxy", "listen": "tcp:127.0.0.1:8080", "connect": "tcp:127.0.0.1:80"}
    with pytest.raises(OperationFailed, match=hint):
        perform(Daemon(OperationFailed(what), status="Stopped"), "start", web=port)
