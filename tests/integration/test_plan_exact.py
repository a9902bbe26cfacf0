# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exactness: what check mode predicts is what apply does, property by property, for generated changes.

A plan is held as lines (``instances.one.memory: 64MiB``). Each sequence begins with an empty project,
then lines are added, changed and removed, and every step is a case: predict, apply, compare with what
the daemon shows in raw answers, apply again. The last step prunes everything.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.instances import plantask
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Change
from ansible_collections.rackstead.infra.plugins.module_utils.instances.writer import Writer
from testbed import daemon as testbed

from tests.integration.planning import SEED, Raw, raw, run

SEQUENCES = 28
STEPS = 8
LEAST_CASES = 200
#: Faults of Incus 6.0 itself: a frozen instance's card that is moved now and then loses its other end first.
INCUS_FAULTS = ("device name is empty",)
MOST_FAULTS = 2
OWNER = "exact"
NAMES = ("one", "two", "three")
BOOKKEEPING = "user.rackstead.keys"

Draw = Callable[[Random], Any]


def one_of(values: Sequence[Any]) -> Draw:
    """Any of the values."""
    return lambda random: random.choice(values)


def text(random: Random) -> str:
    """Up to 20 characters, awkward ones among them."""
    return "".join(random.choices("abcé ü:#'\"{}\n€-", k=random.randint(0, 20)))


WORD = one_of(["a", "b", "10", "true", "x y", "ä", "k: v"])
#: What may be written under an instance. The names in angle brackets are filled in by ``Ground``.
INSTANCE: dict[str, Draw] = {
    "state": one_of(["stopped"] * 5 + ["running"] * 4 + ["frozen", "absent"]),
    "memory": one_of(["64MiB", "96MB", "128MiB", "50%"]),
    "cpus": one_of([1, 2, "0-1"]),
    "disk": one_of(["64MiB", "1GiB"]),
    "description": text,
    "profiles": one_of([["default"], ["default", "web"], ["default", "base"], ["web", "default", "base"]]),
    "config.boot.autostart": one_of([False, True]),
    "config.limits.processes": one_of(range(50, 61)),
    "config.environment.GREETING": WORD,
    "config.security.nesting": one_of([False, True]),
    "config.user.text": text,
    "config.snapshots.schedule": one_of(["@daily", "0 6 * * *"]),
    "metadata.role": WORD,
    "metadata.tier": one_of(range(4)),
    "devices.none0": one_of([{"type": "none"}]),
    "devices.scratch": one_of(
        [
            {"type": "disk", "source": "<scratch>", "path": "/scratch"},
            {"type": "disk", "source": "<scratch>", "path": "/mnt"},
        ]
    ),
    "network.bridge": one_of(["<bridge>", "<own>"]),
    "network.ipv4": one_of(["auto", 200, 201, 202]),
    "network.forwards": one_of(
        [[{"listen": "<port0>", "connect": 80}], [{"listen": "<port1>", "connect": 80, "protocol": "udp"}], []]
    ),
    "volumes.data": one_of(["/data", "/srv"]),
    "cloud_init": one_of([{"runcmd": ["true"]}, "#!/bin/sh\ntrue\n"]),
    "network_config": one_of([{"version": 2}]),
    "depends_on": one_of(NAMES),
    "wait_for": one_of(["running", ["running"]]),
}
PROFILE: dict[str, Draw] = {
    "description": text,
    "config.limits.processes": one_of(range(50, 61)),
    "config.user.note": text,
    "devices.none1": one_of([{"type": "none"}]),
}
VOLUME: dict[str, Draw] = {
    "size": one_of(["16MiB", "32MiB"]),
    "description": text,
    "config.user.note": text,
}
NETWORK: dict[str, Draw] = {
    "description": text,
    "config.user.note": text,
    "config.ipv4.nat": one_of([False, True]),
    "config.dns.mode": one_of(["managed", "none"]),
}
LINES: dict[str, Draw] = {
    **{f"instances.{name}.{line}": values for name in NAMES for line, values in INSTANCE.items()},
    **{f"profiles.{name}.{line}": values for name in ("web", "base") for line, values in PROFILE.items()},
    **{f"profiles.default.{line}": values for line, values in PROFILE.items()},
    **{f"storage_volumes.data.{line}": values for line, values in VOLUME.items()},
    **{f"networks.<own>.{line}": values for line, values in NETWORK.items()},
}
#: How often a line is drawn; networks are slow to make.
WEIGHTS = [path for path in LINES for _ in range(1 if path.startswith("networks") else 3)]
STATES = [path for path in LINES if path.endswith(".state")]
Line = tuple[str, Any]
Key = tuple[str, str]
REMOVE = "remove"
OPTIONS: dict[str, Draw] = {"on_change": one_of(["restart", "never", "refuse"]), "prune": one_of([False, True])}
Step = tuple[list[Line], dict[str, Any]]


def draw_options(random: Random) -> dict[str, Any]:
    return {name: draw(random) for name, draw in OPTIONS.items()}


def draw_removed(random: Random) -> str | int:
    """What is taken away: an instance with all its lines, or the line that stands at a number, counted round."""
    return random.choice([f"instances.{name}." for name in NAMES]) if random.random() < 0.2 else random.randint(0, 99)


def draw_some(random: Random, paths: Sequence[str], least: int, most: int) -> list[str]:
    """So many of the paths, none twice; a path that stands there more often is likelier."""
    wanted = random.randint(least, most)
    some: dict[str, None] = {}
    while len(some) < wanted:
        some[random.choice(paths)] = None
    return list(some)


def draw_changes(random: Random) -> list[Line]:
    """Two to five lines that change. One in two times a state is among them, one in two a line goes."""
    paths = draw_some(random, WEIGHTS, 2, 3)
    if random.random() < 0.5:
        paths.append(random.choice(STATES))
    changed: list[Line] = [(path, LINES[path](random)) for path in paths]
    return [*changed, (REMOVE, draw_removed(random))] if random.random() < 0.5 else changed


def draw_sequence(random: Random) -> list[Step]:
    """Steps: changed lines, and options of the task. The first step makes a plan of many lines."""
    paths = draw_some(random, WEIGHTS, 15, 30)
    paths += [path for path in STATES if path not in paths]
    steps = [([(path, LINES[path](random)) for path in paths], draw_options(random))]
    steps += [(draw_changes(random), draw_options(random)) for _step in range(STEPS - 2)]
    return steps


def change(lines: dict[str, Any], changed: list[Line]) -> None:
    """Change the lines of a plan."""
    for path, value in changed:
        if path != REMOVE:
            lines[path] = value
        elif isinstance(value, int) and lines:
            del lines[sorted(lines)[value % len(lines)]]
        else:
            for gone in [one for one in lines if one.startswith(str(value))]:
                del lines[gone]


class IncusFault(Exception):
    """Incus did not do what it can: this sequence says nothing about us."""


@dataclass
class Ground:
    """Where the cases happen, and what happened."""

    client: IncusClient
    words: Mapping[str, Any]
    subnets: Mapping[str, str]
    cases: int = 0
    seen: collections.Counter[str] = field(default_factory=collections.Counter)

    def fill(self, value: Any) -> Any:
        """A value with the names in angle brackets filled in."""
        if isinstance(value, str):
            return self.words.get(value, value)
        if isinstance(value, Mapping):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        return [self.fill(item) for item in value] if isinstance(value, list) else value

    def plan(self, lines: Mapping[str, Any]) -> dict[str, Any]:
        """The document that the lines make, with references only to what it has or what is there anyway."""
        document: dict[str, Any] = {"name": OWNER, "defaults": {"image": "tiny"}}
        for path, value in lines.items():
            section, name, *keys = self.words_of(path)
            spec = document.setdefault(section, {}).setdefault(name, {})
            for key in keys[:-1]:
                spec = spec.setdefault(key, {})
            spec[keys[-1]] = self.fill(value)
        for name, spec in document.get("networks", {}).items():
            spec.setdefault("config", {}).update({"ipv4.address": self.subnets[name] + ".1/24", "ipv6.address": "none"})
        self._make_fit(document)
        return document

    def words_of(self, path: str) -> list[str]:
        """The path's parts; what follows ``config`` is one key."""
        parts = [self.fill(part) for part in path.split(".", 2)]
        head, dot, key = parts[2].partition(".")
        return [*parts[:2], head, key] if dot else parts

    def _make_fit(self, document: dict[str, Any]) -> None:
        for volume in document.get("storage_volumes", {}).values():
            # An instance that an earlier plan made may have it still: Incus would not share it otherwise.
            volume.setdefault("config", {})["security.shifted"] = True
        instances = document.get("instances", {})
        taken: set[Any] = set()
        for name, spec in instances.items():
            spec.setdefault("state", "stopped")
            if "profiles" in spec:
                spec["profiles"] = [
                    one for one in spec["profiles"] if one == "default" or one in document.get("profiles", {})
                ]
            if "data" not in document.get("storage_volumes", {}) or ("volumes" in spec and "volume" in taken):
                spec.pop("volumes", None)
            elif "volumes" in spec:
                taken.add("volume")
            need = spec.get("depends_on")
            if need is not None and not _can_need(instances, name, need):
                del spec["depends_on"]
            if "network" in spec:
                self._make_network_fit(spec["network"], document, taken)

    def _make_network_fit(self, network: dict[str, Any], document: dict[str, Any], taken: set[Any]) -> None:
        bridge = network.get("bridge", self.words["<bridge>"])
        if bridge not in (self.words["<bridge>"], *document.get("networks", {})):
            del network["bridge"]
            bridge = self.words["<bridge>"]
        if isinstance(network.get("ipv4"), int):
            network["ipv4"] = f"{self.subnets[bridge]}.{network['ipv4']}"
        for key, claim in (("ipv4", network.get("ipv4", "auto")), ("forwards", str(network.get("forwards", [])))):
            if claim in taken:
                del network[key]
            elif claim not in ("auto", "[]"):
                taken.add(claim)

    def raw(self) -> Raw:
        return raw(self.client, self.words["<own>"])

    # -- one case ---------------------------------------------------------------------------------
    def step(self, document: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Predict, apply, compare with what the daemon shows, and apply again."""
        self.cases += 1
        before = self.raw()
        predicted = self._run(document, options, check=True)
        assert self.raw() == before, "check mode changed something"
        done = self._run(document, options)
        after = self.raw()
        if isinstance(predicted, str):
            self.seen["refused"] += 1
            assert done == predicted
            assert after == before, "a refused plan changed something"
            return
        assert not isinstance(done, str), done
        if done.get("failed") and any(fault in done["msg"] for fault in INCUS_FAULTS):
            raise IncusFault
        assert not done.get("failed"), f"{done['msg']}\n{done['diff']}"
        assert _without_times(done["resources"]) == _without_times(predicted["resources"])
        assert done["diff"] == predicted["diff"]
        assert list(_differences(predicted["resources"], before, after, self.client.project)) == []
        for entry in predicted["resources"]:
            self.seen.update(entry["actions"])
        again = self._run(document, options)
        assert not isinstance(again, str), again
        assert not again["changed"], again["diff"]
        assert self.raw() == after, "a second run changed something"

    def _run(
        self, document: Mapping[str, Any], options: Mapping[str, Any], *, check: bool = False
    ) -> dict[str, Any] | str:
        try:
            return run(self.client, document, check=check, **options)
        except InvalidInput as error:
            return str(error)

    def play(self, steps: list[Step]) -> None:
        """A whole sequence, from an empty project to an empty project."""
        lines: dict[str, Any] = {}
        try:
            for changed, options in steps:
                change(lines, changed)
                self.step(self.plan(lines), options)
            self.step({"name": OWNER}, {"prune": True})
            assert not [key for key, one in self.raw().items() if one["config"].get("user.rackstead.plan")]
        except IncusFault:
            self.seen["fault"] += 1
            assert self.seen["fault"] <= MOST_FAULTS
        finally:
            self.clear()

    def clear(self) -> None:
        """Back to an empty project, for the next sequence."""
        testbed.remove_contents(self.client)
        for profile in self.client.get("/profiles", recursion="1"):
            if profile["name"] != "default":
                self.client.delete(f"/profiles/{profile['name']}")
            else:
                self.client.put("/profiles/default", {"config": {}, "description": "", "devices": profile["devices"]})
        for network in self.client.get("/networks", recursion="1"):
            if network["name"] == self.words["<own>"]:
                testbed.remove_network(self.client, network["name"])


def _can_need(instances: Mapping[str, Any], name: str, need: str) -> bool:
    """Whether one instance may depend on another: it is an earlier one, and runs if the first is to."""
    if need not in instances or NAMES.index(need) >= NAMES.index(name):
        return False
    return instances[need].get("state") == "running" or instances[name].get("state") != "running"


def _without_times(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "duration"} for entry in resources]


def _differences(resources: list[dict[str, Any]], before: Raw, after: Raw, project: str) -> Iterator[str]:
    """Where the daemon's raw answers differ from the prediction, in words."""
    told = {}
    for entry in resources:
        assert entry["project"] in (project, "default")
        told[entry["kind"], entry["name"]] = entry
    for key in sorted({*before, *after} - told.keys()):
        if before.get(key) != after.get(key):
            yield f"{key} is not in the prediction, but changed from {before.get(key)} to {after.get(key)}"
    for key, entry in told.items():
        yield from _side(key, "before", entry["before"], before.get(key))
        yield from _side(key, "after", entry["after"], after.get(key))
        if not entry["actions"] and before.get(key) != after.get(key):
            yield f"{key} was to be left alone, but changed from {before.get(key)} to {after.get(key)}"
        if key in after:
            yield from _beyond(key, entry, before.get(key), after[key])


def _side(key: Key, side: str, shown: Mapping[str, Any] | None, there: Mapping[str, Any] | None) -> Iterator[str]:
    """Every property that one side of the prediction shows, against the daemon's."""
    if (shown is None) != (there is None):
        yield f"{key}: {side} is predicted as {shown}, and is {there}"
    if shown is None or there is None:
        return
    for name, value in _properties(shown).items():
        found = _properties(there).get(name)
        if name == "image":
            found = there["config"].get("user.rackstead.image")
        if found != value:
            yield f"{key}: {side} {name} is predicted as {value!r}, and is {found!r}"


def _properties(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A resource's properties by name, configuration keys and devices one by one."""
    parts = {name: value for name, value in resource.items() if name not in ("config", "devices")}
    for part in ("config", "devices"):
        parts.update({f"{part}.{name}": value for name, value in resource.get(part, {}).items()})
    return parts


def _beyond(
    key: Key, entry: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> Iterator[str]:
    """What the prediction does not speak of must be as it was, and what it lets go must be gone."""
    sides = [entry["before"] or {}, entry["after"] or {}]
    for part in ("config", "devices"):
        spoken = {name for side in sides for name in side.get(part, {})}
        kept = sides[1].get(part, {})
        was = (before or {}).get(part, {})
        for name in sorted({*was, *after.get(part, {})}):
            there = after.get(part, {}).get(name)
            if name in spoken and name not in kept and there is not None:
                yield f"{key}: {part}.{name} was to go, and is {there!r}"
            if (
                name not in spoken
                and not name.startswith(BOOKKEEPING)
                and was.get(name) != there
                and not _chosen(key, before)
            ):
                yield f"{key}: {part}.{name} is not in the prediction, but changed from {was.get(name)!r} to {there!r}"
    for name in ("description", "profiles", "status"):
        unspoken = name not in sides[0] and name not in sides[1]
        if before is not None and unspoken and before.get(name) != after.get(name):
            yield f"{key}: {name} is not in the prediction, but changed from {before.get(name)!r} to {after.get(name)!r}"


def _chosen(key: Key, before: Mapping[str, Any] | None) -> bool:
    """Incus gives a new network settings of its own."""
    return key[0] == "network" and before is None


# -- the tests --------------------------------------------------------------------------------------
@pytest.fixture
def ground(project: Any, daemon: testbed.Daemon, tmp_path: Any) -> Ground:
    bridge, own = daemon.bridge, f"{daemon.bridge}x"
    gateway = daemon.client().get(f"/networks/{bridge}")["config"]["ipv4.address"]
    free = daemon.slot.subnet(testbed.SPARE)
    words = {
        "<bridge>": bridge,
        "<own>": own,
        "<scratch>": str(tmp_path),
        "<port0>": testbed.free_port(),
        "<port1>": testbed.free_port(),
    }
    subnets = {bridge: gateway.rpartition(".")[0], own: free.rpartition(".")[0]}
    return Ground(project.client, words, subnets)


@pytest.mark.timeout(600)
def test_check_mode_predicts_what_apply_does(ground: Ground) -> None:
    print(f"seed {SEED} (RACKSTEAD_TEST_SEED)")

    random = Random(SEED)
    for _sequence in range(SEQUENCES):
        ground.play(draw_sequence(random))
    print(f"{ground.cases} cases: {dict(ground.seen)}")
    assert ground.cases >= LEAST_CASES
    everything = {"create", "update", "delete", "start", "stop", "freeze", "unfreeze", "refused"}
    assert everything <= set(ground.seen), f"never seen: {everything - set(ground.seen)}"


# -- the comparison itself can fail -----------------------------------------------------------------
STORY: list[Step] = [
    (
        [
            ("instances.one.state", "stopped"),
            ("instances.one.memory", "64MiB"),
            ("instances.one.devices.none0", {"type": "none"}),
        ],
        {},
    ),
    ([("instances.one.memory", "128MiB"), ("instances.one.description", "new")], {}),
    ([(REMOVE, "instances.one.devices.none0")], {}),
]


def _forgets(writer: Writer, change: Change) -> None:
    """Writes everything but the memory limit."""
    client, path = writer._client, f"/instances/{change.ref.name}"
    document = client.get(path)
    WRITE(writer, change)
    config = {**client.get(path)["config"], "limits.memory": document["config"]["limits.memory"]}
    client.put(path, {**client.get(path), "config": config})


def _adds(writer: Writer, change: Change) -> None:
    """Writes one thing more than the prediction has."""
    WRITE(writer, change)
    path = f"/instances/{change.ref.name}"
    document = writer._client.get(path)
    writer._client.put(path, {**document, "config": {**document["config"], "user.stray": "1"}})


def _keeps(writer: Writer, change: Change) -> None:
    """Takes no device away."""
    path = f"/instances/{change.ref.name}"
    devices = writer._client.get(path)["devices"]
    WRITE(writer, change)
    document = writer._client.get(path)
    writer._client.put(path, {**document, "devices": {**devices, **document["devices"]}})


WRITE = Writer._update


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (_forgets, "config.limits.memory is predicted as '128MiB', and is '64MiB'"),
        (_adds, "config.user.stray is not in the prediction, but changed from None to '1'"),
        (_keeps, "devices.none0 was to go, and is {'type': 'none'}"),
    ],
)
def test_a_writer_that_does_not_keep_to_the_prediction_is_caught(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, broken: Any, told: str
) -> None:
    monkeypatch.setattr(Writer, "_update", broken)
    monkeypatch.setattr(plantask, "_verify", lambda *_args: None)
    with pytest.raises(AssertionError) as caught:
        ground.play(STORY)
    assert told in str(caught.value)


def test_what_did_not_stick_fails_the_task(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task looks again by itself; without that the comparison above would have to catch it."""
    ground.step(ground.plan(dict(STORY[0][0])), {})
    monkeypatch.setattr(Writer, "_update", _forgets)
    result = run(ground.client, ground.plan(dict(STORY[0][0] + STORY[1][0])))
    assert result[
        "msg"
    ] == "instance one (project rstest-1): was applied, but did not stick: config.limits.memory".replace(
        "rstest-1", ground.client.project
    )


def test_the_same_story_goes_well_with_the_real_writer(ground: Ground) -> None:
    ground.play(STORY)
    assert ground.cases == len(STORY) + 1
