# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes control plane, built once from Debian's own source package into a cache that runs share.

``python -m tests.testbed.kubebuild`` builds it. A build that was killed is taken up again: what is compiled stays.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path(os.environ.get("RACKSTEAD_CACHE") or Path.home() / ".cache/rackstead") / "kubernetes-1.20"
BUILT = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
BINARIES = ("etcd", "kubectl", *BUILT)
#: What upstream's build writes into the programs; kubectl of the same package says the same.
VERSION = "v1.20.2"
#: How long all may take, in seconds, on a machine that has other things to do.
LONGEST = 5400.0
PACKAGES = {"go": "golang-go", "dpkg-source": "dpkg-dev"}
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "-y", "-qq")


class Unbuilt(Exception):
    """There is no control plane, and why."""


def found(cache: Path = CACHE) -> Path | None:
    """The folder with the programs, if it is whole: it appears in one move."""
    folder = cache / "bin"
    return folder if all(os.access(folder / name, os.X_OK) for name in BINARIES) else None


def missing(cache: Path = CACHE) -> str:
    """Why tests cannot have a control plane; nothing if they can."""
    return "" if found(cache) else f"no Kubernetes in {cache}: make test-kubernetes builds it (minutes, once)"


def build(cache: Path = CACHE, seconds: float = LONGEST) -> Path:
    """The folder with the programs; built if it is not there. Raises Unbuilt."""
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache):
        return found(cache) or Build(cache, time.monotonic() + seconds).run()


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass
class Build:
    """One way to the programs, in steps that are not taken twice."""

    cache: Path
    end: float
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.cache / "work"

    @property
    def source(self) -> Path:
        return self.work / "gopath/src/k8s.io/kubernetes"

    def run(self) -> Path:
        self.environment = {
            **os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "GO111MODULE": "off",
            "GOPATH": str(self.work / "gopath"), "GOCACHE": str(self.work / "gocache"), "GOFLAGS": "", "GOPROXY": "off",
            "CGO_ENABLED": "0", "GOTOOLCHAIN": "local",
        }  # fmt: skip
        (self.work / "bin").mkdir(parents=True, exist_ok=True)
        for name, step in (
            ("Debian's tools", self.tools),
            ("etcd and kubectl", self.packaged),
            ("Kubernetes' source", self.unpacked),
            ("generated code", self.generated),
            *((f"compiling {name}", lambda name=name: self.compiled(name)) for name in BUILT),
        ):
            print(f"kubernetes: {name}", flush=True)
            step()
        (self.work / "bin").rename(self.cache / "bin")
        shutil.rmtree(self.work)
        return self.cache / "bin"

    # -- steps ------------------------------------------------------------------------------------
    def tools(self) -> None:
        wanted = [package for command, package in PACKAGES.items() if not shutil.which(command)]
        if wanted:
            if os.getuid():
                raise Unbuilt(f"{', '.join(wanted)}: is missing; as root: apt-get install {' '.join(wanted)}")
            self.call([*APT, "update"])
            self.call([*APT, "install", "--no-install-recommends", *wanted])

    def packaged(self) -> None:
        """Two programs come compiled. Their packages are only unpacked: nothing is installed, nothing started."""
        for package, inside, name in (
            ("etcd-server", "usr/bin/etcd", "etcd"),
            ("kubernetes-client", "usr/bin/kubectl", "kubectl"),
        ):
            if (self.work / "bin" / name).exists():
                continue
            place = self._fresh("package")
            self.call([*APT, "download", package], place)
            self.call(["dpkg-deb", "-x", str(next(place.glob("*.deb"))), "out"], place)
            (place / "out" / inside).rename(self.work / "bin" / name)
            shutil.rmtree(place)

    def unpacked(self) -> None:
        """From the mirror that this machine uses, with lists of our own."""
        if self.source.exists():
            return
        place = self._fresh("apt")
        (place / "lists/partial").mkdir(parents=True)
        (place / "src.list").write_text(
            f"deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror()} {release()} main\n"
        )
        own = {"Dir::Etc::sourcelist": "src.list", "Dir::Etc::sourceparts": "/dev/null", "Dir::State::lists": "lists"}
        options = [
            word
            for key, value in own.items()
            for word in ("-o", f"{key}={value if value.startswith('/') else place / value}")
        ]
        self.call([*APT, *options, "update"], place)
        self.call([*APT, *options, "--download-only", "source", "kubernetes"], place)
        self.call(["dpkg-source", "-x", str(next(place.glob("kubernetes_1.20.*.dsc"))), "tree"], place)
        self.source.parent.mkdir(parents=True, exist_ok=True)
        (place / "tree").rename(self.source)
        shutil.rmtree(place)

    def generated(self) -> None:
        """The OpenAPI definitions, as upstream's ``make generated_files`` makes them. kubectl's patches need them."""
        done = self.work / "generated"
        if done.exists():
            return
        tool = self.work / "openapi-gen"
        self.call(["go", "build", "-o", str(tool), "k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen"])
        package = "k8s.io/kubernetes/pkg/generated/openapi"
        (self.source / "pkg/generated/openapi").mkdir(parents=True, exist_ok=True)
        header = ["-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", str(self.work / "violations")]
        out = ["-p", package, "-O", "zz_generated.openapi", "--output-base", str(self.work / "gopath/src")]
        self.call([str(tool), "--logtostderr", "--v", "0", "-i", ",".join(self._marked()), *out, *header], self.source)
        done.touch()

    def _marked(self) -> list[str]:
        """Packages whose types are to be described."""
        mark, found = re.compile(rb"^// *\+k8s:openapi-gen=", re.MULTILINE), set()
        for top in ("staging/src/k8s.io", "pkg", "cmd"):
            for file in (self.source / top).rglob("*.go"):
                if file.is_file() and mark.search(file.read_bytes()):
                    found.add(str(file.parent.relative_to(self.source)))
        unwanted = re.compile("sample-|/examples|code-generator|testdata")
        return sorted(
            f"k8s.io/kubernetes/vendor/{name.removeprefix('staging/src/')}"
            if name.startswith("staging/src/")
            else f"k8s.io/kubernetes/{name}"
            for name in found
            if not unwanted.search(name)
        )

    def compiled(self, name: str) -> None:
        target = self.work / "bin" / name
        if target.exists():
            return
        at = "k8s.io/kubernetes/vendor/k8s.io/component-base/version"
        major, minor = VERSION[1:].split(".")[:2]
        flags = f"-s -w -X {at}.gitVersion={VERSION} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}"
        new = self.work / f"{name}.new"
        # Without the clients of public clouds, which take half of the time.
        self.call(
            [
                "go",
                "build",
                "-tags",
                "providerless",
                "-trimpath",
                "-ldflags",
                flags,
                "-o",
                str(new),
                f"k8s.io/kubernetes/cmd/{name}",
            ]
        )
        new.rename(target)

    # -- how --------------------------------------------------------------------------------------
    def _fresh(self, name: str) -> Path:
        """An empty folder. apt downloads as a user of its own where it can: it must be able to look in."""
        place = self.work / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def call(self, argv: Sequence[str], where: Path | None = None) -> None:
        """One command, which ends with this process. Raises Unbuilt with the end of what it said."""
        log = self.work / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "10", *argv],
                cwd=where or self.work,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                status = process.wait(timeout=max(0.0, self.end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Unbuilt(f"{' '.join(argv[:3])[:200]}: all has taken longer than allowed; run it again") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if status:
            said = log.read_text(errors="replace").strip()[-1500:]
            raise Unbuilt(f"{' '.join(argv[:3])[:200]}: ended with {status}: {said}")


def mirror() -> str:
    """Where this machine's Debian comes from."""
    for file in [*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")]:
        text = file.read_text() if file.exists() else ""
        if named := re.search(r"^(?:URIs:|deb (?:\[[^]]*\] )?)\s*(\S+)", text, re.MULTILINE):
            return named[1]
    raise Unbuilt("this machine's apt names no mirror")


def release() -> str:
    named = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    if not named or named[1] != "bookworm":
        raise Unbuilt(f"Kubernetes is built on Debian 12 (bookworm), and this is {named[1] if named else 'unknown'}")
    return named[1]


def main() -> int:
    try:
        print(f"kubernetes: {build()}")
    except Unbuilt as error:
        print(f"kubernetes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
