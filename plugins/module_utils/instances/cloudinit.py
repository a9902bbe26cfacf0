# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud-init documents: checked before anything is sent, and written from mappings.

Headers: https://cloudinit.readthedocs.io/en/latest/explanation/format.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.errors import Unsupported

try:
    import yaml

    YAML_ERROR: ImportError | None = None
except ImportError as error:  # reported when a plan holds such a document
    YAML_ERROR = error

HEADERS = (
    "#cloud-config",
    "#cloud-config-archive",
    "#cloud-config-jsonp",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "#upstart-job",
    "#!",
    "## template:",
    "Content-Type:",
    "MIME-Version:",
)


def dump(document: Mapping[str, Any], *, headed: bool) -> str:
    """YAML text of a mapping, with the cloud-config header where one belongs."""
    _need_yaml()
    text: str = yaml.dump(_plain(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=1000)
    return f"#cloud-config\n{text}" if headed else text


def check_text(text: str, *, headed: bool) -> str:
    """What is wrong with a document, in one line, or nothing."""
    first = text.lstrip("\ufeff").split("\n", 1)[0].strip()
    if headed and not first.startswith(HEADERS):
        return (
            f'starts with "{first[:40]}", which cloud-init ignores; allowed: a first line such as #cloud-config or #!'
        )
    if (headed and not first.startswith("#cloud-config")) or first.startswith("## template:"):
        return ""
    _need_yaml()
    try:
        parsed = yaml.load(str(text), Loader=_Loader)  # libyaml takes no subclass of str, as templating hands out
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        return f"is not YAML{where}: {error.problem or error.context}"
    except yaml.YAMLError as error:
        return f"is not YAML: {str(error).splitlines()[0]}"
    if parsed is not None and not isinstance(parsed, Mapping) and first != "#cloud-config-archive":
        return "holds no mapping; allowed: cloud-config keys such as users, packages, runcmd"
    return ""


def _need_yaml() -> None:
    if YAML_ERROR is not None:
        raise Unsupported("the Python library PyYAML is missing", hint="install python3-yaml")


def _plain(value: Any) -> Any:
    """The same value in plain types: templating hands out subclasses that YAML would tag."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


if YAML_ERROR is None:
    _Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class _Dumper(yaml.SafeDumper):
        """Block style for text of several lines, so that a diff of it can be read."""

    def _represent_text(dumper: _Dumper, text: str) -> Any:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    _Dumper.add_representer(str, _represent_text)
