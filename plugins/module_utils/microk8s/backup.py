# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a cluster: its objects and its datastore in one archive, which appears whole and is read back."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..common.errors import Conflict, InvalidInput, NotFound, OperationFailed
from ..common.show import diff_of
from . import objects
from .client import MicroK8s
from .membership import Place, look

FORMAT = 1
MANIFEST = "manifest.json"
DATASTORE = "datastore.tar.gz"
NAME = re.compile(r"microk8s-\d{8}T\d{12}Z\.tar\.gz")
#: Beginning of what a killed run may leave behind.
PART = ".rackstead-backup-"
#: Bytes read at a time.
CHUNK = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """What goes into a backup, and where that lies."""

    folder: Path
    keep: int = 7
    objects: bool = True
    datastore: bool = True

    def checked(self) -> Wanted:
        lines = []
        if self.keep < 1:
            lines.append(f"keep: {self.keep} is not valid; allowed: 1 or more")
        if not self.folder.is_absolute():
            lines.append(f'path: "{self.folder}" is not valid; allowed: an absolute path')
        if not (self.objects or self.datastore):
            lines.append("objects, datastore: both are false; allowed: at least one that is true")
        if lines:
            raise InvalidInput(lines)
        return self


@dataclass
class Manifest:
    """What an archive says of itself."""

    made: str
    machine: str
    version: str
    nodes: list[str]
    counts: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def json(self) -> bytes:
        return json.dumps({"format": FORMAT, **self.__dict__}, indent=1).encode()


def ensure_backup(client: MicroK8s, wanted: Wanted, check: bool = False) -> dict[str, Any]:
    """There is one more backup, read back and whole, and no more than ``keep`` of them."""
    wanted.checked()
    place = _control(client)
    before = [one.name for one in backups(wanted.folder)]
    name = f"microk8s-{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z.tar.gz"
    after = [*before, name][-wanted.keep :]
    found: dict[str, Any] = {"counts": {}, "size": 0}
    if not check:
        found = _make(client, place, wanted, name)
    return {
        "changed": True,
        "archive": str(wanted.folder / name),
        "removed": [one for one in before if one not in after],
        **found,
        "diff": diff_of({"backups": before}, {"backups": after}, str(wanted.folder)),
    }


def _control(client: MicroK8s) -> Place:
    place = look(client)
    if place.status is None or not place.status.running:
        raise Conflict(f"no cluster answers on this machine ({place.kind})", hint="ask a control-plane node that runs")
    return place


def _make(client: MicroK8s, place: Place, wanted: Wanted, name: str) -> dict[str, Any]:
    version = next((node.version for node in place.nodes if node.name == client.hostname), "")
    made = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(made, client.hostname, version, [node.name for node in place.nodes])
    with _alone(wanted.folder), _workplace(wanted.folder) as work:
        groups = objects.collect(client) if wanted.objects else {}
        manifest.counts = objects.counts(groups)
        archive = work / name
        with os.fdopen(os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w:gz") as tar:
                for (kind, space), group in sorted(groups.items()):
                    _add(tar, manifest, f"objects/{space}/{kind}.yaml", objects.written(group))
                if wanted.datastore:
                    dump = _dump(client)
                    _add(tar, manifest, DATASTORE, dump)
                _put(tar, MANIFEST, manifest.json())
            raw.flush()
            os.fsync(raw.fileno())
        read_back(archive)
        size = archive.stat().st_size
        os.replace(archive, wanted.folder / name)
        _sync(wanted.folder)
        for old in backups(wanted.folder)[: -wanted.keep]:
            old.unlink()
    return {"counts": manifest.counts, "size": size}


def _add(tar: tarfile.TarFile, manifest: Manifest, name: str, text: bytes) -> None:
    manifest.files[name] = {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)}
    _put(tar, name, text)


def _put(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o600
    tar.addfile(entry, io.BytesIO(text))


def _dump(client: MicroK8s) -> bytes:
    """The datastore, as MicroK8s writes it: into its own folder, as a strictly confined snap may write nowhere else."""
    for left in client.data.glob(f"{PART}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=PART, dir=client.data) as folder:
        file = Path(folder, DATASTORE)
        result = client.run("dbctl", "backup", "-o", str(file), slow=True)
        # Whatever its exit code says.
        if result.rc != 0 or not file.is_file():
            raise OperationFailed(f"microk8s dbctl backup failed: {result.text[:300]}")
        _readable(file)
        return file.read_bytes()


def _readable(file: Path) -> None:
    """An archive with something in it, to its very end."""
    try:
        with _opened(file) as tar:
            held = sum(len(_content(tar, member)) for member in tar if member.isfile())
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise OperationFailed(f"the datastore's backup cannot be read back: {error}") from error
    if not held:
        raise OperationFailed("the datastore's backup is empty", hint="see microk8s inspect")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = tar.extractfile(member)
    return handle.read() if handle else b""


def read_back(archive: Path) -> Manifest:
    """The manifest of an archive, all of whose files are there and as they were written. Raises OperationFailed."""
    try:
        contents = files_of(archive)
        document = json.loads(contents.pop(MANIFEST))
        if document.pop("format") != FORMAT:
            raise OperationFailed(f"{archive} has another format than {FORMAT}", hint="a newer version wrote it")
        manifest = Manifest(**document)
    except FileNotFoundError as error:
        raise NotFound(f"there is no {archive}") from error
    except (tarfile.TarError, zlib.error, OSError, EOFError, KeyError, ValueError, TypeError) as error:
        raise OperationFailed(f"{archive} is no backup that can be read: {error}", hint="take another one") from error
    problems = sorted(f"{name} is missing or not listed" for name in manifest.files.keys() ^ contents.keys())
    for name in manifest.files.keys() & contents.keys():
        if hashlib.sha256(contents[name]).hexdigest() != manifest.files[name]["sha256"]:
            problems.append(f"{name} is not what was written")
    if not problems and counted(contents) != manifest.counts:
        problems.append("it does not hold as many objects as it says")
    if problems:
        raise OperationFailed(f"{archive} is damaged: {'; '.join(problems)}", hint="take another one")
    return manifest


def files_of(archive: Path) -> dict[str, bytes]:
    """The contents of an archive. Nothing is unpacked, so that no name in it leads anywhere."""
    with _opened(archive) as tar:
        return {member.name: _content(tar, member) for member in tar if member.isfile()}


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """An archive, which is read to its very end, behind what tar looks at: there stands the checksum."""
    with gzip.open(archive) as raw, tarfile.open(fileobj=raw) as tar:
        yield tar
        while raw.read(CHUNK):
            continue


def counted(contents: dict[str, bytes]) -> dict[str, int]:
    """How many objects there are in an archive, by ``NAMESPACE/RESOURCE``."""
    found = {}
    for name, text in contents.items():
        if name.startswith("objects/"):
            found[name.removeprefix("objects/").removesuffix(".yaml")] = len(objects.read(text))
    return dict(sorted(found.items()))


def verify(client: MicroK8s, wanted: Wanted, file: str = "") -> dict[str, Any]:
    """A backup, the newest if none is named, is whole; and how it differs from what the cluster has now."""
    wanted.checked()
    there = backups(wanted.folder)
    if not file and not there:
        raise NotFound(f"there is no backup in {wanted.folder}", hint="take one: state present")
    archive = Path(file) if file else there[-1]
    manifest = read_back(archive)
    differing = []
    if manifest.counts and _answers(client):
        differing = objects.differing(manifest.counts, objects.counts(objects.collect(client)))
    return {
        "changed": False,
        "archive": str(archive),
        "size": archive.stat().st_size,
        "counts": manifest.counts,
        "made": manifest.made,
        "differing": differing,
        "removed": [],
        "diff": diff_of({}, {}, str(archive)),
    }


def _answers(client: MicroK8s) -> bool:
    status = look(client).status
    return bool(status and status.running)


def backups(folder: Path) -> list[Path]:
    """Backups of ours, the oldest first."""
    return sorted(one for one in folder.glob("microk8s-*.tar.gz") if NAME.fullmatch(one.name))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else takes a backup into this folder meanwhile; the lock ends with the process, however that ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another backup into {folder} is under way", hint="wait for it") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder for what is not whole yet. What killed runs left is removed first."""
    for left in folder.glob(f"{PART}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=PART, dir=folder) as work:
        yield Path(work)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
