# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of nodes and clusters, without a server: who stands where, and how much is shown."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import Known
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.model import Report

from rackstead.web import fleet


def node(name: str, cluster: str = "", worker: bool = False, address: str = "") -> dict[str, Any]:
    return {"name": name, "cluster": cluster, "worker": worker, "address": address or name}


def cluster(name: str) -> dict[str, Any]:
    return {"name": name, "description": ""}


def test_the_control_plane_comes_first_and_nodes_without_a_cluster_last() -> None:
    nodes = [node("a", "lab", worker=True), node("z", "lab"), node("b", "lab"), node("free")]
    found = fleet.grouped(nodes, [cluster("lab"), cluster("void")], {}, 0.0)
    assert [(one.name, [node.name for node in one.members]) for one in found] == [
        ("lab", ["b", "z", "a"]),
        ("void", []),
        ("", ["free"]),
    ]
    assert fleet.grouped([], [], {}, 0.0) == []


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "No control-plane node"), (1, "1 will not"), (2, "2 will not"), (3, "one control-plane node at a time")],
)
def test_what_a_cluster_survives(count: int, words: str) -> None:
    nodes = [node(f"n{number}", "lab") for number in range(count)]
    others = [node("w", "lab", worker=True), *(node(f"o{number}", "other") for number in range(3))]
    assert words in fleet.survives(nodes + others, "lab")


def test_so_many_are_shown_and_the_others_counted() -> None:
    nodes = [node(f"n{number:03d}", "lab") for number in range(100)] + [node(f"m{number:03d}") for number in range(100)]
    lab, free = fleet.grouped(nodes, [cluster("lab")], {}, 0.0)
    assert (len(lab.members), lab.left_out) == (100, 0)
    assert (len(free.members), free.left_out) == (50, 50)


@pytest.mark.parametrize(
    ("severities", "health", "words"),
    [
        ([], "ok", "no alerts, read 2 min 0 s ago"),
        (["warning"], "interrupted", "1 alert, read"),
        (["warning", "critical"], "failed", "2 alerts, read"),
    ],
)
def test_what_is_said_of_a_node(severities: list[str], health: str, words: str) -> None:
    known = Known(Report(node="a", time=880.0), alerts=[{"severity": one} for one in severities])
    found = fleet.member(node("a", address="192.0.2.1"), known, 1000.0)
    assert (found.health, found.link, found.address) == (health, "/ui/hardware/a", "192.0.2.1")
    assert found.said.startswith(words)
    assert fleet.member(node("a"), None, 1000.0).link == ""
