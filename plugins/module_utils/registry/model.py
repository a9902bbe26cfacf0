# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node and a cluster are, and how they are read from what somebody wrote. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..common.problems import Problems

Body = dict[str, Any]

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
#: Names that are numbers would be taken for ids.
NAMES = "small letters, digits, dots and hyphens, 63 at most, and not digits alone"
#: What is read here ends on the command line of ssh: nothing that could be an option of it.
ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
VARIABLE = re.compile(r"microk8s_[a-z0-9_]+")
PROTOCOLS = ("ipmi", "redfish")

NODE: Body = {
    "name": "",
    "address": "",
    "user": "",
    "port": 0,
    "key_file": "",
    "become": False,
    "worker": False,
    "cluster": "",
    "labels": {},
    "mac": "",
    "bmc": {},
}
CLUSTER: Body = {"name": "", "description": "", "variables": {}}


def good_name(name: Any) -> bool:
    return isinstance(name, str) and bool(NAME.fullmatch(name)) and not name.isdigit()


def read_node(given: Mapping[str, Any], problems: Problems) -> Body:
    """A node, whole. Secrets have no place in it: a key is a path, and a BMC's password is not kept."""
    node = _filled(given, NODE, problems)
    node["address"] = node["address"] or node["name"]
    node["bmc"] = _filled(node["bmc"], {"address": "", "protocol": "", "username": ""}, problems, "bmc.")
    for field, good, allowed in CHECKS:
        if not good(node[field]):
            problems.add(field, f'"{node[field]}" is not valid', allowed)
    bmc = node["bmc"]
    if bmc["address"] and not ADDRESS.fullmatch(bmc["address"]):
        problems.add("bmc.address", f'"{bmc["address"]}" is not valid', "an address or a name")
    if bmc["protocol"] and bmc["protocol"] not in PROTOCOLS:
        problems.add("bmc.protocol", f'"{bmc["protocol"]}" is unknown', ", ".join(PROTOCOLS))
    return node


def read_cluster(given: Mapping[str, Any], problems: Problems) -> Body:
    cluster = _filled(given, CLUSTER, problems)
    if not good_name(cluster["name"]):
        problems.add("name", f'"{cluster["name"]}" is not valid', NAMES)
    for name in cluster["variables"]:
        if not VARIABLE.fullmatch(str(name)):
            problems.add(
                f"variables.{name}", "is not valid", "variables of the role microk8s, such as microk8s_channel"
            )
        elif ("token" in name and "ttl" not in name) or "password" in name:
            problems.add(f"variables.{name}", "is a secret, and is not kept here", "a vaulted file of variables")
    return cluster


def _good_labels(labels: Body) -> bool:
    return all(LABEL.fullmatch(str(key)) and LABEL.fullmatch(str(value)) for key, value in labels.items())


CHECKS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("name", good_name, NAMES),
    ("address", lambda value: bool(ADDRESS.fullmatch(value)), "an address or a name"),
    ("user", lambda value: not value or bool(USER.fullmatch(value)), "the name of a user"),
    ("port", lambda value: 0 <= value <= 65535, "1 to 65535"),
    ("key_file", lambda value: "\n" not in value and "PRIVATE KEY" not in value, "the path of a file, never a key"),
    ("mac", lambda value: not value or bool(MAC.fullmatch(value)), "such as 52:54:00:12:34:56"),
    ("labels", _good_labels, "letters, digits, dots, underscores and hyphens, 63 at most"),
)


def _filled(given: Any, empty: Body, problems: Problems, head: str = "") -> Body:
    """What is given, with what is not; values of a wrong type are told and left out."""
    found: Body = {key: dict(value) if isinstance(value, dict) else value for key, value in empty.items()}
    for key, value in given.items():
        if key not in empty:
            problems.unknown(head.rstrip("."), str(key), empty)
        elif type(value) is not type(empty[key]):
            problems.add(f"{head}{key}", f"is of type {type(value).__name__}", type(empty[key]).__name__)
        else:
            found[key] = value
    return found
