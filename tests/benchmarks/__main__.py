# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure and print: ``python -m tests.benchmarks`` (``make bench``)."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from . import report
from .bench import CONTENDERS, ON_INCUS, PARTS, PICTURE, RUNNER, Bench, Sizes, runner
from .floor import Refused
from .measures import Measure
from .process import Failed, Wrong
from .samples import Row
from .targets import Verdict, runner_verdicts, verdicts
from .world import CHECKOUT, World, environment, project, stage

DOCUMENT = CHECKOUT / "docs/benchmarks.md"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, default=CHECKOUT / "build/benchmarks.json", help="where the figures go")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless every target is reached")
    parser.add_argument("--docs", action="store_true", help=f"put the tables into {DOCUMENT.relative_to(CHECKOUT)}")
    parser.add_argument("--socket", default="", help="an Incus daemon's socket; without it a private one is started")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    for size in fields(Sizes):
        parser.add_argument(f"--{size.name.replace('_', '-')}", type=int, default=size.default, metavar="N")
    options = parser.parse_args(given)
    small = [size.name for size in fields(Sizes) if getattr(options, size.name) < 1]
    if small:
        parser.error(f"--{small[0].replace('_', '-')}: {getattr(options, small[0])} is not a number from 1")
    if options.memory < options.inventory:
        parser.error(f"--memory: {options.memory} is less than --inventory ({options.inventory})")
    return options


@contextmanager
def daemon(options: argparse.Namespace) -> Iterator[str]:
    """The socket of the daemon to measure on."""
    if options.socket:
        yield options.socket
        return
    from testbed.daemon import import_debian, running

    with running() as private:
        if "connection" in options.parts:
            import_debian(private)
        yield private.socket


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield Path(folder)


def end(number: int, _frame: object) -> NoReturn:
    """A signal ends the run as an exception does, so that everything is cleaned up."""
    sys.exit(128 + number)


def say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def sizes_of(options: argparse.Namespace) -> Sizes:
    return Sizes(**{size.name: getattr(options, size.name) for size in fields(Sizes)})


def measure(options: argparse.Namespace) -> Bench:
    """What was asked for on Incus. A contender of ours that fails ends it, with what was measured until then."""
    tree = stage()
    try:
        return on_incus(options, tree)
    finally:
        shutil.rmtree(tree)


def on_incus(options: argparse.Namespace, tree: Path) -> Bench:
    with daemon(options) as socket, scratch("rackstead-bench-") as folder, project(socket, say) as rest:
        world = World(rest, folder, environment(socket, folder), say)
        world.use_collections(tree)
        bench = Bench(world, sizes_of(options), options.contenders, options.parts)
        try:
            bench.run()
        except (Failed, Refused, Wrong) as error:
            bench.failure = str(error)
        return bench


@dataclass
class Measured:
    """What a half of the parts has given: on Incus, or of the runner."""

    rows: list[Row] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""


def tell(options: argparse.Namespace, facts: dict[str, Any], bench: Measured, found: Measured) -> None:
    reached, notes = [*bench.verdicts, *found.verdicts], [*bench.notes, *found.notes]
    report.write(options.json, report.document(bench.rows, found.measures, reached, facts, notes))
    report.show(bench.rows, found.measures, reached, notes)
    print(f"figures: {options.json}")
    if not options.docs:
        return
    for name, half in (("figures", bench), ("figures of the runner", found)):
        if half.verdicts:
            text = report.markdown(half.rows, half.measures, half.verdicts, facts, half.notes)
            report.update_docs(DOCUMENT, name, text)
    if "state" in options.parts:
        shutil.copy(options.json.parent / PICTURE, DOCUMENT.parent / "images" / PICTURE)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    facts = report.machine()
    bench, found = Measured(), Measured()
    if set(options.parts) & set(ON_INCUS):
        done = measure(options)
        bench = Measured(done.rows, [], verdicts(done.rows), done.notes, done.failure)
    if set(options.parts) & set(RUNNER):
        options.json.parent.mkdir(parents=True, exist_ok=True)
        measures, notes, failure = runner(sizes_of(options), options.parts, say, options.json.parent)
        found = Measured([], measures, runner_verdicts(measures), notes, failure)
    tell(options, facts, bench, found)
    reached = [*bench.verdicts, *found.verdicts]
    failures = [bench.failure, found.failure]
    for failure in filter(None, failures):
        print(f"the benchmark broke off: {failure}", file=sys.stderr)
    if any(failures):
        return 2
    return 1 if options.strict and not all(verdict.reached for verdict in reached) else 0


if __name__ == "__main__":
    sys.exit(main())
