# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``rackstead``: runs the collection's playbooks and shows what they say."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import answers, completing, view
from .answers import Exit
from .cli_bios import register as register_bios
from .cli_cluster import register as register_fleet
from .cli_hardware import register as register_hardware
from .cli_jobs import register as register_jobs
from .cli_power import register as register_power
from .cli_provision import register as register_provision
from .cli_remote import register as register_remote
from .cli_server import register as register_server
from .cli_state import register as register_state
from .cli_system import register as register_system
from .cli_ups import register as register_ups
from .cli_webhooks import register as register_webhooks
from .options import BadUsage, Job, command, not_through_a_server
from .run import Interrupted, Outcome, interruptible
from .terminal import Terminal, broken_pipe_is_the_end

HELP = ["-h", "--help"]
app = typer.Typer(
    name="rackstead",
    help="Plans of containers and virtual machines on Incus: from an empty machine to an applied plan.",
    epilog="To begin with: rackstead init, rackstead apply plans/demo.yml, rackstead status.\n\n"
    "Exit codes: 0 well, 1 failed, 2 bad usage or bad input, 3 provider or server out of reach, 130 interrupted.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": HELP, "max_content_width": 100},
)
#: Headings of the commands' list.
INSTANCES, SERVERS, HOSTS, JOBS = "Instances", "Servers", "Hosts", "Jobs"
SERVER, STATE, SETUP = "Server", "State", "This machine"


class OnChange(StrEnum):
    restart = "restart"
    refuse = "refuse"
    never = "never"


class OnError(StrEnum):
    stop = "stop"
    go_on = "continue"


class LogSource(StrEnum):
    all = "all"
    journal = "journal"
    cloud_init = "cloud-init"
    console = "console"


PlanFile = typer.Option(
    "--plan", metavar="PLAN", help="All instances of a plan: its file, or its name.", show_default=False
)
PlanArgument = typer.Argument(metavar="PLAN", help="The plan, a YAML file.", show_default=False)
Names = typer.Argument(
    metavar="[NAME]...",
    help="Instances: names or shell patterns.",
    show_default=False,
    autocompletion=completing.instances,
)
Check = typer.Option("--check", "--dry-run", help="Show what would be done, and do nothing.")
Diff = typer.Option("--diff", help="Show the differences line by line.")
Limit = typer.Option(
    "--limit",
    "-l",
    metavar="PATTERN",
    help="Only these instances: a name or shell pattern. Repeatable.",
    show_default=False,
)


def plan_file(path: str) -> str:
    """The absolute path of a plan that is there."""
    found = Path(path).expanduser()
    if not found.is_file():
        raise BadUsage(f'PLAN: file "{path}" does not exist')
    return str(found.absolute())


def saved_plan(path: Path | None) -> str | None:
    """The absolute path of a saved plan, which may not be there yet."""
    if path is None:
        return None
    return str(path.expanduser().absolute())


def plan_choice(text: str | None) -> dict[str, str]:
    """A plan is named by its file or, for what was applied earlier, by its name alone."""
    if not text:
        return {}
    found = Path(text).expanduser()
    if found.is_file():
        return {"plan_src": str(found.absolute())}
    if found.suffix in (".yml", ".yaml") or os.sep in text:
        raise BadUsage(f'PLAN: file "{text}" does not exist')
    return {"plan_name": text}


def selection(names: Sequence[str] | None, plan: str | None) -> dict[str, Any]:
    """Variables for the instances that a command is about."""
    if not names and not plan:
        raise BadUsage("name an instance, or a plan with --plan")
    return {**plan_choice(plan), **({"instance_names": list(names)} if names else {})}


def listed(values: Sequence[str] | None) -> list[str] | None:
    """Repeated and comma-separated values as one list."""
    return [part for value in values for part in value.split(",") if part] if values else None


# -- the provider -----------------------------------------------------------------------------------
@command(app, rich_help_panel=SETUP, epilog="Example: sudo rackstead init")
def init(job: Job, check: Annotated[bool, Check] = False, diff: Annotated[bool, Diff] = False) -> int:
    """Install and initialise Incus on this machine; does nothing where all is well.

    The variables of the role provider can be set with -e, such as -e provider_pool_driver=btrfs.
    """
    not_through_a_server(job, "init")
    outcome = job.play("init", "Setting up Incus", {}, check=check, diff=diff, narrate=True)
    found = [one for one in answers.records(outcome, "provider") if one.get("summary")]
    last = found[-1] if found else {}
    for text in answers.messages(outcome):
        if text != last.get("summary"):
            job.terminal.note(text)
    if last and answers.exit_code(outcome) == Exit.OK:
        job.terminal.show(view.marked(True, str(last["summary"])))
    content = {key: last.get(key) for key in ("health", "summary")}
    return job.finish(outcome, {**content, "changed": answers.changed(outcome)})


# -- plans ------------------------------------------------------------------------------------------
@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead apply plans/demo.yml --check --diff")
def apply(
    job: Job,
    plan: Annotated[str, PlanArgument],
    check: Annotated[bool, Check] = False,
    diff: Annotated[bool, Diff] = False,
    limit: Annotated[list[str] | None, Limit] = None,
    saved: Annotated[
        Path | None,
        typer.Option(
            "--plan-file",
            metavar="FILE",
            help="With --check: write the computed change there. Without: apply it, unless reality moved.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what this plan made earlier and no longer names.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over instances that exist and that this plan did not make.")
    ] = False,
    on_change: Annotated[
        OnChange | None,
        typer.Option(
            help="What to do about changes that count only after a restart. (default: refuse)", show_default=False
        ),
    ] = None,
    on_error: Annotated[
        OnError | None,
        typer.Option(
            help="Start nothing new after a failure, or finish all that can be. (default: stop)", show_default=False
        ),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Resources to work on at once. (default: 8)", show_default=False),
    ] = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="SECONDS", help="Time for each instance to become ready. (default: 300)", show_default=False
        ),
    ] = None,
) -> int:
    """Make reality as the plan says."""
    variables = {
        "plan_src": plan_file(plan),
        "plan_limit": listed(limit),
        "plan_file": saved_plan(saved),
        "plan_prune": prune or None,
        "plan_adopt": adopt or None,
        "plan_on_change": on_change and on_change.value,
        "plan_on_error": on_error and on_error.value,
        "plan_parallel": parallel,
        "plan_timeout": timeout,
    }
    title = "Comparing" if check else "Applying"
    outcome = job.play("apply", f"{title} {Path(plan).stem}", variables, check=check, diff=diff)
    return show_plans(job, outcome, check=check, diff=diff)


def show_plans(job: Job, outcome: Outcome, *, check: bool, diff: bool = False) -> int:
    """Diff, table of changes and summary of every plan task of a run."""
    results = answers.plans(outcome)
    if not results and answers.exit_code(outcome) == Exit.OK:
        job.terminal.note("nothing to do")
    for one in results:
        if diff and one.get("diff"):
            job.terminal.show(view.diff_text(one["diff"]), "")
        if view.worth_a_table(one["resources"]):
            job.terminal.show(view.changes_table(one["resources"], check=check))
        job.terminal.show(view.summary_line(one, check=check))
    content = answers.plan_document(results, diff=diff)
    return job.finish(outcome, content)


# -- looking ---------------------------------------------------------------------------------------
@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead status plans/demo.yml")
def status(
    job: Job,
    plan: Annotated[str | None, PlanArgument] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.5, metavar="SECONDS", help="Pause between two looks of --watch.")
    ] = 3.0,
    all_projects: Annotated[bool, typer.Option("--all-projects", help="Instances of every Incus project.")] = False,
) -> int:
    """A table of the instances, or of a plan's."""
    variables = {**plan_choice(plan), "status_all_projects": all_projects or None}
    if watch:
        not_through_a_server(job, "--watch")
        return watch_status(job, variables, interval)
    outcome = job.play("status", "Looking", variables)
    found = answers.gathered(outcome, "instance_info", "instances")
    if answers.exit_code(outcome) == Exit.OK:
        job.terminal.show(view.status_table(found))
    return job.finish(outcome, {"instances": found})


def watch_status(job: Job, variables: Mapping[str, Any], interval: float) -> int:
    """The table again and again in place; ends with Ctrl-C, or when the provider no longer answers."""
    if job.terminal.as_json or not job.terminal.out.is_terminal:
        raise BadUsage("--watch: needs a terminal, and does not go with --json")
    try:
        with job.terminal.screen() as screen:
            while answers.exit_code(outcome := job.quietly("status", variables)) == Exit.OK:
                screen(view.status_table(answers.gathered(outcome, "instance_info", "instances")))
                time.sleep(interval)
    except Interrupted:
        return Exit.INTERRUPTED  # the way in which this ends
    return job.finish(outcome, {})


@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead start gateway 'web-*'")
def start(
    job: Job,
    names: Annotated[list[str] | None, Names] = None,
    plan: Annotated[str | None, PlanFile] = None,
    limit: Annotated[list[str] | None, Limit] = None,
    check: Annotated[bool, Check] = False,
) -> int:
    """Start instances, or a plan's."""
    return power(job, "start", "Starting", limited(selection(names, plan), limit), check)


@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead stop --plan demo")
def stop(
    job: Job,
    names: Annotated[list[str] | None, Names] = None,
    plan: Annotated[str | None, PlanFile] = None,
    limit: Annotated[list[str] | None, Limit] = None,
    check: Annotated[bool, Check] = False,
) -> int:
    """Stop instances, or a plan's."""
    return power(job, "stop", "Stopping", limited(selection(names, plan), limit), check)


def limited(variables: dict[str, Any], limit: list[str] | None) -> dict[str, Any]:
    if limit and "plan_src" not in variables:
        raise BadUsage("--limit: goes with --plan and a plan's file only")
    return {**variables, "plan_limit": listed(limit)}


def power(job: Job, playbook: str, title: str, variables: Mapping[str, Any], check: bool) -> int:
    outcome = job.play(playbook, title, variables, check=check)
    if answers.plans(outcome):
        return show_plans(job, outcome, check=check)
    found = answers.records(outcome, "instance")
    if found:
        job.terminal.show(view.instances_done(found, check=check))
    told = [view.instance_record(one) for one in found]
    return job.finish(outcome, {"changed": answers.changed(outcome), "instances": told})


# -- inside instances -------------------------------------------------------------------------------
@command(app, name="exec", rich_help_panel=INSTANCES, epilog="Example: rackstead exec gateway -- nginx -t")
def exec_(
    job: Job,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME... -- COMMAND...",
            help="Instances, and after -- the command.",
            autocompletion=completing.instances,
        ),
    ],
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="User inside the instance. (default: root)", show_default=False)
    ] = None,
    cwd: Annotated[
        str | None, typer.Option(metavar="DIR", help="Directory inside the instance.", show_default=False)
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Environment of the command. Repeatable.", show_default=False),
    ] = None,
    timeout: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="End the command after this time.", show_default=False)
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass standard input on to the command.")] = False,
) -> int:
    """Run a command in instances. Output and exit code are the command's own."""
    names, argv = split_words(words)
    variables = {
        "instance_names": names,
        "exec_argv": argv,
        "exec_user": user,
        "exec_cwd": cwd,
        "exec_environment": dict(pair(text) for text in env) if env else None,
        "exec_timeout": timeout,
        "exec_stdin": standard_input() if stdin else None,
    }
    outcome = job.play("exec", f"Running {argv[0]}", variables)
    return show_exec(job, outcome)


def standard_input() -> str:
    """All of standard input."""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise BadUsage(
            "--stdin: what came is not UTF-8 text; push a file for that (rackstead.infra.instance_file)"
        ) from error


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadUsage(f'--env: "{text}" is not valid; allowed: KEY=VALUE')
    return name, value


#: Stands for ``--`` between instances and command: the parser of options would swallow the real one.
DIVIDER = "\0--"


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Instances and command. Without ``--``: one instance, and the rest for its shell, as ssh does."""
    if DIVIDER in words:
        at = list(words).index(DIVIDER)
        names, argv = list(words[:at]), list(words[at + 1 :])
    else:
        names, argv = list(words[:1]), ["/bin/sh", "-c", " ".join(words[1:])] if words[1:] else []
    if not names or not argv:
        raise BadUsage("name an instance and, after --, a command")
    return names, argv


def show_exec(job: Job, outcome: Outcome) -> int:
    """One instance: what the command printed, as it printed it, and its exit code. Several: each line with its name."""
    found = answers.records(outcome, "instance_exec")
    results = [view.exec_result(one) for one in found if "rc" in one]
    if not results:
        return job.finish(outcome, {"results": []})
    for one in results if not job.terminal.as_json else ():
        name = one["instance"] if len(found) > 1 else ""
        job.terminal.raw(sys.stdout, view.prefixed(view.output(one, "stdout"), name))
        job.terminal.raw(sys.stderr, view.prefixed(view.output(one, "stderr"), name))
    unrun = Outcome(
        0, [task for task in outcome.of("instance_exec") if any("rc" not in one for one in answers.items(task))]
    )
    code = max(int(answers.exit_code(unrun)), *(one["rc"] for one in results))
    return job.end(code, answers.errors(unrun), {"results": results})


# -- snapshots -------------------------------------------------------------------------------------
@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead snapshot gateway before-upgrade")
def snapshot(
    job: Job,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME] [SNAPSHOT]",
            help="Instance, and the snapshot's name (default: the time).",
            autocompletion=completing.instances,
            show_default=False,
        ),
    ] = None,
    plan: Annotated[str | None, PlanFile] = None,
    stateful: Annotated[
        bool, typer.Option("--stateful", help="Keep the memory of running instances too, where Incus can.")
    ] = False,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="WHEN",
            help="Incus deletes it then: a duration such as 7d, or a time.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Afterwards delete all but the N newest of such names.", show_default=False
        ),
    ] = None,
    check: Annotated[bool, Check] = False,
) -> int:
    """Take a snapshot of an instance, or of all of a plan's."""
    names, name = instance_and_snapshot(words, plan)
    variables = {
        **selection(names, plan),
        "snapshot_name": name,
        "snapshot_stateful": stateful or None,
        "snapshot_expires_at": expires,
        "snapshot_keep": keep,
    }
    outcome = job.play("snapshot", "Taking snapshots", variables, check=check)
    return show_snapshots(job, outcome, check)


@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead restore gateway before-upgrade")
def restore(
    job: Job,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME] SNAPSHOT",
            help="Instance, and the snapshot to go back to.",
            autocompletion=completing.instances,
        ),
    ],
    plan: Annotated[str | None, PlanFile] = None,
    check: Annotated[bool, Check] = False,
) -> int:
    """Put an instance, or all of a plan's, back to a snapshot. What changed since is lost."""
    names, name = instance_and_snapshot(words, plan)
    if not name:
        raise BadUsage("name the snapshot to go back to")
    outcome = job.play("restore", "Restoring", {**selection(names, plan), "snapshot_name": name}, check=check)
    return show_snapshots(job, outcome, check)


def instance_and_snapshot(words: Sequence[str] | None, plan: str | None) -> tuple[list[str], str | None]:
    """``NAME SNAPSHOT``, or ``SNAPSHOT`` alone where a plan says which instances."""
    given = list(words or ())
    names = [] if plan else given[:1]
    rest = given[len(names) :]
    if len(rest) > 1:
        raise BadUsage(f'"{rest[1]}" is one word too many')
    return names, rest[0] if rest else None


def show_snapshots(job: Job, outcome: Outcome, check: bool) -> int:
    found = answers.gathered(outcome, "instance_snapshot", "instances")
    if any(one.get("actions") for one in found) or answers.exit_code(outcome) == Exit.OK:
        job.terminal.show(view.snapshots_done(found, check=check))
    return job.finish(outcome, {"changed": answers.changed(outcome), "instances": found})


# -- health ----------------------------------------------------------------------------------------
@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead logs gateway --source journal")
def logs(
    job: Job,
    names: Annotated[list[str] | None, Names] = None,
    plan: Annotated[str | None, PlanFile] = None,
    source: Annotated[LogSource, typer.Option(help="Which log.")] = LogSource.all,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, metavar="N", help="The last N lines of each.")] = 50,
) -> int:
    """What instances have logged: journal, cloud-init's output, console."""
    variables = {**selection(names, plan), "logs_source": source.value, "logs_lines": lines}
    outcome = job.play("logs", "Reading", variables)
    found = answers.gathered(outcome, "instance_log_info", "logs")
    job.terminal.show(*(view.log_text(one) for one in found))
    if not found and answers.exit_code(outcome) == Exit.OK:
        job.terminal.note("no logs")
    return job.finish(outcome, {"logs": found})


@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead health plans/demo.yml")
def health(job: Job, plan: Annotated[str | None, PlanArgument] = None) -> int:
    """Is the provider well, and are the instances? With a plan: is everything as it says?"""
    outcome = job.play("health", "Looking", plan_choice(plan))
    found = answers.fact(outcome, "rackstead_health")
    if not found:
        return job.finish(outcome, {})
    instances = answers.gathered(outcome, "instance_info", "instances")
    job.terminal.show(view.health_lines(found, instances))
    content = {
        "health": found,
        "provider": answers.records(outcome, "provider_info")[-1]["provider"],
        "instances": instances,
    }
    return job.end(Exit.OK if found["ok"] else Exit.FAILED, [], content)


# -- the end ---------------------------------------------------------------------------------------
@command(app, rich_help_panel=INSTANCES, epilog="Example: rackstead destroy plans/demo.yml --check")
def destroy(
    job: Job,
    plan: Annotated[str | None, PlanArgument] = None,
    option: Annotated[str | None, PlanFile] = None,
    everything: Annotated[bool, typer.Option("--all", help="What any plan made, in this Incus project.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    check: Annotated[bool, Check] = False,
    diff: Annotated[bool, Diff] = False,
    limit: Annotated[list[str] | None, Limit] = None,
) -> int:
    """Delete what a plan made. Shows it and asks first."""
    plan = plan or option
    if bool(plan) == everything:
        raise BadUsage("name a plan, or give --all")
    ask = not (yes or check)
    if ask and not job.terminal.interactive:
        raise BadUsage(
            "destroy asks before it deletes, and there is no terminal to ask on; --yes deletes without asking"
        )
    variables = {**plan_choice(plan), "destroy_all": everything or None, "plan_limit": listed(limit)}
    if not ask:
        outcome = job.play(
            "destroy", "Comparing" if check else "Deleting", {**variables, "confirm": True}, check=check, diff=diff
        )
        return show_plans(job, outcome, check=check, diff=diff)
    return ask_and_destroy(job, variables, diff=diff)


def ask_and_destroy(job: Job, variables: Mapping[str, Any], *, diff: bool) -> int:
    """Show what would go, ask, and delete exactly that: the answer is given to a saved plan."""
    with tempfile.TemporaryDirectory(prefix="rackstead-") as place:
        given = {**variables, "confirm": True, "destroy_saved": place}
        outcome = job.play("destroy", "Comparing", given, check=True, diff=diff)
        found = answers.plans(outcome)
        doomed = sum(one["summary"]["changed"] for one in found)
        if answers.exit_code(outcome) != Exit.OK or not doomed:
            return show_plans(job, outcome, check=True, diff=diff)
        for one in found:
            asked = Terminal() if job.terminal.as_json else job.terminal
            asked.err.print(view.changes_table(one["resources"], check=True))
        if not job.terminal.confirm(f"Delete {'this' if doomed == 1 else f'these {doomed}'}?"):
            job.terminal.note("nothing was deleted")
            return job.end(Exit.FAILED, [])
        outcome = job.play("destroy", "Deleting", given, diff=diff)
        return show_plans(job, outcome, check=False)


@command(app, rich_help_panel=SETUP, epilog="Example: rackstead version")
def version(job: Job) -> int:
    """Versions of rackstead and of what it stands on."""
    from importlib.metadata import version as of

    found = {name: of(name) for name in ("rackstead", "ansible-core", "ansible-runner")}
    python = ".".join(str(part) for part in sys.version_info[:3])
    job.terminal.show("\n".join(f"{name} {number}" for name, number in {**found, "python": python}.items()))
    return job.end(Exit.OK, [], {"versions": {**found, "python": python}})


register_provision(app, SERVERS)
register_bios(app, SERVERS)
register_power(app, SERVERS)
register_ups(app, SERVERS)
register_hardware(app, HOSTS)
register_system(app, HOSTS)
register_fleet(app, HOSTS, JOBS)
register_jobs(app, JOBS)
register_server(app, SERVER)
register_remote(app, SERVER)
register_state(app, STATE)
register_webhooks(app, SERVER)


# -- the way in -------------------------------------------------------------------------------------
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with one of the exit codes."""
    given = list(sys.argv[1:] if argv is None else argv)
    with broken_pipe_is_the_end():
        code = run_command(given)
    sys.exit(int(code))


def run_command(given: list[str]) -> int:
    terminal = Terminal(as_json="--json" in given)
    try:
        with interruptible():
            group = without_kinds(typer.main.get_command(app))
            return int(group(args=divided(given) or ["--help"], prog_name="rackstead", standalone_mode=False) or 0)
    except Interrupted as error:
        return Job("", terminal).end(Exit.INTERRUPTED, [error.line])
    except Exception as error:
        if not hasattr(error, "format_message"):  # what the parser of options raises has it
            raise
        return Job("", terminal).end(Exit.USAGE, [error.format_message().replace("Value error, ", "")])


def without_kinds(command: Any) -> Any:
    """The command without the word ``bool`` behind each switch in its help."""
    for parameter in (*command.params, command.get_help_option(typer.Context(command, help_option_names=HELP))):
        if getattr(parameter, "is_flag", False) or getattr(parameter, "count", False):
            parameter.metavar = ""
    for one in getattr(command, "commands", {}).values():
        without_kinds(one)
    return command


def divided(given: list[str]) -> list[str]:
    if given[:1] == ["exec"] and "--" in given:
        at = given.index("--")
        return [*given[:at], "--", DIVIDER, *given[at + 1 :]]
    return given


if __name__ == "__main__":
    main()
