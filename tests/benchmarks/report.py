# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table on the terminal and the JSON file."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .connection import OURS as CONNECTION
from .lifecycle import NOTHING
from .lifecycle import OURS as PLAN
from .measures import Measure
from .measures import ratio as ratio_of
from .samples import Row
from .scale import PLUGIN
from .targets import Verdict, find, floor_of

WIDTH = 132  # columns where the output is no terminal


def machine() -> dict[str, Any]:
    """What the figures depend on. No names of hosts or users."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next((int(line.split()[1]) // 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    release = dict(line.split("=", 1) for line in _lines("/etc/os-release") if "=" in line)
    return {
        "processors": len(os.sched_getaffinity(0)),
        "model": model,
        "architecture": platform.machine(),
        "memory_mib": memory,
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def document(
    rows: list[Row], measures: list[Measure], verdicts: list[Verdict], facts: dict[str, Any], notes: list[str]
) -> dict[str, Any]:
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
        "targets": [verdict.document() for verdict in verdicts],
        "rows": [{**row.document(), **ratios(rows, row)} for row in rows],
        "measures": [{**one.document(), "to_floor": _rounded(ratio_of(measures, one))} for one in measures],
        "notes": notes,
    }


def ratios(rows: list[Row], row: Row) -> dict[str, float | None]:
    """How many times the floor it took (net), and how many times as long as ours (whole process)."""
    # Nothing to do is one question to the daemon: a ratio to that would say nothing.
    floor = floor_of(rows, row.operation) if row.operation != NOTHING else None
    ours = next(filter(None, (find(rows, row.operation, name) for name in (PLAN, PLUGIN, CONNECTION))), None)
    return {
        "to_floor": round(row.net / floor.whole(), 3) if floor else None,
        "to_ours": round(row.whole() / ours.whole(), 3) if ours else None,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


# -- the tables ---------------------------------------------------------------------------------------
FIGURES = ("operation", "by", "n", "runs", "whole", "fastest–slowest", "net", "× floor", "× ours", "MB")
TARGETS = ("target", "asked", "measured", "")
MEASURES = ("measured", "by", "n", "rounds", "unit", "best", "median", "× floor")
LEGEND = (
    "Seconds. whole: the whole process, median of the runs. net: without Ansible's start-up (the empty play). "
    "× floor: net against the best floor. × ours: whole against ours. MB: peak RSS, summed over the process tree."
)
MEASURES_LEGEND = (
    "× floor: the best round against the best of the floor, which is DBOS alone for drains, the bare ansible-playbook "
    "for delays, GET /health for lists, and a file that is written and synced for puts."
)
TEXT = {FIGURES: 2, TARGETS: 1, MEASURES: 2}  # leading columns that hold text


def tables(
    rows: list[Row], measures: list[Measure], verdicts: list[Verdict]
) -> tuple[list[tuple[tuple[str, ...], list[list[str]]]], list[str]]:
    """Header and lines of each table that has any, and how to read them."""
    every = ((FIGURES, figures(rows), LEGEND), (MEASURES, measured(measures), MEASURES_LEGEND))
    found = [(header, lines) for header, lines, _legend in every if lines]
    return [*found, (TARGETS, targets(verdicts))], [legend for _header, lines, legend in every if lines]


def show(rows: list[Row], measures: list[Measure], verdicts: list[Verdict], notes: Iterable[str]) -> None:
    """Print the tables: with colours and lines on a terminal, plain elsewhere."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else WIDTH, highlight=False)
    found, legends = tables(rows, measures, verdicts)
    for header, lines in found:
        console.print(_table(header, lines, box.SIMPLE_HEAD if terminal else box.ASCII2))
    for note in (*legends, *notes):
        console.print(f"- {note}", markup=False)


def _table(header: tuple[str, ...], lines: list[list[str]], style: box.Box) -> Table:
    table = Table(box=style)
    for index, name in enumerate(header):
        text = index < TEXT[header]
        table.add_column(name, justify="left" if text else "right", no_wrap=not text)
    colours = {"reached": "[green]reached[/]", "missed": "[red]missed[/]", "open": "[yellow]open[/]"}
    for index, line in enumerate(lines):
        if index and header is not TARGETS and line[0]:
            table.add_section()
        table.add_row(*(colours.get(cell, cell) for cell in line))
    return table


def markdown(
    rows: list[Row], measures: list[Measure], verdicts: list[Verdict], facts: dict[str, Any], notes: Iterable[str]
) -> str:
    """The same for docs/benchmarks.md."""
    machine_line = (
        f"Measured on {time.strftime('%d %B %Y', time.gmtime())}: {facts['system']}, {facts['architecture']}, "
        f"{facts['processors']} processors ({facts['model']}), {facts['memory_mib'] // 1024} GiB, "
        f"Python {facts['python']}; load before: {facts['load_before']}."
    )
    parts = [machine_line, ""]
    found, legends = tables(rows, measures, verdicts)
    for header, lines in (found[-1], *found[:-1]):
        parts.append("| " + " | ".join(header) + " |")
        parts.append("|" + "".join(" --- |" if i < TEXT[header] else " ---: |" for i in range(len(header))))
        parts += ["| " + " | ".join(line) + " |" for line in lines] + [""]
    return "\n".join([*parts, *(f"- {note}" for note in (*legends, *notes))]) + "\n"


def update_docs(path: Path, name: str, text: str) -> None:
    """Put the text between the two marks of this name in the document."""
    head, begin, rest = path.read_text().partition(f"<!-- {name} -->\n")
    _old, end, tail = rest.partition(f"<!-- end of {name} -->\n")
    if not begin or not end:
        raise ValueError(f"{path} has no marks for the {name}")
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def figures(rows: list[Row]) -> list[list[str]]:
    """Cells by line. Of lines about one operation only the first names it."""
    before = [""] + [row.operation for row in rows]
    return [
        [row.operation if row.operation != last else "", *_cells(rows, row)]
        for row, last in zip(rows, before, strict=False)
    ]


def measured(measures: list[Measure]) -> list[list[str]]:
    """Cells by line, as ``figures``."""
    before = [""] + [one.what for one in measures]
    return [
        [
            one.what if one.what != last else "",
            one.by,
            str(one.count),
            str(len(one.rounds)),
            one.unit,
            f"{one.best:.1f}",
            f"{one.median:.1f}",
            _ratio(ratio_of(measures, one)),
        ]
        for one, last in zip(measures, before, strict=False)
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _cells(rows: list[Row], row: Row) -> list[str]:
    compared = ratios(rows, row)
    low, high = row.spread
    scaled = row.did and row.did != row.count
    memory = row.extra.get("peak_rss")
    return [
        row.contender,
        f"{row.count} ({row.did})" if scaled else str(row.count or ""),
        str(len(row.samples)),
        f"{row.whole():.2f}",
        f"{low:.2f}–{high:.2f}" if len(row.samples) > 1 else "",
        f"{row.net:.2f}" if row.base else "",
        _ratio(compared["to_floor"]),
        _ratio(compared["to_ours"]),
        f"{memory / 1e6:.0f}" if memory else "",
    ]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def targets(verdicts: list[Verdict]) -> list[list[str]]:
    words = {True: "reached", False: "missed", None: "open"}
    return [
        [
            verdict.target,
            f"{'≥' if verdict.least else '≤'} {verdict.limit:g} {verdict.unit}",
            f"{verdict.measured:.2f}" if verdict.measured is not None else verdict.why,
            words[verdict.reached],
        ]
        for verdict in verdicts
    ]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
