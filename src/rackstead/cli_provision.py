# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``provision``: servers from a rack to tagged machines, in seven steps each."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from . import answers, completing
from .answers import Exit
from .blocks import STYLE, Block, Place, Where, registered, server_of
from .cli_jobs import jobs, who
from .options import EXTRA, BadUsage, extra_variables
from .options import Job as Command
from .run import Outcome

if TYPE_CHECKING:
    from .provisioning.orders import Entry
    from .provisioning.progress import Server
    from .provisioning.service import How, Provisioning
    from .remote.provisioning import RemoteProvisioning

    Service = Provisioning | RemoteProvisioning

#: The command that is meant where the first word names none.
USUAL = "run"
#: What the playbook says of a server that was ordered.
ENTRY = re.compile(r"servers\[(\d+)\][.:] *")
USAGE = "rackstead provision SERVER DEVICE_TYPE [BMC_ADDRESS]"


class OrServer(TyperGroup):
    """A group whose first word may be a server: then the command ``run`` is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, *ctx.help_option_names}
        if args and args[0] not in known:
            args = [USUAL, *args]
        return super().parse_args(ctx, args)


provision = typer.Typer(
    cls=OrServer,
    help=f"Take servers from a rack to tagged machines, in seven steps: {USAGE}. The word run may be left out.",
    epilog="Example: rackstead provision machine-123 s2.c2.small 192.168.100.50 --rack-location Rack-A-U10\n\n"
    "Example: rackstead provision --batch servers.csv --dry-run",
    **STYLE,
)


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(provision, name="provision", rich_help_panel=panel)


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


def _argument(metavar: str, text: str) -> Any:
    return typer.Argument(metavar=metavar, help=text, show_default=False)


@dataclass(frozen=True)
class One(Block):
    """What one server is to become."""

    rack_location: Annotated[str, _option("--rack-location", "TEXT", "Where it stands, such as Rack-A-U10.")] = ""
    gateway: Annotated[str, _option("--gateway", "ADDRESS", "The BMC's gateway.")] = ""
    netmask: Annotated[str, _option("--netmask", "MASK", "The BMC's netmask.")] = ""
    tags: Annotated[list[str] | None, _option("--tag", "TAG", "Tag it in MAAS. Repeatable.")] = None

    def entry(self, server: str, device_type: str, address: str) -> Entry:
        from .provisioning.orders import entry

        given = {"server_id": server, "device_type": device_type, "target_ipmi_ip": address, "tags": self.tags}
        return entry({**given, **{name: getattr(self, name) for name in ("rack_location", "gateway", "netmask")}})


@dataclass(frozen=True)
class Steps(Block):
    """Which of the seven steps, and with what."""

    from_step: Annotated[str, _option("--from-step", "STEP", "Begin with this step.")] = ""
    only_steps: Annotated[
        list[str] | None, _option("--only-steps", "STEP", "These steps only. Repeatable, or separated by commas.")
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--check", help="Show BIOS settings, network and tags that would change.")
    ] = False
    device_types: Annotated[
        str, _option("--device-types", "FILE", "The device types, device_mappings.yaml. At a server, a file there.")
    ] = ""
    extra: Annotated[list[str] | None, EXTRA] = None
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Show Ansible's own output.", show_default=False)
    ] = 0

    def how(self, *, here: bool) -> How:
        from .provisioning.service import How

        path = str(Path(self.device_types).expanduser().absolute()) if here else self.device_types
        given = {"provision_device_types": path} if self.device_types else {}
        return How(self.dry_run, self.from_step, tuple(self.only_steps or ()), given)


@registered(provision, f"provision {USUAL}", epilog=f"Example: {USAGE} --dry-run")
def run(
    told: Command,
    one: One,
    steps: Steps,
    place: Where,
    machine: Annotated[str, _argument("SERVER", "MAAS's system ID of it, its hostname or a MAC address.")] = "",
    device_type: Annotated[str, _argument("DEVICE_TYPE", "What it is to become, such as s2.c2.small.")] = "",
    address: Annotated[
        str, _argument("BMC_ADDRESS", "Address for its BMC, or pool:NAME. Without it the BMC stays where it is.")
    ] = "",
    batch: Annotated[str, _option("--batch", "FILE", "Several servers: a CSV file, or - for standard input.")] = "",
) -> int:
    """Provision a server, or several. Run again, it goes on where it stopped."""
    from .provisioning.call import carried_out

    told = command_of(told, steps, place)
    how = steps.how(here=told.choice is None)
    servers = with_steps_checked(how, lambda: chosen(one, machine, device_type, address, batch))
    done = carried_out(told, servers, how)
    return show(told, done.outcome, done.servers, dry_run=steps.dry_run)


def with_steps_checked(how: How, read: Callable[[], list[Entry]]) -> list[Entry]:
    """What ``read`` gives, if the steps are good too. Raises InvalidInput with the faults of both."""
    from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput

    from .provisioning.service import variables_of

    faults: list[str] = []
    servers: list[Entry] = []
    try:
        servers = read()
    except InvalidInput as error:
        faults += error.problems
    try:
        variables_of(servers, how)
    except InvalidInput as error:
        faults += error.problems
    if faults:
        raise InvalidInput(faults)
    return servers


def chosen(one: One, server: str, device_type: str, address: str, batch: str) -> list[Entry]:
    """The servers that are meant, checked. Raises InvalidInput with a line for each fault."""
    from .provisioning.orders import checked

    if not batch:
        if not server or not device_type:
            raise BadUsage(f"name a server and what it is to become, or give --batch: {USAGE}")
        return checked([one.entry(server, device_type, address)])
    if server or one != One():
        raise BadUsage("--batch: goes with no other server, nor with options of one; those are columns of the file")
    return of_file(batch)


def of_file(name: str) -> list[Entry]:
    from .provisioning.orders import read_file

    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).expanduser().read_bytes()
    except OSError as error:
        raise BadUsage(f'--batch: "{name}" cannot be read: {error.strerror}') from error
    return read_file(data, "standard input" if name == "-" else name)


def command_of(told: Command, steps: Steps, place: Where) -> Command:
    """The command with what every playbook of it gets."""
    variables, files = extra_variables(steps.extra or [])
    environment = {"RACKSTEAD_STATE": place.state} if place.state else {}
    found = replace(told, command="provision", verbose=steps.verbose, environment=environment, choice=place.choice())
    return replace(found, variables=variables, variable_files=files)


def show(told: Command, outcome: Outcome, servers: Sequence[Server], *, dry_run: bool) -> int:
    """What changes or has changed, how far each server is, and what went wrong."""
    from . import view_provisioning as view

    if answers.exit_code(outcome) != Exit.USAGE:
        told.terminal.show(*view.changes_of(servers, several=len(servers) > 1) if dry_run else ())
        told.terminal.show("", view.servers_table(servers, short=True), view.summary(servers, check=dry_run))
    content = {"changed": answers.changed(outcome), "servers": [one.document() for one in servers]}
    return told.end(answers.exit_code(outcome), errors_of(outcome, servers), content)


def errors_of(outcome: Outcome, servers: Sequence[Server]) -> list[str]:
    """What went wrong, each of a server with its name; then what is no server's."""
    failed = [one for one in servers if one.reason]
    named = [one.reason if _names(one) else f"{one.id}: {one.reason}" for one in failed]
    reasons = [one.reason for one in failed]
    return named + [_with_name(line, servers) for line in answers.errors(outcome) if line not in reasons]


def _names(server: Server) -> bool:
    """Whether the reason why a server failed says whose it is."""
    return any(name in server.reason for name in (server.id, server.hostname) if name)


def _with_name(line: str, servers: Sequence[Server]) -> str:
    """A complaint about an entry of the order, with the server's name in place of its number."""
    found = ENTRY.match(line)
    if not found or int(found[1]) >= len(servers):
        return line
    return f"{servers[int(found[1])].id}: {line[found.end() :]}"


# -- looking, cancelling ----------------------------------------------------------------------------
Name = Annotated[
    str,
    typer.Argument(
        metavar="SERVER|JOB", help="A server by any of its names, or a job's id.", autocompletion=completing.servers
    ),
]


@contextmanager
def reached(place: Place, told: Command) -> Iterator[Service]:
    """Provisioning at the server that is meant, or on this machine."""
    with server_of(place, told) as remote:
        if remote:
            from .remote.provisioning import RemoteProvisioning

            yield RemoteProvisioning(remote.client)
            return
        from .provisioning.service import Provisioning

        with jobs(place.state, place.data) as here:
            yield Provisioning(here)


@registered(provision, "provision list", epilog="Example: rackstead provision list --state-of failed")
def list_(
    told: Command,
    place: Place,
    states: Annotated[
        list[str] | None, _option("--state-of", "STATE", "Only servers in this state. Repeatable.")
    ] = None,
    number: Annotated[int, typer.Option("--lines", "-n", min=1, max=500, metavar="N", help="At most so many.")] = 50,
) -> int:
    """Servers and how far they are, those that something happens to first."""
    from . import view_provisioning as view
    from .provisioning.progress import SERVER_STATES

    for text in states or ():
        if text not in SERVER_STATES:
            raise BadUsage(f'--state-of: "{text}" is not a state; allowed: {", ".join(SERVER_STATES)}')
    with reached(place, told) as service:
        found = service.every(number, lambda one: not states or one.state in states)
    told.terminal.show(view.servers_table(found))
    return told.end(Exit.OK, [], {"servers": [one.document(brief=True) for one in found]})


@registered(provision, "provision status", epilog="Example: rackstead provision status machine-123")
def status(
    told: Command,
    name: Name,
    place: Place,
) -> int:
    """All about a server, or how far a job's servers are."""
    from . import view_provisioning as view

    with reached(place, told) as service:
        found = service.status(name)
    if len(found.servers) == 1:
        told.terminal.show(view.server_lines(found.servers[0]))
    else:
        told.terminal.show(view.servers_table(found.servers))
    return told.end(Exit.OK, [], {"status": found.document()})


@registered(provision, "provision cancel", epilog="Example: rackstead provision cancel machine-123")
def cancel(told: Command, name: Name, place: Place) -> int:
    """End the job that provisions a server, for all servers of that job. What was done stays."""
    with reached(place, told) as service:
        found = service.cancel(name, *who())
    told.terminal.show(f"{found.id}: {'cancelled' if found.state.final else 'being ended'}")
    return told.end(Exit.OK, [], {"job": found.public()})
