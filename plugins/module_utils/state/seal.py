# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sensitive fields at rest: AES-256-GCM under the first of several keys, bound to the place where they stand.

A key file holds one key a line, in base64; the first seals, all open. It is read again when it has changed,
so that a new key reaches running processes by itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import InvalidInput, RacksteadError
from .backend import Backend, Transaction
from .model import SEALED, Query, Row

VARIABLE = "RACKSTEAD_STATE_KEY"
FILE_VARIABLE = "RACKSTEAD_STATE_KEY_FILE"
KEY_BYTES = 32
NONCE_BYTES = 12
#: Rows that one transaction of ``rekey`` looks at.
BATCH = 50


class Unsealable(RacksteadError):
    """A sealed value cannot be opened: its key is missing, or it was changed or moved."""


@dataclass(frozen=True)
class Key:
    id: str
    secret: bytes


class Keys:
    """The keys of a process. What it seals is ``{"key": id, "data": base64 of nonce and ciphertext}``."""

    def __init__(self, keys: list[Key], path: Path | None = None) -> None:
        self._keys = {key.id: key for key in keys}
        self._first = keys[0]
        self._path = path
        self._seen = _stamp(path)

    @property
    def first(self) -> str:
        """The id of the key that seals."""
        return self._current()._first.id

    def seal(self, kind: str, key: str, field: str, value: Any) -> dict[str, str]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        first = self._current()._first
        nonce = os.urandom(NONCE_BYTES)
        data = AESGCM(first.secret).encrypt(nonce, json.dumps(value).encode(), _place(kind, key, field))
        return {"key": first.id, "data": base64.b64encode(nonce + data).decode()}

    def open(self, kind: str, key: str, field: str, value: Any) -> Any:
        """What was sealed. Raises Unsealable where the key is missing, or the value is not the one sealed here."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        where = f"{kind}/{key}.{field}"
        try:
            id_, data = str(value["key"]), base64.b64decode(value["data"], validate=True)
        except (KeyError, TypeError, ValueError) as error:
            raise Unsealable("is not a sealed value", where=where) from error
        found = self._current()._keys.get(id_)
        if found is None:
            raise Unsealable(f'was sealed with key "{id_}", which is not there', where=where, hint=_known(self._keys))
        try:
            plain = AESGCM(found.secret).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _place(kind, key, field))
        except (InvalidTag, ValueError) as error:
            hint = "restore the record from a backup, or write it again"
            raise Unsealable("was changed or moved since it was sealed", where=where, hint=hint) from error
        return json.loads(plain)

    def _current(self) -> Keys:
        """Itself, with the file's keys as they are now."""
        stamp = _stamp(self._path)
        if self._path and stamp != self._seen:
            keys = read_file(self._path)
            self._keys, self._first, self._seen = {key.id: key for key in keys}, keys[0], stamp
        return self


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    with suppress(FileNotFoundError):  # read_file says so where it matters
        found = path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None


def _place(kind: str, key: str, field: str) -> bytes:
    """What a sealed value is bound to: it opens nowhere else."""
    return json.dumps(["rackstead-seal-1", kind, key, field]).encode()


def _known(keys: Mapping[str, Key]) -> str:
    return f"known: {', '.join(sorted(keys))}; add that key's line to the key file"


# -- where keys come from -------------------------------------------------------------------------
def keys_from_environment() -> Keys | None:
    """The keys that RACKSTEAD_STATE_KEY or RACKSTEAD_STATE_KEY_FILE name, if one is set."""
    text, name = os.environ.get(VARIABLE), os.environ.get(FILE_VARIABLE)
    if text and name:
        raise InvalidInput([f"{VARIABLE}: {FILE_VARIABLE} is set too; set one of them"])
    if name:
        path = Path(name).expanduser()
        return Keys(read_file(path), path)
    return Keys(_parse(text.replace(",", "\n"), VARIABLE)) if text else None


def read_file(path: Path) -> list[Key]:
    """The keys of a file that nobody else can read."""
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise InvalidInput([f'key file "{path}": mode {mode:04o} lets others in; allowed: 0600'])
            return _parse(file.read(), f'key file "{path}"')
    except OSError as error:
        raise InvalidInput([f'key file "{path}": {error.strerror}']) from error
    except UnicodeDecodeError as error:
        raise InvalidInput([f'key file "{path}": is not text; allowed: one key a line, in base64']) from error


def _parse(text: str, where: str) -> list[Key]:
    lines = [line.strip() for line in text.splitlines()]
    keys = [_key(line, f"{where}: line {number}") for number, line in enumerate(lines, 1) if line and line[0] != "#"]
    if not keys:
        raise InvalidInput([f"{where}: holds no key; `rackstead state key new FILE` makes one"])
    return keys


def _key(line: str, where: str) -> Key:
    """Never shows the line: it may be all but one letter of a key."""
    try:
        secret = base64.b64decode(line, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise InvalidInput([f"{where} is not a key; allowed: {KEY_BYTES} bytes in base64"])
    return Key(key_id(secret), secret)


def key_id(secret: bytes) -> str:
    return hashlib.sha256(b"rackstead-key\0" + secret).hexdigest()[:8]


def new_key(path: Path) -> tuple[str, int]:
    """Put a new key first in the file, which is made if need be. Gives its id and how many keys there are."""
    import tempfile

    before = read_file(path) if path.exists() else []
    secrets = [os.urandom(KEY_BYTES), *(key.secret for key in before)]
    text = "".join(base64.b64encode(secret).decode() + "\n" for secret in secrets)
    if not os.access(path.parent, os.W_OK):
        raise InvalidInput([f'key file "{path}": the folder "{path.parent}" is not there, or cannot be written'])
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    return key_id(secrets[0]), len(secrets)


# -- rotation -------------------------------------------------------------------------------------
def rekey(backend: Backend, keys: Keys) -> tuple[int, int]:
    """Seal every field under the first key, a few records a transaction, while others write.

    A record's version and time stay: what it says has not changed. Records that are under the first key
    already are left alone, so that a killed run is simply run again. Gives how many records
    were sealed again, and how many have sealed fields.
    """
    again = sealed = 0
    for kind in backend.run(lambda tx: tx.kinds(), write=False):
        after = ""
        while True:
            changed, found, after = _rekey_batch(backend, keys, kind, after)
            again, sealed = again + changed, sealed + found
            if not after:
                break
    return again, sealed


def _rekey_batch(backend: Backend, keys: Keys, kind: str, after: str) -> tuple[int, int, str]:
    """Looks without locking anybody out first, and writes only where there is something to write."""
    query = Query(after=after, limit=BATCH)
    rows = backend.run(lambda tx: tx.scan(kind, query), write=False)
    sealed = [key for key, row in rows if _sealed(row)]
    stale = [key for key, row in rows if _stale(row, keys.first)]
    changed = backend.run(lambda tx: sum(_reseal(tx, keys, kind, key) for key in stale), write=True) if stale else 0
    return changed, len(sealed), rows[-1][0] if len(rows) == BATCH else ""


def _reseal(tx: Transaction, keys: Keys, kind: str, key: str) -> bool:
    row = tx.get(kind, key)
    fields = _stale(row, keys.first) if row else []
    if not row or not fields:
        return False
    opened = {name: keys.open(kind, key, name, row.body[name][SEALED]) for name in fields}
    closed = {name: {SEALED: keys.seal(kind, key, name, value)} for name, value in opened.items()}
    tx.set(kind, key, Row(row.version, row.time, {**row.body, **closed}))
    return True


def _sealed(row: Row) -> list[str]:
    return [name for name, value in row.body.items() if isinstance(value, dict) and SEALED in value]


def _stale(row: Row, first: str) -> list[str]:
    return [name for name in _sealed(row) if row.body[name][SEALED].get("key") != first]
