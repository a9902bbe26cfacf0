# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of one plan task: read, observe, decide, apply, verify, and put the result together."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..common.errors import OperationFailed, RacksteadError
from ..common.known import known
from ..common.problems import Problems, nearest
from ..common.show import diff_of, hide_secrets
from . import savedplan
from .apply import Executor, Outcome
from .desired import desired_resources
from .door import read_plan
from .incus.client import IncusClient
from .model import Change, Ref
from .progress import Progress
from .readiness import wait_ready
from .reconcile import Policy, compute
from .spec import PlanSpec
from .world import World, observe, projects_of
from .writer import Writer

#: The module's options beside those of the connection (face.connection_spec).
OPTIONS: dict[str, Any] = {
    "src": {"type": "path"},
    "plan": {"type": "dict"},
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent", "started", "stopped"], "default": "present"},
    "limit": {"type": "list", "elements": "str", "default": []},
    "parallel": {"type": "int", "default": 8},
    "prune": {"type": "bool", "default": False},
    "on_change": {"type": "str", "choices": ["restart", "refuse", "never"], "default": "refuse"},
    "on_error": {"type": "str", "choices": ["stop", "continue"], "default": "stop"},
    "adopt": {"type": "bool", "default": False},
    "plan_file": {"type": "path"},
    "timeout": {"type": "int", "default": 300},
    "progress_file": {"type": "path"},
}


@dataclass(frozen=True)
class Request:
    """A plan task's options, checked. ``owner`` marks what the plan makes; empty: no mark is left."""

    plan: PlanSpec
    owner: str
    policy: Policy
    problems: Problems
    parallel: int = 8
    keep_going: bool = False
    plan_file: str = ""
    timeout: int = 300


def request_of(params: Mapping[str, Any], client: IncusClient) -> Request:
    """Read the options and the plan in them. Faults are kept in the request's ``problems``."""
    problems = Problems()
    for option in ("parallel", "timeout"):
        if params[option] < 1:
            problems.add(option, f"{params[option]} is not valid", "1 or more")
    name = params.get("name") or ""
    plan = read_plan(params["plan"], problems, name=name or "plan", project=client.project)
    owner = name or plan.name
    policy = Policy(owner, params["state"], params["on_change"], params["adopt"], params["prune"])
    if params["prune"] and (params["limit"] or params["state"] != "present"):
        problems.add("prune", "does not go with limit, nor with a state other than present")
    return Request(
        limited(plan, params["limit"], problems, only_instances=params["state"] == "absent"),
        owner,
        policy,
        problems,
        params["parallel"],
        params["on_error"] == "continue",
        params.get("plan_file") or "",
        params["timeout"],
    )


def limited(plan: PlanSpec, patterns: Iterable[str], problems: Problems, *, only_instances: bool = False) -> PlanSpec:
    """The plan with only the instances that match, and without what none of them uses.

    ``only_instances`` leaves all else out: what is deleted with some instances must not take
    along what others need.
    """
    patterns = list(patterns)
    if not patterns:
        return plan
    for pattern in patterns:
        if not fnmatch.filter(plan.instances, pattern):
            problems.add(
                "limit", f'"{pattern}" matches no instance{nearest(pattern, plan.instances)}', ", ".join(plan.instances)
            )
    kept = {name: spec for name, spec in plan.instances.items() if any(fnmatch.fnmatch(name, one) for one in patterns)}
    for name, spec in kept.items():
        kept[name] = replace(spec, depends_on=tuple(need for need in spec.depends_on if need in kept))
    if only_instances:
        return replace(plan, instances=kept, profiles={}, networks={}, storage_volumes={}, projects={})
    return _without_unused(replace(plan, instances=kept))


def _without_unused(plan: PlanSpec) -> PlanSpec:
    """The plan without profiles, networks, volumes and projects that none of its instances uses."""
    instances = list(plan.instances.values())
    named = {name for spec in instances for name in (("default",) if spec.profiles is None else spec.profiles)}
    profiles = {name: spec for name, spec in plan.profiles.items() if name in named}
    devices = [device for spec in instances for device in spec.devices.values()]
    devices += [device for spec in profiles.values() for device in spec.devices.values()]
    bridges = {device.get("network") for device in devices} | {
        spec.network.bridge for spec in instances if spec.network
    }
    disks = {device.get("source") for device in devices} | {name for spec in instances for name in spec.volumes}
    networks = {name: spec for name, spec in plan.networks.items() if name in bridges}
    volumes = {name: spec for name, spec in plan.storage_volumes.items() if name in disks}
    kept = replace(plan, profiles=profiles, networks=networks, storage_volumes=volumes)
    homes = projects_of(kept)
    return replace(kept, projects={name: spec for name, spec in plan.projects.items() if name in homes})


def run_plan(request: Request, client: IncusClient, *, check: bool, progress: Progress) -> dict[str, Any]:
    """Reconcile, or in check mode only say what would be done. Returns the module's result."""
    try:
        world = observe(client, request.plan, whole=request.policy.prune, timeout=request.timeout)
    except RacksteadError:
        request.problems.raise_if_any()  # what the user wrote comes first
        raise
    desired = desired_resources(request.plan, world, request.owner)
    changes = _needed(compute(desired, world, request.policy, request.problems), request)
    request.problems.raise_if_any()
    if request.plan_file:
        keep = savedplan.save if check else savedplan.check
        keep(request.plan_file, request.owner, request.policy.state, changes)
    outcomes = {change.ref: Outcome(change) for change in changes}
    if not check:
        outcomes = _apply(request, client, world, changes, progress)
    return result_of(request.owner, [outcomes[change.ref] for change in changes])


def _needed(changes: list[Change], request: Request) -> list[Change]:
    """Under a power state only instances count."""
    if request.policy.state in ("present", "absent"):
        return changes
    return [change for change in changes if change.ref.kind == "instance"]


def _apply(
    request: Request, client: IncusClient, world: World, changes: list[Change], progress: Progress
) -> dict[Ref, Outcome]:
    writer = Writer(client, world)

    def work(change: Change) -> list[str]:
        name = str(change.ref)
        notes = writer.perform(change, lambda action, detail: progress.report(name, action, detail))
        if change.ref in ready:
            desired = known(change.desired)
            timeout = desired.wait_timeout or request.timeout
            here = client.in_project(change.ref.project)
            wait_ready(here, change.ref.name, desired.waits, timeout, lambda text: progress.report(name, "wait", text))
        return notes

    ready = {change.ref for change in changes if _waits(change, request)}
    busy = ready | {change.ref for change in changes if change.actions}
    progress.total = len(busy)
    outcomes = Executor(work, progress, busy, parallel=request.parallel, keep_going=request.keep_going).run(changes)
    if any(change.actions for change in changes):
        _verify(request, client, outcomes)
    return outcomes


def _waits(change: Change, request: Request) -> bool:
    """Whether readiness is to be waited for: the instance has conditions and is to run."""
    desired = change.desired
    running = request.policy.state == "started" or (
        request.policy.state == "present" and desired is not None and desired.status == "Running"
    )
    return running and desired is not None and bool(desired.waits)


def _verify(request: Request, client: IncusClient, outcomes: Mapping[Ref, Outcome]) -> None:
    """Look again: what was applied without an error must now need no change."""
    try:
        world = observe(client, request.plan, whole=request.policy.prune, timeout=request.timeout)
    except RacksteadError as error:
        for unseen in outcomes.values():
            if unseen.change.actions and not unseen.error and not unseen.skipped:
                what = f"was applied, but could not be looked at again: {error}"
                unseen.error = OperationFailed(what, where=str(unseen.change.ref))
        return
    policy = replace(request.policy, adopt=True, on_change="never")
    for change in compute(desired_resources(request.plan, world, request.owner), world, policy, Problems()):
        outcome = outcomes.get(change.ref)
        if outcome and change.actions and not outcome.error and not outcome.skipped and outcome.change.actions:
            fields = ", ".join(differing(change.before, change.after)) or ", ".join(change.actions)
            outcome.error = OperationFailed(f"was applied, but did not stick: {fields}", where=str(change.ref))


def differing(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, path: str = "") -> list[str]:
    """Paths of the fields in which two views differ."""
    before, after = before or {}, after or {}
    found: list[str] = []
    for key in sorted({*before, *after}):
        one, two = before.get(key), after.get(key)
        if one != two:
            both = isinstance(one, Mapping) and isinstance(two, Mapping)
            found.extend(differing(one, two, f"{path}{key}.") if both else [f"{path}{key}"])
    return found


def result_of(owner: str, outcomes: list[Outcome]) -> dict[str, Any]:
    """The module's result. ``changed`` is true where anything was or would be done."""
    resources = [_resource(outcome) for outcome in outcomes]
    failed = [outcome for outcome in outcomes if outcome.error]
    done = [outcome for outcome in outcomes if outcome.change.actions and not outcome.error and not outcome.skipped]
    result: dict[str, Any] = {
        "changed": bool(done) or any(outcome.change.actions and outcome.error for outcome in outcomes),
        "plan": owner,
        "resources": resources,
        "summary": {
            "total": len(outcomes),
            "changed": len(done),
            "unchanged": sum(1 for one in outcomes if not one.change.actions and not one.error and not one.skipped),
            "failed": len(failed),
            "skipped": sum(1 for one in outcomes if one.skipped),
        },
        "diff": [diff_of(one.before, one.after, str(one.ref)) for one in (o.change for o in outcomes) if one.actions],
    }
    if failed:
        skipped = [f"{outcome.change.ref}: {outcome.skipped}" for outcome in outcomes if outcome.skipped]
        result.update(failed=True, msg="\n".join([str(one.error) for one in failed] + skipped))
    return result


def _resource(outcome: Outcome) -> dict[str, Any]:
    change = outcome.change
    entry = {
        "kind": change.ref.kind,
        "name": change.ref.name,
        "project": change.ref.project,
        "changed": bool(change.actions) and not outcome.skipped,
        "actions": list(change.actions),
        "before": hide_secrets(change.before),
        "after": hide_secrets(change.after),
        "notes": [*change.notes, *outcome.notes],
        "duration": outcome.duration,
    }
    if outcome.error:
        entry["error"] = str(outcome.error)
    if outcome.skipped:
        entry["skipped"] = outcome.skipped
    return entry
