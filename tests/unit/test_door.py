# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door: every fault of a plan in a line of its own, all at once; and what a good plan means."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.instances.door import find_cycle, read_plan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.spec import PlanSpec, Wait
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan_worlds import door

SIZES = "512MiB, 2GB, 10GiB"
NAMES = "letters, digits and dashes, a letter first, up to 63"


def one(**fields: Any) -> dict[str, Any]:
    """A plan of one instance."""
    return {"instances": {"a": fields}}


def read(document: Any) -> PlanSpec:
    problems = Problems()
    plan = read_plan(document, problems)
    assert problems.lines == []
    return plan


@pytest.mark.parametrize(
    ("document", "line"),
    [
        # no plan at all
        ([], "a list is not a mapping; allowed: key: value pairs"),
        ("instances", '"instances" is not a mapping; allowed: key: value pairs'),
        ({"instances": ["a"]}, "instances: a list is not a mapping; allowed: key: value pairs"),
        ({"instances": {"a": "tiny"}}, 'instances.a: "tiny" is not a mapping; allowed: key: value pairs'),
        # unknown keys, with the nearest one
        ({"instance": {}}, 'unknown key "instance"; did you mean "instances"?'),
        (one(memroy="1GiB"), 'instances.a: unknown key "memroy"; did you mean "memory"?'),
        (one(network={"ipv": "auto"}), 'instances.a.network: unknown key "ipv"; did you mean "ipv4"?'),
        (
            {"profiles": {"p": {"nonsense": 1}}},
            'profiles.p: unknown key "nonsense"; known: config, description, devices, project',
        ),
        ({"defaults": {"cpu": 2}}, 'defaults: unknown key "cpu"; did you mean "cpus"?'),
        # sizes and numbers
        (one(memory="1GBB"), f'instances.a.memory: "1GBB" is not a size; allowed: {SIZES}, 50%'),
        (one(memory="101%"), f'instances.a.memory: "101%" is not a size; allowed: {SIZES}, 50%'),
        (one(memory=0), f"instances.a.memory: 0 is not a size; allowed: {SIZES}, 50%"),
        (one(memory=-1), f"instances.a.memory: -1 is not a size; allowed: {SIZES}, 50%"),
        (one(memory=True), f"instances.a.memory: true is not a size; allowed: {SIZES}, 50%"),
        (one(memory=1.5), f"instances.a.memory: 1.5 is not a size; allowed: {SIZES}, 50%"),
        (one(disk="10 gigs"), f'instances.a.disk: "10 gigs" is not a size; allowed: {SIZES}'),
        (one(disk="50%"), f'instances.a.disk: "50%" is not a size; allowed: {SIZES}'),
        ({"storage_volumes": {"v": {"size": "big"}}}, f'storage_volumes.v.size: "big" is not a size; allowed: {SIZES}'),
        (one(cpus=0), "instances.a.cpus: 0 is not a number of CPUs; allowed: 2, 0-3, 0,2"),
        (one(cpus="two"), 'instances.a.cpus: "two" is not a number of CPUs; allowed: 2, 0-3, 0,2'),
        (one(wait_timeout=0), "instances.a.wait_timeout: 0 is not valid; allowed: a whole number from 1 to 86400"),
        # words out of a set
        (one(state="up"), 'instances.a.state: "up" is not valid; allowed: running, stopped, frozen, absent'),
        (one(type="vm"), 'instances.a.type: "vm" is not valid; allowed: container, virtual-machine'),
        (one(network={"type": "nat"}), 'instances.a.network.type: "nat" is not valid; allowed: bridge'),
        (
            {"storage_volumes": {"v": {"content_type": "iso"}}},
            'storage_volumes.v.content_type: "iso" is not valid; allowed: filesystem, block',
        ),
        (one(ephemeral="yes"), 'instances.a.ephemeral: "yes" is not a boolean; allowed: true, false'),
        # names
        ({"instances": {"-a": {}}}, f'instances.-a: "-a" is not valid; allowed: {NAMES}'),
        ({"instances": {"a_b": {}}}, f'instances.a_b: "a_b" is not valid; allowed: {NAMES}'),
        ({"instances": {1: {}}}, f"instances.1: 1 is not valid; allowed: {NAMES}"),
        ({"instances": {"a" * 64: {}}}, f'instances.{"a" * 64}: "{"a" * 64}" is not valid; allowed: {NAMES}'),
        (
            {"networks": {"a-name-too-long-for-linux": {}}},
            (
                'networks.a-name-too-long-for-linux: "a-name-too-long-for-linux" is not valid; '
                "allowed: letters, digits, dots, dashes and underscores, 2 to 15"
            ),
        ),
        (
            one(image="two words"),
            'instances.a.image: "two words" is not valid; allowed: an alias such as debian/12, or remote:alias',
        ),
        (one(volumes={"v": "srv"}), 'instances.a.volumes.v: "srv" is not valid; allowed: an absolute path'),
        # shapes
        (one(config=[]), "instances.a.config: a list is not a mapping; allowed: key: value pairs"),
        (one(config={"x": {"y": 1}}), "instances.a.config.x: a mapping is not valid; allowed: text"),
        (one(devices={"d": "disk"}), 'instances.a.devices.d: "disk" is not a mapping; allowed: key: value pairs'),
        (one(profiles="web"), 'instances.a.profiles: "web" is not a list; allowed: a list'),
        (one(description=7), "instances.a.description: 7 is not valid; allowed: text"),
        # addresses and ports
        (
            one(network={"ipv4": "10.0.0.256"}),
            'instances.a.network.ipv4: "10.0.0.256" is not an IPv4 address; allowed: auto, an address such as 10.0.0.5',
        ),
        (
            one(network={"ipv4": "fd00::5"}),
            'instances.a.network.ipv4: "fd00::5" is not an IPv4 address; allowed: auto, an address such as 10.0.0.5',
        ),
        (
            one(network={"forwards": [{"listen": "web", "connect": 80}]}),
            'instances.a.network.forwards[0].listen: "web" has no port; allowed: 8080, 127.0.0.1:8080',
        ),
        (
            one(network={"forwards": [{"listen": 8080, "connect": 70000}]}),
            'instances.a.network.forwards[0].connect: "70000" has no port; allowed: 8080, 127.0.0.1:8080',
        ),
        (
            one(network={"forwards": [{"listen": 8080}]}),
            "instances.a.network.forwards[0].connect: is missing; allowed: port, or address:port, as seen inside the instance",
        ),
        # readiness
        (
            one(wait_for=["dhcp"]),
            (
                'instances.a.wait_for[0]: "dhcp" is not a condition; '
                "allowed: running, ipv4, cloud_init, {port: 80}, {command: [argv]}"
            ),
        ),
        (
            one(wait_for=[{"port": 0}]),
            "instances.a.wait_for[0].port: 0 is not valid; allowed: a whole number from 1 to 65535",
        ),
        (
            one(wait_for=[{"command": []}]),
            "instances.a.wait_for[0].command: names no command; allowed: a command and its arguments",
        ),
        # cloud-init
        (
            one(cloud_init="packages: [nginx]\n"),
            (
                'instances.a.cloud_init: starts with "packages: [nginx]", which cloud-init ignores; '
                "allowed: a first line such as #cloud-config or #!"
            ),
        ),
        (
            one(cloud_init="#cloud-config\nruncmd:\n  - [a\n"),
            "instances.a.cloud_init: is not YAML (line 4, column 1): did not find expected ',' or ']'",
        ),
        (
            one(cloud_init="#cloud-config\n- nginx\n"),
            "instances.a.cloud_init: holds no mapping; allowed: cloud-config keys such as users, packages, runcmd",
        ),
        (
            one(cloud_init=["x"]),
            "instances.a.cloud_init: a list is not a cloud-init document; allowed: text or a mapping",
        ),
        (
            one(network_config="version: 2\n  ethernets: {"),
            "instances.a.network_config: is not YAML (line 2, column 12): mapping values are not allowed in this context",
        ),
        # across fields
        (
            one(memory="1GiB", config={"limits.memory": "2GiB"}),
            "instances.a.config.limits.memory: is set by memory already; allowed: one of memory and config.limits.memory",
        ),
        (
            one(config={"volatile.uuid": "x"}),
            "instances.a.config.volatile.uuid: is kept by Incus or by this collection; allowed: any other key",
        ),
        (
            one(config={"user.rackstead.plan": "x"}),
            "instances.a.config.user.rackstead.plan: is kept by Incus or by this collection; allowed: any other key",
        ),
        (
            one(metadata={"role": "web"}, config={"user.role": "db"}),
            "instances.a.metadata.role: is set twice, or reserved; allowed: one of metadata.role and config.user.role",
        ),
        (
            one(devices={"root": {"type": "disk"}}, disk="1GiB"),
            "instances.a.devices.root: is made from network, volumes or disk already; allowed: another device name",
        ),
        (
            {"storage_volumes": {"data": {}}, "instances": {"a": {"volumes": {"dat": "/srv"}}}},
            (
                'instances.a.volumes.dat: is not in storage_volumes; did you mean "data"?; '
                "allowed: a volume of this plan, or a disk under devices"
            ),
        ),
        # across instances
        (
            {"instances": {"gateway": {}, "b": {"depends_on": ["gatway"]}}},
            'instances.b.depends_on: "gatway" is not in this plan; did you mean "gateway"?; allowed: instances of this plan',
        ),
        (
            {"instances": {"a": {"depends_on": "c"}, "b": {"depends_on": "a"}, "c": {"depends_on": "b"}}},
            "instances.a.depends_on: goes in a circle: a -> c -> b -> a; allowed: dependencies without a circle",
        ),
        (
            one(depends_on=["a"]),
            "instances.a.depends_on: goes in a circle: a -> a; allowed: dependencies without a circle",
        ),
        (
            {"instances": {"a": {"state": "stopped"}, "b": {"depends_on": ["a"]}}},
            'instances.b.depends_on: "a" is to be stopped; allowed: instances that run',
        ),
        (
            {"instances": {"a": {"network": {"ipv4": "10.0.0.5"}}, "b": {"network": {"ipv4": "10.0.0.5"}}}},
            "instances.b.network.ipv4: 10.0.0.5 is taken by instance a; allowed: an address of its own",
        ),
        (
            {
                "instances": {
                    "a": {"network": {"forwards": [{"listen": 8080, "connect": 80}]}},
                    "b": {"network": {"forwards": [{"listen": "127.0.0.1:8080", "connect": 80}]}},
                }
            },
            "instances.b.network.forwards[0].listen: port 8080 is forwarded to instance a already; allowed: a port of its own",
        ),
    ],
)
def test_a_fault_is_told_in_one_line(document: Any, line: str) -> None:
    assert door(document) == [line]


def test_all_faults_are_told_at_once() -> None:
    found = door(
        {
            "nam": "x",
            "defaults": {"memory": "much"},
            "profiles": {"p": {"devices": 3}},
            "instances": {
                "a": {"memory": "1GBB", "depends_on": ["b"], "cloud_init": "#cloud-config\n: ["},
                "b": {"depends_on": ["a"], "stat": "running", "network": {"ipv4": "10.0.0.5"}},
                "c": {"network": {"ipv4": "10.0.0.5"}},
            },
        }
    )
    assert [line.split(": ")[0] for line in found] == [
        "defaults.memory",
        'unknown key "nam"; did you mean "name"?',
        "profiles.p.devices",
        "instances.a.memory",
        "instances.a.cloud_init",
        "instances.b",
        "instances.a.depends_on",
        "instances.c.network.ipv4",
    ]
    assert all("\n" not in line for line in found)


def test_a_fault_in_the_defaults_is_told_once_and_not_for_each_instance() -> None:
    found = door({"defaults": {"memory": "much", "image": "tiny"}, "instances": {name: {} for name in "abcdef"}})
    assert found == [f'defaults.memory: "much" is not a size; allowed: {SIZES}, 50%']


def test_a_long_value_is_cut() -> None:
    [line] = door(one(memory="9" * 500 + "x"))
    assert len(line) < 160
    assert "..." in line


def test_keys_for_yaml_anchors_are_allowed_everywhere() -> None:
    assert door({"x-common": {"anything": 1}, "instances": {"a": {"x-note": [1, 2]}}}) == []


@pytest.mark.parametrize(
    "document", [None, {}, {"instances": None}, {"instances": {"a": None}}, {"profiles": {"p": None}}]
)
def test_what_is_empty_may_be_left_empty(document: Any) -> None:
    assert door(document) == []


def test_defaults_merge_mappings_and_replace_everything_else() -> None:
    plan = read(
        {
            "defaults": {
                "image": "tiny",
                "memory": "128MiB",
                "profiles": ["default", "base"],
                "metadata": {"site": "here", "role": "node"},
                "network": {"bridge": "br0", "forwards": [{"listen": 80, "connect": 80}]},
                "cloud_init": {"packages": ["nginx"]},
                "wait_for": "ipv4",
            },
            "instances": {
                "plain": {},
                "own": {
                    "memory": "64MiB",
                    "profiles": ["default"],
                    "metadata": {"role": "gateway"},
                    "network": {"ipv4": "10.0.0.5", "forwards": []},
                    "cloud_init": {"runcmd": ["true"]},
                    "wait_for": [],
                },
                "without": {"memory": None, "image": "other", "network": None},
            },
        }
    )
    plain, own, without = (plan.instances[name] for name in ("plain", "own", "without"))
    assert (plain.image, plain.memory, plain.profiles) == ("tiny", "128MiB", ("default", "base"))
    assert plain.wait_for == (Wait("ipv4"),)
    assert plain.network is not None
    assert [forward.listen for forward in plain.network.forwards] == ["80"]
    assert (own.memory, own.profiles, own.metadata) == ("64MiB", ("default",), {"site": "here", "role": "gateway"})
    assert own.network is not None
    assert (own.network.bridge, own.network.ipv4, own.network.forwards) == ("br0", "10.0.0.5", ())
    assert "nginx" not in own.cloud_init
    assert own.wait_for == ()
    assert (without.memory, without.image, without.network) == ("", "other", None)


def test_the_document_is_left_as_it_was() -> None:
    document = {"defaults": {"image": "tiny", "metadata": {"a": "b"}}, "instances": {"a": {"metadata": {"c": "d"}}}}
    read(document)
    assert document == {
        "defaults": {"image": "tiny", "metadata": {"a": "b"}},
        "instances": {"a": {"metadata": {"c": "d"}}},
    }


def test_values_are_read_into_their_final_form() -> None:
    plan = read(
        one(
            memory=1048576,
            cpus="0-3",
            config={"boot.autostart": True, "boot.autostart.priority": 5},
            wait_for=["running", {"port": "80"}, {"command": "test -e /ready"}, {"command": ["true"]}],
            depends_on=[],
            network={"ipv4": "auto"},
        )
    )
    spec = plan.instances["a"]
    assert (spec.memory, spec.cpus) == ("1048576B", "0-3")
    assert spec.config == {"boot.autostart": "true", "boot.autostart.priority": "5"}
    assert spec.wait_for == (
        Wait("running"),
        Wait("port", port=80),
        Wait("command", command=("/bin/sh", "-c", "test -e /ready")),
        Wait("command", command=("true",)),
    )


def test_names_stand_in_where_the_plan_gives_none() -> None:
    problems = Problems()
    assert read_plan({}, problems, name="file", project="site").name == "file"
    assert read_plan({"name": "own", "project": "mine"}, problems, name="file", project="site").project == "mine"


def test_a_cloud_init_mapping_becomes_a_document_with_its_header() -> None:
    spec = read(one(cloud_init={"runcmd": ["true"]}, network_config={"version": 2})).instances["a"]
    assert spec.cloud_init == "#cloud-config\nruncmd:\n- 'true'\n"
    assert spec.network_config == "version: 2\n"


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3).map(tuple)))
def test_a_cycle_is_found_exactly_where_there_is_one(graph: dict[str, tuple[str, ...]]) -> None:
    cycle = find_cycle(graph)
    reach = {node: {need for need in needs if need in graph} for node, needs in graph.items()}
    for _step in graph:
        reach = {node: found.union(*(reach[one] for one in found)) for node, found in reach.items()}
    assert bool(cycle) == any(node in found for node, found in reach.items())
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(then in graph[now] for now, then in itertools.pairwise(cycle))


TEXT = st.text("a1-.:/#%{[ \n\u00b2\u0663\u2028", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=12,
)
KEYS = ["instances", "profiles", "networks", "storage_volumes", "projects", "defaults", "name", "a"]
FIELDS = ["image", "memory", "cpus", "network", "forwards", "wait_for", "depends_on", "config", "devices", "volumes"]


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        st.dictionaries(st.sampled_from(["a", "b"]), st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON) | JSON,
    )
)
def test_nothing_that_yaml_can_say_breaks_the_door(document: Any) -> None:
    for line in door(document):
        assert line
        assert "\n" not in line
