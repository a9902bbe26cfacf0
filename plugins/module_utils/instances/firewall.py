# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds firewall rules of others that cut the instances' bridge off, and says what mends it.

A packet must pass every base chain of the forward hook. Incus accepts its bridge's packets in a
table of its own, so a policy of DROP in anybody else's chain still wins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """What the machine's own commands printed; empty where a command is missing or failed.

    ``iptables`` and ``ip6tables``: ``iptables -S``. ``chains``: ``nft -j list chains``.
    ``firewalld_zone``: the bridge's zone, or empty where firewalld does not run.
    ``bridged``: whether bridged packets pass iptables too (bridge-nf-call-iptables).
    """

    iptables: str = ""
    ip6tables: str = ""
    chains: str = ""
    firewalld_zone: str = ""
    bridged: bool = False


@dataclass(frozen=True)
class Finding:
    """One neighbour in the way: who, one sentence, and the commands that mend it."""

    neighbour: str
    problem: str
    commands: tuple[str, ...]


def findings(seen: Seen, bridge: str) -> list[Finding]:
    """Every neighbour whose rules drop what goes through ``bridge``."""
    found = [_iptables(seen, bridge, "iptables"), _iptables(seen, bridge, "ip6tables"), _firewalld(seen, bridge)]
    return [finding for finding in found if finding] + _foreign_chains(seen, bridge)


def docker_rules(bridge: str) -> list[list[str]]:
    """The rules in DOCKER-USER that let ``bridge`` through, as iptables arguments after the chain."""
    return [
        ["-i", bridge, "-j", "ACCEPT"],
        ["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"],
    ]


def _iptables(seen: Seen, bridge: str, command: str) -> Finding | None:
    rules = (seen.iptables if command == "iptables" else seen.ip6tables).splitlines()
    if "-P FORWARD DROP" not in rules:
        return None
    if "-N DOCKER-USER" in rules:
        return _docker(rules, bridge, command, seen.bridged)
    if "-N ufw-user-forward" in rules:
        return _ufw(rules, bridge) if command == "iptables" else None
    return _plain(rules, bridge, command)


def _docker(rules: list[str], bridge: str, command: str, bridged: bool) -> Finding | None:
    wanted = docker_rules(bridge)
    missing = [rule for rule in wanted if f"-A DOCKER-USER {' '.join(rule)}" not in rules]
    if not missing:
        return None
    inside = ", nor each other (bridge-nf-call-iptables is on)" if bridged else ""
    return Finding(
        "docker",
        f"Docker sets the FORWARD policy of {command} to DROP: instances on {bridge} reach no other network{inside}",
        tuple(f"{command} -I DOCKER-USER {' '.join(rule)}" for rule in missing),
    )


def _ufw(rules: list[str], bridge: str) -> Finding | None:
    wanted = {
        f"-A ufw-user-input -i {bridge} -j ACCEPT": f"ufw allow in on {bridge}",
        f"-A ufw-user-forward -i {bridge} -j ACCEPT": f"ufw route allow in on {bridge}",
        f"-A ufw-user-forward -o {bridge} -j ACCEPT": f"ufw route allow out on {bridge}",
    }
    missing = tuple(command for rule, command in wanted.items() if rule not in rules)
    if not missing:
        return None
    return Finding(
        "ufw", f"ufw drops what it is not told of: instances on {bridge} get no address or no way out", missing
    )


def _plain(rules: list[str], bridge: str, command: str) -> Finding | None:
    wanted = [["-i", bridge, "-j", "ACCEPT"], ["-o", bridge, "-j", "ACCEPT"]]
    missing = [rule for rule in wanted if f"-A FORWARD {' '.join(rule)}" not in rules]
    if not missing:
        return None
    return Finding(
        "iptables",
        f"the FORWARD policy of {command} is DROP: instances on {bridge} reach no other network",
        tuple(f"{command} -I FORWARD {' '.join(rule)}" for rule in missing),
    )


def _firewalld(seen: Seen, bridge: str) -> Finding | None:
    if seen.firewalld_zone in ("", "trusted"):
        return None
    return Finding(
        "firewalld",
        f"firewalld keeps {bridge} in the zone {seen.firewalld_zone}: instances get no address or no way out",
        (f"firewall-cmd --permanent --zone=trusted --change-interface={bridge}", "firewall-cmd --reload"),
    )


def _foreign_chains(seen: Seen, bridge: str) -> list[Finding]:
    """Forward chains of nftables with policy drop, but those the checks above speak for."""
    spoken_for = {("ip", "filter"), ("ip6", "filter"), ("inet", "firewalld"), ("inet", "incus")}
    if not seen.chains:
        return []
    found = []
    for entry in json.loads(seen.chains).get("nftables", []):
        chain = entry.get("chain", {})
        if chain.get("hook") != "forward" or chain.get("policy") != "drop":
            continue
        family, table, name = chain["family"], chain["table"], chain["name"]
        if (family, table) not in spoken_for and family in ("ip", "ip6", "inet"):
            found.append(_foreign(f"{family} {table} {name}", bridge))
    return found


def _foreign(chain: str, bridge: str) -> Finding:
    return Finding(
        "nftables",
        f"the nftables chain {chain} drops what it does not name: let {bridge} through there if its rules do not yet",
        (
            f"nft insert rule {chain} iifname {bridge} accept",
            f"nft insert rule {chain} oifname {bridge} ct state related,established accept",
        ),
    )
