# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of MicroK8s, typed."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.errors import Conflict, Unsupported

CHANNEL_RISKS = ("stable", "candidate", "beta", "edge")


class NotRunning(Conflict):
    """MicroK8s is installed, and its services are stopped."""


class OnWorker(Unsupported):
    """This machine is a worker, which answers nothing about the cluster."""


@dataclass(frozen=True)
class Addon:
    """An addon as ``status`` lists it."""

    name: str
    repository: str
    enabled: bool
    version: str = ""
    description: str = ""


@dataclass(frozen=True)
class DatastoreMember:
    """A member of the datastore, which is known by its address alone. ``role`` is voter, standby or spare."""

    address: str
    role: str

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0].strip("[]")


@dataclass(frozen=True)
class Status:
    """What ``microk8s status`` says on a node of the control plane."""

    running: bool
    ha: bool
    members: tuple[DatastoreMember, ...] = ()
    addons: tuple[Addon, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Node:
    """A node as Kubernetes knows it. ``cordoned_by`` is what this collection wrote when it cordoned it."""

    name: str
    ready: bool
    worker: bool
    addresses: tuple[str, ...] = ()
    schedulable: bool = True
    version: str = ""
    cordoned_by: str = ""


@dataclass(frozen=True)
class Certificate:
    """A certificate, and for how many days it is good."""

    name: str
    days: int


@dataclass(frozen=True)
class Snap:
    """An installed snap."""

    version: str
    revision: str
    channel: str
    notes: tuple[str, ...] = ()

    @property
    def classic(self) -> bool:
        return "classic" in self.notes
