# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that every command has, and the job that a command works with."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import answers
from .answers import Exit
from .run import Outcome, Request, run
from .terminal import Rows, Spectator, Terminal

if TYPE_CHECKING:
    from .remote.config import Choice

#: Headings in the help of a command.
CONNECTION, SERVER = "Incus", "Server and state"


def _connection(name: str, metavar: str, text: str) -> Any:
    variable = f"RACKSTEAD_{name.strip('-').replace('-', '_').upper()}"
    return typer.Option(
        name, metavar=metavar, help=f"{text} ({variable})", show_default=False, rich_help_panel=CONNECTION
    )


def place_option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, rich_help_panel=SERVER)


EXTRA = typer.Option(
    "-e", "--extra-vars", metavar="VARS", help="Variables: key=value, JSON or @file. Repeatable.", show_default=False
)
JSON = typer.Option("--json", help="Print one JSON document on standard output.")
ON_SERVER = place_option("--server", "URL", "Do it through this server. (RACKSTEAD_SERVER)")
SERVER_CA = place_option("--server-ca", "FILE", "CA certificate to verify the server with. (RACKSTEAD_SERVER_CA)")
HERE = typer.Option("--local", help="Do it on this machine, also where a server is set.", rich_help_panel=SERVER)

COMMON: dict[str, tuple[Any, Any]] = {
    "extra": (list[str] | None, EXTRA),
    "as_json": (bool, JSON),
    "verbose": (
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            help="Show Ansible's own output; -vv and more for more of it.",
            show_default=False,
        ),
    ),
    "url": (str | None, _connection("--url", "URL", "unix:///path/to/socket or https://host:8443.")),
    "project": (str | None, _connection("--project", "NAME", "Incus project to work in.")),
    "client_cert": (Path | None, _connection("--client-cert", "FILE", "Client certificate (PEM).")),
    "client_key": (Path | None, _connection("--client-key", "FILE", "The certificate's private key (PEM).")),
    "server_fingerprint": (
        str | None,
        _connection("--server-fingerprint", "HEX", "SHA-256 of the server's certificate, to pin it."),
    ),
    "ca_cert": (Path | None, _connection("--ca-cert", "FILE", "CA certificate to verify Incus with.")),
    "server": (str | None, ON_SERVER),
    "server_ca": (str | None, SERVER_CA),
    "local": (bool, HERE),
}
ENVIRONMENT = ("url", "project", "client_cert", "client_key", "server_fingerprint", "ca_cert")


class BadUsage(typer.BadParameter):
    """What the user asked for cannot be meant; told as it stands, without more words around it."""

    def format_message(self) -> str:
        return self.message


@dataclass
class Job:
    """One invocation of a command: where to print, and what every playbook of it gets."""

    command: str
    terminal: Terminal
    verbose: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    variable_files: tuple[Path, ...] = ()
    #: the server that is to do it, or None: this machine
    choice: Choice | None = None

    def play(
        self,
        playbook: str,
        title: str,
        variables: Mapping[str, Any],
        *,
        check: bool = False,
        diff: bool = False,
        narrate: bool = False,
        rows: Rows | None = None,
        forks: int = 0,
        inventory: str = "",
        hosts: Mapping[str, Any] | None = None,
        **at_a_server: Any,
    ) -> Outcome:
        """Run a playbook, showing how it goes. Variables that are None are not set.

        ``inventory`` is the path of one, and ``hosts`` are groups of one, for what is done from this machine.
        ``at_a_server`` are further arguments of ``remote.play.play``.
        """
        flags: dict[str, Any] = {"check": check, "diff": diff, "forks": forks, "inventory": inventory}
        request = self._request(playbook, variables, **flags, hosts=hosts or {})
        if self.choice:
            from .remote.play import play

            return play(
                self.choice, request, title, self.terminal, verbose=bool(self.verbose), rows=rows, **at_a_server
            )
        shown: dict[str, Any] = {"narrate": narrate, "verbose": bool(self.verbose), "rows": rows}
        with Spectator(self.terminal, title, **shown) as spectator:
            return run(request, spectator.listen, spectator.follow)

    def quietly(self, playbook: str, variables: Mapping[str, Any]) -> Outcome:
        """Run a playbook and show nothing of it."""
        return run(self._request(playbook, variables), lambda _event: None)

    def _request(self, playbook: str, variables: Mapping[str, Any], **flags: Any) -> Request:
        given = {name: value for name, value in variables.items() if value is not None}
        return Request(
            playbook,
            given,
            self.variables,
            self.environment,
            self.variable_files,
            verbosity=max(0, self.verbose - 1),
            **flags,
        )

    def finish(self, outcome: Outcome, content: Mapping[str, Any], code: Exit | None = None) -> int:
        """Say what went wrong, print the JSON document if that is wanted, and give the exit code."""
        code = answers.exit_code(outcome) if code is None else code
        return self.end(code, answers.errors(outcome), content)

    def end(self, code: int, errors: list[str], content: Mapping[str, Any] | None = None) -> int:
        self.terminal.error(errors)
        if self.terminal.as_json:
            head = {"command": self.command, "ok": code == Exit.OK, "exit_code": int(code), "errors": errors}
            self.terminal.document({**(content or {}), **head})
        return code


def job_of(command: str, given: dict[str, Any]) -> Job:
    """Take the common options out of what a command was called with."""
    common = {name: given.pop(name) for name in COMMON}
    found = {name: common[name] for name in ENVIRONMENT if common[name]}
    environment = {
        f"RACKSTEAD_{name.upper()}": os.path.abspath(value.expanduser()) if isinstance(value, Path) else str(value)
        for name, value in found.items()
    }
    variables, files = extra_variables(common["extra"] or [])
    terminal = Terminal(as_json=common["as_json"])
    return Job(command, terminal, common["verbose"], environment, variables, files, chosen(command, common))


#: Commands that are about this machine, whichever server is set.
ABOUT_HERE = ("version",)


def chosen(command: str, common: Mapping[str, Any]) -> Choice | None:
    """The server that a command is to go through."""
    if command in ABOUT_HERE:
        return None
    from .remote.config import choose

    return choose(common["server"] or "", common["server_ca"] or "", common["local"])


def not_through_a_server(job: Job, what: str) -> None:
    """Raises BadUsage where a server is set, for what can be done by this machine alone."""
    if job.choice:
        raise BadUsage(f"{what} does not go through a server ({job.choice.url}); give --local to do it here")


def guarded(told: Job, work: Callable[[], int]) -> int:
    from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
        Denied,
        InvalidInput,
        NotFound,
        RacksteadError,
        Unreachable,
    )

    try:
        return work()
    except RacksteadError as error:
        usage = isinstance(error, InvalidInput | NotFound)
        code = Exit.USAGE if usage else Exit.UNREACHABLE if isinstance(error, Unreachable | Denied) else Exit.FAILED
        return told.end(code, str(error).splitlines())


def extra_variables(given: list[str]) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """What ``-e`` brought: variables, and files of variables."""
    variables: dict[str, Any] = {}
    files: list[Path] = []
    for text in given:
        if text.startswith("@"):
            files.append(_variable_file(text[1:]))
        elif text.lstrip().startswith("{"):
            variables.update(_json_mapping(text))
        elif "=" in text and text.split("=", 1)[0].isidentifier():
            name, _equals, value = text.partition("=")
            variables[name] = value
        else:
            raise BadUsage(f'-e: "{text}" is not understood; allowed: key=value, a JSON object, @file')
    return variables, tuple(files)


def _variable_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise BadUsage(f'-e: file "{name}" does not exist')
    return path.absolute()


def _json_mapping(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadUsage(f"-e: not valid JSON: {error}") from error
    return dict(found)


def command(app: typer.Typer, **options: Any) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register ``function(job, …)`` as a command that has the common options too."""

    def register(function: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(function, eval_str=True)

        @functools.wraps(function)
        def wrapper(**given: Any) -> int:
            told = Job(function.__name__.rstrip("_"), Terminal(as_json=given["as_json"]))
            return guarded(told, lambda: function(job_of(told.command, given), **given))

        kept = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in list(own.parameters.values())[1:]
        ]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=_default(kind), annotation=Annotated[kind, option]
            )
            for name, (kind, option) in COMMON.items()
        ]
        wrapper.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in [*kept, *added]}
        del wrapper.__wrapped__
        return app.command(**options)(wrapper)

    return register


def _default(kind: Any) -> Any:
    return kind() if kind in (bool, int) else None
