# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SUM's BIOS file: XML in which only settings' values may change, and all else stays as it is, byte for byte.

So nothing is built up anew from a tree. The parser tells where each value stands in the file, and a new
value is put there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.parsers import expat

from ...common.errors import InvalidInput
from .model import CHECKBOX, CHECKED, NUMERIC, OPTION, PASSWORD, STRING, TYPES, Key, Setting, SettingChange, path_of

ROOT = "BiosCfg"
VALUE_ATTRIBUTE = {OPTION: "selectedOption", CHECKBOX: "checkedStatus", NUMERIC: "numericValue"}
#: elements below a setting that hold its value
VALUE_ELEMENTS = {"StringValue": STRING, "NewPassword": PASSWORD, "ConfirmNewPassword": PASSWORD}
_DECLARED = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_TAG = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*(/?)>""")
_ATTRIBUTE = re.compile(rb"""\s([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
#: what XML 1.0 cannot hold, not even as a reference
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Spot:
    """Where a value stands. ``around`` is what has to go around it: a tag that was closed at once had no inside."""

    start: int
    end: int
    around: tuple[bytes, bytes] = (b"", b"")


@dataclass(frozen=True)
class _Place:
    """A setting in the file: its start tag, and the spots that hold its value."""

    tag: tuple[int, int]
    spots: tuple[_Spot, ...]
    menus: tuple[bytes, ...]  # start tags of the menus above it
    element: bytes = b""  # the element that holds its value, where that is no attribute


class Document:
    """A parsed BIOS file. ``parse`` makes one."""

    vendor = "supermicro"

    def __init__(self, raw: bytes, encoding: str, work: bytes, reader: _Reader) -> None:
        self._raw = raw
        self._encoding = encoding
        self._work = work  # the same text in UTF-8, which is what the places are counted in
        self.settings: tuple[Setting, ...] = tuple(reader.settings)
        self._places = reader.places
        self._root = reader.root
        self._by_key: dict[Key, list[int]] = {}
        for number, setting in enumerate(self.settings):
            self._by_key.setdefault(setting.key, []).append(number)

    @classmethod
    def parse(cls, data: bytes, where: str = "BIOS file") -> Document:
        """Read a file. Raises InvalidInput with all that is wrong in it."""
        encoding, text = _decoded(data, where)
        work = text.encode()
        reader = _Reader(work)
        reader.read(where)
        return cls(data, encoding, work, reader)

    def find(self, key: Key) -> Setting | None:
        """The setting with this key; None where there is none, or more than one."""
        numbers = self._by_key.get(key, [])
        return self.settings[numbers[0]] if len(numbers) == 1 else None

    def encode(self) -> bytes:
        return self._raw

    def with_changes(self, changes: Iterable[SettingChange]) -> Document:
        edits: list[tuple[_Spot, bytes]] = []
        for setting, place, after in self._found(changes):
            if setting.value != after or setting.type == PASSWORD:
                edits += [(spot, _escaped(after)) for spot in place.spots]
        if not edits:
            return self
        parts, end = [], 0
        for spot, value in sorted(edits, key=lambda edit: edit[0].start):
            parts += [self._work[end : spot.start], spot.around[0], value, spot.around[1]]
            end = spot.end
        return self._with(b"".join([*parts, self._work[end:]]))

    def only(self, changes: Iterable[SettingChange]) -> Document:
        found = sorted(self._found(changes), key=lambda one: one[1].tag)
        lines: list[bytes] = []
        above: tuple[bytes, ...] = ()
        for setting, place, after in found:
            shared = _shared(above, place.menus)
            lines += [b"  " * (depth + 1) + b"</Menu>" for depth in reversed(range(shared, len(above)))]
            lines += [
                b"  " * (depth + 1) + tag for depth, tag in enumerate(place.menus[shared:], shared)
            ]  # the tags as they came: a menu has an order, too
            lines.append(b"  " * (len(place.menus) + 1) + self._alone(setting, place, after))
            above = place.menus
        lines += [b"  " * (depth + 1) + b"</Menu>" for depth in reversed(range(len(above)))]
        start, end = self._root
        head = self._work[:start] if self._work[:start].lstrip(b"\xef\xbb\xbf").startswith(b"<?xml") else b""
        declaration = head[: head.index(b"?>") + 2] + b"\n" if head else b""
        tag = self._work[start:end]
        return self._with(
            declaration + b"\n".join([tag.removesuffix(b"/>") + b">" * tag.endswith(b"/>"), *lines, b"</BiosCfg>", b""])
        )

    def _alone(self, setting: Setting, place: _Place, after: str) -> bytes:
        """The setting's element with its new value and nothing else."""
        start, end = place.tag
        tag = self._work[start:end]
        if setting.type in VALUE_ATTRIBUTE:
            spot = place.spots[0]
            tag = tag[: spot.start - start] + _escaped(after) + tag[spot.end - start :]
            return tag if tag.endswith(b"/>") else tag[:-1] + b"/>"
        names = ("StringValue",) if setting.type == STRING else ("NewPassword", "ConfirmNewPassword")
        inside = b"".join(b"<%s>%s</%s>" % (name.encode(), _escaped(after), name.encode()) for name in names)
        return (tag[:-2] + b">" if tag.endswith(b"/>") else tag) + inside + b"</Setting>"

    def _with(self, work: bytes) -> Document:
        text = work.decode()
        return Document.parse(text.encode(self._encoding, errors="xmlcharrefreplace"))

    def _found(self, changes: Iterable[SettingChange]) -> list[tuple[Setting, _Place, str]]:
        found, problems = [], []
        for change in changes:
            numbers = self._by_key.get(change.key, [])
            if len(numbers) == 1 and not _FORBIDDEN.search(change.after):
                found.append((self.settings[numbers[0]], self._places[numbers[0]], change.after))
            elif len(numbers) == 1:
                problems.append(f"{change.path}: the value holds characters that XML cannot hold; allowed: text")
            else:
                what = "is there more than once, with one order" if numbers else "is not in the document"
                problems.append(f"{change.path}: {what}")
        if problems:
            raise InvalidInput(problems)
        return found


def _shared(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> int:
    count = 0
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            break
        count += 1
    return count


def _decoded(data: bytes, where: str) -> tuple[str, str]:
    """The encoding and the text, of which the same bytes can be made again."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    else:
        declared = _DECLARED.match(data.removeprefix(codecs.BOM_UTF8))
        encoding = declared[1].decode() if declared else "utf-8"
    try:
        text = data.decode(encoding)
        whole = isinstance(text, str) and text.encode(encoding) == data
    except (LookupError, ValueError) as exc:
        raise InvalidInput([f"{where}: is not text in {encoding}: {exc}"]) from exc
    if not whole:
        raise InvalidInput([f"{where}: cannot be kept byte for byte in {encoding}"])
    return encoding, text


def _escaped(value: str) -> bytes:
    """Text for an attribute in either kind of quotes, or between tags."""
    for plain, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        value = value.replace(plain, reference)
    for blank in "\t\n\r":
        value = value.replace(blank, f"&#{ord(blank)};")
    return value.encode()


class _Reader:
    """What the XML parser tells, put together."""

    def __init__(self, work: bytes) -> None:
        self.settings: list[Setting] = []
        self.places: list[_Place] = []
        self.root = (0, 0)
        self.problems: list[str] = []
        self._work = work
        self._stack: list[str] = []
        self._menus: list[tuple[str, bytes]] = []
        self._conditions: list[tuple[int, str]] = []  # of menus, with their depth
        self._attributes: Mapping[str, str] = {}  # of the setting that is being read
        self._tag = (0, 0)
        self._spots: list[_Spot] = []
        self._texts: dict[str, str] = {}
        self._options: list[tuple[str, str]] = []
        self._number = ""
        self._text: list[str] | None = None
        self._inside = 0  # where the inside of a value's element begins
        self._parser: Any = None

    def read(self, where: str) -> None:
        # The text is UTF-8 here, whatever the file says of itself.
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(self._work, True)
        except expat.ExpatError as exc:
            line, column = exc.lineno, exc.offset
            raise InvalidInput([f"{where}: line {line}, column {column}: {expat.ErrorString(exc.code)}"]) from exc
        if self.problems:
            raise InvalidInput([f"{where}: {problem}" for problem in self.problems])

    def _doctype(self, *_declared: object) -> None:
        raise InvalidInput(["BIOS file: has a document type; allowed: none, since that can hold entities"])

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    # -- elements -------------------------------------------------------------------------------------
    def _start(self, name: str, attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        if not self._stack:
            if name != ROOT:
                raise InvalidInput([f"BIOS file: begins with {name}; allowed: {ROOT}"])
            self.root = (at, self._tag_end(at))
        self._stack.append(name)
        if name == "Menu":
            path = f"{attributes.get('name', '')}{self._numbered(attributes)}"
            self._menus.append((path, self._work[at : self._tag_end(at)]))
        elif name == "Setting":
            if self._stack.count(name) > 1:
                self.problems.append(f"{attributes.get('name', '')}: a setting within a setting")
            self._attributes, self._tag = attributes, (at, self._tag_end(at))
            self._spots, self._texts, self._options = [], {}, []
        elif name in _READ:
            self._text = []
            self._number = attributes.get("value", "")
            if name in VALUE_ELEMENTS:
                self._inside = self._tag_end(at)

    def _end(self, name: str) -> None:
        self._stack.pop()
        if name == "Menu":
            self._menus.pop()
            depth = len(self._menus)
            self._conditions = [one for one in self._conditions if one[0] <= depth]
        elif name == "Setting":
            self._finish()
        elif name in _READ and self._text is not None:
            text, self._text = "".join(self._text), None
            self._keep(name, text)

    def _keep(self, name: str, text: str) -> None:
        if name in VALUE_ELEMENTS:
            self._spots.append(self._spot(name))
            self._texts.setdefault(name, text)
        elif "Setting" not in self._stack:
            if name == "WorkIf" and text.strip():
                self._conditions.append((len(self._menus), text.strip()))
        elif name == "Option":
            self._options.append((self._number, text))
        else:
            self._texts[name] = text if name in _AS_IS else text.strip()

    def _spot(self, name: str) -> _Spot:
        """The inside of an element that has just ended."""
        if self._work[self._inside - 2 : self._inside] == b"/>":
            return _Spot(self._inside - 2, self._inside, (b">", b"</%s>" % name.encode()))
        return _Spot(self._inside, self._parser.CurrentByteIndex)

    def _tag_end(self, at: int) -> int:
        found = _TAG.match(self._work, at)
        if not found:  # the parser has taken it for a tag
            raise AssertionError(f"no tag at {at}")
        return found.end()

    def _numbered(self, attributes: Mapping[str, str]) -> str:
        order = self._order(attributes, f"menu {attributes.get('name', '')}")
        return f" #{order}" if order > 1 else ""

    def _order(self, attributes: Mapping[str, str], what: str) -> int:
        text = attributes.get("order", "1")
        if not text.isascii() or not text.isdecimal():
            self.problems.append(f'{what}: order "{text}" is not a number')
            return 1
        return int(text)

    # -- a setting ------------------------------------------------------------------------------------
    def _finish(self) -> None:
        given, texts = self._attributes, self._texts
        name = given.get("name", "")
        menu = tuple(path for path, _tag in self._menus)
        kind = given.get("type") or _guessed(given, texts)
        path = path_of((menu, name, 1))
        if kind not in TYPES:
            self.problems.append(f'{path}: type "{kind}" is not known; allowed: {", ".join(TYPES)}')
            return
        setting = Setting(
            menu=menu,
            name=name,
            order=self._order(given, path),
            type=kind,
            value=given.get(VALUE_ATTRIBUTE.get(kind, ""), texts.get("StringValue", "")) if kind != PASSWORD else "",
            options=tuple(self._options),
            default=next((texts[one] for one in _DEFAULTS if one in texts), ""),
            work_if=tuple(
                [text for _depth, text in self._conditions] + [texts[one] for one in ["WorkIf"] if texts.get(one)]
            ),
        )
        if kind == NUMERIC:
            limits = [_whole(texts.get(one)) for one in ("MinValue", "MaxValue", "StepSize")]
            setting = replace(setting, least=limits[0], most=limits[1], step=limits[2])
        elif kind == STRING:
            limits = [_whole(texts.get(one)) for one in ("MinSize", "MaxSize")]
            setting = replace(setting, least=limits[0], most=limits[1])
        self._check(setting)
        spots = self._value_spots(kind)
        if not spots:
            self.problems.append(f"{path}: has no {VALUE_ATTRIBUTE.get(kind) or 'value element'}")
            return
        self.settings.append(setting)
        self.places.append(_Place(self._tag, spots, tuple(tag for _path, tag in self._menus)))

    def _check(self, setting: Setting) -> None:
        if not setting.name:
            self.problems.append(f"{setting.path}: a setting without a name")
        if setting.type == CHECKBOX and setting.value not in CHECKED:
            self.problems.append(f'{setting.path}: "{setting.value}" is not valid; allowed: {", ".join(CHECKED)}')
        if setting.type == NUMERIC and _whole(setting.value) is None:
            self.problems.append(f'{setting.path}: "{setting.value}" is not a number')

    def _value_spots(self, kind: str) -> tuple[_Spot, ...]:
        if kind not in VALUE_ATTRIBUTE:
            return tuple(self._spots)
        start, end = self._tag
        wanted = VALUE_ATTRIBUTE[kind].encode()
        for found in _ATTRIBUTE.finditer(self._work, start, end):
            if found[1] == wanted:
                return (_Spot(*found.span(2 if found[2] is not None else 3)),)
        return ()


_DEFAULTS = ("DefaultOption", "DefaultStatus", "DefaultValue", "DefaultString")
_AS_IS = ("DefaultOption", "DefaultString")
_READ = frozenset(
    [*VALUE_ELEMENTS, *_DEFAULTS, "Option", "MinValue", "MaxValue", "StepSize", "MinSize", "MaxSize", "WorkIf"]
)


def _guessed(attributes: Mapping[str, str], texts: Mapping[str, str]) -> str:
    """The type of a setting that does not tell it, as in templates written by hand."""
    by_attribute = [kind for kind, attribute in VALUE_ATTRIBUTE.items() if attribute in attributes]
    by_element = [kind for name, kind in VALUE_ELEMENTS.items() if name in texts]
    return next(iter([*by_attribute, *by_element]), "")


def _whole(text: str | None) -> int | None:
    """A number as firmware writes it: decimal, or hexadecimal with 0x."""
    try:
        return int(text or "", 16 if (text or "").lower().startswith("0x") else 10)
    except ValueError:
        return None
