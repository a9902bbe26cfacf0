# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files of this machine into documents that a server can be given.

A plan's templates are filled in here, with the files and variables of this machine: a server never templates what a
client sends, for a template can run anything.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput

from .. import answers
from ..run import Request, run

PLAN = "plan_src"
#: The sign before what a run tells of a plan: text that began with a brace would be taken for more than text.
SIGN = "plan:"
#: Ansible reads the plan and fills it in, as the task does that applies one.
READ = [
    {
        "name": "Read a plan",
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Read it",
                "ansible.builtin.include_vars": {"file": "{{ rackstead_read_file }}", "name": "rackstead_read"},
                "no_log": True,
            },
            {
                "name": "Fill it in",
                "ansible.builtin.set_fact": {
                    "rackstead_read_plan": "{{ '"
                    + SIGN
                    + "' ~ (rackstead_read | ansible.builtin.to_json(vault_to_text=true)) }}"
                },
            },
        ],
    }
]


def read(
    path: Path,
    option: str,
    templates: Mapping[str, Any] | None = None,
    files: tuple[Path, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The file as a document. Raises InvalidInput.

    In a plan, ``templates`` and the variables in ``files`` are filled in, and it gets its name if it has none.
    """
    _check(path, option)
    if option != PLAN:
        return _plain(path, option)
    found = _filled_in(path, Request("", {}, templates or {}, environment or {}, files))
    return {**found, "name": found.get("name") or path.stem}


def _check(path: Path, option: str) -> None:
    """Syntax first: what Ansible says of it fills a page."""
    import yaml

    try:
        node = yaml.compose(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput([f'{option}: "{path}" cannot be read: {_reason(error)}']) from error
    if not isinstance(node, yaml.MappingNode):
        raise InvalidInput([f'{option}: "{path}" holds no mapping'])


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return getattr(error, "strerror", None) or "it is not UTF-8 text"
    return f"{getattr(error, 'problem', '')} (line {mark.line + 1}, column {mark.column + 1})"


def _plain(path: Path, option: str) -> dict[str, Any]:
    import yaml

    try:
        found: dict[str, Any] = yaml.safe_load(path.read_text())
        json.dumps(found)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise InvalidInput([f'{option}: "{path}" holds more than JSON can say']) from error
    return found


def _filled_in(path: Path, request: Request) -> dict[str, Any]:
    from dataclasses import replace

    with tempfile.TemporaryDirectory(prefix="rackstead-") as place:
        playbook = Path(place) / "read.json"
        playbook.write_text(json.dumps(READ))
        variables = {"rackstead_read_file": str(path.absolute())}
        outcome = run(replace(request, playbook=str(playbook), variables=variables), lambda _event: None)
    text = answers.fact(outcome, "rackstead_read_plan")
    if answers.exit_code(outcome) != answers.Exit.OK or not isinstance(text, str):
        raise InvalidInput([f'PLAN: "{path}" cannot be filled in: {" ".join(answers.errors(outcome))}'])
    found: dict[str, Any] = json.loads(text.removeprefix(SIGN))
    return found
