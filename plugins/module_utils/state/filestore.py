# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``file:``: one JSON document a record, in a folder that nobody but its owner reads.

A reader holds a shared lock, a writer an exclusive one. One write is a file that is renamed into its place.
Several go into a journal first, which the next who takes the lock carries out if its writer could not.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from ..common.deadline import Deadline, wait_until
from ..common.errors import Denied, OperationFailed, RacksteadError
from .backend import Transaction
from .model import Query, Row, to_json

T = TypeVar("T")
#: No transaction holds the lock for long; a stopped process does.
LOCK_SECONDS = 60.0
#: A file's name has at most 255 bytes; ".json" is one part of it.
LONGEST_NAME = 240
LOCK, GATE, JOURNAL, SCRATCH = ".lock", ".gate", ".journal", ".tmp"


class FileBackend:
    far = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, work: Callable[[Transaction], T], *, write: bool) -> T:
        with _told(self.root):
            if write:
                make_folder(self.root)
            elif not self.root.exists():
                return work(FileTransaction(self.root))  # nobody has made it yet
            with self._locked(write):
                transaction = FileTransaction(self.root)
                result = work(transaction)
                if write:
                    self._commit(transaction.changes)
                return result

    def stamp(self) -> str | None:
        """Times of files are too coarse to tell two writes apart."""
        return None

    def close(self) -> None:
        """Nothing is kept open between transactions."""

    # -- the lock ----------------------------------------------------------------------------------
    @contextmanager
    def _locked(self, write: bool) -> Iterator[None]:
        """Hold the lock, with no work of a killed writer left over."""
        with self._lock_file(LOCK) as lock:
            self._enter(lock, write)
            if not write and (self.root / JOURNAL).exists():
                fcntl.flock(lock, fcntl.LOCK_UN)
                self._enter(lock, write := True)
            if write:
                self._recover()
            yield

    def _enter(self, lock: int, write: bool) -> None:
        """Take the lock. A writer who waits for it keeps the gate, or a stream of readers could keep him out."""
        with self._lock_file(GATE) as gate:
            self._take(gate, fcntl.LOCK_EX)
            self._take(lock, fcntl.LOCK_EX if write else fcntl.LOCK_SH)

    @contextmanager
    def _lock_file(self, name: str) -> Iterator[int]:
        file = os.open(self.root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a child forked meanwhile would keep it otherwise
            os.close(file)

    def _take(self, file: int, how: int) -> None:
        def taken() -> bool | None:
            try:
                fcntl.flock(file, how | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            return True

        wait_until(taken, Deadline(LOCK_SECONDS), what=f"the lock of file:{self.root}", first=0.0005, most=0.01)

    def _recover(self) -> None:
        """Carry out a journal that was written whole, and remove files that never got their names."""
        journal = self.root / JOURNAL
        if journal.exists():
            self._apply(_read_journal(journal))
        scratch = self.root / SCRATCH
        if scratch.exists():
            for left in scratch.iterdir():
                left.unlink()

    # -- writing -----------------------------------------------------------------------------------
    def _commit(self, changes: Mapping[tuple[str, str], str | None]) -> None:
        steps = [(kind, name_of(key), text) for (kind, key), text in changes.items()]
        if len(steps) > 1:
            content = to_json(steps)
            self._place(self.root / JOURNAL, to_json({"sha256": _digest(content), "steps": content}))
            sync_folder(self.root)
            self._apply(steps)
        else:
            self._carry_out(steps)

    def _apply(self, steps: list[tuple[str, str, str | None]]) -> None:
        """Carry out the steps of the journal, which may have been carried out in part before."""
        self._carry_out(steps)
        (self.root / JOURNAL).unlink()
        sync_folder(self.root)  # or it might come back after a power failure, and undo later writes

    def _carry_out(self, steps: list[tuple[str, str, str | None]]) -> None:
        for kind, name, text in steps:
            path = self.root / kind / name
            if text is None:
                path.unlink(missing_ok=True)
            else:
                make_folder(path.parent)
                self._place(path, text)
        for kind in {kind for kind, _name, _text in steps}:
            with suppress(FileNotFoundError):  # nothing was ever put there
                sync_folder(self.root / kind)

    def _place(self, path: Path, text: str) -> None:
        """Give ``path`` this content at once. The folder is not synced yet."""
        make_folder(self.root / SCRATCH)
        scratch = self.root / SCRATCH / "new"  # one writer at a time
        file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(file, "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.rename(path)


class FileTransaction:
    """Reads files; keeps what is to be written until the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: document for each record that is written, None for one that is removed
        self.changes: dict[tuple[str, str], str | None] = {}

    def get(self, kind: str, key: str) -> Row | None:
        path = self.root / kind / name_of(key)
        if (kind, key) in self.changes:
            text = self.changes[kind, key]
            return _row(json.loads(text)) if text is not None else None
        document = _read(path)
        if document is None:
            return None
        if (document["kind"], document["key"]) != (kind, key):
            raise _damaged(path, f"it is of {document['kind']}/{document['key']}")
        return _row(document)

    def fetch_ahead(self, places: Collection[tuple[str, str]]) -> None:
        """Each record is a file of its own."""

    def set(self, kind: str, key: str, row: Row) -> None:
        document = {"kind": kind, "key": key, "version": row.version, "time": row.time, "body": row.body}
        self.changes[kind, key] = to_json(document)

    def remove(self, kind: str, key: str) -> None:
        self.changes[kind, key] = None

    def scan(self, kind: str, query: Query) -> list[tuple[str, Row]]:
        keys = {key for key in self._keys(kind) if query.wants_key(key)}
        for (changed, key), text in self.changes.items():
            if changed == kind and query.wants_key(key):
                (keys.discard if text is None else keys.add)(key)
        found: list[tuple[str, Row]] = []
        for key in sorted(keys, reverse=query.descending):
            row = self.get(kind, key)
            if row and query.wants(row.body):
                found.append((key, row))
                if len(found) == query.limit:
                    break
        return found

    def versions(self, kind: str, query: Query) -> list[tuple[str, int, float]]:
        return [(key, row.version, row.time) for key, row in self.scan(kind, query)]

    def kinds(self) -> list[str]:
        entries = list(self.root.iterdir()) if self.root.exists() else []
        known = {entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."}
        known |= {kind for kind, _key in self.changes}
        return sorted(kind for kind in known if self.scan(kind, Query(limit=1)))

    def now(self) -> float:
        return time.time()

    def _keys(self, kind: str) -> Iterator[str]:
        with suppress(FileNotFoundError):
            for name in os.listdir(self.root / kind):
                if name.endswith(".json"):
                    yield self._key(self.root / kind / name)

    @staticmethod
    def _key(path: Path) -> str:
        """The key of a file: its name, or, where that was too long, in the file."""
        name = path.name.removesuffix(".json")
        key = str((_read(path) or {})["key"]) if "~" in name else unquote(name, errors="surrogateescape")
        if name_of(key) != path.name:
            raise _damaged(path, "its name is not that of a record")
        return key


def name_of(key: str) -> str:
    """The name of a record's file. Only letters, digits and ``_.-`` stand for themselves."""
    name = quote(key, safe="", errors="surrogateescape").replace("~", "%7E")
    if len(name) > LONGEST_NAME:
        name = f"{name[:100]}~{_digest(key)}"
    return f"{name}.json"


def make_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, and have it on the disk."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _row(document: Mapping[str, Any]) -> Row:
    return Row(document["version"], document["time"], document["body"])


FIELDS: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "key": str,
    "version": int,
    "time": (float, int),
    "body": dict,
}


def _read(path: Path) -> dict[str, Any] | None:
    """A document, or None where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise _damaged(path, "it is not text") from error
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(document, dict) or not all(isinstance(document.get(n), kind) for n, kind in FIELDS.items()):
        raise _damaged(path, f"it is not a mapping with {', '.join(FIELDS)}")
    return document


def _read_journal(path: Path) -> list[tuple[str, str, str | None]]:
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        good = journal["sha256"] == _digest(journal["steps"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "it is not a journal") from error
    if not good:
        raise _damaged(path, "it does not match its checksum")
    return [tuple(step) for step in json.loads(journal["steps"])]


def _damaged(path: Path, why: str) -> OperationFailed:
    return OperationFailed(f"the file is damaged: {why}", where=str(path), hint="put it back from a backup")


@contextmanager
def _told(root: Path) -> Iterator[None]:
    """What the system refuses, as an error of the store."""
    try:
        yield
    except RacksteadError:
        raise
    except PermissionError as error:
        raise Denied(f"permission denied: {error.filename or root}", where=f"file:{root}") from error
    except OSError as error:
        raise OperationFailed(str(error), where=f"file:{root}") from error
