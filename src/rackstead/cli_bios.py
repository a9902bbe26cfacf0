# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``bios``: files of device types, checked without a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from .answers import Exit
from .blocks import STYLE, registered
from .options import Job as Command

EXAMPLE = "Example: rackstead bios lint device_mappings.yaml"
bios = typer.Typer(help="BIOS settings by device type.", epilog=EXAMPLE, **STYLE)


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(bios, name="bios", rich_help_panel=panel)


@registered(bios, "bios lint", epilog=f"{EXAMPLE} --against server-1.xml")
def lint(
    told: Command,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The device types, a YAML file.", show_default=False)],
    against: Annotated[
        str,
        typer.Option("--against", metavar="BIOS", help="A whole BIOS file that was read earlier.", show_default=False),
    ] = "",
    name: Annotated[
        str, typer.Option("--type", metavar="NAME", help="Only this device type.", show_default=False)
    ] = "",
) -> int:
    """Check device types and their templates, and show what they come to. Touches no machine.

    Without --against, a type is checked against its own reference_file, if it has one.
    """
    from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.bios.lint import lint

    found = lint(file, against, name)
    for one in found:
        for line in _lines(one):
            told.terminal.show(line)
    return told.end(Exit.OK, [], {"device_types": found})


def _lines(one: Mapping[str, Any]) -> list[Text]:
    """A device type: its line and templates, its settings, and what they would change."""
    parts = [*(["extends " + ", ".join(one["line"][-2::-1])] if len(one["line"]) > 1 else []), *one["templates"]]
    head = Text(one["name"], style="bold")
    head.append(f"  {'; '.join(parts)}" if parts else "", style="dim")
    lines = [head]
    for name, value in one["settings"].items():
        lines.append(Text(f"  {name}: {', '.join(value) if isinstance(value, list) else value}"))
    changes = one["changes"]
    if changes is not None:
        lines.append(Text(f"  {len(changes) or 'no'} change{'s' * (len(changes) != 1)}", style="dim"))
    for change in changes or ():
        path = " > ".join(filter(None, [change["menu"], change["name"]]))
        number = f" #{change['order']}" if change["order"] > 1 else ""
        lines.append(Text(f"    {path}{number}: {change['before']} -> {change['after']}"))
    return lines
