#!/usr/bin/env python3
# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Behaves as Supermicro's Update Manager does, as far as its user's guide tells: commands, exit codes, XML.

A program of its own that needs nothing but Python: put it, or a link to it, at the path where SUM is to be.
Its state lies in the folder that SUM_STATE names, else in NAME.state beside it:

  bios.xml       the BIOS as it runs; ``sum.py --install FILE`` puts one there
  pending.xml    what has been stored for the next boot (several: pending-2.xml, …)
  faults.json    {"busy": 2, "license": false, "refuse": ["Name"], "exit": {"ChangeBiosCfg": 105},
                  "bmc": ["host", "user", "password"]}
  calls.jsonl    the arguments of every call

``sum.py --booted`` tells it that the host has booted: then what is pending takes effect, but for what the
faults refuse. Given a change it does not understand, it stores nothing.
"""

from __future__ import annotations

import fcntl
import html
import json
import os
import re
import sys
from pathlib import Path

BANNER = "Supermicro Update Manager (for UEFI BIOS) 2.14.0 (2024/02/15) (x86_64)\n"
WORDS = {
    2: "Unknown option.",
    3: "Missing argument.",
    4: "No host IP, user or password.",
    6: "Unknown command.",
    8: "Cannot open file.",
    9: "File already exists. Use --overwrite to overwrite it.",
    60: "Invalid BIOS configuration file.",
    80: "Product key is not activated. Feature is not available.",
    105: "Driver does not work.",
    106: "Another SUM is running on this system.",
    107: "The system is busy.",
    145: "IPMI connection failed.",
    146: "IPMI login failed.",
}
COMMANDS = ("GetCurrentBiosCfg", "ChangeBiosCfg", "QueryProductKey")
PIECES = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<(?P<end>/?)(?P<tag>Menu|Setting|Option|StringValue|AvailableOptions)\b"
    r"""(?P<words>(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(?P<closed>/?)>""",
    re.DOTALL,
)
WORD = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
VALUE = {"Option": "selectedOption", "CheckBox": "checkedStatus", "Numeric": "numericValue"}


class Stop(Exception):
    """Ends with this exit code."""

    def __init__(self, code, words=""):
        super().__init__(code)
        self.code, self.words = code, words or WORDS.get(code, "")


class Bios:
    """The settings in a file, and where in its text their values stand."""

    def __init__(self, data):
        declared = re.match(rb"""<\?xml[^>]*encoding=["']([\w.-]+)""", data)
        self.encoding = declared.group(1).decode() if declared else "utf-8"
        self.text = data.decode(self.encoding)
        self.settings = {}
        self._menus, self._now, self._inside, self._label = [], None, None, None
        for piece in PIECES.finditer(self.text):
            if piece["tag"]:
                self._piece(piece)

    def _piece(self, piece):
        tag, ends, closed = piece["tag"], bool(piece["end"]), bool(piece["closed"])
        words = {w[0]: html.unescape(w[1] or w[2]) for w in WORD.findall(piece["words"] or "")}
        if tag == "Menu" and not closed:
            if ends:
                self._menus.pop()
            else:
                self._menus.append((words.get("name"), words.get("order", "1")))
        elif tag == "Setting":
            self._now = None if ends else self._setting(piece, words)
            if closed:
                self._now = None
        elif tag == "Option" and self._now is not None:
            if ends:
                self._now["options"].append(html.unescape(self.text[self._label : piece.start()]))
            else:
                self._label = piece.end()
        elif tag == "StringValue" and self._now is not None:
            if closed:
                self._now["span"], self._now["value"] = (piece.start(), piece.end()), ""
                self._now["around"] = ("<StringValue>", "</StringValue>")
            elif ends:
                self._now["span"] = (self._inside, piece.start())
                raw = self.text[self._inside : piece.start()]
                self._now["value"] = html.unescape(
                    re.sub(r"<!\[CDATA\[(.*?)\]\]>", lambda m: html.escape(m[1]), raw, flags=re.S)
                )
            else:
                self._inside = piece.end()

    def _setting(self, piece, words):
        found = {"type": words.get("type"), "options": [], "span": None, "value": None, "around": ("", "")}
        attribute = VALUE.get(words.get("type"))
        start = piece.start("words")
        for word in WORD.finditer(piece["words"]):
            if word[1] == attribute:
                group = 2 if word[2] is not None else 3
                found["span"] = (start + word.start(group), start + word.end(group))
                found["value"] = html.unescape(word[group])
        self.settings[(tuple(self._menus), words.get("name"), words.get("order", "1"))] = found
        return found

    def with_values(self, values):
        """The text with other values."""
        edits = []
        for key, value in values.items():
            found = self.settings[key]
            if found["span"] and found["value"] != value:
                edits.append((found["span"], found["around"], value))
        text, end = "", 0
        for (start, stop), (before, after), value in sorted(edits):
            text += self.text[end:start] + before + html.escape(value) + after
            end = stop
        return (text + self.text[end:]).encode(self.encoding, "xmlcharrefreplace")


class State:
    """The folder."""

    def __init__(self):
        me = Path(os.path.abspath(sys.argv[0]))
        self.folder = Path(os.environ.get("SUM_STATE") or f"{me}.state")
        self.folder.mkdir(parents=True, exist_ok=True)

    def faults(self):
        path = self.folder / "faults.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def busy(self):
        """Counts down under a lock, since several may call."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            faults = self.faults()
            if faults.get("busy", 0) > 0:
                faults["busy"] -= 1
                (self.folder / "faults.json").write_text(json.dumps(faults))
                return True
            return False

    def pending(self):
        return sorted(self.folder.glob("pending*.xml"), key=lambda path: (len(path.name), path.name))

    def write(self, name, data):
        beside = self.folder / f"{name}.new"
        beside.write_bytes(data)
        beside.rename(self.folder / name)

    def store(self, data):
        count = len(self.pending()) + 1
        self.write("pending.xml" if count == 1 else f"pending-{count}.xml", data)

    def booted(self):
        """What was stored takes effect, and is gone."""
        refused = self.faults().get("refuse", [])
        for path in self.pending():
            bios = Bios((self.folder / "bios.xml").read_bytes())
            values = {
                key: one["value"] for key, one in Bios(path.read_bytes()).settings.items() if key[1] not in refused
            }
            self.write("bios.xml", bios.with_values(values))
            path.unlink()


def arguments(argv):
    """The options, as SUM's own reading of them goes."""
    found, left = {}, list(argv)
    while left:
        word = left.pop(0)
        if word in ("-i", "-u", "-p", "-l", "-c", "--file"):
            if not left:
                raise Stop(3)
            found[word] = left.pop(0)
        elif word in ("--overwrite", "--reboot", "--skip_unknown", "-v"):
            found[word] = True
        else:
            raise Stop(2, f"Unknown option {word}.")
    if "-c" not in found:
        raise Stop(5 if found else 1, "No command.")
    return found


def log_in(options, faults):
    """The BMC's address where there is one to log in to."""
    if "-l" in options:
        try:
            words = Path(options["-l"]).read_text().split()
        except OSError:
            raise Stop(8) from None
    elif "-i" in options:
        words = [options.get(word, "") for word in ("-i", "-u", "-p")]
    else:
        return ""
    if len(words) != 3 or not all(words):
        raise Stop(4)
    if "bmc" in faults:
        if words[0] != faults["bmc"][0]:
            raise Stop(145)
        if words[1:] != faults["bmc"][1:]:
            raise Stop(146)
    return words[0]


def get(state, options, address):
    path = Path(options.get("--file", ""))
    if "-l" in options:
        path = Path(f"{path}.{address}")
    if path.exists() and "--overwrite" not in options:
        raise Stop(9)
    path.write_bytes((state.folder / "bios.xml").read_bytes())
    return f'File "{path}" is created.'


def change(state, options):
    try:
        data = Path(options.get("--file", "")).read_bytes()
        wanted = Bios(data)
    except OSError:
        raise Stop(8) from None
    except (ValueError, LookupError):
        raise Stop(60) from None
    known = Bios((state.folder / "bios.xml").read_bytes()).settings
    if not wanted.settings or "<BiosCfg" not in wanted.text:
        raise Stop(60)
    for key, one in wanted.settings.items():
        if key not in known:
            raise Stop(60, f'Setting "{key[1]}" is unknown.')
        if known[key]["type"] == "Option" and one["value"] not in known[key]["options"]:
            raise Stop(60, f'"{one["value"]}" is no option of setting "{key[1]}".')
    state.store(data)
    if "--reboot" in options:
        (state.folder / "reboot").touch()
    return "The BIOS configuration is updated. Please reboot or power up the system for the changes to take effect."


def main(argv):
    state = State()
    if argv[:1] == ["--install"]:
        state.write("bios.xml", Path(argv[1]).read_bytes())
        return 0
    if argv[:1] == ["--booted"]:
        state.booted()
        return 0
    with (state.folder / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    print(BANNER)
    try:
        options = arguments(argv)
        command = {name.lower(): name for name in COMMANDS}.get(options["-c"].lower())
        if not command:
            raise Stop(6)
        faults = state.faults()
        address = log_in(options, faults)
        if state.busy():
            raise Stop(107)
        if faults.get("license") is False:
            raise Stop(80)
        if command in faults.get("exit", {}):
            raise Stop(faults["exit"][command])
        print(get(state, options, address) if command == "GetCurrentBiosCfg" else change(state, options))
    except Stop as stop:
        print(f"ExitCode = {stop.code}\n{stop.words}", file=sys.stderr)
        return stop.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
