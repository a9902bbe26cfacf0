# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A state store in one file: JSON lines, each record with its digest, and one digest over all at the end.

Sensitive fields stay sealed: who reads the file without the key sees what who reads the store without it sees.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..common.errors import InvalidInput, OperationFailed
from .backend import Backend, Transaction
from .fill import BATCH, Filling, Item, digest_of, everything
from .model import Row, to_json

FORMAT = "rackstead-state-1"
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Summary:
    """What a file holds."""

    records: int
    digest: str


def backup(backend: Backend, path: Path, tell: Tell) -> Summary:
    """Write all of a store, as it is at one moment, to a file that appears only when it is whole."""
    with _new_file(path) as file:
        return backend.run(lambda tx: _write(tx, file, tell), write=False)


def _write(tx: Transaction, file: IO[bytes], tell: Tell) -> Summary:
    file.seek(0)  # it may be the second time, after a conflict
    file.truncate()
    whole = hashlib.sha256()
    count = 0

    def line(content: dict[str, Any]) -> None:
        data = to_json(content).encode() + b"\n"
        whole.update(data)
        file.write(data)

    line({"format": FORMAT, "time": tx.now()})
    for kind, key, row in everything(tx):
        record = {"kind": kind, "key": key, "version": row.version, "time": row.time, "body": row.body}
        line({**record, "digest": digest_of(kind, key, row)})
        count += 1
        tell("saving", count, 0)
    end = {"records": count, "digest": whole.hexdigest()}
    file.write(to_json(end).encode() + b"\n")
    return Summary(count, whole.hexdigest())


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A private file that takes its name when all is written and on the disk."""
    import tempfile

    try:
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InvalidInput([f'FILE: "{path}" cannot be written: {error.strerror}']) from error
    try:
        with os.fdopen(number, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# -- back again -----------------------------------------------------------------------------------
def check(path: Path) -> Summary:
    """Read a whole file and compare every digest. Raises OperationFailed where it is damaged."""
    whole = hashlib.sha256()
    count = 0
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            content = _content(path, number, line)
            if number == 1:
                if content.get("format") != FORMAT:
                    raise _damaged(path, 1, f"it is no backup of a state store (format {FORMAT})")
            elif "records" in content:
                if (content["records"], content.get("digest")) != (count, whole.hexdigest()) or file.read(1):
                    raise _damaged(path, number, "the digest at its end is not that of its content")
                return Summary(count, whole.hexdigest())
            else:
                _item(path, number, content)
                count += 1
            whole.update(line)
    raise _damaged(path, count + 2, "its end is missing")


def restore(backend: Backend, path: Path, tell: Tell, *, replace: bool = False) -> Summary:
    """Fill an empty store from a file, which is checked before anything is changed.

    Until all is in place nobody can use the store. A killed restore is gone on with by running it again.
    """
    found = check(path)
    hint = f"run `rackstead state restore` with this file again: {path.name}"
    filling = Filling(backend, found.digest, f"the backup {path.name}", hint)
    filling.begin(replace=replace)
    done = int(filling.cursor.get("done", 0))
    for batch in _batches(path, done):
        done += len(batch)
        filling.write(batch, {"done": done})
        tell("restoring", done, found.records)
    filling.finish()
    return found


def _batches(path: Path, skip: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            content = _content(path, number, line)
            if number > skip + 1 and "records" not in content:
                batch.append(_item(path, number, content))
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InvalidInput([f'FILE: "{path}" cannot be read: {error.strerror}']) from error


def _content(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise _damaged(path, number, "it is not JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, number, "it is not a record")
    return content


def _item(path: Path, number: int, content: dict[str, Any]) -> Item:
    try:
        kind, key = str(content["kind"]), str(content["key"])
        row = Row(int(content["version"]), content["time"], dict(content["body"]))
        good = content["digest"] == digest_of(kind, key, row)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, number, "it is not a record") from error
    if not good:
        raise _damaged(path, number, f"the digest of {kind}/{key} is not that of its content")
    return kind, key, row


def _damaged(path: Path, number: int, why: str) -> OperationFailed:
    return OperationFailed(f"damaged in line {number}: {why}", where=str(path))
