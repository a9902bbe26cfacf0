# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions of settings, as SUM writes them in WorkIf: ``( 2 == Power Technology ) and ( 0 != SEL Components )``.

Words are parted by blanks; a setting's name may hold several, and brackets that touch its words. Options
are compared by their numbers; a text in quotes is compared with what a setting shows. A condition that
cannot be read, or is about something that is not there, is neither true nor false: None.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

#: A setting's value by its name: the number that conditions go by, and the text that it shows.
Look = Callable[[str], "tuple[int | None, str] | None"]
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ALL, ANY, NOT = ("and", "&&"), ("or", "||"), ("not", "!")
Tree = tuple[Any, ...]


class _Unreadable(Exception):
    pass


def holds(condition: str, look: Look) -> bool | None:
    """Whether the condition is true with the values that ``look`` gives."""
    tree = _tree(condition)
    return None if tree is None else _value(tree, look)


def names_in(condition: str) -> tuple[str, ...]:
    """The settings that the condition is about."""
    tree = _tree(condition)
    found: list[str] = []

    def walk(node: Tree) -> None:
        if node[0] in COMPARISONS:
            found.extend(one for one in node[1:] if isinstance(one, str) and not one.startswith('"'))
        else:
            for child in node[1:]:
                walk(child)

    if tree is not None:
        walk(tree)
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4096)
def _tree(condition: str) -> Tree | None:
    words = condition.split()
    try:
        tree, end = _any(words, 0)
    except _Unreadable:
        return None
    return tree if end == len(words) else None


def _any(words: list[str], at: int) -> tuple[Tree, int]:
    return _chain(words, at, ANY, _all)


def _all(words: list[str], at: int) -> tuple[Tree, int]:
    return _chain(words, at, ALL, _one)


def _chain(
    words: list[str], at: int, joints: tuple[str, str], below: Callable[[list[str], int], tuple[Tree, int]]
) -> tuple[Tree, int]:
    first, at = below(words, at)
    parts = [first]
    while at < len(words) and words[at].lower() in joints:
        part, at = below(words, at + 1)
        parts.append(part)
    return (first if len(parts) == 1 else (joints[0], *parts)), at


def _one(words: list[str], at: int) -> tuple[Tree, int]:
    if at < len(words) and words[at] == "(":
        tree, at = _any(words, at + 1)
        if at >= len(words) or words[at] != ")":
            raise _Unreadable
        return tree, at + 1
    if at < len(words) and words[at].lower() in NOT:
        tree, at = _one(words, at + 1)
        return ("not", tree), at
    left, at = _operand(words, at)
    if at >= len(words) or words[at] not in COMPARISONS:
        raise _Unreadable
    sign = words[at]
    right, at = _operand(words, at + 1)
    return (sign, left, right), at


def _operand(words: list[str], at: int) -> tuple[int | str, int]:
    """A number, a text in quotes, or a name: all words up to the next sign, bracket or joint."""
    start = at
    while at < len(words) and words[at] not in COMPARISONS and words[at] != ")" and not _joint(words, at, start):
        at += 1
    if at == start:
        raise _Unreadable
    text = " ".join(words[start:at])
    try:
        return int(text, 0), at
    except ValueError:
        return text, at


def _joint(words: list[str], at: int, start: int) -> bool:
    """A name may hold the word "and": a joint is followed by what begins a comparison."""
    if words[at].lower() not in (*ALL, *ANY) or at == start or at + 1 >= len(words):
        return False
    if words[at + 1] in ("(", *NOT) or words[at + 1].lstrip("-").isdigit():
        return True
    ahead = words[at + 1 :]
    end = next((n for n, word in enumerate(ahead) if word == ")" or word.lower() in (*ALL, *ANY)), len(ahead))
    return any(word in COMPARISONS for word in ahead[:end])


def _value(tree: Tree, look: Look) -> bool | None:
    sign, *parts = tree
    if sign == "not":
        inner = _value(parts[0], look)
        return None if inner is None else not inner
    if sign in ("and", "or"):
        found = [_value(part, look) for part in parts]
        decisive = bool(sign == "or")
        if decisive in found:
            return decisive
        return None if None in found else not decisive
    return _compared(sign, parts[0], parts[1], look)


def _compared(sign: str, left: int | str, right: int | str, look: Look) -> bool | None:
    as_text = any(isinstance(side, str) and side.startswith('"') for side in (left, right))
    sides = []
    for side in (left, right):
        if isinstance(side, int):
            sides.append(str(side) if as_text else side)
        elif side.startswith('"'):
            sides.append(side.strip('"'))
        else:
            seen = look(side)
            value: Any = None if seen is None else seen[1] if as_text else seen[0]
            if value is None:
                return None
            sides.append(value)
    return bool(COMPARISONS[sign](sides[0], sides[1]))
