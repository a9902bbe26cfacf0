# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of values in a document that a user writes: each reads itself and tells its JSON Schema.

A spec is a frozen dataclass whose fields carry a Kind (see ``given``). ``read_spec`` turns a parsed
YAML mapping into it, or adds every fault it finds to a Problems list; after that nothing downstream
looks at raw input again.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from .problems import Problems
from .units import SIZE_EXAMPLES, parse_size

S = TypeVar("S")
Schema = dict[str, Any]

#: What ``Kind.read`` returns for a value it has complained about.
BAD: Any = object()


class Kind(ABC):
    """A kind of value. ``read`` returns the value in its final type, or BAD after adding a problem."""

    @abstractmethod
    def read(self, value: Any, path: str, problems: Problems) -> Any: ...

    @abstractmethod
    def schema(self) -> Schema: ...


@dataclasses.dataclass(frozen=True)
class Text(Kind):
    """A string. Numbers and booleans are taken as YAML would print them where ``scalar`` is set."""

    pattern: str = ""
    allowed: str = "text"
    scalar: bool = False

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if self.scalar and isinstance(value, bool):
            return "true" if value else "false"
        if self.scalar and isinstance(value, int | float):
            return str(value)
        if not isinstance(value, str) or (self.pattern and not re.fullmatch(self.pattern, value, re.ASCII)):
            problems.add(path, f"{shown(value)} is not valid", self.allowed)
            return BAD
        return str(value)

    def schema(self) -> Schema:
        if self.scalar:
            return {"type": ["string", "number", "boolean"]}
        return {"type": "string", **({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})}


@dataclasses.dataclass(frozen=True)
class Flag(Kind):
    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, bool):
            problems.add(path, f"{shown(value)} is not a boolean", "true, false")
            return BAD
        return value

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclasses.dataclass(frozen=True)
class Whole(Kind):
    """An integer between ``least`` and ``most``. Digits in a string are taken too (templating)."""

    least: int = 0
    most: int = 2**31

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            problems.add(path, f"{shown(value)} is not valid", f"a whole number from {self.least} to {self.most}")
            return BAD
        return int(value)

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclasses.dataclass(frozen=True)
class Choice(Kind):
    options: tuple[str, ...]

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if value not in self.options:
            problems.add(path, f"{shown(value)} is not valid", ", ".join(self.options))
            return BAD
        return str(value)

    def schema(self) -> Schema:
        return {"enum": list(self.options)}


@dataclasses.dataclass(frozen=True)
class Size(Kind):
    """A size such as 512MiB, kept as written. ``percent`` also allows 50%."""

    percent: bool = False

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if self.percent and isinstance(value, str) and re.fullmatch(r"([1-9]\d?|100)%", value):
            return str(value)
        try:
            good = isinstance(value, str | int) and parse_size(value) > 0
        except ValueError:
            good = False
        if not good:
            problems.add(path, f"{shown(value)} is not a size", SIZE_EXAMPLES + (", 50%" if self.percent else ""))
            return BAD
        return f"{value}B" if isinstance(value, int) or value.isdecimal() else str(value)

    def schema(self) -> Schema:
        return {
            "type": ["string", "integer"],
            "minimum": 1,
            "pattern": r"^\d+\s*([kMGTP]B|[KMGTP]iB|B)?$" + (r"|^([1-9]\d?|100)%$" if self.percent else ""),
        }


@dataclasses.dataclass(frozen=True)
class Address(Kind):
    """An IPv4 or IPv6 address; ``words`` are allowed in its place."""

    version: int = 4
    words: tuple[str, ...] = ()

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if value in self.words:
            return str(value)
        try:
            parsed = ipaddress.ip_address(str(value))
        except ValueError:
            parsed = None
        if parsed is None or parsed.version != self.version:
            allowed = ", ".join((*self.words, "an address such as " + ("10.0.0.5" if self.version == 4 else "fd00::5")))
            problems.add(path, f"{shown(value)} is not an IPv{self.version} address", allowed)
            return BAD
        return str(parsed)

    def schema(self) -> Schema:
        return {
            "anyOf": [*({"const": word} for word in self.words), {"type": "string", "format": f"ipv{self.version}"}]
        }


@dataclasses.dataclass(frozen=True)
class ListOf(Kind):
    """A list; a single value stands for a list of one where ``single`` is set. Read as a tuple."""

    item: Kind
    single: bool = False

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if self.single and not isinstance(value, list | tuple):
            value = [value]
        if not isinstance(value, list | tuple):
            problems.add(path, f"{shown(value)} is not a list", "a list")
            return BAD
        items = [self.item.read(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
        return tuple(item for item in items if item is not BAD)

    def schema(self) -> Schema:
        many: Schema = {"type": "array", "items": self.item.schema()}
        return {"anyOf": [many, self.item.schema()]} if self.single else many


@dataclasses.dataclass(frozen=True)
class MapOf(Kind):
    """A mapping with keys of one kind and values of one kind."""

    value: Kind
    key: Text = Text(scalar=True)

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            problems.add(path, f"{shown(value)} is not a mapping", "key: value pairs")
            return BAD
        found = {}
        for raw, item in value.items():
            below = f"{path}.{raw}" if path else str(raw)
            key = self.key.read(raw, below, problems)
            read = self.value.read(item, below, problems)
            if key is not BAD and read is not BAD:
                found[key] = read
        return found

    def schema(self) -> Schema:
        names = {"propertyNames": {"pattern": f"^(?:{self.key.pattern})$"}} if self.key.pattern else {}
        return {"type": ["object", "null"], "additionalProperties": self.value.schema(), **names}


@dataclasses.dataclass(frozen=True)
class Nested(Kind):
    """A mapping with the fields of another spec. An empty one may be written as nothing at all."""

    spec: type[Any]

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        return read_spec(self.spec, {} if value is None else value, path, problems)

    def schema(self) -> Schema:
        return spec_schema(self.spec)


def given(kind: Kind, doc: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """A field of a spec: its kind, its one-line documentation, its default (none: required)."""
    metadata = {"kind": kind, "doc": doc}
    if isinstance(default, dict):
        # The specs call this where they would call field() themselves.
        return dataclasses.field(default_factory=default.copy, metadata=metadata, **more)  # pylint: disable=invalid-field-call
    return dataclasses.field(default=default, metadata=metadata, **more)  # pylint: disable=invalid-field-call


def read_spec(spec: type[S], value: Any, path: str, problems: Problems) -> S:
    """Read a mapping into ``spec``; faults go to ``problems``.

    What is bad is left out, so that checks across fields can still look at the rest and all faults
    are told at once. BAD comes back only where nothing can be made of the value.
    """
    if not isinstance(value, Mapping):
        problems.add(path, f"{shown(value)} is not a mapping", "key: value pairs")
        return BAD  # type: ignore[no-any-return]
    fields = {field.name: field for field in dataclasses.fields(spec) if "kind" in field.metadata}  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for key, item in value.items():
        if key not in fields:
            if not str(key).startswith("x-"):
                problems.unknown(path, str(key), fields)
            continue
        if item is not None or not _optional(fields[key]):
            found[str(key)] = fields[key].metadata["kind"].read(item, f"{path}.{key}" if path else str(key), problems)
    for name, field in fields.items():
        if name not in value and not _optional(field):
            problems.add(f"{path}.{name}" if path else name, "is missing", field.metadata["doc"])
            return BAD  # type: ignore[no-any-return]
    good = {name: item for name, item in found.items() if item is not BAD}
    whole = all(name in good or _optional(field) for name, field in fields.items())
    return spec(**good) if whole else BAD


def _optional(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def spec_schema(spec: type[Any]) -> Schema:
    """JSON Schema of a spec's mapping, with each field's documentation as description."""
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for field in dataclasses.fields(spec):
        if "kind" in field.metadata:
            properties[field.name] = {"description": field.metadata["doc"], **field.metadata["kind"].schema()}
            if not _optional(field):
                required.append(field.name)
    schema: Schema = {
        "type": ["object", "null"],
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }
    return {**schema, "required": required} if required else schema


def shown(value: Any) -> str:
    """A user's value as it looks in an error line, cut where it is long."""
    if isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, bool):
        text = str(value).lower()
    elif value is None:
        text = "nothing"
    elif isinstance(value, Mapping):
        text = "a mapping"
    elif isinstance(value, Sequence):
        text = "a list"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + '..."'
