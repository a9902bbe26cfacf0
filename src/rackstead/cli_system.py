# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``system``: what hosts have of what they need, and what users may do there as root."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.hosts import Host, read_hosts

from . import answers
from .answers import Exit
from .blocks import STYLE
from .options import BadUsage, Job, command
from .run import Outcome
from .view_system import privileges_lines, privileges_table, reports_table, summary_lines

if TYPE_CHECKING:
    from .answers import Record

system = typer.Typer(
    help="Hosts: what they have of what a node needs, and what users may do there as root.",
    epilog="Example: rackstead system check-prerequisites -i hosts.ini",
    **STYLE,
)
#: The role's task that fails where a host is not ready. The table says the same.
NOT_READY = "Require that the host is ready"
NOT_AS_WANTED = "Require what was wanted"
#: What a server can be told of a host of an inventory; the rest of it stays here.
TOLD = ("ansible_host", "ansible_user", "ansible_port", "ansible_connection")
#: Variables without which a host would not be reached, and which a server is not told.
KEPT = ("ansible_ssh_private_key_file", "ansible_password", "ansible_ssh_pass", "ansible_ssh_common_args")
#: How inventory files end, beside those that have no ending.
FILES = (".ini", ".cfg", ".yml", ".yaml", ".json")
#: Seconds in which an inventory must be read.
PATIENCE = 120

Inventory = Annotated[
    str | None,
    typer.Option(
        "--inventory",
        "-i",
        metavar="HOSTS",
        help="An inventory file, or hosts with commas between: [NAME=][USER@]ADDRESS[:PORT]. (default: this machine)",
        show_default=False,
    ),
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--limit", "-l", metavar="PATTERN", help="Only these hosts of the inventory file.", show_default=False
    ),
]
Become = Annotated[bool, typer.Option("--become", "-b", help="Become root on the hosts, by sudo.")]
Check = Annotated[bool, typer.Option("--check", "--dry-run", help="Show what would be done, and do nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show the differences line by line.")]
Full = Annotated[bool, typer.Option("--full", help="Show what passes, too.")]
User = Annotated[str, typer.Option("--user", "-u", metavar="USER", help="The user.", show_default=False)]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="COMMAND",
        help="A command: its absolute path and arguments; ... at the end stands for whatever follows. Repeatable. "
        "(default: what somebody needs who looks after a MicroK8s node)",
        show_default=False,
    ),
]
Everything = Annotated[bool, typer.Option("--everything", help="Everything, in place of a list of commands.")]
Password = Annotated[bool, typer.Option("--password", help="sudo asks for the user's password.")]


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(system, name="system", rich_help_panel=panel)


@dataclass(frozen=True)
class Where:
    """Hosts, as a playbook takes them: in variables, or in an inventory of this machine."""

    variables: Mapping[str, Any]
    inventory: str = ""


def where(job: Job, given: str | None, limit: str | None, become: bool) -> Where:
    """The hosts that the options mean."""
    common = {"system_become": become or None}
    if given is None:
        if limit:
            raise BadUsage("--limit: goes with an inventory file, which -i names")
        if job.choice:
            raise BadUsage(
                f"-i: name the hosts that the server ({job.choice.url}) is to work on; --local works on this machine"
            )
        return Where(common)
    path = Path(given).expanduser()
    if not (path.exists() or looks_like_a_file(given)):
        if limit:
            raise BadUsage("--limit: goes with an inventory file, which -i names")
        words = [word.strip() for word in given.split(",") if word.strip()]
        return Where({**common, "system_hosts": [one.word for one in read_hosts(words, "-i")]})
    if not path.exists():
        raise BadUsage(f'-i: inventory "{given}" does not exist')
    if job.choice:
        return Where({**common, "system_hosts": [one.word for one in listed(path, limit)]})
    return Where({**common, "rackstead_host": limit or "all"}, str(path.absolute()))


def looks_like_a_file(text: str) -> bool:
    """Whether a path is meant, though there is none."""
    return "," not in text and ((os.sep in text and "://" not in text) or text.endswith(FILES))


# -- an inventory for a server ----------------------------------------------------------------------
def listed(path: Path, limit: str | None) -> list[Host]:
    """The hosts of an inventory, as a server can be told of them. Raises InvalidInput."""
    argv = ["ansible-inventory", "-i", str(path), "--list", *(["--limit", limit] if limit else [])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False)
    try:
        document = json.loads(done.stdout) if done.returncode == 0 else {}
    except ValueError:
        document = {}
    hosts = document.get("_meta", {}).get("hostvars", {})
    names = [name for name in names_of(document) if name != "localhost"]
    if not names:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise InvalidInput([f"-i: {path} names no host; {said[-1] if said else 'it is empty'}"])
    return told(path, {name: {key: bare(value) for key, value in hosts.get(name, {}).items()} for name in names})


def bare(value: Any) -> Any:
    """A variable without the mark that ``ansible-inventory`` puts on text that is no template."""
    return value.get("__ansible_unsafe", value) if isinstance(value, dict) else value


def names_of(document: Mapping[str, Any]) -> list[str]:
    """All hosts in what ``ansible-inventory --list`` prints, in its order."""
    groups = [one for name, one in document.items() if name != "_meta" and isinstance(one, dict)]
    return list(dict.fromkeys(host for group in groups for host in group.get("hosts", ())))


def told(path: Path, hosts: Mapping[str, Mapping[str, Any]]) -> list[Host]:
    """Hosts by the variables that a server is told. Raises InvalidInput where that would not do."""
    lines = [
        f"-i: {path}: {name}: {key} is not sent to a server, which has SSH keys of its own; leave it out, or give --local"
        for name, variables in hosts.items()
        for key in KEPT
        if key in variables
    ]
    schemes = {"ssh": "ssh", "smart": "ssh", "ansible.builtin.ssh": "ssh", "rackstead.infra.instance": "incus"}
    found = []
    for name, given in hosts.items():
        connection = str(given.get("ansible_connection", "ssh"))
        if connection not in schemes:
            lines.append(f'-i: {path}: {name}: ansible_connection "{connection}" does not go through a server')
            continue
        address = str(given.get("ansible_host", name))
        port = int(given.get("ansible_port", 0) or 0)
        found.append(Host(name, address, str(given.get("ansible_user", "")), port, schemes[connection]))
    if lines:
        raise InvalidInput(lines)
    return read_hosts([one.word for one in found], f"-i: {path}")


# -- prerequisites ----------------------------------------------------------------------------------
@command(
    system, name="check-prerequisites", epilog="Example: rackstead system check-prerequisites -i node1,pi@node2 -b"
)
def check_prerequisites(
    job: Job, inventory: Inventory = None, limit: Limit = None, become: Become = False, full: Full = False
) -> int:
    """Look at what hosts have of what a node needs. Changes nothing.

    Requirements can be set with -e, such as -e '{"system_requirements": {"memory": "4GiB", "resolve": []}}'.
    """
    hosts = where(job, inventory, limit, become)
    outcome = job.play("check_prerequisites", "Looking", hosts.variables, inventory=hosts.inventory)
    return show_reports(job, outcome, full=full)


@command(system, name="install-prerequisites", epilog="Example: rackstead system install-prerequisites -i hosts.ini -b")
def install_prerequisites(
    job: Job,
    inventory: Inventory = None,
    limit: Limit = None,
    become: Become = False,
    check: Check = False,
    diff: Diff = False,
    full: Full = False,
) -> int:
    """Mend what hosts lack and what can be mended, and look again. Never boots a host."""
    hosts = where(job, inventory, limit, become)
    title = "Comparing" if check else "Installing"
    outcome = job.play(
        "install_prerequisites", title, hosts.variables, check=check, diff=diff, inventory=hosts.inventory
    )
    return show_reports(job, outcome, full=full, predict=check)


def show_reports(job: Job, outcome: Outcome, *, full: bool, predict: bool = False) -> int:
    found = facts(outcome, "prerequisites_report")
    if found:
        job.terminal.show(reports_table(found, full=full))
        job.terminal.show(*summary_lines(found, predict=predict))
    content = {"changed": answers.changed(outcome), "hosts": found}
    return job.end(answers.exit_code(outcome), errors(job, outcome, NOT_READY), content)


def facts(outcome: Outcome, name: str) -> list[Record]:
    """What each host set as its answer, the last time, by the hosts' names."""
    found: dict[str, Record] = {}
    for one in outcome.results:
        given = one.result.get("ansible_facts")
        if isinstance(given, Mapping) and name in given:
            found[one.host] = given[name]
    return [found[host] for host in sorted(found)]


def errors(job: Job, outcome: Outcome, told_already: str) -> list[str]:
    """A line for each thing that went wrong, with its host; without what a table has told."""
    if not outcome.failures:
        return answers.errors(outcome)
    lines = []
    for one in outcome.failures:
        if one.task.endswith(told_already) and not job.terminal.as_json:
            continue
        head = "" if one.host == "localhost" else f"{one.host}: "
        said = answers.errors(Outcome(outcome.rc, [one]))
        lines += [line if line.startswith(head) else f"{head}{line}" for line in said]
    return list(dict.fromkeys(lines))


# -- privileges -------------------------------------------------------------------------------------
def wanted(user: str, allow: Sequence[str] | None, everything: bool, password: bool) -> dict[str, Any]:
    if everything and allow:
        raise BadUsage("--everything: goes without --allow")
    return {
        "system_user": user,
        "system_commands": list(allow) if allow else None,
        "system_everything": everything or None,
        "system_password": password or None,
    }


@command(
    system,
    name="setup-privileges",
    epilog='Example: rackstead system setup-privileges -i hosts.ini -b -u operator --allow "/usr/bin/snap list"',
)
def setup_privileges(
    job: Job,
    user: User,
    inventory: Inventory = None,
    limit: Limit = None,
    become: Become = False,
    allow: Allow = None,
    everything: Everything = False,
    password: Password = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
    check: Check = False,
    diff: Diff = False,
) -> int:
    """Let a user run a list of commands as root on hosts."""
    if remove and (allow or everything):
        raise BadUsage("--remove: goes without --allow and --everything")
    hosts = where(job, inventory, limit, become)
    variables = {**hosts.variables, **wanted(user, allow, everything, password), "system_remove": remove or None}
    title = "Comparing" if check else "Setting up"
    outcome = job.play("setup_privileges", title, variables, check=check, diff=diff, inventory=hosts.inventory)
    done = by_host(outcome, "privileges")
    for line in privileges_lines(done, user, check=check, diff=diff):
        job.terminal.show(line)
    content = {"changed": answers.changed(outcome), "hosts": done}
    return job.end(answers.exit_code(outcome), errors(job, outcome, "-"), content)


@command(
    system, name="check-privileges", epilog="Example: rackstead system check-privileges -i hosts.ini -b -u operator"
)
def check_privileges(
    job: Job,
    user: User,
    inventory: Inventory = None,
    limit: Limit = None,
    become: Become = False,
    allow: Allow = None,
    everything: Everything = False,
    password: Password = False,
) -> int:
    """Say what a user may not run as root and should, and what beside it. Changes nothing."""
    hosts = where(job, inventory, limit, become)
    variables = {**hosts.variables, **wanted(user, allow, everything, password)}
    outcome = job.play("check_privileges", "Asking sudo", variables, inventory=hosts.inventory)
    found = by_host(outcome, "privileges_info")
    if found:
        job.terminal.show(privileges_table(found))
    code = answers.exit_code(outcome)
    return job.end(code, errors(job, outcome, NOT_AS_WANTED), {"ok": code == Exit.OK, "hosts": found})


def by_host(outcome: Outcome, module: str) -> list[Record]:
    """What tasks of a module returned, each with its host, failures left out."""
    found = [
        {"host": one.host, **{key: value for key, value in one.result.items() if not key.startswith("_")}}
        for one in outcome.of(module)
        if one.status == "ok" and not one.result.get("skipped")
    ]
    return sorted(found, key=lambda one: str(one["host"]))
