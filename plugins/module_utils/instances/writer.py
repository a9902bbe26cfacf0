# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a plan's changes are written to Incus: one method for each action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import Conflict, NotFound, OperationFailed
from ..common.known import known
from .incus.client import IncusClient
from .marks import PLAN_MARK
from .model import Change, Ref
from .reconcile import DEFAULT_PROFILES
from .world import UNMADE, World, settle

STOP_TIMEOUT = 30
#: What Incus says of a reason that passes, by kind of resource. It asks about each interface of the host
#: in turn when it touches a bridge, and gives up where one has gone meanwhile (any instance that stops
#: just then does that). An instance is busy where a killed run's last request goes on without its sender;
#: where that request asked for the same as ours, ours waits for it and then fails, instead of doing nothing.
PASSING = {
    "network": ("Failed to delete bridge children interfaces",),
    "instance": ("Instance is busy running", "A matching non-reusable operation has now succeeded"),
}
PASSES_WITHIN = 60.0
#: All that Incus says where its database was too busy. At the end of a longer sentence it means something else.
TOO_BUSY = "context deadline exceeded"


def path_of(ref: Ref) -> str:
    """The resource's path in Incus's API, below /1.0."""
    if ref.kind == "storage_volume":
        return f"/storage-pools/{ref.pool}/volumes/custom/{ref.name}"
    return f"/{ref.kind}s/{ref.name}"


class Writer:
    """Carries out the actions of a Change, each waited for to its end."""

    def __init__(self, client: IncusClient, world: World) -> None:
        self._client = client
        self._world = world

    def perform(self, change: Change, tell: Callable[[str, str], None]) -> list[str]:
        """Do all actions in order; ``tell(action, detail)`` hears of each first. Returns notes."""
        notes: list[str] = []
        skip = ""
        for action in change.actions:
            if action == skip:
                skip = ""
                continue
            tell(action, "")
            note = self._steadily(getattr(self, f"_{action}"), change)
            if note:
                notes.append(note)
            # an instance is created and started by one request, so that a kill cannot come between
            skip = "start" if action == "create" and change.ref.kind == "instance" else ""
        return notes

    def _steadily(self, act: Callable[[Change], str | None], change: Change) -> str | None:
        """Act, and again where that failed for a reason that passes (see PASSING)."""
        deadline = Deadline(PASSES_WITHIN)

        def attempt() -> tuple[str | None] | None:
            try:
                return (act(change),)
            except OperationFailed as error:
                if not _passes(change.ref, error) or deadline.expired():
                    error.hint = error.hint or _way_out(change, error)
                    raise
                if change.ref.kind == "instance":
                    settle(self._at(change.ref), [change.ref.name], deadline.remaining())
                return None

        return wait_until(attempt, deadline, what="others to be done with it")[0]

    def _at(self, ref: Ref) -> IncusClient:
        return self._client.in_project(ref.project) if ref.kind != "project" else self._client

    # -- create -----------------------------------------------------------------------------------
    def _create(self, change: Change) -> None:
        desired = known(change.desired)
        body: dict[str, Any] = {
            "name": change.ref.name,
            "config": {key: value for key, value in desired.config.items() if value},
            "description": desired.description or "",
        }
        if change.ref.kind in ("profile", "instance"):
            body["devices"] = {name: dict(device) for name, device in desired.devices.items()}
        if change.ref.kind == "network":
            body["type"] = desired.type
            self._prepare_members(change.ref, body)
        if change.ref.kind == "storage_volume":
            body.update(type="custom", content_type=desired.content_type)
        if change.ref.kind == "instance":
            body.update(desired.create, type=desired.type, start="start" in change.actions)
            if desired.profiles is not None:
                body["profiles"] = list(desired.profiles)
        params = {"target": desired.target} if desired.target else {}
        try:
            self._at(change.ref).post(path_of(change.ref).rsplit("/", 1)[0], body, params=params)
        except Conflict as error:
            self._take_over(change, error)

    def _take_over(self, change: Change, error: Conflict) -> None:
        """Accept what this plan made itself: a killed run's last request may come true after we looked."""
        mark = known(change.desired).config.get(PLAN_MARK)
        client = self._at(change.ref)
        if change.ref.kind == "instance":
            settle(client, [change.ref.name], PASSES_WITHIN)
        found = client.find(path_of(change.ref))
        if not found:
            raise error
        if not mark or found["config"].get(PLAN_MARK) != mark:
            again = "run again to see the new state of things"
            raise Conflict("the name is taken: somebody made it meanwhile", hint=again) from error
        if "start" in change.actions and found["status"] == "Stopped":
            self._start(change)

    def _prepare_members(self, ref: Ref, body: Mapping[str, Any]) -> None:
        """On a cluster a network is announced on each member first (Incus's own rule), by a killed run maybe."""
        for member in self._world.members:
            announced = {"name": ref.name, "type": body["type"]}
            try:
                self._at(ref).post("/networks", announced, params={"target": member})
            except Conflict:
                if self._at(ref).get(path_of(ref))["status"] not in UNMADE:
                    raise

    # -- update -----------------------------------------------------------------------------------
    def _update(self, change: Change) -> None:
        """Write the change over what is there now, if that is still what it was computed from."""
        client, path = self._at(change.ref), path_of(change.ref)
        for last in (False, True):
            answer = client.raw("GET", path)
            document = answer.metadata()
            body = _amended(change, document)
            _check_unmoved(change, document, body)
            try:
                client.put(
                    path, body, headers={"If-Match": answer.headers["etag"]} if "etag" in answer.headers else None
                )
                return
            except Conflict:
                if last:
                    raise

    # -- power ------------------------------------------------------------------------------------
    def _power(self, change: Change, action: str, reached: str, **options: Any) -> None:
        """Have an instance in a state. That it is there already, by a killed run's last request, is as good."""
        client, path = self._at(change.ref), path_of(change.ref)
        try:
            client.put(f"{path}/state", {"action": action, **options})
        except OperationFailed as error:
            if _passes(change.ref, error) or client.get(path)["status"] != reached:
                raise

    def _start(self, change: Change) -> None:
        self._power(change, "start", "Running")

    def _stop(self, change: Change) -> str:
        """Ask the instance to shut down; after STOP_TIMEOUT seconds pull the plug."""
        try:
            self._power(change, "stop", "Stopped", timeout=STOP_TIMEOUT, force=False)
            return ""
        except OperationFailed as error:
            if _passes(change.ref, error):
                raise
            self._kill(change)
            return f"did not shut down within {STOP_TIMEOUT} s and was stopped by force"

    def _kill(self, change: Change) -> None:
        """Stop at once."""
        self._power(change, "stop", "Stopped", timeout=STOP_TIMEOUT, force=True)

    def _freeze(self, change: Change) -> None:
        self._power(change, "freeze", "Frozen")

    def _unfreeze(self, change: Change) -> None:
        self._power(change, "unfreeze", "Running")

    # -- delete -----------------------------------------------------------------------------------
    def _delete(self, change: Change) -> None:
        """Delete for good. What is gone already is as good as deleted."""
        client, ref = self._at(change.ref), change.ref
        try:
            if ref.kind == "instance" and change.observed and change.observed.status != "Stopped":
                self._kill(change)  # what it holds in memory is about to be deleted anyway
            if ref.kind == "project" and change.observed and change.observed.config.get("features.images") == "true":
                self._empty_project(ref.name)
            client.delete(path_of(ref))
        except NotFound:
            return

    def _empty_project(self, name: str) -> None:
        """A project with images of its own keeps copies of those its instances were made from; they go with it."""
        inside = self._client.in_project(name)
        for path in inside.get("/images"):
            inside.delete("/images/" + path.split("?", 1)[0].rsplit("/", 1)[1])


def _passes(ref: Ref, error: OperationFailed) -> bool:
    return error.what == TOO_BUSY or any(reason in error.what for reason in PASSING.get(ref.kind, ()))


def _way_out(change: Change, error: OperationFailed) -> str:
    """What the user can do, where Incus's own words leave it open."""
    devices = change.desired.devices.values() if change.desired else ()
    if "proxy device" in error.what:  # Incus does not always say which port, or why
        ports = ", ".join(device["listen"] for device in devices if device.get("type") == "proxy")
        return f"is a port taken on the host? It forwards {ports}" if ports else ""
    if "Idmaps of container and storage volume are not identical" in error.what:
        return "give the volume security.shifted=true to share it between instances"
    return ""


def _check_unmoved(change: Change, document: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """Refuse to write over what somebody changed since the change was computed, unless to what we write anyway."""
    observed = known(change.observed)
    config, devices = document["config"], document.get("devices") or {}
    moved = [
        key
        for key in _own(observed.config, config)
        if config.get(key) not in (observed.config.get(key), body["config"].get(key))
    ]
    moved += [
        name
        for name in {*observed.devices, *devices}
        if devices.get(name) not in (observed.devices.get(name), body["devices"].get(name))
    ]
    if moved:
        raise Conflict(
            f"changed by somebody else meanwhile ({', '.join(sorted(moved))})",
            hint="run again to see the new state of things",
        )


def _own(*configs: Mapping[str, str]) -> set[str]:
    return {key for config in configs for key in config if not key.startswith("volatile.")}


def _amended(change: Change, document: dict[str, Any]) -> dict[str, Any]:
    """The document with the change in it, ready to be put back."""
    desired = known(change.desired)
    parts = {tuple(entry.split(":", 1)) for entry in change.removes}
    config = {key: value for key, value in document["config"].items() if ("config", key) not in parts}
    after = (change.after or {}).get("config", {})
    # `after` already has what "auto" stands for; bookkeeping is not shown in it
    config.update({key: after.get(key, value) for key, value in desired.config.items()})
    config = {key: value for key, value in config.items() if value}
    writable = ("architecture", "ephemeral", "stateful", "profiles", "description", "devices")
    body = {key: document[key] for key in writable if key in document}
    body["config"] = config
    if "devices" in document:
        kept = {name: device for name, device in document["devices"].items() if ("device", name) not in parts}
        body["devices"] = {**kept, **{name: dict(device) for name, device in desired.devices.items()}}
    if desired.profiles is not None or ("field", "profiles") in parts:
        body["profiles"] = list(DEFAULT_PROFILES if desired.profiles is None else desired.profiles)
    if desired.description is not None or ("field", "description") in parts:
        body["description"] = desired.description or ""
    return body
