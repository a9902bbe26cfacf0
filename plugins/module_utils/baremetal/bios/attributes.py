# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BIOS as Redfish shows it: attributes by name, with what the attribute registry says of them.

The document is a JSON text that ``redfish.py`` puts together from what the service says, so that it can be
kept as a file and read again: ``Attributes`` (Bios), ``Registry`` (the entries of its attribute registry), and
``Boot`` (the system's boot options in their order, which stand here as settings like others).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...common.errors import InvalidInput
from .model import CHECKBOX, CHECKED, NUMERIC, OPTION, PASSWORD, STRING, Key, Setting, SettingChange

TYPES = {"Enumeration": OPTION, "Boolean": CHECKBOX, "Integer": NUMERIC, "String": STRING, "Password": PASSWORD}
BOOT_MENU = ("Boot",)
BOOT_SLOT = "Boot Option #"
SIGNS = {"EQU": "==", "NEQ": "!=", "GTR": ">", "GEQ": ">=", "LSS": "<", "LEQ": "<="}


class Attributes:
    """A BIOS's attributes. ``parse`` makes one."""

    vendor = "redfish"

    def __init__(self, raw: bytes, content: Mapping[str, Any]) -> None:
        self._raw = raw
        self.content = content
        self.settings: tuple[Setting, ...] = (*_settings(content), *_boot_slots(content))
        self._by_key = {setting.key: setting for setting in self.settings}

    @classmethod
    def parse(cls, data: bytes, where: str = "BIOS document") -> Attributes:
        """Read a document. Raises InvalidInput."""
        try:
            content = json.loads(data)
        except ValueError as exc:
            raise InvalidInput([f"{where}: not a JSON document: {exc}"]) from exc
        if not isinstance(content, dict) or not isinstance(content.get("Attributes"), dict):
            raise InvalidInput([f'{where}: has no "Attributes"; allowed: a document with a BIOS\'s attributes by name'])
        return cls(data, content)

    @classmethod
    def made_of(cls, content: Mapping[str, Any]) -> Attributes:
        return cls((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(), content)

    def find(self, key: Key) -> Setting | None:
        return self._by_key.get(key)

    def encode(self) -> bytes:
        return self._raw

    def with_changes(self, changes: Iterable[SettingChange]) -> Attributes:
        changes = tuple(changes)
        attributes, order = self.values_of(changes)
        if not attributes and order is None:
            return self
        content = {**self.content, "Attributes": {**self.content["Attributes"], **attributes}}
        if order is not None:
            content["Boot"] = {**self.content["Boot"], "Order": order}
        return Attributes.made_of(content)

    def only(self, changes: Iterable[SettingChange]) -> Attributes:
        changes = tuple(changes)
        attributes, order = self.values_of(changes)
        content: dict[str, Any] = {"Attributes": attributes}
        names = {change.name for change in changes}
        content["Registry"] = [
            entry for entry in self.content.get("Registry", []) if entry.get("AttributeName") in names
        ]
        if order is not None:
            content["Boot"] = {**self.content["Boot"], "Order": order}
        return Attributes.made_of(content)

    def values_of(self, changes: Iterable[SettingChange]) -> tuple[dict[str, Any], list[str] | None]:
        """Changed attributes as Redfish takes them, and the references of the boot order if that changes."""
        attributes: dict[str, Any] = {}
        slots: dict[int, str] = {}
        problems = []
        for change in changes:
            setting = self.find(change.key)
            if setting is None:
                problems.append(f"{change.path}: is not in the document")
            elif change.name.startswith(BOOT_SLOT):
                slots[int(change.name.removeprefix(BOOT_SLOT))] = change.after
            else:
                attributes[change.name] = _native(setting, change.after)
        if problems:
            raise InvalidInput(problems)
        return attributes, self._order_with(slots) if slots else None

    def _order_with(self, slots: Mapping[int, str]) -> list[str]:
        boot = self.content["Boot"]
        by_label = {label: reference for reference, label in boot["Options"].items()}
        order = list(boot["Order"])
        for number, label in slots.items():
            order[number - 1] = by_label[label]
        return order


def _settings(content: Mapping[str, Any]) -> Iterable[Setting]:
    entries = {entry["AttributeName"]: entry for entry in content.get("Registry", []) if "AttributeName" in entry}
    conditions = _conditions(content.get("Dependencies", []))
    for name, value in content["Attributes"].items():
        if value is None or isinstance(value, list | dict):
            continue  # a null is a password, or what does not apply to this machine
        setting = _setting(name, value, entries.get(name, {}))
        yield replace(setting, work_if=tuple(conditions.get(name, ())))


def _setting(name: str, value: Any, entry: Mapping[str, Any]) -> Setting:
    kind = TYPES.get(entry.get("Type", ""), _kind(value))
    numeric = kind == NUMERIC
    choices = [str(one.get("ValueName", "")) for one in entry.get("Value") or []]
    return Setting(
        menu=_menu(entry.get("MenuPath", "")),
        name=name,
        order=1,
        type=kind,
        value="" if kind == PASSWORD else _text(value),
        options=tuple((str(number), label) for number, label in enumerate(choices)) if kind == OPTION else (),
        least=entry.get("LowerBound" if numeric else "MinLength"),
        most=entry.get("UpperBound" if numeric else "MaxLength"),
        step=entry.get("ScalarIncrement") if numeric else None,
        default=_text(entry.get("DefaultValue", "")),
        read_only=bool(entry.get("ReadOnly", False) or entry.get("Immutable", False)),
    )


def _kind(value: Any) -> str:
    """The type of an attribute of which no registry tells."""
    if isinstance(value, bool):
        return CHECKBOX
    return NUMERIC if isinstance(value, int) else STRING


def _menu(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return CHECKED[value]
    return "" if value is None else str(value)


def _native(setting: Setting, value: str) -> Any:
    """A value as JSON has it."""
    if setting.type == CHECKBOX:
        return value == CHECKED[True]
    return int(value) if setting.type == NUMERIC else value


def _conditions(dependencies: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What must hold for an attribute to be writable, in the words of ``workif``."""
    found: dict[str, list[str]] = {}
    for one in dependencies:
        rule = one.get("Dependency", {})
        if one.get("Type", "Map") != "Map" or rule.get("MapToProperty") not in ("ReadOnly", "GrayOut", "Hidden"):
            continue
        terms: list[str] = []
        for source in rule.get("MapFrom", []):
            sign = SIGNS.get(source.get("MapFromCondition", ""))
            if sign is None or source.get("MapFromProperty") != "CurrentValue":
                break
            value = source.get("MapFromValue")
            shown = str(value) if isinstance(value, int) and not isinstance(value, bool) else f'"{_text(value)}"'
            joint = f"{'or' if source.get('MapTerms') == 'OR' else 'and'} " if terms else ""
            terms.append(f"{joint}( {source.get('MapFromAttribute')} {sign} {shown} )")
        else:
            if terms:
                free = "" if rule.get("MapToValue") is False else "not "
                found.setdefault(rule.get("MapToAttribute", ""), []).append(f"{free}( {' '.join(terms)} )")
    return found


def _boot_slots(content: Mapping[str, Any]) -> Iterable[Setting]:
    boot = content.get("Boot") or {}
    options = boot.get("Options", {})
    labels = tuple((str(number), label) for number, label in enumerate(options.values()))
    for number, reference in enumerate(boot.get("Order", []), 1):
        label = options.get(reference, reference)
        yield Setting(BOOT_MENU, f"{BOOT_SLOT}{number}", 1, OPTION, label, labels)
