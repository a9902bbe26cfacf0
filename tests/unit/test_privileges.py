# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may run as root: how it is written, what is refused, and what sudo's own listing says about it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.problems import Problems
from ansible_collections.rackstead.infra.plugins.module_utils.privileges import granted
from ansible_collections.rackstead.infra.plugins.module_utils.privileges.fragment import ensure
from ansible_collections.rackstead.infra.plugins.module_utils.privileges.grants import (
    Grant,
    fragment_name,
    fragment_text,
    read_grants,
)
from hypothesis import given
from hypothesis import strategies as st

#: What sudo 1.9.13 said on a Debian 12, shortened at the top.
LISTING = """\
Matching Defaults entries for op on node1:
    env_reset, mail_badpass, secure_path=/usr/local/sbin\\:/usr/local/bin, use_pty

User op may run the following commands on node1:

Sudoers entry:
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/bin/snap list

Sudoers entry:
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/bin/snap refresh microk8s --channel\\=*
\t/usr/bin/apt-get

Sudoers entry:
    RunAsUsers: root
    Options: authenticate
    Commands:
\t/usr/bin/journalctl --no-pager
\t!/usr/bin/snap list

Sudoers entry:
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/sbin/dmidecode ""
"""
#: Members of the group sudo, by sudo 1.9.15 on Ubuntu 24.04, which says where a rule stands.
SUDO_GROUP = """\
User op may run the following commands on node1:

Sudoers entry: /etc/sudoers
    RunAsUsers: ALL
    RunAsGroups: ALL
    Commands:
\tALL

Sudoers entry: /etc/sudoers.d/rackstead-op
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/bin/snap list
"""


def grants(*lines: str, password: bool = False, everything: bool = False) -> tuple[Grant, ...]:
    problems = Problems()
    found = read_grants(lines, password=password, everything=everything, problems=problems)
    problems.raise_if_any()
    return found


@pytest.mark.parametrize(
    ("words", "sudoers"),
    [
        ("/usr/bin/snap list", "/usr/bin/snap list"),
        ("/usr/sbin/dmidecode", '/usr/sbin/dmidecode ""'),
        ("/usr/bin/apt-get ...", "/usr/bin/apt-get"),
        ("/usr/bin/snap refresh microk8s ...", "/usr/bin/snap refresh microk8s *"),
        ("/usr/bin/snap refresh microk8s --channel=...", r"/usr/bin/snap refresh microk8s --channel\=*"),
        ("/usr/bin/ls *.d [a] !x a,b:c #1 ?", r"/usr/bin/ls \*.d \[a\] \!x a\,b\:c \#1 \?"),
    ],
)
def test_commands_as_sudo_reads_them(words: str, sudoers: str) -> None:
    [found] = grants(words)
    assert (found.sudoers, found.words) == (sudoers, words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ALL", '"ALL" gives everything'),
        ("snap list", "an absolute path"),
        ("/usr/bin/*", "an absolute path"),
        ("/usr/bin/", "an absolute path"),
        ("/usr/bin/../bin/snap", "an absolute path"),
        ("!/usr/bin/snap", "an absolute path"),
        ("/usr/bin/snap, ALL", "an absolute path"),
        ("/usr/bin/snap list\nop ALL=(ALL) ALL", "letters, digits"),
        ("/usr/bin/snap list \\", "letters, digits"),
        ('/usr/bin/snap "list"', "letters, digits"),
        ("/usr/bin/snap  list", "letters, digits"),
        ("/usr/bin/snap ^.*$", "letters, digits"),
        ("/usr/bin/snap ... list ...", "letters, digits"),
        ("/bin/sh ...", "gives everything: who runs sh has a shell"),
        ("/bin/bash", "gives everything: who runs bash has a shell"),
        ("/usr/bin/less /var/log/syslog", "gives everything: who runs less has a shell"),
        ("/usr/bin/python3.11 -c ...", "gives everything: python runs"),
        ("/usr/bin/python3", "gives everything: python runs"),
        ("/usr/bin/tee ...", "gives everything"),
        ("/usr/bin/vim ...", "gives everything"),
    ],
)
def test_what_could_give_more_is_refused(line: str, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        grants(line)
    assert len(error.value.problems) == 1 and words in error.value.problems[0]
    assert "\n" not in error.value.problems[0]


def test_such_programs_may_have_arguments_that_are_given() -> None:
    assert grants("/usr/bin/tee /etc/motd")[0].sudoers == "/usr/bin/tee /etc/motd"


def test_the_fragment_has_a_line_for_each_command() -> None:
    found = grants("/usr/bin/snap list", "/usr/bin/id", "/usr/bin/snap list")
    assert fragment_text("op", found).splitlines()[1:] == [
        'op ALL=(root) NOPASSWD: /usr/bin/id ""',
        "op ALL=(root) NOPASSWD: /usr/bin/snap list",
    ]
    assert "PASSWD: /usr/bin/id" in fragment_text("op", grants("/usr/bin/id", password=True))
    assert "NOPASSWD" not in fragment_text("op", grants("/usr/bin/id", password=True))
    assert fragment_text("op", grants(everything=True)).splitlines()[1:] == ["op ALL=(ALL) NOPASSWD: ALL"]
    assert fragment_name("op.2") == "rackstead-op_2"  # sudo leaves out files with a dot


@given(st.lists(st.text(max_size=40), min_size=1, max_size=3))
def test_no_words_bring_another_line_or_all_into_the_fragment(lines: list[str]) -> None:
    problems = Problems()
    found = read_grants(lines, password=False, everything=False, problems=problems)
    text = fragment_text("op", found)
    assert len(text.splitlines()) == len(found) + 1
    assert all(line.startswith("op ALL=(root) NOPASSWD: /") for line in text.splitlines()[1:])


def given_to(user: str = "op", **more: Any) -> dict[str, Any]:
    plain = {"commands": [], "everything": False, "password": False, "fragment": None, "state": "present"}
    return {"user": user, **plain, **more}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (given_to("%sudo", commands=["/usr/bin/id"]), 'user: "%sudo" is not valid'),
        (given_to("ALL", commands=["/usr/bin/id"]), 'user: "ALL" is not valid'),
        (given_to("#0", commands=["/usr/bin/id"]), 'user: "#0" is not valid'),
        (given_to("op ALL=(ALL) ALL\n", commands=["/usr/bin/id"]), "is not valid"),
        (given_to(), "commands: empty"),
        (given_to(commands=["/usr/bin/id"], everything=True), "everything: true goes without commands"),
        (given_to(commands=["/usr/bin/id"], fragment="../passwd"), 'fragment: "../passwd" is not valid'),
        (given_to(commands=["/usr/bin/id"], fragment="op.conf"), "sudo leaves out other files"),
        (given_to("%sudo", state="absent"), 'user: "%sudo" is not valid'),
    ],
)
def test_bad_input_is_told_before_anything(given: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidInput) as error:
        ensure(given, check=False)
    assert line in str(error.value)


# -- what sudo says ---------------------------------------------------------------------------------
def test_rules_are_read_in_sudos_order() -> None:
    found = granted.read_rules(LISTING)
    assert [(rule.command, rule.password) for rule in found] == [
        ("/usr/bin/snap list", False),
        (r"/usr/bin/snap refresh microk8s --channel\=*", False),
        ("/usr/bin/apt-get", False),
        ("/usr/bin/journalctl --no-pager", True),
        ("!/usr/bin/snap list", True),
        ('/usr/sbin/dmidecode ""', False),
    ]
    assert granted.read_rules("User nobody is not allowed to run sudo on node1.\n") == []
    group = granted.read_rules(SUDO_GROUP)
    assert [(rule.command, rule.runas, rule.source) for rule in group] == [
        ("ALL", "ALL", "/etc/sudoers"),
        ("/usr/bin/snap list", "root", "/etc/sudoers.d/rackstead-op"),
    ]


def test_what_is_missing() -> None:
    rules = granted.read_rules(LISTING)
    for words in (
        "/usr/bin/snap refresh microk8s --channel=...",
        "/usr/bin/snap refresh microk8s --channel=1.30/stable",
        "/usr/bin/apt-get ...",
        "/usr/bin/apt-get update",
        "/usr/bin/apt-get",
        "/usr/sbin/dmidecode",
    ):
        assert granted.missing(rules, grants(words)) == [], words
    for words, why in (
        ("/usr/bin/snap list", "forbidden by !/usr/bin/snap list"),
        ("/usr/bin/journalctl --no-pager", "asks for a password"),
        ("/usr/bin/snap refresh ...", "not allowed"),
        ("/usr/bin/snap ...", "not allowed"),
        ("/usr/sbin/dmidecode -t 1", "not allowed"),
        ("/usr/sbin/dmidecode ...", "not allowed"),
        ("/usr/bin/id", "not allowed"),
    ):
        [line] = granted.missing(rules, grants(words))
        assert line.startswith(f"{words}: {why}"), line
    assert granted.missing(rules, grants("/usr/bin/journalctl --no-pager", password=True)) == []
    assert granted.missing(rules, grants(everything=True)) == ["ALL: not allowed"]


def test_signs_with_a_backslash_stand_for_themselves() -> None:
    rule = granted.Rule(r"/usr/bin/ls \*.d", password=False)
    assert granted.covers(rule, Grant("/usr/bin/ls", "*.d"))
    assert not granted.covers(rule, Grant("/usr/bin/ls", "conf.d"))
    assert granted.covers(granted.Rule("/usr/bin/ls *.d"), Grant("/usr/bin/ls", "conf.d"))
    assert not granted.covers(granted.Rule("/usr/bin/id", runas="www-data"), Grant("/usr/bin/id"))


def test_what_is_too_wide() -> None:
    rules = granted.read_rules(SUDO_GROUP)
    wanted = grants("/usr/bin/snap list")
    assert granted.missing(rules, wanted) == []
    assert granted.too_wide(rules, wanted) == ["ALL, as ALL, with a password (in /etc/sudoers)"]
    assert granted.too_wide(rules, grants(everything=True)) == []
    # With ALL behind it, the last rule that fits asks for a password.
    assert "asks for a password" in granted.missing(list(reversed(rules)), wanted)[0]
    open_ended = [granted.Rule("/usr/bin/snap", password=False)]
    assert granted.missing(open_ended, wanted) == [] and granted.too_wide(open_ended, wanted) != []
