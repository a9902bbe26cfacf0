# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of instances as hosts: names, variables, groups, filters, and the options' faults."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint
from ansible_collections.rackstead.infra.plugins.module_utils.instances.inventory import (
    Remote,
    Wanted,
    build_hosts,
    check_wanted,
    read_remotes,
    record_of,
)

ALONE = [Remote("", Endpoint(), ("default",))]


def document(name: str = "web1", **changes: Any) -> dict[str, Any]:
    """An instance as Incus tells it."""
    base = {
        "name": name,
        "project": "default",
        "status": "Running",
        "type": "container",
        "architecture": "x86_64",
        "profiles": ["default"],
        "location": "none",
        "description": "",
        "created_at": "2026-01-02T03:04:05Z",
        "config": {"image.os": "Debian", "image.release": "bookworm"},
    }
    return {**base, **changes}


def record(name: str = "web1", remote: str = "", **changes: Any) -> dict[str, Any]:
    return record_of(remote, document(name, **changes))


def hosts(records: list[dict[str, Any]], remotes: list[Remote] = ALONE, **wanted: Any) -> dict[str, Any]:
    return {host.name: host for host in build_hosts(records, remotes, Wanted(**wanted))}


# -- records --------------------------------------------------------------------------------------
def test_a_record_is_plain_and_holds_no_secret() -> None:
    config = {"user.role": "web", "user.db_password": "hunter2-hunter2", "user.rackstead.plan": "demo"}
    found = record(config=config)
    assert json.loads(json.dumps(found)) == found
    assert found["metadata"] == {"role": "web", "db_password": "********"}
    assert found["plan"] == "demo"
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("config", "image"),
    [
        ({"user.rackstead.image": "debian/12", "image.os": "Debian", "image.release": "bookworm"}, "debian/12"),
        ({"image.os": "Debian", "image.release": "bookworm"}, "debian/bookworm"),
        ({"image.description": "made by hand"}, "made by hand"),
        ({}, ""),
    ],
)
def test_the_image_is_the_plans_else_its_own_word(config: dict[str, str], image: str) -> None:
    assert record(config=config)["image"] == image


def test_addresses_come_from_the_state_without_loopback_and_link_local() -> None:
    def address(family: str, scope: str, value: str) -> dict[str, str]:
        return {"family": family, "scope": scope, "address": value}

    state = {
        "network": {
            "lo": {"addresses": [address("inet", "global", "127.0.0.1")]},
            "eth0": {"addresses": [address("inet", "global", "10.0.0.5"), address("inet6", "link", "fe80::1")]},
            "eth1": {"addresses": [address("inet6", "global", "fd00::5")]},
        }
    }
    found = record(state=state)
    assert (found["ipv4"], found["ipv6"]) == (["10.0.0.5"], ["fd00::5"])
    assert record(state={"network": None})["ipv4"] == []


# -- names ----------------------------------------------------------------------------------------
def test_one_project_gives_plain_names() -> None:
    assert list(hosts([record("b"), record("a")])) == ["a", "b"]


def test_a_name_depends_on_the_options_not_on_other_instances() -> None:
    many = [Remote("", Endpoint(), ("default", "web"))]
    everything = [Remote("", Endpoint(), ("*",))]
    assert list(hosts([record("a")], many)) == list(hosts([record("a")], everything)) == ["a.default"]
    assert list(hosts([record("a")], full_names=True)) == ["a.default"]


def test_names_are_unique_across_projects_and_remotes() -> None:
    remotes = [Remote("here", Endpoint(), ("default", "web")), Remote("there", Endpoint("https://x"), ("web",))]
    records = [record("a", "here"), record("a", "here", project="web"), record("a", "there", project="web")]
    assert list(hosts(records, remotes)) == ["a.default.here", "a.web.here", "a.web.there"]
    assert list(
        hosts(records[:1], [Remote("here", Endpoint(), ("default",)), remotes[1]._replace(projects=("web",))])
    ) == ["a.here"]


# -- variables ------------------------------------------------------------------------------------
def test_variables_lead_into_the_instance() -> None:
    remote = Remote("", Endpoint("https://incus:8443", cert_file="/c", key_file="/k", fingerprint="f"), ("web",))
    variables = hosts([record("a", project="web")], [remote])["a"].variables
    expected = {
        "ansible_connection": "rackstead.infra.instance",
        "ansible_host": "a",
        "ansible_rackstead_project": "web",
        "ansible_rackstead_url": "https://incus:8443",
        "ansible_rackstead_client_cert": "/c",
        "ansible_rackstead_client_key": "/k",
        "ansible_rackstead_server_fingerprint": "f",
    }
    assert expected.items() <= variables.items()
    assert "ansible_rackstead_ca_cert" not in variables


def test_without_our_connection_the_first_address_is_the_host() -> None:
    with_address = {**record("a"), "ipv4": [], "ipv6": ["fd00::5"]}
    assert hosts([with_address], connection=False)["a"].variables["ansible_host"] == "fd00::5"
    variables = hosts([record("a")], connection=False)["a"].variables
    assert not [name for name in variables if name.startswith("ansible_")]


# -- groups ---------------------------------------------------------------------------------------
def test_groups_come_from_what_an_instance_is() -> None:
    config = {"user.role": "web", "user.status": "shiny", "user.rackstead.plan": "demo", "image.description": "tiny"}
    groups = hosts([record(config=config, location="m1", profiles=["default", "big"])])["web1"].groups
    assert set(groups) == {
        ("status", "running"),
        ("type", "container"),
        ("image", "tiny"),
        ("profile", "default"),
        ("profile", "big"),
        ("plan", "demo"),
        ("location", "m1"),
        ("project", "default"),
        ("role", "web"),
        ("metadata_status", "shiny"),
    }


def test_documents_and_empty_labels_make_no_group() -> None:
    config = {"user.user-data": "x", "user.note": "two\nlines", "user.long": "x" * 65, "user.empty": ""}
    groups = hosts([record(config=config)], group_by=["metadata"])["web1"].groups
    assert groups == ()


# -- filters --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ({}, ["a", "b"]),
        ({"name": "a"}, ["a"]),
        ({"name": "?"}, ["a", "b"]),
        ({"status": ["running", "frozen"]}, ["a"]),
        ({"profile": "big*"}, ["b"]),
        ({"metadata": {"role": ["web", "proxy"]}}, ["a"]),
        ({"metadata": {"role": "*"}}, ["a"]),
        ({"name": "a", "status": "stopped"}, []),
    ],
)
def test_filters_all_have_to_be_met(filters: dict[str, Any], passing: list[str]) -> None:
    records = [
        record("a", config={"user.role": "web"}),
        record("b", status="Stopped", profiles=["default", "bigger"]),
    ]
    assert list(hosts(records, filters=filters)) == passing


def test_unknown_filters_and_groups_are_all_named() -> None:
    with pytest.raises(InvalidInput) as raised:
        check_wanted(Wanted(filters={"statu": "running", "metadata": "web"}, group_by=["profil"]))
    assert raised.value.problems == [
        'filters: unknown key "statu"; did you mean "status"?',
        "filters.metadata: 'web' is not a mapping; allowed: labels and their values, {role: web}",
        'group_by: unknown key "profil"; did you mean "profile"?',
    ]


# -- remotes --------------------------------------------------------------------------------------
def test_one_daemon_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    single = {"url": "https://x", "client_cert": "~/c.crt", "client_key": None}
    found = read_remotes([], single, ["default"])
    assert found == [Remote("", Endpoint("https://x", cert_file="/home/me/c.crt"), ("default",))]


def test_remotes_take_the_general_projects_unless_they_have_their_own() -> None:
    found = read_remotes([{"name": "a"}, {"name": "b", "projects": ["web"]}], {}, ["default"])
    assert [remote.projects for remote in found] == [("default",), ("web",)]


def test_every_fault_of_the_remotes_is_told() -> None:
    given = [{"name": "a", "ulr": "x"}, {"name": "a", "projects": "web"}, "paris", {"url": "https://x"}]
    with pytest.raises(InvalidInput) as raised:
        read_remotes(given, {}, ["default"])
    assert raised.value.problems == [
        'remotes[0]: unknown key "ulr"; did you mean "url"?',
        "remotes[1].projects: 'web' is not a list of names; allowed: [web, db], or [\"*\"] for all",
        "remotes[2]: 'paris' is not a remote; allowed: a mapping with name and url",
        "remotes[3].name: is missing",
        'remotes: two are called "a"',
    ]
