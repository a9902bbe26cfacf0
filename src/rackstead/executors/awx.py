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
from collections.abc import Mapping
from dataclasses import replace
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
from ansible_collections.rackstead.infra.plugins.module_utils.state.errors import VersionMoved
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import Query
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Store

from ..jobs import events
from ..jobs.child import result_of
from ..jobs.documents import documents
from ..jobs.execution import Attempt, End, Verdict
from ..jobs.model import Job, Result
from ..jobs.workflows import Workflow
from ..run import collect
from .awx_client import Client, Settings, Unsure
from .elsewhere import TEND, Elsewhere, Left, Log, Tender, forgotten

log = logging.getLogger("rackstead.jobs")
#: Kind of the notes; their key is the attempt's name.
NOTE = "awx-job"
#: The extra variable that names the attempt.
MARK = "rackstead_job"
#: By how many seconds the clocks of AWX and of this machine may differ.
SKEW = 3600.0
#: Seconds for AWX to write the last events of a job that is over, and to end one that it was told to cancel.
LAST_EVENTS, CANCEL = 30.0, 600.0
OVER = ("successful", "failed", "error", "canceled")
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: What can be given at launch: the key in a job template, the question that must be open, and its name in AWX's page.
PROMPTS = {
    "limit": ("ask_limit_on_launch", "Limit"),
    "job_tags": ("ask_tags_on_launch", "Job tags"),
    "job_type": ("ask_job_type_on_launch", "Job type"),
    "diff_mode": ("ask_diff_mode_on_launch", "Show changes"),
}


class Awx:
    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._closing = threading.Event()
        self._tender = Tender("awx", self._end_forgotten, TEND)

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
        self._tender.tend()

    def close(self) -> None:
        self._closing.set()
        self._tender.close()

    def _end_forgotten(self) -> None:
        """Cancel AWX jobs whose own job needs them no more, as one that was cancelled while no worker was at it."""
        client = Client(self._settings, self._closing.wait)
        try:
            for note in forgotten(self._store, NOTE):
                if ended(client, self._settings, note.key, note.body):
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


class Launch(Elsewhere):
    """One attempt: launched if it is not yet, followed to its end."""

    note = NOTE

    def __init__(
        self, settings: Settings, store: Store, job: Job, workflow: Workflow, variables: dict[str, Any], folder: Path
    ) -> None:
        super().__init__(store, job, workflow, variables, folder)
        self._settings = settings
        self._wrong = ""
        self._counter = 0

    # -- the whole way -----------------------------------------------------------------------------
    def _pause(self, seconds: float) -> bool:
        """True if nobody needs AWX's answers any more."""
        self._wait(seconds)
        return self._leave.is_set() or (bool(self._why) and not self._note.get("id"))

    def _attempt(self, found: Log) -> Verdict:
        client = Client(self._settings, self._pause)
        try:
            return self._all_of_it(client, found)
        finally:
            client.close()

    def _all_of_it(self, client: Client, found: Log) -> Verdict:
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
        whole = documents(self._workflow.options, self._variables)
        lines += [
            f"{name}: {one} is a document, and AWX takes paths only; give it a path that AWX has" for one in whole
        ]
        lines += (
            ["the registry of nodes is not an inventory of AWX; run it on a local worker"] if self._job.registry else []
        )
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
        self._keep(verdict, self._outcome, found)
        self._forget()
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
