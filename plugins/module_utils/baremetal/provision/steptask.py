# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task for one step: from its options to its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ...common.deadline import Deadline
from ...common.errors import InvalidInput
from ...state.open import default_url, open_store
from ...state.store import Store
from ..maas.client import Maas
from .engine import run_step
from .journal import BETWEEN, Journal, holder_of
from .model import NAMES, Order, Server, order_of
from .pool import check_pools
from .settings import OPTIONS, settings_of
from .task import Task

STEP_OPTIONS: dict[str, Any] = {
    **OPTIONS,
    "step": {"type": "str", "required": True, "choices": list(NAMES)},
    "server": {"type": "dict", "required": True},
    "order": {"type": "dict", "required": True},
}


def server_of(given: Mapping[str, Any]) -> Server:
    missing = [name for name in ("system_id", "hostname") if not given.get(name)]
    if missing:
        raise InvalidInput([f"server.{name}: is missing; allowed: what provision_order returned" for name in missing])
    return Server(str(given["system_id"]), str(given["hostname"]), str(given.get("mac") or ""))


def checked_order(given: Mapping[str, Any], pools: Mapping[str, Any]) -> Order:
    order = order_of(given)
    problems = [] if order.device_type else ["order.device_type: is missing; allowed: a device type"]
    if order.pool and order.pool not in pools:
        known = ", ".join(sorted(pools)) or "none"
        problems.append(f'order.target_ipmi_ip: there is no pool "{order.pool}"; known: {known}')
    if problems:
        raise InvalidInput(problems)
    return order


def opener_of(params: Mapping[str, Any]) -> Callable[[], Store]:
    """Opens the state store that the options name. Its password and keys go where its backends look for them."""
    if params["state_password"]:
        os.environ["RACKSTEAD_STATE_PASSWORD"] = params["state_password"]
    if params["state_key_file"]:
        os.environ["RACKSTEAD_STATE_KEY_FILE"] = params["state_key_file"]
        os.environ.pop("RACKSTEAD_STATE_KEY", None)
    url = params["state_url"] or default_url()
    return lambda: open_store(url)


def run_step_task(
    params: Mapping[str, Any], *, check: bool, run: int | None = None, tell: Callable[[str], None] = lambda _line: None
) -> dict[str, Any]:
    """Do a step. ``run`` is the process that all steps of this run belong to: while it lives, the server is its."""
    settings = settings_of(params)
    check_pools(settings.pools)
    server, order = server_of(params["server"]), checked_order(params["order"], settings.pools)
    opened = opener_of(params)
    store = opened()
    try:
        with Maas(settings.maas) as maas:
            journal = Journal(store, server, holder_of(run or os.getpid()), dry=check)
            task = Task(settings, server, order, maas, journal, Deadline(0), check, tell=tell)
            with journal.beating(opened):
                return run_step(task, params["step"], BETWEEN).shown()
    finally:
        store.close()
