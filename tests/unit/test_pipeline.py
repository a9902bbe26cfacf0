# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failed tests the pipeline runs a second time, and what it says of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline, wait_until

from tests.tools import pipeline

SUMMARY = """\
FAILED tests/runner/test_cli.py::test_one[a b - c] - assert False
FAILED tests/runner/test_cli.py::test_two
ERROR tests/integration/test_plan.py::test_three - KeyError: 'x'
FAILED tests/runner/test_cli.py::test_two
1 failed
"""


def test_the_failed_tests_are_read_from_the_summary() -> None:
    assert pipeline.to_run_again(SUMMARY) == [
        "tests/runner/test_cli.py::test_one[a b - c]",
        "tests/runner/test_cli.py::test_two",
        "tests/integration/test_plan.py::test_three",
    ]


@pytest.mark.parametrize(
    "more",
    [
        "FAILED tests/runner/test_cli.py::test_four\n",
        "FAILED tests/integration/test_plan_crash.py::test_killed\n",
    ],
    ids=["too many", "a finding at once"],
)
def test_not_all_failures_get_a_second_run(more: str) -> None:
    fewer = SUMMARY.replace("FAILED tests/runner/test_cli.py::test_two\n", "")
    assert pipeline.to_run_again(fewer)
    assert pipeline.to_run_again((SUMMARY if "four" in more else fewer) + more) == []


def stage(tmp_path: Path) -> pipeline.Stage:
    """A stage that fails and names a failed test."""
    program = tmp_path / "stage.py"
    program.write_text("print('FAILED tests/unit/test_pipeline.py::test_x'); raise SystemExit(1)")
    return pipeline.Stage("stage", (sys.executable, str(program)), again=True)


@pytest.mark.parametrize("status", [0, 1])
def test_a_second_run_decides_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    def again(name: str, *tests: str, live: bool) -> pipeline.Stage:
        assert tests == ("tests/unit/test_pipeline.py::test_x",)
        return pipeline.Stage(name, (sys.executable, "-c", f"raise SystemExit({status})"))

    monkeypatch.setattr(pipeline, "pytest", again)
    runs = pipeline.Pipeline(tmp_path)
    if status:
        with pytest.raises(pipeline.Failed):
            runs.run(stage(tmp_path))
        assert runs.totals == []
    else:
        runs.run(stage(tmp_path))
        assert runs.totals == ["UNSTABLE, passed only alone: tests/unit/test_pipeline.py::test_x"]
    assert "again, alone: tests/unit/test_pipeline.py::test_x" in capsys.readouterr().out


def follow(program: str, seconds: float = 60.0) -> tuple[str, list[str], int]:
    """Output, troubles and status of a small program that is followed for so long."""
    cookie = f"test-{os.getpid()}-{time.monotonic_ns()}"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {pipeline.COOKIE: cookie},
    )
    output, troubles = pipeline.Output(process, cookie, live=False).follow(time.monotonic() + seconds)
    return output, troubles, process.returncode


def test_who_outlives_a_stage_is_named_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "GRACE", 0.5)
    sleeper = "import subprocess; print(subprocess.Popen(['sleep', '999'], start_new_session=True).pid)"
    output, troubles, status = follow(sleeper)
    assert (troubles, status) == ([f"LEFT BEHIND: {output.strip()} sleep 999"], 0)
    wait_until(lambda: not Path("/proc", output.strip(), "exe").exists() or None, Deadline(30), what="its end")


def test_a_stage_that_hangs_is_ended_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SILENCE", 2.0)
    output, troubles, status = follow(
        "import faulthandler, threading; faulthandler.enable(); print('begun', flush=True)\n"
        "def waits_for_ever(): threading.Event().wait()\n"
        "waits_for_ever()"
    )
    assert status != 0
    assert "waits_for_ever" in output
    assert troubles[0].startswith("ENDED: silent for 2 s: ")
    _output, troubles, status = follow("import time; time.sleep(999)", seconds=1.0)
    assert status != 0
    assert troubles[0].startswith("ENDED: more than ")
