# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BIOS over Redfish (DSP0266, @Redfish.Settings): attributes that are stored and take effect at the next reset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...common.deadline import Deadline, wait_until
from ...common.errors import Conflict, DeadlineExceeded, NotFound, OperationFailed, Unreachable, Unsupported
from ..bmc.model import Endpoint
from ..bmc.redfish import ROOT, Redfish
from .attributes import Attributes
from .model import PENDING, SCHEDULED, BiosDocument, Key, Pending, Pushed, SettingChange
from .verify import verify

#: States of a task, or of a job as some vendors have them, in which nothing more comes of it.
ENDED = ("Completed", "Exception", "Killed", "Cancelled", "CompletedWithErrors", "Failed")
WELL = ("Completed",)
#: What a system shows while its firmware is not done with starting it.
STARTING = (
    "PrimaryProcessorInitializationStarted",
    "BusInitializationStarted",
    "MemoryInitializationStarted",
    "SecondaryProcessorInitializationStarted",
    "PCIResourceConfigStarted",
)


class RedfishBios(Redfish):
    """The BIOS of the first system behind a Redfish service."""

    vendor = "redfish"

    def __init__(self, endpoint: Endpoint, lag: float = 60.0) -> None:
        """``lag`` is how long new values may take to show where neither a task nor the boot's progress tells, in seconds."""
        super().__init__(endpoint)
        self._lag = lag
        self.where = f"BMC {endpoint.host}"
        self._registry: tuple[str, Mapping[str, Any]] = ("", {})

    def __enter__(self) -> RedfishBios:
        super().__enter__()
        return self

    # -- documents ------------------------------------------------------------------------------------
    def fetch(self, deadline: Deadline) -> Attributes:  # noqa: ARG002  each request has the endpoint's time-out
        system = self._system()
        bios = self.get(self._bios_path(system))
        registry = self._entries(str(bios.get("AttributeRegistry") or ""))
        content = {
            "Attributes": bios.get("Attributes", {}),
            "Registry": registry.get("Attributes", []),
            "Dependencies": registry.get("Dependencies", []),
            "Boot": self._boot_options(system),
        }
        return Attributes.made_of(content)

    def push(self, document: BiosDocument, changes: Sequence[SettingChange], deadline: Deadline) -> Pushed:  # noqa: ARG002
        if not isinstance(document, Attributes):
            raise Unsupported("the document is none of Redfish's", where=self.where)
        attributes, order = document.values_of(changes)
        task = ""
        if attributes:
            bios_path = self._bios_path(self._system())
            path, times = self._settings_path(bios_path)
            body: dict[str, Any] = {"Attributes": attributes}
            if "OnReset" in times:
                body["@Redfish.SettingsApplyTime"] = {"ApplyTime": "OnReset"}
            task = self._store(path, body)
        if order is not None:
            path, _times = self._settings_path(self._system_path)
            task = self._store(path, {"Boot": {"BootOrder": order}}) or task
        return Pushed(tuple(changes), task)

    def _store(self, path: str, body: Mapping[str, Any]) -> str:
        """Returns the path of the task, if there is one."""
        etag = self._ask("GET", path).headers.get("ETag", "")
        try:
            answer = self._ask("PATCH", path, body, etag)
        except (Conflict, OperationFailed) as exc:
            waiting = self._waiting_task()
            if waiting:
                hint = f"{waiting} is in the way: let it come to its end by a reset, or delete it at the BMC"
                raise Conflict(exc.what, where=self.where, hint=hint) from exc
            raise
        location = str(answer.headers.get("Location", ""))
        return location.removeprefix(self.url)

    def pending(self, deadline: Deadline) -> Pending | None:
        document = self.fetch(deadline)
        values: dict[Key, str] = {}
        bios_path = self._bios_path(self._system())
        path, _times = self._settings_path(bios_path)
        if path != bios_path:
            stored = self.get(path).get("Attributes", {})
            names = {setting.name for setting in document.settings}
            later = Attributes.made_of(
                {**document.content, "Attributes": {**document.content["Attributes"], **_known(stored, names)}}
            )
            values |= _different(document, later)
        path, _times = self._settings_path(self._system_path)
        order = self.get(path).get("Boot", {}).get("BootOrder") if path != self._system_path else None
        if order and order != document.content["Boot"].get("Order"):
            boot = {**document.content["Boot"], "Order": order}
            values |= _different(document, Attributes.made_of({**document.content, "Boot": boot}))
        if not values:
            return None
        task = self._waiting_task()
        return Pending(values, SCHEDULED if task else PENDING, task)

    def settled(self, pushed: Pushed, deadline: Deadline) -> dict[str, str]:
        seen = ""

        def over() -> bool | None:
            nonlocal seen
            try:
                if pushed.task:
                    state = self._task_state(pushed.task)
                    seen = f"task {pushed.task} is {state}"
                    if state not in (*ENDED, ""):
                        return None
                seen = "the server is starting"
                if self._starting():
                    return None
                pending = None if pushed.task and self._task_state(pushed.task) in ENDED else self.pending(deadline)
            except (Unreachable, Conflict, OperationFailed) as exc:  # a BMC may be away for a while, too
                seen = exc.what
                return None
            seen = f"{len(pending.values) if pending else 0} settings are still pending"
            return None if pending and any(change.key in pending.values for change in pushed.changes) else True

        wait_until(over, deadline, what="the settings to be taken up", first=0.5, most=5, last_seen=lambda: seen)
        if not pushed.task and "BootProgress" not in self._system():
            with suppress(DeadlineExceeded):  # what is not there by then was rejected
                wait_until(
                    lambda: self._all_there(pushed), Deadline(min(self._lag, deadline.remaining())), what="values"
                )
        return self._causes(pushed)

    def _all_there(self, pushed: Pushed) -> bool | None:
        try:
            return True if not verify(self.fetch(Deadline(0)), pushed.changes)[1] else None
        except (Unreachable, Conflict, OperationFailed):
            return None

    # -- boots ----------------------------------------------------------------------------------------
    def boot_id(self, deadline: Deadline) -> str:  # noqa: ARG002
        return str(self._system().get("LastResetTime") or "")

    def await_boot(self, before: str, deadline: Deadline) -> None:
        """Wait until the reset is seen, where the BMC shows that. ``settled`` waits for what comes of it."""
        if not before:
            return

        def again() -> bool | None:
            try:
                return True if self.boot_id(deadline) != before else None
            except (Unreachable, Conflict, OperationFailed):
                return None

        wait_until(again, deadline, what=f"the server of {self.where} to boot", first=0.2, most=5)

    def _starting(self) -> bool:
        system = self._system()
        progress = (system.get("BootProgress") or {}).get("LastState")
        return system.get("PowerState") == "PoweringOn" or (progress in STARTING and system.get("PowerState") != "Off")

    # -- links ----------------------------------------------------------------------------------------
    def _bios_path(self, system: Mapping[str, Any]) -> str:
        link = (system.get("Bios") or {}).get("@odata.id")
        if not link:
            raise Unsupported("the system has no BIOS settings", where=self.where, hint="take SUM, or another firmware")
        return str(link)

    def _settings_path(self, path: str) -> tuple[str, tuple[str, ...]]:
        """Where changes to a resource are stored, and when they may be asked to take effect."""
        settings = self.get(path).get("@Redfish.Settings") or {}
        link = (settings.get("SettingsObject") or {}).get("@odata.id")
        times = settings.get("SupportedApplyTimes") or ()
        return (str(link), tuple(times)) if link else (path, ())

    def _entries(self, name: str) -> Mapping[str, Any]:
        """What the attribute registry says; nothing where the service does not hand it out."""
        if name and self._registry[0] != name:
            self._registry = (name, self._read_registry(name))
        return self._registry[1] if name else {}

    def _read_registry(self, name: str) -> Mapping[str, Any]:
        link = (self.get(ROOT).get("Registries") or {}).get("@odata.id")
        members = self.get(link).get("Members", []) if link else []
        # Some services name the file with a version that the attribute leaves out, or the other way round.
        paths = sorted(str(one["@odata.id"]) for one in members)
        fitting = [
            path for path in paths if path.rstrip("/").rsplit("/", 1)[-1].startswith(name.split(".", maxsplit=1)[0])
        ]
        for path in fitting:
            try:
                for location in self.get(path).get("Location", []):
                    return dict(self.get(str(location["Uri"])).get("RegistryEntries") or {})
            except (KeyError, NotFound, OperationFailed, Unsupported):
                continue
        return {}

    def _boot_options(self, system: Mapping[str, Any]) -> dict[str, Any]:
        boot = system.get("Boot") or {}
        order = list(boot.get("BootOrder") or [])
        link = (boot.get("BootOptions") or {}).get("@odata.id")
        if not order or not link:
            return {"Order": [], "Options": {}}
        options = {}
        for member in self.get(str(link)).get("Members", []):
            one = member if "BootOptionReference" in member else self.get(str(member["@odata.id"]))
            reference = str(one.get("BootOptionReference"))
            options[reference] = f"{one.get('Alias') or 'Other'}:{one.get('DisplayName') or reference}"
        return {"Order": order, "Options": options}

    # -- tasks ----------------------------------------------------------------------------------------
    def _task_state(self, path: str) -> str:
        """A task's state; nothing where it is gone, as some are once they have ended."""
        try:
            task = self.get(path)
        except NotFound:
            return ""
        return str(task.get("TaskState") or task.get("JobState") or "")

    def _waiting_task(self) -> str:
        """Path of a task that has not ended."""
        link = (self.get(ROOT).get("Tasks") or {}).get("@odata.id")
        tasks = (self.get(str(link)).get("Tasks") or {}).get("@odata.id") if link else ""
        members = self.get(str(tasks)).get("Members", []) if tasks else []
        paths = [str(member["@odata.id"]) for member in members]
        return next((path for path in paths if self._task_state(path) not in (*ENDED, "")), "")

    def _causes(self, pushed: Pushed) -> dict[str, str]:
        """The BMC's own words on each attribute, of the task and of the BIOS's last settings."""
        names = [change.name for change in pushed.changes]
        messages: list[Mapping[str, Any]] = []
        state = ""
        if pushed.task:
            try:
                task = self.get(pushed.task)
                messages += task.get("Messages") or []
                state = str(task.get("TaskState") or task.get("JobState") or "")
            except NotFound:
                state = ""
        bios = self.get(self._bios_path(self._system()))
        messages += (bios.get("@Redfish.Settings") or {}).get("Messages") or []
        found = dict(_by_name(messages, names))
        if state in ENDED and state not in WELL:
            words = " ".join(str(one.get("Message", "")) for one in messages).strip()
            for name in names:
                found.setdefault(name, f"the BMC's task ended as {state}: {words or 'no words'}")
        return found


def _known(stored: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: stored[name] for name in names if stored.get(name) is not None}


def _different(now: Attributes, later: Attributes) -> dict[Key, str]:
    return {
        setting.key: setting.value
        for setting in later.settings
        if (found := now.find(setting.key)) is not None and found.value != setting.value
    }


def _by_name(messages: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Messages that are about one of the attributes and no mere success."""
    for message in messages:
        if str(message.get("MessageId", "")).endswith("Success") or message.get("Severity") == "OK":
            continue
        about = [str(one).rsplit("/", 1)[-1] for one in message.get("RelatedProperties") or []]
        about += [str(one) for one in message.get("MessageArgs") or []]
        for name in names:
            if name in about:
                yield name, str(message.get("Message") or message.get("MessageId"))
