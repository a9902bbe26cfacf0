# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision: what is wanted against what is there, resource by resource."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.instances.apply import order
from ansible_collections.rackstead.infra.plugins.module_utils.instances.claims import Claim, handovers
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Change, Observed, Ref
from ansible_collections.rackstead.infra.plugins.module_utils.instances.reconcile import transition

from tests.unit.plan_worlds import NIC, OWNER, changes, instance, refused, world
from tests.unit.test_apply import finishes

TINY = {"image": "tiny"}
MADE = {"user.rackstead.image": "tiny"}


def one(**fields: Any) -> dict[str, Any]:
    return {"instances": {"a": {**TINY, **fields}}}


def change_of(document: dict[str, Any], *there: Observed, **policy: Any) -> Change:
    """The change of instance ``a``."""
    return changes(document, world(*there), **policy)["instance a"]


def made(**fields: Any) -> Observed:
    """Instance ``a`` as an earlier run of the plan made it from the image ``tiny``."""
    return instance("a", config={**MADE, **fields.pop("config", {})}, **fields)


# -- power ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("now", "then", "actions"),
    [
        ("Running", "Running", ()),
        ("Running", "Stopped", ("stop",)),
        ("Running", "Frozen", ("freeze",)),
        ("Stopped", "Running", ("start",)),
        ("Stopped", "Frozen", ("start", "freeze")),
        ("Frozen", "Running", ("unfreeze",)),
        ("Frozen", "Stopped", ("unfreeze", "stop")),
        ("Error", "Stopped", ("stop",)),
        ("Error", "Running", ("stop", "start")),
        ("Running", "", ()),
    ],
)
def test_actions_from_one_status_to_another(now: str, then: str, actions: tuple[str, ...]) -> None:
    assert transition(now, then) == actions


@pytest.mark.parametrize(
    ("state", "actions"),
    [("running", ("create", "start")), ("stopped", ("create",)), ("frozen", ("create", "start", "freeze"))],
)
def test_a_new_instance(state: str, actions: tuple[str, ...]) -> None:
    change = change_of(one(state=state, memory="64MiB"))
    assert change.actions == actions
    assert change.before is None
    assert change.after is not None
    assert change.after["config"] == {"limits.memory": "64MiB", "user.rackstead.plan": OWNER, **MADE}


def test_nothing_to_do_is_nothing_at_all() -> None:
    change = change_of(one(memory="64MiB"), made(config={"limits.memory": "64MiB"}, keys="config:limits.memory"))
    assert change.actions == ()
    assert change.before == change.after


def test_only_what_the_plan_names_is_looked_at() -> None:
    foreign = {"limits.cpu": "2", "user.note": "by hand", "volatile.eth0.hwaddr": "00:16:3e:00:00:01"}
    change = change_of(
        one(), made(config=foreign, devices={"extra": {"type": "none"}}, profiles=("default", "other"), description="x")
    )
    assert change.actions == ()
    assert change.after is not None
    assert set(change.after) == {"status", "type", "config"}


def test_what_an_earlier_run_set_and_the_plan_no_longer_names_is_unset() -> None:
    there = made(
        config={"limits.memory": "64MiB", "limits.cpu": "2", "user.by": "hand"},
        devices={"gone": {"type": "none"}, "hand": {"type": "none"}},
        keys="config:limits.cpu,config:limits.memory,config:user.gone,device:gone",
    )
    change = change_of(one(cpus=2), there)
    assert change.actions == ("update",)
    assert change.removes == ("config:limits.memory", "device:gone")
    assert change.before is not None
    assert change.after is not None
    assert change.before["config"]["limits.memory"] == "64MiB"
    assert "limits.memory" not in change.after["config"]
    assert change.before["devices"] == {"gone": {"type": "none"}}
    assert "devices" not in change.after


def test_description_and_profiles_go_back_when_they_are_no_longer_named() -> None:
    there = made(description="ours", profiles=("default", "web"), keys="field:description,field:profiles")
    change = change_of(one(), there)
    assert change.actions == ("update",)
    assert change.removes == ("field:description", "field:profiles")
    assert change.before is not None
    assert change.after is not None
    assert (change.before["description"], change.before["profiles"]) == ("ours", ["default", "web"])
    assert "description" not in change.after
    assert change.after["profiles"] == ["default"]
    assert change_of(one(), made(description="by hand", profiles=("default", "web"))).actions == ()


def test_an_empty_value_means_not_set() -> None:
    assert change_of(one(config={"user.x": ""}), made(keys="config:user.x")).actions == ()
    change = change_of(one(config={"user.x": ""}), made(config={"user.x": "1"}, keys="config:user.x"))
    assert change.actions == ("update",)
    assert change.after is not None
    assert "user.x" not in change.after["config"]


def test_fields_of_the_instance_itself() -> None:
    document = {**one(description="new", profiles=["default", "web"]), "profiles": {"web": {}}}
    change = change_of(document, made(description="old"))
    assert change.before is not None
    assert change.after is not None
    assert (change.before["description"], change.after["description"]) == ("old", "new")
    assert (change.before["profiles"], change.after["profiles"]) == (["default"], ["default", "web"])


# -- what counts only after a restart ---------------------------------------------------------------
NESTING = {"security.nesting": "true"}
TOLD = (
    "instance a: config.security.nesting would count only after a restart; "
    "allowed: on_change=restart (restarts it), on_change=never (stores it for the next start)"
)


def test_a_change_that_needs_a_restart_is_refused_by_default() -> None:
    assert refused(one(config=NESTING), world(made())) == [TOLD]


@pytest.mark.parametrize(
    ("status", "state", "on_change", "actions", "notes"),
    [
        ("Running", "running", "restart", ("stop", "update", "start"), ("restarted for: config.security.nesting",)),
        (
            "Running",
            "running",
            "never",
            ("update",),
            ("counts from the next start on: config.security.nesting",),
        ),
        (
            "Running",
            "frozen",
            "restart",
            ("stop", "update", "start", "freeze"),
            ("restarted for: config.security.nesting",),
        ),
        (
            "Frozen",
            "frozen",
            "restart",
            ("unfreeze", "stop", "update", "start", "freeze"),
            ("restarted for: config.security.nesting",),
        ),
        # nothing runs, or will run: no policy is needed
        ("Stopped", "stopped", "refuse", ("update",), ()),
        ("Stopped", "running", "refuse", ("update", "start"), ()),
        ("Running", "stopped", "refuse", ("stop", "update"), ()),
    ],
)
def test_policies_for_what_needs_a_restart(
    status: str, state: str, on_change: str, actions: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    change = change_of(one(config=NESTING, state=state), made(status=status), on_change=on_change)
    assert (change.actions, change.notes) == (actions, notes)


@pytest.mark.parametrize(
    "fields",
    [
        {"memory": "128MiB"},
        {"cpus": 2},
        {"metadata": {"role": "web"}},
        {"config": {"boot.autostart": True, "limits.processes": 100}},
        {"devices": {"data": {"type": "disk", "source": "/tmp", "path": "/srv"}}},
        {"network": {"forwards": [{"listen": 8080, "connect": 80}]}},
        {"description": "x"},
    ],
)
def test_live_changes_of_a_running_container(fields: dict[str, Any]) -> None:
    change = change_of(one(**fields), made())
    assert (change.actions, change.notes) == (("update",), ())


@pytest.mark.parametrize("field", ["cloud_init", "vendor_data", "network_config"])
def test_cloud_init_documents_count_from_a_start_on(field: str) -> None:
    [line] = refused(one(**{field: {"runcmd": ["true"]}}), world(made()))
    assert "would count only after a restart" in line


# -- virtual machines -------------------------------------------------------------------------------
def machine(**fields: Any) -> dict[str, Any]:
    return one(type="virtual-machine", **fields)


def there(**fields: Any) -> Observed:
    return made(type="virtual-machine", **fields)


def test_a_virtual_machine_needs_a_host_that_has_them() -> None:
    assert refused(machine(), world()) == [
        (
            "instance a.type: this host cannot run virtual machines "
            "(Incus reports no qemu driver: no KVM or vhost_vsock); allowed: container"
        )
    ]
    assert changes(machine(), world(vm_support=True))["instance a"].actions == ("create", "start")


@pytest.mark.parametrize(
    "fields",
    [
        {"memory": "2GiB"},
        {"cpus": 4},
        {"metadata": {"role": "web"}},
        {"config": {"boot.autostart": "true", "snapshots.schedule": "@daily", "security.protection.delete": "true"}},
        {"devices": {"data": {"type": "disk", "pool": "default", "source": "v"}}},
        {"network": {"bridge": "br0"}},
    ],
)
def test_what_a_running_virtual_machine_takes_at_once(fields: dict[str, Any]) -> None:
    change = changes(machine(**fields), world(there(), vm_support=True))["instance a"]
    assert (change.actions, change.notes) == (("update",), ())


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"config": {"security.secureboot": "false"}}, "config.security.secureboot"),
        ({"config": {"raw.qemu": "-cpu host"}}, "config.raw.qemu"),
        ({"cloud_init": {"runcmd": ["true"]}}, "config.cloud-init.user-data"),
        ({"disk": "20GiB"}, "devices.root"),
    ],
)
def test_what_a_running_virtual_machine_does_not_take(fields: dict[str, Any], names: str) -> None:
    host = world(there(), vm_support=True)
    [line] = refused(machine(**fields), host)
    assert line.startswith(f"instance a: {names} would count only after a restart")
    assert changes(machine(**fields), host, on_change="restart")["instance a"].actions == ("stop", "update", "start")
    assert refused(machine(**fields), host, on_change="never") == [
        f"instance a: {names} cannot change while the virtual machine runs; allowed: on_change=restart"
    ]
    assert changes(machine(**fields, state="stopped"), world(there(status="Stopped"), vm_support=True))[
        "instance a"
    ].actions == ("update",)


# -- what cannot change at all ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("document", "resource", "line"),
    [
        (
            one(type="virtual-machine"),
            made(),
            (
                "instance a: type cannot change in place from container to virtual-machine; "
                "allowed: delete it first, or use another name"
            ),
        ),
        (
            {"instances": {"a": {"image": "other"}}},
            made(),
            "instance a: image cannot change in place from tiny to other; allowed: delete it first, or use another name",
        ),
        (
            one(pool="other"),
            made(devices={"root": {"type": "disk", "path": "/", "pool": "default"}}),
            (
                "instance a: disk pool cannot change in place from default to other; "
                "allowed: delete it first, or use another name"
            ),
        ),
        (
            one(pool="other"),
            made(),
            (
                "instance a: disk pool cannot change in place from default to other; "
                "allowed: delete it first, or use another name"
            ),
        ),
        (
            {"storage_volumes": {"v": {"content_type": "block"}}},
            Observed(Ref("storage_volume", "v", pool="default"), content_type="filesystem"),
            (
                "storage volume v: content_type cannot change in place from filesystem to block; "
                "allowed: delete it first, or use another name"
            ),
        ),
    ],
)
def test_what_cannot_change_in_place_is_said(document: dict[str, Any], resource: Observed, line: str) -> None:
    assert refused(document, world(resource, vm_support=True)) == [line]


# -- whose things these are -------------------------------------------------------------------------
def test_a_taken_name_is_refused_unless_adopted() -> None:
    ends = "; allowed: another name, or adopt=true to take it over"
    unmarked, others = instance("a", owner=""), instance("a", owner="other")
    assert refused(one(), world(unmarked)) == [
        f"instance a: the name is taken: it exists already and belongs to no plan{ends}"
    ]
    assert refused(one(), world(others)) == [f"instance a: the name is taken: it belongs to plan other{ends}"]
    for taken in (unmarked, others):
        change = change_of(one(), taken, adopt=True)
        assert change.actions == ("update",)
        assert change.after is not None
        assert change.after["config"]["user.rackstead.plan"] == OWNER


def test_absent_deletes_only_what_the_plan_made() -> None:
    document = {**one(), "profiles": {"web": {}, "default": {}}}
    web = Observed(Ref("profile", "web"), config={"user.rackstead.plan": OWNER})
    found = changes(document, world(made(), web), state="absent")
    assert {name: change.actions for name, change in found.items()} == {
        "profile web": ("delete",),
        "profile default": (),
        "instance a": ("delete",),
    }
    assert found["instance a"].after is None
    assert found["profile default"].notes == (f"left alone: it was not made by plan {OWNER}",)
    for foreign in (instance("a", owner=""), instance("a", owner="other")):
        assert change_of(one(), foreign, state="absent").actions == ()
        assert change_of(one(state="absent"), foreign).actions == ()


def test_an_instance_that_is_to_be_absent() -> None:
    assert change_of(one(state="absent"), made()).actions == ("delete",)
    gone = change_of(one(state="absent"))
    assert (gone.actions, gone.before, gone.after) == ((), None, None)


def test_two_plans_amend_one_profile_and_neither_owns_it() -> None:
    """The keys that each plan sets are booked under its own name, and unset by it alone."""
    first = changes({"profiles": {"default": {"config": {"limits.cpu": 2}}}}, world(), owner="first")["profile default"]
    assert first.actions == ("update",)
    assert first.desired is not None
    assert first.desired.config == {"limits.cpu": "2", "user.rackstead.keys.first": "config:limits.cpu"}
    amended = Observed(first.ref, config=first.desired.config)
    second = changes({"profiles": {"default": {"config": {"limits.memory": "1GiB"}}}}, world(amended), owner="second")
    assert second["profile default"].desired is not None
    assert second["profile default"].removes == ()
    both = Observed(first.ref, config={**amended.config, **second["profile default"].desired.config})
    undone = changes({"profiles": {"default": {}}}, world(both), owner="first")["profile default"]
    assert undone.removes == ("config:limits.cpu",)
    assert undone.after is not None
    assert "limits.cpu" not in undone.after.get("config", {})


def test_a_change_of_nothing_but_bookkeeping_says_so() -> None:
    change = changes({"profiles": {"default": {}}}, world())["profile default"]
    assert (change.actions, change.notes) == (("update",), ("only what the plan remembers of it changes",))
    assert change.before == change.after


def test_prune_takes_what_bears_the_mark_and_nothing_else() -> None:
    mark = {"user.rackstead.plan": OWNER}
    others = {"user.rackstead.plan": "other"}
    stay = [
        instance("hand", owner=""),
        instance("other", owner="other"),
        Observed(Ref("profile", "foreign"), config=others),
        Observed(Ref("network", "br9"), type="bridge"),
    ]
    go = [
        instance("old"),
        Observed(Ref("profile", "old"), config=mark),
        Observed(Ref("network", "old"), config=mark, type="bridge"),
        Observed(Ref("storage_volume", "old", pool="other"), config=mark),
        Observed(Ref("project", "old"), config=mark),
    ]
    found = changes(one(), world(made(), *stay, *go), prune=True)
    assert sorted(name for name, change in found.items() if change.actions == ("delete",)) == sorted(
        str(one.ref) for one in go
    )
    assert {str(one.ref) for one in stay} & found.keys() == set()
    assert set(changes(one(), world(made(), *stay, *go))) == {"instance a"}


def test_power_states_touch_nothing_else() -> None:
    document = one(memory="1GiB", state="stopped")
    started = change_of(document, made(status="Stopped"), state="started")
    assert (started.actions, started.before, started.after) == (
        ("start",),
        {"status": "Stopped"},
        {"status": "Running"},
    )
    assert change_of(document, made(), state="stopped").actions == ("stop",)
    assert change_of(document, made(status="Frozen"), state="stopped").actions == ("unfreeze", "stop")
    assert change_of(document, instance("a", owner="other"), state="stopped").actions == ()
    assert change_of(document, state="stopped").actions == ()
    assert refused(document, world(), state="started") == [
        "instance a: does not exist; allowed: instances that were applied before (state present)"
    ]


# -- references -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("document", "line"),
    [
        (
            {"instances": {"a": {"image": "tyny"}}},
            (
                'instance a.image: image "tyny" does not exist; did you mean "tiny"?; '
                "allowed: tiny, or remote:alias; rackstead.infra.image gets or builds one"
            ),
        ),
        (
            {"instances": {"a": {}}},
            (
                "instance a.image: has no image, and does not exist yet; "
                "allowed: tiny, or remote:alias; rackstead.infra.image gets or builds one"
            ),
        ),
        (
            one(profiles=["defualt"]),
            'instance a.profiles: profile "defualt" does not exist; did you mean "default"?; allowed: default',
        ),
        (one(project="site"), 'instance a (project site): project "site" does not exist; allowed: default'),
        (one(pool="ssd"), 'instance a.devices.root: storage pool "ssd" does not exist; allowed: default, other'),
        (
            {"storage_volumes": {"v": {"pool": "ssd"}}},
            'storage volume v: storage pool "ssd" does not exist; allowed: default, other',
        ),
        (
            one(network={"bridge": "br1"}),
            'instance a.devices.eth0: network "br1" does not exist; did you mean "br0"?; allowed: br0',
        ),
        (
            one(network={"ipv4": "10.0.1.5"}),
            "instance a.devices.eth0: 10.0.1.5 is not in br0's subnet; allowed: 10.0.0.0/24",
        ),
        (
            one(network={"ipv4": "10.0.0.1"}),
            "instance a.devices.eth0: 10.0.0.1 is the bridge's own address; allowed: another one in 10.0.0.0/24",
        ),
        (one(target="m1"), 'instance a.target: "m1" is given, but the server is not a cluster; allowed: no target'),
        (
            {
                "networks": {"own0": {"config": {"ipv4.address": "10.9.0.1/24"}}},
                **one(network={"bridge": "own0", "ipv4": "10.8.0.5"}),
            },
            "instance a.devices.eth0: 10.8.0.5 is not in own0's subnet; allowed: 10.9.0.0/24",
        ),
    ],
)
def test_references_to_what_is_not_there(document: dict[str, Any], line: str) -> None:
    assert refused(document, world()) == [line]


def test_references_to_what_the_plan_makes() -> None:
    document = {
        "projects": {"site": {"config": {"features.networks": "true"}}},
        "networks": {"own0": {}},
        "profiles": {"web": {"devices": {"eth1": {"type": "nic", "network": "own0"}}}},
        "storage_volumes": {"v": {}},
        "instances": {
            "a": {**TINY, "profiles": ["default", "web"], "volumes": {"v": "/srv"}, "network": {"bridge": "own0"}}
        },
    }
    assert refused(document, world()) == []


def test_targets_in_a_cluster() -> None:
    cluster = world(members=("m1", "m2"))
    assert refused(one(target="m3"), cluster) == ['instance a.target: member "m3" does not exist; allowed: m1, m2']
    assert refused(one(target="m2"), cluster) == []
    assert refused(one(target="@east"), cluster) == []


def test_all_refusals_come_at_once() -> None:
    document = {
        "instances": {
            "a": {**TINY, "config": NESTING},
            "b": {"image": "nothing-like-it"},
            "c": {**TINY, "type": "virtual-machine", "profiles": ["none"]},
        }
    }
    found = refused(document, world(made()))
    assert [line.split(":")[0] for line in found] == [
        "instance a",
        "instance b.image",
        "instance c.profiles",
        "instance c.type",
    ]


def test_what_ends_stopped_is_stopped_before_it_is_changed() -> None:
    document = {"instances": {"a": {**TINY, "state": "stopped", "description": "new"}}}
    assert changes(document, world(instance("a", config=MADE)))["instance a"].actions == ("stop", "update")


# -- addresses and ports that only one can have -----------------------------------------------------
def at(address: str, network: str = "br0") -> dict[str, Any]:
    return {**TINY, "network": {"bridge": network, "ipv4": address}}


def holds(name: str, address: str, **fields: Any) -> Observed:
    keys = "device:eth0"
    devices = {"eth0": {**NIC, "ipv4.address": address}}
    return instance(name, config=MADE, devices=devices, keys=keys, **fields)


def test_an_address_of_somebody_else() -> None:
    document = {"instances": {"a": at("10.0.0.5")}}
    told = ["instance a.devices.eth0: 10.0.0.5 is taken by instance z; allowed: an address of its own"]
    assert refused(document, world(holds("z", "10.0.0.5", owner=""))) == told
    assert refused(document, world(holds("a", "10.0.0.5"))) == []


@pytest.mark.parametrize(
    ("theirs", "ours", "refusal"),
    [("Running", "running", True), ("Stopped", "running", False), ("Running", "stopped", False)],
)
def test_a_port_is_taken_where_both_run(theirs: str, ours: str, refusal: bool) -> None:
    document = {"instances": {"a": {**TINY, "state": ours, "network": {"forwards": [{"listen": 80, "connect": 80}]}}}}
    port = {"type": "proxy", "listen": "tcp:0.0.0.0:80", "connect": "tcp:127.0.0.1:80"}
    there = world(instance("z", owner="", devices={"web": port}, status=theirs))
    told = ["instance a.devices.forward-tcp-80: tcp:0.0.0.0:80 is taken by instance z; allowed: a port of its own"]
    assert refused(document, there) == (told if refusal else [])


def test_an_address_given_twice_under_two_names_of_one_bridge() -> None:
    """The profile's bridge and the named one are the same: only the decision can know."""
    document = {"instances": {"a": at("10.0.0.5"), "b": {**TINY, "network": {"ipv4": "10.0.0.5"}}}}
    assert refused(document, world()) == [
        "instance b.devices.eth0: 10.0.0.5 is taken by instance a; allowed: an address of its own"
    ]


def test_an_address_is_told_once_where_the_door_told_it() -> None:
    document = {"instances": {"a": at("10.0.0.5"), "b": at("10.0.0.5")}}
    assert refused(document, world()) == [
        "instances.b.network.ipv4: 10.0.0.5 is taken by instance a; allowed: an address of its own"
    ]


def test_an_address_is_handed_over() -> None:
    there = world(holds("a", "10.0.0.5"))
    for first in ({"state": "absent"}, {**TINY}, at("10.0.0.6")):
        found = changes({"instances": {"a": first, "b": at("10.0.0.5")}}, there)
        address = Claim("address", "10.0.0.5", "br0")
        assert handovers(found.values()) == [(address, Ref("instance", "a"), Ref("instance", "b"))]
    assert changes({"instances": {"b": at("10.0.0.5")}}, there, prune=True)["instance a"].actions == ("delete",)


def test_addresses_that_go_round_in_a_circle() -> None:
    there = world(holds("a", "10.0.0.5"), holds("b", "10.0.0.6"))
    [line] = refused({"instances": {"a": at("10.0.0.6"), "b": at("10.0.0.5")}}, there)
    assert line.startswith(
        "instance a: addresses or ports go round in a circle: instance a <- instance b <- instance a"
    )


def test_a_port_is_handed_over() -> None:
    proxy = {"type": "proxy", "listen": "tcp:0.0.0.0:8080", "connect": "tcp:127.0.0.1:80"}
    holder = instance("a", config=MADE, devices={"forward-tcp-8080": proxy}, keys="device:forward-tcp-8080")
    taker = {**TINY, "network": {"forwards": [{"listen": 8080, "connect": 80}]}}
    found = changes({"instances": {"a": TINY, "b": taker}}, world(holder))
    port = Claim("port", "tcp:0.0.0.0:8080")
    assert handovers(found.values()) == [(port, Ref("instance", "a"), Ref("instance", "b"))]


def test_volumes_may_go_round_in_a_circle() -> None:
    """Unlike an address a volume can have two users for a moment."""
    disks = {name: {"type": "disk", "pool": "default", "source": name, "path": "/srv"} for name in ("v", "w")}
    there = [
        instance(name, config=MADE, devices={disk: disks[disk]}, keys=f"device:{disk}")
        for name, disk in (("a", "v"), ("b", "w"))
    ]
    document = {
        "storage_volumes": {"v": {}, "w": {}},
        "instances": {"a": {**TINY, "volumes": {"w": "/srv"}}, "b": {**TINY, "volumes": {"v": "/srv"}}},
    }
    found = changes(document, world(*there))
    assert len(handovers(found.values())) == 2
    assert finishes(order(found.values()))


# -- other kinds ------------------------------------------------------------------------------------
def test_a_network_that_chose_its_address_itself() -> None:
    document = {"networks": {"own0": {"config": {"ipv4.address": "auto", "ipv6.address": "none"}}}}
    mark = {"user.rackstead.plan": OWNER, "user.rackstead.keys": "config:ipv4.address,config:ipv6.address"}
    ref = Ref("network", "own0")
    chosen = Observed(ref, config={"ipv4.address": "10.7.0.1/24", "ipv6.address": "none", **mark}, type="bridge")
    assert changes(document, world(chosen))["network own0"].actions == ()
    off = Observed(ref, config={"ipv4.address": "none", "ipv6.address": "none", **mark}, type="bridge")
    assert changes(document, world(off))["network own0"].actions == ("update",)


def test_a_project_that_shares_the_default_projects_profiles() -> None:
    site = Observed(Ref("project", "site"), config={"features.profiles": "false"})
    found = changes({"project": "site", "profiles": {"web": {}}}, world(site))
    assert list(found) == ["profile web"]
    own = Observed(Ref("project", "site"), config={"features.profiles": "true"})
    assert list(changes({"project": "site", "profiles": {"web": {}}}, world(own))) == ["profile web (project site)"]
