# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a played outage, and of the margins of many: SVG that stands alone, light and dark. Pure.

Whoever cannot tell colours apart reads the words in the bars; whoever does not see it has the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from .engine import Decision
from .plan import PowerPlan
from .simulate import Scenario, Verdict

WIDTH, LEFT, RIGHT = 960, 130, 20
HEAD, ROW, CURVE, GAP, FOOT = 40, 24, 64, 8, 40
#: Steps of the axis in seconds, of which there are at most so many.
STEPS, MOST_STEPS = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600), 12
#: From so many points on, a bar has room for its word.
ROOM = 46
STYLE = """
text{font:12px sans-serif;fill:#1f2328}.small{font-size:11px;fill:#57606a}.title{font-size:15px;font-weight:bold}
.back{fill:#fff}.grid{stroke:#d8dee4}.curve{fill:none;stroke:#0969da;stroke-width:2}.away{fill:#ffd8b5}
.up{fill:#aceebb}.stopping{fill:#f8e3a1}.off{fill:#d8dee4}.starting{fill:#b6e3ff}.mark{stroke:#1f2328;stroke-dasharray:2 3}
.bad{fill:#cf222e}.badline{stroke:#cf222e;stroke-width:3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.back{fill:#0d1117}.grid{stroke:#30363d}
.curve{stroke:#58a6ff}.away{fill:#5a3311}.up{fill:#1a5c2e}.stopping{fill:#6b5410}.off{fill:#30363d}.starting{fill:#17486f}
.mark{stroke:#e6edf3}.bad{fill:#ff7b72}}
"""
#: What a host may be, in words.
WORDS = {"up": "up", "stopping": "stops", "off": "off", "starting": "starts"}


@dataclass
class Track:
    """What was at each second that was looked at: charges by UPS in percent, mains by UPS, and states by host."""

    seconds: list[int] = field(default_factory=list)
    charges: dict[str, list[float]] = field(default_factory=dict)
    mains: dict[str, list[bool]] = field(default_factory=dict)
    hosts: dict[str, list[str]] = field(default_factory=dict)

    def look(self, now: int, charges: Mapping[str, float], mains: Mapping[str, bool], hosts: Mapping[str, str]) -> None:
        self.seconds.append(now)
        for kept, seen in ((self.charges, charges), (self.mains, mains), (self.hosts, hosts)):
            for name, value in seen.items():
                kept.setdefault(name, []).append(value)  # type: ignore[arg-type]


def stretches(values: Sequence[object]) -> Iterable[tuple[int, int, object]]:
    """The first and the last place of each run of the same value, and the value."""
    begun = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[begun]:
            yield begun, place - 1, values[begun]
            begun = place


def ticks(last: int) -> list[int]:
    step = next((one for one in STEPS if last / one <= MOST_STEPS), STEPS[-1])
    return list(range(0, last + 1, step))


def clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


def timeline(plan: PowerPlan, scenario: Scenario, verdict: Verdict, track: Track) -> str:
    """UPSes with their charge, hosts with what they did, and each decision with its reason."""
    last = max(track.seconds[-1], 1)
    scale = (WIDTH - LEFT - RIGHT) / last
    rows: list[str] = []
    top = HEAD
    for name in plan.upses:
        rows += _ups(name, track, top, scale)
        top += CURVE + GAP
    for name in plan.hosts:
        rows += _host(name, track, top, scale)
        top += ROW + GAP
    rows += _marks(verdict.decisions, top, scale)
    words = f"safe with {verdict.spare:.0f} seconds to spare" if verdict.safe else f"not safe: {verdict.failure}"
    label = f"{', '.join(_outage(one) for one in scenario.outages)}: {words}"
    return _whole(top + FOOT, label, [*_axis(last, top, scale), *rows])


def margins(found: Sequence[tuple[int, Verdict]]) -> str:
    """The seconds to spare for each second at which the mains are back; red where it is not safe."""
    last = max(back for back, _verdict in found)
    most = max((one.spare for _back, one in found if one.safe), default=1.0) or 1.0
    scale, high = (WIDTH - LEFT - RIGHT) / max(last, 1), CURVE * 4
    bottom = HEAD + high
    points = " ".join(
        f"{LEFT + back * scale:.1f},{bottom - high * min(1.0, one.spare / most):.1f}" for back, one in found if one.safe
    )
    bad = [back for back, one in found if not one.safe]
    parts = [*_axis(last, bottom, scale), f'<polyline class="curve" points="{points}"/>']
    parts += [
        f'<line class="badline" x1="{LEFT + back * scale:.1f}" x2="{LEFT + (back + 1) * scale:.1f}" y1="{bottom}" y2="{bottom}"/>'
        for back in bad
    ]
    parts.append(f'<text class="small" x="{LEFT - 8}" y="{HEAD + 4}" text-anchor="end">{most:.0f} s to spare</text>')
    parts.append(f'<text class="small" x="{LEFT - 8}" y="{bottom + 4}" text-anchor="end">0 s</text>')
    least = min((one.spare for _back, one in found if one.safe), default=0.0)
    told = (
        f"{len(bad)} of {len(found)} seconds are not safe"
        if bad
        else f"safe at each, with {least:.0f} seconds to spare at least"
    )
    return _whole(bottom + FOOT, f"Mains back at {clock(found[0][0])} to {clock(last)}: {told}", parts)


def _whole(height: int, label: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    title = f'<text class="title" x="12" y="24">{escape(label)}</text>'
    back = f'<rect class="back" width="{WIDTH}" height="{height}"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", back, title, *parts, "</svg>", ""])


def _axis(last: int, bottom: int, scale: float) -> Iterable[str]:
    for one in ticks(last):
        x = LEFT + one * scale
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{bottom}"/>'
        yield f'<text class="small" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{clock(one)}</text>'


def _label(name: str, middle: float) -> str:
    return f'<text x="{LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(name)}</text>'


def _bar(track: Track, first: int, last: int, top: float, high: int, kind: str, word: str, scale: float) -> str:
    """From one place to the next that was looked at, with its word where there is room."""
    begin, end = track.seconds[first], track.seconds[min(last + 1, len(track.seconds) - 1)]
    x, wide = LEFT + begin * scale, max(1.0, (end - begin) * scale)
    title = f"<title>{escape(word)} {clock(begin)} to {clock(end)}</title>"
    text = (
        f'<text class="small" x="{x + 4:.1f}" y="{top + high / 2 + 4:.0f}">{escape(word)}</text>' if wide > ROOM else ""
    )
    return f'<g>{title}<rect class="{kind}" x="{x:.1f}" y="{top:.0f}" width="{wide:.1f}" height="{high}"/>{text}</g>'


def _ups(name: str, track: Track, top: int, scale: float) -> Iterable[str]:
    yield _label(name, top + CURVE / 2)
    for first, last, mains in stretches(track.mains[name]):
        if not mains:
            yield _bar(track, first, last, top, CURVE, "away", "no mains", scale)
    places = zip(track.seconds, track.charges[name], strict=True)
    points = " ".join(f"{LEFT + at * scale:.1f},{top + CURVE * (1 - charge / 100):.1f}" for at, charge in places)
    lowest = min(track.charges[name])
    yield f'<polyline class="curve" points="{points}"><title>charge, down to {lowest:.0f} %</title></polyline>'
    yield f'<text class="small" x="{WIDTH - RIGHT}" y="{top + CURVE - 4}" text-anchor="end">down to {lowest:.0f} %</text>'


def _host(name: str, track: Track, top: int, scale: float) -> Iterable[str]:
    yield _label(name, top + ROW / 2)
    for first, last, state in stretches(track.hosts[name]):
        yield _bar(track, first, last, top, ROW, str(state), WORDS[str(state)], scale)


def _marks(decisions: Sequence[Decision], bottom: int, scale: float) -> Iterable[str]:
    """A line for each second at which something was decided; the reasons are in its title."""
    told: dict[float, list[str]] = {}
    for one in decisions:
        if one.action != "event":
            told.setdefault(one.at, []).append(f"{one.action} {one.target}: {one.reason}")
    for at, lines in told.items():
        x = LEFT + at * scale
        title = escape(f"{clock(int(at))} " + "\n".join(lines))
        yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{bottom}"><title>{title}</title></line>'


def _outage(one: object) -> str:
    upses, lost, back = getattr(one, "upses", ()), getattr(one, "lost", 0), getattr(one, "back", 0)
    end = f"to {clock(back)}" if back else "for good"
    return f"{', '.join(upses)} without mains from {clock(lost)} {end}"
