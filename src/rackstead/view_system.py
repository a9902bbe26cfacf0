# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see of hosts: reports as a table, and what users may do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from . import view

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}
Record = Mapping[str, Any]


def _table(*heads: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for number, head in enumerate(heads):
        made.add_column(head, overflow="fold", no_wrap=number < len(heads) - 2)
    return made


def reports_table(reports: Sequence[Record], *, full: bool) -> RenderableType:
    """A row for each check that did not pass, or for each."""
    rows = [(one["host"], check) for one in reports for check in one["checks"] if full or check["status"] != "pass"]
    if not rows:
        return Text("everything passes", style="green")
    made = _table("HOST", "CHECK", "STATUS", "FOUND", "TO MEND")
    for host, check in rows:
        status = Text(check["status"], style=STYLES[check["status"]])
        made.add_row(Text(host, style="bold"), Text(check["name"]), status, Text(check["found"]), Text(check["mend"]))
    return made


def summary_lines(reports: Sequence[Record], *, predict: bool) -> list[RenderableType]:
    """One line a host."""
    return [_summary(one, predict) for one in reports]


def _summary(report: Record, predict: bool) -> RenderableType:
    count = report["summary"]
    text = f"{report['host']}: {count['pass']} pass, {count['warn']} warn, {count['fail']} fail"
    if predict and report["would_mend"]:
        text += f"; would mend {', '.join(report['would_mend'])}"
    if report["reboot"]:
        text += "; a boot is outstanding"
    return view.marked(bool(report["ready"]), text)


def privileges_lines(done: Sequence[Record], user: str, *, check: bool, diff: bool) -> Iterator[RenderableType]:
    """What was done to the sudoers file of each host."""
    for one in done:
        if diff and one.get("diff"):
            yield view.diff_text(one["diff"])
        given = len(one["commands"])
        what = "nothing" if not given else f"{given} command{'s' if given != 1 else ''}"
        how = ("would change" if check else "changed") if one["changed"] else "as it was"
        yield view.marked(True, f"{one['host']}: {user}: {what} by {one['path']} ({how})")


def privileges_table(found: Sequence[Record]) -> RenderableType:
    """What is missing and what is too wide on each host."""
    rows = [
        (one["host"], kind, line)
        for one in found
        for kind, lines in (("missing", one["missing"]), ("too wide", one["too_wide"]))
        for line in lines
    ]
    if not rows:
        wanted = len(found[0]["wanted"])
        return view.marked(
            True, f"{found[0]['user']}: exactly the {wanted} that {'is' if wanted == 1 else 'are'} wanted"
        )
    made = _table("HOST", "WHAT", "RULE")
    for host, kind, line in rows:
        made.add_row(Text(host, style="bold"), Text(kind, style="red" if kind == "missing" else "yellow"), Text(line))
    return made
