# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a playbook as a job of a server, and hands back what its tasks returned, as ``run.run`` does here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    OperationFailed,
    RacksteadError,
)

from ..jobs.model import Job, JobState
from ..jobs.service import Order
from ..jobs.workflows import Workflow
from ..run import FILES, TEMPLATE_SIGNS, Interrupted, Outcome, Request, TaskResult, collect, is_folder
from ..terminal import Rows, Terminal
from ..watching import Event, as_runner_says, watched
from .client import PATIENCE
from .config import Choice, write_private
from .documents import PLAN, read
from .service import Remote, connected

#: Which of this machine's settings hold at a server too, and the workflow's variables for them.
SETTINGS = {
    "RACKSTEAD_URL": "rackstead_url",
    "RACKSTEAD_PROJECT": "rackstead_project",
    "RACKSTEAD_SERVER_FINGERPRINT": "rackstead_server_fingerprint",
}
#: Options that name files of this machine, for which a server has its own.
CERTIFICATES = {
    "RACKSTEAD_CLIENT_CERT": "--client-cert",
    "RACKSTEAD_CLIENT_KEY": "--client-key",
    "RACKSTEAD_CA_CERT": "--ca-cert",
}
#: Variables that name saved plans: check mode writes them, a real run is held to them.
SAVED = ("plan_file", "destroy_saved")
#: Seconds in which a job that is cancelled is over.
CANCELLED_IN = 30.0


def play(
    choice: Choice,
    request: Request,
    title: str,
    terminal: Terminal,
    *,
    verbose: bool,
    rows: Rows | None = None,
    submit: Callable[[Remote, Order], Job] = Remote.submit,
) -> Outcome:
    """Run a playbook of the collection as a job, and show how it goes. ``submit`` is how it becomes one.

    It is run once, as it is here. Ctrl-C cancels the job; a signal from elsewhere (the terminal was closed) does not.
    """
    with connected(choice) as remote:
        remote.client.tell = terminal.note
        order = order_of(request, remote.catalog.get(request.playbook))
        job = submit(remote, order)
        seen = Outcome()
        try:
            remote.client.patience = PATIENCE
            terminal.note(f"job {job.id} at {choice.url}")
            if not remote.alive():
                terminal.note("no worker is running there: the job waits for one")
            watched(
                terminal,
                remote,
                job,
                output=False,
                title=title,
                verbose=verbose,
                narrate=False,
                take=lambda event: note(event, seen),
                rows=rows,
            )
            outcome = outcome_of(remote, remote.show(job.id), seen)
            take_back(request, outcome)
            return outcome
        except Interrupted as error:
            name = str(error.args[0])
            raise Interrupted(name, leave(remote, job, terminal, by_hand=name == "SIGINT")) from None


def leave(remote: Remote, job: Job, terminal: Terminal, *, by_hand: bool) -> str:
    """Cancel the job if it was a hand that interrupted. Says what becomes of it."""
    from ..cli_jobs import left_alone

    if not by_hand:
        return left_alone(job.id)
    remote.client.patience = 0.0
    try:
        terminal.note(f"job {job.id} is being cancelled; Ctrl-C once more does not wait for its end")
        remote.cancel(job.id)
        return f"job {job.id} is {remote.wait(job.id, CANCELLED_IN).state}; what was done stays"
    except Conflict:
        return f"job {job.id} had come to its end already"
    except RacksteadError as error:
        return f"job {job.id} may go on: {error}"


def order_of(request: Request, workflow: Workflow) -> Order:
    """What is run here by a request, as an order for a server. Raises InvalidInput."""
    given = _files(request.variable_files) | dict(request.templates)
    problems = [
        f"{option}: names a file of this machine, and the server has its own; leave it out, or give --local"
        for name, option in CERTIFICATES.items()
        if name in request.environment
    ]
    problems += [
        f"-e: {name}: holds a template, and those are not filled in at a server; give the value itself"
        for name, value in given.items()
        if name in workflow.options and any(sign in str(value) for sign in TEMPLATE_SIGNS)
    ]
    if problems:
        raise InvalidInput(problems)
    variables = settings(request.environment) | {
        name: value for name, value in given.items() if name in workflow.options
    }
    variables |= request.variables
    if PLAN in variables:
        plan = Path(str(variables[PLAN]))
        variables[PLAN] = read(plan, PLAN, request.templates, request.variable_files, request.environment)
    for name in SAVED:
        if name in variables:
            variables[name] = saved_document(Path(str(variables[name])), write=request.check)
    return Order(workflow.name, variables, request.check, request.diff, retries=0)


def saved_document(path: Path, *, write: bool) -> dict[str, Any]:
    """A saved plan, or a folder of them, as a document; an empty one where the run is to write it."""
    if path.is_dir():
        return {FILES: {} if write else {one.name: saved_document(one, write=False) for one in path.iterdir()}}
    if write:
        return {}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no saved plan"
        raise InvalidInput([f'plan_file: "{path}" cannot be read: {why}; run in check mode first']) from error
    if not isinstance(found, dict):
        raise InvalidInput([f'plan_file: "{path}" is not a saved plan'])
    return found


def take_back(request: Request, outcome: Outcome) -> None:
    """Write the saved plans that the run has made, where a run here would have."""
    for name, document in outcome.documents.items():
        if not request.check or name not in SAVED or name not in request.variables:
            continue
        path = Path(str(request.variables[name]))
        files = document[FILES] if is_folder(document) else {"": document}
        for file, content in files.items():
            write_private(path / Path(file).name if file else path, json.dumps(content, indent=2))


def settings(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {variable: environment.get(name) or os.environ.get(name) for name, variable in SETTINGS.items()}
    return {name: value for name, value in found.items() if value}


def _files(paths: tuple[Path, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in paths:
        try:
            content = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InvalidInput([f"-e: {path} cannot be read: {' '.join(str(error).split())}"]) from error
        if not isinstance(content, dict):
            raise InvalidInput([f"-e: {path} does not hold variables"])
        found |= content
    return found


# -- what came of it --------------------------------------------------------------------------------
def note(event: Event, seen: Outcome) -> None:
    """Keep what an event tells of the run; a further attempt makes what was before void."""
    if event["event"] == "job_started":
        seen.results, seen.errors = [], []
    collect(as_runner_says(event), seen)


def outcome_of(remote: Remote, job: Job, seen: Outcome) -> Outcome:
    """What a run here would have handed back. ``seen`` is what the job's events have told."""
    good = job.state is JobState.COMPLETED
    try:
        found = remote.results(job.id)
        tasks = [TaskResult(**one) for one in found["results"]]
        outcome = Outcome(int(found["rc"]), tasks, list(found["errors"]), dict(found.get("documents", {})))
    except NotFound:
        outcome = Outcome(job.rc or 0, seen.results, seen.errors)
        if good and not seen.results:
            why = f"what its tasks returned is not at this server: its worker, {job.worker}, is on another machine"
            raise OperationFailed(why, where=f"job {job.id} is completed, but") from None
    if good or (job.state is JobState.FAILED and (outcome.rc or outcome.failures)):
        return outcome
    if job.state is JobState.CANCELLED:
        return Outcome(1, [], [f"job {job.id} was cancelled by {job.cancel or 'somebody'}"])
    return Outcome(outcome.rc or 1, outcome.results, job.error.splitlines()[:1] or outcome.errors)
