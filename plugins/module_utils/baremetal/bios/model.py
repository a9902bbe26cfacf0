# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a BIOS document holds, whoever made it, and what becomes of its settings.

A setting's value is in one of five states: ``current`` (as the machine runs), ``pending`` (stored, takes
effect at the next boot), ``scheduled`` (the same, and a job of the BMC has taken it up), ``applied`` (read
back after the boot), ``rejected`` (read back, and not there).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...common.show import HIDDEN

CURRENT, PENDING, SCHEDULED, APPLIED, REJECTED = STATES = ("current", "pending", "scheduled", "applied", "rejected")
OPTION, CHECKBOX, NUMERIC, STRING, PASSWORD = TYPES = ("Option", "CheckBox", "Numeric", "String", "Password")
CHECKED = ("Unchecked", "Checked")
#: Menus of a path stand so in text.
ARROW = " > "

#: What tells a setting from all others of a document: names alone come up more than once.
Key = tuple[tuple[str, ...], str, int]


@dataclass(frozen=True)
class Setting:
    """One setting as a document shows it. Values are text, whatever their type.

    ``menu`` is the path of menus above it; a menu that has an order number greater than 1 is ``NAME #2`` there.
    """

    menu: tuple[str, ...]
    name: str
    order: int
    type: str
    value: str
    #: labels that an Option can have, with their numbers
    options: tuple[tuple[str, str], ...] = ()  # (number, label)
    least: int | None = None
    most: int | None = None
    step: int | None = None
    default: str = ""
    #: conditions, its own and those of the menus above it: all must hold for a change to take effect
    work_if: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def key(self) -> Key:
        return self.menu, self.name, self.order

    @property
    def path(self) -> str:
        """Menu path, name and, where it is not the first, order, for people."""
        return path_of(self.key)

    @property
    def labels(self) -> tuple[str, ...]:
        """What may be chosen, where it may be chosen from."""
        return CHECKED if self.type == CHECKBOX else tuple(label for _number, label in self.options)


def path_of(key: Key) -> str:
    menu, name, order = key
    return ARROW.join([*menu, f"{name} #{order}" if order > 1 else name])


@dataclass(frozen=True)
class SettingChange:
    """One setting that is to have another value. ``setting`` is the device type's word for it, if it has one."""

    menu: tuple[str, ...]
    name: str
    order: int
    type: str
    before: str
    after: str = field(repr=False)
    setting: str = ""

    @property
    def key(self) -> Key:
        return self.menu, self.name, self.order

    @property
    def path(self) -> str:
        return path_of(self.key)

    def shown(self) -> dict[str, Any]:
        """As results and records show it. A password is not shown."""
        secret = self.type == PASSWORD
        return {
            "menu": ARROW.join(self.menu),
            "name": self.name,
            "order": self.order,
            "before": HIDDEN if secret else self.before,
            "after": HIDDEN if secret else self.after,
            **({"setting": self.setting} if self.setting else {}),
        }

    def back(self) -> SettingChange:
        """The change that undoes this one."""
        return SettingChange(self.menu, self.name, self.order, self.type, self.after, self.before, self.setting)


@dataclass(frozen=True)
class Rejected:
    """A change that did not stick, with what is known of why."""

    change: SettingChange
    cause: str

    def shown(self) -> dict[str, Any]:
        return {**self.change.shown(), "state": REJECTED, "cause": self.cause}


@dataclass(frozen=True)
class Pushed:
    """What a push has led to. ``refused`` are those that were turned down at once."""

    changes: tuple[SettingChange, ...]
    #: path of the BMC's task, where it has made one
    task: str = ""
    refused: tuple[Rejected, ...] = ()


@dataclass(frozen=True)
class Pending:
    """What an earlier push has left to the next boot: values by setting, and whether a job has taken them up."""

    values: Mapping[Key, str]
    state: str = PENDING
    task: str = ""

    def covers(self, changes: Iterable[SettingChange]) -> bool:
        """Whether the next boot brings all these changes, without another push."""
        return all(self.values.get(change.key) == change.after for change in changes)


class BiosDocument(Protocol):
    """A document of settings: SUM's XML (``document.Document``) or Redfish's attributes (``attributes.Attributes``)."""

    #: whose names the settings bear: supermicro or redfish
    vendor: str

    @property
    def settings(self) -> tuple[Setting, ...]: ...

    def find(self, key: Key) -> Setting | None:
        """The setting with this key."""

    def encode(self) -> bytes:
        """The document as it came, byte for byte where nothing was changed; ``parse`` reads it back."""

    def with_changes(self, changes: Iterable[SettingChange]) -> BiosDocument:
        """The same document with other values; all else stays as it is, byte for byte."""

    def only(self, changes: Iterable[SettingChange]) -> BiosDocument:
        """A document that holds the changed settings alone, with their new values."""
