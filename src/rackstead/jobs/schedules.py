# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recurring jobs: a cron expression, and the order that is given each time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    RacksteadError,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import VersionMoved
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change

from .documents import shown
from .model import INPUT, OPEN
from .service import Order, Service, checked, enter, input_of, put_input

log = logging.getLogger("rackstead.jobs")
SCHEDULE = "schedule"
ORDER = ("workflow", "check", "diff", "limit", "tags", "priority", "retries", "timeout", "node")


def next_time(cron: str, zone: str, after: float) -> float:
    """When the expression comes next. Raises InvalidInput."""
    from cronsim import CronSim, CronSimError

    try:
        start = datetime.fromtimestamp(after, ZoneInfo(zone))
    except (ValueError, OSError, LookupError) as error:
        raise InvalidInput([f'zone: "{zone}" is not known; allowed: names such as UTC or Europe/Berlin']) from error
    try:
        return float(next(CronSim(cron, start)).timestamp())
    except (CronSimError, StopIteration) as error:
        raise InvalidInput(
            [f'cron: "{cron}" is not valid; allowed: minute hour day month weekday, such as "30 2 * * 1-5"']
        ) from error


def add(service: Service, name: str, cron: str, order: Order, who: str, origin: str = "", zone: str = "UTC") -> Record:
    """Have the order given again and again. Raises InvalidInput, or Conflict where the name is taken."""
    workflow = service.catalog.get(order.workflow)
    variables = checked(order, workflow)
    masked = workflow.masked(variables)
    when = next_time(cron, zone, service.store.read(lambda change: change.now()))
    kept = {field: value for field, value in asdict(replace(order, tags=list(order.tags))).items() if field in ORDER}
    body = {
        **kept,
        "variables": shown(workflow.options, masked),
        "cron": cron,
        "zone": zone,
        "next": when,
        "who": who,
        "last": "",
        "error": "",
    }

    def work(change: Change) -> Record:
        if change.find(SCHEDULE, name):
            raise Conflict("is there already", where=f'schedule "{name}"', hint="remove it first")
        put_input(change, _input(name), masked, variables)
        details = {"workflow": order.workflow, "cron": cron}
        change.append_audit(who, "schedule.add", f"{SCHEDULE}/{name}", origin=origin, details=details)
        return change.put(SCHEDULE, name, body)

    return service.store.change(work)


def remove(service: Service, name: str, who: str, origin: str = "") -> None:
    """Raises NotFound."""

    def work(change: Change) -> None:
        if not change.delete(SCHEDULE, name):
            raise NotFound(f'there is no schedule "{name}"')
        change.delete(INPUT, _input(name))
        change.append_audit(who, "schedule.remove", f"{SCHEDULE}/{name}", origin=origin)

    service.store.change(work)


def pause(service: Service, name: str, who: str, origin: str = "", *, paused: bool = True) -> Record:
    """Have a schedule queue nothing, or go on: what came meanwhile is left out. Raises NotFound."""

    def work(change: Change) -> Record:
        record = change.find(SCHEDULE, name)
        if record is None:
            raise NotFound(f'there is no schedule "{name}"')
        if is_paused(record) is paused:
            return record
        body = {**record.body, "paused": paused, "error": ""}
        body["next"] = next_time(body["cron"], body["zone"], change.now())
        action = "pause" if paused else "resume"
        change.append_audit(who, f"schedule.{action}", f"{SCHEDULE}/{name}", origin=origin)
        return change.put(SCHEDULE, name, body, expect=record.version)

    return service.store.change(work)


def is_paused(record: Record) -> bool:
    return bool(record.body.get("paused"))


def every(service: Service) -> list[Record]:
    return service.store.list(SCHEDULE, Query(limit=1000))


def _input(name: str) -> str:
    return f"schedule:{name}"[:200]


def run_due(service: Service) -> None:
    """Submit the jobs of schedules whose time has come. What was missed while no worker ran comes once."""
    now, found = service.store.read(lambda change: (change.now(), change.list(SCHEDULE, Query(limit=1000))))
    for record in found:
        if record.body["next"] <= now and not is_paused(record):
            try:
                _run(service, record, now)
            except VersionMoved:
                log.info("schedule %s: another worker was first", record.key)


def _run(service: Service, record: Record, now: float) -> None:
    body = record.body
    after = {**body, "next": next_time(body["cron"], body["zone"], now), "error": ""}
    try:
        order, variables = _order(service, record)
        workflow = service.catalog.get(order.workflow)
    except RacksteadError as error:
        service.store.put(SCHEDULE, record.key, {**after, "error": str(error)}, expect=record.version)
        return

    def work(change: Change) -> None:
        if body["last"] and change.find(OPEN, body["last"]):
            change.put(
                SCHEDULE, record.key, {**after, "error": "left out: the last job is not over"}, expect=record.version
            )
            return
        job = enter(change, order, workflow, variables, str(body["who"]), f"schedule {record.key}")
        change.put(SCHEDULE, record.key, {**after, "last": job.id}, expect=record.version)

    service.store.change(work)


def _order(service: Service, record: Record) -> tuple[Order, dict[str, Any]]:
    kept: Mapping[str, Any] = {name: record.body[name] for name in ORDER if name in record.body}
    order = Order(**kept, variables=input_of(service.store, _input(record.key)), schedule=record.key)
    return order, checked(order, service.catalog.get(order.workflow))


def utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
