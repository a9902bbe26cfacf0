# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BIOS files for tests: drawn ones in every way of writing XML, and large ones like those of real boards.

They are put together as text here, without the collection's code. A drawn file comes with what is in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

ENCODINGS = {"UTF-8": "utf-8", "ISO-8859-1": "iso-8859-1", "windows-1252": "windows-1252", "UTF-16": "utf-16"}
ATTRIBUTE = {"Option": "selectedOption", "CheckBox": "checkedStatus", "Numeric": "numericValue"}
NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
#: Looks like a setting, and is none.
DECOYS = (
    '<!-- <Setting name="Decoy" selectedOption="Enabled" type="Option"/> -->',
    '<Help><![CDATA[<Setting name="Decoy" selectedOption="Off" type="Option"> & ]] >]]></Help>',
    "<Subtitle>1 &lt; 2</Subtitle>",
    "<?other words?>",
)


@dataclass
class Drawn:
    """One setting as it was drawn. ``slots`` are the numbers of the pieces of the file that hold its value."""

    menu: tuple[str, ...]
    name: str
    order: int
    type: str
    value: str
    options: tuple[str, ...] = ()
    limits: tuple[int, int, int] | None = None
    slots: list[int] = field(default_factory=list)
    inside: bool = False  # the value stands between tags, which had nothing between them


@dataclass
class File:
    """Pieces of text; those that hold values are told apart by the settings' ``slots``."""

    encoding: str
    pieces: list[str]
    settings: list[Drawn]

    @property
    def data(self) -> bytes:
        return "".join(self.pieces).encode(self.encoding)


def characters(encoding: str) -> st.SearchStrategy[str]:
    """Whatever the encoding can write, and XML can hold."""
    printable = st.characters(
        codec="latin-1" if encoding == "iso-8859-1" else "utf-8", exclude_categories=["Cc", "Cs", "Cn"]
    )
    if encoding == "windows-1252":
        printable = st.characters(codec="cp1252", exclude_categories=["Cc", "Cs", "Cn"])
    return printable.filter(lambda letter: letter not in "\ufffe\uffff\ufeff")


@st.composite
def files(draw: Any, most: int = 12) -> File:
    """A BIOS file with up to ``most`` settings."""
    declared = draw(st.sampled_from(sorted(ENCODINGS)))
    encoding = ENCODINGS[declared]
    letters = characters(encoding)
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    bom = "\ufeff" if declared == "UTF-8" and draw(st.booleans()) else ""
    quote = draw(st.sampled_from("\"'"))
    head = f"{bom}<?xml version={quote}1.0{quote} encoding={quote}{declared}{quote}?>{newline}"
    file = File(encoding, [head, f"<BiosCfg>{newline}"], [])
    names = draw(st.lists(st.text(letters, min_size=1, max_size=12), min_size=1, max_size=4))
    taken: set[tuple[tuple[str, ...], str, int]] = set()
    menus: list[str] = []
    for number in range(draw(st.integers(1, most))):
        _move(draw, file, menus, newline, number)
        _setting(draw, file, tuple(menus), names, letters, taken)
        file.pieces.append(newline + draw(st.sampled_from(["", *DECOYS])))
    file.pieces.append("</Menu>" * len(menus) + f"{newline}</BiosCfg>{newline}")
    return file


def _move(draw: Any, file: File, menus: list[str], newline: str, number: int) -> None:
    """Into a menu, out of one, or neither. No menu comes up twice."""
    for _step in range(draw(st.integers(0, len(menus)))):
        menus.pop()
        file.pieces.append("</Menu>")
    if draw(st.booleans()) or not menus:
        order = draw(st.sampled_from([1, 1, 2]))
        name = f"Menu {number} & more"
        file.pieces.append(f'<Menu name="{_raw(draw, name)}"{f""" order="{order}" """ if order > 1 else ""}>{newline}')
        menus.append(f"{name} #{order}" if order > 1 else name)


def _setting(draw: Any, file: File, menu: tuple[str, ...], names: list[str], letters: Any, taken: set[Any]) -> None:
    name = draw(st.sampled_from(names))
    order = next(number for number in range(1, 99) if (menu, name, number) not in taken)
    taken.add((menu, name, order))
    kind = draw(st.sampled_from(["Option", "CheckBox", "Numeric", "String", "Password"]))
    one = Drawn(menu, name, order, kind, "")
    inside = ""
    if kind == "Option":
        one.options = tuple(
            draw(st.lists(st.text(letters, min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
        )
        one.value = draw(st.sampled_from(one.options))
        rows = "".join(f'<Option value="{n}">{_content(draw, label)}</Option>' for n, label in enumerate(one.options))
        inside = f"<Information><AvailableOptions>{rows}</AvailableOptions></Information>"
    elif kind == "CheckBox":
        one.value = draw(st.sampled_from(["Checked", "Unchecked"]))
    elif kind == "Numeric":
        one.limits = (0, draw(st.integers(1, 400)), 1)
        one.value = str(draw(st.integers(0, one.limits[1])))
        inside = f"<Information><MaxValue>{one.limits[1]}</MaxValue><MinValue>0</MinValue><StepSize>1</StepSize></Information>"
    elif kind == "String":
        one.value = draw(st.text(letters, max_size=12))
    file.settings.append(one)
    _write(draw, file, one, inside)


def _write(draw: Any, file: File, one: Drawn, inside: str) -> None:
    """The element, with its attributes in any order and either kind of quotes."""
    words = {"name": one.name, "type": one.type}
    if one.order > 1 or draw(st.booleans()):
        words["order"] = str(one.order)
    if one.type in ATTRIBUTE:
        words[ATTRIBUTE[one.type]] = one.value
    pieces = file.pieces
    pieces.append("<Setting")
    for word in draw(st.permutations(sorted(words))):
        quote = draw(st.sampled_from("\"'"))
        pieces.append(f" {word}={quote}")
        if word == ATTRIBUTE.get(one.type):
            one.slots.append(len(pieces))
        pieces.append(_raw(draw, words[word]))
        pieces.append(quote)
    if one.type in ATTRIBUTE and not inside and draw(st.booleans()):
        pieces.append(" />")
        return
    pieces.append(f">{inside}")
    elements = {"String": ["StringValue"], "Password": ["NewPassword", "ConfirmNewPassword"]}
    for element in elements.get(one.type, []):
        if not one.value and draw(st.booleans()):
            pieces.append(f"<{element}")
            one.slots.append(len(pieces))
            one.inside = True
            pieces += ["/>", ""]
        else:
            pieces.append(f"<{element}>")
            one.slots.append(len(pieces))
            pieces += [_content(draw, one.value), f"</{element}>"]
    pieces.append("</Setting>")


def _raw(draw: Any, text: str) -> str:
    """Text in an attribute: what must be escaped, and by chance what need not be."""
    escape = draw(st.booleans())
    written = []
    for letter in text:
        if letter in NAMED:
            written.append(NAMED[letter])
        elif escape and not letter.isalnum():
            written.append(f"&#{ord(letter)};" if ord(letter) % 2 else f"&#x{ord(letter):x};")
        else:
            written.append(letter)
    return "".join(written)


def _content(draw: Any, text: str) -> str:
    if text and "]]>" not in text and draw(st.booleans()):
        return f"<![CDATA[{text}]]>"
    return _raw(draw, text)


# -- like a real board's ----------------------------------------------------------------------------------
def board(count: int = 300) -> bytes:
    """A file with ``count`` settings, with help, conditions and menus as SUM writes them."""
    lines = ['<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>', "<BiosCfg>", "  <!--SUM 2.14.0-->"]
    for menu in range(count // 10):
        lines += [f'  <Menu name="Menu {menu}">', "    <Information><Help><![CDATA[Page]]></Help></Information>"]
        for number in range(10):
            lines += _board_setting(menu, number)
        lines.append("  </Menu>")
    return ("\n".join([*lines, "</BiosCfg>"]) + "\n").encode("iso-8859-1")


def _board_setting(menu: int, number: int) -> list[str]:
    help_text = (
        f"<Help><![CDATA[What setting {number} of page {menu} is good for, Gerät Nº {menu}, at some length.]]></Help>"
    )
    if number % 5 == 4:
        return [
            f'    <Setting name="Threshold" order="{number // 5 + 1}" numericValue="100" type="Numeric">',
            (
                "      <Information><MaxValue>32767</MaxValue><MinValue>0</MinValue><StepSize>1</StepSize>"
                f"<DefaultValue>100</DefaultValue>{help_text}</Information>"
            ),
            "    </Setting>",
        ]
    condition = f"<WorkIf><![CDATA[  0 != Feature {number - 1}  ]]></WorkIf>" if number % 5 == 3 else ""
    rows = "".join(f'<Option value="{n}">{label}</Option>' for n, label in enumerate(["Disabled", "Enabled", "Auto"]))
    return [
        f'    <Setting name="Feature {number}" selectedOption="Enabled" type="Option">',
        (
            f"      <Information><AvailableOptions>{rows}</AvailableOptions><DefaultOption>Auto</DefaultOption>"
            f"{help_text}{condition}</Information>"
        ),
        "    </Setting>",
    ]


def pattern(file: File, changed: dict[int, str]) -> re.Pattern[str]:
    """Matches the file's text with only these pieces (by number) being others."""
    parts = [f"(?P<p{n}>.*?)" if n in changed else re.escape(piece) for n, piece in enumerate(file.pieces)]
    return re.compile("".join(parts), re.DOTALL)
