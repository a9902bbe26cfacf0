# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private Incus daemon for tests, independent of the machine's own.

A daemon lives in a *slot*: a numbered folder below ROOT whose lock file its owner holds. The number
gives it a bridge (``rstest3``), a subnet and folders, so runs side by side never meet, and a slot
that nobody holds is a killed run's leftover, which the next run clears away.

incusd, dnsmasq and every container run in a PID and mount namespace of their own, below a process
that ends when its standard input does. When the tests end, however they end, the kernel takes all
of it down; what is left is folders, bridges, nft chains and empty cgroups.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    NotFound,
    OperationFailed,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint
from testbed import tiny

ROOT = Path(os.environ.get("RACKSTEAD_TEST_ROOT", f"/tmp/rackstead-tests-{os.getuid()}"))
BRIDGE = os.environ.get("RACKSTEAD_TEST_BRIDGE", "rstest")
SUBNETS = ipaddress.ip_network(os.environ.get("RACKSTEAD_TEST_SUBNETS", "10.214.0.0/16"))
#: For bridges that tests make beside a daemon's first one.
SPARE = ipaddress.ip_network(os.environ.get("RACKSTEAD_TEST_SPARE", "10.215.0.0/16"))
PACKAGES = "incus-base incus-client lxcfs dnsmasq-base nftables busybox-static".split()
BINARIES = "/usr/libexec/incus:/usr/sbin:/usr/bin:/sbin:/bin"
#: Incus asks a server for cloud instance types when it starts. Nothing but loopback and bridges here.
NO_INTERNET = {"https_proxy": "http://127.0.0.1:9", "no_proxy": "localhost,127.0.0.0/8,10.0.0.0/8"}
#: Runs as PID 1 of the namespaces: adopts and reaps orphans, ends with its standard input.
HOLDER = 'trap "" CHLD; {setup} exec cat'
#: In a network namespace of its own a daemon needs the sysfs of that namespace, and the cgroups back in it.
OWN_SYSFS = (
    "mkdir -p {cgroups}; mount --rbind /sys/fs/cgroup {cgroups}; mount -t sysfs sysfs /sys; "
    "mount --rbind {cgroups} /sys/fs/cgroup;"
)


def run(*argv: str | Path, env: dict[str, str] | None = None, ok: bool = True, **options: Any) -> str:
    """Output of a command. Raises with what the command said if it fails and ``ok`` asks for success."""
    done = subprocess.run(list(argv), capture_output=True, text=True, env=env, **options)
    if ok and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: rc {done.returncode}: {done.stderr.strip() or done.stdout}")
    return done.stdout


# -- what the machine must have -------------------------------------------------------------------
def ensure_packages() -> None:
    """Install Incus and its neighbours if they are missing, with the collection's role where it is there."""
    needed = ["/usr/libexec/incus/incusd", "/usr/bin/incus", "/usr/sbin/dnsmasq", "/usr/sbin/nft", "/bin/busybox"]
    if all(Path(path).exists() for path in needed):
        return
    with exclusive("packages"):
        if all(Path(path).exists() for path in needed):
            return
        checkout = Path(__file__).resolve().parents[2]
        if (checkout / "roles/provider/tasks/install.yml").exists():
            _install_by_role()
        if not all(Path(path).exists() for path in needed):
            _install_by_apt()


def _install_by_role() -> None:
    task = {"ansible.builtin.include_role": {"name": "rackstead.infra.provider", "tasks_from": "install"}}
    book = ROOT / "install.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": True, "tasks": [task]}]))
    inventory = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    run(Path(sys.executable).with_name("ansible-playbook"), *inventory, book)


def _install_by_apt() -> None:
    """Incus is in Debian 12's backports; the mirror is the one the machine already uses."""
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    found = re.search(r"^URIs:\s*(\S+)", Path("/etc/apt/sources.list.d/debian.sources").read_text(), re.MULTILINE)
    sources = "".join(path.read_text() for path in Path("/etc/apt/sources.list.d").glob("*.sources"))
    there = "bookworm-backports" in sources
    if 'VERSION_ID="12"' in Path("/etc/os-release").read_text() and found and not there:
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        source = f"Types: deb\nURIs: {found[1]}\nSuites: bookworm-backports\nComponents: main\nSigned-By: {keyring}\n"
        Path("/etc/apt/sources.list.d/bookworm-backports.sources").write_text(source)
    run(*apt, "update", env=env)
    run(*apt, "install", "--no-install-recommends", *PACKAGES, env=env)


def ensure_subids() -> None:
    """Exactly one range for root in /etc/subuid and /etc/subgid: with two, containers fail in newuidmap."""
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = path.read_text().splitlines() if path.exists() else []
        own = [line for line in lines if line.startswith("root:")]
        if len(own) != 1 or int(own[0].split(":")[2]) < 65536:
            rest = [line for line in lines if line not in own]
            path.write_text("\n".join([*rest, "root:1000000:1000000000"]) + "\n")


# -- slots ----------------------------------------------------------------------------------------
@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the machine-wide lock ``name`` of the tests."""
    ROOT.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass
class Slot:
    """A numbered place for one daemon, held as long as this process lives or until ``release``."""

    number: int
    lock: int

    @property
    def folder(self) -> Path:
        return ROOT / f"d{self.number}"

    @property
    def bridge(self) -> str:
        return f"{BRIDGE}{self.number}"

    @classmethod
    def take(cls) -> Slot:
        """The first slot nobody holds, cleared; leftovers in other slots are cleared on the way."""
        with exclusive("slots"):
            for stale in cls._unheld(sorted(int(path.name[1:]) for path in ROOT.glob("d[0-9]*") if path.is_dir())):
                stale.release()
            slot = next(cls._unheld(range(1000)))
            slot.folder.mkdir(mode=0o711)
            (slot.folder / "links").write_text("\n".join(os.listdir("/sys/class/net")))
            return slot

    @classmethod
    def _unheld(cls, numbers: Sequence[int]) -> Iterator[Slot]:
        for number in numbers:
            lock = os.open(ROOT / f"d{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            slot = cls(number, lock)
            slot.clear()
            yield slot

    def clear(self) -> None:
        """Remove what a daemon leaves on the machine: links, nft chains, cgroups, folders."""
        for bridge in self._own_bridges():
            remove_bridge(bridge)
        for state in self.folder.glob("*/containers"):
            remove_cgroups([path.name for path in state.iterdir()])
        for file in self.folder.glob("*.netns"):
            run("ip", "netns", "delete", file.read_text(), ok=False)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _own_bridges(self) -> list[str]:
        """Bridges that this slot's daemon made in the machine's own network namespace.

        A link that was there before the daemon is somebody else's, whatever its name. A cluster's
        members have namespaces of their own: their bridges went with these.
        """
        before = self.folder / "links"
        if not before.exists():
            return []
        networks = [path.name for path in self.folder.glob(f"{Daemon.name}/networks/*")]
        return sorted(set(networks) - set(before.read_text().split()))

    def release(self) -> None:
        self.clear()
        os.close(self.lock)

    def subnet(self, within: ipaddress.IPv4Network | ipaddress.IPv6Network = SUBNETS) -> str:
        """A free /24 of ours, by its gateway's address: ``10.214.3.1/24``."""
        routes = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all"))
        used = [
            ipaddress.ip_network(r["dst"]) for r in routes if r["dst"] != "default" and r.get("type") != "broadcast"
        ]
        ours = list(within.subnets(new_prefix=24))
        for network in ours[self.number :] + ours[: self.number]:
            if not any(network.overlaps(other) for other in used if other.prefixlen > 0):
                return f"{network[1]}/24"
        raise RuntimeError(f"no free /24 in {within}; set RACKSTEAD_TEST_SUBNETS or RACKSTEAD_TEST_SPARE")


def remove_bridge(name: str) -> None:
    """The bridge that an ended incusd left, the links in it, and its nft chains."""
    for link in json.loads(run("ip", "-json", "link", "show", "master", name, ok=False) or "[]"):
        run("ip", "link", "delete", link["ifname"], ok=False)
    run("ip", "link", "delete", name, "type", "bridge", ok=False)
    listing = json.loads(run("nft", "-j", "list", "chains", ok=False) or "{}").get("nftables", [])
    chains = [entry["chain"] for entry in listing if entry.get("chain", {}).get("table") == "incus"]
    ours = [chain for chain in chains if chain["name"].partition(".")[2] == name]
    for chain in ours:
        run("nft", "delete", "chain", chain["family"], "incus", chain["name"])
    if ours and len(ours) == len(chains):
        run("nft", "delete", "table", "inet", "incus", ok=False)


def remove_cgroups(instances: Sequence[str]) -> None:
    """Empty cgroups of containers that are gone. A cgroup with a process in it belongs to somebody alive."""
    names = {f"lxc.{kind}.{instance}" for instance in instances for kind in ("payload", "monitor")}
    found: list[str] = []
    for top, folders, _files in os.walk("/sys/fs/cgroup"):
        ours = [name for name in folders if re.sub(r"-\d+$", "", name) in names or name in names]
        found += [os.path.join(top, name) for name in ours]
        folders[:] = [name for name in folders if not name.startswith("lxc.")]
    for group in found:
        tree = [top for top, _folders, _files in os.walk(group, topdown=False)]
        if not any(Path(top, "cgroup.procs").read_text() for top in tree):
            for top in tree:
                os.rmdir(top)


def free_port(address: str = "") -> int:
    """A free port below those that the system gives to outgoing connections, which come at any moment."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind((address, random.randint(15000, 31999)))
            return int(probe.getsockname()[1])


# -- the daemon -----------------------------------------------------------------------------------
@dataclass
class Daemon:
    """One incusd with its own state. ``netns`` puts it into a network namespace that exists."""

    slot: Slot
    name: str = "daemon"
    netns: str = ""
    https: str = ""
    fingerprint: str = ""
    _holder: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _incusd: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """INCUS_DIR."""
        return self.slot.folder / self.name

    @property
    def log(self) -> Path:
        return self.slot.folder / f"{self.name}.log"

    @property
    def socket(self) -> str:
        return str(self.folder / "unix.socket")

    @property
    def url_unix(self) -> str:
        return f"unix://{self.socket}"

    @property
    def https_url(self) -> str:
        return f"https://{self.https}"

    @property
    def bridge(self) -> str:
        return self.slot.bridge

    @property
    def env(self) -> dict[str, str]:
        """What points the collection's modules and plugins to this daemon."""
        return {"RACKSTEAD_URL": self.url_unix}

    @property
    def cli_env(self) -> dict[str, str]:
        """Environment for Incus's own programs, without a trace of the user's configuration."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("INCUS_", "RACKSTEAD_"))}
        settings = {"INCUS_DIR": str(self.folder), "INCUS_CONF": str(self.slot.folder / "cli")}
        return {**kept, **NO_INTERNET, **settings, "PATH": BINARIES}

    def client(self, project: str = "default", url: str = "", **options: str) -> IncusClient:
        return IncusClient(Endpoint(url=url or self.url_unix, project=project, **options))

    def incus(self, *argv: str, **options: Any) -> str:
        """Output of the ``incus`` command line."""
        return run("incus", *argv, env=self.cli_env, **options)

    # -- life --------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the namespaces, if need be, and incusd in them; return when it and its bridges are there."""
        if self._holder is None:
            self._start_holder()

        def started() -> bool | None:
            self._start_incusd()
            self.wait_ready()
            if self._bridges_up():
                return True
            self.kill(signal.SIGTERM)  # it would try again, after a minute
            return None

        wait_until(started, Deadline(60), what="incusd with its bridges", last_seen=lambda: self.output()[-500:])

    def _start_incusd(self) -> None:
        assert self._holder is not None
        holder = _only_child(self._holder.pid)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        inside = [f"--{kind}=/proc/{holder}/ns/{file}" for kind, file in (("pid", "pid"), ("mount", "mnt"))]
        argv = ["nsenter", *inside, *self._net(), "prlimit", f"--nofile={hard}"]
        argv += ["incusd", "--group", _group(), f"--logfile={self.log}"]
        with (self.slot.folder / f"{self.name}.out").open("ab") as out:
            self._incusd = subprocess.Popen(
                argv, env=self.cli_env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def _bridges_up(self) -> bool:
        """incusd looks at every link of the machine and gives a bridge up if one of them goes meanwhile."""
        networks = self.client().get("/networks", recursion="1")
        return all(network["status"] != "Unavailable" for network in networks)

    def _net(self) -> list[str]:
        return [f"--net=/run/netns/{self.netns}"] if self.netns else []

    def _start_holder(self) -> None:
        self.folder.mkdir(mode=0o711, exist_ok=True)
        setup = OWN_SYSFS.format(cgroups=self.slot.folder / f"{self.name}.cgroups") if self.netns else ""
        argv = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc"]
        enter = ["nsenter", *self._net()] if self.netns else []
        self._holder = subprocess.Popen(
            [*enter, *argv, "sh", "-c", HOLDER.format(setup=setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: self._holder_ready() or None, Deadline(60), what="the daemon's namespaces")

    def _holder_ready(self) -> bool:
        """PID 1 has become `cat`: everything before it in HOLDER is done."""
        assert self._holder is not None
        if self._holder.poll() is not None:
            raise RuntimeError("the daemon's namespaces could not be made: are you root?")
        child = _only_child(self._holder.pid)
        return bool(child) and Path(f"/proc/{child}/comm").read_text().strip() == "cat"

    def wait_ready(self, seconds: float = 60) -> None:
        def answers() -> bool | None:
            assert self._incusd is not None
            if self._incusd.poll() is not None:
                raise RuntimeError(f"incusd ended: {self.output()[-2000:]}")
            try:
                self.client().server()
            except Unreachable:
                return None
            return True

        wait_until(
            answers, Deadline(seconds), what="incusd to answer", first=0.02, last_seen=lambda: self.output()[-500:]
        )
        # The socket answers before storage pools and networks are up.
        run("incusd", "waitready", f"--timeout={seconds:.0f}", env=self.cli_env)

    def output(self) -> str:
        return (self.slot.folder / f"{self.name}.out").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """incusd's process id, as seen from here."""
        assert self._incusd is not None
        return _only_child(self._incusd.pid)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End incusd alone, at once. Containers go on, as they do when a real daemon dies."""
        if self._incusd is None:
            return
        if self._incusd.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        self._incusd.wait(timeout=60)
        self._incusd = None

    def restart(self, number: int = signal.SIGTERM) -> None:
        """Stop incusd (SIGTERM leaves the containers running) and start it again."""
        self.kill(number)
        self.start()

    def stop(self) -> None:
        """End the daemon and everything it runs."""
        if self._holder is None:
            return
        self.kill()
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(timeout=30)
        self._holder = None

    # -- first configuration -----------------------------------------------------------------------
    def initialise(self) -> None:
        """Pool, bridge, default profile, HTTPS on a free loopback port, and the image ``tiny``."""
        self.https = self.https or f"127.0.0.1:{free_port()}"
        with exclusive("subnets"):
            document = preseed(self.bridge, self.slot.subnet(), self.https)
            self._make_bridge(document["networks"][0])
        self.preseed({**document, "networks": []})
        self.fingerprint = self.client().server().fingerprint
        self.import_tiny()

    def _make_bridge(self, network: dict[str, Any]) -> None:
        client = self.client()

        def make() -> None:
            with suppress(NotFound):  # half made by the try before
                client.delete(f"/networks/{network['name']}")
            client.post("/networks", network)

        despite_passing_links(make)

    def preseed(self, document: dict[str, Any]) -> None:
        prefix = ["nsenter", *self._net()] if self.netns else []
        run(*prefix, "incus", "admin", "init", "--preseed", env=self.cli_env, input=json.dumps(document))

    def import_tiny(self) -> None:
        with exclusive("tiny"):
            file = tiny.build(ROOT / "tiny.tar.gz")
        self.incus("image", "import", str(file), "--alias", "tiny", "-q")

    # -- trust -------------------------------------------------------------------------------------
    def trust(self, name: str, *, projects: Sequence[str] = ()) -> dict[str, str]:
        """A new client certificate that the daemon trusts, restricted to ``projects`` where some are given.

        Returns fields of an Endpoint: url, cert_file, key_file and the server's fingerprint.
        """
        pair = client_certificate(self.slot.folder, name)
        restricted = ["--restricted", f"--projects={','.join(projects)}"] if projects else []
        self.incus("config", "trust", "add-certificate", str(pair[0]), "--name", name, *restricted)
        return {
            "url": self.https_url,
            "cert_file": str(pair[0]),
            "key_file": str(pair[1]),
            "fingerprint": self.fingerprint,
        }

    def token(self, name: str, *, projects: Sequence[str] = ()) -> str:
        """A trust token, as `incus config trust add` prints it."""
        restricted = ["--restricted", f"--projects={','.join(projects)}"] if projects else []
        return self.incus("config", "trust", "add", name, "-q", *restricted).split()[-1]

    # -- tidying up --------------------------------------------------------------------------------
    def empty(self) -> None:
        """Delete every project, instance and bridge, so that the daemon takes its own traces away."""
        client = self.client()
        for project in client.get("/projects", recursion="1"):
            if project["name"] != "default":
                remove_project(client, project["name"])
        remove_contents(client)
        self.incus("profile", "device", "remove", "default", "eth0", ok=False)
        for network in client.get("/networks", recursion="1"):
            if network["managed"]:
                remove_network(client, network["name"])


def despite_passing_links(work: Callable[[], object]) -> None:
    """incusd looks at every link of the machine when it makes or removes a bridge, and fails if one goes meanwhile,
    as those of other daemons' instances do. Then try again.
    """

    def done() -> bool | None:
        try:
            work()
        except OperationFailed as error:
            if "does not exist" in str(error):
                return None
            raise
        return True

    wait_until(done, Deadline(30), what="a moment in which no link goes")


def remove_network(client: IncusClient, name: str) -> None:
    def remove() -> None:
        with suppress(NotFound):
            client.delete(f"/networks/{name}")

    despite_passing_links(remove)


def _group() -> str:
    """The group that may use the socket: Incus's own where the package made it."""
    return "incus-admin" if "\nincus-admin:" in Path("/etc/group").read_text() else "root"


def _only_child(pid: int) -> int:
    """The process that ``pid`` started; 0 where there is none yet."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def preseed(bridge: str, gateway: str, https: str) -> dict[str, Any]:
    address = {"ipv4.address": gateway, "ipv4.nat": "true", "ipv6.address": "none"}
    root = {"path": "/", "pool": "default", "type": "disk"}
    nic = {"name": "eth0", "network": bridge, "type": "nic"}
    return {
        "config": {"images.auto_update_interval": "0", "core.https_address": https},
        "storage_pools": [{"name": "default", "driver": "dir"}],
        "networks": [{"name": bridge, "type": "bridge", "config": address}],
        "profiles": [{"name": "default", "devices": {"root": root, "eth0": nic}}],
    }


def client_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed client certificate and its key."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days", "30"]
    run("openssl", "req", "-x509", *kind, "-subj", f"/CN={name}", "-keyout", key, "-out", cert)
    return cert, key


def remove_contents(client: IncusClient) -> None:
    """Delete a project's instances, profiles, volumes and own images, but not the default project's images."""
    for instance in client.get("/instances", recursion="1"):
        path = f"/instances/{instance['name']}"
        if instance["status"] != "Stopped":
            client.put(f"{path}/state", {"action": "stop", "force": True, "timeout": 10})
        client.delete(path)
    for volume in client.get("/storage-pools/default/volumes/custom", recursion="1"):
        client.delete(f"/storage-pools/default/volumes/custom/{volume['name']}")


def remove_project(client: IncusClient, name: str) -> None:
    """Delete a project with all it holds."""
    found = client.find(f"/projects/{name}")
    if found is None:
        return
    if found["config"].get("features.profiles") == "true":
        client.delete(f"/projects/{name}", params={"force": "1"})
    else:  # forced, Incus would go for the default project's profiles, too
        remove_contents(client.in_project(name))
        client.delete(f"/projects/{name}")


# -- a daemon for a test session ------------------------------------------------------------------
def prepare() -> Slot:
    """A slot on a machine that has what a daemon needs."""
    if os.getuid() != 0:
        raise RuntimeError("the integration tests start an Incus daemon and must be run by root")
    ROOT.mkdir(mode=0o711, parents=True, exist_ok=True)
    ensure_packages()
    ensure_subids()
    return Slot.take()


@contextmanager
def running() -> Iterator[Daemon]:
    """A fresh daemon, gone without a trace at the end."""
    slot = prepare()
    daemon = Daemon(slot)
    try:
        daemon.start()
        daemon.initialise()
        yield daemon
        daemon.empty()
    finally:
        daemon.stop()
        slot.release()


# -- a cluster ------------------------------------------------------------------------------------
@dataclass
class Cluster:
    """Two members. Drive it through ``first``; both have the image ``tiny``."""

    first: Daemon
    second: Daemon

    @property
    def members(self) -> list[str]:
        return [member["server_name"] for member in self.first.client().get("/cluster/members", recursion="1")]

    @property
    def env(self) -> dict[str, str]:
        return self.first.env


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Two daemons in network namespaces joined by a veth pair, so that their bridges do not clash."""
    slot = prepare()
    names = ("m1", "m2")
    spaces = [f"{BRIDGE}{slot.number}{name}" for name in names]
    addresses = ["10.88.0.11", "10.88.0.12"]
    members = [
        Daemon(slot, name, space, f"{at}:8443") for name, space, at in zip(names, spaces, addresses, strict=True)
    ]
    try:
        _join_namespaces(slot, spaces, addresses)
        for member in members:
            member.start()
        _form(members)
        yield Cluster(*members)
    finally:
        for member in members:
            member.stop()
        slot.release()


def _join_namespaces(slot: Slot, spaces: Sequence[str], addresses: Sequence[str]) -> None:
    for space in spaces:
        (slot.folder / f"{space}.netns").write_text(space)
        run("ip", "netns", "add", space)
    run("ip", "link", "add", "eth0", "netns", spaces[0], "type", "veth", "peer", "name", "eth0", "netns", spaces[1])
    for space, address in zip(spaces, addresses, strict=True):
        run("ip", "-n", space, "link", "set", "lo", "up")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")


def _form(members: Sequence[Daemon]) -> None:
    first, second = members
    document = preseed("incusbr0", "10.89.0.1/24", first.https)
    first.preseed({**document, "cluster": {"server_name": first.name, "enabled": True}})
    token = first.incus("cluster", "add", second.name, "-q").split()[-1]
    joining = {"server_address": second.https, "cluster_token": token, "member_config": []}
    second.preseed({"cluster": {"server_name": second.name, "enabled": True, **joining}})
    first.fingerprint = first.client().server().fingerprint
    first.import_tiny()


# -- Debian ---------------------------------------------------------------------------------------
DEBIAN = "debian/12"


def import_debian(daemon: Daemon) -> str:
    """Have the image ``debian/12`` in the daemon, built from Debian's packages and cached on this machine."""
    from testbed import debian  # which needs this module

    if not daemon.client().resolve_alias(DEBIAN):
        built = debian.image()
        daemon.incus("image", "import", str(built.metadata), str(built.rootfs), "--alias", DEBIAN, "-q")
    return DEBIAN
