# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, end to end: from a plan to instances and back, with exit codes, JSON and signals."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from tests.runner.conftest import read

if TYPE_CHECKING:
    from tests.runner.conftest import CommandLine

PLAN = """
name: demo
defaults: {image: tiny, memory: 32MiB}
instances:
  web:
    metadata: {role: "{{ role | default('web') }}"}
    network:
      forwards: [{listen: FREE_A, connect: 80}]
  db:
    depends_on: [web]
    state: stopped
"""
#: Becomes ready only when somebody makes the file.
PATIENT = """
name: patient
instances:
  slow:
    image: tiny
    wait_for: [{command: [test, -e, /go]}]
    metadata: {token: "{{ token | default('none') }}"}
"""
#: Long and like nothing else: it is looked for in places where it must not be.
SECRET = "correct-horse-battery-staple-7731"


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


def leftovers(rackstead: CommandLine) -> list[str]:
    return [str(path) for path in rackstead.scratch.iterdir()]


# -- plans ------------------------------------------------------------------------------------------
def test_from_a_plan_to_instances_and_back(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN)
    seen = rackstead("apply", plan, "--check", "--diff")
    assert seen.code == 0 and "+  limits.memory: 32MiB" in seen.out and rackstead.project.names() == []
    assert "2 would change" in seen.out

    done = rackstead("apply", plan)
    assert done.code == 0 and rackstead.project.names() == ["db", "web"]
    rows = {row[1]: row[2:] for row in done.rows if row[0] == "instance"}
    assert rows["web"][:2] == ["created,", "started"] and rows["db"][0] == "created"
    assert "[2/2] instance db" in done.err and "error" not in done.err

    again = rackstead("apply", plan, "--diff")
    assert (again.code, again.err) == (
        0,
        "",
    ) and again.out == "plan demo: nothing to do, all of 2 resources as wanted\n"

    table = rackstead("status", plan)
    rows = {row[0]: row[1:] for row in table.rows}
    assert (
        rows["web"][0] == "Running" and rows["db"][0] == "Stopped" and f"{rackstead.port('FREE_A')}→80" in rows["web"]
    )
    listed = rackstead("status", "demo", "--json").document
    assert {one["name"]: one["status"] for one in listed["instances"]} == {"db": "Stopped", "web": "Running"}

    refused = rackstead("destroy", plan)
    assert refused.code == 2 and "--yes" in refused.err and len(refused.err.splitlines()) == 1
    shown = rackstead("destroy", plan, "--check")
    assert shown.code == 0 and rackstead.project.names() == ["db", "web"]
    gone = rackstead("destroy", plan, "--yes", "--json").document
    assert gone["summary"]["changed"] == 2 and rackstead.project.names() == []
    assert leftovers(rackstead) == [] and rackstead.family() == []


def test_a_change_is_shown_before_it_is_made(rackstead: CommandLine) -> None:
    rackstead("apply", rackstead.plan(PLAN), "--limit", "web")
    plan = rackstead.plan(PLAN.replace("32MiB", "48MiB"))
    seen = rackstead("apply", plan, "--limit", "web", "--check", "--diff", "-e", "role=front", "--json").document
    [web] = [one for one in seen["resources"] if one["name"] == "web"]
    assert web["actions"] == ["update"] and web["after"]["config"]["user.role"] == "front"
    assert "limits.memory: 48MiB" in seen["diff"][0]["after"]
    done = rackstead("apply", plan, "--limit", "web", "-e", '{"role": "front"}', "--json").document
    assert {key: web[key] for key in ("actions", "before", "after")} == {
        key: one[key] for one in done["resources"] if one["name"] == "web" for key in ("actions", "before", "after")
    }
    assert rackstead.project.client.get("/instances/web")["config"]["user.role"] == "front"


def test_a_saved_plan_is_applied_unless_reality_moved(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN)
    assert rackstead("apply", plan, "--check", "--plan-file", "saved").code == 0
    assert rackstead("apply", plan, "--plan-file", "saved").code == 0
    changed = rackstead.plan(PLAN.replace("32MiB", "48MiB"))
    rackstead("apply", changed, "--check", "--plan-file", "saved")
    rackstead.project.incus("config", "set", "web", "limits.memory=40MiB")
    refused = rackstead("apply", changed, "--plan-file", "saved")
    assert refused.code == 1 and "instance web" in refused.err and "limits.memory" in refused.err
    assert rackstead.project.client.get("/instances/web")["config"]["limits.memory"] == "40MiB"


def test_bad_input_is_told_all_at_once_and_changes_nothing(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN.replace("32MiB", "32MiBB").replace("depends_on", "depend_on"))
    for done in (rackstead("apply", plan), rackstead("apply", plan, "--json")):
        lines = done.err.splitlines()
        assert done.code == 2 and len(lines) == 2 and all(line.startswith("error: ") for line in lines)
        assert '"32MiBB" is not a size' in done.err and 'did you mean "depends_on"?' in done.err
    assert done.document["exit_code"] == 2 and len(done.document["errors"]) == 2
    broken = rackstead("apply", rackstead.plan("instances: [", "broken.yml"))
    assert broken.code == 2 and len(broken.err.splitlines()) == 1 and "broken.yml" in broken.err
    assert rackstead.project.names() == []


def test_what_fails_is_named_and_the_rest_is_told(rackstead: CommandLine) -> None:
    other = PLAN.replace("name: demo", "name: first").replace("db:", "other:").replace("web", "holder")
    assert rackstead("apply", rackstead.plan(other, "first.yml")).code == 0
    done = rackstead("apply", rackstead.plan(PLAN.replace("state: stopped", "state: running")))
    assert done.code in (1, 2) and str(rackstead.port("FREE_A")) in done.err and "instance web" in done.err
    assert "Traceback" not in done.out + done.err


def test_a_provider_out_of_reach_is_exit_code_3(rackstead: CommandLine) -> None:
    for words in (("apply", rackstead.plan(PLAN)), ("status",), ("health",), ("exec", "web", "--", "true")):
        done = (
            rackstead(*words, "--url", "unix:///nowhere/unix.socket")
            if words[0] != "exec"
            else rackstead(words[0], "--url", "unix:///nowhere/unix.socket", *words[1:])
        )
        assert done.code == 3 and "unix:///nowhere/unix.socket" in done.err and len(done.err.splitlines()) == 1, words


def test_destroy_takes_what_the_plan_no_longer_names_and_nothing_else(rackstead: CommandLine) -> None:
    rackstead("apply", rackstead.plan(PLAN))
    rackstead.project.incus("launch", "tiny", "own", "-q")
    plan = rackstead.plan("name: demo\ninstances: {web: {image: tiny}}\n")
    assert rackstead("destroy", plan, "--yes").code == 0
    assert rackstead.project.names() == ["own"]
    assert rackstead("destroy", "--all", "--yes").code == 0 and rackstead.project.names() == ["own"]


def test_destroy_all_takes_everything_that_plans_made(rackstead: CommandLine) -> None:
    rackstead(
        "apply", rackstead.plan(PLAN + "profiles: {extra: {description: x}}\nstorage_volumes: {data: {size: 1MiB}}\n")
    )
    rackstead(
        "apply",
        rackstead.plan(
            PLAN.replace("name: demo", "name: two").replace("web", "a").replace("db", "b").replace("FREE_A", "FREE_B"),
            "two.yml",
        ),
    )
    done = rackstead("destroy", "--all", "--yes", "--json").document
    assert {one["plan"] for one in done["plans"]} == {"demo", "two"} and rackstead.project.names() == []
    assert [path.rpartition("/")[2].partition("?")[0] for path in rackstead.project.client.get("/profiles")] == [
        "default"
    ]
    assert rackstead.project.client.get("/storage-pools/default/volumes/custom") == []


# -- the provider -----------------------------------------------------------------------------------
def test_init_ends_with_a_line_on_the_provider(rackstead: CommandLine) -> None:
    where = {"provider_incus_dir": str(rackstead.project.daemon.folder), "provider_images": []}
    done = rackstead("init", "--check", "-e", json.dumps(where))
    assert done.code == 0, done.err
    assert done.out.startswith("✓ Incus 6.") and len(done.out.splitlines()) == 1
    document = rackstead("init", "--check", "--json", "-e", json.dumps(where)).document
    # Other tests use the disk meanwhile.
    said, again = (re.sub(r"\d+ GiB free", "GiB free", text) for text in (done.out, document["summary"]))
    assert document["ok"] and document["changed"] is False and again in said
    lost = rackstead("init", "--check", "-e", json.dumps({**where, "provider_supervisor": "cron"}))
    assert lost.code == 2 and "provider_supervisor" in lost.err and len(lost.err.splitlines()) == 1


# -- inside instances -------------------------------------------------------------------------------
@pytest.fixture
def pair(rackstead: CommandLine) -> CommandLine:
    for name in ("one", "two"):
        rackstead.project.incus("launch", "tiny", name, "-q")
    return rackstead


def test_output_and_exit_code_of_a_command_are_its_own(pair: CommandLine) -> None:
    script = "printf 'a\\n\\n{{ 7 * 7 }}\\n\\n'; printf 'é false' >&2; exit 7"
    done = pair("exec", "one", "--", "sh", "-c", script)
    assert (done.code, done.out, done.err) == (7, "a\n\n{{ 7 * 7 }}\n\n", "é false")
    assert pair("exec", "one", "--", "false").code == 1
    assert pair("exec", "one", "echo $((6*7)) | tr 4 5").out == "52\n"
    fed = pair(
        "exec",
        "--stdin",
        "--user",
        "0",
        "--env",
        "A=b c",
        "--cwd",
        "/tmp",
        "one",
        "--",
        "sh",
        "-c",
        'cat; echo "$A" "$PWD"',
        stdin="x {{ y }}\n",
    )
    assert (fed.code, fed.out) == (0, "x {{ y }}\nb c /tmp\n")
    result = pair("exec", "one", "--json", "--", "sh", "-c", "echo x; exit 3")
    assert result.code == 3 and result.document["results"] == [
        {"instance": "one", "rc": 3, "stdout": "x\n", "stderr": ""}
    ]


def test_output_that_is_no_text_comes_through_whole(pair: CommandLine) -> None:
    done = subprocess.run(
        pair.argv("exec", "one", "--", "printf", r"\377\000\001\n\n"),
        cwd=pair.folder,
        env=pair.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\xff\x00\x01\n\n", b"")


def test_a_command_in_several_instances(pair: CommandLine) -> None:
    done = pair("exec", "one", "two", "--", "hostname")
    assert (done.code, done.out) == (0, "one: one\ntwo: two\n")
    pair.project.incus("stop", "two", "--force")
    half = pair("exec", "*", "--", "hostname")
    assert half.code == 1 and half.out == "one: one\n" and "instance two: is stopped" in half.err
    missing = pair("exec", "one", "three", "--", "hostname")
    assert missing.code == 1 and missing.out == "" and "instance three does not exist" in missing.err


def test_a_snapshot_brings_back_what_was(pair: CommandLine) -> None:
    pair("exec", "one", "touch /kept")
    taken = pair("snapshot", "one", "before")
    assert taken.code == 0 and taken.rows == [["one", "before", "created"]]
    pair("exec", "one", "rm /kept")
    assert pair("restore", "one", "before", "--check").code == 0 and pair("exec", "one", "test -e /kept").code == 1
    assert pair("restore", "one", "before").code == 0 and pair("exec", "one", "test -e /kept").code == 0
    unknown = pair("restore", "one", "after")
    assert unknown.code == 1 and 'no snapshot "after"' in unknown.err


def test_start_stop_and_logs(pair: CommandLine) -> None:
    stopped = pair("stop", "one", "--json").document
    assert stopped["instances"][0]["actions"] == ["stop"] and stopped["changed"] is True
    assert pair("stop", "one").rows == [["one", "nothing"]]
    assert pair("start", "*").code == 0
    assert [one["status"] for one in pair("status", "--json").document["instances"]] == ["Running", "Running"]
    pair.project.client.push("one", "/var/log", b"", kind="directory")
    pair.project.client.push("one", "/var/log/cloud-init-output.log", b"first\nlast\n")
    logged = pair("logs", "one", "--source", "cloud-init", "-n", "1")
    assert logged.code == 0 and logged.out.splitlines()[1:] == ["last"]


def test_power_and_snapshots_of_a_plan(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN)
    rackstead("apply", plan)
    assert rackstead("stop", "--plan", plan).code == 0
    assert rackstead("start", "--plan", plan, "--limit", "web").code == 0
    states = {one["name"]: one["status"] for one in rackstead("status", "--json").document["instances"]}
    assert states == {"db": "Stopped", "web": "Running"}
    assert sorted(row[:2] for row in rackstead("snapshot", "--plan", "demo", "daily").rows) == [
        ["db", "daily"],
        ["web", "daily"],
    ]


def test_health_tells_by_line_and_exit_code(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN)
    rackstead("apply", plan)
    well = rackstead("health", plan)
    assert well.code == 0 and "✗" not in well.out and len(well.out.splitlines()) == 3
    rackstead.project.incus("stop", "web", "--force")
    ill = rackstead("health", plan)
    assert ill.code == 1 and "✗ instance web is not as the plan says, to do: start" in ill.out
    document = rackstead("health", plan, "--json").document
    assert document["exit_code"] == 1 and document["health"]["ok"] is False and document["provider"]["name"] == "incus"
    assert rackstead("health").code == 0


# -- terminals and signals --------------------------------------------------------------------------
def test_verbose_shows_ansible_beside_a_clean_document(rackstead: CommandLine) -> None:
    done = rackstead("status", "-v", "--json")
    assert done.document["instances"] == [] and "PLAY RECAP" in done.err


def test_no_colour_without_a_terminal_and_none_if_it_is_not_wanted(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN)
    assert "\x1b" not in "".join(vars(rackstead("apply", plan, "--check", "--diff"))[key] for key in ("out", "err"))
    child = rackstead.terminal("status", "gone.yml")
    child.expect(pexpect.EOF)
    assert "\x1b[" in child.before
    plain = rackstead.terminal("status", "gone.yml")
    plain.close(force=True)


def test_destroy_asks_on_a_terminal(rackstead: CommandLine) -> None:
    plan = rackstead.plan(PLAN)
    rackstead("apply", plan)
    child = rackstead.terminal("destroy", plan)
    child.expect_exact("Delete these 2? [y/N]")
    child.sendline("n")
    child.expect_exact("nothing was deleted")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 1 and rackstead.project.names() == ["db", "web"]

    child = rackstead.terminal("destroy", plan)
    child.expect_exact("Delete these 2? [y/N]")
    rackstead.project.incus("config", "set", "db", "user.touched=yes")
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 1 and "user.touched" in child.before and rackstead.project.names() == ["db", "web"]

    child = rackstead.terminal("destroy", plan)
    child.expect_exact("Delete these 2? [y/N]")
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0 and rackstead.project.names() == [] and leftovers(rackstead) == []


def waiting(rackstead: CommandLine) -> bool:
    """Whether the instance of PATIENT runs, so that its condition is being waited for."""
    found = rackstead.project.client.find("/instances/slow")
    return found is not None and found["status"] == "Running"


def test_ctrl_c_ends_every_process_and_gives_the_terminal_back(rackstead: CommandLine) -> None:
    child = rackstead.terminal("apply", rackstead.plan(PATIENT), "-e", f"token={SECRET}")
    child.expect_exact("waiting for command test")
    told = [read(pid, "cmdline") for pid in rackstead.family()]
    assert len(told) > 2 and sum(SECRET.encode() in argv for argv in told) == 1  # the one the user typed
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 130 and "interrupted (SIGINT)" in child.before
    hidden, shown = child.before.rfind("\x1b[?25l"), child.before.rfind("\x1b[?25h")
    assert shown > hidden
    assert rackstead.family() == [] and leftovers(rackstead) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_every_process_too_and_the_next_run_finishes(
    rackstead: CommandLine, number: signal.Signals
) -> None:
    plan = rackstead.plan(PATIENT)
    running = rackstead.start("apply", plan, "--json")
    eventually(lambda: waiting(rackstead), "the instance to run")
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130 and number.name in err and '"exit_code": 130' in out
    assert rackstead.family() == [] and leftovers(rackstead) == []
    rackstead.project.client.push("slow", "/go", b"")
    assert rackstead("apply", plan).code == 0


def test_what_a_killed_run_left_goes_with_the_next(rackstead: CommandLine) -> None:
    running = rackstead.start("apply", rackstead.plan(PATIENT))
    eventually(lambda: waiting(rackstead), "the instance to run")
    running.kill()
    running.communicate()
    assert len(leftovers(rackstead)) == 1
    assert rackstead("status").code == 0 and leftovers(rackstead) == []


def test_progress_is_live_on_a_terminal_and_fits_it(rackstead: CommandLine) -> None:
    child = rackstead.terminal("apply", rackstead.plan(PATIENT), columns=60)
    child.expect(r"waiting for comma")
    child.expect(r"0/1")
    rackstead.project.client.push("slow", "/go", b"")
    child.expect_exact("plan patient: 1 resource, 1 changed")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_watch_looks_again_until_interrupted(rackstead: CommandLine) -> None:
    child = rackstead.terminal("status", "--watch", "--interval", "0.5")
    child.expect_exact("no instances")
    rackstead.project.incus("init", "tiny", "late", "-q")
    child.expect_exact("late")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 130 and rackstead.family() == []
    assert "error" not in child.before
