# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files from an instance to this host, by digest, each put in its place whole."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import Conflict, InvalidInput, NotFound
from .files import ABSENT, DIRECTORY, FILE, SYMLINK, Found, Wanted, digest_inside, digest_of, look
from .incus.client import IncusClient


@dataclass(frozen=True)
class Pull:
    """One path's change on this host. ``local`` is what stands there now, ``link`` the target of a symlink to make."""

    path: str
    found: Found
    dest: Path
    mode: int
    local: str
    actions: tuple[str, ...]
    link: str = ""


def destination(path: str, dest: str) -> Path:
    """Where a file goes: ``dest`` itself or, where that is a directory, into it under its own name."""
    place = Path(dest)
    return place / posixpath.basename(path) if dest.endswith("/") or place.is_dir() else place


def decide_pull(
    client: IncusClient, instance: str, path: str, dest: str, mode: int | None, *, recursive: bool
) -> list[Pull]:
    """What must change on this host so that it has what the instance has."""
    found = look(client, instance, path)
    where = f"instance {instance}"
    if found.kind == ABSENT:
        raise NotFound(f'"{path}" does not exist', where=where)
    if found.kind == DIRECTORY:
        if not recursive:
            raise Conflict(f'"{path}" is a directory', where=where, hint="recursive: true pulls it with all it holds")
        return list(_tree(client, instance, path, found, Path(dest), mode, path))
    place = destination(path, dest)
    if not place.parent.is_dir():
        raise InvalidInput([f"dest: the directory {place.parent} does not exist on the host where the module runs"])
    return [_one(client, instance, path, found, place, mode, path)]


def _tree(
    client: IncusClient, instance: str, path: str, found: Found, dest: Path, mode: int | None, top: str
) -> Iterator[Pull]:
    yield _one(client, instance, path, found, dest, mode, top)
    for name in sorted(client.pull(instance, path).entries):
        below = posixpath.join(path, name)
        inside = look(client, instance, below)
        if inside.kind == DIRECTORY:
            yield from _tree(client, instance, below, inside, dest / name, mode, top)
        else:
            yield _one(client, instance, below, inside, dest / name, mode, top)


def _one(client: IncusClient, instance: str, path: str, found: Found, dest: Path, mode: int | None, top: str) -> Pull:
    local = local_kind(dest)
    link = _link(path, found, top) if found.kind == SYMLINK else ""
    wanted = found.mode if mode is None or found.kind != FILE else mode
    if DIRECTORY in (local, found.kind) and local not in (ABSENT, SYMLINK, found.kind):
        raise Conflict(f"dest: {dest} is a {local}, where a {found.kind} is wanted", hint="remove it first")
    if local == ABSENT:
        actions: tuple[str, ...] = ("create",)
    elif local != found.kind:
        actions = ("replace",)
    elif found.kind == SYMLINK:
        actions = () if os.readlink(dest) == link else ("replace",)
    else:
        same = found.kind == DIRECTORY or _same(client, instance, path, found, dest)
        moded = stat.S_IMODE(dest.lstat().st_mode) == wanted
        actions = (*(() if same else ("content",)), *(() if moded else ("mode",)))
    return Pull(path, found, dest, wanted, local, actions, link)


def local_kind(path: Path) -> str:
    """What stands on this host at ``path``, symlinks not followed."""
    if path.is_symlink():
        return SYMLINK
    if path.is_dir():
        return DIRECTORY
    return FILE if path.exists() else ABSENT


def _link(path: str, found: Found, top: str) -> str:
    """A symlink's target; where it leads to something that is pulled too, relative to the link."""
    inside = found.target == top or found.target.startswith(f"{top.rstrip('/')}/")
    return posixpath.relpath(found.target, posixpath.dirname(path)) if inside else found.target


def _same(client: IncusClient, instance: str, path: str, found: Found, dest: Path) -> bool:
    if dest.stat().st_size != found.size:
        return False
    return digest_of(Wanted(path, source=dest)) == digest_inside(client, instance, path)


def perform_pull(client: IncusClient, instance: str, pull: Pull) -> None:
    """Carry one change out. Files and symlinks are made beside their place and renamed into it."""
    if pull.found.kind == DIRECTORY:
        if pull.local == SYMLINK:
            pull.dest.unlink()  # never write through a link to somewhere else
        pull.dest.mkdir(mode=0o700, exist_ok=True)
        pull.dest.chmod(pull.mode)
    elif pull.actions == ("mode",):
        pull.dest.chmod(pull.mode)
    elif pull.actions:
        _place(client, instance, pull)


def _place(client: IncusClient, instance: str, pull: Pull) -> None:
    room = Path(tempfile.mkdtemp(prefix=f".{pull.dest.name[:200]}.", dir=pull.dest.parent))
    temporary = room / "new"
    try:
        if pull.found.kind == SYMLINK:
            temporary.symlink_to(pull.link)
        else:
            with temporary.open("xb") as stream:
                client.pull_file(instance, pull.path, stream.write)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(pull.mode)
        os.replace(temporary, pull.dest)
    finally:
        shutil.rmtree(room)
