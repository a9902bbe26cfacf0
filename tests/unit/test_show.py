# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people get to see: secrets left out, differences as text."""

from __future__ import annotations

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN, as_text, diff_of, hide_secrets
from hypothesis import given
from hypothesis import strategies as st

SECRET = "correct-horse-battery-staple"
KEY = f"-----BEGIN OPENSSH PRIVATE {'KEY'}-----\n{SECRET}\n-----END OPENSSH PRIVATE {'KEY'}-----"


@pytest.mark.parametrize(
    "value",
    [
        {"environment.DB_PASSWORD": SECRET},
        {"user.api_key": SECRET},
        {"user.api-token": SECRET},
        {"config": {"user.client_secret": SECRET}},
        {"list": [{"passphrase": SECRET}]},
        {"password": [SECRET]},
        {"passwords": {"db": SECRET, "more": {"web": [SECRET]}}},
        {"cloud-init.user-data": f"#cloud-config\nsecrets:\n  - name: db\n    value: {SECRET}\nhostname: x\n"},
        {"cloud-init.user-data": f"#cloud-config\nchpasswd:\n  users:\n  - {{name: a, password: {SECRET}}}\n"},
        {"cloud-init.user-data": f"#cloud-config\nruncmd:\n  - [mysql, --password={SECRET}, -e, x]\n"},
        {"cloud-init.user-data": f'#!/bin/sh\nprintf "root:{SECRET}\\n" | chpasswd -e\n'},
        {"cloud-init.user-data": f"#cloud-config\npassword: {SECRET}\n"},
        {"cloud-init.user-data": f"#cloud-config\nusers:\n  - name: a\n    hashed_passwd: {SECRET}\n"},
        {"cloud-init.user-data": f"#cloud-config\nchpasswd:\n  list: |\n    root:{SECRET}\n"},
        {"cloud-init.user-data": f"#cloud-config\nchpasswd:\n  list:\n    - root:{SECRET}\n"},
        {"cloud-init.user-data": f"#cloud-config\nchpasswd: {{users: [{{name: root, password: {SECRET}}}]}}\n"},
        {"cloud-init.user-data": f"#!/bin/sh\nexport AUTH_TOKEN={SECRET}\n"},
        {"cloud-init.user-data": f'#!/bin/sh\ncurl -d \'{{"api_key": "{SECRET}"}}\' http://x\n'},
        {"cloud-init.user-data": f"#cloud-config\nssh_keys:\n  rsa_private: |\n    {KEY}\n"},
        {"cloud-init.user-data": f"#cloud-config\npassword: |\n  {SECRET}\n"},
        {"cloud-init.user-data": f"#cloud-config\npassword: >-\n  {SECRET}\n  and more\nhostname: x\n"},
        {"cloud-init.user-data": f'#cloud-config\nwrite_files:\n  - content: "password={SECRET}"\n'},
        {"cloud-init.user-data": f"#!/bin/sh\nmysql --password={SECRET} -e 'x'\n"},
        {"cloud-init.user-data": f"#!/bin/sh\necho root:{SECRET} | chpasswd\n"},
    ],
)
def test_a_secret_is_hidden(value: dict[str, object]) -> None:
    shown = str(hide_secrets(value))
    assert SECRET not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "value",
    [
        {"limits.memory": "64MiB", "user.role": "web"},
        {"cloud-init.user-data": "#cloud-config\nssh_pwauth: false\npackages: [nginx]\n"},
        {"devices": {"eth0": {"type": "nic", "ipv4.address": "10.0.0.5"}}},
        {"numbers": [1, 2.5, None, True]},
        {"cloud-init.user-data": "#!/bin/sh\nsystemctl restart ssh\necho token bucket: see the manual\n"},
        {"password": ""},
    ],
)
def test_the_rest_is_shown(value: dict[str, object]) -> None:
    assert hide_secrets(value) == value


def test_what_stands_beside_a_secret_is_shown() -> None:
    text = "#cloud-config\nhostname: web\npassword: |\n  one\n\n  two\nruncmd:\n- [tool, --token=abc, --verbose]\n"
    assert hide_secrets({"x": text})["x"] == (
        "#cloud-config\nhostname: web\npassword: ********\nruncmd:\n- [tool, --token=********, --verbose]\n"
    )


def test_a_diff_says_what_exists_not_before_or_after() -> None:
    made = diff_of(None, {"a": "1"}, "instance x")
    assert made == {
        "before_header": "instance x (absent)",
        "after_header": "instance x",
        "before": "",
        "after": "a: 1\n",
    }
    assert diff_of({"a": "1"}, None, "instance x")["after_header"] == "instance x (absent)"


def test_a_secret_that_changes_shows_as_a_change() -> None:
    diff = diff_of({"password": "old-" + SECRET}, {"password": "new-" + SECRET}, "x")
    assert SECRET not in str(diff)
    assert diff["before"] != diff["after"]


def test_text_of_several_lines_diffs_by_line() -> None:
    assert as_text({"config": {"text": "one\ntwo\n", "n": 1}, "list": ["a", "b"], "empty": {}}) == (
        "config:\n  text: |\n    one\n    two\n  n: 1\nlist: [a, b]\nempty: {}\n"
    )


@pytest.mark.timeout(5)
def test_a_long_document_takes_no_long_time() -> None:
    """No pattern may go over a long word again for each of its letters."""
    words = [
        "a" * 200_000,
        "password" * 2_000,
        "x.y-" * 50_000,
        "root:" * 20_000 + " chpasswd",
        "password:" * 20_000,
        "- " * 50_000,
        "\n" * 50_000,
    ]
    for word in words:
        hide_secrets({"cloud-init.user-data": word})


TEXT = st.text("ab:=-|'\"\\ \n", max_size=12) | st.sampled_from(["password", "token: x", "chpasswd"])


@given(
    st.recursive(
        TEXT | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    )
)
def test_anything_can_be_shown(value: object) -> None:
    hide_secrets({"key": value})
    as_text({"key": value})
