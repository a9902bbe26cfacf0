# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of one or many instances: taken, restored, deleted, and thinned out by count and age."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ..common.errors import Conflict, InvalidInput, NotFound, OperationFailed, RacksteadError
from ..common.problems import Problems, nearest
from ..common.show import diff_of
from ..common.units import DURATION_EXAMPLES, parse_duration
from .incus.client import IncusClient
from .lookup import WILD, checked_name, require_running, selected_instances

STATES = ("present", "restored", "absent", "pruned")
DEFAULT_NAME = "snapshot-%Y%m%dT%H%M%SZ"
TIME = "%Y-%m-%dT%H:%M:%SZ"
_FRACTION = re.compile(r"\.\d+")


@dataclass(frozen=True)
class Snapshot:
    """``expires`` is None for one that stays."""

    name: str
    created: datetime
    expires: datetime | None = None
    stateful: bool = False


@dataclass(frozen=True)
class SnapshotRequest:
    """The options of a snapshot task. ``expires_at`` and ``older_than`` are as the user wrote them."""

    instances: tuple[str, ...]
    name: str = DEFAULT_NAME
    state: str = "present"
    stateful: bool = False
    expires_at: str | None = None
    keep: int | None = None
    older_than: str | None = None
    match: str | None = None
    parallel: int = 8
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> SnapshotRequest:
        given = {name: params[name] for name in cls.__dataclass_fields__ if name != "now"}
        name = given.pop("name") or (DEFAULT_NAME if given["state"] in ("present", "pruned") else "")
        return cls(**{**given, "name": name, "instances": tuple(given["instances"])})

    @property
    def full_name(self) -> str:
        """The name with its time of day filled in."""
        return self.now.strftime(self.name) if "%" in self.name else self.name

    @property
    def prunes(self) -> bool:
        return self.keep is not None or self.older_than is not None

    @property
    def expiry(self) -> datetime | None:
        """When new snapshots expire. Raises ValueError."""
        if not self.expires_at:
            return None
        try:
            return self.now.replace(microsecond=0) + timedelta(seconds=parse_duration(self.expires_at))
        except ValueError:
            return parse_time(self.expires_at)

    def check(self) -> None:
        """Raise InvalidInput with a line for each option that cannot be."""
        problems = Problems()
        self._check_name(problems)
        self._check_pruning(problems)
        if self.parallel < 1:
            problems.add("parallel", f"{self.parallel} is not valid", "1 or more")
        if self.expires_at and self.state != "present":
            problems.add("expires_at", f"means nothing with state: {self.state}", "state: present")
        try:
            str(self.expiry)  # reading it parses it
        except ValueError:
            allowed = f"a time such as 2030-01-31T12:00:00Z, or a duration such as {DURATION_EXAMPLES}"
            problems.add("expires_at", f'"{self.expires_at}" is no time', allowed)
        for pattern in self.instances:
            if not WILD.search(pattern):
                try:
                    checked_name(pattern, "instances")
                except InvalidInput as error:
                    problems.lines.extend(error.problems)
        problems.raise_if_any()

    def _check_name(self, problems: Problems) -> None:
        if self.state in ("restored", "absent") and not self.name:
            problems.add("name", f"state: {self.state} needs the name of a snapshot", "a name")
        elif self.name and (not re.fullmatch(r"[^\s/]+", self.full_name) or self.full_name in (".", "..")):
            problems.add("name", f'"{self.full_name}" is not a name', "no spaces and no slashes")

    def _check_pruning(self, problems: Problems) -> None:
        if self.state == "pruned" and not self.prunes:
            problems.add("keep", "state: pruned needs to know what to keep", "keep, older_than, or both")
        if self.prunes and self.state not in ("present", "pruned"):
            problems.add("keep", f"and older_than mean nothing with state: {self.state}", "state: present or pruned")
        least = 1 if self.state == "present" else 0
        if self.keep is not None and self.keep < least:
            problems.add("keep", f"{self.keep} is not valid", f"{least} or more")
        try:
            parse_duration(self.older_than or "0s")
        except ValueError as error:
            problems.add("older_than", str(error), DURATION_EXAMPLES)
        if self.prunes and not self.match and not _is_pattern(self.name, self.now):
            problems.add("match", "which snapshots may be pruned is not told by a fixed name", 'a pattern, such as "*"')

    def may_prune(self, name: str) -> bool:
        """Whether a snapshot of this name is one that pruning may delete."""
        if self.match:
            return fnmatch.fnmatchcase(name, self.match)
        return _fits(name, self.name)


def _is_pattern(name: str, now: datetime) -> bool:
    return "%" in name and _fits(now.strftime(name), name)


def _fits(name: str, pattern: str) -> bool:
    """Whether ``pattern``, filled in at some time, gives ``name``."""
    try:
        datetime.strptime(name, pattern)
    except ValueError:
        return False
    return True


def parse_time(text: str) -> datetime:
    """A time as Incus or a person writes it; without a zone it is UTC. Raises ValueError."""
    found = datetime.fromisoformat(_FRACTION.sub("", text).replace("Z", "+00:00"))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def doomed(snapshots: Iterable[Snapshot], keep: int | None, older_than: int | None, now: datetime) -> list[str]:
    """Names to prune, oldest first. The newest ``keep`` always stay; of the rest go those older than ``older_than`` s."""
    newest_first = sorted(snapshots, key=lambda one: (one.created, one.name), reverse=True)
    rest = newest_first[keep or 0 :]
    if older_than is not None:
        rest = [one for one in rest if (now - one.created).total_seconds() > older_than]
    return [one.name for one in reversed(rest)]


def observed(document: Mapping[str, Any]) -> Snapshot:
    expires = parse_time(document["expires_at"])
    return Snapshot(
        document["name"],
        parse_time(document["created_at"]),
        expires if expires.year > 1 else None,
        bool(document["stateful"]),
    )


# -- deciding and doing -------------------------------------------------------------------------------
@dataclass
class Outcome:
    """What happened, or would, on one instance. ``actions`` pairs a verb with a snapshot's name."""

    instance: str
    before: list[Snapshot] = field(default_factory=list)
    after: list[Snapshot] = field(default_factory=list)
    actions: list[tuple[str, str]] = field(default_factory=list)
    error: RacksteadError | None = None


def run_snapshots(client: IncusClient, request: SnapshotRequest, *, check: bool) -> dict[str, Any]:
    """Do what is asked on every instance, several at a time. Returns the module's result."""
    request.check()
    names = selected_instances(client, request.instances)
    with ThreadPoolExecutor(request.parallel, thread_name_prefix="snapshot") as pool:
        decided = list(pool.map(lambda name: _guarded(name, lambda out: _decide(client, request, out)), names))
        touched = not any(outcome.error for outcome in decided)
        if touched and not check:
            list(pool.map(lambda out: _again(out, lambda: _perform(client, request, out)), decided))
    return _result(request, decided, touched)


def _guarded(name: str, work: Callable[[Outcome], None]) -> Outcome:
    outcome = Outcome(name)
    _again(outcome, lambda: work(outcome))
    return outcome


def _again(outcome: Outcome, work: Callable[[], None]) -> None:
    try:
        work()
    except RacksteadError as error:
        outcome.error = error
        error.where = error.where or f"instance {outcome.instance}"


def _decide(client: IncusClient, request: SnapshotRequest, outcome: Outcome) -> None:
    path = f"/instances/{outcome.instance}/snapshots"
    outcome.before = [observed(document) for document in client.get(path, recursion="1")]
    outcome.after = list(outcome.before)
    there = {one.name: one for one in outcome.before}
    name = request.full_name
    if request.state == "restored":
        if name not in there:
            raise NotFound(f'has no snapshot "{name}"{nearest(name, there)}')
        outcome.actions.append(("restore", name))
    elif request.state == "absent" and name in there:
        outcome.actions.append(("delete", name))
    elif request.state == "present" and name not in there:
        if request.stateful:
            _check_stateful(client, outcome.instance)
        outcome.actions.append(("create", name))
        outcome.after.append(Snapshot(name, request.now, request.expiry, request.stateful))
    elif request.state == "present":
        _decide_existing(request, outcome, there[name])
    if request.prunes:
        _decide_pruning(request, outcome)
    deleted = {name for action, name in outcome.actions if action == "delete"}
    outcome.after = [one for one in outcome.after if one.name not in deleted]


def _decide_existing(request: SnapshotRequest, outcome: Outcome, there: Snapshot) -> None:
    if request.stateful and not there.stateful:
        raise Conflict(f'snapshot "{there.name}" exists without the state of the processes', hint="use another name")
    # A duration counts from the making on; only a fixed time can differ later.
    fixed = request.expires_at and not _is_duration(request.expires_at)
    if fixed and request.expiry != there.expires:
        outcome.actions.append(("update", there.name))
        changed = Snapshot(there.name, there.created, request.expiry, there.stateful)
        outcome.after = [changed if one.name == there.name else one for one in outcome.after]


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _decide_pruning(request: SnapshotRequest, outcome: Outcome) -> None:
    own = [one for one in outcome.after if request.may_prune(one.name)]
    age = parse_duration(request.older_than) if request.older_than else None
    outcome.actions += [("delete", name) for name in doomed(own, request.keep, age, request.now)]


def _check_stateful(client: IncusClient, instance: str) -> None:
    document = client.get(f"/instances/{instance}")
    require_running(document)
    if document["expanded_config"].get("migration.stateful") != "true":
        hint = "set it, which counts from the next start on"
        raise OperationFailed("a stateful snapshot needs the configuration migration.stateful=true", hint=hint)


def _perform(client: IncusClient, request: SnapshotRequest, outcome: Outcome) -> None:
    instance = f"/instances/{outcome.instance}"
    expiry = request.expiry.strftime(TIME) if request.expiry else None
    for action, name in outcome.actions:
        if action == "create":
            body = {"name": name, "stateful": request.stateful, "expires_at": expiry}
            client.post(f"{instance}/snapshots", {key: value for key, value in body.items() if value is not None})
        elif action == "update":
            client.put(f"{instance}/snapshots/{name}", {"expires_at": expiry})
        elif action == "restore":
            client.put(instance, {"restore": name, "stateful": request.stateful})
        else:
            client.delete(f"{instance}/snapshots/{name}")


# -- showing ------------------------------------------------------------------------------------------
def shown(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot for people and playbooks."""
    expires = snapshot.expires.strftime(TIME) if snapshot.expires else None
    created = snapshot.created.strftime(TIME)
    return {"name": snapshot.name, "created_at": created, "expires_at": expires, "stateful": snapshot.stateful}


def _result(request: SnapshotRequest, outcomes: Sequence[Outcome], touched: bool) -> dict[str, Any]:
    failed = [outcome for outcome in outcomes if outcome.error]
    acted = [outcome for outcome in outcomes if outcome.actions]
    result: dict[str, Any] = {
        "changed": touched and bool(acted),
        "name": request.full_name,
        "instances": [_entry(outcome) for outcome in outcomes],
        "diff": [_diff(outcome) for outcome in acted],
    }
    if failed:
        result.update(failed=True, msg="\n".join(str(outcome.error) for outcome in failed))
    return result


def _entry(outcome: Outcome) -> dict[str, Any]:
    actions = [{"action": action, "snapshot": name} for action, name in outcome.actions]
    entry = {"name": outcome.instance, "actions": actions, "snapshots": [shown(one) for one in outcome.after]}
    return {**entry, **({"error": str(outcome.error)} if outcome.error else {})}


def _diff(outcome: Outcome) -> dict[str, str]:
    restored = [name for action, name in outcome.actions if action == "restore"]
    before, after = ({one.name: _line(one) for one in side} for side in (outcome.before, outcome.after))
    if restored:
        before, after = {"state": "as it is now"}, {"state": f"as in snapshot {restored[0]}"}
    return diff_of(before, after, f"snapshots of instance {outcome.instance}")


def _line(snapshot: Snapshot) -> str:
    return f"expires {snapshot.expires.strftime(TIME)}" if snapshot.expires else "stays"
