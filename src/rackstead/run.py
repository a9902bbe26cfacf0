# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one playbook of the collection through ansible-runner and hands back what its tasks returned."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .processes import COOKIE, end_all

NAMESPACE = "rackstead.infra"
COLLECTION = Path("ansible_collections/rackstead/infra")
#: Where Ansible looks for collections if nobody says otherwise.
DEFAULT_TREES = ("~/.ansible/collections", "/usr/share/ansible/collections")
PATH_VARIABLES = (
    "ANSIBLE_CONFIG",
    "ANSIBLE_VAULT_PASSWORD_FILE",
    "RACKSTEAD_CLIENT_CERT",
    "RACKSTEAD_CLIENT_KEY",
    "RACKSTEAD_CA_CERT",
)
#: Names an inventory whose hosts the playbooks can work on, beside this machine.
INVENTORY = "RACKSTEAD_INVENTORY"
#: ansible-runner empties a result longer than this many characters; a plan of a thousand instances is longer
#: than its default.
LONGEST_RESULT = 1 << 30
PREFIX = "rackstead-run-"
#: Exit code of an ansible-playbook that somebody else has killed.
KILLED = 137
STATUS = {"runner_on_ok": "ok", "runner_on_failed": "failed", "runner_on_unreachable": "unreachable"}


class Interrupted(BaseException):
    """The user, or whoever ends this process, wants it to stop. Nobody on the way shall mistake it for a failure.

    The first argument is the signal's name; a second tells what becomes of what was going on.
    """

    @property
    def line(self) -> str:
        what = self.args[1] if len(self.args) > 1 else "what was done stays; run it again to finish"
        return f"interrupted ({self.args[0]}): {what}"


@dataclass(frozen=True)
class Request:
    """What to run: a playbook of the collection by its name, or another by its path or full name.

    ``environment`` goes on top of this process's own; ``variable_files`` are ``-e @file``.
    Values of ``variables`` are taken as they are; those of ``templates`` may hold Jinja2 expressions.
    Without an ``inventory`` there is the one that RACKSTEAD_INVENTORY names, and this machine as localhost.
    ``hosts`` are groups of an inventory, whose text is literal, beside this machine and in place of those.
    ``cookie`` marks the run's processes. ``forks`` is on how many hosts the playbook works at once, 0: as many as
    Ansible's own settings say.
    """

    playbook: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    templates: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    variable_files: tuple[Path, ...] = ()
    check: bool = False
    diff: bool = False
    verbosity: int = 0
    limit: str = ""
    tags: tuple[str, ...] = ()
    inventory: str = ""
    hosts: Mapping[str, Any] = field(default_factory=dict)
    #: documents that variables name as files, by variable; their text is literal too
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cookie: str = ""
    #: seconds in which the processes of an interrupted run may end by themselves
    grace: float = 5.0
    forks: int = 0


@dataclass(frozen=True)
class TaskResult:
    """What one task returned on one host. ``status`` is ok, failed or unreachable."""

    action: str
    task: str
    host: str
    status: str
    result: Mapping[str, Any]


@dataclass
class Outcome:
    """A finished run: ansible-playbook's exit code, the tasks' results, and what it said outside of tasks."""

    rc: int = 0
    results: list[TaskResult] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    #: those of the request's documents that the run has written anew
    documents: dict[str, Any] = field(default_factory=dict)

    def of(self, action: str) -> list[TaskResult]:
        """Results of one module of the collection, such as ``plan``."""
        return [found for found in self.results if found.action == f"{NAMESPACE}.{action}"]

    @property
    def failures(self) -> list[TaskResult]:
        return [found for found in self.results if found.status != "ok"]


Listener = Callable[[Mapping[str, Any]], None]


def run(request: Request, listen: Listener, progress: Callable[[Path], None] | None = None) -> Outcome:
    """Run the playbook; call ``listen`` with every event of ansible-runner as it arrives.

    ``progress`` is told the file that a plan task will write its progress to. Whatever ends this
    early (see ``interruptible``) is raised on when no process of the run is left.
    """
    cookie = request.cookie or uuid.uuid4().hex
    with private_directory() as private:
        follow = private / "progress.jsonl"
        follow.touch(mode=0o600)
        if progress is not None:
            progress(follow)
        try:
            return _play(request, private, cookie, follow, listen)
        except BaseException:
            with signals_held():
                end_all(cookie, request.grace)
            raise


def _play(request: Request, private: Path, cookie: str, follow: Path, listen: Listener) -> Outcome:
    from ansible_runner.interface import run as play  # a tenth of a second, which --help need not pay

    outcome = Outcome()

    def on_event(event: dict[str, Any]) -> bool:
        collect(event, outcome)
        listen(event)
        return False  # nothing of it stays on disk

    inventory = write_inventory(private, str(private / "tmp"), request.hosts)
    write_variables(private, request)
    before = read_documents(private, request)
    environment = _environment(request, private, cookie, follow)
    with ended_at_once():
        runner = play(
            private_data_dir=str(private),
            playbook=request.playbook if _is_whole(request.playbook) else f"{NAMESPACE}.{request.playbook}",
            inventory=str(inventory) if request.hosts else request.inventory or inventory_for(inventory, environment),
            envvars=environment,
            cmdline=options_of(request) or None,
            settings={"pexpect_timeout": 1, "suppress_output_file": True},
            event_handler=on_event,
            cancel_callback=lambda: False,
            quiet=True,
        )
    outcome.rc = KILLED if runner.rc is None else int(runner.rc)
    after = read_documents(private, request)
    outcome.documents = {name: one for name, one in after.items() if one != before[name]}
    return outcome


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Have ansible-runner close the terminal of a process that has ended without waiting for it to end.

    pexpect sleeps for a tenth of a second after it has closed a terminal, in case its process still is at it.
    ansible-runner closes it when the process is gone, so each run would pay for nothing.
    """
    from ansible_runner.runner import pexpect

    usual = pexpect.spawn

    class Terminal(usual):  # type: ignore[misc, valid-type]
        def close(self, force: bool = True) -> None:
            if not self.isalive():
                self.ptyproc.delayafterclose = 0.0
            super().close(force)

    pexpect.spawn = Terminal
    try:
        yield
    finally:
        pexpect.spawn = usual


def inventory_for(own: Path, environment: Mapping[str, str]) -> str:
    """The inventory that the environment names, else this machine's own. Raises InvalidInput where it is not there.

    Ansible knows this machine as localhost with any inventory, and does not count it among all.
    """
    given = environment.get(INVENTORY) or os.environ.get(INVENTORY, "")
    if not given:
        return str(own)
    path = Path(given).expanduser().absolute()
    if not path.exists():
        from ansible_collections.rackstead.infra.plugins.module_utils.common.errors import InvalidInput

        raise InvalidInput(
            [f'{INVENTORY}: "{given}" does not exist; allowed: a file or folder of Ansible\'s inventory']
        )
    return str(path)


def _is_whole(playbook: str) -> bool:
    return os.sep in playbook or "." in playbook


def collect(event: Mapping[str, Any], outcome: Outcome) -> None:
    data = event.get("event_data") or {}
    status = STATUS.get(event["event"])
    if status and not data.get("ignore_errors"):
        action = data.get("resolved_action") or data.get("task_action") or ""
        outcome.results.append(
            TaskResult(action, data.get("task") or "", data.get("host") or "", status, data.get("res") or {})
        )
    elif event["event"] == "error" or "[ERROR]" in event.get("stdout", "") or "ERROR!" in event.get("stdout", ""):
        outcome.errors.append(event.get("stdout", ""))


def options_of(request: Request) -> str:
    """Options of ansible-playbook. Variables are not among them: those go by a private file."""
    options = ["--check"] if request.check else []
    options += ["--diff"] if request.diff else []
    options += ["--limit", request.limit] if request.limit else []
    options += ["--tags", ",".join(request.tags)] if request.tags else []
    options += ["--forks", str(request.forks)] if request.forks else []
    options += ["-" + "v" * request.verbosity] if request.verbosity else []
    for path in request.variable_files:
        options += ["-e", f"@{Path(path).resolve()}"]
    return shlex.join(options)


def _environment(request: Request, private: Path, cookie: str, follow: Path) -> dict[str, str]:
    beside = str(Path(sys.executable).parent)
    found = {
        # A host that no inventory has is a mistake: by default Ansible would do nothing, and call that well.
        "ANSIBLE_HOST_PATTERN_MISMATCH": os.environ.get("ANSIBLE_HOST_PATTERN_MISMATCH", "error"),
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": os.environ.get("ANSIBLE_PIPELINING", "1"),
        "LC_ALL": "C.UTF-8",
        "MAX_EVENT_RES": str(LONGEST_RESULT),
        "PATH": os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]),
        "RACKSTEAD_PROGRESS_FILE": str(follow),
        COOKIE: cookie,
    }
    trees = _collection_trees()
    if trees:
        found["ANSIBLE_COLLECTIONS_PATH"] = trees
    # The playbook runs in another directory: paths that are relative to this one must not be.
    for name in PATH_VARIABLES:
        if os.environ.get(name):
            found[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    return found | dict(request.environment)


def _collection_trees() -> str:
    """ANSIBLE_COLLECTIONS_PATH that puts the collection of this package before another release of it.

    Empty where Ansible finds the right one by itself: it looks at ``sys.path`` last.
    """
    own = Path(__file__).resolve().parent.parent
    given = os.pathsep.join(
        os.path.abspath(os.path.expanduser(tree))
        for tree in os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep)
        if tree
    )
    if given or not (own / COLLECTION).is_dir():
        return given
    rivals = [tree for tree in DEFAULT_TREES if (Path(tree).expanduser() / COLLECTION).is_dir()]
    return os.pathsep.join([str(own), *DEFAULT_TREES]) if rivals else ""


def write_inventory(private: Path, temporary: str, hosts: Mapping[str, Any] | None = None) -> Path:
    """The machine itself, with the Python that runs Ansible and temporary files that end with the run; and hosts."""
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "ansible_remote_tmp": temporary,
    }
    path = private / "inventory" / "hosts.json"
    path.parent.mkdir()
    path.touch(mode=0o600)
    plain = not any(sign in json.dumps(hosts or {}) for sign in TEMPLATE_SIGNS)
    whole = {"hosts": {"localhost": local}, **({"children": _literal(hosts)} if hosts else {})}
    path.write_text(json.dumps({"all": whole}) if plain else _yaml({"all": whole}))  # Ansible tries both
    return path


class _Literal(str):
    """Text that Ansible shall not look into for templates."""


#: The one key of a document that is a folder of documents, by their names.
FILES = "_files"
#: Only text with one of these is looked into. Elsewhere the tag would let "false" become a boolean.
TEMPLATE_SIGNS = ("{{", "{%", "{#")


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return _Literal(value) if any(sign in value for sign in TEMPLATE_SIGNS) else value
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list | tuple) else value


def write_variables(private: Path, request: Request) -> None:
    """Extra variables, in the file where ansible-runner looks for them: secrets must not be in an argv."""
    paths = {name: str(place_of(private, name)) for name in request.documents}
    write_document(private / "env" / "extravars", {**request.variables, **paths}, request.templates)
    for name, document in request.documents.items():
        place = place_of(private, name)
        if not is_folder(document):
            write_document(place, document)
            continue
        place.mkdir(mode=0o700, parents=True)
        for file, content in document[FILES].items():
            write_document(place / Path(file).name, content)


def place_of(private: Path, name: str) -> Path:
    """Where a document is; its ending is what Ansible tells the format by."""
    return private / "documents" / f"{name}.yml"


def is_folder(document: Mapping[str, Any]) -> bool:
    """Whether a document is a folder of documents."""
    return set(document) == {FILES}


def read_documents(private: Path, request: Request) -> dict[str, Any]:
    """The documents as they are now; what is no JSON is nothing that a playbook has written to be handed back."""
    return {name: _read(place_of(private, name)) for name in request.documents}


def _read(place: Path) -> Any:
    if place.is_dir():
        return {FILES: {path.name: _read(path) for path in sorted(place.iterdir()) if path.is_file()}}
    try:
        return json.loads(place.read_text())
    except (OSError, ValueError):
        return None


def write_document(path: Path, content: Mapping[str, Any], templates: Mapping[str, Any] | None = None) -> None:
    """A file of YAML that only this user can read. Text of ``content`` is literal, that of ``templates`` is not."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    whole = {**(templates or {}), **_literal(content)}
    plain = not templates and not any(sign in json.dumps(content) for sign in TEMPLATE_SIGNS)
    path.write_text(json.dumps(whole, ensure_ascii=False) if plain else _yaml(whole))


def _yaml(content: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(_Literal, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))
    return yaml.dump(content, Dumper=Dumper)


@contextmanager
def private_directory() -> Iterator[Path]:
    """A directory only this user can read, gone at the end; those of killed runs go first."""
    base = Path(tempfile.gettempdir())
    _sweep(base)
    private = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    lock = os.open(private / "new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(private / "new", private / "lock")  # never to be seen unlocked by another run's sweep
        (private / "tmp").mkdir(mode=0o700)
        yield private
    finally:
        shutil.rmtree(private, ignore_errors=True)
        os.close(lock)


def _sweep(base: Path) -> None:
    """Remove what runs that were killed left: directories of ours whose lock nobody holds."""
    for place in base.glob(f"{PREFIX}*"):
        try:
            if place.lstat().st_uid != os.getuid():
                continue
            lock = os.open(place / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # just being made, or not one of ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)
        except BlockingIOError:
            continue  # in use
        finally:
            os.close(lock)


@contextmanager
def interruptible(*, once: bool = False) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Interrupted in what runs inside; with ``once`` only the first that comes."""
    told = False

    def stop(number: int, _frame: Any) -> None:
        nonlocal told
        if not (once and told):
            told = True
            raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """No interruption while the processes of an interrupted run are ended."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
