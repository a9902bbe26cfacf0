# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One real Kubernetes for all of these tests. Each has a namespace of its own, and nodes that take its pods alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from testbed import kube, kubebuild
from testbed.kube import Cluster, Kubelets, Site


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[tuple[Cluster, Kubelets]]:
    if why := kubebuild.missing():
        pytest.skip(why)
    with kube.running(["n1"]) as running:
        yield running


@pytest.fixture
def client(kubernetes: tuple[Cluster, Kubelets], tmp_path: Path) -> MicroK8s:
    return kubernetes[0].client(tmp_path)


@pytest.fixture
def site(kubernetes: tuple[Cluster, Kubelets]) -> Iterator[Site]:
    site = Site(*kubernetes)
    yield site
    site.clear()
