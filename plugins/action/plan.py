# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the plan task: reads and templates the plan, shows progress live.

Where nothing but this machine is involved the core runs right here, in the controller's worker: that
saves packing, sending and starting a module. Elsewhere the module runs on the target in the
background, and its progress file is read over the same connection.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    InvalidInput,
    OperationFailed,
    RacksteadError,
)
from ansible_collections.rackstead.infra.plugins.module_utils.face import connection_spec, failure, plan_spec
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.open import client_of
from ansible_collections.rackstead.infra.plugins.module_utils.instances.plantask import request_of, run_plan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.progress import Event, Progress

display = Display()
MODULE = "rackstead.infra.plan"
#: Longest a plan may run on a target, in seconds.
REMOTE_LIMIT = 24 * 3600
#: Phases worth a line of their own in the terminal.
TOLD = ("done", "failed", "skipped", "still")
ASYNC_KEYS = ("ansible_job_id", "finished", "started", "results_file")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            args = self._arguments()
            if self._is_here():
                result.update(self._run_here(args))
            else:
                result.update(self._run_there(args, task_vars or {}))
        except RacksteadError as error:
            result.update(failed=True, **failure(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    # -- arguments --------------------------------------------------------------------------------
    def _arguments(self) -> dict[str, Any]:
        """The task's arguments, validated, with ``src`` read into ``plan``. Raises InvalidInput."""
        spec = {**connection_spec(), **plan_spec()}
        one = {"required_one_of": [("plan", "src")], "mutually_exclusive": [("plan", "src")]}
        checked = ArgumentSpecValidator(spec, **one).validate(self._task.args)
        if checked.error_messages:
            raise InvalidInput(list(checked.error_messages))
        args: dict[str, Any] = checked.validated_parameters
        if args["src"]:
            args["plan"] = self._read(args["src"])
            args["name"] = (
                args["name"] or args["plan"].get("name") or os.path.splitext(os.path.basename(args["src"]))[0]
            )
            args["src"] = None
        return args

    def _read(self, src: str) -> dict[str, Any]:
        """Load a plan as Ansible loads a file of variables, and template its values."""
        try:
            # Ansible takes relative paths for the playbook's, a user means the working directory
            path = os.path.abspath(src) if os.path.exists(src) else self._find_needle("files", src)
        except AnsibleError as error:
            raise InvalidInput(
                [f'src: "{src}" does not exist, neither here nor beside the playbook or its files/']
            ) from error
        try:
            document = self._loader.load_from_file(path, **self._trust())
        except (AnsibleError, UnicodeError) as error:
            raise InvalidInput([f'src: "{path}" cannot be read as a plan: {_one_line(error)}']) from error
        if not isinstance(document, dict):
            raise InvalidInput(
                [f'src: "{path}" holds no mapping; allowed: a plan with keys such as instances and profiles']
            )
        try:
            templated: dict[str, Any] = self._templar.template(document)
        except AnsibleError as error:
            raise InvalidInput([f'src: "{path}" cannot be templated: {_one_line(error)}']) from error
        return templated

    def _trust(self) -> dict[str, Any]:
        """From core 2.19 on a file must be said to be trusted before it is templated."""
        known = inspect.signature(self._loader.load_from_file).parameters
        return {"trusted_as_template": True} if "trusted_as_template" in known else {}

    # -- running ----------------------------------------------------------------------------------
    def _is_here(self) -> bool:
        plain = not self._task.become and not any(self._task.environment or ())
        return plain and self._connection.transport in ("local", "ansible.builtin.local")

    def _run_here(self, args: dict[str, Any]) -> dict[str, Any]:
        client = client_of(args)
        progress = Progress(_tell, args["progress_file"] or "")
        try:
            return run_plan(request_of(args, client), client, check=self._task.check_mode, progress=progress)
        finally:
            progress.close()

    def _run_there(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module on the target in the background; poll its end and show its progress."""
        given = {key: value for key, value in args.items() if value is not None and key != "progress_file"}
        if self._task.check_mode:
            return _without(
                self._execute_module(module_name=MODULE, module_args=given, task_vars=task_vars), "invocation"
            )
        made = self._low_level_execute_command("mktemp")  # by the user that the module runs as
        path = str(made.get("stdout", "")).strip()
        if made.get("rc") != 0 or not path.startswith("/"):
            raise OperationFailed(f"mktemp: {str(made.get('stderr', '')).strip()}", where="the progress file")
        follower = _Follower(self, path, args["progress_file"] or "")
        given["progress_file"] = path
        try:
            # Core waits for a task with a limit by itself, in silence: the limit is there for the start only.
            self._task.async_val = REMOTE_LIMIT
            job = self._execute_module(module_name=MODULE, module_args=given, task_vars=task_vars, wrap_async=True)
            self._task.async_val = 0
            if job.get("failed") or "ansible_job_id" not in job:
                return dict(job)
            return _without(self._follow(str(job["ansible_job_id"]), follower, task_vars), "invocation", *ASYNC_KEYS)
        finally:
            self._task.async_val = 0
            self._low_level_execute_command(f"rm -f {self._connection._shell.quote(path)}")

    def _follow(self, job: str, follower: _Follower, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's result, its progress shown until it is there."""

        def ended() -> dict[str, Any] | None:
            follower.read()
            found = self._status(job, "status", task_vars)
            return found if found.get("finished") else None

        found = wait_until(ended, Deadline(REMOTE_LIMIT), what="the plan to be applied", first=0.2, most=2.0)
        follower.read()
        self._status(job, "cleanup", task_vars)
        return found

    def _status(self, job: str, mode: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        args = {"jid": job, "mode": mode, "_async_dir": self.get_shell_option("async_dir", default="~/.ansible_async")}
        found = self._execute_module(module_name="ansible.legacy.async_status", module_args=args, task_vars=task_vars)
        return dict(found)


def _without(result: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A result without some keys; ``invocation`` repeats the plan with all that is secret in it."""
    return {key: value for key, value in result.items() if key not in keys}


class _Follower:
    """Reads what the module has added to its progress file, shows it, and keeps a copy if asked to."""

    def __init__(self, action: ActionModule, path: str, copy: str) -> None:
        self._action = action
        self._path = path
        self._copy = copy
        self._seen = 0

    def read(self) -> None:
        path = self._action._connection._shell.quote(self._path)
        found = self._action._low_level_execute_command(f"tail -c +{self._seen + 1} {path}")
        text = str(found.get("stdout", ""))
        whole = text[: text.rfind("\n") + 1]
        self._seen += len(whole.encode())
        for line in whole.splitlines():
            _tell(Event(**json.loads(line)))
        if self._copy and whole:
            with open(self._copy, "a", encoding="utf-8") as file:
                file.write(whole)


def _tell(event: Event) -> None:
    if event.phase in TOLD:
        display.display(event.line())


def _one_line(error: Exception) -> str:
    """Ansible's many lines about a file in one, with the place in it. Core 2.19 words it differently from those before."""
    text = str(error)
    if isinstance(error, UnicodeError) or "codec can't" in text:
        return "it is not UTF-8 text"
    lines = [line.strip().rstrip(".") for line in text.splitlines() if line.strip()]
    yaml = next((number for number, line in enumerate(lines[:-1]) if line.startswith("Syntax Error while load")), None)
    what = lines[0] if yaml is None else f"{lines[yaml]}: {lines[yaml + 1]}"
    system = re.search(r"\[Errno \d+\] ([^:]+)", what)
    if system:
        return system[1]
    place = re.search(r"line (\d+), column (\d+)|:(\d+):(\d+)\b", text)
    where = " (line {}, column {})".format(*filter(None, place.groups())) if place else ""
    origin = getattr(error, "obj", None)
    if not place and getattr(origin, "line_num", None):
        where = f" (line {origin.line_num}, column {origin.col_num})"
    return what + where
