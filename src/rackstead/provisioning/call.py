# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provisions servers and waits for the end: on this machine, or as a job where a server is set.

The command line and the Python function are thin over ``carried_out``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    InvalidInput,
    OperationFailed,
    Unreachable,
)
from rich.console import Console

from .. import answers, view_provisioning
from ..answers import Exit
from ..options import Job as Command
from ..run import Outcome
from ..terminal import Terminal
from .live import Board, Tell, merged, names_of, of_results
from .orders import WORKFLOW, Entry, checked, entry
from .progress import Server
from .service import How, variables_of


@dataclass(frozen=True)
class Provisioned:
    """How it went: the servers as they are now, and what the run said."""

    outcome: Outcome
    servers: list[Server]


def carried_out(told: Command, servers: Sequence[Entry], how: How, tell: Tell = lambda _step: None) -> Provisioned:
    """Provision these servers, showing how it goes. ``tell`` is called with each step as it begins and ends."""
    variables = variables_of(servers, how)
    board = Board(names_of(servers), view_provisioning.picture, tell)
    title = "Looking at servers" if how.dry_run else "Provisioning"
    playbook, forks, told = _playbook(told)
    flags: dict[str, Any] = {"check": how.dry_run, "diff": how.dry_run, "narrate": True}
    outcome = told.play(playbook, title, variables, rows=board, forks=forks, **flags)
    return Provisioned(outcome, merged(board.servers, of_results(outcome.results)))


def _playbook(told: Command) -> tuple[str, int, Command]:
    """What is to be run: by a server its workflow, here the playbook with this machine's own variables for it."""
    if told.choice:
        return WORKFLOW, 0, told
    from dataclasses import replace

    from ..jobs.workflows import Catalog, site_files

    workflow = Catalog().get(WORKFLOW)
    files = (*site_files(WORKFLOW), *told.variable_files)
    return workflow.playbook, workflow.forks, replace(told, variable_files=files)


class Silent(Terminal):
    """A terminal that nobody looks at."""

    def __init__(self) -> None:
        super().__init__(as_json=True)
        self.out = self.err = Console(quiet=True)


def provision_server(
    *,
    server_id: str = "",
    device_type: str,
    target_ipmi_ip: str = "",
    rack_location: str = "",
    gateway: str = "",
    netmask: str = "",
    tags: Sequence[str] = (),
    hostname: str = "",
    mac: str = "",
    from_step: str = "",
    only_steps: Sequence[str] = (),
    dry_run: bool = False,
    variables: Mapping[str, Any] | None = None,
    server: str = "",
    local: bool = False,
    progress_callback: Tell | None = None,
) -> dict[str, Any]:
    """Provision a server as ``rackstead provision`` does, and return how it is: what ``status`` tells of it.

    The server is named by ``server_id``, ``hostname`` or ``mac``. ``variables`` are further ones of the workflow.
    It goes through a server where one is set, or named by ``server``, unless ``local``.
    ``progress_callback`` is called in this thread with each step as it begins and ends: a mapping with server_id,
    step, total_steps, step_name, status (running, done, failed, skipped), seconds, attempts, error and outputs.
    What it raises ends the run. Raises InvalidInput, Unreachable, or OperationFailed where a step has failed.
    """
    from ..remote.config import choose

    given = {"server_id": server_id, "device_type": device_type, "target_ipmi_ip": target_ipmi_ip, "mac": mac}
    given |= {"rack_location": rack_location, "gateway": gateway, "netmask": netmask, "hostname": hostname}
    servers = checked([entry({**given, "tags": list(tags)})])
    how = How(dry_run, from_step, tuple(only_steps), dict(variables or {}))
    told = Command("provision", Silent(), choice=choose(server, "", local))
    done = carried_out(told, servers, how, progress_callback or (lambda _step: None))
    _raise_what_failed(done.outcome)
    return done.servers[0].document()


def _raise_what_failed(outcome: Outcome) -> None:
    code, lines = answers.exit_code(outcome), answers.errors(outcome)
    if code == Exit.USAGE:
        raise InvalidInput(lines)
    if code == Exit.UNREACHABLE:
        raise Unreachable("; ".join(lines))
    if code != Exit.OK:
        raise OperationFailed("; ".join(lines))
