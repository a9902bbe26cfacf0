# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module image: every source, on a real daemon, and images that are really built."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until
from ansible_collections.rackstead.infra.plugins.module_utils.instances import imagebuild
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from testbed import daemon as testbed
from testbed import debian, imageserver, tiny
from testbed.ansible import Modules
from testbed.proxy import RecordingProxy

from tests.integration.conftest import make_project

ARCH = imagebuild.ARCHITECTURES[imagebuild.machine_architecture()]
#: Nothing listens on the discard port of the loopback address.
OUT_OF_REACH = "http://127.0.0.1:9"
Image = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def unified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 1 MB that the daemon does not have."""
    folder = tmp_path_factory.mktemp("image")
    return imageserver.variant(tiny.build(folder / "tiny.tar.gz"), folder / "unified.tar.gz", "unified")


@pytest.fixture
def own(daemon: testbed.Daemon) -> Iterator[Any]:
    """A project with images of its own."""
    made = make_project(daemon, **{"features.images": "true"})
    yield made.client
    testbed.remove_project(daemon.client(), made.name)


@pytest.fixture
def image(run_module: Modules, own: IncusClient, tmp_path: Path) -> Image:
    """Runs the module in a project of the test's own, with a cache of its own."""

    def run(check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        env = {"RACKSTEAD_PROJECT": own.project, "RACKSTEAD_CACHE": str(tmp_path / "cache")}
        return run_module("image", {"server": OUT_OF_REACH, **options}, check=check, diff=diff, env=env)

    return run


def ok(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result
    return result


def exactly(image: Image, **options: Any) -> dict[str, Any]:
    """Check mode foretells what is then done, and a second run does nothing. Returns what was done."""
    foretold = ok(image(check=True, **options))
    done = ok(image(**options))
    assert (foretold["changed"], foretold["actions"]) == (done["changed"], done["actions"])
    again = ok(image(**options))
    assert not again["changed"], again
    return done


def fingerprints(client: IncusClient) -> list[str]:
    return sorted(path.rpartition("/")[2].partition("?")[0] for path in client.get("/images"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- files ----------------------------------------------------------------------------------------
def test_a_unified_file(image: Image, own: IncusClient, unified: Path) -> None:
    done = exactly(image, alias="mine", source="file", path=str(unified))
    assert done["fingerprint"] == own.resolve_alias("mine") == sha256(unified)
    assert done["actions"] == ["import unified.tar.gz", "name it mine"]


def test_a_split_file(image: Image, own: IncusClient, unified: Path, tmp_path: Path) -> None:
    metadata, rootfs = imageserver.split(unified, tmp_path)
    done = exactly(image, alias="mine/split", source="file", path=str(rootfs), metadata_path=str(metadata))
    assert done["fingerprint"] == hashlib.sha256(metadata.read_bytes() + rootfs.read_bytes()).hexdigest()
    own.post("/instances", {"name": "boots", "source": {"type": "image", "alias": "mine/split"}, "start": True})
    assert own.get("/instances/boots")["status"] == "Running"


def test_the_alias_moves_with_the_content(image: Image, own: IncusClient, unified: Path, tmp_path: Path) -> None:
    ok(image(alias="mine", source="file", path=str(unified)))
    other = imageserver.variant(unified, tmp_path / "other.tar.gz", "other")
    moved = image(alias="mine", source="file", path=str(other), diff=True)
    assert moved["actions"][:2] == ["import other.tar.gz", "point mine to it"]
    assert (moved["diff"]["before"]["fingerprint"], moved["diff"]["after"]["fingerprint"]) == (
        sha256(unified),
        sha256(other),
    )
    assert fingerprints(own) == [sha256(other)], "the image that this module made before went"


def test_an_image_that_others_name_or_made_stays(image: Image, own: IncusClient, unified: Path, tmp_path: Path) -> None:
    ok(image(alias="one", source="file", path=str(unified)))
    ok(image(alias="two", source="file", path=str(unified)))
    other = imageserver.variant(unified, tmp_path / "other.tar.gz", "other")
    ok(image(alias="one", source="file", path=str(other)))
    assert own.resolve_alias("two") == sha256(unified)
    removed = exactly(image, alias="two", state="absent")
    assert removed["actions"] == ["remove the alias two and its image"]
    assert fingerprints(own) == [sha256(other)]


def test_properties_and_publicity(image: Image, own: IncusClient, unified: Path) -> None:
    ok(image(alias="mine", source="file", path=str(unified)))
    done = exactly(image, alias="mine", source="file", path=str(unified), public=True, properties={"team": "a"})
    assert done["actions"] == ["set properties of mine"]
    found = own.get(f"/images/{done['fingerprint']}")
    assert found["public"] and found["properties"]["team"] == "a" and found["properties"]["os"] == "busybox"


def test_absent(image: Image, own: IncusClient, unified: Path) -> None:
    assert not ok(image(alias="mine", state="absent"))["changed"]
    ok(image(alias="mine", source="file", path=str(unified)))
    assert ok(image(check=True, alias="mine", state="absent"))["changed"]
    assert own.resolve_alias("mine")
    exactly(image, alias="mine", state="absent")
    assert fingerprints(own) == []


def test_bad_input_is_one_line_each(image: Image, own: IncusClient, tmp_path: Path) -> None:
    nothing = image(alias="x", source="file", path=str(tmp_path / "nothing"))
    assert nothing["msg"] == f"{tmp_path / 'nothing'}: there is no such file"
    assert "path" in image(alias="x", source="file")["msg"]
    faulty = image(alias="x", source="url", url_rootfs="x", checksum="y")
    assert [line.split(":")[0] for line in faulty["problems"]] == ["url_rootfs", "checksum"]
    rubbish = tmp_path / "rubbish.tar.gz"
    rubbish.write_bytes(os.urandom(1000))
    assert image(alias="x", source="file", path=str(rubbish))["failed"]
    assert fingerprints(own) == [] and not own.resolve_alias("x")


# -- web servers ----------------------------------------------------------------------------------
def test_a_url_with_a_checksum(image: Image, own: IncusClient, unified: Path, tmp_path: Path) -> None:
    with imageserver.serving(unified.parent) as web:
        options = {"alias": "web", "source": "url", "url_rootfs": f"{web.url}/{unified.name}"}
        options["checksum"] = f"sha512:{hashlib.sha512(unified.read_bytes()).hexdigest()}"
        done = ok(image(**options))
        assert done["fingerprint"] == sha256(unified)
        asked = len(web.requests)
        assert not ok(image(**options))["changed"]
        ok(image(alias="web", state="absent"))
        assert ok(image(**options))["changed"], "from the cache"
        assert len(web.requests) == asked == 1


def test_a_password_for_a_web_server(image: Image, unified: Path) -> None:
    with imageserver.serving(unified.parent, user="me", password="s3cr3t/word") as web:
        address = f"{web.url}/{unified.name}".replace("//", "//me:s3cr3t%2Fword@")
        done = ok(image(alias="web", source="url", url_rootfs=address, checksum=sha256(unified)))
        assert "s3cr3t" not in str(done)
        assert image(alias="no", source="url", url_rootfs=f"{web.url}/x", checksum="0" * 64)["failed"]


def test_two_urls(image: Image, unified: Path, tmp_path: Path) -> None:
    metadata, rootfs = imageserver.split(unified, tmp_path / "web")
    with imageserver.serving(tmp_path / "web") as web:
        done = ok(
            image(
                alias="web",
                source="url",
                url_rootfs=f"{web.url}/{rootfs.name}",
                checksum=sha256(rootfs),
                url_metadata=f"{web.url}/{metadata.name}",
                metadata_checksum=sha256(metadata),
            )
        )
    assert done["fingerprint"] == hashlib.sha256(metadata.read_bytes() + rootfs.read_bytes()).hexdigest()


def test_a_wrong_checksum_imports_nothing(image: Image, own: IncusClient, unified: Path, tmp_path: Path) -> None:
    with imageserver.serving(unified.parent) as web:
        wrong = "0" * 64
        found = image(alias="web", source="url", url_rootfs=f"{web.url}/{unified.name}", checksum=wrong)
    assert found["failed"]
    assert f"the file has sha256 {sha256(unified)}, not {wrong}" in found["msg"]
    assert fingerprints(own) == []
    assert list((tmp_path / "cache/downloads").iterdir()) == [], "nothing unverified stays"


def test_a_web_server_that_does_not_answer(image: Image) -> None:
    found = image(alias="web", source="url", url_rootfs="http://user:secret@127.0.0.1:9/x", checksum="0" * 64)
    assert found["msg"].startswith("http://127.0.0.1:9/x: cannot be downloaded: Connection refused")


# -- image servers --------------------------------------------------------------------------------
def test_simplestreams(image: Image, own: IncusClient, unified: Path, tmp_path: Path) -> None:
    fingerprint = imageserver.simplestreams(tmp_path / "tree", unified, "tiny/1", arch=ARCH)
    with imageserver.serving(tmp_path / "tree") as web:
        options = {"alias": "streamed", "source": "server", "server": web.url, "server_alias": "tiny/1"}
        done = exactly(image, auto_update=False, **options)
        assert done["fingerprint"] == fingerprint
        asked = len(web.requests)
        ok(image(**options))
        assert len(web.requests) == asked, "an alias that came from there is not asked for again"
        missing = image(**{**options, "alias": "other", "server_alias": "tiny/2"})
    assert missing["failed"] and "tiny/2 on http://127.0.0.1" in missing["msg"]


def test_another_daemon(image: Image, own: IncusClient, unified: Path) -> None:
    with testbed.running() as remote:
        remote.incus("image", "import", str(unified), "--alias", "there", "--public", "-q")
        options = {"alias": "from-remote", "source": "server", "protocol": "incus", "server": remote.https_url}
        options["server_alias"] = "there"
        unknown = image(**options)
        assert unknown["failed"] and "certificate" in unknown["msg"]
        certificate = (remote.folder / "server.crt").read_text()
        done = exactly(image, server_certificate=certificate, auto_update=False, **options)
        assert done["fingerprint"] == sha256(unified)


# -- auto -----------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def built() -> imagebuild.Built:
    """Debian 12, built once and kept where runs share it."""
    return debian.image()


@pytest.mark.timeout(900)
def test_auto_builds_where_no_server_is_in_reach(image: Image, own: IncusClient, built: imagebuild.Built) -> None:
    options = {"alias": "debian/12", "cache_dir": str(debian.CACHE)}
    started = time.monotonic()
    foretold = ok(image(check=True, **options))
    done = ok(image(**options))
    seconds = (time.monotonic() - started) / 2
    why = "image server 127.0.0.1 is out of reach (Connection refused)"
    assert foretold["msg"] == f"{why}: debian/12 would be taken from the cache"
    assert done["msg"] == f"{why}: took debian/12, built earlier, from the cache"
    assert (done["source"], done["build_seconds"]) == ("build", 0)
    assert seconds < 2, f"a hit in the cache took {seconds:.1f} s"
    assert own.get(f"/images/{done['fingerprint']}")["properties"]["rackstead.key"] == built.key
    again = ok(image(**options))
    assert (again["changed"], again["source"]) == (False, "existing")
    assert not ok(image(source="build", **options))["changed"]


def test_auto_takes_what_is_there_without_asking_anybody(image: Image, unified: Path, tmp_path: Path) -> None:
    ok(image(alias="debian/12", source="file", path=str(unified)))
    with imageserver.serving(tmp_path) as web:
        found = ok(image(alias="debian/12", server=web.url))
        assert (found["changed"], found["fingerprint"], web.requests) == (False, sha256(unified), [])


def test_auto_takes_a_server_that_answers(image: Image, unified: Path, tmp_path: Path) -> None:
    fingerprint = imageserver.simplestreams(tmp_path / "tree", unified, "debian/12/cloud", arch=ARCH)
    with imageserver.serving(tmp_path / "tree") as web:
        done = exactly(image, alias="debian/12", server=web.url, auto_update=False)
    assert (done["source"], done["fingerprint"]) == ("server", fingerprint)


@pytest.mark.timeout(900)
def test_auto_builds_what_a_server_does_not_have(
    image: Image, unified: Path, tmp_path: Path, built: imagebuild.Built
) -> None:
    imageserver.simplestreams(tmp_path / "tree", unified, "debian/11/cloud", arch=ARCH)
    with imageserver.serving(tmp_path / "tree") as web:
        done = ok(image(alias="debian/12", server=web.url, cache_dir=str(debian.CACHE)))
    assert done["source"] == "build"
    assert done["msg"].startswith("127.0.0.1 does not give it (")


def test_auto_says_all_that_was_tried(image: Image) -> None:
    found = image(alias="mine")
    assert found["msg"] == (
        "image server 127.0.0.1 is out of reach (Connection refused); and it cannot be built: "
        'alias: "mine" does not say what to build; allowed: debian/12 and the like, or distribution and release'
    )


def test_a_server_that_says_nothing_does_not_hold_up(image: Image, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        started = time.monotonic()
        found = image(alias="mine", server=f"http://127.0.0.1:{mute.getsockname()[1]}", server_timeout=0.5)
        assert "no answer within 0.5 s" in found["msg"] or "timed out" in found["msg"]
        assert time.monotonic() - started < 60


# -- builds ---------------------------------------------------------------------------------------
BUILD = """
import conftest, sys
from pathlib import Path
from testbed import debian
from ansible_collections.rackstead.infra.plugins.module_utils.instances import imagebuild
print("ready", flush=True)
imagebuild.ensure_built(debian.order(Path(sys.argv[1])))
"""


@pytest.fixture
def building(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts builds into a cache of the test's own, each in a process of its own."""
    debian.ensure_tools()
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        top = Path(__file__).resolve().parents[2]
        env = {**os.environ, "PYTHONPATH": f"{top}:{top / 'tests'}"}
        argv = [sys.executable, "-c", BUILD, str(tmp_path / "cache")]
        process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def work_folders(cache: Path) -> list[Path]:
    return sorted(cache.glob(".*"))


def programs_in(folder: Path) -> list[str]:
    """Processes that have the folder's path among their arguments."""
    return subprocess.run(["pgrep", "-f", "--", str(folder)], capture_output=True, text=True).stdout.split()


@pytest.mark.timeout(300)
def test_a_killed_build_leaves_nothing_that_counts(
    building: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"

    def unpacked() -> Path | None:
        return next((path for path in cache.glob(".*/root/usr/bin/dpkg")), None)

    process = building()
    wait_until(unpacked, Deadline(200), what="packages in the tree")
    (first,) = work_folders(cache)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # mmdebstrap and all it started go with the process that wanted the image.
    wait_until(lambda: not programs_in(first) or None, Deadline(60), what="the build's programs to end")
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(first) not in mounts
    assert imagebuild.cached(debian.order(cache)) is None
    # The next build clears the leftover away before it begins.
    building()
    wait_until(lambda: (not first.exists() and work_folders(cache)) or None, Deadline(60), what="the next build")


@pytest.mark.timeout(300)
def test_two_builds_of_one_image_do_not_run_at_once(
    building: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    one, two = building(), building()
    wait_until(lambda: work_folders(cache) or None, Deadline(60), what="a build")

    def waiting() -> bool | None:
        """One of them waits for the lock of the other."""
        states = [Path(f"/proc/{process.pid}/wchan").read_text() for process in (one, two)]
        return any("lock" in state for state in states) or None

    wait_until(waiting, Deadline(60), what="one to wait for the other")
    assert len(work_folders(cache)) == 1


@pytest.mark.timeout(900)
def test_a_built_image_boots_into_a_working_system(daemon: testbed.Daemon, project: Any, debian_image: str) -> None:
    data = "#cloud-config\nwrite_files: [{path: /etc/made-by, content: cloud-init}]\nruncmd: [[touch, /run/ran]]\n"
    project.incus("launch", debian_image, "system", "-q", "-c", f"cloud-init.user-data={data}")

    def inside(*argv: str) -> str:
        return project.inside("system", *argv).strip()

    assert "status: done" in inside("cloud-init", "status", "--wait")
    assert inside("systemctl", "is-system-running", "--wait") == "running"
    assert inside("cat", "/etc/made-by") == "cloud-init" and inside("ls", "/run/ran")
    assert inside("hostname") == "system"
    assert inside("systemctl", "is-active", "ssh") == "active" and inside("ls", "/etc/ssh/ssh_host_ed25519_key")
    assert inside("python3", "-c", "import json; print(json.dumps(1))") == "1"
    sources = inside("cat", "/etc/apt/sources.list.d/debian.sources")
    assert "bookworm" in sources and "@" not in sources
    project.incus("copy", "system", "copy", "-q")
    project.incus("start", "copy", "-q")
    # Machines of one image have identities of their own; the copy's is there early in its first boot.
    identity = wait_until(
        lambda: project.inside("copy", "cat", "/etc/machine-id").strip() or None,
        Deadline(120),
        what="the copy's identity",
    )
    assert identity != inside("cat", "/etc/machine-id") != ""


def test_check_mode_sends_nothing(
    run_module: Modules, recording_proxy: RecordingProxy, unified: Path, tmp_path: Path, daemon: testbed.Daemon
) -> None:
    env = {**recording_proxy.env, "RACKSTEAD_CACHE": str(tmp_path)}
    for options in (
        {"alias": "new", "source": "file", "path": str(unified)},
        {"alias": "new", "source": "build"},
        {"alias": "new/12", "distribution": "debian", "release": "12", "server": OUT_OF_REACH},
        {"alias": "tiny", "state": "absent"},
        {"alias": "tiny", "source": "file", "path": str(unified), "properties": {"x": "y"}},
    ):
        foretold = run_module("image", options, check=True, env=env)
        assert foretold.get("changed") or "does not say what to build" in foretold["msg"]
    assert recording_proxy.requests and recording_proxy.mutating == []
