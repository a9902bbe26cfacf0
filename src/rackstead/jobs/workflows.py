# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workflows: playbooks that can be jobs, declared in the ``specs`` folder beside them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common import deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems, nearest
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN, hide_secrets

from ..run import NAMESPACE
from .documents import documents, faults

#: Folders with playbooks of one's own, separated by colons.
VARIABLE = "RACKSTEAD_WORKFLOWS"
#: Folder with files of variables, NAME.yml for the workflow NAME: what is the same for all its jobs here.
SITE = "RACKSTEAD_VARIABLES"
COLLECTION = Path(deadline.__file__).resolve().parents[3]
ROLES = ("viewer", "operator", "admin")
LOWEST_PRIORITY = 9
MOST_RETRIES = 100
#: Seconds after which a file's time tells it from a later one.
SETTLED = 2.0
#: What a target's words quote: a variable, or the fields of each entry of a list, the first of them that is set.
_QUOTED = re.compile(r"\{(\w+)(?:\.(\w+(?:\|\w+)*))?\}")
#: Names of playbooks that lie beside the specs' folder.
_PLAYBOOK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
MOST_FORKS = 500
#: Names of Receptor nodes.
NODE = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}"
KEYS = (
    *("title", "target", "priority", "timeout", "retries", "backoff", "role", "inventory", "node", "specs"),
    *("playbook", "forks"),
)
#: What a declaration's plain values may be: a test, and what is allowed in words.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "priority": (lambda value: type(value) is int and 0 <= value <= LOWEST_PRIORITY, f"0 (first) to {LOWEST_PRIORITY}"),
    "timeout": (lambda value: type(value) in (int, float) and value > 0, "seconds, more than 0"),
    "retries": (lambda value: type(value) is int and 0 <= value <= MOST_RETRIES, f"0 to {MOST_RETRIES}"),
    "backoff": (lambda value: type(value) in (int, float) and value > 0, "seconds, more than 0"),
    "role": (lambda value: value in ROLES, ", ".join(ROLES)),
    "forks": (lambda value: type(value) is int and 1 <= value <= MOST_FORKS, f"1 to {MOST_FORKS}"),
    "node": (
        lambda value: isinstance(value, str) and re.fullmatch(NODE, value) is not None,
        "the name of a Receptor node: letters, digits, and _ . : - in between",
    ),
}


@dataclass(frozen=True)
class Workflow:
    """One playbook and its declaration. ``options`` is its argument specification, whole.

    ``target`` holds names of variables whose values name what a job touches, and words, in which a variable in
    braces stands for its value; ``{servers.id|name}`` stands for that field of each entry of a list, in words of its own.
    ``hosts`` are groups of an inventory that count in place of ``inventory``, for a job that is to have them.
    ``forks`` is on how many hosts a playbook works at once, 0: as many as Ansible's own settings say.
    """

    name: str
    playbook: str
    title: str
    description: str
    options: Mapping[str, Mapping[str, Any]] = field(repr=False)
    target: tuple[str, ...] = ()
    priority: int = 5
    timeout: float = 3600.0
    retries: int = 3
    backoff: float = 5.0
    role: str = "operator"
    inventory: str = ""
    hosts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    node: str = ""
    forks: int = 0

    def targets(self, variables: Mapping[str, Any]) -> list[str]:
        """What a job with these variables touches: ``variable:value``, or the words with what they quote filled in."""
        given = {name: variables.get(name, option.get("default")) for name, option in self.options.items()}
        found: list[str] = []
        for name in self.target:
            if name not in self.options:
                found += _words(name, given)
                continue
            values = given[name] if isinstance(given[name], list) else [given[name]]
            found += [f"{name}:{one}" for one in values if one not in (None, "")]
        return list(dict.fromkeys(found))

    def masked(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables as they may be shown."""
        secret = {name for name, option in self.options.items() if option.get("no_log")}
        return {
            name: HIDDEN if name in secret else hide_secrets({name: value})[name] for name, value in variables.items()
        }

    def check(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables in the types that are declared. Raises InvalidInput with a line for each fault."""
        from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

        given = {name: value for name, value in variables.items() if name in self.options}
        lines = [
            f'{name}: not a variable of the workflow "{self.name}"{nearest(name, self.options)}'
            for name in variables
            if name not in self.options
        ]
        whole = documents(self.options, given)
        result = ArgumentSpecValidator(_plain(self.options)).validate({**given, **dict.fromkeys(whole, "document")})
        lines += [" ".join(self._shown(line, given).splitlines()) for line in result.error_messages]
        lines += faults(self.options, given)
        if lines:
            raise InvalidInput(lines)
        return {name: result.validated_parameters[name] for name in given} | whole

    def _shown(self, line: str, variables: Mapping[str, Any]) -> str:
        """An error's line without the secrets that it may quote."""
        for text in secrets_of(variables, self.masked(variables)):
            line = line.replace(text, HIDDEN)
        return line


def _words(text: str, given: Mapping[str, Any]) -> list[str]:
    """A target's words with what they quote; one for each entry of a list whose fields they quote."""
    many = next((match for match in _QUOTED.finditer(text) if match[2]), None)
    if many is None:
        return [_QUOTED.sub(lambda match: str(given.get(match[1]) or ""), text).strip()]
    entries = given.get(many[1]) if isinstance(given.get(many[1]), list) else []
    named = [_first(entry, many[2].split("|")) for entry in entries or ()]
    return [word for one in named if one for word in _words(text.replace(many[0], one), given)]


def _first(entry: Any, fields: list[str]) -> str:
    """The first of the fields that is set. Braces in it are no quotation."""
    found = next((entry[name] for name in fields if entry.get(name)), "") if isinstance(entry, Mapping) else ""
    return str(found).replace("{", "").replace("}", "")


def secrets_of(variables: Any, masked: Any) -> list[str]:
    """The texts that stand in ``variables`` where ``masked`` has something else."""
    if isinstance(variables, Mapping) and isinstance(masked, Mapping):
        return [text for key, value in variables.items() for text in secrets_of(value, masked.get(key))]
    if isinstance(variables, list) and isinstance(masked, list):
        return [text for pair in zip(variables, masked, strict=True) for text in secrets_of(*pair)]
    if isinstance(variables, Mapping | list):
        values = variables.values() if isinstance(variables, Mapping) else variables
        return [text for value in values for text in secrets_of(value, None)]
    hidden = masked is None or masked == HIDDEN
    return [str(variables)] if hidden and variables not in (None, "", True, False) else []


def _plain(options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The specification without what is there for people only: the validator would take it for rules."""
    return {
        name: {key: value for key, value in option.items() if key not in ("description", "version_added")}
        | ({"options": _plain(option["options"])} if "options" in option else {})
        for name, option in options.items()
    }


class Catalog:
    """All workflows: those in the folders of ``RACKSTEAD_WORKFLOWS``, and those of the collection.

    Files are read when they are asked for, so that an engine knows what was added since it started.
    """

    def __init__(self, folders: list[Path] | None = None) -> None:
        self._places = [*(own_folders() if folders is None else folders), COLLECTION / "playbooks"]

    def get(self, name: str) -> Workflow:
        """Raises NotFound, or InvalidInput where the declaration is faulty."""
        place = self._place(name)
        found = _read(place, place / "specs" / f"{name}.yml") if place else None
        if found is None:
            raise NotFound(f'no workflow is named "{name}"{nearest(name, self._files())}')
        return found

    def read(self) -> tuple[list[Workflow], list[str]]:
        """The good ones, and a line for each fault of the others."""
        found: list[Workflow] = []
        problems: list[str] = []
        for _name, (place, path) in sorted(self._files().items()):
            try:
                one = _read(place, path)
                found += [one] if one else []
            except InvalidInput as error:
                problems += error.problems
        return found, problems

    def _place(self, name: str) -> Path | None:
        """The first folder where the name is declared. No name leads out of the folders."""
        if os.path.basename(name) != name:
            return None
        return next((place for place in self._places if os.path.exists(f"{place}/specs/{name}.yml")), None)

    def _files(self) -> dict[str, tuple[Path, Path]]:
        """The files that may declare a workflow, by name; a name counts where it comes first."""
        found: dict[str, tuple[Path, Path]] = {}
        for place in self._places:
            specs = place / "specs"
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                for name in os.listdir(specs):
                    if name.endswith(".yml"):
                        found.setdefault(name.removesuffix(".yml"), (place, specs / name))
        return found


def own_folders() -> list[Path]:
    return [Path(text).expanduser().absolute() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]


def site_files(name: str) -> tuple[Path, ...]:
    """The file with this machine's variables for a workflow, if there is one. What is ordered comes before them."""
    folder = os.environ.get(SITE, "")
    path = Path(folder).expanduser().absolute() / f"{name}.yml"
    return (path,) if folder and path.is_file() else ()


def _read(place: Path, path: Path) -> Workflow | None:
    """The workflow that a file declares, or None if it declares none."""
    document = _load(path)
    declared = document.get("workflow")
    if declared is None:
        return None
    problems = Problems()
    main = _main(document)
    options = dict(main.get("options") or {})
    if not isinstance(declared, dict):
        problems.add(f"{path}: workflow", "not a mapping")
        declared = {}
    if "specs" in declared:
        options = dict(_main(_load(path.parent / str(declared["specs"]))).get("options") or {})
    own = place == COLLECTION / "playbooks"
    if own:
        options |= _main(_load(path.with_name("connection.yml")))["options"]
    fields = _fields(f"{path}: workflow", declared, options, problems)
    playbook = place / f"{_playbook(f'{path}: workflow', declared, path.stem, problems)}.yml"
    if not playbook.is_file():
        problems.add(str(path), f'there is no playbook "{playbook}"')
    problems.raise_if_any()
    inventory = str((path.parent / declared["inventory"]).resolve()) if "inventory" in declared else ""
    title = str(declared.get("title") or main.get("short_description") or path.stem)
    name = f"{NAMESPACE}.{playbook.stem}" if own else str(playbook)
    description = main.get("description") or ""
    text = "\n".join(description) if isinstance(description, list) else str(description)
    return Workflow(path.stem, name, title, text, options, inventory=inventory, **fields)


def _playbook(where: str, declared: Mapping[str, Any], name: str, problems: Problems) -> str:
    """The playbook's name, which is the workflow's if the declaration says no other."""
    given = declared.get("playbook", name)
    if isinstance(given, str) and _PLAYBOOK.fullmatch(given):
        return given
    if "playbook" in declared:
        problems.add(f"{where}.playbook", f'"{given}" is not valid', "the name of a playbook in the folder above")
    return name


#: Documents by their path, each with what told that its file is still the same.
_loaded: dict[Path, tuple[tuple[int, ...], dict[str, Any]]] = {}


def _load(path: Path) -> dict[str, Any]:
    """The file's document, which nobody may change: it is read once as long as the file stays as it is."""
    import yaml

    try:
        found = path.stat()
        stamp = (found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino)
        known = _loaded.get(path)
        if known and known[0] == stamp:
            return known[1]
        content = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput([f"{path}: cannot be read: {' '.join(str(error).split())}"]) from error
    document = content if isinstance(content, dict) else {}
    if time.time() - found.st_ctime > SETTLED:  # else it may change once more within one tick of the clock
        _loaded[path] = stamp, document
    return document


def _main(document: Mapping[str, Any]) -> dict[str, Any]:
    found = (document.get("argument_specs") or {}).get("main") or {}
    return dict(found)


def _fields(where: str, declared: Mapping[str, Any], options: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """What a declaration sets beside its texts."""
    for key in declared:
        if key not in KEYS:
            problems.unknown(where, str(key), KEYS)
    found = {key: declared[key] for key in KINDS if key in declared}
    for key, value in found.items():
        good, allowed = KINDS[key]
        if not good(value):
            problems.add(f"{where}.{key}", f'"{value}" is not valid', allowed)
    if "target" in declared:
        target = [declared["target"]] if isinstance(declared["target"], str) else declared["target"]
        if not isinstance(target, list) or not all(isinstance(name, str) and name for name in target):
            problems.add(f"{where}.target", f'"{target}" is not valid', "names of variables, or words, in a list")
        else:
            found["target"] = tuple(target)
            quoted = [name for text in target for name, _fields in _QUOTED.findall(text)]
            for name in (name for name in quoted if name not in options):
                problems.unknown(f"{where}.target", name, options)
    return found
