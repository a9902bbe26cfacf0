# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role provider decides by: package sources, firewalls, and what a daemon is given."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.filter.apt_backports import apt_backports
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import Conflict
from ansible_collections.rackstead.infra.plugins.module_utils.instances import aptsources, machine
from ansible_collections.rackstead.infra.plugins.module_utils.instances.firewall import Seen, findings
from ansible_collections.rackstead.infra.plugins.module_utils.instances.initialise import (
    Bridge,
    Change,
    Desired,
    Health,
    Observed,
    Pool,
    canonical_address,
    decide,
    free_subnet,
)
from hypothesis import given
from hypothesis import strategies as st

# -- package sources ------------------------------------------------------------------------------
ONE_LINE = """\
# deb http://off.example.com/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/own.gpg] http://user:secret@mirror.example.com/debian bookworm main contrib
deb-src http://mirror.example.com/debian bookworm main
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb [trusted=yes] http://mirror.example.com/debian-security bookworm-security main # security
"""
DEB822 = """\
# comment
Types: deb deb-src
URIs: http://one.example.com/debian http://two.example.com/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
Enabled: no
URIs: http://off.example.com/debian
Suites: bookworm-backports
Components: main

Types: deb-src
URIs: http://source.example.com/debian
Suites: bookworm
Components: main
"""


def test_one_line_sources() -> None:
    found = aptsources.parse({"/etc/apt/sources.list": ONE_LINE})
    assert [(one.uri, one.suite, one.components, one.signed_by, one.trusted) for one in found] == [
        (
            "http://user:secret@mirror.example.com/debian",
            "bookworm",
            ("main", "contrib"),
            "/usr/share/keyrings/own.gpg",
            False,
        ),
        ("http://mirror.example.com/debian-security", "bookworm-security", ("main",), "", True),
    ]


def test_deb822_sources() -> None:
    found = aptsources.parse({"/etc/apt/sources.list.d/debian.sources": DEB822})
    assert [(one.uri, one.suite) for one in found] == [
        ("http://one.example.com/debian", "bookworm"),
        ("http://one.example.com/debian", "bookworm-updates"),
        ("http://two.example.com/debian", "bookworm"),
        ("http://two.example.com/debian", "bookworm-updates"),
    ]
    assert found[0].signed_by.startswith("-----BEGIN PGP") and "\n.\n" in found[0].signed_by


def test_backports_stand_on_the_mirror_in_use_and_are_signed_alike() -> None:
    found = apt_backports({"/etc/apt/sources.list": ONE_LINE}, "bookworm")
    assert found == {
        "configured": False,
        "stanza": "Types: deb\nURIs: http://user:secret@mirror.example.com/debian\nSuites: bookworm-backports\n"
        "Components: main\nSigned-By: /usr/share/keyrings/own.gpg\n",
    }


def test_a_backports_stanza_reads_back_as_it_was_meant() -> None:
    stanza = apt_backports({"/x.sources": DEB822}, "bookworm")["stanza"]
    (again,) = aptsources.parse_deb822(stanza)
    assert (again.uri, again.suite) == ("http://one.example.com/debian", "bookworm-backports")
    assert again.signed_by == aptsources.parse_deb822(DEB822)[0].signed_by
    assert apt_backports({"/x.sources": DEB822, "/y.sources": stanza}, "bookworm")["configured"]


@pytest.mark.parametrize(("suite", "stands"), [("stable", True), ("oldstable", True), ("trixie", False)])
def test_a_moving_name_stands_for_the_release(suite: str, stands: bool) -> None:
    stanza = apt_backports({"/etc/apt/sources.list": f"deb http://m.example.com/debian {suite} main"}, "bookworm")[
        "stanza"
    ]
    assert ("Suites: bookworm-backports" in stanza) is stands


def test_passwords_are_taken_out_of_addresses() -> None:
    assert aptsources.strip_credentials("https://user:p%40ss@host:8080/debian") == "https://host:8080/debian"
    assert aptsources.strip_credentials("file:/srv/mirror") == "file:/srv/mirror"


@given(st.text(), st.booleans())
def test_reading_sources_never_fails(text: str, deb822: bool) -> None:
    aptsources.parse({"x.sources" if deb822 else "x.list": text})


# -- firewalls ------------------------------------------------------------------------------------
#: iptables -S on a machine with Docker 28.
DOCKER = """\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-BRIDGE
-N DOCKER-CT
-N DOCKER-FORWARD
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-ISOLATION-STAGE-2
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
"""
UFW = "-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N ufw-user-forward\n-N ufw-user-input\n"


def chains(*entries: tuple[str, str, str, str]) -> str:
    made = [
        {"chain": {"family": family, "table": table, "name": name, "hook": "forward", "policy": policy}}
        for family, table, name, policy in entries
    ]
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *made]})


def test_a_quiet_machine_has_no_findings() -> None:
    assert findings(Seen(), "incusbr0") == []
    open_chains = chains(("ip", "filter", "FORWARD", "accept"), ("inet", "incus", "fwd.incusbr0", "accept"))
    assert findings(Seen(iptables="-P FORWARD ACCEPT\n", chains=open_chains), "incusbr0") == []


def test_docker_is_told_apart_and_its_rules_are_named() -> None:
    (found,) = findings(Seen(iptables=DOCKER, chains=chains(("ip", "filter", "FORWARD", "drop"))), "incusbr0")
    assert found.neighbour == "docker"
    assert "instances on incusbr0 reach no other network" in found.problem and "each other" not in found.problem
    assert found.commands == (
        "iptables -I DOCKER-USER -i incusbr0 -j ACCEPT",
        "iptables -I DOCKER-USER -o incusbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    )
    (bridged,) = findings(Seen(iptables=DOCKER, bridged=True), "incusbr0")
    assert "nor each other (bridge-nf-call-iptables is on)" in bridged.problem


def test_rules_that_are_there_are_not_asked_for_again() -> None:
    (found,) = findings(Seen(iptables=DOCKER), "incusbr0")
    mended = DOCKER + "".join(command.replace("iptables -I", "-A") + "\n" for command in found.commands[:1])
    (half,) = findings(Seen(iptables=mended), "incusbr0")
    assert half.commands == found.commands[1:]
    mended += found.commands[1].replace("iptables -I", "-A") + "\n"
    assert findings(Seen(iptables=mended), "incusbr0") == []
    assert findings(Seen(iptables=mended), "br1") != []


def test_ipv6_has_its_own_rules() -> None:
    (found,) = findings(Seen(ip6tables=DOCKER), "incusbr0")
    assert found.commands[0].startswith("ip6tables -I DOCKER-USER")


def test_other_firewalls_are_told_apart() -> None:
    (ufw,) = findings(Seen(iptables=UFW), "br1")
    assert ufw.commands == ("ufw allow in on br1", "ufw route allow in on br1", "ufw route allow out on br1")
    (plain,) = findings(Seen(iptables="-P FORWARD DROP\n"), "br1")
    assert plain.commands[0] == "iptables -I FORWARD -i br1 -j ACCEPT"
    (zone,) = findings(Seen(firewalld_zone="public"), "br1")
    assert zone.commands[0] == "firewall-cmd --permanent --zone=trusted --change-interface=br1"
    (own,) = findings(Seen(chains=chains(("inet", "mine", "fwd", "drop"), ("netdev", "x", "y", "drop"))), "br1")
    assert own.commands[0] == "nft insert rule inet mine fwd iifname br1 accept"


# -- what a daemon is given -----------------------------------------------------------------------
POOL = {"name": "default", "driver": "dir", "config": {"source": "/pool"}}
NETWORK = {"name": "incusbr0", "managed": True, "config": {"ipv4.address": "10.1.0.1/24", "ipv4.nat": "true"}}
DEVICES = {
    "root": {"type": "disk", "path": "/", "pool": "default"},
    "eth0": {"type": "nic", "name": "eth0", "network": "incusbr0"},
}


def whats(change: Change) -> list[str]:
    return [step.what for step in change.steps]


def settled(**changes: Any) -> Observed:
    return Observed(**{"pool": POOL, "network": NETWORK, "profile": {"devices": DEVICES}, **changes})


def test_a_fresh_daemon_is_given_all() -> None:
    change = decide(Observed(), Desired(https_address="127.0.0.1"))
    assert whats(change) == [
        "let the API listen on 127.0.0.1:8443",
        "create pool default (dir)",
        "create bridge incusbr0 (IPv4 auto)",
        "give profile default the devices eth0 and root",
    ]
    assert change.after["profile"] == DEVICES
    assert change.before == {"https_address": "", "pool": None, "bridge": None, "profile": {}}


def test_a_daemon_that_has_all_is_left_alone() -> None:
    change = decide(settled(), Desired())
    assert (change.changed, change.kept, change.before) == (False, [], change.after)


def test_what_differs_is_kept_and_said() -> None:
    desired = Desired(Pool(driver="zfs"), Bridge(ipv4="10.2.0.1/24", nat=False), "[::]:8443")
    change = decide(settled(config={"core.https_address": "127.0.0.1:8443"}), desired)
    assert not change.changed
    assert change.kept == [
        "the API listens on 127.0.0.1:8443, not on [::]:8443",
        "pool default has the driver dir, not zfs",
        "bridge incusbr0 has ipv4.address 10.1.0.1/24, not 10.2.0.1/24, ipv4.nat true, not false",
    ]


def test_what_differs_is_changed_if_told() -> None:
    desired = Desired(bridge=Bridge(ipv4="10.2.0.1/24"), https_address="[::]:8443", reconfigure=True)
    change = decide(settled(), desired)
    assert whats(change) == ["let the API listen on [::]:8443", "set ipv4.address of bridge incusbr0"]
    assert change.after["bridge"]["config"] == {"ipv4.address": "10.2.0.1/24", "ipv4.nat": "true"}
    with pytest.raises(Conflict, match="driver dir, not zfs"):
        decide(settled(), Desired(Pool(driver="zfs"), reconfigure=True))


def test_a_profile_that_names_another_pool_and_network_keeps_them() -> None:
    """Nothing is made that nobody would use."""
    devices = {
        "disk": {"type": "disk", "path": "/", "pool": "tank"},
        "lan": {"type": "nic", "nictype": "bridged", "parent": "br0"},
    }
    change = decide(Observed(profile={"devices": devices}), Desired())
    assert not change.changed
    assert change.kept == [
        "profile default keeps its device disk (pool tank)",
        "profile default keeps its device lan (parent br0)",
    ]


def test_an_interface_of_the_machine_is_used_as_it_is() -> None:
    own = {"name": "br0", "managed": False, "config": {}}
    change = decide(Observed(pool=POOL, network=own), Desired(bridge=Bridge("br0", ipv4="10.2.0.1/24")))
    assert whats(change) == ["give profile default the devices eth0 and root"]
    assert change.after["profile"]["eth0"] == {"type": "nic", "name": "eth0", "nictype": "bridged", "parent": "br0"}


def test_a_device_of_the_same_name_is_not_overwritten() -> None:
    devices = {"root": {"type": "disk", "path": "/srv", "source": "/srv"}, "eth0": DEVICES["eth0"]}
    change = decide(settled(profile={"devices": devices}), Desired())
    assert change.after["profile"] == {**devices, "root-2": DEVICES["root"]}


def test_a_cluster_is_given_no_pool_and_no_bridge() -> None:
    change = decide(Observed(clustered=True, profile={"devices": {}}), Desired())
    assert whats(change) == ["give profile default the devices eth0 and root"]
    assert len(change.kept) == 2 and "on every member first" in change.kept[0]


@pytest.mark.parametrize(
    ("given_address", "stored"),
    [
        ("", ""),
        (":8443", ":8443"),
        ("10.0.0.1", "10.0.0.1:8443"),
        ("10.0.0.1:9443", "10.0.0.1:9443"),
        ("[::]:8443", "[::]:8443"),
        ("::1", "[::1]:8443"),
    ],
)
def test_addresses_of_the_api(given_address: str, stored: str) -> None:
    assert canonical_address(given_address) == stored


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=20))
def test_a_free_subnet_overlaps_no_route(routes: list[tuple[int, int]]) -> None:
    def hexed(*octets: int) -> str:
        return "".join(f"{octet:02X}" for octet in reversed(octets))

    header = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    default = "eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    lines = [f"eth0\t{hexed(10, a, b, 0)}\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" for a, b in routes]
    found = ipaddress.ip_interface(free_subnet(header + default + "".join(lines)))
    assert found.network.prefixlen == 24 and found.ip == found.network[1]
    assert not any(found.network.overlaps(ipaddress.ip_network(f"10.{a}.{b}.0/24")) for a, b in routes)


def test_health_is_one_line() -> None:
    well = Health("6.0.4", "lxc", "default", "dir", 84_000_000_000, "incusbr0", "10.1.0.1/24", 3, 2, 1)
    assert well.line() == (
        "Incus 6.0.4 (lxc) is ready: pool default (dir, 78.2 GiB free), bridge incusbr0 (10.1.0.1/24), 1 image, "
        "2 of 3 instances running"
    )
    ill = Health("6.0.4", "lxc", missing=("there is no pool default", "the interface incusbr0 does not exist"))
    assert ill.line() == ("Incus 6.0.4 is not ready: there is no pool default; the interface incusbr0 does not exist")


# -- the machine ----------------------------------------------------------------------------------
def test_a_pid_file_counts_only_while_its_process_is_the_supervisor(tmp_path: Any) -> None:
    file = tmp_path / "runsvdir.pid"
    assert not machine.supervisor_runs(str(file))
    file.write_text("1\n")  # somebody else's
    assert not machine.supervisor_runs(str(file))
    file.write_text("not a number")
    assert not machine.supervisor_runs(str(file))


def test_roots_ranges_are_told_from_others(tmp_path: Any) -> None:
    file = tmp_path / "subuid"
    assert machine.root_ranges(str(file)) == []
    file.write_text("op:100000:65536\nroot:1000000:1000000000\nrooter:5:5\n0:165536:65536\n")
    assert machine.root_ranges(str(file)) == ["root:1000000:1000000000", "0:165536:65536"]
