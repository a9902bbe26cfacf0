# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of checking an order."""

from __future__ import annotations

from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.baremetal.provision.ordertask import (
    ORDER_OPTIONS,
    run_order_task,
)
from ansible_collections.rackstead.infra.plugins.plugin_utils.provisioning import Provisioning


class ActionModule(Provisioning):
    MODULE = "rackstead.infra.provision_order"
    OPTIONS = ORDER_OPTIONS

    def work(self, params: dict[str, Any]) -> dict[str, Any]:
        return run_order_task(params)
