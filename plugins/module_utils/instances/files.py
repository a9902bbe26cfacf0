# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files inside instances: look at what is there, decide what differs, and write that.

Looking uses Incus's files call, writing its SFTP server. Both serve stopped containers too. What is
written appears under its name whole or not at all: it is made beside it under a temporary name, with
owner and mode, and renamed over it.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..common.errors import Conflict, InvalidInput, NotFound, OperationFailed
from .incus.client import IncusClient

if TYPE_CHECKING:
    from .incus.sftp import Sftp

FILE, DIRECTORY, SYMLINK, ABSENT = "file", "directory", "symlink", "absent"
MODE = {FILE: 0o644, DIRECTORY: 0o755}
#: Longest text that a diff shows, in bytes.
DIFF_LIMIT = 100_000
#: Files of a temporary name that are older than this, in seconds, were left by a run that was killed.
LEFTOVER_AGE = 3600
SUFFIX = ".rackstead"


@dataclass(frozen=True)
class Found:
    """What stands at a path. ``target`` is a symlink's, made absolute as Incus reports it."""

    kind: str = ABSENT
    uid: int = 0
    gid: int = 0
    mode: int = 0
    size: int = 0
    target: str = ""


@dataclass(frozen=True)
class Wanted:
    """What shall stand at ``path``. None leaves owner, group or mode as they are, or as a new thing gets them."""

    path: str
    kind: str = FILE
    source: Path | None = None
    content: bytes = b""
    target: str = ""
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None

    def open(self) -> BinaryIO:
        return self.source.open("rb") if self.source else io.BytesIO(self.content)

    @property
    def size(self) -> int:
        return self.source.stat().st_size if self.source else len(self.content)


@dataclass(frozen=True)
class Step:
    """One path's change. Without ``actions`` there is nothing to do."""

    wanted: Wanted
    found: Found
    actions: tuple[str, ...]

    @property
    def after(self) -> Found:
        """What will stand there."""
        wanted, found = self.wanted, self.found
        if wanted.kind == ABSENT:
            return Found()
        kept = found.kind == wanted.kind
        return Found(
            kind=wanted.kind,
            uid=_first(wanted.uid, found.uid if kept else 0),
            gid=_first(wanted.gid, found.gid if kept else 0),
            mode=0o777 if wanted.kind == SYMLINK else _first(wanted.mode, found.mode if kept else MODE[wanted.kind]),
            size=wanted.size if wanted.kind == FILE else 0,
            target=resolved(wanted.path, wanted.target) if wanted.kind == SYMLINK else "",
        )


def _first(value: int | None, other: int) -> int:
    return other if value is None else value


# -- what a user writes -------------------------------------------------------------------------------
def parse_mode(value: object, field_name: str = "mode") -> int | None:
    """Permissions in octal text such as "0644"; None for nothing. A bare number is ambiguous, and refused."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    shown = f'"{value}"' if isinstance(value, str) else f"{value} (a bare number)"
    extra = "; set-id and sticky bits cannot be set by this way, use chmod" if _has_special_bits(value) else ""
    raise InvalidInput(
        [f'{field_name}: {shown} is not a file mode; allowed: three octal digits in quotes, such as "0644"{extra}']
    )


def _has_special_bits(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"0?[1-7][0-7]{3}", value))


def check_path(path: str, field_name: str = "path") -> str:
    """An absolute path without a trailing slash."""
    if not path.startswith("/") or "\0" in path:
        raise InvalidInput([f'{field_name}: "{path}" is not a path; allowed: an absolute path inside the instance'])
    return posixpath.normpath(path).replace("//", "/")


def resolved(path: str, target: str) -> str:
    """A symlink's target as Incus reports it: relative ones joined to the folder of the link."""
    return target if target.startswith("/") else posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


# -- looking ------------------------------------------------------------------------------------------
def look(client: IncusClient, instance: str, path: str) -> Found:
    """What stands at ``path``; the instance itself is known to exist."""
    url = f"/instances/{instance}/files"
    try:
        found = client.raw("HEAD", url, {"path": path})
    except NotFound:
        return Found()
    except OperationFailed:  # an answer to HEAD has no text: ask again for the reason
        client.raw("GET", url, {"path": path})
        raise
    head = found.headers
    kind = head.get("x-incus-type", FILE)
    return Found(
        kind=kind,
        uid=int(head.get("x-incus-uid", 0)),
        gid=int(head.get("x-incus-gid", 0)),
        mode=int(head.get("x-incus-mode", "0"), 8) & 0o777,
        size=int(head.get("content-length", 0)) if kind == FILE else 0,
        target=resolved(path, client.pull(instance, path).content.decode(errors="surrogateescape"))
        if kind == SYMLINK
        else "",
    )


def is_directory(client: IncusClient, instance: str, path: str) -> bool:
    """Whether ``path`` is a directory or a symlink to one."""
    try:
        return look(client, instance, f"{path}/.").kind == DIRECTORY
    except OperationFailed:  # "not a directory"
        return False


def digest_inside(client: IncusClient, instance: str, path: str) -> str:
    """SHA-256 of a file in an instance, read in pieces."""
    digest = hashlib.sha256()
    client.pull_file(instance, path, digest.update)
    return digest.hexdigest()


def digest_of(wanted: Wanted) -> str:
    """SHA-256 of what is to be written."""
    digest = hashlib.sha256()
    with wanted.open() as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


# -- deciding -----------------------------------------------------------------------------------------
def decide(client: IncusClient, instance: str, wanted: Wanted) -> Step:
    """Compare what is wanted with what is there. Raises Conflict where one kind cannot take another's place."""
    found = look(client, instance, wanted.path)
    if wanted.kind == DIRECTORY and found.kind == SYMLINK and is_directory(client, instance, wanted.path):
        return Step(wanted, found, ())  # such as /bin -> usr/bin: good enough, and not ours to change
    if DIRECTORY in (wanted.kind, found.kind) and found.kind not in (ABSENT, wanted.kind):
        hint = "remove it first with state: absent"
        raise Conflict(
            f'"{wanted.path}" is a {found.kind}, where a {wanted.kind} is wanted',
            where=f"instance {instance}",
            hint=hint,
        )
    if found.kind != wanted.kind:
        return Step(wanted, found, ("create",) if found.kind == ABSENT else ("replace",))
    actions = []
    if wanted.kind == SYMLINK:
        return Step(wanted, found, () if resolved(wanted.path, wanted.target) == found.target else ("replace",))
    if wanted.kind == FILE and not _same_content(client, instance, wanted, found):
        actions.append("content")
    if (_first(wanted.uid, found.uid), _first(wanted.gid, found.gid)) != (found.uid, found.gid):
        actions.append("owner")
    if _first(wanted.mode, found.mode) != found.mode:
        actions.append("mode")
    return Step(wanted, found, tuple(actions))


def _same_content(client: IncusClient, instance: str, wanted: Wanted, found: Found) -> bool:
    return wanted.size == found.size and digest_of(wanted) == digest_inside(client, instance, wanted.path)


def decide_removal(client: IncusClient, instance: str, path: str, *, recursive: bool) -> Step:
    found = look(client, instance, path)
    if found.kind == DIRECTORY and not recursive and client.pull(instance, path).entries:
        hint = "recursive: true removes it with all it holds"
        raise Conflict(f'"{path}" is a directory that is not empty', where=f"instance {instance}", hint=hint)
    return Step(Wanted(path, ABSENT), found, () if found.kind == ABSENT else ("remove",))


def check_parent(client: IncusClient, instance: str, path: str) -> None:
    """Raise NotFound where the folder that ``path`` belongs in is not there."""
    parent = posixpath.dirname(path)
    if not is_directory(client, instance, parent):
        hint = "make it first with state: directory"
        raise NotFound(f'the directory "{parent}" does not exist', where=f"instance {instance}", hint=hint)


def parents(path: str) -> Iterator[str]:
    """The directories above ``path``, outermost first, the root left out."""
    parts = path.strip("/").split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])


def tree(source: Path, path: str, template: Wanted, directory_mode: int | None) -> Iterator[Wanted]:
    """Everything below ``source`` as it shall stand below ``path``, directories before what they hold.

    Owner and mode are ``template``'s; where it has no mode, each thing's own permissions are kept.
    """
    yield _copied(source, path, template, directory_mode)
    for folder, folders, names in os.walk(source):
        folders.sort()
        inside = posixpath.join(path, *Path(folder).relative_to(source).parts)
        for name in sorted([*folders, *names]):
            yield _copied(Path(folder, name), posixpath.join(inside, name), template, directory_mode)


def _copied(source: Path, path: str, template: Wanted, directory_mode: int | None) -> Wanted:
    own = source.lstat().st_mode & 0o777
    if source.is_symlink():
        return Wanted(path, SYMLINK, target=os.readlink(source))
    if source.is_dir():
        return Wanted(path, DIRECTORY, uid=template.uid, gid=template.gid, mode=_first(directory_mode, own))
    if not source.is_file():
        raise InvalidInput([f"src: {source} cannot be copied; allowed: files, directories and symlinks"])
    return Wanted(path, FILE, source=source, uid=template.uid, gid=template.gid, mode=_first(template.mode, own))


# -- writing ------------------------------------------------------------------------------------------
@dataclass
class FileWriter:
    """Carries steps out. The connection is opened with the first one."""

    client: IncusClient
    instance: str
    _sftp: Sftp | None = field(default=None, repr=False)

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._sftp is not None:
            self._sftp.__exit__(*exception)

    def perform(self, step: Step) -> None:
        if not step.actions:
            return
        sftp = self._open()
        if step.wanted.kind == ABSENT:
            self._remove(sftp, step)
        elif step.wanted.kind == DIRECTORY and "create" in step.actions:
            sftp.make_directory(step.wanted.path)
            self._set(sftp, step, ("owner", "mode"))
        elif {"create", "replace", "content"} & set(step.actions):
            self._put(sftp, step)
        else:
            self._set(sftp, step, step.actions)

    def _open(self) -> Sftp:
        if self._sftp is None:
            from .incus.sftp import Sftp  # its library takes as long to load as all the rest, and most tasks only look

            self._sftp = Sftp(self.client, self.instance)
        return self._sftp

    def _remove(self, sftp: Sftp, step: Step) -> None:
        path = step.wanted.path
        if step.found.kind == DIRECTORY:
            sftp.remove_tree(path)
        else:
            sftp.remove(path)

    def _set(self, sftp: Sftp, step: Step, actions: tuple[str, ...]) -> None:
        path, after = step.wanted.path, step.after
        if "owner" in actions:
            sftp.set_owner(path, after.uid, after.gid)
        if "mode" in actions or "owner" in actions:  # changing the owner may take permissions away
            sftp.set_mode(path, after.mode)

    def _put(self, sftp: Sftp, step: Step) -> None:
        """Write under a temporary name and rename; on any failure nothing of it stays."""
        path, after = step.wanted.path, step.after
        folder, name = posixpath.split(path)
        prefix = f".{name[:200]}."
        temporary = posixpath.join(folder, f"{prefix}{secrets.token_hex(8)}{SUFFIX}")
        try:
            if after.kind == SYMLINK:
                sftp.symlink(step.wanted.target, temporary)
            else:
                with step.wanted.open() as stream:
                    sftp.write_new(temporary, stream, uid=after.uid, gid=after.gid, mode=after.mode)
            fresh = sftp.lstat(temporary)
            sftp.rename(temporary, path)
        except BaseException:
            if sftp.lstat(temporary):
                sftp.remove(temporary)
            raise
        self._clear_leftovers(sftp, folder, prefix, fresh.modified if fresh else 0)

    def _clear_leftovers(self, sftp: Sftp, folder: str, prefix: str, now: int) -> None:
        """Remove temporary files of this name that a killed run has left. ``now`` by the instance's own clock."""
        pattern = re.compile(re.escape(prefix) + r"[0-9a-f]{16}" + re.escape(SUFFIX))
        for name, found in list(sftp.entries(folder)):
            if pattern.fullmatch(name) and found.modified < now - LEFTOVER_AGE:
                sftp.remove(posixpath.join(folder, name))


# -- showing ------------------------------------------------------------------------------------------
def shown_text(data: bytes, size: int) -> str | None:
    """A file's content as text to diff; None where it is too long or no text."""
    if size > DIFF_LIMIT or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def summary_of(found: Found) -> dict[str, str]:
    """Kind, owner, group and mode, for a diff."""
    if found.kind == ABSENT:
        return {"state": ABSENT}
    if found.kind == SYMLINK:
        return {"state": found.kind, "target": found.target}
    return {"state": found.kind, "owner": str(found.uid), "group": str(found.gid), "mode": f"{found.mode:04o}"}
