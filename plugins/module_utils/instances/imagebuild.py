# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a Debian or Ubuntu image for containers from a package mirror, once, into a cache.

mmdebstrap installs the packages, mksquashfs packs the tree, and beside it lies a metadata tarball
with templates that hand cloud-init its data (NoCloud). An entry of the cache is named after a digest
of everything that decides what is in it, appears by one rename when it is complete, and is built by
one process at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import OperationFailed, Unsupported
from ..common.known import known
from ..common.problems import Problems
from ..common.units import format_size
from .aptsources import DEBIAN_KEYRING, Source, parse, read_files, source_of, strip_credentials

#: Part of an entry's name: raise it when the same packages are to give another image.
RECIPE = 2
DISTRIBUTIONS = {
    "debian": {"12": "bookworm", "13": "trixie"},
    "ubuntu": {"22.04": "jammy", "24.04": "noble"},
}
#: Debian's name of an architecture by the kernel's.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
#: What an instance is expected to have: an init, cloud-init's needs, a login, and Python for Ansible.
PACKAGES = (
    "ca-certificates cloud-init dbus iproute2 netbase openssh-server python3 sudo systemd systemd-sysv udev".split()
)
#: In a package of its own since these releases; part of systemd before.
WITH_RESOLVED = {"bookworm", "trixie", "noble"}
COMPONENTS = {"debian": ("main",), "ubuntu": ("main", "universe")}
MIRRORS = {
    ("debian", "amd64"): ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security"),
    ("debian", "arm64"): ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security"),
    ("ubuntu", "amd64"): ("http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu"),
    ("ubuntu", "arm64"): ("http://ports.ubuntu.com/ubuntu-ports", "http://ports.ubuntu.com/ubuntu-ports"),
}
KEYRINGS = {
    "debian": (DEBIAN_KEYRING, "debian-archive-keyring"),
    "ubuntu": ("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-keyring"),
}
TOOLS = {"mmdebstrap": "mmdebstrap", "mksquashfs": "squashfs-tools", "unshare": "util-linux", "setpriv": "util-linux"}
#: Room that a build takes while it lasts.
ROOM = 1024**3
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is in an image. ``packages`` come on top of PACKAGES."""

    distribution: str
    release: str
    architecture: str
    packages: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The number of the release, such as 12 for bookworm."""
        return next(number for number, name in DISTRIBUTIONS[self.distribution].items() if name == self.release)

    @property
    def debian_architecture(self) -> str:
        return ARCHITECTURES[self.architecture]

    @property
    def all_packages(self) -> list[str]:
        resolved = ["systemd-resolved"] if self.release in WITH_RESOLVED else []
        return sorted({*PACKAGES, *resolved, *self.packages})

    @property
    def key(self) -> str:
        """Digest that names the cache entry. The mirror's address is not in it: mirrors hold the same."""
        parts = [RECIPE, self.distribution, self.release, self.architecture, self.all_packages, sorted(self.suites)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    @property
    def description(self) -> str:
        return f"{self.distribution.capitalize()} {self.version} ({self.release}) for {self.debian_architecture}"


@dataclass(frozen=True)
class Order:
    """A recipe, where its packages come from, and where the image is kept."""

    recipe: Recipe
    sources: tuple[Source, ...]
    cache: Path


@dataclass(frozen=True)
class Built:
    """A finished cache entry. ``seconds`` is what building took; 0 where it lay there already."""

    metadata: Path
    rootfs: Path
    key: str
    seconds: float = 0.0


def machine_architecture() -> str:
    return platform.machine()


def recipe_for(
    distribution: str, release: str, architecture: str = "", packages: Sequence[str] = (), suites: Sequence[str] = ()
) -> Recipe:
    """The recipe for a release by its number or name. Raises InvalidInput with every fault."""
    problems = Problems()
    machine = machine_architecture()
    wanted = architecture or machine
    wanted = next((name for name, debian in ARCHITECTURES.items() if wanted in (name, debian)), wanted)
    if distribution not in DISTRIBUTIONS:
        problems.add("distribution", f'"{distribution}" cannot be built', ", ".join(DISTRIBUTIONS))
    names = DISTRIBUTIONS.get(distribution, {})
    codename = names.get(release, release)
    if names and codename not in names.values():
        known = ", ".join(f"{number} ({name})" for number, name in names.items())
        problems.add("release", f'"{release}" of {distribution} cannot be built', known)
    if wanted not in ARCHITECTURES:
        problems.add("architecture", f'"{wanted}" cannot be built', ", ".join(ARCHITECTURES))
    elif wanted != machine:
        problems.add("architecture", f"an image for {wanted} cannot be built on {machine}", machine)
    problems.raise_if_any()
    return Recipe(distribution, codename, wanted, tuple(sorted(set(packages))), tuple(suites))


# -- where the packages come from -----------------------------------------------------------------
def mirrors_for(
    distribution: str, release: str, architecture: str, mirror: str = "", security_mirror: str = ""
) -> tuple[Source, ...]:
    """Sources of a release: the mirror that was asked for, else this machine's, else the official one."""
    components = COMPONENTS[distribution]
    official, official_security = MIRRORS[distribution, ARCHITECTURES[architecture]]
    if mirror:
        security = security_mirror or (mirror if distribution == "ubuntu" else "")
        return _suites(release, components, mirror, security)
    own = parse(read_files())
    base = source_of(own, release)
    if base is None:
        return _suites(release, components, official, security_mirror or official_security)
    found = [source_of(own, release, suffix) for suffix in ("-updates", "-security")]
    chosen = [base, *(source for source in found if source)]
    return tuple(
        Source(source.uri, f"{release}{suffix}", components, source.signed_by, source.trusted)
        for source, suffix in zip(chosen, _suffixes(base, chosen), strict=True)
    )


def _suites(release: str, components: tuple[str, ...], mirror: str, security: str) -> tuple[Source, ...]:
    sources = [Source(mirror, release, components), Source(mirror, f"{release}-updates", components)]
    if security:
        sources.append(Source(security, f"{release}-security", components))
    return tuple(sources)


def _suffixes(base: Source, chosen: Sequence[Source]) -> list[str]:
    """``-updates`` and the like of each source; the base may go by a moving name such as stable."""
    return [source.suite.removeprefix(base.suite) for source in chosen]


# -- the cache ------------------------------------------------------------------------------------
def cached(order: Order) -> Built | None:
    """The finished entry, if there is one."""
    entry = order.cache / order.recipe.key
    built = Built(entry / "metadata.tar.xz", entry / "rootfs.squashfs", order.recipe.key)
    return built if built.metadata.is_file() and built.rootfs.is_file() else None


def missing_tools(recipe: Recipe) -> list[str]:
    """Packages that a build on this machine needs and that are not installed."""
    packages = {package for tool, package in TOOLS.items() if shutil.which(tool, path=SEARCH) is None}
    keyring, package = KEYRINGS[recipe.distribution]
    if not Path(keyring).exists():
        packages.add(package)
    return sorted(packages)


def ensure_built(order: Order, *, rebuild: bool = False) -> Built:
    """The entry for an order, built if it is not there. Waits for another process that builds it."""
    found = None if rebuild else cached(order)
    if found:
        return found
    order.cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(order.cache / f"{order.recipe.key}.lock"):
        found = None if rebuild else cached(order)  # somebody built it while we waited
        return found or _build(order)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(order: Order) -> Built:
    """Build beside the entry, and rename. What a killed build left is removed first: the lock is ours."""
    _check_machine(order)
    started = time.monotonic()
    prefix = f".{order.recipe.key}."
    for leftover in order.cache.glob(f"{prefix}*"):
        remove_tree(leftover)
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=order.cache))
    try:
        work.chmod(0o755)
        _make_rootfs(order, work)
        (work / "metadata.tar.xz").write_bytes(metadata_tarball(order.recipe, int(time.time())))
        _publish(work, order.cache / order.recipe.key)
    finally:
        remove_tree(work)
    built = known(cached(order))
    return Built(built.metadata, built.rootfs, built.key, time.monotonic() - started)


def _check_machine(order: Order) -> None:
    """Everything a build needs, said before it starts."""
    if os.geteuid() != 0:
        raise Unsupported("building an image needs root", hint="run with sudo, or with become")
    if missing := missing_tools(order.recipe):
        raise Unsupported(
            f"building {order.recipe.description} needs the packages {', '.join(missing)}",
            hint=f"apt-get install {' '.join(missing)}",
        )
    free = shutil.disk_usage(order.cache).free
    if free < ROOM:
        raise Unsupported(
            f"building an image needs {format_size(ROOM)} in {order.cache}, and {format_size(free)} are free",
            hint="name another folder in cache_dir",
        )


def remove_tree(path: Path) -> None:
    """Remove a build's folder, but never through a mount that somebody left in it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if inside := [mount for mount in mounts if mount.startswith(f"{path}/")]:
        raise OperationFailed(f"{inside[0]} is still mounted", where=str(path), hint="unmount it and run this again")
    shutil.rmtree(path, ignore_errors=not path.exists())


def _publish(work: Path, entry: Path) -> None:
    """Put a complete image in place, on disk before its name is. An older one of the same key makes room."""
    final = work / "entry"
    final.mkdir(mode=0o755)
    for name in ("metadata.tar.xz", "rootfs.squashfs"):
        (work / name).rename(final / name)
        _sync(final / name)
    _sync(final)
    if entry.exists():
        entry.rename(work / "old")
    final.rename(entry)
    _sync(entry.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- the tree -------------------------------------------------------------------------------------
#: Documentation and translations make a third of a small image. Licences stay.
DPKG_EXCLUDES = """\
# A container needs no manuals and no translations. Remove this file and reinstall a package to have its own.
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-exclude=/usr/share/man/*
"""
#: Without a locale cloud-init's locale module fails, and the system ends degraded.
CLOUD_CONFIG = """\
# The templates of the image put cloud-init's data where NoCloud looks.
datasource_list: [NoCloud, None]
locale: C.UTF-8
system_info:
  network:
    renderers: [networkd]
    activators: [networkd]
"""
#: What the build left in the tree, and what every machine must have of its own.
NOT_IN_AN_IMAGE = (
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/*",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/ssh/ssh_host_*",
    "var/cache/apt/*.bin",
    "var/lib/apt/lists/*",
    "var/lib/dbus/machine-id",
    "var/log/*.log",
    "var/log/apt/*",
)


def _make_rootfs(order: Order, work: Path) -> None:
    root = work / "root"
    (work / "excludes").write_text(DPKG_EXCLUDES)
    # The sources go over standard input, where a password in them is not seen.
    _run(["mmdebstrap", *_mmdebstrap(order.recipe, root, work / "excludes")], stdin=stanzas(order, passwords=True))
    finish_tree(root, order)
    squash = ["-comp", "zstd", "-Xcompression-level", "3", "-noappend", "-quiet", "-no-progress"]
    _run(["mksquashfs", str(root), str(work / "rootfs.squashfs"), *squash])
    remove_tree(root)


def _mmdebstrap(recipe: Recipe, root: Path, excludes: Path) -> list[str]:
    """Arguments. The sources come on standard input, where no password in them is seen."""
    options = [
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--architectures={recipe.debian_architecture}",
        f"--include={','.join(recipe.all_packages)}",
        f"--dpkgopt={excludes}",
        "--dpkgopt=force-unsafe-io",
        '--aptopt=Apt::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        *(f"--aptopt={setting}" for setting in apt_settings()),
        '--customize-hook=chroot "$1" systemctl enable systemd-networkd.service systemd-resolved.service',
        # Else an instance without a network card boots for two minutes and ends degraded.
        '--customize-hook=chroot "$1" systemctl mask systemd-networkd-wait-online.service',
    ]
    return [*options, recipe.release, str(root), "-"]


def apt_settings() -> list[str]:
    """How this machine's apt reaches a mirror (proxies), and whether it forgives an old index."""
    shown = _capture("apt-config", "dump")
    kept = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
    return [line.rstrip(";") for line in shown.splitlines() if line.startswith(kept) and not line.endswith(' "";')]


def finish_tree(root: Path, order: Order) -> None:
    """What makes a machine out of the tree a machine of its own, and where it finds packages."""
    for path in (path for pattern in NOT_IN_AN_IMAGE for path in root.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _copy_keys(root, order)
    write_file(root, "etc/machine-id", "")
    write_file(root, "etc/hostname", "localhost\n")
    write_file(root, "etc/default/locale", "LANG=C.UTF-8\n")
    write_file(root, "etc/cloud/cloud.cfg.d/90_rackstead.cfg", CLOUD_CONFIG)
    write_file(root, "etc/dpkg/dpkg.cfg.d/90rackstead", DPKG_EXCLUDES)
    write_file(root, f"etc/apt/sources.list.d/{order.recipe.distribution}.sources", stanzas(order))
    if 'Acquire::Check-Valid-Until "false"' in apt_settings():
        write_file(root, "etc/apt/apt.conf.d/90rackstead", 'Acquire::Check-Valid-Until "false";\n')


def write_file(root: Path, name: str, content: str) -> None:
    """Write a file inside the tree, replacing what is there, be it a link that leads out of the tree."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(content)
    path.chmod(0o644)


def stanzas(order: Order, *, passwords: bool = False) -> str:
    """The package sources in deb822. What a key's path says holds on this machine and in the image."""
    texts = []
    for source in order.sources:
        uri = source.uri if passwords else strip_credentials(source.uri)
        signed = source.signed_by or KEYRINGS[order.recipe.distribution][0]
        key = "\n ".join(["", *signed.splitlines()]) if "\n" in signed else f" {signed}"
        trust = "Trusted: yes" if source.trusted else f"Signed-By:{key}"
        components = " ".join(source.components)
        texts.append(f"Types: deb\nURIs: {uri}\nSuites: {source.suite}\nComponents: {components}\n{trust}\n")
    return "\n".join(texts)


def _copy_keys(root: Path, order: Order) -> None:
    """Keys that a mirror of one's own signs with, where the image's sources look for them."""
    for source in order.sources:
        name = source.signed_by.lstrip("/")
        if source.signed_by.startswith("/") and not (root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.signed_by, root / name)


# -- the metadata ---------------------------------------------------------------------------------
SEED = "/var/lib/cloud/seed/nocloud-net"
NO_USER_DATA = "#cloud-config\n{}\n"
DHCP_ON_ETH0 = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n    dhcp-identifier: mac\n"
HOSTS = """\
127.0.0.1 localhost
127.0.1.1 {{ container.name }}
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
META_DATA = """\
instance-id: {{ container.name }}
local-hostname: {{ container.name }}
{{ config_get("user.meta-data", "") }}
"""


def _seed(name: str) -> str:
    """A template: the instance's ``cloud-init.NAME``, else its older ``user.NAME``, else the default."""
    new, old = f'config_get("cloud-init.{name}", "")', f'config_get("user.{name}", properties.default)'
    return f'{{% if {new} == "" %}}{{{{ {old} }}}}{{% else %}}{{{{ {new} }}}}{{% endif %}}\n'


def metadata(recipe: Recipe, created: int) -> dict[str, object]:
    """The document metadata.yaml. ``created`` is seconds since the epoch."""
    when = ["create", "copy"]
    defaults = {"user-data": NO_USER_DATA, "vendor-data": NO_USER_DATA, "network-config": DHCP_ON_ETH0}
    seeds: dict[str, object] = {
        f"{SEED}/{name}": {"when": when, "template": f"{name}.tpl", "properties": {"default": default}}
        for name, default in defaults.items()
    }
    return {
        "architecture": recipe.architecture,
        "creation_date": created,
        "properties": {
            "os": recipe.distribution.capitalize(),
            "release": recipe.release,
            "version": recipe.version,
            "variant": "cloud",
            "architecture": recipe.debian_architecture,
            "description": f"{recipe.description}, built from packages",
        },
        "templates": {
            "/etc/hostname": {"when": when, "template": "hostname.tpl"},
            "/etc/hosts": {"when": when, "template": "hosts.tpl"},
            # Emptied in a copy, so that its first boot makes one of its own.
            "/etc/machine-id": {"when": ["copy"], "template": "machine-id.tpl"},
            f"{SEED}/meta-data": {"when": when, "template": "meta-data.tpl"},
            **seeds,
        },
    }


def metadata_tarball(recipe: Recipe, created: int) -> bytes:
    """The metadata half of the image, in memory: a document and its templates."""
    files = {
        "metadata.yaml": json.dumps(metadata(recipe, created), indent=1),  # JSON is YAML
        "templates/hostname.tpl": "{{ container.name }}\n",
        "templates/hosts.tpl": HOSTS,
        "templates/machine-id.tpl": "",
        "templates/meta-data.tpl": META_DATA,
        **{f"templates/{name}.tpl": _seed(name) for name in ("user-data", "vendor-data", "network-config")},
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(text.encode()), 0o644, created
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


# -- programs -------------------------------------------------------------------------------------
#: A build's programs have mounts and processes of their own and die with us, however we end: no
#: mount and no half-written file is ever left to a process that goes on.
CONFINED = "setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child=KILL".split()


def _run(argv: Sequence[str], *, stdin: str = "") -> None:
    """Run a program of the build to its end. Raises with the last lines it printed."""
    environment = {"PATH": SEARCH, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function
        [*CONFINED, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    _stdout, said = process.communicate(stdin)
    if process.returncode:
        lines = [strip_credentials(line) for line in said.splitlines() if line.strip()]
        raise OperationFailed(f"{argv[0]} failed: {' / '.join(lines[-3:]) or f'exit code {process.returncode}'}")


def _capture(*argv: str) -> str:
    environment = {"PATH": SEARCH, "LC_ALL": "C"}
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)  # pylint: disable=ansible-bad-function
    return done.stdout
