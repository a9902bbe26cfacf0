# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job is made of, for a node that has nothing of it: what ``ansible-runner transmit`` sends.

That is a private data directory: the collection, the folder of the workflow's playbook, its inventory, and the
variables. The node needs none of them, and runs exactly what was checked here.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput, OperationFailed

from ..jobs.execution import request_of
from ..jobs.model import Job
from ..jobs.workflows import COLLECTION as SOURCE
from ..jobs.workflows import Workflow
from ..run import COLLECTION, Request, options_of, write_document, write_inventory, write_variables
from .node import FOLDER

#: What of the collection runs; not its documentation and tests.
PARTS = ("galaxy.yml", "MANIFEST.json", "meta", "playbooks", "plugins", "roles")
#: Of a workflow's folder these stay here.
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".tox", ".venv")
#: Bytes that a workflow's folder, and its inventory, may have.
LARGEST = 64 << 20
#: Seconds for ansible-runner to pack.
PACKING = 120.0
#: Seconds by which a node's own time-out is later than that of the job, which counts where the node can be reached.
LATER = 30.0
#: What stands beside an inventory and belongs to it.
BESIDE = ("group_vars", "host_vars")


def pack(job: Job, workflow: Workflow, variables: dict[str, object], private: Path) -> Path:
    """The file to send. ``private`` is a directory of this attempt's own. Raises what is wrong with the files."""
    request = replace(request_of(job, workflow, variables), variable_files=())  # those are this machine's
    place = private / "order"
    place.mkdir()
    inventory = _inventory(request, place)
    _variables(request, place)
    playbook = _project(request, place / "project")
    settings = {"job_timeout": math.ceil(job.timeout + LATER), "pexpect_timeout": 1, "suppress_output_file": True}
    write_document(place / "env" / "settings", settings)
    if options_of(request):
        (place / "env" / "cmdline").write_text(options_of(request))
    payload = _transmitted(private, place, playbook, inventory, job.run)
    shutil.rmtree(place)
    return payload


def _transmitted(private: Path, place: Path, playbook: str, inventory: Path, run: str) -> Path:
    """A process of its own: what it leaves if it is killed is in ``private``, and the engine does not wait for it."""
    payload = private / "payload"
    argv = [sys.executable, "-m", "ansible_runner", "transmit", str(place), "-p", playbook]
    with payload.open("wb") as file:
        done = subprocess.run(
            [*argv, "--inventory", str(inventory), "-i", run],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(private / "tmp")},
            timeout=PACKING,
        )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise OperationFailed(f"ended with code {done.returncode}: {said[-1]}", where="ansible-runner transmit")
    return payload


def _inventory(request: Request, place: Path) -> Path:
    """The inventory in the directory that is sent."""
    if request.hosts or not request.inventory:
        return write_inventory(place, "{{ lookup('ansible.builtin.env', 'ANSIBLE_LOCAL_TEMP') }}", request.hosts)
    given, there = Path(request.inventory), place / "inventory"
    if given.is_dir():
        _copy(given, there)
        return there
    if not given.is_file():
        raise InvalidInput([f'inventory: there is no file "{given}"'])
    there.mkdir()
    shutil.copy2(given, there / given.name)
    for name in BESIDE:
        if (given.parent / name).is_dir():
            _copy(given.parent / name, there / name)
    return there / given.name


def _variables(request: Request, place: Path) -> None:
    """Documents are files whose place only the node knows."""
    known = f"{{{{ lookup('ansible.builtin.env', '{FOLDER}') }}}}/order/documents"
    paths = {name: f"{known}/{name}.yml" for name in request.documents}
    write_variables(place, replace(request, documents={}, templates={**request.templates, **paths}))
    for name, content in request.documents.items():
        write_document(place / "documents" / f"{name}.yml", content)


def _project(request: Request, project: Path) -> str:
    """Collection and playbook; what is to be run is returned as ansible-playbook is told it there."""
    own = project / "collections" / COLLECTION
    for name in PARTS:
        part = SOURCE / name
        if part.is_dir():
            shutil.copytree(part, own / name, ignore=LEFT_OUT, symlinks=True)
        elif part.is_file():
            own.mkdir(parents=True, exist_ok=True)
            shutil.copy2(part, own / name)
    if os.sep not in request.playbook:
        return request.playbook
    playbook = Path(request.playbook)
    _copy(playbook.parent, project / "workflows")
    return f"workflows/{playbook.name}"


def _copy(source: Path, target: Path) -> None:
    size = sum(path.lstat().st_size for path in _files(source))
    if size > LARGEST:
        raise InvalidInput(
            [f'"{source}" has {size >> 20} MB, which is too much to send to a node; allowed: {LARGEST >> 20} MB']
        )
    shutil.copytree(source, target, ignore=LEFT_OUT, symlinks=True)


def _files(source: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(source):
        left_out = LEFT_OUT(folder, [*folders, *files])
        folders[:] = [name for name in folders if name not in left_out]
        yield from (Path(folder) / name for name in files if name not in left_out)
