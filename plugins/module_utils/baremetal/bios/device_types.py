# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device types: what the BIOS of each kind of server is to be like, read from ``device_mappings.yaml``.

A device type may extend another. Then the other's template and settings come first, and its own go on top.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...common.errors import InvalidInput
from ...common.kinds import BAD, Choice, Kind, ListOf, MapOf, Nested, Schema, Text, Whole, given, read_spec, shown
from ...common.problems import Problems, nearest
from .friendly import BOOT_DEVICES, BOOT_ORDER, BUILTIN, POWER_PROFILE, POWER_PROFILES, VENDORS, Names, Target, words_of
from .model import ARROW, BiosDocument
from .parsing import parse

#: The top-level key that is no device type.
NAMES = "names"
NAME = Text(r"[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dots, dashes")
WORD = Text(r"[a-z][a-z0-9_]*", "small letters, digits, underscores")


@dataclass(frozen=True)
class MenuPath(Kind):
    """A path of menus: a list, or a text with ``>`` between them. Read as a tuple."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        parts = value.split(">") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(one, str) and one.strip() for one in parts):
            problems.add(
                path, f"{shown(value)} is not a menu path", f"such as Advanced{ARROW}CPU Configuration, or a list"
            )
            return BAD
        return tuple(one.strip() for one in parts)

    def schema(self) -> Schema:
        return {"type": ["string", "array"], "items": {"type": "string"}}


@dataclass(frozen=True)
class Wish(Kind):
    """What a friendly name is to be: a word, a number, true or false, or a list; nothing takes an inherited one away."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if value is None:
            return None
        if isinstance(value, list | tuple):
            return ListOf(Text(scalar=True)).read(value, path, problems)
        return Text(scalar=True, allowed="a word, a number, true, false").read(value, path, problems)

    def schema(self) -> Schema:
        return {"type": ["string", "number", "boolean", "array", "null"], "items": {"type": "string"}}


@dataclass(frozen=True)
class TargetSpec:
    name: str = given(Text(), "Name of the setting (Supermicro) or of the attribute (Redfish).")
    menu: tuple[str, ...] = given(MenuPath(), "End of its menu path, where the name alone is not unique.", ())
    order: int = given(Whole(1, 999), "Its order number, where menu path and name are not unique.", 0)
    values: dict[str, str] = given(MapOf(Text(scalar=True)), "What our words are called there, by word.", {})


@dataclass(frozen=True)
class VendorsSpec:
    supermicro: tuple[TargetSpec, ...] = given(
        ListOf(Nested(TargetSpec), single=True), "Supermicro's setting; of several, the first that a BIOS has.", ()
    )
    redfish: tuple[TargetSpec, ...] = given(
        ListOf(Nested(TargetSpec), single=True), "Redfish's attribute; of several, the first that a BIOS has.", ()
    )


@dataclass(frozen=True)
class ExactSpec:
    """A setting by its own name."""

    name: str = given(Text(), "Name of the setting.")
    value: str = given(Text(scalar=True), "Its value: an option's label, Checked or Unchecked, a number, or text.")
    menu: tuple[str, ...] = given(MenuPath(), "End of its menu path, where the name alone is not unique.", ())
    order: int = given(Whole(1, 999), "Its order number, where menu path and name are not unique.", 0)


@dataclass(frozen=True)
class DeviceTypeSpec:
    extends: str = given(NAME, "The device type that this one goes on top of.", "")
    description: str = given(Text(), "What it is, for people.", "")
    template_file: str = given(
        Text(),
        "A BIOS file that holds what is wanted, beside this file. Settings that it does not hold stay as they are.",
        "",
    )
    reference_file: str = given(
        Text(), "A whole BIOS file as read from such a machine, against which everything is checked beforehand.", ""
    )
    settings: dict[str, Any] = given(MapOf(Wish(), WORD), "Settings by their friendly names.", {})
    boot_order: tuple[str, ...] | None = given(
        ListOf(Choice(tuple(BOOT_DEVICES))), "Devices to boot from, in this order; the others come after them.", None
    )
    power_profile: str = given(Choice(POWER_PROFILES), "Speed or saving.", "")
    supermicro: tuple[ExactSpec, ...] = given(
        ListOf(Nested(ExactSpec)), "Settings of a Supermicro BIOS by their own names.", ()
    )
    redfish: dict[str, str] = given(MapOf(Text(scalar=True)), "Redfish BIOS attributes by name.", {})


@dataclass(frozen=True)
class Layer:
    """What one device type of the line wants. Later ones win, and in each what stands later here."""

    name: str
    template: BiosDocument | None
    template_name: str
    settings: Mapping[str, Any]
    exact: Mapping[str, tuple[ExactSpec, ...]]


@dataclass(frozen=True)
class DeviceType:
    """A device type with all that it inherits, the farthest ancestor first."""

    name: str
    description: str
    layers: tuple[Layer, ...]
    names: Names = field(repr=False)
    reference: BiosDocument | None = None

    @property
    def line(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers)

    def settings(self) -> dict[str, Any]:
        """The friendly settings as they come out at last."""
        found: dict[str, Any] = {}
        for layer in self.layers:
            found |= layer.settings
        return {name: value for name, value in found.items() if value is not None}


class DeviceTypes:
    """All device types of a file."""

    def __init__(self, types: Mapping[str, DeviceType], where: str) -> None:
        self.types = dict(types)
        self.where = where

    def resolve(self, name: str) -> DeviceType:
        """Raises InvalidInput with the nearest name."""
        if name not in self.types:
            hint = nearest(name, self.types) or f"; known: {', '.join(sorted(self.types)) or 'none'}"
            raise InvalidInput([f'device_type: "{name}" is not in {self.where}{hint}'])
        return self.types[name]


def load(path: str | Path) -> DeviceTypes:
    """Read a file of device types with all their templates. Raises InvalidInput with every fault in them."""
    file = Path(path).expanduser()
    problems = Problems()
    raw = _yaml(file, problems)
    specs = _specs(raw, problems)
    names = _names(raw.get(NAMES), problems)
    for name, spec in specs.items():
        _check(name, spec, names, problems)
    templates = _Templates(file.parent, problems)
    types = {}
    for name in specs:
        line = _line(name, specs, problems)
        if line:
            types[name] = _resolved(line, specs, names, templates)
    if problems.lines:
        raise InvalidInput([f"{file.name}: {line}" for line in problems.lines])
    return DeviceTypes(types, file.name)


def device_types_schema() -> Schema:
    """JSON Schema of a file of device types (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rackstead device types",
        "description": "What the BIOS of each kind of server is to be like, as rackstead.infra.bios_config has it.",
        "type": "object",
        "properties": {
            NAMES: {
                "description": "Friendly names of your own, or other settings behind ours.",
                **MapOf(Nested(VendorsSpec), WORD).schema(),
            }
        },
        "patternProperties": {"^x-": {}},
        "additionalProperties": {"description": "A device type, by its name.", **Nested(DeviceTypeSpec).schema()},
    }


def schema_text() -> str:
    """The document as it is shipped in docs/schema/device_types.schema.json."""
    return json.dumps(device_types_schema(), indent=2) + "\n"


# -- reading ------------------------------------------------------------------------------------------
def _yaml(file: Path, problems: Problems) -> Mapping[str, Any]:
    import yaml

    class Once(yaml.SafeLoader):
        """Refuses a key that stands twice, of which YAML would silently keep one."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        seen = set()
        for key, _value in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                problems.add(f"line {key.start_mark.line + 1}", f'"{key.value}" stands twice')
            seen.add(key.value)
        loader.flatten_mapping(node)
        found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
        return found

    Once.add_constructor("tag:yaml.org,2002:map", mapping)
    try:
        found = yaml.load(file.read_text(), Once)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise InvalidInput([f"{file}: cannot be read: {reason}"]) from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidInput([f"{file.name}: {at}{getattr(exc, 'problem', None) or 'not YAML'}"]) from exc
    if not isinstance(found, Mapping):
        raise InvalidInput([f"{file.name}: is not a mapping; allowed: device types by name"])
    return found


def _specs(raw: Mapping[str, Any], problems: Problems) -> dict[str, DeviceTypeSpec]:
    specs = {}
    for name, value in raw.items():
        if name == NAMES or str(name).startswith("x-"):
            continue
        if NAME.read(name, str(name), problems) is not BAD:
            spec = read_spec(DeviceTypeSpec, {} if value is None else value, str(name), problems)
            if spec is not BAD:
                specs[str(name)] = spec
    return specs


def _names(raw: Any, problems: Problems) -> Names:
    """The built-in friendly names, with those of the file in their place or beside them."""
    found = MapOf(Nested(VendorsSpec), WORD).read(raw, NAMES, problems)
    own: dict[str, Mapping[str, tuple[Target, ...]]] = {}
    for name, spec in ({} if found is BAD else found).items():
        if name == BOOT_ORDER:
            problems.add(f"{NAMES}.{name}", "is made of boot options and cannot be mapped", "another name")
            continue
        targets = {vendor: tuple(map(_target, getattr(spec, vendor))) for vendor in VENDORS}
        own[name] = {vendor: found for vendor, found in targets.items() if found}
    return {**BUILTIN, **own}


def _target(spec: TargetSpec) -> Target:
    values = {word: (label,) for word, label in spec.values.items()}
    return Target(spec.name, spec.menu, spec.order, values)


def _check(name: str, spec: DeviceTypeSpec, names: Names, problems: Problems) -> None:
    """Friendly names and their words. What they come to on a machine is seen only there."""
    for word, value in spec.settings.items():
        path = f"{name}.settings.{word}"
        if word == BOOT_ORDER:
            given_value = value if value is None or isinstance(value, tuple) else (value,)
            if given_value is not None:
                ListOf(Choice(tuple(BOOT_DEVICES))).read(given_value, path, problems)
        elif word not in names:
            problems.unknown(f"{name}.settings", word, [*names, BOOT_ORDER])
        elif value is not None:
            allowed = words_of(names, word)
            if isinstance(value, tuple) or (allowed and value not in allowed):
                hint = "" if isinstance(value, tuple) else nearest(value, allowed)
                problems.add(path, f"{shown(value)} is not valid", f"{', '.join(allowed) or 'one value'}{hint}")
    order = _boot_order(spec)
    for word in dict.fromkeys(order or ()):
        if (order or ()).count(word) > 1:
            problems.add(f"{name}.{BOOT_ORDER}", f"{word} stands twice")
    for key in (BOOT_ORDER, POWER_PROFILE):
        if getattr(spec, key) and spec.settings.get(key) is not None:
            problems.add(f"{name}.{key}", "stands here and under settings, too", "one of them")


def _boot_order(spec: DeviceTypeSpec) -> tuple[str, ...] | None:
    value = spec.settings.get(BOOT_ORDER, spec.boot_order)
    return (value,) if isinstance(value, str) else value


def _line(name: str, specs: Mapping[str, DeviceTypeSpec], problems: Problems) -> tuple[str, ...]:
    """The device type and those it extends, the farthest first; nothing where that does not end or leads nowhere."""
    line = [name]
    while parent := specs[line[-1]].extends:
        if parent not in specs:
            if len(line) == 1:  # told once, where it stands
                hint = nearest(parent, specs) or f"; known: {', '.join(sorted(specs))}"
                problems.add(f"{name}.extends", f'"{parent}" is not a device type of this file{hint}')
            return ()
        if parent in line:
            if parent == name:
                problems.add(f"{name}.extends", f"comes back to itself: {' -> '.join([*line, parent])}")
            return ()
        line.append(parent)
    return tuple(reversed(line))


class _Templates:
    """Templates by path, each read once and complained about once."""

    def __init__(self, folder: Path, problems: Problems) -> None:
        self._folder = folder
        self._problems = problems
        self._read: dict[str, BiosDocument | None] = {}

    def get(self, name: str, field_path: str) -> BiosDocument | None:
        if name and name not in self._read:
            self._read[name] = None
            try:
                self._read[name] = parse((self._folder / name).read_bytes(), name)
            except OSError as exc:
                self._problems.add(field_path, f'"{name}" cannot be read: {exc.strerror}', "a file beside this one")
            except InvalidInput as exc:
                for line in exc.problems:
                    self._problems.add(field_path, line)
        return self._read.get(name)


def _resolved(
    line: tuple[str, ...], specs: Mapping[str, DeviceTypeSpec], names: Names, templates: _Templates
) -> DeviceType:
    layers = []
    overridden: set[str] = set()
    for name in reversed(line):  # from the type itself: a word that it sets is set nowhere above
        spec = specs[name]
        settings = dict(spec.settings)
        if (order := _boot_order(spec)) is not None:
            settings[BOOT_ORDER] = order
        if spec.power_profile:
            settings[POWER_PROFILE] = spec.power_profile
        exact = {
            "supermicro": spec.supermicro,
            "redfish": tuple(ExactSpec(name=key, value=value) for key, value in spec.redfish.items()),
        }
        template = templates.get(spec.template_file, f"{name}.template_file")
        kept = {word: value for word, value in settings.items() if word not in overridden}
        layers.append(Layer(name, template, spec.template_file, kept, exact))
        overridden |= set(settings)
    last = specs[line[-1]]
    where = next((name for name in reversed(line) if specs[name].reference_file), "")
    reference = templates.get(specs[where].reference_file, f"{where}.reference_file") if where else None
    return DeviceType(line[-1], last.description, tuple(reversed(layers)), names, reference)
