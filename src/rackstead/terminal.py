# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The terminal: results go to standard output, everything else (progress, questions, errors) to standard error."""

from __future__ import annotations

import json
import os
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .progress import BEGUN, Board, Follower, Step, Tally, step_line, step_of_text
from .view import bar_of, busy_lines, host_lines

#: Width of what is written to a file or a pipe, where nobody wraps lines.
UNBOUND = 100_000
FRAME = 0.1
#: Seconds after which a step that is not over is named where there is no live picture.
PATIENCE = 2.0


def console(stream: IO[str]) -> Console:
    tty = stream.isatty()
    width = None if tty or "COLUMNS" in os.environ else UNBOUND
    return Console(file=stream, highlight=False, emoji=False, markup=False, width=width)


class Rows(Protocol):
    """What a command of its own shows of a run: a picture, and lines where there is none."""

    def take(self, event: Mapping[str, Any]) -> list[str]:
        """Learn from an event of ansible-runner; returns lines that tell of it."""

    def picture(self, width: int) -> list[RenderableType]: ...

    def line(self) -> str:
        """How far all of it is, in a few words."""


class Terminal:
    """Both streams, and how a command speaks on them."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.out = console(sys.stdout)
        self.err = console(sys.stderr)
        self.as_json = as_json

    def show(self, *parts: RenderableType) -> None:
        """Print a result for people; with ``--json`` nothing, since the document follows."""
        if not self.as_json:
            for part in parts:
                # A line is wrapped on a terminal, never where a program may read it.
                self.out.print(part, soft_wrap=isinstance(part, str) and not self.out.is_terminal)

    def document(self, content: Mapping[str, Any]) -> None:
        """The one JSON document of ``--json``."""
        sys.stdout.write(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        self._line(Text(text))

    def error(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._line(Text.assemble(("error: ", "bold red"), (line, "red")))

    def _line(self, text: Text) -> None:
        """A line on standard error: wrapped between words on a terminal, never elsewhere."""
        self.err.print(text, soft_wrap=not self.err.is_terminal)

    def raw(self, stream: IO[str], data: bytes) -> None:
        """Output as it came, byte for byte."""
        stream.flush()
        stream.buffer.write(data)  # type: ignore[attr-defined]
        stream.buffer.flush()  # type: ignore[attr-defined]

    @contextmanager
    def screen(self) -> Iterator[Callable[[RenderableType], None]]:
        """A picture that can be replaced; the last one stays."""
        with Live(console=self.out, auto_refresh=False) as live:
            yield lambda picture: live.update(picture, refresh=True)

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str) -> bool:
        """Ask, and take only what is typed after the question was seen."""
        self.err.print(Text(f"{question} [y/N] ", style="bold"), end="")
        self.err.file.flush()
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


class Spectator:
    """Shows how a run goes: live on a terminal, a line for each finished resource elsewhere.

    ``narrate`` names the steps too, for playbooks in which some take long. ``verbose`` shows what
    Ansible itself prints, and nothing else. ``output``: results are printed meanwhile (see ``printed``).
    ``tally`` knows how many tasks the last run had. ``rows`` are shown in place of a bar for each host.
    """

    def __init__(
        self,
        terminal: Terminal,
        title: str,
        *,
        narrate: bool = False,
        verbose: bool = False,
        output: bool = False,
        tally: Tally | None = None,
        rows: Rows | None = None,
    ) -> None:
        self._terminal = terminal
        self._console = terminal.err
        self._title = title
        self._narrate = narrate
        self._quiet = verbose or output
        self._verbose = verbose
        self._tally = tally or Tally()
        self._rows = rows
        self._task_begun = 0.0
        self._told = True
        self._begun = time.monotonic()
        self._board = Board()
        self._follower: Follower | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        live = self._console.is_terminal and not self._console.is_dumb_terminal and not verbose
        live = live and (terminal.out.is_terminal or not output)
        self._live = (
            Live(console=self._console, get_renderable=self._picture, auto_refresh=False, transient=True)
            if live
            else None
        )

    def __enter__(self) -> Spectator:
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()
        self._pull()
        if self._live:
            self._live.stop()

    def follow(self, path: Path) -> None:
        self._follower = Follower(path)

    def listen(self, event: Mapping[str, Any]) -> None:
        """Take an event of ansible-runner. The watching thread starts with the first one: by then Ansible
        is running, and no fork happens beside a thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        if self._verbose and event.get("stdout"):
            self._console.print(Text.from_ansi(event["stdout"].replace("\r", "")), soft_wrap=True)
        self._tally.take(event)
        for line in self._rows.take(event) if self._rows else ():
            if not self._live and not self._quiet:
                self._console.print(Text(line), soft_wrap=True)
        if event["event"] in BEGUN:
            self._task_begun = time.monotonic()
            self._told = not self._narrate
        if self._follower is None and event["event"] == "verbose":
            step = step_of_text(str(event.get("stdout") or ""), self._board.done)
            if step:
                self._see(step)

    def printed(self, text: str) -> None:
        """A result, above the live picture where there is one."""
        if self._live and text:
            self._live.console.print(Text.from_ansi(text))
        elif text:
            self._terminal.show(text)

    def _watch(self) -> None:
        while not self._over.wait(FRAME):
            self._pull()
            if self._live:
                self._live.refresh()
            elif not self._told and not self._quiet and time.monotonic() - self._task_begun > PATIENCE:
                self._told = True
                count = f"[{self._tally.begun}/{self._tally.total}] " if self._tally.total else ""
                self._console.print(Text(f"{self._title}: {count}{self._tally.task} …"), soft_wrap=True)

    def _pull(self) -> None:
        for step in self._follower.new_steps() if self._follower else ():
            self._see(step)

    def _see(self, step: Step) -> None:
        self._board.take(step)
        told = step.sign_of_life or (step.final and step.phase != "unchanged")
        if told and not self._live and not self._quiet:
            self._console.print(Text(step_line(step)), soft_wrap=True)

    def _picture(self) -> RenderableType:
        hosts: Iterable[RenderableType] = host_lines(self._tally) if self._tally.several else ()
        if self._rows:
            hosts = self._rows.picture(self._console.width)
        return Group(*busy_lines(self._board, self._console.width), *hosts, self._bar())

    def _bar(self) -> Table:
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        cells: list[RenderableType] = [self._spinner, Text(self._title, style="bold")]
        if self._board.total:
            cells += [bar_of(self._board.done, self._board.total), Text(f"{self._board.done}/{self._board.total}")]
            if self._board.failed:
                cells.append(Text(f"{self._board.failed} failed", style="bold red"))
        elif self._narrate or self._tally.total:
            done, total = (0, 0) if self._rows else (self._tally.done, self._tally.total)
            cells += [bar_of(done, total), Text(f"{done}/{total} tasks")] if total else []
            doing = self._rows.line() if self._rows else self._tally.task
            cells.append(Text(doing, style="dim", no_wrap=True, overflow="ellipsis"))
        line = Table.grid(padding=(0, 1))
        line.add_row(*cells, Text(f"{minutes}:{seconds:02d}", style="dim"))
        return line


@contextmanager
def broken_pipe_is_the_end() -> Iterator[None]:
    """Whoever reads our output has gone: end quietly, as other tools do."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # 128 + SIGPIPE
