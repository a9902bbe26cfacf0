# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what sudo itself says that a user may do (``sudo -ll -U USER``), and compares it with what is wanted. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .grants import EVERYTHING, Grant

_ENTRY = re.compile(r"(?:LDAP Role|SSSD Role|Sudoers entry|Sudo rule)\b[^:]*:\s*(.*)")
_FIELD = re.compile(r"\s{2,}(RunAsUsers|RunAsGroups|Options|Commands|Source|Roles?|Types|[A-Z]\w+):\s*(.*)")


@dataclass(frozen=True)
class Rule:
    """One command of one of sudo's rules, as sudo tells it. ``source`` is the file it stands in, where sudo says so."""

    command: str
    runas: str = "root"
    password: bool = True
    source: str = ""

    @property
    def words(self) -> str:
        """For people."""
        where = f" (in {self.source})" if self.source else ""
        how = "with a password" if self.password else "without a password"
        return f"{self.command}, as {self.runas}, {how}{where}"


def read_rules(out: str) -> list[Rule]:
    """The rules in what ``sudo -ll -U USER`` prints, in sudo's order: the last that fits decides."""
    found: list[Rule] = []
    fields: dict[str, str] = {}
    source, inside = "", False
    for line in out.splitlines():
        entry = _ENTRY.match(line)
        field = _FIELD.match(line) if not line.startswith("\t") else None
        if entry:
            source, fields, inside = entry[1].strip(), {}, False
        elif field:
            fields[field[1]] = field[2].strip()
            inside = field[1] == "Commands"
        elif inside and line.startswith("\t") and line.strip():
            options = fields.get("Options", "").split(", ")
            found.append(Rule(line.strip(), fields.get("RunAsUsers", "root"), "!authenticate" not in options, source))
    return found


def covers(rule: Rule, grant: Grant) -> bool:
    """Whether a rule speaks of all that a grant gives. A rule with ! in front speaks of it in order to refuse."""
    command = rule.command.lstrip("! ")
    if not _is_for_root(rule.runas):
        return False
    if command == EVERYTHING:
        return True
    path, blank, arguments = command.partition(" ")
    if grant.command == EVERYTHING or not fnmatch.fnmatchcase(grant.command, path):
        return False
    if not blank:
        return True
    if grant.arguments is None:
        return False
    if arguments == '""':
        return grant.arguments == "" and not grant.open_end
    if grant.open_end:
        return arguments == Grant(grant.command, grant.arguments, True).sudoers.partition(" ")[2]
    return _fits(grant.arguments, arguments)


def _fits(text: str, pattern: str) -> bool:
    """As sudo matches arguments: a backslash takes a sign's meaning away, which Python's fnmatch does with [x]."""
    plain = re.sub(r"\\(.)", lambda match: f"[{match[1]}]" if match[1] in "*?[" else match[1], pattern)
    return fnmatch.fnmatchcase(text, plain)


def _is_for_root(runas: str) -> bool:
    names = [name.strip() for name in runas.split(",")]
    return any(name in ("root", "ALL", "#0") for name in names) and "!root" not in names


def missing(rules: Sequence[Rule], grants: Sequence[Grant]) -> list[str]:
    """What is wanted and not given, in words."""
    found = []
    for grant in grants:
        last = next((rule for rule in reversed(rules) if covers(rule, grant)), None)
        if last is None:
            found.append(f"{grant.words}: not allowed")
        elif last.command.startswith("!"):
            found.append(f"{grant.words}: forbidden by {last.words}")
        elif last.password and not grant.password:
            found.append(f"{grant.words}: asks for a password, by the rule {last.words}")
    return found


def too_wide(rules: Sequence[Rule], grants: Sequence[Grant]) -> list[str]:
    """What is given and not wanted. A rule is as wanted if it says what a grant says, and no more."""
    if any(grant.command == EVERYTHING for grant in grants):
        return []
    exact = {grant.sudoers for grant in grants}
    return [
        rule.words
        for rule in rules
        if not rule.command.startswith("!") and not (rule.command in exact and rule.runas == "root")
    ]
