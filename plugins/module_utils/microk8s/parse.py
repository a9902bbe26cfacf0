# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what ``microk8s`` and ``snap`` print. Pure, and without libraries that a node may lack."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..common.errors import OperationFailed
from .model import Addon, Certificate, DatastoreMember, Node, Snap, Status

CORDONED_BY = "rackstead.io/cordoned-by"
WORKER_LABEL = "node.kubernetes.io/microk8s-worker"
ROLES = {"0": "voter", "1": "standby", "2": "spare"}
CERTIFICATES = {"CA": "ca.crt", "server": "server.crt", "front proxy client": "front-proxy-client.crt"}
_CERTIFICATE = re.compile(r"^The (.+?) certificate (?:will expire in|expired) (-?\d+) days?(?: ago)?\.?$", re.M)
_ADDRESS = re.compile(r"\S+:\d+$")


def plain_yaml(text: str) -> Any:
    """The part of YAML that MicroK8s writes: mappings and lists of plain values, all of which stay text."""
    lines = [
        (len(line) - len(line.lstrip()), line.strip())
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith(("#", "---"))
    ]
    value, rest = _block(lines, lines[0][0]) if lines else ({}, [])
    if rest:
        raise ValueError(f"indentation of: {rest[0][1]}")
    return value


Lines = list[tuple[int, str]]


def _block(lines: Lines, indent: int) -> tuple[Any, Lines]:
    return _list(lines, indent) if lines[0][1][:2] in ("- ", "-") else _mapping(lines, indent)


def _list(lines: Lines, indent: int) -> tuple[list[Any], Lines]:
    found: list[Any] = []
    while lines and lines[0][0] == indent and lines[0][1][:2] in ("- ", "-"):
        text = lines[0][1][1:].strip()
        lines = lines[1:]
        value: Any
        if re.match(r"[\w.-]+:(\s|$)", text):
            value, lines = _mapping([(indent + 2, text), *lines], indent + 2)
        else:
            value = _plain(text)
        found.append(value)
    return found, lines


def _mapping(lines: Lines, indent: int) -> tuple[dict[str, Any], Lines]:
    found: dict[str, Any] = {}
    while lines and lines[0][0] == indent and not lines[0][1].startswith("- "):
        key, colon, text = lines[0][1].partition(":")
        if not colon:
            raise ValueError(f"no key: {lines[0][1]}")
        lines = lines[1:]
        value: Any = _plain(text.strip())
        deeper = lines and (lines[0][0] > indent or (lines[0][0] == indent and lines[0][1].startswith("- ")))
        if not text.strip() and deeper:
            value, lines = _block(lines, lines[0][0])
        found[key.strip()] = value
    return found, lines


def _plain(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def status(text: str) -> Status:
    """``microk8s status --format yaml``. Raises OperationFailed where it is something else."""
    try:
        document = plain_yaml(text)
        running = _true(document["microk8s"]["running"])
        ha = document.get("high-availability") or {}
        nodes = ha.get("nodes") or []
        members = tuple(DatastoreMember(one["address"], one["role"]) for one in nodes)
        addons = tuple(_addon(one) for one in document.get("addons") or [])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OperationFailed(f"microk8s status answered what cannot be read: {_first(text)}") from error
    return Status(running, _true(ha.get("enabled", "")), members, addons, str(ha.get("message", "")))


def _addon(one: Mapping[str, str]) -> Addon:
    return Addon(
        one["name"],
        one.get("repository", ""),
        one["status"] == "enabled",
        one.get("version", "").strip(),
        one.get("description", ""),
    )


def _true(text: str) -> bool:
    return text.strip().lower() in ("true", "yes")


def _first(text: str) -> str:
    return " ".join(text.split())[:120] or "nothing"


def nodes(text: str) -> tuple[Node, ...]:
    """``kubectl get nodes --output json``, by name."""
    try:
        items = json.loads(text)["items"]
        return tuple(sorted((_node(item) for item in items), key=lambda node: node.name))
    except (ValueError, KeyError, TypeError) as error:
        raise OperationFailed(f"kubectl get nodes answered what cannot be read: {_first(text)}") from error


def _node(item: Mapping[str, Any]) -> Node:
    metadata, found = item["metadata"], item.get("status") or {}
    conditions = {one["type"]: one["status"] for one in found.get("conditions") or []}
    addresses = [one["address"] for one in found.get("addresses") or [] if one["type"] != "Hostname"]
    return Node(
        metadata["name"],
        conditions.get("Ready") == "True",
        WORKER_LABEL in (metadata.get("labels") or {}),
        tuple(addresses),
        not (item.get("spec") or {}).get("unschedulable", False),
        (found.get("nodeInfo") or {}).get("kubeletVersion", ""),
        (metadata.get("annotations") or {}).get(CORDONED_BY, ""),
    )


def cluster_yaml(text: str) -> tuple[DatastoreMember, ...]:
    """dqlite's own list of its members, which is there when nothing answers."""
    try:
        return tuple(DatastoreMember(one["Address"], ROLES[one["Role"]]) for one in plain_yaml(text) or [])
    except (ValueError, KeyError, TypeError) as error:
        raise OperationFailed(f"cluster.yaml cannot be read: {_first(text)}") from error


def info_yaml(text: str) -> str:
    """The address under which this machine is a member of the datastore."""
    try:
        address = str(plain_yaml(text)["Address"])
    except (ValueError, KeyError, TypeError) as error:
        raise OperationFailed(f"info.yaml cannot be read: {_first(text)}") from error
    if not _ADDRESS.match(address):
        raise OperationFailed(f"info.yaml has no address of a member: {address}")
    return address


def certificates(text: str) -> tuple[Certificate, ...]:
    """``microk8s refresh-certs --check``."""
    found = [
        Certificate(CERTIFICATES.get(name, name), -int(days) if "expired" in line else int(days))
        for line, name, days in ((match[0], match[1], match[2]) for match in _CERTIFICATE.finditer(text))
    ]
    if not found:
        raise OperationFailed(f"microk8s refresh-certs --check named no certificate: {_first(text)}")
    return tuple(found)


def snap_list(text: str, name: str = "microk8s") -> Snap | None:
    """``snap list NAME``: a header, then Name Version Rev Tracking Publisher Notes."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0] == name:
            notes = words[5].split(",") if len(words) > 5 else []
            return Snap(words[1], words[2], words[3], tuple(note for note in notes if note != "-"))
    return None


def channels(text: str) -> tuple[str, ...]:
    """The channels that ``snap info`` lists, those that are closed aside."""
    _before, _header, after = text.partition("\nchannels:")
    found = re.findall(r"^\s+([\w.-]+/[\w./-]+):\s+(\S+)", after, re.M)
    return tuple(channel for channel, version in found if version not in ("--", "–"))


def connection(text: str) -> str:
    """The first way to join of ``add-node --format json``."""
    try:
        return str(json.loads(text)["urls"][0])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise OperationFailed("microk8s add-node answered without a way to join") from error
