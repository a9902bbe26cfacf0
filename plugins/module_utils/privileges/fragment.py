# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a user's sudoers fragment in place, or takes it away, and says what sudo makes of it."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.atomic import sync_folder, unfinished_name, write_unfinished
from ..common.errors import Denied, InvalidInput, NotFound, OperationFailed, Unsupported
from ..common.problems import Problems
from ..common.programs import SEARCH, run
from . import granted
from .grants import Grant, check_fragment, check_user, fragment_name, fragment_text, read_grants

FOLDER = Path("/etc/sudoers.d")
#: What sudo asks of its files.
MODE = 0o440
COMMON: dict[str, Any] = {
    "user": {"type": "str", "required": True},
    "commands": {"type": "list", "elements": "str", "default": []},
    "everything": {"type": "bool", "default": False},
    "password": {"type": "bool", "default": False},
}
OPTIONS: dict[str, Any] = {
    **COMMON,
    "fragment": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def ensure(given: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Have the fragment as it is wanted. Nothing takes its place that visudo has not found good."""
    problems = Problems()
    user, present = given["user"], given["state"] == "present"
    check_user(user, problems)
    name = given["fragment"] or fragment_name(user)
    check_fragment(name, problems)
    grants = _grants(given, problems) if present else ()
    problems.raise_if_any()
    _need_root()
    path = FOLDER / name
    before = _content(path)
    after = fragment_text(user, grants) if present else None
    if present:
        _need_user(user)
        _need_sudo()
    wrong = before is not None and not _is_private(path)
    if present and not wrong:
        _need_good_files()
    changed = before != after or (present and wrong)
    if changed:
        _apply(path, after, check=check)
    if present and wrong and not check:
        _need_good_files()  # not before: visudo calls a fragment of the wrong mode faulty, and that was ours to mend
    return {
        "changed": changed,
        "path": str(path),
        "commands": [one.words for one in grants],
        "diff": {
            "before": before or "",
            "after": after or "",
            "before_header": str(path) if before is not None else f"{path} (absent)",
            "after_header": str(path) if present else f"{path} (absent)",
        },
    }


def info(given: Mapping[str, Any]) -> dict[str, Any]:
    """What sudo lets the user do, beside what is wanted."""
    problems = Problems()
    check_user(given["user"], problems)
    grants = _grants(given, problems)
    problems.raise_if_any()
    _need_root()
    _need_user(given["user"])
    _need_sudo()
    _need_good_files()
    rules = granted.read_rules(_listing(given["user"]))
    missing = granted.missing(rules, grants)
    wide = granted.too_wide(rules, grants)
    return {
        "changed": False,
        "user": given["user"],
        "wanted": [one.words for one in grants],
        "rules": [
            {"command": one.command, "runas": one.runas, "password": one.password, "source": one.source}
            for one in rules
        ],
        "missing": missing,
        "too_wide": wide,
        "exact": not missing and not wide,
    }


def _grants(given: Mapping[str, Any], problems: Problems) -> tuple[Grant, ...]:
    everything = given["everything"]
    if everything and given["commands"]:
        problems.add("everything", "true goes without commands", "one of both")
    return read_grants(given["commands"], password=given["password"], everything=everything, problems=problems)


# -- the machine ------------------------------------------------------------------------------------
def _need_root() -> None:
    if os.geteuid() != 0:
        raise Denied("sudo's rules are root's", hint="use become")


def _need_user(user: str) -> None:
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise InvalidInput([f'user: "{user}" does not exist on this machine; make the user first']) from None


def _need_sudo() -> None:
    if not shutil.which("visudo", path=SEARCH):
        raise Unsupported("there is no sudo on this machine", hint="sudo apt-get install sudo")


def _need_good_files() -> None:
    """sudo works for nobody while one of its files is faulty."""
    found = run(["visudo", "-c", "-q"], 30)
    if found.rc:
        raise OperationFailed(
            f"is faulty already: {found.last_line}", where="/etc/sudoers", hint="mend it with visudo first"
        )


def _content(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _is_private(path: Path) -> bool:
    found = path.lstat()
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (MODE, 0, 0)


def _apply(path: Path, text: str | None, *, check: bool) -> None:
    if text is None:
        if not check:
            path.unlink()
            sync_folder(FOLDER)
        return
    if check:
        return
    FOLDER.mkdir(mode=0o750, exist_ok=True)
    unfinished = unfinished_name(path)  # its dot hides it from sudo
    try:
        write_unfinished(path, text.encode(), mode=MODE)
        os.chown(unfinished, 0, 0)
        found = run(["visudo", "-c", "-q", "-f", str(unfinished)], 30)
        if found.rc:
            raise OperationFailed(f"visudo refuses it: {found.last_line}", where=str(path))
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(FOLDER)


def _listing(user: str) -> str:
    found = run(["sudo", "-n", "-ll", "-U", user], 60)
    if found.rc and "not allowed" not in found.out + found.err:
        raise NotFound(f"sudo does not tell what {user} may do: {found.last_line}")
    return found.out
