# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see: tables, diffs and lines made from results. Pure: a result in, something to print out."""

from __future__ import annotations

import difflib
import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .progress import Board, Tally

STATUS_STYLE = {"Running": "green", "Stopped": "yellow", "Frozen": "cyan", "Error": "bold red"}
ACTION_STYLE = {"create": "green", "delete": "red", "failed": "bold red"}
DONE = {
    "create": "created",
    "update": "updated",
    "start": "started",
    "stop": "stopped",
    "restart": "restarted",
    "delete": "deleted",
    "freeze": "frozen",
    "unfreeze": "resumed",
    "restore": "restored",
}
#: Columns that never wrap; the others give way on a narrow terminal.
WHOLE = ("STATUS", "IPV4", "TIME", "STEPS")
MORE_BUSY = 8
Record = Mapping[str, Any]


def _filled(rows: Sequence[Mapping[str, Text]], always: Sequence[str] = ()) -> Table:
    """A table of the columns in ``always`` and of those in which there is something."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    columns = [name for name in rows[0] if name in always or any(row[name].plain not in ("", "-") for row in rows)]
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0 or column in WHOLE)
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def size(count: int | None) -> str:
    """Bytes for people, in binary units; a dash where it is not known."""
    if not count:
        return "-"
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f}{unit}"
        amount /= 1024
    return f"{amount:.1f}TiB"


def limit(text: str) -> str:
    return text or "-"


# -- status -----------------------------------------------------------------------------------------
def forwards_of(instance: Record) -> list[str]:
    """Ports of the host that lead into the instance, as ``8080→80``; udp and addresses are named."""
    found = []
    for device in (instance.get("devices") or {}).values():
        if device.get("type") == "proxy" and device.get("bind", "host") == "host":
            protocol, listen = str(device.get("listen", "")).partition(":")[::2]
            port = str(device.get("connect", "")).rpartition(":")[2]
            listen = listen.removeprefix("0.0.0.0:").removeprefix("[::]:")
            found.append(f"{listen}→{port}" + ("" if protocol == "tcp" else f"/{protocol}"))
    return sorted(found)


def memory_of(instance: Record) -> str:
    """Memory in use, of its limit where it has one."""
    usage = (instance.get("memory") or {}).get("usage")
    most = (instance.get("config") or {}).get("limits.memory", "")
    if not usage:
        return limit(most)
    return f"{size(usage)}/{most}" if most else size(usage)


def status_table(instances: Sequence[Record]) -> RenderableType:
    """One line an instance. Columns that would be empty throughout are left out."""
    if not instances:
        return Text("no instances", style="dim")
    rows = [_status_row(instance) for instance in sorted(instances, key=_by_place)]
    if len({row["PROJECT"].plain for row in rows}) == 1:
        for row in rows:
            del row["PROJECT"]
    return _filled(rows, ("NAME", "STATUS"))


def _by_place(instance: Record) -> tuple[str, str]:
    return str(instance.get("project") or ""), str(instance["name"])


def _status_row(instance: Record) -> dict[str, Text]:
    status = str(instance.get("status") or "")
    config = instance.get("config") or {}
    return {
        "PROJECT": Text(str(instance.get("project") or "default")),
        "NAME": Text(str(instance["name"]), style="bold"),
        "STATUS": Text(status, style=STATUS_STYLE.get(status, "")),
        "IPV4": Text("\n".join(instance.get("ipv4") or ()) or "-"),
        "IMAGE": Text(str(instance.get("image") or "-")),
        "MEMORY": Text(memory_of(instance)),
        "CPU": Text(limit(config.get("limits.cpu", ""))),
        "PORTS": Text("\n".join(forwards_of(instance)) or "-"),
        "PLAN": Text(str(instance.get("plan") or "-")),
    }


# -- changes ----------------------------------------------------------------------------------------
def kind_and_name(resource: Record) -> str:
    return f"{str(resource['kind']).replace('_', ' ')} {resource['name']}"


def changes_table(resources: Sequence[Record], *, check: bool) -> RenderableType:
    """What was done (or would be) to each resource that is not as it was. Empty columns are left out."""
    rows = [_change_row(one, check) for one in resources if _tells(one)]
    return _filled(rows, ("RESOURCE", "TO DO" if check else "DONE"))


def _change_row(resource: Record, check: bool) -> dict[str, Text]:
    seconds = resource.get("duration")
    timed = not check and resource.get("changed") and isinstance(seconds, int | float)
    return {
        "RESOURCE": Text(kind_and_name(resource), style="bold"),
        "TO DO" if check else "DONE": _actions(resource, check),
        "TIME": Text(f"{seconds:.1f} s" if timed else ""),
        "NOTES": _notes(resource),
    }


def worth_a_table(resources: Sequence[Record]) -> bool:
    return any(_tells(one) for one in resources)


def _tells(resource: Record) -> bool:
    """Whether there is more to say of a resource than that it is as it should be."""
    return any(resource.get(key) for key in ("changed", "error", "skipped", "notes"))


def _actions(resource: Record, check: bool) -> Text:
    names = [str(action) for action in resource.get("actions") or ()]
    if resource.get("error"):
        return Text("failed", style=ACTION_STYLE["failed"])
    if resource.get("skipped"):
        return Text("skipped", style="yellow")
    words = names if check else [DONE.get(name, name) for name in names]
    style = next((ACTION_STYLE[name] for name in names if name in ACTION_STYLE), "yellow")
    return Text(", ".join(words) or "-", style=style if names else "dim")


def _notes(resource: Record) -> Text:
    """Notes; why something failed or was skipped is told below the table, a line each."""
    return Text("\n".join(str(note) for note in resource.get("notes") or ()))


def summary_line(result: Record, *, check: bool) -> Text:
    """The whole run in one sentence."""
    summary = result.get("summary") or {}
    changed, failed, skipped = (int(summary.get(key) or 0) for key in ("changed", "failed", "skipped"))
    total = int(summary.get("total") or 0)
    plan = str(result.get("plan") or "")
    if not (changed or failed or skipped):
        return Text(f"plan {plan}: nothing to do, all of {count(total, 'resource')} as wanted", style="green")
    parts = [f"{changed} {'would change' if check else 'changed'}", f"{summary.get('unchanged') or 0} unchanged"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{skipped} skipped"] if skipped else []
    return Text(f"plan {plan}: {count(total, 'resource')}, {', '.join(parts)}", style="red" if failed else "bold")


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def instances_done(results: Sequence[Record], *, check: bool) -> RenderableType:
    """What was done to single instances, a line each."""
    return _filled([_done_row(one, check) for one in results], ("INSTANCE", "TO DO" if check else "DONE"))


def _done_row(result: Record, check: bool) -> dict[str, Text]:
    names = [str(action) for action in result.get("actions") or ()]
    words = names if check else [DONE.get(name, name) for name in names]
    done = Text(", ".join(words) or "nothing", style="yellow" if names else "dim")
    if result.get("failed"):
        done = Text("failed", style=ACTION_STYLE["failed"])
    return {"INSTANCE": Text(instance_of(result), style="bold"), "TO DO" if check else "DONE": done}


def instance_record(result: Record) -> dict[str, Any]:
    """What is told of a round of a loop over instances, without Ansible's own keys."""
    kept = {key: result[key] for key in ("actions", "changed", "failed", "msg", "notes") if key in result}
    return {"instance": instance_of(result), **kept}


def snapshots_done(instances: Sequence[Record], *, check: bool) -> RenderableType:
    """What was done to the snapshots of instances, a line for each."""
    rows = [row for one in instances for row in _snapshot_rows(one, check)]
    return _filled(rows, ("INSTANCE", "SNAPSHOT")) if rows else Text("no instances", style="dim")


def _snapshot_rows(instance: Record, check: bool) -> Iterator[dict[str, Text]]:
    name = Text(str(instance["name"]), style="bold")
    what = "TO DO" if check else "DONE"
    for action in instance.get("actions") or ():
        verb = str(action["action"])
        done = Text(verb if check else DONE.get(verb, verb), style=ACTION_STYLE.get(verb, "yellow"))
        yield {"INSTANCE": name, "SNAPSHOT": Text(str(action["snapshot"])), what: done}
    if instance.get("error"):
        yield {"INSTANCE": name, "SNAPSHOT": Text("-"), what: Text("failed", style=ACTION_STYLE["failed"])}
    elif not instance.get("actions"):
        yield {"INSTANCE": name, "SNAPSHOT": Text("-"), what: Text("nothing", style="dim")}


def instance_of(result: Record) -> str:
    """The instance that a round of a loop was about."""
    item = result.get("item")
    return str(item[0] if isinstance(item, list) else result.get("instance") or result.get("name") or item or "")


def exec_result(result: Record) -> dict[str, Any]:
    """What is told of one command in one instance."""
    keys = ("rc", "stdout", "stderr", "stdout_base64", "stderr_base64")
    return {"instance": instance_of(result), **{key: result[key] for key in keys if key in result}}


def output(result: Record, stream: str) -> bytes:
    """What a command wrote to ``stdout`` or ``stderr``, byte for byte."""
    whole = result.get(f"{stream}_base64")
    return b64decode(whole) if whole else str(result[stream]).encode()


def prefixed(data: bytes, name: str) -> bytes:
    """Every line with the name before it; without a name the output itself."""
    if not name:
        return data
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return b"".join(f"{name}: ".encode() + line.rstrip(b"\r") + b"\n" for line in lines)


def log_text(entry: Record) -> RenderableType:
    """One log of one instance under a heading."""
    heading = Text(f"── {entry['instance']}: {entry['source']} ", style="bold cyan")
    return Group(heading, Text.from_ansi(str(entry["text"]).rstrip("\n")))


# -- diff -------------------------------------------------------------------------------------------
def unified(diff: Record | Iterable[Record]) -> Iterator[str]:
    """Ansible's diff (one, or a list) as lines of a unified diff."""
    for one in [diff] if isinstance(diff, Mapping) else diff:
        if "prepared" in one:
            yield from str(one["prepared"]).splitlines()
            continue
        before, after = _as_lines(one.get("before")), _as_lines(one.get("after"))
        names = str(one.get("before_header") or "before"), str(one.get("after_header") or "after")
        yield from (line.rstrip("\n") for line in difflib.unified_diff(before, after, *names, n=3))


def _as_lines(document: Any) -> list[str]:
    if document in (None, ""):
        return []
    text = document if isinstance(document, str) else json.dumps(document, indent=2, sort_keys=True)
    return [f"{line}\n" for line in text.splitlines()]


def diff_text(diff: Record | Iterable[Record]) -> Text:
    """A unified diff in colour."""
    text = Text()
    for line in unified(diff):
        text.append(line + "\n", style=_diff_style(line))
    text.rstrip()
    return text


def _diff_style(line: str) -> str:
    if line.startswith(("---", "+++")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


# -- health -----------------------------------------------------------------------------------------
def marked(ok: bool, *parts: str | tuple[str, str]) -> Text:
    """A line with a tick or a cross before it."""
    return Text.assemble(("✓ ", "green") if ok else ("✗ ", "bold red"), *parts)


def health_lines(health: Record, instances: Sequence[Record]) -> RenderableType:
    """The provider's line, a line for each instance, and what is not well."""
    faults = [str(fault) for fault in health["faults"]]
    provider_ok = not any(fault for fault in faults if not fault.startswith("instance "))
    lines = [marked(provider_ok, str(health["line"]))]
    lines += [_instance_line(one) for one in sorted(instances, key=_by_place)]
    lines += [marked(False, fault) for fault in faults]
    return Group(*lines)


def _instance_line(instance: Record) -> Text:
    status = str(instance["status"])
    where = ", ".join(instance.get("ipv4") or ())
    parts = (
        f"instance {instance['name']}: ",
        (status.lower(), STATUS_STYLE.get(status, "")),
        f", {where}" if where else "",
    )
    return marked(status != "Error", *parts)


# -- progress ---------------------------------------------------------------------------------------
def busy_lines(board: Board, width: int) -> Iterator[Text]:
    """What is being done now, the longest at it first."""
    ordered = sorted(board.busy, key=lambda resource: board.since[resource])
    for resource in ordered[:MORE_BUSY]:
        line = Text.assemble(
            ("  ", ""),
            (resource, "bold"),
            "  ",
            board.busy[resource].text,
            (f"  {board.seconds(resource):.0f} s", "dim"),
        )
        line.truncate(width, overflow="ellipsis")
        yield line
    if len(ordered) > MORE_BUSY:
        yield Text(f"  and {len(ordered) - MORE_BUSY} more", style="dim")


def bar_of(done: int, total: int, style: str = "cyan") -> ProgressBar:
    return ProgressBar(total, min(done, total), 24, complete_style=style, finished_style="green")


def host_lines(tally: Tally) -> Iterator[RenderableType]:
    """A bar for each host of a playbook, those that are furthest behind first: it is them who are waited for."""
    counts, failures = dict(tally.hosts), dict(tally.failed)  # they grow meanwhile
    ordered = sorted(counts, key=lambda host: (counts[host] - tally.total_of(host), host))
    width = max(len(host) for host in ordered[:MORE_BUSY])
    for host in ordered[:MORE_BUSY]:
        done, total, failed = counts[host], tally.total_of(host), failures.get(host, 0)
        line = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [
            Text(f"  {host:<{width}}", style="bold"),
            bar_of(done, total, "red" if failed else "cyan"),
            Text(f"{done}/{total}"),
        ]
        line.add_row(*cells, Text(f"{failed} failed" if failed else "", style="bold red"))
        yield line
    if len(ordered) > MORE_BUSY:
        yield Text(f"  and {len(ordered) - MORE_BUSY} more", style="dim")
