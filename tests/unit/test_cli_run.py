# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's surroundings: its private directory, its environment, and the end of all its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from rackstead import processes, run


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_private_directory_is_private_and_goes(scratch: Path) -> None:
    with run.private_directory() as private:
        assert private.parent == scratch
        assert private.stat().st_mode & 0o777 == 0o700
    assert list(scratch.iterdir()) == []


def test_a_killed_runs_directory_goes_with_the_next_run_and_a_living_ones_stays(scratch: Path) -> None:
    code = "import sys, time\nfrom rackstead import run\nwith run.private_directory() as p:\n print(p, flush=True)\n time.sleep(60)"
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert other.stdout is not None
        place = Path(other.stdout.readline().strip())
        with run.private_directory():
            assert place.is_dir()
        other.kill()
        other.wait()
        with run.private_directory():
            assert not place.exists()
    finally:
        other.kill()
        other.wait()


def test_what_is_not_a_runs_directory_stays(scratch: Path) -> None:
    (scratch / f"{run.PREFIX}new").mkdir()
    (scratch / "other").mkdir()
    run._sweep(scratch)
    assert len(list(scratch.iterdir())) == 2


def test_ansible_beside_this_python_is_found_first(tmp_path: Path) -> None:
    found = run._environment(run.Request("status"), tmp_path, "cookie", tmp_path / "p")
    assert found["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert found["LC_ALL"] == "C.UTF-8" and found[processes.COOKIE] == "cookie"


def test_relative_paths_of_the_environment_hold_in_the_playbooks_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RACKSTEAD_CLIENT_CERT", "keys/c.pem")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", "here:/there")
    found = run._environment(
        run.Request("status", environment={"RACKSTEAD_URL": "unix:///x"}), tmp_path, "c", tmp_path / "p"
    )
    assert found["RACKSTEAD_CLIENT_CERT"] == str(tmp_path / "keys/c.pem")
    assert found["ANSIBLE_COLLECTIONS_PATH"] == f"{tmp_path / 'here'}:/there"
    assert found["RACKSTEAD_URL"] == "unix:///x"


def test_an_older_collection_at_home_does_not_take_the_wheels_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_COLLECTIONS_PATH", raising=False)
    packages, home = tmp_path / "site-packages", tmp_path / "home"
    (packages / run.COLLECTION).mkdir(parents=True)
    monkeypatch.setattr(run, "__file__", str(packages / "rackstead/run.py"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(run, "DEFAULT_TREES", ("~/.ansible/collections",))
    assert run._collection_trees() == ""
    (home / ".ansible/collections" / run.COLLECTION).mkdir(parents=True)
    assert run._collection_trees().split(os.pathsep)[0] == str(packages)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_interrupt_and_are_given_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(run.Interrupted, match=number.name), run.interruptible():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) == before


def test_only_the_first_of_several_signals_interrupts_where_one_is_enough() -> None:
    with run.interruptible(once=True):
        with pytest.raises(run.Interrupted, match="SIGTERM"):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)


# A parent with a child, a grandchild in a session of its own, an orphan that has lost its parents, one
# that takes no notice of SIGTERM, and a daemon that was started without the cookie.
FAMILY = """
sleep 300 &
setsid sh -c 'sleep 301; true' &
sh -c 'setsid sleep 302 & true'
sh -c 'trap "" TERM; while :; do sleep 1; done' &
sh -c 'env -u RACKSTEAD_RUN setsid sleep 303 & true'
echo ready
wait
"""


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    cookie = f"test-{os.getpid()}"
    environment = {**os.environ, processes.COOKIE: cookie, "FAMILY": cookie}
    parent = subprocess.Popen(["sh", "-c", FAMILY], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
    yield cookie, parent
    for pid in with_variable(f"FAMILY={cookie}"):
        with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.kill(pid, signal.SIGKILL)
    parent.wait()


def with_variable(pair: str) -> list[int]:
    return [pid for pid in processes._pids() if processes._parent(pid) is not None and has(pid, pair)]


def has(pid: int, pair: str) -> bool:
    return pair.encode() in said(pid, "environ").split(b"\0")


def said(pid: int, name: str) -> bytes:
    """A file of a process; nothing where it is gone."""
    try:
        return (Path("/proc") / str(pid) / name).read_bytes()
    except OSError:
        return b""


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_the_whole_family_ends_and_the_daemon_stays(family: tuple[str, subprocess.Popen[str]]) -> None:
    cookie, _parent = family

    def programs() -> list[str]:
        found = [said(pid, "cmdline") for pid in with_variable(f"FAMILY={cookie}")]
        return [words.decode().strip("\0").replace("\0", " ") for words in found if words]

    # All of them run what they are to run; the one that sleeps for a second has set its trap.
    everybody = {"sleep 1", *(f"sleep {number}" for number in range(300, 304))}
    assert eventually(lambda: everybody <= set(programs()), seconds=60)
    assert processes.end_all(cookie, grace=0.5) == set()
    assert programs() == ["sleep 303"]


# -- the end ----------------------------------------------------------------------------------------
def test_a_terminal_is_closed_at_once_where_its_process_has_ended() -> None:
    usual = pexpect.spawn
    with run.ended_at_once():
        over = pexpect.spawn("true")
        over.expect(pexpect.EOF, timeout=60)
        over.close()
        runs = pexpect.spawn("sleep", ["600"])
        runs.close()
    assert pexpect.spawn is usual
    assert (over.exitstatus, over.ptyproc.delayafterclose) == (0, 0.0)
    assert not runs.isalive() and runs.signalstatus and runs.ptyproc.delayafterclose > 0


def test_an_inventory_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput

    own, theirs = tmp_path / "own.json", tmp_path / "hosts.yml"
    monkeypatch.delenv(run.INVENTORY, raising=False)
    assert run.inventory_for(own, {}) == str(own)
    with pytest.raises(InvalidInput, match="does not exist"):
        run.inventory_for(own, {run.INVENTORY: str(theirs)})
    theirs.touch()
    monkeypatch.setenv(run.INVENTORY, "/nowhere")
    assert run.inventory_for(own, {run.INVENTORY: str(theirs)}) == str(theirs)
