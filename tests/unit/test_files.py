# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What file, exec and single-resource tasks decide without a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.instances.accounts import (
    Account,
    parse_group,
    parse_passwd,
)
from ansible_collections.rackstead.infra.plugins.module_utils.instances.commands import CommandRequest
from ansible_collections.rackstead.infra.plugins.module_utils.instances.files import (
    DIRECTORY,
    FILE,
    SYMLINK,
    Found,
    Step,
    Wanted,
    check_path,
    parents,
    parse_mode,
    resolved,
    shown_text,
    tree,
)
from ansible_collections.rackstead.infra.plugins.module_utils.instances.lookup import select
from ansible_collections.rackstead.infra.plugins.module_utils.instances.resources import readable


@pytest.mark.parametrize(("text", "mode"), [("0644", 0o644), ("644", 0o644), ("0000", 0), (None, None), ("", None)])
def test_modes(text: Any, mode: int | None) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", [420, 0o644, 644, "u=rw", "0888", "64", "06440", True, ["0644"]])
def test_no_modes(text: Any) -> None:
    with pytest.raises(InvalidInput, match="three octal digits in quotes"):
        parse_mode(text)


def test_special_bits_have_a_hint() -> None:
    with pytest.raises(InvalidInput, match="sticky bits"):
        parse_mode("1777")
    with pytest.raises(InvalidInput, match="sticky bits"):
        parse_mode("04755")


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/etc/motd", "/etc/motd"), ("/etc//x/", "/etc/x"), ("/a/../b", "/b"), ("//x", "/x"), ("/", "/")],
)
def test_paths(path: str, clean: str) -> None:
    assert check_path(path) == clean


@pytest.mark.parametrize("path", ["", "etc", "./x", "~/x", "/a\0b"])
def test_no_paths(path: str) -> None:
    with pytest.raises(InvalidInput, match="an absolute path inside the instance"):
        check_path(path)


def test_parents_and_link_targets() -> None:
    assert list(parents("/a/b/c")) == ["/a", "/a/b"]
    assert list(parents("/a")) == []
    assert resolved("/a/link", "b") == "/a/b"
    assert resolved("/a/link", "../b") == "/b"
    assert resolved("/a/link", "/b") == "/b"


def test_what_is_not_said_is_kept_or_gets_its_default() -> None:
    there = Found(FILE, uid=5, gid=6, mode=0o600, size=3)
    assert Step(Wanted("/x", content=b"new!"), there, ("content",)).after == Found(FILE, 5, 6, 0o600, 4)
    assert Step(Wanted("/x", content=b""), Found(), ("create",)).after == Found(FILE, 0, 0, 0o644, 0)
    assert Step(Wanted("/x", DIRECTORY, uid=7), Found(), ("create",)).after == Found(DIRECTORY, 7, 0, 0o755)
    link = Found(SYMLINK, uid=5, gid=6, mode=0o777, target="/y")
    assert Step(Wanted("/x", mode=0o640), link, ("replace",)).after == Found(FILE, 0, 0, 0o640, 0)


def test_a_tree_keeps_permissions_and_links(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir(mode=0o750)
    (tmp_path / "sub/run").write_text("x")
    (tmp_path / "sub/run").chmod(0o755)
    (tmp_path / "link").symlink_to("sub/run")
    found = {item.path: item for item in tree(tmp_path, "/t", Wanted("/t", uid=3), None)}
    assert list(found) == ["/t", "/t/link", "/t/sub", "/t/sub/run"]
    assert (found["/t/sub"].kind, found["/t/sub"].mode, found["/t/sub"].uid) == (DIRECTORY, 0o750, 3)
    assert (found["/t/sub/run"].mode, found["/t/link"].target) == (0o755, "sub/run")
    forced = {item.path: item for item in tree(tmp_path, "/t", Wanted("/t", mode=0o600), 0o700)}
    assert (forced["/t/sub"].mode, forced["/t/sub/run"].mode) == (0o700, 0o600)


def test_a_tree_with_a_pipe_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="files, directories and symlinks"):
        list(tree(tmp_path, "/t", Wanted("/t"), None))


def test_only_short_text_is_shown() -> None:
    assert shown_text("ä\n".encode(), 3) == "ä\n"
    assert shown_text(b"\xff", 1) is None
    assert shown_text(b"a\0b", 3) is None
    assert shown_text(b"", 200_000) is None


def test_accounts() -> None:
    text = "root:x:0:0:root:/root:/bin/sh\n\n# comment\nweb:x:33:34::/srv:\nbad:x:y:z:::\nshort:x:1\n"
    assert parse_passwd(text) == [Account(0, 0, "root", "/root"), Account(33, 34, "web", "/srv")]
    assert parse_group("root:x:0:\nwww:x:35:web,x\nbad\n") == {"root": 0, "www": 35}


def test_names_and_patterns() -> None:
    names = ["web1", "web2", "db"]
    assert select(names, ["web*", "db", "web1"]) == (["db", "web1", "web2"], [])
    assert select(names, ["we", "x*", "cache"]) == ([], ["cache", "we"])
    assert select(names, ["web[2-9]"]) == (["web2"], [])


def test_a_command_line_goes_to_a_shell_and_an_argv_does_not() -> None:
    assert CommandRequest("i", cmd="a | b").command == ["/bin/sh", "-c", "a | b"]
    assert CommandRequest("i", argv=("a", "|", "b")).command == ["a", "|", "b"]
    assert CommandRequest("i", stdin="x").input == b"x\n"
    assert CommandRequest("i", stdin="x", stdin_add_newline=False).input == b"x"
    assert CommandRequest("i").input == b""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/1.0/instances/web", "instance web"),
        ("/1.0/instances/web?project=lab", "instance web (project lab)"),
        ("/1.0/profiles/a%20b", "profile a b"),
        ("/1.0/storage-pools/default/volumes/custom/data?project=lab", "volume data in pool default (project lab)"),
    ],
)
def test_users_of_a_resource_in_words(url: str, words: str) -> None:
    assert readable(url) == words
