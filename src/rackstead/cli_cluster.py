# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``cluster`` that do something to a cluster: playbooks, with the registry as their inventory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import answers, cli_fleet, cli_jobs, view_fleet
from .answers import Exit
from .cli_fleet import ClusterName, NodeName, cluster, node
from .options import BadUsage, command, not_through_a_server, place_option
from .options import Job as Command

if TYPE_CHECKING:
    from .fleet.actions import Action
    from .fleet.service import Fleet
    from .remote.fleet import RemoteFleet
    from .run import Outcome

State = Annotated[str, place_option("--state", "URL", "The state store. (RACKSTEAD_STATE)")]
Become = Annotated[bool, typer.Option("--become", "-b", help="Become root on all nodes, by sudo.")]
Check = Annotated[bool, typer.Option("--check", "--dry-run", help="Show what would be done, and do nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show the differences line by line.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Detach = Annotated[bool, typer.Option("--detach", help="Queue a job for a worker, print its id, and do not wait.")]


def register(app: typer.Typer, panel: str, jobs_panel: str) -> None:
    cli_fleet.register(app, panel, jobs_panel)


def _option(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False)


Namespace = Annotated[
    list[str] | None,
    _option("--namespace", "-n", metavar="NAME", text="Only there. Repeatable. (default: all but kube-system)"),
]
Selector = Annotated[str, _option("--selector", "-l", metavar="LABELS", text="Only what bears these labels.")]
Below = Annotated[
    int | None, _option("--below-priority", metavar="NUMBER", text="Only what has a lower rackstead.infra/priority.")
]


@dataclass(frozen=True)
class How:
    """How an action is to be done, beside what it is done with."""

    state: str = ""
    become: bool = False
    check: bool = False
    diff: bool = False
    yes: bool = False
    detach: bool = False


@command(cluster, epilog="Example: rackstead cluster setup lab --become")
def setup(
    job: Command,
    name: ClusterName,
    become: Become = False,
    check: Check = False,
    diff: Diff = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Make a cluster of its nodes, or bring it to what the registry says; does nothing where all is well."""
    return act(job, "setup", name, {}, How(state, become, check, diff, detach=detach))


@command(cluster, epilog="Example: rackstead cluster scan lab --become")
def scan(job: Command, name: ClusterName, become: Become = False, detach: Detach = False, state: State = "") -> int:
    """Say what is known of a cluster's nodes and what is not well. Ends with 1 where something is critical."""
    return act(job, "scan", name, {}, How(state, become, detach=detach))


@command(cluster, epilog="Example: rackstead cluster upgrade lab --channel 1.33/stable")
def upgrade(
    job: Command,
    name: ClusterName,
    channel: Annotated[str, _option("--channel", metavar="CHANNEL", text="To this one. (default: the cluster's)")] = "",
    become: Become = False,
    check: Check = False,
    yes: Yes = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Refresh MicroK8s, one node at a time; stops at the first that does not come back."""
    how = How(state, become, check, yes=yes, detach=detach)
    return act(job, "upgrade", name, {"microk8s_channel": channel or None}, how)


@command(cluster, epilog="Example: rackstead cluster backup lab --fetch backups/")
def backup(
    job: Command,
    name: ClusterName,
    fetch: Annotated[str, _option("--fetch", metavar="DIR", text="Fetch the archive into this folder, too.")] = "",
    become: Become = False,
    check: Check = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Put objects and datastore into an archive on a node of the control plane, and read it back."""
    variables = {"microk8s_backup_fetch": cli_fleet.whole_path(fetch) or None}
    return act(job, "backup", name, variables, How(state, become, check, detach=detach))


@command(cluster, epilog="Example: rackstead cluster troubleshoot lab --into reports/")
def troubleshoot(
    job: Command,
    name: ClusterName,
    into: Annotated[str, _option("--into", metavar="DIR", text="Folder for the archive. (default: troubleshoot)")] = "",
    become: Become = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Collect reports and logs of all nodes in one archive, and say what is not well, the worst first."""
    variables = {"microk8s_troubleshoot_into": cli_fleet.whole_path(into or "troubleshoot")}
    return act(job, "troubleshoot", name, variables, How(state, become, detach=detach))


@command(cluster, epilog="Example: rackstead cluster shutdown lab --graceful")
def shutdown(
    job: Command,
    name: ClusterName,
    graceful: Annotated[bool, typer.Option("--graceful", help="Take the pods off, and back up. (the default)")] = False,
    force: Annotated[bool, typer.Option("--force", help="At once: workloads end as they are.")] = False,
    become: Become = False,
    check: Check = False,
    yes: Yes = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Stop MicroK8s on all nodes, in an order that the datastore bears. Nothing stays disabled at boot."""
    if graceful and force:
        raise BadUsage("--graceful and --force exclude each other")
    how = How(state, become, check, yes=yes, detach=detach)
    return act(job, "shutdown-force" if force else "shutdown", name, {}, how)


@command(cluster, epilog="Example: rackstead cluster start lab")
def start(
    job: Command,
    name: ClusterName,
    become: Become = False,
    check: Check = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Start MicroK8s on all nodes, the control plane first, and uncordon what the shutdown has cordoned."""
    return act(job, "start", name, {}, How(state, become, check, detach=detach))


@command(cluster, epilog="Example: rackstead cluster pause lab --below-priority 10")
def pause(
    job: Command,
    name: ClusterName,
    namespace: Namespace = None,
    selector: Selector = "",
    below_priority: Below = None,
    become: Become = False,
    check: Check = False,
    yes: Yes = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Have workloads run no replicas, and keep what they were on the objects themselves."""
    chosen = selection(namespace, selector, below_priority)
    return act(job, "pause", name, chosen, How(state, become, check, yes=yes, detach=detach))


@command(cluster, epilog="Example: rackstead cluster resume lab")
def resume(
    job: Command,
    name: ClusterName,
    namespace: Namespace = None,
    selector: Selector = "",
    below_priority: Below = None,
    become: Become = False,
    check: Check = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Give what was paused its replicas back."""
    chosen = selection(namespace, selector, below_priority)
    return act(job, "resume", name, chosen, How(state, become, check, detach=detach))


@command(cluster, epilog="Example: rackstead cluster scale-down lab --percent 50")
def scale_down(
    job: Command,
    name: ClusterName,
    replicas: Annotated[int | None, typer.Option(min=0, metavar="N", help="So many at most.")] = None,
    percent: Annotated[int | None, typer.Option(min=0, max=100, metavar="0-100", help="Of what they have.")] = None,
    namespace: Namespace = None,
    selector: Selector = "",
    below_priority: Below = None,
    become: Become = False,
    check: Check = False,
    yes: Yes = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Give workloads fewer replicas, and keep what they had on the objects themselves."""
    if (replicas is None) == (percent is None):
        raise BadUsage("one of --replicas and --percent has to be given")
    chosen = selection(namespace, selector, below_priority)
    chosen |= {"microk8s_workload_replicas": replicas, "microk8s_workload_percent": percent}
    return act(job, "scale-down", name, chosen, How(state, become, check, yes=yes, detach=detach))


@command(cluster, epilog="Example: rackstead cluster scale-up lab")
def scale_up(
    job: Command,
    name: ClusterName,
    namespace: Namespace = None,
    selector: Selector = "",
    below_priority: Below = None,
    become: Become = False,
    check: Check = False,
    detach: Detach = False,
    state: State = "",
) -> int:
    """Give what was scaled down its replicas back."""
    chosen = selection(namespace, selector, below_priority)
    return act(job, "scale-up", name, chosen, How(state, become, check, detach=detach))


def selection(namespace: list[str] | None, selector: str, below: int | None) -> dict[str, Any]:
    return {
        "microk8s_workload_namespaces": namespace or None,
        "microk8s_workload_selector": selector or None,
        "microk8s_workload_below_priority": below,
    }


# -- one node --------------------------------------------------------------------------------------
@command(node, epilog="Example: rackstead node status node1")
def status(job: Command, name: NodeName, become: Become = False, state: State = "") -> int:
    """Look at one node: what is there of MicroK8s, and what is not well. Ends with 1 where something is critical."""
    not_through_a_server(job, "node status")
    from .fleet.service import keep_scan

    with fleet_here(state) as fleet:
        found = fleet.registry.node(name)["name"]
        outcome = job.play("scan", "Looking", {"rackstead_host": found}, hosts=fleet.hosts(become=become))
        keep_scan(fleet.registry, outcome.results)
        return looked(job, outcome, {"node": found})


@command(node, epilog="Example: rackstead node install node1 --become")
def install(job: Command, name: NodeName, become: Become = False, check: Check = False, state: State = "") -> int:
    """Install MicroK8s on a node, and have it in its cluster where it has one; does nothing where all is well."""
    not_through_a_server(job, "node install")
    with fleet_here(state) as fleet:
        found = fleet.registry.node(name)
        where = fleet.group(found["cluster"]) if found["cluster"] else found["name"]
        given = {"rackstead_host": where, "microk8s_nodes": [found["name"]]}
        title = "Comparing" if check else "Installing"
        hosts = fleet.hosts(become=become)
        outcome = job.play("add_node", title, given, hosts=hosts, check=check, narrate=True)
        return ended(job, outcome, check, found["name"], "node")


# -- doing it --------------------------------------------------------------------------------------
def act(job: Command, verb: str, name: str, variables: Mapping[str, Any], how: How) -> int:
    """Ask where workloads stop; then do it, or queue a job. Variables that are None are not set."""
    from .fleet.actions import action

    what = action(verb)
    given = {key: value for key, value in variables.items() if value is not None}
    with fleet_of(job, how.state) as fleet:
        found = str(fleet.registry.cluster(name)["name"])
        if not how.check and what.danger and not (how.yes or agreed(job, fleet, what, found)):
            job.terminal.note("nothing was done")
            return job.end(Exit.FAILED, [])
        if how.become and (how.detach or job.choice):
            raise BadUsage("--become: a job takes it from the registry; rackstead node change NODE --become sets it")
        if how.detach:
            return queued(job, fleet, verb, found, given, how)
        return done(job, fleet, verb, found, given, how)


@contextmanager
def fleet_of(job: Command, state: str) -> Iterator[Fleet | RemoteFleet]:
    """Of the server that is meant, or of this machine."""
    if job.choice:
        from .remote.fleet import RemoteFleet
        from .remote.service import connected

        if state:
            raise BadUsage("--state: the server has its own; leave it out, or give --local")
        with connected(job.choice) as remote:
            remote.client.tell = job.terminal.note
            yield RemoteFleet(remote)
        return
    with fleet_here(state) as fleet:
        yield fleet


@contextmanager
def fleet_here(state: str) -> Iterator[Fleet]:
    from .fleet.service import Fleet

    with cli_jobs.jobs(state, "") as service:
        yield Fleet(service, *cli_jobs.who())


def agreed(job: Command, fleet: Fleet | RemoteFleet, what: Action, name: str) -> bool:
    """Say what will happen, and ask. Raises BadUsage where nobody is there to ask, and Conflict without nodes."""
    fleet.group(name)
    if not job.terminal.interactive:
        asks = f"{name}: workloads stop or move, and there is no terminal to ask on"
        raise BadUsage(f"{asks}; --yes does it without asking, --check shows it")
    job.terminal.note(f"{what.doing} {name}. Workloads: {what.workloads}.")
    for number, line in enumerate(what.steps(fleet.drawn(name)), 1):
        job.terminal.note(f"  {number}. {line}")
    return job.terminal.confirm("Go on?")


def queued(job: Command, fleet: Fleet | RemoteFleet, verb: str, name: str, given: Mapping[str, Any], how: How) -> int:
    """Leave it to a worker. Raises BadUsage for what a job is not told."""
    if job.variable_files:
        raise BadUsage("-e: a job is not told files of variables; allowed: key=value, a JSON object")
    found = fleet.act(name, verb, {**job.variables, **given}, check=how.check)
    if not fleet.jobs.alive():
        job.terminal.note("no worker is running: rackstead worker starts one")
    job.terminal.show(found.id)
    return job.end(Exit.OK, [], {"job": found.public()})


def done(job: Command, fleet: Fleet | RemoteFleet, verb: str, name: str, given: Mapping[str, Any], how: How) -> int:
    from .fleet.actions import ACTIONS
    from .fleet.service import Fleet, keep_scan

    what = ACTIONS[verb]
    variables = {**what.variables, **given}
    flags: dict[str, Any] = {"check": how.check, "diff": how.diff, "narrate": what.workflow != "scan"}
    if isinstance(fleet, Fleet):
        variables["rackstead_host"] = fleet.group(name)
        flags["hosts"] = fleet.hosts(become=how.become)
    else:
        flags["submit"] = fleet.submitting(name, verb)
    outcome = job.play(what.workflow, "Comparing" if how.check else what.doing, variables, **flags)
    if what.workflow == "troubleshoot":
        return troubles(job, outcome, name)
    if what.workflow != "scan":
        return ended(job, outcome, how.check, name, "cluster")
    if isinstance(fleet, Fleet):
        keep_scan(fleet.registry, outcome.results)
    return looked(job, outcome, {"cluster": name})


def ended(job: Command, outcome: Outcome, check: bool, name: str, kind: str) -> int:
    job.terminal.show(*answers.messages(outcome))
    changed = answers.changed(outcome)
    if answers.exit_code(outcome) == Exit.OK:
        word = "would change" if check else "was changed"
        job.terminal.show(f"{name}: {word if changed else 'nothing to do'}")
    return job.finish(view_fleet.named(outcome), {kind: name, "changed": changed})


def troubles(job: Command, outcome: Outcome, name: str) -> int:
    """The findings, and where the archive is. What some node could not do is among them."""
    packed = [one.result for one in outcome.of("microk8s_inspect") if one.status == "ok" and "text" in one.result]
    if not packed:
        return job.finish(view_fleet.named(outcome), {"cluster": name})
    job.terminal.show(packed[-1]["text"].rstrip(), f"all of it is in {packed[-1]['archive']}")
    content = {key: packed[-1][key] for key in ("archive", "findings")}
    return job.end(Exit.OK, [], {"cluster": name, **content})


def looked(job: Command, outcome: Outcome, content: Mapping[str, Any]) -> int:
    found = view_fleet.scanned(outcome)
    if found:
        job.terminal.show(view_fleet.scan(found), *view_fleet.findings(found))
    code = answers.exit_code(outcome)
    if code == Exit.OK and any(one["severity"] == "critical" for node in found for one in node["findings"]):
        code = Exit.FAILED
    return job.finish(view_fleet.named(outcome), {**content, "nodes": found}, code)
