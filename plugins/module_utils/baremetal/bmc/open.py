# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's options to a session with the BMC."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ...common.errors import InvalidInput, Unsupported
from .ipmi import LONGEST_NAME, Ipmi
from .model import PRIVILEGES, Bmc, Endpoint
from .redfish import Redfish, speaks_redfish

#: Option of the doc fragment ``rackstead.infra.bmc`` -> the environment variable that stands in for it.
FALLBACKS = {"host": "RACKSTEAD_BMC_HOST", "username": "RACKSTEAD_BMC_USERNAME", "password": "RACKSTEAD_BMC_PASSWORD"}
OPTIONS: dict[str, Any] = {
    "host": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "port": {"type": "int", "default": 623},
    "session_privilege": {"type": "str", "choices": list(PRIVILEGES), "default": PRIVILEGES[-1]},
    "cipher_suite": {"type": "int", "choices": [1, 2, 3, 15, 16, 17]},
    "timeout": {"type": "float", "default": 10.0},
}
#: Options of modules that speak Redfish, too.
REDFISH_OPTIONS: dict[str, Any] = {
    "protocol": {"type": "str", "choices": ["auto", "ipmi", "redfish"], "default": "auto"},
    "redfish_url": {"type": "str"},
    "validate_certs": {"type": "bool", "default": True},
    "ca_cert": {"type": "path"},
}
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def endpoint_of(params: Mapping[str, Any]) -> Endpoint:
    """The BMC that the options name. Raises InvalidInput with all that is wrong."""
    problems = []
    host, port, name = params["host"] or "", params["port"], params["username"] or ""
    if not _is_host(host):
        problems.append(f"host: {host!r} is not valid; allowed: the BMC's name or address")
    if not 1 <= port <= 65535:
        problems.append(f"port: {port} is not valid; allowed: 1 to 65535")
    if len(name.encode()) > LONGEST_NAME:
        problems.append(f"username: {name!r} is too long; allowed: at most {LONGEST_NAME} bytes")
    if params["timeout"] <= 0:
        problems.append(f"timeout: {params['timeout']:g} is not valid; allowed: seconds, more than 0")
    url = params.get("redfish_url") or ""
    if url and not re.fullmatch(r"https?://[^/@\s]+/?", url):
        problems.append("redfish_url: is not valid; allowed: https://name-or-address, with :port if need be")
    if problems:
        raise InvalidInput(problems)
    return Endpoint(
        host,
        name,
        params["password"] or "",
        port,
        url,
        params["cipher_suite"],
        params.get("validate_certs", True),
        params.get("ca_cert") or "",
        params["timeout"],
        params["session_privilege"],
    )


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(HOST.fullmatch(host))
    return True


def open_bmc(params: Mapping[str, Any]) -> Bmc:
    """The BMC over the protocol that the options name; ``auto`` takes Redfish where it answers, else IPMI."""
    endpoint = endpoint_of(params)
    protocol = params["protocol"]
    if protocol == "ipmi" and endpoint.redfish_url:
        raise InvalidInput(["redfish_url: is of no use with protocol ipmi; allowed: protocol auto or redfish"])
    if protocol == "auto":
        protocol = "redfish" if endpoint.redfish_url or _answers(endpoint) else "ipmi"
    return Redfish(endpoint) if protocol == "redfish" else Ipmi(endpoint)


def _answers(endpoint: Endpoint) -> bool:
    try:
        return speaks_redfish(endpoint)
    except Unsupported:
        return False  # no library for it: IPMI is left
