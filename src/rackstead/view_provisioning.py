# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see of provisioning on a terminal: a row of seven steps for each server. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .provisioning.progress import DONE, FAILED, PENDING, RUNNING, SKIPPED, STEPS, Server, Step
from .view import _filled as filled
from .view import count
from .view_jobs import STYLE

#: A step as a sign: shape and colour say the same.
SIGNS = {DONE: ("✔", "green"), FAILED: ("✘", "bold red"), RUNNING: ("▶", "cyan"), SKIPPED: ("–", "dim")}
NOT_YET = ("·", "dim")
#: Servers in the picture of a run: those that something happens to.
MOST_ROWS = 20


def sign(step: Step) -> Text:
    return Text(*SIGNS.get(step.state, NOT_YET))


def row(server: Server) -> Text:
    """The seven steps as seven signs."""
    return Text(" ").join(sign(one) for one in server.steps)


def where(server: Server) -> str:
    """The step that it is at, in words."""
    at = server.at
    if server.state == "completed" or at is None:
        return ""
    return f"{at.number}/{len(STEPS)} {at.name}"


def span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


# -- while it goes on -------------------------------------------------------------------------------
def picture(servers: Sequence[Server], _seconds: float) -> list[RenderableType]:
    """A line for each server, those that wait left out first."""
    begun = [one for one in servers if one.at is not None]
    shown = (begun + [one for one in servers if one.at is None])[:MOST_ROWS]
    width = max((len(one.id) for one in shown), default=0)
    lines: list[RenderableType] = [_line(one, width) for one in shown]
    if len(servers) > len(shown):
        lines.append(Text(f"  and {len(servers) - len(shown)} more", style="dim"))
    return lines


def _line(server: Server, width: int) -> Text:
    at = server.at
    what = Text("waits", style="dim")
    if server.done == len(STEPS):
        what = Text("done", style="green")
    elif at is not None:
        what = Text(f"{at.number}/{len(STEPS)} {at.title}", style="red" if at.state == FAILED else "")
        if at.error:
            what.append(f": {at.error}", style="red")
    line = Text.assemble("  ", (f"{server.id:<{width}}", "bold"), "  ", row(server), "  ", what)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


# -- when it is over --------------------------------------------------------------------------------
def servers_table(servers: Sequence[Server], *, short: bool = False) -> RenderableType:
    """``short``: without what was ordered, and why it failed."""
    if not servers:
        return Text("no servers", style="dim")
    rows = [
        {
            "SERVER": Text(one.id, style="bold"),
            "STATE": Text(one.state, style=STYLE.get(one.state, "")),
            "STEPS": row(one),
            "AT": Text(where(one)),
            "DEVICE TYPE": Text(str(one.order.get("device_type") or "")),
            "BMC": Text(bmc_address(one)),
            "RACK": Text(str(one.order.get("rack_location") or "")),
            "TOOK": Text(span(one.seconds) if one.seconds else ""),
            "ERROR": Text(one.reason),
        }
        for one in servers
    ]
    left_out = ("DEVICE TYPE", "BMC", "RACK", "ERROR") if short else ()
    kept = [{name: cell for name, cell in row.items() if name not in left_out} for row in rows]
    return filled(kept, ("SERVER", "STATE", "STEPS"))


def bmc_address(server: Server) -> str:
    """Where its BMC is, or is to be."""
    after = next((one.outputs.get("after") for one in server.steps if one.name == "bmc"), None)
    found = after.get("address") if isinstance(after, Mapping) else None
    return str(found or server.order.get("target_ipmi_ip") or "")


def summary(servers: Sequence[Server], *, check: bool) -> Text:
    """How it went, in a line."""
    words = []
    for state in ("completed", "failed", "interrupted", "cancelled", "running", "pending"):
        number = sum(one.state == state for one in servers)
        what = "looked at" if check and state == "completed" else state
        words += [f"{number} {what}"] if number else []
    return Text(f"{count(len(servers), 'server')}: {', '.join(words) or 'nothing done'}")


def server_lines(server: Server) -> RenderableType:
    """All about one server: what was ordered, each step, what it found out."""
    facts = {
        "server": server.id,
        "system id": server.system_id,
        "hostname": server.hostname if server.hostname != server.id else "",
        "state": server.state,
        "job": server.job,
        **{name.replace("_", " "): shown(value) for name, value in server.order.items() if name not in ("server_id",)},
        "started": server.started,
        "updated": server.updated,
    }
    width = max(len(name) for name, value in facts.items() if value)
    lines: list[RenderableType] = [
        Text.assemble((f"{name:<{width}}  ", "dim"), value) for name, value in facts.items() if value
    ]
    return Group(*lines, Text(""), steps_table(server), *changes_of([server], several=False))


def shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def steps_table(server: Server) -> RenderableType:
    rows = [
        {
            "STEP": Text(f"{one.number}/{len(STEPS)}"),
            "": sign(one),
            "NAME": Text(one.name, style="bold"),
            "STATE": Text(
                one.state, style="bold red" if one.state == FAILED else "dim" if one.state == PENDING else ""
            ),
            "TOOK": Text(span(one.seconds) if one.seconds else ""),
            "ATTEMPTS": Text(str(one.attempts) if one.attempts else ""),
            "RESULT": Text(one.error, style="red") if one.error else Text(found_out(one)),
        }
        for one in server.steps
    ]
    return filled(rows, ("STEP", "", "NAME", "STATE"))


def found_out(step: Step) -> str:
    """What a step came to, in a few words."""
    given = step.found if step.name == "bios_modify" else step.outputs
    if step.name == "address":
        return str(given.get("address") or "")
    if step.name == "bios_pull" and given.get("settings"):
        return f"{count(int(given['settings']), 'setting')} ({given.get('vendor', '')})"
    if step.name == "bios_modify" and "changes" in given:
        return f"{count(step.changing, 'setting')} to change" if step.changing else "nothing to change"
    if step.name == "bios_push" and "applied" in given:
        rejected = given.get("rejected") or []
        return f"{given['applied']} applied" + (f", {len(rejected)} rejected" if rejected else "")
    if step.name == "bmc" and isinstance(given.get("after"), Mapping):
        return f"{given['after'].get('address', '')}{'' if given.get('changed') else ' (as it was)'}"
    if step.name == "finalize" and given.get("tags"):
        return ", ".join(map(str, given["tags"]))
    return ""


# -- what changes -----------------------------------------------------------------------------------
def changes_of(servers: Iterable[Server], *, several: bool) -> Iterator[RenderableType]:
    """For each server what changes: BIOS settings, the BMC's network, tags."""
    for server in servers:
        lines = list(_bios(server)) + list(_lan(server)) + list(_tags(server))
        if lines:
            yield Text("")
            yield from ([Text(server.id, style="bold")] if several else [])
            yield from lines


def _step(server: Server, name: str) -> Step:
    return next(one for one in server.steps if one.name == name)


def _bios(server: Server) -> Iterator[RenderableType]:
    changes = _step(server, "bios_modify").changes()
    if not changes:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("BIOS SETTING", "BEFORE", "AFTER"):
        table.add_column(head)
    for one in changes:
        table.add_row(Text(setting(one)), Text(text(one.get("before")), "red"), Text(text(one.get("after")), "green"))
    yield table


def setting(change: Mapping[str, Any]) -> str:
    """A BIOS setting by menu path and name, and by its order where the name comes more than once."""
    menu = change.get("menu")
    path = menu if isinstance(menu, list | tuple) else [menu] if menu else []
    order = f" #{change['order']}" if str(change.get("order") or "1") not in ("0", "1") else ""
    return " / ".join([*map(str, path), str(change.get("name") or "")]) + order


def text(value: Any) -> str:
    return "" if value is None else str(value)


def _lan(server: Server) -> Iterator[RenderableType]:
    for field, before, after in lan_changes(_step(server, "bmc")):
        yield Text.assemble(f"BMC {field}: ", (before or "none", "red"), " → ", (after, "green"))


def lan_changes(step: Step) -> list[tuple[str, str, str]]:
    """What of a BMC's network settings is another afterwards: field, before, after."""
    before, after = step.outputs.get("before"), step.outputs.get("after")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return []
    fields = [name for name in after if name in before and before[name] != after[name]]
    return [(name, text(before.get(name)), text(after[name])) for name in fields]


def _tags(server: Server) -> Iterator[RenderableType]:
    found = _step(server, "finalize").outputs.get("tags")
    if found:
        yield Text(f"tags: {shown(found)}")
