# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BMC over Redfish (DSP0266). Paths are never guessed: everything is found from the service root by links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...common.errors import Conflict, Denied, NotFound, OperationFailed, Unreachable, Unsupported
from .model import Boot, Endpoint

ROOT = "/redfish/v1/"
#: Our words for ResetType, the first that the system allows.
RESETS = {
    "on": ("On", "ForceOn"),
    "off": ("ForceOff",),
    "soft": ("GracefulShutdown",),
    "reset": ("ForceRestart",),
}
TARGETS = {"none": "None", "pxe": "Pxe", "disk": "Hdd", "cd": "Cd", "usb": "Usb", "bios": "BiosSetup", "diag": "Diags"}
MODES = {"efi": "UEFI", "legacy": "Legacy"}


class Redfish:
    """The first system behind a Redfish service."""

    protocol = "redfish"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.url = base_url(endpoint)
        self._web = _session(endpoint)
        self._web.auth = (endpoint.username, endpoint.password)
        self._system_path = ""

    def __enter__(self) -> Redfish:
        root = self.get(ROOT)
        self._system_path = self._first(root, "Systems")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._web.close()

    # -- HTTP -------------------------------------------------------------------------------------
    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, etag: str = "") -> Any:
        import requests

        where = f"BMC {self.endpoint.host}"
        headers = {"If-Match": etag} if etag else {}
        try:
            answer = self._web.request(
                method,
                self.url + path,
                json=body,
                headers=headers,
                timeout=self.endpoint.timeout,
                allow_redirects=method == "GET",
            )
        except requests.RequestException as exc:
            raise Unreachable(f"no answer from {self.url}: {_cause(exc)}", where=where) from exc
        if answer.status_code < 400:
            return answer
        text = f"{method} {path}: {answer.status_code}: {_message(answer)}"
        if answer.status_code == 401:
            what = f"refuses user {self.endpoint.username or '(none)'}: wrong name or password"
            hint = "check username and password; nothing was tried a second time, so that the account is not locked"
            raise Denied(what, where=where, hint=hint)
        # 503: it is busy with something else, which is a matter of time.
        kinds = {
            403: Denied,
            404: NotFound,
            405: Unsupported,
            409: Conflict,
            412: Conflict,
            501: Unsupported,
            503: Conflict,
        }
        raise kinds.get(answer.status_code, OperationFailed)(text, where=where)

    def get(self, path: str) -> Mapping[str, Any]:
        document: Mapping[str, Any] = self._json(self._ask("GET", path))
        return document

    def _json(self, answer: Any) -> Any:
        try:
            document = answer.json()
        except ValueError as exc:
            where = f"BMC {self.endpoint.host}"
            raise OperationFailed(f"{answer.url}: not a JSON document", where=where) from exc
        return document

    def _first(self, document: Mapping[str, Any], name: str) -> str:
        """Path of the first member of a collection that the document links to."""
        link = document.get(name, {}).get("@odata.id")
        members = self.get(link).get("Members", []) if link else []
        if not members:
            raise Unsupported(f"the Redfish service has no {name}", where=f"BMC {self.endpoint.host}")
        return str(members[0]["@odata.id"])

    def _linked(self, name: str) -> Mapping[str, Any]:
        """What the system's Links lead to first, such as ManagedBy or Chassis."""
        links = self._system().get("Links", {}).get(name, [])
        if not links:
            raise Unsupported(f"the system has no link {name}", where=f"BMC {self.endpoint.host}")
        return self.get(links[0]["@odata.id"])

    def _system(self) -> Mapping[str, Any]:
        return self.get(self._system_path)

    # -- power and boot ---------------------------------------------------------------------------
    def power(self) -> str:
        # PoweringOn and PoweringOff are on the way: what they were is what they still are.
        state = self._system().get("PowerState", "Off")
        return "on" if state in ("On", "PoweringOff", "Paused") else "off"

    def press(self, action: str) -> None:
        reset = self._system().get("Actions", {}).get("#ComputerSystem.Reset", {})
        allowed = reset.get("ResetType@Redfish.AllowableValues", RESETS[action])
        fitting = [name for name in RESETS[action] if name in allowed]
        if not fitting or "target" not in reset:
            where = f"BMC {self.endpoint.host}"
            raise Unsupported(f"power {action} is not possible; allowed: {', '.join(allowed)}", where=where)
        self._ask("POST", reset["target"], {"ResetType": fitting[0]})

    def boot(self) -> Boot:
        boot = self._system().get("Boot", {})
        target = boot.get("BootSourceOverrideTarget") or "None"
        lasting = boot.get("BootSourceOverrideEnabled")
        if target == "None" or lasting == "Disabled":
            return Boot("none")
        device = {name: word for word, name in TARGETS.items()}.get(target, target)
        mode = {name: word for word, name in MODES.items()}.get(boot.get("BootSourceOverrideMode", ""))
        return Boot(device, lasting == "Continuous", mode)

    def set_boot(self, boot: Boot) -> None:
        answer = self._ask("GET", self._system_path)
        allowed = self._json(answer).get("Boot", {}).get("BootSourceOverrideTarget@Redfish.AllowableValues")
        target = TARGETS[boot.device]
        if boot.device != "none" and allowed is not None and target not in allowed:
            words = [word for word, name in TARGETS.items() if name in allowed]
            where = f"BMC {self.endpoint.host}"
            raise Unsupported(f"device: {boot.device} is not possible; allowed: none, {', '.join(words)}", where=where)
        body = {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": "Disabled"}
        if boot.device != "none":
            lasting = "Continuous" if boot.persistent else "Once"
            body = {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": lasting}
            if boot.mode:
                body["BootSourceOverrideMode"] = MODES[boot.mode]
        self._ask("PATCH", self._system_path, {"Boot": body}, answer.headers.get("ETag", ""))

    # -- facts ------------------------------------------------------------------------------------
    def facts(self, subset: str) -> Mapping[str, Any] | list[Any]:
        if subset not in FACTS:
            raise Unsupported(f"{subset} is read over IPMI only", where=f"BMC {self.endpoint.host}")
        return FACTS[subset](self)

    def _device(self) -> dict[str, Any]:
        system, manager = self._system(), self._linked("ManagedBy")
        return {
            "manufacturer": system.get("Manufacturer"),
            "model": system.get("Model"),
            "serial_number": system.get("SerialNumber"),
            "uuid": system.get("UUID"),
            "bios": system.get("BiosVersion"),
            "firmware": manager.get("FirmwareVersion"),
            "health": system.get("Status", {}).get("Health"),
        }

    def _sensors(self) -> list[dict[str, Any]]:
        thermal = self._linked("Chassis").get("Thermal", {}).get("@odata.id")
        if not thermal:
            raise Unsupported("the chassis has no sensors", where=f"BMC {self.endpoint.host}")
        document = self.get(thermal)
        degrees = [(one, one.get("ReadingCelsius"), "°C") for one in document.get("Temperatures", [])]
        fans = [(one, one.get("Reading"), one.get("ReadingUnits", "")) for one in document.get("Fans", [])]
        return [{"name": one.get("Name"), "value": value, "unit": unit} for one, value, unit in [*degrees, *fans]]


FACTS: dict[str, Callable[[Redfish], Mapping[str, Any] | list[Any]]] = {
    "device": Redfish._device,
    "sensors": Redfish._sensors,
}


def base_url(endpoint: Endpoint) -> str:
    """Scheme, host and port."""
    return endpoint.redfish_url.rstrip("/") or f"https://{endpoint.host}"


def speaks_redfish(endpoint: Endpoint, patience: float = 3.0) -> bool:
    """Whether a Redfish service answers. Its root needs no login, and no password is sent."""
    import requests

    web = _session(endpoint)
    try:
        answer = web.get(base_url(endpoint) + ROOT, timeout=min(patience, endpoint.timeout))
        return answer.ok and "RedfishVersion" in answer.json()
    except (requests.RequestException, ValueError):
        return False
    finally:
        web.close()


def _session(endpoint: Endpoint) -> Any:
    try:
        import requests
    except ImportError as exc:
        raise Unsupported("Redfish needs the Python library requests", hint="install it there") from exc
    web = requests.Session()
    web.trust_env = False  # no proxy and no .netrc between us and a BMC
    web.verify = (endpoint.ca_file or True) if endpoint.verify else False
    web.headers["Accept"] = "application/json"
    return web


def _cause(error: BaseException) -> str:
    """What is behind an error of requests, in a few words."""
    seen = str(error)
    for word in ("CERTIFICATE_VERIFY_FAILED", "Connection refused", "timed out", "Name or service not known"):
        if word in seen:
            return {"CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted"}.get(word, word.lower())
    return type(error).__name__


def _message(answer: Any) -> str:
    """The message of a Redfish error document, in one line."""
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)
    details = [one.get("Message", "") for one in error.get("@Message.ExtendedInfo", [])]
    return " ".join([error.get("message", ""), *details]).strip() or str(answer.reason)
