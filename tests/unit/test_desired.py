# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the plan's words to Incus's."""

from __future__ import annotations

from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.instances.desired import bookkeeping, desired_resources
from ansible_collections.rackstead.infra.plugins.module_utils.instances.door import read_plan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Desired, Observed, Ref
from ansible_collections.rackstead.infra.plugins.module_utils.instances.world import World

from tests.unit.plan_worlds import NIC, OWNER, ROOT, world


def wanted(document: dict[str, Any], there: World | None = None, owner: str = OWNER) -> dict[str, Desired]:
    problems = Problems()
    plan = read_plan(document, problems, name="lab")
    assert problems.lines == []
    return {str(one.ref): one for one in desired_resources(plan, there or world(), owner)}


def instance(there: World | None = None, **fields: Any) -> Desired:
    return wanted({"instances": {"a": fields}}, there)["instance a"]


def test_fields_become_configuration_keys() -> None:
    found = instance(
        image="tiny",
        memory="1GiB",
        cpus=2,
        config={"boot.autostart": True},
        metadata={"role": "web"},
        cloud_init={"runcmd": ["true"]},
        vendor_data={"locale": "C.UTF-8"},
        network_config={"version": 2},
    )
    own = {key: value for key, value in found.config.items() if not key.startswith("user.rackstead.")}
    assert own == {
        "limits.memory": "1GiB",
        "limits.cpu": "2",
        "boot.autostart": "true",
        "user.role": "web",
        "cloud-init.user-data": "#cloud-config\nruncmd:\n- 'true'\n",
        "cloud-init.vendor-data": "#cloud-config\nlocale: C.UTF-8\n",
        "cloud-init.network-config": "version: 2\n",
    }
    assert found.config["user.rackstead.plan"] == OWNER
    assert found.config["user.rackstead.image"] == "tiny"
    assert found.config["user.rackstead.keys"] == ",".join(f"config:{key}" for key in sorted(own))


def test_devices_that_fields_make() -> None:
    there = world()
    document = {
        "storage_volumes": {"data": {"pool": "other"}},
        "instances": {
            "a": {
                "image": "tiny",
                "disk": "5GiB",
                "network": {
                    "ipv4": "10.0.0.5",
                    "forwards": [
                        {"listen": 8080, "connect": 80},
                        {"listen": "127.0.0.1:5353", "connect": "10.0.0.5:53", "protocol": "udp"},
                    ],
                },
                "volumes": {"data": "/srv"},
                "devices": {"gpu": {"type": "gpu"}},
            }
        },
    }
    assert wanted(document, there)["instance a"].devices == {
        "root": {**ROOT, "size": "5GiB"},
        "eth0": {**NIC, "ipv4.address": "10.0.0.5"},
        "forward-tcp-8080": {"type": "proxy", "listen": "tcp:0.0.0.0:8080", "connect": "tcp:127.0.0.1:80"},
        "forward-udp-5353": {"type": "proxy", "listen": "udp:127.0.0.1:5353", "connect": "udp:10.0.0.5:53"},
        "data": {"type": "disk", "pool": "other", "source": "data", "path": "/srv"},
        "gpu": {"type": "gpu"},
    }


def test_an_address_by_dhcp_on_the_profiles_bridge_needs_no_device() -> None:
    assert instance(image="tiny", network={"ipv4": "auto"}).devices == {}


def test_the_root_disk_follows_the_plans_own_profile() -> None:
    document = {
        "profiles": {"big": {"devices": {"disk": {"type": "disk", "path": "/", "pool": "other"}}}},
        "instances": {"a": {"image": "tiny", "disk": "5GiB", "profiles": ["default", "big"]}},
    }
    found = wanted(document)["instance a"]
    assert found.devices["root"]["size"] == "5GiB"
    assert found.needs == {Ref("profile", "big")}


def test_where_an_image_comes_from() -> None:
    there = world()
    there.images["default"] |= {"debian/12": "d" * 64}
    local = {"type": "image", "fingerprint": "d" * 64}
    assert instance(there, image="debian/12").create["source"] == local
    assert instance(there, image="debian:12").create["source"] == local
    assert instance(there, image="images:debian/13").create["source"] == {
        "type": "image",
        "mode": "pull",
        "protocol": "simplestreams",
        "server": "https://images.linuxcontainers.org",
        "alias": "debian/13",
    }
    assert instance(there, image="nowhere:x").create["source"] == {}
    assert instance(there).create["source"] == {}


def test_single_modules_leave_no_mark() -> None:
    found = wanted({"instances": {"a": {"image": "tiny", "memory": "1GiB"}}}, owner="")["instance a"]
    assert found.config == {"limits.memory": "1GiB"}


def test_bookkeeping_names_keys_and_devices_and_says_so_where_there_are_none() -> None:
    assert bookkeeping({"b": "1", "a": "2"}, {"d": {}}, "p") == {
        "user.rackstead.plan": "p",
        "user.rackstead.keys": "config:a,config:b,device:d",
    }
    assert bookkeeping({}, {}, "p")["user.rackstead.keys"] == "none"
    assert bookkeeping({"a": "1"}, {}, "") == {}


def test_things_that_a_project_shares_with_the_default_one() -> None:
    shared = {"features.profiles": "false", "features.networks": "false", "features.storage.volumes": "false"}
    document = {
        "project": "site",
        "networks": {"own0": {}},
        "profiles": {"web": {}},
        "storage_volumes": {"v": {}},
        "instances": {"a": {"image": "tiny", "profiles": ["web"], "volumes": {"v": "/srv"}}},
    }
    found = wanted(document, world(Observed(Ref("project", "site"), config=shared)))
    assert set(found) == {"network own0", "profile web", "storage volume v", "instance a (project site)"}
    assert found["instance a (project site)"].needs == {
        Ref("profile", "web"),
        Ref("storage_volume", "v", pool="default"),
    }
    own = wanted(document, world(Observed(Ref("project", "site"), config={"features.networks": "true"})))
    assert set(own) == {
        "network own0 (project site)",
        "profile web (project site)",
        "storage volume v (project site)",
        "instance a (project site)",
    }


def test_an_absent_instance_wants_nothing() -> None:
    found = instance(state="absent", memory="1GiB")
    assert (found.state, found.config, found.devices) == ("absent", {}, {})
