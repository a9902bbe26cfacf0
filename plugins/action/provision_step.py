# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of a step of provisioning."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from typing import Any

from ansible.utils.display import Display
from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.steptask import (
    STEP_OPTIONS,
    run_step_task,
)
from ansible_collections.rackstead.infra.plugins.plugin_utils.provisioning import Provisioning

# Loaded here, once in the controller, they are there in every worker that it forks. Where one is missing, what needs
# it says so.
for library in ("paramiko", "pyipmi.interfaces", "requests_oauthlib"):
    with suppress(ImportError):
        importlib.import_module(library)

display = Display()


class ActionModule(Provisioning):
    MODULE = "rackstead.infra.provision_step"
    OPTIONS = STEP_OPTIONS

    def work(self, params: dict[str, Any]) -> dict[str, Any]:
        # The controller lives through all steps of a run, which makes the lease on a server the run's.
        return run_step_task(params, check=self._task.check_mode, run=os.getppid(), tell=display.display)
