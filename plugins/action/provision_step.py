# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of a step of provisioning: runs it right here, where the connection is local.

Seven steps for each of many servers: packing and starting a module every time would cost more than our own
work. And a run's process lives through all of its steps, which makes the lease on a server the run's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.settings import FALLBACKS
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.steptask import (
    STEP_OPTIONS,
    run_step_task,
)
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.face import failure, fallbacks

# Loaded here, once in the controller, they are there in every worker that it forks. Where one is missing, what needs
# it says so.
with suppress(ImportError):
    import paramiko  # noqa: F401
    import pyipmi.interfaces  # noqa: F401
    import requests_oauthlib  # noqa: F401

display = Display()
MODULE = "rackstead.infra.provision_step"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            if self._is_here():
                result.update(self._run_here())
            else:
                result.update(self._execute_module(module_name=MODULE, task_vars=task_vars))
        except RacksteadError as error:
            result.update(failed=True, **failure(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _is_here(self) -> bool:
        plain = not self._task.become and not any(self._task.environment or ())
        return plain and self._connection.transport in ("local", "ansible.builtin.local")

    def _run_here(self) -> dict[str, Any]:
        checked = ArgumentSpecValidator(fallbacks(STEP_OPTIONS, FALLBACKS)).validate(self._task.args)
        if checked.error_messages:
            raise InvalidInput(list(checked.error_messages))
        params = checked.validated_parameters
        return run_step_task(params, check=self._task.check_mode, run=os.getppid(), tell=display.display)
