# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes as Incus reads them: decimal (kB, MB, GB, TB) and binary (KiB, MiB, GiB, TiB) suffixes."""

from __future__ import annotations

import re

_FACTORS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T", "P"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T", "P"), 1)},
}
_SIZE = re.compile(r"^\s*(\d+)\s*([A-Za-z]*)\s*$", re.ASCII)
SIZE_EXAMPLES = "512MiB, 2GB, 10GiB"


def parse_size(text: str | int) -> int:
    """Bytes in ``text``; an integer is bytes already. Raises ValueError."""
    if isinstance(text, bool):
        raise ValueError(f"{text!r} is not a size")
    if isinstance(text, int):
        if text < 0:
            raise ValueError(f"{text} is negative")
        return text
    match = _SIZE.match(text)
    if not match or match.group(2) not in _FACTORS:
        raise ValueError(f'"{text}" is not a size')
    return int(match.group(1)) * int(_FACTORS[match.group(2)])


def format_size(count: int | float) -> str:
    """``count`` bytes for people, in binary units with at most one decimal."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+)([smhdw])")
DURATION_EXAMPLES = "30m, 12h, 7d, 2w"


def parse_duration(text: str) -> int:
    """Seconds in ``text``, such as 7d or 1d12h. Raises ValueError."""
    parts = _DURATION.findall(text.strip())
    if not parts or "".join(count + unit for count, unit in parts) != text.strip():
        raise ValueError(f'"{text}" is not a duration')
    return sum(int(count) * _SECONDS[unit] for count, unit in parts)
