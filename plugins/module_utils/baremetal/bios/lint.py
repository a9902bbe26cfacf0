# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a file of device types without any machine: on its own, and against BIOS files that were read earlier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...common.errors import InvalidInput
from .decide import decide
from .device_types import DeviceType, load
from .model import BiosDocument
from .parsing import parse


def lint(path: str, against: str = "", name: str = "") -> list[dict[str, Any]]:
    """What each device type comes to (or the one of this name). Raises InvalidInput with every fault.

    ``against`` is a whole BIOS file; without it, each type that has a ``reference_file`` is checked against that.
    """
    types = load(path)
    chosen = [types.resolve(name)] if name else list(types.types.values())
    document = _read(against) if against else None
    problems: list[str] = []
    found = []
    for device_type in chosen:
        try:
            found.append(_told(device_type, document or device_type.reference))
        except InvalidInput as exc:
            problems += [_placed(line, device_type) for line in exc.problems]
    if problems:
        raise InvalidInput(list(dict.fromkeys(problems)))  # what is inherited is told once
    return found


def _read(against: str) -> BiosDocument:
    try:
        return parse(Path(against).read_bytes(), Path(against).name)
    except OSError as exc:
        raise InvalidInput([f"{against}: cannot be read: {exc.strerror}"]) from exc


def _placed(line: str, device_type: DeviceType) -> str:
    """A fault with the place that it is about; most name it themselves."""
    places = [name for layer in device_type.layers for name in (layer.name, layer.template_name) if name]
    named = any(line.startswith((f"{place}.", f"{place}:")) for place in places)
    return line if named else f"{device_type.name}: {line}"


def _told(device_type: DeviceType, document: BiosDocument | None) -> dict[str, Any]:
    changes = decide(document, device_type) if document else None
    return {
        "name": device_type.name,
        "description": device_type.description,
        "line": list(device_type.line),
        "templates": [layer.template_name for layer in device_type.layers if layer.template],
        "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in device_type.settings().items()},
        "changes": None if changes is None else [change.shown() for change in changes],
    }
