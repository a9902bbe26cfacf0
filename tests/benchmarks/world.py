# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything is measured: one project of our own on one daemon, empty before and after.

A run that was killed leaves the project behind; the next run finds it by its name and empties it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .floor import Rest, each
from .process import Peak, Wrong, run
from .samples import Sample

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PROJECT = "rackstead-bench"
WORKERS = 8  # for what is not measured


@dataclass
class World:
    """The daemon, our project on it, a scratch folder and the environment of what is measured."""

    rest: Rest
    folder: Path
    env: dict[str, str]
    say: Callable[[str], None]

    @property
    def url(self) -> str:
        return f"unix://{self.rest.path}"

    # -- the state that contenders start from ---------------------------------------------------------
    def empty(self) -> None:
        """Remove every instance of the project, running or not."""
        running = [found["name"] for found in self.rest.look() if found["status"] != "Stopped"]
        each(self.rest.stop, running, WORKERS)
        each(self.rest.delete, self.rest.names(), WORKERS)

    def stop_all(self) -> None:
        """Cut the power of everything that runs (not measured)."""
        running = [found["name"] for found in self.rest.look() if found["status"] != "Stopped"]
        each(self.rest.stop, running, WORKERS)

    def expect(self, count: int, status: str = "") -> None:
        """Whether the contender really did it: a fast failure is no success."""
        found = self.rest.look()
        right = [one for one in found if status in ("", one["status"])]
        if len(found) != count or len(right) != count:
            seen = sorted({one["status"] for one in found})
            raise Wrong(f"expected {count} instances {status or 'in any state'}, found {len(found)}: {', '.join(seen)}")

    # -- Ansible --------------------------------------------------------------------------------------
    def use_collections(self, tree: Path) -> None:
        """Let Ansible find the collections of another tree too."""
        known = self.env.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep)
        self.env["ANSIBLE_COLLECTIONS_PATH"] = os.pathsep.join(dict.fromkeys([*filter(None, known), str(tree)]))

    def file(self, name: str, content: Any) -> Path:
        """A file in the scratch folder. What is not text is written as JSON, which is YAML too."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def playbook(
        self,
        play: Path,
        inventory: str = "localhost,",
        *,
        watch: Peak | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> tuple[Sample, str]:
        """A whole ansible-playbook process."""
        command = [tool("ansible-playbook"), "-i", inventory, str(play), *options]
        return run(command, {**self.env, **(env or {})}, self.folder, watch=watch)


def tool(name: str) -> str:
    """A command of the environment that this interpreter belongs to."""
    return str(Path(sys.executable).parent / name)


def stage() -> Path:
    """A tree with this checkout's collection as a user would have installed it. The caller removes it."""
    tree = Path(tempfile.mkdtemp(prefix="rackstead-bench-tree-"))
    command = [tool("ansible-galaxy"), "collection", "install", str(CHECKOUT), "-p", str(tree)]
    done = subprocess.run([*command, "--no-deps", "--offline", "--force"], capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(tree)
        raise RuntimeError(f"ansible-galaxy cannot stage the collection: {done.stderr.strip()[-500:]}")
    return tree


def environment(socket: str, folder: Path) -> dict[str, str]:
    """What every contender runs with: no configuration of the user's, one daemon, one project."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "ansible.cfg").touch()
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_HOME": str(home / ".ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "INCUS_SOCKET": socket,
        "INCUS_CONF": str(home / ".config/incus"),
        "INCUS_PROJECT": PROJECT,
        "RACKSTEAD_URL": f"unix://{socket}",
        "RACKSTEAD_PROJECT": PROJECT,
    }


@contextmanager
def project(socket: str, say: Callable[[str], None]) -> Iterator[Rest]:
    """Our project, made anew; with it goes what a killed run left. Only one run at a time on a machine."""
    with open(Path(tempfile.gettempdir()) / "rackstead-bench.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another benchmark on this machine to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        default, ours = Rest(socket), Rest(socket, PROJECT)
        remove_project(default, ours)
        features = dict.fromkeys(("features.images", "features.profiles", "features.storage.volumes"), "false")
        default.ask("POST", "/projects", {"name": PROJECT, "description": "rackstead benchmarks", "config": features})
        try:
            yield ours
        finally:
            remove_project(default, ours)


def remove_project(default: Rest, ours: Rest) -> None:
    """Everything in it, and itself. Nothing where it does not exist."""
    if f"/1.0/projects/{PROJECT}" not in default.ask("GET", "/projects"):
        return
    World(ours, Path(), {}, print).empty()
    default.ask("DELETE", f"/projects/{PROJECT}")
