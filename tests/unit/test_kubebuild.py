# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build of Kubernetes for tests: when it counts as there, and how its commands end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from testbed import kubebuild
from testbed.kubebuild import Build, Unbuilt

from tests.tools import pipeline


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


def test_programs_count_when_all_are_there(tmp_path: Path) -> None:
    put(tmp_path / "bin", *kubebuild.BINARIES[:-1])
    assert kubebuild.found(tmp_path) is None and "make test-kubernetes" in kubebuild.missing(tmp_path)
    put(tmp_path / "bin", kubebuild.BINARIES[-1])
    assert kubebuild.found(tmp_path) == tmp_path / "bin" and kubebuild.missing(tmp_path) == ""
    assert kubebuild.build(tmp_path, seconds=0) == tmp_path / "bin"  # nothing is built


@pytest.fixture
def build(tmp_path: Path) -> Build:
    build = Build(tmp_path, time.monotonic() + 60, {"PATH": "/usr/bin:/bin"})
    build.work.mkdir()
    return build


def test_a_command_that_fails_is_told_with_what_it_said(build: Build) -> None:
    with pytest.raises(Unbuilt, match=r"sh -c echo no space; exit 3: ended with 3: no space"):
        build.call(["sh", "-c", "echo no space; exit 3"])


def test_a_command_that_takes_too_long_is_ended(build: Build) -> None:
    build.end = time.monotonic()
    with pytest.raises(Unbuilt, match="all has taken longer than allowed; run it again"):
        build.call(["sleep", "600"])


def test_why_tests_were_skipped_is_read_from_the_summary() -> None:
    line = f"SKIPPED [1] tests/kubernetes/test_drain.py:35: {kubebuild.missing(Path('/nowhere'))}\n"
    assert (
        pipeline.PYTEST_SKIPPED.findall(line * 2 + "2 skipped in 0.1s\n") == [kubebuild.missing(Path("/nowhere"))] * 2
    )
