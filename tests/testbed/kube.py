# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Kubernetes control plane on loopback: folders and ports of its own, gone with whoever started it.

No container runs: a node is an object, and ``Kubelets`` does to pods what kubelets tell the API server that they did.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.client import MicroK8s
from ansible_collections.rackstead.infra.plugins.module_utils.microk8s.runner import Local
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from testbed import kubebuild
from testbed.daemon import ROOT, exclusive, free_port

#: How long anything may take to come up, in seconds.
PATIENCE = 180.0
Object = dict[str, Any]
STATUS = """\
microk8s:
  running: True
high-availability:
  enabled: False
  nodes:
    - address: 127.0.0.1:19001
      role: voter
addons:
"""


class Cluster:
    """etcd, API server, controller manager and scheduler."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self.url = f"https://127.0.0.1:{free_port()}"
        self.token = secrets.token_hex(16)
        self.config = folder / "kubeconfig"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._count = 0
        self.web = requests.Session()
        self.web.trust_env = False
        self.web.headers["Authorization"] = f"Bearer {self.token}"

    # -- life -------------------------------------------------------------------------------------
    def start(self) -> None:
        self._write_keys()
        store, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        own = {"data-dir": self.folder / "etcd", "listen-client-urls": store, "advertise-client-urls": store}
        peers = {"listen-peer-urls": peer, "initial-advertise-peer-urls": peer, "initial-cluster": f"default={peer}"}
        self._daemon("etcd", {**own, **peers, "unsafe-no-fsync": "true"})
        self._daemon("kube-apiserver", self._of_api(store))
        self._wait_answers()
        self._daemon("kube-controller-manager", self._of_controllers())
        quiet = {"bind-address": "127.0.0.1", "port": "0", "leader-elect": "false", "secure-port": str(free_port())}
        self._daemon("kube-scheduler", {**quiet, "kubeconfig": self.config})
        self.wait(lambda: self.get("/api/v1/namespaces/default/serviceaccounts/default"), "the default service account")

    def _write_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
        (self.folder / "sa.key").write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
        (self.folder / "tokens").write_text(f'{self.token},admin,admin,"system:masters"\n')
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "pki/apiserver.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "admin"}}],
            "current-context": "x",
        }
        self.config.write_text(json.dumps(config))

    def _of_api(self, store: str) -> dict[str, Any]:
        """It makes its certificate itself."""
        key = self.folder / "sa.key"
        return {
            "etcd-servers": store,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self.url.rpartition(":")[2],
            "cert-dir": self.folder / "pki",
            "service-cluster-ip-range": "10.152.183.0/24",
            "token-auth-file": self.folder / "tokens",
            "authorization-mode": "RBAC",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-account-issuer": "https://kubernetes.default.svc",
        }

    def _of_controllers(self) -> dict[str, Any]:
        """Nobody renews the nodes' leases: they are ready until they say otherwise."""
        return {
            "kubeconfig": self.config,
            "bind-address": "127.0.0.1",
            "secure-port": str(free_port()),
            "port": "0",
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": self.folder / "sa.key",
            "root-ca-file": self.folder / "pki/apiserver.crt",
            "node-monitor-grace-period": "24h",
        }

    def _daemon(self, name: str, options: dict[str, Any]) -> None:
        """It ends with this process, however that ends, and has none of its outputs."""
        words = [f"--{key}={value}" for key, value in options.items()]
        with (self.folder / f"{name}.log").open("wb") as log:
            argv = ["setpriv", "--pdeathsig", "KILL", str(self.programs / name), *words]
            self._daemons.append(
                subprocess.Popen(
                    argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            )

    def _wait_answers(self) -> None:
        def answers() -> bool | None:
            self._demand_alive()
            certificate = self.folder / "pki/apiserver.crt"
            if not certificate.exists():
                return None
            self.web.verify = str(certificate)
            try:
                return self.web.get(f"{self.url}/readyz", timeout=10).ok or None
            except requests.RequestException:
                return None

        wait_until(answers, Deadline(PATIENCE), what="the API server to answer")

    def _demand_alive(self) -> None:
        for daemon in self._daemons:
            if daemon.poll() is not None:
                name = Path(daemon.args[3]).name  # type: ignore[index, arg-type]
                raise RuntimeError(f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}")

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()
        self.web.close()

    # -- the API ----------------------------------------------------------------------------------
    def call(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """Raises RuntimeError for an answer that says no."""
        data = json.dumps(body) if body is not None else None
        answer = self.web.request(method, self.url + path, data=data, headers={"Content-Type": kind}, timeout=60)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        found: Object = answer.json()
        return found

    def get(self, path: str) -> Object | None:
        """None where there is no such object."""
        answer = self.web.get(self.url + path, timeout=60)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def items(self, path: str) -> list[Object]:
        listed: list[Object] = self.call("GET", path)["items"]
        return listed

    def patch(self, path: str, body: Object) -> Object:
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def wait(self, probe: Any, what: str) -> Any:
        """Until the probe gives something that is true."""

        def found() -> Any:
            self._demand_alive()
            return probe() or None

        return wait_until(found, Deadline(PATIENCE), what=what)

    # -- what tests need in it --------------------------------------------------------------------
    def node(self, name: str, labels: dict[str, str] | None = None) -> None:
        """A node that is ready, with room for pods."""
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "stand-in"}]
        self._count += 1
        room = {"cpu": "64", "memory": "64Gi", "pods": "110"}
        label = "node.kubernetes.io/microk8s-controlplane"
        about = {"name": name, "labels": {"kubernetes.io/hostname": name, label: "", **(labels or {})}}
        status = {
            "conditions": conditions,
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1" if name == "n1" else f"127.1.0.{self._count}"}],
            "nodeInfo": dict.fromkeys(INFO, "") | {"kubeletVersion": kubebuild.VERSION},
        }
        self.call("POST", "/api/v1/nodes", {"metadata": about, "status": status})
        self.wait(lambda: not self._node(name)["spec"].get("taints"), f"node {name} to have no taint")

    def _node(self, name: str) -> Object:
        return self.call("GET", f"/api/v1/nodes/{name}")

    def namespace(self) -> str:
        """A new one, whose pods may run."""
        name = f"t-{uuid.uuid4().hex[:8]}"
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self.wait(
            lambda: self.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), f"namespace {name} to be usable"
        )
        return name

    def pods(self, namespace: str) -> list[Object]:
        return self.items(f"/api/v1/namespaces/{namespace}/pods")

    def command(self, folder: Path) -> Path:
        """``microk8s``: its ``kubectl`` is the real one, its ``status`` that of a node which runs alone."""
        script, kubectl = folder / "microk8s", shlex.quote(str(self.programs / "kubectl"))
        (folder / "status").write_text(STATUS)
        script.write_text(
            '#!/bin/sh\nwhat=$1; shift\ncase "$what" in\n'
            f"kubectl) exec {kubectl} --kubeconfig={shlex.quote(str(self.config))} "
            f'--cache-dir={shlex.quote(str(folder / "cache"))} "$@" ;;\n'
            f"status) exec cat {shlex.quote(str(folder / 'status'))} ;;\n"
            '*) echo "there is no $what here" >&2; exit 1 ;;\nesac\n'
        )
        script.chmod(0o755)
        return script

    def client(self, folder: Path) -> MicroK8s:
        return MicroK8s(Local(), str(self.command(folder)), snap="/bin/false", quick=120, slow=240, hostname="n1")


INFO = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip


class Kubelets:
    """What the kubelets of all nodes tell: pods run as soon as they have a node, and are gone when they shall go."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: Pods, as NAMESPACE/NAME, that do not come to their end.
        self.stuck: set[str] = set()
        self.troubles: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)
        assert not self.troubles, self.troubles

    def _go(self) -> None:
        web = requests.Session()
        web.trust_env, web.verify = False, self.cluster.web.verify
        web.headers["Authorization"] = f"Bearer {self.cluster.token}"
        while not self._ended.wait(0.1):
            try:
                self._round(web)
            except requests.RequestException as error:
                self.troubles.append(str(error))
                return

    def _round(self, web: requests.Session) -> None:
        listed = web.get(f"{self.cluster.url}/api/v1/pods", timeout=60)
        listed.raise_for_status()
        for pod in listed.json()["items"]:
            about = pod["metadata"]
            path = f"{self.cluster.url}/api/v1/namespaces/{about['namespace']}/pods/{about['name']}"
            if not pod["spec"].get("nodeName") or f"{about['namespace']}/{about['name']}" in self.stuck:
                continue
            if about.get("deletionTimestamp"):
                aim = {"gracePeriodSeconds": 0, "preconditions": {"uid": about["uid"]}}
                web.delete(path, json=aim, timeout=60)
            elif (pod.get("status") or {}).get("phase") == "Pending":
                ready = [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady")]
                web.patch(
                    f"{path}/status",
                    data=json.dumps({"status": {"phase": "Running", "conditions": ready}}),
                    headers={"Content-Type": "application/merge-patch+json"},
                    timeout=60,
                )


class Site:
    """A namespace and two nodes of its own. Pods here run on these nodes, where they have room."""

    def __init__(self, cluster: Cluster, kubelets: Kubelets) -> None:
        self.cluster, self.kubelets = cluster, kubelets
        self.namespace = cluster.namespace()
        self.nodes = [f"{self.namespace}-{letter}" for letter in "ab"]
        for name in self.nodes:
            cluster.node(name, {"of": self.namespace})

    def clear(self) -> None:
        """The nodes with their pods, and the namespace go."""
        self.kubelets.stuck.clear()
        for name in self.nodes:
            self.cluster.call("DELETE", f"/api/v1/nodes/{name}")
        self.cluster.call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def path(self, kind: str, name: str = "") -> str:
        group = {"deployments": "apps/v1", "statefulsets": "apps/v1", "daemonsets": "apps/v1", "cronjobs": "batch/v1beta1",
                 "poddisruptionbudgets": "policy/v1beta1", "horizontalpodautoscalers": "autoscaling/v1"}.get(kind)  # fmt: skip
        top = f"/apis/{group}" if group else "/api/v1"
        return f"{top}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def make(self, kind: str, name: str, spec: Object, **about: Any) -> Object:
        return self.cluster.call("POST", self.path(kind), {"metadata": {"name": name, **about}, "spec": spec})

    def read(self, kind: str, name: str) -> Object:
        return self.cluster.call("GET", self.path(kind, name))

    def template(self, app: str, **spec: Any) -> Object:
        """Of pods that take all nodes of this site, none of others."""
        containers = [{"name": "main", "image": "none"}]
        return {
            "metadata": {"labels": {"app": app}},
            "spec": {"containers": containers, "nodeSelector": {"of": self.namespace}, **spec},
        }

    def runs(self, kind: str, app: str, replicas: int = 1, labels: dict[str, str] | None = None, **spec: Any) -> None:
        """A Deployment, StatefulSet or DaemonSet, waited for until its pods run."""
        given: Object = {"selector": {"matchLabels": {"app": app}}, "template": self.template(app, **spec)}
        if kind != "daemonsets":
            given["replicas"] = replicas
        if kind == "statefulsets":
            given["serviceName"] = app
        self.make(kind, app, given, labels=labels or {})
        number = len(self.nodes) if kind == "daemonsets" else replicas
        self.wait(lambda: len(self.running(app)) == number, f"{number} pods of {app} to run")

    def wait(self, probe: Any, what: str) -> Any:
        return self.cluster.wait(probe, what)

    def running(self, app: str) -> dict[str, str]:
        """The nodes of the pods that run, and shall go on to."""
        return {
            one["metadata"]["name"]: one["spec"]["nodeName"]
            for one in self.cluster.pods(self.namespace)
            if one["metadata"].get("labels", {}).get("app") == app
            and one["status"]["phase"] == "Running"
            and "deletionTimestamp" not in one["metadata"]
        }

    def budget(self, app: str, least: int) -> None:
        """A disruption budget, waited for until its controller has judged it."""
        self.make("poddisruptionbudgets", app, {"minAvailable": least, "selector": {"matchLabels": {"app": app}}})
        self.wait(
            lambda: self.read("poddisruptionbudgets", app)["status"].get("currentHealthy"), "the budget to be judged"
        )


# -- places ---------------------------------------------------------------------------------------
@contextmanager
def _place() -> Iterator[Path]:
    """A folder of one's own. Those that nobody holds are left over from killed runs, and go."""
    top = ROOT / "kubernetes"
    with exclusive("kubernetes"):
        top.mkdir(exist_ok=True)
        for old in list(top.iterdir()):
            if (handle := _held(old)) is not None:
                shutil.rmtree(old)
                os.close(handle)
        folder = top / uuid.uuid4().hex[:8]
        folder.mkdir(mode=0o700)
        handle = _held(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _held(folder: Path) -> int | None:
    """The lock of a folder, if it is free. The kernel gives it back when its holder ends."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@contextmanager
def running(nodes: Sequence[str] = ()) -> Iterator[tuple[Cluster, Kubelets]]:
    """A control plane with these nodes."""
    programs = kubebuild.found()
    if programs is None:
        raise kubebuild.Unbuilt(kubebuild.missing())
    with _place() as folder:
        cluster = Cluster(folder, programs)
        try:
            cluster.start()
            for name in nodes:
                cluster.node(name)
            kubelets = Kubelets(cluster)
            kubelets.start()
            try:
                yield cluster, kubelets
            finally:
                kubelets.stop()
        finally:
            cluster.stop()
