# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware reports: parsers on recorded machines, odd output, comparison, alerts, what is remembered, and pages."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import inspect
import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, NotFound
from ansible_collections.rackstead.infra.plugins.module_utils.hardware import (
    alarms,
    alerts,
    charts,
    collect,
    compare,
    history,
    model,
    page,
    services,
    storage,
    system,
)
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.machine import Absent, Broken, Machine, at_once
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.options import OPTIONS
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.recordtask import OPTIONS as STATE_OPTIONS
from ansible_collections.rackstead.infra.plugins.modules import hardware_report
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testbed.recorded import Recorded, load

MACHINES = Path(__file__).with_name("machines")
RECORDS = sorted(path.stem for path in MACHINES.glob("*.json"))
GIB = 1 << 30


def read(name: str, **options: Any) -> model.Report:
    return collect.collect(load(MACHINES / f"{name}.json"), name, **options)


@functools.cache
def unspoilt(name: str) -> model.Report:
    return read(name)


@pytest.fixture(scope="module")
def server() -> model.Report:
    return unspoilt("server")


def reasons(report: model.Report) -> dict[str, str]:
    return {name: section.reason for name, section in report.missing()}


def texts(found: list[Any]) -> list[str]:
    return [one.text for one in found]


# -- recorded machines -----------------------------------------------------------------------------
def test_a_server_with_everything(server: model.Report) -> None:
    assert {name for name, _section in server.missing()} == {"certificates"}
    assert server.system.os == "Ubuntu 24.04.1 LTS"
    assert (server.system.kind, server.cpu.model) == ("machine", "AMD EPYC 7302P 16-Core Processor")
    assert (server.cpu.sockets, server.cpu.cores, server.cpu.threads, server.cpu.most_mhz) == (1, 16, 32, 3000.0)
    assert (server.cpu.use_percent, server.cpu.temperature_celsius) == (25.0, 84.25)
    assert server.memory.total_bytes == 131843612 * 1024
    assert server.memory.used_bytes == (131843612 - 98190144) * 1024
    assert [(one.slot, one.size_bytes, one.kind) for one in server.memory_modules] == [
        ("DIMMA1", 64 * GIB, "DDR4"),
        ("DIMMB1", 64 * GIB, "DDR4"),
    ]
    assert server.firmware.product == "AS -1114S-WN10RT"
    assert (server.bmc.address, server.bmc.mac) == ("192.0.2.120", "3c:ec:ef:ab:cd:ef")
    assert (server.bmc.firmware, server.bmc.device) == ("1.11", "/dev/ipmi0")


def test_a_servers_storage(server: model.Report) -> None:
    assert [(one.name, one.kind, one.serial) for one in server.disks] == [
        ("sda", "hdd", "ZC1A1111"),
        ("sdb", "hdd", "ZC1B2222"),
        ("nvme0n1", "nvme", "S4EWNX0N123456"),
    ]
    assert [part.name for part in server.disks[0].partitions] == ["sda1", "md0", "data-volumes"]
    assert server.disks[2].partitions[0].mountpoints == ["/"]
    health = {one.disk: one for one in server.smart}
    assert (health["nvme0n1"].wear_percent, health["nvme0n1"].passed) == (96.0, True)
    assert health["nvme0n1"].written_bytes == 1482911822 * 512_000
    assert (health["sdb"].passed, health["sdb"].reallocated_sectors, health["sdb"].pending_sectors) == (False, 2104, 88)
    assert health["sda"].wear_percent is None
    mounts = {one.mountpoint: one for one in server.filesystems}
    assert set(mounts) == {"/", "/srv", "/mnt/nas"}  # neither the image nor the bind mount
    assert mounts["/"].used_percent == 96.4
    assert (mounts["/mnt/nas"].kind, mounts["/mnt/nas"].size_bytes) == ("nfs4", None)
    assert (server.lvm.groups[0].name, server.lvm.groups[0].free_bytes) == ("data", 702116003840)
    assert [one.layout for one in server.lvm.volumes] == ["linear", "thin,pool"]
    mirror, fifth = server.raid
    assert (mirror.level, mirror.degraded, mirror.faulty, mirror.members) == ("raid1", True, ["sdb1"], ["sda1"])
    assert (fifth.action, fifth.progress_percent, fifth.spares) == ("recovery", 12.6, ["sdh1"])
    assert (fifth.wanted, fifth.working, fifth.size_bytes) == (4, 3, 8790402048 * 1024)


def test_a_servers_devices_and_services(server: model.Report) -> None:
    assert [one.name for one in server.nics] == ["eno1", "br0"]  # pods' interfaces come and go
    card = server.nics[0]
    assert (card.driver, card.speed_mbit, card.duplex, card.link) == ("bnxt_en", 10000, "full", True)
    assert (card.received_bytes, card.receive_errors, card.dropped) == (9_918_211_332, 4, 15)
    tesla, aspeed = server.gpus
    assert (tesla.model, tesla.driver, tesla.use_percent) == ("Tesla T4", "nvidia", 37.0)
    assert (tesla.memory_bytes, tesla.temperature_celsius) == (15 * GIB, 61.0)
    assert (aspeed.vendor, aspeed.driver) == ("ASPEED Technology, Inc.", "ast")
    found = {(one.chip, one.name): one for one in server.sensors}
    assert ("nct6775-isa-0290", "AUXTIN0") not in found  # not connected
    assert found["nvme-pci-0100", "Composite"].critical == 84.85
    assert found["nvme-pci-0100", "Sensor 1"].high is None
    assert (found["nct6775-isa-0290", "fan1"].value, found["nct6775-isa-0290", "fan1"].unit) == (1480.0, "rpm")
    assert [one.name for one in server.docker] == ["registry"]
    claims = {one.name: one for one in server.kubernetes.claims}
    assert (claims["db"].size_bytes, claims["old"].size_bytes) == (20 * GIB, 500_000_000)
    assert server.kubernetes.classes[0].default


def test_a_raspberry_pi_has_no_dmi_and_says_so() -> None:
    report = read("raspberry-pi-5")
    why = reasons(report)
    assert set(why) == {
        *("memory_modules", "smart", "lvm", "raid", "bmc", "docker", "kubernetes", "certificates"),
    }
    assert "no SMBIOS" in why["memory_modules"] or "No SMBIOS" in why["memory_modules"]
    assert why["smart"] == "smartctl is not installed (package smartmontools)"
    assert (report.firmware.product, report.firmware.serial) == ("Raspberry Pi 5 Model B Rev 1.0", "9f1c4a07d2b3e655")
    assert (report.cpu.model, report.cpu.threads, report.cpu.cores) == ("Cortex-A76", 4, 4)
    assert report.cpu.temperature_celsius == 58.4
    assert [(one.name, one.kind) for one in report.disks] == [("mmcblk0", "mmc"), ("nvme0n1", "nvme")]
    fan = next(one for one in report.sensors if one.kind == "fan")
    assert (fan.chip, fan.value, fan.unit) == ("pwmfan", 3214.0, "rpm")
    assert [one.model for one in report.gpus] == ["2712-v3d", "bcm2712-vc6"]
    assert [(one.name, one.speed_mbit, one.link) for one in report.nics] == [
        ("eth0", 1000, True),
        ("wlan0", None, False),
    ]


def test_a_virtual_machine() -> None:
    report = read("virtual-machine")
    assert report.system.kind == "virtual machine"
    assert [(one.name, one.kind) for one in report.disks] == [("vda", "virtual")]
    why = reasons(report)
    assert why["smart"] == "vda: Unable to detect device type"
    assert why["firmware"] == "there is no DMI, and no device tree"
    assert why["sensors"] == "there are no sensors"
    assert report.nics[0].name == "eth0"


def test_a_container_does_not_tell_of_its_hosts_hardware() -> None:
    report = read("container")
    assert (report.system.kind, report.system.within) == ("container", "lxc")
    why = reasons(report)
    for name in collect.OF_THE_HOST:
        assert why[name] == "this is a container (lxc): what it shows of that is its host's"
    assert report.memory.total_bytes and report.cpu.threads
    assert [one.name for one in report.nics] == ["eth0"]  # a veth, but its own
    assert report.filesystems[0].mountpoint == "/"


def test_a_container_has_what_its_cgroup_allows() -> None:
    record = json.loads((MACHINES / "container.json").read_text())
    record["files"] |= {
        "/sys/fs/cgroup/memory.max": f"{GIB}\n",
        "/sys/fs/cgroup/memory.current": "300000000\n",
        "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 100000000\n",
        "/sys/fs/cgroup/cpuset.cpus.effective": "0-1,5\n",
    }
    report = collect.collect(Recorded(record), "n", sections=["cpu", "memory"])
    assert (report.memory.total_bytes, report.memory.used_bytes) == (GIB, 200_000_000)
    assert report.cpu.threads == 3
    record["files"]["/sys/fs/cgroup/memory.max"] = "max\n"
    assert collect.collect(Recorded(record), "n").memory.total_bytes == 24684084 * 1024


@pytest.mark.parametrize("name", RECORDS)
def test_a_report_survives_the_state_store_and_looks_the_same(name: str) -> None:
    report = read(name)
    assert model.report_of(json.loads(json.dumps(report.document()))) == report


def test_parts_can_be_chosen() -> None:
    report = read("server", sections=["disks", "cpu"])
    assert list(report.sections) == ["cpu", "disks"]
    assert report.memory == model.Memory()
    with pytest.raises(InvalidInput, match='"disk" is not a part of a report; did you mean "disks"'):
        read("server", sections=["disk"])


def test_what_takes_too_long_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()
    monkeypatch.setitem(collect.COLLECTORS, "raid", lambda _machine: gate.wait(60))
    report = read("server", seconds=1.0)
    gate.set()
    assert report.sections["raid"] == model.Section("failed", "not finished in time")
    assert report.read("memory") and report.disks


# -- commands --------------------------------------------------------------------------------------
def test_commands_that_are_missing_fail_or_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in (("breaks", "echo no luck >&2; exit 3"), ("hangs", "exec sleep 60"), ("babbles", "echo hello")):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    machine = Machine()
    with pytest.raises(Absent, match="nothing-like-it is not installed"):
        machine.run("nothing-like-it")
    with pytest.raises(Broken, match="breaks ended with 3: no luck"):
        machine.run("breaks")
    with pytest.raises(Broken, match=r"hangs has not answered in 0\.2 s"):
        machine.run("hangs", seconds=0.2)
    with pytest.raises(Broken, match="babbles has not answered with JSON: 'hello'"):
        machine.json("babbles")


def test_work_at_once_keeps_the_order_and_tells_errors() -> None:
    assert at_once(lambda number: number * 2, range(5)) == [0, 2, 4, 6, 8]
    with pytest.raises(ZeroDivisionError):
        at_once(lambda number: 1 // number, [1, 0, 2])


# -- odd output -------------------------------------------------------------------------------------
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A recorded machine of which some answers are something else."""
    name = draw(st.sampled_from(RECORDS))
    record = json.loads((MACHINES / f"{name}.json").read_text())
    for line in draw(st.lists(st.sampled_from(sorted(record["commands"])), min_size=1, max_size=4, unique=True)):
        said = record["commands"][line].get("out", "")
        record["commands"][line] = {"out": draw(st.text(max_size=40) | JSON.map(json.dumps) | mutated(said))}
    for path in draw(st.lists(st.sampled_from(sorted(record["files"])), max_size=4, unique=True)):
        record["files"][path] = draw(st.text(max_size=40) | mutated(record["files"][path]))
    return name, record


def mutated(said: str) -> st.SearchStrategy[str]:
    """The words that were said, with a value in them replaced, or cut short."""
    try:
        document = json.loads(said)
    except ValueError:
        return st.integers(0, len(said)).map(lambda end: said[:end])
    places = list(spots(document))
    return st.tuples(st.sampled_from(places), JSON).map(lambda pair: json.dumps(put(document, *pair)))


def spots(document: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from spots(value, (*path, key))


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = put(copy[path[0]], path[1:], value)
    return copy


@settings(max_examples=60, deadline=None)
@given(broken())
def test_odd_output_never_breaks_a_report(found: tuple[str, dict[str, Any]]) -> None:
    name, record = found
    report = collect.collect(Recorded(record), name)
    assert list(report.sections) == list(model.SECTIONS)
    assert all(section.state in ("ok", "absent", "failed") for section in report.sections.values())
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    again = model.report_of(document)
    assert again == report  # each value has the type that the model says
    whole = unspoilt(name)
    known = history.Known(
        report,
        [one.document() for one in [*compare.differences(whole, report), *compare.differences(report, whole)]],
        [one.document() for one in alerts.alerts(report)],
        whole.time,
    )
    text = page.whole(name, page.node(known, [known, known]) + page.fleet([known]))
    assert well_formed(text)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_document_is_read_as_a_report(document: Any) -> None:
    report = model.report_of(document)
    assert isinstance(report.time, float)
    assert report == model.report_of(json.loads(json.dumps(report.document())))


# -- parsers of their own ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("10Gi", 10 * GIB),
        ("500M", 500_000_000),
        ("1e3", 1000),
        ("64Ki", 65536),
        ("7", 7),
        ("x", None),
        ("", None),
        ("9Zi", None),
    ],
)
def test_quantities_of_kubernetes(words: str, count: int | None) -> None:
    assert services.quantity(words) == count


def test_arrays_of_all_kinds() -> None:
    found = storage.arrays_of(
        "Personalities : [raid0]\n"
        "md127 : active (auto-read-only) raid0 sdb[1] sda[0]\n      1000 blocks super 1.2 512k chunks\n\n"
        "md2 : inactive sdc[1](S)\n      976630488 blocks super 1.2\n\n"
        "md3 : active raid1 sdd[0] sde[1]\n      10 blocks [2/2] [UU]\n      \tresync=DELAYED\n\n"
        "unused devices: <none>\n"
    )
    assert [(one.name, one.level, one.degraded) for one in found] == [
        ("md127", "raid0", False),
        ("md2", "", True),
        ("md3", "raid1", False),
    ]
    assert found[2].action == "resync"


def test_smart_of_an_ssd_counts_its_life_down() -> None:
    table = [{"id": 177, "name": "Wear_Leveling_Count", "value": 63, "raw": {"value": 700}, "when_failed": "-"}]
    document = {
        "model_name": "SSD",
        "rotation_rate": 0,
        "smart_status": {"passed": True},
        "ata_smart_attributes": {"table": table},
    }
    assert storage.smart_of("sda", document).wear_percent == 37.0
    assert storage.smart_of("sda", {**document, "rotation_rate": 7200}).wear_percent is None
    assert storage.smart_of("sda", {**document, "endurance_used": {"current_percent": 12}}).wear_percent == 12.0


def test_words_of_firmware_that_mean_nothing_are_left_out() -> None:
    assert [
        system.known(words) for words in ("To be filled by O.E.M.", "Default string", "0000 00", "Not Specified")
    ] == [""] * 4
    assert system.known(" X11 ") == "X11"


def test_a_machine_whose_image_was_made_in_docker_is_no_container() -> None:
    files = {"/.dockerenv": "", "/proc/mounts": "/dev/vda / ext4 rw 0 0\n"}
    assert system.container_of(Recorded({"files": files})) == ""
    files["/proc/mounts"] += "/dev/vda /etc/hosts ext4 rw 0 0\n"
    assert system.container_of(Recorded({"files": files})) == "docker"


def certificate(days: int, name: str = "node-1", year: int | None = None) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    now = datetime.datetime.now(datetime.UTC)
    end = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) if year else now + datetime.timedelta(days=days)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=400))
    return made.not_valid_after(end).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_certificates_that_run_out() -> None:
    files = {
        "/etc/kubernetes/pki/apiserver.crt": certificate(5, "kube-apiserver"),
        "/etc/letsencrypt/live/a/cert.pem": certificate(20, "Bücher"),
        "/srv/tls/own.pem": certificate(0, "far", year=2060),  # a GeneralizedTime
        "/srv/tls/old.pem": certificate(-3, "old"),
        "/srv/tls/key.pem": "no certificate",
        "/srv/tls/bad.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }
    report = collect.collect(
        Recorded({"files": files}), "n", sections=["certificates"], certificates=["/srv/tls/*.pem"]
    )
    assert sorted(one.subject for one in report.certificates) == ["Bücher", "far", "kube-apiserver", "old"]
    found = {one.what: (one.severity, one.text) for one in alerts.alerts(report)}
    assert found["/etc/kubernetes/pki/apiserver.crt"][0] == "critical"
    assert found["/etc/letsencrypt/live/a/cert.pem"][0] == "warning"
    assert "ran out 3 days ago" in found["/srv/tls/old.pem"][1]
    assert "/srv/tls/own.pem" not in found


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_told_apart(der: bytes) -> None:
    import base64

    with pytest.raises(Broken):
        services.certificate_of("x", base64.b64encode(der).decode())


# -- comparison ------------------------------------------------------------------------------------
def changed(server: model.Report, **parts: Any) -> list[compare.Difference]:
    return compare.differences(server, dataclasses.replace(server, **parts))


def test_the_same_machine_has_not_changed(server: model.Report) -> None:
    assert compare.differences(server, server) == []
    busy = dataclasses.replace(server.memory, used_bytes=1, cached_bytes=2)
    slower = dataclasses.replace(server.cpu, use_percent=99.0, temperature_celsius=90.0, load_1=40.0)
    assert changed(server, memory=busy, cpu=slower) == []


def test_a_disk_that_is_gone_and_memory_that_is_halved(server: model.Report) -> None:
    half = dataclasses.replace(server.memory, total_bytes=(server.memory.total_bytes or 0) // 2)
    found = changed(server, disks=server.disks[1:], memory=half)
    assert texts(found) == [
        "memory: 126 GiB -> 62.9 GiB (-50 %)",
        "disk sda (ST4000NM0035-1V4107 serial ZC1A1111): is gone",
    ]
    assert {one.severity for one in found} == {"critical"}


def test_a_disk_under_another_name_is_the_same_disk(server: model.Report) -> None:
    renamed = [dataclasses.replace(server.disks[0], name="sdz"), *server.disks[1:]]
    assert changed(server, disks=renamed) == []


def test_a_little_less_memory_is_the_kernels_doing(server: model.Report) -> None:
    total = server.memory.total_bytes or 0
    assert changed(server, memory=dataclasses.replace(server.memory, total_bytes=int(total * 0.99))) == []


def test_links_arrays_and_firmware(server: model.Report) -> None:
    slow = [dataclasses.replace(server.nics[0], speed_mbit=100), *server.nics[1:]]
    mended = [dataclasses.replace(server.raid[0], degraded=False, faulty=[]), server.raid[1]]
    newer = dataclasses.replace(server.firmware, bios_version="2.5")
    found = changed(server, nics=slow, raid=mended, firmware=newer)
    assert "network card eno1: speed mbit 10000 -> 100" in texts(found)
    assert "array md0: degraded yes -> no" in texts(found)
    assert "firmware version: 2.4 -> 2.5" in texts(found)


def test_what_cannot_be_read_is_not_gone(server: model.Report) -> None:
    """A machine without lsblk has not lost its disks."""
    sections = {**server.sections, "disks": model.Section("absent", "lsblk is not installed")}
    after = dataclasses.replace(server, sections=sections, disks=[])
    assert texts(compare.differences(server, after)) == ["disks cannot be read any more: lsblk is not installed"]
    assert texts(compare.differences(after, server)) == ["disks can be read now"]
    partial = read("server", sections=["cpu"])
    assert compare.differences(server, partial) == []


# -- alerts ----------------------------------------------------------------------------------------
def test_alerts_of_a_server_in_need(server: model.Report) -> None:
    found = texts(alerts.alerts(server))
    assert found == [
        "disk nvme0n1 (Samsung SSD 970 EVO Plus 1TB) is worn: 96 % of its life is used",
        "disk sdb (ST4000NM0035-1V4107) says that it is failing",
        "disk sdb (ST4000NM0035-1V4107) has 88 sectors that it cannot read",
        "/ is 96.4 % full, 31.0 GiB left",
        "array md0 is degraded: 1 of 2 disks work",
        "array md1 is degraded: 3 of 4 disks work, recovery is at 12.6 %",
        "thin pool data/pool is 93.2 % full",
        "claim shop/old has lost its volume",
        "disk nvme0n1 (Samsung SSD 970 EVO Plus 1TB) is at 63 °C",
        "disk sda (ST4000NM0035-1V4107) has 16 sectors that it has replaced",
        "disk sdb (ST4000NM0035-1V4107) has 2104 sectors that it has replaced",
        "Tctl of k10temp-pci-00c3 is at 84.25 °C",
        "Tdie of k10temp-pci-00c3 is at 84.25 °C",
        "Composite of nvme-pci-0100 is at 62.85 °C",
        "Sensor 1 of nvme-pci-0100 is at 62.85 °C",
    ]
    assert alerts.alerts(read("raspberry-pi-5")) == []


def test_a_sensors_own_limit_counts_where_it_is_lower() -> None:
    sections = {"sensors": model.Section("ok")}
    sensor = model.Sensor("chip", "core", "temperature", 71.0, "°C", 65.0, 70.0)
    [found] = alerts.alerts(model.Report(sections=sections, sensors=[sensor]))
    assert (found.severity, found.threshold) == ("critical", 70.0)


def test_thresholds_are_checked_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        alerts.thresholds_of({"disk_ware_percent": 3, "filesystem_percent": 120, "certificate_days": "soon"})
    assert caught.value.problems == [
        'thresholds: unknown key "disk_ware_percent"; did you mean "disk_wear_percent"?',
        'thresholds.filesystem_percent: "120" is not valid; allowed: a number from 0 to 100',
        'thresholds.certificate_days: "soon" is not valid; allowed: a number from 0 to 36500',
    ]
    assert alerts.thresholds_of({"filesystem_percent": "70"}).filesystem_percent == 70.0


# -- what is remembered ----------------------------------------------------------------------------
@pytest.fixture
def store(tmp_path: Path) -> Any:
    found = open_store(f"file:{tmp_path}/state")
    yield found
    found.close()


def at(report: model.Report, node: str, moment: float) -> model.Report:
    return dataclasses.replace(report, node=node, time=moment)


LIMITS = alerts.Thresholds()


def test_reports_are_remembered_and_compared(store: Any, server: model.Report) -> None:
    first = history.remember(store, at(server, "node1", 1000.0), LIMITS)
    assert (first.before, first.changes) == (None, [])
    shrunk = dataclasses.replace(server, disks=server.disks[1:])
    second = history.remember(store, at(shrunk, "node1", 2000.0), LIMITS)
    assert second.before == 1000.0
    assert [one["what"] for one in second.changes] == ["sda (ST4000NM0035-1V4107 serial ZC1A1111)"]
    assert history.last(store, "node1").document() == second.document()
    before, after, found = history.between(store, "node1", None)
    assert (before.time, after.time, len(found)) == (1000.0, 2000.0, 1)
    history.remember(store, at(server, "node1", 3000.0), LIMITS)
    assert history.between(store, "node1", 1500.0)[2] == []
    assert texts(history.between(store, "node1", 2500.0)[2]) == [
        "disk sda (ST4000NM0035-1V4107 serial ZC1A1111): is new"
    ]
    assert history.between(store, "node1", 5.0)[0].time == 1000.0


def test_node1_is_not_node10(store: Any, server: model.Report) -> None:
    for name, count in (("node1", 2), ("node10", 3)):
        for number in range(count):
            history.remember(store, at(server, name, 100.0 + number), LIMITS)
    assert [one.report.time for one in history.history(store, "node1")] == [101.0, 100.0]
    assert len(history.history(store, "node10")) == 3
    assert [one.node for one in history.fleet(store)] == ["node1", "node10"]
    assert history.forget(store, "node1")
    assert len(history.history(store, "node10")) == 3
    with pytest.raises(NotFound, match='no report of the node "node1"; did you mean "node10"'):
        history.last(store, "node1")


def test_only_so_many_are_kept_and_an_older_report_replaces_none(store: Any, server: model.Report) -> None:
    for number in range(6):
        history.remember(store, at(server, "n", 100.0 + number), LIMITS, keep=3)
    history.remember(store, at(server, "n", 50.0), LIMITS, keep=4)
    assert history.last(store, "n").report.time == 105.0
    assert [one.report.time for one in history.history(store, "n")] == [105.0, 104.0, 103.0, 50.0]


def test_a_record_without_its_list_of_reports_is_mended(store: Any, server: model.Report) -> None:
    for number in range(3):
        history.remember(store, at(server, "n", 100.0 + number), LIMITS)
    body = store.get("hardware", "n").body
    store.put("hardware", "n", {**body, "kept": "all"})
    history.remember(store, at(server, "n", 200.0), LIMITS, keep=2)
    assert [one.report.time for one in history.history(store, "n")] == [200.0, 102.0]


def test_check_mode_keeps_nothing(store: Any, server: model.Report) -> None:
    history.remember(store, at(server, "n", 1.0), LIMITS)
    told = history.remember(store, at(dataclasses.replace(server, gpus=[]), "n", 2.0), LIMITS, check=True)
    assert len(told.changes) == 2
    assert history.last(store, "n").report.time == 1.0


def test_names_that_no_node_has_are_refused(store: Any, server: model.Report) -> None:
    for name in ("", "a/b", "x" * 151, "a\nb"):
        with pytest.raises(InvalidInput, match="node: "):
            history.remember(store, at(server, name, 1.0), LIMITS)


def test_records_that_somebody_has_spoilt_are_read_all_the_same(store: Any) -> None:
    store.put("hardware", "odd", {"report": {"node": "odd", "disks": "none", "time": "x"}, "changes": 5, "alerts": [1]})
    [found] = history.fleet(store)
    assert (found.node, found.report.disks, found.changes, found.alerts) == ("odd", [], [], [])


# -- alerts are told ------------------------------------------------------------------------------
OK = model.Section("ok")


def full(node: str, moment: float, percent: float, disks: dict[str, float] | None = None) -> model.Report:
    """A report with one filesystem, and the wear of disks."""
    found = [
        model.Filesystem(mountpoint="/", source="/dev/sda1", used_percent=percent, available_bytes=int(percent * 1e7))
    ]
    smart = [model.Smart(disk=name, wear_percent=wear) for name, wear in (disks or {}).items()]
    sections = {"smart": OK, "filesystems": OK}
    return model.Report(node=node, time=moment, filesystems=found, smart=smart, sections=sections)


def told(store: Any) -> list[tuple[str, list[str], list[str]]]:
    entries = [one for one in store.audit() if one.action in alarms.ACTIONS]
    lists = [
        [[row["text"].split(",")[0] for row in one.details[side]] for side in ("raised", "cleared")] for one in entries
    ]
    return [(one.action, raised, cleared) for one, (raised, cleared) in zip(entries, lists, strict=True)]


def test_alerts_are_told_once_when_new_or_graver_and_when_over(store: Any) -> None:
    for number, percent in enumerate((50.0, 86.0, 89.5, 96.0, 90.0, 50.0)):
        history.remember(store, full("n", 100.0 + number, percent), LIMITS)
    assert told(store) == [
        ("hardware.alert", ["/ is 86 % full"], []),
        ("hardware.alert", ["/ is 96 % full"], []),
        ("hardware.clear", [], ["/ is 90 % full"]),
    ]
    first = store.audit()[0]
    assert (first.target, first.who, first.details["warning"], first.details["critical"]) == (
        "hardware/n",
        "hardware_report",
        1,
        0,
    )


def test_an_alert_stands_while_its_part_is_not_read(store: Any) -> None:
    worn = full("n", 1.0, 50.0, {"sda": 85.0})
    history.remember(store, worn, LIMITS)
    unread = model.Section("failed", "smartctl is not installed")
    without = dataclasses.replace(worn, time=2.0, smart=[], sections={"smart": unread, "filesystems": OK})
    assert history.remember(store, without, LIMITS).alerts == []
    history.remember(store, full("n", 3.0, 50.0, {"sda": 86.0}), LIMITS)
    assert told(store) == [("hardware.alert", ["disk sda is worn: 85 % of its life is used"], [])]
    history.remember(store, full("n", 4.0, 50.0, {"sda": 10.0}), LIMITS)
    assert told(store)[1:] == [("hardware.clear", [], ["disk sda is worn: 86 % of its life is used"])]


def test_an_array_that_is_there_no_more_wants_nothing(store: Any) -> None:
    broken = dataclasses.replace(full("n", 1.0, 50.0), raid=[model.Array(name="md0", degraded=True)])
    history.remember(store, dataclasses.replace(broken, sections={**broken.sections, "raid": OK}), LIMITS)
    history.remember(store, full("n", 2.0, 50.0), LIMITS)  # of other parts only
    gone = {"raid": model.Section("absent", "there are no arrays")}
    history.remember(store, dataclasses.replace(full("n", 3.0, 50.0), sections=gone), LIMITS)
    assert [action for action, _raised, _cleared in told(store)] == ["hardware.alert", "hardware.clear"]


def test_an_older_report_and_check_mode_tell_nothing(store: Any) -> None:
    history.remember(store, full("n", 5.0, 50.0), LIMITS)
    history.remember(store, full("n", 4.0, 99.0), LIMITS)
    history.remember(store, full("n", 6.0, 99.0), LIMITS, check=True)
    assert told(store) == []


def test_two_alerts_of_one_disk_are_two(store: Any) -> None:
    rows = [
        {"section": "smart", "what": "sda", "severity": "critical", "text": f"disk sda has 3 {words}"}
        for words in ("a", "b")
    ]
    found = alarms.news(rows[:1], rows)
    assert (found.raised, found.cleared) == (rows[1:], [])
    eased = alarms.news(rows, [{**row, "severity": "warning", "text": row["text"].replace("3", "11")} for row in rows])
    assert not eased


def test_an_entry_of_the_chain_has_bounds(store: Any) -> None:
    many = {f"disk{number}": 99.0 if number == 40 else 85.0 for number in range(50)}
    history.remember(store, full("n", 1.0, 50.0, many), LIMITS)
    details = store.audit()[0].details
    assert (len(details["raised"]), details["raised_count"], details["warning"]) == (alarms.MOST, 50, 49)
    assert details["raised"][0]["what"] == "disk40"


def test_all_parts_that_alerts_come_from_are_counted() -> None:
    source = inspect.getsource(alerts)
    assert set(re.findall(r'Alert\("(\w+)"', source)) == set(alarms.SECTIONS)


# -- pages -----------------------------------------------------------------------------------------
class Checker(HTMLParser):
    """Notes tags that are not closed, and whatever would be fetched or run."""

    VOID = ("meta", "rect", "line", "circle", "polyline", "input", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if (
                name in ("style", "src", "srcset")
                or name.startswith("on")
                or (value or "").startswith(("http", "//", "java"))
            ):
                self.faults.append(f"{tag} {name}={value}")
        if tag in ("script", "link", "img", "iframe", "object"):
            self.faults.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"/{tag}")


def well_formed(text: str) -> bool:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert (checker.faults, checker.open) == ([], [])
    return True


def test_a_nodes_page_has_charts_and_fetches_nothing(server: model.Report) -> None:
    known = history.Known(server, [], [one.document() for one in alerts.alerts(server)], 1.0)
    earlier = [history.Known(at(server, "server", server.time - 3600 * hours)) for hours in range(5)]
    text = page.whole("server", page.node(known, earlier))
    assert well_formed(text)
    assert text.count("<svg") >= 6
    assert "Over time" in text and "polyline" in text
    assert "disk sdb (ST4000NM0035-1V4107) says that it is failing" in text


def test_the_fleets_page_links_to_the_nodes(server: model.Report) -> None:
    rows = [history.Known(at(server, name, time.time())) for name in ("node1", "a b?c")]
    text = page.whole("Hardware", page.fleet(rows))
    assert well_formed(text)
    assert 'href="node1.html"' in text and 'href="a%20b%3Fc.html"' in text
    assert "<b>64</b> processors" in text
    assert page.fleet([]) == "<p>There are no reports.</p>"


def test_names_do_not_become_markup(server: model.Report) -> None:
    evil = "<script>alert(1)</script>\"'"
    disks = [dataclasses.replace(server.disks[0], model=evil, name=evil)]
    nics = [dataclasses.replace(server.nics[0], name=evil)]
    mounts = [dataclasses.replace(server.filesystems[0], mountpoint=evil)]
    report = dataclasses.replace(server, node=evil, disks=disks, nics=nics, filesystems=mounts)
    alert = {"severity": evil, "text": evil}
    known = history.Known(report, [alert], [alert], 1.0)
    text = page.whole(evil, page.node(known, [known, known]) + page.fleet([known]))
    assert "<script" not in text
    assert well_formed(text)


def test_a_chart_of_one_moment_or_of_nothing() -> None:
    assert well_formed(charts.line("x", [(5.0, 0.0), (5.0, 0.0)], "%"))
    assert well_formed(charts.bars("x", [charts.Bar("a", 7.0, "much"), charts.Bar("b", -1.0, "little")]))


# -- the module ------------------------------------------------------------------------------------
def test_the_modules_documentation_says_what_the_core_does() -> None:
    documented = yaml.safe_load(hardware_report.DOCUMENTATION)["options"]
    assert documented["sections"]["choices"] == list(model.SECTIONS)
    assert {name for name in alerts.NAMES if f"V({name})" not in str(documented["thresholds"])} == set()
    limits = dataclasses.asdict(alerts.Thresholds())
    assert [
        name
        for name, value in limits.items()
        if f"V({name}) ({value:g})" not in " ".join(documented["thresholds"]["description"])
    ] == []
    assert {name: OPTIONS[name] for name in STATE_OPTIONS} == STATE_OPTIONS
    assert set(OPTIONS) == {*documented, *STATE_OPTIONS}


def test_units_stand_in_the_names_of_fields() -> None:
    numbers = {
        f"{kind.__name__}.{field.name}"
        for kind in vars(model).values()
        if dataclasses.is_dataclass(kind)
        for field in dataclasses.fields(kind)
        if "float" in str(field.type) and not model.unit_of(field.name)
    }
    # loads have no unit, and a sensor says its own beside the value
    assert numbers == {"Cpu.load_1", "Cpu.load_15", "Sensor.value", "Sensor.high", "Sensor.critical"}


@pytest.mark.parametrize(("url", "loaded"), [("sqlite:/nowhere/state.db", "True"), ("file:/nowhere", "False")])
def test_what_a_store_needs_is_loaded_once_for_all_hosts(url: str, loaded: str) -> None:
    """Ansible forks a worker for each host from the process that loads the plugin."""
    plugin = "ansible_collections.rackstead.infra.plugins.action.hardware_report"
    code = f"import sys, {plugin}; print('sqlalchemy.dialects.sqlite' in sys.modules)"
    env = {**os.environ, "RACKSTEAD_STATE": url, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == loaded, done.stderr
