# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``job``, ``workflow``, ``schedule`` and ``worker``: thin over the service layer in ``jobs``, or over a
server's.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completing, view_jobs
from .answers import Exit
from .blocks import STYLE, Orders, Place, Where, registered, server_of
from .options import JSON, BadUsage, extra_variables, guarded, place_option
from .options import Job as Command
from .run import Interrupted
from .terminal import Terminal

if TYPE_CHECKING:
    from .executors import Executor
    from .jobs.model import Job
    from .jobs.service import Order, Service
    from .jobs.workflows import Catalog
    from .remote.service import Remote, RemoteCatalog

    Jobs = Service | Remote

job = typer.Typer(
    help="Run playbooks as jobs: queued, followed, cancelled, retried.",
    epilog="Example: rackstead job submit status --wait",
    **STYLE,
)
workflow = typer.Typer(help="The playbooks that can be jobs.", epilog="Example: rackstead workflow show apply", **STYLE)
schedule = typer.Typer(help="Jobs that come again and again.", epilog="Example: rackstead schedule list", **STYLE)

Json = Annotated[bool, JSON]
State = Annotated[str, place_option("--state", "URL", "The state store. (RACKSTEAD_STATE)")]
Data = Annotated[str, place_option("--data", "DIR", "Where jobs leave events and output. (RACKSTEAD_DATA)")]
Id = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", autocompletion=completing.jobs)]
Name = Annotated[
    str, typer.Argument(metavar="WORKFLOW", help="The workflow's name.", autocompletion=completing.workflows)
]
Title = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Until it has ended; its end is the exit code.")]


def _option(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False)


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(job, name="job", rich_help_panel=panel)
    app.add_typer(workflow, name="workflow", rich_help_panel=panel)
    app.add_typer(schedule, name="schedule", rich_help_panel=panel)
    app.command(rich_help_panel=panel, epilog="Example: rackstead worker --parallel 8")(worker)


@contextmanager
def jobs(state: str, data: str) -> Iterator[Service]:
    """The service on this machine."""
    from .jobs.service import open_service

    service = open_service(state, data)
    try:
        yield service
    finally:
        service.store.close()


@contextmanager
def reached(place: Place, told: Command) -> Iterator[Jobs]:
    """The service of the server that is meant, or of this machine."""
    with server_of(place, told) as remote:
        if remote:
            yield remote
            return
        with jobs(place.state, place.data) as here:
            yield here


def who() -> tuple[str, str]:
    """Who gives an order, and from where: for the audit chain."""
    return os.environ.get("SUDO_USER") or getpass.getuser(), f"cli {socket.gethostname()}"


# -- job --------------------------------------------------------------------------------------------
@registered(job, "job submit", epilog="Example: rackstead job submit apply -e plan_src=plans/demo.yml --check --follow")
def submit(
    told: Command,
    name: Name,
    how: Orders,
    place: Place,
    at: Annotated[str, _option("--at", metavar="TIME", text="Not before then: 2030-01-31T02:00, or +30m.")] = "",
    after: Annotated[
        list[str] | None, _option("--after", metavar="JOB", text="Only when this job has ended well. Repeatable.")
    ] = None,
    key: Annotated[str, _option("--key", metavar="TEXT", text="The same key gives the same job, once.")] = "",
    wait: Wait = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show its output meanwhile.")] = False,
) -> int:
    """Queue a job. Its variables are checked first."""
    with reached(place, told) as service:
        order = replace(
            order_of(service, name, how), not_before=moment(at), after=list(after or ()), idempotency_key=key
        )
        found = service.submit(order, *who())
        if not service.alive():
            told.terminal.note("no worker is running: rackstead worker starts one")
        if not (wait or follow):
            told.terminal.show(found.id)
            return told.end(Exit.OK, [], {"job": found.public()})
        told.terminal.note(found.id)
        return watch(told, service, found, follow=follow)


def order_of(service: Jobs, name: str, how: Orders) -> Order:
    """Paths are those of who gives the order: the worker is in another directory, and may be on another machine."""
    from .jobs.service import Order

    variables, files = extra_variables(how.extra or [])
    given = {name: value for path in files for name, value in content(path).items()} | variables
    for option, spec in service.catalog.get(name).options.items():
        if spec.get("type") == "path" and isinstance(given.get(option), str):
            given[option] = path_of(service, option, Path(given[option]).expanduser())
    return Order(
        name,
        given,
        how.check,
        how.diff,
        how.limit,
        list(how.tags or ()),
        how.priority,
        retries=how.retries,
        timeout=how.timeout,
        node=how.node,
    )


def path_of(service: Jobs, option: str, path: Path) -> str | dict[str, Any]:
    """A path as the worker is to have it. A server on another machine gets the document itself, where there is one."""
    from .jobs.service import Service

    if isinstance(service, Service) or not path.is_file():
        return str(path.absolute()) if isinstance(service, Service) else str(path)
    from .remote.documents import read

    return read(path, option)


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


def watch(told: Command, service: Jobs, found: Job, *, follow: bool) -> int:
    """Until the job has ended; its end is the exit code. Whoever stops watching does not stop the job."""
    from .watching import watched

    try:
        watched(told.terminal, service, found, output=follow)
    except Interrupted as error:
        raise Interrupted(error.args[0], left_alone(found.id)) from None
    return ended(told, service.show(found.id))


def left_alone(job_id: str) -> str:
    return f"job {job_id} goes on; rackstead job logs -f {job_id} follows it, rackstead job cancel {job_id} ends it"


def show_event(terminal: Terminal, event: Mapping[str, Any]) -> None:
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


@registered(job, "job list", epilog="Example: rackstead job list --state-of failed --workflow apply")
def list_(
    told: Command,
    place: Place,
    states: Annotated[
        list[str] | None, _option("--state-of", "-s", metavar="STATE", text="Only in this state. Repeatable.")
    ] = None,
    of: Annotated[str, _option("--workflow", metavar="NAME", text="Only of this one.")] = "",
    by: Annotated[str, _option("--who", metavar="NAME", text="Only this one's.")] = "",
    before: Annotated[str, _option("--before", metavar="JOB", text="Only older ones.")] = "",
    number: Annotated[int, typer.Option("--lines", "-n", min=1, metavar="N", help="At most so many.")] = 20,
) -> int:
    """Jobs, the newest first."""
    with reached(place, told) as service:
        found = service.jobs(states=known_states(states or []), workflow=of, who=by, after=before, limit=number)
    told.terminal.show(view_jobs.jobs_table(found))
    return told.end(Exit.OK, [], {"jobs": [one.public() for one in found]})


def known_states(states: list[str]) -> list[str]:
    from .jobs.model import JobState

    for text in states:
        if text not in [one.value for one in JobState]:
            raise BadUsage(f'--state-of: "{text}" is not a state; allowed: {", ".join(JobState)}')
    return states


@registered(job, "job show", epilog="Example: rackstead job show 01kamq3v5t8w9x2y4z6a7b8c9d")
def show(told: Command, job_id: Id, place: Place) -> int:
    """All about one job."""
    with reached(place, told) as service:
        found = service.show(job_id)
    told.terminal.show(view_jobs.job_lines(found))
    return told.end(Exit.OK, [], {"job": found.public()})


@registered(job, "job logs", epilog="Example: rackstead job logs -f 01kamq3v5t8w9x2y4z6a7b8c9d")
def logs(
    told: Command,
    job_id: Id,
    place: Place,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job has ended.")] = False,
    after: Annotated[int, _option("--after", metavar="N", text="Events after this number.")] = 0,
) -> int:
    """What a job has printed. With --json its events; with --follow too, one on each line."""
    with reached(place, told) as service:
        if follow and not told.terminal.as_json:
            return followed(told, service, job_id, after)
        found = service.events(job_id, after, follow)
        if told.terminal.as_json and not follow:
            return told.end(Exit.OK, [], {"events": list(found)})
        for event in found:
            if told.terminal.as_json:
                told.terminal.out.file.write(json.dumps(event) + "\n")
                told.terminal.out.file.flush()
            else:
                show_event(told.terminal, event)
    return Exit.OK


def followed(told: Command, service: Jobs, job_id: str, after: int) -> int:
    from .watching import watched

    try:
        watched(told.terminal, service, service.show(job_id), output=True, after=after)
    except Interrupted as error:
        raise Interrupted(error.args[0], left_alone(job_id)) from None
    return Exit.OK


@registered(job, "job wait", epilog="Example: rackstead job wait 01kamq3v5t8w9x2y4z6a7b8c9d --timeout 600")
def wait(
    told: Command,
    job_id: Id,
    place: Place,
    seconds: Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="At most so long.")] = 86_400.0,
) -> int:
    """Until a job has ended; its end is the exit code."""
    with reached(place, told) as service:
        return ended(told, service.wait(job_id, seconds))


@registered(job, "job cancel", epilog="Example: rackstead job cancel 01kamq3v5t8w9x2y4z6a7b8c9d")
def cancel(told: Command, job_id: Id, place: Place) -> int:
    """End a job, with all the processes that it has started."""
    with reached(place, told) as service:
        found = service.cancel(job_id, *who())
    told.terminal.show(view_jobs.ending(found) if found.state.final else f"{found.id}: being ended")
    return told.end(Exit.OK, [], {"job": found.public()})


@registered(job, "job retry", epilog="Example: rackstead job retry 01kamq3v5t8w9x2y4z6a7b8c9d")
def retry(told: Command, job_id: Id, place: Place) -> int:
    """Run a job again that failed or was cancelled, with the same variables."""
    with reached(place, told) as service:
        found = service.retry(job_id, *who())
    told.terminal.show(f"{found.id}: queued again")
    return told.end(Exit.OK, [], {"job": found.public()})


# -- workflow ---------------------------------------------------------------------------------------
@registered(workflow, "workflow list", epilog="Example: rackstead workflow list")
def workflows(told: Command, where: Where) -> int:
    """All workflows."""
    with catalog(where, told) as known:
        found, faults = known.read()
    told.terminal.show(view_jobs.workflows_table(found))
    documents = [view_jobs.workflow_document(one) for one in found]
    return told.end(Exit.USAGE if faults else Exit.OK, faults, {"workflows": documents})


@registered(workflow, "workflow show", epilog="Example: rackstead workflow show apply")
def workflow_show(told: Command, name: Name, where: Where) -> int:
    """A workflow and its variables."""
    with catalog(where, told) as known:
        found = known.get(name)
    told.terminal.show(view_jobs.workflow_lines(found))
    return told.end(Exit.OK, [], {"workflow": {**view_jobs.workflow_document(found), "options": found.options}})


@contextmanager
def catalog(where: Where, told: Command) -> Iterator[Catalog | RemoteCatalog]:
    """The workflows of the server that is meant, or of this machine: for those no store is needed."""
    from .jobs.workflows import Catalog

    with server_of(where, told) as remote:
        yield remote.catalog if remote else Catalog()


# -- schedule ---------------------------------------------------------------------------------------
@registered(schedule, "schedule add", epilog='Example: rackstead schedule add nightly "30 2 * * *" health')
def schedule_add(
    told: Command,
    title: Annotated[str, typer.Argument(metavar="NAME", help="What the schedule shall be called.")],
    cron: Annotated[str, typer.Argument(metavar="CRON", help='When, such as "30 2 * * 1-5".')],
    name: Name,
    how: Orders,
    place: Place,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Time zone of CRON.")] = "UTC",
) -> int:
    """Have a job come again and again."""
    from .jobs import schedules
    from .jobs.service import Service

    with reached(place, told) as service:
        order = order_of(service, name, how)
        if isinstance(service, Service):
            found = view_jobs.schedule_document(schedules.add(service, title, cron, order, *who(), zone))
        else:
            found = service.add_schedule(title, cron, order, zone)
    told.terminal.show(f"{title}: first at {view_jobs.time_of(found['next'])}")
    return told.end(Exit.OK, [], {"schedule": found})


@registered(schedule, "schedule list", epilog="Example: rackstead schedule list")
def schedule_list(told: Command, place: Place) -> int:
    """All schedules."""
    from .jobs import schedules
    from .jobs.service import Service

    with reached(place, told) as service:
        found = (
            [view_jobs.schedule_document(one) for one in schedules.every(service)]
            if isinstance(service, Service)
            else service.schedules()
        )
    told.terminal.show(view_jobs.schedules_table(found))
    return told.end(Exit.OK, [], {"schedules": found})


@registered(schedule, "schedule pause", epilog="Example: rackstead schedule pause nightly")
def schedule_pause(told: Command, title: Title, place: Place) -> int:
    """Have a schedule queue nothing until it is resumed."""
    return _paused(told, title, place, paused=True)


@registered(schedule, "schedule resume", epilog="Example: rackstead schedule resume nightly")
def schedule_resume(told: Command, title: Title, place: Place) -> int:
    """Have a schedule go on. What came while it was paused is left out."""
    return _paused(told, title, place, paused=False)


def _paused(told: Command, title: str, place: Place, *, paused: bool) -> int:
    from .jobs import schedules
    from .jobs.service import Service

    with reached(place, told) as service:
        if isinstance(service, Service):
            schedules.pause(service, title, *who(), paused=paused)
        else:
            service.pause_schedule(title, paused=paused)
    return told.end(Exit.OK, [])


@registered(schedule, "schedule remove", epilog="Example: rackstead schedule remove nightly")
def schedule_remove(told: Command, title: Title, place: Place) -> int:
    """Remove a schedule. Jobs that it has queued stay."""
    from .jobs import schedules
    from .jobs.service import Service

    with reached(place, told) as service:
        if isinstance(service, Service):
            schedules.remove(service, title, *who())
        else:
            service.remove_schedule(title)
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


RECEPTOR_SOCKET = _setting(
    "--receptor-socket", "PATH", "Receptor's control socket, for jobs with --node. (RACKSTEAD_RECEPTOR_SOCKET)"
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
    receptor_socket: Annotated[str, RECEPTOR_SOCKET] = "",
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
            awx = {"url": awx_url, "ca": awx_ca, "token_file": awx_token_file, "prefix": awx_prefix}
            found = choose(executor, service.store, **awx, socket=receptor_socket)
            return run_worker(told, service, settings, found)

    return guarded(told, work)


def node() -> int:
    """Run a job that came over Receptor: what ``rackstead node`` does without a command. Not for people."""
    from .executors.node import main

    return main()


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
