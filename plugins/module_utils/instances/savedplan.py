# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A computed change kept in a file: shown to somebody now, applied later, refused if reality moved.

The file holds no value that could be a secret: what was observed and what is wanted are kept as
salted SHA-256 digests, the change itself as the redacted view that a diff shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from ..common.errors import InvalidInput, Moved
from ..common.show import hide_secrets
from .model import Change, Observed

FORMAT = 1


def save(path: str, owner: str, state: str, changes: Iterable[Change]) -> None:
    """Write the file, readable by its owner only, replacing an older one at once or not at all."""
    salt = secrets.token_hex(16)
    document = {
        "format": FORMAT,
        "plan": owner,
        "state": state,
        "salt": salt,
        "resources": [_entry(change, salt) for change in changes],
    }
    try:
        _replace(path, json.dumps(document, indent=2))
    except OSError as error:
        raise InvalidInput([f'plan_file: "{path}" cannot be written: {error.strerror}']) from error


def _replace(path: str, text: str) -> None:
    """Put a file in the place of another, whole or not at all. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".rackstead-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def check(path: str, owner: str, state: str, changes: Iterable[Change]) -> None:
    """Raise Moved, naming what moved, unless the file fits what is observed and wanted now."""
    document = _load(path)
    for key, now in (("plan", owner), ("state", state)):
        if document[key] != now:
            raise Moved(f"was made for {key} {document[key]}, not {now}", where=f"plan_file {path}")
    saved = {entry["resource"]: entry for entry in document["resources"]}
    current = {entry["resource"]: entry for entry in (_entry(change, document["salt"]) for change in changes)}
    moved = [f"{name}: it is not in the saved plan" for name in current.keys() - saved.keys()]
    moved += [f"{name}: it is in the saved plan only" for name in saved.keys() - current.keys()]
    for name in saved.keys() & current.keys():
        moved += _moved(name, saved[name], current[name])
    if moved:
        raise Moved(
            "; ".join(sorted(moved)), where=f"plan_file {path} is not applied", hint="make it anew and look again"
        )


def _moved(name: str, saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What differs between two entries of one resource, a line for each side that moved."""
    fields = [
        key
        for key in {*saved["observed"], *current["observed"]}
        if saved["observed"].get(key) != current["observed"].get(key)
    ]
    lines = [f"{name}: {', '.join(sorted(fields))} changed since on the server"] if fields else []
    if saved["desired"] != current["desired"]:
        lines.append(f"{name}: the plan itself changed since")
    elif saved["actions"] != current["actions"] and not fields:
        lines.append(f"{name}: would now be {', '.join(current['actions']) or 'left alone'}")
    return lines


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            document: dict[str, Any] = json.load(file)
    except OSError as error:
        hint = "; run in check mode first, which writes it" if isinstance(error, FileNotFoundError) else ""
        raise InvalidInput([f'plan_file: "{path}" cannot be read: {error.strerror}{hint}']) from error
    except ValueError as error:
        raise InvalidInput([f'plan_file: "{path}" is not a saved plan: {error}']) from error
    if not _is_saved_plan(document):
        raise InvalidInput([f'plan_file: "{path}" is not a saved plan of format {FORMAT}'])
    return document


def _is_saved_plan(document: Any) -> bool:
    """Whether a file that is JSON has the shape that ``save`` writes."""
    shape = {"format": int, "plan": str, "state": str, "salt": str, "resources": list}
    if not _has(document, shape) or document["format"] != FORMAT:
        return False
    entry = {"resource": str, "actions": list, "observed": dict, "desired": str}
    return all(_has(one, entry) for one in document["resources"])


def _has(value: Any, shape: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in shape.items())


def _entry(change: Change, salt: str) -> dict[str, Any]:
    desired = change.desired
    wanted = None
    if desired is not None:
        wanted = [
            desired.state,
            desired.description,
            dict(desired.config),
            dict(desired.devices),
            desired.profiles,
            desired.status,
            desired.image,
            desired.type,
            desired.target,
        ]
    return {
        "resource": str(change.ref) + (f" in pool {change.ref.pool}" if change.ref.pool else ""),
        "actions": list(change.actions),
        "observed": _fields(change.observed, salt),
        "desired": _digest(wanted, salt),
        "before": hide_secrets(change.before),
        "after": hide_secrets(change.after),
    }


def _fields(observed: Observed | None, salt: str) -> dict[str, str]:
    """Digest by field of what was observed, without what the daemon changes on its own."""
    if observed is None:
        return {}
    fields: dict[str, Any] = {
        f"config.{key}": value for key, value in observed.config.items() if not key.startswith("volatile.")
    }
    fields.update({f"devices.{name}": dict(device) for name, device in observed.devices.items()})
    fields.update(profiles=observed.profiles, description=observed.description, status=observed.status)
    return {key: _digest(value, salt) for key, value in fields.items()}


def _digest(value: Any, salt: str) -> str:
    return hashlib.sha256((salt + json.dumps(value, sort_keys=True)).encode()).hexdigest()
