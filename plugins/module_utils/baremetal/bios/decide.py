# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change in a BIOS document for a device type, checked before anything is sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ...common.errors import InvalidInput
from ...common.problems import nearest
from .device_types import DeviceType, ExactSpec, Layer
from .friendly import BOOT_ORDER, Target, kind_of_boot
from .model import ARROW, CHECKBOX, NUMERIC, OPTION, PASSWORD, STRING, BiosDocument, Key, Setting, SettingChange
from .workif import holds, names_in

#: Labels that mean on and off, of which a setting has at most one each.
ON = ("Enabled", "Enable", "On", "Yes", "Checked", "True")
OFF = ("Disabled", "Disable", "Off", "No", "Unchecked", "False")
_SLOT = re.compile(r"(?P<kind>.*?)Boot Option #(?P<number>\d+)")


@dataclass(frozen=True)
class _Wanted:
    """One setting's wanted value, the word that asked for it, and where that stands."""

    setting: Setting
    value: str
    source: str
    word: str = ""


@dataclass
class _Desk:
    """What is being decided: the document, looked up by name, and the faults found so far."""

    document: BiosDocument
    problems: list[str] = field(default_factory=list)
    by_name: dict[str, list[Setting]] = field(default_factory=dict)
    wanted: dict[Key, _Wanted] = field(default_factory=dict)

    def want(self, setting: Setting, value: str, source: str, word: str = "") -> None:
        """Later wishes go over earlier ones."""
        try:
            read = valid(setting, value)
        except ValueError as exc:
            self.problems.append(f"{source}: {setting.path}: {exc}")
            return
        self.wanted[setting.key] = _Wanted(setting, read, source, word)


def decide(document: BiosDocument, device_type: DeviceType) -> tuple[SettingChange, ...]:
    """The exact difference, in the document's order. Raises InvalidInput with all that cannot be had on this machine."""
    desk = _Desk(document)
    for setting in document.settings:
        desk.by_name.setdefault(setting.name, []).append(setting)
    for layer in device_type.layers:
        _template(desk, layer)
        _friendly(desk, layer, device_type)
        for exact in layer.exact.get(document.vendor, ()):
            _exact(desk, exact, f"{layer.name}.{document.vendor}")
    _boot_order(desk, device_type)
    _nothing(desk, device_type)
    changes = differences(document, {key: (one.value, one.word) for key, one in desk.wanted.items()})
    desk.problems += unheld(document, changes)
    if desk.problems:
        raise InvalidInput(list(dict.fromkeys(desk.problems)))
    return changes


def restoring(document: BiosDocument, original: BiosDocument) -> tuple[SettingChange, ...]:
    """What has to change for the document to be as the original was. Passwords are not read, and stay."""
    if document.vendor != original.vendor:
        raise InvalidInput([f"document: is for {original.vendor}; allowed: one for {document.vendor}, as this BIOS is"])
    wanted, problems = {}, []
    for setting in original.settings:
        here = document.find(setting.key)
        if here is None and document.vendor == "redfish":
            here = next((one for one in document.settings if one.name == setting.name), None)
        if here is None:
            problems.append(f"document: {setting.path}: {_unknown(document, setting)}")
        elif not here.read_only and setting.type != PASSWORD and not _same(here, setting.value):
            wanted[here.key] = (setting.value, "")
    if problems:
        raise InvalidInput(problems)
    return differences(document, wanted)


def differences(document: BiosDocument, wanted: Mapping[Key, tuple[str, str]]) -> tuple[SettingChange, ...]:
    """Changes from a document to values (with the words that asked for them) by key, in the document's order."""
    changes = []
    for setting in document.settings:
        value, word = wanted.get(setting.key, (setting.value, ""))
        if not _same(setting, value):
            changes.append(
                SettingChange(setting.menu, setting.name, setting.order, setting.type, setting.value, value, word)
            )
    return tuple(changes)


def _same(setting: Setting, value: str) -> bool:
    if setting.type == NUMERIC and value.isdecimal() and setting.value.isdecimal():
        return int(setting.value) == int(value)
    return setting.value == value


# -- values ---------------------------------------------------------------------------------------------
def valid(setting: Setting, value: str) -> str:
    """The value as the setting writes it. Raises ValueError with what is wrong and what is allowed."""
    if setting.type == PASSWORD:
        raise ValueError("is a password, which no BIOS shows, so that it cannot be compared; set it by other means")
    if setting.type in (OPTION, CHECKBOX) and setting.labels:
        return _label(setting.labels, value)
    if setting.type == NUMERIC:
        return _number(setting, value)
    if setting.type == STRING and not (setting.least or 0) <= len(value) <= (setting.most or len(value)):
        raise ValueError(f"{len(value)} characters are not valid; allowed: {setting.least or 0} to {setting.most}")
    return value


def _label(labels: tuple[str, ...], value: str) -> str:
    if value in labels:
        return value
    alike = [label for label in labels if label.strip().lower() == value.strip().lower()]
    if value in ("true", "false"):
        alike = [label for label in labels if label in (ON if value == "true" else OFF)]
    if len(alike) == 1:
        return alike[0]
    raise ValueError(f'"{value}" is not valid; allowed: {", ".join(labels)}{nearest(value, labels)}')


def _number(setting: Setting, value: str) -> str:
    limits = f"a whole number from {setting.least} to {setting.most}" if setting.most is not None else "a whole number"
    if setting.step and setting.step > 1:
        limits += f" in steps of {setting.step}"
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f'"{value}" is not valid; allowed: {limits}') from None
    least = setting.least or 0
    off = setting.step is not None and setting.step > 1 and (number - least) % setting.step
    too_far = (setting.least is not None and number < setting.least) or (
        setting.most is not None and number > setting.most
    )
    if off or too_far:
        raise ValueError(f"{number} is not valid; allowed: {limits}")
    return str(number)


# -- who wants what -------------------------------------------------------------------------------------
def _template(desk: _Desk, layer: Layer) -> None:
    template = layer.template
    if template is None or template.vendor != desk.document.vendor:
        return
    for one in template.settings:
        here = desk.document.find(one.key)
        if here is None and template.vendor == "redfish":  # without a registry it does not know its menus
            here = next(iter(desk.by_name.get(one.name, [])), None)
        if here is None:
            desk.problems.append(f"{layer.template_name}: {one.path}: {_unknown(desk.document, one)}")
        elif one.type == PASSWORD and here.type == PASSWORD:
            continue  # it is in every whole file, and empty there
        else:
            desk.want(here, one.value, layer.template_name)


def _friendly(desk: _Desk, layer: Layer, device_type: DeviceType) -> None:
    for word, value in layer.settings.items():
        if value is None or word == BOOT_ORDER:
            continue
        source = f"{layer.name}.settings.{word}"
        targets = device_type.names[word].get(desk.document.vendor, ())
        found = next(((target, here) for target in targets if (here := _matching(desk, target))), None)
        if found is None:
            tried = ", ".join(f'"{target.name}"' for target in targets) or "nothing"
            near = next((hint for target in targets if (hint := nearest(target.name, desk.by_name))), "")
            desk.problems.append(f"{source}: this BIOS has no setting for it; looked for: {tried}{near}")
            continue
        target, settings = found
        if len(settings) > 1:
            desk.problems.append(f"{source}: {_ambiguous(settings)}")
            continue
        _want_word(desk, target, settings[0], value, source, word)
        for more in target.also:
            here = _matching(desk, more)
            if len(here) == 1 and value in more.values:
                _want_word(desk, more, here[0], value, source, word)


def _want_word(desk: _Desk, target: Target, setting: Setting, value: str, source: str, word: str) -> None:
    labels = target.values.get(value, (value,))
    desk.want(setting, next((label for label in labels if label in setting.labels), labels[0]), source, word)


def _exact(desk: _Desk, exact: ExactSpec, source: str) -> None:
    found = _matching(desk, Target(exact.name, exact.menu, exact.order))
    if len(found) == 1:
        desk.want(found[0], exact.value, source)
    elif found:
        desk.problems.append(f"{source}: {_ambiguous(found)}")
    else:
        menu = f" under {ARROW.join(exact.menu)}" if exact.menu and exact.name in desk.by_name else ""
        desk.problems.append(
            f'{source}: "{exact.name}" is not a setting of this BIOS{menu}{nearest(exact.name, desk.by_name)}'
        )


def _matching(desk: _Desk, target: Target) -> list[Setting]:
    found = desk.by_name.get(target.name, [])
    depth = len(target.menu)
    return [one for one in found if (not depth or one.menu[-depth:] == target.menu) and target.order in (0, one.order)]


def _ambiguous(settings: list[Setting]) -> str:
    paths = "; ".join(setting.path for setting in settings[:4])
    return f'"{settings[0].name}" is there {len(settings)} times; say which by menu and order: {paths}'


def _unknown(document: BiosDocument, setting: Setting) -> str:
    """What to say of a setting that is not there: elsewhere, with another order, or by another name."""
    elsewhere = [one for one in document.settings if one.name == setting.name]
    if elsewhere:
        return f"is not a setting of this BIOS; there is {'; '.join(one.path for one in elsewhere[:3])}"
    return f"is not a setting of this BIOS{nearest(setting.name, {one.name for one in document.settings})}"


def _nothing(desk: _Desk, device_type: DeviceType) -> None:
    """A device type that says nothing to this vendor is a mistake, not a wish fulfilled."""
    if desk.wanted or desk.problems:
        return
    others = {layer.template.vendor for layer in device_type.layers if layer.template}
    others |= {vendor for layer in device_type.layers for vendor, exact in layer.exact.items() if exact}
    if others - {desk.document.vendor}:
        only = ", ".join(sorted(others))
        desk.problems.append(f"{device_type.name}: says nothing to a BIOS of {desk.document.vendor}, only to {only}")


# -- boot order -----------------------------------------------------------------------------------------
def _boot_order(desk: _Desk, device_type: DeviceType) -> None:
    """Boot options are slots: what was wanted comes first, and all others after it in the order they had."""
    order = next(
        (one.settings[BOOT_ORDER] for one in reversed(device_type.layers) if one.settings.get(BOOT_ORDER)), None
    )
    if not order:
        return
    source = f"{device_type.name}.{BOOT_ORDER}"
    slots = _slots(desk)
    if not slots:
        desk.problems.append(f'{source}: this BIOS has no boot options; looked for: "Boot Option #1"')
        return
    labels = list(dict.fromkeys([*(slot.value for slot in slots), *slots[0].labels]))
    first = []
    for word in order:
        fitting = [label for label in labels if kind_of_boot(label) == word]
        if not fitting:
            there = ", ".join(label for label in labels if kind_of_boot(label)) or "none"
            desk.problems.append(f"{source}: {word} is none of its boot options; allowed: {there}")
            return
        first.append(next((label for label in fitting if label.startswith("UEFI")), fitting[0]))
    if len(first) > len(slots):
        desk.problems.append(
            f"{source}: {len(first)} devices are wanted; allowed: at most {len(slots)}, one for each slot"
        )
        return
    rest = [slot.value for slot in slots if slot.value not in first]
    empty = next((label for label in labels if label in OFF), "")
    after = [*first, *(one for one in rest if one != empty)][: len(slots)]
    after += [empty or slots[0].value] * (len(slots) - len(after))
    for slot, label in zip(slots, after, strict=True):
        desk.want(slot, label, source, BOOT_ORDER)


def _slots(desk: _Desk) -> list[Setting]:
    """The slots that count: boards have a set for each boot mode, of which conditions leave one."""
    groups: dict[tuple[object, ...], dict[int, Setting]] = {}
    for setting in desk.document.settings:
        found = _SLOT.fullmatch(setting.name) if setting.type == OPTION else None
        if found:
            groups.setdefault((setting.menu, found["kind"], setting.order), {})[int(found["number"])] = setting
    look = _look(desk.document, {key: one.value for key, one in desk.wanted.items()})
    whole = [[group[number] for number in sorted(group)] for group in groups.values()]
    live = [group for group in whole if all(holds(one, look(group[0])) is not False for one in group[0].work_if)]
    return live[0] if live else []


# -- conditions -----------------------------------------------------------------------------------------
def unheld(document: BiosDocument, changes: Iterable[SettingChange]) -> list[str]:
    """A line for each change that would be stored and have no effect: its WorkIf is false after all changes."""
    changes = tuple(changes)
    look = _look(document, {change.key: change.after for change in changes})
    lines = []
    for change in changes:
        setting = document.find(change.key)
        if setting is None:
            continue
        if setting.read_only:
            lines.append(f"{change.path}: cannot be changed: the BIOS says that it is read-only")
        for condition in setting.work_if:
            if holds(condition, look(setting)) is False:
                seen = look(setting)
                values = [f"{name} is {found[1]}" for name in names_in(condition) if (found := seen(name))]
                lines.append(
                    f"{change.path}: takes effect only if {condition}; {', '.join(values) or 'which it is not'}"
                )
    return lines


def _look(
    document: BiosDocument, values: Mapping[Key, str]
) -> Callable[[Setting], Callable[[str], tuple[int | None, str] | None]]:
    """How a condition of a setting sees others: the one in its own menu first, else the nearest."""
    by_name: dict[str, list[Setting]] = {}
    for one in document.settings:
        by_name.setdefault(one.name, []).append(one)

    def for_setting(setting: Setting) -> Callable[[str], tuple[int | None, str] | None]:
        def look(name: str) -> tuple[int | None, str] | None:
            found = by_name.get(name, [])
            if len(found) > 1:
                nearness = [_common(setting.menu, one.menu) for one in found]
                best = max(nearness)
                found = [one for one, near in zip(found, nearness, strict=True) if near == best]
            if len(found) != 1:
                return None
            text = values.get(found[0].key, found[0].value)
            return _as_number(found[0], text), text

        return look

    return for_setting


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    pairs = list(zip(one, other, strict=False))
    return next((depth for depth, (mine, yours) in enumerate(pairs) if mine != yours), len(pairs))


def _as_number(setting: Setting, value: str) -> int | None:
    if setting.type == OPTION:
        number = next((number for number, label in setting.options if label == value), "")
        return int(number, 0) if re.fullmatch(r"\d+|0[xX][0-9a-fA-F]+", number) else None
    if setting.type == CHECKBOX:
        return int(value == "Checked")
    return int(value) if setting.type == NUMERIC and value.lstrip("-").isdecimal() else None
