# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters of the stand-in backed up, damaged, and restored: their objects are as they were, and nobody's work is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    OperationFailed,
)
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import objects, restore
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import restore_datastore as datastore
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.backup import Wanted, ensure_backup
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.restore import Choice, compare, ensure_objects
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Result
from testbed.microk8s import FAST, Lab

ALL = Choice()
CRD = "customresourcedefinitions.apiextensions.k8s.io"
#: The stand-in keeps it under two names, and does not know that they are one.
TWICE = "ingresses.networking.k8s.io"
SECRET = "aHVzaC1odXNo"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state", {**FAST, "crd": 0.1})


@pytest.fixture
def node(lab: Lab) -> MicroK8s:
    """A machine whose cluster has accounts, and a kind that somebody has defined."""
    client = lab.formed(1)["n1"]
    client.kubectl("api-resources")  # which makes the usual objects
    with lab.truth() as state:
        held = state["clusters"]["c"]["objects"]
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}}
        held["serviceaccounts"] = [{**account, "imagePullSecrets": [{"name": "key"}]}]
        spec = {"group": "shop.example.org", "names": {"kind": "Till", "plural": "tills"}}
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
        held[CRD] = [{**definition, "metadata": {"name": "tills.shop.example.org"}}]
        till = {"apiVersion": "shop.example.org/v1", "kind": "Till", "spec": {"coins": 3}}
        labels = {"tier": "front"}
        held["tills.shop.example.org"] = [{**till, "metadata": {"name": "a", "namespace": "shop", "labels": labels}}]
    return client


@pytest.fixture
def archive(node: MicroK8s, tmp_path: Path) -> Path:
    return Path(ensure_backup(node, Wanted(tmp_path / "backups"))["archive"])


def held(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = lab.cluster("n1")["objects"]
    return found


def meant(lab: Lab) -> dict[str, Any]:
    """All objects, without what the cluster adds, by kind, namespace and name."""
    return {
        f"{kind}/{restore.space_of(one)}/{one['metadata']['name']}": objects.cleaned(one)
        for kind, items in held(lab).items()
        for one in items
        if not objects.made(one) and kind not in objects.MADE_BY_KIND and kind != TWICE
    }


def lose(lab: Lab, *kinds: str, space: str = "") -> None:
    """Objects are deleted: all of some kinds, or all of a namespace."""
    with lab.truth() as state:
        mine = state["clusters"]["c"]["objects"]
        for kind in kinds or list(mine):
            mine[kind] = [
                one
                for one in mine[kind]
                if space and space not in (one["metadata"].get("namespace"), one["metadata"]["name"])
            ]


def alter(lab: Lab, kind: str, name: str, **fields: Any) -> None:
    with lab.truth() as state:
        for one in state["clusters"]["c"]["objects"][kind]:
            if one["metadata"]["name"] == name:
                one.update(fields)
                one["metadata"]["resourceVersion"] = "99"


def test_what_was_deleted_comes_back_and_again_there_is_nothing_to_do(lab: Lab, node: MicroK8s, archive: Path) -> None:
    before = meant(lab)
    with lab.truth() as state:
        mine = state["clusters"]["c"]["objects"]
        del mine["tills.shop.example.org"], mine[CRD][:]
    lose(lab, space="shop")
    assert "services/shop/web" not in meant(lab)
    found = ensure_objects(node, archive, ALL)
    assert meant(lab) == before | {
        "namespaces/_cluster/shop": {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}},
        }
    }
    assert found["changed"] and found["differing"] == []
    assert "shop/tills.shop.example.org/a" in found["created"]
    assert held(lab)["services"][-1]["spec"]["clusterIP"] == "10.152.183.77"
    order = [one.partition("/")[2].partition("/")[0] for one in found["created"]]
    assert order.index("namespaces") < order.index(CRD) < order.index("secrets") < order.index("deployments.apps")
    again = ensure_objects(node, archive, ALL)
    assert not again["changed"] and again["created"] == [] and again["left"] == found["left"] + len(found["created"])
    assert not list(node.data.glob(f"{restore.PART}*"))


def test_what_differs_is_refused_before_anything_is_changed(lab: Lab, node: MicroK8s, archive: Path) -> None:
    before = meant(lab)
    alter(lab, "deployments.apps", "web", spec={"replicas": 9})
    alter(lab, "secrets", "key", data={"key": "bmV3"})
    lose(lab, "services")
    damaged, log = meant(lab), lab.commands()
    with pytest.raises(Conflict) as caught:
        ensure_objects(node, archive, ALL)
    assert "shop/deployments.apps/web (spec.replicas)" in str(caught.value)
    assert "shop/secrets/key (data.key)" in str(caught.value)
    assert meant(lab) == damaged
    assert [line for line in lab.commands()[len(log) :] if "api-resources" not in line] == []
    told = ensure_objects(node, archive, Choice(overwrite=True), check=True)
    assert told["changed"] and meant(lab) == damaged
    assert "shop/secrets/key: differs in data.key" in told["diff"]["before"]
    found = ensure_objects(node, archive, Choice(overwrite=True))
    assert found["created"] == told["created"] == ["shop/services/web"]
    assert found["replaced"] == told["replaced"] == ["shop/secrets/key", "shop/deployments.apps/web"]
    assert meant(lab) == before
    for secret in (SECRET, "bmV3"):
        assert secret not in json.dumps([found, told, str(caught.value), lab.commands()])


def test_what_is_chosen_and_nothing_else(lab: Lab, node: MicroK8s, archive: Path) -> None:
    lose(lab, space="shop")
    found = ensure_objects(node, archive, Choice(kinds=("ConfigMap", "services"), namespaces=("shop",)))
    assert found["created"] == ["_cluster/namespaces/shop", "shop/configmaps/settings", "shop/services/web"]
    found = ensure_objects(node, archive, Choice(selector="tier=front"))
    assert found["created"] == ["shop/tills.shop.example.org/a"]
    found = ensure_objects(node, archive, Choice(namespaces=("_cluster",), kinds=("namespaces",)))
    assert found["created"] == [] and found["left"] == 3


def test_a_namespace_that_is_only_needed_is_not_touched(lab: Lab, node: MicroK8s, archive: Path) -> None:
    lose(lab, "services")
    with lab.truth() as state:
        state["clusters"]["c"]["objects"]["namespaces"][2]["metadata"]["labels"] = {"mine": "yes"}
    found = ensure_objects(node, archive, Choice(kinds=("services",)))
    assert found["created"] == ["shop/services/web"]
    with pytest.raises(Conflict, match=r"_cluster/namespaces/shop \(metadata.labels"):
        ensure_objects(node, archive, ALL)


def test_bad_input_is_told_with_what_there_is(node: MicroK8s, archive: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        ensure_objects(node, archive, Choice(("shap",), ("secret", "servics"), "a b"))
    assert caught.value.problems == [
        'namespaces: "shap" is not in the backup; did you mean shop?',
        'kinds: "servics" is not in the backup; did you mean services?',
        'selector: "a b" is not valid; allowed: key=value, key!=value, key, !key, joined by commas',
    ]


@pytest.mark.parametrize(
    ("selector", "bears"),
    [("", 1), ("a=1", 1), ("a==1,b", 1), ("a!=2, !c", 1), ("!a", 0), ("c", 0), ("a=2", 0), ("c!=1", 1), ("b=", 1)],
)
def test_selectors(selector: str, bears: int) -> None:
    one = {"metadata": {"labels": {"a": "1", "b": ""}}}
    assert restore.labelled(selector)(one) is bool(bears)


def test_an_archive_that_is_damaged_changes_nothing(lab: Lab, node: MicroK8s, archive: Path) -> None:
    lose(lab, "services")
    damaged, whole = meant(lab), archive.read_bytes()
    archive.write_bytes(whole[:-30])
    for ask in (ensure_objects, lambda *given: datastore.ensure_datastore(*given[:2], False)):
        with pytest.raises(OperationFailed, match="no backup that can be read"):
            ask(node, archive, ALL)
    assert meant(lab) == damaged
    archive.write_bytes(whole)
    with pytest.raises(NotFound, match="there is no"):
        restore.newest(archive.parent / "none")
    assert restore.newest(archive.parent) == archive


def test_an_api_that_is_away_is_no_obstacle_to_what_brings_it_back(lab: Lab, node: MicroK8s, archive: Path) -> None:
    before = meant(lab)
    lose(lab, "services")
    lab.order("n1", aggregated="away")
    assert ensure_objects(node, archive, ALL)["created"] == ["shop/services/web"]
    assert meant(lab) == before


def test_a_kind_that_nobody_defines_is_refused(lab: Lab, node: MicroK8s, archive: Path) -> None:
    with lab.truth() as state:
        del state["clusters"]["c"]["objects"]["tills.shop.example.org"]
    lose(lab, "services")
    with pytest.raises(Conflict, match=r"does not know these kinds: tills\.shop\.example\.org"):
        ensure_objects(node, archive, Choice(kinds=("tills", "services")))
    assert held(lab)["services"] == []


def test_what_is_forbidden_is_told_without_secrets_and_the_rest_is_done(
    lab: Lab, node: MicroK8s, archive: Path
) -> None:
    before = meant(lab)
    lose(lab, "services", "secrets", "deployments.apps")
    lab.order("n1", write="shop/key")
    with pytest.raises(OperationFailed) as caught:
        ensure_objects(node, archive, ALL)
    assert "kubectl create secrets failed: Error from server (Forbidden)" in str(caught.value)
    assert SECRET not in str(caught.value) and held(lab)["deployments.apps"] == []
    lab.order("n1", write="")
    ensure_objects(node, archive, ALL)
    assert meant(lab) == before


def test_what_is_about_to_go_is_waited_for_by_nobody(lab: Lab, node: MicroK8s, archive: Path) -> None:
    with lab.truth() as state:
        state["clusters"]["c"]["objects"]["services"][1]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(Conflict, match="about to be removed: shop/services/web"):
        ensure_objects(node, archive, Choice(overwrite=True))


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and nothing is mended behind it."""


class Ending:
    """A runner that ends the run before its ``left``-th command that writes."""

    def __init__(self, runner: Any, left: int, words: tuple[str, ...]) -> None:
        self.runner, self.left, self.words = runner, left, words

    def run(self, argv: Any, timeout: float) -> Result:
        found: Result = self.runner.run(argv, timeout)
        if any(word in argv for word in self.words):
            self.left -= 1
            if not self.left:
                raise Killed
        return found


@pytest.mark.parametrize("number", [1, 2, 4])
def test_ended_behind_a_command_it_is_run_again_to_the_same_end(
    lab: Lab, node: MicroK8s, archive: Path, number: int
) -> None:
    """Behind the namespace (whose account the cluster makes at once), the definition, and the account."""
    before, real = meant(lab), node.runner
    with lab.truth() as state:
        del state["clusters"]["c"]["objects"]["tills.shop.example.org"]
        state["clusters"]["c"]["objects"][CRD].clear()
    lose(lab, space="shop")
    node.runner = Ending(real, number, ("create", "replace"))
    chosen = Choice(kinds=("namespaces", CRD, "serviceaccounts", "tills"))
    with pytest.raises(Killed):
        ensure_objects(node, archive, chosen)
    node.runner = real
    ensure_objects(node, archive, chosen)
    found = meant(lab)
    for key in (
        "tills.shop.example.org/shop/a",
        "serviceaccounts/shop/default",
        f"{CRD}/_cluster/tills.shop.example.org",
    ):
        assert found[key] == before[key]
    assert not ensure_objects(node, archive, chosen)["changed"]


# -- the datastore ---------------------------------------------------------------------------------
def quiet(made: dict[str, MicroK8s]) -> None:
    machines = [datastore.looked(client) for client in made.values()]
    for client in made.values():
        datastore.ensure_quiet(client, machines, False)


def test_the_datastore_comes_back_while_no_api_server_runs(lab: Lab, tmp_path: Path) -> None:
    made = lab.formed(3)
    archive = Path(ensure_backup(made["n1"], Wanted(tmp_path / "backups"))["archive"])
    before = held(lab)
    alter(lab, "deployments.apps", "web", spec={"replicas": 9})
    lose(lab, "services", "secrets")
    with pytest.raises(Conflict, match="the API server runs on this machine"):
        datastore.ensure_datastore(made["n1"], archive, False)
    quiet(made)
    assert [datastore.looked(client)["running"] for client in made.values()] == [False] * 3
    assert lab.cluster("n1")["lost"] == []  # the quorum was never at stake
    assert datastore.ensure_datastore(made["n2"], archive, False)["changed"]
    assert lab.cluster("n1")["restores"] == [{"awake": []}]
    assert all(datastore.ensure_awake(client, 20, False)["changed"] for client in made.values())
    assert held(lab) == before and compare(made["n3"], archive, ALL)["missing"] == []
    assert not any(datastore.ensure_awake(client, 20, False)["changed"] for client in made.values())
    assert not any(list(client.data.glob(".rackstead*")) for client in made.values())


def test_a_member_that_is_away_is_refused(lab: Lab) -> None:
    made = lab.formed(3)
    machines = [datastore.looked(client) for client in made.values()]
    with pytest.raises(Conflict, match=r"not among the machines that run: 10\.0\.0\.3:19001"):
        datastore.ensure_quiet(made["n1"], machines[:2], False)
    lab.order("n2", dead=True)
    machines = [datastore.looked(client) for client in made.values()]
    with pytest.raises(Conflict, match=r"not among the machines that run: 10\.0\.0\.2:19001"):
        datastore.ensure_quiet(made["n1"], machines, False)
    with pytest.raises(Conflict, match="none answers"):
        datastore.prove([])
    assert lab.commands("n1") == ["microk8s version"]


def test_check_mode_stops_nothing(lab: Lab, tmp_path: Path) -> None:
    made = lab.formed(1)
    archive = Path(ensure_backup(made["n1"], Wanted(tmp_path / "backups"))["archive"])
    log = lab.commands()
    assert datastore.ensure_quiet(made["n1"], [datastore.looked(made["n1"])], True)["changed"]
    assert datastore.ensure_datastore(made["n1"], archive, True)["changed"]
    assert not datastore.ensure_awake(made["n1"], 20, True)["changed"]
    assert lab.commands() == log and not (made["n1"].data / datastore.MARK).exists()


def test_a_restore_that_was_cut_off_leaves_the_api_server_stopped_and_is_run_again(lab: Lab, tmp_path: Path) -> None:
    made = lab.formed(3)
    archive = Path(ensure_backup(made["n1"], Wanted(tmp_path / "backups"))["archive"])
    before = held(lab)
    lose(lab, "services", "deployments.apps")
    quiet({"n1": made["n1"], **made})
    lab.order("n1", dbctl="half")
    with pytest.raises(OperationFailed, match="dbctl restore failed"):
        datastore.ensure_datastore(made["n1"], archive, False)
    assert datastore.looked(made["n1"])["under_way"] and not datastore.looked(made["n1"])["running"]
    lab.order("n1", dbctl="")
    quiet(made)  # which has nothing to do, and refuses nothing
    datastore.ensure_datastore(made["n1"], archive, False)
    for client in made.values():
        datastore.ensure_awake(client, 20, False)
    assert held(lab) == before


def test_a_run_that_ended_between_two_machines_goes_on(lab: Lab, tmp_path: Path) -> None:
    made = lab.formed(3)
    archive = Path(ensure_backup(made["n1"], Wanted(tmp_path / "backups"))["archive"])
    machines = [datastore.looked(client) for client in made.values()]
    real = made["n1"].runner
    made["n1"].runner = Ending(real, 1, ("stop",))
    with pytest.raises(Killed):
        datastore.ensure_quiet(made["n1"], machines, False)
    made["n1"].runner = real
    quiet(made)
    datastore.ensure_datastore(made["n3"], archive, False)
    datastore.ensure_awake(made["n1"], 20, False)
    made["n2"].runner = Ending(made["n2"].runner, 1, ("start",))
    with pytest.raises(Killed):
        datastore.ensure_awake(made["n2"], 20, False)
    assert datastore.looked(made["n2"])["under_way"]
    for client in made.values():
        datastore.ensure_awake(client, 20, False)
    assert all(datastore.looked(client)["running"] for client in made.values())
    assert lab.cluster("n1")["lost"] == []
