# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of one file task: what is asked, what differs, what is written, what is shown."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import InvalidInput, OperationFailed
from ..common.problems import Problems
from . import fetch, files
from .accounts import find_account, find_gid
from .files import ABSENT, DIRECTORY, FILE, SYMLINK, FileWriter, Step, Wanted
from .incus.client import IncusClient
from .lookup import get_instance

STATES = ("present", "directory", "link", "absent", "pulled")
#: option -> the states in which it means something
GOES_WITH = {
    "src": ("present", "link"),
    "content": ("present",),
    "dest": ("pulled",),
    "owner": ("present", "directory"),
    "group": ("present", "directory"),
    "mode": ("present", "directory", "pulled"),
    "directory_mode": ("present",),
}
#: Most files whose text a diff shows.
MOST_DIFFS = 50


@dataclass(frozen=True)
class FileRequest:
    """The options of a file task. ``content`` is None where none is given; modes are as the user wrote them."""

    instance: str
    path: str
    state: str = "present"
    src: str | None = None
    content: str | None = None
    dest: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: Any = None
    directory_mode: Any = None
    recursive: bool = False
    sensitive: bool = False

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> FileRequest:
        return cls(**{name: params[name] for name in cls.__dataclass_fields__})

    def check(self) -> None:
        """Raise InvalidInput with a line for each option that cannot be."""
        problems = Problems()
        for option, states in GOES_WITH.items():
            if getattr(self, option) is not None and self.state not in states:
                problems.add(option, f"means nothing with state: {self.state}", f"state: {' or '.join(states)}")
        if self.state == "present" and (self.src is None) == (self.content is None):
            problems.add("src", "state: present needs one of src and content", "exactly one of them")
        if self.state == "link" and not self.src:
            problems.add("src", "state: link needs the path that the link leads to", "a path")
        if self.state == "pulled" and not self.dest:
            problems.add("dest", "state: pulled needs a place for the file", "a path on the host where the module runs")
        for check in (lambda: files.check_path(self.path), lambda: self.modes):
            try:
                check()
            except InvalidInput as error:
                problems.lines.extend(error.problems)
        problems.raise_if_any()

    @property
    def modes(self) -> tuple[int | None, int | None]:
        """Mode of files (or the directory), and mode of directories in a tree. ``preserve`` counts as none."""
        mode = None if self.mode == "preserve" else self.mode
        return files.parse_mode(mode), files.parse_mode(self.directory_mode, "directory_mode")


def ensure(client: IncusClient, request: FileRequest, *, check: bool, diff: bool) -> dict[str, Any]:
    """Bring one path, with all below it where asked for, into the wanted state. Returns the module's result."""
    request.check()
    get_instance(client, request.instance)
    act = _pull if request.state == "pulled" else _put
    try:
        return act(client, request, check=check, diff=diff)
    except OSError as error:  # on this host: a source that cannot be read, a destination that cannot be written
        raise OperationFailed(f"{error.filename or request.dest}: {error.strerror}") from error


# -- into the instance --------------------------------------------------------------------------------
def _put(client: IncusClient, request: FileRequest, *, check: bool, diff: bool) -> dict[str, Any]:
    steps = [step for step in _steps(client, request) if step.actions]
    shown = list(_diffs(client, request, steps)) if diff else []
    if not check:
        with FileWriter(client, request.instance) as writer:
            for step in steps:
                writer.perform(step)
    changes = [{"path": step.wanted.path, "actions": list(step.actions)} for step in steps]
    return {"changed": bool(steps), "path": request.path, "changes": changes, **({"diff": shown} if diff else {})}


def _steps(client: IncusClient, request: FileRequest) -> Iterator[Step]:
    path = files.check_path(request.path)
    if request.state == "absent":
        yield files.decide_removal(client, request.instance, path, recursive=request.recursive)
        return
    items = list(_wanted(client, request, path))
    fresh = ""  # a directory that is yet to be made: nothing needs looking up below it
    for item in items:
        below = bool(fresh) and item.path.startswith(fresh)
        step = Step(item, files.Found(), ("create",)) if below else files.decide(client, request.instance, item)
        if item.kind == DIRECTORY and step.actions == ("create",) and not below:
            fresh = f"{item.path}/"
        if item is items[0] and step.actions == ("create",):
            files.check_parent(client, request.instance, item.path)
        yield step


def _wanted(client: IncusClient, request: FileRequest, path: str) -> Iterator[Wanted]:
    mode, directory_mode = request.modes
    uid = find_account(client, request.instance, request.owner, "owner").uid if request.owner else None
    gid = find_gid(client, request.instance, request.group, "group") if request.group else None
    if request.state == "link":
        yield Wanted(path, SYMLINK, target=request.src or "")
    elif request.state == "directory":
        missing = [above for above in files.parents(path) if not files.is_directory(client, request.instance, above)]
        yield from (Wanted(above, DIRECTORY) for above in missing)
        yield Wanted(path, DIRECTORY, uid=uid, gid=gid, mode=mode)
    elif request.content is not None:
        yield Wanted(path, FILE, content=request.content.encode(), uid=uid, gid=gid, mode=mode)
    else:
        yield from _from_source(
            Path(request.src or ""), request, Wanted(path, uid=uid, gid=gid, mode=mode), directory_mode
        )


def _from_source(source: Path, request: FileRequest, template: Wanted, directory_mode: int | None) -> Iterator[Wanted]:
    if source.is_dir():
        if not request.recursive:
            raise InvalidInput([f"src: {source} is a directory; allowed: a file, or recursive: true"])
        yield from files.tree(source, template.path, template, directory_mode)
        return
    try:
        with source.open("rb"):
            mode = stat.S_IMODE(source.stat().st_mode) & 0o777 if request.mode == "preserve" else template.mode
    except OSError as error:
        raise InvalidInput([f"src: {source}: {error.strerror}; allowed: a file that can be read"]) from error
    yield Wanted(template.path, FILE, source=source, uid=template.uid, gid=template.gid, mode=mode)


# -- out of the instance ------------------------------------------------------------------------------
def _pull(client: IncusClient, request: FileRequest, *, check: bool, diff: bool) -> dict[str, Any]:
    path, mode = files.check_path(request.path), request.modes[0]
    found = fetch.decide_pull(client, request.instance, path, request.dest or "", mode, recursive=request.recursive)
    pulls = [pull for pull in found if pull.actions]
    shown = list(_pull_diffs(client, request, pulls)) if diff else []
    if not check:
        for pull in pulls:
            fetch.perform_pull(client, request.instance, pull)
    changes = [{"path": str(pull.dest), "actions": list(pull.actions)} for pull in pulls]
    result = {"changed": bool(pulls), "path": request.path, "dest": str(found[0].dest), "changes": changes}
    return {**result, **({"diff": shown} if diff else {})}


# -- showing ------------------------------------------------------------------------------------------
def _diffs(client: IncusClient, request: FileRequest, steps: Iterable[Step]) -> Iterator[dict[str, Any]]:
    texts = 0
    for step in steps:
        path = step.wanted.path
        before, after = files.summary_of(step.found), files.summary_of(step.after)
        if before != after:
            yield _entry(path, before, after)
        if (
            {step.found.kind, step.after.kind} <= {FILE, ABSENT}
            and set(step.actions) - {"owner", "mode"}
            and texts < MOST_DIFFS
        ):
            texts += 1
            old = _inside(client, request.instance, path, step.found.size) if step.found.kind == FILE else b""
            new = _source_text(step.wanted) if step.after.kind == FILE else b""
            yield _text_entry(request, path, (old, step.found.size), (new, step.after.size))


def _pull_diffs(client: IncusClient, request: FileRequest, pulls: Iterable[fetch.Pull]) -> Iterator[dict[str, Any]]:
    for pull in list(pulls)[:MOST_DIFFS]:
        if pull.found.kind == FILE and pull.local in (FILE, ABSENT) and pull.actions != ("mode",):
            size = pull.dest.stat().st_size if pull.local == FILE else 0
            old = pull.dest.read_bytes() if size <= files.DIFF_LIMIT and pull.local == FILE else b""
            new = _inside(client, request.instance, pull.path, pull.found.size)
            yield _text_entry(request, str(pull.dest), (old, size), (new, pull.found.size))
        else:
            yield _entry(str(pull.dest), {"state": pull.local}, {"state": pull.found.kind, "mode": f"{pull.mode:04o}"})


def _inside(client: IncusClient, instance: str, path: str, size: int) -> bytes:
    return client.pull(instance, path).content if size <= files.DIFF_LIMIT else b""


def _source_text(wanted: Wanted) -> bytes:
    with wanted.open() as stream:
        return stream.read() if wanted.size <= files.DIFF_LIMIT else b""


def _entry(path: str, before: Any, after: Any) -> dict[str, Any]:
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def _text_entry(request: FileRequest, path: str, old: tuple[bytes, int], new: tuple[bytes, int]) -> dict[str, Any]:
    if request.sensitive:
        return _entry(path, "(content hidden: sensitive)\n", "(new content hidden: sensitive)\n")
    texts = [files.shown_text(data, size) for data, size in (old, new)]
    if None in texts or texts[0] == texts[1]:
        return _entry(path, *(f"(binary or long file, {size} bytes)\n" for _data, size in (old, new)))
    return _entry(path, texts[0], texts[1])
