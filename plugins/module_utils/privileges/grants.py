# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may run as root: read from words, and written as sudo reads it. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..common.problems import Problems

#: Behind a command, or behind the beginning of its arguments: whatever follows.
ANYTHING = "..."
EVERYTHING = "ALL"
#: Whoever runs one of these as root has a shell, whatever its arguments: shells, editors, pagers.
INTERACTIVE = frozenset(
    """
    ash bash csh dash ed emacs fish ksh less man more most nano pico rvim screen script sh su sudo sudoedit tcsh tmux vi
    view vigr vim vim.basic vim.tiny vimdiff vipw visudo zsh
    """.split()
)
#: With arguments of one's choice, or none, each of these gives all of root's rights: interpreters, what runs other
#: programs, and what writes any file or changes whose it is.
AS_GOOD_AS_ALL = frozenset(
    """
    awk busybox chmod chown chroot cp crontab curl dd env expect find gawk ionice install ln lua mawk mount mv nice node
    nohup nsenter perl php pip python rsync ruby run-parts sed setpriv socat ssh start-stop-daemon strace systemd-run tar
    tclsh tee timeout unshare watch wget xargs
    """.split()
)
_NUMBERED = re.compile(r"[0-9.]+$")
_PATH = re.compile(r"/[A-Za-z0-9._+/@-]*[A-Za-z0-9._+@-]")
#: What sudo takes as it is in arguments, once signs with a meaning have a backslash in front.
_ARGUMENTS = re.compile(r"[A-Za-z0-9 ._/:=,@%+~#{}*?\[\]!-]*")
_USER = re.compile(r"[a-z_][A-Za-z0-9_.-]{0,31}")
#: sudo leaves out files with a dot in their name, or a tilde at its end.
_FRAGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SPECIAL = re.compile(r"([,:=#*?\[\]!])")
_BACKSLASHED = r"\\\1"


@dataclass(frozen=True)
class Grant:
    """One command. ``arguments`` are exactly those; None stands for any, and ``open_end`` lets more follow them."""

    command: str
    arguments: str | None = ""
    open_end: bool = False
    password: bool = False

    @property
    def words(self) -> str:
        """As a user writes it."""
        if self.command == EVERYTHING:
            return EVERYTHING
        if self.arguments is None:
            return f"{self.command} {ANYTHING}"
        return f"{self.command} {self.arguments}{ANYTHING if self.open_end else ''}".rstrip(" ")

    @property
    def sudoers(self) -> str:
        """As sudo reads it."""
        if self.command == EVERYTHING or self.arguments is None:
            return self.command
        if not self.arguments:
            return f'{self.command} ""'
        return f"{self.command} {_SPECIAL.sub(_BACKSLASHED, self.arguments)}{'*' if self.open_end else ''}"


def read_grants(lines: Sequence[str], *, password: bool, everything: bool, problems: Problems) -> tuple[Grant, ...]:
    """Grants of what a user wrote: ``/usr/bin/snap list``, ``/usr/bin/snap refresh microk8s ...``."""
    if everything:
        return (Grant(EVERYTHING, None, password=password),)
    found = [_read(line, password, problems) for line in lines]
    if not lines:
        problems.add("commands", "empty", "commands with absolute paths, such as /usr/bin/snap list")
    return tuple(sorted({one for one in found if one is not None}, key=lambda one: one.words))


def _read(line: str, password: bool, problems: Problems) -> Grant | None:
    command, _blank, rest = line.strip(" ").partition(" ")
    where, program = "commands", _NUMBERED.sub("", posixpath.basename(command))
    if command == EVERYTHING:
        problems.add(where, '"ALL" gives everything', "commands; who means it sets everything: true")
    elif not _PATH.fullmatch(command) or posixpath.normpath(command) != command:
        problems.add(where, f'"{line}" is not valid', "an absolute path, without wildcards, and arguments")
    elif not _ARGUMENTS.fullmatch(rest.removesuffix(ANYTHING)) or "  " in f" {rest}" or ANYTHING in rest[:-3]:
        allowed = "letters, digits, single blanks and . _ / : = , @ % + ~ # { } * ? [ ] ! -, and ... at the end"
        problems.add(where, f'"{line}" is not valid', allowed)
    elif program in INTERACTIVE:
        what = f'"{line}" gives everything: who runs {program} has a shell'
        problems.add(where, what, "other programs; who means it sets everything: true")
    elif program in AS_GOOD_AS_ALL and (not rest or rest.endswith(ANYTHING)):
        what = f'"{line}" gives everything: {program} runs or writes whatever it is told to'
        problems.add(where, what, "the arguments that are needed; who means it sets everything: true")
    elif rest == ANYTHING:
        return Grant(command, None, password=password)
    else:
        return Grant(command, rest.removesuffix(ANYTHING), rest.endswith(ANYTHING), password)
    return None


def check_user(user: str, problems: Problems) -> None:
    """Names that sudo would read as a group, an alias, an id or a host are none of a user."""
    if not _USER.fullmatch(user):
        problems.add("user", f'"{user}" is not valid', "the name of one user, which begins with a small letter or _")


def check_fragment(name: str, problems: Problems) -> None:
    """sudo reads only files with such names."""
    if not _FRAGMENT.fullmatch(name):
        problems.add("fragment", f'"{name}" is not valid', "letters, digits, _ and -: sudo leaves out other files")


def fragment_name(user: str) -> str:
    """The file that holds a user's grants, where nobody names another."""
    return "rackstead-" + re.sub(r"[^A-Za-z0-9_-]", "_", user)


def fragment_text(user: str, grants: Sequence[Grant]) -> str:
    """The sudoers file. One line a command, so that a diff tells what changes."""
    lines = [
        "# Made by Rackstead (rackstead.infra.privileges). Changes by hand are undone at the next run.",
        *(
            f"{user} ALL=({'ALL' if one.command == EVERYTHING else 'root'}) "
            f"{'PASSWD' if one.password else 'NOPASSWD'}: {one.sudoers}"
            for one in grants
        ),
    ]
    return "\n".join(lines) + "\n"
