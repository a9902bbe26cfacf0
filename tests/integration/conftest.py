# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures around a private Incus daemon. One daemon a test session (and a worker of pytest-xdist)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.execute import execute
from testbed import daemon as testbed
from testbed.ansible import Modules, Playbooks
from testbed.proxy import RecordingProxy

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Project:
    """An Incus project of a test's own, with a default profile like the daemon's and the daemon's images."""

    name: str
    daemon: testbed.Daemon

    @property
    def client(self) -> IncusClient:
        return self.daemon.client(self.name)

    @property
    def env(self) -> dict[str, str]:
        return {**self.daemon.env, "RACKSTEAD_PROJECT": self.name}

    def incus(self, *argv: str) -> str:
        """Output of the ``incus`` command line in this project."""
        return self.daemon.incus("--project", self.name, *argv)

    def inside(self, instance: str, *argv: str) -> str:
        """Output of a command in an instance, which has to succeed.

        Not by ``incus exec``: under load that of 6.0.4 says nothing in one of ten runs, and ends with 0.
        """
        done = execute(self.client, instance, argv, timeout=300)
        if done.rc:
            raise RuntimeError(f"{' '.join(argv)} in {instance}: rc {done.rc}: {(done.stderr or done.stdout).decode()}")
        return done.stdout.decode()

    def names(self) -> list[str]:
        """Names of the instances in it, sorted."""
        return sorted(path.rpartition("/")[2].partition("?")[0] for path in self.client.get("/instances"))

    def __str__(self) -> str:
        return self.name


@pytest.fixture(scope="session")
def daemon() -> Iterator[testbed.Daemon]:
    with testbed.running() as running:
        yield running


@pytest.fixture(scope="session")
def debian_image(daemon: testbed.Daemon) -> str:
    """Alias of a Debian 12 image with systemd, cloud-init, python3 and sshd in the daemon."""
    return testbed.import_debian(daemon)


def make_project(daemon: testbed.Daemon, **config: str) -> Project:
    """A project that shares images and networks with the daemon's default project."""
    name = f"rstest-{next(_numbers)}"
    client = daemon.client()
    client.post("/projects", {"name": name, "config": {"features.images": "false", **config}})
    if config.get("features.profiles") != "false":
        default = client.get("/profiles/default")
        body = {key: default[key] for key in ("config", "devices", "description")}
        client.in_project(name).put("/profiles/default", body)
    return Project(name, daemon)


def managed_networks(client: IncusClient) -> set[str]:
    """Incus's own networks. Its list also has the machine's interfaces, which come and go."""
    return {network["name"] for network in client.get("/networks", recursion="1") if network["managed"]}


@contextmanager
def own_project(daemon: testbed.Daemon) -> Iterator[Project]:
    """A project that goes, at the end, with all it holds and the networks made meanwhile."""
    client = daemon.client()
    networks = managed_networks(client)
    made = make_project(daemon)
    yield made
    testbed.remove_project(client, made.name)
    for network in managed_networks(client) - networks:
        testbed.remove_network(client, network)


@pytest.fixture
def project(daemon: testbed.Daemon) -> Iterator[Project]:
    """A project for one test."""
    with own_project(daemon) as made:
        yield made


@pytest.fixture(scope="module")
def module_project(daemon: testbed.Daemon) -> Iterator[Project]:
    """A project that the tests of one file share."""
    with own_project(daemon) as made:
        yield made


@pytest.fixture
def play(tmp_path: Path, daemon: testbed.Daemon) -> Playbooks:
    """``play(tasks, inventory=None, check=False, diff=False, variables=…, env=…)`` runs ansible-playbook."""
    return Playbooks(tmp_path, daemon.env)


@pytest.fixture(scope="session")
def run_module(daemon: testbed.Daemon) -> Iterator[Modules]:
    """``run_module(name, args, check=False, diff=False, env=…)`` runs one module, quickly."""
    modules = Modules(daemon.env)
    yield modules
    modules.close()


@pytest.fixture
def recording_proxy(daemon: testbed.Daemon) -> Iterator[RecordingProxy]:
    """A socket that leads to the daemon and notes the requests: ``.env`` / ``.url``, ``.requests``, ``.mutating``."""
    proxy = RecordingProxy(daemon.slot.folder / f"proxy{next(_numbers)}.socket", daemon.socket)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[testbed.Cluster]:
    """A real cluster of two members, each in a network namespace of its own."""
    with testbed.running_cluster() as running:
        yield running
