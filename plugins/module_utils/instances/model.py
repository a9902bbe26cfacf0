# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted, what is there, and the change between: the words the reconciler speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .spec import Wait

#: Kinds in the order in which they come to be; they go in the reverse order.
KINDS = ("project", "network", "storage_volume", "profile", "instance")
#: Statuses of an instance whose processes exist.
LIVE_STATES = ("Running", "Frozen")
View = dict[str, Any]
Devices = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, order=True)
class Ref:
    """Names one resource. ``pool`` is set for volumes only."""

    kind: str
    name: str
    project: str = "default"
    pool: str = ""

    def __str__(self) -> str:
        place = "" if self.kind == "project" or self.project == "default" else f" (project {self.project})"
        return f"{self.kind.replace('_', ' ')} {self.name}{place}"


@dataclass(frozen=True)
class Observed:
    """A resource as the provider shows it; ``config`` is its own, without what profiles bring."""

    ref: Ref
    description: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    devices: Devices = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    status: str = ""
    type: str = ""
    location: str = ""
    content_type: str = ""


@dataclass(frozen=True)
class Desired:
    """A resource as the plan wants it. None and missing keys mean: leave as it is.

    ``create`` holds what counts only when the resource is made (source, type, target …);
    ``sets_devices`` is false for kinds that have none.
    """

    ref: Ref
    state: str = "present"
    description: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    devices: Devices = field(default_factory=dict)
    profiles: tuple[str, ...] | None = None
    status: str = ""
    image: str = ""
    type: str = ""
    content_type: str = ""
    target: str = ""
    create: Mapping[str, Any] = field(default_factory=dict)
    waits: tuple[Wait, ...] = ()
    wait_timeout: int | None = None
    needs: frozenset[Ref] = frozenset()


@dataclass(frozen=True)
class Change:
    """From ``before`` to ``after`` by ``actions``, in that order. No actions: nothing to do.

    ``before`` and ``after`` show the fields that the plan speaks of; None means: does not exist.
    """

    ref: Ref
    actions: tuple[str, ...] = ()
    before: View | None = None
    after: View | None = None
    notes: tuple[str, ...] = ()
    desired: Desired | None = None
    observed: Observed | None = None
    removes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.actions)


def view(
    config: Mapping[str, str],
    devices: Devices,
    profiles: tuple[str, ...] | None,
    description: str | None,
    status: str,
    **traits: str,
) -> View:
    """The JSON-able picture of a resource that results and diffs show; empty parts are left out."""
    parts: View = {
        **{key: value for key, value in traits.items() if value},
        "status": status,
        "description": description,
        "profiles": list(profiles) if profiles is not None else None,
        "config": {key: config[key] for key in sorted(config)},
        "devices": {name: dict(sorted(devices[name].items())) for name in sorted(devices)},
    }
    return {key: value for key, value in parts.items() if value not in (None, "", {})}
