# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that checks what is ordered: from its options to the servers, and nothing is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...common.errors import Conflict, InvalidInput, NotFound
from ...common.problems import Problems
from ..maas.client import Maas
from ..maas.model import Machine
from .door import Wanted, check_pool_networks, find_machines, read_servers, with_pool_settings
from .journal import state_of
from .model import RECORD, Order, Server
from .pool import Pool, check_free, check_pools
from .settings import OPTIONS, Settings, needs_device_types, selection, settings_of
from .steptask import opener_of

ORDER_OPTIONS: dict[str, Any] = {**OPTIONS, "servers": {"type": "list", "elements": "dict", "required": True}}
#: From so many servers on, one list of all machines is asked for in place of one question for each.
MANY = 4


def run_order_task(params: Mapping[str, Any]) -> dict[str, Any]:
    """Check everything, and tell the servers with MAAS's names for them. Raises InvalidInput."""
    settings, pools, wanted = _read(params)
    with Maas(settings.maas) as maas:
        machines = _machines(maas, wanted)
    found = [(server, with_pool_settings(order, settings.pools)) for server, order in find_machines(wanted, machines)]
    states = _states(params, found, pools)
    servers = [
        {"server": {**vars(server)}, "order": order.body(), "steps": list(settings.selected), "state": state}
        for (server, order), state in zip(found, states, strict=True)
    ]
    return {"changed": False, "servers": servers, "steps": list(settings.selected)}


def _read(params: Mapping[str, Any]) -> tuple[Settings, dict[str, Pool], Sequence[Wanted]]:
    """Settings, pools, device types and servers, with the faults of all of them together."""
    lines: list[str] = []
    settings: Settings | None = None
    pools: dict[str, Pool] = {}
    try:
        settings = settings_of(params)
    except InvalidInput as exc:
        lines += exc.problems
    try:
        pools = check_pools(params["pools"] or {})
        problems = Problems()
        check_pool_networks(pools, params["pools"] or {}, problems)
        lines += problems.lines
    except InvalidInput as exc:
        lines += exc.problems
    selected = selection(params["from_step"], params["only_steps"])
    types = _types(params["device_types"], needs_device_types(selected), lines)
    wanted: Sequence[Wanted] = ()
    try:
        wanted = read_servers(params["servers"], pools, types)
    except InvalidInput as exc:
        lines += exc.problems
    if lines or settings is None:
        raise InvalidInput(lines)
    return settings, pools, wanted


def _types(path: str | None, needed: bool, lines: list[str]) -> Any:
    from ..bios.device_types import load

    if not path:
        if needed:
            lines.append("device_types: is missing; allowed: the path of a file with device types")
        return None
    try:
        return load(path)
    except InvalidInput as exc:
        lines += [f"device_types: {line}" for line in exc.problems]
        return None


def _machines(maas: Maas, wanted: Sequence[Wanted]) -> Sequence[Machine]:
    """The machines that are meant, as far as MAAS has them, and perhaps others. Raises InvalidInput for names of two."""
    if len(wanted) >= MANY:
        return maas.machines()
    problems, found = [], {}
    for one in wanted:
        try:
            machine = maas.find(one.name)
            found[machine.system_id] = machine
        except NotFound:
            continue  # told with the others that are not there
        except Conflict as exc:
            problems.append(f"{one.path}: {exc}")
    if problems:
        raise InvalidInput(problems)
    return list(found.values())


def _states(params: Mapping[str, Any], found: Sequence[tuple[Server, Order]], pools: Mapping[str, Pool]) -> list[str]:
    """How far the record says that each server is; nothing where it has none. Raises InvalidInput for pools."""
    store = opener_of(params)()
    try:

        def look(change: Any) -> tuple[list[str], list[str]]:
            records = [change.find(RECORD, server.system_id) for server, _order in found]
            states = [state_of(change, record.body) if record else "" for record in records]
            wanting = {name: [server.system_id for server, order in found if order.pool == name] for name in pools}
            short = [check_free(change, pools[name], ids) for name, ids in wanting.items() if ids]
            return states, [line for line in short if line]

        states, short = store.read(look)
    finally:
        store.close()
    if short:
        raise InvalidInput(short)
    return states
