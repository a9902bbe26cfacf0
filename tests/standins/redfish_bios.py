# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redfish service whose BIOS keeps changes until the next reset, as real ones do and the emulator does not.

One system with Bios, its settings object, an attribute registry, boot options, a task for each change, and
ComputerSystem.Reset. After a reset the firmware is at work for as many looks at the service as ``starting`` says;
then what was pending is taken up, but for what is to be refused. Paths are none that could be guessed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from standins.site import Refused, Site

USER, PASSWORD = "admin", "bios-sight-11"
ROOT, TOP = "/redfish/v1/", "/redfish/v1/Things"
SYSTEM, BIOS, LATER = f"{TOP}/Blade7", f"{TOP}/Blade7/Fw", f"{TOP}/Blade7/Fw/Next"
RESET, SYSTEM_LATER, OPTIONS = f"{SYSTEM}/Press", f"{SYSTEM}/Next", f"{SYSTEM}/BootChoices"
REGISTRIES, REGISTRY, WORDS = f"{TOP}/Lists", f"{TOP}/Lists/BladeBios.v1_0_0", f"{TOP}/Files/blade.json"
TASKS, TASK_LIST = f"{TOP}/Work", f"{TOP}/Work/Items"


@dataclass
class Firmware:
    """What the service has, and how it is to misbehave."""

    attributes: dict[str, Any]
    registry: list[dict[str, Any]] = field(default_factory=list)
    dependencies: list[dict[str, Any]] = field(default_factory=list)
    boot_options: dict[str, tuple[str, str]] = field(default_factory=dict)  # reference -> (alias, name)
    boot_order: list[str] = field(default_factory=list)
    #: attribute -> the BIOS's word on why it does not take it; an empty one gives no reason
    refuse: dict[str, str] = field(default_factory=dict)
    pending_for_ever: bool = False
    starting: int = 4
    with_tasks: bool = True
    with_progress: bool = True


class RedfishBios(Site):
    """Serves from its making to ``close``. ``firmware`` is what is so, whatever the service says."""

    def __init__(self, firmware: Firmware) -> None:
        self.firmware = firmware
        self.power = "On"
        self.resets = 0
        self.pending: dict[str, Any] = {}
        self.pending_order: list[str] | None = None
        self.tasks: dict[str, dict[str, Any]] = {}
        self.messages: list[dict[str, Any]] = []
        self._looks_left = 0
        self._headers: dict[str, str] = {}
        super().__init__()
        handler: Any = self._server.RequestHandlerClass
        handler.do_PATCH = handler.do_GET

    # -- HTTP -----------------------------------------------------------------------------------------
    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        self._headers = {}
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if path != ROOT and request.headers.get("Authorization") != expected:
            raise _error(401, "NoValidSession", "wrong name or password")
        if request.command == "GET":
            return 200, self._read(path)
        document = json.loads(body or b"{}")
        if (request.command, path) == ("POST", RESET):
            return self._press(document)
        if request.command == "PATCH" and path in (LATER, SYSTEM_LATER):
            if request.headers.get("If-Match", self._etag()) != self._etag():
                raise _error(412, "PreconditionFailed", "somebody else was faster")
            return self._store(path, document)
        raise _error(405, "NotAllowed", f"{request.command} is not possible here")

    def _say(self, request: BaseHTTPRequestHandler, code: int, text: str, kind: str) -> None:  # type: ignore[override]
        body = text.encode()
        request.send_response(code)
        for name, value in {**self._headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def _etag(self) -> str:
        return f'"{len(self.tasks)}-{self.resets}-{len(self.pending)}"'

    def _read(self, path: str) -> Any:
        if self._looks_left:
            self._looks_left -= 1
            if not self._looks_left:
                self._take_up()
        documents = {
            ROOT: self._root,
            TOP: lambda: _collection([SYSTEM]),
            SYSTEM: self._system,
            SYSTEM_LATER: lambda: {"Boot": {"BootOrder": self.pending_order or self.firmware.boot_order}},
            BIOS: self._bios,
            LATER: self._later,
            OPTIONS: lambda: _collection([f"{OPTIONS}/{one}" for one in self.firmware.boot_options]),
            REGISTRIES: lambda: _collection([f"{TOP}/Lists/Base.1.0", REGISTRY]),
            REGISTRY: lambda: {"Location": [{"Language": "en", "Uri": WORDS}]},
            WORDS: self._words,
            TASKS: lambda: {"Tasks": {"@odata.id": TASK_LIST}},
            TASK_LIST: lambda: _collection(list(self.tasks)),
        }
        if path.startswith(f"{OPTIONS}/"):
            return self._option(path.removeprefix(f"{OPTIONS}/"))
        if path in self.tasks:
            return self.tasks[path]
        if path not in documents:
            raise _error(404, "ResourceMissing", f"{path} is not there")
        return documents[path]()

    # -- documents ------------------------------------------------------------------------------------
    def _root(self) -> dict[str, Any]:
        links = {"Systems": TOP, "Registries": REGISTRIES, "Tasks": TASKS}
        return {"RedfishVersion": "1.15.0", **{name: {"@odata.id": path} for name, path in links.items()}}

    def _system(self) -> dict[str, Any]:
        progress = "MemoryInitializationStarted" if self._looks_left else "OSRunning"
        return {
            "@odata.id": SYSTEM,
            "PowerState": self.power,
            "LastResetTime": f"2026-01-01T00:00:{self.resets:02d}Z",
            **({"BootProgress": {"LastState": progress}} if self.firmware.with_progress else {}),
            "Bios": {"@odata.id": BIOS},
            "Boot": {"BootOrder": self.firmware.boot_order, "BootOptions": {"@odata.id": OPTIONS}},
            "@Redfish.Settings": {"SettingsObject": {"@odata.id": SYSTEM_LATER}},
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": RESET,
                    "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart", "GracefulShutdown"],
                }
            },
        }

    def _bios(self) -> dict[str, Any]:
        settings = {
            "SettingsObject": {"@odata.id": LATER},
            "SupportedApplyTimes": ["OnReset"],
            "Messages": self.messages,
        }
        name = {"AttributeRegistry": "BladeBios.v1_0_0"} if self.firmware.registry else {}
        return {"@odata.id": BIOS, "Attributes": self.firmware.attributes, "@Redfish.Settings": settings, **name}

    def _later(self) -> dict[str, Any]:
        self._headers["ETag"] = self._etag()
        return {"@odata.id": LATER, "Attributes": {**self.firmware.attributes, **self.pending}}

    def _words(self) -> dict[str, Any]:
        entries = {"Attributes": self.firmware.registry, "Dependencies": self.firmware.dependencies}
        return {"RegistryEntries": entries}

    def _option(self, reference: str) -> dict[str, Any]:
        alias, name = self.firmware.boot_options[reference]
        return {"BootOptionReference": reference, "Alias": alias, "DisplayName": name}

    # -- changes --------------------------------------------------------------------------------------
    def _store(self, path: str, document: Mapping[str, Any]) -> tuple[int, Any]:
        waiting = [task for task, one in self.tasks.items() if one["TaskState"] == "Stale"]
        if waiting:
            raise _error(409, "PendingJob", "a configuration job is there already")
        if path == SYSTEM_LATER:
            order = document.get("Boot", {}).get("BootOrder", [])
            if sorted(order) != sorted(self.firmware.boot_order):
                raise _error(400, "PropertyValueNotInList", "no such boot option", "Boot/BootOrder")
            self.pending_order = order
        else:
            for name, value in document.get("Attributes", {}).items():
                self._check(name, value)
            self.pending |= document.get("Attributes", {})
        if self.firmware.with_tasks:
            task = f"{TASK_LIST}/{len(self.tasks) + 1}"
            self.tasks[task] = {"@odata.id": task, "TaskState": "Pending", "Messages": []}
            self._headers["Location"] = task
            return 202, self.tasks[task]
        return 200, {}

    def _check(self, name: str, value: Any) -> None:
        if name not in self.firmware.attributes:
            raise _error(400, "PropertyUnknown", f"{name} is unknown", f"Attributes/{name}")
        if type(value) is not type(self.firmware.attributes[name]):
            raise _error(400, "PropertyValueTypeError", f"{name} is of another type", f"Attributes/{name}")
        entry = next((one for one in self.firmware.registry if one["AttributeName"] == name), {})
        allowed = [one["ValueName"] for one in entry.get("Value", [])]
        if allowed and value not in allowed:
            raise _error(400, "PropertyValueNotInList", f"{name} cannot be {value}", f"Attributes/{name}")

    def _press(self, document: Mapping[str, Any]) -> tuple[int, Any]:
        kind = document.get("ResetType")
        if kind in ("ForceOff", "GracefulShutdown"):
            self.power = "Off"
        elif kind == "On" or self.power == "On":
            self.power, self.resets = "On", self.resets + 1
            self._looks_left = self.firmware.starting
            if not self._looks_left:
                self._take_up()
        else:
            raise _error(409, "InvalidState", "the server is off")
        return 204, None

    def _take_up(self) -> None:
        """The firmware's own part of a boot."""
        if self.firmware.pending_for_ever:
            return
        messages = []
        for name, value in self.pending.items():
            if name not in self.firmware.refuse:
                self.firmware.attributes[name] = value
            elif self.firmware.refuse[name]:
                about = {"RelatedProperties": [f"#/Attributes/{name}"], "Severity": "Warning"}
                messages.append({"MessageId": "Bios.1.0.NotTaken", "Message": self.firmware.refuse[name], **about})
        if self.pending_order is not None:
            self.firmware.boot_order = self.pending_order
        self.messages, self.pending, self.pending_order = messages, {}, None
        for task in self.tasks.values():
            if task["TaskState"] == "Pending":
                task |= {"TaskState": "Completed", "Messages": messages}


def _collection(paths: list[str]) -> dict[str, Any]:
    return {"Members": [{"@odata.id": path} for path in paths]}


def _error(code: int, kind: str, words: str, about: str = "") -> Refused:
    info = {"MessageId": f"Base.1.0.{kind}", "Message": words}
    if about:
        info["RelatedProperties"] = [f"#/{about}"]  # type: ignore[assignment]
    return Refused(code, {"error": {"message": words, "@Message.ExtendedInfo": [info]}})


@contextmanager
def redfish_bios(firmware: Firmware) -> Iterator[RedfishBios]:
    site = RedfishBios(firmware)
    try:
        yield site
    finally:
        site.close()
