# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab key, in a real bash."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from rackstead import completing
from tests.conftest import CHECKOUT
from tests.runner.test_jobs_cli import Shell

SECONDS = 60
PROMPT = "ready> "


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def bash(shell: Shell) -> Iterator[pexpect.spawn[str]]:
    """An interactive bash with the completion of ``rackstead``, which is that of the checkout."""
    own = shell.folder / "bin"
    own.mkdir()
    command = own / "rackstead"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rackstead.cli "$@"\n')
    command.chmod(0o755)
    env = {**shell.env, "PATH": f"{own}:{os.environ['PATH']}", "PS1": PROMPT, "TERM": "dumb", "HOME": str(shell.folder)}
    found = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile", "-i"],
        env=env,  # type: ignore[arg-type]  # pexpect's stubs ask for os._Environ
        cwd=str(CHECKOUT),
        encoding="utf-8",
        timeout=SECONDS,
        dimensions=(40, 200),
    )
    try:
        found.expect_exact(PROMPT)
        for line in (
            "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'",
            "bind 'set completion-query-items 1000'; bind 'set page-completions off'",
            'eval "$(rackstead --show-completion)"',
        ):
            found.sendline(line)
            found.expect_exact("\n" + PROMPT)
        yield found
    finally:
        found.close(force=True)


def typed(bash: pexpect.spawn[str], line: str, completed: str) -> None:
    """Press the tab key after ``line``: it becomes ``completed``. The line is thrown away then."""
    bash.send(line + "\t")
    bash.expect_exact(completed)
    bash.send("\x15\r")
    bash.expect_exact("\n" + PROMPT)


def test_commands_options_workflows_jobs_and_files(bash: pexpect.spawn[str], shell: Shell) -> None:
    job = shell("job", "submit", "ok").stdout.strip()
    typed(bash, "rackstead workf", "rackstead workflow ")
    typed(bash, "rackstead apply --adop", "rackstead apply --adopt ")
    typed(bash, "rackstead workflow show fla", "rackstead workflow show flaky ")
    typed(bash, "rackstead job cancel 0", f"rackstead job cancel {job} ")
    typed(bash, "rackstead apply plans/de", "rackstead apply plans/demo.yml ")


def test_who_cannot_be_asked_has_nothing_to_offer(shell: Shell) -> None:
    words = {"_RACKSTEAD_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    for line in ("rackstead job show ", "rackstead start --url=unix:///nowhere "):
        shell.env |= {**words, "COMP_WORDS": line, "RACKSTEAD_SERVER": "http://127.0.0.1:1", "RACKSTEAD_TOKEN": "none"}
        found = shell()
        assert (found.returncode, found.stdout.strip(), found.stderr) == (0, "", "")


def test_nobody_waits_longer_than_he_would(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(completing, "PATIENCE", 0.05)
    never = threading.Event()
    try:
        assert completing.in_time(lambda: [("late", "")] if never.wait(SECONDS) else []) == []
    finally:
        never.set()


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(kind: str, shell: Shell) -> None:
    shell.env |= {"_RACKSTEAD_COMPLETE": f"source_{kind}"}
    found = shell()
    assert found.returncode == 0 and "_RACKSTEAD_COMPLETE=complete_" + kind in found.stdout
