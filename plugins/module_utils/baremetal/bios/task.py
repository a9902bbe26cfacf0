# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of ``bios_config`` to a BIOS that is as they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from ...common.deadline import Deadline
from ...common.errors import InvalidInput, OperationFailed, Unreachable
from ..bmc.open import OPTIONS as BMC_OPTIONS
from ..bmc.open import REDFISH_OPTIONS, endpoint_of, open_bmc
from ..ssh import HOST_KEYS, Host, Local, Shell, Ssh
from .device_types import DeviceType, load
from .ensure import FAILURES, Patience, Reboot, ensure_bios
from .model import ARROW, PASSWORD, BiosDocument, Pending, path_of
from .parsing import parse
from .redfish import RedfishBios
from .sum import Login, Sum
from .transport import Transport

TRANSPORTS = ("sum", "sum_oob", "redfish")
STATES = ("fetched", "present", "restored")
REBOOTS = ("no", "host", "bmc")
FALLBACKS = {
    "ssh_host": "RACKSTEAD_SSH_HOST",
    "ssh_user": "RACKSTEAD_SSH_USER",
    "ssh_key_file": "RACKSTEAD_SSH_KEY_FILE",
    "ssh_password": "RACKSTEAD_SSH_PASSWORD",
}
OPTIONS: dict[str, Any] = {
    **BMC_OPTIONS,
    **REDFISH_OPTIONS,
    "state": {"type": "str", "choices": list(STATES), "default": "present"},
    "transport": {"type": "str", "choices": list(TRANSPORTS), "default": "sum"},
    "device_types": {"type": "path"},
    "device_type": {"type": "str"},
    "file": {"type": "path"},
    "sum": {"type": "str"},
    "sudo": {"type": "bool", "default": False},
    "ssh_host": {"type": "str"},
    "ssh_port": {"type": "int", "default": 22},
    "ssh_user": {"type": "str", "default": "root"},
    "ssh_key_file": {"type": "path", "no_log": False},
    "ssh_password": {"type": "str", "no_log": True},
    "ssh_host_keys": {"type": "str", "choices": list(HOST_KEYS), "default": "strict", "no_log": False},
    "ssh_known_hosts": {"type": "path", "default": "~/.ssh/known_hosts"},
    "reboot": {"type": "str", "choices": list(REBOOTS), "default": "no"},
    "on_failure": {"type": "str", "choices": list(FAILURES), "default": "keep"},
    "command_timeout": {"type": "float", "default": 600.0},
    "wait": {"type": "float", "default": 1200.0},
}


def bios_task(params: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the options say. Raises InvalidInput with all that is wrong in them, before anything is asked."""
    _check(params)
    wanted = _wanted(params)
    with open_transport(params) as transport:
        result = ensure_bios(
            transport,
            wanted,
            check=check,
            reboot=_reboot(params, transport),
            on_failure=params["on_failure"],
            patience=Patience(params["command_timeout"], params["wait"]),
            keep=_keeper(params) if params["state"] == "present" else None,
        )
    document: BiosDocument = result.pop("document")
    result["pending"] = _pending(result["pending"])
    if params["state"] == "fetched":
        result |= {"settings": shown_settings(document), **_fetched(params, document, check)}
    return result


def open_transport(params: Mapping[str, Any]) -> Transport:
    """The way to the BIOS that the options name."""
    if params["transport"] == "redfish":
        return RedfishBios(endpoint_of(params))
    bmc = None
    if params["transport"] == "sum_oob":
        endpoint = endpoint_of(params)
        bmc = Login(endpoint.host, endpoint.username, endpoint.password)
    return Sum(_shell(params), params["sum"] or "", sudo=params["sudo"], bmc=bmc)


def shown_settings(document: BiosDocument) -> list[dict[str, Any]]:
    """All settings as results show them; a password has no value here."""
    return [
        {
            "menu": ARROW.join(one.menu),
            "name": one.name,
            "order": one.order,
            "type": one.type,
            "value": None if one.type == PASSWORD else one.value,
            **({"options": list(one.labels)} if one.labels else {}),
        }
        for one in document.settings
    ]


# -- options ----------------------------------------------------------------------------------------------
def _check(params: Mapping[str, Any]) -> None:
    problems = []
    state, transport = params["state"], params["transport"]
    if state == "present":
        problems += [f"{name}: is missing" for name in ("device_types", "device_type") if not params[name]]
    if state == "restored" and not params["file"]:
        problems.append("file: is missing; allowed: a BIOS document as state fetched or present has kept it")
    if transport != "redfish" and not (params["sum"] or "").startswith("/"):
        problems.append(f'sum: "{params["sum"] or ""}" is not valid; allowed: the absolute path of Supermicro\'s sum')
    if params["reboot"] == "host" and (transport != "sum" or not params["ssh_host"]):
        problems.append(
            "reboot: host is not possible; allowed: with transport sum and ssh_host, since the task outlives it"
        )
    if params["reboot"] == "bmc" and transport == "sum" and not params["ssh_host"]:
        problems.append(
            "reboot: bmc is not possible without ssh_host: the task would run on what it reboots; allowed: no"
        )
    if not 1 <= params["ssh_port"] <= 65535:
        problems.append(f"ssh_port: {params['ssh_port']} is not valid; allowed: 1 to 65535")
    for name in ("command_timeout", "wait"):
        if params[name] <= 0:
            problems.append(f"{name}: {params[name]:g} is not valid; allowed: seconds, more than 0")
    if problems:
        raise InvalidInput(problems)


def _wanted(params: Mapping[str, Any]) -> DeviceType | BiosDocument | None:
    if params["state"] == "present":
        return load(params["device_types"]).resolve(params["device_type"])
    if params["state"] == "restored":
        try:
            return parse(Path(params["file"]).read_bytes(), Path(params["file"]).name)
        except OSError as exc:
            raise InvalidInput([f"file: {params['file']}: cannot be read: {exc.strerror}"]) from exc
    return None


def _shell(params: Mapping[str, Any]) -> Shell:
    if not params["ssh_host"]:
        return Local()
    host = Host(
        params["ssh_host"],
        params["ssh_port"],
        params["ssh_user"],
        params["ssh_key_file"] or "",
        params["ssh_password"] or "",
        params["ssh_host_keys"],
        params["ssh_known_hosts"],
    )
    return Ssh(host)


# -- the file ---------------------------------------------------------------------------------------------
def _keeper(params: Mapping[str, Any]) -> Callable[[BiosDocument], None] | None:
    path = params["file"]
    return (lambda document: _save(path, document)) if path else None


def _save(path: str, document: BiosDocument) -> None:
    try:
        Local().write_file(path, document.encode())
    except OSError as exc:
        raise OperationFailed(f"cannot be written: {exc.strerror}", where=path) from exc


def _fetched(params: Mapping[str, Any], document: BiosDocument, check: bool) -> dict[str, Any]:
    """Writes the file, if there is to be one; a file that holds the same stays as it is."""
    path = params["file"]
    if not path:
        return {}
    here = Path(path)
    same = here.is_file() and here.read_bytes() == document.encode()
    if not same and not check:
        _save(path, document)
    before = f"{path}: {'another document' if here.exists() and not same else 'none'}\n"
    shown = {"before": "" if same else before, "after": "" if same else f"{path}: the BIOS as it is\n"}
    return {"changed": not same, "file": path, "diff": shown}


def _pending(pending: Pending | None) -> list[dict[str, Any]]:
    if pending is None:
        return []
    return [{"setting": path_of(key), "value": value, "state": pending.state} for key, value in pending.values.items()]


# -- reboot -----------------------------------------------------------------------------------------------
def _reboot(params: Mapping[str, Any], transport: Transport) -> Reboot | None:
    if params["reboot"] == "no" or params["state"] == "fetched":
        return None
    if params["reboot"] == "host":
        shell = cast(Sum, transport).shell
        return lambda: reboot_host(shell, sudo=params["sudo"])
    return lambda: reboot_by_bmc(params)


def reboot_host(shell: Shell, *, sudo: bool) -> None:
    """Have the host boot by itself. That its session ends on the way is as it should be."""
    argv = [*(["sudo", "-n", "--"] if sudo else []), "systemctl", "reboot"]
    with suppress(Unreachable):
        result = shell.run(argv, Deadline(60))
        if result.rc > 0:  # below 0, and after an end of the session, it was the reboot itself
            raise OperationFailed(f"systemctl reboot: {result.said or result.rc}", where=shell.where)


def reboot_by_bmc(params: Mapping[str, Any]) -> None:
    """Have the BMC reset the server, or switch it on where it is off."""
    redfish = {**params, "protocol": "redfish"} if params["transport"] == "redfish" else params
    with cast(Any, open_bmc(redfish)) as bmc:
        bmc.press("reset" if bmc.power() == "on" else "on")
