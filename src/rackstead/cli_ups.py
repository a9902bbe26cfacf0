# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``ups``: UPSes of NUT's servers, asked from this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .answers import CODES, Exit
from .blocks import STYLE, Block, registered
from .options import BadUsage
from .options import Job as Command

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.client import Server
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.survey import Surveyed

EXAMPLE = "Example: rackstead ups status --host ups.example.com"
ups = typer.Typer(help="UPSes, as NUT's servers know them.", epilog=EXAMPLE, **STYLE)


@dataclass(frozen=True)
class Asked(Block):
    """How servers are asked."""

    tls: Annotated[bool, typer.Option("--tls", help="Go over to TLS first; a server without it is a failure.")] = False
    ca_cert: Annotated[
        str, typer.Option("--ca-cert", metavar="FILE", help="Authorities trusted with TLS.", show_default=False)
    ] = ""
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=3600, metavar="SECONDS", help="For each answer.")
    ] = 5.0


Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        "-H",
        metavar="HOST[:PORT]",
        help="A server. Repeatable. (RACKSTEAD_UPS_HOSTS, or localhost)",
        show_default=False,
    ),
]


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(ups, name="ups", rich_help_panel=panel)


def _over(server: Server, asked: Asked) -> Server:
    """The server, asked as the options say."""
    if asked.ca_cert and not asked.tls:
        raise BadUsage("--ca-cert is of no use without --tls")
    return replace(server, tls=asked.tls, ca_file=asked.ca_cert, timeout=asked.timeout)


def _servers(hosts: list[str] | None, asked: Asked) -> list[Server]:
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.watcher import read_server

    named = hosts or os.environ.get("RACKSTEAD_UPS_HOSTS", "").replace(",", " ").split() or ["localhost"]
    return list(dict.fromkeys(_over(read_server(one, "--host"), asked) for one in named))


def _survey(hosts: list[str] | None, asked: Asked, wanted: Sequence[str] = ()) -> list[Surveyed]:
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.survey import survey

    return survey(_servers(hosts, asked), wanted)


def _each(found: Sequence[Surveyed]) -> list[tuple[str, dict[str, Any]]]:
    """Every UPS, with its server."""
    return [(str(one.server), each) for one in found for each in one.upses]


def _end(told: Command, found: list[Surveyed], more: Mapping[str, Any] | None = None) -> int:
    """End with what servers answered; the first error's kind is the exit code."""
    errors = [one.error for one in found if one.error]
    codes = [CODES.get(type(error).__name__, Exit.FAILED) for error in errors]
    servers = [{"server": str(one.server), "upses": list(one.upses), "error": str(one.error or "")} for one in found]
    return told.end(
        codes[0] if codes else Exit.OK, [str(error) for error in errors], {"servers": servers, **(more or {})}
    )


def _table(*heads: str) -> Table:
    return Table(*heads, box=None, pad_edge=False, header_style="bold")


# -- commands --------------------------------------------------------------------------------------
@registered(ups, "ups scan", epilog="Example: rackstead ups scan --host nas --host ups.example.com")
def scan(told: Command, asked: Asked, host: Hosts = None) -> int:
    """Find UPSes: at this machine's USB ports, by NUT's scanner, and at servers."""
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.survey import scan_usb

    devices, note = scan_usb()
    if note:
        told.terminal.note(note)
    found = _survey(host, asked) if host or os.environ.get("RACKSTEAD_UPS_HOSTS") else []
    made = _table("UPS", "WHERE", "WHAT")
    for device in devices:
        what = " ".join(filter(None, (device.get("vendor"), device.get("product"), device.get("serial"))))
        made.add_row("", Text(f"{device['kind']}, driver {device['driver']}"), Text(what))
    for server, each in _each(found):
        made.add_row(Text(each["name"]), Text(server), Text(each["description"]))
    if made.row_count:
        told.terminal.show(made)
    return _end(told, found, {"devices": devices})


@registered(ups, "ups list", epilog="Example: rackstead ups list --host nas")
def list_(told: Command, asked: Asked, host: Hosts = None) -> int:
    """The UPSes that servers know, and the commands each of them takes."""
    found = _survey(host, asked)
    made = _table("UPS", "SERVER", "DESCRIPTION", "COMMANDS")
    for server, each in _each(found):
        made.add_row(Text(each["name"]), Text(server), Text(each["description"]), Text(" ".join(each["commands"])))
    told.terminal.show(made if made.row_count else Text("no UPSes", style="dim"))
    return _end(told, found)


@registered(ups, "ups status", epilog=EXAMPLE)
def status(
    told: Command,
    asked: Asked,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[UPS]...", help="Only these.", show_default=False)
    ] = None,
    host: Hosts = None,
) -> int:
    """What UPSes say of the mains and of themselves. A dead server holds up none of the others."""
    found = _survey(host, asked, names or ())
    made = _table("UPS", "SERVER", "STATUS", "CHARGE", "RUNTIME", "LOAD", "INPUT", "TEMPERATURE")
    for server, each in _each(found):
        numbers = [
            _number(each["charge_percent"], "%"),
            _runtime(each["runtime_seconds"]),
            _number(each["load_percent"], "%"),
            _number(each["input_volts"], "V"),
            _number(each["temperature_celsius"], "°C"),
        ]
        made.add_row(Text(each["name"]), Text(server), _words(each), *numbers)
    if made.row_count:
        told.terminal.show(made)
    return _end(told, found)


@registered(ups, "ups test", epilog="Example: RACKSTEAD_UPS_PASSWORD=… rackstead ups test rack1@nas --username admin")
def test(
    told: Command,
    asked: Asked,
    which: Annotated[str, typer.Argument(metavar="UPS@HOST[:PORT]", help="The UPS.", show_default=False)],
    username: Annotated[
        str,
        typer.Option(
            "--username", "-u", metavar="USER", help="Of upsd.users. (RACKSTEAD_UPS_USERNAME)", show_default=False
        ),
    ] = "",
    deep: Annotated[bool, typer.Option("--deep", help="Until the battery is low, not only a few seconds.")] = False,
    check: Annotated[bool, typer.Option("--check", "--dry-run", help="Only see whether the UPS can.")] = False,
) -> int:
    """Have a UPS test its battery. The password is taken from RACKSTEAD_UPS_PASSWORD."""
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.command import FALLBACKS, ensure_command
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.watcher import read_place

    place = read_place(which, "UPS")
    server = _over(place.server, asked)
    environment = {field: os.environ.get(variable, "") for field, variable in FALLBACKS.items()}
    params = {
        "host": server.host,
        "port": server.port,
        "tls": server.tls,
        "ca_cert": server.ca_file,
        "timeout": server.timeout,
        "ups": place.ups,
        "command": "test.battery.start.deep" if deep else "test.battery.start.quick",
        "value": "",
        "wait": 30.0,
        **environment,
        "username": username or environment["username"],
    }
    found = ensure_command(params, check=check)
    told.terminal.show(Text(f"{place}: {found['command']}: {found['outcome']}"))
    return told.end(Exit.OK, [], found)


# -- words -----------------------------------------------------------------------------------------
def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}"


def _runtime(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60} min {int(seconds) % 60:02} s"


def _words(found: Mapping[str, Any]) -> Text:
    """A UPS's state in words, the worst colour first."""
    if found["communication"] != "ok":
        return Text(f"no word from the UPS ({found['communication']})", style="yellow")
    words = [
        ("forced shutdown", "bold red", found["fsd"]),
        ("on battery", "red", found["on_battery"]),
        ("on the mains", "", found["on_line"]),
        ("battery low", "bold red", found["low_battery"]),
        ("battery to be replaced", "yellow", found["replace_battery"]),
    ]
    said = [Text(word, style=style) for word, style, so in words if so]
    return Text(", ").join(said) if said else Text(" ".join(found["flags"]))
