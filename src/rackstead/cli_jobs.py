# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``job``, ``workflow``, ``schedule`` and ``worker``: thin over the service layer in ``jobs``."""

from __future__ import annotations

import functools
import getpass
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import view_jobs
from .answers import Exit
from .options import BadUsage, extra_variables
from .options import Job as Command
from .run import Interrupted
from .terminal import Terminal

if TYPE_CHECKING:
    from .executors import Executor
    from .jobs.model import Job
    from .jobs.service import Order, Service

STYLE: dict[str, Any] = {"rich_markup_mode": None, "no_args_is_help": True}
job = typer.Typer(help="Run playbooks as jobs: queued, followed, cancelled, retried.", **STYLE)
workflow = typer.Typer(help="The playbooks that can be jobs.", **STYLE)
schedule = typer.Typer(help="Jobs that come again and again.", **STYLE)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
State = Annotated[
    str,
    typer.Option("--state", metavar="URL", help="The state store. (RACKSTEAD_STATE)", show_default=False),
]
Data = Annotated[
    str,
    typer.Option(
        "--data", metavar="DIR", help="Where jobs leave events and output. (RACKSTEAD_DATA)", show_default=False
    ),
]
Id = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Name = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's name.")]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "-e",
        "--extra-vars",
        metavar="VARS",
        help="Variables: key=value, JSON or @file. Repeatable.",
        show_default=False,
    ),
]
Check = Annotated[bool, typer.Option("--check", "--dry-run", help="Show what would be done, and do nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show the differences line by line.")]
Limit = Annotated[
    str, typer.Option("--limit", "-l", metavar="PATTERN", help="Hosts of the workflow's inventory.", show_default=False)
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tags", "-t", metavar="TAG", help="Only these tasks. Repeatable.", show_default=False),
]
Priority = Annotated[
    int | None,
    typer.Option(min=0, max=9, metavar="0-9", help="0 comes first. (default: the workflow's)", show_default=False),
]
Retries = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Further attempts. (default: the workflow's)", show_default=False)
]
Timeout = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="SECONDS", help="Of one attempt. (default: the workflow's)", show_default=False),
]


def register(app: typer.Typer) -> None:
    app.add_typer(job, name="job")
    app.add_typer(workflow, name="workflow")
    app.add_typer(schedule, name="schedule")
    app.command()(worker)


Context = tuple[Command, "Service"]


def command(group: typer.Typer, name: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a function; errors that are raised on purpose become lines and exit codes."""

    def wrap(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def wrapper(**given: Any) -> int:
            title = f"{group.info.name or _name_of(group)} {name}"
            return guarded(Command(title, Terminal(as_json=given["as_json"])), lambda: function(**given))

        return group.command(name)(wrapper)

    return wrap


def _name_of(group: typer.Typer) -> str:
    return "job" if group is job else "workflow" if group is workflow else "schedule"


def guarded(told: Command, work: Callable[[], int]) -> int:
    from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import (
        Denied,
        InvalidInput,
        NotFound,
        RacksteadError,
        Unreachable,
    )

    try:
        return work()
    except RacksteadError as error:
        usage = isinstance(error, InvalidInput | NotFound)
        code = Exit.USAGE if usage else Exit.UNREACHABLE if isinstance(error, Unreachable | Denied) else Exit.FAILED
        return told.end(code, str(error).splitlines())


@contextmanager
def jobs(state: str, data: str) -> Iterator[Service]:
    from .jobs.service import open_service

    service = open_service(state, data)
    try:
        yield service
    finally:
        service.store.close()


def who() -> tuple[str, str]:
    """Who gives an order, and from where: for the audit chain."""
    return os.environ.get("SUDO_USER") or getpass.getuser(), f"cli {socket.gethostname()}"


# -- job --------------------------------------------------------------------------------------------
@command(job, "submit")
def submit(
    name: Name,
    extra: Variables = None,
    check: Check = False,
    diff: Diff = False,
    limit: Limit = "",
    tags: Tags = None,
    priority: Priority = None,
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="Not before then: 2030-01-31T02:00, or +30m.", show_default=False),
    ] = "",
    after: Annotated[
        list[str] | None,
        typer.Option(
            "--after", metavar="JOB", help="Only when this job has ended well. Repeatable.", show_default=False
        ),
    ] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="TEXT", help="The same key gives the same job, once.", show_default=False)
    ] = "",
    retries: Retries = None,
    timeout: Timeout = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Until it has ended; its end is the exit code.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show its output meanwhile.")] = False,
    as_json: Json = False,
    state: State = "",
    data: Data = "",
) -> int:
    """Queue a job. Its variables are checked first."""
    told = Command("job submit", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        order = order_of(service, name, extra, check, diff, limit, tags, priority, retries, timeout)
        times = {"not_before": moment(at), "after": list(after or ()), "idempotency_key": key}
        found = service.submit(replaced(order, times), *who())
        if not service.alive():
            told.terminal.note("no worker is running: rackstead worker starts one")
        if not (wait or follow):
            told.terminal.show(found.id)
            return told.end(Exit.OK, [], {"job": found.public()})
        told.terminal.note(found.id)
        return watch(told, service, found.id, follow=follow)


def replaced(order: Order, fields: dict[str, Any]) -> Order:
    from dataclasses import replace

    return replace(order, **fields)


def order_of(
    service: Service,
    name: str,
    extra: list[str] | None,
    check: bool,
    diff: bool,
    limit: str,
    tags: list[str] | None,
    priority: int | None,
    retries: int | None,
    timeout: float | None,
) -> Order:
    from .jobs.service import Order

    variables, files = extra_variables(extra or [])
    given = {name: value for path in files for name, value in content(path).items()} | variables
    for option, spec in service.catalog.get(name).options.items():
        if spec.get("type") == "path" and isinstance(given.get(option), str):
            given[option] = str(Path(given[option]).expanduser().absolute())  # the worker is in another directory
    return Order(name, given, check, diff, limit, list(tags or ()), priority, retries=retries, timeout=timeout)


def content(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadUsage(f"-e: {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise BadUsage(f"-e: {path} does not hold variables")
    return found


def moment(text: str) -> float:
    """Seconds since the epoch of a time, or of a duration from now."""
    if not text:
        return 0.0
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    if text.startswith("+") and text[1:-1].isdigit() and text[-1] in units:
        return datetime.now().timestamp() + int(text[1:-1]) * units[text[-1]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise BadUsage(f'--at: "{text}" is not a time; allowed: 2030-01-31T02:00, 2030-01-31T02:00Z, +30m') from error


def watch(told: Command, service: Service, job_id: str, *, follow: bool) -> int:
    """Until the job has ended; its end is the exit code."""
    for event in service.events(job_id, follow=True):
        if follow:
            show_event(told.terminal, event)
    return ended(told, service.show(job_id))


def show_event(terminal: Terminal, event: dict[str, Any]) -> None:
    if event.get("stdout"):
        terminal.show(event["stdout"])
    elif event["event"] == "job_ended" and event["error"]:
        terminal.note(event["error"])


def ended(told: Command, found: Job) -> int:
    from .jobs.model import JobState

    good = found.state is JobState.COMPLETED
    told.terminal.show(view_jobs.ending(found))
    lines = [] if good or not found.error else found.error.splitlines()
    return told.end(Exit.OK if good else Exit.FAILED, lines, {"job": found.public()})


@command(job, "list")
def list_(
    states: Annotated[
        list[str] | None,
        typer.Option("--state-of", "-s", metavar="STATE", help="Only in this state. Repeatable.", show_default=False),
    ] = None,
    of: Annotated[str, typer.Option("--workflow", metavar="NAME", help="Only of this one.", show_default=False)] = "",
    by: Annotated[str, typer.Option("--who", metavar="NAME", help="Only this one's.", show_default=False)] = "",
    before: Annotated[str, typer.Option("--before", metavar="JOB", help="Only older ones.", show_default=False)] = "",
    number: Annotated[int, typer.Option("--lines", "-n", min=1, metavar="N", help="At most so many.")] = 20,
    as_json: Json = False,
    state: State = "",
    data: Data = "",
) -> int:
    """Jobs, the newest first."""
    told = Command("job list", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        found = service.jobs(states=known_states(states or []), workflow=of, who=by, after=before, limit=number)
    told.terminal.show(view_jobs.jobs_table(found))
    return told.end(Exit.OK, [], {"jobs": [one.public() for one in found]})


def known_states(states: list[str]) -> list[str]:
    from .jobs.model import JobState

    for text in states:
        if text not in [one.value for one in JobState]:
            raise BadUsage(f'--state-of: "{text}" is not a state; allowed: {", ".join(JobState)}')
    return states


@command(job, "show")
def show(job_id: Id, as_json: Json = False, state: State = "", data: Data = "") -> int:
    """All about one job."""
    told = Command("job show", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        found = service.show(job_id)
    told.terminal.show(view_jobs.job_lines(found))
    return told.end(Exit.OK, [], {"job": found.public()})


@command(job, "logs")
def logs(
    job_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job has ended.")] = False,
    after: Annotated[
        int, typer.Option("--after", metavar="N", help="Events after this number.", show_default=False)
    ] = 0,
    as_json: Json = False,
    state: State = "",
    data: Data = "",
) -> int:
    """What a job has printed. With --json its events; with --follow too, one on each line."""
    told = Command("job logs", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        found = service.events(job_id, after, follow)
        if as_json and not follow:
            return told.end(Exit.OK, [], {"events": list(found)})
        for event in found:
            if as_json:
                told.terminal.out.file.write(json.dumps(event) + "\n")
                told.terminal.out.file.flush()
            else:
                show_event(told.terminal, event)
    return Exit.OK


@command(job, "wait")
def wait_(
    job_id: Id,
    seconds: Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="At most so long.")] = 86_400.0,
    as_json: Json = False,
    state: State = "",
    data: Data = "",
) -> int:
    """Until a job has ended; its end is the exit code."""
    told = Command("job wait", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        return ended(told, service.wait(job_id, seconds))


@command(job, "cancel")
def cancel(job_id: Id, as_json: Json = False, state: State = "", data: Data = "") -> int:
    """End a job, with all the processes that it has started."""
    told = Command("job cancel", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        found = service.cancel(job_id, *who())
    told.terminal.show(view_jobs.ending(found) if found.state.final else f"{found.id}: being ended")
    return told.end(Exit.OK, [], {"job": found.public()})


@command(job, "retry")
def retry(job_id: Id, as_json: Json = False, state: State = "", data: Data = "") -> int:
    """Run a job again that failed or was cancelled, with the same variables."""
    told = Command("job retry", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        found = service.retry(job_id, *who())
    told.terminal.show(f"{found.id}: queued again")
    return told.end(Exit.OK, [], {"job": found.public()})


# -- workflow ---------------------------------------------------------------------------------------
@command(workflow, "list")
def workflows(as_json: Json = False) -> int:
    """All workflows."""
    from .jobs.workflows import Catalog

    told = Command("workflow list", Terminal(as_json=as_json))
    found, faults = Catalog().read()
    told.terminal.show(view_jobs.workflows_table(found))
    documents = [view_jobs.workflow_document(one) for one in found]
    return told.end(Exit.USAGE if faults else Exit.OK, faults, {"workflows": documents})


@command(workflow, "show")
def workflow_show(name: Name, as_json: Json = False) -> int:
    """A workflow and its variables."""
    from .jobs.workflows import Catalog

    told = Command("workflow show", Terminal(as_json=as_json))
    found = Catalog().get(name)
    told.terminal.show(view_jobs.workflow_lines(found))
    return told.end(Exit.OK, [], {"workflow": {**view_jobs.workflow_document(found), "options": found.options}})


# -- schedule ---------------------------------------------------------------------------------------
@command(schedule, "add")
def schedule_add(
    title: Annotated[str, typer.Argument(metavar="NAME", help="What the schedule shall be called.")],
    cron: Annotated[str, typer.Argument(metavar="CRON", help='When, such as "30 2 * * 1-5".')],
    name: Name,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Time zone of CRON.")] = "UTC",
    extra: Variables = None,
    check: Check = False,
    diff: Diff = False,
    limit: Limit = "",
    tags: Tags = None,
    priority: Priority = None,
    retries: Retries = None,
    timeout: Timeout = None,
    as_json: Json = False,
    state: State = "",
    data: Data = "",
) -> int:
    """Have a job come again and again."""
    from .jobs import schedules

    told = Command("schedule add", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        order = order_of(service, name, extra, check, diff, limit, tags, priority, retries, timeout)
        user, origin = who()
        found = schedules.add(service, title, cron, order, user, origin, zone)
    told.terminal.show(f"{title}: first at {view_jobs.time_of(found.body['next'])}")
    return told.end(Exit.OK, [], {"schedule": view_jobs.schedule_document(found)})


@command(schedule, "list")
def schedule_list(as_json: Json = False, state: State = "", data: Data = "") -> int:
    """All schedules."""
    from .jobs import schedules

    told = Command("schedule list", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        found = schedules.every(service)
    told.terminal.show(view_jobs.schedules_table(found))
    return told.end(Exit.OK, [], {"schedules": [view_jobs.schedule_document(one) for one in found]})


@command(schedule, "remove")
def schedule_remove(
    title: Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")],
    as_json: Json = False,
    state: State = "",
    data: Data = "",
) -> int:
    """Remove a schedule. Jobs that it has queued stay."""
    from .jobs import schedules

    told = Command("schedule remove", Terminal(as_json=as_json))
    with jobs(state, data) as service:
        schedules.remove(service, title, *who())
    return told.end(Exit.OK, [])


# -- worker -----------------------------------------------------------------------------------------
def _setting(option: str, metavar: str, text: str) -> Any:
    return typer.Option(option, metavar=metavar, help=text, show_default=False)


EXECUTOR = _setting("--executor", "WHERE", "local or awx: where jobs run. (RACKSTEAD_EXECUTOR)")
AWX_URL = _setting("--awx-url", "URL", "The AWX. (RACKSTEAD_AWX_URL)")
AWX_TOKEN_FILE = _setting(
    "--awx-token-file",
    "FILE",
    "Holds its token. (RACKSTEAD_AWX_TOKEN_FILE, or RACKSTEAD_AWX_TOKEN with the token itself)",
)
AWX_CA = _setting("--awx-ca-cert", "FILE", "CA certificate. (RACKSTEAD_AWX_CA_CERT)")
AWX_PREFIX = _setting(
    "--awx-prefix",
    "TEXT",
    "Before a workflow's name gives the job template's. (RACKSTEAD_AWX_PREFIX, else \"rackstead \")",
)


def worker(
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=1000, metavar="N", help="Jobs at once.")] = 4,
    queue: Annotated[
        str, typer.Option("--queue", metavar="URL", help="Database of the queue. (RACKSTEAD_QUEUE)", show_default=False)
    ] = "",
    heartbeat: Annotated[
        float, typer.Option("--heartbeat", min=0.2, metavar="SECONDS", help="Three missed: another worker takes over.")
    ] = 5.0,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, metavar="DAYS", help="Forget jobs that ended longer ago. 0: never.")
    ] = 90.0,
    keep: Annotated[
        int, typer.Option("--keep", min=0, metavar="N", help="Forget all but the newest N that are over. 0: none.")
    ] = 0,
    executor: Annotated[str, EXECUTOR] = "",
    awx_url: Annotated[str, AWX_URL] = "",
    awx_token_file: Annotated[str, AWX_TOKEN_FILE] = "",
    awx_ca: Annotated[str, AWX_CA] = "",
    awx_prefix: Annotated[str, AWX_PREFIX] = "",
    state: State = "",
    data: Data = "",
) -> int:
    """Run the jobs that are queued, until Ctrl-C or SIGTERM."""
    told = Command("worker", Terminal())

    def work() -> int:
        from .executors import choose
        from .jobs.engine import Settings
        from .jobs.retention import Retention

        settings = Settings(parallel, queue_url(queue, state), heartbeat, Retention(keep_days, keep))
        with jobs(state, data) as service:
            found = choose(
                executor, service.store, url=awx_url, ca=awx_ca, token_file=awx_token_file, prefix=awx_prefix
            )
            return run_worker(told, service, settings, found)

    return guarded(told, work)


def queue_url(queue: str, state: str) -> str:
    """The queue stands in the state store's database, where that is PostgreSQL; else in a file of its own."""
    from ansible_collections.rackstead.infra.plugins.module_utils.state.open import default_url

    store = state or default_url()
    return queue or os.environ.get("RACKSTEAD_QUEUE") or (store if store.startswith("postgresql:") else "")


def run_worker(told: Command, service: Service, settings: Any, executor: Executor) -> int:
    import logging

    from .jobs.engine import Engine
    from .webhooks.courier import delivering

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("rackstead").setLevel(logging.INFO)
    engine = Engine(service, settings, executor)
    engine.start()
    told.terminal.note(f"worker {engine.identity.id}: {settings.parallel} jobs at once, state and queue are ready")
    try:
        with delivering(service.store):
            threading.Event().wait()
    except Interrupted:
        told.terminal.note("stopping: what runs here goes on with the next worker")
    finally:
        engine.stop()
    return Exit.OK
