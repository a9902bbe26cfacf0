# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the options of a task into requirements. All faults are told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..common.problems import Problems
from ..common.units import SIZE_EXAMPLES, parse_size
from .model import Ports, Requirements

SIZES = ("memory", "memory_recommended", "disk", "disk_recommended")
SWAP = ("allow", "warn", "refuse")
CGROUPS = ("v1", "v2")
_VERSION = re.compile(r"\d+(\.\d+)*")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp))?")
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,54}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")

#: Argument specification of the option ``requirements``. The defaults are what MicroK8s asks for.
OPTIONS: dict[str, Any] = {
    "distributions": {"type": "dict", "default": {"debian": "12", "ubuntu": "22.04"}},
    "architectures": {"type": "list", "elements": "str", "default": ["x86_64", "aarch64"]},
    "memory": {"type": "str", "default": "2GiB"},
    "memory_recommended": {"type": "str", "default": "4GiB"},
    "disk_path": {"type": "path", "default": "/var"},
    "disk": {"type": "str", "default": "10GiB"},
    "disk_recommended": {"type": "str", "default": "20GiB"},
    "cgroups": {"type": "list", "elements": "str", "choices": list(CGROUPS), "default": list(CGROUPS)},
    "snapd": {"type": "bool", "default": True},
    "packages": {"type": "list", "elements": "str", "default": ["ca-certificates", "iptables", "sudo"]},
    "ports": {"type": "list", "elements": "str", "default": ["10248-10259", "12379", "16443", "19001", "25000"]},
    "port_owners": {"type": "list", "elements": "str", "default": ["microk8s"]},
    "resolve": {"type": "list", "elements": "str", "default": ["api.snapcraft.io"]},
    "time": {"type": "bool", "default": True},
    "modules": {"type": "list", "elements": "str", "default": ["br_netfilter", "overlay"]},
    "swap": {"type": "str", "choices": list(SWAP), "default": "warn"},
}


def read_requirements(given: Mapping[str, Any]) -> Requirements:
    """Requirements of what a task was given. Raises InvalidInput."""
    problems = Problems()
    sizes = {name: _size(name, given[name], problems) for name in SIZES}
    for name, low in (("memory_recommended", "memory"), ("disk_recommended", "disk")):
        if sizes[name] < sizes[low]:
            problems.add(f"requirements.{name}", f'"{given[name]}" is less than {low}', f"{given[low]} and more")
    for name, version in given["distributions"].items():
        if not _VERSION.fullmatch(str(version)):
            problems.add(f"requirements.distributions.{name}", f'"{version}" is not valid', "a version, such as 22.04")
    for option, pattern, allowed in (
        ("packages", _PACKAGE, "names of Debian packages"),
        ("modules", _MODULE, "names of kernel modules"),
        ("resolve", _HOST, "names of hosts"),
    ):
        for text in given[option]:
            if not pattern.fullmatch(text):
                problems.add(f"requirements.{option}", f'"{text}" is not valid', allowed)
    ports = tuple(_ports(text, problems) for text in given["ports"])
    problems.raise_if_any()
    return Requirements(
        distributions={str(name): str(version) for name, version in given["distributions"].items()},
        architectures=tuple(given["architectures"]),
        memory=sizes["memory"],
        memory_recommended=sizes["memory_recommended"],
        disk_path=given["disk_path"],
        disk=sizes["disk"],
        disk_recommended=sizes["disk_recommended"],
        cgroups=tuple(given["cgroups"]),
        snapd=given["snapd"],
        packages=tuple(given["packages"]),
        ports=ports,
        port_owners=tuple(given["port_owners"]),
        resolve=tuple(given["resolve"]),
        time=given["time"],
        modules=tuple(name.replace("-", "_") for name in given["modules"]),
        swap=given["swap"],
    )


def _size(name: str, text: str, problems: Problems) -> int:
    try:
        return parse_size(text)
    except ValueError:
        problems.add(f"requirements.{name}", f'"{text}" is not valid', SIZE_EXAMPLES)
        return 0


def _ports(text: str, problems: Problems) -> Ports:
    match = _PORTS.fullmatch(text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not match or not 0 < first <= last < 65536:
        problems.add("requirements.ports", f'"{text}" is not valid', "16443, 10250-10259, 4789/udp")
        return Ports(0, 0)
    return Ports(first, last, match[3] or "tcp")
