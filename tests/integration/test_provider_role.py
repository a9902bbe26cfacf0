# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role provider on real machines: bare ones made for the test, with runit, and one with systemd over SSH."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from testbed import daemon as testbed
from testbed import debian, tiny
from testbed.ansible import LOCAL, Playbooks, PlayResult, TaskResult
from testbed.machine import CHECKOUT, BareMachine, bare_machine

pytestmark = pytest.mark.timeout(1200)

ROLE = "rackstead.infra.provider"
NO_IMAGES: dict[str, Any] = {"provider_images": []}
#: What Ansible itself writes on a machine that it works on.
ANSIBLES_OWN = ("/root/.ansible", "/tmp", "/var/tmp", "/run")


class OnMachine(Playbooks):
    """Runs ansible-playbook on a bare machine; its folder is shared with the machine."""

    def __init__(self, folder: Path, machine: BareMachine) -> None:
        super().__init__(folder, {"HOME": "/root"})
        self.machine = machine
        self.first: PlayResult | None = None

    def run(
        self, argv: Sequence[str], here: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 240
    ) -> PlayResult:
        return super().run([*self.machine.prefix(), *argv], here, env, timeout)

    def init(
        self, check: bool = False, diff: bool = False, facts: Mapping[str, Any] | None = None, **variables: Any
    ) -> PlayResult:
        """Run the role with these variables, and facts of another machine where some are given."""
        role = {"name": "Role", "ansible.builtin.include_role": {"name": ROLE}}
        pretend = {"name": "Pretend", "ansible.builtin.set_fact": {**(facts or {}), "cacheable": True}}
        gather = {"name": "Gather", "ansible.builtin.setup": {"gather_subset": ["!all", "min"]}}
        tasks = [gather, pretend, role] if facts else [role]
        return self(tasks, check=check, diff=diff, variables={**NO_IMAGES, **variables}, timeout=1000)


def said(result: PlayResult) -> str:
    """Everything that tasks told the user."""
    return "\n".join(str(found.result.get("msg", "")) for found in result.results) + json.dumps(
        [item.get("msg", "") for found in result.results for item in found.result.get("results", [])]
    )


def step(result: PlayResult, task: str) -> TaskResult:
    """The result of a task of the role."""
    return result.of(f"{ROLE} : {task}")


def changes(result: PlayResult) -> list[str]:
    """The role's tasks that changed something."""
    return [found.task.removeprefix(f"{ROLE} : ") for found in result.results if found.changed]


def failure(result: PlayResult) -> str:
    assert result.rc != 0
    return [found.msg for found in result.results if found.status == "failed"][-1]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    debian.CACHE.mkdir(parents=True, exist_ok=True)
    return tmp_path_factory.mktemp("machines")


@pytest.fixture(scope="module")
def bare(daemon: testbed.Daemon, shared: Path) -> Iterator[OnMachine]:
    """A machine that stays bare."""
    with bare_machine(daemon, "a", shared) as machine:
        on = OnMachine(shared / "bare", machine)
        on([{"name": "Let Ansible make its own folders", "ansible.builtin.ping": {}}]).ok()
        yield on


@pytest.fixture(scope="module")
def machine(daemon: testbed.Daemon, shared: Path) -> Iterator[OnMachine]:
    """A machine that the role has initialised, with the image ``tiny`` to hand."""
    with bare_machine(daemon, "b", shared, debian.CACHE) as machine:
        on = OnMachine(shared / "initialised", machine)
        with_image = {"provider_images": [{"alias": "debian/12"}], "provider_image_cache": str(debian.CACHE)}
        on.first = on.init(**with_image).ok()
        image = tiny.build(shared / "tiny.tar.gz")
        machine.ok("incus", "image", "import", str(image), "--alias", "tiny", "-q")
        yield on


def pids(machine: BareMachine, *names: str) -> dict[str, str]:
    return {name: machine.ok("pgrep", "-x", "-o", name).strip() for name in names}


#: What a browser on the machine would ask for.
FETCH = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:8080', timeout=10).read().decode())"
SERVICES = ("runsvdir", "incusd", "lxcfs")
FIRST_RUN = "/var/lib/rackstead/provider/services/incusd/run"


def test_check_mode_on_a_bare_machine_says_all_and_changes_nothing(bare: OnMachine) -> None:
    before = bare.machine.written(*ANSIBLES_OWN)
    result = bare.init(check=True, diff=True, provider_images=[{"alias": "debian/12"}]).ok()
    assert bare.machine.written(*ANSIBLES_OWN) == before
    assert result.changed
    for words in ("Would install: ", "incus-base", "Would start incusd", "Would have the image debian/12"):
        assert words in said(result)
    planned = step(result, "Give the daemon a pool, a bridge and a default profile")
    assert planned["actions"][:2] == ["create pool default (dir)", "create bridge incusbr0 (IPv4 auto)"]


@pytest.mark.parametrize(
    ("facts", "variables", "sentence"),
    [
        (
            {
                "ansible_distribution": "Fedora",
                "ansible_distribution_version": "43",
                "ansible_distribution_major_version": "43",
            },
            {},
            "Fedora 43 has no Incus among its packages; supported are Debian 12 and 13, and Ubuntu 24.04 and later.",
        ),
        ({"ansible_architecture": "riscv64"}, {}, "is riscv64; supported are x86_64 and aarch64"),
        ({}, {"provider_install": False}, "These packages are missing, and provider_install is false: "),
        ({}, {"provider_admin_users": ["nobody-here"]}, "provider_admin_users: there is no user nobody-here"),
        (
            {},
            {"provider_pool_driver": "zfz"},
            "value of provider_pool_driver must be one of: dir, btrfs, zfs, lvm, got: zfz",
        ),
        ({}, {"provider_backports_uri": "http://127.0.0.1:9/debian"}, "Could not connect to 127.0.0.1:9"),
    ],
)
def test_what_stands_in_the_way_is_one_sentence(
    bare: OnMachine, facts: dict[str, Any], variables: dict[str, Any], sentence: str
) -> None:
    before = bare.machine.written(*ANSIBLES_OWN)
    result = bare.init(facts=facts, **variables)
    assert sentence in failure(result)
    changed = {path for path, what in bare.machine.written(*ANSIBLES_OWN).items() if before.get(path) != what}
    # apt keeps its own books even when it fails.
    assert {
        path for path in changed if not path.startswith(("/var/lib/apt", "/var/cache/apt", "/etc/apt/sources.list.d"))
    } == set()
    assert not bare.machine.ok("find", "/etc/apt", "-name", "*backports*")


def test_a_bare_machine_becomes_a_provider(machine: OnMachine) -> None:
    result = machine.first
    assert result is not None
    # The tests reach no image server.
    assert "is out of reach" in said(result) and "debian/12" in said(result)
    assert "debian/12" in machine.machine.ok("incus", "image", "alias", "list", "-f", "csv")
    assert step(result, "Health").msg.startswith("Incus 6.")
    assert "is ready: pool default (dir, " in step(result, "Health").msg
    machine.machine.ok("incus", "launch", "tiny", "first", "-q")
    address = wait_until(lambda: address_of(machine.machine, "first"), Deadline(30), what="an address")
    assert machine.machine.run("ping", "-c1", address).returncode in (0, 127)  # there may be no ping
    assert inside(machine.machine, "first", "cat", "/proc/uptime")
    mounts = inside(machine.machine, "first", "cat", "/proc/mounts")
    assert "lxcfs /proc/uptime fuse.lxcfs" in mounts
    machine.machine.ok("incus", "delete", "-f", "first")


def address_of(machine: BareMachine, name: str) -> str | None:
    return machine.ok("incus", "list", name, "-f", "csv", "-c", "4").partition(" ")[0].strip() or None


def inside(machine: BareMachine, name: str, *argv: str) -> str:
    """What a command says that always says something: ``incus exec`` of 6.0.4 loses it now and then, under load."""
    return wait_until(
        lambda: machine.ok("incus", "exec", name, "--", *argv) or None, Deadline(60), what=f"an answer of {argv[0]}"
    )


def test_a_second_run_changes_and_restarts_nothing(machine: OnMachine) -> None:
    before = pids(machine.machine, *SERVICES)
    result = machine.init().ok()
    assert not result.changed, changes(result)
    assert pids(machine.machine, *SERVICES) == before


def test_what_crashes_is_started_again(machine: OnMachine) -> None:
    on = machine.machine
    on.ok("incus", "launch", "tiny", "survivor", "-q")
    init = inside(on, "survivor", "stat", "-c", "%Y", "/proc/1")
    before = pids(on, *SERVICES)
    on.ok("kill", f"-{signal.SIGKILL.value}", before["incusd"], before["lxcfs"])

    def back() -> bool | None:
        found = on.run("pgrep", "-x", "-o", "incusd").stdout.strip()
        mounted = on.run("test", "-e", "/var/lib/lxcfs/proc/uptime").returncode == 0
        return (
            found not in ("", before["incusd"]) and mounted and on.run("incus", "query", "/1.0").returncode == 0
        ) or None

    wait_until(back, Deadline(40), what="incusd and lxcfs to be back")
    assert pids(on, "runsvdir") == {"runsvdir": before["runsvdir"]}
    assert inside(on, "survivor", "stat", "-c", "%Y", "/proc/1") == init
    on.ok("incus", "delete", "-f", "survivor")


def test_a_supervisor_that_is_gone_comes_back(machine: OnMachine) -> None:
    """As after a reboot of a machine whose init knows nothing of it."""
    on = machine.machine
    on.ok("sh", "-c", "kill -HUP $(pgrep -x runsvdir)")  # ends runsvdir and, with it, what it supervises
    wait_until(lambda: on.run("pgrep", "-x", "incusd").returncode != 0 or None, Deadline(40), what="incusd to end")
    result = machine.init().ok()
    assert changes(result) == ["Start the supervisor", "Start the service, which somebody may have stopped"]
    assert "is ready" in step(result, "Health").msg


def test_what_somebody_configured_is_kept_unless_told(machine: OnMachine) -> None:
    on = machine.machine
    own = on.ok("incus", "network", "get", "incusbr0", "ipv4.address").strip()
    result = machine.init(provider_bridge_ipv4="10.199.7.1/24", provider_pool_driver="dir").ok()
    assert not result.changed
    kept = step(result, "Say what stays as it was found").msg
    assert f"bridge incusbr0 has ipv4.address {own}, not 10.199.7.1/24" in kept
    assert on.ok("incus", "network", "get", "incusbr0", "ipv4.address").strip() == own
    checked = machine.init(provider_bridge_ipv4="10.199.7.1/24", provider_reconfigure=True, check=True).ok()
    told = machine.init(provider_bridge_ipv4="10.199.7.1/24", provider_reconfigure=True).ok()
    task = "Give the daemon a pool, a bridge and a default profile"
    assert step(checked, task)["actions"] == step(told, task)["actions"] == ["set ipv4.address of bridge incusbr0"]
    assert "10.199.7.1/24" in on.ok("ip", "-4", "-o", "addr", "show", "incusbr0")


def test_docker_in_the_way_is_explained_and_mended_if_told(machine: OnMachine) -> None:
    on = machine.machine
    on.ok("apt-get", "install", "--yes", "-qq", "--no-install-recommends", "iptables")
    # What dockerd does to the forward chain.
    for rule in ("-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-P FORWARD DROP", "-I FORWARD -j DOCKER-USER"):
        on.ok("iptables", *rule.split())
    on.ok("incus", "launch", "tiny", "cut-off", "-q")
    wait_until(lambda: address_of(on, "cut-off"), Deadline(30), what="an address")
    gateway = on.ok("sh", "-c", "ip route show default | cut -d' ' -f3").strip()
    ping = ("incus", "exec", "cut-off", "--", "ping", "-c1", "-W2", gateway)
    assert on.run(*ping).returncode != 0
    explained = machine.init().ok()
    assert not explained.changed
    assert "Docker sets the FORWARD policy of iptables to DROP: instances on incusbr0 reach no other network" in said(
        explained
    )
    assert "iptables -I DOCKER-USER -i incusbr0 -j ACCEPT" in said(explained)
    assert on.run(*ping).returncode != 0
    assert machine.init(provider_manage_firewall=True).ok().changed
    assert on.run(*ping).returncode == 0
    assert not machine.init(provider_manage_firewall=True).ok().changed
    on.ok("incus", "delete", "-f", "cut-off")


def test_a_second_daemon_lives_beside_the_first(machine: OnMachine) -> None:
    on = machine.machine
    two = {"provider_incus_dir": "/srv/two", "provider_bridge_name": "rstwo"}
    before, described = pids(on, *SERVICES), on.ok("cat", FIRST_RUN)
    assert "bridge rstwo" in step(machine.init(**two).ok(), "Health").msg
    assert not machine.init(**two).ok().changed
    assert pids(on, *SERVICES) == before, "the first daemon went on"
    assert on.ok("cat", FIRST_RUN) == described, "and comes up again as itself"
    env = {"INCUS_DIR": "/srv/two"}
    on.ok("sh", "-c", "incus image export tiny /srv/tiny -q; ls /srv")
    on.ok("sh", "-c", "incus image import /srv/tiny* --alias tiny -q", env=env)
    # The same name in both: their cgroups, rules and leases must not clash.
    on.ok("incus", "launch", "tiny", "twin", "-q")
    on.ok("incus", "launch", "tiny", "twin", "-q", env=env)
    for environment in ({}, env):
        listing = ("incus", "list", "twin", "-f", "csv", "-c", "4")
        wait_until(lambda: on.ok(*listing, env=environment).strip() or None, Deadline(30), what="an address")  # noqa: B023
        on.ok("incus", "delete", "-f", "twin", env=environment)


def test_the_demo_plan_works_on_it(machine: OnMachine) -> None:
    """With nothing but a package mirror in reach: the image is built, and nginx comes from the mirror."""
    on = machine.machine
    on.ok("incus", "network", "set", "incusbr0", "ipv4.address", "10.199.8.1/24")
    on.ok("sh", "-c", "iptables -P FORWARD ACCEPT 2>/dev/null; true")
    plan = CHECKOUT / "plans" / "demo.yml"
    apply = {"name": "Apply", "rackstead.infra.plan": {"src": str(plan)}}
    assert machine([apply], timeout=600).ok().changed
    assert not machine([apply]).ok().changed
    assert "It works" in on.ok("python3", "-c", FETCH)
    mounted = inside(on, "storage", "findmnt", "--noheadings", "--output", "TARGET", "/srv/data")
    assert mounted.strip() == "/srv/data"


def test_a_daemon_that_others_started_is_left_alone(play: Playbooks, daemon: testbed.Daemon) -> None:
    """The tests' own daemon was started by hand."""
    role = {"name": "Role", "ansible.builtin.include_role": {"name": ROLE}}
    variables = {
        **NO_IMAGES,
        "provider_incus_dir": str(daemon.folder),
        "provider_bridge_name": daemon.bridge,
        "provider_admin_users": [],
    }
    before = daemon.pid
    result = play([role], variables=variables).ok()
    assert not result.changed
    words = f"answers on {daemon.socket}: it is neither restarted nor supervised here"
    assert words in said(result)
    assert daemon.pid == before


# -- systemd, over SSH ----------------------------------------------------------------------------
@pytest.fixture
def server(daemon: testbed.Daemon, project: Any, debian_image: str, tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """A Debian machine with systemd and a user who may sudo, as an inventory host."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    user = {"name": "op", "sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/bash"}
    users = [{**user, "ssh_authorized_keys": [key.with_suffix(".pub").read_text()]}]
    data = "#cloud-config\n" + json.dumps({"users": users})
    project.incus(
        "launch", debian_image, "server", "-q", "-c", "security.nesting=true", "-c", f"cloud-init.user-data={data}"
    )
    project.inside("server", "cloud-init", "status", "--wait")
    address = wait_until(lambda: project.client.addresses("server") or None, Deadline(30), what="an address")[0]
    return {
        **{name: value for name, value in LOCAL.items() if name != "ansible_connection"},
        "ansible_host": address,
        "ansible_user": "op",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def test_a_server_with_systemd_over_ssh(play: Playbooks, project: Any, server: dict[str, Any]) -> None:
    role = {"name": "Role", "ansible.builtin.include_role": {"name": ROLE}}

    def init(become: bool) -> PlayResult:
        return play([role], {"server": server}, play={"become": become}, variables=NO_IMAGES, timeout=1000)

    assert "needs root, and this is op: run with sudo, or with become" in failure(init(become=False))
    result = init(become=True).ok()
    assert "is ready: pool default (dir, " in step(result, "Health").msg
    assert "op joined the group incus-admin" in said(result)
    assert "incus-admin" in project.inside("server", "id", "op")
    assert project.inside("server", "systemctl", "is-enabled", "incus.socket").strip() == "enabled"
    pid = project.inside("server", "systemctl", "show", "-P", "MainPID", "incus.service")
    again = init(become=True).ok()
    assert not again.changed, changes(again)
    assert project.inside("server", "systemctl", "show", "-P", "MainPID", "incus.service") == pid
