# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the pictures of README and guides from a real run of the demo plan, in a real terminal (tmux).

``make pictures`` needs tmux and root. It starts a private daemon, as the tests do, which is gone at the end.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

TOP = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from testbed import daemon as testbed

from tests.conftest import CHECKOUT

PICTURES = CHECKOUT / "docs" / "images"
WIDTH = 88
SECONDS = 600.0
#: No font is fetched from anywhere: the reader's own does.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.S).replace(
    "Fira Code", "DejaVu Sans Mono"
)


class Screen:
    """A shell in a terminal of its own."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._tmux = ["tmux", "-L", f"rackstead-pictures-{os.getpid()}"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        given = [f"{name}={value}" for name, value in {**env, "PS1": "$ ", "PATH": path}.items()]
        shell = ["env", *given, "bash", "--norc", "--noprofile"]
        self._run("new-session", "-d", "-x", str(WIDTH), "-y", "60", "-c", str(folder), *shell)
        self.until(self.idle)

    def close(self) -> None:
        self._run("kill-server")

    def _run(self, *argv: str) -> str:
        return subprocess.run([*self._tmux, *argv], check=True, capture_output=True, text=True).stdout

    def text(self) -> str:
        """What stands on the screen, with its colours."""
        return self._run("capture-pane", "-e", "-p").rstrip()

    def plain(self) -> str:
        return Text.from_ansi(self.text()).plain

    def idle(self) -> bool:
        """Whether the shell waits for the next command."""
        return self.plain().splitlines()[-1:] == ["$"] or self.plain().endswith("\n$")

    def type(self, command: str) -> None:
        self._run("send-keys", "-l", command)
        self._run("send-keys", "Enter")

    def clear(self) -> None:
        self.type("clear")
        self.until(lambda: self.plain().strip() == "$")

    def run(self, command: str) -> None:
        """Run a command to its end."""
        self.type(command)
        self.until(lambda: command in self.plain() and self.idle())

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited in vain; the screen shows:\n{self.plain()}")
            time.sleep(0.05)


def save(name: str, ansi: str) -> None:
    """The screen as a picture; the prompt that waits at its end is left out."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(re.sub(r"\n\S*\$\S*\s*$", "", ansi)))
    svg = console.export_svg(title="", code_format=FORMAT, unique_id=f"rackstead-{name}")
    (PICTURES / f"{name}.svg").write_text(svg)
    print(f"docs/images/{name}.svg")


@contextmanager
def screen() -> Iterator[Screen]:
    """A terminal beside a copy of the plans, with a daemon of its own."""
    with testbed.running() as daemon, tempfile.TemporaryDirectory() as place:
        testbed.import_debian(daemon)
        shutil.copytree(CHECKOUT / "plans", Path(place) / "plans")
        shown = Screen(Path(place), daemon.env)
        try:
            yield shown
        finally:
            shown.close()


def main() -> int:
    if not shutil.which("tmux"):
        print("tmux is missing: apt-get install tmux", file=sys.stderr)
        return 1
    PICTURES.mkdir(exist_ok=True)
    with screen() as shown:
        take(shown)
    return 0


def take(screen: Screen) -> None:
    screen.clear()
    screen.type("rackstead apply plans/demo.yml")
    screen.until(lambda: len(re.findall("waiting for", screen.plain())) >= 2 or "error" in screen.plain())
    save("progress", screen.text())
    screen.until(lambda: "rackstead" in screen.plain() and screen.idle())
    screen.run("rackstead status")
    save("demo", screen.text())
    screen.clear()
    screen.run("sed -i 's/memory: 512MiB/memory: 768MiB/' plans/demo.yml")
    screen.run("rackstead apply plans/demo.yml --check --diff")
    save("change", screen.text())
    screen.clear()
    screen.run("rackstead health plans/demo.yml")
    save("health", screen.text())


if __name__ == "__main__":
    sys.exit(main())
