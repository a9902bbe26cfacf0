# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How resources look to people: as text to diff, with secrets left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "********"
_SECRET = re.compile(r"(?i)passw(?:or)?d|passphrase|secret|token|private[_-]?key|api[_-]?key|credential")
_PLAIN = re.compile(r"(?i)(?:true|false|null|~)?[\s,;}\])]*$")
#: ``key: value`` or ``export KEY=value`` as a line of its own
_LINE = re.compile(r"([ \t]*(?:-[ \t]+)?(?:export[ \t]+)?[\"']?([\w.-]+)[\"']?[ \t]*([:=]))[ \t]*(.*)$")
#: ``--password=``, ``{password:``, ``"password":`` anywhere in a line, and what may follow
_NAME = re.compile(r"(?<![\w.-])([\w.-]+)\\?[\"']?[ \t]*[:=][ \t]*")
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,}\]\"'|&;]+")
_BLOCK = re.compile(r"(?:[|>][-+0-9]*)?[ \t]*$")
_CHPASSWD_LIST = re.compile(r"^(\s*-?\s*[a-z_][a-z0-9_-]*:)(?![\s/])\S+$")
_CHPASSWD_PIPE = re.compile(r"([\"'\s][a-z_][a-z0-9_-]*:)([^\s\"'|]+)")
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.S)


def hide_secrets(value: Any, name: str = "") -> Any:
    """``value`` with everything that looks like a secret replaced, at any depth.

    Looked for: what stands under keys named like a password, token or key; the same in text
    (cloud-init, shell), ``user:password`` lists, and private keys in PEM. A value known to be
    harmless may be hidden too.
    """
    secret = bool(_SECRET.search(name.rsplit(".", 1)[-1]))
    if isinstance(value, Mapping):
        return {key: hide_secrets(item, name if secret else str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [hide_secrets(item, name) for item in value]
    if secret and value and not isinstance(value, bool):
        return HIDDEN
    return _hide_in_text(value) if isinstance(value, str) else value


def _hide_in_text(text: str) -> str:
    """The same for a document: under a secret's key goes the rest of the line and all that is deeper below it."""
    lines: list[str] = []
    above: int | None = None  # indentation of the key whose lines are left out
    passwords = "chpasswd" in text
    for line in _PEM.sub(HIDDEN, text).split("\n"):
        indent = len(line) - len(line.lstrip())
        if above is not None and (indent > above or not line.strip() or (indent == above and line[indent] == "-")):
            continue
        above = None
        found = _LINE.match(line)
        if found and _SECRET.search(found[2]) and found[3] == ":" and _BLOCK.match(found[4]):
            above = indent
            lines.append(f"{found[1]} {HIDDEN}")
        elif found and _SECRET.search(found[2]) and not _PLAIN.match(found[4]):
            lines.append(line[: found.start(4)] + HIDDEN)
        else:
            lines.append(_hide_in_line(line, passwords))
    return "\n".join(lines) + ("\n" if above is not None and text.endswith("\n") else "")


def _hide_in_line(line: str, passwords: bool) -> str:
    kept, end = "", 0
    for name in _NAME.finditer(line):
        if name.start() < end or not _SECRET.search(name[1]):
            continue
        value = _VALUE.match(line, name.end())
        if value and not _PLAIN.match(value[0]):
            kept += line[end : name.end()] + HIDDEN
            end = value.end()
    line = kept + line[end:]
    if passwords and "|" in line and "chpasswd" in line:
        line = _CHPASSWD_PIPE.sub(rf"\g<1>{HIDDEN}", line)
    return _CHPASSWD_LIST.sub(rf"\g<1>{HIDDEN}", line) if passwords else line


def diff_of(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, header: str) -> dict[str, str]:
    """One entry of Ansible's ``diff``: two texts with their headers."""
    texts = [as_text(hide_secrets(side)) if side is not None else "" for side in (before, after)]
    if before != after and texts[0] == texts[1]:
        texts[1] += "# a value that is not shown here changes\n"
    return {
        "before_header": f"{header}{'' if before is not None else ' (absent)'}",
        "after_header": f"{header}{'' if after is not None else ' (absent)'}",
        "before": texts[0],
        "after": texts[1],
    }


def as_text(value: Mapping[str, Any]) -> str:
    """A mapping in the manner of YAML, text of several lines as a block, so that it diffs by line."""
    return "".join(line + "\n" for line in _lines(value, ""))


def _lines(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield f"{indent}{key}:" if item else f"{indent}{key}: {{}}"
            yield from _lines(item, indent + "  ")
        elif isinstance(item, list):
            yield f"{indent}{key}: [{', '.join(map(str, item))}]"
        elif isinstance(item, str) and "\n" in item:
            yield f"{indent}{key}: |"
            yield from (f"{indent}  {line}" for line in item.rstrip("\n").split("\n"))
        else:
            yield f"{indent}{key}: {item}"
