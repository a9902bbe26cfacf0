# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the checks of this repository: ``python -m tests.tools.pipeline check`` (quick) or ``test`` (all).

The tests on the real daemon mostly wait, so the checks that need none run beside them,
with less right to the processor; a line for each as it ends, and the tests' output as it
appears. The first failure stops everything and shows what it printed, with one exception:
a few tests that failed among those on the daemon, three at a time, are run once more
alone, and named as unstable if they pass then.

Nothing here waits for ever: a stage that is silent for too long, or all of it taking too
long, ends with the stacks of what hangs; and a process that outlives its stage is named
and ended. Such processes are known by a cookie in their environment.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.tools.folders import temporary_folder

TOP = Path(__file__).resolve().parent.parent.parent
TOOLS = TOP / "tests" / "tools"
BIN = Path(sys.executable).parent
#: In pytest's summary, a test that failed. Its parameters may hold anything.
PYTEST_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/[^\s:]+::\w+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
PYTEST_TESTS_FAILED = 1
#: With -rs, why tests were skipped.
PYTEST_SKIPPED = re.compile(r"^SKIPPED \[\d+\] \S+: (.+)$", re.MULTILINE)
PYTEST_TOTAL = re.compile(r"^=*\s*(\d+ \w+.* in [\d.]+s.*?)\s*=*$", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """One check: a command that is well if it ends with 0."""

    name: str
    argv: tuple[str, ...]
    in_collection: bool = False
    live: bool = False
    again: bool = False
    behind: bool = False


class Failed(Exception):
    """A stage failed; what it printed has been shown."""


#: What a stage starts is known by this variable.
COOKIE = "RACKSTEAD_STAGE"
#: How long a stage may say nothing, in seconds: more than any test's own limit.
SILENCE = 1200.0
#: How long everything may take, in seconds.
LONGEST_RUN = 4500.0
#: How long what a stage leaves running has to end by itself, and its last output to come, in seconds.
GRACE = 20.0
#: More failures than this are no accident: what is left is not run.
MOST_FAILURES = 8


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


def kubernetes_stages() -> list[Stage]:
    """On a real API server, where it has been built: ``make test-kubernetes`` does that, which takes too long here."""
    return [pytest("real Kubernetes", "tests/kubernetes", "-rs")]


#: Files whose tests take minutes, the longest first: begun last, they would keep one worker going alone.
LONGEST = """
    integration/test_plan_exact.py integration/test_microk8s_cluster.py integration/test_provider_role.py
    integration/test_plan_crash.py runner/test_benchmarks.py integration/test_microk8s_kills.py
    integration/test_microk8s_shutdown.py integration/test_provision_crash.py runner/test_provisioning.py
    runner/test_hardware.py integration/test_provision.py runner/test_system.py runner/test_cli.py
    runner/test_playbooks.py runner/test_molecule.py runner/test_executor_receptor.py
    runner/test_executor_awx.py runner/test_web_pages.py integration/test_fleet.py
    integration/test_microk8s_workloads.py integration/test_microk8s_backup.py
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
            "--durations=15",
            f"--maxfail={MOST_FAILURES}",
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
        "integration/test_microk8s_kills.py",
        "integration/test_microk8s_shutdown.py",
        "integration/test_plan_crash.py",
        "integration/test_plan_exact.py",
        "integration/test_provision_crash.py",
        "runner/test_jobs_",
        "runner/test_state_",
    )
)


def to_run_again(output: str) -> list[str]:
    """The tests that pytest's output names as failed, if they may be run again; else none."""
    failed = list(dict.fromkeys(PYTEST_FAILED.findall(output)))
    never = len(failed) > MOST_AGAIN or any(name.startswith(NEVER_AGAIN) for name in failed)
    return [] if never else failed


class Output:
    """What a stage prints until it has ended. What it leaves running then is ended, too."""

    def __init__(self, process: subprocess.Popen[str], cookie: str, live: bool) -> None:
        self.process = process
        self.cookie = cookie
        self.live = live
        self.lines: list[str] = []
        self.heard = time.monotonic()
        self.reader = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self.heard = time.monotonic()
            if self.live:
                print(line, end="", flush=True)

    def follow(self, end: float) -> tuple[str, list[str]]:
        """The output and what went wrong with it, once the stage has ended or had to be ended."""
        self.reader.start()
        troubles = []
        if not self._ended(end):
            late = time.monotonic() >= end
            why = f"more than {LONGEST_RUN:.0f} s in all" if late else f"silent for {SILENCE:.0f} s"
            troubles.append(f"ENDED: {why}: {' '.join(self.process.args)}")  # type: ignore[arg-type]
            self._say_where()
        troubles += [f"LEFT BEHIND: {words}" for words in end_all(self.cookie, GRACE)]
        self.process.wait()
        self.reader.join(GRACE)
        for trouble in troubles:
            print(trouble, flush=True)
        return "".join(self.lines), troubles

    def _ended(self, end: float) -> bool:
        while True:
            most = min(end, self.heard + SILENCE) - time.monotonic()
            if most <= 0:
                return False
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=most)
                return True

    def _say_where(self) -> None:
        """Have what runs pytest say where each of its threads is, which ends it."""
        for pid in processes():
            if session_of(pid) == self.process.pid:
                send(pid, signal.SIGABRT)


def end_all(cookie: str, grace: float) -> list[str]:
    """End the processes that carry the cookie and have not ended by themselves in so many seconds; what they were."""
    end = time.monotonic() + grace
    left = carrying(cookie)
    while left and time.monotonic() < end:
        time.sleep(0.2)
        left = carrying(cookie)
    found = {pid: command_line(pid) for pid in left}
    end = time.monotonic() + GRACE
    while left and time.monotonic() < end:  # a parent that is ended may have begun another child
        for pid in left:
            found.setdefault(pid, command_line(pid))
            send(pid, signal.SIGKILL)
        time.sleep(0.05)
        left = carrying(cookie)
    return [f"{pid} {words}" for pid, words in found.items()]


def carrying(cookie: str) -> list[int]:
    """Processes with the cookie in their environment, but for those that are at their end."""
    sign = f"{COOKIE}={cookie}".encode()
    return [pid for pid in processes() if sign in content(pid, "environ").split(b"\0")]


def send(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def content(pid: int, name: str) -> bytes:
    """A file of a process; empty where it has gone."""
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def command_line(pid: int) -> str:
    return content(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


class Pipeline:
    """Runs stages, in lanes, and stops at the first failure."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.end = time.monotonic() + LONGEST_RUN
        self.collection = tree / "ansible_collections" / "rackstead" / "infra"
        self.totals: list[str] = []
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._stopped = False
        self._numbers = itertools.count(1)

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
        cookie = f"{os.getpid()}-{next(self._numbers)}"
        process = self._start(stage, cookie)
        output, troubles = Output(process, cookie, stage.live).follow(self.end)
        with self._lock:
            del self._running[process.pid]
            if self._stopped:
                raise Failed(stage.name)
            self.totals += troubles
        return process.returncode, output

    def _start(self, stage: Stage, cookie: str) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise Failed(stage.name)
            process = subprocess.Popen(
                ("nice", "-n", "10", *stage.argv) if stage.behind else stage.argv,
                cwd=self.collection if stage.in_collection else TOP,
                env=self.environment() | {COOKIE: cookie},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running[process.pid] = process
            return process

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
        for why in sorted(set(PYTEST_SKIPPED.findall(output))):
            print(f"        skipped: {why}", flush=True)
        if total:
            self.totals.append(f"{stage.name}: {total[-1]}")

    def _stop_others(self) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
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
    """Stage the collection and run the stages of ``check``, ``test`` or ``kubernetes`` on it."""
    tree = staged_collection()
    pipeline = Pipeline(tree)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if what == "check":
            pipeline.lanes(quick_stages())
        elif what == "kubernetes":
            pipeline.lanes(kubernetes_stages())
        else:
            sanity = Stage("sanity", (str(TOOLS / "sanity.sh"), str(tree)))
            stages = (*quick_stages(), *slow_stages(), sanity, *kubernetes_stages())
            beside = [replace(stage, behind=True) for stage in stages]
            pipeline.lanes(beside, daemon_stages())
    except BaseException:
        pipeline.interrupt()
        raise
    print("\n".join(pipeline.totals), flush=True)


def main() -> int:
    """Run what the command line names; 0 if all is well."""
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what not in ("check", "test", "kubernetes"):
        print("usage: python -m tests.tools.pipeline check|test|kubernetes", file=sys.stderr)
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
