# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What logs and inspections tell is wrong, without what is secret in them, and in which order."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import inspect, troubles
from testbed.microk8s import FAST, Lab

TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6Ijh4"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("write /var/lib/x: no space left on device", "a disk is full"),
        (
            "tls: failed: x509: certificate has expired or is not yet valid: current time 2026",
            "a certificate has run out",
        ),
        ("x509: certificate signed by ca is not yet valid", "the machine's clock is not that of the others"),
        ("failed to create dqlite: no known leader", "the datastore has no leader"),
        ("missing required cgroups: memory", "control groups are missing"),
        ("Running with swap on is not supported, please disable swap", "swap is on, and kubelet refuses it"),
        ("error in txn: query (try: 500): database is locked", "the datastore is slow"),
        ("Memory cgroup out of memory: Killed process 1 (java)", "processes were ended for want of memory"),
        (
            'eviction manager: attempting to reclaim resourceName="ephemeral-storage" DiskPressure',
            "the node's disk is short of space",
        ),
        ("failed to create fsnotify watcher: too many open files", "a limit of open files or watches is reached"),
        ("cni plugin not initialized", "the network of pods is not ready"),
        (
            "429 Too Many Requests - toomanyrequests: You have reached",
            "the registry of images refuses: too many requests",
        ),
        ("lookup registry-1.example on 127.0.0.53:53: i/o timeout", "names cannot be resolved"),
        ("dial tcp 10.0.0.2:19001: connect: connection refused", "another node's ports cannot be reached"),
        ("Back-off pulling image: ErrImagePull", "images could not be pulled"),
    ],
)
def test_lines_of_logs_tell_of_troubles(line: str, what: str) -> None:
    (found,) = troubles.of_log("kubelite", ["I0301 all is well", line, line])
    assert (found["key"], "2 times" in found["what"]) == (what, True)
    assert found["severity"] in troubles.SEVERITIES and found["todo"]


def test_a_quoted_line_has_no_secret_and_an_end() -> None:
    line = f"no space left on device token={TOKEN} password: hunter2 {'x' * 500} {TOKEN}"
    (found,) = troubles.of_log("a", [line])
    assert TOKEN not in found["what"] and "hunter2" not in found["what"] and len(found["what"]) < 250
    assert TOKEN not in troubles.quoted(f"Authorization: {TOKEN}") and TOKEN not in troubles.quoted(f"saw {TOKEN}")


def test_the_worst_comes_first_then_what_most_tell() -> None:
    full = troubles.finding("critical", "a disk is full (n1)", "free space", key="full")
    other = {**full, "what": "a disk is full (n2)"}
    note, warn = troubles.finding("notice", "n", "x"), {"severity": "warning", "what": "w", "todo": "y"}
    found = troubles.ranked({"n1": [note, full, warn], "n2": [other, note], "n3": [note]})
    assert [(one["severity"], one["nodes"]) for one in found] == [
        ("critical", ["n1", "n2"]),
        ("warning", ["n1"]),
        ("notice", ["n1", "n2", "n3"]),
    ]
    assert troubles.as_text(found).startswith("1. critical: a disk is full (n1) (n1, n2)\n   free space\n2. warning")
    assert troubles.as_text([]) == "nothing was found that is not well\n"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state", FAST)


def test_a_machine_inspects_itself(lab: Lab) -> None:
    client = lab.formed(1)["n1"]
    with lab.truth() as state:
        state["machines"]["n1"] |= {"running": False, "warnings": ["IPtables FORWARD policy is DROP."]}
        state["machines"]["n1"]["logs"] = {"daemon-k8s-dqlite": "started\ndatabase is locked\n"}
    assert inspect.inspect(client, check=True) == {"changed": True, "archive": "", "size": 0, "findings": []}
    found = inspect.inspect(client)
    archive = Path(found["archive"])
    assert (found["size"], archive.stat().st_mode & 0o777) == (archive.stat().st_size, 0o600)
    told = [(one["severity"], one["what"].partition(" (")[0]) for one in found["findings"]]
    assert told[0] == ("critical", "Service snap.microk8s.daemon-containerd is not running")
    assert told[3:] == [("warning", "IPtables FORWARD policy is DROP."), ("warning", "the datastore is slow")]
    assert "iptables -P FORWARD ACCEPT" in found["findings"][3]["todo"]
    lab.order("n1", inspect="silent")
    with pytest.raises(OperationFailed, match=r"left no report: .*No space left on device"):
        inspect.inspect(client)


def test_a_report_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    assert [one["severity"] for one in inspect._of_logs(tmp_path / "a.tar.gz")] == ["notice"]


def test_reports_and_findings_are_one_archive(tmp_path: Path) -> None:
    reports, archive = tmp_path / "reports", tmp_path / "lab.tar.gz"
    machines = {"n1": [troubles.finding("warning", "w", "y")]}
    with pytest.raises(InvalidInput, match="folder:"):
        inspect.pack(reports, archive, machines)
    reports.mkdir()
    (reports / "n1.tar.gz").write_bytes(b"one")
    assert inspect.pack(reports, archive, machines, check=True)["changed"] and not archive.exists()
    packed = inspect.pack(reports, archive, machines)
    assert archive.stat().st_mode & 0o777 == 0o600 and [one.name for one in tmp_path.iterdir() if one.is_file()] == [
        "lab.tar.gz"
    ]
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == ["lab/findings.json", "lab/findings.txt", "lab/n1.tar.gz"]
        file = tar.extractfile("lab/findings.json")
        assert file and json.load(file) == packed["findings"] == [
            {"severity": "warning", "what": "w", "todo": "y", "nodes": ["n1"]}
        ]
