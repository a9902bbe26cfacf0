# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of rates: a bar for each contender, on a scale of powers of ten, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .measures import Measure

LEFT, WIDTH, BAR, GAP, HEAD = 190, 470, 16, 5, 34
COLOURS = ("#3b6ea5", "#6a9a3f", "#b5762a")
FONT = 'font-family="system-ui, sans-serif" font-size="12"'


def bars(title: str, unit: str, groups: Sequence[tuple[str, Sequence[Measure]]]) -> str:
    """The best rounds of each group's measures."""
    values = [one.best for _name, some in groups for one in some]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    parts, y = [], HEAD
    for number, (name, some) in enumerate(groups):
        y += 18
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{escape(name)}</text>')
        y += 8
        for one in some:
            width = max(2.0, (math.log10(one.best) - low) / (high - low) * WIDTH)
            middle = y + BAR - 4
            parts.append(f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(one.by)}</text>')
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[number % len(COLOURS)]}"/>'
            )
            parts.append(f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{one.best:,.0f}</text>')
            y += BAR + GAP
    lines = [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{y}" stroke="#ccc"/>'
        f'<text x="{x:.1f}" y="{y + 16}" text-anchor="middle" fill="#666">{10**power:,}</text>'
        for power in range(low, high + 1)
        for x in [LEFT + (power - low) / (high - low) * WIDTH]
    ]
    size = f'width="{LEFT + WIDTH + 80}" height="{y + 30}" viewBox="0 0 {LEFT + WIDTH + 80} {y + 30}"'
    heading = f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}, {escape(unit)}</text>'
    body = "\n".join([heading, *lines, *parts])
    back = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT} fill="#222">\n{back}\n{body}\n</svg>\n'
