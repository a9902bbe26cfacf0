# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on the way: each names the resource and its cause in one line, and the next apply converges."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.instances import plantask
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.client import IncusClient
from ansible_collections.rackstead.infra.plugins.module_utils.instances.model import Change
from ansible_collections.rackstead.infra.plugins.module_utils.instances.progress import Event
from ansible_collections.rackstead.infra.plugins.module_utils.instances.writer import Writer
from testbed import daemon as testbed

from tests.integration.planning import applied, entry_of, raw, refusal, run

TINY = {"image": "tiny", "state": "stopped"}


def plan(**instances: Any) -> dict[str, Any]:
    return {"name": "faults", "defaults": TINY, "instances": instances}


def lines(result: dict[str, Any]) -> list[str]:
    """The message's lines, one for each resource that failed or was skipped."""
    found = [entry for entry in result["resources"] if "error" in entry or "skipped" in entry]
    told = result["msg"].split("\n") if found else []
    assert len(told) == len(found), result.get("msg")
    return told


def converges(client: IncusClient, document: dict[str, Any], **options: Any) -> None:
    """The next apply goes well, and one more has nothing to do."""
    assert applied(client, document, **options)["changed"]
    assert not applied(client, document, **options)["changed"]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """``meanwhile(act)``: ``act`` happens once, after everything was looked at and before anything is written."""

    def prepare(act: Callable[[], Any]) -> None:
        perform = Writer.perform
        pending = [act]

        def first_act(writer: Writer, change: Change, tell: Any) -> list[str]:
            while pending:
                pending.pop()()
            return perform(writer, change, tell)

        monkeypatch.setattr(Writer, "perform", first_act)

    return prepare


# -- the daemon goes away -----------------------------------------------------------------------------
@pytest.mark.parametrize(("number", "on_error"), [(signal.SIGTERM, "stop"), (signal.SIGKILL, "continue")])
def test_the_daemon_is_restarted_while_a_plan_is_applied(
    project: Any, daemon: testbed.Daemon, number: int, on_error: str
) -> None:
    client = project.client
    stopped: dict[str, Any] = {f"s{count:02}": {} for count in range(24)}
    document = plan(**stopped, run1={"state": "running"}, run2={"state": "running", "depends_on": ["run1"]})
    underway = threading.Event()
    told: list[Event] = []

    def watch() -> None:
        underway.wait(60)
        daemon.restart(number)

    class Told(list[Event]):
        def append(self, event: Event) -> None:
            told.append(event)
            if event.phase == "done":
                underway.set()

    thread = threading.Thread(target=watch)
    thread.start()
    result = run(client, document, on_error=on_error, told=Told(), parallel=2)
    thread.join(120)
    assert not thread.is_alive()
    assert result["failed"]
    for entry in result["resources"]:
        where = f"instance {entry['name']} (project {project.name}): "
        assert entry.get("error", where).startswith(where)
    assert all(": " in line for line in lines(result))
    assert on_error == "continue" or result["summary"]["skipped"]
    converges(client, document)
    assert sorted(project.names()) == sorted(document["instances"])
    assert client.operations() == []


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.transport import Endpoint

    client = IncusClient(Endpoint(url=f"unix://{tmp_path}/none"))
    assert refusal(client, plan(a={})) == (
        f"Incus at unix://{tmp_path}/none: connect: No such file or directory; "
        "is the Incus daemon running? `rackstead init` sets one up"
    )


# -- a full pool --------------------------------------------------------------------------------------
@pytest.fixture
def small_pool(daemon: testbed.Daemon) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A pool on a file system of 3 MB in memory, and what gives it another size. It lives in the daemon's namespace."""
    folder = daemon.slot.folder / "small"
    folder.mkdir(mode=0o711)
    inside = ["nsenter", f"--mount=/proc/{daemon.pid}/ns/mnt", "mount", "-t", "tmpfs"]
    subprocess.run([*inside, "-o", "size=3m", "rstest", folder], check=True)
    client = daemon.client()
    client.post("/storage-pools", {"name": "small", "driver": "dir", "config": {"source": str(folder)}})

    def resize(size: str) -> None:
        subprocess.run([*inside, "-o", f"remount,size={size}", "rstest", folder], check=True)

    yield "small", resize
    client.delete("/storage-pools/small")
    subprocess.run([*inside[:2], "umount", folder], check=True)


def test_a_full_pool(project: Any, small_pool: tuple[str, Callable[[str], None]]) -> None:
    pool, resize = small_pool
    client = project.client
    document = plan(a={"pool": pool}, b={"pool": pool}, c={})
    try:
        result = run(client, document, parallel=1, on_error="continue")
        [line] = lines(result)
        assert line.startswith(f"instance b (project {project.name}): ")
        assert "run out of disk space" in line
        assert project.names() == ["a", "c"]
        resize("20m")
        converges(client, document)
    finally:
        applied(client, document, state="absent")


# -- a name that is taken -----------------------------------------------------------------------------
def test_a_name_that_another_plan_or_nobody_has(project: Any) -> None:
    client = project.client
    applied(client, {**plan(a={}), "name": "other"})
    client.post("/instances", {"name": "b", "source": {"type": "image", "alias": "tiny"}})
    before = raw(client)
    ends = "allowed: another name, or adopt=true to take it over"
    where = f"(project {project.name}): the name is taken: it"
    assert refusal(client, plan(a={}, b={}, c={})).split("\n") == [
        f"instance a {where} belongs to plan other; {ends}",
        f"instance b {where} exists already and belongs to no plan; {ends}",
    ]
    assert raw(client) == before
    converges(client, plan(a={}, b={}, c={}), adopt=True)


def test_a_name_that_somebody_takes_after_we_looked(project: Any, meanwhile: Any) -> None:
    client = project.client
    source = {"type": "image", "alias": "tiny"}
    meanwhile(lambda: client.post("/instances", {"name": "b", "source": source, "description": "theirs"}))
    result = run(client, plan(a={}, b={}), parallel=1, on_error="continue")
    assert lines(result) == [
        (
            f"instance b (project {project.name}): the name is taken: somebody made it meanwhile; "
            "run again to see the new state of things"
        )
    ]
    assert client.get("/instances/b")["description"] == "theirs"
    assert project.names() == ["a", "b"]
    converges(client, plan(a={}, b={}), adopt=True)


@pytest.mark.parametrize("state", ["stopped", "running"])
def test_what_a_killed_run_asked_for_comes_true_after_we_looked(project: Any, meanwhile: Any, state: str) -> None:
    """Its last request is still on the way when the next run looks: that is no stranger's instance."""
    client = project.client
    document = plan(a={"state": state})
    marks = {"user.rackstead.plan": "faults", "user.rackstead.keys": "none", "user.rackstead.image": "tiny"}
    asked = {"name": "a", "config": marks, "source": {"type": "image", "alias": "tiny"}, "start": state == "running"}
    meanwhile(lambda: client.raw("POST", "/instances", body=asked))
    assert applied(client, document)["changed"]
    assert client.get("/instances/a")["status"] == state.title()
    assert not applied(client, document)["changed"]


def test_an_instance_that_somebody_changes_after_we_looked(project: Any, meanwhile: Any) -> None:
    client = project.client
    applied(client, plan(a={"memory": "64MiB"}))
    meanwhile(lambda: client.patch("/instances/a", {"config": {"limits.memory": "100MiB"}}))
    result = run(client, plan(a={"memory": "128MiB"}))
    assert lines(result) == [
        (
            f"instance a (project {project.name}): changed by somebody else meanwhile (limits.memory); "
            "run again to see the new state of things"
        )
    ]
    assert client.get("/instances/a")["config"]["limits.memory"] == "100MiB"
    converges(client, plan(a={"memory": "128MiB"}))


# -- an image -----------------------------------------------------------------------------------------
def test_an_image_that_is_missing(project: Any) -> None:
    client = project.client
    assert refusal(client, plan(a={}, b={"image": "tyny"}, c={"image": "debian/99"})).split("\n") == [
        (
            f'instance b (project {project.name}).image: image "tyny" does not exist; did you mean "tiny"?; '
            f"allowed: {_aliases(client)}, or remote:alias; rackstead.infra.image gets or builds one"
        ),
        (
            f'instance c (project {project.name}).image: image "debian/99" does not exist{_nearest(client)}; '
            f"allowed: {_aliases(client)}, or remote:alias; rackstead.infra.image gets or builds one"
        ),
    ]
    assert project.names() == []


def _aliases(client: IncusClient) -> str:
    return ", ".join(sorted(entry["name"] for entry in client.get("/images/aliases", recursion="1")))


def _nearest(client: IncusClient) -> str:
    """Where the Debian image is there as well it is near enough to be offered."""
    return '; did you mean "debian/12"?' if "debian/12" in _aliases(client) else ""


def test_an_image_that_goes_after_we_looked(project: Any, daemon: testbed.Daemon, meanwhile: Any) -> None:
    client = project.client
    archive = daemon.slot.folder / "goes.tar.gz"
    fingerprint = client.resolve_alias("tiny")
    daemon.incus("image", "export", fingerprint, str(archive.with_suffix("").with_suffix("")))
    [exported] = archive.parent.glob("goes*")
    meanwhile(lambda: daemon.client().delete(f"/images/{fingerprint}"))
    try:
        result = run(client, plan(a={}, b={}), parallel=1)
    finally:
        daemon.incus("image", "import", str(exported), "--alias", "tiny", "-q")
        exported.unlink()
    first, second = lines(result)
    assert first.startswith(f"instance a (project {project.name}): ")
    assert "image" in first.lower()
    assert second.endswith("(on_error=stop)")
    assert project.names() == []
    converges(client, plan(a={}, b={}))


# -- an operation that fails midway -------------------------------------------------------------------
def broken(path: Path) -> dict[str, Any]:
    """An instance that can be made but not started while the path is not there."""
    device = {"type": "disk", "source": str(path), "path": "/srv"}
    return {"state": "running", "devices": {"data": device}}


@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_an_instance_that_does_not_start(project: Any, tmp_path: Path, on_error: str) -> None:
    client = project.client
    path = tmp_path / "later"
    document = plan(a=broken(path), b={"depends_on": ["a"]}, c={}, d={"depends_on": ["c"]})
    result = run(client, document, on_error=on_error, parallel=1)
    where = f"(project {project.name})"
    told = lines(result)
    assert told[0].startswith(f"instance a {where}: ")
    assert str(path) in told[0]
    if on_error == "stop":
        assert told[1:] == [
            f"instance {name} {where}: not started, since instance a {where} failed (on_error=stop)" for name in "bcd"
        ]
        assert set(project.names()) <= {"a"}
    else:
        assert told[1:] == [f"instance b {where}: not started, since it needs instance a {where}"]
        assert [name for name in project.names() if name != "a"] == ["c", "d"]
    path.mkdir()
    converges(client, document)
    assert entry_of(run(client, document), "a")["after"]["status"] == "Running"


def test_a_condition_that_never_holds(project: Any) -> None:
    client = project.client
    never = {"state": "running", "wait_for": ["running", {"command": ["false"]}], "wait_timeout": 1}
    result = run(client, plan(a=never, b={"state": "running", "depends_on": ["a"]}))
    where = f"(project {project.name})"
    assert lines(result) == [
        f"instance a {where}: waited 1 s in vain for command false (last seen: rc 1)",
        f"instance b {where}: not started, since instance a {where} failed (on_error=stop)",
    ]
    assert entry_of(result, "a")["changed"]
    ready = {**never, "wait_for": "running"}
    converges(client, plan(a=ready, b={"state": "running", "depends_on": ["a"]}))


def test_a_configuration_that_the_daemon_refuses(project: Any) -> None:
    client = project.client
    document = plan(a={"config": {"limits.nonsense": "1"}}, b={})
    result = run(client, document, on_error="continue")
    [line] = lines(result)
    assert line.startswith(f"instance a (project {project.name}): ")
    assert line.endswith("Unknown configuration key: limits.nonsense")
    assert project.names() == ["b"]


def test_a_profile_that_fails_holds_back_what_needs_it(project: Any) -> None:
    client = project.client
    document = plan(a={"profiles": ["default", "web"]}, b={})
    document["profiles"] = {"web": {"config": {"limits.nonsense": "1"}}}
    result = run(client, document, on_error="continue")
    where = f"(project {project.name})"
    first, second = lines(result)
    assert first.startswith(f"profile web {where}: ")
    assert second == f"instance a {where}: not started, since it needs profile web {where}"
    assert project.names() == ["b"]


# -- what was applied is looked at again --------------------------------------------------------------
def test_a_daemon_that_goes_before_we_can_look_again(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = project.client
    observe = plantask.observe
    looks = iter([True])

    def once(*args: Any, **options: Any) -> Any:
        if next(looks, False):
            return observe(*args, **options)
        raise testbed.Unreachable("connection refused", where="Incus at here")

    monkeypatch.setattr(plantask, "observe", once)
    result = run(client, plan(a={}))
    assert lines(result) == [
        (
            f"instance a (project {project.name}): was applied, but could not be looked at again: "
            "Incus at here: connection refused"
        )
    ]


def test_an_operation_that_a_killed_run_left_is_waited_for(project: Any) -> None:
    """The next run begins while the daemon still makes the instance."""
    client = project.client
    asked = {"name": "a", "source": {"type": "image", "alias": "tiny"}, "config": {"user.rackstead.plan": "faults"}}
    client.raw("POST", "/instances", body=asked)
    result = applied(client, plan(a={"memory": "64MiB"}))
    assert entry_of(result, "a")["actions"] == ["update"]
    assert client.operations() == []
