# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine needs for MicroK8s, judged on machines made of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import DeadlineExceeded, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import prerequisites
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.prerequisites import FAIL, PASS, WARN, Machine
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Local, Result

FILES = {
    "etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.2 LTS"\n',
    "proc/meminfo": "MemTotal:        8123456 kB\n",
    "proc/modules": "overlay 151552 0 - Live 0x0\n",
    "proc/net/tcp": "  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A 0\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "lib/modules/6.8/modules.dep": "kernel/net/bridge/br-netfilter.ko.zst: kernel/x.ko\nkernel/drivers/net/vxlan/vxlan.ko:\n",
    "usr/bin/snap": "",
}
PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "boot/firmware/cmdline.txt": "console=tty1 root=LABEL=writable\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
}


class Answers:
    """A runner with answers by command; None stands for one that takes too long."""

    def __init__(self, **answers: Result | None) -> None:
        self.answers = {"timedatectl": Result(0, "yes\n", ""), "getent": Result(0, "192.0.2.1 x\n", ""), **answers}

    def run(self, argv: Sequence[str], timeout: float) -> Result:
        answer = self.answers[argv[0]]
        if answer is None:
            raise DeadlineExceeded("too long")
        return answer


class Bare:
    """A machine without these commands."""

    def run(self, argv: Sequence[str], timeout: float) -> Result:
        raise NotFound(argv[0])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for path, text in FILES.items():
        put(tmp_path, path, text)
    for folder in ("run/systemd/system", "var"):
        (tmp_path / folder).mkdir(parents=True)
    return Machine(Answers(), tmp_path, "node1", "x86_64", "6.8")


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def judged(machine: Machine) -> dict[str, prerequisites.Check]:
    return {check.name: check for check in prerequisites.check_all(machine)}


def test_a_good_machine_passes_everything(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "DISK", (0.0, 0.0))  # whatever this machine has
    found = judged(machine)
    assert {name: check.result for name, check in found.items()} == dict.fromkeys(found, PASS)
    assert len(found) == 12 and prerequisites.summary(list(found.values())) == []


@pytest.mark.parametrize(
    ("path", "text", "name", "result", "words"),
    [
        ("etc/os-release", "ID=ubuntu\nVERSION_ID=18.04\n", "system", FAIL, "take ubuntu 20.04 or newer"),
        ("etc/os-release", "ID=fedora\nVERSION_ID=43\n", "system", WARN, "has not been tried"),
        ("proc/meminfo", "MemTotal: 3900000 kB\n", "memory", PASS, "3.7 GiB"),
        ("proc/meminfo", "MemTotal: 3000000 kB\n", "memory", WARN, "2 GiB at least, better 4"),
        ("proc/meminfo", "MemTotal: 900000 kB\n", "memory", FAIL, "2 GiB at least"),
        ("proc/modules", "", "modules", WARN, "neither loaded nor to be had: overlay"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu pids\n", "cgroups", FAIL, "cgroup v2 without memory"),
        (
            "proc/net/tcp6",
            "head\n 0: 0000:4A38 0000:0000 01 0\n 1: 0000:4A39 0000:0000 0A 0\n 2: 0000:403B 0000:0000 0A 0\n",
            "ports",
            FAIL,
            "taken: 16443 (kube-apiserver)",
        ),
    ],
)
def test_what_is_missing_is_told(machine: Machine, path: str, text: str, name: str, result: str, words: str) -> None:
    put(machine.root, path, text)
    check = judged(machine)[name]
    assert (check.result, words in f"{check.what}; {check.mend}") == (result, True), check


def test_the_machine_itself(machine: Machine) -> None:
    changed = replace(machine, name="Node_1", architecture="riscv64", runner=Bare())
    found = judged(changed)
    assert {name for name, check in found.items() if check.result == FAIL} >= {"hostname", "architecture"}
    assert found["time"].what == "nobody knows whether it is synchronised" and found["dns"].result == WARN
    (machine.root / "usr/bin/snap").unlink()
    (machine.root / "run/systemd/system").rmdir()
    found = judged(replace(machine, runner=Answers(timedatectl=Result(0, "no\n", ""), getent=None)))
    assert (found["snapd"].result, found["systemd"].result) == (FAIL, FAIL)
    assert (found["time"].what, found["dns"].result) == ("not synchronised", WARN)
    assert "dns" not in judged(replace(machine, host_to_resolve=""))


def test_ports_that_microk8s_has_itself_are_no_fault(machine: Machine) -> None:
    put(machine.root, "proc/net/tcp", "head\n 1: 0000:403B 0000:0000 0A 0\n")
    assert judged(machine)["ports"].result == FAIL
    (machine.root / "var/snap/microk8s").mkdir(parents=True)
    assert judged(machine)["ports"].result == PASS


def test_a_raspberry_pi_is_told_its_flags(machine: Machine) -> None:
    for path, text in PI.items():
        put(machine.root, path, text)
    check = judged(machine)["cgroups"]
    assert check.result == FAIL
    assert (
        check.mend
        == "append cgroup_enable=memory cgroup_memory=1 to the line in /boot/firmware/cmdline.txt, and reboot"
    )


def test_the_old_control_groups(machine: Machine) -> None:
    (machine.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    put(machine.root, "proc/cgroups", "#subsys_name hierarchy num enabled\ncpu 1 1 1\nmemory 2 1 0\npids 3 1 1\n")
    assert judged(machine)["cgroups"].what == "cgroup v1 without memory"


def test_this_machine_can_be_looked_at() -> None:
    """The real files, whatever they say."""
    found = judged(Machine.here(Local(), ""))
    assert found["memory"].what.endswith(" GiB") and not found["memory"].what.startswith("0.0")
    assert found["disk"].what.endswith("free at /var") and found["architecture"].what


def test_what_must_be_mended_comes_first(machine: Machine) -> None:
    put(machine.root, "etc/os-release", "ID=fedora\n")
    put(machine.root, "proc/meminfo", "MemTotal: 900000 kB\n")
    lines = prerequisites.summary([judged(machine)[name] for name in ("system", "memory")])
    assert [line.split(":")[0] for line in lines] == [FAIL, WARN]
