# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A workflow's argument specification as a form, and what was typed into one as an order. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ..jobs.service import Order
from ..jobs.workflows import LOWEST_PRIORITY, Workflow

#: Variables' fields are called so; those of the order have their own names.
PREFIX = "v-"
LONGEST, DEEPEST = 100_000, 50
TOO_DEEP = f"is nested more than {DEEPEST} times"
CONNECTION = "rackstead_"
HINTS = {
    "lines": "One a line; or a list in YAML or JSON.",
    "yaml": "YAML or JSON.",
    "path": "A path on the server.",
    "int": "A whole number.",
    "float": "A number.",
}


class Unreadable(ValueError):
    """What was typed cannot be read."""


@dataclass
class Field:
    """``kind`` is how it looks: text, secret, choice, area or check."""

    name: str
    label: str
    kind: str
    help: str = ""
    hint: str = ""
    required: bool = False
    default: str = ""
    choices: Sequence[str] = ()
    numeric: bool = False
    value: str = ""
    errors: list[str] = field(default_factory=list)


def sentence(text: Any) -> str:
    return " ".join(str(line) for line in text) if isinstance(text, list) else str(text or "")


def variable_fields(workflow: Workflow, typed: Mapping[str, str]) -> list[Field]:
    """Required ones first."""
    found = [_field(name, option, typed.get(PREFIX + name, "")) for name, option in workflow.options.items()]
    return sorted(found, key=lambda one: not one.required)


def _field(name: str, option: Mapping[str, Any], typed: str) -> Field:
    shape = _shape(option)
    kind = {"lines": "area", "yaml": "area", "choice": "choice", "bool": "choice", "secret": "secret"}.get(
        shape, "text"
    )
    default = option.get("default")
    shown = "" if default in (None, "") or shape == "secret" else _typed(default)
    choices = ["true", "false"] if shape == "bool" else [str(one) for one in option.get("choices", ())]
    hint = HINTS.get(shape, "")
    if shape == "yaml" and option.get("options"):
        hint += f" Keys: {', '.join(option['options'])}."
    if kind == "area" and choices:
        hint += f" Allowed: {', '.join(choices)}."
    return Field(
        PREFIX + name,
        name,
        kind,
        sentence(option.get("description")),
        hint,
        bool(option.get("required")),
        shown,
        choices,
        shape in ("int", "float"),
        "" if shape == "secret" else typed,
    )


def _shape(option: Mapping[str, Any]) -> str:
    kind = str(option.get("type", "str"))
    if option.get("no_log"):
        return "secret"
    if kind == "list":
        return "lines" if option.get("elements", "str") in ("str", "path", "int") else "yaml"
    if kind in ("dict", "raw", "json", "jsonarg"):
        return "yaml"
    if option.get("choices"):
        return "choice"
    return kind


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def order_fields(workflow: Workflow, typed: Mapping[str, str]) -> list[Field]:
    digits = [str(number) for number in range(LOWEST_PRIORITY + 1)]
    found = [
        Field("limit", "Hosts", "text", "Only these hosts of the workflow's inventory."),
        Field("tags", "Tags", "text", "Only tasks with these tags, separated by commas."),
        Field("priority", "Priority", "choice", "0 comes first.", default=str(workflow.priority), choices=digits),
        Field("retries", "Retries", "text", "Further attempts after one that failed.", default=str(workflow.retries)),
        Field("timeout", "Timeout", "text", "Seconds for one attempt.", default=f"{workflow.timeout:g}"),
        Field("at", "Not before", "time", "In the server's time zone."),
        Field("node", "Node", "text", "The Receptor node to run it on.", default=workflow.node),
    ]
    for one in found:
        one.value = typed.get(one.name, "")
        one.numeric = one.name in ("retries", "timeout")
    return found


def read(workflow: Workflow, typed: Mapping[str, str]) -> tuple[Order, dict[str, list[str]]]:
    """What the form orders, and what is wrong by field. An empty field is not given."""
    errors = {
        PREFIX + name: ["is needed"]
        for name, option in workflow.options.items()
        if option.get("required") and not typed.get(PREFIX + name, "").strip()
    }

    def take(name: str, convert: Callable[[str], Any]) -> Any:
        text = typed.get(name, "")
        if not text.strip():
            return None
        try:
            return convert(text)
        except ValueError as error:
            errors[name] = [str(error)]
            return None

    variables = {
        name: value
        for name, option in workflow.options.items()
        if (value := take(PREFIX + name, READ.get(_shape(option), str))) is not None
    }
    order = Order(
        workflow.name,
        variables,
        check="check" in typed,
        diff="diff" in typed,
        limit=typed.get("limit", "").strip(),
        tags=[word.strip() for word in typed.get("tags", "").split(",") if word.strip()],
        priority=take("priority", whole),
        not_before=take("at", when) or 0.0,
        idempotency_key=typed.get("once", ""),
        retries=take("retries", whole),
        timeout=take("timeout", number),
        node=typed.get("node", "").strip(),
    )
    return order, errors


def whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Unreadable(f'"{text}" is not a whole number') from error


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Unreadable(f'"{text}" is not a number') from error


def when(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise Unreadable(f'"{text}" is not a time, such as 2030-01-31T02:00') from error


def path(text: str) -> str:
    try:
        return str(Path(text.strip()).expanduser().absolute())
    except RuntimeError as error:
        raise Unreadable(f'"{text}" is not the path of anybody here') from error


def lines(text: str) -> list[Any]:
    if text.lstrip()[:1] in ("[", "-"):
        found = document(text)
        if not isinstance(found, list):
            raise Unreadable("is not a list")
        return found
    return [line.strip() for line in text.split("\n") if line.strip()]


def document(text: str) -> Any:
    """YAML, which JSON is too."""
    if len(text) > LONGEST:
        raise Unreadable(f"is longer than {LONGEST} characters")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _harmless(yaml.parse(text, loader))
        return json.loads(json.dumps(yaml.load(text, loader), default=str, allow_nan=False))
    except Unreadable:
        raise
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in str(error.problem):  # libyaml has a limit of its own, above ours
            raise Unreadable(TOO_DEEP) from error
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Unreadable(f"cannot be read: {place}{error.problem}") from error
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise Unreadable("cannot be read as YAML or JSON") from error


def _harmless(events: Iterable[Any]) -> None:
    """A short text could mean an endless document by its aliases, and a deep one takes long to read."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise Unreadable("has YAML aliases, which are not taken here")
        if depth > DEEPEST:
            raise Unreadable(TOO_DEEP)


READ: dict[str, Callable[[str], Any]] = {"path": path, "lines": lines, "yaml": document}
