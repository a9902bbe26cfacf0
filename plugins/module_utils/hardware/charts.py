# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts as inline SVG, which need no script, no style attribute and no other host. Colours come from classes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, VALUE = 640, 190, 150
ROW, BAR = 24, 14
HEIGHT, EDGE, FOOT = 150, 44, 22
MOST_BARS, MOST_POINTS = 60, 500


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: a share from 0 to 1, what is written beside it, and how grave it is."""

    label: str
    share: float
    text: str
    severity: str = ""


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars, one below the other."""
    shown = rows[:MOST_BARS]
    height = ROW * len(shown)
    space = WIDTH - LABEL - VALUE
    parts = [
        f'<svg class="hw-chart" role="img" viewBox="0 0 {WIDTH} {height}" aria-label="{escape(spoken(title, shown))}">'
    ]
    for number, row in enumerate(shown):
        top = number * ROW
        wide = round(space * min(1.0, max(0.0, row.share)), 1)
        middle = top + ROW / 2 + 4
        parts.append(
            f'<g class="{escape(row.severity)}"><text x="0" y="{middle:g}">{escape(shortened(row.label))}</text>'
            f'<rect class="track" x="{LABEL}" y="{top + 5}" width="{space}" height="{BAR}" rx="2"/>'
            f'<rect class="bar" x="{LABEL}" y="{top + 5}" width="{wide:g}" height="{BAR}" rx="2"/>'
            f'<text class="end" x="{WIDTH}" y="{middle:g}">{escape(row.text)}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def spoken(title: str, rows: Sequence[Bar]) -> str:
    """The chart for those who do not see it."""
    return f"{title}: {'; '.join(f'{row.label} {row.text}' for row in rows)}"[:1500]


def shortened(label: str, most: int = 28) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def line(title: str, points: Sequence[tuple[float, float]], unit: str, top: float | None = None) -> str:
    """A value over time, from 0 to ``top``, or to what it has reached. Points are times and values, by time."""
    kept = points[-MOST_POINTS:]
    most = top or max([value for _at, value in kept] + [1.0]) * 1.1
    first, last = kept[0][0], kept[-1][0]
    wide, high = WIDTH - EDGE - 4, HEIGHT - FOOT - 8

    def place(at: float, value: float) -> str:
        x = EDGE + (wide * (at - first) / (last - first) if last > first else wide)
        return f"{x:.1f},{8 + high * (1 - min(1.0, max(0.0, value / most))):.1f}"

    spots = [place(at, value) for at, value in kept]
    dots = "".join(f'<circle class="dot" cx="{x}" cy="{y}" r="2.5"/>' for x, y in (spot.split(",") for spot in spots))
    label = f"{title}: {kept[0][1]:g} {unit} at {moment(first)}, {kept[-1][1]:g} {unit} at {moment(last)}"
    return (
        f'<svg class="hw-chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(label)}">'
        f'<line class="axis" x1="{EDGE}" y1="{8 + high}" x2="{WIDTH - 4}" y2="{8 + high}"/>'
        f'<line class="axis" x1="{EDGE}" y1="8" x2="{EDGE}" y2="{8 + high}"/>'
        f'<text class="end" x="{EDGE - 6}" y="14">{most:.0f}</text>'
        f'<text class="end" x="{EDGE - 6}" y="{8 + high}">0 {escape(unit)}</text>'
        f'<text x="{EDGE}" y="{HEIGHT - 5}">{moment(first)}</text>'
        f'<text class="end" x="{WIDTH - 4}" y="{HEIGHT - 5}">{moment(last)}</text>'
        f'<polyline class="trace" points="{" ".join(spots)}"/>{dots}</svg>'
    )


def moment(at: float) -> str:
    """A time in this machine's zone."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return ""
