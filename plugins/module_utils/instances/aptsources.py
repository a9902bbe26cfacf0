# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads apt's sources, in the one-line form and in deb822, and says which mirror serves what.

Formats: sources.list(5). apt itself lists only what it has downloaded already, so a machine whose
lists are empty tells nothing; the files do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

APT_DIR = Path("/etc/apt")
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: Names that follow the releases along; a machine may name one of them in place of its codename.
MOVING_SUITES = ("stable", "oldstable", "oldoldstable")
_ONE_LINE = re.compile(r"^(deb)\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>.*)$")
_SCHEMES = ("http", "https", "file", "copy", "ftp")


@dataclass(frozen=True)
class Source:
    """One archive, one suite. ``signed_by`` is a path, a fingerprint or a key in ASCII armour, or empty."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False


def strip_credentials(text: str) -> str:
    """``text``, an address or a line with some, without ``user:password@``."""
    return re.sub(r"://[^/@\s]*@", "://", text)


def read_files(directory: Path = APT_DIR) -> dict[str, str]:
    """The source files that apt reads below ``directory``, by path."""
    parts = directory / "sources.list.d"
    found = [directory / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    return {str(path): path.read_text(errors="replace") for path in found if path.is_file()}


def parse(files: Mapping[str, str]) -> list[Source]:
    """Every enabled binary source of ``files`` (path -> content), in apt's order."""
    sources: list[Source] = []
    for path, text in files.items():
        sources += parse_deb822(text) if path.endswith(".sources") else parse_list(text)
    return [source for source in sources if source.uri.partition(":")[0] in _SCHEMES]


def parse_list(text: str) -> list[Source]:
    """Sources in the one-line form: ``deb [options] uri suite component...``."""
    return [source for line in text.splitlines() if (source := _one_line(line.partition("#")[0].strip()))]


def _one_line(line: str) -> Source | None:
    match = _ONE_LINE.match(line)
    if not match:
        return None
    options = dict(word.split("=", 1) for word in (match["options"] or "").split() if "=" in word)
    return Source(
        uri=match["uri"],
        suite=match["suite"],
        components=tuple(match["components"].split()),
        signed_by=options.get("signed-by", ""),
        trusted=options.get("trusted", "no") == "yes",
    )


def parse_deb822(text: str) -> list[Source]:
    """Sources in the deb822 form: stanzas of fields, several URIs and suites in each."""
    return [source for stanza in re.split(r"\n\s*\n", text) for source in _expand(_fields(stanza))]


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _colon, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _expand(fields: Mapping[str, str]) -> Iterable[Source]:
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
        return
    for uri in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            yield Source(
                uri=uri,
                suite=suite,
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", "").lstrip("\n"),
                trusted=fields.get("trusted", "no").lower() == "yes",
            )


def source_of(sources: Iterable[Source], release: str, suffix: str = "") -> Source | None:
    """The first source of ``release`` (a codename) with the component main.

    With a ``suffix`` such as ``-backports``, of that suite. A moving name (``stable``) counts where
    the codename itself does not occur.
    """
    fitting = [source for source in sources if "main" in source.components]
    for name in (release, *MOVING_SUITES):
        for source in fitting:
            if source.suite == f"{name}{suffix}":
                return source
    return None


def backports_stanza(base: Source, release: str) -> str:
    """A deb822 stanza for the backports suite on the mirror of ``base``, with its signing key."""
    lines = ["Types: deb", f"URIs: {base.uri}", f"Suites: {release}-backports", "Components: main"]
    if base.signed_by:
        lines.append(f"Signed-By: {_continued(base.signed_by)}")
    if base.trusted:
        lines.append("Trusted: yes")
    return "\n".join(lines) + "\n"


def _continued(value: str) -> str:
    first, *rest = value.split("\n")
    return "\n".join([first] if not rest else ["", *(f" {line}" for line in (first, *rest))])
