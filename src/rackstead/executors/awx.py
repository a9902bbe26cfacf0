# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attempts as jobs of an AWX: a workflow is a job template there, its events become the job's own.

A note in the state store says which AWX job an attempt is. It is there before AWX is asked to launch, so that
whoever goes on with the attempt knows that there may be one, and finds it: its extra variables name the attempt.
A worker that stops leaves the AWX job alone.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.rackstead.infra.plugins.module_utils.common.deadline import Deadline
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    RacksteadError,
    Unreachable,
)
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import Fenced, VersionMoved
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from ..jobs import events
from ..jobs.child import Account, result_of, write_whole
from ..jobs.execution import Attempt, End, Verdict, result_file
from ..jobs.model import JOB, Job, Result
from ..jobs.workflows import Workflow, secrets_of
from ..run import Outcome, collect
from .awx_client import Client, Settings, Unsure

log = logging.getLogger("rackstead.jobs")
#: Kind of the notes; their key is the attempt's name.
NOTE = "awx-job"
#: The extra variable that names the attempt.
MARK = "rackstead_job"
#: By how many seconds the clocks of AWX and of this machine may differ.
SKEW = 3600.0
#: Seconds for AWX to write the last events of a job that is over, and to end one that it was told to cancel.
LAST_EVENTS, CANCEL = 30.0, 600.0
#: Seconds between two looks at notes whose job needs them no more.
TEND = 10.0
OVER = ("successful", "failed", "error", "canceled")
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: What can be given at launch: the key in a job template, the question that must be open, and its name in AWX's page.
PROMPTS = {
    "limit": ("ask_limit_on_launch", "Limit"),
    "job_tags": ("ask_tags_on_launch", "Job tags"),
    "job_type": ("ask_job_type_on_launch", "Job type"),
    "diff_mode": ("ask_diff_mode_on_launch", "Show changes"),
}


class Left(Exception):
    """The attempt is somebody else's from here on."""


class Awx:
    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(1, "awx")
        self._tending: Future[None] | None = None
        self._tended = time.monotonic()

    def check(self) -> None:
        """Raises what is wrong with the settings: no AWX there, or the token is none."""
        client = Client(replace(self._settings, patience=0.0), self._closing.wait)
        try:
            client.get("me/")
        finally:
            client.close()

    def attempt(self, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path) -> Attempt:
        return Launch(self._settings, self._store, job, workflow, variables, folder)

    def tend(self) -> None:
        busy = self._tending is not None and not self._tending.done()
        if not busy and time.monotonic() - self._tended >= TEND:
            self._tended = time.monotonic()
            self._tending = self._pool.submit(self._end_forgotten)

    def close(self) -> None:
        self._closing.set()
        self._pool.shutdown()

    def _end_forgotten(self) -> None:
        """Cancel AWX jobs whose own job needs them no more, as one that was cancelled while no worker was at it."""
        client = Client(self._settings, self._closing.wait)
        try:
            for note in self._store.list(NOTE, Query(limit=1000)):
                found = self._store.find(JOB, str(note.body["job"]))
                job = Job.of(found) if found else None
                if (job is None or job.state.final or job.run != note.key) and ended(
                    client, self._settings, note.key, note.body
                ):
                    self._store.delete(NOTE, note.key, expect=note.version)
        except (RacksteadError, VersionMoved) as error:
            log.warning("%s; it is tried again", error)
        finally:
            client.close()


def ended(client: Client, settings: Settings, run: str, note: Mapping[str, Any]) -> bool:
    """Whether an attempt's AWX job is over; if not, it is told to be."""
    number = note["id"] or look_for(client, run, note)
    if not number:
        return time.time() - float(note["time"]) > settings.settle
    try:
        if client.get(f"jobs/{number}/")["status"] in OVER:
            return True
        client.post(f"jobs/{number}/cancel/")
    except NotFound:
        return True
    except Conflict:
        return False  # it has just ended: seen the next time
    log.info("AWX job %s is cancelled: nobody needs it", number)
    return False


def look_for(client: Client, run: str, note: Mapping[str, Any]) -> int:
    """The number of the AWX job that an attempt has launched, or 0."""
    since = datetime.fromtimestamp(float(note["time"]) - SKEW, UTC).isoformat()
    path = f"job_templates/{note['template']}/jobs/"
    for one in client.every(path, order_by="-id", created__gte=since):
        try:
            variables = json.loads(one.get("extra_vars") or "{}")
        except ValueError:
            continue  # YAML: somebody else's
        if variables.get(MARK) == run:
            return int(one["id"])
    return 0


class Log(events.EventLog):
    """Events of an AWX job. Each bears the number it has there, so that none is written twice."""

    source: Mapping[str, int] = {}

    def add(self, event: str, **content: Any) -> None:
        super().add(event, **content, **self.source)


class Launch:
    """One attempt: launched if it is not yet, followed to its end."""

    def __init__(
        self, settings: Settings, store: Store, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path
    ) -> None:
        self._settings = settings
        self._store = store
        self._job = job
        self._workflow = workflow
        self._variables = variables
        self._folder = folder
        self._why: End | None = None
        self._wrong = ""
        self._bell = threading.Event()
        self._leave = threading.Event()
        self._outcome = Outcome()
        self._account = Account()
        self._counter = 0
        self._note: dict[str, Any] = {}

    # -- for the engine ----------------------------------------------------------------------------
    def stop(self, end: End) -> None:
        if end in (End.STOPPED, End.LOST) or self._why is None:
            self._why = end
        if end in (End.STOPPED, End.LOST):
            self._leave.set()
        self._bell.set()

    def run(self, renew: Callable[[], bool], every: float) -> Verdict:
        """AWX may keep a request waiting: the lease is renewed beside it."""
        with ThreadPoolExecutor(1, "awx-job") as pool:
            future = pool.submit(self._work)
            while not wait([future], timeout=every).done:
                if self._why is not End.LOST and not renew():
                    self.stop(End.LOST)
            return future.result()

    # -- the whole way -----------------------------------------------------------------------------
    def _work(self) -> Verdict:
        masked = self._workflow.masked(self._variables)
        client = Client(self._settings, self._pause)
        found = Log(self._folder, secrets_of(self._variables, masked))
        with found:
            try:
                return self._attempt(client, found)
            except (Left, Fenced):
                return Verdict(self._why or End.LOST)
            except RacksteadError as error:
                if self._leave.is_set():
                    return Verdict(self._why or End.LOST)
                end = End.DIED if isinstance(error, Unreachable) else End.REFUSED
                return Verdict(self._why or end, error=found.clean(str(error)))
            finally:
                client.close()

    def _pause(self, seconds: float) -> bool:
        """Until there is something else to be done. True if nobody needs AWX's answers any more: who is to end an
        AWX job does, who is to leave it alone does not."""
        (self._leave if self._why else self._bell).wait(seconds)
        return self._leave.is_set() or (bool(self._why) and not self._note.get("id"))

    def _attempt(self, client: Client, found: Log) -> Verdict:
        number = self._known(client) or self._launch(client, masked_names(self._workflow, self._variables))
        if not number:
            return Verdict(self._why or End.DIED)
        self._remember(id=number)
        return self._follow(client, number, found)

    # -- launching ---------------------------------------------------------------------------------
    def _known(self, client: Client) -> int:
        """The AWX job of this attempt, if there may be one: where it was interrupted."""
        record = self._store.find(NOTE, self._job.run)
        if record is None:
            return 0
        self._note = dict(record.body)
        return int(self._note["id"]) or self._search(client)

    def _search(self, client: Client) -> int:
        """Look until AWX must have done what it was asked."""
        while True:
            late = time.time() - float(self._note["time"]) > self._settings.settle
            number = look_for(client, self._job.run, self._note)
            if number or late or self._why:
                return number
            self._pause(self._settings.most)

    def _launch(self, client: Client, secrets: list[str]) -> int:
        if self._why:
            return 0
        template = self._template(client)
        order = self._order(client, template, secrets)
        self._end_earlier(client)
        self._remember(job=self._job.id, template=template, id=0, time=time.time())
        if self._why:
            return 0
        try:
            answer = client.post(f"job_templates/{template}/launch/", order)
        except Unsure as error:
            number = self._search(client)
            if not number:
                raise Unreachable(f"{error.what}, and has launched nothing", where=error.where) from error
            return number
        except RacksteadError:
            self._store.delete(NOTE, self._job.run)
            raise
        ignored = [name for name in answer.get("ignored_fields") or () if name in order]
        if ignored:
            self._wrong = f"AWX ignored {', '.join(ignored)}"
            self.stop(End.REFUSED)
        return int(answer["id"])

    def _end_earlier(self, client: Client) -> None:
        """No two attempts of a job at once: one that AWX has given no answers about may still run."""
        for note in self._store.list(NOTE, Query({"job": self._job.id})):
            while note.key != self._job.run and not ended(client, self._settings, note.key, note.body):
                self._pause(self._settings.most)
                if self._why:
                    return
            self._store.delete(NOTE, note.key)

    def _remember(self, **content: Any) -> None:
        """Write the note, if the job still is this worker's."""
        if self._leave.is_set():
            raise Left
        self._note |= content
        self._store.put(NOTE, self._job.run, self._note, fence=next(iter(self._job.held), None))

    def _template(self, client: Client) -> int:
        name = f"{self._settings.prefix}{self._job.workflow}"
        found = list(client.every("job_templates/", name=name))
        if not found:
            raise NotFound(
                f'there is no job template "{name}", or the token\'s user may not see it', where=client.where
            )
        if len(found) > 1:
            raise InvalidInput([f'{client.where}: {len(found)} job templates are named "{name}"; allowed: one'])
        return int(found[0]["id"])

    def _order(self, client: Client, template: int, secrets: list[str]) -> dict[str, Any]:
        """What is posted. Raises InvalidInput with a line for each thing that the job template does not allow."""
        told = client.get(f"job_templates/{template}/launch/")
        defaults = told.get("defaults") or {}
        asked: dict[str, Any] = {
            "limit": self._job.limit or None,
            "job_tags": ",".join(self._job.tags) or None,
            "job_type": "check" if self._job.check else "run",
            "diff_mode": self._job.diff,
        }
        given = {key: value for key, value in asked.items() if value is not None and value != defaults.get(key)}
        closed = [PROMPTS[key][1] for key in given if not told.get(PROMPTS[key][0])]
        closed += [] if told.get("ask_variables_on_launch") else ["Variables"]
        name = f'job template "{self._settings.prefix}{self._job.workflow}"'
        lines = [f'{name}: turn on "Prompt on launch" for {title}' for title in closed]
        passwords = self._passwords(client, template) if secrets and told.get("survey_enabled") else set()
        lines += [
            f"{name}: {one} is a secret, which AWX would show to everyone; make it a password question of the survey"
            for one in secrets
            if one not in passwords
        ]
        lines += [f"{name}: asks for {one} at launch" for one in told.get("passwords_needed_to_start") or ()]
        if lines:
            raise InvalidInput(lines)
        return {**given, "extra_vars": {**self._variables, MARK: self._job.run}}

    @staticmethod
    def _passwords(client: Client, template: int) -> set[str]:
        spec = client.get(f"job_templates/{template}/survey_spec/").get("spec") or []
        return {str(one["variable"]) for one in spec if one.get("type") == "password"}

    # -- following ---------------------------------------------------------------------------------
    def _follow(self, client: Client, number: int, found: Log) -> Verdict:
        seen = max((one["counter"] for one in events.read(self._folder) if one.get("awx") == number), default=0)
        timeout = Deadline(float(self._note["time"]) + self._job.timeout - time.time())
        told: Deadline | None = None
        pause, trouble = self._settings.look, ""
        while True:
            before = self._counter
            try:
                job = client.get(f"jobs/{number}/")
                if job["status"] in OVER:
                    return self._conclude(client, number, job, found, seen)
                self._take(client, number, found, seen)
            except (Unreachable, Denied) as error:  # a token that has run out ends no job that runs
                if timeout.expired() or self._leave.is_set():
                    raise
                if str(error) != trouble:
                    log.warning("AWX job %d: %s; it is followed on", number, error)
                trouble = str(error)
            if timeout.expired():
                self.stop(End.TIMEOUT)
            if self._why and told is None:
                told = self._cancel(client, number)
            elif told and told.expired():
                raise InvalidInput([f"AWX job {number}: was cancelled, and does not end"])
            pause = self._settings.look if self._counter > before else min(1.5 * pause, self._settings.most)
            self._pause(min(pause, timeout.remaining() or pause))
            if self._leave.is_set():
                raise Left

    def _cancel(self, client: Client, number: int) -> Deadline | None:
        """Ask AWX to end the job. None if it is to be asked again."""
        try:
            client.post(f"jobs/{number}/cancel/")
        except Conflict:
            log.info("AWX job %d has ended before it could be cancelled", number)
        except Unreachable as error:
            log.warning("AWX job %d could not be cancelled: %s", number, error)
            return None
        return Deadline(CANCEL)

    def _take(self, client: Client, number: int, found: Log, seen: int, *, gaps: bool = False) -> None:
        """The events that are there, in the order of their numbers. AWX writes them in batches, and not in order:
        one that is missing is waited for, unless ``gaps``."""
        while True:
            page = client.get(
                f"jobs/{number}/job_events/",
                counter__gt=self._counter,
                order_by="counter",
                page_size=200,
                no_truncate="true",
            )
            for event in page["results"]:
                if self._leave.is_set():
                    raise Left
                if event["counter"] != self._counter + 1 and not gaps:
                    return
                self._learn(number, event, found if event["counter"] > seen else None)
            if not page.get("next"):
                return

    def _learn(self, number: int, event: dict[str, Any], found: Log | None) -> None:
        self._counter = int(event["counter"])
        event["stdout"] = COLOUR.sub("", event.get("stdout") or "")
        created = event.get("created")
        self._account.take(event, datetime.fromisoformat(created).timestamp() if created else None)
        collect(event, self._outcome)
        if found:
            found.source = {"awx": number, "counter": self._counter}
            found.take(event)

    # -- the end -----------------------------------------------------------------------------------
    def _conclude(self, client: Client, number: int, job: Mapping[str, Any], found: Log, seen: int) -> Verdict:
        written = Deadline(LAST_EVENTS)
        while not job.get("event_processing_finished", True) and not written.expired():
            self._take(client, number, found, seen)
            self._pause(self._settings.look)
            if self._leave.is_set():
                raise Left
            job = client.get(f"jobs/{number}/")
        self._take(client, number, found, seen, gaps=True)
        verdict = self._verdict(number, job, found)
        if verdict.result:
            write_whole(result_file(self._folder, self._job.execution), asdict(verdict.result))
        self._store.delete(NOTE, self._job.run, fence=next(iter(self._job.held), None))
        return verdict

    def _verdict(self, number: int, job: Mapping[str, Any], found: Log) -> Verdict:
        status = job["status"]
        if self._why is End.REFUSED:
            return Verdict(End.REFUSED, error=f"AWX job {number} ({status}): {self._wrong}")
        if status == "canceled":
            late = f"cancelled in AWX after {self._job.timeout:g} s, which is its time-out"
            errors = {End.TIMEOUT: late, None: f"AWX job {number} was cancelled in AWX"}
            return Verdict(self._why or End.CANCELLED, error=errors.get(self._why, ""))
        trouble = str(job.get("job_explanation") or "") or str(job.get("result_traceback") or "").strip()
        if status == "error" or (status == "failed" and not self._outcome.failures and trouble):
            return Verdict(End.DIED, error=found.clean(f"AWX job {number}: {(trouble or status).splitlines()[-1]}"))
        down = any(counts["unreachable"] for counts in self._account.recap.values())
        self._outcome.rc = 0 if status == "successful" else 4 if down else 2
        result = result_of(self._outcome, self._account)
        clean = Result(**{**vars(result), "errors": [found.clean(line) for line in result.errors]})
        return Verdict(End.RESULT, clean, "\n".join(clean.errors))


def masked_names(workflow: Workflow, variables: Mapping[str, Any]) -> list[str]:
    """Variables with a secret in them."""
    masked = workflow.masked(variables)
    return [name for name, value in variables.items() if masked[name] != value]
