# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of hardware_report: has the target read, compares with the state store, and remembers.

Where the target is this machine the core reads it right here, in the controller's worker: that saves packing and
starting a module.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import diff_of
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.alerts import thresholds_of
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.collect import collect
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import (
    Known,
    check_node,
    judged,
    remember,
)
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.machine import Machine
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.model import Report, report_of
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.options import ON_TARGET, OPTIONS
from ansible_collections.rackstead.infra.plugins.module_utils.state import open as opener
from ansible_collections.rackstead.infra.plugins.module_utils.state.recordtask import store_of

MODULE = "rackstead.infra.hardware_report"
# Workers are forked from the process that imports this file: what a store in SQL needs is loaded once for all hosts.
SCHEME = opener.default_url().partition(":")[0]
if SCHEME in ("sqlite", "postgresql"):
    import_module(f"{opener.__package__}.sqlstore").load(SCHEME)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        try:
            given = self._arguments()
            node = check_node(given["node"] or str(variables.get("inventory_hostname", "localhost")))
            limits = thresholds_of(given["thresholds"])
            report = self._read_here(given, node) if self._is_here() else None
            if report is None:
                answer = self._read_there(given, node, variables)
                if "report" not in answer:
                    return {**result, **answer}
                report = report_of(answer["report"])
            result.update(self._told(self._kept(given, report, limits), given["remember"]))
        except RacksteadError as error:
            result.update(failed=True, msg=str(error), failure={"code": type(error).__name__, "where": error.where})
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _arguments(self) -> dict[str, Any]:
        checked = ArgumentSpecValidator(OPTIONS).validate(self._task.args)
        lines = list(checked.error_messages)
        found: dict[str, Any] = checked.validated_parameters
        for name, least in (("keep", 1), ("timeout", 0.1)):
            if not lines and found[name] < least:
                lines.append(f'{name}: "{found[name]:g}" is not valid; allowed: a number from {least:g}')
        if lines:
            raise InvalidInput(lines)
        return found

    def _is_here(self) -> bool:
        plain = not self._task.become and not any(self._task.environment or ())
        return plain and self._connection.transport in ("local", "ansible.builtin.local")

    def _read_here(self, given: dict[str, Any], node: str) -> Report:
        return collect(
            Machine(),
            node,
            sections=given["sections"] or (),
            certificates=given["certificates"],
            seconds=given["timeout"],
        )

    def _read_there(self, given: dict[str, Any], node: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the module says on the target: neither thresholds nor the state store are its business."""
        arguments = {name: given[name] for name in ON_TARGET if given[name] is not None}
        answer = self._execute_module(module_name=MODULE, module_args={**arguments, "node": node}, task_vars=task_vars)
        return {key: value for key, value in answer.items() if key != "invocation"}

    def _kept(self, given: dict[str, Any], report: Report, limits: Any) -> Known:
        if not given["remember"]:
            return Known(report, [], [one.document() for one in judged(None, report, limits)[1]])
        store = store_of(given)
        try:
            return remember(store, report, limits, keep=given["keep"], check=self._task.check_mode)
        finally:
            store.close()

    def _told(self, known: Known, remembered: bool) -> dict[str, Any]:
        changed = remembered and (known.before is None or bool(known.changes))
        told = {**known.document(), "changed": changed}
        if self._task.diff and changed:
            told["diff"] = diff(known)
        return told


def diff(known: Known) -> dict[str, str]:
    """The changes as two texts; a node that was not known is new as a whole."""
    sides = [
        {f"{one['section']} {one['what']} {one['field']}".strip(): one[side] for one in known.changes}
        for side in ("before", "after")
    ]
    if known.before is None:
        report = known.report
        new = {"node": known.node, "cpu": report.cpu.model, "memory_bytes": report.memory.total_bytes}
        return diff_of(None, {**new, "disks": [one.name for one in report.disks]}, f"hardware of {known.node}")
    return diff_of(sides[0], sides[1], f"hardware of {known.node}")
