# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``power``: plans of power, checked, played without touching anything, and watched over."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from .answers import Exit
from .blocks import STYLE, registered
from .options import BadUsage
from .options import Job as Command

if TYPE_CHECKING:
    from ansible_collections.rackstead.infra.plugins.module_utils.power.engine import Decision
    from ansible_collections.rackstead.infra.plugins.module_utils.power.simulate import Verdict

EXAMPLE = "Example: rackstead power simulate --scenario plans/outage.yml"
power = typer.Typer(help="What happens when the mains fail: checked, and played.", epilog=EXAMPLE, **STYLE)


def register(app: typer.Typer, panel: str) -> None:
    app.add_typer(power, name="power", rich_help_panel=panel)


def _document(path: Path, option: str) -> Any:
    """The YAML document of a file, or a line that says why there is none."""
    import yaml  # whoever asks for help only does not wait for it

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"{option}: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise BadUsage(f"{option}: {path} is not YAML: {' '.join(str(error).split())}") from error


@registered(power, "power check", epilog="Example: rackstead power check plans/power.yml")
def check(
    told: Command,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan of power.", show_default=False)],
) -> int:
    """Check a plan of power, and whether its stages fit the batteries if the mains never come back."""
    from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import read_power
    from ansible_collections.rackstead.infra.plugins.module_utils.power.simulate import Outage, Scenario, simulate

    plan = read_power(_document(file, "FILE"))
    found = {}
    cases = {name: (name,) for name in plan.upses} | ({"all UPSes": tuple(plan.upses)} if len(plan.upses) > 1 else {})
    for name, upses in cases.items():
        verdict = simulate(plan, Scenario(str(file), (Outage(upses),), lasts=86400))
        found[name] = {"safe": verdict.safe, "spare": round(verdict.spare), "failure": verdict.failure}
        told.terminal.show(Text(f"{name} without mains for good: {_words(verdict)}"))
    bad = [f"{name} without mains for good: {one['failure']}" for name, one in found.items() if not one["safe"]]
    return told.end(Exit.FAILED if bad else Exit.OK, bad, {"upses": found})


@registered(power, "power simulate", epilog=f"{EXAMPLE} --sweep")
def simulate(
    told: Command,
    scenario: Annotated[
        Path, typer.Option("--scenario", metavar="FILE", help="The outage to play.", show_default=False)
    ],
    sweep: Annotated[bool, typer.Option("--sweep", help="Let the mains return at every second.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw it, as SVG: the timeline, or the margins of --sweep."),
    ] = None,
) -> int:
    """Play an outage against the rules that decide in a real one. Touches no machine."""
    from ansible_collections.rackstead.infra.plugins.module_utils.power import picture as pictures
    from ansible_collections.rackstead.infra.plugins.module_utils.power import simulate as simulator
    from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import read_power

    case = simulator.read_scenario(_document(scenario, "--scenario"))
    plan = read_power(_document(scenario.parent / case.plan, "plan"))
    simulator.check_scenario(plan, case)
    if sweep:
        found = simulator.sweep(plan, case)
        if picture:
            _draw(picture, pictures.margins(found))
        return _swept(told, found)
    track = pictures.Track()
    verdict = simulator.simulate(plan, case, track.look if picture else None)
    if picture:
        _draw(picture, pictures.timeline(plan, case, verdict, track))
    for one in verdict.decisions:
        told.terminal.show(_line(one))
    told.terminal.show(Text(_words(verdict), style="bold"))
    errors = [] if verdict.safe else [verdict.failure, f"the smallest change: {simulator.remedy(plan, case)}"]
    return told.end(Exit.OK if verdict.safe else Exit.FAILED, errors, verdict.as_json())


@registered(power, "power monitor", epilog="Example: rackstead power monitor plans/power.yml")
def monitor(
    told: Command,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan of power.", show_default=False)],
    journal: Annotated[
        Path, typer.Option("--journal", metavar="FILE", help="Where decisions are written before they are carried out.")
    ] = Path("/var/lib/rackstead/power/journal"),
) -> int:
    """Watch over a plan's UPSes and carry out what is decided, until Ctrl-C or SIGTERM. Needs no database."""
    from ansible_collections.rackstead.infra.plugins.module_utils.power import monitor as core
    from ansible_collections.rackstead.infra.plugins.module_utils.power.commands import Commands
    from ansible_collections.rackstead.infra.plugins.module_utils.power.journal import Journal
    from ansible_collections.rackstead.infra.plugins.module_utils.power.nut.watcher import Watcher, read_place
    from ansible_collections.rackstead.infra.plugins.module_utils.power.plan import read_power

    plan = read_power(_document(file, "FILE"))
    core.check_commands(plan)
    places = {name: read_place(ups.nut or f"{name}@127.0.0.1", f"upses.{name}.nut") for name, ups in plan.upses.items()}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    actor = Commands(plan.commands, journal.parent / f"{journal.name}.actions")
    with Watcher(places, poll=plan.poll) as watcher, closing(Journal(journal)) as book:
        found = core.Monitor(plan, book, core.NutSource(watcher), actor, lambda one: told.terminal.show(_line(one)))
        while True:
            newest = max(one.number for one in watcher.latest().values())
            found.turn()
            watcher.wait(newest, plan.poll)


def _draw(path: Path, text: str) -> None:
    from ansible_collections.rackstead.infra.plugins.module_utils.common.atomic import write_atomically

    try:
        write_atomically(path, text.encode(), mode=0o644)
    except OSError as error:
        raise BadUsage(f"--picture: {path} cannot be written: {error.strerror}") from error


def _line(one: Decision) -> Text:
    return Text(f"{one.at:6.0f} s  {one.action:<10} {one.target:<12} {one.reason}")


def _words(verdict: Verdict) -> str:
    return f"safe with {verdict.spare:.0f} seconds to spare" if verdict.safe else "not safe"


def _swept(told: Command, found: list[tuple[int, Verdict]]) -> int:
    """One line for each stretch of seconds at which the mains' return ends the same way."""
    stretches: list[tuple[int, int, str, float]] = []
    for back, verdict in found:
        stopped = sum(one.action == "stop" for one in verdict.decisions)
        text = f"{stopped} hosts stopped and started, safe" if verdict.safe else verdict.failure
        if stretches and stretches[-1][2] == text:
            first, _, _, spare = stretches.pop()
            stretches.append((first, back, text, min(spare, verdict.spare)))
        else:
            stretches.append((back, back, text, verdict.spare))
    for first, last, text, spare in stretches:
        least = f" with at least {spare:.0f} seconds to spare" if spare else ""
        told.terminal.show(Text(f"mains back at {first:>4} to {last:>4} s: {text}{least}"))
    bad = [back for back, verdict in found if not verdict.safe]
    errors = [f"{len(bad)} of {len(found)} seconds of return are not safe, the first is {bad[0]} s"] if bad else []
    margins = [{"back": back, "safe": one.safe, "spare": one.spare, "failure": one.failure} for back, one in found]
    return told.end(Exit.FAILED if bad else Exit.OK, errors, {"margins": margins})
