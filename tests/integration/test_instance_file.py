# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in, out of and inside instances, running and stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import NotFound, RacksteadError
from ansible_collections.rackstead.infra.plugins.module_utils.instances import files
from ansible_collections.rackstead.infra.plugins.module_utils.instances.incus.sftp import Sftp
from testbed.ansible import Modules, Playbooks
from testbed.proxy import RecordingProxy

Run = Callable[..., dict[str, Any]]


@pytest.fixture(params=["running", "stopped"])
def box(project: Any, request: pytest.FixtureRequest) -> str:
    """An instance's name; whatever is true of files is true of running and of stopped ones."""
    project.incus("launch" if request.param == "running" else "init", "tiny", "box", "-q")
    return "box"


@pytest.fixture
def file(project: Any, run_module: Modules, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``file(path=…, …)`` runs the module on instance ``box``. ``text`` goes by a file, as in a play: an
    argument of that kind is a secret, of which no letter would be left in the result.
    """

    def run(
        *, check: bool = False, diff: bool = False, env: Any = None, text: str | None = None, **args: Any
    ) -> dict[str, Any]:
        env = {**project.env, **(env or {})}
        if text is not None:
            args["src"] = str(tmp_path_factory.mktemp("content") / "content")
            Path(args["src"]).write_text(text)
        return run_module("instance_file", {"instance": "box", **args}, check=check, diff=diff, env=env)

    return run


def test_bad_parameters_get_a_line_each(project: Any, file: Run) -> None:
    missing = file(path="/etc/motd")
    assert missing["msg"] == "src: state: present needs one of src and content; allowed: exactly one of them"
    several = file(path="etc/motd", content="a long content", mode=420, state="absent")
    assert several["problems"] == [
        "content: means nothing with state: absent; allowed: state: present",
        "mode: means nothing with state: absent; allowed: state: present or directory or pulled",
        'path: "etc/motd" is not a path; allowed: an absolute path inside the instance',
        'mode: 420 (a bare number) is not a file mode; allowed: three octal digits in quotes, such as "0644"',
    ]
    assert "sticky" in file(path="/tmp/x", state="directory", mode="1777")["msg"]
    assert file(path="/tmp/x", state="pulled")["problems"][0].startswith("dest: state: pulled needs a place")
    unknown = file(path="/etc/motd", text="x")["msg"]
    assert unknown == f'instance box: does not exist in project "{project}"'
    project.incus("init", "tiny", "bix", "-q")
    assert file(path="/etc/motd", text="x")["msg"].endswith('did you mean "bix"?')
    assert "is not a name" in file(path="/etc/motd", text="x", instance="a/../b")["msg"]


def test_content_is_pushed_once_and_changed_exactly(project: Any, box: str, file: Run) -> None:
    args = {"path": "/etc/motd", "text": "one\n", "owner": "1000", "group": "7", "mode": "0640"}
    assert file(**args, check=True)["changes"] == [{"path": "/etc/motd", "actions": ["create"]}]
    with pytest.raises(NotFound):
        project.client.pull(box, "/etc/motd")
    made = file(**args, diff=True)
    assert made["changed"]
    assert made["diff"][0]["after"] == {"state": "file", "owner": "1000", "group": "7", "mode": "0640"}
    found = project.client.pull(box, "/etc/motd")
    assert (found.content, found.uid, found.gid, found.mode) == (b"one\n", 1000, 7, "0640")
    assert not file(**args)["changed"]

    changed = file(**{**args, "text": "two\n"}, diff=True)
    assert changed["changes"][0]["actions"] == ["content"]
    assert changed["diff"][0]["before"] == "one\n"
    found = project.client.pull(box, "/etc/motd")
    assert (found.content, found.uid, found.gid, found.mode) == (b"two\n", 1000, 7, "0640")

    assert file(**{**args, "text": "two\n", "mode": "0600"})["changes"][0]["actions"] == ["mode"]
    assert file(path="/etc/motd", text="two\n", group="0")["changes"][0]["actions"] == ["owner"]
    found = project.client.pull(box, "/etc/motd")
    assert (found.content, found.uid, found.gid, found.mode) == (b"two\n", 1000, 0, "0600")
    assert not file(path="/etc/motd", text="two\n")["changed"]


def test_names_of_owners_are_the_instances_own(project: Any, box: str, file: Run) -> None:
    project.client.push(box, "/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:2042:2043::/srv:/bin/sh\n")
    project.client.push(box, "/etc/group", b"root:x:0:\nwww:x:2044:\n")
    file(path="/srv", state="directory", owner="web", group="www", mode="0750")
    found = project.client.pull(box, "/srv")
    assert (found.uid, found.gid, found.mode) == (2042, 2044, "0750")
    wrong = file(path="/srv", state="directory", owner="wep")["msg"]
    assert wrong == 'owner: instance box has no user "wep" in /etc/passwd; did you mean "web"?'


def test_a_large_file_goes_in_and_out_in_pieces(project: Any, box: str, file: Run, tmp_path: Path) -> None:
    source, dest = tmp_path / "large", tmp_path / "back"
    source.write_bytes(os.urandom(1 << 20) * 40)
    assert file(path="/large", src=str(source))["changed"]
    assert not file(path="/large", src=str(source))["changed"]
    assert file(path="/large", state="pulled", dest=str(dest), diff=True)["diff"][0]["after"].startswith("(binary")
    assert dest.read_bytes() == source.read_bytes()
    assert not file(path="/large", state="pulled", dest=str(dest))["changed"]


def test_a_file_replaces_a_symlink_and_never_follows_it(project: Any, box: str, file: Run) -> None:
    project.client.push(box, "/root/target", b"untouched")
    assert file(path="/root/link", state="link", src="target")["changes"][0]["actions"] == ["create"]
    assert not file(path="/root/link", state="link", src="target")["changed"]
    assert not file(path="/root/link", state="link", src="/root/target")["changed"]
    assert file(path="/root/link", state="link", src="/etc/passwd")["changes"][0]["actions"] == ["replace"]
    assert file(path="/root/link", state="link", src="target")["changed"]
    assert file(path="/root/link", text="own")["changes"][0]["actions"] == ["replace"]
    assert project.client.pull(box, "/root/link").content == b"own"
    assert project.client.pull(box, "/root/target").content == b"untouched"


def test_directories_and_their_parents(project: Any, box: str, file: Run) -> None:
    args = {"path": "/srv/a/b", "state": "directory", "owner": "5", "mode": "0700"}
    predicted = file(**args, check=True)["changes"]
    assert [step["path"] for step in predicted] == ["/srv", "/srv/a", "/srv/a/b"]
    assert file(**args)["changes"] == predicted
    assert not file(**args)["changed"]
    assert project.client.pull(box, "/srv/a").mode == "0755"
    found = project.client.pull(box, "/srv/a/b")
    assert (found.uid, found.mode) == (5, "0700")
    assert not file(path="/linuxrc/..", state="directory")["changed"]
    wrong = file(path="/srv/a", text="x")["msg"]
    assert wrong == 'instance box: "/srv/a" is a directory, where a file is wanted; remove it first with state: absent'
    lost = file(path="/no/such/file", text="x")["msg"]
    assert lost == 'instance box: the directory "/no/such" does not exist; make it first with state: directory'


def test_removal_asks_for_recursive(project: Any, box: str, file: Run) -> None:
    file(path="/srv/a/b", state="directory")
    file(path="/srv/a/b/away", state="link", src="/etc")
    file(path="/srv/a/file", text="x")
    refused = file(path="/srv", state="absent")["msg"]
    assert refused.endswith("recursive: true removes it with all it holds")
    assert file(path="/srv", state="absent", recursive=True, check=True)["changed"]
    assert file(path="/srv", state="absent", recursive=True, diff=True)["diff"][0]["after"] == {"state": "absent"}
    assert not file(path="/srv", state="absent", recursive=True)["changed"]
    assert project.client.pull(box, "/etc/passwd").content
    file(path="/gone", text="x")
    assert file(path="/gone", state="absent")["changed"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    top = tmp_path / "site"
    (top / "css").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "index.html").write_text("<h1>hello</h1>\n")
    (top / "css/a.css").write_text("h1 {}\n")
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "latest").symlink_to("css/a.css")
    return top


def test_a_tree_goes_in_and_comes_out_again(project: Any, box: str, file: Run, site: Path, tmp_path: Path) -> None:
    into = {"path": "/site", "src": str(site), "recursive": True, "owner": "33"}
    assert "recursive: true" in file(path="/site", src=str(site))["msg"]
    predicted = file(**into, check=True)["changes"]
    assert file(**into)["changes"] == predicted
    assert len(predicted) == 7
    assert not file(**into)["changed"]
    assert project.client.pull(box, "/site/run.sh").mode == "0755"
    assert project.client.pull(box, "/site/css/a.css").uid == 33
    assert files.look(project.client, box, "/site/latest").target == "/site/css/a.css"
    (site / "css/a.css").write_text("h2 {}\n")
    changed = file(**into, diff=True)
    assert changed["changes"] == [{"path": "/site/css/a.css", "actions": ["content"]}]
    assert [changed["diff"][0][key] for key in ("before", "after")] == ["h1 {}\n", "h2 {}\n"]
    assert file(**into, mode="0600", directory_mode="0700")["changed"]
    assert [project.client.pull(box, path).mode for path in ("/site/css", "/site/run.sh")] == ["0700", "0600"]

    back = {"path": "/site", "state": "pulled", "dest": str(tmp_path / "back"), "recursive": True}
    predicted = file(**back, check=True)["changes"]
    assert not (tmp_path / "back").exists()
    assert file(**back)["changes"] == predicted
    assert not file(**back)["changed"]
    assert os.readlink(tmp_path / "back/latest") == "css/a.css"
    assert (tmp_path / "back/latest").read_text() == "h2 {}\n"
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == sorted(p.name for p in site.iterdir())
    assert (tmp_path / "back/run.sh").stat().st_mode & 0o777 == 0o600


def test_a_pull_never_writes_through_a_link(project: Any, box: str, file: Run, tmp_path: Path) -> None:
    outside, dest = tmp_path / "outside", tmp_path / "dest"
    outside.mkdir()
    dest.mkdir()
    (dest / "sub").symlink_to(outside)
    file(path="/tree/sub", state="directory")
    file(path="/tree/sub/passwd", text="from the instance")
    assert file(path="/tree", state="pulled", dest=str(dest), recursive=True)["changed"]
    assert list(outside.iterdir()) == []
    assert (dest / "sub/passwd").read_text() == "from the instance"
    assert not (dest / "sub").is_symlink()


def test_pulling_one_file(project: Any, box: str, file: Run, tmp_path: Path) -> None:
    project.client.push(box, "/root/log", b"line\n", mode="0600")
    pulled = file(path="/root/log", state="pulled", dest=str(tmp_path), diff=True)
    assert pulled["dest"] == str(tmp_path / "log")
    assert pulled["diff"] == [
        {"before_header": pulled["dest"], "after_header": pulled["dest"], "before": "", "after": "line\n"}
    ]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert not file(path="/root/log", state="pulled", dest=str(tmp_path))["changed"]
    assert file(path="/root/log", state="pulled", dest=str(tmp_path), mode="0644")["changes"][0]["actions"] == ["mode"]
    assert "does not exist" in file(path="/root/no", state="pulled", dest=str(tmp_path))["msg"]
    assert "recursive: true" in file(path="/root", state="pulled", dest=str(tmp_path))["msg"]
    assert "dest: the directory" in file(path="/root/log", state="pulled", dest=str(tmp_path / "no/log"))["msg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log"]


def test_a_write_that_fails_leaves_nothing_and_harms_nothing(project: Any, box: str, file: Run) -> None:
    """Half way through the source ends the world: the old file stands, no temporary file beside it."""
    file(path="/root/kept", text="old")

    class Broken:
        size, count = 100_000, 0

        def read(self, _size: int) -> bytes:
            self.count += 1
            if self.count > 2:
                raise RacksteadError("cut")
            return b"x" * 1000

        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_exception: object) -> None:
            return

    class Wanted(files.Wanted):
        size = 100_000  # type: ignore[assignment]

        def open(self) -> Any:
            return Broken()

    step = files.Step(Wanted("/root/kept"), files.look(project.client, box, "/root/kept"), ("content",))
    with files.FileWriter(project.client, box) as writer, pytest.raises(RacksteadError, match="cut"):
        writer.perform(step)
    assert project.client.pull(box, "/root/kept").content == b"old"
    assert project.client.pull(box, "/root").entries == ("kept",)


def test_leftovers_of_a_killed_run_go_with_the_next(project: Any, box: str, file: Run) -> None:
    file(path="/root/kept", text="old")
    for name, age in ((f".kept.{'0' * 16}.rackstead", "old"), (f".kept.{'1' * 16}.rackstead", "fresh")):
        project.client.push(box, f"/root/{name}", age.encode())
    _age(project, box, f"/root/.kept.{'0' * 16}.rackstead")
    file(path="/root/kept", text="new")
    assert sorted(project.client.pull(box, "/root").entries) == [f".kept.{'1' * 16}.rackstead", "kept"]


def _age(project: Any, box: str, path: str) -> None:
    """Give a file a modification time of two days before."""
    with Sftp(project.client, box) as sftp:
        found = sftp.lstat(path)
        assert found is not None
        then = found.modified - 2 * 86400
        sftp._sftp.utime(path, (then, then))


def test_check_mode_sends_nothing_that_writes(
    project: Any, box: str, file: Run, site: Path, tmp_path: Path, recording_proxy: RecordingProxy
) -> None:
    project.client.push(box, "/root/log", b"line\n")
    for args in (
        {"path": "/root/log", "text": "other"},
        {"path": "/root/log", "text": "line\n", "owner": "5", "mode": "0600"},
        {"path": "/root/new", "state": "directory"},
        {"path": "/root/link", "state": "link", "src": "log"},
        {"path": "/site", "src": str(site), "recursive": True},
        {"path": "/root", "state": "absent", "recursive": True},
        {"path": "/root/log", "state": "pulled", "dest": str(tmp_path / "log")},
    ):
        assert file(**args, check=True, diff=True, env=recording_proxy.env)["changed"], args
    assert recording_proxy.mutating == []
    assert [r for r in recording_proxy.requests if "/sftp" in r.path] == []
    assert not (tmp_path / "log").exists()


def test_a_play_pushes_from_the_control_node_and_shows_no_secret(project: Any, play: Playbooks, tmp_path: Path) -> None:
    project.incus("init", "tiny", "box", "-q")
    secret = "correct-horse-battery-staple"
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "script").chmod(0o750)
    push = {"instance": "box", "project": project.name}
    tasks = [
        {
            "name": "file",
            "rackstead.infra.instance_file": {
                **push,
                "path": "/script",
                "src": str(tmp_path / "script"),
                "mode": "preserve",
            },
        },
        {"name": "shown", "rackstead.infra.instance_file": {**push, "path": "/shown", "content": "public text\n"}},
        {
            "name": "hidden",
            "rackstead.infra.instance_file": {**push, "path": "/hidden", "content": secret, "sensitive": True},
        },
        {"name": "mapping", "rackstead.infra.instance_file": {**push, "path": "/json", "content": {"a": [1, 2]}}},
        {
            "name": "lost",
            "rackstead.infra.instance_file": {**push, "path": "/x", "src": "no-such"},
            "ignore_errors": True,
        },
    ]
    first = play(tasks, diff=True, arguments=["-vvv"]).ok()
    assert secret not in first.stdout + first.stderr
    assert "+public text" in first.stdout
    assert "src: no-such is not on the control node" in first.of("lost").msg
    assert project.client.pull("box", "/script").mode == "0750"
    assert project.client.pull("box", "/hidden").content == secret.encode()
    assert project.client.pull("box", "/json").content == b'{"a": [1, 2]}'
    assert [result.changed for result in play(tasks).ok().results] == [False] * 5


def test_another_host_gets_the_file_first(project: Any, play: Playbooks, tmp_path: Path) -> None:
    """With become the module runs as somebody else, so the source is handed over as on a remote host."""
    project.incus("init", "tiny", "box", "-q")
    (tmp_path / "src").write_text("handed over\n")
    args = {"instance": "box", "project": project.name, "path": "/handed", "src": str(tmp_path / "src")}
    folder = {**args, "src": str(tmp_path), "recursive": True}
    tasks = [
        {"name": "file", "rackstead.infra.instance_file": args},
        {"name": "folder", "rackstead.infra.instance_file": folder, "ignore_errors": True},
    ]
    result = play(tasks, play={"become": True, "become_method": "ansible.builtin.su"}).ok()
    assert result.of("file").changed
    assert project.client.pull("box", "/handed").content == b"handed over\n"
    assert "use remote_src: true" in result.of("folder").msg


def test_over_tls(project: Any, daemon: Any, file: Run, tmp_path: Path) -> None:
    project.incus("launch", "tiny", "box", "-q")
    trusted = daemon.trust("files-over-tls", projects=[project.name])
    names = {"cert_file": "client_cert", "key_file": "client_key", "fingerprint": "server_fingerprint", "url": "url"}
    remote = {names[key]: value for key, value in trusted.items()}
    source = tmp_path / "large"
    source.write_bytes(os.urandom(5_000_001))
    args = {"path": "/srv/large", "src": str(source), "mode": "0640", "owner": "5", **remote}
    assert file(path="/srv", state="directory", **remote)["changed"]
    assert file(**args)["changed"]
    assert not file(**args)["changed"]
    found = project.client.pull("box", "/srv/large")
    assert (found.content, found.mode, found.uid) == (source.read_bytes(), "0640", 5)
    assert file(path="/srv/large", state="pulled", dest=str(tmp_path / "back"), **remote)["changed"]
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert file(path="/srv", state="absent", recursive=True, **remote)["changed"]
