# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider is, what it can do, how much room it has, and whether it is well. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import Denied, RacksteadError
from ..common.units import format_size
from .incus.client import IncusClient, Server

OLDEST = (6, 0)
#: A pool counts as nearly full from this share on, or with less than this many bytes left.
FULL_SHARE = 0.9
FULL_LEFT = 1 << 30
SUBORDINATE_IDS = ("/etc/subuid", "/etc/subgid")
#: capability -> the API extension that brings it
BY_EXTENSION = {
    "network_acls": "network_acl",
    "network_forwards": "network_forward",
    "oci_containers": "instance_oci",
    "projects": "projects",
}
#: Warnings of these severities are problems, the rest are notes.
SEVERE = ("moderate", "high")
VM_WARNING = "Instance type not operational"


def provider_facts(client: IncusClient) -> dict[str, Any]:
    """The module's result."""
    client.ensure_trusted()
    server = client.server()
    environment = client.get("")["environment"]
    members = _members(client) if server.clustered else []
    capacity = _capacity(client, [member["name"] for member in members if member["status"] == "Online"])
    warnings = _warnings(client)
    problems = [
        *version_problems(server.version),
        *(
            f"member {member['name']} is {member['status'].lower()}: {member['message']}"
            for member in members
            if member["status"] != "Online"
        ),
        *(problems_of_pools(capacity["pools"]) if capacity else []),
        *_network_problems(client),
        *(f"{warning['type']}: {warning['last_message']}" for warning in warnings if _is_severe(warning)),
        *(subordinate_problems() if client.endpoint.socket_path else []),
    ]
    return {
        "provider": _described(server, environment),
        "capabilities": capabilities(server, environment),
        "capacity": capacity,
        "members": members,
        "health": _health(server, capacity, problems, _notes(server, warnings, capacity)),
    }


def _warnings(client: IncusClient) -> list[dict[str, Any]]:
    """Incus's own warnings; none for a restricted client, which may not see them."""
    try:  # beside a project Incus leaves out those that belong to none
        return list(client.transport.request("GET", "/1.0/warnings", {"recursion": "1"}).metadata())
    except Denied:
        return []


def _described(server: Server, environment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "incus",
        "version": server.version,
        "server_name": server.name,
        "driver": server.driver,
        "storage": server.storage,
        "storage_drivers": sorted(driver["Name"] for driver in environment.get("storage_supported_drivers") or ()),
        "firewall": server.firewall,
        "kernel": environment.get("kernel_version", ""),
        "architectures": list(server.architectures),
        "api_extensions_count": len(server.extensions),
        "vm_support": server.vm_support,
        "clustered": server.clustered,
        "addresses": list(server.addresses),
    }


def capabilities(server: Server, environment: Mapping[str, Any]) -> dict[str, bool]:
    features = environment.get("kernel_features") or {}
    return {
        "containers": "lxc" in server.driver,
        "virtual_machines": server.vm_support,
        "clustered": server.clustered,
        "idmapped_mounts": features.get("idmapped_mounts") == "true",
        **{name: extension in server.extensions for name, extension in BY_EXTENSION.items()},
    }


def _members(client: IncusClient) -> list[dict[str, Any]]:
    keys = {"name": "server_name", "url": "url", "status": "status", "message": "message", "roles": "roles"}
    return [
        {ours: member[theirs] for ours, theirs in keys.items()}
        for member in client.get("/cluster/members", recursion="1")
    ]


# -- capacity -----------------------------------------------------------------------------------------
def _capacity(client: IncusClient, members: Sequence[str]) -> dict[str, Any] | None:
    """CPUs, memory and pools, in bytes, summed up over members; None where this client may not see them."""
    targets: list[dict[str, str]] = [{"target": name} for name in members] or [{}]
    try:
        machines = [client.get("/resources", **target) for target in targets]
        pools = client.get("/storage-pools", recursion="1")
        rooms = [_room(client, pool, target) for pool in pools for target in targets]
    except Denied:
        return None
    return {
        "cpus": sum(machine["cpu"]["total"] for machine in machines),
        "memory_total": sum(machine["memory"]["total"] for machine in machines),
        "memory_used": sum(machine["memory"]["used"] for machine in machines),
        "pools": rooms,
    }


def _room(client: IncusClient, pool: Mapping[str, Any], target: Mapping[str, str]) -> dict[str, Any]:
    """How full a pool is, on one member. A pool that cannot tell has None."""
    try:
        space = client.get(f"/storage-pools/{pool['name']}/resources", **target).get("space") or {}
    except Denied:
        raise
    except RacksteadError:
        space = {}  # such as a pool that is broken: its status says so
    return {
        "name": pool["name"],
        "driver": pool["driver"],
        "member": target.get("target", ""),
        "status": pool["status"],
        "total": space.get("total"),
        "used": space.get("used"),
    }


# -- health -------------------------------------------------------------------------------------------
def version_problems(version: str) -> list[str]:
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    if tuple(numbers) >= OLDEST:
        return []
    return [f"Incus {version} is too old; needed is {'.'.join(map(str, OLDEST))} or newer"]


def problems_of_pools(pools: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each pool that is nearly full or broken, and one where there is none at all."""
    problems = [] if pools else ["there is no storage pool, so no instance can be made; `rackstead init` makes one"]
    for pool in pools:
        name = f"pool {pool['name']}" + (f" on {pool['member']}" if pool["member"] else "")
        if pool["status"] != "Created":
            problems.append(f"{name} is {pool['status'].lower()}")
        elif pool["total"] is None or pool["used"] is None:
            problems.append(f"{name} does not tell how full it is")
        elif pool["used"] >= FULL_SHARE * pool["total"] or pool["total"] - pool["used"] < FULL_LEFT:
            left = format_size(pool["total"] - pool["used"])
            problems.append(f"{name} is nearly full: {left} of {format_size(pool['total'])} left")
    return problems


def _network_problems(client: IncusClient) -> list[str]:
    """Without a bridge, and without another network in the default profile, instances reach nothing."""
    if any(network["managed"] for network in client.get("/networks", recursion="1")):
        return []
    profile = client.find("/profiles/default") or {}
    if any(device.get("type") == "nic" for device in (profile.get("devices") or {}).values()):
        return []
    return ["there is no bridge, so instances have no network; `rackstead init` makes one"]


def subordinate_problems(files: Sequence[str] = SUBORDINATE_IDS) -> list[str]:
    """Incus maps its containers' users into one range of ids; none, or two, for root is a trap."""
    problems = []
    for name in files:
        path = Path(name)
        if not path.exists():
            continue  # Incus takes a range of its own then
        ranges = [line for line in path.read_text(errors="replace").splitlines() if line.split(":")[0] in ("root", "0")]
        if len(ranges) != 1:
            problems.append(
                f"{name} has {len(ranges) or 'no'} ranges for root; allowed: exactly one, such as root:1000000:1000000000"
            )
    return problems


def _is_severe(warning: Mapping[str, Any]) -> bool:
    return warning["severity"] in SEVERE and warning["status"] == "new"


def _notes(server: Server, warnings: Sequence[Mapping[str, Any]], capacity: Mapping[str, Any] | None) -> list[str]:
    notes = []
    if not server.vm_support:
        reasons = [warning["last_message"] for warning in warnings if warning["type"] == VM_WARNING]
        notes.append(f"no virtual machines: {reasons[0] if reasons else 'Incus has no working QEMU driver'}")
    notes += [
        f"{warning['type']}: {warning['last_message']}"
        for warning in warnings
        if not _is_severe(warning) and warning["type"] != VM_WARNING and warning["status"] == "new"
    ]
    if capacity is None:
        notes.append("capacity and warnings are not shown to a restricted client")
    return notes


def _health(
    server: Server, capacity: Mapping[str, Any] | None, problems: list[str], notes: list[str]
) -> dict[str, Any]:
    well = f"is well{_room_line(capacity)}"
    line = f"Incus {server.version} {'is not well: ' + '; '.join(problems) if problems else well}"
    return {"ok": not problems, "line": line, "problems": problems, "notes": notes}


def _room_line(capacity: Mapping[str, Any] | None) -> str:
    if capacity is None:
        return ""
    memory = f"{format_size(capacity['memory_used'])} of {format_size(capacity['memory_total'])} memory used"
    pools = [
        f"pool {pool['name']} {round(100 * pool['used'] / pool['total'])} % full"
        for pool in capacity["pools"]
        if pool["total"]
    ]
    return f": {capacity['cpus']} CPUs, {', '.join([memory, *pools])}"
