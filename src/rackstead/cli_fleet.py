# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``node`` and ``cluster`` that look after the registry of both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import cli_jobs, view_fleet
from .answers import Exit
from .blocks import STYLE, Block, Where, registered, server_of
from .cli_state import opened
from .options import EXTRA, BadUsage, extra_variables
from .options import Job as Command

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry

    from .fleet.members import Drawn
    from .remote.fleet import RemoteRegistry

    Nodes = Registry | RemoteRegistry

node = typer.Typer(
    help="Nodes in the registry.",
    epilog="Example: rackstead node add --hostname node1 --ip 192.0.2.11 --user pi --cluster lab",
    **{**STYLE, "no_args_is_help": False},
)
cluster = typer.Typer(
    help="Clusters in the registry, and what is done to them.",
    epilog="Example: rackstead cluster setup lab",
    **STYLE,
)
operation = typer.Typer(
    help="Jobs, by another name.", epilog="Example: rackstead operation list --state-of running", **STYLE
)
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's name or id.")]
ClusterName = Annotated[str, typer.Argument(metavar="CLUSTER", help="The cluster's name or id.")]


def _option(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False)


def register(app: typer.Typer, panel: str, jobs_panel: str) -> None:
    app.add_typer(node, name="node", rich_help_panel=panel)
    app.add_typer(cluster, name="cluster", rich_help_panel=panel)
    app.add_typer(operation, name="operation", rich_help_panel=jobs_panel)
    operation.command("list")(cli_jobs.list_)
    operation.command("show")(cli_jobs.show)


@contextmanager
def fleet(where: Where, told: Command) -> Iterator[Nodes]:
    """The registry of the server that is meant, or of this machine."""
    with server_of(where, told) as remote:
        if remote:
            from .remote.fleet import RemoteRegistry

            yield RemoteRegistry(remote.client)
            return
        from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import Registry

        with opened(where.state) as store:
            yield Registry(store, cli_jobs.who()[0])


# -- nodes -----------------------------------------------------------------------------------------
@node.callback(invoke_without_command=True)
def bare(context: typer.Context) -> int:
    """Nodes in the registry. Without a command: run a job that came over Receptor, which is not for people."""
    return cli_jobs.node() if context.invoked_subcommand is None else Exit.OK


@dataclass(frozen=True)
class Bmc(Block):
    """How a node's BMC is reached; its password is not kept."""

    bmc_address: Annotated[str, _option("--bmc-address", metavar="ADDRESS", text="Its BMC's address.")] = ""
    bmc_protocol: Annotated[str, _option("--bmc-protocol", metavar="NAME", text="ipmi or redfish.")] = ""
    bmc_username: Annotated[str, _option("--bmc-username", metavar="USER", text="The user at the BMC.")] = ""

    def given(self) -> dict[str, str]:
        return {"address": self.bmc_address, "protocol": self.bmc_protocol, "username": self.bmc_username}


@dataclass(frozen=True)
class Reach(Block):
    """How a node is reached, and what is said of it."""

    ip: Annotated[str, _option("--ip", "--address", metavar="ADDRESS", text="Its address. (default: the name)")] = ""
    user: Annotated[str, _option("--user", "-u", metavar="USER", text="Who logs in there.")] = ""
    key_path: Annotated[
        str, _option("--key-path", "--key-file", metavar="FILE", text="The private SSH key: its path alone is kept.")
    ] = ""
    port: Annotated[int, _option("--port", metavar="PORT", text="SSH's. (default: 22)")] = 0
    become: Annotated[
        bool | None, typer.Option("--become/--no-become", help="Who logs in becomes root by sudo.", show_default=False)
    ] = None
    of: Annotated[str, _option("--cluster", metavar="CLUSTER", text="The cluster it is for: name or id.")] = ""
    worker: Annotated[
        bool | None,
        typer.Option("--worker/--no-worker", help="Without a part in the control plane.", show_default=False),
    ] = None
    label: Annotated[list[str] | None, _option("--label", "-l", metavar="KEY=VALUE", text="A label. Repeatable.")] = (
        None
    )
    mac: Annotated[str, _option("--mac", metavar="MAC", text="Its network card's, to wake it by.")] = ""

    def given(self, bmc: Bmc) -> dict[str, Any]:
        """What was said, and nothing else."""
        found: dict[str, Any] = {
            "address": self.ip,
            "user": self.user,
            "port": self.port,
            "key_file": whole_path(self.key_path),
            "cluster": self.of,
            "labels": labels_of(self.label or []),
            "mac": self.mac,
            "bmc": {name: value for name, value in bmc.given().items() if value},
        }
        switches = {"become": self.become, "worker": self.worker}
        return {name: value for name, value in found.items() if value} | {
            name: value for name, value in switches.items() if value is not None
        }


@registered(node, "node add", epilog="Example: rackstead node add --hostname node1 --ip 192.0.2.11 --user pi")
def node_add(
    told: Command,
    where: Where,
    reach: Reach,
    bmc: Bmc,
    hostname: Annotated[str, _option("--hostname", "--name", metavar="NAME", text="Its name.")],
) -> int:
    """Enter a node in the registry. Touches no machine."""
    with fleet(where, told) as registry:
        added = registry.add_node({"name": hostname, **reach.given(bmc)})
        warnings = _warnings(registry, added["cluster"])
    told.terminal.show(f"{added['name']} is node {added['id']}")
    return _end(told, {"node": added}, warnings)


@registered(node, "node change", epilog="Example: rackstead node change node1 --cluster lab --become")
def node_change(
    told: Command,
    name: NodeName,
    where: Where,
    reach: Reach,
    bmc: Bmc,
    member: Annotated[bool, typer.Option("--member", help="Also to another cluster than it is in.")] = False,
) -> int:
    """Change what the registry has of a node; what is not named stays. Touches no machine."""
    given = reach.given(bmc)
    if not given:
        raise BadUsage("node change: nothing is to be changed; rackstead node change --help names what can be")
    with fleet(where, told) as registry:
        if "labels" in given:
            given["labels"] = {**registry.node(name)["labels"], **given["labels"]}
        changed = registry.change_node(name, given, member=member)
        warnings = _warnings(registry, changed["cluster"])
    told.terminal.show(view_fleet.facts(changed))
    return _end(told, {"node": changed}, warnings)


def whole_path(text: str) -> str:
    """A path that means the same from wherever it is read; one in somebody's home is left to whoever reads it."""
    return text if not text or text.startswith("~") else os.path.abspath(text)


def labels_of(given: list[str]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise BadUsage(f'--label: "{text}" is not understood; allowed: KEY=VALUE')
    return dict(text.split("=", 1) for text in given)


@registered(node, "node list", epilog="Example: rackstead node list --cluster lab")
def node_list(
    told: Command,
    where: Where,
    of: Annotated[str, _option("--cluster", metavar="CLUSTER", text="Only of this one.")] = "",
) -> int:
    """All nodes of the registry, or those of a cluster."""
    with fleet(where, told) as registry:
        name = registry.cluster(of)["name"] if of else ""
        found = [one for one in registry.nodes() if not of or one["cluster"] == name]
    told.terminal.show(view_fleet.nodes(found))
    return told.end(Exit.OK, [], {"nodes": found})


@registered(node, "node show", epilog="Example: rackstead node show node1")
def node_show(told: Command, name: NodeName, where: Where) -> int:
    """All that the registry has about a node."""
    with fleet(where, told) as registry:
        found = registry.node(name)
    told.terminal.show(view_fleet.facts(found))
    return told.end(Exit.OK, [], {"node": found})


@registered(node, "node remove", epilog="Example: rackstead node remove node1")
def node_remove(
    told: Command,
    name: NodeName,
    where: Where,
    member: Annotated[bool, typer.Option("--member", help="Also one that is in a cluster.")] = False,
) -> int:
    """Take a node out of the registry. Touches no machine, and no cluster that it is in."""
    with fleet(where, told) as registry:
        gone = registry.remove_node(name, member=member)
        warnings = _warnings(registry, gone["cluster"])
    told.terminal.show(f"{gone['name']} is out of the registry; the machine is as it was")
    return _end(told, {"node": gone}, warnings)


# -- clusters --------------------------------------------------------------------------------------
@registered(cluster, "cluster add", epilog="Example: rackstead cluster add --name lab -e microk8s_channel=1.32/stable")
def cluster_add(
    told: Command,
    where: Where,
    name: Annotated[str, _option("--name", metavar="NAME", text="Its name.")],
    description: Annotated[str, _option("--description", metavar="TEXT", text="What it is for.")] = "",
    extra: Annotated[list[str] | None, EXTRA] = None,
) -> int:
    """Enter a cluster in the registry. -e sets variables of the role microk8s for all of its nodes."""
    variables, files = extra_variables(extra or [])
    if files:
        raise BadUsage("-e: what is kept with a cluster is not read from a file; allowed: key=value, a JSON object")
    with fleet(where, told) as registry:
        added = registry.add_cluster({"name": name, "description": description, "variables": variables})
    told.terminal.show(f"{added['name']} is cluster {added['id']}")
    return told.end(Exit.OK, [], {"cluster": added})


@registered(cluster, "cluster change", epilog="Example: rackstead cluster change lab -e microk8s_channel=1.33/stable")
def cluster_change(
    told: Command,
    name: ClusterName,
    where: Where,
    description: Annotated[str | None, _option("--description", metavar="TEXT", text="What it is for.")] = None,
    extra: Annotated[list[str] | None, EXTRA] = None,
) -> int:
    """Change what the registry has of a cluster; variables that are not named stay. Touches no machine."""
    variables, files = extra_variables(extra or [])
    if files:
        raise BadUsage("-e: what is kept with a cluster is not read from a file; allowed: key=value, a JSON object")
    if description is None and not variables:
        raise BadUsage("cluster change: nothing is to be changed; give --description or -e")
    with fleet(where, told) as registry:
        given: dict[str, Any] = {} if description is None else {"description": description}
        if variables:
            given["variables"] = {**registry.cluster(name)["variables"], **variables}
        changed = registry.change_cluster(name, given)
    told.terminal.show(view_fleet.facts(changed))
    return told.end(Exit.OK, [], {"cluster": changed})


@registered(cluster, "cluster list", epilog="Example: rackstead cluster list")
def cluster_list(told: Command, where: Where) -> int:
    """All clusters of the registry."""
    with fleet(where, told) as registry:
        nodes = registry.nodes()
        found = [{**one, "nodes": _members(nodes, one["name"])} for one in registry.clusters()]
    told.terminal.show(view_fleet.clusters(found, nodes))
    return told.end(Exit.OK, [], {"clusters": found})


@registered(cluster, "cluster show", epilog="Example: rackstead cluster show lab")
def cluster_show(told: Command, name: ClusterName, where: Where) -> int:
    """All that the registry has about a cluster, its nodes, and what the last scan has found of them."""
    with fleet(where, told) as registry:
        found = registry.cluster(name)
        nodes = [one for one in registry.nodes() if one["cluster"] == found["name"]]
        warnings = _warnings(registry, found["name"])
        at, seen = last_seen(registry, found["name"])
    told.terminal.show(view_fleet.facts(found), "", view_fleet.nodes(nodes), "", view_fleet.seen(seen, at))
    more = {"nodes": _members(nodes, found["name"]), "scanned": at, "seen": [asdict(one) for one in seen]}
    return _end(told, {"cluster": {**found, **more}}, warnings)


@registered(cluster, "cluster remove", epilog="Example: rackstead cluster remove lab")
def cluster_remove(told: Command, name: ClusterName, where: Where) -> int:
    """Take a cluster without nodes out of the registry. Touches no machine."""
    with fleet(where, told) as registry:
        gone = registry.remove_cluster(name)
    told.terminal.show(f"{gone['name']} is out of the registry; its machines are as they were")
    return told.end(Exit.OK, [], {"cluster": gone})


def last_seen(registry: Nodes, name: str) -> tuple[float, list[Drawn]]:
    """When a cluster was scanned last, and its members as they were found."""
    from .remote.fleet import RemoteRegistry

    if isinstance(registry, RemoteRegistry):
        return registry.last_seen(name)
    from .fleet.members import drawn
    from .fleet.service import last_scan

    at, scan = last_scan(registry, name)
    return at, drawn([one for one in registry.nodes() if one["cluster"] == name], scan)


def _members(nodes: list[dict[str, Any]], name: str) -> list[str]:
    return [one["name"] for one in nodes if one["cluster"] == name]


def _warnings(registry: Nodes, name: str) -> list[str]:
    from ansible_collections.rackstead.infra.plugins.module_utils.registry.fleet import even

    found = even(registry.nodes(), name) if name else ""
    return [found] if found else []


def _end(told: Command, content: dict[str, Any], warnings: list[str]) -> int:
    for line in warnings:
        told.terminal.note(f"warning: {line}")
    return told.end(Exit.OK, [], {**content, "warnings": warnings})
