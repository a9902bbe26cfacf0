# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Worlds and plans made of values, for tests of the pure parts: no daemon is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.instances.desired import desired_resources
from ansible_collections.rackstead.infra.plugins.module_utils.instances.door import read_plan
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import Server
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Change, Observed, Ref
from ansible_collections.rackstead.infra.plugins.module_utils.instances.reconcile import Policy, compute
from ansible_collections.rackstead.infra.plugins.module_utils.instances.world import World

ROOT = {"type": "disk", "path": "/", "pool": "default"}
NIC = {"type": "nic", "name": "eth0", "network": "br0"}
DEFAULT_PROFILE = {"root": ROOT, "eth0": NIC}
OWNER = "lab"


def server(*, vm_support: bool = False, clustered: bool = False) -> Server:
    return Server(
        version="6.0.4",
        name="here",
        clustered=clustered,
        driver="lxc | qemu" if vm_support else "lxc",
        storage="dir",
        firewall="nftables",
        architectures=("x86_64",),
        addresses=(),
        fingerprint="",
        trusted=True,
        extensions=frozenset(),
        vm_support=vm_support,
    )


def world(*resources: Observed, members: tuple[str, ...] = (), vm_support: bool = False) -> World:
    """A daemon with a project, a bridge 10.0.0.1/24, a default profile, a pool and the image ``tiny``."""
    there = [
        Observed(Ref("project", "default"), config={"features.images": "true"}),
        Observed(Ref("profile", "default"), devices=DEFAULT_PROFILE),
        Observed(Ref("network", "br0"), config={"ipv4.address": "10.0.0.1/24"}, type="bridge"),
        *resources,
    ]
    return World(
        server(vm_support=vm_support, clustered=bool(members)),
        {one.ref: one for one in there},
        {"default": {"tiny": "f" * 64}},
        ("default", "other"),
        members,
        {one.ref.name: one.config for one in there if one.ref.kind == "project"},
    )


def instance(name: str, *, owner: str = OWNER, keys: str = "none", **fields: Any) -> Observed:
    """An instance as a daemon shows it, made by plan ``owner`` (by nobody's, if empty)."""
    marks = {"user.rackstead.plan": owner, "user.rackstead.keys": keys} if owner else {}
    config = {**fields.pop("config", {}), **marks}
    known = {"status": "Running", "type": "container", "profiles": ("default",), **fields}
    return Observed(Ref("instance", name), config=config, **known)


def door(document: Any, **options: str) -> list[str]:
    """The door's complaints about a document."""
    problems = Problems()
    try:
        read_plan(document, problems, **options)
    except InvalidInput as error:
        return error.problems
    return problems.lines


def changes(document: Mapping[str, Any], there: World, *, owner: str = OWNER, **policy: Any) -> dict[str, Change]:
    """The computed changes by their resource's name in words. Raises InvalidInput with all problems."""
    problems = Problems()
    plan = read_plan(document, problems, name=owner)
    found = compute(desired_resources(plan, there, owner), there, Policy(owner, **policy), problems)
    problems.raise_if_any()
    return {str(change.ref): change for change in found}


def refused(document: Mapping[str, Any], there: World, **policy: Any) -> list[str]:
    """The lines with which a plan is refused; none if it is not."""
    try:
        changes(document, there, **policy)
    except InvalidInput as error:
        return error.problems
    return []
