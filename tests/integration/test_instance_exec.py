# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands inside instances."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from testbed.ansible import Modules, Playbooks
from testbed.proxy import RecordingProxy

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def box(project: Any) -> str:
    project.incus("launch", "tiny", "box", "-q")
    project.client.push("box", "/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:Web:/srv:/bin/sh\n")
    project.client.push("box", "/etc/group", b"root:x:0:\nwww:x:35:\n")
    return "box"


@pytest.fixture
def run(project: Any, run_module: Modules) -> Run:
    """``run(argv=…, …)`` runs a command in instance ``box``."""

    def execute(*, check: bool = False, env: Any = None, **args: Any) -> dict[str, Any]:
        return run_module("instance_exec", {"instance": "box", **args}, check=check, env={**project.env, **(env or {})})

    return execute


def test_bad_parameters_get_a_line_each(run: Run) -> None:
    wrong = run(
        timeout=0,
        expected_rc=[],
        cwd="srv",
        creates="x",
        environment={"A=B": "1", "C": None, "D": [1]},
    )
    assert wrong["problems"] == [
        "argv: a command is needed, once; allowed: one of argv and cmd, not empty",
        "timeout: 0 is not valid; allowed: 1 or more seconds",
        "expected_rc: an empty list lets nothing succeed; allowed: exit codes, such as [0, 2]",
        "environment.A=B: is not a variable with a value; allowed: a name without =, and text",
        "environment.C: is not a variable with a value; allowed: a name without =, and text",
        "environment.D: is not a variable with a value; allowed: a name without =, and text",
        'cwd: "srv" is not a path; allowed: an absolute path inside the instance',
        'creates: "x" is not a path; allowed: an absolute path inside the instance',
    ]
    assert run(argv=["a"], cmd="b")["problems"][0].startswith("argv: a command is needed, once")
    assert run(argv=[])["problems"][0].startswith("argv: a command is needed, once")


def test_an_unknown_or_stopped_instance_is_one_sentence(project: Any, run: Run) -> None:
    assert run(argv=["true"])["msg"] == f'instance box: does not exist in project "{project}"'
    project.incus("init", "tiny", "box", "-q")
    for check in (True, False):
        assert run(argv=["true"], check=check)["msg"] == "instance box: is stopped, not running; start it first"
    assert run(argv=["true"], creates="/etc")["msg"] == "Did not run, since /etc exists"
    project.incus("start", "box")
    project.incus("pause", "box")
    assert run(argv=["true"])["msg"] == "instance box: is frozen, not running; resume it first"


def test_output_and_exit_code(box: str, run: Run) -> None:
    result = run(argv=["sh", "-c", "echo one; echo two; echo bad >&2"])
    assert (result["changed"], result["rc"], result["msg"]) == (True, 0, "")
    assert (result["stdout"], result["stdout_lines"], result["stderr"]) == ("one\ntwo", ["one", "two"], "bad")
    assert result["start"] <= result["end"]
    assert result["delta"].startswith("0:00:0")
    assert run(argv=["echo", "a\n\n"], strip_empty_ends=False)["stdout"] == "a\n\n\n"
    assert run(argv=["echo", "$HOME; ls"])["stdout"] == "$HOME; ls"
    assert run(cmd="echo $((6 * 7)); pwd")["stdout_lines"] == ["42", "/root"]
    assert run(argv=["pwd"], user="web")["stdout"] == "/"


def test_failure_is_told_with_the_last_line(box: str, run: Run) -> None:
    failed = run(cmd="echo first >&2; echo the reason >&2; echo >&2; exit 3")
    assert (failed["failed"], failed["rc"]) == (True, 3)
    assert failed["msg"] == (
        "instance box: echo first >&2; echo the reason >&2; echo >&2; exit 3 ended with rc 3: the reason"
    )
    assert not run(cmd="exit 3", expected_rc=[0, 3])["failed"]
    assert run(argv=["true"], expected_rc=[1])["failed"]
    assert run(argv=["sh", "-c", "kill -9 $$"], expected_rc=[137])["rc"] == 137
    lost = run(argv=["no-such-command"])
    assert (lost["rc"], lost["msg"]) == (
        127,
        "instance box: no-such-command ended with rc 127: no-such-command: command not found",
    )
    assert run(argv=["/etc/passwd"])["rc"] == 126


def test_identity_place_environment_and_input(project: Any, box: str, run: Run) -> None:
    assert run(argv=["id", "-u"], user="web")["stdout"] == "33"
    assert run(argv=["id", "-g"], user="33")["stdout"] == "34"
    assert run(argv=["id", "-g"], user="web", group="www")["stdout"] == "35"
    assert run(argv=["id", "-G"], user="4711")["stdout"] == "0"
    assert run(cmd="echo $HOME $USER", user="web")["stdout"] == "/srv web"
    assert (
        run(cmd="echo $HOME $A $B", user="web", environment={"HOME": "/x", "A": 1, "B": True})["stdout"] == "/x 1 true"
    )
    assert run(argv=["id"], user="wep")["msg"].endswith('has no user "wep" in /etc/passwd; did you mean "web"?')
    assert run(argv=["id"], group="www2")["msg"].endswith('has no group "www2" in /etc/group; did you mean "www"?')
    assert run(argv=["pwd"], cwd="/etc")["stdout"] == "/etc"
    assert run(argv=["pwd"], cwd="/no")["msg"].startswith('cwd: "/no" is no directory in instance box')
    assert run(argv=["cat"], stdin="text")["stdout"] == "text"
    assert run(argv=["wc", "-c"], stdin="text")["stdout"] == "5"
    assert run(argv=["wc", "-c"], stdin="text", stdin_add_newline=False)["stdout"] == "4"
    assert run(argv=["wc", "-c"])["stdout"] == "0"
    assert run(argv=["wc", "-c"], stdin="x" * 3_000_000)["stdout"] == "3000001"


def test_creates_and_removes(project: Any, box: str, run: Run) -> None:
    once = {"argv": ["touch", "/root/made"], "creates": "/root/made"}
    predicted = run(**once, check=True)
    assert (predicted["changed"], predicted["rc"]) == (True, 0)
    assert project.client.pull(box, "/root").entries == ()
    assert run(**once)["changed"]
    for check in (True, False):
        again = run(**once, check=check)
        assert (again["changed"], again["stdout"]) == (False, "skipped, since /root/made exists")
    gone = {"argv": ["rm", "/root/made"], "removes": "/root/made"}
    assert run(**gone)["changed"]
    assert run(**gone)["msg"] == "Did not run, since /root/made does not exist"


def test_a_timeout_kills_the_command(project: Any, box: str, run: Run) -> None:
    begun = time.monotonic()
    ended = run(argv=["sleep", "60"], timeout=1)
    assert ended["msg"] == "instance box: the command did not end within 1 s and was killed"
    assert time.monotonic() - begun < 50
    assert "sleep" not in project.inside(box, "ps")


def test_check_mode_runs_nothing(box: str, run: Run, recording_proxy: RecordingProxy) -> None:
    assert run(argv=["touch", "/root/x"], user="web", cwd="/etc", check=True, env=recording_proxy.env)["changed"]
    assert recording_proxy.mutating == []
    run(argv=["true"], env=recording_proxy.env)
    assert len(recording_proxy.mutating) == 1


def test_secrets_on_stdin_stay_out_of_sight(project: Any, box: str, play: Playbooks) -> None:
    secret = "correct-horse-battery-staple"
    args = {"instance": box, "project": project.name, "argv": ["cat"], "stdin": secret}
    result = play([{"name": "fed", "rackstead.infra.instance_exec": args, "no_log": True}], arguments=["-vvv"]).ok()
    assert secret not in result.stdout + result.stderr
    assert secret not in str(project.client.get("/operations", recursion="1"))


def test_over_tls(project: Any, daemon: Any, box: str, run: Run) -> None:
    trusted = daemon.trust("exec-over-tls", projects=[project.name])
    names = {"cert_file": "client_cert", "key_file": "client_key", "fingerprint": "server_fingerprint", "url": "url"}
    remote = {names[key]: value for key, value in trusted.items()}
    assert run(argv=["wc", "-c"], stdin="x" * 1_000_000, user="web", **remote)["stdout"] == "1000001"
    assert run(cmd="exit 4", **remote)["rc"] == 4
    assert len(run(argv=["head", "-c", "2000000", "/dev/zero"], **remote)["stdout"]) == 2_000_000
