# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the checks of this repository: ``python -m tests.tools.pipeline check`` (quick) or ``test`` (all).

Checks that need no daemon run in two lanes beside each other, a line for each
as it ends. Then come the tests on the real daemon, alone on the machine, their
output as it appears. The first failure stops everything and shows what it printed,
with one exception: a few tests that failed among those on the daemon, three at a
time, are run once more alone, and named as unstable if they pass then.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.tools.folders import temporary_folder

TOP = Path(__file__).resolve().parent.parent.parent
TOOLS = TOP / "tests" / "tools"
BIN = Path(sys.executable).parent
#: In pytest's summary, a test that failed. Its parameters may hold anything.
PYTEST_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/[^\s:]+::\w+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
PYTEST_TESTS_FAILED = 1
PYTEST_TOTAL = re.compile(r"^=*\s*(\d+ \w+.* in [\d.]+s.*?)\s*=*$", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """One check: a command that is well if it ends with 0."""

    name: str
    argv: tuple[str, ...]
    in_collection: bool = False
    live: bool = False
    again: bool = False


class Failed(Exception):
    """A stage failed; what it printed has been shown."""


def pytest(name: str, *args: str, live: bool = False, again: bool = False) -> Stage:
    argv = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args)
    return Stage(name, argv, live=live, again=again)


def quick_stages() -> list[Stage]:
    return [
        Stage("ruff", ("ruff", "check", "--quiet", ".")),
        Stage("ruff format", ("ruff", "format", "--check", "--quiet", ".")),
        Stage("mypy", (str(TOOLS / "types.sh"),)),
        Stage("changelog", ("antsibull-changelog", "lint")),
        pytest("unit tests", "tests/unit"),
    ]


def slow_stages() -> list[Stage]:
    return [
        Stage("ansible-lint", ("ansible-lint", "--offline", "--profile", "production")),
        Stage(
            "docs",
            ("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."),
            in_collection=True,
        ),
        Stage("Galaxy importer", (str(TOOLS / "importer.sh"),)),
        Stage("oldest core", (str(TOOLS / "oldest-core.sh"),)),
        pytest("artefacts", "tests/runner/test_artifacts.py"),
    ]


#: Files whose tests take minutes, the longest first: begun last, they would keep one worker going alone.
LONGEST = """
    integration/test_plan_exact.py integration/test_provider_role.py integration/test_plan_crash.py
    integration/test_microk8s_cluster.py runner/test_cli.py runner/test_playbooks.py runner/test_molecule.py
""".split()


def daemon_stages() -> list[Stage]:
    suites = [f"tests/{name}" for name in (*LONGEST, "integration", "runner")]
    # Most of these tests wait for a daemon: three at a time, each worker with a daemon of its own.
    workers = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
    return [
        pytest(
            "daemon tests",
            *suites,
            "--ignore=tests/runner/test_artifacts.py",
            "--durations=10",
            *workers,
            live=True,
            again=True,
        )
    ]


#: So many tests may be run again. More is no accident of a busy machine.
MOST_AGAIN = 3
#: These look for faults that come and go, with kills and drawn plans: here a failure is a finding at once.
#: Those of the MicroK8s cluster build on each other: none of them can run alone.
NEVER_AGAIN = tuple(
    f"tests/{name}"
    for name in (
        "integration/test_microk8s_cluster.py",
        "integration/test_plan_crash.py",
        "integration/test_plan_exact.py",
        "runner/test_jobs_",
        "runner/test_state_",
    )
)


def to_run_again(output: str) -> list[str]:
    """The tests that pytest's output names as failed, if they may be run again; else none."""
    failed = list(dict.fromkeys(PYTEST_FAILED.findall(output)))
    never = len(failed) > MOST_AGAIN or any(name.startswith(NEVER_AGAIN) for name in failed)
    return [] if never else failed


class Pipeline:
    """Runs stages, in lanes, and stops at the first failure."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.collection = tree / "ansible_collections" / "rackstead" / "infra"
        self.totals: list[str] = []
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._stopped = False

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "ANSIBLE_COLLECTIONS_PATH": str(self.tree),
            "ANSIBLE_NOCOLOR": "1",
            # git reads a checkout that somebody else owns only where it is told to.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": str(TOP),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "VIRTUAL_ENV": str(BIN.parent),
        }

    def run(self, stage: Stage) -> None:
        """Run one stage, print its line; raise Failed, with its output shown, if it is not well."""
        begun = time.monotonic()
        status, output = self._once(stage)
        unstable = to_run_again(output) if stage.again and status == PYTEST_TESTS_FAILED else []
        if unstable:
            print(f"again, alone: {' '.join(unstable)}", flush=True)
            status, output = self._once(pytest(stage.name, *unstable, live=stage.live))
        with self._lock:
            self._report(stage, status, output, time.monotonic() - begun)
            if unstable:
                self.totals.append(f"UNSTABLE, passed only alone: {' '.join(unstable)}")

    def _once(self, stage: Stage) -> tuple[int, str]:
        process = self._start(stage)
        output = self._collect(process, stage.live)
        with self._lock:
            del self._running[process.pid]
            if self._stopped:
                raise Failed(stage.name)
        return process.returncode, output

    def _start(self, stage: Stage) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise Failed(stage.name)
            process = subprocess.Popen(
                stage.argv,
                cwd=self.collection if stage.in_collection else TOP,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running[process.pid] = process
            return process

    @staticmethod
    def _collect(process: subprocess.Popen[str], live: bool) -> str:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if live:
                print(line, end="", flush=True)
        process.wait()
        return "".join(lines)

    def _report(self, stage: Stage, status: int, output: str, seconds: float) -> None:
        if status:
            self._stopped = True
            if not stage.live:
                print(output, end="", flush=True)
            print(f"FAILED  {stage.name:<16} {seconds:6.1f} s  (exit {status}): {' '.join(stage.argv)}", flush=True)
            self._stop_others()
            raise Failed(stage.name)
        total = PYTEST_TOTAL.findall(output)
        note = f"  {total[-1]}" if total else ""
        print(f"ok      {stage.name:<16} {seconds:6.1f} s{note}", flush=True)
        if total:
            self.totals.append(f"{stage.name}: {total[-1]}")

    def _stop_others(self) -> None:
        for process in self._running.values():
            os.killpg(process.pid, signal.SIGTERM)

    def interrupt(self) -> None:
        """Stop everything that runs, as after a failure."""
        with self._lock:
            self._stopped = True
            self._stop_others()

    def lanes(self, *lanes: list[Stage]) -> None:
        """Run the lanes beside each other, the stages of a lane in order."""
        failures: list[BaseException] = []

        def follow(lane: list[Stage]) -> None:
            try:
                for stage in lane:
                    self.run(stage)
            except BaseException as exc:  # noqa: BLE001  # handed to the main thread below
                self.interrupt()
                failures.append(exc)

        threads = [threading.Thread(target=follow, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for failure in failures:
            if not isinstance(failure, Failed):
                raise failure
        if failures:
            raise failures[0]


def staged_collection() -> Path:
    """A folder outside the checkout with the collection installed as a user would install it."""
    tree = temporary_folder()
    argv = ["collection", "install", str(TOP), "-p", str(tree), "--no-deps", "--offline", "--force"]
    done = subprocess.run(
        [str(BIN / "ansible-galaxy"), *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(tree), "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        print(f"{done.stdout}{done.stderr}FAILED  staging the collection", flush=True)
        raise Failed("stage")
    return tree


def run_all(what: str) -> None:
    """Stage the collection and run the stages of ``check`` or ``test`` on it."""
    tree = staged_collection()
    pipeline = Pipeline(tree)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if what == "check":
            pipeline.lanes(quick_stages())
        else:
            sanity = Stage("sanity", (str(TOOLS / "sanity.sh"), str(tree)))
            pipeline.lanes([sanity], [*quick_stages(), *slow_stages()])
            for stage in daemon_stages():
                pipeline.run(stage)
    except BaseException:
        pipeline.interrupt()
        raise
    print("\n".join(pipeline.totals), flush=True)


def main() -> int:
    """Run what the command line names; 0 if all is well."""
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what not in ("check", "test"):
        print("usage: python -m tests.tools.pipeline check|test", file=sys.stderr)
        return 2
    begun = time.monotonic()
    try:
        run_all(what)
    except Failed:
        return 1
    print(f"all well in {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
