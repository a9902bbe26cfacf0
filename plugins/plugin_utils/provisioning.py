# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins of provisioning share: where the connection is local, the core runs right here.

Seven steps for each of many servers: packing and starting a module every time would cost more than our own
work. And paths mean what the user means by them: a module that runs locally has another working directory.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.settings import FALLBACKS
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.face import failure, fallbacks


class Provisioning(ActionBase):
    """An action whose module has the same name. ``OPTIONS`` are the options of both."""

    TRANSFERS_FILES = False
    MODULE: ClassVar[str] = ""
    OPTIONS: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def work(self, params: dict[str, Any]) -> dict[str, Any]:
        """The result, made here. Raises RacksteadError."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            if self._is_here():
                result.update(self.work(self._params()))
            else:
                result.update(self._execute_module(module_name=self.MODULE, task_vars=task_vars))
        except RacksteadError as error:
            result.update(failed=True, **failure(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _is_here(self) -> bool:
        plain = not self._task.become and not any(self._task.environment or ())
        return plain and self._connection.transport in ("local", "ansible.builtin.local")

    def _params(self) -> dict[str, Any]:
        checked = ArgumentSpecValidator(fallbacks(self.OPTIONS, FALLBACKS)).validate(self._task.args)
        if checked.error_messages:
            raise InvalidInput(list(checked.error_messages))
        return dict(checked.validated_parameters)
