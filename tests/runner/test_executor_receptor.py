# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that run on a Receptor node: two real nodes, on loopback."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput
from ansible_collections.rackstead.infra.plugins.module_utils.common.show import HIDDEN
from ansible_collections.rackstead.infra.plugins.module_utils.state.open import open_store
from ansible_collections.rackstead.infra.plugins.module_utils.state.seal import keys_from_environment, new_key
from testbed import receptor as testbed

from rackstead.executors import choose
from rackstead.executors.elsewhere import Elsewhere
from rackstead.executors.local import Local
from rackstead.executors.payload import pack
from rackstead.executors.receptor import NOTE, Receptor, Unit
from rackstead.executors.receptor_client import Control, Settings
from rackstead.jobs.execution import End
from rackstead.jobs.model import Job, JobState
from rackstead.jobs.service import Service, input_of
from rackstead.jobs.workflows import Catalog
from rackstead.run import PREFIX, private_directory
from tests.conftest import CHECKOUT
from tests.runner.attempts import SECONDS, SECRET, WORKFLOWS, Attempts, eventually
from tests.runner.conftest import pids, read, state


@dataclass
class Site(Attempts):
    """A state store and two nodes."""

    mesh: testbed.Mesh = field(kw_only=True)
    settings: Settings = field(kw_only=True)

    def attempt(self, job: Job, **settings: Any) -> Elsewhere:
        chosen = replace(self.settings, **settings)
        workflow = self.service.catalog.get(job.workflow)
        variables = input_of(self.service.store, job.id)
        return Unit(chosen, self.service.store, job, workflow, variables, self.service.place(job.id))

    def submit(self, workflow: str, variables: dict[str, Any] | None = None, **more: Any) -> str:
        return super().submit(workflow, variables, **{"node": self.mesh.there.name, **more})

    def clean(self) -> bool:
        """Whether neither node keeps anything, and no note is left."""
        left = [*self.mesh.here.units(), *self.mesh.there.units(), *self.notes()]
        return not left and not list(self.mesh.there.scratch.glob("*"))

    def family(self) -> list[int]:
        """Processes that run in the folder, wherever they come from."""
        return [pid for pid in pids() if _place(pid) == str(self.folder) and state(pid) not in "ZX"]

    def tend(self) -> None:
        """Have a worker look for what nobody needs any more, until nothing is left."""
        executor = Receptor(self.settings, self.service.store, every=0.1)
        eventually(lambda: executor.tend() or self.clean(), "the node to be clean")
        executor.close()

    def whole(self, job: str) -> bool:
        """Whether every event up to the last is there, once and in order."""
        return self.counters(job) == list(range(1, len(self.counters(job)) + 1))


def _place(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def mesh() -> Iterator[testbed.Mesh]:
    paths = [str(CHECKOUT / "src"), os.environ["ANSIBLE_COLLECTIONS_PATH"]]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "RACKSTEAD_"))}
    with ExitStack() as stack:
        try:
            found = stack.enter_context(testbed.running({**kept, "PYTHONPATH": os.pathsep.join(paths)}))
        except testbed.Missing as error:
            pytest.skip(str(error))
        yield found


@pytest.fixture
def site(mesh: testbed.Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    new_key(tmp_path / "key")
    monkeypatch.setenv("RACKSTEAD_STATE_KEY_FILE", str(tmp_path / "key"))
    store = open_store(f"file:{tmp_path}/state", keys=keys_from_environment())
    settings = Settings(str(mesh.here.socket), patience=20.0, look=0.05)
    service = Service(store, tmp_path / "data", Catalog([WORKFLOWS]))
    found = Site(tmp_path, service, NOTE, mesh=mesh, settings=settings)
    yield found
    found.go()
    for attempt in found.attempts:
        attempt.stop(End.LOST)
    found.pool.shutdown()
    control = Control(settings)
    for unit in mesh.here.units():
        control.release(unit)
    store.close()


def test_a_job_runs_on_a_node_as_it_does_here(site: Site) -> None:
    job, _verdict = site.run("ok", {"what": "x" * 3000, "password": SECRET})
    assert (job.state, job.rc, job.changed) == (JobState.COMPLETED, 0, True)
    here = Local()
    local = site.begin(site.submit("ok", {"what": "x" * 3000, "password": SECRET}, node=""))
    workflow = site.service.catalog.get("ok")
    attempt = here.attempt(local, workflow, input_of(site.service.store, local.id), site.service.place(local.id))
    local = site.ledger.end(local, attempt.run(lambda: True, 5.0))
    here.close()
    assert (job.rc, job.changed, job.recap) == (local.rc, local.changed, local.recap)
    assert [one["task"] for one in job.tasks] == [one["task"] for one in local.tasks]
    assert all(0 < one["seconds"] < SECONDS for one in job.tasks)
    names = [[event["event"] for event in site.service.events(one.id)] for one in (job, local)]
    assert names[0] == names[1] and site.whole(job.id) and len(names[0]) > 5
    text = site.service.stdout(job.id)
    assert "x" * 3000 in text and HIDDEN in text and text == site.service.stdout(local.id)
    eventually(site.clean, "the node to be clean")
    kept = [path.read_bytes() for path in (site.folder / "data").rglob("*") if path.is_file()]
    assert kept and not any(SECRET.encode() in one for one in kept)


def test_check_mode_limit_and_a_failure_are_as_they_are_here(site: Site) -> None:
    job, verdict = site.run("fails", {"how": "permanently"}, check=True, limit="localhost", tags=["all"])
    assert job.state is JobState.FAILED and job.rc == 2 and verdict.result and verdict.result.permanent
    assert "value of how must be one of: other" in job.error


@pytest.mark.parametrize("how", ["cancel", "timeout", "timeout of the node"])
def test_cancel_and_time_out_end_what_runs_on_the_node(site: Site, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "timeout of the node":
        monkeypatch.setattr("rackstead.executors.payload.LATER", 2.0 - 3600.0)  # as if nobody could tell it
    job = site.begin(site.submit("forks", {"folder": str(site.folder)}, timeout=3.0 if how == "timeout" else None))
    future = site.launch(job)
    if how == "cancel":
        eventually((site.folder / "ready").exists, "the sleepers")
        assert len(site.family()) >= 6
        site.attempts[0].stop(End.CANCELLED)
    verdict = future.result(SECONDS)
    assert site.family() == []
    assert verdict.end is (End.CANCELLED if how == "cancel" else End.TIMEOUT)
    assert how == "cancel" or "s, which is its time-out" in verdict.error
    eventually(site.clean, "the node to be clean")


def test_a_job_that_is_cancelled_while_it_is_submitted_leaves_nothing(site: Site) -> None:
    job = site.begin(site.submit("forks", {"folder": str(site.folder)}))
    future = site.launch(job)
    eventually(site.mesh.here.units, "the unit")
    site.attempts[0].stop(End.CANCELLED)
    assert future.result(SECONDS).end is End.CANCELLED
    assert site.family() == []
    eventually(site.clean, "the node to be clean")


def own_workflow(folder: Path) -> Catalog:
    """A playbook with a file beside it and an inventory with variables, which waits for the file "go"."""
    (folder / "own/specs").mkdir(parents=True)
    (folder / "own/group_vars").mkdir()
    wait = {"cmd": "touch run.1; until [ -e go ]; do sleep 0.1; done", "chdir": "{{ folder }}"}
    carried = "{{ lookup('ansible.builtin.env', 'ANSIBLE_COLLECTIONS_PATH').split(':')[0] }}"
    tasks = [
        {"ansible.builtin.include_vars": {"file": "beside.yml"}},
        {"ansible.builtin.include_vars": {"file": "{{ document }}"}},
        {"ansible.builtin.shell": wait},
        {"ansible.builtin.debug": {"msg": "{{ beside }} {{ of_group }} {{ inside }} {{ word }} " + carried}},
        {
            "ansible.builtin.stat": {"path": carried + "/ansible_collections/rackstead/infra/plugins"},
            "register": "found",
        },
        {"ansible.builtin.assert": {"that": "found.stat.isdir"}},
    ]
    play = {"hosts": "mine", "gather_facts": False, "vars": {"secret": "{{ password }}"}, "tasks": tasks}
    python = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = {"mine": {"hosts": {"one": python, "two": python}}}
    options: dict[str, dict[str, Any]] = {
        "folder": {"type": "path"},
        "document": {"type": "path"},
        "word": {"type": "str"},
        "password": {"type": "str", "no_log": True},
    }
    specs = {"argument_specs": {"main": {"options": options}}, "workflow": {"inventory": "../hosts.yml"}}
    for name, content in {
        "own.yml": [play],
        "specs/own.yml": specs,
        "hosts.yml": inventory,
        "beside.yml": {"beside": "carried"},
        "group_vars/mine.yml": {"of_group": "along"},
    }.items():
        (folder / "own" / name).write_text(json.dumps(content))
    return Catalog([folder / "own"])


def test_what_a_job_needs_is_carried_and_no_secret_is_in_an_argv(site: Site) -> None:
    site.service.catalog = own_workflow(site.folder)
    word = "{{ not a template }}"
    variables = {"folder": str(site.folder), "word": word, "password": SECRET, "document": {"inside": "a document"}}
    job = site.begin(site.submit("own", variables, limit="two"))
    future = site.launch(job)
    eventually(lambda: site.sleeping() and site.family(), "the task")
    shown = [read(pid, name) for pid in pids() for name in ("cmdline", "environ")]
    site.go()
    ended = site.ledger.end(job, future.result(SECONDS))
    assert ended.state is JobState.COMPLETED and list(ended.recap) == ["two"]
    text = site.service.stdout(job.id)
    assert f"carried along a document {word} {site.mesh.there.scratch}/{PREFIX}" in text
    assert shown and not any(SECRET.encode() in one for one in shown)
    eventually(site.clean, "the node to be clean")


def test_a_worker_that_was_killed_follows_its_unit(site: Site) -> None:
    job = site.submit("sleeps")
    with site.worker("--receptor-socket", str(site.mesh.here.socket)) as killed:
        eventually(site.sleeping, "the task")
        eventually(lambda: len(site.counters(job)) > 2, "the first events")
        killed()
        site.go()
        assert site.service.wait(job, SECONDS).state is JobState.COMPLETED
    assert site.sleeping() and site.whole(job) and site.notes() == []


@pytest.mark.parametrize("when", ["its name was told", "half of it was sent"])
def test_a_unit_that_a_killed_worker_has_not_finished_does_nothing(site: Site, when: str) -> None:
    """What is left of a worker that was killed there: a note, and a unit that has begun with what it has."""
    job = site.begin(site.submit("sleeps"))
    site.go()
    told = {
        "job": job.id,
        "run": job.run,
        "node": job.node,
        "via": "here",
        "unit": "",
        "time": time.time(),
        "sent": False,
    }
    workflow = site.service.catalog.get(job.workflow)
    with (
        private_directory() as private,
        Control(site.settings).submit(job.node, job.run, signed=True, seconds=60.0) as unit,
    ):
        payload = pack(job, workflow, input_of(site.service.store, job.id), private)
        if when == "half of it was sent":
            payload.write_bytes(payload.read_bytes()[: payload.stat().st_size // 2])
            unit.send(payload)
            told["unit"] = unit.unit
    site.service.store.put(NOTE, f"{job.run}@here", told)
    assert site.ledger.end(job, site.launch(job).result(SECONDS)).state is JobState.COMPLETED
    assert site.sleeping() and site.whole(job.id)
    eventually(site.clean, "the node to be clean")


def test_a_worker_at_another_node_begins_anew_and_ends_what_runs(site: Site) -> None:
    job_id = site.submit("sleeps")
    job = site.begin(job_id)
    future = site.launch(job)
    eventually(site.sleeping, "the task")
    first = eventually(site.family, "its processes")
    site.attempts[0].stop(End.STOPPED)
    assert future.result(SECONDS).end is End.STOPPED
    site.ledger.interrupt(job)
    again = site.begin(job_id)
    future = site.launch(again, socket=str(site.mesh.there.socket))
    eventually(lambda: site.sleeping(2), "the second run")
    assert not set(first) & set(site.family())
    site.go()
    assert site.ledger.end(again, future.result(SECONDS)).state is JobState.COMPLETED
    assert site.notes() == [f"{job.run}@here"]
    site.tend()


def test_a_job_that_is_cancelled_while_nobody_is_at_it_is_ended_there(site: Site) -> None:
    job = site.begin(site.submit("sleeps"))
    future = site.launch(job)
    eventually(site.sleeping, "the task")
    site.attempts[0].stop(End.STOPPED)
    future.result(SECONDS)
    site.ledger.interrupt(job)
    assert site.service.cancel(job.id, "bob").state is JobState.CANCELLED
    eventually(site.family, "its processes")
    site.tend()
    assert site.family() == []


def test_a_node_that_is_none_is_said_at_once_and_for_good(site: Site) -> None:
    with pytest.raises(InvalidInput, match='node: "-x" is not valid; allowed: the name of a Receptor node'):
        site.submit("ok", node="-x")
    for node, socket, after, words in [
        ("nobody", "", JobState.FAILED, 'Receptor knows no node "nobody"; it knows here, there'),
        ("here", "", JobState.FAILED, 'node "here": offers no work of the type "rackstead"'),
        (
            site.mesh.there.name,
            "/nowhere/socket",
            JobState.PENDING,
            'at "/nowhere/socket" nothing answers: No such file',
        ),
    ]:
        job = site.begin(site.submit("ok", node=node, retries=3))
        verdict = site.launch(job, patience=0.2, **({"socket": socket} if socket else {})).result(SECONDS)
        assert words in verdict.error and len(verdict.error.splitlines()) == 1
        assert site.ledger.end(job, verdict).state is after
    assert site.clean()


def test_a_worker_without_receptor_runs_no_job_of_a_node(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RACKSTEAD_RECEPTOR_SOCKET", raising=False)
    store = site.service.store
    with pytest.raises(InvalidInput, match="allowed: the absolute path of a socket"):
        choose("local", store, socket="socket")
    job = site.begin(site.submit("ok"))
    executor = choose("local", store)
    with pytest.raises(InvalidInput, match="this worker has no Receptor"):
        executor.attempt(job, site.service.catalog.get("ok"), {}, site.service.place(job.id))
    executor.close()
