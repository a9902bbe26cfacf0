# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a node's prerequisite: readers, checks, the report over several hosts, and the boot file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common import programs
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    InvalidInput,
    NotFound,
    OperationFailed,
    Unsupported,
)
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites import (
    cmdline,
    gather,
    kernelmodules,
    parse,
)
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.judge import judge
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.kernelmodules import ensure as have_modules
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.model import CGROUP_PARAMETERS, Check
from ansible_collections.rackstead.infra.plugins.module_utils.prerequisites.report import document, line, reports
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.node_snapshots import (
    CGROUPS,
    GIB,
    MOUNTS_HYBRID,
    NO_SWAP,
    PI_CMDLINE,
    PI_NOTE,
    TCP6,
    UNITS,
    machine,
    raspberry_pi,
    recorded,
    wanted,
)


def checks(seen: Any, **requirements: Any) -> dict[str, Check]:
    return {check.name: check for check in judge(seen, wanted(**requirements))}


def statuses(seen: Any, **requirements: Any) -> dict[str, str]:
    return {name: check.status for name, check in checks(seen, **requirements).items() if check.status != "pass"}


def test_a_machine_on_which_all_is_well() -> None:
    found = checks(machine())
    assert {check.status for check in found.values()} == {"pass"} and len(found) == 14
    assert found["time"].found == "synchronised by systemd-timesyncd"
    assert found["cgroups"].found == "cgroups v2, memory controller on"
    assert found["snapd"].found == "2.63.1+24.04, snapd.socket is active"


def test_other_machines_that_will_do() -> None:
    jammy = machine(
        os_release='PRETTY_NAME="Ubuntu 22.04.5 LTS"\nVERSION_ID="22.04"\nID=ubuntu\n',
        mounts=MOUNTS_HYBRID,
        controllers="",
    )
    assert statuses(jammy) == {} and checks(jammy)["cgroups"].found == "cgroups v1, memory controller on"
    bookworm = machine(os_release='PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n')
    assert statuses(bookworm) == {}


def test_a_raspberry_pi_as_it_comes_and_after_it_was_mended() -> None:
    found = checks(raspberry_pi())
    assert statuses(raspberry_pi()) == {"cgroups": "fail", "swap": "warn"}
    assert found["cgroups"].mended_by == "boot" and found["cgroups"].items == ("/boot/firmware/cmdline.txt",)
    assert "cgroup_enable=memory cgroup_memory=1" in found["cgroups"].mend
    assert found["swap"].found == "in use: /var/swap"

    files = {"/boot/firmware/cmdline.txt": cmdline.added(PI_CMDLINE, CGROUP_PARAMETERS), "/boot/cmdline.txt": PI_NOTE}
    waiting = checks(raspberry_pi(boot_files=files))["cgroups"]
    assert (waiting.status, waiting.mended_by) == ("fail", "reboot") and "boot it again" in waiting.mend
    booted = raspberry_pi(boot_files=files, controllers="cpuset cpu io memory pids\n")
    assert "cgroups" not in statuses(booted)


def test_an_older_pi_has_its_file_elsewhere_and_one_without_is_left_to_people() -> None:
    old = checks(raspberry_pi(boot_files={"/boot/cmdline.txt": PI_CMDLINE}))["cgroups"]
    assert old.mended_by == "boot" and old.items == ("/boot/cmdline.txt",)
    none = checks(raspberry_pi(boot_files={"/boot/cmdline.txt": PI_NOTE}))["cgroups"]
    assert none.mended_by == "" and "boot loader" in none.mend


def test_a_recorded_container() -> None:
    found = checks(recorded("debian-12-container"))
    bad = {name: check.status for name, check in found.items() if check.status != "pass"}
    assert bad == {"modules": "warn", "packages": "fail", "snapd": "fail", "dns": "fail", "time": "warn"}
    assert found["packages"].items == ("iptables",) and found["snapd"].mended_by == "packages"
    assert found["os"].found == "Debian GNU/Linux 12 (bookworm)" and found["cgroups"].found.startswith("cgroups v1")
    # What a container's kernel lacks, nobody mends in it.
    assert found["modules"].mended_by == "" and found["modules"].mend.startswith("on the container's host: ")
    assert found["dns"].found == "does not resolve api.snapcraft.io; asked 127.0.0.53"


@pytest.mark.parametrize(
    ("change", "requirements", "name", "status", "words"),
    [
        ({"os_release": "ID=fedora\nVERSION_ID=43\n"}, {}, "os", "fail", "fedora"),
        ({"os_release": 'ID=ubuntu\nVERSION_ID="20.04"\n'}, {}, "os", "fail", "ubuntu"),
        ({"os_release": 'ID=ubuntu\nVERSION_ID="9.10"\n'}, {}, "os", "fail", "ubuntu"),
        ({"os_release": 'ID=debian\nPRETTY_NAME="Debian GNU/Linux forky/sid"\n'}, {}, "os", "warn", "forky"),
        ({"os_release": ""}, {}, "os", "fail", "unknown"),
        ({"machine": "riscv64"}, {}, "architecture", "fail", "riscv64"),
        ({"meminfo": "MemTotal: 3900000 kB\n"}, {}, "memory", "pass", "3.7 GiB"),
        ({"meminfo": "MemTotal: 3000000 kB\n"}, {}, "memory", "warn", "2.9 GiB"),
        ({"meminfo": "MemTotal: 1000000 kB\n"}, {}, "memory", "fail", "977 MiB"),
        ({"disk_free": 15 * GIB}, {}, "disk", "warn", "15.0 GiB of 60.0 GiB free at /var"),
        ({"disk_free": 9 * GIB}, {}, "disk", "fail", "9.0 GiB"),
        ({"swaps": NO_SWAP + "/dev/zram0 partition 1 0 100\n"}, {"swap": "refuse"}, "swap", "fail", "/dev/zram0"),
        ({"mounts": "/dev/sda1 / ext4 rw 0 0\n"}, {}, "cgroups", "fail", "none mounted"),
        ({}, {"cgroups": ["v1"]}, "cgroups", "fail", "cgroups v2"),
        ({"mounts": MOUNTS_HYBRID, "proc_cgroups": CGROUPS.format(0)}, {}, "cgroups", "fail", "v1, memory controller off"),
        ({"proc_modules": "overlay 1 0\n"}, {}, "modules", "fail", "not loaded: br_netfilter"),
        ({"proc_modules": "", "modules_there": ("overlay",)}, {}, "modules", "fail", "does not have br_netfilter"),
        ({"modules_load": "overlay\n"}, {}, "modules", "warn", "br_netfilter at the next boot"),
        ({"modules_load": "", "modules_builtin": ("br_netfilter", "overlay")}, {}, "modules", "pass", "loaded"),
        ({"dpkg": "snapd ii \nsudo ii \nca-certificates ii \niptables rc \n"}, {}, "packages", "fail", "iptables"),
        ({"dpkg": "sudo ii \nca-certificates ii \niptables ii \n"}, {}, "snapd", "fail", "not installed"),
        ({"systemd": False}, {}, "snapd", "fail", "no systemd"),
        ({"snap_version": "snap 2.63\nsnapd unavailable\n"}, {}, "snapd", "fail", "does not answer"),
        ({"units": UNITS.replace("Id=snapd.socket\nActiveState=active", "Id=snapd.socket\nActiveState=failed").replace(
            "Id=snapd.service\nActiveState=active", "Id=snapd.service\nActiveState=inactive")},
         {}, "snapd", "fail", "snapd.socket has failed"),
        ({"units": UNITS.replace("enabled", "disabled")}, {}, "snapd", "warn", "not started at boot"),
        ({"resolved": {"node1": ["127.0.1.1"]}, "resolv_conf": ""}, {}, "dns", "fail", "names no server"),
        ({"resolved": {"api.snapcraft.io": ["192.0.2.1"]}}, {}, "dns", "warn", "its own name, node1"),
        ({"clock_error": 16_000_000}, {}, "time", "warn", "systemd-timesyncd runs"),
        ({"clock_error": 16_000_000, "units": ""}, {}, "time", "fail", "nothing does it"),
        ({"clock_error": -1, "units": ""}, {}, "time", "fail", "nothing does it"),
        ({"hostname": "Node_1"}, {}, "hostname", "fail", "Node_1"),
        ({"hostname": "localhost"}, {}, "hostname", "fail", "localhost"),
        ({"machine_id": "uninitialized"}, {}, "machine_id", "fail", "uninitialized"),
        ({"machine_id": ""}, {}, "machine_id", "fail", "none"),
    ],
)  # fmt: skip
def test_what_passes_and_what_fails(
    change: dict[str, Any], requirements: dict[str, Any], name: str, status: str, words: str
) -> None:
    check = checks(machine(**change), **requirements)[name]
    assert check.status == status and words in check.found
    assert bool(check.mend) is (status != "pass")


def test_ports_of_others_and_of_the_cluster_itself() -> None:
    sockets = {"tcp": machine().sockets["tcp"], "tcp6": TCP6}
    nginx = {"1002": {"pid": 812, "name": "nginx", "whose": "/usr/sbin/nginx 0::/system.slice/nginx.service"}}
    taken = checks(machine(sockets=sockets, owners=nginx))["ports"]
    assert (taken.status, taken.found) == ("fail", "in use: 16443/tcp by nginx, pid 812")
    own = {"1002": {"pid": 9, "name": "kubelite", "whose": "/snap/microk8s/7394/kubelite"}}
    assert checks(machine(sockets=sockets, owners=own))["ports"].status == "pass"
    # Who is not root does not see whose they are, and must not call a cluster's own ports taken.
    unseen = checks(machine(sockets=sockets, root=False))["ports"]
    assert unseen.status == "warn" and "as root" in unseen.mend
    assert checks(machine(sockets=sockets))["ports"].status == "fail"
    assert checks(machine(sockets=sockets), ports=["10250-10259", "16443/udp"])["ports"].status == "pass"


def test_what_is_not_asked_for_is_not_looked_at() -> None:
    none = {"snapd": False, "packages": [], "ports": [], "resolve": [], "time": False, "modules": [], "swap": "allow"}
    assert set(checks(machine(), **none)) == {
        "os", "architecture", "memory", "disk", "cgroups", "hostname", "machine_id"
    }  # fmt: skip


def test_bad_requirements_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as error:
        wanted(memory="2 gigs", disk="9GiB", disk_recommended="1GiB", ports=["80", "99999", "x"], modules=["a b"])
    assert error.value.problems == [
        'requirements.memory: "2 gigs" is not valid; allowed: 512MiB, 2GB, 10GiB',
        'requirements.disk_recommended: "1GiB" is less than disk; allowed: 9GiB and more',
        'requirements.modules: "a b" is not valid; allowed: names of kernel modules',
        'requirements.ports: "99999" is not valid; allowed: 16443, 10250-10259, 4789/udp',
        'requirements.ports: "x" is not valid; allowed: 16443, 10250-10259, 4789/udp',
    ]


# -- readers ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("quiet cgroup_enable=memory", True),
        ("cgroup_enable=cpuset,memory", True),
        ("cgroup_disable=memory quiet cgroup_enable=memory", True),
        ("cgroup_enable=memory cgroup_disable=memory", False),
        ("cgroup_enable=cpuset", False),
        ('x="cgroup_enable=memory"', False),
        ("xcgroup_enable=memory", False),
    ],
)
def test_parameters_that_are_in_force(text: str, on: bool) -> None:
    assert parse.enables(text, "cgroup_enable=memory") is on


def test_the_last_of_several_values_counts() -> None:
    assert parse.enables("cgroup_memory=0 cgroup_memory=1", "cgroup_memory=1")
    assert not parse.enables("cgroup_memory=1 cgroup_memory=0", "cgroup_memory=1")


def test_readers_take_what_is_not_there() -> None:
    assert parse.memory_total("") == 0 and parse.os_release("") == {} and parse.unit_states("") == {}
    assert list(parse.listeners({"tcp": "nonsense\n"})) == [] and parse.swap_areas("") == []


@given(st.text(max_size=300))
def test_readers_take_any_text(text: str) -> None:
    parse.memory_total(text)
    parse.unit_states(text)
    list(parse.listeners({"tcp": text}))
    parse.snap_versions(text)
    parse.installed_packages(text)
    parse.modules_at_boot(text)
    parse.enables(text, "cgroup_enable=memory")


# -- the boot file ----------------------------------------------------------------------------------
@pytest.mark.parametrize("end", ["", "\n", " \n", "\r\n", "\n\n"])
@pytest.mark.parametrize("middle", ["  ", "\t", " é ", " \udcff "])
def test_all_that_is_not_ours_stays_byte_for_byte(end: str, middle: str) -> None:
    text = f"console=tty1{middle}root=PARTUUID=1-02 quiet{end}"
    new = cmdline.added(text, CGROUP_PARAMETERS)
    assert new == f"console=tty1{middle}root=PARTUUID=1-02 quiet cgroup_enable=memory cgroup_memory=1{end}"
    assert cmdline.added(new, CGROUP_PARAMETERS) == new
    half = text.replace("quiet", "quiet cgroup_memory=1")
    assert cmdline.added(half, CGROUP_PARAMETERS) == half.replace(
        "cgroup_memory=1", "cgroup_memory=1 cgroup_enable=memory"
    )


def test_the_boot_file_is_mended_once(tmp_path: Path) -> None:
    note, file = tmp_path / "old.txt", tmp_path / "cmdline.txt"
    note.write_text(PI_NOTE)
    raw = PI_CMDLINE.encode().replace(b"quiet", b"x=\xff\xfe quiet")
    file.write_bytes(raw)
    file.chmod(0o640)
    paths = [str(tmp_path / "none.txt"), str(note), str(file)]

    seen = cmdline.ensure(paths, CGROUP_PARAMETERS, check=True)
    assert seen["changed"] and seen["path"] == str(file) and file.read_bytes() == raw
    done = cmdline.ensure(paths, CGROUP_PARAMETERS, check=False)
    assert done["changed"] and done["reboot"] and done["added"] == list(CGROUP_PARAMETERS)
    assert file.read_bytes() == raw.removesuffix(b"\n") + b" cgroup_enable=memory cgroup_memory=1\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert not cmdline.ensure(paths, CGROUP_PARAMETERS, check=False)["changed"]
    assert sorted(os.listdir(tmp_path)) == ["cmdline.txt", "old.txt"] and note.read_text() == PI_NOTE


def test_what_a_killed_run_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    file = tmp_path / "cmdline.txt"
    file.write_text(PI_CMDLINE)
    (tmp_path / ".cmdline.txt.unfinished").write_text("half a li")
    assert cmdline.ensure([str(file)], CGROUP_PARAMETERS, check=False)["changed"]
    assert os.listdir(tmp_path) == ["cmdline.txt"] and "cgroup_memory=1" in file.read_text()


def test_a_file_that_is_no_command_line_is_not_touched(tmp_path: Path) -> None:
    for text in (PI_NOTE, "", "\n", "root=/dev/sda1\nroot=/dev/sda2\n", "console=tty1 quiet\n"):
        (tmp_path / "cmdline.txt").write_text(text)
        with pytest.raises(NotFound, match="none of these is a kernel command line"):
            cmdline.ensure([str(tmp_path / "cmdline.txt")], CGROUP_PARAMETERS, check=False)
        assert (tmp_path / "cmdline.txt").read_text() == text
    with pytest.raises(InvalidInput, match='parameters: "a b" is not valid'):
        cmdline.ensure([], ["a b"], check=False)


def test_names_of_modules_and_files_are_checked_first() -> None:
    with pytest.raises(InvalidInput) as error:
        have_modules(["overlay", "-r"], "../x.conf", check=True)
    # modprobe would take it for an option.
    assert error.value.problems == [
        'names: "-r" is not valid; allowed: names of kernel modules',
        'file: "../x.conf" is not valid; allowed: a name that ends in .conf',
    ]


# -- the report -------------------------------------------------------------------------------------
def looked(seen: Any) -> dict[str, Any]:
    found = [document(check) for check in judge(seen, wanted())]
    return {"checks": found, "hostname": seen.hostname, "machine_id": seen.machine_id}


def test_names_and_machine_ids_must_differ_between_hosts() -> None:
    names = {"api.snapcraft.io": ["192.0.2.1"], "node2": ["192.0.2.2"]}
    hosts = {
        "a": looked(machine()),
        "b": looked(machine(hostname="node2", resolved=names)),
        "c": looked(machine(machine_id="f" * 32)),
    }
    found = reports(hosts, "check")
    [said] = found["a"]["broken"]
    assert said.startswith(
        "a: unique: host name node1 is also that of c; machine id 0123456789abcdef0123456789abcdef is also that of b; "
        "sudo hostnamectl set-hostname NAME; sudo rm -f /etc/machine-id"
    )
    assert [host for host, one in found.items() if not one["ready"]] == ["a", "b", "c"]
    assert reports({"a": hosts["a"]}, "check")["a"]["ready"]
    none = looked(machine(machine_id=""))
    assert "unique" not in str(reports({"a": none, "b": {**none, "hostname": "node2"}}, "check")["a"]["broken"])


def test_what_counts_depends_on_what_is_done() -> None:
    files = {"/boot/firmware/cmdline.txt": cmdline.added(PI_CMDLINE, CGROUP_PARAMETERS)}
    waiting = {"pi": looked(raspberry_pi(boot_files=files, meminfo="MemTotal: 500000 kB"))}
    for mode, broken in (("check", ["memory", "cgroups"]), ("predict", ["memory"]), ("install", ["memory"])):
        found = reports(waiting, mode)["pi"]
        assert [one.split(": ")[1] for one in found["broken"]] == broken
        assert found["reboot"] and not found["ready"] and found["would_mend"] == []
    fresh = reports({"pi": looked(raspberry_pi())}, "predict")["pi"]
    assert fresh["broken"] == [] and fresh["would_mend"] == ["cgroups"] and not fresh["reboot"]
    assert reports({"pi": looked(raspberry_pi())}, "install")["pi"]["broken"] != []
    assert fresh["summary"] == {"pass": 12, "warn": 1, "fail": 1}
    with pytest.raises(ValueError, match="no mode"):
        reports(waiting, "guess")


def test_a_line_tells_how_to_mend() -> None:
    failed = document(Check("memory", "fail", "1.0 GiB", "2.0 GiB", "give the machine more memory"))
    assert line(failed) == "fail  memory        1.0 GiB -> give the machine more memory"
    assert line(document(Check("memory", "pass", "8.0 GiB", "2.0 GiB", "more"))) == "pass  memory        8.0 GiB"


# -- this machine -----------------------------------------------------------------------------------
def test_this_machine_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = gather.gather(wanted(resolve=["localhost"], disk_path="/var/none/of/this"))
    assert seen.machine == os.uname().machine and parse.memory_total(seen.meminfo) > 0
    assert 0 < seen.disk_free <= seen.disk_total and seen.resolved["localhost"]
    assert seen.clock_error == -1 or seen.clock_error > 0
    # Nothing that is asked is there: what cannot be told is empty, and nothing fails.
    monkeypatch.setattr(programs, "SEARCH", "/nowhere")
    bare = gather.gather(wanted(resolve=["localhost"]))
    assert (bare.units, bare.dpkg, bare.snap_version, bare.resolved["localhost"]) == ("", "", "", [])


# -- kernel modules ---------------------------------------------------------------------------------
class FakeKernel:
    """A kernel into which modprobe, a program of the test's own, loads modules."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.modules = folder / "modules"
        self.modules.write_text("overlay 212992 0 - Live 0x0000\n")
        self.at_boot = folder / "modules-load.d"
        self.container = ""
        self.there = ("br_netfilter", "overlay")
        self.modprobe = folder / "bin" / "modprobe"
        self.modprobe.parent.mkdir()
        self.program('shift; for name in "$@"; do echo "$name 1 0 - Live 0x0" >> ' + f"{self.modules}; done")
        patch.setattr(kernelmodules, "FOLDER", self.at_boot)
        patch.setattr(kernelmodules.gather, "kernel", self.look)
        patch.setattr(kernelmodules.gather, "text", lambda _path: self.modules.read_text())
        patch.setattr(programs, "SEARCH", f"{self.modprobe.parent}:/usr/bin:/bin")
        patch.setattr(os, "geteuid", lambda: 0)

    def program(self, body: str) -> None:
        self.modprobe.write_text(f"#!/bin/sh\n{body}\n")
        self.modprobe.chmod(0o755)

    def look(self, wanted: list[str]) -> gather.Kernel:
        there = tuple(name for name in wanted if name in self.there)
        builtin = tuple(name for name in wanted if name == "ext4")
        return gather.Kernel("6.1.0", self.container, self.modules.read_text(), builtin, there, True, "")


@pytest.fixture
def fake_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    return FakeKernel(tmp_path, monkeypatch)


def test_modules_are_loaded_now_and_at_boot(fake_kernel: FakeKernel) -> None:
    names = ["overlay", "br-netfilter", "ext4"]
    seen = have_modules(names, "x.conf", check=True)
    assert seen["changed"] and seen["loaded"] == ["br_netfilter"]
    assert not fake_kernel.at_boot.exists() and "br_netfilter" not in fake_kernel.modules.read_text()
    done = have_modules(names, "x.conf", check=False)
    assert done["changed"] and "br_netfilter" in fake_kernel.modules.read_text()
    file = fake_kernel.at_boot / "x.conf"
    assert file.read_text().splitlines()[1:] == ["br_netfilter", "overlay"] and file.stat().st_mode & 0o777 == 0o644
    assert not have_modules(names, "x.conf", check=False)["changed"]
    file.write_text("overlay\n")
    assert have_modules(names, "x.conf", check=False)["loaded"] == [] and "br_netfilter" in file.read_text()


def test_modules_that_cannot_be_loaded_are_told(fake_kernel: FakeKernel) -> None:
    with pytest.raises(OperationFailed, match=r"kernel 6\.1\.0 does not have nothing_such"):
        have_modules(["nothing_such"], "x.conf", check=False)
    fake_kernel.program("echo 'modprobe: ERROR: Operation not permitted' >&2; exit 1")
    with pytest.raises(OperationFailed, match=r"modprobe --all br_netfilter: .*Operation not permitted"):
        have_modules(["br_netfilter"], "x.conf", check=False)
    fake_kernel.program("exit 0")
    with pytest.raises(OperationFailed, match="br_netfilter is not there"):
        have_modules(["br_netfilter"], "x.conf", check=False)
    fake_kernel.container = "lxc"
    with pytest.raises(Unsupported, match="cannot be loaded in a container: br_netfilter"):
        have_modules(["br_netfilter"], "x.conf", check=True)
    assert not fake_kernel.at_boot.exists()
