# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of the stand-in's clusters: what is in them, and what becomes of those that went wrong."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import stat
import tarfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    OperationFailed,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import backup, info, objects
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.backup import Wanted, ensure_backup, verify
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from testbed.microk8s import FAST, Lab

COUNTS = {
    "_cluster/namespaces": 3,
    "shop/configmaps": 1,
    "shop/deployments.apps": 1,
    "shop/ingresses.extensions": 1,
    "shop/secrets": 1,
    "shop/services": 1,
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state", FAST)


@pytest.fixture
def node(lab: Lab) -> MicroK8s:
    return lab.formed(1)["n1"]


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    return Wanted(tmp_path / "backups", keep=2)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def rewritten(archive: Path, **changed: bytes | None) -> Path:
    """The archive with files of another content, or, with None, without them."""
    contents: dict[str, bytes | None] = {**backup.files_of(archive), **changed}
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in contents.items():
            if text is not None:
                entry = tarfile.TarInfo(name)
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text))
    return archive


def test_a_backup_holds_what_somebody_wrote_and_nothing_else(lab: Lab, node: MicroK8s, wanted: Wanted) -> None:
    found = ensure_backup(node, wanted)
    assert found["changed"] and found["counts"] == COUNTS
    archive = Path(found["archive"])
    assert mode(archive) == 0o600 and mode(wanted.folder) == 0o700
    assert archive.stat().st_size == found["size"]
    assert {one.name for one in wanted.folder.iterdir()} == {archive.name, ".lock"}
    contents = backup.files_of(archive)
    assert set(contents) == {"manifest.json", "datastore.tar.gz", *(f"objects/{name}.yaml" for name in COUNTS)}
    assert list(yaml.safe_load_all(contents["objects/shop/deployments.apps.yaml"])) == [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2},
        }
    ]
    assert yaml.safe_load(contents["objects/shop/services.yaml"])["spec"] == {"ports": [{"port": 80}]}
    assert yaml.safe_load(contents["objects/shop/secrets.yaml"])["data"] == {"key": "aHVzaC1odXNo"}
    settings = lab.cluster("n1")["objects"]["configmaps"][1]["data"]
    assert yaml.safe_load(contents["objects/shop/configmaps.yaml"])["data"] == settings
    assert "aHVzaC1odXNo" not in json.dumps(found)
    with tarfile.open(fileobj=io.BytesIO(contents["datastore.tar.gz"])) as dump:
        assert dump.getnames() == ["datastore/0.data"]


def test_a_part_alone(node: MicroK8s, wanted: Wanted) -> None:
    only = ensure_backup(node, Wanted(wanted.folder, datastore=False))
    assert "datastore.tar.gz" not in backup.files_of(Path(only["archive"]))
    only = ensure_backup(node, Wanted(wanted.folder, objects=False))
    assert set(backup.files_of(Path(only["archive"]))) == {"manifest.json", "datastore.tar.gz"}
    assert verify(node, wanted)["counts"] == {}


def test_old_ones_go_and_what_is_not_ours_stays(node: MicroK8s, wanted: Wanted) -> None:
    wanted.folder.mkdir()
    mine = wanted.folder / "microk8s-mine.tar.gz"
    mine.write_text("x")
    made = [Path(ensure_backup(node, wanted)["archive"]) for _ in range(2)]
    told = ensure_backup(node, wanted, check=True)
    assert told["removed"] == [made[0].name] and backup.backups(wanted.folder) == made
    last = ensure_backup(node, wanted)
    assert last["removed"] == [made[0].name]
    assert backup.backups(wanted.folder) == [made[1], Path(last["archive"])] and mine.exists()


def test_check_mode_changes_nothing(lab: Lab, node: MicroK8s, wanted: Wanted) -> None:
    before = lab.commands()
    assert ensure_backup(node, wanted, check=True)["changed"]
    assert not wanted.folder.exists() and lab.commands() == before


def test_what_a_killed_run_left_is_removed(node: MicroK8s, wanted: Wanted) -> None:
    left = [wanted.folder / ".rackstead-backup-x", node.data / ".rackstead-backup-y"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
    ensure_backup(node, wanted)
    assert not any(folder.exists() for folder in left)


def test_killed_in_the_middle_it_is_run_again(lab: Lab, node: MicroK8s, wanted: Wanted) -> None:
    with lab.truth() as state:
        state["delays"]["dbctl"] = 1.0  # after which the stand-in, whose parent is gone, ends by itself
    child = os.fork()
    if not child:
        try:
            ensure_backup(node, wanted)
        finally:
            os._exit(0)
    try:
        there = Deadline(30)
        wait_until(lambda: list(node.data.glob(".rackstead-backup-*")) or None, there, what="the dump to begin")
    finally:
        os.kill(child, signal.SIGKILL)
        _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and not backup.backups(wanted.folder)
    with lab.truth() as state:
        state["delays"]["dbctl"] = 0.0
    made = Path(ensure_backup(node, wanted)["archive"])
    assert {one.name for one in wanted.folder.iterdir()} == {made.name, ".lock"}
    assert not list(node.data.glob(".rackstead-backup-*")) and verify(node, wanted)["differing"] == []


def test_one_at_a_time(node: MicroK8s, wanted: Wanted) -> None:
    wanted.folder.mkdir()
    with (wanted.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match=r"another backup into .* is under way"):
            ensure_backup(node, wanted)
    assert ensure_backup(node, wanted)["changed"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("silent", "dbctl backup failed: Backing up the datastore"),
        ("empty", "the datastore's backup is empty"),
        ("cut", "the datastore's backup cannot be read back"),
    ],
)
def test_a_datastore_that_was_not_written_is_no_backup(
    lab: Lab, node: MicroK8s, wanted: Wanted, fault: str, told: str
) -> None:
    kept = ensure_backup(node, wanted)["archive"]
    lab.order("n1", dbctl=fault)
    with pytest.raises(OperationFailed, match=told):
        ensure_backup(node, wanted)
    assert [str(one) for one in backup.backups(wanted.folder)] == [kept]
    assert not list(node.data.glob(".rackstead-backup-*")) and not list(wanted.folder.glob(".rackstead-backup-*"))


def test_kinds_that_are_told_in_part_are_no_backup(lab: Lab, node: MicroK8s, wanted: Wanted) -> None:
    lab.order("n1", aggregated="away")
    with pytest.raises(Unreachable, match=r"does not tell its kinds: .*metrics\.k8s\.io"):
        ensure_backup(node, wanted)
    assert backup.backups(wanted.folder) == []


def test_who_is_no_control_plane_is_refused(lab: Lab, wanted: Wanted) -> None:
    made = lab.formed(1, 1)
    with pytest.raises(Conflict, match=r"no cluster answers on this machine \(worker\)"):
        ensure_backup(made["n2"], wanted)
    lab.order("n1", dead=True)
    with pytest.raises(Conflict, match=r"\(stopped\)"):
        ensure_backup(made["n1"], wanted)


def test_bad_input_is_told_at_once(node: MicroK8s) -> None:
    with pytest.raises(InvalidInput) as caught:
        ensure_backup(node, Wanted(Path("here"), 0, False, False))
    assert [line.partition(":")[0] for line in caught.value.problems] == ["keep", "path", "objects, datastore"]


def test_verifying_tells_what_has_changed_since(lab: Lab, node: MicroK8s, wanted: Wanted) -> None:
    with pytest.raises(NotFound, match="there is no backup"):
        verify(node, wanted)
    made = ensure_backup(node, wanted)
    found = verify(node, wanted)
    assert not found["changed"] and found["archive"] == made["archive"] and found["differing"] == []
    with lab.truth() as state:
        state["clusters"]["c"]["objects"]["secrets"].pop()
    assert verify(node, wanted)["differing"] == ["shop/secrets: 1 in the backup, 0 in the cluster"]
    lab.order("n1", dead=True)
    assert verify(node, wanted)["differing"] == []  # it can be read where no cluster is


def test_damage_is_told(node: MicroK8s, wanted: Wanted) -> None:
    archive = Path(ensure_backup(node, wanted)["archive"])
    whole = archive.read_bytes()
    changed: list[tuple[str, bytes | None, str]] = [
        ("objects/shop/secrets.yaml", b"---\n{}\n", "objects/shop/secrets.yaml is not what was written"),
        ("objects/shop/secrets.yaml", None, "objects/shop/secrets.yaml is missing or not listed"),
        ("objects/shop/more.yaml", b"---\n{}\n", "objects/shop/more.yaml is missing or not listed"),
        ("manifest.json", None, "is no backup that can be read"),
        ("manifest.json", b'{"format": 2}', "another format"),
    ]
    for name, text, told in changed:
        archive.write_bytes(whole)
        with pytest.raises(OperationFailed, match=told):
            verify(node, wanted, str(rewritten(archive, **{name: text})))
    archive.write_bytes(whole[:-30])
    with pytest.raises(OperationFailed, match="no backup that can be read"):
        verify(node, wanted)
    with pytest.raises(NotFound, match="there is no"):
        verify(node, wanted, str(archive.with_name("none")))


def test_what_the_cluster_adds_is_left_out() -> None:
    pod = objects.cleaned(
        {
            "kind": "Pod",
            "metadata": {"name": "a", "uid": "1"},
            "spec": {
                "nodeName": "n1",
                "volumes": [{"name": "kube-api-access-x"}, {"name": "data"}],
                "containers": [{"name": "c", "volumeMounts": [{"name": "kube-api-access-x"}, {"name": "data"}]}],
            },
        }
    )
    assert pod["spec"] == {
        "volumes": [{"name": "data"}],
        "containers": [{"name": "c", "volumeMounts": [{"name": "data"}]}],
    }
    volume = objects.cleaned(
        {
            "kind": "PersistentVolume",
            "metadata": {"name": "v", "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
            "spec": {"claimRef": {"name": "c", "namespace": "n", "uid": "1", "resourceVersion": "2"}},
        }
    )
    assert volume["metadata"] == {"name": "v"} and volume["spec"]["claimRef"] == {"name": "c", "namespace": "n"}
    job = objects.cleaned(
        {
            "kind": "Job",
            "metadata": {"name": "j", "labels": {"controller-uid": "1", "mine": "2"}},
            "spec": {
                "selector": {"matchLabels": {"controller-uid": "1"}},
                "template": {"metadata": {"labels": {"controller-uid": "1"}}},
            },
        }
    )
    assert job["metadata"]["labels"] == {"mine": "2"} and "selector" not in job["spec"]
    assert job["spec"]["template"]["metadata"]["labels"] == {}
    headless = objects.cleaned({"kind": "Service", "metadata": {"name": "s"}, "spec": {"clusterIP": "None"}})
    assert headless["spec"] == {"clusterIP": "None"}


def test_the_datastores_size_is_told(lab: Lab) -> None:
    made = lab.formed(1, 1)
    backend = made["n1"].data / "var/kubernetes/backend"
    before = sum(one.stat().st_size for one in backend.iterdir())
    assert info.gather(made["n1"])["datastore"]["bytes"] == before
    (backend / "open-1").write_bytes(bytes(4096))
    assert info.gather(made["n1"])["datastore"]["bytes"] == before + 4096
    backend.rename(backend.with_name("away"))
    assert info.backend_bytes(made["n1"]) is None
