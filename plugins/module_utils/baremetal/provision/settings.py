# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task about provisioning is told beside the server: where MAAS, the BMC, the host and the records are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...common.errors import InvalidInput
from ...common.problems import nearest
from ..bmc.model import Endpoint
from ..bmc.open import FALLBACKS as BMC_FALLBACKS
from ..maas.client import FALLBACKS as MAAS_FALLBACKS
from ..maas.client import OPTIONS as MAAS_OPTIONS
from ..maas.client import Site, site_of
from ..ssh import Host
from .model import NAMES, ON_FAILURE, Step, step_of

TRANSPORTS = ("sum", "sum_oob", "redfish")
PACE: dict[str, Any] = {"timeout": {"type": "float"}, "attempts": {"type": "int"}, "backoff": {"type": "float"}}
#: Options of the doc fragment ``rackstead.infra.provision``.
OPTIONS: dict[str, Any] = {
    **{f"maas_{name}": option for name, option in MAAS_OPTIONS.items()},
    "device_types": {"type": "path"},
    "pools": {"type": "dict", "default": {}},
    "bios_transport": {"type": "str", "choices": list(TRANSPORTS), "default": "sum"},
    "sum": {"type": "str", "default": "/opt/sum/sum"},
    "ssh_user": {"type": "str", "default": "ubuntu"},
    "ssh_key_file": {"type": "path", "no_log": False},
    "ssh_port": {"type": "int", "default": 22},
    "ssh_sudo": {"type": "bool"},
    "bmc_username": {"type": "str"},
    "bmc_password": {"type": "str", "no_log": True},
    "bmc_port": {"type": "int", "default": 623},
    "bmc_cipher_suite": {"type": "int", "choices": [1, 2, 3, 15, 16, 17]},
    "bmc_redfish_url": {"type": "str"},
    "bmc_validate_certs": {"type": "bool", "default": True},
    "bmc_ca_cert": {"type": "path"},
    "state_url": {"type": "str"},
    "state_password": {"type": "str", "no_log": True},
    "state_key_file": {"type": "path", "no_log": False},
    "from_step": {"type": "str", "choices": list(NAMES)},
    "only_steps": {"type": "list", "elements": "str", "choices": list(NAMES)},
    "steps": {"type": "dict", "default": {}},
    "on_failure": {"type": "str", "choices": list(ON_FAILURE), "default": "keep"},
    "job": {"type": "str"},
}
FALLBACKS = {
    **{f"maas_{name}": variable for name, variable in MAAS_FALLBACKS.items()},
    "bmc_username": BMC_FALLBACKS["username"],
    "bmc_password": BMC_FALLBACKS["password"],
    "job": "RACKSTEAD_JOB",
}


@dataclass(frozen=True)
class Settings:
    """The options, read. ``selected`` are the steps that are to run, ``again`` does even those that were done."""

    maas: Site
    steps: Mapping[str, Step]
    selected: tuple[str, ...]
    again: bool
    on_failure: str
    device_types: str
    pools: Mapping[str, Any]
    bios_transport: str
    sum: str
    #: whether SUM needs sudo on the host
    sudo: bool
    #: a BMC without its address
    bmc: Endpoint
    #: a host without its address
    ssh: Host
    job: str = ""
    #: texts that may appear nowhere
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ssh_port(self) -> int:
        return self.ssh.port

    def host(self, address: str) -> Host:
        return replace(self.ssh, address=address)


def settings_of(params: Mapping[str, Any]) -> Settings:
    """The settings that options make. Raises InvalidInput with all that is wrong."""
    problems: list[str] = []
    maas = _site(params, problems)
    steps = _steps(params["steps"] or {}, problems)
    selected = selection(params["from_step"], params["only_steps"])
    if params["from_step"] and params["only_steps"]:
        problems.append("from_step: is of no use with only_steps; allowed: one of the two")
    bmc, ssh = _bmc(params, problems), _ssh(params, selected, problems)
    if problems or maas is None:
        raise InvalidInput(problems)
    return Settings(
        maas,
        steps,
        selected,
        bool(params["from_step"] or params["only_steps"]),
        params["on_failure"],
        params["device_types"] or "",
        params["pools"] or {},
        params["bios_transport"],
        params["sum"],
        params["ssh_user"] != "root" if params["ssh_sudo"] is None else params["ssh_sudo"],
        bmc,
        ssh,
        params["job"] or "",
        tuple(text for text in (bmc.password, *maas.key.split(":")) if len(text) > 3),
    )


def _bmc(params: Mapping[str, Any], problems: list[str]) -> Endpoint:
    if not 1 <= params["bmc_port"] <= 65535:
        problems.append(f"bmc_port: {params['bmc_port']} is not valid; allowed: 1 to 65535")
    if bool(params["bmc_username"]) != bool(params["bmc_password"]):
        missing = "bmc_password" if params["bmc_username"] else "bmc_username"
        problems.append(f"{missing}: is missing; allowed: both, or none of them to ask as MAAS does")
    url, ca = params["bmc_redfish_url"] or "", params["bmc_ca_cert"] or ""
    if url and not re.fullmatch(r"https?://[^/@\s]+/?", url):
        problems.append("bmc_redfish_url: is not valid; allowed: https://name, {address} for the BMC's address, :port")
    if ca and not os.path.isfile(ca):
        problems.append(f"bmc_ca_cert: there is no file {ca}")
    words = params["bmc_username"] or "", params["bmc_password"] or ""
    suite, verify = params["bmc_cipher_suite"], params["bmc_validate_certs"]
    return Endpoint("", *words, params["bmc_port"], url, suite, verify, ca)


def _ssh(params: Mapping[str, Any], selected: tuple[str, ...], problems: list[str]) -> Host:
    """Every boot from the network makes new host keys, so that there is none to know a host by."""
    if not 1 <= params["ssh_port"] <= 65535:
        problems.append(f"ssh_port: {params['ssh_port']} is not valid; allowed: 1 to 65535")
    key = params["ssh_key_file"] or ""
    logs_in = params["bios_transport"] == "sum" and {"bios_pull", "bios_push"} & set(selected)
    if logs_in and not key:
        problems.append("ssh_key_file: is missing; allowed: the file with the private key that MAAS gives its machines")
    elif key and not os.access(key, os.R_OK):
        problems.append(f"ssh_key_file: {key} cannot be read")
    if not params["sum"].startswith("/"):
        problems.append(f"sum: {params['sum']} is not valid; allowed: the whole path: coreutils has a sum of its own")
    return Host("", params["ssh_port"], params["ssh_user"], key, host_keys="any")


def needs_device_types(selected: tuple[str, ...]) -> bool:
    return bool({"bios_modify", "bios_push"} & set(selected))


def selection(from_step: str | None, only_steps: list[str] | None) -> tuple[str, ...]:
    """The steps that are to run, in their order."""
    if only_steps:
        return tuple(name for name in NAMES if name in only_steps)
    return NAMES[NAMES.index(from_step) :] if from_step else NAMES


def _site(params: Mapping[str, Any], problems: list[str]) -> Site | None:
    try:
        return site_of({name: params[f"maas_{name}"] for name in MAAS_OPTIONS})
    except InvalidInput as exc:
        problems += [f"maas_{line}" for line in exc.problems]
        return None


def _steps(given: Mapping[str, Any], problems: list[str]) -> dict[str, Step]:
    """All steps with their paces."""
    steps = {name: step_of(name) for name in NAMES}
    for name, pace in given.items():
        if name not in steps:
            problems.append(f'steps: unknown step "{name}"{nearest(str(name), NAMES)}; allowed: {", ".join(NAMES)}')
            continue
        faults = _pace_faults(name, pace)
        problems += faults
        if not faults:
            steps[name] = step_of(name, _numbers(pace))
    return steps


def _numbers(pace: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"timeout": float, "attempts": int, "backoff": float}
    return {key: kinds[key](value) for key, value in pace.items() if value is not None}


def _pace_faults(name: str, pace: Any) -> list[str]:
    if not isinstance(pace, Mapping):
        return [f"steps.{name}: is not a mapping; allowed: timeout, attempts, backoff"]
    found = []
    for key, value in pace.items():
        if key not in PACE:
            found.append(f'steps.{name}: unknown key "{key}"{nearest(str(key), PACE)}')
            continue
        least, words = (1, "a whole number, 1 or more") if key == "attempts" else (0, "seconds, more than 0")
        if value is not None and not _is_number(value, least, whole=key == "attempts"):
            found.append(f"steps.{name}.{key}: {value} is not valid; allowed: {words}")
    return found


def _is_number(value: Any, least: float, *, whole: bool) -> bool:
    try:
        number = int(str(value)) if whole else float(str(value))
    except ValueError:
        return False
    return number >= least if whole else least < number < float("inf")
