# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What microk8s and snap print, read: texts as upstream's own wrappers print them."""

from __future__ import annotations

import json

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import OperationFailed
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s import parse
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.model import DatastoreMember

STATUS = """\
microk8s:
  running: True
high-availability:
  enabled: True
  nodes:
    - address: 10.0.0.1:19001
      role: voter
    - address: 10.0.0.2:19001
      role: standby
addons:
  - name: ha-cluster
    repository: core
    description: Configure high availability on the current node
    version: 0.1.0
    status: enabled
  - name: community
    repository: core
    description: The community addons repository
    version:  
    status: disabled
  - name: nvidia
    repository: core
    description: NVIDIA hardware (GPU and network) support
    version: 25.10.0
    status: disabled
"""  # noqa: W291  the blank is there
NOT_READY = """\
microk8s:
  running: False
high-availability:
  enabled: True
  nodes:
    - address: 10.0.0.1:19001
      role: voter
  message: microk8s is not running. Use microk8s inspect for a deeper inspection.
"""
CERTIFICATES = """\
The CA certificate will expire in 3649 days.
The server certificate will expire in 12 days.
The front proxy client certificate will expire in 3649 days.
"""
CLUSTER = (
    "- Address: 10.0.0.1:19001\n  ID: 3297041220608546238\n  Role: 0\n- Address: 10.0.0.2:19001\n  ID: 2\n  Role: 2\n"
)
INFO = """\
name:      microk8s
summary:   Kubernetes for workstations and appliances
description: |
  MicroK8s is the smallest, simplest, pure production Kubernetes.
  channels: are no channels here
snap-id: EaXqgt1lyCaxKaQCU349mlodBkDCXRcg
channels:
  1.32/stable:           v1.32.3  2025-04-01 (8148) 180MB classic
  1.32/candidate:        v1.32.4  2025-05-01 (8200) 180MB classic
  1.9/stable:            --
  latest/edge/strict:    v1.33.0  2025-05-01 (8200) 180MB -
installed:               v1.32.3             (8148) 180MB classic
"""


def test_status() -> None:
    found = parse.status(STATUS)
    assert found.running and found.ha
    assert found.members == (DatastoreMember("10.0.0.1:19001", "voter"), DatastoreMember("10.0.0.2:19001", "standby"))
    assert [(one.name, one.enabled, one.version) for one in found.addons] == [
        ("ha-cluster", True, "0.1.0"),
        ("community", False, ""),
        ("nvidia", False, "25.10.0"),
    ]


def test_status_of_one_that_is_not_ready() -> None:
    found = parse.status(NOT_READY)
    assert not found.running and found.members[0].host == "10.0.0.1" and found.message.startswith("microk8s is not")


def test_a_member_with_an_ipv6_address() -> None:
    assert DatastoreMember("[fd00::2]:19001", "voter").host == "fd00::2"


@pytest.mark.parametrize(
    "text", ["", "microk8s is running\n", "Traceback (most recent call last):\n", "a:\n   b: c\n  d: e\n"]
)
def test_what_is_no_status_is_an_error(text: str) -> None:
    with pytest.raises(OperationFailed, match="microk8s status answered what cannot be read"):
        parse.status(text)


def test_the_datastores_own_files() -> None:
    assert parse.cluster_yaml(CLUSTER) == (
        DatastoreMember("10.0.0.1:19001", "voter"),
        DatastoreMember("10.0.0.2:19001", "spare"),
    )
    assert parse.info_yaml("Address: 10.0.0.2:19001\nID: 2\nRole: 2\n") == "10.0.0.2:19001"
    for broken in ("- Address: 10.0.0.1:19001\n  Role: 9\n", "Address\n"):
        with pytest.raises(OperationFailed):
            parse.cluster_yaml(broken)
    with pytest.raises(OperationFailed):
        parse.info_yaml("Address: nowhere\n")


def test_certificates() -> None:
    found = {one.name: one.days for one in parse.certificates(CERTIFICATES)}
    assert found == {"ca.crt": 3649, "server.crt": 12, "front-proxy-client.crt": 3649}
    with pytest.raises(OperationFailed):
        parse.certificates("This MicroK8s deployment is acting as a node in a cluster.")


def test_snaps() -> None:
    text = "Name      Version  Rev   Tracking     Publisher   Notes\nmicrok8s  v1.32.3  8148  1.32/stable  canonical**  classic\n"
    found = parse.snap_list(text)
    assert found and (found.version, found.revision, found.channel, found.classic) == (
        "v1.32.3",
        "8148",
        "1.32/stable",
        True,
    )
    assert parse.snap_list("Name Version\n") is None
    assert parse.channels(INFO) == ("1.32/stable", "1.32/candidate", "latest/edge/strict")


def test_nodes() -> None:
    item = {
        "metadata": {
            "name": "n1",
            "labels": {parse.WORKER_LABEL: "x"},
            "annotations": {parse.CORDONED_BY: "rackstead"},
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n1"}],
            "nodeInfo": {"kubeletVersion": "v1.32.3"},
        },
    }
    [node] = parse.nodes(json.dumps({"items": [item]}))
    assert not node.ready and node.worker and not node.schedulable and node.addresses == ("10.0.0.1",)
    assert (node.version, node.cordoned_by) == ("v1.32.3", "rackstead")
    with pytest.raises(OperationFailed):
        parse.nodes("This MicroK8s deployment is acting as a node in a cluster.")


def test_a_way_to_join() -> None:
    assert parse.connection('{"token": "t/h", "urls": ["192.0.2.2:25000/t/h", "x"]}') == "192.0.2.2:25000/t/h"
    with pytest.raises(OperationFailed) as caught:
        parse.connection('{"token": "s3cret"')
    assert "s3cret" not in str(caught.value)
